//! The files that an operator writes and a running service reads again: revoked kids, public keys of others, and the
//! instants of keys whose labels cannot carry them.
//!
//! ```text
//! start   every fault stops it
//! later   what cannot be read, or is bad, stays as it was; a line says so until it is cured
//! ```
//!
//! Who can write such a file can plant a verification key or bring a revoked one back: [`trusted`] judges file and path.
//! The parsers are pure; only this file reads.

pub mod extra;
pub mod instants;
pub mod revoked;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PublishedKey;
use crate::jose::{Jwk, Kid};
use crate::shown::shows;
use crate::trusted::{self, Untrusted};

pub use extra::ExtraFault;
pub use instants::{KeyName, KeySchedule, ScheduleFault};
pub use revoked::RevokedFault;

/// Where the lists come from. All paths absolute.
#[derive(Debug, Clone, Default)]
pub struct ListFiles {
    /// Given by value; the file adds to them.
    pub revoked: BTreeSet<Kid>,
    pub revoked_file: Option<PathBuf>,
    pub extra_jwks_file: Option<PathBuf>,
    pub schedule_file: Option<PathBuf>,
}

/// What they say now.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Neither sign nor are published.
    pub revoked: Arc<BTreeSet<Kid>>,
    /// Published beside our own; by kid.
    pub extra: Arc<Vec<Arc<PublishedKey>>>,
    /// None: labels say which keys are ours.
    pub schedule: Option<Arc<KeySchedule>>,
    troubles: Vec<String>,
}

/// Every file that cannot be used at the start; at least one.
#[derive(Debug, thiserror::Error)]
pub struct ListsError {
    pub faults: Vec<FileFault>,
}

/// One file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {}", self.unnamed())]
pub struct FileFault {
    pub variable: &'static str,
    pub path: PathBuf,
    #[source]
    pub fault: ListFault,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ListFault {
    #[error(transparent)]
    File(#[from] Untrusted),
    #[error("it is not UTF-8 text. Write it anew")]
    NotUtf8,
    #[error(
        "it is empty and was not before, as a file is that somebody is about to write. If nothing is to be in it, write a line of comment"
    )]
    Emptied,
    #[error(transparent)]
    Revoked(#[from] RevokedFault),
    #[error(transparent)]
    Extra(#[from] ExtraFault),
    #[error(transparent)]
    Schedule(#[from] ScheduleFault),
}

/// What a look at one file brought.
enum Look<T> {
    /// No file is configured.
    Unset,
    Says(T),
    Faulty,
}

/// About 6,000 kids, or 64 keys with their certificates.
const MOST_BYTES: u64 = 256 * 1024;

const REVOKED: &str = "MACP_AUTH_REVOKED_KIDS_FILE";
const EXTRA: &str = "MACP_AUTH_EXTRA_JWKS_FILE";
const SCHEDULE: &str = "MACP_AUTH_KEY_SCHEDULE_FILE";

impl FileFault {
    /// For who has named the variable already.
    pub fn unnamed(&self) -> String {
        let Self { path, fault, .. } = self;
        format!("names {}, which cannot be used: {fault}", path.display())
    }
}

impl Lists {
    /// The first look. `revoked`: what the file of revoked kids said in an earlier life, and says still where it was emptied
    /// since, by a power cut or a full disk: a start is no reason to bring a revoked key back.
    ///
    /// # Errors
    /// [`ListsError`] names every file that cannot be used, with its variable and the cure.
    pub fn read(files: &ListFiles, revoked: &BTreeSet<Kid>) -> Result<Self, ListsError> {
        let mut lists = Self {
            revoked: Arc::new(revoked.clone()),
            ..Self::default()
        };
        let (_, faults) = lists.look(files);
        let may_go_on = |fault: &FileFault| matches!(fault.fault, ListFault::Emptied);
        if faults.iter().all(may_go_on) {
            lists.troubles = lines(&faults);
            return Ok(lists);
        }
        Err(ListsError { faults })
    }

    /// The kids of the file, without those that are given by value.
    pub fn revoked_by_file(&self, files: &ListFiles) -> BTreeSet<Kid> {
        self.revoked.difference(&files.revoked).cloned().collect()
    }

    /// Another look: what cannot be used stays as it was. True if a kid, a key or an instant is another than before.
    pub fn refresh(&mut self, files: &ListFiles) -> bool {
        let (changed, faults) = self.look(files);
        self.troubles = lines(&faults);
        changed
    }

    /// One line for each file that could not be used at the last look; the same trouble gives the same line.
    pub fn troubles(&self) -> impl Iterator<Item = &str> {
        self.troubles.iter().map(String::as_str)
    }

    fn look(&mut self, files: &ListFiles) -> (bool, Vec<FileFault>) {
        let mut faults = Vec::new();
        let revoked = self.revoked_now(files, &mut faults);
        let extra = match look(
            EXTRA,
            files.extra_jwks_file.as_deref(),
            &mut faults,
            |text| Ok(extra::parse(text)?),
        ) {
            Look::Unset => Vec::new(),
            Look::Says(keys) => keys,
            Look::Faulty => self.extra.to_vec(),
        };
        let schedule = self.schedule_now(files, &mut faults);

        let other_extra = !jwks(&extra).eq(jwks(&self.extra));
        let other_schedule = schedule != self.schedule;
        let other_revoked = revoked != *self.revoked;
        if other_revoked {
            self.revoked = Arc::new(revoked);
        }
        if other_extra {
            self.extra = Arc::new(extra);
        }
        self.schedule = schedule;
        (other_revoked || other_extra || other_schedule, faults)
    }

    fn revoked_now(&self, files: &ListFiles, faults: &mut Vec<FileFault>) -> BTreeSet<Kid> {
        let had_some = !self.revoked.is_subset(&files.revoked);
        let look = look(REVOKED, files.revoked_file.as_deref(), faults, |text| {
            not_emptied(text, had_some)?;
            Ok(revoked::parse(text)?)
        });
        let mut all = files.revoked.clone();
        match look {
            Look::Unset => {}
            Look::Says(kids) => all.extend(kids),
            Look::Faulty => all.extend(self.revoked.iter().cloned()),
        }
        all
    }

    fn schedule_now(
        &self,
        files: &ListFiles,
        faults: &mut Vec<FileFault>,
    ) -> Option<Arc<KeySchedule>> {
        let had_some = self
            .schedule
            .as_ref()
            .is_some_and(|schedule| schedule.entries().next().is_some());
        let look = look(SCHEDULE, files.schedule_file.as_deref(), faults, |text| {
            not_emptied(text, had_some)?;
            Ok(KeySchedule::parse(text)?)
        });
        match look {
            Look::Unset => None,
            Look::Says(schedule) => Some(Arc::new(schedule)),
            Look::Faulty => self.schedule.clone(),
        }
    }
}

impl fmt::Display for ListsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            let line = if number == 0 { "" } else { "\n" };
            write!(f, "{line}{fault}")?;
        }
        Ok(())
    }
}

fn lines(faults: &[FileFault]) -> Vec<String> {
    let lines = faults.iter();
    lines
        .map(|fault| format!("{fault}. Until then its last content stays in force"))
        .collect()
}

fn look<T>(
    variable: &'static str,
    path: Option<&Path>,
    faults: &mut Vec<FileFault>,
    parse: impl FnOnce(&str) -> Result<T, ListFault>,
) -> Look<T> {
    let Some(path) = path else {
        return Look::Unset;
    };
    match text_of(path).and_then(|text| parse(&text)) {
        Ok(content) => Look::Says(content),
        Err(fault) => {
            faults.push(FileFault {
                variable,
                path: path.to_owned(),
                fault,
            });
            Look::Faulty
        }
    }
}

fn text_of(path: &Path) -> Result<String, ListFault> {
    let bytes = trusted::read(path, MOST_BYTES)?;
    String::from_utf8(bytes).map_err(|_| ListFault::NotUtf8)
}

/// Programs that write a file in place empty it first: a look at that moment must not bring a revoked key back, nor take
/// every key away.
fn not_emptied(text: &str, had_some: bool) -> Result<(), ListFault> {
    if had_some && without_mark(text).is_empty() {
        return Err(ListFault::Emptied);
    }
    Ok(())
}

fn jwks(keys: &[Arc<PublishedKey>]) -> impl Iterator<Item = &Jwk> {
    keys.iter().map(|key| key.jwk())
}

/// Some editors begin a file with a byte order mark.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A kid as people write it down: text that shows, without white space.
fn written_kid(text: &str) -> Option<Kid> {
    if text.contains(char::is_whitespace) || !shows(text) {
        return None;
    }
    Kid::pinned(text.to_owned()).ok()
}
