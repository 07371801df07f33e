//! Who has fetched which version of the JWKS, and when: what an operator looks at before a new key signs, and what may hold
//! an activation. Local knowledge of one replica, bounded in memory. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::ring::JwksVersion;
use super::rules::Rules;
use super::schedule::Timetable;
use crate::clock::UnixSeconds;
use crate::jose::Kid;

/// By address: several verifiers behind one address count as one.
#[derive(Debug, Clone, Default)]
pub struct Verifiers {
    fetches: BTreeMap<IpAddr, Fetch>,
}

/// The last fetch from one address.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub version: Arc<JwksVersion>,
    pub at: UnixSeconds,
    /// Seconds since the one before: how long this verifier really keeps a set. 0 where it has come only once.
    every: u64,
}

impl Fetch {
    /// A verifier that was not seen for two of its lives is gone. Its life is the configured one, or the longer one that it has shown:
    /// up to the lead, because beyond that no wait would help.
    pub fn is_recent(&self, rules: &Rules, now: UnixSeconds) -> bool {
        let life = rules.verifier_ttl.max(self.every.min(rules.lead));
        now <= self.at.plus(life.saturating_mul(2))
    }
}

/// More addresses than any installation has verifiers; beyond it the one that asked longest ago is forgotten.
const MOST: usize = 1024;

impl Verifiers {
    /// Notes a fetch.
    pub fn fetched(&mut self, address: IpAddr, version: &Arc<JwksVersion>, at: UnixSeconds) {
        if self.fetches.len() >= MOST && !self.fetches.contains_key(&address) {
            let oldest = self.fetches.iter().min_by_key(|(_, fetch)| fetch.at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.fetches.remove(&oldest);
            }
        }
        let before = self.fetches.get(&address).map_or(at, |fetch| fetch.at);
        let every = at.get().saturating_sub(before.get());
        let version = Arc::clone(version);
        self.fetches.insert(address, Fetch { version, at, every });
    }

    /// Addresses seen lately whose last fetch had no such key.
    pub fn lacking(
        &self,
        kid: &Kid,
        rules: &Rules,
        now: UnixSeconds,
    ) -> impl Iterator<Item = IpAddr> {
        self.fetches
            .iter()
            .filter(move |(_, fetch)| {
                fetch.is_recent(rules, now) && !fetch.version.kids.contains(kid)
            })
            .map(|(address, _)| *address)
    }

    /// Keys about to sign that a verifier lacks. For the lead at most: an activation cannot wait for a verifier that never asks.
    pub fn hold(&self, timetable: &Timetable, now: UnixSeconds) -> BTreeSet<Kid> {
        let rules = timetable.rules();
        let newer = timetable.generations().iter().skip(1);
        newer
            .flat_map(|generation| &generation.keys)
            .filter(|entry| now < entry.ripe.plus(rules.lead))
            .map(|entry| &entry.member.kid)
            .filter(|kid| self.lacking(kid, rules, now).next().is_some())
            .cloned()
            .collect()
    }

    /// All that are known, by address.
    pub fn fetches(&self) -> impl Iterator<Item = (IpAddr, &Fetch)> {
        self.fetches
            .iter()
            .map(|(address, fetch)| (*address, fetch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn version(kids: &[&str]) -> Arc<JwksVersion> {
        let kids = kids.iter().map(|kid| Kid::pinned((*kid).into()).unwrap());
        Arc::new(JwksVersion {
            etag: String::new(),
            kids: kids.collect(),
        })
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    const fn at(seconds: u64) -> UnixSeconds {
        UnixSeconds::new(seconds)
    }

    #[test]
    fn a_verifier_lacks_a_key_until_it_fetches_a_set_with_it_or_is_gone() {
        let (old, new) = (version(&["a"]), version(&["a", "b"]));
        let b = Kid::pinned("b".into()).unwrap();
        let mut verifiers = Verifiers::default();
        verifiers.fetched(address(1), &old, at(100));
        verifiers.fetched(address(2), &old, at(90));
        verifiers.fetched(address(3), &new, at(100));
        let rules = Rules {
            verifier_ttl: 10,
            ..Rules::SHORT
        };

        let lacking = |verifiers: &Verifiers, now| verifiers.lacking(&b, &rules, at(now)).count();
        assert_eq!(lacking(&verifiers, 110), 2);
        assert_eq!(lacking(&verifiers, 111), 1, "not seen for long");
        verifiers.fetched(address(1), &new, at(110));
        assert_eq!(lacking(&verifiers, 111), 0);
    }

    #[test]
    fn a_verifier_that_keeps_sets_for_longer_than_configured_is_waited_for_by_its_own_time() {
        let rules = Rules {
            verifier_ttl: 10,
            lead: 60,
            ..Rules::SHORT
        };
        let gone_after = |between: u64| {
            let mut verifiers = Verifiers::default();
            verifiers.fetched(address(1), &version(&["a"]), at(1_000));
            verifiers.fetched(address(1), &version(&["a"]), at(1_000 + between));
            let b = Kid::pinned("b".into()).unwrap();
            (0..500)
                .find(|after| {
                    let now = at(1_000 + between + after);
                    verifiers.lacking(&b, &rules, now).next().is_none()
                })
                .unwrap()
        };

        for (between, gone) in [(0, 21), (3, 21), (10, 21), (25, 51), (60, 121), (300, 121)] {
            assert_eq!(gone_after(between), gone, "every {between} s");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut verifiers = Verifiers::default();
        for number in 0..2_000 {
            verifiers.fetched(address(number), &version(&[]), at(number.into()));
        }

        assert_eq!(verifiers.fetches().count(), MOST);
        assert!(verifiers.fetches().all(|(_, fetch)| fetch.at >= at(976)));
    }
}
