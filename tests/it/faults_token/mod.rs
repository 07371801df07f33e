//! One token that fails in the ways that tokens do, while mints go on. The claims that hold of every answer are those of
//! `harness/load.rs`; here stands what else is promised: how soon it is over, and what it cost.

mod objects;
mod reads;
mod sessions;
mod slow;

use std::time::{Duration, Instant};

use crate::harness::faults::FaultyHsm;
use crate::harness::load::{Claims, Load, Mint};
use crate::harness::vitals::Vitals;
use crate::harness::{Service, Token, until};

/// From the fault's end to the first token.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
/// From the fault to the first refusal, where nothing else is promised.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// Longer than the longest pause between two tries.
const LONGER_THAN_A_PAUSE: Duration = Duration::from_millis(2_600);
/// The deadline of a mint, and the way there and back.
const DEADLINE: Duration = Duration::from_millis(3_500);
const PATIENCE: Duration = Duration::from_secs(30);

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
