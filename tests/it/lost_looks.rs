//! Looks that come to nothing: they meet trouble, read nothing, or fall into an hour that nobody believes. What signs goes on
//! signing, and the token is not taken down for what is over.

use std::time::Duration;

use crate::harness::faults::FaultyHsm;
use crate::harness::hurry::{self, hurried};
use crate::harness::load::Load;
use crate::harness::{FakedClock, KeyPair, Service, until};

const MINT: &str = r#"{"sender":"agent://lost-looks"}"#;
/// Long enough for several looks on a machine with other things to do.
const SOON: Duration = Duration::from_secs(30);
const RESUMES_WITHIN: Duration = Duration::from_secs(3);

/// Waits until `/readyz` names this part, or no longer does.
fn alarm(service: &Service, kind: &str, is_there: bool) {
    until(&format!("alarm {kind}: {is_there}"), SOON, || {
        let ready = service.get("/readyz").json();
        let mut parts = ready["parts"].as_array().unwrap().iter();
        (parts.any(|part| part["name"] == kind) == is_there).then_some(())
    });
}

/// Waits for another call, from now on.
fn called(faulty: &FaultyHsm, function: &str, what: &str) {
    let before = faulty.calls(function);
    until(what, SOON, || {
        (faulty.calls(function) > before).then_some(())
    });
}

#[test]
fn what_a_look_has_cured_by_itself_is_not_cured_again() {
    let faulty = FaultyHsm::new();
    let service = hurried(faulty.launch()).start();
    faulty.warm_up(&service);
    let starts = faulty.calls("C_Initialize");

    faulty.rules("C_FindObjectsInit delay 250");
    for round in 1..=3 {
        called(&faulty, "C_FindObjectsInit", "a look is under way");
        // The mint asks for a start, the look fails, and so does its canary: then the token is well.
        faulty.rules(
            "C_FindObjects fail CKR_DEVICE_ERROR times 1\n\
             C_SignInit fail CKR_DEVICE_REMOVED times 2\n\
             C_FindObjectsInit delay 250",
        );
        let answer = service.post(MINT);
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        let answer = service.post(MINT);
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        faulty.rules("C_FindObjectsInit delay 250");
    }
    assert_eq!(faulty.calls("C_Initialize"), starts);
}

#[test]
fn a_look_in_an_hour_that_nobody_believes_makes_no_look_older() {
    const POLL: u64 = 6;
    let faulty = FaultyHsm::new();
    let clock = FakedClock::beside(&faulty.hsm);
    let service = clock
        .of(hurried(faulty.launch()))
        .set("MACP_AUTH_KEY_POLL_SECONDS", POLL.to_string())
        .set("MACP_AUTH_KEY_LEAD_SECONDS", "60")
        .set(
            "MACP_AUTH_KEY_RETAIN_SECONDS",
            (hurry::RETAIN + POLL).to_string(),
        )
        .start();
    service.wait_ready();

    clock.set(-7200);
    alarm(&service, "clock", true);
    called(&faulty, "C_FindObjectsInit", "a look");
    // Read soon again: the first of these looks is over.
    called(&faulty, "C_OpenSession", "another look");
    clock.set(0);
    alarm(&service, "clock", false);

    assert_eq!(service.post(MINT).status, 200);
}

/// A service on a module that is known to show new keys by itself: for their sake it is never started over.
fn that_shows_at_once(lead: u64) -> (FaultyHsm, Service) {
    let faulty = FaultyHsm::new();
    let service = hurried(faulty.launch())
        .set("MACP_AUTH_KEY_LEAD_SECONDS", lead.to_string())
        .start();
    service.wait_ready();
    faulty.hsm.make(&KeyPair {
        label: "macp-jwt-20990101T000000Z",
        id: "02",
        ..KeyPair::EC
    });
    until("two keys, while somebody mints", SOON, || {
        service.mint(MINT);
        (service.jwks().kids().len() == 2).then_some(())
    });
    (faulty, service)
}

/// Looks find nothing until the module is started over, which `is_asked_for`; then the token goes on.
fn is_started_over(faulty: &FaultyHsm, service: &Service, is_asked_for: impl FnOnce()) {
    let load = Load::start(service);
    faulty.rules("C_FindObjects hide");
    alarm(service, "look", true);
    is_asked_for();
    called(faulty, "C_Initialize", "the module is started over");
    faulty.no_rules();
    load.wait_for_a_token(2 * RESUMES_WITHIN, "the keys are shown again");
    alarm(service, "look", false);
    load.claims("keys that cannot be read");
}

#[test]
fn a_token_whose_keys_cannot_be_read_is_started_over_before_it_may_sign_no_more() {
    let (faulty, service) = that_shows_at_once(hurry::LEAD);
    is_started_over(&faulty, &service, || {
        assert_eq!(service.post(MINT).status, 200, "it signs on");
    });
}

#[test]
fn a_token_whose_keys_cannot_be_read_is_started_over_at_a_hangup() {
    let (faulty, service) = that_shows_at_once(300);
    is_started_over(&faulty, &service, || service.signal("HUP"));
}

#[test]
fn a_look_that_fails_once_starts_nothing_over() {
    let (faulty, service) = that_shows_at_once(hurry::LEAD);
    let starts = faulty.calls("C_Initialize");

    faulty.rules("C_FindObjects fail CKR_DEVICE_ERROR times 1");
    alarm(&service, "look", true);
    alarm(&service, "look", false);
    service.mint(MINT);
    assert_eq!(faulty.calls("C_Initialize"), starts);
}
