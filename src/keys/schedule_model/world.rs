//! What really is: keys on tokens, with the time of everything that happens to them, and when tokens are away. True time, in
//! milliseconds after the start; a clock shows it more or less.

use std::fmt;
use std::sync::Arc;

use super::dice::Dice;
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Jwk, Kid, PublicKey};
use crate::keys::PublishedKey;
use crate::keys::memory::Found;
use crate::keys::schedule::Created;

/// Long after the epoch, so that nothing saturates.
const START: u64 = 1_800_000_000_000;

/// Somebody's clock. All of them lie within S.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Milliseconds before true time.
    fast: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) keys: Vec<Key>,
    /// Of each token (from, until).
    pub(super) outages: Vec<Vec<(u64, u64)>>,
}

pub(super) struct Key {
    pub(super) published: Arc<PublishedKey>,
    /// None: long before the start.
    pub(super) born: Option<u64>,
    /// From its CKA_ID.
    pub(super) created: Option<Created>,
    /// Of its label.
    pub(super) instant: UnixSeconds,
    pub(super) places: Vec<Place>,
    pub(super) revoked: Option<u64>,
}

/// One private object.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) token: usize,
    /// When the token begins to show it.
    pub(super) visible: u64,
    pub(super) destroyed: bool,
}

impl Clock {
    pub(super) const fn new(skew: u64, dice: &mut Dice) -> Self {
        Self {
            fast: dice.between(0, skew * 1000),
        }
    }

    pub(super) const fn millis(self, at: u64) -> u64 {
        START + at + self.fast
    }

    pub(super) const fn wall(self, at: u64) -> UnixSeconds {
        UnixSeconds::new(self.millis(at) / 1000)
    }

    /// The last millisecond at which it shows this second.
    pub(super) const fn last_of(self, second: UnixSeconds) -> u64 {
        (second.get() * 1000 + 999).saturating_sub(START + self.fast)
    }
}

impl World {
    pub(super) fn is_up(&self, token: usize, at: u64) -> bool {
        self.back(token, at) == at
    }

    pub(super) fn stays_up(&self, token: usize, at: u64, until: u64) -> bool {
        let mut outages = self.outages[token].iter();
        !outages.any(|(from, end)| *from < until && at < *end)
    }

    /// When the token can be read next.
    pub(super) fn back(&self, token: usize, at: u64) -> u64 {
        let outage = self.outages[token]
            .iter()
            .find(|(from, until)| (*from..*until).contains(&at));
        outage.map_or(at, |(_, until)| *until)
    }

    /// What a complete look at the token finds.
    pub(super) fn found(&self, token: usize, at: u64) -> Vec<Found> {
        let there = self.keys.iter().filter(|key| key.is_on(token, at));
        there
            .map(|key| Found {
                key: Arc::clone(&key.published),
                instant: key.instant,
                created: key.created,
            })
            .collect()
    }

    pub(super) fn key(&self, kid: &Kid) -> &Key {
        self.keys
            .iter()
            .find(|key| key.published.kid() == kid)
            .unwrap()
    }

    pub(super) fn key_mut(&mut self, kid: &Kid) -> &mut Key {
        self.keys
            .iter_mut()
            .find(|key| key.published.kid() == kid)
            .unwrap()
    }
}

impl Key {
    pub(super) fn is_on(&self, token: usize, at: u64) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.token == token && place.visible <= at && !place.destroyed)
    }

    pub(super) fn is_revoked(&self, at: u64) -> bool {
        self.revoked.is_some_and(|since| since <= at)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            published,
            born,
            created,
            instant,
            places,
            revoked,
        } = self;
        let kid = published.kid();
        let algorithm = published.algorithm().name();
        let created = created.map(|created| second(created.seconds()));
        let instant = second(*instant);
        write!(
            f,
            "{kid} {algorithm}: born {born:?}, in its id {created:?}, instant {instant}, revoked {revoked:?}, on {places:?}"
        )
    }
}

/// Of true time, for people.
pub(super) const fn second(at: UnixSeconds) -> i64 {
    at.get().cast_signed() - (START / 1000).cast_signed()
}

/// A public key under a kid of its own; only its type and its kid count here.
pub(super) fn public_half(
    algorithm: Algorithm,
    number: usize,
    dice: &mut Dice,
) -> Arc<PublishedKey> {
    let key = match algorithm {
        Algorithm::Rs256 => PublicKey::rsa(&[0xc5; 256], &[1, 0, 1]).unwrap(),
        Algorithm::Es256 => {
            let coordinate = |text| hex::decode(text).unwrap().try_into().unwrap();
            PublicKey::p256(coordinate(GENERATOR.0), coordinate(GENERATOR.1))
        }
    };
    // Kids of one generation stand in any order.
    let kid = format!("{:02}-{number}", dice.below(100));
    let jwk = Jwk::new(Kid::pinned(kid).unwrap(), key);
    Arc::new(PublishedKey::new(jwk).unwrap())
}

/// Of P-256.
const GENERATOR: (&str, &str) = (
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
);
