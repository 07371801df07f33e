//! A scenario over a SoftHSM2 of its own, in a process of its own: SoftHSM2 reads its configuration once per process,
//! and the fault module its environment.
//!
//! test --starts itself again with FAULT_SCENARIO--> the same test, which now runs its scenario
//!
//! The module under test lies beside the test: cargo builds all forms of a library before the tests of its package.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

pub struct Rig {
    dir: PathBuf,
}

/// A key pair on a token.
#[derive(Clone, Copy)]
pub struct Pair {
    pub public: ObjectHandle,
    pub private: ObjectHandle,
}

/// Runs a scenario in a child. Gives what the child wrote to stderr, in the parent alone.
pub fn scenario(name: &str, body: fn(&Rig)) -> Option<String> {
    scenario_with(name, &[], body)
}

/// The same, with more variables; an empty value takes one away.
pub fn scenario_with(name: &str, more: &[(&str, &str)], body: fn(&Rig)) -> Option<String> {
    if let Some(dir) = env::var_os("FAULT_SCENARIO") {
        body(&Rig { dir: dir.into() });
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("tokens")).unwrap();
    let conf = format!("directories.tokendir = {}\n", path("tokens").display());
    fs::write(path("softhsm2.conf"), conf).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("FAULT_SCENARIO", dir.path())
        .env("SOFTHSM2_CONF", path("softhsm2.conf"))
        .env("FAULT_MODULE_TARGET", softhsm())
        .env("FAULT_MODULE_CONTROL", path("control"))
        .env("FAULT_MODULE_COUNTS", path("counts"))
        .envs(more.iter().copied())
        .output()
        .unwrap();
    Some(passed(name, output))
}

fn passed(name: &str, output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test {name}\n{stdout}");
    stderr
}

/// SoftHSM2 where distributions put it.
pub fn softhsm() -> PathBuf {
    [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib64/libsofthsm2.so",
    ]
    .iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .expect("these tests need SoftHSM2 (Debian: apt-get install softhsm2)")
}

/// The module under test.
pub fn module() -> PathBuf {
    let path = env::current_exe()
        .unwrap()
        .with_file_name("libfault_module.so");
    assert!(path.exists(), "{} is missing", path.display());
    path
}

impl Rig {
    /// The module, initialised.
    pub fn hsm(&self) -> Pkcs11 {
        let hsm = Pkcs11::new(module()).unwrap();
        hsm.initialize(threads()).unwrap();
        hsm
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The module with one token and one session that is logged in.
    pub fn session(&self) -> (Pkcs11, Slot, Session) {
        let hsm = self.hsm();
        let slot = self.token(&hsm, "main");
        let session = logged_in(&hsm, slot);
        (hsm, slot, session)
    }

    /// Makes a token.
    pub fn token(&self, hsm: &Pkcs11, label: &str) -> Slot {
        let slots = hsm.get_all_slots().unwrap();
        let blank = |slot: &Slot| !hsm.get_token_info(*slot).unwrap().token_initialized();
        let slot = slots.into_iter().find(blank).unwrap();
        hsm.init_token(slot, &pin(), label).unwrap();
        let slot = find(hsm, label);
        let session = hsm.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&pin())).unwrap();
        session.init_pin(&pin()).unwrap();
        slot
    }

    /// Replaces the control file as tests and scripts should: no caller sees half of it.
    pub fn say(&self, rules: &str) {
        fs::write(self.path("draft"), rules).unwrap();
        fs::rename(self.path("draft"), self.path("control")).unwrap();
    }

    pub fn calls(&self, function: &str) -> u64 {
        count(&self.path("counts"), function, 1)
    }

    pub fn faults(&self, function: &str) -> u64 {
        count(&self.path("counts"), function, 2)
    }
}

pub fn threads() -> CInitializeArgs {
    CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)
}

pub fn pin() -> AuthPin {
    AuthPin::new("1234".into())
}

pub fn find(hsm: &Pkcs11, label: &str) -> Slot {
    let slots = hsm.get_slots_with_token().unwrap();
    let named = |slot: &Slot| hsm.get_token_info(*slot).unwrap().label() == label;
    slots.into_iter().find(named).unwrap()
}

pub fn logged_in(hsm: &Pkcs11, slot: Slot) -> Session {
    let session = hsm.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&pin())).unwrap();
    session
}

pub fn pair(session: &Session) -> Pair {
    // The object identifier of P-256.
    let curve = vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::EcParams(curve),
    ];
    let private = [Attribute::Token(true), Attribute::Sign(true)];
    let (public, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
    Pair { public, private }
}

pub fn sign(session: &Session, pair: Pair) -> Result<Vec<u8>, Error> {
    session.sign(&Mechanism::Ecdsa, pair.private, &HASH)
}

pub fn verifies(session: &Session, pair: Pair, signature: &[u8]) -> bool {
    let verified = session.verify(&Mechanism::Ecdsa, pair.public, &HASH, signature);
    verified.is_ok()
}

/// The code that a call failed with.
pub fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> RvError {
    match answer {
        Err(Error::Pkcs11(code, _)) => code,
        other => panic!("no answer of the module: {other:?}"),
    }
}

fn count(path: &Path, function: &str, column: usize) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let mut rows = text.lines().map(|line| line.split_whitespace());
    let row = rows.find(|row| row.clone().next() == Some(function));
    row.unwrap().nth(column).unwrap().parse().unwrap()
}

const HASH: [u8; 32] = [0x5a; 32];
