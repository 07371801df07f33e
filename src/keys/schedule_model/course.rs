//! What holds for a whole history: the times, what there is, and what may happen. Seconds are fewer than in life, so that a
//! history of a dozen leads takes milliseconds.

use super::dice::Dice;
use crate::jose::Algorithm;
use crate::keys::rules::Rules;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) rules: Rules,
    pub(super) tokens: usize,
    /// Replicas have a state directory.
    pub(super) saves: bool,
    /// Now and then an instance with an empty one takes the place of another.
    pub(super) newcomers: bool,
    /// MACP_AUTH_SIGNING_ALG.
    pub(super) algorithm: Option<Algorithm>,
    /// An activation waits for verifiers.
    pub(super) converges: bool,
    /// A shared HTTP cache stands before each replica.
    pub(super) proxied: bool,
    /// Of a hundred keys, so many are made by another tool, which leaves no creation time.
    pub(super) foreign: u64,
    /// Keys whose instant has passed when they are made.
    pub(super) late: bool,
    pub(super) revokes: bool,
    /// The maximum life of tokens is lowered once, at the restart of each replica.
    pub(super) lowers: bool,
    /// Milliseconds after the start.
    pub(super) ends: u64,
}

/// What is taken away from safe rules, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Nothing,
    /// Per cent that are left of the least safe lead.
    Lead(u64),
    /// Per cent that are left of the least safe retention.
    Retain(u64),
}

impl Course {
    pub(super) fn random(dice: &mut Dice, cut: Cut) -> Self {
        let rules = cut.of(safe(dice));
        let tokens = dice.pick(&[1, 1, 2]);
        let saves = tokens > 1 || dice.chance(70);
        let newcomers = saves && tokens == 1 && dice.chance(40);
        let foreign = dice.pick(&[0, 0, 30, 100]);
        Self {
            tokens,
            saves,
            newcomers,
            algorithm: dice.pick(&[None, None, Some(Algorithm::Rs256), Some(Algorithm::Es256)]),
            converges: dice.chance(30),
            proxied: dice.chance(60),
            foreign,
            // Who does not remember cannot tell a new key of another tool from an old one.
            late: saves && !newcomers || foreign == 0,
            revokes: dice.chance(40),
            lowers: saves && !newcomers && dice.chance(25),
            ends: dice.between(8, 14) * 1000 * rules.least_lead(),
            rules,
        }
    }

    /// Whoever runs has known the keys since they were made.
    pub(super) const fn all_remember(&self) -> bool {
        self.saves && !self.newcomers
    }
}

/// Rules whose sums hold, often only just.
fn safe(dice: &mut Dice) -> Rules {
    let mut rules = Rules {
        poll: dice.between(5, 30),
        jwks_max_age: dice.pick(&[0, 5, 20, 60]),
        verifier_ttl: dice.between(20, 200),
        skew: dice.pick(&[0, 2, 10, 20]),
        max_ttl: dice.between(61, 400),
        lead: 0,
        retain: 0,
        unsafe_timing: false,
    };
    rules.lead = rules.least_lead() + dice.pick(&[0, 0, 30, 200]);
    rules.retain = if dice.chance(50) {
        rules.least_retain()
    } else {
        Rules::default_retain(rules.max_ttl, rules.lead)
    };
    rules
}

impl Cut {
    const fn of(self, safe: Rules) -> Rules {
        match self {
            Self::Nothing => safe,
            Self::Lead(left) => Rules {
                lead: safe.least_lead() * left / 100,
                unsafe_timing: true,
                ..safe
            },
            Self::Retain(left) => Rules {
                retain: safe.least_retain() * left / 100,
                unsafe_timing: true,
                ..safe
            },
        }
    }
}
