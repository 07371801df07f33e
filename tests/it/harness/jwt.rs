//! Tokens and key sets as another program reads them: nothing here is shared with the service.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A verified token, its parts as text.
#[derive(Debug, Clone)]
pub struct Token {
    pub compact: String,
    pub header: String,
    pub payload: String,
    pub signature: Vec<u8>,
}

/// A published key set.
#[derive(Debug, Clone)]
pub struct Jwks {
    pub text: String,
    pub keys: Vec<Value>,
}

impl Token {
    /// The parts, nothing verified. Base64url without padding, or it panics.
    pub fn split(compact: &str) -> Self {
        let parts: Vec<&str> = compact.split('.').collect();
        assert_eq!(parts.len(), 3, "{compact}");
        let text = |part| String::from_utf8(decode(part)).unwrap();
        Self {
            compact: compact.to_owned(),
            header: text(parts[0]),
            payload: text(parts[1]),
            signature: decode(parts[2]),
        }
    }

    pub fn claims(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap()
    }

    pub fn kid(&self) -> String {
        let header: Value = serde_json::from_str(&self.header).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    }

    /// The text of `macp_scopes`, as it was signed.
    pub fn scopes(&self) -> &str {
        self.payload
            .strip_prefix("{\"macp_scopes\":")
            .and_then(|rest| rest.rfind(",\"sub\":").map(|end| &rest[..end]))
            .unwrap_or_else(|| panic!("claims out of order: {}", self.payload))
    }

    fn signing_input(&self) -> &[u8] {
        self.compact.rsplit_once('.').unwrap().0.as_bytes()
    }
}

impl Jwks {
    pub fn parse(text: &str) -> Self {
        let set: Value = serde_json::from_str(text).unwrap();
        Self {
            text: text.to_owned(),
            keys: set["keys"].as_array().unwrap().clone(),
        }
    }

    pub fn kids(&self) -> Vec<String> {
        self.keys
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Verifies under the one key of that kid.
    pub fn verify(&self, compact: &str) -> Token {
        assert!(self.accepts(compact), "{compact} under {}", self.text);
        Token::split(compact)
    }

    pub fn accepts(&self, compact: &str) -> bool {
        let token = Token::split(compact);
        let kid = token.kid();
        let matching: Vec<_> = self.keys.iter().filter(|key| key["kid"] == *kid).collect();
        assert_eq!(matching.len(), 1, "keys with kid {kid} in {}", self.text);
        verifies(matching[0], token.signing_input(), &token.signature)
    }
}

/// Whether the signature is by the key of this JWK.
pub fn verifies(jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| decode(jwk[name].as_str().unwrap());
    match jwk["kty"].as_str().unwrap() {
        "RSA" => RsaPublicKeyComponents {
            n: member("n"),
            e: member("e"),
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok(),
        "EC" => {
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok()
        }
        other => panic!("kty {other}"),
    }
}

/// RFC 7638, from the JWK alone.
pub fn thumbprint(jwk: &Value) -> String {
    let names: &[&str] = match jwk["kty"].as_str().unwrap() {
        "RSA" => &["e", "kty", "n"],
        _ => &["crv", "kty", "x", "y"],
    };
    let members: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}\":{}", jwk[*name]))
        .collect();
    encode(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref())
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(text)
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
