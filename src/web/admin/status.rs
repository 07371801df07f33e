//! The status as JSON. Times are RFC 3339; null where there is none, or since ever.
//!
//! Names of members stay; new ones may come.

use serde::Serialize;

use super::Report;
use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::board::{KeyOverview, LookOverview, TokenHealth, VerifierOverview};
use crate::keys::rules::Rules;
use crate::keys::schedule::Created;
use crate::keys::{Alarm, Overview, Part, Readiness};

#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    now: Option<String>,
    version: &'a str,
    key_source: &'a str,
    alarms: &'a [Alarm],
    ready: Ready<'a>,
    /// None: a mint is answered 503.
    signing_kid: Option<&'a str>,
    next_switch: Option<String>,
    next_removal: Option<String>,
    keys: Vec<Key<'a>>,
    tokens: Vec<Token<'a>>,
    verifiers: Vec<Verifier<'a>>,
    /// Verifiers that were seen lately have every key that is prepared. Null: no key is prepared.
    verifiers_prepared: Option<bool>,
    jwks_etag: Option<&'a str>,
    rules: RulesStatus<'a>,
}

#[derive(Debug, Serialize)]
struct Ready<'a> {
    mint: Answered<'a>,
    jwks: Answered<'a>,
}

#[derive(Debug, Serialize)]
struct Answered<'a> {
    ready: bool,
    parts: &'a [Part],
}

#[derive(Debug, Serialize)]
struct Key<'a> {
    kid: &'a str,
    algorithm: &'static str,
    state: &'static str,
    signing: bool,
    instant: Option<String>,
    created: Option<String>,
    first_seen: Option<String>,
    signs_from: Option<String>,
    retired: Option<String>,
    removal: Option<String>,
    tokens: Vec<&'a str>,
    published: bool,
    /// It has signed in this life of the process.
    proved: bool,
    revoked: bool,
    /// It waits for verifiers that lack it.
    held: bool,
    /// Verifiers that were seen lately and did not get it. Null: it is not published.
    verifiers_lacking: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Token<'a> {
    name: &'a str,
    label: Option<&'a str>,
    serial: Option<&'a str>,
    manufacturer: Option<&'a str>,
    model: Option<&'a str>,
    firmware: Option<&'a str>,
    ready: Option<bool>,
    parts: &'a [Part],
    last_look: Option<String>,
    look_failure: Option<&'a str>,
    last_verified_signature: Option<String>,
    keys_not_used: &'a [String],
}

#[derive(Debug, Serialize)]
struct Verifier<'a> {
    address: String,
    etag: &'a str,
    last_fetch: Option<String>,
    /// Seen in the last two of its lives; others are gone.
    recent: bool,
    /// It has every key that is published now.
    current: bool,
    lacks: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct RulesStatus<'a> {
    /// Replicas that show the same one compute the same states.
    digest: &'a str,
    /// Lead and retention count as given, whatever the sums say.
    unsafe_timing: bool,
    poll_seconds: u64,
    jwks_max_age_seconds: u64,
    verifier_ttl_seconds: u64,
    clock_skew_seconds: u64,
    max_ttl_seconds: u64,
    lead_seconds: u64,
    retain_seconds: u64,
    least_lead_seconds: u64,
    least_lead_is: String,
    least_retain_seconds: u64,
    least_retain_is: String,
}

impl<'a> Status<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let overview = &report.overview;
        let prepared = || overview.keys.iter().filter(|key| key.is_prepared());
        let all_have = |key: &KeyOverview| overview.lacking(key.key.kid()).next().is_none();
        let verifiers = overview.verifiers.iter();
        Self {
            now: at(overview.now),
            version: report.version,
            key_source: report.source,
            alarms: &overview.alarms,
            ready: Ready {
                mint: Answered::of(&report.mint),
                jwks: Answered::of(&report.jwks),
            },
            signing_kid: overview.signing.as_ref().map(Kid::as_str),
            next_switch: overview.next_switch().and_then(at),
            next_removal: overview.next_removal().and_then(at),
            keys: overview
                .keys
                .iter()
                .map(|key| Key::of(key, overview))
                .collect(),
            tokens: overview
                .looks
                .iter()
                .map(|look| Token::of(look, overview.now))
                .collect(),
            verifiers: verifiers.map(Verifier::of).collect(),
            verifiers_prepared: prepared().next().map(|_| prepared().all(all_have)),
            jwks_etag: overview.etag.as_deref(),
            rules: RulesStatus::of(&overview.rules, &overview.rules_digest),
        }
    }
}

impl<'a> Answered<'a> {
    fn of(readiness: &'a Readiness) -> Self {
        Self {
            ready: readiness.ready,
            parts: &readiness.parts,
        }
    }
}

impl<'a> Key<'a> {
    fn of(key: &'a KeyOverview, overview: &Overview) -> Self {
        let kid = key.key.kid();
        Self {
            kid: kid.as_str(),
            algorithm: key.key.algorithm().name(),
            state: key.role.name(),
            signing: overview.signing.as_ref() == Some(kid),
            instant: key.instant.and_then(at),
            created: key.created.map(Created::seconds).and_then(at),
            first_seen: key.seen.and_then(at),
            signs_from: key.ripe.and_then(at),
            retired: key.retired.and_then(at),
            removal: key.removal.and_then(at),
            tokens: key.tokens.iter().map(|token| token.as_str()).collect(),
            published: key.published,
            proved: key.proved,
            revoked: key.revoked,
            held: key.held,
            verifiers_lacking: key.published.then(|| overview.lacking(kid).count()),
        }
    }
}

impl<'a> Token<'a> {
    fn of(look: &'a LookOverview, now: UnixSeconds) -> Self {
        let health = look.health.as_ref();
        let identity = health.and_then(|health| health.identity.as_ref());
        Self {
            name: look.token.as_str(),
            label: identity.map(|of| of.label.as_str()),
            serial: identity.map(|of| of.serial.as_str()),
            manufacturer: identity.map(|of| of.manufacturer.as_str()),
            model: identity.map(|of| of.model.as_str()),
            firmware: identity.map(|of| of.firmware.as_str()),
            ready: health.map(|health| health.ready),
            parts: health.map_or(&[], |health| &health.parts),
            last_look: look.at.and_then(at),
            look_failure: look.failure.as_deref(),
            last_verified_signature: health.and_then(|health| verified(health, now)).and_then(at),
            keys_not_used: &look.refused,
        }
    }
}

impl<'a> Verifier<'a> {
    fn of(verifier: &'a VerifierOverview) -> Self {
        Self {
            address: verifier.address.to_string(),
            etag: &verifier.etag,
            last_fetch: at(verifier.at),
            recent: verifier.recent,
            current: verifier.is_current(),
            lacks: verifier.lacks.iter().map(Kid::as_str).collect(),
        }
    }
}

impl<'a> RulesStatus<'a> {
    fn of(rules: &Rules, digest: &'a str) -> Self {
        Self {
            digest,
            unsafe_timing: rules.unsafe_timing,
            poll_seconds: rules.poll,
            jwks_max_age_seconds: rules.jwks_max_age,
            verifier_ttl_seconds: rules.verifier_ttl,
            clock_skew_seconds: rules.skew,
            max_ttl_seconds: rules.max_ttl,
            lead_seconds: rules.lead,
            retain_seconds: rules.retain,
            least_lead_seconds: rules.least_lead(),
            least_lead_is: rules.least_lead_sum().to_string(),
            least_retain_seconds: rules.least_retain(),
            least_retain_is: rules.least_retain_sum().to_string(),
        }
    }
}

/// When the last signature verified.
pub(super) fn verified(health: &TokenHealth, now: UnixSeconds) -> Option<UnixSeconds> {
    let ago = health.verified_ago?;
    Some(UnixSeconds::new(now.get().saturating_sub(ago)))
}

/// None: since ever.
fn at(instant: UnixSeconds) -> Option<String> {
    (instant != UnixSeconds::EVER).then(|| instant.rfc3339())
}

#[cfg(test)]
mod tests {
    use super::super::samples::report;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_status_says_what_an_operator_asks_for() {
        let report = report();
        let status = serde_json::to_value(Status::of(&report)).unwrap();

        for (pointer, want) in [
            ("/now", json!("2026-12-01T12:00:00Z")),
            ("/signing_kid", json!("active")),
            ("/next_switch", json!("2026-12-01T13:00:00Z")),
            ("/next_removal", json!("2026-12-01T12:50:00Z")),
            ("/keys/0/state", json!("PREPARED")),
            ("/keys/0/verifiers_lacking", json!(1)),
            ("/keys/1/signing", json!(true)),
            ("/keys/3/state", json!("EXPIRED")),
            ("/keys/3/verifiers_lacking", Value::Null),
            ("/tokens/0/ready", json!(true)),
            (
                "/tokens/0/last_verified_signature",
                json!("2026-12-01T11:59:57Z"),
            ),
            ("/tokens/1/last_look", Value::Null),
            ("/tokens/1/label", Value::Null),
            ("/verifiers/1/current", json!(false)),
            ("/verifiers/1/lacks/0", json!("next")),
            ("/verifiers_prepared", json!(false)),
            ("/rules/least_lead_seconds", json!(491)),
            ("/alarms/0/kind", json!("look")),
        ] {
            assert_eq!(
                status.pointer(pointer),
                Some(&want),
                "{pointer}: {status:#}"
            );
        }
    }

    #[test]
    fn verifiers_count_as_prepared_once_those_seen_lately_have_every_prepared_key() {
        let mut report = report();
        report.overview.verifiers[1].lacks.clear();
        assert_eq!(Status::of(&report).verifiers_prepared, Some(true));

        report.overview.keys.remove(0);
        assert_eq!(Status::of(&report).verifiers_prepared, None);
    }
}
