//! Public keys as JWKs (RFC 7517), their thumbprint (RFC 7638) and the set that is published.
//!
//! A [`Jwk`] here has no private member by construction: only public components are stored.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::Algorithm;
use crate::shown::shown;

/// Public components, in the form in which a JWK carries them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian without leading zero bytes.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// Affine coordinates on P-256.
    P256 { x: [u8; 32], y: [u8; 32] },
}

/// Why components are no key that this service publishes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    #[error("its RSA modulus has {bits} bits; 2048 to 8192 are accepted")]
    RsaSize { bits: usize },
    #[error("its RSA public exponent is not an odd number above 1")]
    RsaExponent,
}

impl PublicKey {
    /// RSA from big-endian bytes; leading zero bytes are stripped (measured: some modules pad CKA_MODULUS).
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        let n = without_leading_zeros(n);
        let e = without_leading_zeros(e);
        let bits = n
            .first()
            .map_or(0, |top| n.len() * 8 - top.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(PublicKeyError::RsaSize { bits });
        }
        let odd = e.last().is_some_and(|low| low & 1 == 1);
        if !odd || e == [1] {
            return Err(PublicKeyError::RsaExponent);
        }
        Ok(Self::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    /// P-256 from its two coordinates. That the point is on the curve is checked by [`super::Verifier::new`].
    pub const fn p256(x: [u8; 32], y: [u8; 32]) -> Self {
        Self::P256 { x, y }
    }

    /// The one algorithm this key signs with: the type of the key decides.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256 { .. } => Algorithm::Es256,
        }
    }

    /// `RSA-2048`, `P-256`: for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Rsa { n, .. } => {
                let top = n.first().map_or(0, |top| top.leading_zeros() as usize);
                format!("RSA-{}", n.len() * 8 - top)
            }
            Self::P256 { .. } => "P-256".to_owned(),
        }
    }

    /// The required members in lexicographic order without white space (RFC 7638, 3.2 and 3.3).
    fn thumbprint_input(&self) -> String {
        match self {
            Self::Rsa { n, e } => {
                format!(
                    r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                    base64url(e),
                    base64url(n)
                )
            }
            Self::P256 { x, y } => {
                format!(
                    r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
                    base64url(x),
                    base64url(y)
                )
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({} {})",
            self.describe(),
            Kid::thumbprint(self)
        )
    }
}

/// Names a key in token headers and in the JWKS. Made from a key or from a pinned JWK, never from free text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid(String);

/// A kid has to name something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kid must not be empty")]
pub struct EmptyKid;

impl Kid {
    /// SHA-256 thumbprint, base64url (RFC 7638).
    pub fn thumbprint(key: &PublicKey) -> Self {
        let hash = digest::digest(&digest::SHA256, key.thumbprint_input().as_bytes());
        Self(base64url(hash.as_ref()))
    }

    /// The kid that a pinned JWK states.
    pub fn pinned(name: String) -> Result<Self, EmptyKid> {
        if name.is_empty() {
            return Err(EmptyKid);
        }
        Ok(Self(name))
    }

    /// As it stands in `kid`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For people; those of others may hold anything.
impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// One published key. Serialises to exactly `kty,n,e,kid,alg,use` or `kty,crv,x,y,kid,alg,use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    kid: Kid,
    key: PublicKey,
}

impl Jwk {
    /// A key under the kid it is known by.
    pub const fn new(kid: Kid, key: PublicKey) -> Self {
        Self { kid, key }
    }

    /// A key under its thumbprint.
    pub fn by_thumbprint(key: PublicKey) -> Self {
        Self {
            kid: Kid::thumbprint(&key),
            key,
        }
    }

    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'a> {
            kty: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            crv: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            n: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            e: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            x: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            y: Option<String>,
            kid: &'a str,
            alg: &'static str,
            r#use: &'static str,
        }
        let (kty, crv, n, e, x, y) = match &self.key {
            PublicKey::Rsa { n, e } => (
                "RSA",
                None,
                Some(base64url(n)),
                Some(base64url(e)),
                None,
                None,
            ),
            PublicKey::P256 { x, y } => (
                "EC",
                Some("P-256"),
                None,
                None,
                Some(base64url(x)),
                Some(base64url(y)),
            ),
        };
        Members {
            kty,
            crv,
            n,
            e,
            x,
            y,
            kid: self.kid.as_str(),
            alg: self.algorithm().name(),
            r#use: "sig",
        }
        .serialize(serializer)
    }
}

/// `{"keys":[…]}` (RFC 7517, 5).
#[derive(Debug, Clone, Serialize)]
pub struct JwkSet<'a> {
    pub keys: Vec<&'a Jwk>,
}

/// base64url without padding (RFC 7515, 2).
pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    bytes.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    #[test]
    fn the_thumbprint_of_rfc_7638_comes_out() {
        let key = PublicKey::rsa(&decode(RFC_7638_N), &decode("AQAB")).unwrap();

        assert_eq!(
            Kid::thumbprint(&key).as_str(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn a_padded_modulus_gives_the_same_key() {
        let n = decode(RFC_7638_N);
        let padded = [&[0, 0][..], &n].concat();

        assert_eq!(
            PublicKey::rsa(&padded, &[0, 1, 0, 1]).unwrap(),
            PublicKey::rsa(&n, &[1, 0, 1]).unwrap()
        );
    }

    #[test]
    fn sizes_and_exponents_outside_the_contract_are_refused() {
        for (name, n, e, want) in [
            (
                "1024 bits",
                vec![0xff; 128],
                vec![1, 0, 1],
                PublicKeyError::RsaSize { bits: 1024 },
            ),
            (
                "2047 bits",
                [&[0x7f][..], &[0xff; 255]].concat(),
                vec![1, 0, 1],
                PublicKeyError::RsaSize { bits: 2047 },
            ),
            (
                "8200 bits",
                vec![0xff; 1025],
                vec![1, 0, 1],
                PublicKeyError::RsaSize { bits: 8200 },
            ),
            (
                "nothing",
                vec![],
                vec![1, 0, 1],
                PublicKeyError::RsaSize { bits: 0 },
            ),
            (
                "e = 1",
                vec![0xff; 256],
                vec![1],
                PublicKeyError::RsaExponent,
            ),
            (
                "e even",
                vec![0xff; 256],
                vec![4],
                PublicKeyError::RsaExponent,
            ),
            ("no e", vec![0xff; 256], vec![], PublicKeyError::RsaExponent),
        ] {
            assert_eq!(PublicKey::rsa(&n, &e), Err(want), "{name}");
        }
    }

    #[test]
    fn members_stand_in_the_order_of_the_wire_contract() {
        let rsa = Jwk::new(
            Kid::pinned("a\"b".into()).unwrap(),
            PublicKey::rsa(&[0xff; 256], &[3]).unwrap(),
        );
        let ec = Jwk::new(
            Kid::pinned("k".into()).unwrap(),
            PublicKey::p256([1; 32], [2; 32]),
        );

        let names = |jwk: &Jwk| {
            let text = serde_json::to_string(jwk).unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(names(&rsa), "kty,n,e,kid,alg,use");
        assert_eq!(names(&ec), "kty,crv,x,y,kid,alg,use");
    }
}
