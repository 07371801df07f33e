//! What a program wrote into a pipe: read while it runs, so that it never waits for us, and looked at whenever a test likes.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::service::PATIENCE;

/// What a pipe gave so far.
#[derive(Debug, Default)]
pub struct Captured {
    state: Mutex<Pipe>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: Vec<u8>,
    closed: bool,
}

impl Captured {
    pub fn of(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let captured = Arc::new(Self::default());
        let writer = Arc::clone(&captured);
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            loop {
                let read = pipe.read(&mut part).unwrap_or(0);
                let mut state = writer.state.lock().unwrap();
                state.bytes.extend_from_slice(&part[..read]);
                state.closed = read == 0;
                writer.grown.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        captured
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().bytes).into_owned()
    }

    /// After the process has ended: all of it.
    pub fn whole(&self) -> String {
        let state = self.state.lock().unwrap();
        let (state, _) = self
            .grown
            .wait_timeout_while(state, PATIENCE, |pipe| !pipe.closed)
            .unwrap();
        String::from_utf8_lossy(&state.bytes).into_owned()
    }

    /// None: the pipe closed or the time passed before.
    pub fn wait_for<T>(&self, within: Duration, look: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = look(&String::from_utf8_lossy(&state.bytes)) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.grown.wait_timeout(state, left).unwrap().0;
        }
    }
}
