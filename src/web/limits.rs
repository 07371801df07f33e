//! How long a client may take, and how much it may send.
//!
//! Sizes of the wire contract are constants beside their use; what tests shorten is here.

use std::time::Duration;

/// Longest waits for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A new connection that sends nothing.
    pub first_byte: Duration,
    /// A connection between requests.
    pub idle: Duration,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// Until an answer is taken off our hands.
    pub answer: Duration,
    /// Reading on after an answer, so that a client that still sends can read it.
    pub linger: Duration,
    /// Between the signal to stop and the cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            head: Duration::from_secs(5),
            body: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(10),
        }
    }
}
