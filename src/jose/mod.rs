//! JWK, JWK set, thumbprint, compact JWS and signature verification: values in, values out.
//!
//! Own code because the wire contract fixes bytes (member order, no `typ`) that no library lets a caller choose.
//! Knows nothing of HTTP, of time, or of where a key lives.

mod algorithm;
mod compact;
mod jwk;
mod parse;
mod verifier;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use compact::{Jwt, ProtectedHeader, Signature, SigningInput};
pub use jwk::{EmptyKid, Jwk, JwkSet, Kid, PublicKey, PublicKeyError};
pub use parse::JwkError;
pub use verifier::{NotAKey, Verifier};
