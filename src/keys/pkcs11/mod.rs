//! Keys in a PKCS#11 token. The only home of cryptoki.
//!
//! ```text
//! supervisor   module -> token -> discovery (public, proof, mechanism) -> live keys, ring
//! seat         one signing thread's session:  C_SignInit, C_Sign, verified under the published key
//! ```
//!
//! `uri` and `ckr` and `proof` decide and are pure; `module`, `token`, `session` and `ffi` call the module.

pub mod ckr;
pub mod discovery;
pub mod ffi;
pub mod generate;
pub mod mechanism;
pub mod module;
pub mod proof;
pub mod public;
mod seat;
pub mod session;
mod supervisor;
pub mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::Mutex;

use self::module::{LoadError, Module};
use self::seat::{Event, Seat, Shared, Standing};
use self::supervisor::{Down, Supervisor};
use self::token::TokenFault;
use super::workers::Workers;
use super::{KeyRing, Part, PublishedKey, SignError};
use crate::clock::Deadline;
use crate::config::{KeySelector, Pkcs11Config};
use crate::jose::{Jwt, SigningInput};

/// How long the start waits for the token before it listens without it.
const FIRST_TRY: Duration = Duration::from_secs(5);

/// Signs in one token. Requests see a ring of published keys and [`TokenSigner::sign`].
#[derive(Debug)]
pub struct TokenSigner {
    shared: Arc<Shared>,
    workers: Workers,
    stopped: Receiver<Shutdown>,
}

/// Only a change of configuration cures these: the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Token(TokenFault),
    #[error("the system gives no thread for signing: {0}")]
    Thread(#[from] std::io::Error),
}

/// How the module was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// All sessions closed, the module finalised.
    Clean,
    /// A call is under way: leave without running the module's destructors.
    Stuck,
}

impl TokenSigner {
    /// Loads the module and tries the token once, for at most 5 s; goes on without it where it may heal. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Pkcs11Config) -> Result<Self, StartError> {
        let module = Arc::new(Module::load(&config.module)?);
        let (events, inbox) = bounded(config.sessions.max(1) * 2);
        let shared = Arc::new(Shared {
            module,
            ring: ArcSwap::default(),
            live: ArcSwapOption::empty(),
            token: Mutex::new(None),
            seats: (0..config.sessions).map(|_| Mutex::new(None)).collect(),
            last_signature_verified: AtomicBool::new(false),
            events,
            standing: Mutex::new(Standing {
                token: Err("not reached yet".to_owned()),
                key: Err("not looked for yet".to_owned()),
            }),
        });
        let seats = (0..config.sessions)
            .map(|number| Seat {
                shared: Arc::clone(&shared),
                number,
            })
            .collect();
        let workers = Workers::start(seats, config.queue_length)?;
        let (stopping, stopped) = bounded(1);
        let supervisor = Supervisor::new(Arc::clone(&shared), config, inbox);
        let (first, outcome) = bounded(1);
        std::thread::Builder::new()
            .name("token".to_owned())
            .spawn(move || {
                stopping.send(supervisor.run(&first)).ok();
            })?;
        match outcome.recv_timeout(FIRST_TRY) {
            Ok(Err(Down::Token(fault @ TokenFault::Ambiguous { .. }))) => {
                return Err(StartError::Token(fault));
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                tracing::warn!("the token has not answered within 5 s; listening without it");
            }
        }
        Ok(Self {
            shared,
            workers,
            stopped,
        })
    }

    pub(super) fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.shared.ring.load()
    }

    pub(super) async fn sign(
        &self,
        key: &Arc<PublishedKey>,
        input: SigningInput,
        deadline: Deadline,
    ) -> Result<Jwt, SignError> {
        if self.shared.live.load().is_none() {
            return Err(SignError::Unavailable);
        }
        self.workers.sign(key, input, deadline).await
    }

    pub(super) fn mint_parts(&self) -> Vec<Part> {
        let standing = self.shared.standing.lock().clone();
        let live = self.shared.live.load().is_some();
        let verified = live && self.shared.last_signature_verified.load(Ordering::Relaxed);
        let signature = if verified {
            Ok("the last one verified".to_owned())
        } else {
            Err("none since the last trouble".to_owned())
        };
        [
            ("token", standing.token),
            ("key", standing.key),
            ("signature", signature),
        ]
        .map(|(name, state)| Part {
            name,
            ok: state.is_ok(),
            detail: state.unwrap_or_else(|trouble| trouble),
        })
        .into()
    }

    /// Ends the threads and finalises the module, within 2 s. Blocks.
    pub fn shut_down(&self) -> Shutdown {
        self.workers.stop();
        if self
            .shared
            .events
            .send_timeout(Event::Stop, SHUT_DOWN_WITHIN)
            .is_err()
        {
            return Shutdown::Stuck;
        }
        self.stopped
            .recv_timeout(SHUT_DOWN_WITHIN)
            .unwrap_or(Shutdown::Stuck)
    }
}

const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(2);

/// `under the label prefix macp-jwt`: which keys were asked for.
fn describe_keys(keys: &KeySelector) -> String {
    match keys {
        KeySelector::Prefix(prefix) => format!("under the label prefix {prefix}"),
        KeySelector::Fixed { label, id } => {
            let label = label.as_ref().map(|label| format!("label {label:?}"));
            let id = id.as_ref().map(|id| format!("CKA_ID {}", hex::encode(id)));
            let named: Vec<String> = label.into_iter().chain(id).collect();
            format!("with {}", named.join(" and "))
        }
    }
}
