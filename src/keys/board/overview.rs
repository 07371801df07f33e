//! Everything that can be said about the keys at one moment, for people and machines: `/status`, `keys`, metrics.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::Board;
use crate::clock::{Moment, UnixSeconds};
use crate::jose::Kid;
use crate::keys::alarm::Alarm;
use crate::keys::memory::{Known, TokenName};
use crate::keys::rules::Rules;
use crate::keys::schedule::{Created, State};
use crate::keys::{KeyRing, Part, PublishedKey};

/// The state of a revoked key, whatever its role was.
pub const REVOKED: &str = "REVOKED";

/// See the module.
#[derive(Debug, Clone)]
pub struct Overview {
    pub now: UnixSeconds,
    pub rules: Rules,
    /// The same on every replica that is configured alike.
    pub rules_digest: String,
    /// The kid that signs now. From a [`Signer`](crate::keys::Signer): one that a token which is well holds; from a board
    /// alone: the one whose turn it is.
    pub signing: Option<Kid>,
    /// Newest first; then bystanders, extra keys, the tombstone.
    pub keys: Vec<KeyOverview>,
    pub looks: Vec<LookOverview>,
    pub verifiers: Vec<VerifierOverview>,
    pub etag: Option<String>,
    pub alarms: Vec<Alarm>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct KeyOverview {
    pub key: Arc<PublishedKey>,
    pub role: Role,
    pub instant: Option<UnixSeconds>,
    pub created: Option<Created>,
    pub seen: Option<UnixSeconds>,
    /// When its generation switches, or switched.
    pub switch: Option<UnixSeconds>,
    /// When this key may sign.
    pub ripe: Option<UnixSeconds>,
    /// When a newer generation took over, or will.
    pub retired: Option<UnixSeconds>,
    pub removal: Option<UnixSeconds>,
    pub tokens: Vec<TokenName>,
    pub published: bool,
    pub proved: bool,
    pub revoked: bool,
    pub held: bool,
}

/// Why a key is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In the rotation.
    Scheduled(State),
    /// Of the algorithm that does not sign.
    Bystander,
    /// Of the operator's file.
    Extra,
    /// Nobody holds its private half.
    Tombstone,
}

/// The last complete look at one token.
#[derive(Debug, Clone)]
pub struct LookOverview {
    pub token: TokenName,
    pub at: Option<UnixSeconds>,
    pub failure: Option<String>,
    pub refused: Vec<String>,
    /// None from a board alone, which asks no token.
    pub health: Option<TokenHealth>,
}

/// How one token is.
#[derive(Debug, Clone)]
pub struct TokenHealth {
    /// As it named itself when it was last reached.
    pub identity: Option<TokenIdentity>,
    /// All parts are well.
    pub ready: bool,
    pub parts: Vec<Part>,
    /// Seconds since a signature verified; None: none has since the last failure.
    pub verified_ago: Option<u64>,
}

/// What a token says of itself. Foreign text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    pub label: String,
    pub serial: String,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
}

/// The last fetch from one address.
#[derive(Debug, Clone)]
pub struct VerifierOverview {
    pub address: IpAddr,
    pub etag: String,
    pub at: UnixSeconds,
    /// Seen in the last two of its lives; others are gone.
    pub recent: bool,
    /// The kids published now that it did not get.
    pub lacks: Vec<Kid>,
}

impl VerifierOverview {
    /// It has every key that is published now.
    pub const fn is_current(&self) -> bool {
        self.lacks.is_empty()
    }
}

impl Overview {
    /// When a prepared key signs next, as far as time decides.
    pub fn next_switch(&self) -> Option<UnixSeconds> {
        let prepared = self.keys.iter().filter(|key| key.is_prepared());
        prepared.filter_map(|key| key.switch).min()
    }

    /// When a published key is next withdrawn.
    pub fn next_removal(&self) -> Option<UnixSeconds> {
        let published = self.keys.iter().filter(|key| key.published);
        let removals = published.filter_map(|key| key.removal);
        removals.filter(|removal| self.now < *removal).min()
    }

    /// Verifiers that were seen lately and did not get this key.
    pub fn lacking(&self, kid: &Kid) -> impl Iterator<Item = &VerifierOverview> {
        self.verifiers
            .iter()
            .filter(move |verifier| verifier.recent && verifier.lacks.contains(kid))
    }
}

impl Role {
    pub const ALL: [Self; 7] = [
        Self::Scheduled(State::Prepared),
        Self::Scheduled(State::Active),
        Self::Scheduled(State::Retired),
        Self::Scheduled(State::Expired),
        Self::Bystander,
        Self::Extra,
        Self::Tombstone,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled(State::Prepared) => "PREPARED",
            Self::Scheduled(State::Active) => "ACTIVE",
            Self::Scheduled(State::Retired) => "RETIRED",
            Self::Scheduled(State::Expired) => "EXPIRED",
            Self::Bystander => "BYSTANDER",
            Self::Extra => "EXTRA",
            Self::Tombstone => "TOMBSTONE",
        }
    }
}

impl Board {
    /// The whole, as of `now`.
    pub fn overview(&self, now: Moment) -> Overview {
        let ring = Arc::clone(&self.ring());
        let wall = now.wall;
        let state = self.state.lock();
        let looks = self.config.tokens.iter().map(|token| LookOverview {
            token: token.clone(),
            at: state.last_look(token),
            failure: state.failed_looks.get(token).cloned(),
            refused: state.refused_keys.get(token).cloned().unwrap_or_default(),
            health: None,
        });
        let signing = ring.signing_key(wall).filter(|_| self.may_sign(now));
        Overview {
            now: wall,
            rules: *ring.timetable().rules(),
            rules_digest: self.digest(),
            signing: signing.map(|key| key.kid().clone()),
            keys: self.keys(&state, &ring, wall),
            looks: looks.collect(),
            verifiers: self.verifier_overviews(&ring, wall),
            etag: ring
                .document()
                .map(|document| document.version.etag.clone()),
            alarms: state.alarms.clone(),
        }
    }

    fn keys(&self, state: &super::State, ring: &KeyRing, now: UnixSeconds) -> Vec<KeyOverview> {
        let mut keys = scheduled(state, ring, now);
        let bystanders = state.memory.bystanders(self.config.algorithm);
        keys.extend(bystanders.map(|known| KeyOverview::known(known, Role::Bystander)));
        let extra = state.lists.extra.iter();
        let extra = extra.filter(|extra| state.memory.key(extra.kid()).is_none());
        keys.extend(extra.map(|key| KeyOverview::foreign(key, Role::Extra)));
        let stone = state.tombstone.iter();
        let stone = stone.filter(|stone| ring.key(stone.kid()).is_some());
        keys.extend(stone.map(|key| KeyOverview::foreign(key, Role::Tombstone)));
        for key in &mut keys {
            let kid = key.key.kid();
            key.published = ring.key(kid).is_some();
            key.revoked = state.lists.revoked.contains(kid);
            key.held = ring.held().contains(kid);
        }
        keys
    }

    fn verifier_overviews(&self, ring: &KeyRing, now: UnixSeconds) -> Vec<VerifierOverview> {
        let rules = ring.timetable().rules();
        let published = ring.document().map(|document| &document.version.kids);
        let verifiers = self.verifiers.lock();
        let fetches = verifiers.fetches();
        fetches
            .map(|(address, fetch)| {
                let lacks = published.into_iter().flatten();
                let lacks = lacks.filter(|kid| !fetch.version.kids.contains(*kid));
                VerifierOverview {
                    address,
                    etag: fetch.version.etag.clone(),
                    at: fetch.at,
                    recent: fetch.is_recent(rules, now),
                    lacks: lacks.cloned().collect(),
                }
            })
            .collect()
    }

    fn digest(&self) -> String {
        let text =
            serde_json::to_string(&(self.config.rules, self.config.algorithm.map(|of| of.name())));
        let hash = digest::digest(&digest::SHA256, text.unwrap_or_default().as_bytes());
        hex::encode(hash.as_ref().get(..8).unwrap_or_default())
    }
}

/// The generations, newest first.
fn scheduled(state: &super::State, ring: &KeyRing, now: UnixSeconds) -> Vec<KeyOverview> {
    let table = ring.timetable();
    let mut keys = Vec::new();
    for (number, generation) in table.generations().iter().enumerate().rev() {
        let newer = table.generations().iter().skip(number + 1);
        let retired = newer.map(|newer| newer.switch).min();
        for entry in &generation.keys {
            let Some(known) = state.memory.key(&entry.member.kid) else {
                continue;
            };
            keys.push(KeyOverview {
                switch: Some(generation.switch),
                ripe: Some(entry.ripe),
                retired,
                removal: generation.removal,
                ..KeyOverview::known(known, Role::Scheduled(table.state(generation, now)))
            });
        }
    }
    keys
}

impl KeyOverview {
    /// As lists and metrics name it: revoked before all else.
    pub const fn state(&self) -> &'static str {
        if self.revoked {
            return REVOKED;
        }
        self.role.name()
    }

    /// Its turn is to come.
    pub fn is_prepared(&self) -> bool {
        self.role == Role::Scheduled(State::Prepared) && !self.revoked
    }

    fn known(known: &Known, role: Role) -> Self {
        Self {
            role,
            instant: Some(known.instant),
            created: known.created,
            seen: Some(known.seen),
            tokens: known.on.keys().cloned().collect(),
            proved: known.proved,
            ..Self::foreign(&known.key, role)
        }
    }

    fn foreign(key: &Arc<PublishedKey>, role: Role) -> Self {
        Self {
            key: Arc::clone(key),
            role,
            instant: None,
            created: None,
            seen: None,
            switch: None,
            ripe: None,
            retired: None,
            removal: None,
            tokens: Vec::new(),
            published: false,
            proved: false,
            revoked: false,
            held: false,
        }
    }
}
