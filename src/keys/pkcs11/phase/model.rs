//! The model that phase_tests.rs explores: two signing threads, the supervisor, the watch and a sibling that restarts the
//! module they share, as worlds and the steps between them.
//!
//! Why not loom: it would need its own locks, conditions and channels in place of parking_lot's and crossbeam's through all
//! of this directory, and has no locks that can be tried for a while. So the threads are written down here step by step,
//! as seat.rs, cure.rs and host.rs take them, one step where those hold one lock. What the steps do to the phase is done by
//! the real [`Phase`].
//!
//! ```text
//! seat    a mint, from its first look at the phase to its signature       start   supervisor and sibling starting over
//! ```

mod seat;
mod start;

use cryptoki::slot::Slot;

use super::*;

pub(super) const SEATS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Seen {
    Live(u64),
    Repairing,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Seat(usize),
    Supervisor,
    Sibling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Session {
    generation: u64,
    /// Between which C_Initialize and C_Finalize it was opened.
    instance: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Place {
    locked_by: Option<Who>,
    session: Option<Session>,
}

/// Where a signing thread is in its mint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Seat {
    Start { first: bool },
    Waiting { first: bool, woken: bool },
    Saw { generation: u64, first: bool },
    Locked { generation: u64, first: bool },
    Checked { generation: u64, first: bool },
    Signing { generation: u64, first: bool },
    Troubled { generation: u64, first: bool },
    Signed,
    Refused,
}

/// Where the supervisor, or the sibling's, is in starting over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Start {
    Idle,
    Interrupt,
    Take(usize),
    Finalize,
    Initialize,
    Connect,
    Publish,
    /// Of the supervisor: signs a nonce on the anchor, then the sessions serve on.
    Canary,
    Revive,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Told {
    Repair(u64),
    Stuck,
    Restarted,
}

/// How a seat makes sure that its session is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// As seat.rs does.
    LiveUnderLock,
    /// The number of the newest generation that was live.
    NewestGeneration,
    Never,
}

/// How what has been live becomes live again after a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revival {
    /// As cure.rs does.
    InsideTheModule,
    /// After the canary has left it.
    Later,
}

/// What is done about trouble of a generation that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outdated {
    /// As supervisor.rs does.
    Ignored,
    Cured,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    pub(super) check: Check,
    pub(super) revival: Revival,
    pub(super) outdated: Outdated,
}

pub(super) const OURS: Protocol = Protocol {
    check: Check::LiveUnderLock,
    revival: Revival::InsideTheModule,
    outdated: Outdated::Ignored,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    phase: Seen,
    newest: u64,
    events: Vec<Told>,
    places: [Place; SEATS],
    pub(super) seats: [Seat; SEATS],
    supervisor: Start,
    sibling: Start,
    /// Who is inside the module to restart or to look at it (host.rs).
    gate: Option<Who>,
    /// The anchor, opened in this instance of the module.
    anchor: Option<u8>,
    pub(super) instance: u8,
    finalized: bool,
    faults_left: u8,
    watch_trips: bool,
    /// The supervisor may still look by itself, and cure what it finds.
    looks: bool,
}

impl World {
    /// Live, with a session open in the first seat.
    pub(super) fn new() -> Self {
        let session = Some(Session {
            generation: 1,
            instance: 1,
        });
        Self {
            phase: Seen::Live(1),
            newest: 1,
            events: Vec::new(),
            places: [
                Place {
                    session,
                    ..Place::default()
                },
                Place::default(),
            ],
            seats: [Seat::Start { first: true }; SEATS],
            supervisor: Start::Idle,
            sibling: Start::Idle,
            gate: None,
            anchor: Some(1),
            instance: 1,
            finalized: false,
            faults_left: 2,
            watch_trips: true,
            looks: true,
        }
    }

    /// One call of the real phase in this state of it.
    fn phase(&mut self, told: Told, call: impl FnOnce(&Phase, &mut dyn FnMut())) {
        let real = Phase::new();
        real.enter(match self.phase {
            Seen::Live(generation) => State::Live(live(generation)),
            Seen::Repairing => State::Repairing,
            Seen::Down => State::Down,
        });
        call(&real, &mut || self.events.push(told));
        let after = match real.current() {
            State::Live(live) => Seen::Live(live.generation),
            State::Repairing => Seen::Repairing,
            State::Down => Seen::Down,
        };
        assert_eq!(real.is_down(), after == Seen::Down);
        if after != self.phase {
            // `store` notifies all, under the lock.
            for seat in &mut self.seats {
                if let Seat::Waiting { woken, .. } = seat {
                    *woken = true;
                }
            }
        }
        self.phase = after;
    }

    fn call_module(&self, by: &str) -> Result<(), String> {
        if self.finalized {
            return Err(format!(
                "{by} is in the module between C_Finalize and C_Initialize"
            ));
        }
        Ok(())
    }

    fn close(&mut self, seat: usize) -> Result<(), String> {
        if let Some(session) = self.places[seat].session.take() {
            self.call_module("C_CloseSession")?;
            if session.instance != self.instance {
                return Err(
                    "a session from before C_Finalize is closed: it is somebody else's now"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn again(first: bool) -> Seat {
        if first {
            Seat::Start { first: false }
        } else {
            Seat::Refused
        }
    }

    /// All worlds after one more step of somebody.
    pub(super) fn next(&self, protocol: Protocol) -> Result<Vec<Self>, String> {
        let mut worlds = Vec::new();
        for seat in 0..SEATS {
            self.seat_steps(seat, protocol, &mut worlds)?;
        }
        self.start_steps(Who::Supervisor, protocol, &mut worlds)?;
        self.start_steps(Who::Sibling, protocol, &mut worlds)?;
        if self.watch_trips {
            let mut world = self.clone();
            world.watch_trips = false;
            world.phase(Told::Stuck, |phase, tell| phase.give_up(tell));
            worlds.push(world);
        }
        Ok(worlds)
    }

    /// What holds in every world.
    pub(super) fn check(&self) -> Result<(), String> {
        for seat in &self.seats {
            if matches!(seat, Seat::Waiting { woken: false, .. }) && self.phase != Seen::Repairing {
                return Err("a mint waits for a repair that is over: a lost wake-up".to_owned());
            }
        }
        let somebody = !self.events.is_empty()
            || self.supervisor != Start::Idle
            || !matches!(self.sibling, Start::Idle | Start::Done);
        if self.phase == Seen::Repairing && !somebody {
            return Err("nobody repairs, and mints wait".to_owned());
        }
        Ok(())
    }
}

pub(super) fn live(generation: u64) -> Arc<Live> {
    Arc::new(Live {
        generation,
        slot: Slot::try_from(0_u64).unwrap(),
        logged_in: true,
        keys: Vec::new(),
    })
}
