//! What `keys generate` says: each pair with its name, from when on it may sign, and what that costs.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::super::span::{Spelled, instant};
use super::{NewPair, Order, Place};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Kid};
use crate::keys::AlarmKind;
use crate::keys::board::Overview;
use crate::keys::label::Instant;
use crate::shown::shown;

/// All pairs of one command, and the board with them on it.
pub(super) struct Answer {
    pub(super) pairs: Vec<NewPair>,
    pub(super) overview: Overview,
    algorithm: Algorithm,
    at: Instant,
    notes: Vec<String>,
}

/// What was made before a token failed, and how to make the rest.
#[derive(Debug)]
pub struct MadeSoFar {
    made: Vec<String>,
    /// Labels of the tokens that have none.
    lacking: Vec<String>,
    algorithm: Algorithm,
    at: Instant,
}

impl MadeSoFar {
    pub(super) fn new(pairs: &[NewPair], lacking: &[Place<'_>], order: &Order) -> Self {
        let made = pairs.iter();
        let made = made.map(|pair| {
            format!(
                "{} ({:?}) on {}",
                pair.jwk.kid(),
                pair.label,
                shown(&pair.token)
            )
        });
        Self {
            made: made.collect(),
            lacking: lacking
                .iter()
                .map(|place| place.token.label.clone())
                .collect(),
            algorithm: order.algorithm,
            at: order.at,
        }
    }
}

impl fmt::Display for MadeSoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            made,
            lacking,
            algorithm,
            at,
        } = self;
        // With the whole configuration: the key joins those of its instant, which are then known, however late it is made.
        let tokens = lacking
            .iter()
            .map(|label| format!(" --token {}", word(label)));
        write!(
            f,
            "Made: {}. Once that token is well, make what is missing: `keys generate --alg {algorithm} --activate-at {at}{tokens}`, whenever that is: each key waits for the lead of its own before it signs. Not where `keys list` shows that the token has its key",
            made.join(", "),
            tokens = tokens.collect::<String>(),
            at = at.seconds().rfc3339()
        )
    }
}

impl Answer {
    /// `published`: there were keys before.
    pub(super) fn new(
        pairs: Vec<NewPair>,
        order: &Order,
        published: bool,
        overview: Overview,
    ) -> Self {
        let mut answer = Self {
            pairs,
            overview,
            algorithm: order.algorithm,
            at: order.at,
            notes: Vec::new(),
        };
        if published {
            answer.notes.extend(answer.waits());
            answer.notes.extend(answer.is_late());
        }
        answer.notes.extend(answer.nobody_signs());
        let alarms = answer.overview.alarms.iter();
        let state = alarms.filter(|alarm| alarm.kind == AlarmKind::State);
        answer.notes.extend(state.map(|alarm| alarm.detail.clone()));
        answer
    }

    /// The instant lies before the lead: what that means.
    fn waits(&self) -> Option<String> {
        let first = self.first_turn()?;
        if first <= self.at.seconds() {
            return None;
        }
        let signing = self.overview.signing.as_ref();
        let signing = signing.filter(|kid| self.pair(kid).is_none())?;
        let overview = &self.overview;
        let wait = Spelled(first.get().saturating_sub(overview.now.get()));
        let (least, lead) = (overview.rules.reaches_verifiers(), overview.rules.lead);
        Some(format!(
            "another key may sign, so the new one is published for the lead ({lead} s) before it signs, whatever its instant: {wait} from now. It signs at once only after {signing} is revoked (`keys revoke-bound {signing}`), and verifiers that have not fetched it by then, for up to {least} s, reject its tokens"
        ))
    }

    /// A service with these keys has to refuse.
    fn nobody_signs(&self) -> Option<String> {
        if self.overview.signing.is_some() {
            return None;
        }
        let now = self.overview.now;
        let first = self.overview.next_switch().filter(|first| now < *first)?;
        Some(format!(
            "no key signs before {}, and mints are refused with 503 until then",
            instant(first, now)
        ))
    }

    /// The token took so long that the lead is no longer whole.
    fn is_late(&self) -> Option<String> {
        let rules = &self.overview.rules;
        let first = self.first_turn()?;
        let reached = self.overview.now.plus(rules.least_lead());
        let late = reached > first && !rules.unsafe_timing && self.overview.signing.is_some();
        late.then(|| {
            format!(
                "the key was there only {} before it may sign, and verifiers need {}: some may reject its first tokens. Revoke it before, or make keys earlier",
                Spelled(first.get().saturating_sub(self.overview.now.get())),
                Spelled(rules.least_lead())
            )
        })
    }

    fn pair(&self, kid: &Kid) -> Option<&NewPair> {
        self.pairs.iter().find(|pair| pair.jwk.kid() == kid)
    }

    /// When the first of the new keys may sign.
    fn first_turn(&self) -> Option<UnixSeconds> {
        self.pairs.iter().filter_map(|pair| self.turn(pair)).min()
    }

    fn turn(&self, pair: &NewPair) -> Option<UnixSeconds> {
        let mut keys = self.overview.keys.iter();
        keys.find(|key| key.key.kid() == pair.jwk.kid())?.ripe
    }

    fn signs_now(&self, pair: &NewPair) -> bool {
        self.overview.signing.as_ref() == Some(pair.jwk.kid())
    }

    fn dry_run(&self) -> bool {
        self.pairs.iter().any(|pair| pair.mechanism.is_none())
    }

    pub(super) fn json(&self) -> Value {
        let pairs = self.pairs.iter().map(|pair| {
            let made = pair.mechanism.is_some();
            json!({
                "token": pair.token,
                "kid": made.then(|| pair.jwk.kid().as_str()),
                "algorithm": self.algorithm.name(),
                "label": pair.label,
                "id": made.then(|| hex::encode(&pair.id)),
                "mechanism": pair.mechanism,
                "active_from": self.at.seconds().rfc3339(),
                "signs_from": self.turn(pair).map(UnixSeconds::rfc3339),
                "signs_now": made && self.signs_now(pair),
                "jwk": made.then_some(&pair.jwk),
                "schedule_entry": pair.entry,
                "record": pair.record,
                "notes": pair.notes,
            })
        });
        json!({
            "dry_run": self.dry_run(),
            "keys": pairs.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            if !text.is_empty() {
                text.push('\n');
            }
            self.describe(&mut text, pair);
        }
        for note in &self.notes {
            note_line(&mut text, note);
        }
        let entries = self.pairs.iter().filter_map(|pair| pair.entry.as_deref());
        let entries: String = entries.collect();
        // Writing to a String does not fail.
        if !entries.is_empty() {
            write!(text, "\nFor the file of MACP_AUTH_KEY_SCHEDULE_FILE, without which the key is not used as it should be:\n\n{entries}").ok();
        }
        if self.dry_run() {
            text.push_str("nothing was made (--dry-run)\n");
        }
        text
    }

    fn describe(&self, text: &mut String, pair: &NewPair) {
        let now = self.overview.now;
        let signs = match self.turn(pair) {
            _ if self.signs_now(pair) => "now".to_owned(),
            Some(turn) => instant(turn, now),
            None => {
                "never: it is of the algorithm that MACP_AUTH_SIGNING_ALG does not name".to_owned()
            }
        };
        let made = pair.mechanism.map(|mechanism| {
            let jwk = json!(pair.jwk);
            let id = hex::encode(&pair.id);
            [
                ("kid", pair.jwk.kid().as_str().to_owned()),
                ("CKA_ID", id),
                ("self-test", format!("a signature by {mechanism} verified")),
                ("public JWK", jwk.to_string()),
            ]
        });
        let name = [
            ("token", pair.token.clone()),
            ("algorithm", self.algorithm.to_string()),
            ("label", pair.label.clone()),
            ("active from", instant(self.at.seconds(), now)),
            ("signs from", signs),
        ];
        let record = pair.record.iter();
        let record = record.map(|path| ("record", path.display().to_string()));
        let made = made.into_iter().flatten().chain(record);
        for (name, value) in name.into_iter().chain(made) {
            writeln!(text, "{:<13}{}", format!("{name}:"), shown(&value)).ok();
        }
        for note in &pair.notes {
            note_line(text, note);
        }
    }
}

/// As a shell takes it for one word.
fn word(label: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if label.chars().all(plain) {
        label.to_owned()
    } else {
        format!("'{}'", label.replace('\'', r"'\''"))
    }
}

fn note_line(text: &mut String, note: &str) {
    writeln!(text, "note: {note}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_word_of_a_shell() {
        for (label, want) in [
            ("macp-auth_1.2", "macp-auth_1.2"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(word(label), want);
        }
    }
}
