//! What is tried on a token to tell an operator how it does: how many sessions it opens, and how fast it signs.

use std::time::Duration;

use cryptoki::session::Session;

use super::ckr::{Class, Failure};
use super::possession::nonce;
use super::session::{self, KeyHandle};
use super::token::{Token, TokenFault};
use crate::clock::Stopwatch;
use crate::jose::Verifier;

/// Opens up to `wanted` sessions beside the anchor and closes them again: how many there were, and why not more.
pub fn open_sessions(token: &Token, wanted: usize) -> (usize, Option<Failure>) {
    let mut open = Vec::new();
    while open.len() < wanted {
        match token.module().open_session(token.slot()) {
            Ok(session) => open.push(session),
            Err(failure) => return (open.len(), Some(failure)),
        }
    }
    (wanted, None)
}

/// One key that signs again and again on one session, as a signing thread does.
#[derive(Debug)]
pub struct Trial<'a> {
    token: &'a Token,
    key: &'a KeyHandle,
    verifier: &'a Verifier,
    /// None: the token has no session beside the anchor.
    own: Option<Session>,
}

impl<'a> Trial<'a> {
    /// # Errors
    /// The token's, where it opens no session and not for want of more.
    pub fn begin(
        token: &'a Token,
        key: &'a KeyHandle,
        verifier: &'a Verifier,
    ) -> Result<Self, TokenFault> {
        let own = match token.module().open_session(token.slot()) {
            Ok(session) => Some(session),
            Err(failure) if failure.class() == Class::SessionLimit => None,
            Err(failure) => return Err(token.fault(failure)),
        };
        Ok(Self {
            token,
            key,
            verifier,
            own,
        })
    }

    /// How long one signature took; it has been verified.
    ///
    /// # Errors
    /// The token's; the trial is then over.
    pub fn sign(&self) -> Result<Duration, TokenFault> {
        let session = self.own.as_ref().unwrap_or_else(|| self.token.anchor());
        let message = nonce();
        let watch = Stopwatch::start();
        let signature = session::sign(self.token.module(), session, self.key, &message)
            .map_err(|failure| self.token.fault(failure))?;
        let took = watch.elapsed();
        if self.verifier.accepts(&message, &signature) {
            return Ok(took);
        }
        let token = self.token.label().to_owned();
        Err(TokenFault::WrongSignature { token })
    }
}
