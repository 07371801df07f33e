//! The only home of clocks. Everything else receives time as a value.
//!
//! [`UnixSeconds`] is what tokens and labels are stamped with; [`Deadline`] is how long a caller may still wait.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clocks"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Whole seconds since 1970-01-01T00:00:00Z (RFC 7519, NumericDate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(u64);

impl UnixSeconds {
    /// The start of the epoch: "active since ever".
    pub const EVER: Self = Self(0);

    /// Wraps seconds since the epoch.
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Reads the system clock. A clock before 1970 reads as 0.
    pub fn now() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        )
    }

    /// Seconds since the epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This instant and `seconds` more; saturates.
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// `2026-12-01T12:00:00Z`; the bare number where the calendar ends.
    pub fn rfc3339(self) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|at| {
                at.format(&time::format_description::well_known::Rfc3339)
                    .ok()
            })
            .unwrap_or_else(|| self.0.to_string())
    }
}

/// Both clocks at once: what the calendar says, and how long the machine has been running, sleep included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub wall: UnixSeconds,
    /// CLOCK_BOOTTIME, whole seconds. Nobody sets it.
    pub running: u64,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        let running = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self {
            wall: UnixSeconds::now(),
            running: u64::try_from(running.tv_sec).unwrap_or(0),
        }
    }
}

/// The instant until which a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The instant that lies `wait` from now.
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// How long is left; zero once passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The instant at which half of what is left has passed.
    pub fn half_way(self) -> Self {
        Self::after(self.remaining() / 2)
    }

    /// Whether nothing is left.
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// For timers that take an instant.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

/// A monotonic reading, to measure how long ago something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
