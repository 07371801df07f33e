//! One running service: started with exactly the variables given, stopped when dropped.
//!
//! Its log is shown only when the test fails, and no secret that was named may stand in it.

use std::ffi::OsString;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::captured::Captured;
use super::http::{Answer, Connection};
use super::jwt::{Jwks, Token};
use super::precondition::{SERVICE, tools};
use super::until;

/// Long enough for a machine that does much else; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    arguments: Vec<String>,
    variables: Vec<(String, OsString)>,
    secrets: Vec<String>,
    soft_open_files: Option<u32>,
}

/// A service that listens.
#[derive(Debug)]
pub struct Service {
    child: Child,
    stdout: Arc<Captured>,
    stderr: Arc<Captured>,
    secrets: Vec<String>,
    port: u16,
}

/// A command that ended by itself.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Launch {
    pub fn new() -> Self {
        tools();
        Self::default()
    }

    /// A software key of this algorithm.
    pub fn ephemeral(algorithm: &str) -> Self {
        Self::new().set("MACP_AUTH_SIGNING_ALG", algorithm)
    }

    pub fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With an admin listener on a port of the system's choice.
    pub fn with_admin(self) -> Self {
        self.set("MACP_AUTH_ADMIN_ADDR", "localhost:0")
    }

    pub fn unset(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        self
    }

    /// Must never be written to stdout or stderr.
    pub fn secret(mut self, text: &str) -> Self {
        self.secrets.push(text.to_owned());
        self
    }

    /// Starts the service on a port of the system's choice and waits for its five lines.
    pub fn start(self) -> Service {
        let launch = if self.variables.iter().any(|(name, _)| name == "PORT") {
            self
        } else {
            self.set("PORT", "0")
        };
        let mut child = launch.command().spawn().unwrap();
        let stdout = Captured::of(child.stdout.take().unwrap());
        let stderr = Captured::of(child.stderr.take().unwrap());
        let mut service = Service {
            child,
            stdout,
            stderr,
            secrets: launch.secrets,
            port: 0,
        };
        let lines = service.stdout.wait_for(PATIENCE, |text| {
            let lines: Vec<_> = text.split_inclusive('\n').collect();
            (lines.len() >= 5).then(|| lines.concat())
        });
        let Some(lines) = lines else {
            panic!("no five start lines; stdout: {:?}", service.stdout.text());
        };
        service.port = lines
            .strip_prefix("[auth-service] listening on port ")
            .and_then(|rest| rest.lines().next())
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("the first line names no port: {lines:?}"));
        service
    }

    /// Runs a command to its end.
    pub fn run(self) -> Refusal {
        let mut child = self.command().spawn().unwrap();
        let stdout = Captured::of(child.stdout.take().unwrap());
        let stderr = Captured::of(child.stderr.take().unwrap());
        let status = ended(&mut child, PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "did not end by itself; stdout: {:?}, stderr: {:?}",
                stdout.text(),
                stderr.text()
            )
        });
        let refusal = Refusal {
            code: status.code(),
            stdout: stdout.whole(),
            stderr: stderr.whole(),
        };
        refuse_secrets(&self.secrets, &[&refusal.stdout, &refusal.stderr]);
        refusal
    }

    /// Runs a command to its end whose stdout is this.
    pub fn run_into(self, stdout: impl Into<Stdio>) -> Refusal {
        let output = self.command().stdout(stdout).output().unwrap();
        let refusal = Refusal {
            code: output.status.code(),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        refuse_secrets(&self.secrets, &[&refusal.stderr]);
        refusal
    }

    /// Runs a service that must not start, and gives what it says on stderr.
    pub fn refused(self) -> String {
        let refusal = self.set("PORT", "0").run();
        assert_eq!(
            refusal.code,
            Some(1),
            "exit code; stderr: {}",
            refusal.stderr
        );
        assert_eq!(refusal.stdout, "", "stdout of a start failure");
        assert!(!refusal.stderr.contains("panicked"), "{}", refusal.stderr);
        refusal.stderr
    }

    /// As [`Launch::refused`], with a `PORT` of the test's own.
    pub fn refused_on_its_port(self) -> String {
        let refusal = self.run();
        assert_eq!(
            refusal.code,
            Some(1),
            "exit code; stderr: {}",
            refusal.stderr
        );
        assert_eq!(refusal.stdout, "", "stdout of a start failure");
        refusal.stderr
    }

    /// The soft limit of open files that the service is started with.
    pub const fn with_soft_open_files(mut self, limit: u32) -> Self {
        self.soft_open_files = Some(limit);
        self
    }

    fn command(&self) -> Command {
        let mut command = match self.soft_open_files {
            None => Command::new(SERVICE),
            Some(limit) => {
                let mut limited = Command::new("prlimit");
                limited.args([&format!("--nofile={limit}:"), SERVICE]);
                limited
            }
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

impl Service {
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.port)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// One request on a connection of its own.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.connect().request(method, path, headers, body)
    }

    /// `POST /tokens` with a JSON body.
    pub fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.connect().post(body)
    }

    /// Mints and verifies under the published keys.
    pub fn mint(&self, body: &str) -> Token {
        let answer = self.post(body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        self.jwks().verify(&token)
    }

    pub fn jwks(&self) -> Jwks {
        let answer = self.get("/.well-known/jwks.json");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Jwks::parse(&answer.text())
    }

    pub fn jwks_url(&self) -> String {
        format!("http://127.0.0.1:{}/.well-known/jwks.json", self.port)
    }

    /// Until `/readyz` answers 200.
    pub fn wait_ready(&self) {
        until("ready to mint", PATIENCE, || {
            (self.get("/readyz").status == 200).then_some(())
        });
    }

    /// Waits for the log to say this: what is written arrives a little later.
    pub fn must_log(&self, text: &str) {
        self.stderr
            .wait_for(Duration::from_secs(10), |log| {
                log.contains(text).then_some(())
            })
            .unwrap_or_else(|| panic!("{text:?} is not said: {}", self.stderr.text()));
    }

    /// The port of the admin listener, as the log tells it.
    pub fn admin_port(&self) -> u16 {
        let said = "admin listener on 127.0.0.1:";
        let port = |log: &str| {
            let (_, rest) = log.split_once(said)?;
            let end = rest.find(|char: char| !char.is_ascii_digit())?;
            rest[..end].parse().ok()
        };
        let port = self.stderr.wait_for(PATIENCE, port);
        port.unwrap_or_else(|| panic!("no admin listener: {}", self.stderr.text()))
    }

    /// One request to the admin listener.
    pub fn ask_admin(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        Connection::open(self.admin_port()).request("GET", path, headers, b"")
    }

    /// `GET /status` as JSON.
    pub fn status(&self) -> serde_json::Value {
        let answer = self.ask_admin("/status", &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Stops the service; all that it ever logged.
    pub fn log_to_its_end(&mut self) -> String {
        self.terminate();
        self.stderr.whole()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn wait_for_stdout(&self, text: &str) {
        self.stdout
            .wait_for(PATIENCE, |out| out.contains(text).then_some(()))
            .unwrap_or_else(|| panic!("stdout never said {text:?}: {}", self.stdout()));
    }

    /// Sends a signal by name: TERM, INT.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args([
                "-c",
                "kill -s \"$0\" \"$1\"",
                name,
                &self.child.id().to_string(),
            ])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// The exit status and how long it took to come.
    pub fn wait_for_exit(&mut self, within: Duration) -> (ExitStatus, Duration) {
        let since = Instant::now();
        let status = ended(&mut self.child, within)
            .unwrap_or_else(|| panic!("still running after {within:?}"));
        (status, since.elapsed())
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit(Duration::from_secs(20)).0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let ended = ended.map_or_else(|| "still running".to_owned(), |how| how.to_string());
            eprintln!(
                "--- the service ({ended}), its stdout\n{}--- its log\n{}---",
                self.stdout.text(),
                self.stderr.text()
            );
        } else {
            let (stdout, log) = (self.stdout.whole(), self.stderr.whole());
            refuse_secrets(&self.secrets, &[&stdout, &log]);
            assert!(!log.contains("panicked at"), "the service panicked: {log}");
        }
    }
}

fn refuse_secrets(secrets: &[String], outputs: &[&str]) {
    for secret in secrets {
        for output in outputs {
            assert!(
                !output.contains(secret.as_str()),
                "the secret {secret:?} was written: {output}"
            );
        }
    }
}

fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
