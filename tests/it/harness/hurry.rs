//! The least times that the rules allow for verifiers of 2 s: a key has its whole life within two minutes.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Launch, SoftHsm, until};

pub const POLL: u64 = 1;
pub const JWKS_MAX_AGE: u64 = 1;
pub const VERIFIER_TTL: u64 = 2;
pub const TOKEN_LIFE: u64 = 10;
/// C + T + F: from a changed key set to the last verifier that has it.
pub const REACHES: u64 = JWKS_MAX_AGE + VERIFIER_TTL + 5;
/// And 2.2 P.
pub const LEAD: u64 = REACHES + 3;
/// M + L + P.
pub const RETAIN: u64 = TOKEN_LIFE + 60 + POLL;

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

/// A directory for what a replica knows.
pub fn remembering(launch: Launch, hsm: &SoftHsm, replica: usize) -> Launch {
    let directory = hsm.path(&format!("state-{replica}"));
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&directory)
        .unwrap();
    launch.set("MACP_AUTH_STATE_DIR", directory)
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// When a key can sign that is asked for now: its command may take a while to start.
pub fn next_switch() -> u64 {
    now() + LEAD + 4
}

pub fn wait_until(instant: u64) {
    let patience = Duration::from_secs(60 + instant.saturating_sub(now()));
    until("the hour", patience, || (now() >= instant).then_some(()));
}

/// Makes a key that signs from this instant on; its kid.
pub fn generate(launch: &Launch, algorithm: &str, instant: u64) -> String {
    make_key(launch, algorithm, &["--activate-at", &written(instant)])
}

/// Makes a key with the present instant; its kid.
pub fn generate_now(launch: &Launch, algorithm: &str) -> String {
    make_key(launch, algorithm, &["--now"])
}

fn make_key(launch: &Launch, algorithm: &str, from: &[&str]) -> String {
    let arguments = ["keys", "generate", "--json", "--alg", algorithm];
    let made = launch
        .clone()
        .arguments(&[&arguments[..], from].concat())
        .run();
    assert_eq!(made.code, Some(0), "{made:?}");
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    made["keys"][0]["kid"].as_str().unwrap().to_owned()
}

/// `20261201T120000Z`.
pub fn written(instant: u64) -> String {
    let (year, month, day) = civil(instant / 86_400);
    let (hour, minute, second) = (instant / 3600 % 24, instant / 60 % 60, instant % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The day that lies so many after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
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
