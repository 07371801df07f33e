//! SoftHSM2 behind `p11-kit server`, as network HSMs are behind theirs: the token lives in another process, which can be
//! killed, started again, stopped and continued.
//!
//! ```text
//! service -> p11-kit-client.so -> socket -> p11-kit server -> libsofthsm2.so
//! ```

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::load::{Claims, Load, Mint};
use crate::harness::precondition::library;
use crate::harness::softhsm::TOKEN;
use crate::harness::vitals::Vitals;
use crate::harness::{KeyPair, Service, SoftHsm, until};

/// From the fault's end to the first token.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// No wait for anything; a busy machine is slow.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Longer than the longest pause between two tries.
const LONGER_THAN_A_PAUSE: Duration = Duration::from_millis(2_600);

/// The server with all processes that it makes.
#[derive(Debug)]
struct Daemon {
    child: Child,
    socket: PathBuf,
}

/// A service on the server, and a load on it.
struct Scene {
    before: Vitals,
    load: Load,
    service: Service,
    daemon: Daemon,
    hsm: SoftHsm,
}

impl Daemon {
    fn start(hsm: &SoftHsm) -> Self {
        let socket = hsm.path("p11-kit.socket");
        // One that was killed leaves it behind.
        let _ = fs::remove_file(&socket);
        let child = Command::new("p11-kit")
            .args(["server", "--foreground", "--name"])
            .arg(&socket)
            .arg("--provider")
            .arg(hsm.module())
            .arg(format!("pkcs11:token={TOKEN}"))
            .env("SOFTHSM2_CONF", hsm.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let daemon = Self { child, socket };
        until("the socket", NOTICED_WITHIN, || {
            daemon.socket.exists().then_some(())
        });
        daemon
    }

    /// To the process and those that it forked, one for each client.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill")
            .args(["-s", name, "--", &group])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
        self.signal("KILL");
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
    }
}

impl Scene {
    fn new() -> Self {
        let hsm = SoftHsm::new();
        hsm.make(&KeyPair::EC);
        let daemon = Daemon::start(&hsm);
        let service = hsm
            .launch()
            .set("MACP_AUTH_PKCS11_MODULE", client())
            .set("P11_KIT_SERVER_ADDRESS", address(&daemon.socket))
            .start();
        service.wait_ready();
        service.mint(r#"{"sender":"a"}"#);
        let before = Vitals::at_rest(&service);
        let load = Load::start(&service);
        load.wait_for_a_token(RESUMES_WITHIN, "the first token");
        Self {
            before,
            load,
            service,
            daemon,
            hsm,
        }
    }

    fn end(self, what: &str) -> Claims {
        let claims = self.load.claims(what);
        let after = self.before.assert_kept(&self.service, what);
        eprintln!("{what}: {claims:?}; before {}, after {after}", self.before);
        claims
    }
}

#[test]
fn a_daemon_that_is_killed_and_comes_back() {
    let mut scene = Scene::new();

    for round in ["killed once", "killed again"] {
        scene.daemon.kill();
        scene.load.wait_for_a_refusal(NOTICED_WITHIN, round);
        scene.daemon = Daemon::start(&scene.hsm);
        let took = scene.load.wait_for_a_token(RESUMES_WITHIN, round);
        eprintln!("{round}: a token {took:?} after the daemon's start");
    }

    scene.end("a killed daemon");
}

#[test]
fn a_daemon_that_is_restarted_at_once() {
    let mut scene = Scene::new();

    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.hsm);
    scene.load.wait_for_a_token(RESUMES_WITHIN, "restarted");

    scene.end("a restarted daemon");
}

#[test]
fn a_daemon_that_is_stopped_and_goes_on() {
    let scene = Scene::new();

    let since = Instant::now();
    scene.daemon.signal("STOP");
    let known = until("refused at once", NOTICED_WITHIN, || {
        let mints = scene.load.mints_since(since);
        mints
            .into_iter()
            .find(|mint| !mint.ok && mint.took() < AT_ONCE)
    });
    let since = known.ended;
    let mints = until("a dozen quick refusals", NOTICED_WITHIN, || {
        let mints = scene.load.mints_since(since);
        (since.elapsed() > LONGER_THAN_A_PAUSE && mints.len() >= 12).then_some(mints)
    });
    assert!(mints.iter().all(|mint| !mint.ok));
    let slowest = mints.iter().map(Mint::took).max().unwrap();
    assert!(slowest < AT_ONCE, "{slowest:?}");
    let asked = Instant::now();
    assert_eq!(scene.service.get("/healthz").status, 200);
    assert_eq!(scene.service.get("/readyz").status, 503);
    assert!(asked.elapsed() < 2 * AT_ONCE, "{:?}", asked.elapsed());

    scene.daemon.signal("CONT");
    let took = scene.load.wait_for_a_token(RESUMES_WITHIN, "continued");
    eprintln!("refused within {slowest:?} while stopped; a token {took:?} after it went on");

    scene.end("a stopped daemon");
}

fn client() -> PathBuf {
    library("pkcs11/p11-kit-client.so").expect("p11-kit-client.so: run softhsm/test.sh")
}

fn address(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}
