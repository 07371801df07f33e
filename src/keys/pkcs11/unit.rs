//! One token with its threads: how it is started, and how it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::Shutdown;
use super::seat::Seat;
use super::shared::{Event, Shared};
use super::supervisor::{Charge, Down, Supervisor};
use crate::clock::UnixSeconds;
use crate::config::Pkcs11Config;
use crate::keys::board::TokenHealth;
use crate::keys::memory::TokenName;
use crate::keys::workers::Workers;
use crate::keys::{Board, Part};
use crate::process::start_vital;

/// One token with its threads.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: TokenName,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Workers,
    pub(super) stopped: Receiver<Shutdown>,
}

/// A token whose last verified signature is older is not ready.
const FRESH: Duration = Duration::from_secs(30);

impl Unit {
    pub(super) fn start(
        charge: Charge,
        inbox: Receiver<Event>,
        config: &Pkcs11Config,
    ) -> io::Result<(Self, Receiver<Result<(), Down>>)> {
        let shared = Arc::clone(&charge.shared);
        let name = charge.name.clone();
        let seats = (0..config.sessions)
            .map(|number| Seat {
                shared: Arc::clone(&shared),
                number,
            })
            .collect();
        let workers = Workers::start(seats, config.queue_length)?;
        let (stopping, stopped) = bounded(1);
        let (first, outcome) = bounded(1);
        let supervisor = Supervisor::new(charge, inbox);
        start_vital("token", move || {
            stopping.send(supervisor.run(&first)).ok();
        })?;
        let unit = Self {
            name,
            shared,
            workers,
            stopped,
        };
        Ok((unit, outcome))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(super) fn is_in(&self, units: &[&Self]) -> bool {
        units.iter().any(|unit| self.is(unit))
    }

    pub(super) fn health(&self, board: &Board, now: UnixSeconds) -> TokenHealth {
        let parts = self.parts(board, now);
        TokenHealth {
            identity: self.shared.standing.lock().identity.clone(),
            ready: parts.iter().all(|part| part.ok),
            parts,
            verified_ago: self.shared.since_verified().map(|ago| ago.as_secs()),
        }
    }

    pub(super) fn parts(&self, board: &Board, now: UnixSeconds) -> Vec<Part> {
        let last = self.shared.last_look(now);
        let ago = now.get().saturating_sub(last.get());
        let look = match (last, board.is_fresh(last, now)) {
            (UnixSeconds::EVER, _) => Err("its keys were never read".to_owned()),
            (_, true) => Ok(format!("its keys were read {ago} s ago")),
            (_, false) => Err(format!(
                "its keys were read {ago} s ago: too long to know which of them sign"
            )),
        };
        let standing = self.shared.standing.lock().clone();
        let signature = signature(self.shared.since_verified(), self.shared.is_down());
        [
            ("token", standing.token),
            ("key", standing.key),
            ("keys_read", look),
            ("signature", signature),
        ]
        .map(|(name, state)| Part {
            name,
            ok: state.is_ok(),
            detail: state.unwrap_or_else(|trouble| trouble),
        })
        .into()
    }
}

/// Whether a token signs, by how long ago a signature of it verified.
fn signature(verified: Option<Duration>, is_down: bool) -> Result<String, String> {
    let Some(ago) = verified else {
        return Err("none has verified since the last failure".to_owned());
    };
    let said = format!("the last one verified {} s ago", ago.as_secs());
    match (is_down, ago <= FRESH) {
        (true, _) => Err(format!("{said}, and signing has failed since")),
        (false, false) => Err(format!("{said}: too long to know whether it signs")),
        (false, true) => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_a_moment_ago_does_not_hide_that_signing_fails() {
        let ago = |seconds| Some(Duration::from_secs(seconds));

        assert_eq!(
            signature(ago(1), false).unwrap(),
            "the last one verified 1 s ago"
        );
        assert_eq!(
            signature(ago(1), true).unwrap_err(),
            "the last one verified 1 s ago, and signing has failed since"
        );
        assert!(signature(ago(31), false).is_err());
        assert!(signature(None, false).is_err());
    }
}
