//! Public keys of others that are published beside our own: a JWK set, or one JWK.
//!
//! One member that cannot be published refuses the file: who published a part of it would leave tokens unverifiable without
//! a word. What is published is written by us, so members that we do not write (`x5c`, `key_ops`) do not get out; those that
//! contradict what we write refuse. No member's content stands in a fault: the file may hold a private key by mistake.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde_json::Value;

use super::without_mark;
use crate::jose::{Algorithm, Jwk, JwkError, Kid};
use crate::keys::PublishedKey;

/// Why a text is no set of public keys that can be published. Keys are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtraFault {
    #[error("it is no JSON (line {line}). Write {{\"keys\":[…]}}, as a JWKS is published")]
    NotJson { line: usize },
    #[error("it is neither a JWK set nor a JWK. Write {{\"keys\":[…]}}, as a JWKS is published")]
    NoSet,
    #[error(
        "it has {found} keys; {MOST_KEYS} are published at most. Leave out those that no longer sign"
    )]
    TooMany { found: usize },
    #[error(
        "key {number} has the private member \"{member}\". Write the public half alone, and replace the key if others could read it here"
    )]
    Private { number: usize, member: &'static str },
    #[error(
        "key {number} cannot be published: {fault}. Public keys for RS256 and ES256 can, each with its kid"
    )]
    Key { number: usize, fault: JwkError },
    #[error("key {number} is not for this use: \"{member}\" must be {want}, or be left out")]
    Contradiction {
        number: usize,
        member: &'static str,
        want: String,
    },
    #[error("key {number} has the kid {kid:?} of another key in the file. Leave out one of them")]
    Ambiguous { number: usize, kid: String },
}

/// A verifier reads the whole set at each refresh.
pub const MOST_KEYS: usize = 64;

/// The keys of the set, by kid.
///
/// # Errors
/// [`ExtraFault`] names the first key that cannot be published.
pub fn parse(text: &str) -> Result<Vec<Arc<PublishedKey>>, ExtraFault> {
    let value: Value = serde_json::from_str(without_mark(text))
        .map_err(|error| ExtraFault::NotJson { line: error.line() })?;
    let members = match value.get("keys") {
        Some(keys) => keys.as_array().ok_or(ExtraFault::NoSet)?.as_slice(),
        None if value.is_object() => std::slice::from_ref(&value),
        None => return Err(ExtraFault::NoSet),
    };
    if members.len() > MOST_KEYS {
        let found = members.len();
        return Err(ExtraFault::TooMany { found });
    }
    let mut by_kid: BTreeMap<Kid, Arc<PublishedKey>> = BTreeMap::new();
    for (member, number) in members.iter().zip(1..) {
        let jwk = public_key(member, number)?;
        match by_kid.entry(jwk.kid().clone()) {
            Entry::Vacant(place) => {
                place.insert(published(jwk, number)?);
            }
            Entry::Occupied(other) if *other.get().jwk() == jwk => {}
            Entry::Occupied(_) => {
                let kid = jwk.kid().as_str().to_owned();
                return Err(ExtraFault::Ambiguous { number, kid });
            }
        }
    }
    Ok(by_kid.into_values().collect())
}

fn published(jwk: Jwk, number: usize) -> Result<Arc<PublishedKey>, ExtraFault> {
    let key = PublishedKey::new(jwk);
    let fault = |fault| ExtraFault::Key {
        number,
        fault: JwkError::NotAKey(fault),
    };
    key.map(Arc::new).map_err(fault)
}

fn public_key(member: &Value, number: usize) -> Result<Jwk, ExtraFault> {
    let jwk = Jwk::from_json(member).map_err(|fault| match fault {
        JwkError::Private { member } => ExtraFault::Private { number, member },
        fault => ExtraFault::Key { number, fault },
    })?;
    contradiction(member, jwk.algorithm()).map_or(Ok(jwk), |(member, want)| {
        Err(ExtraFault::Contradiction {
            number,
            member,
            want,
        })
    })
}

/// The member that says something else than what is published, and what it would have to be.
fn contradiction(member: &Value, algorithm: Algorithm) -> Option<(&'static str, String)> {
    let absent_or = |name, fits: &dyn Fn(&Value) -> bool| member.get(name).is_none_or(fits);
    let verifies = |operations: &Value| {
        let operations = operations.as_array();
        operations.is_some_and(|all| all.iter().any(|one| one == "verify"))
    };
    if !absent_or("alg", &|alg| alg == algorithm.name()) {
        return Some(("alg", format!("{:?}", algorithm.name())));
    }
    if !absent_or("use", &|purpose| purpose == "sig") {
        return Some(("use", "\"sig\"".to_owned()));
    }
    if !absent_or("key_ops", &verifies) {
        return Some(("key_ops", "[\"verify\"]".to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::local::LocalKey;
    use proptest::prelude::*;
    use serde_json::json;

    fn jwk(algorithm: Algorithm, kid: &str) -> Value {
        let local = LocalKey::ephemeral(algorithm).unwrap().published();
        json!(Jwk::new(
            Kid::pinned(kid.into()).unwrap(),
            local.jwk().key().clone()
        ))
    }

    fn es256(kid: &str) -> Value {
        jwk(Algorithm::Es256, kid)
    }

    fn with(jwk: &Value, member: &str, value: Value) -> Value {
        let mut jwk = jwk.clone();
        jwk[member] = value;
        jwk
    }

    fn without(jwk: &Value, member: &str) -> Value {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().shift_remove(member);
        jwk
    }

    fn kids(text: &str) -> Vec<String> {
        let keys = parse(text).unwrap();
        keys.iter().map(|key| key.kid().to_string()).collect()
    }

    #[test]
    fn a_set_is_read_and_so_is_a_single_key() {
        let (a, b, rsa) = (es256("a"), es256("b"), jwk(Algorithm::Rs256, "rsa"));
        for (name, value, want) in [
            ("an empty set", json!({"keys": []}), &[][..]),
            ("one key", a.clone(), &["a"]),
            ("sorted", json!({"keys": [rsa, b, a]}), &["a", "b", "rsa"]),
            ("twice the same", json!({"keys": [a, a]}), &["a"]),
            (
                "bare",
                json!({"keys": [without(&without(&a, "alg"), "use")]}),
                &["a"],
            ),
            (
                "for verifying",
                with(&a, "key_ops", json!(["verify"])),
                &["a"],
            ),
            ("unknown members", with(&a, "x5t", json!(7)), &["a"]),
            ("beside the set", json!({"keys": [a], "next": 1}), &["a"]),
        ] {
            assert_eq!(kids(&value.to_string()), want, "{name}");
        }
        assert_eq!(kids(&format!("\u{feff}{a}\r\n")), ["a"]);
    }

    fn fault_beside_a_good_key(second: &Value) -> ExtraFault {
        let text = json!({"keys": [es256("good"), second]}).to_string();
        parse(&text).unwrap_err()
    }

    #[test]
    fn one_key_that_cannot_be_published_refuses_the_set() {
        let good = es256("a");
        for (name, second, fault) in [
            (
                "a curve",
                with(&good, "crv", json!("P-384")),
                JwkError::Type,
            ),
            (
                "no kid",
                without(&good, "kid"),
                JwkError::Missing { member: "kid" },
            ),
            ("no object", json!("a"), JwkError::Missing { member: "kty" }),
        ] {
            let want = ExtraFault::Key { number: 2, fault };
            assert_eq!(fault_beside_a_good_key(&second), want, "{name}");
        }
        let kid = "good".to_owned();
        let want = ExtraFault::Ambiguous { number: 2, kid };
        assert_eq!(fault_beside_a_good_key(&es256("good")), want);
    }

    #[test]
    fn one_private_member_refuses_the_set() {
        let good = es256("a");
        for (member, second) in [
            ("d", with(&good, "d", json!("AA"))),
            ("d", with(&good, "d", json!(null))),
            ("k", json!({"kty": "oct", "k": "AA", "kid": "b"})),
        ] {
            let want = ExtraFault::Private { number: 2, member };
            assert_eq!(fault_beside_a_good_key(&second), want, "{second}");
        }
    }

    #[test]
    fn one_key_for_another_use_refuses_the_set() {
        let (ec, rsa) = (es256("a"), jwk(Algorithm::Rs256, "rsa"));
        for (key, name, value, want) in [
            (&rsa, "alg", json!("PS256"), r#""RS256""#),
            (&ec, "alg", json!("RS256"), r#""ES256""#),
            (&ec, "alg", json!(null), r#""ES256""#),
            (&ec, "use", json!("enc"), r#""sig""#),
            (&ec, "key_ops", json!(["sign"]), r#"["verify"]"#),
            (&ec, "key_ops", json!([]), r#"["verify"]"#),
            (&ec, "key_ops", json!("verify"), r#"["verify"]"#),
        ] {
            let contradiction = ExtraFault::Contradiction {
                number: 2,
                member: name,
                want: want.to_owned(),
            };
            let fault = fault_beside_a_good_key(&with(key, name, value.clone()));
            assert_eq!(fault, contradiction, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for (name, text, want) in [
            ("nothing", "", ExtraFault::NotJson { line: 1 }),
            ("cut", "{\n\"keys\":[", ExtraFault::NotJson { line: 2 }),
            (
                "PEM",
                "-----BEGIN PUBLIC KEY-----",
                ExtraFault::NotJson { line: 1 },
            ),
            ("a list", "[]", ExtraFault::NoSet),
            ("null", "null", ExtraFault::NoSet),
            ("keys in an object", "{\"keys\":{}}", ExtraFault::NoSet),
        ] {
            assert_eq!(parse(text).unwrap_err(), want, "{name}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(&deep), Err(ExtraFault::NotJson { .. })));
    }

    #[test]
    fn at_most_64_keys_are_published() {
        let one = es256("a");
        let set = |count: usize| {
            let keys: Vec<Value> = (0..count)
                .map(|number| with(&one, "kid", json!(number.to_string())))
                .collect();
            json!({ "keys": keys }).to_string()
        };

        assert_eq!(parse(&set(64)).unwrap().len(), 64);
        assert_eq!(
            parse(&set(65)).unwrap_err(),
            ExtraFault::TooMany { found: 65 }
        );
    }

    #[test]
    fn no_private_member_is_told() {
        let secret = "c2VjcmV0LXNlY3JldA";
        let held = with(&es256("a"), "d", json!(secret));
        for text in [
            held.to_string(),
            format!("{held},"),
            with(&held, "kty", json!(secret)).to_string(),
        ] {
            let fault = parse(&text).unwrap_err();
            assert!(!format!("{fault} {fault:?}").contains(secret), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*") {
            parse(&text).ok();
        }

        #[test]
        fn a_damaged_set_does_not_panic_and_a_key_keeps_its_algorithm(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "use": "sig",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})
                .to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(keys) = parse(&String::from_utf8_lossy(&bytes)) {
                prop_assert!(keys.len() <= 1);
                for key in keys {
                    prop_assert_eq!(key.algorithm(), Algorithm::Es256);
                }
            }
        }
    }
}
