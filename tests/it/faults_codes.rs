//! Every return code of the standard, from each function that a mint depends on, while mints go on.
//!
//! ```text
//! for each code:  healthy -> rule in place, called at least once -> rule gone -> a token, nearly always within 3 s
//! ```
//!
//! Two passes: a fault of two calls, by all codes, and one that lasts a second, by one code of each class. A few services walk
//! a function's codes side by side, because most of the time is the pause between two re-initialisations.
//! `MACP_TEST_WALK=alone` (tests/walk-codes.sh) is the long form: one process for each function, all codes, both passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::faults::FaultyHsm;
use crate::harness::load::Load;
use crate::harness::vitals::Vitals;
use crate::harness::{Service, stretched, throughout, until};

/// What leads the service to call the function at all.
#[derive(Debug, Clone, Copy)]
struct Site {
    function: &'static str,
    /// A rule that makes recovery call it.
    trigger: &'static str,
    /// Logins that the trigger costs: none where it leaves the login alone.
    relogins: u64,
}

const SIGN_INIT: Site = Site::in_each_mint("C_SignInit");
const SIGN: Site = Site::in_each_mint("C_Sign");
const OPEN_SESSION: Site = Site::after(
    "C_OpenSession",
    "C_SignInit fail CKR_SESSION_HANDLE_INVALID times 1",
);
const FIND_OBJECTS: Site = Site::after("C_FindObjects", STALE_HANDLE);
const FIND_OBJECTS_INIT: Site = Site::after("C_FindObjectsInit", STALE_HANDLE);
const ATTRIBUTES: Site = Site::after("C_GetAttributeValue", STALE_HANDLE);
const LOGIN: Site = Site {
    relogins: 1,
    ..Site::after("C_Login", "C_SignInit logout")
};

const STALE_HANDLE: &str = "C_SignInit fail CKR_KEY_HANDLE_INVALID times 1";

/// From the fault's end to the first token, the pause between two re-initialisations (at most 2.4 s) included. One in
/// twenty may take a pause longer: a dozen services at once can be more than the machine has processors for.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
const RESUMES_AT_LAST: Duration = Duration::from_millis(5_400);
/// Between two re-initialisations: 2 s, +-20 %.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1_600);
/// Longer than the longest pause: whoever wanted to log in again would have done so.
const LONGER_THAN_A_PAUSE: Duration = Duration::from_millis(2_600);
/// As documented for a change of the PIN file, and the login itself.
const NEW_PIN_WITHIN: Duration = Duration::from_secs(6);
/// Side by side in one test.
const PROCESSES: usize = 12;

/// After these no login is tried until the PIN file changes.
const PIN_CODES: [&str; 10] = [
    "CKR_PIN_INCORRECT",
    "CKR_PIN_INVALID",
    "CKR_PIN_LEN_RANGE",
    "CKR_PIN_EXPIRED",
    "CKR_PIN_LOCKED",
    "CKR_PIN_TOO_WEAK",
    "CKR_NEW_PIN_MODE",
    "CKR_NEXT_OTP",
    "CKR_USER_PIN_NOT_INITIALIZED",
    "CKR_USER_TYPE_INVALID",
];

/// One of each class of the recovery table, and one that nobody knows.
const ONE_OF_EACH_CLASS: [&str; 11] = [
    "CKR_GENERAL_ERROR",
    "CKR_SESSION_COUNT",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_KEY_HANDLE_INVALID",
    "CKR_MECHANISM_INVALID",
    "CKR_DEVICE_REMOVED",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
    "CKR_ATTRIBUTE_TYPE_INVALID",
    "CKR_USER_ALREADY_LOGGED_IN",
    "CKR_CANT_LOCK",
    "0x80000ABC",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    TwoCalls,
    ASecond,
}

/// How a walk went.
#[derive(Debug, Default, Clone)]
struct Walked {
    slowest: Duration,
    at: String,
    late: usize,
    ok: usize,
    refused: usize,
}

impl Site {
    const fn in_each_mint(function: &'static str) -> Self {
        Self::after(function, "")
    }

    const fn after(function: &'static str, trigger: &'static str) -> Self {
        Self {
            function,
            trigger,
            relogins: 0,
        }
    }

    /// The short form: what CI runs.
    fn walk(self) {
        let mut steps: Vec<(String, Lasting)> = all_codes()
            .into_iter()
            .map(|code| (code, Lasting::TwoCalls))
            .collect();
        steps.extend(ONE_OF_EACH_CLASS.map(|code| (code.to_owned(), Lasting::ASecond)));
        self.walk_by(PROCESSES, &steps);
    }

    /// The long form.
    fn walk_alone(self) {
        let passes = [Lasting::TwoCalls, Lasting::ASecond];
        let steps: Vec<(String, Lasting)> = passes
            .into_iter()
            .flat_map(|lasting| all_codes().into_iter().map(move |code| (code, lasting)))
            .collect();
        self.walk_by(1, &steps);
    }

    fn walk_by(self, processes: usize, steps: &[(String, Lasting)]) {
        let since = Instant::now();
        // Dealt like cards: codes of one class stand together in the table.
        let shares: Vec<Vec<_>> = (0..processes)
            .map(|share| steps.iter().skip(share).step_by(processes).collect())
            .collect();
        let walked: Vec<Walked> = std::thread::scope(|scope| {
            let walks: Vec<_> = shares
                .iter()
                .map(|share| scope.spawn(|| self.walk_in_one_process(share)))
                .collect();
            walks
                .into_iter()
                .map(|walk| {
                    walk.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let slowest = walked.iter().max_by_key(|walked| walked.slowest).unwrap();
        eprintln!(
            "{}: {} faults in {:?}, {} tokens, {} refusals, slowest recovery {:?} ({})",
            self.function,
            steps.len(),
            since.elapsed(),
            walked.iter().map(|walked| walked.ok).sum::<usize>(),
            walked.iter().map(|walked| walked.refused).sum::<usize>(),
            slowest.slowest,
            slowest.at,
        );
        let late: usize = walked.iter().map(|walked| walked.late).sum();
        assert!(late * 20 <= steps.len(), "{late} recoveries took long");
    }

    fn walk_in_one_process(self, steps: &[&(String, Lasting)]) -> Walked {
        let hsm = FaultyHsm::new();
        let service = hsm.launch().start();
        hsm.warm_up(&service);
        let before = Vitals::at_rest(&service);
        let (since, calls) = (Instant::now(), Calls::of(&hsm));
        let load = Load::start(&service);

        let mut walked = Walked::default();
        for (code, lasting) in steps {
            let what = format!("{} {code} {lasting:?}", self.function);
            let took = if PIN_CODES.contains(&code.as_str()) {
                self.pin_refused(code, &hsm, &service, &load, &what)
            } else {
                self.survived(code, *lasting, &hsm, &service, &load, &what)
            };
            walked.late += usize::from(took > stretched(RESUMES_WITHIN));
            if took > walked.slowest {
                (walked.slowest, walked.at) = (took, what);
            }
        }

        let (walking, made) = (since.elapsed(), Calls::of(&hsm).since(calls));
        let pauses = walking.as_millis() / SHORTEST_PAUSE.as_millis();
        assert!(
            u128::from(made.starts) <= pauses + 1,
            "{}: {made:?} in {walking:?}",
            self.function
        );
        let claims = load.claims(self.function);
        let after = before.assert_kept(&service, self.function);
        eprintln!("{}: before {before}, after {after}", self.function);
        (walked.ok, walked.refused) = (claims.ok, claims.refused);
        walked
    }

    /// The fault, its end, a token; how long that took from the end.
    fn survived(
        self,
        code: &str,
        lasting: Lasting,
        hsm: &FaultyHsm,
        service: &Service,
        load: &Load,
        what: &str,
    ) -> Duration {
        let calls = Calls::of(hsm);
        let faults = hsm.applied(self.function);
        let since = Instant::now();
        let times = match lasting {
            Lasting::TwoCalls => " times 2",
            Lasting::ASecond => "",
        };
        hsm.rules(&format!(
            "{}\n{} fail {code}{times}",
            self.trigger, self.function
        ));
        hsm.wait_for_a_fault(self.function, faults, what);
        until(what, Duration::from_secs(2), || match lasting {
            Lasting::TwoCalls => {
                let both = hsm.applied(self.function) >= faults + 2;
                (both || since.elapsed() > Duration::from_millis(400)).then_some(())
            }
            Lasting::ASecond => (since.elapsed() > Duration::from_secs(1)).then_some(()),
        });
        hsm.no_rules();
        let took = load.wait_for_a_token(RESUMES_AT_LAST, what);
        until(&format!("{what}: ready"), RESUMES_AT_LAST, || {
            (service.get("/readyz").status == 200).then_some(())
        });
        let made = Calls::of(hsm).since(calls);
        assert!(
            made.logins <= made.starts + self.relogins,
            "{what}: {made:?}"
        );
        took
    }

    /// One login at most, then none until the PIN file holds another PIN; from then to the first token.
    fn pin_refused(
        self,
        code: &str,
        hsm: &FaultyHsm,
        service: &Service,
        load: &Load,
        what: &str,
    ) -> Duration {
        let calls = Calls::of(hsm);
        let faults = hsm.applied(self.function);
        // Lasting: a search reads an attribute alone where reading it in company failed.
        hsm.rules(&format!("{}\n{} fail {code}", self.trigger, self.function));
        hsm.wait_for_a_fault(self.function, faults, what);
        load.wait_for_a_refusal(Duration::from_secs(2), what);
        throughout(LONGER_THAN_A_PAUSE, || {
            let made = Calls::of(hsm).since(calls);
            assert_eq!(made.logins, self.relogins, "{what}: {made:?}");
        });
        assert_eq!(service.post(r#"{"sender":"a"}"#).status, 503, "{what}");

        hsm.no_rules();
        hsm.change_pin_on_the_token();
        let since = Instant::now();
        hsm.write_the_right_pin();
        load.wait_for_a_token(NEW_PIN_WITHIN, what);
        let made = Calls::of(hsm).since(calls);
        assert_eq!(made.logins, self.relogins + 1, "{what}: {made:?}");
        since.elapsed()
    }
}

/// Calls whose number is documented.
#[derive(Debug, Clone, Copy)]
struct Calls {
    logins: u64,
    starts: u64,
}

impl Calls {
    fn of(hsm: &FaultyHsm) -> Self {
        Self {
            logins: hsm.calls("C_Login"),
            starts: hsm.calls("C_Initialize"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            logins: self.logins - before.logins,
            starts: self.starts - before.starts,
        }
    }
}

/// Those that the fault module can name, and two that nobody knows.
fn all_codes() -> Vec<String> {
    let source = include_str!("../fault-module/src/codes.rs");
    let (_, table) = source.split_once("\nnamed! {").unwrap();
    let (table, _) = table.split_once('}').unwrap();
    let mut codes: Vec<String> = table.split_whitespace().map(str::to_owned).collect();
    codes.extend(["0x80000ABC".to_owned(), "0x7FFF".to_owned()]);
    codes
}

#[test]
fn all_codes_are_walked() {
    let codes = all_codes();

    let mut seen = BTreeMap::new();
    for code in &codes {
        *seen.entry(code.as_str()).or_insert(0) += 1;
    }
    assert!(codes.len() > 100, "{codes:?}");
    assert!(seen.values().all(|&times| times == 1), "{seen:?}");
    for code in PIN_CODES.iter().chain(&ONE_OF_EACH_CLASS) {
        assert!(seen.contains_key(code), "{code}");
    }
}

macro_rules! walks {
    ($($name:ident $site:ident)*) => {$(
        #[test]
        fn $name() {
            if std::env::var_os("MACP_TEST_WALK").is_some_and(|form| form == "alone") {
                $site.walk_alone();
            } else {
                $site.walk();
            }
        }
    )*};
}

walks! {
    no_code_of_sign_init_costs_more_than_a_moment SIGN_INIT
    no_code_of_sign_costs_more_than_a_moment SIGN
    no_code_of_open_session_costs_more_than_a_moment OPEN_SESSION
    no_code_of_find_objects_costs_more_than_a_moment FIND_OBJECTS
    no_code_of_find_objects_init_costs_more_than_a_moment FIND_OBJECTS_INIT
    no_code_of_login_costs_more_than_a_moment LOGIN
    no_code_of_get_attribute_value_costs_more_than_a_moment ATTRIBUTES
}
