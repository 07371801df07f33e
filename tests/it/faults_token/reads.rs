//! Attributes that a token does not let itself be asked for a moment: the look fails, and no key is taken for gone.

use std::time::Duration;

use super::{MINT, PATIENCE};
use crate::harness::faults::FaultyHsm;
use crate::harness::{KeyPair, Token, throughout, until};

/// Looks come each second.
const LONGER_THAN_TO_THE_NEXT_LOOK: Duration = Duration::from_millis(1_300);

#[test]
fn attributes_that_are_not_read_for_a_moment_take_no_key_away() {
    let hsm = FaultyHsm::new();
    // A look that finds no key at all never counted.
    hsm.hsm.make(&KeyPair {
        label: "macp-jwt-20990101T000000Z",
        id: "02",
        ..KeyPair::EC
    });
    let service = hsm.launch().set("MACP_AUTH_KEY_POLL_SECONDS", "1").start();
    hsm.warm_up(&service);
    let (kid, jwks) = (service.mint(MINT).kid(), service.jwks().text);

    // Label and CKA_ID of both keys, each read in two calls; then their types and public halves.
    let general = (0..8).map(|before| ("CKR_GENERAL_ERROR", before, 2));
    let handle = (0..6).map(|before| ("CKR_OBJECT_HANDLE_INVALID", before, 3));
    for (code, before, times) in general.chain(handle) {
        let rule = format!("C_GetAttributeValue fail {code} after {before} times {times}");
        let applied = hsm.applied("C_GetAttributeValue");
        hsm.rules(&rule);
        until(&rule, PATIENCE, || {
            (hsm.applied("C_GetAttributeValue") == applied + times).then_some(())
        });
        throughout(LONGER_THAN_TO_THE_NEXT_LOOK, || {
            let answer = service.post(MINT);
            assert_eq!(answer.status, 200, "{rule}: {}", answer.text());
            let token = answer.json()["token"].as_str().unwrap().to_owned();
            assert_eq!(Token::split(&token).kid(), kid, "{rule}");
            let ready = service.get("/readyz").text();
            assert!(!ready.contains("key_gone"), "{rule}: {ready}");
        });
        assert_eq!(service.jwks().text, jwks, "{rule}");
    }
}

#[test]
fn a_policy_refuses_no_key_for_what_the_token_did_not_get_to_say() {
    let hsm = FaultyHsm::new();
    let list = || hsm.launch().arguments(&["keys", "list"]).run();
    hsm.no_rules();
    assert_eq!(list().code, Some(0));
    let reads = hsm.calls("C_GetAttributeValue");

    // Each read of the key fails in company and alone, one after the other.
    let mut failed = 0;
    for before in 0..reads {
        let rule = format!("C_GetAttributeValue fail CKR_GENERAL_ERROR after {before} times 2");
        hsm.rules(&rule);
        let listed = list();
        let said = format!("{listed:?}");
        assert!(!said.contains("is not reported"), "{rule}: {said}");
        failed += usize::from(said.contains("does not answer as it should"));
    }
    assert!(failed > 5, "{failed} of {reads}");
}
