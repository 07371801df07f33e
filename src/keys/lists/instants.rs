//! The schedule file, for HSMs that dictate labels: which keys are ours, and from which instant each signs.
//!
//! ```toml
//! [[key]]
//! id = "01:9a:3f"                       # CKA_ID, or kid = "…"
//! active_from = 2026-12-01T12:00:00Z    # or "20261201T120000Z", or "ever"
//! ```
//!
//! It alone decides: a key that it does not name is not ours. Pure.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::written_kid;
use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::label::{Instant, NoInstant};

/// Instants by kid or CKA_ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySchedule {
    instants: BTreeMap<KeyName, UnixSeconds>,
}

/// How an entry names its key. Writes itself as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyName {
    Kid(Kid),
    /// CKA_ID.
    Id(Vec<u8>),
}

/// Why a text is no schedule. Entries are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleFault {
    #[error("it is no TOML (line {line}: {reason}). Write entries as in {EXAMPLE}")]
    NotToml { line: usize, reason: String },
    #[error(
        "it has {member:?} beside its entries. Write [[key]] above each entry, and nothing else"
    )]
    Stray { member: String },
    #[error("key is not a list of entries. Write [[key]], in double brackets, above each entry")]
    NoEntries,
    #[error("entry {number} {fault}")]
    Entry { number: usize, fault: EntryFault },
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    #[error("has the unknown member {member:?}. Known are kid, id and active_from")]
    Unknown { member: String },
    #[error("names no key. Give it kid, or id (CKA_ID in hexadecimal digits)")]
    NoName,
    #[error("has both kid and id. Keep one of them")]
    TwoNames,
    #[error(
        "has a kid that is none. Write it in quotes, without white space, as `keys list` shows it"
    )]
    BadKid,
    #[error(
        "has an id that is none. Write CKA_ID in quotes, in hexadecimal digits, with : between all bytes or none"
    )]
    BadId,
    #[error("has no active_from. Give it an instant, as 2026-12-01T12:00:00Z, or \"ever\"")]
    NoInstant,
    #[error("has an active_from that is none. Write it as 2026-12-01T12:00:00Z, or \"ever\"")]
    NotAnInstant,
    #[error("has a bad active_from: {0}")]
    Instant(#[from] NoInstant),
    #[error("names the key of entry {first} again. Leave out one of them")]
    Again { first: usize },
}

const EXAMPLE: &str = "[[key]] id = \"019a3f\" active_from = 2026-12-01T12:00:00Z, each on a line";
const EVER: &str = "ever";

impl KeySchedule {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ScheduleFault`] names the first entry that is wrong, and the cure.
    pub fn parse(text: &str) -> Result<Self, ScheduleFault> {
        let table: Table = text.parse().map_err(|error| not_toml(text, &error))?;
        if let Some(stray) = table.keys().find(|name| *name != "key") {
            let member = stray.clone();
            return Err(ScheduleFault::Stray { member });
        }
        let entries = match table.get("key") {
            None => &[],
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(_) => return Err(ScheduleFault::NoEntries),
        };
        let mut first_of = BTreeMap::new();
        let mut instants = BTreeMap::new();
        for (value, number) in entries.iter().zip(1..) {
            let at_fault = |fault| ScheduleFault::Entry { number, fault };
            let members = value.as_table().ok_or(ScheduleFault::NoEntries)?;
            let (name, instant) = entry(members).map_err(at_fault)?;
            if let Some(first) = first_of.insert(name.clone(), number) {
                return Err(at_fault(EntryFault::Again { first }));
            }
            instants.insert(name, instant);
        }
        Ok(Self { instants })
    }

    pub fn by_id(&self, id: &[u8]) -> Option<UnixSeconds> {
        self.instants.get(&KeyName::Id(id.to_vec())).copied()
    }

    pub fn by_kid(&self, kid: &Kid) -> Option<UnixSeconds> {
        self.instants.get(&KeyName::Kid(kid.clone())).copied()
    }

    /// Whether an entry can be found by kid alone: then every public key has to be read before it is known whose it is.
    pub fn names_kids(&self) -> bool {
        let mut names = self.instants.keys();
        names.any(|name| matches!(name, KeyName::Kid(_)))
    }

    /// By kid, then by CKA_ID.
    pub fn entries(&self) -> impl Iterator<Item = (&KeyName, UnixSeconds)> {
        self.instants.iter().map(|(name, instant)| (name, *instant))
    }

    /// The schedule with this key in it, for a command that shows what to write.
    #[must_use]
    pub fn with(mut self, name: KeyName, active_from: UnixSeconds) -> Self {
        self.instants.insert(name, active_from);
        self
    }
}

/// The text of a file that says the same.
impl fmt::Display for KeySchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, instant) in self.entries() {
            writeln!(f, "[[key]]\n{name}\nactive_from = \"{}\"", written(instant))?;
        }
        Ok(())
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kid(kid) => {
                let escaped = kid.as_str().replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "kid = \"{escaped}\"")
            }
            Self::Id(id) => write!(f, "id = \"{}\"", hex::encode(id)),
        }
    }
}

fn entry(members: &Table) -> Result<(KeyName, UnixSeconds), EntryFault> {
    if let Some(unknown) = members
        .keys()
        .find(|name| !["kid", "id", "active_from"].contains(&name.as_str()))
    {
        let member = unknown.clone();
        return Err(EntryFault::Unknown { member });
    }
    let name = match (members.get("kid"), members.get("id")) {
        (Some(kid), None) => {
            let kid = kid.as_str().and_then(written_kid);
            KeyName::Kid(kid.ok_or(EntryFault::BadKid)?)
        }
        (None, Some(id)) => {
            let id = id.as_str().and_then(bytes_of);
            KeyName::Id(id.ok_or(EntryFault::BadId)?)
        }
        (Some(_), Some(_)) => return Err(EntryFault::TwoNames),
        (None, None) => return Err(EntryFault::NoName),
    };
    let instant = match members.get("active_from") {
        None => return Err(EntryFault::NoInstant),
        Some(Value::String(text)) if text == EVER => UnixSeconds::EVER,
        Some(Value::String(text)) => Instant::from_text(text)?.seconds(),
        Some(Value::Datetime(at)) => Instant::from_text(&at.to_string())?.seconds(),
        Some(_) => return Err(EntryFault::NotAnInstant),
    };
    Ok((name, instant))
}

/// `019A3f` or `01:9a:3f`; not empty.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = if text.contains(':') {
        let mut pairs = text.split(':');
        pairs.all(|pair| pair.len() == 2).then_some(())?;
        text.replace(':', "")
    } else {
        text.to_owned()
    };
    hex::decode(digits).ok().filter(|id| !id.is_empty())
}

fn written(instant: UnixSeconds) -> String {
    if instant == UnixSeconds::EVER {
        return EVER.to_owned();
    }
    instant.rfc3339()
}

/// Without the line itself: a path named by mistake may lead to anything.
fn not_toml(text: &str, error: &toml::de::Error) -> ScheduleFault {
    let before = error.span().and_then(|span| text.get(..span.start));
    ScheduleFault::NotToml {
        line: before.unwrap_or_default().matches('\n').count() + 1,
        reason: error.message().to_owned(),
    }
}

#[cfg(test)]
#[path = "instants_tests.rs"]
mod tests;
