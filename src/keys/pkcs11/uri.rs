//! PKCS#11 URIs (RFC 7512): a parser and a writer, for values that name a module, a token, a key and a PIN.
//!
//! Own code because the crates for this do not percent-decode. Strict where leniency could pick another token or leave out
//! a PIN: an attribute that is unknown, given twice or in the wrong half is an error. Vendor attributes (`x-…`) are ignored in
//! the query only: in the path they narrow the choice in a way that we cannot follow.
//! `pin-value` is a secret: only [`Pkcs11Uri::expose`] writes it, and no error shows a value.

mod attribute;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use zeroize::Zeroizing;

use Attribute as A;
use attribute::{ATTRIBUTES, nearest};
pub use attribute::{Attribute, Half};

/// Why a text is no PKCS#11 URI. No variant carries a value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("does not begin with \"pkcs11:\"")]
    Scheme,
    #[error(
        "has no \"=\" in attribute {position} of those {half}. Write name=value; inside a value write \";\" as %3B and \"&\" as %26"
    )]
    NoEquals { half: Half, position: usize },
    #[error("has an attribute {name:?} that is not known. {}", advice(.nearest))]
    Unknown {
        name: String,
        nearest: Option<Attribute>,
    },
    #[error(
        "has an unknown attribute {half}, number {position}. If it belongs to a value, write \";\" as %3B and \"&\" as %26"
    )]
    UnknownBesidePin { half: Half, position: usize },
    #[error("has {attribute} in the wrong place: it belongs {}", .attribute.half())]
    Misplaced { attribute: Attribute },
    #[error("has {attribute} twice. Give it once")]
    Duplicate { attribute: Attribute },
    #[error("has pin-source and pin-value. Keep pin-source")]
    TwoPins,
    #[error(
        "has a character in {attribute} that has to be percent-encoded (a space is %20, a slash %2F)"
    )]
    Character { attribute: Attribute },
    #[error(
        "has a \"%\" in {attribute} without two hexadecimal digits after it. Write \"%\" itself as %25"
    )]
    Percent { attribute: Attribute },
    #[error("has bytes in {attribute} that are no UTF-8. Percent-encode the UTF-8 form")]
    NotUtf8 { attribute: Attribute },
    #[error("has a zero byte in {attribute}. Remove %00")]
    Nul { attribute: Attribute },
    #[error("has a {attribute} that is not a decimal number")]
    Number { attribute: Attribute },
    #[error("has a library-version that is not of the form 3 or 3.1")]
    Version,
    #[error("has a type other than public, private, cert, secret-key and data")]
    Type,
}

fn advice(nearest: &Option<Attribute>) -> String {
    nearest.map_or_else(
        || "Remove it: what it asks for cannot be honoured".to_owned(),
        |nearest| format!("Is {nearest} meant?"),
    )
}

/// A parsed URI. Debug and Display hide `pin-value`.
#[derive(Clone, Default)]
pub struct Pkcs11Uri {
    texts: BTreeMap<Attribute, Zeroizing<String>>,
    id: Option<Vec<u8>>,
}

const SCHEME: &str = "pkcs11:";
const HIDDEN_PIN: &str = "(hidden)";

impl Pkcs11Uri {
    /// # Errors
    /// [`UriError`] names the attribute and the cure.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = rest
            .split_once('?')
            .map_or((rest, ""), |(path, query)| (path, query));
        let mut uri = Self::default();
        for (half, text, separator) in [(Half::Path, path, ';'), (Half::Query, query, '&')] {
            for (index, part) in text.split(separator).enumerate() {
                // "&" may stand in a value of the path, but nobody means a PIN to be part of a label.
                if half == Half::Path && part.contains("pin-value=") {
                    let attribute = A::PinValue;
                    return Err(UriError::Misplaced { attribute });
                }
                if !text.is_empty() {
                    uri.read_part(half, part, index + 1, rest)?;
                }
            }
        }
        if uri.text(A::PinSource).is_some() && uri.text(A::PinValue).is_some() {
            return Err(UriError::TwoPins);
        }
        Ok(uri)
    }

    /// With one more attribute, its value given in clear.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with(mut self, attribute: Attribute, value: &[u8]) -> Result<Self, UriError> {
        self.insert(attribute, Zeroizing::new(value.to_vec()))?;
        Ok(self)
    }

    /// The decoded value; None for [`Attribute::Id`], which is binary.
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        self.texts.get(&attribute).map(|text| text.as_str())
    }

    /// The decoded `id`.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// `slot-id`, a number by construction.
    pub fn slot_id(&self) -> Option<u64> {
        self.text(A::SlotId).and_then(|text| text.parse().ok())
    }

    /// The whole URI, `pin-value` in clear.
    pub fn expose(&self) -> Zeroizing<String> {
        self.written(|pin| pin)
    }

    fn read_part(
        &mut self,
        half: Half,
        part: &str,
        position: usize,
        whole: &str,
    ) -> Result<(), UriError> {
        let (name, value) = part
            .split_once('=')
            .ok_or(UriError::NoEquals { half, position })?;
        let Some(attribute) = Attribute::named(name) else {
            if half == Half::Query && name.starts_with("x-") {
                return Ok(());
            }
            // A PIN with a raw separator in it continues as an attribute "name".
            if whole.contains("pin") {
                return Err(UriError::UnknownBesidePin { half, position });
            }
            return Err(UriError::Unknown {
                name: name.to_owned(),
                nearest: nearest(name),
            });
        };
        if attribute.half() != half {
            return Err(UriError::Misplaced { attribute });
        }
        // `token=a&pin-value=1234` is grammatically a label; it is a PIN behind a forgotten "?".
        if let Some(attribute) = [A::PinValue, A::PinSource]
            .into_iter()
            .find(|pin| value.contains(&format!("{pin}=")))
        {
            return Err(UriError::Misplaced { attribute });
        }
        let bytes = decode(attribute, value)?;
        self.insert(attribute, bytes)
    }

    fn insert(&mut self, attribute: Attribute, bytes: Zeroizing<Vec<u8>>) -> Result<(), UriError> {
        if attribute == A::Id {
            return match self.id.replace(bytes.to_vec()) {
                None => Ok(()),
                Some(_) => Err(UriError::Duplicate { attribute }),
            };
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| UriError::NotUtf8 { attribute })?;
        if text.contains('\0') {
            return Err(UriError::Nul { attribute });
        }
        match attribute {
            A::SlotId if !is_number(text) || text.parse::<u64>().is_err() => {
                return Err(UriError::Number { attribute });
            }
            A::LibraryVersion if !is_version(text) => return Err(UriError::Version),
            A::Type if !TYPES.contains(&text) => return Err(UriError::Type),
            _ => {}
        }
        match self
            .texts
            .insert(attribute, Zeroizing::new(text.to_owned()))
        {
            None => Ok(()),
            Some(_) => Err(UriError::Duplicate { attribute }),
        }
    }

    fn written<'a>(&'a self, pin: impl Fn(&'a str) -> &'a str) -> Zeroizing<String> {
        let mut out = Zeroizing::new(SCHEME.to_owned());
        let mut separators = (Some(""), Some("?"));
        for attribute in ATTRIBUTES {
            let value: &[u8] = match (attribute, self.text(attribute), &self.id) {
                (A::PinValue, Some(text), _) => pin(text).as_bytes(),
                (A::Id, _, Some(id)) => id,
                (_, Some(text), _) => text.as_bytes(),
                _ => continue,
            };
            out.push_str(match attribute.half() {
                Half::Path => separators.0.take().unwrap_or(";"),
                Half::Query => separators.1.take().unwrap_or("&"),
            });
            out.push_str(attribute.name());
            out.push('=');
            encode(attribute, value, &mut out);
        }
        out
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(|_| HIDDEN_PIN))
    }
}

impl fmt::Debug for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Uri({self})")
    }
}

const TYPES: [&str; 5] = ["public", "private", "cert", "secret-key", "data"];

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_version(text: &str) -> bool {
    text.split_once('.').map_or_else(
        || is_number(text),
        |(major, minor)| is_number(major) && is_number(minor),
    )
}

/// pk11-pchar and pk11-qchar of RFC 7512, 2.3, without pct-encoded.
fn is_plain(half: Half, byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || b"-._~:[]@!$'()*+,=".contains(&byte)
        || match half {
            Half::Path => byte == b'&',
            Half::Query => b"/?|".contains(&byte),
        }
}

fn decode(attribute: Attribute, value: &str) -> Result<Zeroizing<Vec<u8>>, UriError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            if !is_plain(attribute.half(), *first) {
                return Err(UriError::Character { attribute });
            }
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .split_at_checked(2)
            .ok_or(UriError::Percent { attribute })?;
        let mut byte = [0];
        hex::decode_to_slice(digits.0, &mut byte).map_err(|_| UriError::Percent { attribute })?;
        bytes.extend(byte);
        rest = digits.1;
    }
    Ok(bytes)
}

fn encode(attribute: Attribute, value: &[u8], out: &mut String) {
    for byte in value {
        // RFC 7512, 2.3: the whole value of "id" should be percent-encoded. "=" may be; see `read_part`.
        if attribute != A::Id && *byte != b'=' && is_plain(attribute.half(), *byte) {
            out.push(char::from(*byte));
        } else if write!(out, "%{byte:02X}").is_err() {
            // Writing to a String cannot fail.
            return;
        }
    }
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
