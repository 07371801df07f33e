//! `keys prune`: destroys the keys that nobody needs any more, private and public half, and nothing else.
//!
//! ```text
//! EXPIRED by the board, and by what its successors say of themselves  ->  proved once more  ->  destroyed
//! ```
//!
//! Nothing at all where the clock is in doubt, what was known is lost, a token cannot be read or wants a login, or a token holds no active key.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::columns::aligned;
use super::super::hang::Act;
use super::super::opened::Opened;
use super::super::preview::{Preview, PreviewedToken, pkcs11};
use super::arguments::PruneArguments;
use super::span::instant;
use super::{KeysError, believe_the_clock};
use crate::clock::{Moment, UnixSeconds};
use crate::config::{Config, Pkcs11Config, TokenConfig};
use crate::jose::Kid;
use crate::keys::board::{KeyOverview, Overview, Role};
use crate::keys::pkcs11::ckr::Failure;
use crate::keys::pkcs11::destroy::{self, DestroyFault};
use crate::keys::pkcs11::discovery::KeyReport;
use crate::keys::rules::Rules;
use crate::keys::schedule::State;

/// The keys whose private half was destroyed, at the end or before a token failed.
#[derive(Debug, Clone, Default)]
pub struct DestroyedSoFar {
    gone: Vec<Kid>,
    /// Of this one it is not known.
    in_doubt: Option<Kid>,
    /// Of tokens that called a destruction a failure.
    complaints: Vec<String>,
}

/// The objects of one expired key on one token.
struct Doomed<'a> {
    token: &'a PreviewedToken,
    on: &'a TokenConfig,
    report: &'a KeyReport,
    key: &'a KeyOverview,
}

struct Answer<'a> {
    now: UnixSeconds,
    rules: Rules,
    destroyed: bool,
    doomed: Vec<Doomed<'a>>,
    /// Expired keys that are kept.
    unsettled: Vec<&'a KeyOverview>,
    /// What the tokens complained of while the keys went.
    complaints: Vec<String>,
}

pub(super) fn answer(
    config: &Config,
    asked: &PruneArguments,
    now: Moment,
) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    believe_the_clock(&preview.board, now)?;
    preview.shows_every_key()?;
    if let Some(reason) = preview.board.why_memory_is_lost(now.wall) {
        return Err(KeysError::MemoryLost { reason });
    }
    let overview = preview.board.overview(now);
    let pkcs11 = pkcs11(&config.source)?;
    let mut answer = Answer::of(pkcs11, &preview, &overview);
    if !answer.doomed.is_empty() {
        every_token_holds_an_active_key(&preview, &overview)?;
    }
    if asked.yes {
        answer.complaints = destroy_all(pkcs11, &preview, &answer.doomed)?.complaints;
        answer.destroyed = true;
    }
    Ok(if asked.json {
        format!("{}\n", answer.json())
    } else {
        answer.text()
    })
}

/// A token that lacks it may be the wrong one, or about to be filled: not the moment to destroy anything.
fn every_token_holds_an_active_key(
    preview: &Preview,
    overview: &Overview,
) -> Result<(), KeysError> {
    let active = |token: &&PreviewedToken| {
        overview.keys.iter().any(|key| {
            key.role == Role::Scheduled(State::Active)
                && key.proved
                && !key.revoked
                && key.tokens.contains(&token.name)
        })
    };
    match preview.tokens.iter().find(|token| !active(token)) {
        Some(token) => Err(KeysError::ActiveMissing {
            token: token.label.clone(),
        }),
        None => Ok(()),
    }
}

/// One token after the other: they may share a module.
fn destroy_all(
    config: &Pkcs11Config,
    preview: &Preview,
    doomed: &[Doomed<'_>],
) -> Result<DestroyedSoFar, KeysError> {
    let mut done = DestroyedSoFar::default();
    for token in &preview.tokens {
        let here: Vec<_> = doomed
            .iter()
            .filter(|doomed| doomed.token.name == token.name)
            .collect();
        let outcome = destroy_on(config, preview, &here, &mut done);
        outcome.map_err(|error| KeysError::PrunedPartly {
            token: token.label.clone(),
            error: Box::new(error),
            done: done.clone(),
        })?;
    }
    Ok(done)
}

fn destroy_on(
    config: &Pkcs11Config,
    preview: &Preview,
    doomed: &[&Doomed<'_>],
    done: &mut DestroyedSoFar,
) -> Result<(), KeysError> {
    let Some(first) = doomed.first() else {
        return Ok(());
    };
    let opened = Opened::new(config, first.on)?;
    let schedule = preview.board.schedule();
    let look = || opened.reports(config, &first.on.keys, schedule.as_deref());
    let reports = look()?;
    for doomed in doomed {
        // Proved once more under this login: handles of an earlier one may name other objects.
        let found = reports.iter().find_map(|report| {
            let key = report.key(doomed.kid())?;
            (report.id == doomed.report.id).then_some((report, key))
        });
        let kid = doomed.kid().clone();
        let (report, key) = found.ok_or_else(|| KeysError::Moved { kid: kid.clone() })?;
        opened.will(Act::Destroy);
        let outcome = destroy::destroy(&opened.token, report, key);
        done.note(kid, opened.token.label(), &outcome);
        outcome?;
    }
    let left = look()?;
    let mut kids = doomed.iter().map(|doomed| doomed.kid());
    let still_there = kids.find(|kid| left.iter().any(|report| report.key(kid).is_some()));
    match still_there {
        Some(kid) => Err(KeysError::StillThere { kid: kid.clone() }),
        None => Ok(()),
    }
}

/// Whether it is certain from here that every instance counts the key as expired: of a successor whose creation is unknown,
/// nobody can tell how long the others have known it.
fn is_settled(key: &KeyOverview, overview: &Overview) -> bool {
    let rules = &overview.rules;
    let in_rotation = |key: &&KeyOverview| matches!(key.role, Role::Scheduled(_));
    let mut newer = overview.keys.iter().filter(in_rotation);
    rules.unsafe_timing
        || newer.any(|newer| {
            let since = newer.created.map(|created| created.seconds().plus(1));
            let since = since.or(newer.seen).zip(newer.instant);
            newer.instant > key.instant
                && since.is_some_and(|(since, instant)| {
                    let switch = instant.max(since.plus(rules.lead));
                    switch.plus(rules.retain) <= overview.now
                })
        })
}

impl Doomed<'_> {
    fn kid(&self) -> &Kid {
        self.key.key.kid()
    }
}

impl<'a> Answer<'a> {
    fn of(config: &'a Pkcs11Config, preview: &'a Preview, overview: &'a Overview) -> Self {
        let expired = overview.keys.iter();
        let expired = expired.filter(|key| key.role == Role::Scheduled(State::Expired));
        let (settled, unsettled): (Vec<_>, Vec<_>) =
            expired.partition(|key| is_settled(key, overview));
        let mut doomed = Vec::new();
        for key in settled {
            for (on, token) in config.tokens.iter().zip(&preview.tokens) {
                let held = token.reports.iter();
                let held = held.filter(|report| report.key(key.key.kid()).is_some());
                doomed.extend(held.map(|report| Doomed {
                    token,
                    on,
                    report,
                    key,
                }));
            }
        }
        Self {
            now: overview.now,
            rules: overview.rules,
            destroyed: false,
            doomed,
            unsettled,
            complaints: Vec::new(),
        }
    }

    fn json(&self) -> Value {
        let keys = self.doomed.iter().map(|doomed| {
            json!({
                "kid": doomed.kid().as_str(),
                "algorithm": doomed.key.key.algorithm().name(),
                "removal": doomed.key.removal.map(UnixSeconds::rfc3339),
                "token": doomed.token.label,
                "label": doomed.report.label,
                "id": hex::encode(&doomed.report.id),
                "destroyed": self.destroyed,
            })
        });
        let kept = self.unsettled.iter().map(|key| key.key.kid().as_str());
        json!({
            "dry_run": !self.destroyed,
            "keys": keys.collect::<Vec<_>>(),
            "kept": kept.collect::<Vec<_>>(),
            "retain_seconds": self.rules.retain,
            "max_ttl_seconds": self.rules.max_ttl,
            "warnings": self.complaints,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if self.doomed.is_empty() {
            text.push_str("no key to destroy\n");
        } else {
            let rows: Vec<[String; 6]> = self.doomed.iter().map(|one| self.cells(one)).collect();
            text = aligned(
                [
                    "KID",
                    "ALG",
                    "NOT PUBLISHED SINCE",
                    "TOKEN",
                    "LABEL",
                    "CKA_ID",
                ],
                &rows,
            );
        }
        for key in &self.unsettled {
            // Writing to a String does not fail.
            writeln!(text, "kept: {}: expired as seen from here, but its successor does not say when it was made (CKA_ID is no UUIDv7), so other instances may still sign with it. Run this with the MACP_AUTH_STATE_DIR of an instance that has known the successor for the lead and the retention", key.key.kid()).ok();
        }
        let Rules {
            retain, max_ttl, ..
        } = self.rules;
        writeln!(text, "counted with a retention of {retain} s (MACP_AUTH_KEY_RETAIN_SECONDS) and tokens that live {max_ttl} s at most (MACP_AUTH_MAX_TTL_SECONDS)").ok();
        match (self.doomed.is_empty(), self.destroyed) {
            (true, _) => {}
            (false, true) => text.push_str(
                "destroyed, private and public halves; running instances notice at their next look\n",
            ),
            (false, false) => {
                text.push_str("nothing was destroyed; `keys prune --yes` destroys these for good\n");
            }
        }
        for complaint in &self.complaints {
            writeln!(text, "warning: {complaint}").ok();
        }
        text
    }

    fn cells(&self, doomed: &Doomed<'_>) -> [String; 6] {
        let since = doomed.key.removal.map(|at| instant(at, self.now));
        [
            doomed.kid().as_str().to_owned(),
            doomed.key.key.algorithm().to_string(),
            since.unwrap_or_default(),
            doomed.token.label.clone(),
            doomed.report.label.clone(),
            hex::encode(&doomed.report.id),
        ]
    }
}

impl DestroyedSoFar {
    fn note(&mut self, kid: Kid, token: &str, outcome: &Result<Option<Failure>, DestroyFault>) {
        match outcome {
            Err(DestroyFault::Untouched(_)) => {}
            Err(DestroyFault::Unknown { .. }) => self.in_doubt = Some(kid),
            Ok(None) | Err(DestroyFault::PublicLeft { .. }) => self.gone.push(kid),
            Ok(Some(complaint)) => {
                self.complaints.push(format!(
                    "the token {token} answered {complaint} when it was to destroy {kid}, and no longer shows its private half: it is gone"
                ));
                self.gone.push(kid);
            }
        }
    }
}

impl std::fmt::Display for DestroyedSoFar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<String> = self.gone.iter().map(Kid::to_string).collect();
        match (kids.is_empty(), &self.in_doubt) {
            (true, None) => f.write_str("Nothing was destroyed"),
            (true, Some(_)) => f.write_str("Nothing else was destroyed"),
            (false, _) => write!(f, "Destroyed for good: {}", kids.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, Jwk};
    use crate::keys::local::LocalKey;
    use crate::keys::memory::{Found, Memory, TokenName};
    use crate::keys::rules::Rules;
    use crate::keys::schedule::Created;
    use crate::keys::{Board, BoardConfig, PublishedKey};
    use std::path::Path;

    const NOW: u64 = 1_800_000_000;
    /// Lead and retention.
    const LONG: u64 = 900 + 4800;

    /// An old key of which nothing is known, and a successor.
    fn overview(instant: u64, created: Option<u64>, seen: u64, rules: Rules) -> Overview {
        let at = |wall| Moment {
            wall: UnixSeconds::new(wall),
            running: wall,
        };
        let config = BoardConfig {
            rules,
            algorithm: None,
            after_convergence: false,
            files: crate::keys::lists::ListFiles::default(),
            directory: None,
            tokens: Vec::new(),
        };
        let found = [(0, None), (instant, created)].map(|(instant, created)| {
            let local = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
            let jwk = Jwk::by_thumbprint(local.jwk().key().clone());
            Found {
                key: PublishedKey::new(jwk).unwrap().into(),
                instant: UnixSeconds::new(instant),
                created: created.map(|at| Created::at(UnixSeconds::new(at))),
            }
        });
        let board = Board::open(config, Memory::empty(at(seen).wall), at(seen)).unwrap();
        let token = TokenName::new(Path::new("/m.so"), "t");
        board.looked(&token, &found, Vec::new(), at(seen));
        board.tick(at(NOW));
        board.overview(at(NOW))
    }

    #[test]
    fn an_expired_key_is_certain_where_its_successor_says_or_was_seen_to_be_old_enough() {
        let rehearsal = Rules {
            unsafe_timing: true,
            ..Rules::DEFAULTS
        };
        #[rustfmt::skip]
        let rows = [
            ("made long ago", overview(NOW - LONG, Some(NOW - LONG - 1), NOW, Rules::DEFAULTS), true),
            ("made just too late", overview(NOW - LONG, Some(NOW - LONG), NOW, Rules::DEFAULTS), false),
            ("nobody knows when", overview(NOW - LONG, None, NOW, Rules::DEFAULTS), false),
            ("known for long", overview(NOW - LONG, None, NOW - LONG, Rules::DEFAULTS), true),
            ("known too short", overview(NOW - LONG, None, NOW - LONG + 1, Rules::DEFAULTS), false),
            ("in a rehearsal", overview(NOW - LONG, None, NOW, rehearsal), true),
        ];
        for (name, overview, settled) in rows {
            let [new, old] = overview.keys.as_slice() else {
                panic!("{name}: {overview:?}");
            };
            assert_eq!(is_settled(old, &overview), settled, "{name}");
            assert_eq!(
                is_settled(new, &overview),
                rehearsal_of(&overview),
                "{name}"
            );
        }
    }

    /// Then nothing is asked but the timetable.
    const fn rehearsal_of(overview: &Overview) -> bool {
        overview.rules.unsafe_timing
    }
}
