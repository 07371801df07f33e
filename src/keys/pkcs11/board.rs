//! What all tokens together publish: one ring, made of what each token was found to hold.
//!
//! The same public key on several tokens is one key with replicas. A key that no token shows any more stays published and
//! signs no more: an empty search is also what a token says that has lost its memory for a moment.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::clock::UnixSeconds;
use crate::keys::{KeyRing, PublishedKey, saved};
use crate::state_dir::StateDir;

/// Shared by the supervisors, who write, and the requests, who read.
#[derive(Debug)]
pub(super) struct Board {
    ring: ArcSwap<KeyRing>,
    /// By token.
    found: Mutex<Vec<Vec<Arc<PublishedKey>>>>,
    directory: Option<StateDir>,
}

impl Board {
    /// Publishes what was saved, before any token is asked.
    pub(super) fn new(tokens: usize, directory: Option<StateDir>, now: UnixSeconds) -> Self {
        let restored = directory.as_ref().map(saved::load).unwrap_or_default();
        Self {
            ring: ArcSwap::from_pointee(KeyRing::new(restored, now)),
            found: Mutex::new(vec![Vec::new(); tokens]),
            directory,
        }
    }

    pub(super) fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.ring.load()
    }

    /// Publishes what a token holds now, and saves the whole where it changed.
    pub(super) fn publish(&self, token: usize, keys: Vec<Arc<PublishedKey>>, now: UnixSeconds) {
        let mut found = self.found.lock();
        if let Some(place) = found.get_mut(token) {
            *place = keys;
        }
        let before = self.ring.load();
        let union = union(found.iter().flatten(), before.keys());
        let after = KeyRing::new(union, now);
        let changed = !same(before.keys(), after.keys());
        if changed
            && let Some(directory) = &self.directory
            && let Err(error) = saved::save(directory, after.keys())
        {
            tracing::error!(%error, "the key set could not be saved; a start without the HSM would serve an older one. Check MACP_AUTH_STATE_DIR");
        }
        self.ring.store(Arc::new(after));
    }
}

fn union<'a>(
    found: impl Iterator<Item = &'a Arc<PublishedKey>>,
    known: &[Arc<PublishedKey>],
) -> Vec<Arc<PublishedKey>> {
    let mut union: Vec<Arc<PublishedKey>> = Vec::new();
    for key in found {
        match union.iter_mut().find(|other| other.kid() == key.kid()) {
            None => union.push(Arc::clone(key)),
            Some(replica) if replica.active_from() == key.active_from() => {}
            Some(replica) => {
                tracing::warn!(kid = %key.kid(), "a key has different instants in its labels; the later one counts");
                *replica = Arc::new(replica.active_later(key.active_from()));
            }
        }
    }
    for key in known {
        if !union.iter().any(|other| other.kid() == key.kid()) {
            union.push(Arc::new(key.retired()));
        }
    }
    union
}

fn same(before: &[Arc<PublishedKey>], after: &[Arc<PublishedKey>]) -> bool {
    before.len() == after.len()
        && before.iter().all(|old| {
            after
                .iter()
                .any(|new| new.kid() == old.kid() && new.active_from() == old.active_from())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, Jwk};
    use crate::keys::local::LocalKey;

    const NOW: UnixSeconds = UnixSeconds::new(100);

    fn key(active_from: u64) -> Arc<PublishedKey> {
        let local = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
        let jwk = Jwk::by_thumbprint(local.jwk().key().clone());
        Arc::new(PublishedKey::new(jwk, UnixSeconds::new(active_from), true).unwrap())
    }

    #[test]
    fn replicas_are_one_key_and_the_later_instant_counts() {
        let board = Board::new(2, None, NOW);
        let one = key(10);
        board.publish(0, vec![Arc::clone(&one)], NOW);
        board.publish(
            1,
            vec![Arc::new(one.active_later(UnixSeconds::new(50)))],
            NOW,
        );

        let ring = board.ring();
        assert_eq!(ring.keys().len(), 1);
        assert_eq!(ring.keys()[0].active_from(), UnixSeconds::new(50));
    }

    #[test]
    fn a_key_that_is_gone_stays_published_and_signs_no_more() {
        let board = Board::new(1, None, NOW);
        let (old, new) = (key(10), key(20));
        board.publish(0, vec![Arc::clone(&old), Arc::clone(&new)], NOW);
        board.publish(0, vec![Arc::clone(&old)], NOW);

        assert_eq!(board.ring().keys().len(), 2);
        assert_eq!(board.ring().signing_key(NOW).unwrap().kid(), old.kid());
        board.publish(0, vec![old, Arc::clone(&new)], NOW);
        assert_eq!(board.ring().signing_key(NOW).unwrap().kid(), new.kid());
    }

    #[test]
    fn an_instance_without_its_token_serves_what_it_remembers() {
        let home = tempfile::tempdir().unwrap();
        let directory = StateDir::open(&home.path().join("state")).unwrap();
        let one = key(10);
        Board::new(1, Some(directory.clone()), NOW).publish(0, vec![Arc::clone(&one)], NOW);

        let restarted = Board::new(1, Some(directory), NOW);
        assert!(restarted.ring().document().is_some());
        assert!(restarted.ring().signing_key(NOW).is_none());
        restarted.publish(0, vec![one], NOW);
        assert!(restarted.ring().signing_key(NOW).is_some());
    }
}
