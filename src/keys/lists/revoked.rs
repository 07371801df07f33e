//! The file of revoked kids: one a line, blank lines, and comments from `#` on at the start of a line or after white space.
//! What stands in double quotes is a JSON string, and all of it one kid: so a kid may have spaces and commas.
//!
//! A line that is not understood refuses the file: a kid that an operator believes revoked must be. Lines are told by
//! number, never shown: a path named by mistake may lead to anything.

use std::collections::BTreeSet;

use super::{without_mark, written_kid};
use crate::jose::Kid;
use crate::shown::shows;

/// Why a text is no list of kids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevokedFault {
    #[error(
        "line {line} has more than one word. Write one kid a line, in double quotes where it has a space, and # before a comment"
    )]
    Words { line: usize },
    #[error(
        "line {line} has a comma, which separates nothing here. Write one kid a line, and a kid that has a comma in it in double quotes"
    )]
    Comma { line: usize },
    #[error("line {line} has a character that does not show. Write the kid anew")]
    Hidden { line: usize },
}

/// The kids of the list.
///
/// # Errors
/// [`RevokedFault`] names the first line that is none.
pub fn parse(text: &str) -> Result<BTreeSet<Kid>, RevokedFault> {
    without_mark(text)
        .lines()
        .zip(1..)
        .filter_map(|(words, line)| kid_of(words, line).transpose())
        .collect()
}

/// The line that [`parse`] reads as this kid, whatever comment comes behind it.
pub fn line_of(kid: &Kid) -> String {
    let plain = kid.as_str();
    let is_read = || parse(plain).is_ok_and(|read| read.into_iter().eq([kid.clone()]));
    if !plain.starts_with('"') && is_read() {
        return plain.to_owned();
    }
    let quoted = serde_json::Value::from(plain).to_string();
    let mut line = String::new();
    for char in quoted.chars() {
        let mut buffer = [0; 2];
        match shows(char.encode_utf8(&mut [0; 4])) {
            true => line.push(char),
            false => line.extend(
                char.encode_utf16(&mut buffer)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            ),
        }
    }
    line
}

fn kid_of(words: &str, line: usize) -> Result<Option<Kid>, RevokedFault> {
    if let Some((written, kid)) = quoted(words.trim()) {
        if !shows(written) {
            return Err(RevokedFault::Hidden { line });
        }
        return Ok(Some(kid));
    }
    let mut words = words
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'));
    let Some(word) = words.next() else {
        return Ok(None);
    };
    if words.next().is_some() {
        return Err(RevokedFault::Words { line });
    }
    if word.contains(',') {
        return Err(RevokedFault::Comma { line });
    }
    let kid = written_kid(word).ok_or(RevokedFault::Hidden { line })?;
    Ok(Some(kid))
}

/// A JSON string with nothing but a comment behind it: as it is written, and what it says.
fn quoted(text: &str) -> Option<(&str, Kid)> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let said = strings.next()?.ok()?;
    let (written, rest) = text.split_at_checked(strings.byte_offset())?;
    let comment = rest.trim_start();
    let alone = comment.is_empty() || (comment.starts_with('#') && comment.len() < rest.len());
    let kid = Kid::pinned(said).ok()?;
    alone.then_some((written, kid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_read_as_people_write_it() {
        for (name, text, want) in [
            ("nothing", "", &[][..]),
            ("one", "a", &["a"]),
            ("one with its newline", "a\n", &["a"]),
            ("blank lines", "\n\na\n \t\n\nb\n", &["a", "b"]),
            (
                "comments",
                "# all\na # the first\n\t#b\nc\t#\n",
                &["a", "c"],
            ),
            ("# inside a kid", "a#b\n", &["a#b"]),
            ("indented", "  a  \n", &["a"]),
            ("Windows", "a\r\n\r\n# c\r\nb\r\n", &["a", "b"]),
            ("a byte order mark", "\u{feff}a\n", &["a"]),
            ("a mark before a comment", "\u{feff}# a\nb", &["b"]),
            ("twice", "a\na\n", &["a"]),
            (
                "other languages",
                "schlu\u{308}ssel-1\n鍵\n",
                &["schlu\u{308}ssel-1", "鍵"],
            ),
            ("quotes", "\"a'\\\n", &["\"a'\\"]),
            (
                "spaces in quotes",
                " \"my key\"\t# lost\n\"a # b\"\r\n",
                &["a # b", "my key"],
            ),
            ("a comma in quotes", "\"a,b\"", &["a,b"]),
            ("escapes", r#""\u001b\"\n""#, &["\u{1b}\"\n"]),
            (
                "a thumbprint",
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
                &["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"],
            ),
        ] {
            let kids = parse(text).unwrap();
            let kids: Vec<&str> = kids.iter().map(Kid::as_str).collect();
            assert_eq!(kids, want, "{name}");
        }
    }

    #[test]
    fn a_line_that_is_no_kid_refuses_the_list() {
        for (name, text, want) in [
            ("two words", "a\n\nb c\n", RevokedFault::Words { line: 3 }),
            (
                "as in the variable",
                "a\nb,c",
                RevokedFault::Comma { line: 2 },
            ),
            ("a comma at the end", "a,", RevokedFault::Comma { line: 1 }),
            ("half quoted", "\"b c\n", RevokedFault::Words { line: 1 }),
            (
                "quoted twice",
                "\"b\" \"c\"",
                RevokedFault::Words { line: 1 },
            ),
            (
                "hidden in quotes",
                "\"a\u{a0}b\"",
                RevokedFault::Hidden { line: 1 },
            ),
            ("Mac newlines", "a\rb\r", RevokedFault::Words { line: 1 }),
            (
                "no-break space",
                "a\u{a0}b",
                RevokedFault::Words { line: 1 },
            ),
            ("zero byte", "a\n\0", RevokedFault::Hidden { line: 2 }),
            ("escape", "\u{1b}[2Ja", RevokedFault::Hidden { line: 1 }),
            ("zero width", "a\u{200b}", RevokedFault::Hidden { line: 1 }),
            (
                "a second mark",
                "a\n\u{feff}b",
                RevokedFault::Hidden { line: 2 },
            ),
            (
                "turned around",
                "\u{202e}a",
                RevokedFault::Hidden { line: 1 },
            ),
        ] {
            assert_eq!(parse(text), Err(want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*") {
            parse(&text).ok();
        }

        #[test]
        fn any_kid_has_a_line_that_shows(name in "(?s).{1,50}") {
            let kid = Kid::pinned(name).unwrap();
            let line = line_of(&kid);

            prop_assert!(shows(&line), "{line:?}");
            prop_assert_eq!(parse(&line), Ok(BTreeSet::from([kid])));
        }

        #[test]
        fn every_kid_that_is_written_is_read(
            kids in proptest::collection::btree_set("[!-\"$-~][!-~]{0,50}", 0..9),
            comment in "[ -~]{0,9}",
            end in "\r?\n",
        ) {
            let lines = kids.iter().map(|kid| line_of(&Kid::pinned(kid.clone()).unwrap()));
            let text: String = lines.map(|line| format!(" {line} #{comment}{end}#{comment}{end}")).collect();

            let read = parse(&text).unwrap();
            prop_assert!(read.iter().map(Kid::as_str).eq(kids.iter().map(String::as_str)));
        }
    }
}
