//! A report as tests want it: keys in every state, a token that is well and one that is not, verifiers, an alarm, and names
//! that are markup.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use super::Report;
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Jwk, Kid};
use crate::keys::board::{
    KeyOverview, LookOverview, Role, TokenHealth, TokenIdentity, VerifierOverview,
};
use crate::keys::local::LocalKey;
use crate::keys::memory::TokenName;
use crate::keys::rules::Rules;
use crate::keys::schedule::{Created, Member, Timetable};
use crate::keys::{Alarm, AlarmKind, Overview, Part, PublishedKey, Readiness};

/// 2026-12-01T12:00:00Z.
pub(super) const NOW: UnixSeconds = UnixSeconds::new(1_796_126_400);
pub(super) const EVIL: &str = "<script>alert('x')</script>";

/// `from` now on, or before.
pub(super) fn after(seconds: i64) -> UnixSeconds {
    UnixSeconds::new(NOW.get().checked_add_signed(seconds).unwrap())
}

pub(super) fn published(kid: &str) -> Arc<PublishedKey> {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
    let kid = Kid::pinned(kid.to_owned()).unwrap();
    Arc::new(PublishedKey::new(Jwk::new(kid, key.jwk().key().clone())).unwrap())
}

/// Keys of these instants and times of making, as the timetable has them; newest first.
pub(super) fn keys(
    made: &[(&str, UnixSeconds, Option<UnixSeconds>)],
    now: UnixSeconds,
) -> Vec<KeyOverview> {
    let members = made.iter().map(|(kid, instant, created)| Member {
        kid: Kid::pinned((*kid).to_owned()).unwrap(),
        instant: *instant,
        created: created.map(Created::at),
        seen: *instant,
        absent: None,
        revoked: false,
        gone: false,
    });
    let table = Timetable::new(members.collect(), Rules::DEFAULTS);
    let generations = table.generations();
    let mut keys = Vec::new();
    for (number, generation) in generations.iter().enumerate().rev() {
        let newer = generations.iter().skip(number + 1);
        let retired = newer.map(|newer| newer.switch).min();
        let state = table.state(generation, now);
        keys.extend(generation.keys.iter().map(|entry| KeyOverview {
            key: published(entry.member.kid.as_str()),
            role: Role::Scheduled(state),
            instant: Some(generation.instant),
            created: entry.member.created,
            seen: Some(entry.member.seen),
            switch: Some(generation.switch),
            ripe: Some(entry.ripe),
            retired,
            removal: generation.removal,
            tokens: vec![TokenName::new(Path::new("/module.so"), EVIL)],
            published: generation.removal.is_none_or(|removal| now < removal),
            proved: true,
            revoked: false,
            held: false,
        }));
    }
    keys
}

pub(super) fn overview() -> Overview {
    let made = [
        ("expired", after(-90_000), Some(after(-93_600))),
        ("retired", after(-9_000), Some(after(-12_600))),
        ("active", after(-1_800), Some(after(-5_400))),
        ("next", after(3_600), Some(after(-60))),
    ];
    let token = |name| TokenName::new(Path::new("/module.so"), name);
    let verifier = |last, recent, lacks: &[&str]| VerifierOverview {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        etag: "\"abc\"".to_owned(),
        at: after(-30),
        recent,
        lacks: lacks
            .iter()
            .map(|kid| Kid::pinned((*kid).to_owned()).unwrap())
            .collect(),
    };
    Overview {
        now: NOW,
        rules: Rules::DEFAULTS,
        rules_digest: "0123456789abcdef".to_owned(),
        signing: Some(Kid::pinned("active".to_owned()).unwrap()),
        keys: keys(&made, NOW),
        looks: vec![look(token(EVIL), true), look(token("label \"b\""), false)],
        verifiers: vec![
            verifier(1, true, &[]),
            verifier(2, true, &["next"]),
            verifier(3, false, &["next"]),
        ],
        etag: Some("\"abc\"".to_owned()),
        alarms: vec![Alarm::new(
            AlarmKind::Look,
            format!("the last look at {EVIL} failed"),
        )],
    }
}

pub(super) fn report() -> Report {
    let well = |parts| Readiness { ready: true, parts };
    Report {
        overview: overview(),
        mint: well(Vec::new()),
        jwks: well(Vec::new()),
        source: "pkcs11",
        version: "1.2.3",
    }
}

fn look(token: TokenName, ready: bool) -> LookOverview {
    let part = Part {
        name: "token",
        ok: ready,
        detail: EVIL.to_owned(),
    };
    let identity = TokenIdentity {
        label: EVIL.to_owned(),
        serial: "0815".to_owned(),
        manufacturer: "SoftHSM project".to_owned(),
        model: "SoftHSM v2".to_owned(),
        firmware: "2.6".to_owned(),
    };
    LookOverview {
        token,
        at: ready.then(|| after(-12)),
        failure: (!ready).then(|| format!("{EVIL}, too")),
        refused: vec![EVIL.to_owned()],
        health: Some(TokenHealth {
            identity: ready.then_some(identity),
            ready,
            parts: vec![part],
            verified_ago: ready.then_some(3),
        }),
    }
}
