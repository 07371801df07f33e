//! Verification under exactly the key that is published.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use pkcs1::UintRef;
use pkcs1::der::Encode as _;

use super::{PublicKey, Signature};

/// A parsed public key; parsing once saves most of an RS256 verification.
#[derive(Debug, Clone)]
pub struct Verifier(ParsedPublicKey);

/// The components are no key: a point off the curve, an unusable exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its public components are not a valid key")]
pub struct NotAKey;

impl Verifier {
    /// # Errors
    /// [`NotAKey`] where the library refuses the components.
    pub fn new(key: &PublicKey) -> Result<Self, NotAKey> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, Vec<u8>) = match key {
            PublicKey::Rsa { n, e } => (&RSA_PKCS1_2048_8192_SHA256, rsa_public_key_der(n, e)?),
            PublicKey::P256 { x, y } => (&ECDSA_P256_SHA256_FIXED, uncompressed_point(x, y)),
        };
        ParsedPublicKey::new(algorithm, bytes)
            .map(Self)
            .map_err(|_| NotAKey)
    }

    /// Whether `signature` is this key's over `message`.
    pub fn accepts(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_sig(message, signature.as_bytes()).is_ok()
    }
}

/// `0x04 || x || y` (SEC 1, 2.3.3).
pub(crate) fn uncompressed_point(x: &[u8; 32], y: &[u8; 32]) -> Vec<u8> {
    [&[0x04][..], x, y].concat()
}

/// RSAPublicKey of RFC 8017, A.1.1.
fn rsa_public_key_der(n: &[u8], e: &[u8]) -> Result<Vec<u8>, NotAKey> {
    let uint = |bytes| UintRef::new(bytes).map_err(|_| NotAKey);
    pkcs1::RsaPublicKey {
        modulus: uint(n)?,
        public_exponent: uint(e)?,
    }
    .to_der()
    .map_err(|_| NotAKey)
}
