//! What is known of the keys, in the state directory: served at once by an instance that starts while its HSM is away.
//!
//! Only public halves. What is read back is published, but does not sign until its token has proved it again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PublishedKey;
use super::memory::{Beginning, Known, Memory, TokenName};
use super::schedule::Created;
use crate::clock::UnixSeconds;
use crate::jose::{Jwk, Kid};
use crate::state_dir::StateDir;

const FILE: &str = "jwks.json";
const DAMAGED: &str = "jwks.json.damaged";
/// The format before there were looks and creation times: `version`, and of each key `jwk` and `active_from`.
const WITHOUT_LOOKS: u64 = 1;
const VERSION: u64 = 2;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u64,
    keys: Vec<SavedKey>,
    /// By token, seconds.
    #[serde(default)]
    looks: BTreeMap<String, u64>,
    /// By life of a token in seconds: when such tokens were minted last.
    #[serde(default)]
    maxima: BTreeMap<u64, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revoked: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<SavedBeginning>,
}

#[derive(Serialize, Deserialize)]
struct SavedBeginning {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SavedKey {
    jwk: Value,
    active_from: u64,
    #[serde(default)]
    created_ms: Option<u64>,
    #[serde(default)]
    seen: Option<u64>,
    #[serde(default)]
    absent: Option<u64>,
    #[serde(default)]
    gone: bool,
    /// Tokens that held it, each with the latest instant it gave.
    #[serde(default)]
    on: BTreeMap<String, u64>,
}

/// What was saved, for who only reads; nothing without a directory, where nothing was, or where the file is damaged (which is
/// remembered as [`Memory::why_lost`]).
pub fn load(directory: Option<&StateDir>, now: UnixSeconds) -> Memory {
    let Some(directory) = directory else {
        return Memory::empty(now);
    };
    read(directory, now).unwrap_or_else(|reason| lost(directory, &reason, now))
}

/// What was saved, for who will save there: a damaged file is kept aside, and logged.
pub fn take_over(directory: &StateDir, now: UnixSeconds) -> Memory {
    read(directory, now).unwrap_or_else(|reason| {
        tracing::error!(
            file = FILE,
            reason,
            kept_as = DAMAGED,
            "the saved key set cannot be used; starting without it"
        );
        if let Err(error) = directory.keep_as(FILE, DAMAGED) {
            tracing::warn!(%error, "the saved key set that cannot be used will be overwritten");
        }
        lost(directory, &reason, now)
    })
}

fn lost(directory: &StateDir, reason: &str, now: UnixSeconds) -> Memory {
    let path = directory.file(FILE);
    Memory::lost(now, format!("{}: {reason}", path.display()))
}

fn read(directory: &StateDir, now: UnixSeconds) -> Result<Memory, String> {
    match directory.read(FILE) {
        Ok(None) => Ok(Memory::empty(now)),
        Ok(Some(bytes)) => parse(&bytes, now).map_err(str::to_owned),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes all of it.
///
/// # Errors
/// The system's; the set before is then still there.
pub fn save(directory: &StateDir, memory: &Memory) -> io::Result<()> {
    let keys = memory.keys().map(|known| {
        Ok(SavedKey {
            jwk: serde_json::to_value(known.key.jwk())?,
            active_from: known.instant.get(),
            created_ms: known.created.map(Created::millis),
            seen: Some(known.seen.get()),
            absent: known.absent.map(UnixSeconds::get),
            gone: known.gone,
            on: known
                .on
                .iter()
                .filter_map(|(token, instants)| {
                    Some((token.as_str().to_owned(), instants.last()?.get()))
                })
                .collect(),
        })
    });
    let looks = memory.looks().iter();
    let maxima = memory.maxima().iter();
    let saved = Saved {
        version: VERSION,
        keys: keys.collect::<serde_json::Result<_>>()?,
        looks: looks
            .map(|(token, at)| (token.as_str().to_owned(), at.get()))
            .collect(),
        maxima: maxima.map(|(ttl, last)| (*ttl, last.get())).collect(),
        revoked: memory
            .revoked()
            .iter()
            .map(|kid| kid.as_str().to_owned())
            .collect(),
        began: memory.began().map(|began| SavedBeginning {
            at: began.at.get(),
            lost: began.lost.clone(),
        }),
    };
    directory.replace(FILE, &serde_json::to_vec(&saved)?)
}

fn parse(bytes: &[u8], now: UnixSeconds) -> Result<Memory, &'static str> {
    let saved: Saved = serde_json::from_slice(bytes).map_err(|_| "it is not what was written")?;
    if !(WITHOUT_LOOKS..=VERSION).contains(&saved.version) {
        return Err("its version is not known");
    }
    let keys: Vec<Known> = saved
        .keys
        .into_iter()
        .map(|key| known(key, now))
        .collect::<Result<_, _>>()?;
    let began = match saved.began {
        Some(SavedBeginning { at, lost }) => Some((UnixSeconds::new(at), lost)),
        // Whoever had not looked knew nothing.
        None => saved.looks.is_empty().then_some((now, None)),
    };
    let revoked = saved.revoked.into_iter().map(Kid::pinned);
    let revoked = revoked.collect::<Result<_, _>>();
    let looks = saved.looks.into_iter();
    let maxima = saved.maxima.into_iter();
    let mut memory = Memory::restored(
        keys,
        looks
            .map(|(token, at)| (TokenName::restored(token), UnixSeconds::new(at)))
            .collect(),
        maxima
            .map(|(ttl, last)| (ttl, UnixSeconds::new(last)))
            .collect(),
        began.map(|(at, lost)| Beginning { at, lost }),
    );
    memory.revoke(revoked.map_err(|_| "one of its revoked kids is none")?);
    Ok(memory)
}

fn known(saved: SavedKey, now: UnixSeconds) -> Result<Known, &'static str> {
    let jwk = Jwk::from_json(&saved.jwk).map_err(|_| "one of its keys is no public key")?;
    // A kid that is no thumbprint was not written by us.
    if *jwk.kid() != Kid::thumbprint(jwk.key()) {
        return Err("one of its keys is under a kid that is not its thumbprint");
    }
    let key = PublishedKey::new(jwk).map_err(|_| "one of its keys is no public key")?;
    Ok(Known {
        key: Arc::new(key),
        instant: UnixSeconds::new(saved.active_from),
        created: saved.created_ms.map(Created::from_millis),
        seen: saved.seen.map_or(now, UnixSeconds::new),
        absent: saved.absent.map(UnixSeconds::new),
        gone: saved.gone,
        on: saved
            .on
            .into_iter()
            .map(|(token, instant)| {
                let instants = [UnixSeconds::new(instant)].into();
                (TokenName::restored(token), instants)
            })
            .collect(),
        proved: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;
    use crate::keys::local::LocalKey;
    use crate::keys::memory::Found;
    use crate::keys::rules::Rules;
    use serde_json::json;
    use std::path::Path;

    const NOW: UnixSeconds = UnixSeconds::new(100);

    fn found(instant: u64, created: Option<u64>) -> Found {
        Found {
            key: LocalKey::orphan().unwrap(),
            instant: UnixSeconds::new(instant),
            created: created.map(Created::from_millis),
        }
    }

    #[test]
    fn what_is_saved_is_known_again_but_not_proved() {
        let home = tempfile::tempdir().unwrap();
        let directory = StateDir::open(&home.path().join("state")).unwrap();
        let token = TokenName::new(Path::new("/m.so"), "label \"a\"");
        let mut memory = Memory::empty(NOW);
        memory.look(&token, &[found(0, None), found(7, Some(1_234_567))], NOW);
        memory.mints(&Rules::DEFAULTS, NOW);
        save(&directory, &memory).unwrap();

        let again = load(Some(&directory), NOW.plus(5));
        assert_eq!(again.looks(), memory.looks());
        assert_eq!(again.maxima(), memory.maxima());
        assert_eq!(again.keys().count(), 2);
        for known in again.keys() {
            let before = memory.key(known.key.kid()).unwrap();
            assert_eq!(known.key.jwk(), before.key.jwk());
            assert_eq!(
                (known.instant, known.created),
                (before.instant, before.created)
            );
            assert_eq!((known.seen, known.absent), (before.seen, before.absent));
            assert_eq!((&known.on, known.gone), (&before.on, before.gone));
            assert!(!known.proved);
        }
    }

    #[test]
    fn a_set_of_the_format_before_is_read() {
        let key = found(0, None).key;
        let text =
            json!({"version": 1, "keys": [{"active_from": 7, "jwk": key.jwk()}]}).to_string();

        let memory = parse(text.as_bytes(), NOW).unwrap();
        let known = memory.key(key.kid()).unwrap();
        assert_eq!(known.instant, UnixSeconds::new(7));
        assert_eq!((known.created, known.seen), (None, NOW));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_not_used() {
        let pinned = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
        let renamed = json!({"version": 1, "keys": [{"active_from": 0, "jwk": pinned.jwk()}]});
        for (name, text) in [
            ("empty", String::new()),
            (
                "another version",
                json!({"version": 3, "keys": []}).to_string(),
            ),
            ("no keys", json!({"version": 1}).to_string()),
            ("no thumbprint", renamed.to_string()),
        ] {
            assert!(parse(text.as_bytes(), NOW).is_err(), "{name}");
        }
    }
}
