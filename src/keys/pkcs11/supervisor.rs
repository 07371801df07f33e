//! Brings one token up, and up again: one thread, the only caller of C_Initialize, C_Login and C_Finalize.
//!
//! ```text
//! initialise -> find the token -> log in -> find and prove keys -> live
//!      ^            |  a fault: down, every session dropped, C_Finalize unless a thread is stuck, and again after the pause
//!      +------------+
//! ```
//!
//! A PIN that was refused is never tried again: only another PIN in the PIN file is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Shutdown;
use super::discovery::{self, KeyReport, Search};
use super::seat::{Event, Live, QUIET_WITHIN, Shared, Standing};
use super::token::{Token, TokenFault};
use crate::clock::{Deadline, UnixSeconds};
use crate::config::{Pin, PinSource, Pkcs11Config, pin_file};
use crate::keys::KeyRing;

/// Between two tries while the token is away.
const PAUSE: Duration = Duration::from_secs(2);

/// Why the token is not live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Down {
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error("{0}")]
    PinFile(String),
    #[error("{0}")]
    NoKey(String),
    #[error(
        "a signing thread is stuck in the module; it is not re-initialised while a call is under way"
    )]
    Stuck,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    config: Pkcs11Config,
    events: Receiver<Event>,
    initialized: bool,
    generation: u64,
    refused_pin: Option<(Pin, TokenFault)>,
    told: BTreeSet<String>,
    down: Option<Down>,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, config: Pkcs11Config, events: Receiver<Event>) -> Self {
        Self {
            shared,
            config,
            events,
            initialized: false,
            generation: 0,
            refused_pin: None,
            told: BTreeSet::new(),
            down: None,
        }
    }

    /// Runs until told to stop; the outcome of the first try goes to `first`.
    pub(super) fn run(mut self, first: &Sender<Result<(), Down>>) -> Shutdown {
        let mut first = Some(first);
        loop {
            let outcome = self.bring_up();
            self.announce(&outcome);
            if let Some(first) = first.take() {
                first.try_send(outcome.clone()).ok();
            }
            if self.wait(outcome.is_ok()) == Next::Stop {
                return self
                    .take_down()
                    .map_or(Shutdown::Stuck, |()| Shutdown::Clean);
            }
        }
    }

    fn bring_up(&mut self) -> Result<(), Down> {
        let pin = self.pin()?;
        if self.shared.token.lock().is_none() {
            self.connect(pin.as_ref())?;
        }
        let reports = match self.search(pin.as_ref()) {
            Ok(reports) => reports,
            Err(fault) => {
                self.take_down()?;
                return Err(fault.into());
            }
        };
        self.tell(&reports);
        self.publish(reports)
    }

    fn connect(&mut self, pin: Option<&Pin>) -> Result<(), Down> {
        if !self.initialized {
            let module = &self.shared.module;
            module
                .initialize()
                .map_err(|failure| TokenFault::Initialize {
                    module: module.path().display().to_string(),
                    failure,
                })?;
            self.initialized = true;
        }
        match Token::connect(&self.shared.module, &self.config.token, pin) {
            Ok(token) => {
                *self.shared.token.lock() = Some(token);
                Ok(())
            }
            Err(fault) => {
                if let (TokenFault::PinRefused { .. }, Some(pin)) = (&fault, pin) {
                    self.refused_pin = Some((pin.clone(), fault.clone()));
                }
                self.take_down()?;
                Err(fault.into())
            }
        }
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

    fn search(&self, pin: Option<&Pin>) -> Result<Vec<KeyReport>, TokenFault> {
        let search = Search {
            keys: &self.config.keys,
            policy: self.config.policy,
            algorithm: self.config.algorithm,
            pin,
        };
        match self.shared.token.lock().as_ref() {
            Some(token) => discovery::find_keys(token, &search),
            None => Ok(Vec::new()),
        }
    }

    /// Puts the usable keys before the requests: first published, then signing.
    fn publish(&mut self, reports: Vec<KeyReport>) -> Result<(), Down> {
        let explained = self.explain_no_key(&reports);
        let found: Vec<_> = reports
            .into_iter()
            .filter_map(|report| report.outcome.ok())
            .collect();
        let Some(slot) = self.shared.token.lock().as_ref().map(Token::slot) else {
            return Err(Down::NoKey(explained));
        };
        if found.is_empty() {
            return Err(Down::NoKey(explained));
        }
        let published = found.iter().map(|key| Arc::clone(&key.published)).collect();
        self.shared
            .ring
            .store(Arc::new(KeyRing::new(published, UnixSeconds::now())));
        self.generation += 1;
        self.shared.live.store(Some(Arc::new(Live {
            generation: self.generation,
            slot,
            keys: found
                .into_iter()
                .map(|key| (key.published.kid().clone(), key.handle))
                .collect(),
        })));
        // Each key has just proved itself by a signature.
        self.shared
            .last_signature_verified
            .store(true, Ordering::Relaxed);
        Ok(())
    }

    fn explain_no_key(&self, reports: &[KeyReport]) -> String {
        if !reports.is_empty() {
            return format!(
                "no usable key: {}",
                reports.iter().map(line).collect::<Vec<_>>().join(" | ")
            );
        }
        let wanted = super::describe_keys(&self.config.keys);
        let guard = self.shared.token.lock();
        let (label, visible) = guard.as_ref().map_or(("", 0), |token| {
            (
                token.label(),
                discovery::visible_private_objects(token).unwrap_or(0),
            )
        });
        let pin = match (&self.config.pin, visible) {
            (PinSource::None, 0) => {
                " The token shows no private key at all, and no PIN is configured: set MACP_AUTH_PKCS11_PIN_FILE."
            }
            _ => "",
        };
        format!(
            "the token {label} holds no private key {wanted}.{pin} Make one with `macp-auth-service keys generate --alg RS256`"
        )
    }

    /// Drops every session, then finalises the module, unless a thread is inside it.
    fn take_down(&mut self) -> Result<(), Down> {
        self.shared.live.store(None);
        let quiet_by = Deadline::after(QUIET_WITHIN);
        for seat in &self.shared.seats {
            match seat.try_lock_for(quiet_by.remaining()) {
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

    /// Until the next try is due, or for ever while all is well.
    fn wait(&mut self, well: bool) -> Next {
        let again = Deadline::after(PAUSE);
        loop {
            let event = if well {
                self.events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.events.recv_timeout(again.remaining())
            };
            match event {
                Err(RecvTimeoutError::Timeout) => return Next::Again,
                Err(RecvTimeoutError::Disconnected) | Ok(Event::Stop) => return Next::Stop,
                Ok(Event::Fault {
                    generation,
                    failure,
                }) if well && generation == self.generation => {
                    tracing::warn!(%failure, "signing failed on two sessions; the token is brought up again");
                    return self.restart();
                }
                Ok(Event::WrongSignature { generation })
                    if well && generation == self.generation =>
                {
                    tracing::error!(
                        "a signature did not verify under the published key and was not released; the token is brought up again"
                    );
                    return self.restart();
                }
                Ok(Event::Fault { .. } | Event::WrongSignature { .. }) => {}
            }
        }
    }

    fn restart(&mut self) -> Next {
        if let Err(down) = self.take_down() {
            self.announce(&Err(down));
        }
        Next::Again
    }

    /// Logs a change of state once, and keeps it for readiness.
    fn announce(&mut self, outcome: &Result<(), Down>) {
        let down = outcome.as_ref().err().cloned();
        let token = self
            .shared
            .token
            .lock()
            .as_ref()
            .map(|token| token.label().to_owned());
        let reached = token.map_or_else(
            || Err(down.as_ref().map_or_else(String::new, ToString::to_string)),
            Ok,
        );
        *self.shared.standing.lock() = Standing {
            token: reached,
            key: match &down {
                None => Ok(format!("{} proved", self.shared.ring.load().keys().len())),
                Some(down) => Err(down.to_string()),
            },
        };
        if down == self.down {
            return;
        }
        match &down {
            Some(down) => {
                tracing::error!(reason = %down, "no key can sign; trying again every 2 s")
            }
            None => tracing::info!(generation = self.generation, "the token signs"),
        }
        self.down = down;
    }

    /// Each finding is logged when it appears, not at each look.
    fn tell(&mut self, reports: &[KeyReport]) {
        let mut seen = BTreeSet::new();
        for report in reports {
            let line = line(report);
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    Stop,
}

/// `"macp-jwt" (CKA_ID 01): kid …, RS256 by CKM_SHA256_RSA_PKCS`, or why it is not used.
fn line(report: &KeyReport) -> String {
    let name = format!("{:?} (CKA_ID {})", report.label, hex::encode(&report.id));
    match &report.outcome {
        Ok(key) => format!(
            "{name}: kid {}, {} by {}",
            key.published.kid(),
            key.published.algorithm(),
            key.handle.mechanism.name()
        ),
        Err(refusal) => format!("{name}: {refusal}"),
    }
}
