//! Sees calls that do not come back. A hung call cannot be cancelled: the token is taken out of service, and the process
//! leaves when no token has been well for too long, so that whoever runs it can start it afresh.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::ffi;
use super::shared::Shared;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When to act.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// One call, or one repair.
    pub(super) call: Duration,
    /// Stuck calls and no healthy token.
    pub(super) exit: Duration,
}

/// Watches until `stop` is closed. Every token of the process is in `tokens`.
pub(super) fn run(tokens: &[Arc<Shared>], patience: Patience, stop: &Receiver<()>) {
    let mut tripped = vec![0; tokens.len()];
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
        let healthy = tokens.iter().any(|token| token.is_live());
        if !healthy && longest > patience.exit {
            tracing::error!(
                stuck_for_seconds = longest.as_secs(),
                "no token signs and a call into the module does not come back; leaving with exit code 75"
            );
            ffi::exit_now(ffi::STUCK_EXIT_CODE);
        }
    }
}
