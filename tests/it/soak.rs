//! Two tokens under load while random faults come and go. What must hold of every answer is in `harness/load.rs`; here stand
//! the recoveries, what the service holds before and after, and the figures of docs/reliability.md.
//!
//! `MACP_TEST_SOAK_SECONDS` says how long (20); tests/soak.sh runs a release build for ten minutes.

use std::time::{Duration, Instant};

use crate::harness::load::{Load, Trickle};
use crate::harness::until;
use crate::harness::vitals::Vitals;
use crate::two_tokens::{Pair, both_are_well};

/// A token again after the last rule is gone, as docs/reliability.md promises; the pause between two re-initialisations is in it.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
/// Both tokens: one that no mint asks is tried every 15 s only.
const WELL_WITHIN: Duration = Duration::from_secs(20);

/// Every kind of trouble that the module can make, for one token or for both.
const FAULTS: [&str; 14] = [
    "* fail CKR_TOKEN_NOT_PRESENT",
    "* fail CKR_DEVICE_REMOVED",
    "C_Sign fail CKR_DEVICE_ERROR chance 0.3",
    "C_Sign,C_SignInit fail CKR_GENERAL_ERROR,CKR_FUNCTION_FAILED,CKR_HOST_MEMORY chance 0.2",
    "C_SignInit fail CKR_KEY_HANDLE_INVALID,CKR_OBJECT_HANDLE_INVALID chance 0.3",
    "C_SignInit fail CKR_SESSION_HANDLE_INVALID,CKR_SESSION_CLOSED",
    "C_SignInit fail CKR_USER_NOT_LOGGED_IN times 3",
    "C_OpenSession fail CKR_SESSION_COUNT",
    "C_FindObjects hide",
    "C_GetAttributeValue fail CKR_DEVICE_MEMORY chance 0.2",
    "C_Sign flip chance 0.5",
    "C_Sign delay 200",
    "C_Sign hang",
    "logout",
];

/// A small generator, so that a run can be repeated: xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[test]
fn a_service_under_random_faults_keeps_its_promises_and_loses_nothing() {
    let seconds = std::env::var("MACP_TEST_SOAK_SECONDS").map_or(20, |text| text.parse().unwrap());
    let pair = Pair::with_a_stand_by(true);
    let service = pair.launch().start();
    until("both tokens", WELL_WITHIN, || both_are_well(&service));
    let before = Vitals::at_rest(&service);
    let load = Load::with(
        &service,
        Trickle {
            threads: 6,
            every: Duration::from_millis(40),
        },
    );
    let mut dice = Dice(0x5eed);
    let (began, mut rounds) = (Instant::now(), 0);
    let mut longest = (Duration::ZERO, "");
    while began.elapsed() < Duration::from_secs(seconds) {
        let rule = FAULTS[dice.below(FAULTS.len())];
        let token = ["token one", "token two", ""][dice.below(3)];
        pair.rules(&format!("{rule} {token}"));
        let lasting = Duration::from_millis(300 + dice.below(1500) as u64);
        let since = Instant::now();
        until("the fault lasts", Duration::from_secs(5), || {
            (since.elapsed() >= lasting).then_some(())
        });
        pair.rules("");
        rounds += 1;
        let took = load.wait_for_a_token(RESUMES_WITHIN, rule);
        if took > longest.0 {
            longest = (took, rule);
        }
    }
    let recovery = load.wait_for_a_token(RESUMES_WITHIN, "the end");
    until("both tokens are well again", WELL_WITHIN, || {
        both_are_well(&service)
    });

    let claims = load.claims("soak");
    let after = before.assert_kept(&service, "soak");
    eprintln!(
        "rounds of faults          {rounds} in {} s",
        began.elapsed().as_secs()
    );
    eprintln!("faults injected           {}", pair.faults());
    eprintln!("mints                     {}", claims.ok);
    eprintln!("clean refusals            {}", claims.refused);
    eprintln!("invalid tokens            0");
    eprintln!("key sets fetched          {}", claims.key_sets);
    eprintln!(
        "longest recovery          {:?} ({})",
        longest.0.max(recovery),
        longest.1
    );
    eprintln!("longest time without one  {:?}", claims.longest_gap);
    eprintln!("slowest answer            {:?}", claims.slowest_mint);
    eprintln!("at the start              {before}");
    eprintln!("at the end                {after}");
    assert!(pair.faults() > 0 && claims.ok > 0, "nothing happened");
}
