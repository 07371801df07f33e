//! The times of rotation, and the sums they must keep so that no verifier meets a key it cannot have. All in seconds.
//!
//! ```text
//! lead   >= 2.2 P + C + T + F + 2 S    a new key is in every verifier's cache before it signs
//! retain >= M + L + 2 S + P            an old key is published until its last token is refused for its age
//! ```
//!
//! Pure. docs/rotation.md explains each letter.

use std::fmt;

/// How long a verifier of the runtime waits for a JWKS (F; macp-auth 0.13: 3 s to connect, 5 s in all).
pub const FETCH: u64 = 5;
/// What a verifier allows on `exp` (L; jsonwebtoken's default).
pub const LEEWAY: u64 = 60;
/// How long the runtime goes on with an old JWKS whose refresh fails (G; macp-auth 0.13).
pub const STALE_GRACE: u64 = 3600;
/// A shorter lead cannot be computed from a lead that was not given (docs/rotation.md).
pub const DEFAULT_LEAD: u64 = 900;
/// What the default retention has beside the longest token and the lead.
pub const RETAIN_RESERVE: u64 = 300;

/// Everything that decides when a key signs and how long it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Rules {
    /// P: time between two looks at a token, before up to 10 % of jitter.
    pub poll: u64,
    /// C: how long caches may keep the JWKS.
    pub jwks_max_age: u64,
    /// T: how long a verifier keeps its JWKS before it asks again.
    pub verifier_ttl: u64,
    /// S: how far two clocks may be apart.
    pub skew: u64,
    /// M: longest life of a token.
    pub max_ttl: u64,
    /// From the making of a key to its first signature.
    pub lead: u64,
    /// From the first signature of a key to the end of its predecessor's publication.
    pub retain: u64,
    /// Lead and retention count as given, whatever the sums say.
    pub unsafe_timing: bool,
}

/// A sum that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeTiming {
    #[error("the lead is {lead} s, and must be at least {least} s = {sum}", least = .0.least_lead(), lead = .0.lead, sum = LeadSum(.0))]
    Lead(Rules),
    #[error("the retention is {retain} s, and must be at least {least} s = {sum}", least = .0.least_retain(), retain = .0.retain, sum = RetainSum(.0))]
    Retain(Rules),
}

impl Rules {
    /// As a configuration gives them that names none.
    pub const DEFAULTS: Self = Self {
        poll: 30,
        jwks_max_age: 60,
        verifier_ttl: 300,
        skew: 30,
        max_ttl: 3600,
        lead: DEFAULT_LEAD,
        retain: Self::default_retain(3600, DEFAULT_LEAD),
        unsafe_timing: false,
    };

    /// Short and round, for sums that a reader can do.
    #[cfg(test)]
    pub const SHORT: Self = Self {
        poll: 1,
        jwks_max_age: 1,
        verifier_ttl: 1,
        skew: 0,
        max_ttl: 1,
        lead: 10,
        retain: 200,
        unsafe_timing: true,
    };

    /// The retention of a configuration that gives none.
    pub const fn default_retain(max_ttl: u64, lead: u64) -> u64 {
        max_ttl.saturating_add(lead).saturating_add(RETAIN_RESERVE)
    }

    /// 2.2 P + C + T + F + 2 S, rounded up.
    pub const fn least_lead(&self) -> u64 {
        self.two_polls().saturating_add(self.reaches_verifiers())
    }

    /// M + L + 2 S + P.
    pub const fn least_retain(&self) -> u64 {
        self.max_ttl
            .saturating_add(LEEWAY)
            .saturating_add(2 * self.skew)
            .saturating_add(self.poll)
    }

    /// The least lead with its parts, each by the name of its setting.
    pub fn least_lead_sum(&self) -> impl fmt::Display {
        LeadSum(self)
    }

    /// The same of the least retention.
    pub fn least_retain_sum(&self) -> impl fmt::Display {
        RetainSum(self)
    }

    /// Which sums do not hold.
    pub fn faults(&self) -> impl Iterator<Item = UnsafeTiming> {
        let lead = (self.lead < self.least_lead()).then_some(UnsafeTiming::Lead(*self));
        let retain = (self.retain < self.least_retain()).then_some(UnsafeTiming::Retain(*self));
        lead.into_iter().chain(retain)
    }

    /// C + T + F + 2 S: from a changed JWKS here to the last verifier that has it.
    pub const fn reaches_verifiers(&self) -> u64 {
        self.jwks_max_age
            .saturating_add(self.verifier_ttl)
            .saturating_add(FETCH)
            .saturating_add(2 * self.skew)
    }

    /// An instance that has not read a token for longer may lack a key that others are about to sign with.
    pub const fn jwks_stale_after(&self) -> u64 {
        self.sign_stale_after() - self.reaches_verifiers()
    }

    /// An instance that has not read a token for longer may have missed a whole change of keys.
    pub const fn sign_stale_after(&self) -> u64 {
        if self.lead > self.least_lead() {
            self.lead
        } else {
            self.least_lead()
        }
    }

    /// The same for tokens that were minted while the maximum was higher.
    #[must_use]
    pub fn with_older_tokens(mut self, max_ttl: u64) -> Self {
        if max_ttl > self.max_ttl {
            // As much longer as those tokens live longer.
            self.retain = self.retain.saturating_add(max_ttl - self.max_ttl);
            self.max_ttl = max_ttl;
        }
        self
    }

    /// 2.2 P, rounded up: until then a look has succeeded, even where one fails.
    pub const fn two_polls(&self) -> u64 {
        self.poll.saturating_mul(22).div_ceil(10)
    }
}

struct LeadSum<'a>(&'a Rules);

impl fmt::Display for LeadSum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules {
            poll,
            jwks_max_age,
            verifier_ttl,
            skew,
            ..
        } = self.0;
        write!(
            f,
            "2.2 x {poll} (MACP_AUTH_KEY_POLL_SECONDS) + {jwks_max_age} (MACP_AUTH_JWKS_MAX_AGE_SECONDS) + {verifier_ttl} (MACP_AUTH_VERIFIER_TTL_SECONDS) + {FETCH} (fetch) + 2 x {skew} (MACP_AUTH_CLOCK_SKEW_SECONDS)"
        )
    }
}

struct RetainSum<'a>(&'a Rules);

impl fmt::Display for RetainSum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules {
            poll,
            skew,
            max_ttl,
            ..
        } = self.0;
        write!(
            f,
            "{max_ttl} (MACP_AUTH_MAX_TTL_SECONDS) + {LEEWAY} (leeway of verifiers) + 2 x {skew} (MACP_AUTH_CLOCK_SKEW_SECONDS) + {poll} (MACP_AUTH_KEY_POLL_SECONDS)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Rules = Rules::DEFAULTS;

    #[test]
    fn the_defaults_are_safe_and_their_sums_are_as_documented() {
        assert_eq!(DEFAULTS.least_lead(), 491);
        assert_eq!(DEFAULTS.retain, 4800);
        assert_eq!(DEFAULTS.least_retain(), 3750);
        assert_eq!(DEFAULTS.jwks_stale_after(), 475);
        assert_eq!(DEFAULTS.faults().count(), 0);
    }

    #[test]
    fn a_sum_that_does_not_hold_names_its_parts() {
        let lead = Rules {
            lead: 490,
            ..DEFAULTS
        };
        let retain = Rules {
            retain: 3749,
            ..DEFAULTS
        };
        for (rules, parts) in [
            (
                lead,
                [
                    "490 s",
                    "491 s",
                    "2.2 x 30",
                    "300 (MACP_AUTH_VERIFIER_TTL_SECONDS)",
                ],
            ),
            (
                retain,
                [
                    "3749 s",
                    "3750 s",
                    "3600 (MACP_AUTH_MAX_TTL_SECONDS)",
                    "2 x 30",
                ],
            ),
        ] {
            let faults: Vec<String> = rules.faults().map(|fault| fault.to_string()).collect();
            assert_eq!(faults.len(), 1, "{faults:?}");
            for part in parts {
                assert!(faults[0].contains(part), "{part}: {faults:?}");
            }
        }
    }

    #[test]
    fn tokens_of_an_older_maximum_are_outlived() {
        let lowered = Rules {
            max_ttl: 300,
            retain: Rules::default_retain(300, DEFAULT_LEAD),
            ..DEFAULTS
        };

        assert_eq!(lowered.with_older_tokens(3600), DEFAULTS);
        assert_eq!(DEFAULTS.with_older_tokens(300), DEFAULTS);
    }
}
