//! Spans of time as people write and read them: `90s`, `15m`, `2h`, `1d` on the command line; `in 14 min`, `2 h ago` in answers.
//!
//! Pure.

use std::fmt;
use std::str::FromStr;

use crate::clock::UnixSeconds;

/// Seconds, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

/// Neither seconds, minutes, hours nor days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number with its unit, as 90s, 15m, 2h or 1d; ten years at most")]
pub struct NoSpan;

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
const LONGEST: u64 = 3650 * 86_400;

impl Span {
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (_, seconds) = UNITS
            .iter()
            .find(|(unit, _)| text.ends_with(*unit))
            .ok_or(NoSpan)?;
        let digits = text.get(..text.len() - 1).unwrap_or_default();
        // `parse` takes a sign, too.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoSpan);
        }
        let number: u64 = digits.parse().map_err(|_| NoSpan)?;
        let span = number.checked_mul(*seconds).ok_or(NoSpan)?;
        (span <= LONGEST).then_some(Self(span)).ok_or(NoSpan)
    }
}

/// A number of seconds for people, in the two units that say most: `90 s`, `15 min`, `2 h 5 min`, `3 d`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spelled(pub(super) u64);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let (great, small, names) = match seconds {
            0..120 => return write!(f, "{seconds} s"),
            120..7200 => return write!(f, "{} min", seconds / 60),
            7200..172_800 => (seconds / 3600, seconds % 3600 / 60, ["h", "min"]),
            _ => (seconds / 86_400, seconds % 86_400 / 3600, ["d", "h"]),
        };
        write!(f, "{great} {}", names[0])?;
        if small > 0 {
            write!(f, " {small} {}", names[1])?;
        }
        Ok(())
    }
}

/// Where an instant lies as seen from `now`: `in 14 min`, `2 h ago`, `now`.
pub(super) fn from_now(at: UnixSeconds, now: UnixSeconds) -> String {
    match (at.get(), now.get()) {
        (at, now) if at > now => format!("in {}", Spelled(at - now)),
        (at, now) if at < now => format!("{} ago", Spelled(now - at)),
        _ => "now".to_owned(),
    }
}

/// `2026-12-01T12:00:00Z (in 14 min)`; `ever` for the start of the epoch.
pub(super) fn instant(at: UnixSeconds, now: UnixSeconds) -> String {
    if at == UnixSeconds::EVER {
        return "ever".to_owned();
    }
    format!("{} ({})", at.rfc3339(), from_now(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        for (text, want) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("2h", Some(7200)),
            ("1d", Some(86_400)),
            ("0s", Some(0)),
            ("3650d", Some(315_360_000)),
            ("3651d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("", None),
            ("s", None),
            ("90", None),
            ("90 s", None),
            ("+90s", None),
            ("-90s", None),
            ("1.5h", None),
            ("1h30m", None),
            ("2H", None),
            ("2w", None),
            ("2µ", None),
        ] {
            assert_eq!(text.parse().ok(), want.map(Span), "{text}");
        }
    }

    #[test]
    fn an_instant_is_told_from_now_in_the_units_that_say_most() {
        let now = UnixSeconds::new(10_000_000);
        for (at, want) in [
            (10_000_000, "now"),
            (10_000_001, "in 1 s"),
            (9_999_881, "119 s ago"),
            (10_000_120, "in 2 min"),
            (9_999_101, "14 min ago"),
            (10_007_199, "in 119 min"),
            (10_007_200, "in 2 h"),
            (10_007_500, "in 2 h 5 min"),
            (10_172_799, "in 47 h 59 min"),
            (10_172_800, "in 2 d"),
            (10_180_000, "in 2 d 2 h"),
            (0, "115 d 17 h ago"),
        ] {
            assert_eq!(from_now(UnixSeconds::new(at), now), want);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", number in any::<u64>(), unit in "[smhdwµ]") {
            text.parse::<Span>().ok();
            format!("{number}{unit}").parse::<Span>().ok();
            from_now(UnixSeconds::new(number), UnixSeconds::EVER);
        }
    }
}
