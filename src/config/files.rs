//! What the configuration reads of the files that it names: only to say in one report what would stop the start.
//!
//! PINs are checked wherever the configuration is read. The lists of the operator and the state directory are checked as well
//! where a start is at stake ([`AtStart`]); nothing is made.

use std::collections::BTreeSet;
use std::path::Path;

use super::pin_file::{self, PinFileError};
use super::secret::Pin;
use crate::keys::lists::{ListFiles, Lists, ListsError};
use crate::state_dir::{StateDir, StateDirError};

/// Reads what a configuration names: [`AtStart`], [`pin_file::read`], a closure in tests.
pub trait Files {
    /// # Errors
    /// Why the file gives no PIN.
    fn pin(&self, path: &Path) -> Result<Pin, PinFileError>;

    /// # Errors
    /// Each list that would stop the start.
    fn lists(&self, _files: &ListFiles) -> Result<(), ListsError> {
        Ok(())
    }

    /// # Errors
    /// Why the state directory would stop the start.
    fn state_dir(&self, _path: &Path) -> Result<(), StateDirError> {
        Ok(())
    }
}

impl<F: Fn(&Path) -> Result<Pin, PinFileError>> Files for F {
    fn pin(&self, path: &Path) -> Result<Pin, PinFileError> {
        self(path)
    }
}

/// Everything that a start needs.
#[derive(Debug, Clone, Copy)]
pub struct AtStart;

impl Files for AtStart {
    fn pin(&self, path: &Path) -> Result<Pin, PinFileError> {
        pin_file::read(path)
    }

    fn lists(&self, files: &ListFiles) -> Result<(), ListsError> {
        // What an earlier life remembers only makes a start more lenient where a file was emptied, and no empty list is a fault here.
        Lists::read(files, &BTreeSet::new()).map(drop)
    }

    fn state_dir(&self, path: &Path) -> Result<(), StateDirError> {
        StateDir::check(path)
    }
}
