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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: UnixSeconds = UnixSeconds::new(1_796_126_400);

    fn kid(text: &str) -> Kid {
        Kid::pinned(text.to_owned()).unwrap()
    }

    fn entries(text: &str) -> Vec<(KeyName, UnixSeconds)> {
        let schedule = KeySchedule::parse(text).unwrap();
        let entries = schedule.entries();
        entries.map(|(name, at)| (name.clone(), at)).collect()
    }

    #[test]
    fn an_entry_is_read_in_each_spelling() {
        let id = || KeyName::Id(vec![0x01, 0x9a, 0x3f]);
        for (name, members, want) in [
            (
                "a kid",
                "kid = 'a'\nactive_from = 'ever'",
                (KeyName::Kid(kid("a")), UnixSeconds::EVER),
            ),
            (
                "an id",
                "id = '019a3f'\nactive_from = 'ever'",
                (id(), UnixSeconds::EVER),
            ),
            (
                "capitals",
                "id = '019A3F'\nactive_from = 'ever'",
                (id(), UnixSeconds::EVER),
            ),
            (
                "colons",
                "id = '01:9a:3F'\nactive_from = 'ever'",
                (id(), UnixSeconds::EVER),
            ),
            (
                "label form",
                "id = '019a3f'\nactive_from = '20261201T120000Z'",
                (id(), NOON),
            ),
            (
                "RFC 3339",
                "id = '019a3f'\nactive_from = '2026-12-01T12:00:00Z'",
                (id(), NOON),
            ),
            (
                "a TOML instant",
                "id = '019a3f'\nactive_from = 2026-12-01T12:00:00Z",
                (id(), NOON),
            ),
            (
                "with a space",
                "id = '019a3f'\nactive_from = 2026-12-01 12:00:00Z",
                (id(), NOON),
            ),
        ] {
            assert_eq!(
                entries(&format!("[[key]]\n{members}\n")),
                std::slice::from_ref(&want),
                "{name}"
            );
            let windows = format!(
                "\u{feff}# ours\r\n[[key]]\r\n{}",
                members.replace('\n', "\r\n")
            );
            assert_eq!(entries(&windows), [want], "{name}, from Windows");
        }
    }

    #[test]
    fn keys_are_found_under_the_name_that_the_entry_gives() {
        let schedule = KeySchedule::parse(
            "key = [{ kid = 'ab', active_from = 'ever' }, { id = 'cd', active_from = 2026-12-01T12:00:00Z }]",
        )
        .unwrap();

        assert_eq!(schedule.by_kid(&kid("ab")), Some(UnixSeconds::EVER));
        assert_eq!(schedule.by_kid(&kid("cd")), None);
        assert_eq!(schedule.by_id(&[0xcd]), Some(NOON));
        assert_eq!(schedule.by_id(&[0xab]), None);
        assert_eq!(schedule.by_id(&[]), None);
        assert!(schedule.names_kids());
        assert!(
            !KeySchedule::parse("[[key]]\nid='cd'\nactive_from='ever'")
                .unwrap()
                .names_kids()
        );
        assert_eq!(
            KeySchedule::parse("# none yet\n").unwrap(),
            KeySchedule::default()
        );
    }

    /// Of an entry behind a good one, for kid `a`.
    fn fault_of(members: &str) -> EntryFault {
        let good = "[[key]]\nkid = 'a'\nactive_from = 'ever'\n";
        let fault = KeySchedule::parse(&format!("{good}[[key]]\n{members}\n")).unwrap_err();
        let ScheduleFault::Entry { number: 2, fault } = fault else {
            panic!("{fault:?}");
        };
        fault
    }

    #[test]
    fn an_entry_names_one_key_and_no_other_entry_does() {
        for (name, members, want) in [
            ("no name", "", EntryFault::NoName),
            ("both", "kid = 'b'\nid = '01'", EntryFault::TwoNames),
            ("empty kid", "kid = ''", EntryFault::BadKid),
            ("kid with a space", "kid = 'b c'", EntryFault::BadKid),
            ("kid as a number", "kid = 7", EntryFault::BadKid),
            ("empty id", "id = ''", EntryFault::BadId),
            ("id as a number", "id = 12", EntryFault::BadId),
            ("odd id", "id = '012'", EntryFault::BadId),
            ("no digits", "id = '0g'", EntryFault::BadId),
            ("halves", "id = '0:1'", EntryFault::BadId),
            ("some colons", "id = '01:0203'", EntryFault::BadId),
            ("a last colon", "id = '01:'", EntryFault::BadId),
            ("kid again", "kid = 'a'", EntryFault::Again { first: 1 }),
        ] {
            let fault = fault_of(&format!("{members}\nactive_from = 'ever'"));
            assert_eq!(fault, want, "{name}");
        }
        let ids = "[[key]]\nid='ab'\nactive_from='ever'\n[[key]]\nid='AB'\nactive_from='ever'";
        let fault = EntryFault::Again { first: 1 };
        let again = Err(ScheduleFault::Entry { number: 2, fault });
        assert_eq!(KeySchedule::parse(ids), again);
    }

    #[test]
    fn an_entry_has_one_instant_in_utc_and_nothing_else() {
        for text in [
            "'tomorrow'",
            "2026-12-01T12:00:00",
            "2026-12-01T12:00:00+01:00",
            "2026-12-01",
            "2026-12-01T12:00:00.5Z",
            "1969-12-31T23:59:59Z",
        ] {
            let fault = fault_of(&format!("kid = 'b'\nactive_from = {text}"));
            let bad = Instant::from_text(text.trim_matches('\'')).unwrap_err();
            assert_eq!(fault, EntryFault::Instant(bad), "{text}");
        }
        for text in ["1796126400", "true", "['ever']"] {
            let fault = fault_of(&format!("kid = 'b'\nactive_from = {text}"));
            assert_eq!(fault, EntryFault::NotAnInstant, "{text}");
        }
        assert_eq!(fault_of("kid = 'b'"), EntryFault::NoInstant);
        let member = "activ_from".to_owned();
        assert_eq!(
            fault_of("kid = 'b'\nactiv_from = 'ever'"),
            EntryFault::Unknown { member }
        );
    }

    #[test]
    fn what_is_no_list_of_entries_is_refused() {
        let stray = |member: &str| ScheduleFault::Stray {
            member: member.to_owned(),
        };
        for (name, text, want) in [
            ("another table", "[[keys]]\nkid = 'a'", stray("keys")),
            ("a member above", "version = 1\n[[key]]", stray("version")),
            (
                "single brackets",
                "[key]\nkid = 'a'",
                ScheduleFault::NoEntries,
            ),
            ("a list of texts", "key = ['a']", ScheduleFault::NoEntries),
        ] {
            assert_eq!(KeySchedule::parse(text), Err(want), "{name}");
        }
        for (name, text, want) in [
            ("JSON", "{}", 1),
            ("a PIN", "\n\n123456\n", 3),
            ("a member twice", "[[key]]\nkid = 'a'\nkid = 'b'", 3),
            (
                "no such day",
                "[[key]]\nkid = 'a'\nactive_from = 2026-02-30T12:00:00Z",
                3,
            ),
            ("deep", &format!("a = {}", "[".repeat(100_000)), 1),
        ] {
            let outcome = KeySchedule::parse(text);
            assert!(
                matches!(outcome, Err(ScheduleFault::NotToml { line, .. }) if line == want),
                "{name}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_file_named_by_mistake_is_not_shown() {
        for text in [
            "QQ4711QQ",
            "a = 1\nQQ4711QQ = = 2",
            "a = \"QQ4711QQ",
            "QQ4711QQ = 1\nQQ4711QQ = 2",
            "a = QQ4711QQ",
        ] {
            let fault = KeySchedule::parse(text).unwrap_err();
            assert!(
                !format!("{fault} {fault:?}").contains("QQ4711QQ"),
                "{fault}"
            );
        }
    }

    fn name() -> impl Strategy<Value = KeyName> {
        prop_oneof![
            "[!-~ä鍵]{1,50}".prop_map(|text| KeyName::Kid(kid(&text))),
            proptest::collection::vec(any::<u8>(), 1..40).prop_map(KeyName::Id),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            instants in proptest::collection::btree_map(name(), 0u64..253_402_300_800, 0..9),
        ) {
            let schedule = instants.into_iter().fold(KeySchedule::default(), |schedule, (name, at)| {
                schedule.with(name, UnixSeconds::new(at))
            });

            prop_assert_eq!(KeySchedule::parse(&schedule.to_string()), Ok(schedule));
        }

        #[test]
        fn no_text_panics(text in "(?s).*", id in "[0-9a-fA-F:]{0,9}", at in "[0-9TZ:. +-]{0,25}") {
            KeySchedule::parse(&text).ok();
            KeySchedule::parse(&format!("[[key]]\nid = '{id}'\nactive_from = {at}")).ok();
            KeySchedule::parse(&format!("[[key]]\nkid = '''{text}'''\nactive_from = '{at}'")).ok();
        }
    }
}
