//! All tokens as one signer: which token signs, who takes over, how long each may take.
//!
//! Replicas of one key share the load in turn and take over from each other inside one request's deadline; where another
//! token could still sign, an attempt gets half of what is left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::host::Host;
use super::module::{LoadError, Module};
use super::pin_guard::PinGuard;
use super::shared::{Event, Shared, State};
use super::supervisor::{Charge, Down};
use super::token::TokenFault;
use super::unit::Unit;
use super::watch::{self, Patience};
use crate::clock::{Deadline, UnixSeconds};
use crate::config::{Pkcs11Config, TokenConfig};
use crate::jose::SigningInput;
use crate::keys::{
    Board, Choice, KeyRing, Overview, Part, PublishedKey, Readiness, SignError, Signed,
};
use crate::process::start_vital;
use crate::state_dir::StateDir;

/// How long the start waits for the tokens before it listens without them.
const FIRST_TRY: Duration = Duration::from_secs(5);
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(2);

/// Signs in tokens. Requests see a ring of published keys, and ask for signatures.
#[derive(Debug)]
pub struct TokenSigner {
    board: Arc<Board>,
    tokens: Vec<Unit>,
    turn: AtomicUsize,
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

/// How the modules were left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// All sessions closed, the modules finalised.
    Clean,
    /// A call is under way: leave without running a module's destructors.
    Stuck,
}

impl TokenSigner {
    /// Loads the modules and tries each token once, for at most 5 s in all; goes on without those that may heal. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: Pkcs11Config,
        board: Arc<Board>,
        directory: Option<StateDir>,
        sign_timeout: Duration,
    ) -> Result<Self, StartError> {
        let hosts = load(&config.tokens)?;
        let guard = PinGuard::new(directory);
        let joined = join(&config, &hosts);
        let mut units = Vec::new();
        let mut firsts = Vec::new();
        for joined in joined {
            let Joined {
                token,
                host,
                shared,
                inbox,
            } = joined;
            let charge = Charge {
                shared,
                host: Arc::clone(host),
                board: Arc::clone(&board),
                guard: guard.clone(),
                name: token.name(),
                token: token.clone(),
                policy: config.policy,
            };
            let (unit, first) = Unit::start(charge, inbox, &config)?;
            units.push(unit);
            firsts.push(first);
        }
        let patience = Patience {
            call: sign_timeout,
            exit: config.stuck_exit,
            unread: Duration::from_secs(board.rules().sign_stale_after()),
        };
        let watching = watch_over(&units, patience)?;
        first_outcomes(&firsts)?;
        Ok(Self {
            board,
            tokens: units,
            turn: AtomicUsize::new(0),
            _watching: watching,
        })
    }

    /// Asks the keys in their order, and of each key the tokens that hold it, until one signs.
    pub(in crate::keys) async fn sign(
        &self,
        now: UnixSeconds,
        ttl: u64,
        input: impl Fn(&PublishedKey, u64) -> SigningInput,
        deadline: Deadline,
    ) -> Result<Signed, SignError> {
        let ring = Arc::clone(&self.board.ring());
        let attempts = self.attempts(&ring, now, ttl);
        let mut last = SignError::Unavailable;
        let mut late: Vec<&Unit> = Vec::new();
        for (number, (choice, unit)) in attempts.iter().enumerate() {
            if unit.shared.is_down() {
                continue;
            }
            let mut others = attempts.iter().skip(number + 1).map(|(_, other)| *other);
            let somebody_else = others
                .any(|other| !other.is(unit) && !other.is_in(&late) && !other.shared.is_down());
            if somebody_else && unit.is_in(&late) {
                // Its other keys would halve, again and again, what is left for those who may sign.
                continue;
            }
            let until = if somebody_else {
                deadline.half_way()
            } else {
                deadline
            };
            let Choice { key, ttl } = choice;
            match unit.workers.sign(key, input(key, *ttl), until).await {
                // It may have been revoked while it was signing.
                Ok(_) if !self.board.publishes(key.kid()) => last = SignError::Unavailable,
                Ok(jwt) => return Ok(Signed { jwt, ttl: *ttl }),
                Err(error) => {
                    if error == SignError::TimedOut {
                        late.push(unit);
                    }
                    last = error;
                }
            }
            if deadline.passed() {
                break;
            }
        }
        Err(last)
    }

    /// (key, token) in the order in which they are asked: live tokens first, replicas in turn; then those that are being
    /// cured, which may be back before the deadline.
    fn attempts<'a>(
        &'a self,
        ring: &'a KeyRing,
        now: UnixSeconds,
        ttl: u64,
    ) -> Vec<(Choice<'a>, &'a Unit)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // Looked at once: a token that came back between two looks would be asked by nobody.
        let tokens = self.tokens.iter().map(|unit| (unit, unit.shared.state()));
        let tokens: Vec<(&Unit, State)> = tokens.collect();
        let mut attempts = Vec::new();
        let choices = ring.order(now, ttl);
        let read = |unit: &&Unit| self.board.is_fresh(unit.shared.last_look(now), now);
        for choice in &choices {
            let first = attempts.len();
            attempts.extend(
                tokens
                    .iter()
                    .filter(|(unit, state)| read(unit) && state.signs_with(choice.key.kid()))
                    .map(|(unit, _)| (choice.clone(), *unit)),
            );
            if let Some(replicas) = attempts.get_mut(first..)
                && !replicas.is_empty()
            {
                replicas.rotate_left(turn % replicas.len());
            }
        }
        let curing = tokens.iter();
        let curing = curing.filter(|(_, state)| matches!(state, State::Repairing));
        attempts.extend(
            curing.flat_map(|(unit, _)| choices.iter().map(|choice| (choice.clone(), *unit))),
        );
        attempts
    }

    pub(in crate::keys) fn mint_readiness(&self, now: UnixSeconds) -> Readiness {
        let tokens = self.tokens.iter();
        let tokens: Vec<Vec<Part>> = tokens.map(|unit| unit.parts(&self.board, now)).collect();
        Readiness {
            ready: tokens.iter().any(|parts| parts.iter().all(|part| part.ok)),
            parts: tokens.into_iter().flatten().collect(),
        }
    }

    /// Adds what the tokens themselves say: how each is, and which key would sign a mint now.
    pub(in crate::keys) fn complete(&self, overview: &mut Overview) {
        let now = overview.now;
        for look in &mut overview.looks {
            let unit = self.tokens.iter().find(|unit| unit.name == look.token);
            look.health = unit.map(|unit| unit.health(&self.board, now));
        }
        if overview.signing.is_some() {
            let signing = self.signing_key(&self.board.ring(), now);
            overview.signing = signing.map(|key| key.kid().clone());
        }
    }

    /// The key that would sign a mint now: the first of those that a token can be asked for.
    pub(in crate::keys) fn signing_key(
        &self,
        ring: &KeyRing,
        now: UnixSeconds,
    ) -> Option<Arc<PublishedKey>> {
        let attempts = self.attempts(ring, now, ring.timetable().usual_life());
        let first = attempts.into_iter().next();
        first.map(|(choice, _)| Arc::clone(choice.key))
    }

    /// Has every token looked at now.
    pub(in crate::keys) fn look(&self) {
        for unit in &self.tokens {
            unit.shared.tell(Event::Look);
        }
    }

    /// Ends the threads and finalises the modules, within 2 s. Blocks.
    pub fn shut_down(&self) -> Shutdown {
        for unit in &self.tokens {
            unit.workers.stop();
            unit.shared.tell(Event::Stop);
        }
        let by = Deadline::after(SHUT_DOWN_WITHIN);
        let clean = self
            .tokens
            .iter()
            .all(|unit| unit.stopped.recv_timeout(by.remaining()) == Ok(Shutdown::Clean));
        if clean {
            Shutdown::Clean
        } else {
            Shutdown::Stuck
        }
    }
}

/// Each module once, however many tokens it shows.
fn load(tokens: &[TokenConfig]) -> Result<BTreeMap<PathBuf, Arc<Host>>, LoadError> {
    let mut hosts = BTreeMap::new();
    for token in tokens {
        if !hosts.contains_key(&token.module) {
            let module = Arc::new(Module::load(&token.module)?);
            hosts.insert(token.module.clone(), Arc::new(Host::new(module)));
        }
    }
    Ok(hosts)
}

/// A token that its module knows of, before its threads start.
struct Joined<'a> {
    token: &'a TokenConfig,
    host: &'a Arc<Host>,
    shared: Arc<Shared>,
    inbox: Receiver<Event>,
}

/// All tokens with their modules, before the first thread of any starts: it must not take a shared module for its own.
fn join<'a>(config: &'a Pkcs11Config, hosts: &'a BTreeMap<PathBuf, Arc<Host>>) -> Vec<Joined<'a>> {
    let tokens = config.tokens.iter();
    let hosted = tokens.filter_map(|token| Some((token, hosts.get(&token.module)?)));
    hosted
        .map(|(token, host)| {
            let (events, inbox) = unbounded();
            let module = Arc::clone(host.module());
            let shared = Arc::new(Shared::new(module, config.sessions, events));
            host.join(&shared);
            Joined {
                token,
                host,
                shared,
                inbox,
            }
        })
        .collect()
}

fn watch_over(units: &[Unit], patience: Patience) -> Result<Sender<()>, std::io::Error> {
    let (watching, stop) = bounded(0);
    let watched: Vec<_> = units.iter().map(|unit| Arc::clone(&unit.shared)).collect();
    start_vital("watch", move || watch::run(&watched, patience, &stop))?;
    Ok(watching)
}

/// Waits for the first try of each token; two tokens that match are the one fault that stops the start.
fn first_outcomes(firsts: &[Receiver<Result<(), Down>>]) -> Result<(), StartError> {
    let by = Deadline::after(FIRST_TRY);
    for first in firsts {
        match first.recv_timeout(by.remaining()) {
            Ok(Err(Down::Token(fault @ TokenFault::Ambiguous { .. }))) => {
                return Err(StartError::Token(fault));
            }
            Ok(_) => {}
            Err(_) => {
                tracing::warn!("a token has not answered within 5 s; listening without it");
            }
        }
    }
    Ok(())
}
