//! Words on the page: foreign text made harmless, times and spans of time as people say them. Pure.

use std::fmt::{self, Write as _};

use crate::clock::UnixSeconds;

/// Text between tags or in a quoted attribute. Labels of tokens and kids are foreign: they may hold markup, or characters
/// that turn the direction of what stands around them.
pub(super) struct Safe<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Safe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| match char {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            '\n' | '\t' => self.0.write_char(' '),
            _ if char.is_control() || turns_direction(char) => self.0.write_char('\u{FFFD}'),
            _ => self.0.write_char(char),
        })
    }
}

/// Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm.
const fn turns_direction(char: char) -> bool {
    matches!(char, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `2026-12-01 12:00:00`; the page says once that all times are UTC.
pub(super) fn calendar(at: UnixSeconds) -> String {
    if at == UnixSeconds::EVER {
        return "ever".to_owned();
    }
    at.rfc3339()
        .replace('T', " ")
        .trim_end_matches('Z')
        .to_owned()
}

/// `in 12 min`, `3 h 20 min ago`, `now`.
pub(super) fn distance(at: UnixSeconds, now: UnixSeconds) -> String {
    let (at, now) = (at.get(), now.get());
    match at.cmp(&now) {
        std::cmp::Ordering::Less => format!("{} ago", length(now - at)),
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", length(at - now)),
    }
}

/// In two units at most, rounded down.
pub(super) fn length(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds < 120 => format!("{seconds} s"),
        () if minutes < 120 => format!("{minutes} min"),
        () if hours < 48 => format!("{hours} h {} min", minutes % 60),
        () if days < 14 => format!("{days} d {} h", hours % 24),
        () => format!("{days} d"),
    }
}

/// The beginning of a kid, as long as it takes to tell it from others.
pub(super) fn head(kid: &str) -> String {
    let mut chars = kid.chars();
    let mut head: String = chars.by_ref().take(HEAD).collect();
    if chars.next().is_some() {
        head.push('…');
    }
    head
}

const HEAD: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_becomes_text() {
        for (raw, want) in [
            ("macp", "macp"),
            (
                "<script>alert('x')</script>",
                "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
            ),
            (r#"a" onload="b"#, "a&quot; onload=&quot;b"),
            ("&lt;", "&amp;lt;"),
            ("a\nb\tc", "a b c"),
            ("a\0b\u{1b}[31m", "a\u{FFFD}b\u{FFFD}[31m"),
            ("\u{202E}gpj.exe", "\u{FFFD}gpj.exe"),
            ("clé à molette", "clé à molette"),
        ] {
            assert_eq!(Safe(raw).to_string(), want, "{raw:?}");
        }
    }

    #[test]
    fn spans_are_said_in_two_units() {
        for (seconds, want) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h 0 min"),
            (172_799, "47 h 59 min"),
            (172_800, "2 d 0 h"),
            (14 * 86_400, "14 d"),
            (u64::MAX, "213503982334601 d"),
        ] {
            assert_eq!(length(seconds), want, "{seconds}");
        }
        let now = UnixSeconds::new(1_000);
        for (at, want) in [(900, "100 s ago"), (1_000, "now"), (1_060, "in 60 s")] {
            assert_eq!(distance(UnixSeconds::new(at), now), want);
        }
    }

    #[test]
    fn a_long_kid_is_shortened_by_characters() {
        assert_eq!(head("key-1"), "key-1");
        assert_eq!(head("0123456789"), "0123456789");
        assert_eq!(head("0123456789a"), "0123456789…");
        assert_eq!(head("ééééééééééé"), "éééééééééé…");
    }

    proptest! {
        #[test]
        fn nothing_that_ends_a_text_or_an_attribute_survives(raw in ".*") {
            let safe = Safe(&raw).to_string();
            prop_assert!(!safe.contains(['<', '>', '"', '\'', '\n', '\0', '\u{202E}']), "{}", safe);
            let entities = safe.matches('&').count();
            let known: usize = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().map(|known| safe.matches(known).count()).sum();
            prop_assert_eq!(entities, known);
        }
    }
}
