//! What a replica publishes, and the timetable by which it signs, made of all it knows at one moment. Pure.
//!
//! `Memory + rules + lists of the operator + now  ->  Edition`. The board makes a ring of it; schedule_model.rs runs whole
//! histories of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::PublishedKey;
use super::memory::Memory;
use super::rules::Rules;
use super::schedule::{State, Timetable};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Kid};

/// See the module.
#[derive(Debug)]
pub struct Edition {
    pub timetable: Timetable,
    /// Keys of the timetable.
    pub own: Vec<Arc<PublishedKey>>,
    /// Published beside them; they never sign.
    pub others: Vec<Arc<PublishedKey>>,
    /// Every key has been revoked: an empty set would be a failed fetch for verifiers, and keep the revoked keys alive for
    /// their stale grace.
    pub needs_tombstone: bool,
}

/// What an operator has said about keys, beside the keys themselves.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    pub rules: Rules,
    /// Only its keys sign.
    pub algorithm: Option<Algorithm>,
    pub revoked: &'a BTreeSet<Kid>,
    pub extra: &'a [Arc<PublishedKey>],
}

impl Edition {
    /// Forgets what has expired and is nowhere any more, and tells what is to be published of the rest.
    pub fn new(memory: &mut Memory, orders: &Orders<'_>, now: UnixSeconds) -> Self {
        let rules = memory.rules(orders.rules);
        let table = |memory: &Memory| {
            let members = memory.members(orders.algorithm, orders.revoked);
            Timetable::outliving(members, rules, orders.rules.retain)
        };
        memory.forget_expired(&table(memory), now);
        let timetable = table(memory);
        let own: Vec<Arc<PublishedKey>> = timetable
            .published(now, memory.is_stranger(&rules, now))
            .filter_map(|kid| memory.key(kid))
            .map(|known| Arc::clone(&known.key))
            .collect();
        let bystanders = memory.bystanders(orders.algorithm);
        let bystanders = bystanders.map(|known| &known.key);
        let extra = orders.extra.iter();
        // One of ours that has expired is published where another site still signs with it.
        let extra = extra.filter(|extra| match memory.key(extra.kid()) {
            None => true,
            Some(ours) => {
                let of_ours = timetable.of(extra.kid());
                let expired = of_ours.is_some_and(|of| timetable.state(of, now) == State::Expired);
                expired
                    && ours.key.jwk() == extra.jwk()
                    && !own.iter().any(|key| key.kid() == extra.kid())
            }
        });
        let others: Vec<Arc<PublishedKey>> = bystanders
            .chain(extra)
            .filter(|key| !orders.revoked.contains(key.kid()))
            .cloned()
            .collect();
        let nothing_left = own.is_empty() && others.is_empty();
        Self {
            needs_tombstone: nothing_left
                && memory
                    .keys()
                    .any(|known| orders.revoked.contains(known.key.kid())),
            timetable,
            own,
            others,
        }
    }
}
