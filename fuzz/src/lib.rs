//! Turns the bytes of a fuzzer into texts that come near a grammar.
//!
//! Random bytes are refused at the first character by every parser here. So three of four byte values stand for the pieces
//! of a dictionary, and the others for the byte after them: any engine can still reach every text, and finds the deep ones.

/// From this value on a byte announces one that stands for itself.
const LITERAL: u8 = 192;

/// The text that `bytes` spell with this dictionary.
pub fn spelled(bytes: &[u8], dictionary: &[&str]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte >= LITERAL {
            text.extend(bytes.next());
        } else if let Some(at) = usize::from(byte).checked_rem(dictionary.len()) {
            text.extend_from_slice(dictionary[at].as_bytes());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_bytes_are_pieces_and_the_others_announce_a_character() {
        let text = spelled(&[2, 255, b'x', 192, 0, 1, 200], &["{", "}"]);

        assert_eq!(text, b"{x\0}");
    }
}
