//! What a signing thread signs with: its seat at the token, which holds one session.
//!
//! The session lies behind a lock that the thread holds for the length of a job, so that the supervisor can take all
//! sessions away before C_Finalize, and knows that a seat it cannot lock has a thread inside the module.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_channel::Sender;
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use parking_lot::Mutex;

use super::ckr::{Class, Failure};
use super::module::Module;
use super::session::{self, KeyHandle};
use super::token::Token;
use crate::clock::Deadline;
use crate::jose::{Kid, Signature};
use crate::keys::workers::SigningDevice;
use crate::keys::{KeyRing, PublishedKey, SignError};

/// What supervisor, threads and requests share of one token.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) module: Arc<Module>,
    pub(super) ring: ArcSwap<KeyRing>,
    /// None while the token cannot sign: a mint is then refused without waiting.
    pub(super) live: ArcSwapOption<Live>,
    pub(super) token: Mutex<Option<Token>>,
    pub(super) seats: Vec<Mutex<Option<Session>>>,
    pub(super) last_signature_verified: AtomicBool,
    pub(super) events: Sender<Event>,
    pub(super) standing: Mutex<Standing>,
}

/// A token that signs: handles that are good for exactly one generation of sessions.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) slot: Slot,
    pub(super) keys: Vec<(Kid, KeyHandle)>,
}

/// What threads and requests tell the supervisor.
#[derive(Debug)]
pub(super) enum Event {
    /// Signing failed on two sessions of this generation.
    Fault {
        generation: u64,
        failure: Failure,
    },
    /// A signature did not verify under the published key.
    WrongSignature {
        generation: u64,
    },
    Stop,
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) token: Result<String, String>,
    pub(super) key: Result<String, String>,
}

/// How long sessions may take to come back before the supervisor takes a thread for stuck.
pub(super) const QUIET_WITHIN: Duration = Duration::from_secs(5);

/// One thread's place.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
}

/// Why one attempt gave no signature.
enum Attempt {
    Failed(Failure),
    WrongSignature,
    NoSuchKey,
}

impl SigningDevice for Seat {
    fn sign(
        &mut self,
        key: &PublishedKey,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<Signature, SignError> {
        let shared = Arc::clone(&self.shared);
        let seat = shared.seats.get(self.number).ok_or(SignError::Unexpected)?;
        let mut session = seat.lock();
        let live = shared.live.load_full().ok_or(SignError::Unavailable)?;
        let mut last = None;
        for _ in 0..2 {
            if deadline.passed() {
                break;
            }
            match self.attempt(&mut session, &live, key, message) {
                Ok(signature) => {
                    shared
                        .last_signature_verified
                        .store(true, Ordering::Relaxed);
                    return Ok(signature);
                }
                Err(Attempt::NoSuchKey) => return Err(SignError::Unavailable),
                Err(attempt) => last = Some(attempt),
            }
        }
        let Some(attempt) = last else {
            return Err(SignError::TimedOut);
        };
        self.report(live.generation, attempt);
        Err(SignError::Unavailable)
    }
}

impl Seat {
    /// One signature on the seat's session, which is dropped after any error.
    fn attempt(
        &self,
        session: &mut Option<Session>,
        live: &Live,
        key: &PublishedKey,
        message: &[u8],
    ) -> Result<Signature, Attempt> {
        let (_, handle) = live
            .keys
            .iter()
            .find(|(kid, _)| kid == key.kid())
            .ok_or(Attempt::NoSuchKey)?;
        let signature = match self.on_a_session(session, live, handle, message) {
            Ok(signature) => signature,
            Err(failure) => {
                *session = None;
                return Err(Attempt::Failed(failure));
            }
        };
        if !key.verifier().accepts(message, &signature) {
            *session = None;
            return Err(Attempt::WrongSignature);
        }
        Ok(signature)
    }

    /// The seat's own session, a new one, or the anchor where the token has no more.
    fn on_a_session(
        &self,
        session: &mut Option<Session>,
        live: &Live,
        handle: &KeyHandle,
        message: &[u8],
    ) -> Result<Signature, Failure> {
        let module = &self.shared.module;
        if let Some(session) = session {
            return session::sign(module, session, handle, message);
        }
        match module.open_session(live.slot) {
            Ok(fresh) => session::sign(module, session.insert(fresh), handle, message),
            Err(failure) if failure.class() == Class::SessionLimit => {
                match self.shared.token.lock().as_ref() {
                    Some(token) => session::sign(module, token.anchor(), handle, message),
                    None => Err(failure),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    fn report(&self, generation: u64, attempt: Attempt) {
        let event = match attempt {
            Attempt::Failed(failure) => Event::Fault {
                generation,
                failure,
            },
            Attempt::WrongSignature => Event::WrongSignature { generation },
            Attempt::NoSuchKey => return,
        };
        self.shared
            .last_signature_verified
            .store(false, Ordering::Relaxed);
        // The supervisor acts on the first report of a generation; a full channel already holds one.
        self.shared.events.try_send(event).ok();
    }
}
