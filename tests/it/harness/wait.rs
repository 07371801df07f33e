//! Waiting for conditions, with a deadline; never for a length of time.

use std::time::{Duration, Instant};

/// Looks again until `look` gives something; panics with `what` after `within`, stretched.
pub fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    until_or_tell(what, within, look, String::new)
}

/// The same; where it does not come, `tell` adds what there is instead.
pub fn until_or_tell<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
    tell: impl FnOnce() -> String,
) -> T {
    let within = stretched(within);
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() >= deadline {
            panic!("{what}: not within {within:?}{}", tell());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Claims it again and again for so long.
pub fn throughout(time: Duration, claim: impl Fn()) {
    let since = Instant::now();
    while since.elapsed() < time {
        claim();
        std::thread::sleep(CLAIM_AGAIN);
    }
}

/// The bound as it stands while up to four programs want each processor; in proportion longer beyond, because a service that
/// is not given a processor cannot keep any time.
pub fn stretched(bound: Duration) -> Duration {
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running: f64 = load
        .split(' ')
        .next()
        .and_then(|last_minute| last_minute.parse().ok())
        .unwrap_or(0.0);
    bound.mul_f64((running / processors / 4.0).max(1.0))
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
const CLAIM_AGAIN: Duration = Duration::from_millis(50);
