//! The last good key set in the state directory: served at once by an instance that starts while its HSM is away.
//!
//! Only public halves. What is read back is published but does not sign until its token has proved it again.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::PublishedKey;
use crate::clock::UnixSeconds;
use crate::jose::{Jwk, Kid};
use crate::state_dir::StateDir;

const FILE: &str = "jwks.json";

/// The saved keys; none where nothing was saved, or where the file is damaged (which is logged).
pub fn load(directory: &StateDir) -> Vec<Arc<PublishedKey>> {
    match directory.read(FILE) {
        Ok(None) => Vec::new(),
        Ok(Some(bytes)) => parse(&bytes).unwrap_or_else(|reason| {
            tracing::error!(
                file = FILE,
                reason,
                "the saved key set cannot be used; starting without it"
            );
            Vec::new()
        }),
        Err(error) => {
            tracing::error!(file = FILE, %error, "the saved key set cannot be read; starting without it");
            Vec::new()
        }
    }
}

/// Writes the set.
///
/// # Errors
/// The system's; the set before is then still there.
pub fn save(directory: &StateDir, keys: &[Arc<PublishedKey>]) -> io::Result<()> {
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| json!({ "active_from": key.active_from().get(), "jwk": key.jwk() }))
        .collect();
    let text = json!({ "version": 1, "keys": keys });
    directory.replace(FILE, text.to_string().as_bytes())
}

fn parse(bytes: &[u8]) -> Result<Vec<Arc<PublishedKey>>, &'static str> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| "it is no JSON")?;
    if value.get("version").and_then(Value::as_u64) != Some(1) {
        return Err("its version is not known");
    }
    let keys = value.get("keys").and_then(Value::as_array);
    keys.ok_or("it has no keys")?
        .iter()
        .map(parse_key)
        .collect()
}

fn parse_key(value: &Value) -> Result<Arc<PublishedKey>, &'static str> {
    let jwk = Jwk::from_json(value.get("jwk").unwrap_or(&Value::Null))
        .map_err(|_| "one of its keys is no public key")?;
    // A kid that is no thumbprint was not written by us.
    if *jwk.kid() != Kid::thumbprint(jwk.key()) {
        return Err("one of its keys is under a kid that is not its thumbprint");
    }
    let active_from = value["active_from"]
        .as_u64()
        .ok_or("a key has no instant")?;
    PublishedKey::new(jwk, UnixSeconds::new(active_from), false)
        .map(Arc::new)
        .map_err(|_| "one of its keys is no public key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;
    use crate::keys::local::LocalKey;

    fn key() -> Arc<PublishedKey> {
        let local = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
        let jwk = Jwk::by_thumbprint(local.jwk().key().clone());
        Arc::new(PublishedKey::new(jwk, UnixSeconds::new(7), true).unwrap())
    }

    #[test]
    fn what_is_saved_is_published_again_but_does_not_sign() {
        let home = tempfile::tempdir().unwrap();
        let directory = StateDir::open(&home.path().join("state")).unwrap();
        let keys = [key(), key()];
        save(&directory, &keys).unwrap();

        let ring = crate::keys::KeyRing::new(load(&directory), UnixSeconds::new(100));
        assert_eq!(ring.keys().len(), 2);
        assert!(ring.signing_key(UnixSeconds::new(100)).is_none());
    }

    #[test]
    fn a_damaged_or_foreign_file_is_not_used() {
        let renamed = json!({"version": 1, "keys": [{"active_from": 0, "jwk": LocalKey::ephemeral(Algorithm::Es256).unwrap().published().jwk()}]});
        for (name, text) in [
            ("empty", String::new()),
            (
                "another version",
                json!({"version": 2, "keys": []}).to_string(),
            ),
            ("no keys", json!({"version": 1}).to_string()),
            ("no thumbprint", renamed.to_string()),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{name}");
        }
    }
}
