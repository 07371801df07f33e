//! A file that is made before there is anything to write into it, so that a key is never made whose record has no place.
//!
//! Mode 0600, never one that exists already. Given up, it is taken away again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(in crate::cli::keys) struct Reserved {
    path: PathBuf,
    file: File,
    written: bool,
}

impl Reserved {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create_new(true).write(true).mode(0o600);
        Ok(Self {
            file: file.open(&path)?,
            path,
            written: false,
        })
    }

    pub(in crate::cli::keys) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(mut self, text: &str) -> io::Result<PathBuf> {
        // From here on it stays, whole or not: the key it speaks of is there.
        self.written = true;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        Ok(self.path.clone())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.written {
            fs::remove_file(&self.path).ok();
        }
    }
}
