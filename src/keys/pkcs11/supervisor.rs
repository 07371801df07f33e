//! Brings one token up, and up again: one thread, the only caller of C_Initialize, C_Login and C_Finalize.
//!
//! ```text
//! initialise -> find the token -> log in -> find and prove keys -> live -> trouble: the rung that recovery names,
//!      ^                                                            |      then the next one
//!      +---- every session dropped, C_Finalize unless a thread is stuck, at most every 2 s ----+
//! ```
//!
//! A PIN that was refused is never tried again: only another PIN in the PIN file is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Shutdown;
use super::discovery::{self, FoundKey, KeyReport, Search};
use super::possession;
use super::recovery::{Action, escalate};
use super::shared::{Event, Live, Shared, Standing, State};
use super::token::{Token, TokenFault};
use crate::clock::{Deadline, Stopwatch, UnixSeconds};
use crate::config::{Pin, PinSource, Pkcs11Config, pin_file};
use crate::keys::{KeyRing, PublishedKey};

/// Between two re-initialisations, +-20 %.
const PAUSE: Duration = Duration::from_secs(2);
/// A key that has not signed for this long is tried.
const CANARY_AFTER: Duration = Duration::from_secs(15);
/// How long threads may take to leave the module before one counts as stuck.
const QUIET_WITHIN: Duration = Duration::from_secs(1);
/// Modules that cache objects show new keys only after this.
const REINITIALIZE_WITHOUT_KEY_EVERY: u32 = 15;

/// Why the token is not live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Down {
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error("{0}")]
    PinFile(String),
    #[error("{0}")]
    NoKey(String),
    #[error("the token refuses to sign ({0}). Its security officer has to look at it")]
    Refused(String),
    #[error(
        "a call into the module does not come back; the token is tried again without re-initialising it"
    )]
    Stuck,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    config: Pkcs11Config,
    events: Receiver<Event>,
    initialized: bool,
    generation: u64,
    last: Option<Arc<Live>>,
    last_start: Option<Stopwatch>,
    refused_pin: Option<(Pin, TokenFault)>,
    tries_without_key: u32,
    told: BTreeSet<String>,
    down: Option<Down>,
}

/// What the supervisor does next.
#[derive(Debug)]
enum Next {
    Cure(Action),
    Canary,
    Down(Down),
    Stop,
}

impl Supervisor {
    pub(super) const fn new(
        shared: Arc<Shared>,
        config: Pkcs11Config,
        events: Receiver<Event>,
    ) -> Self {
        Self {
            shared,
            config,
            events,
            initialized: false,
            generation: 0,
            last: None,
            last_start: None,
            refused_pin: None,
            tries_without_key: 0,
            told: BTreeSet::new(),
            down: None,
        }
    }

    /// Runs until told to stop; the outcome of the first try goes to `first`.
    pub(super) fn run(mut self, first: &Sender<Result<(), Down>>) -> Shutdown {
        let mut first = Some(first);
        let mut next = Next::Cure(Action::Reinitialize);
        loop {
            let outcome = match next {
                Next::Stop => {
                    return self
                        .take_down()
                        .map_or(Shutdown::Stuck, |()| Shutdown::Clean);
                }
                Next::Cure(action) => self.cure(action),
                Next::Canary => match self.canary() {
                    Err(Down::Token(fault)) => {
                        tracing::warn!(%fault, "the canary failed; the token is being cured");
                        self.shared.set_state(State::Repairing);
                        self.cure(Action::FindKeys)
                    }
                    other => other,
                },
                Next::Down(down) => Err(down),
            };
            self.announce(&outcome);
            if let Some(first) = first.take() {
                first.try_send(outcome).ok();
            }
            next = self.wait();
        }
    }

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
        possession::prove_again(token, handle, key.verifier())?;
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

    /// Waits for trouble, for the hour of the canary, or for the end of the pause.
    fn wait(&mut self) -> Next {
        let pause = self.pause();
        loop {
            let live = self.shared.is_live();
            let patience = if live {
                let quiet = self.shared.since_verified().unwrap_or(CANARY_AFTER);
                CANARY_AFTER.saturating_sub(quiet)
            } else {
                pause.remaining()
            };
            match self.events.recv_timeout(patience) {
                Err(RecvTimeoutError::Disconnected) | Ok(Event::Stop) => return Next::Stop,
                Err(RecvTimeoutError::Timeout) if !live => return self.next_try(),
                // A mint may have signed while this thread slept.
                Err(RecvTimeoutError::Timeout)
                    if self
                        .shared
                        .since_verified()
                        .is_some_and(|ago| ago < CANARY_AFTER) => {}
                Err(RecvTimeoutError::Timeout) => return Next::Canary,
                Ok(Event::Repair { action, reason }) => {
                    tracing::warn!(%reason, ?action, "signing failed; the token is being cured");
                    if action < Action::Reinitialize || pause.passed() {
                        return Next::Cure(action);
                    }
                    self.shared.set_state(State::Down);
                }
                Ok(Event::Stuck) => return Next::Down(Down::Stuck),
                Ok(Event::Refused { generation, reason }) if generation == self.generation => {
                    return Next::Down(Down::Refused(reason));
                }
                Ok(Event::Refused { .. }) => {}
            }
        }
    }

    /// What to try while the token is down.
    fn next_try(&mut self) -> Next {
        match &self.down {
            Some(Down::Stuck) if self.somebody_is_inside() => Next::Canary,
            Some(Down::NoKey(_)) if self.last.is_none() => {
                self.tries_without_key += 1;
                if self
                    .tries_without_key
                    .is_multiple_of(REINITIALIZE_WITHOUT_KEY_EVERY)
                {
                    Next::Cure(Action::Reinitialize)
                } else {
                    Next::Cure(Action::FindKeys)
                }
            }
            _ => Next::Cure(Action::Reinitialize),
        }
    }

    fn somebody_is_inside(&self) -> bool {
        self.shared
            .places()
            .iter()
            .any(|place| place.session.try_lock().is_none())
    }

    /// The end of the pause after the last start, between 80 % and 120 % of two seconds.
    fn pause(&self) -> Deadline {
        let mut random = [128];
        // Without random bytes every replica waits the same.
        aws_lc_rs::rand::fill(&mut random).ok();
        let wait = PAUSE * (80 * 255 + 40 * u32::from(random[0])) / (100 * 255);
        let since = match (&self.last_start, self.shared.is_live()) {
            (Some(start), true) => start.elapsed(),
            _ => Duration::ZERO,
        };
        Deadline::after(wait.saturating_sub(since))
    }

    /// Logs a change of state once, and keeps it for readiness.
    fn announce(&mut self, outcome: &Result<(), Down>) {
        let down = outcome.as_ref().err().cloned();
        match (&down, &self.last) {
            (Some(_), _) => self.shared.set_state(State::Down),
            // A canary has signed although a thread is stuck: the other sessions serve on.
            (None, Some(live)) if !self.shared.is_live() => {
                self.shared.set_state(State::Live(Arc::clone(live)));
            }
            (None, _) => {}
        }
        let reached = self
            .shared
            .token
            .try_lock()
            .and_then(|token| token.as_ref().map(|token| token.label().to_owned()));
        *self.shared.standing.lock() = Standing {
            token: match (reached, &down) {
                (Some(label), _) => Ok(label),
                (None, down) => Err(down.as_ref().map_or_else(String::new, ToString::to_string)),
            },
            key: match &down {
                None => Ok("proved by a signature".to_owned()),
                Some(down) => Err(down.to_string()),
            },
        };
        if down == self.down {
            return;
        }
        match &down {
            Some(down) => {
                tracing::error!(reason = %down, "no key can sign; trying again every 2 s");
            }
            None => tracing::info!(generation = self.generation, "the token signs"),
        }
        self.down = down;
    }

    /// Each finding is logged when it appears, not at each look.
    fn tell(&mut self, reports: &[KeyReport]) {
        let mut seen = BTreeSet::new();
        for report in reports {
            let line = report.line();
            if !self.told.contains(&line) {
                match &report.outcome {
                    Ok(_) => tracing::info!(key = %line, "key found"),
                    Err(_) => tracing::warn!(key = %line, "key not used"),
                }
                for warning in &report.warnings {
                    tracing::warn!(label = %report.label, %warning, "key");
                }
            }
            seen.insert(line);
        }
        self.told = seen;
    }
}

impl Down {
    /// No rung of the ladder cures it: somebody has to act.
    const fn is_final(&self) -> bool {
        match self {
            Self::Token(TokenFault::PinRefused { .. } | TokenFault::PinAtRisk { .. })
            | Self::PinFile(_)
            | Self::Refused(_)
            | Self::Stuck => true,
            Self::Token(_) | Self::NoKey(_) => false,
        }
    }
}
