//! One of two tokens hangs for longer than the process would wait with no token at all: what happens to the healthy one meanwhile
//! is no reason to leave.

use std::time::{Duration, Instant};

use super::{NOTICED_WITHIN, Pair, RESUMES_WITHIN, STARTS_WITHIN, both_are_well};
use crate::harness::load::Load;
use crate::harness::until;

const MINT: &str = r#"{"sender":"agent://hung"}"#;
const STUCK_EXIT: Duration = Duration::from_secs(4);

#[test]
fn a_healthy_token_may_be_cured_and_started_over_while_the_other_one_hangs() {
    let pair = Pair::with_a_stand_by(true);
    let mut service = pair
        .launch()
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    let load = Load::start(&service);
    let hang = "C_SignInit,C_Sign,C_FindObjectsInit,C_OpenSession hang token one";

    pair.rules(hang);
    until("one hangs", NOTICED_WITHIN, || {
        both_are_well(&service).is_none().then_some(())
    });
    let hung = Instant::now();
    until(
        "longer than the process would wait",
        2 * NOTICED_WITHIN,
        || (hung.elapsed() > STUCK_EXIT * 2).then_some(()),
    );
    // The watch looks every 100 ms: a cure that takes longer is seen.
    pair.rules(&format!(
        "{hang}\n\
         C_SignInit fail CKR_KEY_HANDLE_INVALID times 1 token two\n\
         C_FindObjectsInit delay 300 token two"
    ));
    service.must_log("CKR_KEY_HANDLE_INVALID");
    load.wait_for_a_token(RESUMES_WITHIN, "cured");
    service.signal("HUP");
    let asked = Instant::now();
    until("started over", 2 * NOTICED_WITHIN, || {
        (asked.elapsed() > RESUMES_WITHIN).then_some(())
    });
    load.wait_for_a_token(RESUMES_WITHIN, "started over");
    let claims = load.claims("one of two tokens hangs");
    assert_eq!(claims.refused, 0, "{claims:?}");

    pair.rules("* hang");
    assert_eq!(service.post(MINT).status, 503);
    let (status, _) = service.wait_for_exit(NOTICED_WITHIN + STUCK_EXIT);
    assert_eq!(status.code(), Some(75), "with no token at all");
}
