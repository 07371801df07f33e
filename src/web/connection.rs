//! One connection, from accept to close: hyper, one timer, and the halt.
//!
//! The timer follows the pulse (wire.rs). It is only touched when a deadline comes nearer or has fired, so a request
//! on a busy connection costs one reading of the clock and no timer operation.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, Sleep};

use super::bell::Bell;
use super::limits::Limits;
use super::reply;
use super::routes::{Front, Peer};
use super::wire::{Phase, Pulse, Wire};
use crate::clock::Deadline;

/// Where the server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Requests in flight finish, nothing new begins.
    Draining,
    /// Connections end where they are.
    Cut,
}

/// Tells all connections to stop.
#[derive(Debug, Default)]
pub(super) struct Halt {
    stage: AtomicU8,
    changed: Notify,
}

impl Halt {
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            _ => Stage::Cut,
        }
    }
}

/// Head of a request, request line included (431 above).
const LARGEST_HEAD: usize = 16 * 1024;
/// Bytes that one connection may have read ahead.
const READ_AHEAD: usize = 64 * 1024;

/// hyper's options. It refuses more than 100 headers by default; setting that number costs an allocation a request.
pub(super) fn http() -> Builder {
    let mut http = Builder::new();
    http.half_close(true)
        .header_read_timeout(None)
        .max_header_size(LARGEST_HEAD)
        .max_buf_size(READ_AHEAD)
        .writev(false);
    http
}

/// Serves one connection until it closes, breaks, takes too long, or is cut.
pub(super) async fn serve<S>(socket: S, front: Arc<Front>, halt: Arc<Halt>, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pulse = Arc::new(Pulse::new());
    let io = TokioIo::new(Wire::new(socket, Arc::clone(&pulse)));
    let service = service_fn(|request| {
        let (front, halt, pulse) = (Arc::clone(&front), Arc::clone(&halt), Arc::clone(&pulse));
        async move {
            pulse.enter(Phase::Busy);
            let mut answer = front.answer(request, peer, &pulse).await;
            if halt.stage() > Stage::Serving {
                reply::close(answer.headers_mut());
            }
            pulse.enter(Phase::Answering);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(front.http.serve_connection(io, service));
    let mut bell = Bell::new();
    let mut patience = pin!(tokio::time::sleep(front.limits.first_byte));
    let mut watch = Watch::new(&pulse, &front.limits);
    let mut stop = pin!(halt.changed.notified());
    let mut stopping = Stopping::new(&halt);

    std::future::poll_fn(|cx| {
        loop {
            // Before the answer is made, so that it says that the connection closes.
            let in_flight = pulse.phase() == Phase::Busy && !stopping.told;
            if in_flight && matches!(halt.stage(), Stage::Draining) {
                stopping.told = true;
                connection.as_mut().graceful_shutdown();
            }
            // An error is the client's: reset, or bytes that are no request. There is nobody to tell.
            let polled = bell.poll(cx, |cx| connection.as_mut().poll(cx));
            if let Poll::Ready(_outcome) = polled {
                return Poll::Ready(());
            }
            match stopping.poll(stop.as_mut(), cx) {
                Stage::Cut => return Poll::Ready(()),
                // hyper would drop a head that has begun on a connection it holds for idle.
                Stage::Draining if !stopping.told && pulse.phase() != Phase::Head => {
                    stopping.told = true;
                    connection.as_mut().graceful_shutdown();
                }
                Stage::Serving | Stage::Draining => break,
            }
        }
        watch.poll(patience.as_mut(), cx)
    })
    .await;
}

/// The deadline of the present phase.
struct Watch<'a> {
    pulse: &'a Pulse,
    limits: &'a Limits,
    beat: u32,
    deadline: Option<Deadline>,
}

impl<'a> Watch<'a> {
    fn new(pulse: &'a Pulse, limits: &'a Limits) -> Self {
        Self {
            beat: pulse.beat(),
            deadline: limit(limits, pulse.phase()).map(Deadline::after),
            pulse,
            limits,
        }
    }

    /// Ready when the phase has lasted too long.
    fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        let beat = self.pulse.beat();
        if beat != self.beat {
            self.beat = beat;
            self.deadline = limit(self.limits, self.pulse.phase()).map(Deadline::after);
        }
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let until = Instant::from_std(deadline.instant());
        if until < timer.deadline() {
            timer.as_mut().reset(until);
        }
        // Later deadlines are left to the timer as it stands: it fires early, once, and is set anew.
        while timer.as_mut().poll(cx).is_ready() {
            if deadline.passed() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// None: what the phase waits for has a limit of its own.
const fn limit(limits: &Limits, phase: Phase) -> Option<Duration> {
    match phase {
        Phase::Fresh => Some(limits.first_byte),
        Phase::Head => Some(limits.head),
        Phase::Busy => None,
        Phase::Answering => Some(limits.answer),
        Phase::Idle => Some(limits.idle),
        Phase::Linger => Some(limits.linger),
    }
}

/// The halt as one connection sees it. Its waiter is shared by all connections behind a lock, so it is registered
/// once and not at every poll.
struct Stopping<'a> {
    halt: &'a Halt,
    seen: Stage,
    told: bool,
    registered: Option<Waker>,
}

impl<'a> Stopping<'a> {
    const fn new(halt: &'a Halt) -> Self {
        Self {
            halt,
            seen: Stage::Serving,
            told: false,
            registered: None,
        }
    }

    fn poll(&mut self, mut changed: Pin<&mut Notified<'a>>, cx: &mut Context<'_>) -> Stage {
        let stage = self.halt.stage();
        let registered = self
            .registered
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if registered && stage == self.seen {
            return stage;
        }
        while changed.as_mut().poll(cx).is_ready() {
            changed.set(self.halt.changed.notified());
        }
        self.registered = Some(cx.waker().clone());
        // After registering: a change from here on wakes us, one before is read now.
        self.seen = self.halt.stage();
        self.seen
    }
}
