//! Where signatures come from. [`Signer`] is all that the rest of the service knows:
//!
//! ```text
//! ring()     what is published
//! sign(now, signing input, deadline)  ->  Jwt, verified under the published key that signed
//! ```
//!
//! [`local`] signs in this process; [`pkcs11`] asks a token through [`workers`]. Neither ever stands in for the other:
//! the configuration chooses the source, a failure never does.

pub mod label;
pub mod lists;
pub mod local;
pub mod pkcs11;
pub mod ring;
pub mod rules;
pub mod saved;
pub mod schedule;
pub mod workers;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Deadline, UnixSeconds};
use crate::jose::{Jwt, SigningInput};

pub use ring::{JwksDocument, KeyRing, PublishedKey};

/// Why a mint got no signature. Causes with names of devices stay in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The queue before the signing threads is full.
    #[error("the signing queue is full")]
    Overloaded,
    /// The deadline of the mint passed.
    #[error("the deadline passed before a signature was there")]
    TimedOut,
    /// No key can sign at the moment.
    #[error("no key can sign at the moment")]
    Unavailable,
    /// A signing thread panicked, or the software key failed.
    #[error("signing failed unexpectedly")]
    Unexpected,
}

/// One part of readiness: its name, whether it is well, and what an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// Whether mints may be sent here, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub parts: Vec<Part>,
}

/// The source of signatures, chosen by configuration.
#[derive(Debug)]
pub struct Signer {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Local {
        key: local::LocalKey,
        ring: Arc<ArcSwap<KeyRing>>,
    },
    Token(pkcs11::TokenSigner),
}

impl Signer {
    /// Signs in this process.
    pub fn local(key: local::LocalKey) -> Self {
        let ring = KeyRing::new(vec![key.published()], UnixSeconds::EVER);
        Self {
            source: Source::Local {
                key,
                ring: Arc::new(ArcSwap::from_pointee(ring)),
            },
        }
    }

    /// Signs in a PKCS#11 token.
    pub const fn token(signer: pkcs11::TokenSigner) -> Self {
        Self {
            source: Source::Token(signer),
        }
    }

    /// The current snapshot of keys.
    pub fn ring(&self) -> Guard<Arc<KeyRing>> {
        match &self.source {
            Source::Local { ring, .. } => ring.load(),
            Source::Token(signer) => signer.ring(),
        }
    }

    /// One signature by a key that may sign at `now`, verified under that key before it is returned. `input` makes what is
    /// signed for the key that was chosen; it may be asked for several.
    ///
    /// A software key signs on the caller's thread: it takes less time than handing over would.
    ///
    /// # Errors
    /// See [`SignError`]; the answer never comes later than `deadline`.
    pub async fn sign(
        &self,
        now: UnixSeconds,
        input: impl Fn(&PublishedKey) -> SigningInput,
        deadline: Deadline,
    ) -> Result<Jwt, SignError> {
        match &self.source {
            Source::Local { key, .. } => {
                let input = input(&key.published());
                let signature = key
                    .sign(input.as_bytes())
                    .map_err(|_| SignError::Unexpected)?;
                Ok(input.into_jwt(&signature))
            }
            Source::Token(signer) => signer.sign(now, input, deadline).await,
        }
    }

    /// Whether mints may be sent here.
    pub fn mint_readiness(&self) -> Readiness {
        match &self.source {
            Source::Local { .. } => Readiness {
                ready: true,
                parts: vec![Part {
                    name: "key",
                    ok: true,
                    detail: "a software key, proved at start".to_owned(),
                }],
            },
            Source::Token(signer) => signer.mint_readiness(),
        }
    }

    /// Ends what the source keeps running. Blocks for 2 s at most.
    pub fn shut_down(&self) -> pkcs11::Shutdown {
        match &self.source {
            Source::Local { .. } => pkcs11::Shutdown::Clean,
            Source::Token(signer) => signer.shut_down(),
        }
    }
}
