//! The command line: arguments in, one command run, an exit code out.
//!
//! Beside main.rs the only part that speaks to the outside, and even here it comes in as a value ([`Outside`]).
//! Answers go to stdout, everything else to stderr; a reader that went away is no panic.

mod columns;
mod config;
mod doctor;
mod hang;
mod healthcheck;
pub mod keys;
mod opened;
mod preview;
pub mod serve;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::keys::KeysCommand;
use crate::config::{Environment, Files, Parsed, Report, parse};
use crate::process::close_memory;
use crate::shown::shown;

const DOCTOR_EXIT_CODES: &str = "\
Nothing is changed on a token. At most one login each; none where the token says that another wrong PIN would lock it, and
none with a PIN that was refused before, unless --clear-pin-guard says so.

Exit codes:
  0  all is well
  1  something failed
  2  warnings alone";

/// What a command sees of the machine.
pub struct Outside<'a> {
    pub environment: Environment,
    /// Processor cores this process may use.
    pub cores: usize,
    pub stdout: &'a mut (dyn Write + Send),
    pub stderr: &'a mut (dyn Write + Send),
}

/// Did what was asked.
pub const DONE: ExitCode = ExitCode::SUCCESS;

/// Could not start, or did not succeed.
pub fn failed() -> ExitCode {
    ExitCode::from(1)
}

const EXIT_CODES: &str = "\
Configuration comes from the environment: `macp-auth-service config` shows every variable.

Exit codes:
  0  done; a service that was told to stop, and did
  1  could not start, or the command failed; the reason is on stderr
  2  the command line is wrong; from `doctor`: warnings alone
  75 a call into a PKCS#11 module does not come back, and no token signs: start again; from `keys` and `jwks`: look at the HSM";

/// Mints short-lived JWTs for MACP agents with a key that never leaves its PKCS#11 token
#[derive(Debug, Parser)]
#[command(name = "macp-auth-service", version, after_help = EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (without a command, too)
    Serve,
    /// The signing keys on the tokens: show, plan, make, retire
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print the JWKS, for verifiers that take it inline
    Jwks,
    /// Ask a running service whether it is alive
    Healthcheck {
        /// What to ask, over plain http [default: /healthz on PORT and MACP_AUTH_BIND_ADDR]
        url: Option<String>,
    },
    /// Check everything that signing needs, and say what to do about what is wrong
    #[command(after_help = DOCTOR_EXIT_CODES)]
    Doctor(DoctorArguments),
    /// Show every variable with its default and current value, then all problems; secrets are hidden
    Config(ConfigArguments),
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
struct DoctorArguments {
    /// How many test signatures to time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    signatures: u16,
    /// Forget which PINs were refused, and log in even where one more wrong PIN locks the token
    #[arg(long)]
    clear_pin_guard: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
struct ConfigArguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Print the documentation of all variables (docs/configuration.md) instead
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command that `arguments` name; the first is the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, outside: &mut Outside<'_>) -> ExitCode {
    let command = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line.command.unwrap_or(Command::Serve),
        Err(other) => {
            let answer = print_clap(&other, outside);
            return outside.finish(answer);
        }
    };
    match command {
        Command::Serve => serve::run(outside),
        Command::Keys { command } => keys::run(outside, command),
        Command::Jwks => keys::jwks(outside),
        Command::Healthcheck { url } => healthcheck::run(outside, url.as_deref()),
        Command::Doctor(arguments) => doctor::run(outside, &arguments),
        Command::Config(arguments) => {
            let answer = config::run(outside, &arguments);
            outside.finish(answer)
        }
    }
}

/// Help and version are answers, a wrong command line is not.
fn print_clap(message: &clap::Error, outside: &mut Outside<'_>) -> io::Result<ExitCode> {
    let text = message.render();
    if message.use_stderr() {
        write!(outside.stderr, "{text}")?;
        return Ok(ExitCode::from(2));
    }
    write!(outside.stdout, "{text}")?;
    Ok(DONE)
}

impl Outside<'_> {
    /// The configuration, with the memory of the process closed as it says; None after what is wrong has been written
    /// to stderr.
    pub fn configuration(&mut self, files: &dyn Files) -> Option<Parsed> {
        let parsed = self.parsed(files);
        self.closed(parsed)
    }

    fn closed(&mut self, parsed: Result<Parsed, Report>) -> Option<Parsed> {
        match parsed {
            Ok(parsed) => match close_memory(&parsed.config) {
                Ok(_) => Some(parsed),
                Err(stays_open) => {
                    self.complain(&stays_open);
                    None
                }
            },
            Err(report) => {
                self.complain(&report);
                None
            }
        }
    }

    fn parsed(&self, files: &dyn Files) -> Result<Parsed, Report> {
        parse(&self.environment, files, self.cores)
    }

    /// One message on stderr.
    pub fn complain(&mut self, message: &dyn fmt::Display) {
        complain_to(self.stderr, message);
    }

    /// Writes the answer of a command, or its error.
    pub fn answer<E: fmt::Display>(&mut self, answer: Result<String, E>) -> ExitCode {
        match answer {
            Ok(text) => {
                let written = self.stdout.write_all(text.as_bytes()).map(|()| DONE);
                self.finish(written)
            }
            Err(error) => {
                self.complain(&error);
                failed()
            }
        }
    }

    /// As [`Self::answer`], of a command that has changed something: what it did is told on stderr where stdout takes nothing, even
    /// to a reader that left.
    pub fn answer_of_change<E: fmt::Display>(&mut self, answer: Result<String, E>) -> ExitCode {
        let Ok(text) = answer else {
            return self.answer(answer);
        };
        let written = self.stdout.write_all(text.as_bytes());
        match written.and_then(|()| self.stdout.flush()) {
            Ok(()) => DONE,
            Err(error) => {
                self.complain(&format_args!(
                    "the command was carried out; do not repeat it. Its answer cannot be written to stdout ({error}). It is:\n{}",
                    text.trim_end()
                ));
                failed()
            }
        }
    }

    /// The exit code of a command that wrote an answer. A reader that left early (`| head`) is told nothing.
    pub fn finish(&mut self, answer: io::Result<ExitCode>) -> ExitCode {
        match answer.and_then(|code| self.stdout.flush().map(|()| code)) {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => failed(),
            Err(error) => {
                self.complain(&format_args!("cannot write the answer to stdout: {error}"));
                failed()
            }
        }
    }
}

/// If nobody reads that either, the exit code has to do. Labels and texts of tokens may stand in it; several lines are its own.
fn complain_to(stderr: &mut dyn Write, message: &dyn fmt::Display) {
    let message = message.to_string();
    let lines: Vec<_> = message.split('\n').map(shown).collect();
    drop(writeln!(stderr, "macp-auth-service: {}", lines.join("\n")));
}

impl fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("environment", &self.environment)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
