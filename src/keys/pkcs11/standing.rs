//! What operators hear of a token: the log once a change, readiness at any time.

use std::collections::BTreeSet;

use super::discovery::{self, KeyReport, Refusal};
use super::shared::{Standing, State};
use super::supervisor::{Down, Supervisor};
use super::token::Token;
use crate::config::{KeySelector, PinSource, TokenConfig};
use crate::keys::lists::KeySchedule;

impl Supervisor {
    /// Logs a change of state once, and keeps it for readiness.
    pub(super) fn announce(&mut self, outcome: &Result<(), Down>) {
        let down = outcome.as_ref().err().cloned();
        // What is well has been made live where it was found so: by now it may have been interrupted again.
        if down.is_some() {
            self.charge.shared.set_state(State::Down);
        }
        let reached = self
            .charge
            .shared
            .token
            .try_lock()
            .and_then(|token| token.as_ref().map(Token::identity));
        let mut standing = self.charge.shared.standing.lock();
        *standing = Standing {
            token: match (&reached, &down) {
                (Some(identity), _) => Ok(identity.label.clone()),
                (None, down) => Err(down.as_ref().map_or_else(String::new, ToString::to_string)),
            },
            identity: reached.or_else(|| standing.identity.take()),
            key: match &down {
                None => Ok("proved by a signature".to_owned()),
                Some(down) => Err(down.to_string()),
            },
        };
        drop(standing);
        if self.announced && down == self.down {
            return;
        }
        self.announced = true;
        match &down {
            Some(down) => {
                tracing::error!(token = %self.charge.name, reason = %down, "the token does not sign")
            }
            None => {
                tracing::info!(token = %self.charge.name, generation = self.generation, "the token signs")
            }
        }
        self.down = down;
    }

    /// Each finding is logged when it appears, not at each look. What is wrong with keys is given back, for alarms.
    pub(super) fn tell(&mut self, reports: &[KeyReport]) -> Vec<String> {
        let names = reports.iter().flat_map(KeyReport::names).collect();
        self.charge.board.named(&self.charge.name, names);
        let mut seen = BTreeSet::new();
        let mut wrong = Vec::new();
        let unpaired_before = std::mem::take(&mut self.unpaired);
        for report in reports {
            let line = report.line();
            if report.outcome.as_ref().err() == Some(&Refusal::NoPublicKey) {
                self.unpaired.insert(report.id.clone());
                // Its public half may be about to be written.
                if !unpaired_before.contains(&report.id) {
                    continue;
                }
            }
            if report.outcome.is_err() {
                wrong.push(line.clone());
            }
            let name = format!("{:?} (CKA_ID {})", report.label, hex::encode(&report.id));
            let findings = report.findings.iter();
            wrong.extend(findings.map(|finding| format!("{name}: {finding}")));
            if !self.told.contains(&line) {
                match &report.outcome {
                    Ok(_) => tracing::info!(token = %self.charge.name, key = %line, "key found"),
                    Err(_) => {
                        tracing::warn!(token = %self.charge.name, key = %line, "key not used")
                    }
                }
                for warning in &report.warnings {
                    tracing::warn!(token = %self.charge.name, label = %report.label, %warning, "key");
                }
            }
            seen.insert(line);
        }
        self.told = seen;
        wrong
    }
}

/// Why there is nothing to sign with, and what to do.
pub fn explain_no_key(
    token: &Token,
    config: &TokenConfig,
    schedule: Option<&KeySchedule>,
    reports: &[KeyReport],
) -> String {
    if !reports.is_empty() {
        let lines: Vec<String> = reports.iter().map(KeyReport::line).collect();
        return format!("no usable key: {}", lines.join(" | "));
    }
    let no_pin = matches!(config.pin, PinSource::None)
        && discovery::visible_private_objects(token).is_ok_and(|visible| visible == 0);
    let pin = if no_pin {
        " It shows no private key at all, and no PIN is configured: set MACP_AUTH_PKCS11_PIN_FILE."
    } else {
        ""
    };
    let token = token.label();
    let make = "`macp-auth-service keys generate --alg RS256`";
    match schedule.map(|schedule| schedule.entries().count()) {
        None => {
            let keys = describe_keys(&config.keys);
            format!("the token {token} holds no private key {keys}.{pin} Make one with {make}")
        }
        Some(entries) => format!(
            "MACP_AUTH_KEY_SCHEDULE_FILE alone says which keys are used, and the token {token} holds none of those that it names ({entries}).{pin} Correct kid or id there; or make a key with {make}, and write the lines that it shows into that file"
        ),
    }
}

/// `under the label prefix macp-jwt`: which keys were asked for.
fn describe_keys(keys: &KeySelector) -> String {
    match keys {
        KeySelector::Prefix(prefix) => format!("under the label prefix {prefix}"),
        KeySelector::Fixed { label, id } => {
            let label = label.as_ref().map(|label| format!("label {label:?}"));
            let id = id.as_ref().map(|id| format!("CKA_ID {}", hex::encode(id)));
            let named: Vec<String> = label.into_iter().chain(id).collect();
            format!("with {}", named.join(" and "))
        }
    }
}
