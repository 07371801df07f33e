//! What a start finds: tokens that are away, the state that the last run left, and a state directory that is no safe place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::{Pair, STARTS_WITHIN, both_are_well};
use crate::harness::{KeyPair, Service, SoftHsm, until};

/// The key that signs comes first, and that may be either.
fn sorted_kids(service: &Service) -> Vec<String> {
    let mut kids = service.jwks().kids();
    kids.sort();
    kids
}

#[test]
fn an_instance_that_starts_without_its_tokens_serves_the_saved_key_set() {
    let pair = Pair::with_a_stand_by(false);
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    let kids = sorted_kids(&service);
    drop(service);

    fs::rename(pair.hsm.path("tokens"), pair.hsm.path("away")).unwrap();
    let service = pair.launch().start();
    assert_eq!(sorted_kids(&service), kids);
    assert_eq!(service.post(r#"{"sender":"a"}"#).status, 503);
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.get("/readyz?for=jwks").status, 200);

    fs::rename(pair.hsm.path("away"), pair.hsm.path("tokens")).unwrap();
    service.wait_ready();
    assert_eq!(sorted_kids(&service), kids);
}

#[test]
fn a_refused_pin_is_remembered_across_a_restart() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    hsm.write_pin("wrong-0815");
    let launch = || {
        hsm.spied_launch()
            .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
            .secret("wrong-0815")
    };
    let first = launch().start();
    first.must_log("CKR_PIN_INCORRECT");
    drop(first);

    let second = launch().start();
    second.must_log("refused this PIN at");
    assert_eq!(hsm.calls("C_Login"), 1);
}

#[test]
fn doctor_calls_no_key_signing_that_it_only_remembers() {
    let hsm = SoftHsm::with_key("ES256");
    let launch = || hsm.launch().set("MACP_AUTH_STATE_DIR", hsm.path("state"));
    let service = launch().start();
    service.wait_ready();
    drop(service);
    let well = launch().arguments(&["doctor"]).run();
    assert!(well.stdout.contains("signs, of 1 usable"), "{well:?}");
    hsm.write_pin("wrong-0815");

    let told = launch().arguments(&["doctor"]).run();

    assert_eq!(told.code, Some(1));
    assert!(!told.stdout.contains("signs, of"), "{}", told.stdout);
    let said = "no token that can sign with it was found";
    assert!(told.stdout.contains(said), "{}", told.stdout);
}

#[test]
fn two_services_in_one_state_directory_are_told() {
    let hsm = SoftHsm::with_key("ES256");
    let launch = || {
        hsm.launch()
            .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
            .set("MACP_AUTH_KEY_POLL_SECONDS", "1")
    };
    let shares = |service: &Service| {
        let ready = service.get("/readyz").text();
        ready.contains("another running service uses the same MACP_AUTH_STATE_DIR")
    };
    let first = launch().start();
    let second = launch().start();
    second.must_log("another running service uses the same MACP_AUTH_STATE_DIR");
    second.mint(r#"{"sender":"a"}"#);
    assert!(shares(&second) && !shares(&first));

    drop(first);

    until("the directory is its own", STARTS_WITHIN, || {
        (!shares(&second)).then_some(())
    });
}

#[test]
fn a_running_service_names_the_setting_of_a_pin_file_that_others_may_read() {
    let hsm = SoftHsm::without_token();
    let service = hsm.launch().start();
    hsm.set_pin_file_mode(0o644);

    service.signal("HUP");

    until("the trouble in /readyz", STARTS_WITHIN, || {
        let ready = service.get("/readyz").text();
        ready
            .contains("MACP_AUTH_PKCS11_PIN_FILE names ")
            .then_some(())
    });
}

#[test]
fn a_state_directory_that_others_may_write_stops_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    fs::create_dir(hsm.path("state")).unwrap();
    fs::set_permissions(hsm.path("state"), fs::Permissions::from_mode(0o777)).unwrap();

    let reason = hsm
        .launch()
        .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
        .refused();

    assert!(reason.contains("MACP_AUTH_STATE_DIR"), "{reason}");
    assert!(reason.contains("chmod go-w"), "{reason}");
}

#[test]
fn a_service_that_starts_while_a_token_is_away_says_that_it_could_not_look() {
    let pair = Pair::with_a_stand_by(true);
    drop(pair.launch().start());
    pair.rules("C_OpenSession fail CKR_DEVICE_REMOVED token one");

    let service = pair.launch().with_admin().start();

    until("the alarm", STARTS_WITHIN, || {
        let alarms = service.status()["alarms"].clone();
        let mut alarms = alarms.as_array().unwrap().iter();
        let told = |alarm: &&Value| {
            let detail = alarm["detail"].as_str().unwrap();
            alarm["kind"] == "look" && detail.contains("CKR_DEVICE_REMOVED")
        };
        alarms.find(told).map(|_| ())
    });
}
