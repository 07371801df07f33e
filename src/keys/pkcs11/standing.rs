//! What operators hear of a token: the log once a change, readiness at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::discovery::KeyReport;
use super::shared::{Standing, State};
use super::supervisor::{Down, Supervisor};

impl Supervisor {
    /// Logs a change of state once, and keeps it for readiness.
    fn announce(&mut self, outcome: &Result<(), Down>) {
        let down = outcome.as_ref().err().cloned();
        match (&down, &self.last) {
            (Some(_), _) => self.shared.set_state(State::Down),
            // A canary has signed although a thread is stuck: the other sessions serve on.
            (None, Some(live)) if !self.shared.is_live() => {
                self.shared.set_state(State::Live(Arc::clone(live)));
            }
            (None, _) => {}
        }
        let reached = self
            .shared
            .token
            .try_lock()
            .and_then(|token| token.as_ref().map(|token| token.label().to_owned()));
        *self.shared.standing.lock() = Standing {
            token: match (reached, &down) {
                (Some(label), _) => Ok(label),
                (None, down) => Err(down.as_ref().map_or_else(String::new, ToString::to_string)),
            },
            key: match &down {
                None => Ok("proved by a signature".to_owned()),
                Some(down) => Err(down.to_string()),
            },
        };
        if down == self.down {
            return;
        }
        match &down {
            Some(down) => {
                tracing::error!(reason = %down, "no key can sign; trying again every 2 s");
            }
            None => tracing::info!(generation = self.generation, "the token signs"),
        }
        self.down = down;
    }

    /// Each finding is logged when it appears, not at each look.
    fn tell(&mut self, reports: &[KeyReport]) {
        let mut seen = BTreeSet::new();
        for report in reports {
            let line = report.line();
            if !self.told.contains(&line) {
                match &report.outcome {
                    Ok(_) => tracing::info!(key = %line, "key found"),
                    Err(_) => tracing::warn!(key = %line, "key not used"),
                }
                for warning in &report.warnings {
                    tracing::warn!(label = %report.label, %warning, "key");
                }
            }
            seen.insert(line);
        }
        self.told = seen;
    }
}

