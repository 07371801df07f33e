//! Whether the wall clock can be trusted: it must run with the clock that nobody sets, and not lie before what was saved.
//!
//! A jump of more than a minute in either direction stops signing and every change of state, until the clock is as before or
//! an operator confirms it (SIGHUP). Smaller steps are followed. Pure but for the atomics that mints read.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::clock::{Moment, UnixSeconds};

/// See the module. All in seconds.
#[derive(Debug)]
pub struct ClockWatch {
    /// Wall clock less running time, as last believed; [`NONE`] before any was.
    offset: AtomicI64,
    /// No clock that is right shows less.
    floor: AtomicU64,
}

/// Further than this is a jump.
const JUMP: u64 = 60;
const NONE: i64 = i64::MIN;

impl ClockWatch {
    /// Believes `now`, unless `latest`, which was once written down, lies after it.
    pub fn new(now: Moment, latest: Option<UnixSeconds>) -> Self {
        Self {
            offset: AtomicI64::new(offset(now)),
            floor: AtomicU64::new(latest.map_or(0, UnixSeconds::get)),
        }
    }

    /// How far the clock is off, where it cannot be trusted.
    pub fn doubt(&self, now: Moment) -> Option<String> {
        let floor = self.floor.load(Ordering::Relaxed);
        let behind = floor.saturating_sub(now.wall.get());
        if behind > JUMP {
            return Some(format!(
                "the system clock shows a time {behind} s before one that this service has written down. Set it right, or confirm it with SIGHUP"
            ));
        }
        let believed = self.offset.load(Ordering::Relaxed);
        if believed == NONE {
            return None;
        }
        let jump = offset(now).saturating_sub(believed);
        (jump.unsigned_abs() > JUMP).then(|| {
            let direction = if jump > 0 { "ahead" } else { "back" };
            format!(
                "the system clock has jumped {} s {direction}. Set it right, or confirm it with SIGHUP",
                jump.unsigned_abs()
            )
        })
    }

    /// Follows small steps; to be called often.
    pub fn follow(&self, now: Moment) {
        if now.wall.get().saturating_add(JUMP) < self.floor.load(Ordering::Relaxed) {
            self.offset.store(NONE, Ordering::Relaxed);
        } else if self.doubt(now).is_none() {
            self.offset.store(offset(now), Ordering::Relaxed);
        }
    }

    /// An operator says that the clock is right.
    pub fn confirm(&self, now: Moment) {
        self.floor.store(0, Ordering::Relaxed);
        self.offset.store(offset(now), Ordering::Relaxed);
    }
}

fn offset(now: Moment) -> i64 {
    let wall = i64::try_from(now.wall.get()).unwrap_or(i64::MAX);
    wall.saturating_sub(i64::try_from(now.running).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(wall: u64, running: u64) -> Moment {
        Moment {
            wall: UnixSeconds::new(wall),
            running,
        }
    }

    #[test]
    fn a_jump_of_more_than_a_minute_is_doubted_until_it_is_undone_or_confirmed() {
        for (name, wall, doubted) in [
            ("as it should be", 1_010, false),
            ("a minute ahead", 1_070, false),
            ("more", 1_071, true),
            ("a minute back", 950, false),
            ("further back", 949, true),
        ] {
            let watch = ClockWatch::new(at(1_000, 500), None);
            let jumped = at(wall, 510);
            watch.follow(jumped);
            assert_eq!(watch.doubt(jumped).is_some(), doubted, "{name}");
            assert_eq!(watch.doubt(at(1_020, 520)), None, "{name}: right again");
            watch.confirm(jumped);
            assert_eq!(watch.doubt(jumped), None, "{name}: confirmed");
        }
    }

    #[test]
    fn small_steps_are_followed_however_many() {
        let watch = ClockWatch::new(at(1_000, 0), None);
        for step in 1..100 {
            let now = at(1_000 + step * 40, step);
            assert_eq!(watch.doubt(now), None);
            watch.follow(now);
        }
    }

    #[test]
    fn a_start_before_what_was_saved_is_doubted_until_the_clock_is_set() {
        let watch = ClockWatch::new(at(1_000, 10), Some(UnixSeconds::new(5_000)));
        watch.follow(at(1_001, 11));
        assert!(watch.doubt(at(1_001, 11)).is_some());

        watch.follow(at(9_000, 12));
        assert_eq!(watch.doubt(at(9_001, 13)), None);
        assert!(watch.doubt(at(9_100, 13)).is_some());
    }
}
