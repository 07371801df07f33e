//! One module and the tokens that share it: C_Initialize and C_Finalize concern them all.
//!
//! A token that is alone restarts its module as it needs, and so does one whose siblings are all down. Else a restart waits
//! until the siblings' threads have left the module, happens at most every 30 s, and never while a call is under way. Their
//! mints wait meanwhile.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::ckr::Failure;
use super::module::Module;
use super::shared::{Event, Shared};
use crate::clock::Stopwatch;

/// Siblings are not disturbed more often.
const RESTART_SHARED_EVERY: Duration = Duration::from_secs(30);
/// How long supervisors may take to leave the module.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// A module in use by one or more tokens.
#[derive(Debug)]
pub(super) struct Host {
    module: Arc<Module>,
    /// Read by a supervisor inside the module, written to restart it.
    gate: RwLock<()>,
    state: Mutex<HostState>,
}

#[derive(Debug, Default)]
struct HostState {
    initialized: bool,
    tokens: Vec<Weak<Shared>>,
    last_restart: Option<Stopwatch>,
}

/// Why the module was not restarted.
#[derive(Debug)]
pub(super) enum NotRestarted {
    /// A thread is inside and does not come back.
    Stuck,
    /// The siblings were disturbed less than 30 s ago.
    TooSoon,
    Failed(Failure),
}

impl Host {
    pub(super) fn new(module: Arc<Module>) -> Self {
        Self {
            module,
            gate: RwLock::new(()),
            state: Mutex::default(),
        }
    }

    pub(super) const fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(super) fn join(&self, token: &Arc<Shared>) {
        self.state.lock().tokens.push(Arc::downgrade(token));
    }

    /// Held while a supervisor is inside the module. Not twice by one thread.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    /// Initialises the module where it is not.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let mut state = self.state.lock();
        if !state.initialized {
            self.module.initialize()?;
            state.initialized = true;
        }
        Ok(())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.state.lock().tokens.len() > 1
    }

    /// Finalises and initialises. `own` has dropped its sessions; the siblings' are taken from them.
    pub(super) fn restart(&self, own: &Arc<Shared>) -> Result<(), NotRestarted> {
        let siblings = self.siblings(own);
        let Some(_alone) = self.gate.try_write_for(LEAVE_WITHIN) else {
            return Err(NotRestarted::Stuck);
        };
        // Nobody is disturbed where nobody signs. A sibling that was coming up has left the module by now.
        let disturbs = siblings.iter().any(|sibling| !sibling.is_down());
        if disturbs && self.restarted_lately() {
            return Err(NotRestarted::TooSoon);
        }
        let mut state = self.state.lock();
        let quiet = siblings.iter().all(|sibling| sibling.quiesce());
        let outcome = if quiet {
            state.last_restart = Some(Stopwatch::start());
            self.cycle(&mut state)
        } else {
            Err(NotRestarted::Stuck)
        };
        for sibling in siblings {
            sibling.tell(Event::Restarted);
        }
        outcome
    }

    /// The token leaves for good; the last one finalises the module.
    pub(super) fn leave(&self, own: &Arc<Shared>) {
        let mut state = self.state.lock();
        state.tokens.retain(|token| {
            token
                .upgrade()
                .is_some_and(|token| !Arc::ptr_eq(&token, own))
        });
        if state.tokens.is_empty() && state.initialized {
            self.finalize(&mut state);
        }
    }

    fn cycle(&self, state: &mut HostState) -> Result<(), NotRestarted> {
        if state.initialized {
            self.finalize(state);
        }
        self.module.initialize().map_err(NotRestarted::Failed)?;
        state.initialized = true;
        Ok(())
    }

    fn finalize(&self, state: &mut HostState) {
        if let Err(failure) = self.module.finalize() {
            tracing::debug!(%failure, "the module did not finalise");
        }
        state.initialized = false;
    }

    fn restarted_lately(&self) -> bool {
        let last = self.state.lock().last_restart;
        last.is_some_and(|last| last.elapsed() < RESTART_SHARED_EVERY)
    }

    fn siblings(&self, own: &Arc<Shared>) -> Vec<Arc<Shared>> {
        let state = self.state.lock();
        let tokens = state.tokens.iter().filter_map(Weak::upgrade);
        tokens.filter(|token| !Arc::ptr_eq(token, own)).collect()
    }
}
