//! What a new key may be called, from the name that says most to the one that every HSM takes, and what a name that was taken
//! leaves unsaid. Pure.
//!
//! ```text
//! label   <prefix>-<instant>    <prefix><instant>     <prefix>
//! CKA_ID  UUIDv7, 16 bytes: carries the creation time     8 random bytes
//! ```

use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::label::{Instant, LabelMatch, LabelPrefix, LabelTooLong};
use crate::keys::lists::{KeyName, KeySchedule};
use crate::keys::pkcs11::generate::{KeyNaming, Made};
use crate::keys::schedule::Created;

/// CKA_IDs of one new key.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    /// A UUIDv7.
    pub(super) timed: Vec<u8>,
    pub(super) short: Vec<u8>,
}

/// What there is to say of a name that a token took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unsaid {
    pub(super) notes: Vec<String>,
    /// What the schedule file has to say, where the label does not.
    pub(super) entry: Option<String>,
}

/// All names, in the order in which they are tried.
pub(super) fn names(
    prefix: &LabelPrefix,
    at: Instant,
    ids: &Ids,
) -> Result<Vec<KeyNaming>, LabelTooLong> {
    let close = prefix.write_close(at);
    let full = match (prefix.write(at), &close) {
        (Err(_), Ok(_)) => None,
        (full, _) => Some(full?),
    };
    let labels = full.into_iter().chain(close.ok());
    let labels = labels.chain([prefix.as_str().to_owned()]);
    let names = labels.flat_map(|label| {
        [&ids.timed, &ids.short].map(|id| KeyNaming {
            label: label.clone(),
            id: id.clone(),
        })
    });
    Ok(names.collect())
}

/// `scheduled`: a schedule file decides, and not the label. `now` and `skew` say which creation time is plausible.
pub(super) fn unsaid(
    made: &Made,
    kid: &Kid,
    prefix: &LabelPrefix,
    at: Instant,
    scheduled: bool,
    now: UnixSeconds,
    skew: u64,
) -> Unsaid {
    let Made { asked, stored, .. } = made;
    let mut notes = Vec::new();
    if let Some(refusal) = &made.refusal {
        notes.push(format!(
            "the token refused the first name ({refusal}); it took the label {:?} with a CKA_ID of {} bytes",
            asked.label,
            asked.id.len()
        ));
    }
    if stored.label != asked.label {
        notes.push(format!(
            "the token was given the label {:?} and stored {:?}",
            asked.label, stored.label
        ));
    }
    if stored.id != asked.id {
        notes.push(format!(
            "the token was given the CKA_ID {} and stored {}",
            hex::encode(&asked.id),
            hex::encode(&stored.id)
        ));
    }
    if Created::from_id(&stored.id, now, skew).is_none() {
        notes.push(
            "its CKA_ID carries no creation time: each instance takes the time at which it first sees the key. Do not restart instances without MACP_AUTH_STATE_DIR before it signs".to_owned(),
        );
    }
    let says = prefix.read(&stored.label) == LabelMatch::ActiveFrom(at.seconds());
    if !scheduled && !says {
        notes.push(format!(
            "the label {:?} does not say from when on the key signs. Name the key in a file, set MACP_AUTH_KEY_SCHEDULE_FILE to it (it then decides alone: name every key there), and restart",
            stored.label
        ));
    }
    Unsaid {
        notes,
        entry: (scheduled || !says).then(|| entry(&stored.id, kid, at)),
    }
}

fn entry(id: &[u8], kid: &Kid, at: Instant) -> String {
    let name = if id.is_empty() {
        KeyName::Kid(kid.clone())
    } else {
        KeyName::Id(id.to_vec())
    };
    KeySchedule::default().with(name, at.seconds()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix() -> LabelPrefix {
        LabelPrefix::new("macp-jwt").unwrap()
    }

    fn noon() -> Instant {
        Instant::from_text("20261201T120000Z").unwrap()
    }

    const MADE: UnixSeconds = UnixSeconds::new(1_796_000_000);

    fn ids() -> Ids {
        let mut timed = (MADE.get() * 1000).to_be_bytes()[2..].to_vec();
        timed.extend([0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        Ids {
            timed,
            short: vec![1; 8],
        }
    }

    fn naming(label: &str, id: &[u8]) -> KeyNaming {
        KeyNaming {
            label: label.to_owned(),
            id: id.to_vec(),
        }
    }

    #[test]
    fn names_go_from_the_one_that_says_most_to_the_simplest() {
        let all = names(&prefix(), noon(), &ids()).unwrap();
        let told: Vec<(&str, usize)> = all
            .iter()
            .map(|name| (name.label.as_str(), name.id.len()))
            .collect();

        assert_eq!(
            told,
            [
                ("macp-jwt-20261201T120000Z", 16),
                ("macp-jwt-20261201T120000Z", 8),
                ("macp-jwt20261201T120000Z", 16),
                ("macp-jwt20261201T120000Z", 8),
                ("macp-jwt", 16),
                ("macp-jwt", 8),
            ]
        );
        for (length, first) in [(15, 32), (16, 32), (17, 0)] {
            let prefix = LabelPrefix::new(&"p".repeat(length)).unwrap();
            let names = names(&prefix, noon(), &ids());
            let names = names.unwrap_or_default();
            let found = names.first().map_or(0, |name| name.label.len());
            assert_eq!(found, first, "a prefix of {length}");
        }
    }

    #[test]
    fn what_a_name_leaves_unsaid_is_told() {
        let full = "macp-jwt-20261201T120000Z";
        let ids = ids();
        let (timed, short) = (ids.timed.as_slice(), ids.short.as_slice());
        let by_id = |id: &[u8]| {
            format!(
                "[[key]]\nid = \"{}\"\nactive_from = \"2026-12-01T12:00:00Z\"\n",
                hex::encode(id)
            )
        };
        let none = None::<&str>;
        #[rustfmt::skip]
        let rows = [
            ("all as asked", none, naming(full, timed), naming(full, timed), false, vec![], None),
            ("no separator", Some("C_GenerateKeyPair: CKR_X"), naming("macp-jwt20261201T120000Z", timed), naming("macp-jwt20261201T120000Z", timed), false, vec!["CKR_X"], None),
            ("a short id", Some("CKR_X"), naming(full, short), naming(full, short), false, vec!["8 bytes", "creation time"], None),
            ("the bare prefix", Some("CKR_X"), naming("macp-jwt", timed), naming("macp-jwt", timed), false, vec!["CKR_X", "MACP_AUTH_KEY_SCHEDULE_FILE"], Some(by_id(timed))),
            ("cut without a word", none, naming(full, timed), naming("macp-jwt-20261201", timed), false, vec!["stored \"macp-jwt-20261201\"", "does not say"], Some(by_id(timed))),
            ("an id of its own", none, naming(full, timed), naming(full, &[7]), false, vec!["stored 07", "creation time"], None),
            ("no id at all", none, naming(full, timed), naming("k", &[]), false, vec!["stored \"k\"", "and stored ", "creation time", "does not say"], Some("[[key]]\nkid = \"kid-1\"\nactive_from = \"2026-12-01T12:00:00Z\"\n".to_owned())),
            ("a schedule decides", none, naming(full, timed), naming(full, timed), true, vec![], Some(by_id(timed))),
        ];
        for (name, refusal, asked, stored, scheduled, notes, entry) in rows {
            let made = Made {
                asked,
                stored,
                refusal: refusal.map(str::to_owned),
            };
            let kid = Kid::pinned("kid-1".to_owned()).unwrap();
            let got = unsaid(&made, &kid, &prefix(), noon(), scheduled, MADE, 30);

            assert_eq!(got.notes.len(), notes.len(), "{name}: {got:?}");
            for (said, part) in got.notes.iter().zip(notes) {
                assert!(said.contains(part), "{name}: {part}: {said}");
            }
            assert_eq!(got.entry, entry, "{name}");
        }
    }
}
