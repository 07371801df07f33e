//! Modules that read their objects once: a new key shows after another C_Initialize alone, and the service sees to that
//! without a lost mint. Other modules are left alone.

use std::time::Duration;

use crate::harness::faults::FaultyHsm;
use crate::harness::hurry::hurried;
use crate::harness::{KeyPair, Service, until};

const MINT: &str = r#"{"sender":"agent://fresh-start"}"#;
const SOON: Duration = Duration::from_secs(30);

/// On a token that shows what was there at C_Initialize.
fn running(faulty: &FaultyHsm) -> Service {
    faulty.rules("C_FindObjects freeze");
    let service = hurried(faulty.launch()).start();
    service.wait_ready();
    service
}

fn make(faulty: &FaultyHsm, id: &str) {
    faulty.hsm.make(&KeyPair {
        label: "macp-jwt-20990101T000000Z",
        id,
        ..KeyPair::EC
    });
}

fn restarts(faulty: &FaultyHsm, more: u64) {
    let before = faulty.calls("C_Initialize");
    until("the module is started over", SOON, || {
        (faulty.calls("C_Initialize") >= before + more).then_some(())
    });
}

#[test]
fn a_new_key_is_published_in_a_quiet_moment_and_from_then_on_also_under_load() {
    let faulty = FaultyHsm::new();
    let service = running(&faulty);

    make(&faulty, "02");
    until("two keys, while nobody mints", SOON, || {
        (service.jwks().kids().len() == 2).then_some(())
    });
    make(&faulty, "03");
    until("three keys, while somebody mints", SOON, || {
        service.mint(MINT);
        (service.jwks().kids().len() == 3).then_some(())
    });

    assert!(faulty.applied("C_FindObjects") > 0, "nothing was hidden");
    assert!(faulty.calls("C_Login") <= faulty.calls("C_Initialize"));
}

#[test]
fn a_hangup_shows_a_new_key_although_nobody_knows_the_module_and_somebody_mints() {
    let faulty = FaultyHsm::new();
    let service = running(&faulty);

    make(&faulty, "02");
    service.signal("HUP");
    until("two keys, while somebody mints", SOON, || {
        service.mint(MINT);
        (service.jwks().kids().len() == 2).then_some(())
    });
    assert!(faulty.applied("C_FindObjects") > 0, "nothing was hidden");
}

#[test]
fn a_login_that_fails_once_with_no_word_on_the_pin_is_tried_again_before_a_mint_is_refused() {
    let faulty = FaultyHsm::new();
    let service = hurried(faulty.launch()).start();
    service.wait_ready();

    faulty.rules("C_Login fail CKR_GENERAL_ERROR times 1");
    service.signal("HUP");
    until("the login failed, and another did not", SOON, || {
        service.mint(MINT);
        (faulty.calls("C_Login") >= 3).then_some(())
    });
    service.mint(MINT);
    assert_eq!(faulty.applied("C_Login"), 1);
}

#[test]
fn a_module_that_shows_keys_at_once_is_left_alone_from_then_on() {
    let faulty = FaultyHsm::new();
    let service = hurried(faulty.launch()).start();
    service.wait_ready();
    make(&faulty, "02");
    until("two keys, while somebody mints", SOON, || {
        service.mint(MINT);
        (service.jwks().kids().len() == 2).then_some(())
    });

    let starts = faulty.calls("C_Initialize");
    service.signal("HUP");
    // Twice as long as a quiet moment lasts, and many times what it takes until a start is due.
    let looks = faulty.calls("C_OpenSession") + 12;
    until("twelve looks more", SOON, || {
        (faulty.calls("C_OpenSession") >= looks).then_some(())
    });
    assert_eq!(faulty.calls("C_Initialize"), starts);
}

#[test]
fn a_pin_file_that_is_ahead_of_its_token_costs_no_login_that_stands() {
    let faulty = FaultyHsm::new();
    let service = running(&faulty);

    faulty.write_the_next_pin();
    restarts(&faulty, 2);
    service.mint(MINT);

    faulty.change_pin_on_the_token();
    restarts(&faulty, 2);
    until("the next PIN logs in", SOON, || {
        (service.post(MINT).status == 200).then_some(())
    });
}

#[test]
fn a_module_is_not_started_over_for_new_keys_while_a_wrong_pin_counts() {
    let faulty = FaultyHsm::new();
    let mut service = running(&faulty);
    restarts(&faulty, 1);
    // Until the login of that start, which would take the mark of the wrong PIN away.
    service.mint(MINT);

    faulty.give_a_wrong_pin();
    service.signal("HUP");
    service.must_log("the module is not started over");
    let (starts, logins) = (faulty.calls("C_Initialize"), faulty.calls("C_Login"));
    service.signal("HUP");
    let looks = faulty.calls("C_OpenSession") + 8;
    until("eight looks more", SOON, || {
        (faulty.calls("C_OpenSession") >= looks).then_some(())
    });
    service.mint(MINT);
    assert_eq!(faulty.calls("C_Initialize"), starts);
    assert_eq!(faulty.calls("C_Login"), logins);

    faulty.give_the_right_pin();
    restarts(&faulty, 1);
    service.mint(MINT);
    let log = service.log_to_its_end();
    assert_eq!(log.matches("is not started over").count(), 1, "{log}");
    assert!(log.contains("CKF_USER_PIN_COUNT_LOW"), "{log}");
}
