//! Every interleaving of two signing threads, the supervisor, the watch and a sibling that restarts the module they share.
//!
//! Why not loom: it would need its own locks, conditions and channels in place of parking_lot's and crossbeam's through all
//! of this directory, and has no locks that can be tried for a while. So the threads are written down here step by step,
//! as seat.rs, cure.rs and host.rs take them, one step where those hold one lock, and every order of steps is tried. What
//! the steps do to the phase is done by the real [`Phase`]. That orders are found in which a weaker protocol fails is a
//! test too. What a model cannot show, wake-ups of the real condition, is shown by real threads at the end.

// size: one protocol, its steps in their order

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cryptoki::slot::Slot;

use super::*;

const SEATS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Seen {
    Live(u64),
    Repairing,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Seat(usize),
    Supervisor,
    Sibling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Session {
    generation: u64,
    /// Between which C_Initialize and C_Finalize it was opened.
    instance: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Place {
    locked_by: Option<Who>,
    session: Option<Session>,
}

/// Where a signing thread is in its mint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Seat {
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
enum Start {
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
enum Told {
    Repair,
    Stuck,
    Restarted,
}

/// How a seat makes sure that its session is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// As seat.rs does.
    LiveUnderLock,
    /// The number of the newest generation that was live.
    NewestGeneration,
    Never,
}

/// How what has been live becomes live again after a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revival {
    /// As cure.rs does.
    InsideTheModule,
    /// After the canary has left it.
    Later,
}

#[derive(Debug, Clone, Copy)]
struct Protocol {
    check: Check,
    revival: Revival,
}

const OURS: Protocol = Protocol {
    check: Check::LiveUnderLock,
    revival: Revival::InsideTheModule,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    phase: Seen,
    newest: u64,
    events: Vec<Told>,
    places: [Place; SEATS],
    seats: [Seat; SEATS],
    supervisor: Start,
    sibling: Start,
    /// Who is inside the module to restart or to look at it (host.rs).
    gate: Option<Who>,
    /// The anchor, opened in this instance of the module.
    anchor: Option<u8>,
    instance: u8,
    finalized: bool,
    faults_left: u8,
    watch_trips: bool,
}

impl World {
    /// Live, with a session open in the first seat.
    fn new() -> Self {
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
    fn next(&self, protocol: Protocol) -> Result<Vec<Self>, String> {
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

    #[expect(
        clippy::too_many_lines,
        reason = "one step each arm; splitting would hide the order"
    )]
    fn seat_steps(
        &self,
        n: usize,
        protocol: Protocol,
        worlds: &mut Vec<Self>,
    ) -> Result<(), String> {
        let mut world = self.clone();
        let place = self.places[n];
        world.seats[n] = match self.seats[n] {
            Seat::Start { first } => match self.phase {
                Seen::Live(generation) => Seat::Saw { generation, first },
                // Looked at and waited for under one lock.
                Seen::Repairing => Seat::Waiting {
                    first,
                    woken: false,
                },
                Seen::Down => Seat::Refused,
            },
            Seat::Waiting { first, woken: true } => Seat::Start { first },
            Seat::Saw { generation, first } if place.locked_by.is_none() => {
                world.places[n].locked_by = Some(Who::Seat(n));
                Seat::Locked { generation, first }
            }
            Seat::Locked { generation, first } => {
                let good = match protocol.check {
                    Check::LiveUnderLock => {
                        let mut live = false;
                        world.phase(Told::Stuck, |phase, _| live = phase.is_live_in(generation));
                        live
                    }
                    Check::NewestGeneration => self.newest == generation,
                    Check::Never => true,
                };
                if good {
                    Seat::Checked { generation, first }
                } else {
                    world.close(n)?;
                    world.places[n].locked_by = None;
                    Self::again(first)
                }
            }
            Seat::Checked { generation, first } => {
                if place
                    .session
                    .is_none_or(|session| session.generation != generation)
                {
                    world.close(n)?;
                    world.call_module("C_OpenSession")?;
                    world.places[n].session = Some(Session {
                        generation,
                        instance: self.instance,
                    });
                }
                Seat::Signing { generation, first }
            }
            Seat::Signing { generation, first } => {
                self.call_module("C_Sign")?;
                let session = place
                    .session
                    .ok_or("the session of a signature was taken away")?;
                if session.instance != self.instance || session.generation != generation {
                    return Err("a session is used after its generation ended".to_owned());
                }
                if self.faults_left > 0 {
                    let mut failed = world.clone();
                    failed.faults_left -= 1;
                    failed.close(n)?;
                    failed.places[n].locked_by = None;
                    failed.seats[n] = Seat::Troubled { generation, first };
                    worlds.push(failed);
                }
                world.places[n].locked_by = None;
                Seat::Signed
            }
            Seat::Troubled { generation, first } => {
                world.phase(Told::Repair, |phase, tell| phase.repair(generation, tell));
                Self::again(first)
            }
            Seat::Waiting { woken: false, .. }
            | Seat::Saw { .. }
            | Seat::Signed
            | Seat::Refused => {
                return Ok(());
            }
        };
        worlds.push(world);
        Ok(())
    }

    /// The supervisor when told to or down; the sibling once, whenever it likes.
    #[expect(
        clippy::too_many_lines,
        reason = "one step each arm; splitting would hide the order"
    )]
    fn start_steps(
        &self,
        who: Who,
        protocol: Protocol,
        worlds: &mut Vec<Self>,
    ) -> Result<(), String> {
        let sibling = who == Who::Sibling;
        let at = if sibling {
            self.sibling
        } else {
            self.supervisor
        };
        let mut world = self.clone();
        let mut goes_to = |mut world: Self, start: Start| {
            if sibling {
                world.sibling = start;
            } else {
                world.supervisor = start;
            }
            worlds.push(world);
        };
        let inside = self.gate == Some(who);
        match at {
            Start::Idle if sibling => {
                if self.gate.is_none() {
                    world.gate = Some(who);
                    goes_to(world, Start::Interrupt);
                }
            }
            Start::Idle => match self.events.first() {
                Some(told) => {
                    world.events.remove(0);
                    match told {
                        Told::Repair | Told::Restarted => goes_to(world, Start::Interrupt),
                        Told::Stuck if matches!(self.phase, Seen::Live(_)) => {
                            goes_to(world, Start::Idle)
                        }
                        Told::Stuck => {
                            world.phase(Told::Stuck, |phase, _| phase.enter(State::Down));
                            goes_to(world, Start::Idle);
                        }
                    }
                }
                None if self.phase == Seen::Down => {
                    goes_to(world.clone(), Start::Interrupt);
                    if self.gate.is_none() && self.anchor.is_some() {
                        world.gate = Some(who);
                        goes_to(world, Start::Canary);
                    }
                }
                None => {}
            },
            Start::Interrupt => {
                world.phase(Told::Stuck, |phase, _| phase.interrupt());
                goes_to(world, Start::Take(0));
            }
            Start::Take(n) if n < SEATS => {
                if self.places[n].locked_by.is_none() {
                    world.close(n)?;
                    goes_to(world, Start::Take(n + 1));
                } else {
                    // A thread inside for too long: nothing is finalised.
                    let mut world = self.clone();
                    if sibling {
                        world.gate = None;
                        world.events.push(Told::Restarted);
                        goes_to(world, Start::Done);
                    } else {
                        world.phase(Told::Stuck, |phase, _| phase.enter(State::Down));
                        goes_to(world, Start::Idle);
                    }
                }
            }
            Start::Take(_) => {
                world.anchor = None;
                goes_to(world, Start::Finalize);
            }
            Start::Finalize if inside || self.gate.is_none() => {
                world.gate = Some(who);
                world.finalized = true;
                goes_to(world, Start::Initialize);
            }
            Start::Initialize => {
                world.finalized = false;
                world.instance += 1;
                world.gate = None;
                if sibling {
                    world.events.push(Told::Restarted);
                    goes_to(world, Start::Done);
                } else {
                    goes_to(world, Start::Connect);
                }
            }
            Start::Connect if self.gate.is_none() => {
                self.call_module("C_Login")?;
                world.anchor = Some(self.instance);
                goes_to(world, Start::Publish);
            }
            Start::Publish if self.gate.is_none() => {
                if self.anchor.is_none() {
                    goes_to(world, Start::Interrupt);
                    return Ok(());
                }
                self.call_module("C_FindObjects")?;
                world.newest += 1;
                let generation = world.newest;
                world.phase(Told::Stuck, |phase, _| {
                    phase.enter(State::Live(live(generation)))
                });
                goes_to(world, Start::Idle);
            }
            Start::Canary => {
                self.call_module("the canary")?;
                if self.anchor != Some(self.instance) {
                    return Err("the anchor is used after the module was restarted".to_owned());
                }
                if protocol.revival == Revival::Later {
                    world.gate = None;
                }
                goes_to(world, Start::Revive);
            }
            Start::Revive => {
                if inside {
                    world.gate = None;
                }
                let generation = self.newest;
                world.phase(Told::Stuck, |phase, _| {
                    phase.revive(&live(generation));
                });
                goes_to(world, Start::Idle);
            }
            Start::Finalize | Start::Connect | Start::Publish | Start::Done => {}
        }
        Ok(())
    }

    /// What holds in every world.
    fn check(&self) -> Result<(), String> {
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

fn live(generation: u64) -> Arc<Live> {
    Arc::new(Live {
        generation,
        slot: Slot::try_from(0_u64).unwrap(),
        logged_in: true,
        keys: Vec::new(),
    })
}

/// How many worlds there are, or the first fault and how it came to be.
fn explore(protocol: Protocol) -> Result<usize, String> {
    let mut seen = HashSet::from([World::new()]);
    let mut open = vec![World::new()];
    while let Some(world) = open.pop() {
        world
            .check()
            .map_err(|fault| format!("{fault}: {world:?}"))?;
        let next = world
            .next(protocol)
            .map_err(|fault| format!("{fault}: {world:?}"))?;
        if next.is_empty() {
            let ended = |seat: &Seat| matches!(seat, Seat::Signed | Seat::Refused);
            if !world.seats.iter().all(ended) {
                return Err(format!("a mint never ends: {world:?}"));
            }
        }
        for world in next {
            // Starting over without end is the same again: two more instances show all there is.
            if world.instance <= 4 && seen.insert(world.clone()) {
                open.push(world);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn in_no_order_is_a_session_used_after_its_generation_or_a_wake_up_lost() {
    let worlds = explore(OURS).unwrap();

    assert!(worlds > 100_000, "{worlds} is too few to have tried all");
}

#[test]
fn the_search_finds_the_order_in_which_weaker_protocols_fail() {
    for (name, protocol) in [
        (
            "the newest generation says nothing of a repair under way",
            Protocol {
                check: Check::NewestGeneration,
                ..OURS
            },
        ),
        (
            "no check at all",
            Protocol {
                check: Check::Never,
                ..OURS
            },
        ),
        (
            "live again after somebody else may have restarted the module",
            Protocol {
                revival: Revival::Later,
                ..OURS
            },
        ),
    ] {
        let fault = explore(protocol).expect_err(name);
        assert!(
            fault.contains("between C_Finalize and C_Initialize"),
            "{name}: {fault}"
        );
    }
}

/// Real threads on the real phase and real locks, with a module that only counts.
#[test]
fn threads_on_the_real_phase_never_meet_a_module_that_is_being_restarted() {
    const MINTS: u64 = 20_000;
    let phase = Phase::new();
    let places: [Mutex<Option<u64>>; 4] = Default::default();
    let (instance, restarting, faults) =
        (AtomicU64::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    let (asked, repairs) = crossbeam_channel::unbounded();
    phase.enter(State::Live(live(1)));

    let mint = |place: &Mutex<Option<u64>>, fails: bool| {
        let deadline = Deadline::after(Duration::from_secs(30));
        phase.wait(deadline);
        let Some(live) = phase.live() else {
            assert!(!deadline.passed(), "a wake-up was lost");
            return;
        };
        let mut own = place.lock();
        if !phase.is_live_in(live.generation) {
            *own = None;
            return;
        }
        let now = instance.load(Ordering::SeqCst);
        let session = *own.get_or_insert(now);
        let good = restarting.load(Ordering::SeqCst) == 0 && session == now;
        if !good || instance.load(Ordering::SeqCst) != now {
            faults.fetch_add(1, Ordering::SeqCst);
        }
        drop(own);
        if fails {
            phase.repair(live.generation, || asked.send(true).unwrap());
        }
    };
    std::thread::scope(|scope| {
        let seats: Vec<_> = places
            .iter()
            .map(|place| {
                scope.spawn(move || (0..MINTS).for_each(|number| mint(place, number % 50 == 0)))
            })
            .collect();
        let supervisor = scope.spawn(|| {
            let mut generation = 1;
            while repairs.recv().unwrap() {
                phase.interrupt();
                for place in &places {
                    *place.lock() = None;
                }
                restarting.store(1, Ordering::SeqCst);
                instance.fetch_add(1, Ordering::SeqCst);
                restarting.store(0, Ordering::SeqCst);
                generation += 1;
                phase.enter(State::Live(live(generation)));
            }
            generation
        });
        for seat in seats {
            seat.join().unwrap();
        }
        asked.send(false).unwrap();
        assert!(supervisor.join().unwrap() > 10, "there were repairs");
    });
    assert_eq!(faults.load(Ordering::SeqCst), 0);
}
