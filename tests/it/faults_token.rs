//! One token that fails in the ways that tokens do, while mints go on. The claims that hold of every answer are those of
//! `harness/load.rs`; here stands what else is promised: how soon it is over, and what it cost.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::faults::FaultyHsm;
use crate::harness::load::{Claims, Load, Mint};
use crate::harness::vitals::Vitals;
use crate::harness::{KeyPair, Service, Token, until};

/// From the fault's end to the first token.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
/// From the fault to the first refusal, where nothing else is promised.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// Longer than the longest pause between two tries.
const LONGER_THAN_A_PAUSE: Duration = Duration::from_millis(2_600);
/// As documented, and the login itself.
const NEW_PIN_WITHIN: Duration = Duration::from_secs(6);
/// The deadline of a mint, and the way there and back.
const DEADLINE: Duration = Duration::from_millis(3_500);
/// No wait for anything; a busy machine is slow.
const AT_ONCE: Duration = Duration::from_millis(100);

const MINT: &str = r#"{"sender":"a"}"#;
const STALE_HANDLE: &str = "C_SignInit fail CKR_KEY_HANDLE_INVALID times 1";
const UNPLUGGED: &str = "C_SignInit fail CKR_DEVICE_REMOVED times 1";

/// A service on a token that fails on demand, and a load on it.
struct Scene {
    before: Vitals,
    load: Load,
    service: Service,
    hsm: FaultyHsm,
    logins: u64,
}

impl Scene {
    fn new() -> Self {
        Self::on(FaultyHsm::new())
    }

    fn on(hsm: FaultyHsm) -> Self {
        let service = hsm.launch().start();
        hsm.warm_up(&service);
        let before = Vitals::at_rest(&service);
        let load = Load::start(&service);
        load.wait_for_a_token(RESUMES_WITHIN, "the first token");
        Self {
            before,
            load,
            service,
            logins: hsm.calls("C_Login"),
            hsm,
        }
    }

    fn refused(&self, what: &str) -> Mint {
        self.load.wait_for_a_refusal(NOTICED_WITHIN, what)
    }

    fn resumes(&self, what: &str) -> Duration {
        self.load.wait_for_a_token(RESUMES_WITHIN, what)
    }

    /// C_Login calls since the start of the scene.
    fn logins(&self) -> u64 {
        self.hsm.calls("C_Login") - self.logins
    }

    fn logins_reach(&self, wanted: u64) {
        until("the login", PATIENCE, || {
            (self.logins() >= wanted).then_some(())
        });
    }

    /// Nobody logs in, and nobody gets a token.
    fn stays_refused_without_login(&self) {
        let logins = self.logins();
        let since = Instant::now();
        until("a long silence", PATIENCE, || {
            assert_eq!(self.logins(), logins, "another login");
            assert!(self.load.mints_since(since).iter().all(|mint| !mint.ok));
            (since.elapsed() > LONGER_THAN_A_PAUSE).then_some(())
        });
    }

    /// The kid of a token minted now.
    fn kid(&self) -> String {
        let token = self.service.post(MINT).json()["token"].clone();
        Token::split(token.as_str().unwrap()).kid()
    }

    fn end(self, what: &str) -> Claims {
        let claims = self.load.claims(what);
        let after = self.before.assert_kept(&self.service, what);
        eprintln!("{what}: {claims:?}; before {}, after {after}", self.before);
        claims
    }
}

/// Set in the tests of it.
const STUCK_EXIT: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_token_directory_that_goes_and_comes_back() {
    let scene = Scene::new();
    let (tokens, away) = (scene.hsm.hsm.path("tokens"), scene.hsm.hsm.path("away"));

    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    scene.refused("the token is away");
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    scene.resumes("the token is back");

    scene.end("token directory");
}

#[test]
fn a_destroyed_key_gives_way_to_another() {
    let hsm = FaultyHsm::new();
    hsm.hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let scene = Scene::on(hsm);
    let first = scene.kid();

    // Either may be the one that signs.
    scene.hsm.hsm.delete("privkey", "01");
    scene.resumes("one key is left");
    let second = scene.kid();
    assert!(scene.service.jwks().kids().contains(&first));
    scene.hsm.hsm.delete("privkey", "02");
    scene.refused("no key is left");
    scene.hsm.hsm.make(&KeyPair {
        id: "03",
        ..KeyPair::EC
    });
    scene.resumes("a new key");
    let third = scene.kid();

    assert!(third != first && third != second);
    assert!(scene.service.jwks().kids().contains(&second));
    scene.end("destroyed keys");
}

#[test]
fn a_key_replaced_under_its_id_signs_under_its_own_kid() {
    let scene = Scene::new();
    let old = scene.kid();

    scene.hsm.hsm.delete("privkey", "01");
    scene.hsm.hsm.delete("pubkey", "01");
    scene.hsm.hsm.make(&KeyPair::EC);
    scene.resumes("the new key");

    assert_ne!(scene.kid(), old);
    scene.end("a replaced key");
}

#[test]
fn a_lost_login_costs_one_login_and_no_mint() {
    let scene = Scene::new();

    scene.hsm.rules("C_SignInit logout");
    scene.logins_reach(1);
    scene.resumes("logged in again");

    assert_eq!(scene.logins(), 1);
    let claims = scene.end("a lost login");
    assert_eq!(claims.refused, 0);
    assert!(claims.longest_gap < Duration::from_secs(2), "{claims:?}");
}

#[test]
fn closed_sessions_cost_one_login() {
    let scene = Scene::new();

    scene.hsm.rules("C_SignInit close-sessions");
    scene.logins_reach(1);
    scene.resumes("sessions again");

    assert_eq!(scene.logins(), 1);
    scene.end("closed sessions");
}

#[test]
fn a_flipped_signature_is_signed_again() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign flip times 1");
    scene.hsm.wait_for_a_fault("C_Sign", 0, "one flipped bit");
    scene.resumes("after one flipped bit");

    assert_eq!(scene.logins(), 0);
    assert_eq!(scene.end("one flipped bit").refused, 0);
}

#[test]
fn a_token_that_signs_wrongly_gets_nothing_out() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign flip");
    scene.refused("all signatures are wrong");
    scene.hsm.no_rules();
    scene.resumes("signatures are right again");

    scene.end("wrong signatures");
}

#[test]
fn another_key_that_signs_gets_nothing_out() {
    let hsm = FaultyHsm::new();
    hsm.hsm.make(&KeyPair {
        id: "77",
        label: "somebody-elses",
        ..KeyPair::EC
    });
    let scene = Scene::on(hsm);

    scene.hsm.rules("C_SignInit other-key");
    scene.refused("the other key signs");
    assert!(scene.hsm.applied("C_SignInit") > 1);
    scene.hsm.no_rules();
    scene.resumes("the right key signs");

    scene.end("another key");
}

#[test]
fn hidden_objects_and_slots_are_found_again() {
    let scene = Scene::new();
    let rows = [
        ("objects", STALE_HANDLE, "C_FindObjects hide"),
        ("slots", UNPLUGGED, "C_GetSlotList hide"),
    ];
    for (what, trigger, rule) in rows {
        scene.hsm.rules(&format!("{trigger}\n{rule}"));
        scene.refused(what);
        let jwks = scene.service.jwks();
        assert_eq!(jwks.keys.len(), 1, "{what}: {}", jwks.text);
        scene.hsm.no_rules();
        scene.resumes(what);
    }

    scene.end("hidden things");
}

#[test]
fn a_token_under_another_slot_number_is_the_same_token() {
    let scene = Scene::new();

    let renumbered = format!("{UNPLUGGED}\nC_GetSlotList renumber 100");
    scene.hsm.rules(&renumbered);
    scene.logins_reach(1);
    scene.resumes("renumbered");
    // Back, while sessions are open.
    scene
        .hsm
        .rules("C_SignInit fail CKR_SESSION_HANDLE_INVALID times 1");
    scene.logins_reach(2);
    scene.resumes("numbered as before");

    assert_eq!(scene.logins(), 2);
    scene.end("other slot numbers");
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_right_one_is_noticed() {
    let hsm = FaultyHsm::new();
    hsm.hsm.write_pin("wrong-1234");
    let service = hsm.launch().secret("wrong-1234").start();
    assert_eq!(service.post(MINT).status, 503);
    let since = Instant::now();
    until("a long silence", PATIENCE, || {
        assert_eq!(hsm.calls("C_Login"), 1);
        (since.elapsed() > LONGER_THAN_A_PAUSE).then_some(())
    });

    hsm.write_the_right_pin();
    until("a token", NEW_PIN_WITHIN, || {
        (service.post(MINT).status == 200).then_some(())
    });

    assert_eq!(hsm.calls("C_Login"), 2);
}

#[test]
fn a_pin_changed_on_the_token_matters_after_its_restart_only() {
    let scene = Scene::new();

    scene.hsm.change_pin_on_the_token();
    scene.resumes("the sessions live on");
    assert_eq!(scene.logins(), 0);

    scene.hsm.rules(UNPLUGGED);
    scene.logins_reach(1);
    scene.stays_refused_without_login();
    assert_eq!(scene.logins(), 1);

    scene.hsm.write_the_right_pin();
    scene.load.wait_for_a_token(NEW_PIN_WITHIN, "the new PIN");
    assert_eq!(scene.logins(), 2);
    scene.end("a changed PIN");
}

#[test]
fn one_session_is_enough() {
    let hsm = FaultyHsm::new();
    let service = hsm.launch().start();
    hsm.rules(&format!("C_OpenSession limit 1\n{UNPLUGGED}"));
    service.post(MINT);
    until("a token by the only session", PATIENCE, || {
        (service.post(MINT).status == 200).then_some(())
    });
    let before = Vitals::at_rest(&service);
    let load = Load::start(&service);

    let applied = hsm.applied("C_Sign");
    hsm.rules("C_Sign fail CKR_DEVICE_ERROR times 1\nC_OpenSession limit 1");
    hsm.wait_for_a_fault("C_Sign", applied, "a failure on the only session");
    load.wait_for_a_token(RESUMES_WITHIN, "the only session signs again");
    until("many tokens", PATIENCE, || {
        (hsm.calls("C_Sign") > applied + 40).then_some(())
    });

    let claims = load.claims("session limit");
    before.assert_kept(&service, "session limit");
    eprintln!("session limit: {claims:?}");
}

#[test]
fn a_slow_token_is_slow_and_no_more() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign delay 200");
    let since = Instant::now();
    let mints = until("forty slow mints", PATIENCE, || {
        let mints = scene.load.mints_since(since);
        (mints.len() >= 40).then_some(mints)
    });
    scene.hsm.no_rules();

    assert!(mints.iter().all(|mint| mint.ok));
    assert_eq!(scene.logins(), 0);
    assert_eq!(scene.end("a slow token").refused, 0);
}

#[test]
fn a_repair_longer_than_a_mints_deadline_is_done_once() {
    let scene = Scene::new();
    let starts = scene.hsm.calls("C_Initialize");

    scene.hsm.rules(&format!("{UNPLUGGED}\n* delay 120"));
    scene.refused("the repair takes long");
    scene
        .load
        .wait_for_a_token(Duration::from_secs(15), "repaired, slowly");
    // What the service believed of the long repair would show now.
    let since = Instant::now();
    until("more tokens", PATIENCE, || {
        (since.elapsed() > LONGER_THAN_A_PAUSE).then_some(())
    });

    assert_eq!(scene.hsm.calls("C_Initialize") - starts, 1);
    scene.hsm.no_rules();
    scene.end("a slow repair");
}

/// Until mints are refused at once; then what a stuck token may not take down.
fn known_to_be_stuck(scene: &Scene, rule: &str) {
    let since = Instant::now();
    scene.hsm.rules(rule);
    let known = until("refused at once", 2 * DEADLINE, || {
        let mints = scene.load.mints_since(since);
        mints
            .into_iter()
            .find(|mint| !mint.ok && mint.took() < AT_ONCE)
    });

    let since = known.ended;
    let mut slowest = Duration::ZERO;
    let mints = until("a dozen quick refusals", PATIENCE, || {
        for path in ["/healthz", "/.well-known/jwks.json"] {
            let asked = Instant::now();
            assert_eq!(scene.service.get(path).status, 200, "{path}");
            slowest = slowest.max(asked.elapsed());
        }
        let mints = scene.load.mints_since(since);
        // Longer than one canary takes to be tried.
        (since.elapsed() > LONGER_THAN_A_PAUSE && mints.len() >= 12).then_some(mints)
    });
    let mut took: Vec<_> = mints.iter().map(Mint::took).collect();
    took.sort_unstable();
    eprintln!(
        "{rule}: {} refusals while stuck, median {:?}, slowest {:?}; health and key set within {slowest:?}",
        took.len(),
        took[took.len() / 2],
        took.last().unwrap()
    );
    assert!(mints.iter().all(|mint| !mint.ok), "{rule}");
    assert!(took.last().unwrap() < &AT_ONCE, "{rule}: {took:?}");
    assert!(slowest < AT_ONCE, "{rule}: {slowest:?}");
    assert_eq!(scene.service.get("/readyz").status, 503, "{rule}");
}

#[test]
fn a_hung_token_holds_nobody_up_once_it_is_known() {
    let scene = Scene::new();

    known_to_be_stuck(&scene, "C_Sign hang");
    scene.hsm.no_rules();
    scene.resumes("the token goes on");

    assert!(scene.logins() <= 1, "one login where it was started anew");
    scene.end("a hung token");
}

#[test]
fn threads_that_all_hang_are_not_saved_by_a_canary_that_signs() {
    let scene = Scene::new();

    // As many as there are signing threads: later calls, the canary's among them, succeed.
    let threads = std::thread::available_parallelism().unwrap().get().max(2);
    known_to_be_stuck(&scene, &format!("C_Sign hang times {threads}"));
    scene.hsm.no_rules();
    scene.resumes("the threads are back");

    scene.end("hung threads");
}

#[test]
fn one_thread_that_hangs_among_others_is_no_reason_to_leave() {
    let hsm = FaultyHsm::new();
    let service = hsm
        .launch()
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    hsm.warm_up(&service);
    let before = Vitals::at_rest(&service);
    let load = Load::start(&service);

    let faults = hsm.applied("C_Sign");
    hsm.rules("C_Sign hang times 1");
    hsm.wait_for_a_fault("C_Sign", faults, "a hung thread");
    let hung = Instant::now();
    until("the time to leave", PATIENCE, || {
        (hung.elapsed() > STUCK_EXIT + DEADLINE).then_some(())
    });
    load.wait_for_a_token(RESUMES_WITHIN, "the other thread signs");
    hsm.no_rules();
    load.wait_for_a_token(RESUMES_WITHIN, "both threads sign");

    load.claims("one hung thread");
    before.assert_kept(&service, "one hung thread");
}

#[test]
fn a_token_hung_for_too_long_ends_the_process() {
    let hsm = FaultyHsm::new();
    let mut service = hsm
        .launch()
        .set(
            "MACP_AUTH_STUCK_EXIT_SECONDS",
            STUCK_EXIT.as_secs().to_string(),
        )
        .start();
    assert_eq!(service.post(MINT).status, 200);

    hsm.rules("C_Sign hang");
    let hung = Instant::now();
    assert_eq!(service.post(MINT).status, 503);
    assert!(hung.elapsed() <= DEADLINE, "{:?}", hung.elapsed());
    service.jwks();
    let (status, _) = service.wait_for_exit(STUCK_EXIT + DEADLINE);

    assert_eq!(status.code(), Some(75));
    assert!(hung.elapsed() >= STUCK_EXIT, "{:?}", hung.elapsed());
}

#[test]
fn a_repair_that_hangs_holds_nobody_up() {
    let scene = Scene::new();

    known_to_be_stuck(&scene, &format!("{STALE_HANDLE}\nC_FindObjectsInit hang"));
    scene.hsm.no_rules();
    scene.resumes("the search goes on");

    scene.end("a hung repair");
}
