//! Who writes to the state directory of a running board: one snapshot after the other, never under the board's own lock, because a
//! disk may hang; and whether another service writes there, too.

use std::fs::File;

use parking_lot::Mutex;

use crate::keys::memory::Memory;
use crate::keys::saved;
use crate::state_dir::StateDir;

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: Option<StateDir>,
    written: Mutex<Written>,
}

/// What is known of the keys at one time, to be written.
pub(super) struct Snapshot {
    /// Of two the one with the higher number is the later one.
    pub(super) number: u64,
    pub(super) memory: Memory,
}

/// How it stands with the directory after the last snapshot.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Why it could not be written.
    pub(super) unsaved: Option<String>,
    /// Another process runs a service in the same directory.
    pub(super) is_shared: bool,
}

#[derive(Debug, Default)]
struct Written {
    last: u64,
    /// Held for as long as this lives.
    lock: Option<File>,
}

/// `service.lock`.
const SERVICE: &str = "service";

impl Keeper {
    pub(super) fn new(directory: Option<StateDir>) -> Self {
        Self {
            directory,
            written: Mutex::default(),
        }
    }

    /// Whether another service is in the directory. A restart may overlap, so that is no reason to stop.
    pub(super) fn is_shared(&self) -> bool {
        self.written.lock().is_shared(self.directory.as_ref())
    }

    /// Writes it, unless a later one was written. None: nothing was to be written.
    pub(super) fn save(&self, snapshot: &Snapshot) -> Option<Kept> {
        let directory = self.directory.as_ref()?;
        let mut written = self.written.lock();
        if snapshot.number < written.last {
            return None;
        }
        written.last = snapshot.number;
        let outcome = saved::save(directory, &snapshot.memory);
        Some(Kept {
            unsaved: outcome.err().map(|error| error.to_string()),
            is_shared: written.is_shared(Some(directory)),
        })
    }
}

impl Written {
    fn is_shared(&mut self, directory: Option<&StateDir>) -> bool {
        let Some(directory) = directory.filter(|_| self.lock.is_none()) else {
            return false;
        };
        match directory.try_lock(SERVICE) {
            Ok(lock) => {
                self.lock = lock;
                self.lock.is_none()
            }
            Err(error) => {
                tracing::debug!(%error, "the file system tells nothing of other services");
                false
            }
        }
    }
}
