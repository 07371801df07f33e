//! What the process asks of the system: that nobody sees its memory, where PINs live and, with a pinned key, the key itself; and
//! as many open files as it may have.
//!
//! A core dump would write them to a disk, and a debugger of the same user could read them. [`close_memory`] is called
//! once, after the configuration is known and before a secret is used.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::config::{Config, KeySource};

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
