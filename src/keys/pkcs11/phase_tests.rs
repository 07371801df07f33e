//! Every interleaving of two signing threads, the supervisor, the watch and a sibling that restarts the module they share.
//!
//! Every order of the steps in phase/model.rs is tried. That orders are found in which a weaker protocol fails is a test
//! too. What a model cannot show, wake-ups of the real condition, is shown by real threads at the end.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::model::{Check, OURS, Outdated, Protocol, Revival, Seat, World, live};
use super::*;

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
    let inside = "between C_Finalize and C_Initialize";
    for (name, protocol, told) in [
        (
            "the newest generation says nothing of a repair under way",
            Protocol {
                check: Check::NewestGeneration,
                ..OURS
            },
            inside,
        ),
        (
            "no check at all",
            Protocol {
                check: Check::Never,
                ..OURS
            },
            inside,
        ),
        (
            "live again after somebody else may have restarted the module",
            Protocol {
                revival: Revival::Later,
                ..OURS
            },
            inside,
        ),
        (
            "trouble of a generation that a look has cured",
            Protocol {
                outdated: Outdated::Cured,
                ..OURS
            },
            "what was cured is taken down again",
        ),
    ] {
        let fault = explore(protocol).expect_err(name);
        assert!(fault.contains(told), "{name}: {fault}");
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
