//! Changes of keys in real time: three replicas on one token, callers that mint all the time, twenty verifiers of the
//! runtime that know nothing but the key set. Nobody may notice. The same with the waiting left out must be noticed, or
//! the first claim would say nothing.
//!
//! With the times of `harness/hurry.rs` a whole rotation takes a quarter of a minute.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::harness::hurry::{
    REACHES, RETAIN, TOKEN_LIFE, VERIFIER_TTL, generate, generate_now, hurried, next_switch, now,
    remembering, wait_until,
};
use crate::harness::service::PATIENCE;
use crate::harness::{Fleet, Launch, Outcome, Pace, SoftHsm, Traffic, until};

fn reckless(launch: Launch, setting: &str) -> Launch {
    launch
        .set("MACP_AUTH_ROTATION_UNSAFE", "1")
        .set(setting, "0")
}

const REPLICAS: usize = 3;

fn replicas(hsm: &SoftHsm, launch: &Launch) -> Fleet {
    Fleet::start((0..REPLICAS).map(|replica| remembering(launch.clone(), hsm, replica)))
}

const PACE: Pace = Pace {
    verifiers: 20,
    verifier_ttl: VERIFIER_TTL,
    mints_per_second: 27,
    token_life: Duration::from_secs(TOKEN_LIFE),
};

#[test]
fn three_rotations_under_traffic_reject_no_token() {
    let hsm = SoftHsm::with_key("RS256");
    let launch = hurried(hsm.launch());
    let mut fleet = replicas(&hsm, &launch);
    let first = fleet.replicas().next().unwrap().jwks().kids().remove(0);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_sign_with(&first);
    traffic.wait_until_all_have_keys();

    // To another algorithm.
    let switch = next_switch();
    let second = generate(&launch, "ES256", switch);
    wait_until(switch);
    traffic.wait_until_all_sign_with(&second);
    let first_is_gone = switch + RETAIN;

    // One replica is away while the key is made, another while it begins to sign.
    fleet.stop(0);
    let switch = next_switch();
    let third = generate(&launch, "ES256", switch);
    fleet.start_again(0);
    wait_until(switch - 1);
    fleet.stop(1);
    fleet.start_again(1);
    wait_until(switch);
    traffic.wait_until_all_sign_with(&third);

    // Verifiers cannot fetch for a while, and the lead is longer by as much.
    let outage = 18;
    let switch = next_switch() + outage;
    traffic.gate().shut();
    let fourth = generate(&launch, "RS256", switch);
    wait_until(switch - REACHES);
    traffic.gate().open();
    wait_until(switch);
    traffic.wait_until_all_sign_with(&fourth);

    // The first key goes when nobody takes its tokens any more.
    wait_until(first_is_gone);
    until("the first key is withdrawn", PATIENCE, || {
        let mut sets = fleet.replicas().map(|replica| replica.jwks().kids());
        sets.all(|kids| !kids.contains(&first)).then_some(())
    });
    for replica in fleet.replicas() {
        let kids = replica.jwks().kids();
        for kid in [&second, &third, &fourth] {
            assert!(kids.contains(kid), "{kid} of {kids:?}");
        }
    }
    traffic.wait_for_checks(15_000);
    let outcome = traffic.stop();
    eprintln!("{}", outcome.explained());
    outcome.must_be_flawless(&fleet);
    let in_vain = outcome.fetches.iter().filter(|fetch| fetch.kids.is_none());
    assert!(in_vain.count() >= PACE.verifiers, "nobody met the outage");
}

#[test]
fn hangups_under_traffic_fail_no_mint() {
    let hsm = SoftHsm::with_key("ES256");
    let fleet = replicas(&hsm, &hurried(hsm.launch()));
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();

    for _ in 0..20 {
        for replica in fleet.replicas() {
            replica.signal("HUP");
        }
        traffic.wait_for_checks(traffic.checks() + 20);
    }
    traffic.stop().must_be_flawless(&fleet);
}

#[test]
fn a_key_that_signs_before_verifiers_have_it_is_noticed() {
    let hsm = SoftHsm::with_key("RS256");
    let launch = reckless(hurried(hsm.launch()), "MACP_AUTH_KEY_LEAD_SECONDS");
    let fleet = replicas(&hsm, &launch);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();

    let second = generate_now(&launch, "ES256");
    traffic.wait_until_all_sign_with(&second);

    until("a rejected token", PATIENCE, || {
        (!traffic.rejections().is_empty()).then_some(())
    });
    let outcome = traffic.stop();
    eprintln!("{}", outcome.explained());
    let mut early = outcome.rejections.iter();
    assert!(
        early.all(|rejection| rejection.token.kid == second),
        "{}",
        outcome.explained()
    );
}

#[test]
fn a_key_that_is_withdrawn_before_its_tokens_die_is_noticed() {
    let hsm = SoftHsm::with_key("RS256");
    let launch = reckless(hurried(hsm.launch()), "MACP_AUTH_KEY_RETAIN_SECONDS");
    let fleet = replicas(&hsm, &launch);
    let first = fleet.replicas().next().unwrap().jwks().kids().remove(0);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();

    let second = generate(&launch, "ES256", next_switch());
    traffic.wait_until_all_sign_with(&second);

    until("a rejected token", PATIENCE, || {
        (!traffic.rejections().is_empty()).then_some(())
    });
    let outcome = traffic.stop();
    eprintln!("{}", outcome.explained());
    let mut late = outcome.rejections.iter();
    assert!(
        late.all(|rejection| rejection.token.kid == first),
        "{}",
        outcome.explained()
    );
}

/// A third replica that reaches the token by a way of its own.
fn with_a_way_of_its_own(hsm: &SoftHsm, launch: &Launch) -> Fleet {
    let configuration = fs::read_to_string(hsm.path("softhsm2.conf")).unwrap();
    let tokens = hsm.path("tokens").display().to_string();
    let detour = hsm.path("detour").display().to_string();
    fs::write(
        hsm.path("detour.conf"),
        configuration.replace(&tokens, &detour),
    )
    .unwrap();
    symlink(&tokens, &detour).unwrap();
    let apart = launch.clone().set("SOFTHSM2_CONF", hsm.path("detour.conf"));
    let launches = [launch.clone(), launch.clone(), apart];
    Fleet::start(
        (0..)
            .zip(launches)
            .map(|(replica, launch)| remembering(launch, hsm, replica)),
    )
}

/// One replica does not see its token from before a key is made until long after the others sign with it.
fn while_one_replica_is_blind(careless: bool) -> (Fleet, Outcome) {
    let hsm = SoftHsm::with_key("RS256");
    let launch = hurried(hsm.launch());
    let fleet = with_a_way_of_its_own(&hsm, &launch);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();
    if careless {
        traffic.gate().be_careless();
    }

    fleet.excuse(2, true);
    fs::remove_file(hsm.path("detour")).unwrap();
    let switch = next_switch();
    let second = generate(&launch, "ES256", switch);
    wait_until(switch);
    traffic.wait_until_they_sign_with(&second, 0..2);
    wait_until(now() + 3 * VERIFIER_TTL);
    symlink(hsm.path("tokens"), hsm.path("detour")).unwrap();
    traffic.wait_until_all_sign_with(&second);
    fleet.excuse(2, false);
    wait_until(now() + VERIFIER_TTL);
    (fleet, traffic.stop())
}

#[test]
fn a_replica_that_does_not_see_a_new_key_is_passed_over_and_nobody_notices() {
    let (fleet, outcome) = while_one_replica_is_blind(false);
    outcome.must_be_flawless(&fleet);
}

#[test]
fn a_replica_that_does_not_see_a_new_key_is_noticed_where_nobody_asks_whether_it_is_ready() {
    let (_fleet, outcome) = while_one_replica_is_blind(true);
    assert!(!outcome.rejections.is_empty(), "{}", outcome.explained());
}
