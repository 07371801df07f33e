//! Whether a token that nobody asks still signs: a nonce every so often, by a key that it holds.
//!
//! It also ends a `Down` that a hung call was the reason for: what signs again is live again, with the sessions it had.

use super::possession;
use super::supervisor::{Down, Supervisor};
use crate::clock::UnixSeconds;

impl Supervisor {
    /// Signs a nonce with the key in use on this token, on a session of its own.
    pub(super) fn canary(&mut self) -> Result<(), Down> {
        match self.sign_a_nonce() {
            Err(Down::Token(fault)) if fault.as_pin_fault().is_some() => {
                Err(self.remember_refusal(fault, self.last_pin.clone()))
            }
            other => other,
        }
    }

    fn sign_a_nonce(&self) -> Result<(), Down> {
        let charge = &self.charge;
        let _inside = charge.shared.enter();
        let _in_module = charge.host.enter();
        let Some(live) = &self.last else {
            return Err(Down::Stuck);
        };
        let ring = charge.board.ring();
        let in_use = ring.order(UnixSeconds::now(), 0).into_iter();
        let in_use = in_use.map(|choice| choice.key).chain(ring.keys());
        // A token whose keys have all expired is well, too.
        let proved = self.proved.iter().map(|proved| &proved.key.published);
        let pair = in_use.chain(proved).find_map(|key| {
            let (_, handle) = live.keys.iter().find(|(kid, _)| kid == key.kid())?;
            Some((key, handle))
        });
        let guard = charge.shared.token.lock();
        let (Some((key, handle)), Some(token)) = (pair, guard.as_ref()) else {
            return Err(Down::Stuck);
        };
        possession::prove_again(token, handle, key.verifier())?;
        charge.shared.verified();
        // A session of its own says nothing of the threads that mints wait for.
        if self.down == Some(Down::Stuck) && charge.shared.all_threads_stuck() {
            return Err(Down::Stuck);
        }
        // Although a thread may be stuck: the other sessions serve on.
        charge.shared.revive(live);
        Ok(())
    }
}
