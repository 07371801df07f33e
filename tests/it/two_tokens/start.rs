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
