//! The socket under hyper, and the pulse by which the connection's one timer knows what it is waiting for.
//!
//! hyper does not tell where in a request a connection is; the bytes that pass here do. A [`Pulse`] costs two loads
//! and stores a change; it belongs to one connection and is only touched from that connection's task.
//!
//! ```text
//! Fresh -> Head -> Busy -> Answering -> Idle -> Head -> …        Linger (after the answer, reading on)
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// A request has begun.
    Head,
    /// A request is being answered; its body and its signature have limits of their own.
    Busy,
    /// An answer is being sent.
    Answering,
    /// Between requests.
    Idle,
    /// Answered and shut for writing; what still comes is read and dropped.
    Linger,
}

/// The phase of one connection, and how often it changed.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Changes so far, times eight, plus the phase.
    beat: AtomicU32,
    linger: AtomicBool,
}

const PHASE_BITS: u32 = 3;

impl Pulse {
    pub(super) const fn new() -> Self {
        Self {
            beat: AtomicU32::new(Phase::Fresh as u32),
            linger: AtomicBool::new(false),
        }
    }

    /// Differs whenever the phase was entered anew.
    pub(super) fn beat(&self) -> u32 {
        self.beat.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.beat() & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Fresh,
            1 => Phase::Head,
            2 => Phase::Busy,
            3 => Phase::Answering,
            4 => Phase::Idle,
            _ => Phase::Linger,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        let turns = (self.beat() >> PHASE_BITS).wrapping_add(1);
        self.beat
            .store((turns << PHASE_BITS) | phase as u32, Relaxed);
    }

    /// The client may still be sending when the answer is out: read on before closing.
    pub(super) fn linger(&self) {
        self.linger.store(true, Relaxed);
    }
}

/// A socket that keeps the pulse.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: S,
    pulse: Arc<Pulse>,
    shut: bool,
    dropped: usize,
}

/// What a client may still send after its answer. More, and closing cuts it short.
const MOST_DROPPED: usize = 32 << 20;

impl<S> Wire<S> {
    pub(super) const fn new(socket: S, pulse: Arc<Pulse>) -> Self {
        Self {
            socket,
            pulse,
            shut: false,
            dropped: 0,
        }
    }

    /// Bytes go out while no request is being answered: hyper refuses what is no request (400, 431).
    fn note_write(&self) {
        match self.pulse.phase() {
            Phase::Fresh | Phase::Head | Phase::Idle => {
                self.pulse.linger();
                self.pulse.enter(Phase::Answering);
            }
            Phase::Busy | Phase::Answering | Phase::Linger => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before
            && matches!(self.pulse.phase(), Phase::Fresh | Phase::Idle)
        {
            self.pulse.enter(Phase::Head);
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_write();
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_write();
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        if self.pulse.phase() == Phase::Answering {
            self.pulse.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    /// Closing while bytes of the client are unread resets the connection, and the reset can overtake the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.shut = true;
            if self.pulse.linger.load(Relaxed) {
                self.pulse.enter(Phase::Linger);
            }
        }
        let mut scratch = [0; 8192];
        while self.pulse.phase() == Phase::Linger && self.dropped < MOST_DROPPED {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                more => self.dropped += more,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entering_a_phase_again_is_a_change() {
        let pulse = Pulse::new();
        assert_eq!(pulse.phase(), Phase::Fresh);

        pulse.enter(Phase::Idle);
        let before = pulse.beat();
        pulse.enter(Phase::Idle);

        assert_ne!(pulse.beat(), before);
        assert_eq!(pulse.phase(), Phase::Idle);
    }

    proptest! {
        #[test]
        fn every_phase_is_read_back_however_often_it_changed(turns in any::<u32>()) {
            let pulse = Pulse::new();
            for phase in [Phase::Fresh, Phase::Head, Phase::Busy, Phase::Answering, Phase::Idle, Phase::Linger] {
                pulse.beat.store(turns << PHASE_BITS, Relaxed);
                pulse.enter(phase);
                prop_assert_eq!(pulse.phase(), phase);
            }
        }
    }
}
