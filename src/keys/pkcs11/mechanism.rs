//! Which mechanism makes a JOSE signature on this token, and the bytes it takes and gives.
//!
//! Mechanism lists lie in both directions (measured), so both ways are tried at load and the one that works is kept:
//! hashing in the token where it can, else here. Both give the same signature.

use aws_lc_rs::digest;
use cryptoki::mechanism::Mechanism;

use crate::jose::{Algorithm, Signature};

/// How a signature is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningMechanism {
    /// CKM_SHA256_RSA_PKCS over the message.
    Sha256RsaPkcs,
    /// CKM_RSA_PKCS over the DigestInfo of the hash.
    RsaPkcs,
    /// CKM_ECDSA_SHA256 over the message.
    EcdsaSha256,
    /// CKM_ECDSA over the hash.
    Ecdsa,
}

/// DigestInfo of SHA-256 up to the hash (RFC 8017, 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// RSA-8192; and room for modules that return more than they should.
pub const SIGNATURE_ROOM: usize = 1024;

impl SigningMechanism {
    /// The mechanisms to try for a key, best first.
    pub const fn candidates(algorithm: Algorithm) -> [Self; 2] {
        match algorithm {
            Algorithm::Rs256 => [Self::Sha256RsaPkcs, Self::RsaPkcs],
            Algorithm::Es256 => [Self::EcdsaSha256, Self::Ecdsa],
        }
    }

    /// As the standard names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256RsaPkcs => "CKM_SHA256_RSA_PKCS",
            Self::RsaPkcs => "CKM_RSA_PKCS",
            Self::EcdsaSha256 => "CKM_ECDSA_SHA256",
            Self::Ecdsa => "CKM_ECDSA",
        }
    }

    /// For C_SignInit. Made per call: a `Mechanism` is not Send.
    pub(super) const fn parameter(self) -> Mechanism<'static> {
        match self {
            Self::Sha256RsaPkcs => Mechanism::Sha256RsaPkcs,
            Self::RsaPkcs => Mechanism::RsaPkcs,
            Self::EcdsaSha256 => Mechanism::EcdsaSha256,
            Self::Ecdsa => Mechanism::Ecdsa,
        }
    }

    /// What C_Sign is given for this message: the message, or what was hashed here.
    pub fn input(self, message: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Sha256RsaPkcs | Self::EcdsaSha256 => message.into(),
            Self::RsaPkcs => [&SHA256_DIGEST_INFO[..], sha256(message).as_ref()]
                .concat()
                .into(),
            Self::Ecdsa => sha256(message).as_ref().to_vec().into(),
        }
    }

    /// The JOSE form of what C_Sign gave: NSS returns more than the 64 bytes of r||s.
    pub fn output(self, mut raw: Vec<u8>) -> Signature {
        match self {
            Self::Sha256RsaPkcs | Self::RsaPkcs => {}
            Self::EcdsaSha256 | Self::Ecdsa => raw.truncate(64),
        }
        Signature::new(raw)
    }
}

fn sha256(message: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, message)
}
