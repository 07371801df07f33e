//! Sees calls that do not come back. A hung call cannot be cancelled: the token is taken out of service, and the process
//! leaves when no token has been well for too long, so that whoever runs it can start it afresh.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::ffi;
use super::shared::Shared;
use crate::clock::Stopwatch;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When to act.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// One call, or one repair.
    pub(super) call: Duration,
    /// Stuck calls and no token that signs, both for this long.
    pub(super) exit: Duration,
    /// A token whose keys were not read for longer may not sign, be it ever so well.
    pub(super) unread: Duration,
}

impl Patience {
    /// Whether a fresh process would do better. A healthy token is not live for a moment while it is cured or started over:
    /// that alone is no reason to leave, however long another one hangs.
    fn is_at_an_end(self, stuck: Duration, without_a_token: Duration) -> bool {
        stuck > self.exit && without_a_token > self.exit
    }
}

/// Watches until `stop` is closed. Every token of the process is in `tokens`.
pub(super) fn run(tokens: &[Arc<Shared>], patience: Patience, stop: &Receiver<()>) {
    let mut tripped = vec![0; tokens.len()];
    let mut signed = Stopwatch::start();
    while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let mut longest = Duration::ZERO;
        for (token, tripped) in tokens.iter().zip(&mut tripped) {
            longest = longest.max(token.longest_call().unwrap_or_default());
            // One call trips once: the supervisor may find that the other sessions still sign.
            if let Some(since) = token.latest_overdue(patience.call)
                && since > *tripped
            {
                *tripped = since;
                token.give_up_waiting();
            }
        }
        if tokens.iter().any(|token| token.may_sign(patience.unread)) {
            signed = Stopwatch::start();
        }
        if patience.is_at_an_end(longest, signed.elapsed()) {
            tracing::error!(
                stuck_for_seconds = longest.as_secs(),
                "no token signs and a call into the module does not come back; leaving with exit code 75"
            );
            ffi::exit_now(ffi::STUCK_EXIT_CODE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_leaves_where_a_call_hangs_and_no_token_signs_both_for_too_long() {
        let seconds = Duration::from_secs;
        let patience = Patience {
            call: seconds(3),
            exit: seconds(120),
            unread: seconds(900),
        };
        for (name, stuck, without_a_token, leaves) in [
            ("all is well", 0, 0, false),
            ("one token hangs, another signs", 500, 0, false),
            ("the other is being cured", 500, 2, false),
            ("the other is down, not for long", 500, 120, false),
            ("the other is down for too long", 500, 121, true),
            ("no token signs, but each call comes back", 1, 500, false),
            ("down for long, and now a call hangs", 120, 500, false),
        ] {
            let left = patience.is_at_an_end(seconds(stuck), seconds(without_a_token));
            assert_eq!(left, leaves, "{name}");
        }
    }
}
