//! What a signing thread signs with: its seat at the token, which holds one session.
//!
//! The session lies behind a lock that the thread holds while it is inside the module, so that the supervisor can take
//! all sessions away before C_Finalize, and knows that a seat it cannot lock has a thread inside.
//! At most two attempts a mint; between them the supervisor may cure the token while the mint waits in its deadline.

use std::sync::Arc;

use cryptoki::session::{Session, SessionState as CkState};
use parking_lot::MutexGuard;

use super::ckr::{Class, Failure};
use super::recovery::{Action, History, Place, SessionState, decide};
use super::session::{self, KeyHandle};
use super::shared::{Event, Live, Shared, State};
use crate::clock::Deadline;
use crate::jose::Signature;
use crate::keys::workers::SigningDevice;
use crate::keys::{PublishedKey, SignError};

/// One thread's place.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
}

/// Why one attempt gave no signature.
enum Trouble {
    Failed {
        failure: Failure,
        place: Place,
        session: SessionState,
    },
    WrongSignature,
}

/// A session and the generation it belongs to: none is used after its generation ended.
#[derive(Debug)]
pub(super) struct OwnSession {
    generation: u64,
    session: Session,
}

impl SigningDevice for Seat {
    fn sign(
        &mut self,
        key: &PublishedKey,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<Signature, SignError> {
        let mut first = true;
        self.shared.asked();
        loop {
            let live = self.live(deadline)?;
            let (_, handle) = live
                .keys
                .iter()
                .find(|(kid, _)| kid == key.kid())
                .ok_or(SignError::Unavailable)?;
            let trouble = match self.attempt(&live, key, handle, message) {
                Ok(signature) => {
                    self.shared.verified();
                    return Ok(signature);
                }
                Err(trouble) => trouble,
            };
            if !self.answer(&live, trouble, first) {
                self.shared.not_cured();
                return Err(SignError::Unavailable);
            }
            first = false;
        }
    }
}

impl Seat {
    /// The token as it signs now; waits in the deadline while it is being cured.
    fn live(&self, deadline: Deadline) -> Result<Arc<Live>, SignError> {
        loop {
            if deadline.passed() {
                return Err(SignError::TimedOut);
            }
            match self.shared.state() {
                State::Live(live) => return Ok(live),
                State::Down => return Err(SignError::Unavailable),
                State::Repairing => self.shared.wait_for_a_change(deadline),
            }
        }
    }

    /// One signature on the seat's session, which is dropped after any error.
    fn attempt(
        &self,
        live: &Live,
        key: &PublishedKey,
        handle: &KeyHandle,
        message: &[u8],
    ) -> Result<Signature, Trouble> {
        let Some(place) = self.shared.places().get(self.number) else {
            return Err(Trouble::outdated());
        };
        let mut own = place.session.lock();
        // The generation may have ended since this thread saw it. From here on nobody takes the session away.
        if !self.shared.is_live_in(live.generation) {
            *own = None;
            return Err(Trouble::outdated());
        }
        let inside = self.shared.enter_at(place);
        let signed = self.on_a_session(&mut own, live, handle, message);
        drop(inside);
        match signed {
            Ok(signature) if key.verifier().accepts(message, &signature) => Ok(signature),
            Ok(_) => {
                *own = None;
                Err(Trouble::WrongSignature)
            }
            Err(trouble) => {
                *own = None;
                Err(trouble)
            }
        }
    }

    /// The seat's own session, a new one, or the anchor where the token has no more.
    fn on_a_session(
        &self,
        own: &mut MutexGuard<'_, Option<OwnSession>>,
        live: &Live,
        handle: &KeyHandle,
        message: &[u8],
    ) -> Result<Signature, Trouble> {
        let module = &self.shared.module;
        let sign = |session: &Session| {
            session::sign(module, session, handle, message).map_err(|failure| Trouble::Failed {
                failure,
                place: Place::Sign,
                session: state_of(session, live.logged_in),
            })
        };
        if let Some(own) = own.as_ref()
            && own.generation == live.generation
        {
            return sign(&own.session);
        }
        **own = None;
        match module.open_session(live.slot) {
            Ok(session) => {
                let fresh = own.insert(OwnSession {
                    generation: live.generation,
                    session,
                });
                sign(&fresh.session)
            }
            Err(failure) if failure.class() == Class::SessionLimit => {
                match self.shared.token.lock().as_ref() {
                    Some(token) => sign(token.anchor()),
                    None => Err(Trouble::not_opened(failure)),
                }
            }
            Err(failure) => Err(Trouble::not_opened(failure)),
        }
    }

    /// Acts on trouble; whether another attempt makes sense.
    fn answer(&self, live: &Live, trouble: Trouble, first: bool) -> bool {
        let (failure, place, session) = match trouble {
            Trouble::WrongSignature => {
                tracing::error!(
                    "a signature did not verify under the published key and was not released"
                );
                let reason = "a signature that does not verify".to_owned();
                self.shared
                    .repair(live.generation, Action::FindKeys, reason);
                return first;
            }
            Trouble::Failed {
                failure,
                place,
                session,
            } => (failure, place, session),
        };
        let history = History {
            first,
            signed_before: true,
        };
        match decide(failure.class(), place, session, history) {
            Action::Proceed | Action::NewSession => first,
            action @ (Action::FindKeys | Action::LogIn | Action::Reinitialize) => {
                self.shared
                    .repair(live.generation, action, failure.to_string());
                first
            }
            Action::StopLogins | Action::GiveUp => {
                let generation = live.generation;
                self.shared.tell(Event::Refused {
                    generation,
                    failure,
                });
                false
            }
        }
    }
}

impl Trouble {
    const fn not_opened(failure: Failure) -> Self {
        Self::Failed {
            failure,
            place: Place::OpenSession,
            session: SessionState::Unknown,
        }
    }

    /// Like a closed session: the next attempt takes what is live then.
    fn outdated() -> Self {
        let closed = cryptoki::error::Error::Pkcs11(
            cryptoki::error::RvError::SessionClosed,
            cryptoki::context::Function::SignInit,
        );
        Self::not_opened(Failure::from(closed))
    }
}

/// What the session says of the login, without a claim where it does not answer. Where nobody logged in, a public session
/// is as it should be.
fn state_of(session: &Session, logged_in: bool) -> SessionState {
    match session.get_session_info().map(|info| info.session_state()) {
        Ok(CkState::RoPublic | CkState::RwPublic) if logged_in => SessionState::Public,
        Ok(_) => SessionState::LoggedIn,
        Err(_) => SessionState::Unknown,
    }
}
