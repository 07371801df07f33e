//! How a token is brought up, and up again: the rungs of the ladder.
//!
//! ```text
//! find keys  ->  log in, find keys  ->  module, token, login, keys  (siblings of a shared module are disturbed last)
//! ```
//!
//! A PIN that was refused is never tried again: only another PIN in the PIN file is.

use std::sync::Arc;

use super::discovery::{self, FoundKey, Search};
use super::host::NotRestarted;
use super::recovery::{Action, escalate};
use super::shared::{Live, State};
use super::supervisor::{Down, Supervisor};
use super::token::{Token, TokenFault};
use crate::clock::{Stopwatch, UnixSeconds};
use crate::config::{Pin, PinSource, pin_file};

impl Supervisor {
    /// Climbs the ladder from `action` until the token signs or the last rung failed.
    fn cure(&mut self, mut action: Action) -> Result<(), Down> {
        let shared = Arc::clone(&self.shared);
        let _inside = shared.enter();
        loop {
            let outcome = match action {
                Action::FindKeys | Action::Proceed | Action::NewSession => self.find_keys(),
                Action::LogIn => self.log_in_again().and_then(|()| self.find_keys()),
                Action::Reinitialize | Action::StopLogins | Action::GiveUp => {
                    self.start_over().and_then(|()| self.find_keys())
                }
            };
            match outcome {
                Err(down) if action < Action::Reinitialize && !down.is_final() => {
                    tracing::debug!(reason = %down, ?action, "not cured; the next rung");
                    action = escalate(action);
                }
                other => return other,
            }
        }
    }

    fn start_over(&mut self) -> Result<(), Down> {
        let pin = self.pin()?;
        self.take_down()?;
        self.last_start = Some(Stopwatch::start());
        let module = &self.shared.module;
        module
            .initialize()
            .map_err(|failure| TokenFault::Initialize {
                module: module.path().display().to_string(),
                failure,
            })?;
        self.initialized = true;
        match Token::connect(&self.shared.module, &self.config.token, pin.as_ref()) {
            Ok(token) => {
                *self.shared.token.lock() = Some(token);
                Ok(())
            }
            Err(fault) => Err(self.remember_refusal(fault, pin)),
        }
    }

    fn log_in_again(&mut self) -> Result<(), Down> {
        let pin = self.pin()?;
        let outcome = match (self.shared.token.lock().as_mut(), &pin) {
            (Some(token), Some(pin)) => token.renew_login(pin),
            (Some(_), None) => Ok(()),
            (None, _) => return Err(Down::NoKey(String::new())),
        };
        outcome.map_err(|fault| self.remember_refusal(fault, pin))
    }

    fn remember_refusal(&mut self, fault: TokenFault, pin: Option<Pin>) -> Down {
        if let (TokenFault::PinRefused { .. }, Some(pin)) = (&fault, pin) {
            self.refused_pin = Some((pin, fault.clone()));
        }
        fault.into()
    }

    /// The configured PIN, unless the token has refused exactly this one.
    fn pin(&self) -> Result<Option<Pin>, Down> {
        let pin = match &self.config.pin {
            PinSource::None => return Ok(None),
            PinSource::Value(pin) => pin.clone(),
            PinSource::File(path) => {
                pin_file::read(path).map_err(|error| Down::PinFile(error.to_string()))?
            }
        };
        match &self.refused_pin {
            Some((refused, fault)) if refused.same_as(&pin) => Err(fault.clone().into()),
            _ => Ok(Some(pin)),
        }
    }

    fn find_keys(&mut self) -> Result<(), Down> {
        let pin = self.pin()?;
        let search = Search {
            keys: &self.config.keys,
            policy: self.config.policy,
            algorithm: self.config.algorithm,
            pin: pin.as_ref(),
        };
        let guard = self.shared.token.lock();
        let Some(token) = guard.as_ref() else {
            return Err(Down::NoKey(String::new()));
        };
        let reports = discovery::find_keys(token, &search)?;
        let explained = super::explain_no_key(token, &self.config, &reports);
        let (slot, logged_in) = (token.slot(), token.logged_in());
        drop(guard);
        self.tell(&reports);
        let found: Vec<FoundKey> = reports
            .into_iter()
            .filter_map(|report| report.outcome.ok())
            .collect();
        if found.is_empty() {
            return Err(Down::NoKey(explained));
        }
        self.publish(&found);
        self.generation += 1;
        let live = Arc::new(Live {
            generation: self.generation,
            slot,
            logged_in,
            keys: found
                .into_iter()
                .map(|key| (key.published.kid().clone(), key.handle))
                .collect(),
        });
        self.last = Some(Arc::clone(&live));
        // Each key has just proved itself by a signature.
        self.shared.verified();
        self.shared.set_state(State::Live(live));
        Ok(())
    }

    /// Publishes before anything signs. A key that is no longer found stays published, but signs no more: an empty
    /// search is also what a token says that has lost its memory for a moment.
    fn publish(&self, found: &[FoundKey]) {
        let mut keys: Vec<Arc<PublishedKey>> =
            found.iter().map(|key| Arc::clone(&key.published)).collect();
        for known in self.shared.ring.load().keys() {
            if !keys.iter().any(|key| key.kid() == known.kid()) {
                keys.push(Arc::new(known.retired()));
            }
        }
        self.shared
            .ring
            .store(Arc::new(KeyRing::new(keys, UnixSeconds::now())));
    }

    /// Signs a nonce with the key in use, on a session of its own.
    fn canary(&self) -> Result<(), Down> {
        let shared = Arc::clone(&self.shared);
        let _inside = shared.enter();
        let (Some(live), now) = (&self.last, UnixSeconds::now()) else {
            return Err(Down::Stuck);
        };
        let ring = shared.ring.load();
        let signing = ring.signing_key(now).or_else(|| ring.keys().first());
        let pair = signing.and_then(|key| {
            let (_, handle) = live.keys.iter().find(|(kid, _)| kid == key.kid())?;
            Some((key, handle))
        });
        let guard = shared.token.lock();
        let (Some((key, handle)), Some(token)) = (pair, guard.as_ref()) else {
            return Err(Down::Stuck);
        };
        discovery::prove_again(token, handle, key.verifier())?;
        shared.verified();
        Ok(())
    }

    /// Drops every session, then finalises the module, unless a thread is inside it.
    fn take_down(&mut self) -> Result<(), Down> {
        let quiet_by = Deadline::after(QUIET_WITHIN);
        for place in self.shared.places() {
            match place.session.try_lock_for(quiet_by.remaining()) {
                Some(mut session) => *session = None,
                None => return Err(Down::Stuck),
            }
        }
        match self.shared.token.try_lock_for(quiet_by.remaining()) {
            Some(mut token) => *token = None,
            None => return Err(Down::Stuck),
        }
        if self.initialized {
            if let Err(failure) = self.shared.module.finalize() {
                tracing::debug!(%failure, "the module did not finalise");
            }
            self.initialized = false;
        }
        Ok(())
    }
}
