//! What the process asks of the system: that nobody sees its memory, where PINs live and, with a pinned key, the key itself;
//! as many open files as it may have; and threads, with which it stands and falls.
//!
//! A core dump would write them to a disk, and a debugger of the same user could read them. [`close_memory`] is called
//! once, after the configuration is known and before a secret is used.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::config::{Config, KeySource};
use crate::keys::pkcs11::ffi::exit_now;

/// Whether the memory of this process stays in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// No core dump, no ptrace by programs of the same user.
    Closed,
    /// The operator wants it so: `MACP_AUTH_CORE_DUMPS`.
    OpenAsAsked,
    /// An ephemeral key dies with the process, and nothing else here is secret.
    HoldsNothing,
}

/// The system did not do it, and to go on would be to promise what does not hold.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system does not let core dumps be turned off ({0}), and they would show PIN or key. Set MACP_AUTH_CORE_DUMPS=1 to run with them all the same"
)]
pub struct StaysOpen(#[from] io::Error);

/// Turns core dumps and foreign ptrace off where the process holds a secret, unless the operator wants them.
///
/// # Errors
/// [`StaysOpen`].
pub fn close_memory(config: &Config) -> Result<Memory, StaysOpen> {
    if config.core_dumps {
        return Ok(Memory::OpenAsAsked);
    }
    match config.source {
        KeySource::Ephemeral(_) => return Ok(Memory::HoldsNothing),
        KeySource::Env(_) | KeySource::Pkcs11(_) => {}
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(io::Error::from)?;
    // Also where /proc/sys/kernel/core_pattern names a program: that one ignores the limit.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    Ok(Memory::Closed)
}

/// Lets the process open as many files as the system allows it: a module that leaks descriptors while its token is away must
/// not soon take the listener with it.
///
/// # Errors
/// The system's; the limit is then as it was.
pub fn raise_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// A thread panicked that the service cannot do without. EX_SOFTWARE of sysexits.h.
pub const PANICKED_EXIT_CODE: u8 = 70;

/// A thread that keeps this process right: it finds keys, moves them on, watches or remembers. Where it panics the process leaves,
/// to be started afresh: one that goes on without it would soon sign with the wrong key.
///
/// # Errors
/// The system's, where it gives no thread.
pub fn start_vital(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!(
                thread = name,
                "a thread panicked that the service cannot do without; leaving with exit code 70. This is a defect: please report the lines before"
            );
            exit_now(PANICKED_EXIT_CODE);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Tells the process that is started for it.
    const IT_IS_YOU: &str = "MACP_AUTH_TEST_OF_A_VITAL_THREAD";

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that starts itself tells itself"
    )]
    fn a_vital_thread_that_panics_takes_the_process_with_it() {
        if std::env::var_os(IT_IS_YOU).is_some() {
            start_vital("vital", || panic!("on purpose")).unwrap();
            loop {
                std::thread::park();
            }
        }
        let name = "process::tests::a_vital_thread_that_panics_takes_the_process_with_it";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(IT_IS_YOU, "1")
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(i32::from(PANICKED_EXIT_CODE)));
    }
}
