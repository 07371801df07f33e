//! Two tokens for one service: replicas of one key, or keys of their own of which one stands by. Where one of them lives, no
//! mint fails. The claims that hold of every answer are those of `harness/load.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::faults::fault_module;
use crate::harness::load::Load;
use crate::harness::{
    KeyPair, Launch, Service, SoftHsm, ec_pkcs8, rsa_pkcs8, stretched, throughout, until,
};

/// The first try of each token has 5 s.
const STARTS_WITHIN: Duration = Duration::from_secs(6);
/// A token that no mint asks is tried every 15 s, and a call that hangs is given up after 3 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// From the fault's end to a token: what docs/reliability.md promises.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
/// The same for a token whose module is restarted every 30 s at most, because a sibling signs.
const SHARED_WITHIN: Duration = Duration::from_secs(33);
/// Longer than the pause before the next try of a token that is down.
const HANGS_FOR: Duration = Duration::from_millis(2_600);
/// Half a deadline (`MACP_AUTH_SIGN_TIMEOUT_MS`) goes to a token that gives no answer; then the other signs.
const GOES_ON_WITHIN: Duration = Duration::from_millis(2_000);
/// Enough mints to meet every token several times.
const MINTS: usize = 40;

/// Tokens `one` and `two` behind the fault-injecting module.
pub struct Pair {
    pub hsm: SoftHsm,
    /// The second token is reached through another module.
    apart: bool,
}

impl Pair {
    fn new(apart: bool) -> Self {
        let hsm = SoftHsm::without_token();
        hsm.make_token("one");
        hsm.make_token("two");
        Self { hsm, apart }
    }

    /// Keys of their own with one instant: the smaller kid signs, the other stands by.
    pub fn with_a_stand_by(apart: bool) -> Self {
        let pair = Self::new(apart);
        let made = pair
            .launch()
            .arguments(&["keys", "generate", "--alg", "ES256"])
            .run();
        assert_eq!(made.code, Some(0), "{made:?}");
        pair
    }

    /// The same keys on both.
    fn with_replicas(apart: bool, keys: &[Vec<u8>]) -> Self {
        let pair = Self::new(apart);
        for (key, id) in keys.iter().zip(["01", "02", "03"]) {
            pair.hsm.import_to("one", key, "macp-jwt", id);
            pair.hsm.import_to("two", key, "macp-jwt", id);
        }
        pair
    }

    pub fn launch(&self) -> Launch {
        self.launch_on(&self.uris().join(" "))
    }

    /// Those of `one` and `two`.
    fn uris(&self) -> [String; 2] {
        let one = PathBuf::from(fault_module());
        let two = if self.apart {
            self.copied(&one, "libfault_module_TWO.so")
        } else {
            one.clone()
        };
        let pin = self.hsm.pin_file();
        let uri = |token: &str, module: &PathBuf| {
            let (module, pin) = (module.display(), pin.display());
            format!("pkcs11:token={token}?module-path={module}&pin-source={pin}")
        };
        [uri("one", &one), uri("two", &two)]
    }

    fn launch_on(&self, uris: &str) -> Launch {
        self.hsm
            .bare_launch()
            .set("MACP_AUTH_PKCS11_URI", uris)
            .set("MACP_AUTH_STATE_DIR", self.hsm.path("state"))
            .set("MACP_AUTH_KEY_POLICY", "warn")
            .set("FAULT_MODULE_TARGET", self.hsm.module())
            .set("FAULT_MODULE_CONTROL", self.hsm.path("rules"))
            .set("FAULT_MODULE_COUNTS", self.hsm.path("counts"))
            .set("FAULT_MODULE_COUNTS_TWO", self.hsm.path("counts-two"))
            .set(
                "FAULT_MODULE_TARGET_TWO",
                self.copied(self.hsm.module(), "libsofthsm2-two.so"),
            )
            .set("FAULT_MODULE_CONTROL_TWO", self.hsm.path("rules"))
    }

    /// How many faults were injected so far.
    pub fn faults(&self) -> u64 {
        let counted = ["counts", "counts-two"].map(|file| {
            let text = fs::read_to_string(self.hsm.path(file)).unwrap_or_default();
            text.lines()
                .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
                .sum::<u64>()
        });
        counted.iter().sum()
    }

    /// A copy is a library of its own for the loader: nothing of one is initialised or finalised with the other.
    fn copied(&self, library: &Path, name: &str) -> PathBuf {
        let copy = self.hsm.path(name);
        if !copy.exists() {
            fs::copy(library, &copy).unwrap();
        }
        copy
    }

    pub fn rules(&self, rules: &str) {
        let new = self.hsm.path("rules.new");
        fs::write(&new, format!("{rules}\n")).unwrap();
        fs::rename(new, self.hsm.path("rules")).unwrap();
    }
}

/// Both tokens with all their parts.
pub fn both_are_well(service: &Service) -> Option<()> {
    let parts = service.get("/readyz").json()["parts"].clone();
    let parts = parts.as_array().unwrap();
    let well = parts.len() == 9 && parts.iter().all(|part| part["ok"] == true);
    well.then_some(())
}

fn one_is_not_well(service: &Service) -> Option<()> {
    both_are_well(service).is_none().then_some(())
}

/// The key that signs comes first, and that may be either.
fn sorted_kids(service: &Service) -> Vec<String> {
    let mut kids = service.jwks().kids();
    kids.sort();
    kids
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

#[test]
fn an_instance_that_starts_without_its_tokens_serves_the_saved_key_set() {
    let pair = Pair::with_a_stand_by(false);
    let service = pair.launch().start();
    until("both tokens", STARTS_WITHIN, || both_are_well(&service));
    let kids = sorted_kids(&service);
    drop(service);

    fs::rename(pair.hsm.path("tokens"), pair.hsm.path("away")).unwrap();
    let service = pair.launch().start();
    assert_eq!(sorted_kids(&service), kids);
    assert_eq!(service.post(r#"{"sender":"a"}"#).status, 503);
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.get("/readyz?for=jwks").status, 200);

    fs::rename(pair.hsm.path("away"), pair.hsm.path("tokens")).unwrap();
    service.wait_ready();
    assert_eq!(sorted_kids(&service), kids);
}

#[test]
fn a_refused_pin_is_remembered_across_a_restart() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    hsm.write_pin("wrong-0815");
    let launch = || {
        hsm.spied_launch()
            .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
            .secret("wrong-0815")
    };
    let first = launch().start();
    first.must_log("CKR_PIN_INCORRECT");
    drop(first);

    let second = launch().start();
    second.must_log("refused this PIN at");
    assert_eq!(hsm.calls("C_Login"), 1);
}

#[test]
fn a_state_directory_that_others_may_write_stops_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    fs::create_dir(hsm.path("state")).unwrap();
    fs::set_permissions(hsm.path("state"), fs::Permissions::from_mode(0o777)).unwrap();

    let reason = hsm
        .launch()
        .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
        .refused();

    assert!(reason.contains("MACP_AUTH_STATE_DIR"), "{reason}");
    assert!(reason.contains("chmod go-w"), "{reason}");
}

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

#[test]
fn a_service_that_starts_while_a_token_is_away_says_that_it_could_not_look() {
    let pair = Pair::with_a_stand_by(true);
    drop(pair.launch().start());
    pair.rules("C_OpenSession fail CKR_DEVICE_REMOVED token one");

    let service = pair.launch().with_admin().start();

    until("the alarm", STARTS_WITHIN, || {
        let alarms = service.status()["alarms"].clone();
        let mut alarms = alarms.as_array().unwrap().iter();
        let told = |alarm: &&Value| {
            let detail = alarm["detail"].as_str().unwrap();
            alarm["kind"] == "look" && detail.contains("CKR_DEVICE_REMOVED")
        };
        alarms.find(told).map(|_| ())
    });
}
