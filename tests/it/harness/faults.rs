//! A SoftHSM2 behind the fault-injecting module (docs/rehearsal.md), with one P-256 key.
//!
//! ```text
//! service -> libfault_module.so -> libsofthsm2.so
//!               ^ rules   v counts
//! ```

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::precondition::SERVICE;
use super::service::PATIENCE;
use super::softhsm::{PIN, SoftHsm, TOKEN};
use super::{KeyPair, Launch, Service, until};

/// A token that fails on demand.
#[derive(Debug)]
pub struct FaultyHsm {
    pub hsm: SoftHsm,
    /// The user PIN that the token accepts now.
    pin: Mutex<String>,
    pins: AtomicU32,
}

const MINT: &str = r#"{"sender":"agent://faults"}"#;
/// The PINs after [`PIN`] begin so.
pub const NEW_PINS: &str = "user-0042-anders-";

impl FaultyHsm {
    /// With one key.
    pub fn new() -> Self {
        let faulty = Self::without_key();
        faulty.hsm.make(&KeyPair::EC);
        faulty
    }

    pub fn without_key() -> Self {
        Self {
            hsm: SoftHsm::new(),
            pin: Mutex::new(PIN.to_owned()),
            pins: AtomicU32::new(0),
        }
    }

    /// A service on this token.
    pub fn launch(&self) -> Launch {
        self.hsm
            .launch()
            .set("MACP_AUTH_PKCS11_MODULE", fault_module())
            .set("FAULT_MODULE_TARGET", self.hsm.module())
            .set("FAULT_MODULE_CONTROL", self.hsm.path("rules"))
            .set("FAULT_MODULE_COUNTS", self.hsm.path("counts"))
            .secret(NEW_PINS)
    }

    /// One full repair, so that everything that is made once is made.
    pub fn warm_up(&self, service: &Service) {
        self.rules("C_SignInit fail CKR_DEVICE_REMOVED times 1");
        service.post(MINT);
        self.wait_for_a_fault("C_SignInit", 0, "the warming up");
        until("a token after the warming up", PATIENCE, || {
            (service.post(MINT).status == 200).then_some(())
        });
        self.no_rules();
    }

    /// Puts rules in place, at once and with fresh counters.
    pub fn rules(&self, rules: &str) {
        let (new, file) = (self.hsm.path("rules.new"), self.hsm.path("rules"));
        fs::write(&new, format!("{rules}\n")).unwrap();
        fs::rename(new, file).unwrap();
    }

    pub fn no_rules(&self) {
        self.rules("");
    }

    /// How often the service called a function of the module.
    pub fn calls(&self, function: &str) -> u64 {
        self.count(function, 1)
    }

    /// How often a rule was applied to it.
    pub fn applied(&self, function: &str) -> u64 {
        self.count(function, 2)
    }

    /// Until a rule has been applied to a function more often than `before`.
    pub fn wait_for_a_fault(&self, function: &str, before: u64, what: &str) {
        until(what, Duration::from_secs(10), || {
            (self.applied(function) > before).then_some(())
        });
    }

    /// An operator gives the token another PIN. The PIN file stays as it is.
    pub fn change_pin_on_the_token(&self) {
        let mut pin = self.pin.lock().unwrap();
        // Never one that was refused before: the service remembers.
        let new = self.next_pin();
        self.pins.fetch_add(1, Ordering::Relaxed);
        self.tool(&["--login", "--pin", &pin, "--change-pin", "--new-pin", &new]);
        *pin = new;
    }

    /// Another program gives a wrong PIN.
    pub fn give_a_wrong_pin(&self) {
        let output = self.run_tool(&["--login", "--pin", "wrong-9876", "--list-objects"]);
        assert!(!output.status.success());
    }

    /// Another program logs in.
    pub fn give_the_right_pin(&self) {
        let pin = self.pin.lock().unwrap();
        self.tool(&["--login", "--pin", &pin, "--list-objects"]);
    }

    /// The PIN that the token accepts, into the PIN file.
    pub fn write_the_right_pin(&self) {
        self.write_pin(&self.pin.lock().unwrap());
    }

    /// The PIN that the token will be given next, into the PIN file.
    pub fn write_the_next_pin(&self) {
        self.write_pin(&self.next_pin());
    }

    fn next_pin(&self) -> String {
        format!("{NEW_PINS}{}", self.pins.load(Ordering::Relaxed))
    }

    fn write_pin(&self, pin: &str) {
        // Never half of it: the service may read at any moment.
        let (new, file) = (self.hsm.path("pin.new"), self.hsm.pin_file());
        fs::write(&new, format!("{pin}\n")).unwrap();
        fs::set_permissions(&new, fs::metadata(&file).unwrap().permissions()).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn count(&self, function: &str, column: usize) -> u64 {
        let text = fs::read_to_string(self.hsm.path("counts")).unwrap_or_default();
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.first() == Some(&function))
            .map_or(0, |words| words[column].parse().unwrap())
    }

    fn tool(&self, arguments: &[&str]) {
        let output = self.run_tool(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn run_tool(&self, arguments: &[&str]) -> Output {
        Command::new("pkcs11-tool")
            .arg("--module")
            .arg(self.hsm.module())
            .args(["--token-label", TOKEN])
            .args(arguments)
            .env("SOFTHSM2_CONF", self.hsm.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Built with the tests, beside them.
pub fn fault_module() -> OsString {
    let path = Path::new(SERVICE).with_file_name("deps/libfault_module.so");
    assert!(path.is_file(), "no {}", path.display());
    PathBuf::into_os_string(path)
}
