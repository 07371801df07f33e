//! One login attempt per PIN value and token, remembered across restarts: wrong PINs lock tokens for good, and a process
//! that is restarted with one would spend the tries one by one.
//!
//! What is remembered is a slow, salted hash of a PIN that was refused, or whose attempt never ended (a crash, a hung
//! token). An attempt that never ended may be repeated once, because a hung token is the usual cause and refused nothing.
//! Every command shares the file. Without a state directory the guard lasts as long as the process.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{pbkdf2, rand};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::config::Pin;
use crate::state_dir::StateDir;

const FILE: &str = "pin-guard.json";
/// About a tenth of a second: a file that leaks must not give a short PIN away at once.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(199_999);
const ATTEMPTS_WITHOUT_ANSWER: u32 = 2;

/// Asked before each C_Login, told after it. Clones share one memory.
#[derive(Debug, Clone)]
pub struct PinGuard(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    directory: Option<StateDir>,
    entries: Mutex<Vec<Entry>>,
}

/// One PIN that is not tried again on one token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// Serial number and label of the token.
    token: String,
    salt: String,
    hash: String,
    /// What the token answered; None while the attempt has no answer.
    refused: Option<String>,
    attempts: u32,
    at: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    version: u32,
    entries: Vec<Entry>,
}

/// An attempt that was written down; to be told how it ended.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    salt: String,
}

/// Why no login is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// `CKR_PIN_INCORRECT`, or that the token never answered.
    pub reason: String,
    pub since: UnixSeconds,
}

impl PinGuard {
    /// A guard that remembers in the directory, or for as long as the process lives.
    pub fn new(directory: Option<StateDir>) -> Self {
        Self(Arc::new(Memory {
            directory,
            entries: Mutex::default(),
        }))
    }

    /// Whether this PIN may be tried on this token; if so, the attempt is written down before it is made.
    ///
    /// # Errors
    /// The outer one is the system's, and then nothing may be tried; the inner one says why this PIN is not.
    pub fn begin(
        &self,
        token: &str,
        pin: &Pin,
        now: UnixSeconds,
    ) -> io::Result<Result<Attempt, Blocked>> {
        self.change(|entries| {
            let known = entries.iter_mut().find(|entry| entry.is(token, pin));
            let entry = match known {
                Some(entry) if entry.is_spent() => return Ok(Err(entry.blocked())),
                Some(entry) => {
                    entry.attempts += 1;
                    entry.at = now.get();
                    entry.clone()
                }
                None => {
                    let entry = Entry::new(token, pin, now)?;
                    entries.push(entry.clone());
                    entry
                }
            };
            Ok(Ok(Attempt { salt: entry.salt }))
        })
    }

    /// Whether this PIN would not be tried on this token.
    ///
    /// # Errors
    /// The system's.
    pub fn remembers(&self, token: &str, pin: &Pin) -> io::Result<bool> {
        self.change(|entries| {
            let mut spent = entries.iter().filter(|entry| entry.is_spent());
            Ok(spent.any(|entry| entry.is(token, pin)))
        })
    }

    /// The token took the PIN, or failed in a way that says nothing of it: forgets.
    ///
    /// # Errors
    /// The system's.
    pub fn cleared(&self, attempt: &Attempt) -> io::Result<()> {
        self.change(|entries| {
            entries.retain(|entry| entry.salt != attempt.salt);
            Ok(())
        })
    }

    /// The token refused the PIN.
    ///
    /// # Errors
    /// The system's.
    pub fn refused(&self, attempt: &Attempt, answer: &str) -> io::Result<()> {
        self.change(|entries| {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.salt == attempt.salt) {
                entry.refused = Some(answer.to_owned());
            }
            Ok(())
        })
    }

    /// An operator says that every PIN may be tried again. How many were remembered.
    ///
    /// # Errors
    /// The system's.
    pub fn clear(&self) -> io::Result<usize> {
        self.change(|entries| {
            let remembered = entries.len();
            entries.clear();
            Ok(remembered)
        })
    }

    /// Reads, changes and writes under a lock that all processes share.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Entry>) -> io::Result<T>) -> io::Result<T> {
        let mut entries = self.0.entries.lock();
        let Some(directory) = &self.0.directory else {
            return change(&mut entries);
        };
        let _lock = directory.lock(FILE)?;
        // A file that cannot be read must not open the way for more attempts than none.
        *entries = match directory.read(FILE)? {
            Some(bytes) => serde_json::from_slice::<Saved>(&bytes)?.entries,
            None => Vec::new(),
        };
        let outcome = change(&mut entries)?;
        let saved = Saved {
            version: 1,
            entries: entries.clone(),
        };
        directory.replace(FILE, &serde_json::to_vec(&saved)?)?;
        Ok(outcome)
    }
}

impl Entry {
    fn new(token: &str, pin: &Pin, now: UnixSeconds) -> io::Result<Self> {
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| io::Error::other("no random bytes"))?;
        Ok(Self {
            token: token.to_owned(),
            salt: hex::encode(salt),
            hash: hash(&salt, pin),
            refused: None,
            attempts: 1,
            at: now.get(),
        })
    }

    fn is(&self, token: &str, pin: &Pin) -> bool {
        self.token == token
            && hex::decode(&self.salt).is_ok_and(|salt| hash(&salt, pin) == self.hash)
    }

    const fn is_spent(&self) -> bool {
        self.refused.is_some() || self.attempts >= ATTEMPTS_WITHOUT_ANSWER
    }

    fn blocked(&self) -> Blocked {
        let unanswered = || "the token never answered".to_owned();
        Blocked {
            reason: self.refused.clone().unwrap_or_else(unanswered),
            since: UnixSeconds::new(self.at),
        }
    }
}

fn hash(salt: &[u8], pin: &Pin) -> String {
    let mut out = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        salt,
        pin.expose().as_bytes(),
        &mut out,
    );
    hex::encode(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

    fn pin(text: &str) -> Pin {
        Pin::new(text.to_owned())
    }

    fn guard(home: &tempfile::TempDir) -> PinGuard {
        PinGuard::new(Some(StateDir::open(&home.path().join("state")).unwrap()))
    }

    #[test]
    fn a_refused_pin_is_not_tried_again_even_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let first = guard(&home);
        let attempt = first.begin("t 1", &pin("wrong"), NOW).unwrap().unwrap();
        first.refused(&attempt, "CKR_PIN_INCORRECT").unwrap();

        let restarted = guard(&home);
        let blocked = restarted
            .begin("t 1", &pin("wrong"), NOW)
            .unwrap()
            .unwrap_err();
        assert_eq!(blocked.reason, "CKR_PIN_INCORRECT");
        assert!(restarted.remembers("t 1", &pin("wrong")).unwrap());
        assert!(!restarted.remembers("t 1", &pin("right")).unwrap());
        assert!(restarted.begin("t 1", &pin("right"), NOW).unwrap().is_ok());
        assert!(restarted.begin("t 2", &pin("wrong"), NOW).unwrap().is_ok());
    }

    #[test]
    fn an_attempt_without_an_answer_is_repeated_once() {
        let home = tempfile::tempdir().unwrap();

        assert!(guard(&home).begin("t", &pin("1234"), NOW).unwrap().is_ok());
        assert!(guard(&home).begin("t", &pin("1234"), NOW).unwrap().is_ok());
        assert!(guard(&home).begin("t", &pin("1234"), NOW).unwrap().is_err());
    }

    #[test]
    fn success_and_an_operator_clear_the_memory() {
        let home = tempfile::tempdir().unwrap();
        let guard = guard(&home);
        let attempt = guard.begin("t", &pin("1234"), NOW).unwrap().unwrap();
        guard.cleared(&attempt).unwrap();
        assert_eq!(guard.clear().unwrap(), 0);

        let attempt = guard.begin("t", &pin("1234"), NOW).unwrap().unwrap();
        guard.refused(&attempt, "CKR_PIN_LOCKED").unwrap();
        assert_eq!(guard.clear().unwrap(), 1);
        assert!(guard.begin("t", &pin("1234"), NOW).unwrap().is_ok());
    }

    #[test]
    fn the_file_holds_no_pin_and_a_damaged_one_blocks() {
        let home = tempfile::tempdir().unwrap();
        assert!(
            guard(&home)
                .begin("t", &pin("Zq9-secret"), NOW)
                .unwrap()
                .is_ok()
        );

        let path = home.path().join("state").join(FILE);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("Zq9"));
        std::fs::write(&path, "{").unwrap();
        assert!(guard(&home).begin("t", &pin("other"), NOW).is_err());
    }
}
