//! The thread that moves the board on with time: states change when their hour comes, the operator's files are read again,
//! the clocks are compared.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, unbounded};

use super::board::Board;
use crate::clock::{Deadline, Moment};
use crate::process::start_vital;

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Each brings where to tell that it was carried out.
    requests: Sender<Sender<()>>,
}

/// Removal times and holds are whole seconds.
const TICK: Duration = Duration::from_millis(200);
/// A disk that hangs holds up nobody for longer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Rounds {
    pub(super) fn start(board: Arc<Board>) -> io::Result<Self> {
        let (requests, inbox) = unbounded::<Sender<()>>();
        start_vital("schedule", move || {
            let poll = Duration::from_secs(board.rules().poll);
            let mut next_reading = Deadline::after(poll);
            loop {
                match inbox.recv_timeout(TICK) {
                    Ok(done) => {
                        board.confirm(Moment::now());
                        // Whoever asked may have lost patience.
                        done.send(()).ok();
                    }
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

    /// Now, whatever the hour; the clock counts as right. Blocks until it is done, for 5 s at most.
    pub(super) fn look_again(&self) {
        let (done, told) = unbounded();
        // The thread lives as long as this.
        self.requests.send(done).ok();
        told.recv_timeout(PATIENCE).ok();
    }
}
