//! One thread a token: waits for trouble and for its hours, and has it cured (`cure`). The only caller of C_Initialize,
//! C_Login and C_Finalize.
//!
//! ```text
//! start -> cure(re-initialise) -> live -> trouble: the rung that recovery names, then the next
//!                                  |  \-> 15 s without a signature: the canary
//!                                  |  \-> every MACP_AUTH_KEY_POLL_SECONDS: a look for keys that came or went
//!                                  |  \-> looks that read nothing for half the lead: the module started over (`blind`)
//!                                  |  \-> now and then instead: the module started over, for keys that it does not show (`fresh_start`)
//!                                down -> again every 2 s (+-20 %), however long it lasts
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Shutdown;
use super::blind::Blindness;
use super::discovery::Proved;
use super::fresh_start::FreshStarts;
use super::host::Host;
use super::pin_guard::PinGuard;
use super::recovery::Action;
use super::shared::{Event, Live, Shared, State};
use super::token::TokenFault;
use crate::clock::{Deadline, Stopwatch};
use crate::config::{KeyPolicy, Pin, TokenConfig};
use crate::keys::Board;
use crate::keys::memory::TokenName;

/// Between two re-initialisations, +-20 %.
const PAUSE: Duration = Duration::from_secs(2);
/// A key that has not signed for this long is tried.
const CANARY_AFTER: Duration = Duration::from_secs(15);
/// Modules that cache objects show new keys only after this.
const REINITIALIZE_WITHOUT_KEY_EVERY: u32 = 15;
/// What was read while the clock was in doubt is read again so soon, unless looks are more frequent: by then it may be right.
const READ_IN_DOUBT_AGAIN: Duration = Duration::from_secs(5);

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
    /// How the configuration names the token: on the board, and in the log.
    pub(super) name: TokenName,
    pub(super) token: TokenConfig,
    pub(super) policy: KeyPolicy,
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
    /// CKA_IDs of private objects whose public half was missing at the last look.
    pub(super) unpaired: BTreeSet<Vec<u8>>,
    /// What has been proved under the present login.
    pub(super) proved: Vec<Proved>,
    /// When the token is looked at next.
    next_look: Deadline,
    pub(super) fresh_starts: FreshStarts,
    pub(super) blindness: Blindness,
    pub(super) down: Option<Down>,
    pub(super) announced: bool,
}

/// What the supervisor does next.
#[derive(Debug)]
enum Next {
    Cure(Action),
    Canary,
    Look,
    /// The module is well, but may not show new keys before it is started over.
    FreshStart,
    Down(Down),
    Stop,
}

impl Supervisor {
    pub(super) fn new(charge: Charge, events: Receiver<Event>) -> Self {
        let fresh_starts = FreshStarts::new(charge.board.rules());
        let blindness = Blindness::new(charge.board.rules());
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
            unpaired: BTreeSet::new(),
            proved: Vec::new(),
            next_look: Deadline::after(Duration::ZERO),
            fresh_starts,
            blindness,
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
                Next::Canary => {
                    let sang = self.canary();
                    self.cured_if_silent(sang)
                }
                Next::Look => {
                    let looked = self.look();
                    let cured = self.cured_if_silent(looked);
                    self.cured_if_blind(cured)
                }
                Next::FreshStart => self.start_afresh(),
                Next::Down(down) => Err(down),
            };
            self.announce(&outcome);
            if let Some(first) = first.take() {
                first.try_send(outcome).ok();
            }
            next = self.wait();
        }
    }

    /// A token whose canary does not sign is not waited for.
    fn cured_if_silent(&mut self, outcome: Result<(), Down>) -> Result<(), Down> {
        match outcome {
            Err(Down::Token(fault)) if fault.as_pin_fault().is_none() => {
                tracing::warn!(token = %self.charge.name, %fault, "the canary failed; the token is being cured");
                self.charge.shared.set_state(State::Repairing);
                self.cure(Action::FindKeys)
            }
            other => other,
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
                let canary = CANARY_AFTER.saturating_sub(quiet);
                canary.min(self.next_look.remaining())
            } else {
                pause.remaining()
            };
            match self.events.recv_timeout(patience) {
                Err(RecvTimeoutError::Disconnected) | Ok(Event::Stop) => return Next::Stop,
                Err(RecvTimeoutError::Timeout) if !live => return self.next_try(),
                Err(RecvTimeoutError::Timeout) if self.next_look.passed() => {
                    return self.next_look();
                }
                Ok(Event::Look) if live => {
                    self.fresh_starts.ask();
                    self.blindness.ask();
                    return self.next_look();
                }
                Ok(Event::Look) => {
                    self.allow_reported_pin();
                    return self.next_try();
                }
                // A mint may have signed while this thread slept.
                Err(RecvTimeoutError::Timeout)
                    if self
                        .charge
                        .shared
                        .since_verified()
                        .is_some_and(|ago| ago < CANARY_AFTER) => {}
                Err(RecvTimeoutError::Timeout) => return Next::Canary,
                Ok(Event::Repair {
                    generation,
                    action,
                    reason,
                }) if generation == self.generation => {
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
                // About handles that have been replaced since: a look may have cured the token by itself.
                Ok(Event::Repair { .. } | Event::Refused { .. }) => {}
            }
        }
    }

    /// A look, or more where it is due.
    fn next_look(&self) -> Next {
        if self.is_fresh_start_due() && !self.started_just_now() {
            Next::FreshStart
        } else {
            Next::Look
        }
    }

    /// Notes that the keys of this token have just been read.
    pub(super) fn read_now(&mut self) {
        let poll = Duration::from_secs(self.charge.board.rules().poll);
        self.next_look = Deadline::after(about(poll, 10));
    }

    /// Notes that they were read while nobody believed the clock, so that it counts for nothing.
    pub(super) fn read_in_doubt(&mut self) {
        let poll = Duration::from_secs(self.charge.board.rules().poll);
        self.next_look = Deadline::after(about(poll.min(READ_IN_DOUBT_AGAIN), 10));
    }

    /// Not where another token would lose its login by it.
    fn is_fresh_start_due(&self) -> bool {
        !self.charge.host.is_shared() && self.fresh_starts.is_due(self.charge.shared.is_idle())
    }

    /// Starts the module over, mints wait. A look before that may show that there is no need to.
    fn start_afresh(&mut self) -> Result<(), Down> {
        let looked = self.look();
        let looked = self.cured_if_silent(looked);
        if looked.is_err() || !self.is_fresh_start_due() || self.puts_off_a_start() {
            return looked;
        }
        let before = self.fresh_starts.seen();
        let started = self.start_over();
        if started.is_ok() {
            self.fresh_starts.started_since(&before);
        }
        started
    }

    /// Notes that the module has just been started.
    pub(super) fn started_now(&mut self) {
        self.fresh_starts.started();
        self.blindness.over();
        self.last_start = Some(Stopwatch::start());
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
            .is_some_and(|start| start.elapsed() < about(PAUSE, 20))
    }

    /// The end of the pause: after the last start while the token is live, from now on while it is down.
    fn pause(&self) -> Deadline {
        let since = match (&self.last_start, self.charge.shared.is_live()) {
            (Some(start), true) => start.elapsed(),
            _ => Duration::ZERO,
        };
        Deadline::after(about(PAUSE, 20).saturating_sub(since))
    }
}

/// The pause, less or more by up to so many per cent.
fn about(pause: Duration, per_cent: u32) -> Duration {
    let mut random = [128];
    // Without random bytes every replica waits the same.
    aws_lc_rs::rand::fill(&mut random).ok();
    let least = (100 - per_cent) * 255;
    pause * (least + 2 * per_cent * u32::from(random[0])) / (100 * 255)
}

impl Down {
    /// No rung of the ladder cures it: somebody has to act.
    pub(super) const fn is_final(&self) -> bool {
        match self {
            Self::Token(
                TokenFault::PinRefused { .. }
                | TokenFault::PinReported { .. }
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
