//! The thread that moves the board on with time: states change when their hour comes, the operator's files are read again,
//! the clocks are compared.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, unbounded};

use super::board::Board;
use crate::clock::{Deadline, Moment};

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct Rounds {
    requests: Sender<()>,
}

/// Removal times and holds are whole seconds.
const TICK: Duration = Duration::from_millis(200);

impl Rounds {
    pub(super) fn start(board: Arc<Board>) -> io::Result<Self> {
        let (requests, inbox) = unbounded();
        std::thread::Builder::new()
            .name("schedule".to_owned())
            .spawn(move || {
                let poll = Duration::from_secs(board.rules().poll);
                let mut next_reading = Deadline::after(poll);
                loop {
                    match inbox.recv_timeout(TICK) {
                        Ok(()) => board.confirm(Moment::now()),
                        Err(RecvTimeoutError::Timeout) if next_reading.passed() => {
                            next_reading = Deadline::after(poll);
                            board.reread(Moment::now());
                        }
                        Err(RecvTimeoutError::Timeout) => board.tick(Moment::now()),
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
        Ok(Self { requests })
    }

    /// Now, whatever the hour; the clock counts as right.
    pub(super) fn look_again(&self) {
        // The thread lives as long as this.
        self.requests.send(()).ok();
    }
}
