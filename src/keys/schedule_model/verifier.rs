//! A verifier as the runtime has it (macp-auth 0.13): it asks for the JWKS when its copy is older than its TTL and never
//! because a kid is unknown; where a fetch fails it goes on with the old copy.

use std::sync::Arc;

use super::world::Clock;
use crate::jose::Kid;
use crate::keys::ring::JwksVersion;
use crate::keys::rules::{FETCH, STALE_GRACE};

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) clock: Clock,
    ttl: u64,
    copy: Option<(u64, Arc<JwksVersion>)>,
}

impl Verifier {
    pub(super) const fn new(clock: Clock, ttl: u64) -> Self {
        Self {
            clock,
            ttl: ttl * 1000,
            copy: None,
        }
    }

    pub(super) fn wants_fetch(&self, at: u64) -> bool {
        let copy = self.copy.as_ref();
        copy.is_none_or(|(since, _)| at >= since + self.ttl)
    }

    /// The answer to a fetch, and how many milliseconds it took.
    pub(super) fn fetched(&mut self, answer: Option<Arc<JwksVersion>>, at: u64, took: u64) {
        debug_assert!(took <= FETCH * 1000);
        if let Some(version) = answer {
            self.copy = Some((at + took, version));
        } else {
            let graced = self.ttl + STALE_GRACE * 1000;
            self.copy.take_if(|(since, _)| at >= *since + graced);
        }
    }

    pub(super) fn has(&self, kid: &Kid) -> bool {
        let copy = self.copy.as_ref();
        copy.is_some_and(|(_, version)| version.kids.contains(kid))
    }

    pub(super) fn age(&self, at: u64) -> Option<u64> {
        self.copy
            .as_ref()
            .map(|(since, _)| at.saturating_sub(*since))
    }
}
