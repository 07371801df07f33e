//! The control file, read anew at every call, so that a changed file counts from the very next call on.
//!
//! Reading a few lines costs microseconds; times, sizes and inode numbers of files cannot tell two quick changes apart.
//! A file that is put in place again, even with the same words, starts the counters of its rules afresh. A missing file
//! is a file without rules.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::report;
use crate::rules::RuleSet;

/// The control file and what it said last.
#[derive(Debug)]
pub struct Control {
    path: Option<PathBuf>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    version: Option<Version>,
    rules: Arc<RuleSet>,
    /// What was complained about before: once is enough.
    reported: HashSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: (u64, u64),
    modified: (i64, i64),
    text: Vec<u8>,
}

impl Control {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            last: Mutex::default(),
        }
    }

    /// The rules of this moment.
    pub fn rules(&self) -> Arc<RuleSet> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else {
            return Arc::clone(&last.rules);
        };
        let version = match Version::read(path) {
            Ok(version) => version,
            Err(error) => {
                last.report(format!("cannot read {}: {error}", path.display()));
                None
            }
        };
        if version != last.version {
            let text = version.as_ref().map(|version| version.text.as_slice());
            let rules = RuleSet::parse(&String::from_utf8_lossy(text.unwrap_or_default()));
            for complaint in rules.complaints() {
                last.report(complaint.clone());
            }
            last.rules = Arc::new(rules);
            last.version = version;
        }
        Arc::clone(&last.rules)
    }
}

impl Last {
    fn report(&mut self, complaint: String) {
        // A file that is rewritten for ever with ever new mistakes must not fill the memory.
        if self.reported.len() < MOST_REPORTS && !self.reported.contains(&complaint) {
            report(&complaint);
            self.reported.insert(complaint);
        }
    }
}

impl Version {
    fn read(path: &Path) -> io::Result<Option<Self>> {
        // Asked before it is opened: opening a FIFO would wait for its writer.
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(io::Error::other("it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        Ok(Some(Self {
            inode: (found.dev(), found.ino()),
            modified: (found.mtime(), found.mtime_nsec()),
            text,
        }))
    }
}

const MOST_REPORTS: usize = 1000;
const LONGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let control = Control::new(Some(path.clone()));
        let say = |text: &str| {
            let draft = dir.path().join("draft");
            fs::write(&draft, text).unwrap();
            fs::rename(draft, &path).unwrap();
        };

        assert!(!control.rules().holds("C_Sign hang"));
        for _ in 0..200 {
            say("C_Sign hang");
            assert!(control.rules().holds("C_Sign hang"));
            say("C_Sign flip");
            assert!(control.rules().holds("C_Sign flip"));
            assert!(!control.rules().holds("C_Sign hang"));
        }
        fs::remove_file(&path).unwrap();
        assert!(!control.rules().holds("C_Sign flip"));
    }

    #[test]
    fn a_file_that_stays_keeps_its_counters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        fs::write(&path, "C_Sign flip times 1\n").unwrap();
        let control = Control::new(Some(path));

        assert!(Arc::ptr_eq(&control.rules(), &control.rules()));
    }

    #[test]
    fn a_control_file_that_is_none_has_no_rules() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::new(Some(dir.path().to_owned()));

        assert!(!control.rules().asks_for_tokens());
    }
}
