//! What can be read of one key, its token and its module, for a record of how the key was made; and signatures for that record.
//!
//! Read, never decided here. What a token says of itself is its word; only what it signs is proof.

use std::path::PathBuf;

use cryptoki::object::KeyType;

use super::discovery::FoundKey;
use super::ffi::TokenInfo;
use super::inspect;
use super::module::LibraryInfo;
use super::possession::{nonce, sign_once};
use super::proof::Claims;
use super::token::{Token, TokenFault};
use crate::jose::{Algorithm, Signature};

pub use super::possession::PROOF;

/// See the module.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub module: PathBuf,
    pub library: LibraryInfo,
    pub slot: u64,
    pub token: TokenInfo,
    pub claims: Claims,
    /// A message of [`PROOF`] and random bytes.
    pub nonce: Vec<u8>,
    /// Of the nonce; verified.
    pub signature: Signature,
}

/// Reads all of it, and has a nonce signed.
///
/// # Errors
/// The token's.
pub fn gather(token: &Token, key: &FoundKey) -> Result<Evidence, TokenFault> {
    let fault = |failure| token.fault(failure);
    let view = token.view()?;
    let kind = match key.published.algorithm() {
        Algorithm::Rs256 => KeyType::RSA,
        Algorithm::Es256 => KeyType::EC,
    };
    let (claims, _) = inspect::claims(&view, key.handle.object, kind).map_err(fault)?;
    let nonce = nonce();
    Ok(Evidence {
        module: token.module().path().to_owned(),
        library: token.module().library().map_err(fault)?,
        slot: token.slot().id(),
        token: token.info().clone(),
        claims,
        signature: sign(token, key, &nonce)?,
        nonce,
    })
}

/// One signature by a key that was found under the present login, verified.
///
/// # Errors
/// The token's; [`TokenFault::WrongSignature`] where the signature is not this key's.
pub fn sign(token: &Token, key: &FoundKey, message: &[u8]) -> Result<Signature, TokenFault> {
    let signature = sign_once(token, &key.handle, message);
    let signature = signature.map_err(|failure| token.fault(failure))?;
    if key.published.verifier().accepts(message, &signature) {
        return Ok(signature);
    }
    let token = token.label().to_owned();
    Err(TokenFault::WrongSignature { token })
}
