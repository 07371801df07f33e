//! Whether one token signs: the state that requests wait on, signing threads act under and the supervisor moves.
//!
//! ```text
//! Live(generation) --trouble--> Repairing --cured--> Live(next generation)
//!        ^                          |
//!        +------- cured ------ Down <-- not cured, or too slow
//! ```
//!
//! Mints wait in their deadline while the token is being repaired, and are refused at once while it is down. A session may
//! be used while its place is locked *and* the phase is still live in its generation, looked at under that lock: whoever
//! takes the sessions away first ends `Live`, then locks each place. phase_tests.rs tries every interleaving of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::shared::Live;
use crate::clock::Deadline;
use crate::jose::Kid;

/// Of one token.
#[derive(Debug)]
pub(super) struct Phase {
    state: Mutex<State>,
    changed: Condvar,
    /// Mirror of `state`, read without its lock.
    down: AtomicBool,
}

/// Whether the token signs.
#[derive(Debug, Clone)]
pub(super) enum State {
    Live(Arc<Live>),
    Repairing,
    Down,
}

impl State {
    /// Whether the token is live with this key.
    pub(super) fn signs_with(&self, kid: &Kid) -> bool {
        match self {
            Self::Live(live) => live.keys.iter().any(|(held, _)| held == kid),
            Self::Repairing | Self::Down => false,
        }
    }
}

impl Phase {
    /// Down, until something has been found.
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State::Down),
            changed: Condvar::new(),
            down: AtomicBool::new(true),
        }
    }

    pub(super) fn current(&self) -> State {
        self.state.lock().clone()
    }

    /// True while mints are refused without waiting.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// The handles that are good now, if any are.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        match &*self.state.lock() {
            State::Live(live) => Some(Arc::clone(live)),
            State::Repairing | State::Down => None,
        }
    }

    /// Whether sessions of this generation may be used. Ask with the session's place locked.
    pub(super) fn is_live_in(&self, generation: u64) -> bool {
        matches!(&*self.state.lock(), State::Live(live) if live.generation == generation)
    }

    /// Moves on, and wakes the mints that wait.
    pub(super) fn enter(&self, state: State) {
        self.store(&mut self.state.lock(), state);
    }

    /// From `Live` of the same generation alone: sessions stay as they are, the keys are others.
    pub(super) fn exchange(&self, live: &Arc<Live>) -> bool {
        let mut state = self.state.lock();
        let same = matches!(&*state, State::Live(current) if current.generation == live.generation);
        if same {
            self.store(&mut state, State::Live(Arc::clone(live)));
        }
        same
    }

    /// From `Down` alone: what has been live is so again, because it has just signed.
    pub(super) fn revive(&self, live: &Arc<Live>) -> bool {
        let mut state = self.state.lock();
        let down = matches!(*state, State::Down);
        if down {
            self.store(&mut state, State::Live(Arc::clone(live)));
        }
        down
    }

    /// Ends `Live`: mints wait, and no session is used that is not in use already.
    pub(super) fn interrupt(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Live(_)) {
            self.store(&mut state, State::Repairing);
        }
    }

    /// Ends this generation; only the first to ask is heard, and `tell` passes it on before anybody else can ask.
    pub(super) fn repair(&self, generation: u64, tell: impl FnOnce()) {
        let mut state = self.state.lock();
        let current = matches!(&*state, State::Live(live) if live.generation == generation);
        if current {
            self.store(&mut state, State::Repairing);
            tell();
        }
    }

    /// Turns `Live` or `Repairing` into `Down`, because a call takes too long.
    pub(super) fn give_up(&self, tell: impl FnOnce()) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Down) {
            self.store(&mut state, State::Down);
            tell();
        }
    }

    /// Returns when the state is no longer `Repairing`, or at the deadline.
    pub(super) fn wait(&self, deadline: Deadline) {
        let mut state = self.state.lock();
        while matches!(*state, State::Repairing) {
            if self
                .changed
                .wait_until(&mut state, deadline.instant())
                .timed_out()
            {
                return;
            }
        }
    }

    fn store(&self, current: &mut State, state: State) {
        self.down
            .store(matches!(state, State::Down), Ordering::Release);
        *current = state;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
#[path = "phase_tests.rs"]
mod tests;
