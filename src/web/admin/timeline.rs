//! The lives of keys as lengths on a line. Pure: from an [`Overview`] to rows, spans and marks; `drawing` makes them visible.
//!
//! ```text
//! key 2   ....PREPARED......|==ACTIVE===========>
//! key 1   ======ACTIVE======|~~RETIRED~~|
//!              now ^
//! ```
//!
//! The window shows what comes next: up to the removal that the next switch brings about, and at most as much of the past.

use std::fmt;

use crate::clock::UnixSeconds;
use crate::keys::Overview;
use crate::keys::board::{KeyOverview, Role};
use crate::keys::schedule::{Created, State};

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    pub(super) window: Window,
    pub(super) now: Place,
    pub(super) rows: Vec<Row<'a>>,
    pub(super) ticks: Vec<Tick>,
    /// Keys for which there was no room.
    pub(super) left_out: usize,
}

/// What is shown of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: UnixSeconds,
    pub(super) until: UnixSeconds,
}

/// From left to right, in ten-thousandths of the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u16);

/// One key.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) key: &'a KeyOverview,
    pub(super) spans: Vec<Span>,
    pub(super) marks: Vec<Mark>,
}

/// A key is in one phase from one place to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) phase: Phase,
    pub(super) from: Place,
    pub(super) until: Place,
    /// None: before anything that is known.
    pub(super) starts: Option<UnixSeconds>,
    /// None: not foreseen.
    pub(super) ends: Option<UnixSeconds>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    In(State),
    /// Published, and never signs.
    Aside,
    Revoked,
}

/// An instant at which something happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) event: Event,
    pub(super) at: UnixSeconds,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Activation,
    Retirement,
    Removal,
}

/// A label of the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) place: Place,
    pub(super) label: String,
}

/// More rows are a wall, and the table has them all.
const MOST_ROWS: usize = 12;
const MOST_TICKS: u64 = 5;
/// A label nearer to an end would have to be moved, into its neighbour.
const MARGIN: u16 = 800;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Between two ticks.
const STEPS: [u64; 17] = [
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];

impl<'a> Timeline<'a> {
    pub(super) fn of(overview: &'a Overview) -> Self {
        let window = Window::of(overview);
        let keys = overview.keys.iter();
        let rows = keys.take(MOST_ROWS).map(|key| Row::of(key, window));
        Self {
            window,
            now: window.place(overview.now),
            rows: rows.collect(),
            ticks: window.ticks(),
            left_out: overview.keys.len().saturating_sub(MOST_ROWS),
        }
    }
}

impl Window {
    fn of(overview: &Overview) -> Self {
        let now = overview.now;
        let rules = &overview.rules;
        let after_switch = overview
            .next_switch()
            .map(|switch| switch.plus(rules.retain));
        let horizon = after_switch.max(overview.next_removal());
        let ahead = match horizon {
            Some(last) => last.get().saturating_sub(now.get()),
            None => rules.lead.saturating_add(rules.retain),
        };
        let ahead = ahead.max(MINUTE).saturating_add(ahead / 8);
        let oldest = overview.keys.iter().filter_map(known_since).min();
        let age = oldest.map_or(0, |oldest| now.get().saturating_sub(oldest.get()));
        let past = age.saturating_add(age / 8).clamp(ahead / 4, ahead);
        Self {
            from: UnixSeconds::new(now.get().saturating_sub(past)),
            until: now.plus(ahead),
        }
    }

    const fn length(self) -> u64 {
        self.until.get().saturating_sub(self.from.get())
    }

    /// Where an instant is; what lies outside is at the edge.
    fn place(self, at: UnixSeconds) -> Place {
        let along = u128::from(at.get().saturating_sub(self.from.get()));
        let place = along * u128::from(Place::END.0) / u128::from(self.length().max(1));
        let place = u16::try_from(place).unwrap_or(Place::END.0);
        Place(place.min(Place::END.0))
    }

    fn contains(self, at: UnixSeconds) -> bool {
        self.from <= at && at <= self.until
    }

    fn ticks(self) -> Vec<Tick> {
        let fits = |step: &&u64| self.length() / **step <= MOST_TICKS;
        let widest = self.length() / MOST_TICKS + 1;
        let step = STEPS.iter().find(fits).copied().unwrap_or(widest);
        let first = self.from.get().div_ceil(step);
        (first..)
            .map(|number| UnixSeconds::new(number.saturating_mul(step)))
            .take_while(|at| self.contains(*at))
            .take(usize::try_from(MOST_TICKS).unwrap_or(0) + 1)
            .map(|at| Tick {
                place: self.place(at),
                label: label(at, self.length()),
            })
            .filter(|tick| (MARGIN..=Place::END.0 - MARGIN).contains(&tick.place.0))
            .collect()
    }
}

impl Place {
    pub(super) const END: Self = Self(10_000);

    /// The distance to a place further on.
    pub(super) const fn to(self, other: Self) -> Self {
        Self(other.0.saturating_sub(self.0))
    }

    pub(super) const fn per_cent(self) -> u16 {
        self.0 / 100
    }

    /// Half way to a place further on.
    pub(super) const fn half_way(self, other: Self) -> Self {
        Self(self.0 + self.to(other).0 / 2)
    }
}

/// `12.34%`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl<'a> Row<'a> {
    fn of(key: &'a KeyOverview, window: Window) -> Self {
        let life = Life::of(key);
        let events = [
            (Event::Activation, key.switch),
            (Event::Retirement, life.retirement()),
            (Event::Removal, key.removal),
        ];
        let marks = events.into_iter().filter_map(|(event, at)| {
            let at = at.filter(|at| window.contains(*at))?;
            let place = window.place(at);
            Some(Mark { event, at, place })
        });
        let spans = life.spans().into_iter().flatten();
        Self {
            key,
            spans: spans.filter_map(|span| span.within(window)).collect(),
            marks: if key.revoked {
                Vec::new()
            } else {
                marks.collect()
            },
        }
    }
}

/// When a key passes from one phase to the next.
#[derive(Debug, Clone, Copy)]
struct Life {
    /// None: the key has no turn.
    switch: Option<UnixSeconds>,
    revoked: bool,
    since: Option<UnixSeconds>,
    retired: Option<UnixSeconds>,
    removal: Option<UnixSeconds>,
}

/// A phase with its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    phase: Phase,
    starts: Option<UnixSeconds>,
    ends: Option<UnixSeconds>,
}

impl Life {
    fn of(key: &KeyOverview) -> Self {
        let scheduled = matches!(key.role, Role::Scheduled(_));
        Self {
            switch: key.switch.filter(|_| scheduled),
            revoked: key.revoked,
            since: known_since(key),
            retired: key.retired,
            removal: key.removal,
        }
    }

    /// A newer key that took over before this one's turn does not retire it twice.
    fn retirement(&self) -> Option<UnixSeconds> {
        let retired = self.retired?.max(self.switch?);
        (self.removal.is_none_or(|removal| retired < removal)).then_some(retired)
    }

    /// As [`Timetable::state`](crate::keys::schedule::Timetable::state) has them, one after the other.
    fn spans(&self) -> [Option<Stretch>; 4] {
        let whole = |phase| Stretch {
            phase,
            starts: self.since,
            ends: None,
        };
        let switch = match self.switch {
            _ if self.revoked => return [Some(whole(Phase::Revoked)), None, None, None],
            None => return [Some(whole(Phase::Aside)), None, None, None],
            Some(switch) => switch,
        };
        let part = |state, starts: Option<UnixSeconds>, ends: Option<UnixSeconds>| {
            let long = match (starts, ends) {
                (Some(starts), Some(ends)) => starts < ends,
                (None, Some(ends)) => ends > UnixSeconds::EVER,
                (_, None) => true,
            };
            let phase = Phase::In(state);
            long.then_some(Stretch {
                phase,
                starts,
                ends,
            })
        };
        let before = |at: Option<UnixSeconds>| match (at, self.removal) {
            (Some(at), Some(removal)) => Some(at.min(removal)),
            (at, removal) => at.or(removal),
        };
        let begun = (switch > UnixSeconds::EVER).then_some(switch);
        [
            part(State::Prepared, self.since, before(Some(switch))),
            part(State::Active, begun, before(self.retired)),
            self.retired
                .and_then(|retired| part(State::Retired, Some(retired.max(switch)), self.removal)),
            self.removal
                .and_then(|removal| part(State::Expired, Some(removal), None)),
        ]
    }
}

impl Stretch {
    /// None: outside.
    fn within(self, window: Window) -> Option<Span> {
        let starts = self.starts.unwrap_or(UnixSeconds::EVER);
        let ends = self.ends.unwrap_or(UnixSeconds::new(u64::MAX));
        (starts <= window.until && window.from < ends).then(|| Span {
            phase: self.phase,
            from: window.place(starts),
            until: window.place(ends),
            starts: self.starts,
            ends: self.ends,
        })
    }
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::In(state) => Role::Scheduled(state).name(),
            Self::Aside => "PUBLISHED",
            Self::Revoked => "REVOKED",
        }
    }
}

/// When it was made, else when it was first seen here.
fn known_since(key: &KeyOverview) -> Option<UnixSeconds> {
    key.created.map(Created::seconds).or(key.seen)
}

/// The hour, or the day where that changes, or the month.
fn label(at: UnixSeconds, length: u64) -> String {
    let text = at.rfc3339();
    let part = match () {
        () if length > 365 * DAY => text.get(..7),
        () if at.get().is_multiple_of(DAY) => text.get(5..10),
        () => text.get(11..16),
    };
    part.unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
