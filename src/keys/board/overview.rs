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
use crate::keys::{KeyRing, PublishedKey};

/// See the module.
#[derive(Debug, Clone)]
pub struct Overview {
    pub now: UnixSeconds,
    pub rules: Rules,
    /// The same on every replica that is configured alike.
    pub rules_digest: String,
    /// The kid that signs now, where its token is well.
    pub signing: Option<Kid>,
    /// Newest first; then bystanders, extra keys, the tombstone.
    pub keys: Vec<KeyOverview>,
    pub looks: Vec<LookOverview>,
    /// (address, entity tag, when, kids about to sign that it lacks).
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
}

/// The last fetch from one address.
#[derive(Debug, Clone)]
pub struct VerifierOverview {
    pub address: IpAddr,
    pub etag: String,
    pub at: UnixSeconds,
    /// It has every key that is published now.
    pub current: bool,
}

impl Role {
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
        });
        let document = ring.document();
        let verifiers = self.verifiers.lock();
        let verifiers = verifiers
            .fetches()
            .map(|(address, fetch)| VerifierOverview {
                address,
                etag: fetch.version.etag.clone(),
                at: fetch.at,
                current: document
                    .is_some_and(|now| now.version.kids.is_subset(&fetch.version.kids)),
            });
        let signing = ring.signing_key(wall).filter(|_| self.may_sign(now));
        Overview {
            now: wall,
            rules: *ring.timetable().rules(),
            rules_digest: self.digest(),
            signing: signing.map(|key| key.kid().clone()),
            keys: self.keys(&state, &ring, wall),
            looks: looks.collect(),
            verifiers: verifiers.collect(),
            etag: document.map(|document| document.version.etag.clone()),
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
