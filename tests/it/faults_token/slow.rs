//! A token that is slow or hangs, in a signature or in its repair: who waits, who does not, and when the process ends.

use std::time::{Duration, Instant};

use super::{
    DEADLINE, LONGER_THAN_A_PAUSE, MINT, PATIENCE, RESUMES_WITHIN, STALE_HANDLE, Scene, UNPLUGGED,
};
use crate::harness::faults::FaultyHsm;
use crate::harness::hurry::{LEAD, hurried};
use crate::harness::load::{Load, Mint};
use crate::harness::vitals::Vitals;
use crate::harness::{stretched, until};

/// No wait for anything; a busy machine is slow.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Set in the tests of it.
const STUCK_EXIT: Duration = Duration::from_secs(6);

#[test]
fn a_slow_token_is_slow_and_no_more() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign delay 200");
    let since = Instant::now();
    let mints = until("forty slow mints", PATIENCE, || {
        let mints = scene.load.mints_since(since);
        (mints.len() >= 40).then_some(mints)
    });
    scene.hsm.no_rules();

    assert!(mints.iter().all(|mint| mint.ok));
    assert_eq!(scene.logins(), 0);
    assert_eq!(scene.end("a slow token").refused, 0);
}

#[test]
fn a_repair_longer_than_a_mints_deadline_is_done_once() {
    let scene = Scene::new();
    let starts = scene.hsm.calls("C_Initialize");

    scene.hsm.rules(&format!("{UNPLUGGED}\n* delay 120"));
    scene.refused("the repair takes long");
    scene
        .load
        .wait_for_a_token(Duration::from_secs(15), "repaired, slowly");
    // What the service believed of the long repair would show now.
    let since = Instant::now();
    until("more tokens", PATIENCE, || {
        (since.elapsed() > LONGER_THAN_A_PAUSE).then_some(())
    });

    assert_eq!(scene.hsm.calls("C_Initialize") - starts, 1);
    scene.hsm.no_rules();
    scene.end("a slow repair");
}

/// Until mints are refused at once; then what a stuck token may not take down.
fn known_to_be_stuck(scene: &Scene, rule: &str) {
    let since = Instant::now();
    scene.hsm.rules(rule);
    let known = until("refused at once", 2 * DEADLINE, || {
        let mints = scene.load.mints_since(since);
        mints
            .into_iter()
            .find(|mint| !mint.ok && mint.took() < AT_ONCE)
    });

    let since = known.ended;
    let mut slowest = Duration::ZERO;
    let mints = until("a dozen quick refusals", PATIENCE, || {
        for path in ["/healthz", "/.well-known/jwks.json"] {
            let asked = Instant::now();
            assert_eq!(scene.service.get(path).status, 200, "{path}");
            slowest = slowest.max(asked.elapsed());
        }
        let mints = scene.load.mints_since(since);
        // Longer than one canary takes to be tried.
        (since.elapsed() > LONGER_THAN_A_PAUSE && mints.len() >= 12).then_some(mints)
    });
    let mut took: Vec<_> = mints.iter().map(Mint::took).collect();
    took.sort_unstable();
    eprintln!(
        "{rule}: {} refusals while stuck, median {:?}, slowest {:?}; health and key set within {slowest:?}",
        took.len(),
        took[took.len() / 2],
        took.last().unwrap()
    );
    assert!(mints.iter().all(|mint| !mint.ok), "{rule}");
    assert!(took.last().unwrap() < &AT_ONCE, "{rule}: {took:?}");
    assert!(slowest < AT_ONCE, "{rule}: {slowest:?}");
    assert_eq!(scene.service.get("/readyz").status, 503, "{rule}");
}

#[test]
fn a_hung_token_holds_nobody_up_once_it_is_known() {
    let scene = Scene::new();

    known_to_be_stuck(&scene, "C_Sign hang");
    scene.hsm.no_rules();
    scene.resumes("the token goes on");

    assert!(scene.logins() <= 1, "one login where it was started anew");
    scene.end("a hung token");
}

#[test]
fn threads_that_all_hang_are_not_saved_by_a_canary_that_signs() {
    let scene = Scene::new();

    // As many as there are signing threads: later calls, the canary's among them, succeed.
    let threads = std::thread::available_parallelism().unwrap().get().max(2);
    known_to_be_stuck(&scene, &format!("C_Sign hang times {threads}"));
    scene.hsm.no_rules();
    scene.resumes("the threads are back");

    scene.end("hung threads");
}

#[test]
fn one_thread_that_hangs_among_others_is_no_reason_to_leave() {
    let hsm = FaultyHsm::new();
    let service = hsm
        .launch()
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    hsm.warm_up(&service);
    let before = Vitals::at_rest(&service);
    let load = Load::start(&service);

    let faults = hsm.applied("C_Sign");
    hsm.rules("C_Sign hang times 1");
    hsm.wait_for_a_fault("C_Sign", faults, "a hung thread");
    let hung = Instant::now();
    until("the time to leave", PATIENCE, || {
        (hung.elapsed() > STUCK_EXIT + DEADLINE).then_some(())
    });
    load.wait_for_a_token(RESUMES_WITHIN, "the other thread signs");
    hsm.no_rules();
    load.wait_for_a_token(RESUMES_WITHIN, "both threads sign");

    load.claims("one hung thread");
    before.assert_kept(&service, "one hung thread");
}

#[test]
fn a_token_hung_for_too_long_ends_the_process() {
    let hsm = FaultyHsm::new();
    let mut service = hsm
        .launch()
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    assert_eq!(service.post(MINT).status, 200);

    hsm.rules("C_Sign hang");
    let hung = Instant::now();
    assert_eq!(service.post(MINT).status, 503);
    assert!(
        hung.elapsed() <= stretched(DEADLINE),
        "{:?}",
        hung.elapsed()
    );
    service.jwks();
    let (status, _) = service.wait_for_exit(STUCK_EXIT + DEADLINE);

    assert_eq!(status.code(), Some(75));
    assert!(hung.elapsed() >= STUCK_EXIT, "{:?}", hung.elapsed());
}

#[test]
fn a_look_that_hangs_for_too_long_ends_the_process() {
    let hsm = FaultyHsm::new();
    let mut service = hurried(hsm.launch())
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    service.wait_ready();

    hsm.rules("C_FindObjects hang");
    let still_signs = Duration::from_secs(LEAD);
    let hung = Instant::now();
    let (status, _) = service.wait_for_exit(stretched(2 * (still_signs + STUCK_EXIT)));

    assert_eq!(status.code(), Some(75));
    assert!(hung.elapsed() >= STUCK_EXIT, "{:?}", hung.elapsed());
}

#[test]
fn a_repair_that_hangs_holds_nobody_up() {
    let scene = Scene::new();

    known_to_be_stuck(&scene, &format!("{STALE_HANDLE}\nC_FindObjectsInit hang"));
    scene.hsm.no_rules();
    scene.resumes("the search goes on");

    scene.end("a hung repair");
}
