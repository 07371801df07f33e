//! `doctor`: looks at everything that signing needs, from the outside in, and says what to do about what is wrong.
//!
//! ```text
//! configuration -> memory -> PIN guard -> each token -> the key that signs -> clock
//!   files -> module -> slots -> token (no login yet) -> one login -> keys -> sessions -> signatures
//! ```
//!
//! Nothing is changed on a token. The checks run on a thread of their own, because a module may hang: then the check that hangs is
//! the finding, and the command ends all the same.

mod finding;
mod judgement;
mod software;
mod token;
mod tokens;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use self::finding::{Finding, Findings, State};
use self::judgement::Entry;
use super::preview::board_config;
use super::{DoctorArguments, Outside};
use crate::clock::UnixSeconds;
use crate::config::{Config, KeySource, pin_file};
use crate::keys::BoardConfig;
use crate::keys::pkcs11::ffi;
use crate::process::{Memory, close_memory};

/// A check that is silent for so long hangs.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// What the thread that checks says.
enum Said {
    /// This check begins, or goes on.
    Checking(&'static str),
    Found(Finding),
}

/// The end of the checks: what has been found forbids or makes idle all that would follow.
struct Enough;

/// To the thread that writes the answer.
struct Reporter {
    said: Sender<Said>,
    /// The token whose checks these are, where there are several.
    token: Option<String>,
}

/// What the thread that checks is to do, beside the configuration.
#[derive(Clone, Copy)]
struct Orders {
    signatures: usize,
    clear_pin_guard: bool,
    sign_timeout: Duration,
}

/// Runs all checks and prints what they found.
pub(super) fn run(outside: &mut Outside<'_>, arguments: &DoctorArguments) -> ExitCode {
    let mut findings = Findings::default();
    let hung = match configuration(outside, &mut findings) {
        Some(config) => {
            let orders = Orders {
                signatures: usize::from(arguments.signatures),
                clear_pin_guard: arguments.clear_pin_guard,
                sign_timeout: config.sign_timeout,
            };
            let heard = checks(board_config(&config, None), config.source, orders);
            watch(&heard, &mut findings, LONGEST_SILENCE)
        }
        None => false,
    };
    findings.push(judgement::clock(UnixSeconds::now()));
    let written = print(outside, arguments.json, &findings);
    let code = outside.finish(written.map(|()| findings.exit_code()));
    if hung {
        // The module's destructors would wait for the call that hangs.
        ffi::exit_now(findings.exit_number());
    }
    code
}

fn print(outside: &mut Outside<'_>, as_json: bool, findings: &Findings) -> io::Result<()> {
    let text = if as_json {
        findings.json().map_err(io::Error::other)?
    } else {
        findings.table()
    };
    outside.stdout.write_all(text.as_bytes())
}

/// None: nothing else can be checked.
fn configuration(outside: &Outside<'_>, findings: &mut Findings) -> Option<Config> {
    const CHECK: &str = "configuration";
    let (config, problems, warnings) = match outside.parsed(&pin_file::read) {
        Ok(parsed) => (Some(parsed.config), Vec::new(), parsed.warnings),
        Err(report) => (None, report.problems, report.warnings),
    };
    for problem in &problems {
        let otherwise = "See `macp-auth-service config` for what is set";
        findings.push(Finding::told(CHECK, State::Failed, problem, otherwise));
    }
    for warning in &warnings {
        let otherwise = "Set or unset the variable as the warning says";
        findings.push(Finding::told(CHECK, State::Warning, warning, otherwise));
    }
    let config = config?;
    if warnings.is_empty() {
        findings.push(Finding::ok(CHECK, "complete, without contradictions"));
    }
    findings.push(memory(&config));
    Some(config)
}

/// Before the first secret is used.
fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    match close_memory(config) {
        Ok(Memory::Closed) => Finding::ok(CHECK, "core dumps and foreign debuggers are off"),
        Ok(Memory::HoldsNothing) => Finding::ok(CHECK, "no secret that outlives the process"),
        Ok(Memory::OpenAsAsked) => Finding::warning(
            CHECK,
            "MACP_AUTH_CORE_DUMPS=1: core dumps and debuggers may show PIN and key",
            "Unset MACP_AUTH_CORE_DUMPS where nothing is being debugged",
        ),
        Err(stays_open) => Finding::told(CHECK, State::Failed, &stays_open, ""),
    }
}

/// Starts the checks of the key source; the channel closes after the last.
fn checks(board: BoardConfig, source: KeySource, orders: Orders) -> Receiver<Said> {
    let (said, heard) = unbounded();
    let reporter = Reporter::new(said);
    let spawned = std::thread::Builder::new()
        .name("doctor".to_owned())
        .spawn(move || {
            // How far the checks came stands in what they said.
            let (Ok(()) | Err(Enough)) = match source {
                KeySource::Pkcs11(config) => tokens::check(board, &config, orders, &reporter),
                KeySource::Env(key) => software::check(&key, orders, &reporter),
                KeySource::Ephemeral(algorithm) => {
                    software::check_ephemeral(algorithm, orders, &reporter)
                }
            };
        });
    if let Err(cause) = spawned {
        let (said, heard) = unbounded();
        let finding = Finding::failed(
            "thread",
            format!("the system gives no thread: {cause}"),
            "Raise the limit of processes of this user (ulimit -u)",
        );
        Reporter::new(said).found(finding);
        return heard;
    }
    heard
}

/// Gathers what is found; true if a check hangs.
fn watch(heard: &Receiver<Said>, findings: &mut Findings, patience: Duration) -> bool {
    let mut checking = "checks";
    loop {
        match heard.recv_timeout(patience) {
            Ok(Said::Checking(check)) => checking = check,
            Ok(Said::Found(finding)) => findings.push(finding),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                findings.push(Finding::failed(
                    checking,
                    format!("the module has not answered for {} s", patience.as_secs()),
                    "Look at the HSM, its daemon and the way to it; restart what hangs",
                ));
                return true;
            }
        }
    }
}

impl Reporter {
    const fn new(said: Sender<Said>) -> Self {
        Self { said, token: None }
    }

    /// The same, for the checks of one of several tokens.
    fn about(&self, token: String) -> Self {
        Self {
            said: self.said.clone(),
            token: Some(token),
        }
    }

    fn checking(&self, check: &'static str) {
        self.say(Said::Checking(check));
    }

    fn found(&self, finding: Finding) {
        self.say(Said::Found(finding.on(self.token.clone())));
    }

    fn say(&self, said: Said) {
        // Nobody listens any more after a hang.
        self.said.send(said).ok();
    }

    /// The value, or the failure as the last finding.
    fn expect<T, E: std::fmt::Display>(
        &self,
        check: &'static str,
        result: Result<T, E>,
        otherwise: &str,
    ) -> Result<T, Enough> {
        result.map_err(|error| {
            self.found(Finding::told(check, State::Failed, &error, otherwise));
            Enough
        })
    }
}

/// The file itself, without links.
fn entry(path: &Path) -> io::Result<Entry> {
    let metadata = path.metadata()?;
    Ok(Entry {
        path: path.to_owned(),
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
        directory: metadata.is_dir(),
    })
}

/// The file and every directory above it, after links have been followed.
fn chain(path: &Path) -> io::Result<Vec<Entry>> {
    path.canonicalize()?.ancestors().map(entry).collect()
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_hangs_is_the_finding_and_the_command_ends() {
        let (said, heard) = unbounded();
        let reporter = Reporter::new(said);
        let mut findings = Findings::default();

        reporter.found(Finding::ok("module", "loaded"));
        reporter.checking("login");
        let hung = watch(&heard, &mut findings, Duration::from_millis(1));

        assert!(hung);
        assert_eq!(findings.exit_number(), 1);
        assert!(
            findings.table().contains("failed   login"),
            "{}",
            findings.table()
        );
    }

    #[test]
    fn the_last_check_ends_the_waiting() {
        let (said, heard) = unbounded();
        let mut findings = Findings::default();

        Reporter::new(said).found(Finding::ok("module", "loaded"));

        assert!(!watch(&heard, &mut findings, LONGEST_SILENCE));
        assert_eq!(findings.exit_number(), 0);
    }
}
