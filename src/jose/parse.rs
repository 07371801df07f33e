//! A public JWK from JSON: what was saved, or what somebody else publishes. Unknown members are ignored; private ones refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{EmptyKid, Jwk, Kid, NotAKey, PublicKey, PublicKeyError, Verifier};

/// Why JSON is no public key of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    #[error("\"{member}\" is missing or no text")]
    Missing { member: &'static str },
    #[error("\"{member}\" is not base64url")]
    NotBase64 { member: &'static str },
    #[error("\"kty\" is neither RSA nor EC with \"crv\" P-256")]
    Type,
    #[error("it holds the private member \"{member}\"")]
    Private { member: &'static str },
    #[error(transparent)]
    Kid(#[from] EmptyKid),
    #[error(transparent)]
    Shape(#[from] PublicKeyError),
    #[error(transparent)]
    NotAKey(#[from] NotAKey),
}

const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// Reads one member of a JWK set (RFC 7517, 4; RFC 7518, 6).
    ///
    /// # Errors
    /// [`JwkError`] names the member.
    pub fn from_json(value: &Value) -> Result<Self, JwkError> {
        if let Some(member) = PRIVATE_MEMBERS
            .iter()
            .find(|name| value.get(**name).is_some())
        {
            return Err(JwkError::Private { member });
        }
        let key = match (
            text(value, "kty")?,
            value.get("crv").and_then(Value::as_str),
        ) {
            ("RSA", _) => PublicKey::rsa(&bytes(value, "n")?, &bytes(value, "e")?)?,
            ("EC", Some("P-256")) => {
                PublicKey::p256(coordinate(value, "x")?, coordinate(value, "y")?)
            }
            _ => return Err(JwkError::Type),
        };
        Verifier::new(&key)?;
        Ok(Self::new(Kid::pinned(text(value, "kid")?.to_owned())?, key))
    }
}

fn text<'a>(value: &'a Value, member: &'static str) -> Result<&'a str, JwkError> {
    value
        .get(member)
        .and_then(Value::as_str)
        .ok_or(JwkError::Missing { member })
}

fn bytes(value: &Value, member: &'static str) -> Result<Vec<u8>, JwkError> {
    URL_SAFE_NO_PAD
        .decode(text(value, member)?)
        .map_err(|_| JwkError::NotBase64 { member })
}

fn coordinate(value: &Value, member: &'static str) -> Result<[u8; 32], JwkError> {
    <[u8; 32]>::try_from(bytes(value, member)?).map_err(|_| JwkError::NotBase64 { member })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;
    use crate::keys::local::LocalKey;
    use serde_json::json;

    #[test]
    fn what_we_publish_is_read_back() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let published = LocalKey::ephemeral(algorithm).unwrap().published();

            assert_eq!(
                &Jwk::from_json(&json!(published.jwk())).unwrap(),
                published.jwk()
            );
        }
    }

    #[test]
    fn what_is_no_public_key_of_ours_is_refused() {
        let good = json!(
            LocalKey::ephemeral(Algorithm::Es256)
                .unwrap()
                .published()
                .jwk()
        );
        let with = |member: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[member] = value;
            jwk
        };
        for (name, jwk, want) in [
            ("no object", json!([1]), JwkError::Missing { member: "kty" }),
            (
                "a private member",
                with("d", json!("AA")),
                JwkError::Private { member: "d" },
            ),
            ("another curve", with("crv", json!("P-384")), JwkError::Type),
            ("an oct key", with("kty", json!("oct")), JwkError::Type),
            (
                "no kid",
                with("kid", json!(null)),
                JwkError::Missing { member: "kid" },
            ),
            (
                "an empty kid",
                with("kid", json!("")),
                JwkError::Kid(EmptyKid),
            ),
            (
                "off the curve",
                with("x", json!("A".repeat(43))),
                JwkError::NotAKey(NotAKey),
            ),
            (
                "short",
                with("x", json!("AAAA")),
                JwkError::NotBase64 { member: "x" },
            ),
            (
                "not base64url",
                with("y", json!("+/=")),
                JwkError::NotBase64 { member: "y" },
            ),
        ] {
            assert_eq!(Jwk::from_json(&jwk), Err(want), "{name}");
        }
    }
}
