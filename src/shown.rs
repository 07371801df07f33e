//! Foreign names on a terminal: kids of others and labels of tokens may hold anything.
//!
//! For lines that people read. JSON says everything as it is.

use std::borrow::Cow;

/// The text as it is where all of it shows, else with escapes: no line is broken, no terminal is told anything.
pub fn shown(text: &str) -> Cow<'_, str> {
    if shows(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.escape_debug().to_string())
}

/// Whether a terminal shows every character of it.
pub fn shows(text: &str) -> bool {
    // Behind a letter: a mark that combines shows there.
    let letters = format!("k{}", text.replace(['"', '\'', '\\'], ""));
    letters.escape_debug().eq(letters.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_show_is_escaped() {
        for (name, text, want) in [
            ("letters", "schlu\u{308}ssel 鍵", "schlu\u{308}ssel 鍵"),
            ("quotes and backslash", r#"a"b'c\d"#, r#"a"b'c\d"#),
            (
                "escape and newline",
                "\u{1b}[2J\nforged",
                r"\u{1b}[2J\nforged",
            ),
            ("turned around", "\u{202e}a", r"\u{202e}a"),
            ("C1", "\u{9b}2J", r"\u{9b}2J"),
        ] {
            assert_eq!(shown(text), want, "{name}");
        }
    }
}
