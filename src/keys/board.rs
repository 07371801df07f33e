//! What is published and what may sign, brought together: memory, lists, rules and clocks in, one [`KeyRing`] out.
//!
//! ```text
//! looks at tokens, lists of the operator, time  ->  Memory -> Edition -> KeyRing   ->  mints, JWKS
//!                                                       \-> saved       \-> alarms  ->  log, readiness, status
//! ```
//!
//! Supervisors report looks, one thread ticks, requests read the ring. What to do is decided in [`Memory`] and [`Edition`].

mod alarms;
mod overview;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::alarm::Alarm;
use super::clock_watch::ClockWatch;
use super::edition::{Edition, Orders};
use super::lists::{KeySchedule, ListFiles, Lists, ListsError};
use super::local::LocalKey;
use super::memory::{Found, Memory, TokenName};
use super::ring::JwksVersion;
use super::rules::Rules;
use super::verifiers::Verifiers;
use super::{KeyRing, PublishedKey, saved};
use crate::clock::{Moment, UnixSeconds};
use crate::jose::{Algorithm, Kid};
use crate::state_dir::StateDir;

pub use overview::{
    KeyOverview, LookOverview, Overview, REVOKED, Role, TokenHealth, TokenIdentity,
    VerifierOverview,
};

/// What holds for all keys.
#[derive(Debug, Clone)]
pub struct BoardConfig {
    pub rules: Rules,
    /// Only keys of this algorithm sign.
    pub algorithm: Option<Algorithm>,
    /// An activation waits for the verifiers that were seen.
    pub after_convergence: bool,
    pub files: ListFiles,
    /// Where what is known is saved; None: nowhere.
    pub directory: Option<StateDir>,
    /// Every token that has to be read.
    pub tokens: Vec<TokenName>,
}

/// Shared by everything that looks at keys.
#[derive(Debug)]
pub struct Board {
    config: BoardConfig,
    ring: ArcSwap<KeyRing>,
    state: Mutex<State>,
    verifiers: Mutex<Verifiers>,
    clock: ClockWatch,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    lists: Lists,
    /// What the last look at a token failed with.
    failed_looks: BTreeMap<TokenName, String>,
    /// Tokens that showed no key at all, and when last.
    empty_looks: BTreeMap<TokenName, UnixSeconds>,
    /// What a look found and did not use.
    refused_keys: BTreeMap<TokenName, Vec<String>>,
    unsaved: Option<String>,
    /// Of the state directory, held for the life of the service.
    lock: Option<File>,
    /// Another service holds it.
    is_shared: bool,
    tombstone: Option<Arc<PublishedKey>>,
    alarms: Vec<Alarm>,
}

/// `service.lock` in the state directory.
const SERVICE: &str = "service";

impl Board {
    /// Publishes what is remembered, before any token is asked.
    ///
    /// # Errors
    /// [`ListsError`] where a list of the operator cannot be used.
    pub fn open(config: BoardConfig, memory: Memory, now: Moment) -> Result<Self, ListsError> {
        let lists = Lists::read(&config.files, memory.revoked())?;
        let board = Self {
            ring: ArcSwap::from_pointee(KeyRing::empty(config.rules)),
            clock: ClockWatch::new(now, memory.latest()),
            verifiers: Mutex::new(Verifiers::default()),
            state: Mutex::new(State {
                memory,
                lists,
                failed_looks: BTreeMap::new(),
                empty_looks: BTreeMap::new(),
                refused_keys: BTreeMap::new(),
                unsaved: None,
                lock: None,
                is_shared: false,
                tombstone: None,
                alarms: Vec::new(),
            }),
            config,
        };
        board.occupy(&mut board.state.lock());
        // Whatever the clock says: a JWKS from what was saved is better than none.
        board.publish(&mut board.state.lock(), now.wall);
        board.tick(now);
        Ok(board)
    }

    pub fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    pub const fn rules(&self) -> &Rules {
        &self.config.rules
    }

    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.config.algorithm
    }

    /// Whether the clock may be believed.
    pub fn may_sign(&self, now: Moment) -> bool {
        self.clock.doubt(now).is_none()
    }

    /// Why what was saved could not be read, for as long as it may matter.
    pub fn why_memory_is_lost(&self, now: UnixSeconds) -> Option<String> {
        let state = self.state.lock();
        let lost = state.memory.why_lost(&self.config.rules, now);
        lost.map(str::to_owned)
    }

    /// The schedule file as it is now.
    pub fn schedule(&self) -> Option<Arc<KeySchedule>> {
        self.state.lock().lists.schedule.clone()
    }

    /// Takes in a complete look at a token, and saves what is known.
    pub fn looked(&self, token: &TokenName, found: &[Found], refused: Vec<String>, now: Moment) {
        let mut state = self.state.lock();
        if refused.is_empty() {
            state.refused_keys.remove(token);
        } else {
            state.refused_keys.insert(token.clone(), refused);
        }
        state.failed_looks.remove(token);
        if !self.may_sign(now) {
            return;
        }
        state.memory.resume(token, &self.config.rules, now.wall);
        state.memory.look(token, found, now.wall);
        self.publish(&mut state, now.wall);
        self.save(&mut state, now.wall);
    }

    /// Takes in a key of this process.
    pub fn holds(&self, key: &LocalKey, now: Moment) {
        let found = Found {
            key: key.published(),
            instant: UnixSeconds::EVER,
            created: None,
        };
        let memory = TokenName::new(Path::new("memory"), "of this process");
        self.looked(&memory, &[found], Vec::new(), now);
    }

    /// A look at a token failed, or found nothing where there was something: what is known stays.
    pub fn look_failed(&self, token: &TokenName, reason: String) {
        let mut state = self.state.lock();
        state.failed_looks.insert(token.clone(), reason);
    }

    /// A look succeeded and found nothing. That is what a token says that holds no key, and one whose memory is gone for a
    /// moment: what is known stays.
    pub fn looked_empty(&self, token: &TokenName, reason: String, now: UnixSeconds) {
        let mut state = self.state.lock();
        state.empty_looks.insert(token.clone(), now);
        state.failed_looks.insert(token.clone(), reason);
    }

    /// Whether a key is published now.
    pub fn publishes(&self, kid: &Kid) -> bool {
        self.ring.load().key(kid).is_some()
    }

    /// Whether what this process knows of a token is recent enough to sign with it.
    pub fn is_fresh(&self, last_look: UnixSeconds, now: UnixSeconds) -> bool {
        now <= last_look.plus(self.config.rules.sign_stale_after())
    }

    /// Moves on with time; to be called several times a second.
    pub fn tick(&self, now: Moment) {
        self.clock.follow(now);
        let mut state = self.state.lock();
        if self.may_sign(now) {
            state.memory.mints(&self.config.rules, now.wall);
            self.publish(&mut state, now.wall);
        }
        self.raise(&mut state, now);
    }

    /// Reads the operator's files again.
    pub fn reread(&self, now: Moment) {
        let mut state = self.state.lock();
        if state.lists.refresh(&self.config.files) {
            tracing::info!("the lists of keys have changed (revoked, extra, schedule)");
            // A time that nobody believes is not written down.
            if self.may_sign(now) {
                self.save(&mut state, now.wall);
            }
        }
        drop(state);
        self.tick(now);
    }

    /// An operator has looked: the clock is right, and the files are to be read.
    pub fn confirm(&self, now: Moment) {
        self.clock.confirm(now);
        self.reread(now);
    }

    /// A verifier has fetched this version.
    pub fn fetched(&self, address: IpAddr, version: &Arc<JwksVersion>, now: UnixSeconds) {
        self.verifiers.lock().fetched(address, version, now);
    }

    /// Makes a new ring where anything in it has changed.
    fn publish(&self, state: &mut State, now: UnixSeconds) {
        let orders = Orders {
            rules: self.config.rules,
            algorithm: self.config.algorithm,
            revoked: &state.lists.revoked,
            extra: &state.lists.extra,
        };
        let Edition {
            timetable,
            own,
            mut others,
            needs_tombstone,
        } = Edition::new(&mut state.memory, &orders, now);
        if needs_tombstone {
            others.extend(tombstone(&mut state.tombstone));
        }
        let held = if self.config.after_convergence {
            self.verifiers.lock().hold(&timetable, now)
        } else {
            BTreeSet::new()
        };
        if let Some(ring) = self.ring.load().next(own, others, timetable, held, now) {
            self.ring.store(Arc::new(ring));
        }
    }

    /// Whether the state directory is ours alone. A restart may overlap, so one that is not is no reason to stop.
    fn occupy(&self, state: &mut State) {
        let Some(directory) = self.config.directory.as_ref() else {
            return;
        };
        if state.lock.is_some() {
            return;
        }
        match directory.try_lock(SERVICE) {
            Ok(lock) => {
                state.is_shared = lock.is_none();
                state.lock = lock;
            }
            Err(error) => {
                tracing::debug!(%error, "the file system tells nothing of other services")
            }
        }
    }

    fn save(&self, state: &mut State, now: UnixSeconds) {
        let Some(directory) = &self.config.directory else {
            return;
        };
        self.occupy(state);
        let revoked = state.lists.revoked_by_file(&self.config.files);
        state.memory.revoke(revoked);
        state.memory.mints(&self.config.rules, now);
        state.unsaved = saved::save(directory, &state.memory)
            .err()
            .map(|error| error.to_string());
    }
}

/// A key that nobody holds: an empty set would be a failed fetch for verifiers, and keep the revoked key alive for their
/// stale grace.
fn tombstone(made: &mut Option<Arc<PublishedKey>>) -> Option<Arc<PublishedKey>> {
    if made.is_none() {
        *made = LocalKey::orphan().ok();
    }
    made.clone()
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
