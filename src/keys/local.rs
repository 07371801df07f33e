//! Keys in this process's memory: the ephemeral one of a developer, and the pinned JWK of the Node service.
//!
//! A key is proved once, when it is made: it signs, and the signature has to verify under the public half that will be
//! published. aws-lc-rs re-checks each of its RSA-CRT results itself, so signatures are not verified one by one here.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pkcs1::UintRef;
use pkcs1::der::{Decode as _, Encode as _};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::PublishedKey;
use crate::jose::{Algorithm, Jwk, Kid, PublicKey, PublicKeyError, Signature, Verifier};

/// A private key that this process holds.
pub struct LocalKey {
    pair: Pair,
    random: SystemRandom,
    published: Arc<PublishedKey>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

/// Why a pinned JWK is refused. No variant carries a value of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalKeyError {
    #[error("is not JSON; a private JWK is expected, as in {{\"kty\":\"RSA\",…}}")]
    NotJson,
    #[error("is a PEM; convert it to a private JWK")]
    Pem,
    #[error("is not a JSON object; a private JWK is expected")]
    NotAnObject,
    #[error("is a JWK set; give one private JWK")]
    Set,
    #[error("has \"kty\" {found}; {algorithm} needs \"kty\":\"{needed}\"")]
    WrongType {
        found: String,
        needed: &'static str,
        algorithm: Algorithm,
    },
    #[error("has \"crv\" {found}; ES256 needs \"crv\":\"P-256\"")]
    WrongCurve { found: String },
    #[error("has a \"kid\" that is not a non-empty string")]
    BadKid,
    #[error("is a public key: the private member \"d\" is missing")]
    PublicOnly,
    #[error("lacks \"{member}\"; export the key with p, q, dp, dq and qi")]
    Missing { member: &'static str },
    #[error("has a \"{member}\" that is not base64url")]
    NotBase64 { member: &'static str },
    #[error("is refused: {0}")]
    Shape(#[from] PublicKeyError),
    #[error("has private members that do not belong to its public ones")]
    Mismatch,
    #[error("could not be generated: the cryptographic library failed")]
    Generation,
}

/// The library failed to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed to sign")]
pub struct SigningFailed;

impl LocalKey {
    /// A fresh key under the kid `dev-key-1`; RSA-2048 or P-256.
    ///
    /// # Errors
    /// [`LocalKeyError::Generation`] where the library fails.
    pub fn ephemeral(algorithm: Algorithm) -> Result<Self, LocalKeyError> {
        let failed = |_| LocalKeyError::Generation;
        let (pair, public) = match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let public = rsa_public(&pair)?;
                (Pair::Rsa(Box::new(pair)), public)
            }
            Algorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                let public = ec_public(&pair)?;
                (Pair::Ec(Box::new(pair)), public)
            }
        };
        let kid = Kid::pinned("dev-key-1".to_owned()).map_err(|_| LocalKeyError::BadKid)?;
        Self::proved(pair, Jwk::new(kid, public))
    }

    /// The public half of a fresh P-256 key, under its thumbprint. Nobody has the private half any more.
    ///
    /// # Errors
    /// [`LocalKeyError::Generation`] where the library fails.
    pub fn orphan() -> Result<Arc<PublishedKey>, LocalKeyError> {
        let key = Self::ephemeral(Algorithm::Es256)?;
        let jwk = Jwk::by_thumbprint(key.published.jwk().key().clone());
        let orphan = PublishedKey::new(jwk).map_err(|_| LocalKeyError::Mismatch)?;
        Ok(Arc::new(orphan))
    }

    /// The pinned private JWK; its `kid`, or `key-1` without one.
    ///
    /// # Errors
    /// The reason, without any value of the key.
    pub fn from_jwk(text: &str, algorithm: Algorithm) -> Result<Self, LocalKeyError> {
        let members = PrivateJwk::parse(text)?;
        let kid = members.kid()?;
        let (pair, public) = match algorithm {
            Algorithm::Rs256 => members.rsa()?,
            Algorithm::Es256 => members.ec()?,
        };
        Self::proved(pair, Jwk::new(kid, public))
    }

    /// Signs; RS256 takes about 0.2 ms.
    ///
    /// # Errors
    /// [`SigningFailed`] where the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, SigningFailed> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(|_| SigningFailed)?;
                Ok(Signature::new(signature))
            }
            Pair::Ec(pair) => pair
                .sign(&self.random, message)
                .map(|signature| Signature::new(signature.as_ref().to_vec()))
                .map_err(|_| SigningFailed),
        }
    }

    /// The public half.
    pub fn published(&self) -> Arc<PublishedKey> {
        Arc::clone(&self.published)
    }

    pub fn algorithm(&self) -> Algorithm {
        self.published.algorithm()
    }

    fn proved(pair: Pair, jwk: Jwk) -> Result<Self, LocalKeyError> {
        let verifier = Verifier::new(jwk.key()).map_err(|_| LocalKeyError::Mismatch)?;
        let published = PublishedKey::new(jwk).map_err(|_| LocalKeyError::Mismatch)?;
        let key = Self {
            pair,
            random: SystemRandom::new(),
            published: Arc::new(published),
        };
        let message = b"macp-auth-service: proof of possession";
        let signature = key.sign(message).map_err(|_| LocalKeyError::Mismatch)?;
        if !verifier.accepts(message, &signature) {
            return Err(LocalKeyError::Mismatch);
        }
        Ok(key)
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalKey({})", self.published.kid())
    }
}

/// The members of a private JWK, wiped when dropped as far as the parser's own copies allow.
struct PrivateJwk(Map<String, Value>);

impl PrivateJwk {
    fn parse(text: &str) -> Result<Self, LocalKeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            return Err(LocalKeyError::Pem);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| LocalKeyError::NotJson)?;
        let Value::Object(members) = value else {
            return Err(LocalKeyError::NotAnObject);
        };
        if members.contains_key("keys") && !members.contains_key("kty") {
            return Err(LocalKeyError::Set);
        }
        Ok(Self(members))
    }

    fn kid(&self) -> Result<Kid, LocalKeyError> {
        let name = match self.0.get("kid") {
            None | Some(Value::Null) => "key-1".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(_) => return Err(LocalKeyError::BadKid),
        };
        Kid::pinned(name).map_err(|_| LocalKeyError::BadKid)
    }

    fn rsa(&self) -> Result<(Pair, PublicKey), LocalKeyError> {
        self.expect_type("RSA", Algorithm::Rs256)?;
        let public = PublicKey::rsa(&self.bytes("n")?, &self.bytes("e")?)?;
        let members =
            ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(|member| self.private_bytes(member));
        let [n, e, d, p, q, dp, dq, qi] = members;
        let (n, e, d, p, q, dp, dq, qi) = (n?, e?, d?, p?, q?, dp?, dq?, qi?);
        let uint = |bytes| UintRef::new(bytes).map_err(|_| LocalKeyError::Mismatch);
        let der = pkcs1::RsaPrivateKey {
            modulus: uint(&n)?,
            public_exponent: uint(&e)?,
            private_exponent: uint(&d)?,
            prime1: uint(&p)?,
            prime2: uint(&q)?,
            exponent1: uint(&dp)?,
            exponent2: uint(&dq)?,
            coefficient: uint(&qi)?,
            other_prime_infos: None,
        }
        .to_der()
        .map(Zeroizing::new)
        .map_err(|_| LocalKeyError::Mismatch)?;
        let pair = RsaKeyPair::from_der(&der).map_err(|_| LocalKeyError::Mismatch)?;
        Ok((Pair::Rsa(Box::new(pair)), public))
    }

    fn ec(&self) -> Result<(Pair, PublicKey), LocalKeyError> {
        self.expect_type("EC", Algorithm::Es256)?;
        match self.0.get("crv").and_then(Value::as_str) {
            Some("P-256") => {}
            other => {
                return Err(LocalKeyError::WrongCurve {
                    found: shown(other),
                });
            }
        }
        let coordinate = |member| -> Result<[u8; 32], LocalKeyError> {
            let bytes = self.bytes(member)?;
            <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| LocalKeyError::Mismatch)
        };
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        let d = self.private_bytes("d")?;
        let point = [&[0x04][..], &x, &y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &d,
            &point,
        )
        .map_err(|_| LocalKeyError::Mismatch)?;
        Ok((Pair::Ec(Box::new(pair)), PublicKey::p256(x, y)))
    }

    fn expect_type(&self, needed: &'static str, algorithm: Algorithm) -> Result<(), LocalKeyError> {
        match self.0.get("kty").and_then(Value::as_str) {
            Some(found) if found == needed => Ok(()),
            other => Err(LocalKeyError::WrongType {
                found: shown(other),
                needed,
                algorithm,
            }),
        }
    }

    fn private_bytes(&self, member: &'static str) -> Result<Zeroizing<Vec<u8>>, LocalKeyError> {
        if !self.0.contains_key("d") {
            return Err(LocalKeyError::PublicOnly);
        }
        self.bytes(member)
    }

    fn bytes(&self, member: &'static str) -> Result<Zeroizing<Vec<u8>>, LocalKeyError> {
        let text = match self.0.get(member) {
            None | Some(Value::Null) => return Err(LocalKeyError::Missing { member }),
            Some(Value::String(text)) => text,
            Some(_) => return Err(LocalKeyError::NotBase64 { member }),
        };
        LENIENT_BASE64URL
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| LocalKeyError::NotBase64 { member })
    }
}

impl Drop for PrivateJwk {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::String(text) = value {
                zeroize::Zeroize::zeroize(text);
            }
        }
    }
}

/// Node's jose decodes padded members too.
const LENIENT_BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn shown(member: Option<&str>) -> String {
    member.map_or_else(
        || "absent".to_owned(),
        |text| format!("{:?}", text.chars().take(20).collect::<String>()),
    )
}

fn rsa_public(pair: &RsaKeyPair) -> Result<PublicKey, LocalKeyError> {
    let key = pkcs1::RsaPublicKey::from_der(pair.public_key().as_ref())
        .map_err(|_| LocalKeyError::Generation)?;
    Ok(PublicKey::rsa(
        key.modulus.as_bytes(),
        key.public_exponent.as_bytes(),
    )?)
}

fn ec_public(pair: &EcdsaKeyPair) -> Result<PublicKey, LocalKeyError> {
    let point = pair.public_key().as_ref();
    let coordinate = |range| {
        point
            .get(range)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(LocalKeyError::Generation)
    };
    Ok(PublicKey::p256(coordinate(1..33)?, coordinate(33..65)?))
}
