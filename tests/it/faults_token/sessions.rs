//! Logins and sessions that are lost, PINs that are wrong or changed: what each costs in logins, and that mints go on.

use std::time::{Duration, Instant};

use super::{LONGER_THAN_A_PAUSE, MINT, PATIENCE, RESUMES_WITHIN, Scene, UNPLUGGED};
use crate::harness::faults::FaultyHsm;
use crate::harness::load::Load;
use crate::harness::until;
use crate::harness::vitals::Vitals;

/// As documented, and the login itself.
const NEW_PIN_WITHIN: Duration = Duration::from_secs(6);

#[test]
fn a_lost_login_costs_one_login_and_no_mint() {
    let scene = Scene::new();

    scene.hsm.rules("C_SignInit logout");
    scene.logins_reach(1);
    scene.resumes("logged in again");

    assert_eq!(scene.logins(), 1);
    let claims = scene.end("a lost login");
    assert_eq!(claims.refused, 0);
    assert!(claims.longest_gap < Duration::from_secs(2), "{claims:?}");
}

#[test]
fn closed_sessions_cost_one_login() {
    let scene = Scene::new();

    scene.hsm.rules("C_SignInit close-sessions");
    scene.logins_reach(1);
    scene.resumes("sessions again");

    assert_eq!(scene.logins(), 1);
    scene.end("closed sessions");
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_right_one_is_noticed() {
    let hsm = FaultyHsm::new();
    hsm.hsm.write_pin("wrong-1234");
    let service = hsm.launch().secret("wrong-1234").start();
    assert_eq!(service.post(MINT).status, 503);
    let since = Instant::now();
    until("a long silence", PATIENCE, || {
        assert_eq!(hsm.calls("C_Login"), 1);
        (since.elapsed() > LONGER_THAN_A_PAUSE).then_some(())
    });

    hsm.write_the_right_pin();
    until("a token", NEW_PIN_WITHIN, || {
        (service.post(MINT).status == 200).then_some(())
    });

    assert_eq!(hsm.calls("C_Login"), 2);
}

#[test]
fn a_pin_changed_on_the_token_matters_after_its_restart_only() {
    let scene = Scene::new();

    scene.hsm.change_pin_on_the_token();
    scene.resumes("the sessions live on");
    assert_eq!(scene.logins(), 0);

    scene.hsm.rules(UNPLUGGED);
    scene.logins_reach(1);
    scene.stays_refused_without_login();
    assert_eq!(scene.logins(), 1);

    scene.hsm.write_the_right_pin();
    scene.load.wait_for_a_token(NEW_PIN_WITHIN, "the new PIN");
    assert_eq!(scene.logins(), 2);
    scene.end("a changed PIN");
}

#[test]
fn one_session_is_enough() {
    let hsm = FaultyHsm::new();
    let service = hsm.launch().start();
    hsm.rules(&format!("C_OpenSession limit 1\n{UNPLUGGED}"));
    service.post(MINT);
    until("a token by the only session", PATIENCE, || {
        (service.post(MINT).status == 200).then_some(())
    });
    let before = Vitals::at_rest(&service);
    let load = Load::start(&service);

    let applied = hsm.applied("C_Sign");
    hsm.rules("C_Sign fail CKR_DEVICE_ERROR times 1\nC_OpenSession limit 1");
    hsm.wait_for_a_fault("C_Sign", applied, "a failure on the only session");
    load.wait_for_a_token(RESUMES_WITHIN, "the only session signs again");
    until("many tokens", PATIENCE, || {
        (hsm.calls("C_Sign") > applied + 40).then_some(())
    });

    let claims = load.claims("session limit");
    before.assert_kept(&service, "session limit");
    eprintln!("session limit: {claims:?}");
}

#[test]
fn a_pin_code_from_another_call_than_a_login_is_over_after_a_hangup() {
    let scene = Scene::new();

    scene.hsm.rules("C_SignInit fail CKR_PIN_EXPIRED times 1");
    scene.refused("a PIN that is said to have expired");
    scene.stays_refused_without_login();
    assert_eq!(scene.logins(), 0);
    let told = scene.service.get("/readyz").text();
    assert!(told.contains("C_SignInit: CKR_PIN_EXPIRED"), "{told}");
    assert!(told.contains("SIGHUP"), "{told}");
    assert!(!told.contains("the right PIN"), "{told}");

    scene.service.signal("HUP");
    scene.resumes("an operator has looked at the token");
    assert_eq!(scene.logins(), 1);

    // The second login is refused: an attempt was spent, so that no hangup allows another.
    scene
        .hsm
        .rules("C_SignInit fail CKR_PIN_EXPIRED times 1\nC_Login fail CKR_PIN_INCORRECT");
    scene.refused("a PIN that is said to have expired once more");
    scene.service.signal("HUP");
    scene.logins_reach(2);
    scene.service.signal("HUP");
    scene.stays_refused_without_login();
    assert_eq!(scene.logins(), 2);
    scene.end("a PIN that was reported");
}
