//! PKCS#11.

pub mod uri;

use std::sync::Arc;

use arc_swap::Guard;

use super::{KeyRing, Part, PublishedKey, SignError};
use crate::clock::Deadline;
use crate::jose::{Jwt, SigningInput};

/// Signs in a token.
#[derive(Debug)]
pub struct TokenSigner {
    ring: arc_swap::ArcSwap<KeyRing>,
}

impl TokenSigner {
    pub(super) fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    pub(super) async fn sign(
        &self,
        _key: &Arc<PublishedKey>,
        _input: SigningInput,
        _deadline: Deadline,
    ) -> Result<Jwt, SignError> {
        Err(SignError::Unavailable)
    }

    pub(super) fn mint_parts(&self) -> Vec<Part> {
        Vec::new()
    }
}
