//! One of two tokens dies or hangs: the other takes over and no mint fails. Both die: mints are refused, the key set is served.

use std::time::{Duration, Instant};

use super::{NOTICED_WITHIN, Pair, RESUMES_WITHIN, SHARED_WITHIN, STARTS_WITHIN, both_are_well};
use crate::harness::load::Load;
use crate::harness::{Service, ec_pkcs8, rsa_pkcs8, stretched, until};

/// Longer than the pause before the next try of a token that is down.
const HANGS_FOR: Duration = Duration::from_millis(2_600);
/// Half a deadline (`MACP_AUTH_SIGN_TIMEOUT_MS`) goes to a token that gives no answer; then the other signs.
const GOES_ON_WITHIN: Duration = Duration::from_millis(2_000);
/// Enough mints to meet every token several times.
const MINTS: usize = 40;

fn one_is_not_well(service: &Service) -> Option<()> {
    both_are_well(service).is_none().then_some(())
}

/// One token fails by this rule and comes back, under load: no mint fails.
fn no_mint_fails(pair: &Pair, rule: &str, what: &str) {
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    for token in ["one", "two"] {
        let load = Load::start(&service);
        pair.rules(&format!("{rule} token {token}"));
        until(what, NOTICED_WITHIN, || one_is_not_well(&service));
        for _ in 0..MINTS {
            load.wait_for_a_token(RESUMES_WITHIN, what);
        }
        pair.rules("");
        until(&format!("{what}: well again"), SHARED_WITHIN, || {
            both_are_well(&service)
        });

        let claims = load.claims(what);
        assert_eq!(claims.refused, 0, "{what}, token {token}: {claims:?}");
    }
}

#[test]
fn a_stand_by_takes_over_from_a_token_that_dies() {
    let pair = Pair::with_a_stand_by(true);
    no_mint_fails(
        &pair,
        "* fail CKR_TOKEN_NOT_PRESENT",
        "a dead token, modules apart",
    );
}

#[test]
fn a_stand_by_takes_over_where_both_share_a_module() {
    let pair = Pair::with_a_stand_by(false);
    no_mint_fails(
        &pair,
        "C_SignInit,C_OpenSession fail CKR_DEVICE_REMOVED",
        "a dead token, one module",
    );
}

#[test]
fn a_replica_takes_over_from_a_token_that_dies_and_the_kid_stays() {
    let key = rsa_pkcs8(aws_lc_rs::rsa::KeySize::Rsa2048);
    let pair = Pair::with_replicas(true, &[key]);
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    assert_eq!(service.jwks().kids().len(), 1);
    drop(service);
    no_mint_fails(&pair, "* fail CKR_TOKEN_NOT_PRESENT", "a dead replica");
}

#[test]
fn a_stand_by_takes_over_from_a_token_that_hangs() {
    let pair = Pair::with_a_stand_by(true);
    no_mint_fails(&pair, "C_Sign hang", "a hung token");
}

/// Each token fails once. The cure of one never ends, that of two takes its time.
fn a_cure_that_hangs_is_not_waited_for(keys: &[Vec<u8>]) {
    let what = format!("{} keys on both", keys.len());
    let pair = Pair::with_replicas(true, keys);
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    let load = Load::start(&service);

    pair.rules(
        "C_SignInit fail CKR_KEY_HANDLE_INVALID times 1 token one\n\
         C_FindObjects hang token one\n\
         C_SignInit fail CKR_KEY_HANDLE_INVALID times 1 token two\n\
         C_FindObjects delay 100 token two",
    );
    until("the cure of one hangs", NOTICED_WITHIN, || {
        one_is_not_well(&service)
    });
    let since = Instant::now();
    until("one stays down", HANGS_FOR * 2, || {
        assert!(one_is_not_well(&service).is_some(), "{what}: one came back");
        (since.elapsed() >= HANGS_FOR).then_some(())
    });
    for _ in 0..MINTS {
        load.wait_for_a_token(RESUMES_WITHIN, &what);
    }
    pair.rules("");
    until("well again", RESUMES_WITHIN, || both_are_well(&service));

    let claims = load.claims(&what);
    assert!(pair.faults() >= 4, "{what}: a rule was not met");
    assert_eq!(claims.refused, 0, "{what}: {claims:?}");
    // Whoever waits for the wrong cure alone waits for the whole deadline: refused or not by a hair.
    assert!(
        claims.slowest_mint < stretched(GOES_ON_WITHIN),
        "{what}: {claims:?}"
    );
}

#[test]
fn replicas_that_are_cured_at_once_fail_no_mint_where_one_cure_hangs() {
    a_cure_that_hangs_is_not_waited_for(&[ec_pkcs8()]);
}

#[test]
fn replicas_of_several_keys_that_are_cured_at_once_fail_no_mint_where_one_cure_hangs() {
    a_cure_that_hangs_is_not_waited_for(&[ec_pkcs8(), ec_pkcs8(), ec_pkcs8()]);
}

#[test]
fn with_both_tokens_dead_mints_are_refused_and_the_key_set_is_served() {
    let pair = Pair::with_a_stand_by(true);
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    let load = Load::start(&service);

    pair.rules("* fail CKR_TOKEN_NOT_PRESENT");
    load.wait_for_a_refusal(NOTICED_WITHIN, "both dead");
    assert_eq!(service.jwks().kids().len(), 2);
    pair.rules("");
    load.wait_for_a_token(RESUMES_WITHIN, "both back");

    load.claims("both tokens dead");
}
