//! The body of a request: read under a size and a time limit, or left unread in a way the connection survives.
//!
//! A small body arrives with its head and is then one piece that is not copied, without a timer.
//! Discarding: what is left unread of a body is swallowed if it is already here. Otherwise the connection closes after
//! the answer, and lingers (wire.rs) so that a client that is still sending can read it.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use tokio::time::timeout;

/// 100 KiB, as in Express.
const LARGEST_BODY: usize = 102_400;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than 102400 bytes")]
    TooLarge,
    #[error("the body took too long")]
    TimedOut,
    #[error("the body ended early or is badly framed")]
    Broken,
}

/// A body that may be read, or not.
#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    state: State,
    /// The client waits for 100 Continue, which hyper sends at the first read.
    awaited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Ended,
    Failed,
}

impl Body {
    pub(super) fn new(incoming: Incoming, head: &Parts) -> Self {
        Self {
            state: if incoming.is_end_stream() {
                State::Ended
            } else {
                State::Unread
            },
            incoming,
            awaited: head.headers.contains_key(EXPECT),
        }
    }

    /// The whole body. More than 102,400 bytes are refused at once where declared, else when they have come.
    pub(super) async fn read(&mut self, wait: Duration) -> Result<Bytes, BodyError> {
        if self.incoming.size_hint().lower() > LARGEST_BODY as u64 {
            return Err(BodyError::TooLarge);
        }
        self.awaited = false;
        let mut gathering = pin!(self.gather());
        let at_once = std::future::poll_fn(|cx| Poll::Ready(gathering.as_mut().poll(cx))).await;
        match at_once {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => timeout(wait, gathering)
                .await
                .unwrap_or(Err(BodyError::TimedOut)),
        }
    }

    /// Takes what is here of an unread body, without waiting. True if that was all.
    pub(super) async fn swallow(&mut self) -> bool {
        // Reading would send 100 Continue and so ask for what nobody wants.
        if self.state == State::Unread && !self.awaited {
            let mut gathering = pin!(self.gather());
            let _so_far = std::future::poll_fn(|cx| Poll::Ready(gathering.as_mut().poll(cx))).await;
        }
        self.state == State::Ended
    }

    async fn gather(&mut self) -> Result<Bytes, BodyError> {
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if first.len() + joined.len() + piece.len() > LARGEST_BODY {
                self.state = State::Failed;
                return Err(BodyError::TooLarge);
            }
            if first.is_empty() && joined.is_empty() {
                first = piece;
                continue;
            }
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&piece);
        }
        Ok(if joined.is_empty() {
            first
        } else {
            joined.freeze()
        })
    }

    /// The next piece of data; trailers are dropped.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while self.state == State::Unread {
            let frame =
                std::future::poll_fn(|cx| Pin::new(&mut self.incoming).poll_frame(cx)).await;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => self.state = State::Ended,
                Some(Err(_)) => {
                    self.state = State::Failed;
                    return Err(BodyError::Broken);
                }
                Some(Ok(piece)) => {
                    if self.incoming.is_end_stream() {
                        self.state = State::Ended;
                    }
                    if let Ok(piece) = piece {
                        return Ok(Some(piece));
                    }
                }
            }
        }
        Ok(None)
    }
}
