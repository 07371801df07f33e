//! Compact JWS (RFC 7515, 7.1): `header.payload` to sign, and the token once the signature is there.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::jwk::base64url;
use super::{Algorithm, Kid};

/// `{"alg":"…","kid":"…"}`, base64url, made once a key. No `typ`: the wire contract has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedHeader(String);

impl ProtectedHeader {
    pub fn new(algorithm: Algorithm, kid: &Kid) -> Self {
        #[derive(Serialize)]
        struct Members<'a> {
            alg: &'static str,
            kid: &'a str,
        }
        let members = Members {
            alg: algorithm.name(),
            kid: kid.as_str(),
        };
        // Two strings always serialise; an empty header would verify nowhere.
        Self(base64url(&serde_json::to_vec(&members).unwrap_or_default()))
    }
}

/// What is signed: `BASE64URL(header) . BASE64URL(payload)`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningInput(String);

impl SigningInput {
    pub fn new(header: &ProtectedHeader, payload: &[u8]) -> Self {
        // Room for an RSA-2048 signature, so that `into_jwt` does not move the text.
        let mut text = String::with_capacity(header.0.len() + payload.len() * 4 / 3 + 352);
        text.push_str(&header.0);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut text);
        Self(text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Appends the signature.
    pub fn into_jwt(self, signature: &Signature) -> Jwt {
        let mut text = self.0;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature.0, &mut text);
        Jwt(text)
    }
}

impl fmt::Debug for SigningInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningInput({} bytes)", self.0.len())
    }
}

/// Raw JWS signature: RSASSA bytes as long as the modulus, or r||s of 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} bytes)", self.0.len())
    }
}

/// A bearer credential: no Display, no Debug of its text, no Serialize.
#[derive(Clone)]
pub struct Jwt(String);

impl Jwt {
    /// The token itself, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_payload_are_joined_as_rfc_7515_says() {
        let header = ProtectedHeader::new(Algorithm::Es256, &Kid::pinned("k\"1".into()).unwrap());
        let input = SigningInput::new(&header, br#"{"iss":"joe"}"#);

        let text = String::from_utf8(input.as_bytes().to_vec()).unwrap();
        let (head, payload) = text.split_once('.').unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.decode(head).unwrap(),
            br#"{"alg":"ES256","kid":"k\"1"}"#
        );
        assert_eq!(payload, "eyJpc3MiOiJqb2UifQ");

        let jwt = input.into_jwt(&Signature::new(vec![0xff, 0xfe]));
        assert_eq!(jwt.expose(), format!("{text}.__4"));
    }

    #[test]
    fn a_token_never_reaches_a_debug_string() {
        let header = ProtectedHeader::new(Algorithm::Rs256, &Kid::pinned("k".into()).unwrap());
        let input = SigningInput::new(&header, b"payload");
        let jwt = input.clone().into_jwt(&Signature::new(vec![1, 2, 3]));

        assert_eq!(format!("{jwt:?}"), "Jwt(hidden)");
        assert!(!format!("{input:?}").contains("cGF5"));
    }
}
