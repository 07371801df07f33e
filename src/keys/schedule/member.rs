//! One key of a timetable: when it was made, when it came here, and from when on it may sign.
//!
//! A key that came to its token long after it was made counts as made when it came: nobody published it before. Where another
//! replica may have seen it earlier, the room of the keys before it is counted from the last look that did not show it.

use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::rules::Rules;

/// One key, as far as time is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub kid: Kid,
    /// From its label or from the schedule file.
    pub instant: UnixSeconds,
    /// None: unknown, it was there when this replica first looked.
    pub created: Option<Created>,
    /// When this replica first saw it.
    pub seen: UnixSeconds,
    /// The last look at its token that did not show it. None: it was there at the first look, perhaps for long.
    pub absent: Option<UnixSeconds>,
    /// An operator has said that it must neither sign nor be published.
    pub revoked: bool,
    /// Its token was read and no longer holds it: it stays published and signs no more.
    pub gone: bool,
}

/// When a key was made. Milliseconds, because two keys of one second must not both be the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(u64);

impl Member {
    /// From when on it may sign, where another key signs before it.
    pub(super) fn ripe(&self, created: Created, rules: &Rules) -> UnixSeconds {
        let ripe = created.rounded_up().plus(rules.lead).max(self.instant);
        if self.was_brought(rules) {
            // Other replicas may have seen it later still, but not by more than two polls.
            ripe.max(self.seen.plus(rules.least_lead()))
        } else {
            ripe
        }
    }

    /// It came to its token long after it was made.
    fn was_brought(&self, rules: &Rules) -> bool {
        self.absent.is_some() && self.came_late(self.seen, rules)
    }

    /// When it was made, or brought here.
    pub(super) fn since(&self, rules: &Rules) -> Option<Created> {
        if self.was_brought(rules) {
            Some(Created::at(self.seen))
        } else {
            self.created
        }
    }

    /// Its date is that of its coming, and `other` was there before that.
    pub(super) fn came_after(&self, other: &Self, rules: &Rules) -> bool {
        let is_dated_here = self.since(rules) == Some(Created::at(self.seen));
        // Nobody sees a key long before it is made.
        let plausible = other
            .created
            .is_none_or(|created| created.seconds() <= other.seen.plus(rules.skew));
        is_dated_here && plausible && self.absent.is_some_and(|absent| other.seen <= absent)
    }

    /// The earliest time from which it may sign elsewhere, its instant apart: it was not there before the look that did not show it.
    pub(super) fn bound(&self, rules: &Rules) -> UnixSeconds {
        match (self.created, self.absent) {
            (None, _) => UnixSeconds::EVER,
            (Some(created), Some(absent)) if created == Created::at(self.seen) => {
                absent.min(self.seen).plus(rules.lead)
            }
            (Some(created), Some(absent)) if self.came_late(absent, rules) => {
                let ripe = created.seconds().plus(rules.lead);
                ripe.max(absent.plus(rules.least_lead()))
            }
            (Some(created), _) => created.seconds().plus(rules.lead),
        }
    }

    /// Whether who first saw it at `seen` saw it later than two polls after it was made.
    fn came_late(&self, seen: UnixSeconds, rules: &Rules) -> bool {
        let in_time = rules.two_polls().saturating_add(rules.skew);
        let created = self
            .created
            .map(|created| created.rounded_up().plus(in_time));
        !rules.unsafe_timing && created.is_some_and(|in_time| in_time < seen)
    }

    /// Whether this replica has published it for the lead.
    pub(super) fn published_since_lead(&self, now: UnixSeconds, rules: &Rules) -> bool {
        let since = match self.created.map(Created::rounded_up) {
            Some(created) if self.absent.is_some() => created.max(self.seen),
            Some(created) => created,
            None => self.seen,
        };
        since.plus(rules.lead) <= now
    }
}

impl Created {
    /// A later reading than this belongs to no key: UUIDv7 as CKA_ID can also be random bytes.
    const FIRST_PLAUSIBLE: u64 = 1_704_067_200_000;

    pub const fn at(instant: UnixSeconds) -> Self {
        Self(instant.get().saturating_mul(1000))
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The creation time in a UUIDv7 (RFC 9562, 5.7), if it lies between 2024 and `now` + skew.
    pub fn from_id(id: &[u8], now: UnixSeconds, skew: u64) -> Option<Self> {
        let &[a, b, c, d, e, f, version, _, variant, ..] = id else {
            return None;
        };
        if id.len() != 16 || version >> 4 != 7 || variant >> 6 != 2 {
            return None;
        }
        let millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let plausible = Self::FIRST_PLAUSIBLE..=Self::at(now.plus(skew)).0.saturating_add(999);
        plausible.contains(&millis).then_some(Self(millis))
    }

    pub(super) const fn rounded_up(self) -> UnixSeconds {
        UnixSeconds::new(self.0.div_ceil(1000))
    }

    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> UnixSeconds {
        UnixSeconds::new(self.0 / 1000)
    }
}
