//! One warning a while for each kind of failure, with the number of those that were held back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Stopwatch;

/// Between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Remembers when each kind was last warned about. Kinds are codes of the program: few.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

#[derive(Debug)]
struct Kind {
    warned: Stopwatch,
    held_back: u64,
}

impl Throttle {
    /// Some: warn now, and so many went unsaid since the last time.
    pub(super) fn due(&self, kind: &'static str) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = kinds.get_mut(kind) else {
            let first = Kind {
                warned: Stopwatch::start(),
                held_back: 0,
            };
            kinds.insert(kind, first);
            return Some(0);
        };
        if known.warned.elapsed() < PAUSE {
            known.held_back += 1;
            return None;
        }
        known.warned = Stopwatch::start();
        Some(std::mem::take(&mut known.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_said_and_the_next_is_held_back() {
        let throttle = Throttle::default();

        assert_eq!(throttle.due("a"), Some(0));
        assert_eq!(throttle.due("a"), None);
        assert_eq!(throttle.due("b"), Some(0));
    }
}
