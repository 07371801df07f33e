//! What serde_json does not check in values that it skips: nesting, and surrogates that stand alone.
//!
//! One pass over the text, strings apart. It says nothing about the rest of the grammar: the parser follows.

/// Levels of nesting, the outermost counted: one less than serde_json's own limit.
const DEEPEST: usize = 127;

/// Whether `text` nests at most 127 deep and escapes no half of a surrogate pair.
pub(super) fn is_shallow_unicode(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' if !string_is_unicode(&mut bytes) => return false,
            _ => {}
        }
        if depth > DEEPEST {
            return false;
        }
    }
    true
}

/// Reads on to the closing quote.
fn string_is_unicode(bytes: &mut std::str::Bytes<'_>) -> bool {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return true,
            b'\\' if bytes.next() == Some(b'u') && !escape_is_unicode(bytes) => return false,
            _ => {}
        }
    }
    true
}

/// Reads what follows `\u`, and the low half where it is a high one (RFC 8259, 7).
fn escape_is_unicode(bytes: &mut std::str::Bytes<'_>) -> bool {
    match code_unit(bytes) {
        Some(0xd800..=0xdbff) => {
            bytes.next() == Some(b'\\')
                && bytes.next() == Some(b'u')
                && matches!(code_unit(bytes), Some(0xdc00..=0xdfff))
        }
        Some(0xdc00..=0xdfff) => false,
        // Malformed escapes are the parser's business.
        _ => true,
    }
}

/// Four hexadecimal digits; takes no more than the digits that are there.
fn code_unit(bytes: &mut std::str::Bytes<'_>) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = char::from(bytes.clone().next()?).to_digit(16)?;
        bytes.next();
        unit = unit * 16 + digit;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nesting_ends_at_127() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(is_shallow_unicode(&nested(127)));
            assert!(!is_shallow_unicode(&nested(128)));
        }
        assert!(is_shallow_unicode(&"[],".repeat(1000)), "side by side");
        assert!(
            is_shallow_unicode(&format!("\"{}\"", "[".repeat(1000))),
            "in a string"
        );
        assert!(
            is_shallow_unicode(&format!(r#""\"{}""#, "[".repeat(1000))),
            "after an escaped quote"
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_found() {
        for (text, want) in [
            (r#""\ud83d\ude00""#, true),
            (r#""\uD83D\uDE00""#, true),
            (r#""\ud83d""#, false),
            (r#""\ud83d ""#, false),
            (r#""\ud83d\n""#, false),
            (r#""\ud83d\ud83d""#, false),
            (r#""\ude00""#, false),
            (r#""\ude00\ud83d""#, false),
            (r#"{"\ud800":1}"#, false),
            (r#""\\ud800""#, true),
            (r#""\\\ud800""#, false),
            (r#""\u0041\ud7ff\ue000""#, true),
        ] {
            assert_eq!(is_shallow_unicode(text), want, "{text}");
        }
    }

    proptest! {
        /// serde_json checks both in the values that it keeps: it is the model.
        #[test]
        fn what_serde_json_keeps_passes_and_only_that(
            text in r#"(\[|\{"a":|"|\\u|\\"|\\\\|d8|d83d|dc00|de00|00|4|,|\]|\}| ){0,40}"#
        ) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert!(is_shallow_unicode(&text));
            } else if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                prop_assert!(!is_shallow_unicode(&text));
            }
        }
    }
}
