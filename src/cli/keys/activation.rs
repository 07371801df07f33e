//! From when on a new key signs: what was asked for, against the lead that verifiers need. Pure.
//!
//! ```text
//! nothing is published yet   the present instant, or any that is asked for
//! else                       now + lead + 60 s; another instant only if the lead fits before it
//! --now                      the present instant: the lead is waited for all the same (schedule), and the command says so
//! ```

use std::fmt;

use super::arguments::ActivationArguments;
use super::span::{Span, Spelled, instant};
use crate::clock::UnixSeconds;
use crate::keys::label::Instant;
use crate::keys::rules::{Rules, UnsafeTiming};

/// What decides.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    pub(super) now: UnixSeconds,
    pub(super) rules: Rules,
    /// Verifiers may have a key set: a new key is not in it.
    pub(super) published: bool,
    /// Instants of the keys that are there: a key may join one.
    pub(super) instants: Vec<UnixSeconds>,
}

/// The key would sign before every verifier can have it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TooSoon {
    pub at: UnixSeconds,
    pub now: UnixSeconds,
    pub rules: Rules,
}

/// Between asking for a key and its being there.
const MARGIN: u64 = 60;

impl Situation {
    /// The instant of the new key. None: no label can carry it.
    pub(super) fn instant(
        &self,
        asked: ActivationArguments,
    ) -> Result<Option<Instant>, Box<TooSoon>> {
        let asked_for = asked.activate_at.map(Instant::seconds);
        let after = asked.activate_in.map(Span::seconds);
        let asked_for = asked_for.or_else(|| after.map(|span| self.now.plus(span)));
        let at = match asked_for {
            Some(at) => self.late_enough(at)?,
            None if asked.now || !self.published => self.now,
            None => self.earliest().plus(MARGIN),
        };
        Ok(Instant::at(at))
    }

    fn late_enough(&self, at: UnixSeconds) -> Result<UnixSeconds, Box<TooSoon>> {
        // A key that joins others waits for its own lead behind them.
        if at >= self.earliest() || !self.published || self.instants.contains(&at) {
            return Ok(at);
        }
        Err(Box::new(TooSoon {
            at,
            now: self.now,
            rules: self.rules,
        }))
    }

    const fn earliest(&self) -> UnixSeconds {
        self.now.plus(self.rules.lead)
    }
}

impl fmt::Display for TooSoon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, now, rules } = self;
        let safe = rules.lead.saturating_add(MARGIN);
        let sum = UnsafeTiming::Lead(*rules);
        write!(
            f,
            "a key that signs from {at} on would not have been published for the lead of {lead} before, and verifiers would reject its tokens. Give no time, or --activate-in {minutes}m: {safe}. (MACP_AUTH_KEY_LEAD_SECONDS: {sum})",
            at = instant(*at, *now),
            lead = Spelled(rules.lead),
            minutes = safe.div_ceil(60),
            safe = instant(now.plus(safe.div_ceil(60) * 60), *now),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn situation(published: bool) -> Situation {
        Situation {
            now: UnixSeconds::new(NOW),
            rules: Rules::DEFAULTS,
            published,
            instants: vec![UnixSeconds::new(NOW + 300)],
        }
    }

    fn at(seconds: u64) -> ActivationArguments {
        let instant = Instant::at(UnixSeconds::new(seconds));
        ActivationArguments {
            activate_at: instant,
            ..ActivationArguments::default()
        }
    }

    fn after(span: &str) -> ActivationArguments {
        ActivationArguments {
            activate_in: Some(span.parse().unwrap()),
            ..ActivationArguments::default()
        }
    }

    #[test]
    fn a_new_key_signs_after_the_lead_unless_it_is_the_first() {
        let nothing = ActivationArguments::default();
        let now = ActivationArguments {
            now: true,
            ..nothing
        };
        for (name, published, asked, want) in [
            ("the first", false, nothing, Some(0)),
            ("the first, at once", false, now, Some(0)),
            ("the first, soon", false, after("10s"), Some(10)),
            ("the second", true, nothing, Some(960)),
            ("at once all the same", true, now, Some(0)),
            ("exactly the lead", true, after("900s"), Some(900)),
            ("a second less", true, after("899s"), None),
            ("at an instant", true, at(NOW + 901), Some(901)),
            ("at one too early", true, at(NOW + 299), None),
            ("at one in the past", true, at(1), None),
            ("with keys that are there", true, at(NOW + 300), Some(300)),
        ] {
            let got = situation(published).instant(asked);
            let got = got.ok().flatten().map(|at| at.seconds().get() - NOW);
            assert_eq!(got, want, "{name}");
        }
        assert_eq!(
            situation(false).instant(at(1)).unwrap().unwrap().seconds(),
            UnixSeconds::new(1)
        );
    }

    #[test]
    fn a_refusal_shows_the_sum_and_a_time_that_is_taken() {
        let refused = situation(true)
            .instant(after("6m"))
            .unwrap_err()
            .to_string();

        for part in [
            "2027-01-15T08:06:00Z (in 6 min)",
            "lead of 15 min",
            "--activate-in 16m: 2027-01-15T08:16:00Z",
            "491 s = 2.2 x 30 (MACP_AUTH_KEY_POLL_SECONDS) +",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(situation(true).instant(after("16m")).is_ok());
    }
}
