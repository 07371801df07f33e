//! When a token that signs is started over because its keys can no longer be read.
//!
//! Looks that fail or find nothing change nothing at first: what has signed goes on. But after the lead it may sign no more,
//! since others may have changed keys by then, and a signature does not make the module show them again. So the module is
//! started over, as for any trouble: after half of that time, once in each such half, and when an operator asks.
//!
//! [`Blindness`] knows no module and no board: is told what happened, and says what is due.

use std::time::Duration;

use super::supervisor::{Down, Supervisor};
use crate::clock::Deadline;
use crate::keys::rules::Rules;

/// Of one token.
#[derive(Debug)]
pub(super) struct Blindness {
    patience: Duration,
    until: Deadline,
    /// By an operator, since the keys were last read.
    asked: bool,
}

impl Blindness {
    pub(super) fn new(rules: &Rules) -> Self {
        let patience = Duration::from_secs(rules.sign_stale_after() / 2);
        Self {
            patience,
            until: Deadline::after(patience),
            asked: false,
        }
    }

    /// The keys were read, or the module was started to that end.
    pub(super) fn over(&mut self) {
        self.until = Deadline::after(self.patience);
        self.asked = false;
    }

    /// Somebody asks for a look.
    pub(super) const fn ask(&mut self) {
        self.asked = true;
    }

    /// After a look: it has read nothing, and that for long enough.
    fn is_due(&self) -> bool {
        self.asked || self.until.passed()
    }
}

impl Supervisor {
    /// A token that signs although looks tell nothing of its keys is not left so until it may sign no more.
    pub(super) fn cured_if_blind(&mut self, looked: Result<(), Down>) -> Result<(), Down> {
        if looked.is_err() || !self.blindness.is_due() || self.started_just_now() {
            return looked;
        }
        tracing::warn!(token = %self.charge.name, "the token signs, but its keys cannot be read; the module is started over");
        self.start_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(seconds: u64) -> Blindness {
        Blindness::new(&Rules {
            lead: 2 * seconds,
            poll: 0,
            verifier_ttl: 0,
            jwks_max_age: 0,
            ..Rules::SHORT
        })
    }

    #[test]
    fn a_start_is_due_after_half_the_time_that_keys_may_be_unread() {
        assert_eq!(
            Blindness::new(&Rules::DEFAULTS).patience,
            Duration::from_secs(450)
        );
        assert!(!patient(60).is_due());

        let mut blind = patient(60);
        blind.until = Deadline::after(Duration::ZERO);
        assert!(blind.is_due());
        blind.over();
        assert!(!blind.is_due(), "once in that time");
    }

    #[test]
    fn a_start_is_due_where_somebody_asks_until_keys_are_read() {
        let mut blind = patient(60);
        blind.ask();
        assert!(blind.is_due());

        blind.over();
        assert!(!blind.is_due());
    }
}
