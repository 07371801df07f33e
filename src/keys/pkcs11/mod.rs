//! Keys in a PKCS#11 token. The only home of cryptoki.
//!
//! ```text
//! supervisor   module -> token -> discovery (public, proof, mechanism) -> live keys, ring
//! seat         one signing thread's session:  C_SignInit, C_Sign, verified under the published key
//! watch        calls that do not come back
//! ```
//!
//! `ckr`, `recovery` and `proof` decide and are pure; `module`, `token`, `session` and `ffi` call the module.

pub mod ckr;
pub mod discovery;
pub mod ffi;
pub mod generate;
mod inspect;
pub mod mechanism;
pub mod module;
pub mod possession;
pub mod proof;
pub mod public;
pub mod recovery;
mod seat;
pub mod session;
mod shared;
mod supervisor;
pub mod token;
pub mod trial;
pub mod uri;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use self::discovery::KeyReport;
use self::module::{LoadError, Module};
use self::seat::Seat;
use self::shared::{Event, Shared};
use self::supervisor::{Down, Supervisor};
use self::token::{Token, TokenFault};
use self::watch::Patience;
use super::workers::Workers;
use super::{KeyRing, Part, PublishedKey, SignError};
use crate::clock::Deadline;
use crate::config::{KeySelector, PinSource, Pkcs11Config};
use crate::jose::{Jwt, SigningInput};

/// How long the start waits for the token before it listens without it.
const FIRST_TRY: Duration = Duration::from_secs(5);

/// Signs in one token. Requests see a ring of published keys and [`TokenSigner::sign`].
#[derive(Debug)]
pub struct TokenSigner {
    shared: Arc<Shared>,
    workers: Workers,
    stopped: Receiver<Shutdown>,
    _watching: Sender<()>,
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
    pub fn start(config: Pkcs11Config, sign_timeout: Duration) -> Result<Self, StartError> {
        let module = Arc::new(Module::load(&config.module)?);
        let (events, inbox) = unbounded();
        let shared = Arc::new(Shared::new(module, config.sessions, events));
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
        let (watching, stop) = bounded(0);
        let watched = [Arc::clone(&shared)];
        let patience = Patience {
            call: sign_timeout,
            exit: STUCK_EXIT,
        };
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch::run(&watched, patience, &stop))?;
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
            _watching: watching,
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
        if self.shared.is_down() {
            return Err(SignError::Unavailable);
        }
        self.workers.sign(key, input, deadline).await
    }

    pub(super) fn mint_parts(&self) -> Vec<Part> {
        let standing = self.shared.standing.lock().clone();
        let signature = match self.shared.since_verified() {
            Some(ago) if !self.shared.is_down() && ago <= FRESH => {
                Ok(format!("the last one verified {} s ago", ago.as_secs()))
            }
            Some(ago) => Err(format!("the last one verified {} s ago", ago.as_secs())),
            None => Err("none has verified since the last failure".to_owned()),
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
        self.shared.tell(Event::Stop);
        self.stopped
            .recv_timeout(SHUT_DOWN_WITHIN)
            .unwrap_or(Shutdown::Stuck)
    }
}

const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(2);
/// A token whose last verified signature is older is not ready.
const FRESH: Duration = Duration::from_secs(30);
/// With stuck calls and no healthy token for this long, the process leaves.
const STUCK_EXIT: Duration = Duration::from_secs(120);

/// Why there is nothing to sign with, and what to do.
pub fn explain_no_key(token: &Token, config: &Pkcs11Config, reports: &[KeyReport]) -> String {
    if !reports.is_empty() {
        let lines: Vec<String> = reports.iter().map(KeyReport::line).collect();
        return format!("no usable key: {}", lines.join(" | "));
    }
    let no_pin = matches!(config.pin, PinSource::None)
        && discovery::visible_private_objects(token).is_ok_and(|visible| visible == 0);
    let pin = if no_pin {
        " It shows no private key at all, and no PIN is configured: set MACP_AUTH_PKCS11_PIN_FILE."
    } else {
        ""
    };
    format!(
        "the token {} holds no private key {}.{pin} Make one with `macp-auth-service keys generate --alg RS256`",
        token.label(),
        describe_keys(&config.keys)
    )
}

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
