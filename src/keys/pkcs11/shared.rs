//! What supervisor, signing threads, watch and requests share of one token.
//!
//! Whether the token signs stands in `phase`; the sessions lie behind one lock for each thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use cryptoki::slot::Slot;
use parking_lot::Mutex;

use super::ckr::Failure;
use super::module::Module;
use super::phase::Phase;
pub(super) use super::phase::State;
use super::recovery::Action;
use super::seat::OwnSession;
use super::session::KeyHandle;
use super::token::Token;
use crate::clock::{Deadline, Moment, Stopwatch, UnixSeconds};
use crate::jose::Kid;
use crate::keys::board::TokenIdentity;

/// Of one token.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) module: Arc<Module>,
    pub(super) token: Mutex<Option<Token>>,
    pub(super) standing: Mutex<Standing>,
    /// The supervisor's own calls.
    pub(super) supervisor: Presence,
    /// The supervisor's looks at the keys of a token that signs.
    looking: Presence,
    places: Vec<ThreadPlace>,
    phase: Phase,
    uncured: AtomicBool,
    last_verified: AtomicU64,
    /// Of a mint, or of somebody who waited for one.
    last_asked: AtomicU64,
    /// When the keys on the token were last read as a whole, in seconds of the clock that nobody sets, and one more; 0: never.
    last_look: AtomicU64,
    events: Sender<Event>,
    started: Stopwatch,
}

/// How long threads may take to leave the module before one counts as stuck.
const QUIET_WITHIN: Duration = Duration::from_secs(1);
/// A token that was not asked for so long may be taken away for a moment.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// A token that signs: handles that are good for exactly one generation.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) slot: Slot,
    /// The user is logged in, so a public session means that the login was lost.
    pub(super) logged_in: bool,
    pub(super) keys: Vec<(Kid, KeyHandle)>,
}

/// What the supervisor is told.
#[derive(Debug)]
pub(super) enum Event {
    /// Trouble that a repair may cure; the state is `Repairing` already.
    Repair {
        generation: u64,
        action: Action,
        reason: String,
    },
    /// Trouble that only an operator cures.
    Refused {
        generation: u64,
        failure: Failure,
    },
    /// A call is stuck past its budget; the state is `Down` already.
    Stuck,
    /// The module was restarted for another token; sessions and login are gone.
    Restarted,
    /// An operator asks for a look at the keys now.
    Look,
    Stop,
}

/// What an operator should know of token and key: what is there, or what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// As the token named itself when it was last reached.
    pub(super) identity: Option<TokenIdentity>,
    pub(super) token: Result<String, String>,
    pub(super) key: Result<String, String>,
}

/// One signing thread's session, and since when the thread is inside the module.
#[derive(Debug, Default)]
pub(super) struct ThreadPlace {
    pub(super) session: Mutex<Option<OwnSession>>,
    pub(super) presence: Presence,
}

/// Since when a thread is inside the module, in milliseconds of the process; 0: it is not.
#[derive(Debug, Default)]
pub(super) struct Presence(AtomicU64);

/// Inside until dropped.
#[derive(Debug)]
pub(super) struct Inside<'a>(&'a AtomicU64);

impl Shared {
    pub(super) fn new(module: Arc<Module>, threads: usize, events: Sender<Event>) -> Self {
        Self {
            module,
            token: Mutex::new(None),
            standing: Mutex::new(Standing {
                identity: None,
                token: Err("not reached yet".to_owned()),
                key: Err("not looked for yet".to_owned()),
            }),
            supervisor: Presence::default(),
            looking: Presence::default(),
            places: (0..threads).map(|_| ThreadPlace::default()).collect(),
            phase: Phase::new(),
            uncured: AtomicBool::new(false),
            last_verified: AtomicU64::new(0),
            last_asked: AtomicU64::new(0),
            last_look: AtomicU64::new(0),
            events,
            started: Stopwatch::start(),
        }
    }

    pub(super) fn places(&self) -> &[ThreadPlace] {
        &self.places
    }

    pub(super) fn state(&self) -> State {
        self.phase.current()
    }

    /// True while mints are refused without waiting.
    pub(super) fn is_down(&self) -> bool {
        self.phase.is_down()
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase.live().is_some()
    }

    /// Whether sessions of this generation may be used; to be asked with the thread's place locked.
    pub(super) fn is_live_in(&self, generation: u64) -> bool {
        self.phase.is_live_in(generation)
    }

    /// The keys were read as a whole.
    pub(super) fn looked(&self, at: Moment) {
        let running = at.running.saturating_add(1);
        self.last_look.store(running, Ordering::Release);
    }

    /// As long before `now` as it is ago: setting the wall clock makes no look older or younger.
    pub(super) fn last_look(&self, now: UnixSeconds) -> UnixSeconds {
        self.looked_ago().map_or(UnixSeconds::EVER, |ago| {
            UnixSeconds::new(now.get().saturating_sub(ago))
        })
    }

    /// Whether mints are given to it: it is live, and its keys were read less than `unread` ago.
    pub(super) fn may_sign(&self, unread: Duration) -> bool {
        let is_read = self.looked_ago().is_some_and(|ago| ago <= unread.as_secs());
        is_read && self.is_live()
    }

    /// In seconds.
    fn looked_ago(&self) -> Option<u64> {
        let at = self.last_look.load(Ordering::Acquire).checked_sub(1)?;
        Some(Moment::now().running.saturating_sub(at))
    }

    /// Somebody wants a signature.
    pub(super) fn asked(&self) {
        self.last_asked.store(self.ticks(), Ordering::Relaxed);
    }

    /// Nobody has asked for a signature for a while.
    pub(super) fn is_idle(&self) -> bool {
        self.since(self.last_asked.load(Ordering::Relaxed)) > IDLE_AFTER
    }

    /// Ends the generation before, and wakes the mints that wait.
    pub(super) fn set_state(&self, state: State) {
        if matches!(state, State::Live(_)) {
            self.uncured.store(false, Ordering::Release);
        }
        self.phase.enter(state);
    }

    /// The same sessions and login with other keys; nothing where the state has changed meanwhile.
    pub(super) fn exchange_keys(&self, live: &Arc<Live>) -> bool {
        self.phase.exchange(live)
    }

    /// Back from `Down` with the sessions it had. The caller is inside the module, so that nobody restarts it meanwhile.
    pub(super) fn revive(&self, live: &Arc<Live>) {
        if self.phase.revive(live) {
            self.uncured.store(false, Ordering::Release);
        }
    }

    /// Takes every session away, mints wait. False where a thread does not come out of the module in time.
    pub(super) fn quiesce(&self) -> bool {
        self.phase.interrupt();
        let quiet_by = Deadline::after(QUIET_WITHIN);
        for place in &self.places {
            match place.session.try_lock_for(quiet_by.remaining()) {
                Some(mut session) => *session = None,
                None => return false,
            }
        }
        match self.token.try_lock_for(quiet_by.remaining()) {
            Some(mut token) => *token = None,
            None => return false,
        }
        true
    }

    /// Returns when the state is no longer `Repairing`, or at the deadline.
    pub(super) fn wait_for_a_change(&self, deadline: Deadline) {
        self.phase.wait(deadline);
    }

    /// Asks for a repair of this generation; only the first to ask is heard.
    pub(super) fn repair(&self, generation: u64, action: Action, reason: String) {
        self.phase.repair(generation, || {
            self.tell(Event::Repair {
                generation,
                action,
                reason,
            });
        });
    }

    /// Turns `Live` or `Repairing` into `Down`, because a call takes too long.
    pub(super) fn give_up_waiting(&self) {
        self.phase.give_up(|| self.tell(Event::Stuck));
    }

    pub(super) fn tell(&self, event: Event) {
        // Without a supervisor the process is about to end.
        self.events.send(event).ok();
    }

    /// A signature has just verified.
    pub(super) fn verified(&self) {
        self.last_verified.store(self.ticks(), Ordering::Relaxed);
        self.uncured.store(false, Ordering::Release);
    }

    /// A mint has failed on a token that was thought well.
    pub(super) fn not_cured(&self) {
        self.uncured.store(true, Ordering::Release);
    }

    /// How long ago the last signature verified, where no mint has failed since.
    pub(super) fn since_verified(&self) -> Option<Duration> {
        let at = self.last_verified.load(Ordering::Relaxed);
        (at > 0 && !self.uncured.load(Ordering::Acquire)).then(|| self.since(at))
    }

    /// Marks the supervisor as inside the module.
    pub(super) fn enter(&self) -> Inside<'_> {
        self.supervisor.enter(self.ticks())
    }

    /// Marks the supervisor as inside the module for a look at a token that signs.
    pub(super) fn enter_to_look(&self) -> Inside<'_> {
        self.looking.enter(self.ticks())
    }

    /// Marks a signing thread as inside the module.
    pub(super) fn enter_at<'a>(&self, place: &'a ThreadPlace) -> Inside<'a> {
        place.presence.enter(self.ticks())
    }

    /// The longest time that a signing thread or the supervisor has been inside.
    pub(super) fn longest_call(&self) -> Option<Duration> {
        let calls = self.presences().chain(self.looking.since());
        calls.map(|since| self.since(since)).max()
    }

    /// When the latest of the calls began that have lasted longer than this and stand in the way of a mint. A look that hangs
    /// does so once a cure waits behind it: until then the token signs.
    pub(super) fn latest_overdue(&self, budget: Duration) -> Option<u64> {
        let look = self.looking.since().filter(|_| !self.is_live());
        self.presences()
            .chain(look)
            .filter(|&since| self.since(since) > budget)
            .max()
    }

    /// No signing thread is free, and none has been for longer than a thread takes to leave the module.
    pub(super) fn all_threads_stuck(&self) -> bool {
        self.places.iter().all(|place| {
            let since = place.presence.since();
            since.is_some_and(|since| self.since(since) > QUIET_WITHIN)
        })
    }

    fn presences(&self) -> impl Iterator<Item = u64> {
        let threads = self.places.iter().map(|place| &place.presence);
        threads
            .chain([&self.supervisor])
            .filter_map(Presence::since)
    }

    fn ticks(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    fn since(&self, ticks: u64) -> Duration {
        Duration::from_millis(self.ticks().saturating_sub(ticks))
    }
}

impl Presence {
    fn enter(&self, ticks: u64) -> Inside<'_> {
        self.0.store(ticks, Ordering::Relaxed);
        Inside(&self.0)
    }

    fn since(&self) -> Option<u64> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            ticks => Some(ticks),
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
