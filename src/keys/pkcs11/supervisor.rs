//! One thread a token: waits for trouble and for its hours, and has it cured (`cure`). The only caller of C_Initialize,
//! C_Login and C_Finalize.
//!
//! ```text
//! start -> cure(re-initialise) -> live -> trouble: the rung that recovery names, then the next
//!                                  |  \-> 15 s without a signature: the canary
//!                                down -> again every 2 s (+-20 %), however long it lasts
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Shutdown;
use super::board::Board;
use super::host::Host;
use super::pin_guard::PinGuard;
use super::recovery::Action;
use super::shared::{Event, Live, Shared, State};
use super::token::TokenFault;
use crate::clock::{Deadline, Stopwatch};
use crate::config::{KeyPolicy, Pin, TokenConfig};
use crate::jose::Algorithm;

/// Between two re-initialisations, +-20 %.
const PAUSE: Duration = Duration::from_secs(2);
/// A key that has not signed for this long is tried.
const CANARY_AFTER: Duration = Duration::from_secs(15);
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

/// What a supervisor needs to know of its token and its surroundings.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Arc<Host>,
    pub(super) board: Arc<Board>,
    pub(super) guard: PinGuard,
    /// Its place on the board.
    pub(super) number: usize,
    /// For the log: how the configuration names the token.
    pub(super) name: String,
    pub(super) token: TokenConfig,
    pub(super) policy: KeyPolicy,
    pub(super) algorithm: Option<Algorithm>,
}

pub(super) struct Supervisor {
    pub(super) charge: Charge,
    events: Receiver<Event>,
    pub(super) generation: u64,
    /// The last state in which the token signed.
    pub(super) last: Option<Arc<Live>>,
    pub(super) last_start: Option<Stopwatch>,
    /// The PIN that has logged in.
    pub(super) last_pin: Option<Pin>,
    pub(super) refused_pin: Option<(Pin, TokenFault)>,
    tries_without_key: u32,
    pub(super) told: BTreeSet<String>,
    pub(super) down: Option<Down>,
    pub(super) announced: bool,
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
    pub(super) const fn new(charge: Charge, events: Receiver<Event>) -> Self {
        Self {
            charge,
            events,
            generation: 0,
            last: None,
            last_start: None,
            last_pin: None,
            refused_pin: None,
            tries_without_key: 0,
            told: BTreeSet::new(),
            down: None,
            announced: false,
        }
    }

    /// Runs until told to stop; the outcome of the first try goes to `first`.
    pub(super) fn run(mut self, first: &Sender<Result<(), Down>>) -> Shutdown {
        let mut first = Some(first);
        let mut next = Next::Cure(Action::Reinitialize);
        loop {
            let outcome = match next {
                Next::Stop => return self.leave(),
                Next::Cure(action) => self.cure(action),
                Next::Canary => match self.canary() {
                    Err(Down::Token(fault)) if fault.as_refused_pin().is_none() => {
                        tracing::warn!(token = %self.charge.name, %fault, "the canary failed; the token is being cured");
                        self.charge.shared.set_state(State::Repairing);
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

    fn leave(&self) -> Shutdown {
        if !self.charge.shared.quiesce() {
            return Shutdown::Stuck;
        }
        self.charge.host.leave(&self.charge.shared);
        Shutdown::Clean
    }

    /// Waits for trouble, for the hour of the canary, or for the end of the pause.
    fn wait(&mut self) -> Next {
        let pause = self.pause();
        loop {
            let live = self.charge.shared.is_live();
            let patience = if live {
                let quiet = self.charge.shared.since_verified().unwrap_or(CANARY_AFTER);
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
                        .charge
                        .shared
                        .since_verified()
                        .is_some_and(|ago| ago < CANARY_AFTER) => {}
                Err(RecvTimeoutError::Timeout) => return Next::Canary,
                Ok(Event::Repair { action, reason }) => {
                    tracing::warn!(token = %self.charge.name, %reason, ?action, "signing failed; the token is being cured");
                    if action < Action::Reinitialize || pause.passed() {
                        return Next::Cure(action);
                    }
                    self.charge.shared.set_state(State::Down);
                }
                // The repair that took too long has ended well since.
                Ok(Event::Stuck) if self.charge.shared.is_live() => {}
                Ok(Event::Stuck) => return Next::Down(Down::Stuck),
                Ok(Event::Restarted) => return Next::Cure(Action::Reinitialize),
                Ok(Event::Refused {
                    generation,
                    failure,
                }) if generation == self.generation => return Next::Down(self.refused(failure)),
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
        self.charge
            .shared
            .places()
            .iter()
            .any(|place| place.session.try_lock().is_none())
    }

    /// The last start was less than a pause ago.
    pub(super) fn started_just_now(&self) -> bool {
        self.last_start
            .as_ref()
            .is_some_and(|start| start.elapsed() < jittered(PAUSE))
    }

    /// The end of the pause: after the last start while the token is live, from now on while it is down.
    fn pause(&self) -> Deadline {
        let since = match (&self.last_start, self.charge.shared.is_live()) {
            (Some(start), true) => start.elapsed(),
            _ => Duration::ZERO,
        };
        Deadline::after(jittered(PAUSE).saturating_sub(since))
    }
}

/// Between 80 % and 120 % of it.
fn jittered(pause: Duration) -> Duration {
    let mut random = [128];
    // Without random bytes every replica waits the same.
    aws_lc_rs::rand::fill(&mut random).ok();
    pause * (80 * 255 + 40 * u32::from(random[0])) / (100 * 255)
}

impl Down {
    /// No rung of the ladder cures it: somebody has to act.
    pub(super) const fn is_final(&self) -> bool {
        match self {
            Self::Token(
                TokenFault::PinRefused { .. }
                | TokenFault::PinRemembered { .. }
                | TokenFault::Memory { .. }
                | TokenFault::PinAtRisk { .. },
            )
            | Self::PinFile(_)
            | Self::Refused(_)
            | Self::Stuck => true,
            Self::Token(_) | Self::NoKey(_) => false,
        }
    }
}
