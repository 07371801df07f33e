//! The keys moved from one token to the other: the empty one is well, and without the one that signs nobody is ready.

use serde_json::Value;

use super::{NOTICED_WITHIN, Pair, SHARED_WITHIN, STARTS_WITHIN};
use crate::harness::{Launch, Service, throughout, until};

/// A key on `one` that has expired, and the one that signs on `two`.
fn moved_from_one_to_two(apart: bool) -> (Pair, Service) {
    let pair = Pair::new(apart);
    let hurried = |launch: Launch| {
        launch
            .set("MACP_AUTH_ROTATION_UNSAFE", "1")
            .set("MACP_AUTH_KEY_LEAD_SECONDS", "1")
            .set("MACP_AUTH_KEY_RETAIN_SECONDS", "1")
            .set("MACP_AUTH_KEY_POLL_SECONDS", "1")
    };
    for (uri, span) in pair.uris().iter().zip(["1s", "3s"]) {
        let generate = &["keys", "generate", "--alg", "ES256", "--activate-in", span];
        let made = hurried(pair.launch_on(uri)).arguments(generate).run();
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let service = hurried(pair.launch()).with_admin().start();
    until("one key expires", STARTS_WITHIN, || {
        let keys = service.status()["keys"].clone();
        let mut keys = keys.as_array().unwrap().iter();
        keys.any(|key| key["state"] == "EXPIRED").then_some(())
    });
    (pair, service)
}

#[test]
fn a_token_whose_keys_have_all_expired_is_well_although_nothing_asks_it() {
    // Of a module that two share no key is looked for by starting it over, which would be a signature.
    let (_pair, service) = moved_from_one_to_two(false);
    // A canary has it sign within this time.
    throughout(NOTICED_WITHIN, || {
        let all = all_parts_of_both_are_well(&service);
        assert!(all.is_some(), "{}", service.status()["tokens"]);
    });
}

fn all_parts_of_both_are_well(service: &Service) -> Option<()> {
    let tokens = service.status()["tokens"].clone();
    let mut tokens = tokens.as_array().unwrap().iter();
    tokens.all(|token| token["ready"] == true).then_some(())
}

#[test]
fn a_well_token_without_the_key_that_signs_makes_nobody_ready() {
    let (pair, service) = moved_from_one_to_two(true);
    service.wait_ready();

    pair.rules("* fail CKR_TOKEN_NOT_PRESENT token two");
    until("the mints are refused", NOTICED_WITHIN, || {
        (service.post(r#"{"sender":"a"}"#).status == 503).then_some(())
    });

    until("nobody is ready", STARTS_WITHIN, || {
        let ready = service.get("/readyz");
        let parts = ready.json()["parts"].clone();
        let mut parts = parts.as_array().unwrap().iter();
        let signing = parts.find(|part| part["name"] == "signing_key").unwrap();
        (ready.status == 503 && signing["ok"] == false).then_some(())
    });
    assert_eq!(service.status()["signing_kid"], Value::Null);
    pair.rules("");
    until("ready again", SHARED_WITHIN, || {
        (service.get("/readyz").status == 200).then_some(())
    });
}
