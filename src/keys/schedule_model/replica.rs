//! One replica: the real memory, edition and timetable, with a clock, looks, a state directory and a cache before it of the
//! model's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use super::course::Course;
use super::world::{Clock, World};
use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::edition::{Edition, Orders};
use crate::keys::memory::{Found, Known, Memory, TokenName};
use crate::keys::ring::JwksVersion;
use crate::keys::rules::Rules;
use crate::keys::verifiers::Verifiers;

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) clock: Clock,
    pub(super) rules: Rules,
    pub(super) edition: Edition,
    pub(super) revoked: BTreeSet<Kid>,
    held: BTreeSet<Kid>,
    memory: Memory,
    saved: Option<Memory>,
    seats: Vec<Seat>,
    verifiers: Verifiers,
    /// What the cache before it has, and since when.
    cached: Option<(u64, Arc<JwksVersion>)>,
    /// It is being restarted until then.
    pub(super) away_until: u64,
}

/// What this process knows of a token.
#[derive(Debug, Clone, Default)]
struct Seat {
    last_look: Option<UnixSeconds>,
    handles: BTreeSet<Kid>,
}

/// A minted token.
#[derive(Debug, Clone)]
pub(super) struct Minted {
    pub(super) kid: Kid,
    pub(super) at: u64,
    pub(super) expires: UnixSeconds,
    pub(super) unannounced: bool,
}

impl Replica {
    pub(super) fn new(course: &Course, clock: Clock, at: u64) -> Self {
        let mut memory = Memory::empty(clock.wall(at));
        let revoked = BTreeSet::new();
        let edition = Edition::new(
            &mut memory,
            &orders(course, course.rules, &revoked),
            clock.wall(at),
        );
        Self {
            clock,
            rules: course.rules,
            edition,
            revoked,
            held: BTreeSet::new(),
            memory,
            saved: None,
            seats: vec![Seat::default(); course.tokens],
            verifiers: Verifiers::default(),
            cached: None,
            away_until: at,
        }
    }

    /// A new process, with what its state directory has.
    pub(super) fn start(&mut self, course: &Course, at: u64) {
        let now = self.clock.wall(at);
        self.memory = self
            .saved
            .as_ref()
            .map_or_else(|| Memory::empty(now), restored);
        self.seats = vec![Seat::default(); course.tokens];
        self.verifiers = Verifiers::default();
        self.settle(course, at);
    }

    /// Another instance takes its place.
    pub(super) fn forget(&mut self) {
        self.saved = None;
    }

    /// Takes in a look, and saves.
    pub(super) fn look(&mut self, token: usize, found: &[Found], course: &Course, at: u64) {
        // A token that shows nothing is one whose look failed.
        if found.is_empty() {
            return;
        }
        let now = self.clock.wall(at);
        self.memory.resume(&name(token), &self.rules, now);
        self.memory.look(&name(token), found, now);
        self.seats[token] = Seat {
            last_look: Some(now),
            handles: found.iter().map(|found| found.key.kid().clone()).collect(),
        };
        self.settle(course, at);
        if course.saves {
            self.saved = Some(self.memory.clone());
        }
    }

    /// Moves on with time, as the board does several times a second.
    pub(super) fn settle(&mut self, course: &Course, at: u64) {
        let now = self.clock.wall(at);
        self.memory.mints(&self.rules, now);
        let orders = orders(course, self.rules, &self.revoked);
        self.edition = Edition::new(&mut self.memory, &orders, now);
        if course.converges {
            self.held = self.verifiers.hold(&self.edition.timetable, now);
        }
    }

    /// The kids in its JWKS; None where it has none to give.
    pub(super) fn published(&self) -> Option<BTreeSet<Kid>> {
        let keys = self.edition.own.iter().chain(&self.edition.others);
        let mut kids: BTreeSet<Kid> = keys.map(|key| key.kid().clone()).collect();
        if self.edition.needs_tombstone {
            kids.extend(Kid::pinned("tombstone".into()));
        }
        (!kids.is_empty()).then_some(kids)
    }

    /// A fetch by this verifier.
    pub(super) fn fetch(
        &mut self,
        verifier: usize,
        course: &Course,
        at: u64,
    ) -> Option<Arc<JwksVersion>> {
        let age = self.rules.jwks_max_age * 1000;
        if let Some((since, version)) = &self.cached
            && course.proxied
            && at < since + age
        {
            return Some(Arc::clone(version));
        }
        self.settle(course, at);
        let version = Arc::new(JwksVersion {
            etag: String::new(),
            kids: self.published()?,
        });
        // All verifiers behind a cache are one.
        let number = if course.proxied { 0 } else { verifier };
        let address = IpAddr::from(Ipv4Addr::from(number as u32));
        self.verifiers
            .fetched(address, &version, self.clock.wall(at));
        self.cached = Some((at, Arc::clone(&version)));
        Some(version)
    }

    pub(super) fn is_present(&self, at: u64) -> bool {
        self.away_until <= at
    }

    /// Whether verifiers are sent here.
    pub(super) fn is_ready(&self, at: u64) -> bool {
        let now = self.clock.wall(at);
        let looks = self.memory.looks();
        let all_read = (0..self.seats.len()).all(|token| {
            looks
                .get(&name(token))
                .is_some_and(|last| now <= last.plus(self.rules.jwks_stale_after()))
        });
        self.is_present(at) && all_read && self.published().is_some()
    }

    /// A token of `ttl` seconds from the first key of the order that a healthy token holds.
    pub(super) fn mint(&self, ttl: u64, world: &World, at: u64) -> Option<Minted> {
        let now = self.clock.wall(at);
        let table = &self.edition.timetable;
        let turns = table.order(now, ttl.min(self.rules.max_ttl), &self.held);
        let turn = turns.into_iter().find(|turn| {
            self.edition.own.iter().any(|key| key.kid() == turn.kid)
                && self.can_sign(turn.kid, world, at)
        })?;
        Some(Minted {
            kid: turn.kid.clone(),
            at,
            expires: now.plus(turn.ttl),
            unannounced: turn.unannounced,
        })
    }

    fn can_sign(&self, kid: &Kid, world: &World, at: u64) -> bool {
        let now = self.clock.wall(at);
        let fresh = |seat: &Seat| {
            seat.last_look
                .is_some_and(|last| now <= last.plus(self.rules.sign_stale_after()))
        };
        self.seats.iter().enumerate().any(|(token, seat)| {
            fresh(seat)
                && seat.handles.contains(kid)
                && world.is_up(token, at)
                && world.key(kid).is_on(token, at)
        })
    }
}

fn orders<'a>(course: &Course, rules: Rules, revoked: &'a BTreeSet<Kid>) -> Orders<'a> {
    Orders {
        rules,
        algorithm: course.algorithm,
        revoked,
        extra: &[],
    }
}

/// As saved.rs gives back what it was given.
fn restored(saved: &Memory) -> Memory {
    let keys = saved.keys().map(|known| Known {
        proved: false,
        ..known.clone()
    });
    let (looks, maxima) = (saved.looks().clone(), saved.maxima().clone());
    Memory::restored(keys, looks, maxima, saved.began().cloned())
}

fn name(token: usize) -> TokenName {
    TokenName::new(Path::new("/module.so"), &token.to_string())
}
