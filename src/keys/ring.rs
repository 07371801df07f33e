//! The keys as the rest of the service sees them: one immutable snapshot, swapped whole.
//!
//! A request reads the snapshot once and keeps it; nothing it does can see half of a change.
//! The JWKS path reads ready-made bytes and touches nothing else.

use std::cmp::Ordering;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Jwk, JwkSet, Kid, NotAKey, ProtectedHeader, Verifier};

/// A key that has proved possession of its private half, and so may be published.
#[derive(Debug, Clone)]
pub struct PublishedKey {
    jwk: Jwk,
    header: ProtectedHeader,
    verifier: Verifier,
    active_from: UnixSeconds,
    signs: bool,
}

impl PublishedKey {
    /// `signs: false` publishes a key without ever choosing it.
    ///
    /// # Errors
    /// [`NotAKey`] where the public components are none.
    pub fn new(jwk: Jwk, active_from: UnixSeconds, signs: bool) -> Result<Self, NotAKey> {
        Ok(Self {
            header: ProtectedHeader::new(jwk.algorithm(), jwk.kid()),
            verifier: Verifier::new(jwk.key())?,
            jwk,
            active_from,
            signs,
        })
    }

    /// The same key under another instant.
    #[must_use]
    pub fn active_later(&self, active_from: UnixSeconds) -> Self {
        Self {
            active_from: self.active_from.max(active_from),
            ..self.clone()
        }
    }

    /// The same key, published without ever being chosen.
    #[must_use]
    pub fn retired(&self) -> Self {
        Self {
            signs: false,
            ..self.clone()
        }
    }

    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    pub const fn kid(&self) -> &Kid {
        self.jwk.kid()
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.jwk.algorithm()
    }

    pub const fn header(&self) -> &ProtectedHeader {
        &self.header
    }

    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether it may be chosen once its instant has come.
    pub const fn signs(&self) -> bool {
        self.signs
    }

    pub const fn active_from(&self) -> UnixSeconds {
        self.active_from
    }
}

/// The body of the JWKS answer and its strong entity tag (RFC 9110, 8.8.3), quotes included.
#[derive(Debug, Clone)]
pub struct JwksDocument {
    pub body: Bytes,
    pub etag: String,
}

/// All published keys at one moment.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: Vec<Arc<PublishedKey>>,
    document: Option<JwksDocument>,
}

impl KeyRing {
    /// Orders the keys: the one that signs at `now` first, then newest first, then by kid.
    pub fn new(mut keys: Vec<Arc<PublishedKey>>, now: UnixSeconds) -> Self {
        keys.sort_by(|a, b| asked_before(a, b));
        if let Some(first) = keys.iter().position(|key| eligible(key, now)) {
            let signing = keys.remove(first);
            keys.insert(0, signing);
        }
        let document = document(&keys);
        Self { keys, document }
    }

    /// Newest instant that has passed, then smallest kid.
    pub fn signing_key(&self, now: UnixSeconds) -> Option<&Arc<PublishedKey>> {
        self.keys
            .iter()
            .filter(|key| eligible(key, now))
            .min_by(|a, b| asked_before(a, b))
    }

    /// All keys that may sign, in the order in which they are asked: newest instant first, then by kid.
    pub fn candidates(&self, now: UnixSeconds) -> Vec<&Arc<PublishedKey>> {
        let mut candidates: Vec<_> = self.keys.iter().filter(|key| eligible(key, now)).collect();
        candidates.sort_by(|a, b| asked_before(a, b));
        candidates
    }

    pub fn keys(&self) -> &[Arc<PublishedKey>] {
        &self.keys
    }

    /// None while no key was ever known: an empty set would be a failed fetch for verifiers.
    pub const fn document(&self) -> Option<&JwksDocument> {
        self.document.as_ref()
    }
}

fn asked_before(a: &PublishedKey, b: &PublishedKey) -> Ordering {
    let newest_first = b.active_from.cmp(&a.active_from);
    newest_first.then_with(|| a.kid().cmp(b.kid()))
}

fn eligible(key: &PublishedKey, now: UnixSeconds) -> bool {
    key.signs && key.active_from <= now
}

fn document(keys: &[Arc<PublishedKey>]) -> Option<JwksDocument> {
    if keys.is_empty() {
        return None;
    }
    let set = JwkSet {
        keys: keys.iter().map(|key| key.jwk()).collect(),
    };
    let body = serde_json::to_vec(&set).ok()?;
    let hash = digest::digest(&digest::SHA256, &body);
    Some(JwksDocument {
        etag: format!("\"{}\"", hex::encode(hash.as_ref().get(..16)?)),
        body: body.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::PublicKey;
    use proptest::prelude::*;

    /// The generator and its double: two points that are on P-256.
    const POINTS: [(&str, &str); 2] = [
        (
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        ),
        (
            "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
            "07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1",
        ),
    ];

    fn key(kid: &str, active_from: u64, signs: bool) -> Arc<PublishedKey> {
        let (x, y) = POINTS[kid.len() % 2];
        let coordinate = |text| hex::decode(text).unwrap().try_into().unwrap();
        let jwk = Jwk::new(
            Kid::pinned(kid.into()).unwrap(),
            PublicKey::p256(coordinate(x), coordinate(y)),
        );
        Arc::new(PublishedKey::new(jwk, UnixSeconds::new(active_from), signs).unwrap())
    }

    fn ring(keys: &[(&str, u64, bool)], now: u64) -> KeyRing {
        KeyRing::new(
            keys.iter()
                .map(|(kid, at, signs)| key(kid, *at, *signs))
                .collect(),
            UnixSeconds::new(now),
        )
    }

    #[test]
    fn the_newest_instant_that_has_passed_signs_then_the_smallest_kid() {
        for (name, keys, now, want) in [
            ("none", vec![], 100, None),
            ("one", vec![("a", 0, true)], 100, Some("a")),
            ("future only", vec![("a", 101, true)], 100, None),
            (
                "at its instant",
                vec![("a", 0, true), ("b", 100, true)],
                100,
                Some("b"),
            ),
            (
                "before",
                vec![("a", 0, true), ("b", 101, true)],
                100,
                Some("a"),
            ),
            (
                "tie",
                vec![("c", 50, true), ("b", 50, true), ("a", 10, true)],
                100,
                Some("b"),
            ),
            (
                "one that never signs",
                vec![("a", 0, true), ("b", 9, false)],
                100,
                Some("a"),
            ),
        ] {
            let ring = ring(&keys, now);
            let kid = ring
                .signing_key(UnixSeconds::new(now))
                .map(|key| key.kid().as_str());
            assert_eq!(kid, want, "{name}");
        }
    }

    #[test]
    fn no_key_gives_no_document_rather_than_an_empty_set() {
        assert!(ring(&[], 0).document().is_none());
    }

    proptest! {
        #[test]
        fn the_signing_key_comes_first_and_every_key_is_published(
            instants in proptest::collection::vec((0u64..20, any::<bool>()), 1..6),
            now in 0u64..20,
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let keys: Vec<_> = instants.iter().zip(names).map(|((at, signs), kid)| (kid, *at, *signs)).collect();
            let ring = ring(&keys, now);

            if let Some(signing) = ring.signing_key(UnixSeconds::new(now)) {
                prop_assert_eq!(signing.kid(), ring.keys()[0].kid());
            }
            prop_assert_eq!(ring.keys().len(), keys.len());
            let value: serde_json::Value = serde_json::from_slice(&ring.document().unwrap().body).unwrap();
            prop_assert_eq!(value["keys"].as_array().unwrap().len(), keys.len());
        }
    }
}
