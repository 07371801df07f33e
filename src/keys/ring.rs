//! The keys as the rest of the service sees them: one immutable snapshot, swapped whole.
//!
//! A request reads the snapshot once and keeps it; nothing it does can see half of a change.
//! The JWKS path reads ready-made bytes and touches nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::rules::Rules;
use super::schedule::Timetable;
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Jwk, JwkSet, Kid, NotAKey, ProtectedHeader, Verifier};

/// A public key with what mints need of it ready-made.
#[derive(Debug, Clone)]
pub struct PublishedKey {
    jwk: Jwk,
    header: ProtectedHeader,
    verifier: Verifier,
}

impl PublishedKey {
    /// # Errors
    /// [`NotAKey`] where the public components are none.
    pub fn new(jwk: Jwk) -> Result<Self, NotAKey> {
        Ok(Self {
            header: ProtectedHeader::new(jwk.algorithm(), jwk.kid()),
            verifier: Verifier::new(jwk.key())?,
            jwk,
        })
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
}

/// The body of the JWKS answer and which version of the set it is.
#[derive(Debug, Clone)]
pub struct JwksDocument {
    pub body: Bytes,
    pub version: Arc<JwksVersion>,
}

/// One version of the set, as verifiers may have fetched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksVersion {
    /// Strong entity tag (RFC 9110, 8.8.3), quotes included.
    pub etag: String,
    pub kids: BTreeSet<Kid>,
}

/// A key that may sign one mint, and for how long its token may live.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    pub key: &'a Arc<PublishedKey>,
    /// Seconds; at most what was asked for.
    pub ttl: u64,
}

/// All published keys at one moment, and when each of them signs.
#[derive(Debug)]
pub struct KeyRing {
    /// Our own first, in the order of the document.
    keys: Vec<Arc<PublishedKey>>,
    timetable: Timetable,
    /// They wait for verifiers that do not have them yet.
    held: BTreeSet<Kid>,
    document: Option<JwksDocument>,
}

impl KeyRing {
    /// Our `own` published keys of any order, then `others`, which never sign. The key that signs at `now` comes first, then
    /// the newest, then by kid.
    pub fn new(
        own: Vec<Arc<PublishedKey>>,
        others: impl IntoIterator<Item = Arc<PublishedKey>>,
        timetable: Timetable,
        held: BTreeSet<Kid>,
        now: UnixSeconds,
    ) -> Self {
        let keys = arranged(own, others, &timetable, &held, now);
        Self::of(keys, timetable, held)
    }

    /// The same, where it says anything else than this one: it is asked several times a second, and a document is written and
    /// hashed for each ring.
    pub fn next(
        &self,
        own: Vec<Arc<PublishedKey>>,
        others: impl IntoIterator<Item = Arc<PublishedKey>>,
        timetable: Timetable,
        held: BTreeSet<Kid>,
        now: UnixSeconds,
    ) -> Option<Self> {
        let keys = arranged(own, others, &timetable, &held, now);
        let jwks = self.keys.iter().map(|key| key.jwk());
        let same = jwks.eq(keys.iter().map(|key| key.jwk()))
            && self.timetable == timetable
            && self.held == held;
        (!same).then(|| Self::of(keys, timetable, held))
    }

    fn of(keys: Vec<Arc<PublishedKey>>, timetable: Timetable, held: BTreeSet<Kid>) -> Self {
        let document = document(&keys);
        Self {
            keys,
            timetable,
            held,
            document,
        }
    }

    /// Nothing published, nothing that signs.
    pub fn empty(rules: Rules) -> Self {
        let timetable = Timetable::new(Vec::new(), rules);
        Self::new(
            Vec::new(),
            [],
            timetable,
            BTreeSet::new(),
            UnixSeconds::EVER,
        )
    }

    /// The key that signs at `now`, where its token is well.
    pub fn signing_key(&self, now: UnixSeconds) -> Option<&Arc<PublishedKey>> {
        let first = self.order(now, self.timetable.usual_life());
        first.into_iter().next().map(|choice| choice.key)
    }

    /// All keys that may sign a token of `ttl` seconds, in the order in which they are asked.
    pub fn order(&self, now: UnixSeconds, ttl: u64) -> Vec<Choice<'_>> {
        let order = self.timetable.order(now, ttl, &self.held);
        let published = order.into_iter().filter_map(|turn| {
            let key = self.key(turn.kid)?;
            Some(Choice { key, ttl: turn.ttl })
        });
        published.collect()
    }

    /// A published key.
    pub fn key(&self, kid: &Kid) -> Option<&Arc<PublishedKey>> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    pub fn keys(&self) -> &[Arc<PublishedKey>] {
        &self.keys
    }

    pub const fn timetable(&self) -> &Timetable {
        &self.timetable
    }

    pub const fn held(&self) -> &BTreeSet<Kid> {
        &self.held
    }

    /// None while no key was ever known: an empty set would be a failed fetch for verifiers.
    pub const fn document(&self) -> Option<&JwksDocument> {
        self.document.as_ref()
    }
}

fn arranged(
    mut own: Vec<Arc<PublishedKey>>,
    others: impl IntoIterator<Item = Arc<PublishedKey>>,
    timetable: &Timetable,
    held: &BTreeSet<Kid>,
    now: UnixSeconds,
) -> Vec<Arc<PublishedKey>> {
    let order = timetable.order(now, timetable.usual_life(), held);
    let signing = order
        .iter()
        .map(|turn| turn.kid)
        .find(|kid| own.iter().any(|key| key.kid() == *kid));
    own.sort_by_cached_key(|key| {
        let instant = timetable.of(key.kid()).map(|of| of.instant);
        (
            Some(key.kid()) != signing,
            std::cmp::Reverse(instant),
            key.kid().clone(),
        )
    });
    own.extend(others);
    own
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
    let version = JwksVersion {
        etag: format!("\"{}\"", hex::encode(hash.as_ref().get(..16)?)),
        kids: keys.iter().map(|key| key.kid().clone()).collect(),
    };
    Some(JwksDocument {
        version: Arc::new(version),
        body: body.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::PublicKey;
    use crate::keys::schedule::{Created, Member};

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

    fn key(kid: &str) -> Arc<PublishedKey> {
        let (x, y) = POINTS[kid.len() % 2];
        let coordinate = |text| hex::decode(text).unwrap().try_into().unwrap();
        let jwk = Jwk::new(
            Kid::pinned(kid.into()).unwrap(),
            PublicKey::p256(coordinate(x), coordinate(y)),
        );
        Arc::new(PublishedKey::new(jwk).unwrap())
    }

    fn table(keys: &[(&str, u64)]) -> Timetable {
        let members = keys.iter().map(|(kid, instant)| Member {
            kid: Kid::pinned((*kid).into()).unwrap(),
            instant: UnixSeconds::new(*instant),
            created: Some(Created::at(UnixSeconds::EVER)),
            seen: UnixSeconds::EVER,
            absent: None,
            revoked: false,
            gone: false,
        });
        Timetable::new(members.collect(), Rules::SHORT)
    }

    #[test]
    fn the_document_names_the_signing_key_first_then_the_newest_and_other_keys_last() {
        let own = vec![key("a"), key("old"), key("next"), key("b")];
        let table = table(&[("old", 0), ("b", 50), ("a", 50), ("next", 500)]);
        let ring = KeyRing::new(
            own,
            [key("extra")],
            table,
            BTreeSet::new(),
            UnixSeconds::new(100),
        );

        let kids: Vec<&str> = ring.keys().iter().map(|key| key.kid().as_str()).collect();
        assert_eq!(kids, ["a", "next", "b", "old", "extra"]);
        let body = &ring.document().unwrap().body;
        let set: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(set["keys"][0]["kid"], "a");
        assert_eq!(set["keys"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn a_ring_is_made_anew_only_where_it_says_something_else() {
        let keys = [("old", 0), ("b", 50)];
        let own = || vec![key("old"), key("b")];
        let at = UnixSeconds::new;
        let ring = KeyRing::new(own(), [], table(&keys), BTreeSet::new(), at(40));
        let next = |now, held: &[&str], others: &[&str], keys: &[(&str, u64)]| {
            let held = held.iter().map(|kid| Kid::pinned((*kid).into()).unwrap());
            let others = others.iter().map(|kid| key(kid));
            ring.next(own(), others, table(keys), held.collect(), at(now))
        };

        assert!(next(49, &[], &[], &keys).is_none());
        assert!(next(50, &[], &[], &keys).is_some(), "another key signs");
        assert!(next(40, &["b"], &[], &keys).is_some(), "a key is held");
        assert!(next(40, &[], &["extra"], &keys).is_some(), "one key more");
        let later = [("old", 0), ("b", 60)];
        assert!(next(40, &[], &[], &later).is_some(), "another instant");
    }

    #[test]
    fn what_is_not_published_does_not_sign() {
        let table = table(&[("a", 50), ("b", 50)]);
        let now = UnixSeconds::new(100);
        let ring = KeyRing::new(vec![key("b")], [], table, BTreeSet::new(), now);

        assert_eq!(ring.signing_key(now).unwrap().kid().as_str(), "b");
        assert_eq!(ring.order(now, 1).len(), 1);
    }

    #[test]
    fn no_key_gives_no_document_rather_than_an_empty_set() {
        assert!(KeyRing::empty(Rules::SHORT).document().is_none());
    }
}
