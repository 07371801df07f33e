//! What is published and what may sign, brought together: memory, lists, rules and clocks in, one [`KeyRing`] out.
//!
//! ```text
//! looks at tokens, lists of the operator, time  ->  Memory -> Edition -> KeyRing   ->  mints, JWKS
//!                                                       \-> saved       \-> alarms  ->  log, readiness, status
//! ```
//!
//! Supervisors report looks, one thread ticks, requests read the ring. What to do is decided in [`Memory`] and [`Edition`].

mod alarms;
mod keeper;
mod overview;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::alarm::Alarm;
use super::clock_watch::ClockWatch;
use super::edition::{Edition, Orders};
use super::lists::{KeyName, KeySchedule, ListFiles, Lists, ListsError};
use super::local::LocalKey;
use super::memory::{Found, Memory, TokenName};
use super::ring::JwksVersion;
use super::rules::Rules;
use super::verifiers::Verifiers;
use super::{KeyRing, PublishedKey};
use crate::clock::{Moment, UnixSeconds};
use crate::jose::{Algorithm, Kid};
use crate::state_dir::StateDir;

use keeper::{Keeper, Snapshot};
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
    /// No file is read or written while it is held: requests wait for it, and a disk may hang.
    state: Mutex<State>,
    keeper: Keeper,
    verifiers: Mutex<Verifiers>,
    clock: ClockWatch,
    opened: UnixSeconds,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    lists: Lists,
    /// What the last look at a token failed with.
    failed_looks: BTreeMap<TokenName, String>,
    /// Tokens that showed no key at all, and when last.
    empty_looks: BTreeMap<TokenName, UnixSeconds>,
    /// CKA_ID and kid of what a complete look found, used or not.
    names: BTreeMap<TokenName, BTreeSet<KeyName>>,
    /// What a look found and did not use.
    refused_keys: BTreeMap<TokenName, Vec<String>>,
    /// How many snapshots were made to be written.
    snapshots: u64,
    tombstone: Option<Arc<PublishedKey>>,
    alarms: Vec<Alarm>,
}

impl Board {
    /// Publishes what is remembered, before any token is asked.
    ///
    /// # Errors
    /// [`ListsError`] where a list of the operator cannot be used.
    pub fn open(config: BoardConfig, mut memory: Memory, now: Moment) -> Result<Self, ListsError> {
        let latest = memory.latest();
        memory.knows_only(&config.tokens);
        let lists = Lists::read(&config.files, memory.revoked())?;
        let keeper = Keeper::new(config.directory.clone());
        let board = Self {
            ring: ArcSwap::from_pointee(KeyRing::empty(config.rules)),
            clock: ClockWatch::new(now, latest),
            opened: now.wall,
            verifiers: Mutex::new(Verifiers::default()),
            state: Mutex::new(State {
                memory,
                lists,
                failed_looks: BTreeMap::new(),
                empty_looks: BTreeMap::new(),
                names: BTreeMap::new(),
                refused_keys: BTreeMap::new(),
                snapshots: 0,
                tombstone: None,
                alarms: Vec::new(),
            }),
            keeper,
            config,
        };
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
        let snapshot = self.snapshot(&mut state, now.wall);
        drop(state);
        self.keeper.save(snapshot);
    }

    /// How a schedule may name what a complete look has found.
    pub fn named(&self, token: &TokenName, names: BTreeSet<KeyName>) {
        self.state.lock().names.insert(token.clone(), names);
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

    /// Reads the operator's files again; on one thread, the one that ticks.
    pub fn reread(&self, now: Moment) {
        let mut lists = self.state.lock().lists.clone();
        let changed = lists.refresh(&self.config.files);
        self.state.lock().lists = lists;
        self.tick(now);
        // A time that nobody believes is not written down.
        if changed && self.may_sign(now) {
            tracing::info!("the lists of keys have changed (revoked, extra, schedule)");
            let snapshot = self.snapshot(&mut self.state.lock(), now.wall);
            self.keeper.save(snapshot);
        }
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

    /// What is to be written.
    fn snapshot(&self, state: &mut State, now: UnixSeconds) -> Snapshot {
        let revoked = state.lists.revoked_by_file(&self.config.files);
        state.memory.revoke(revoked);
        state.memory.mints(&self.config.rules, now);
        state.snapshots += 1;
        Snapshot {
            number: state.snapshots,
            memory: state.memory.clone(),
        }
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

#[cfg(test)]
#[path = "board_memory_tests.rs"]
mod memory_tests;
