//! The label grammar: which keys on a token are ours, and from which instant they sign.
//!
//! `<prefix>` alone is active since ever; `<prefix>`, at most one separator out of `- / . _` or space, and
//! `20261201T120000Z` is active from that instant. Anything else is another program's key, or a bad instant that is
//! reported and left alone. Labels come from private objects only: on SoftHSM anyone without a PIN can write public ones.

use std::fmt;

use time::macros::format_description;
use time::{Date, PrimitiveDateTime, Time};

use crate::clock::UnixSeconds;

/// The label prefix of the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelPrefix(String);

/// What a label says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMatch {
    /// Another program's key.
    NotOurs,
    /// Ours, active from this instant ([`UnixSeconds::EVER`] for the bare prefix).
    ActiveFrom(UnixSeconds),
    /// Ours by its shape, but the instant is none: reported and left alone.
    BadInstant,
}

/// A prefix has to be there, without separator at its end, and printable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    #[error("is empty")]
    Empty,
    #[error("has a control character in it")]
    Control,
}

/// The prefix leaves no room for an instant in a label of 32 characters, the most that old HSMs store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the label {label} has {length} characters; some HSMs store 32 at most. Choose a shorter MACP_AUTH_PKCS11_KEY_LABEL"
)]
pub struct LabelTooLong {
    pub label: String,
    pub length: usize,
}

const SEPARATORS: [char; 5] = ['-', '/', '.', '_', ' '];
const LONGEST_LABEL: usize = 32;
/// Characters of `20261201T120000Z`.
const STAMP: usize = 16;

impl LabelPrefix {
    /// # Errors
    /// [`BadPrefix`] for an empty prefix or one with control characters.
    pub fn new(prefix: &str) -> Result<Self, BadPrefix> {
        if prefix.is_empty() {
            return Err(BadPrefix::Empty);
        }
        if prefix.chars().any(char::is_control) {
            return Err(BadPrefix::Control);
        }
        Ok(Self(prefix.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a label.
    pub fn read(&self, label: &str) -> LabelMatch {
        let Some(rest) = label.strip_prefix(self.as_str()) else {
            return LabelMatch::NotOurs;
        };
        if rest.is_empty() {
            return LabelMatch::ActiveFrom(UnixSeconds::EVER);
        }
        let stamp = rest.strip_prefix(SEPARATORS).unwrap_or(rest);
        match Instant::parse(stamp) {
            Some(Instant(at)) => LabelMatch::ActiveFrom(at),
            None if looks_like_an_instant(stamp) => LabelMatch::BadInstant,
            None => LabelMatch::NotOurs,
        }
    }

    /// The label of a key that is active from `at`: `macp-jwt-20261201T120000Z`.
    ///
    /// # Errors
    /// [`LabelTooLong`] above 32 characters.
    pub fn write(&self, at: Instant) -> Result<String, LabelTooLong> {
        short_enough(format!("{self}-{at}"))
    }

    /// The same without separator, for HSMs that take letters and digits alone.
    ///
    /// # Errors
    /// [`LabelTooLong`] above 32 characters.
    pub fn write_close(&self, at: Instant) -> Result<String, LabelTooLong> {
        short_enough(format!("{self}{at}"))
    }
}

fn short_enough(label: String) -> Result<String, LabelTooLong> {
    let length = label.chars().count();
    if length > LONGEST_LABEL {
        return Err(LabelTooLong { label, length });
    }
    Ok(label)
}

impl fmt::Display for LabelPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An instant that a label can carry: `20261201T120000Z`, whole seconds, UTC, four-digit year from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(UnixSeconds);

/// Neither RFC 3339 in UTC nor the label form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no instant. Write it as 2026-12-01T12:00:00Z or 20261201T120000Z (UTC, whole seconds)"
)]
pub struct NoInstant {
    text: String,
}

impl Instant {
    /// From the label form or RFC 3339 in UTC.
    ///
    /// # Errors
    /// [`NoInstant`] names the accepted forms.
    pub fn from_text(text: &str) -> Result<Self, NoInstant> {
        let rfc3339 = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        Self::parse(text)
            .or_else(|| {
                PrimitiveDateTime::parse(text, rfc3339)
                    .ok()
                    .and_then(Self::from_calendar)
            })
            .ok_or_else(|| NoInstant {
                text: text.to_owned(),
            })
    }

    /// The one in which a label ends, whatever its prefix.
    pub fn ending(label: &str) -> Option<Self> {
        Self::parse(label.get(label.len().checked_sub(STAMP)?..)?)
    }

    /// None past the year 9999.
    pub fn at(instant: UnixSeconds) -> Option<Self> {
        let written = Self(instant).calendar()?;
        (written.year() <= 9999).then_some(Self(instant))
    }

    pub const fn seconds(self) -> UnixSeconds {
        self.0
    }

    fn parse(stamp: &str) -> Option<Self> {
        let number = |range| {
            let digits: &str = stamp.get(range)?;
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        if stamp.len() != 16 || stamp.get(8..9) != Some("T") || stamp.get(15..) != Some("Z") {
            return None;
        }
        let part = |range| number(range).and_then(|n: u16| u8::try_from(n).ok());
        let month = time::Month::try_from(part(4..6)?).ok()?;
        let date = Date::from_calendar_date(number(0..4)?.into(), month, part(6..8)?).ok()?;
        let time = Time::from_hms(part(9..11)?, part(11..13)?, part(13..15)?).ok()?;
        Self::from_calendar(PrimitiveDateTime::new(date, time))
    }

    fn from_calendar(at: PrimitiveDateTime) -> Option<Self> {
        let seconds = u64::try_from(at.assume_utc().unix_timestamp()).ok()?;
        Some(Self(UnixSeconds::new(seconds)))
    }

    fn calendar(self) -> Option<time::OffsetDateTime> {
        let seconds = i64::try_from(self.0.get()).ok()?;
        time::OffsetDateTime::from_unix_timestamp(seconds).ok()
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let text = self.calendar().and_then(|at| at.format(form).ok());
        f.write_str(text.as_deref().unwrap_or_default())
    }
}

/// Eight digits or more at the start: somebody meant a date.
fn looks_like_an_instant(stamp: &str) -> bool {
    stamp.bytes().take_while(u8::is_ascii_digit).count() >= 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> LabelPrefix {
        LabelPrefix::new("macp-jwt").unwrap()
    }

    const NOON: LabelMatch = LabelMatch::ActiveFrom(UnixSeconds::new(1_796_126_400));

    #[test]
    fn labels_are_read_as_the_grammar_says() {
        for (label, want) in [
            ("macp-jwt", LabelMatch::ActiveFrom(UnixSeconds::EVER)),
            ("macp-jwt-20261201T120000Z", NOON),
            ("macp-jwt/20261201T120000Z", NOON),
            ("macp-jwt.20261201T120000Z", NOON),
            ("macp-jwt_20261201T120000Z", NOON),
            ("macp-jwt 20261201T120000Z", NOON),
            ("macp-jwt20261201T120000Z", NOON),
            ("macp-jwt--20261201T120000Z", LabelMatch::NotOurs),
            ("macp-jwt2", LabelMatch::NotOurs),
            ("macp-jwt-old", LabelMatch::NotOurs),
            ("macp-jwt-", LabelMatch::NotOurs),
            ("macp", LabelMatch::NotOurs),
            ("Macp-jwt", LabelMatch::NotOurs),
            ("", LabelMatch::NotOurs),
            ("macp-jwt-20261301T120000Z", LabelMatch::BadInstant),
            ("macp-jwt-20261201T120060Z", LabelMatch::BadInstant),
            ("macp-jwt-20261201T120000", LabelMatch::BadInstant),
            ("macp-jwt-20261201T120000z", LabelMatch::BadInstant),
            ("macp-jwt-20261201", LabelMatch::BadInstant),
            ("macp-jwt-19691231T235959Z", LabelMatch::BadInstant),
            ("macp-jwt-2026120\u{0661}T120000Z", LabelMatch::NotOurs),
            ("macp-jwt-20261201T12000\u{e9}", LabelMatch::BadInstant),
        ] {
            assert_eq!(prefix().read(label), want, "{label}");
        }
    }

    #[test]
    fn both_spellings_of_an_instant_are_the_same() {
        let label_form = Instant::from_text("20261201T120000Z").unwrap();

        assert_eq!(
            Instant::from_text("2026-12-01T12:00:00Z").unwrap(),
            label_form
        );
        assert_eq!(label_form.to_string(), "20261201T120000Z");
        for bad in [
            "",
            "tomorrow",
            "2026-12-01",
            "2026-12-01T12:00:00+01:00",
            "20261201T120000",
            "2026-12-01T12:00:00",
        ] {
            assert!(Instant::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_that_leaves_no_room_is_named() {
        let long = LabelPrefix::new("our-production-keys").unwrap();
        let at = Instant::from_text("20261201T120000Z").unwrap();

        assert!(matches!(
            long.write(at),
            Err(LabelTooLong { length: 36, .. })
        ));
        assert_eq!(LabelPrefix::new(""), Err(BadPrefix::Empty));
        assert_eq!(LabelPrefix::new("a\nb"), Err(BadPrefix::Control));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0u64..253_402_300_800, prefix in "[a-zA-Z0-9 ./_-]{1,15}") {
            let prefix = LabelPrefix::new(&prefix).unwrap();
            let at = Instant::at(UnixSeconds::new(seconds)).unwrap();

            for label in [prefix.write(at).unwrap(), prefix.write_close(at).unwrap()] {
                prop_assert_eq!(prefix.read(&label), LabelMatch::ActiveFrom(at.seconds()));
            }
            prop_assert_eq!(Instant::from_text(&at.to_string()).unwrap(), at);
        }

        #[test]
        fn no_label_panics(label in ".*", tail in "[0-9TZ]{0,20}") {
            prefix().read(&label);
            prefix().read(&format!("macp-jwt-{tail}"));
        }
    }
}
