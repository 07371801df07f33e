//! Changes of keys in real time: three replicas on one token, callers that mint all the time, twenty verifiers of the
//! runtime that know nothing but the key set. Nobody may notice. The same with the waiting left out must be noticed, or
//! the first claim would say nothing.
//!
//! All times are the least that the rules allow for verifiers of 2 s, so that a whole rotation takes a quarter of a minute.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::service::PATIENCE;
use crate::harness::{Fleet, Launch, Pace, SoftHsm, Traffic, until};

const POLL: u64 = 1;
const JWKS_MAX_AGE: u64 = 1;
const VERIFIER_TTL: u64 = 2;
const TOKEN_LIFE: u64 = 10;
/// C + T + F: from a changed key set to the last verifier that has it.
const REACHES: u64 = JWKS_MAX_AGE + VERIFIER_TTL + 5;
/// And 2.2 P.
const LEAD: u64 = REACHES + 3;
/// M + L + P.
const RETAIN: u64 = TOKEN_LIFE + 60 + POLL;

/// With the least times; all clocks are one.
pub fn hurried(launch: Launch) -> Launch {
    [
        ("KEY_POLL", POLL),
        ("JWKS_MAX_AGE", JWKS_MAX_AGE),
        ("VERIFIER_TTL", VERIFIER_TTL),
        ("CLOCK_SKEW", 0),
        ("MAX_TTL", TOKEN_LIFE),
        ("DEFAULT_TTL", TOKEN_LIFE),
        ("KEY_LEAD", LEAD),
        ("KEY_RETAIN", RETAIN),
    ]
    .iter()
    .fold(launch, |launch, (name, seconds)| {
        launch.set(&format!("MACP_AUTH_{name}_SECONDS"), seconds.to_string())
    })
}

fn reckless(launch: Launch, setting: &str) -> Launch {
    launch
        .set("MACP_AUTH_ROTATION_UNSAFE", "1")
        .set(setting, "0")
}

/// A directory for what a replica knows.
pub fn remembering(launch: Launch, hsm: &SoftHsm, replica: usize) -> Launch {
    let directory = hsm.path(&format!("state-{replica}"));
    DirBuilder::new().mode(0o700).create(&directory).unwrap();
    launch.set("MACP_AUTH_STATE_DIR", directory)
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

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn wait_until(instant: u64) {
    until("the hour", Duration::from_secs(60), || {
        (now() >= instant).then_some(())
    });
}

/// Makes a key that signs from this instant on; its kid.
pub fn generate(launch: &Launch, algorithm: &str, instant: u64) -> String {
    let (days, second) = (instant / 86_400, instant % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let text = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
    let made = launch
        .clone()
        .arguments(&[
            "keys",
            "generate",
            "--alg",
            algorithm,
            "--activate-at",
            &text,
            "--json",
        ])
        .run();
    assert_eq!(made.code, Some(0), "{made:?}");
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    made["kid"].as_str().unwrap().to_owned()
}

/// The day that lies so many after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

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
    let switch = now() + LEAD + 2;
    let second = generate(&launch, "ES256", switch);
    wait_until(switch);
    traffic.wait_until_all_sign_with(&second);
    let first_is_gone = switch + RETAIN;

    // One replica is away while the key is made, another while it begins to sign.
    fleet.stop(0);
    let switch = now() + LEAD + 2;
    let third = generate(&launch, "ES256", switch);
    fleet.start_again(0);
    wait_until(switch - 1);
    fleet.stop(1);
    fleet.start_again(1);
    wait_until(switch);
    traffic.wait_until_all_sign_with(&third);

    // Verifiers cannot fetch for a while, and the lead is longer by as much.
    let outage = 18;
    let switch = now() + LEAD + outage + 2;
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
fn a_key_that_signs_before_verifiers_have_it_is_noticed() {
    let hsm = SoftHsm::with_key("RS256");
    let launch = reckless(hurried(hsm.launch()), "MACP_AUTH_KEY_LEAD_SECONDS");
    let fleet = replicas(&hsm, &launch);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();

    let second = generate(&launch, "ES256", now());
    traffic.wait_until_all_sign_with(&second);

    until("a rejected token", PATIENCE, || {
        (traffic.rejected() > 0).then_some(())
    });
    let outcome = traffic.stop();
    eprintln!("{}", outcome.explained());
    let early = outcome.rejections.iter();
    assert!(
        early.clone().all(|rejection| rejection.token.kid == second),
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

    let second = generate(&launch, "ES256", now() + LEAD + 2);
    traffic.wait_until_all_sign_with(&second);

    until("a rejected token", PATIENCE, || {
        (traffic.rejected() > 0).then_some(())
    });
    let outcome = traffic.stop();
    eprintln!("{}", outcome.explained());
    let late = outcome.rejections.iter();
    assert!(
        late.clone().all(|rejection| rejection.token.kid == first),
        "{}",
        outcome.explained()
    );
}
