//! Accepting, the limit of connections, and the way out.
//!
//! `max_connections` are served in full; a reserve beyond them still gets health and the JWKS, so that probes and
//! verifiers do not wait behind mints; more wait in the system's accept queue. The admin listener is a server of its own with
//! few places and no reserve, so that neither side can crowd out the other.
//! On stop the sockets close at once, requests in flight finish, and what is left after the drain limit is cut.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::connection::{self, Halt, Stage};
use super::listen::{self, BindError, Side};
use super::routes::{Front, Lane, Peer};
use super::{App, Limits};
use crate::config::{AdminAddress, Listen};

/// Bound sockets; nothing is answered before [`Server::run`].
#[derive(Debug)]
pub struct Server {
    side: Side,
    sockets: Vec<TcpListener>,
    port: u16,
    places: usize,
    limits: Limits,
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Every request in flight was answered.
    Finished,
    /// What was still open after the drain limit was cut.
    Cut,
}

/// Connections beyond the limit.
const RESERVE: usize = 64;
/// Operators and their machines are few.
const ADMIN_CONNECTIONS: usize = 64;
/// More than a process can have open.
const MOST_CONNECTIONS: usize = 1 << 24;
/// After an accept that failed for want of descriptors or memory: long enough not to spin, short enough to go on.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Drain {
    /// Of two servers.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Finished, Self::Finished) => Self::Finished,
            (Self::Cut, _) | (_, Self::Cut) => Self::Cut,
        }
    }
}

impl Server {
    /// Binds what `listen` names.
    ///
    /// # Errors
    /// [`BindError`] names the address, the reason and the cure.
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        let side = Side::Public;
        let (sockets, port) = listen::bind(listen.address, listen.port, side).await?;
        let places = listen.max_connections.min(MOST_CONNECTIONS) + RESERVE;
        Ok(Self {
            side,
            sockets,
            port,
            places,
            limits: Limits::default(),
        })
    }

    /// Binds the admin listener beside `public`.
    ///
    /// # Errors
    /// [`BindError`], which names `MACP_AUTH_ADMIN_ADDR`.
    pub async fn bind_admin(admin: AdminAddress, public: &Self) -> Result<Self, BindError> {
        let side = Side::Admin;
        let (sockets, port) = listen::bind(admin.address, admin.port, side)
            .await
            .map_err(|error| error.or_the_same(public.port))?;
        Ok(Self {
            side,
            sockets,
            port,
            places: ADMIN_CONNECTIONS,
            limits: public.limits,
        })
    }

    /// With other patience for clients.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let sockets = self.sockets.iter();
        sockets.filter_map(|socket| socket.local_addr().ok())
    }

    /// The port, whoever chose it.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `stop`, then drains; `announce` is called with what `stop` gave once every connection has been told.
    pub async fn run<T>(
        self,
        app: Arc<App>,
        stop: impl Future<Output = T>,
        announce: impl FnOnce(T),
    ) -> Drain {
        let front = Arc::new(Front::new(app, self.side, self.limits));
        let halt = Arc::new(Halt::default());
        let free = Arc::new(Semaphore::new(self.places));

        let mut stop = pin!(stop);
        let mut turn = 0_usize;
        let reason = loop {
            turn = turn.wrapping_add(1);
            let accepted = tokio::select! {
                biased;
                reason = &mut stop => break reason,
                accepted = next(&self.sockets, turn, &free) => accepted,
            };
            match accepted {
                Ok((socket, address, place)) => {
                    let lane = lane(&free, &front);
                    let address = Some(address);
                    let peer = Peer { lane, address };
                    let (front, halt) = (Arc::clone(&front), Arc::clone(&halt));
                    tokio::spawn(async move {
                        connection::serve(socket, front, halt, peer).await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error, &front).await,
            }
        };
        drop(self.sockets);
        halt.enter(Stage::Draining);
        announce(reason);
        drain(&free, self.places, &halt, self.limits.drain).await
    }
}

/// The next connection, once there is a place for it. `turn` says which socket is asked first.
async fn next(
    sockets: &[TcpListener],
    turn: usize,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(free)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (socket, peer) = std::future::poll_fn(|cx| {
        let first = turn % sockets.len().max(1);
        for socket in sockets.iter().cycle().skip(first).take(sockets.len()) {
            if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await?;
    // Answers are written whole; there is nothing to gather. A socket that is gone already shows at its first read.
    let _outcome = socket.set_nodelay(true);
    // An IPv4 client on an IPv6 socket is the same verifier.
    Ok((socket, peer.ip().to_canonical(), place))
}

fn lane(free: &Semaphore, front: &Front) -> Lane {
    if front.side == Side::Admin || free.available_permits() >= RESERVE {
        return Lane::Open;
    }
    if let Some(held_back) = front.throttle.due("connections") {
        tracing::warn!(
            held_back,
            "more connections than MACP_AUTH_MAX_CONNECTIONS: these get health and JWKS only"
        );
    }
    Lane::Reserve
}

/// A client that left before it was accepted is no reason to wait; a lack of descriptors is.
async fn pause(error: &io::Error, front: &Front) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::Interrupted => {}
        _ => {
            if let Some(held_back) = front.throttle.due("accept") {
                tracing::warn!(held_back, %error, "cannot accept connections; raise the limit of open files (ulimit -n)");
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn drain(free: &Semaphore, places: usize, halt: &Halt, limit: Duration) -> Drain {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    if timeout(limit, free.acquire_many(places)).await.is_ok() {
        return Drain::Finished;
    }
    halt.enter(Stage::Cut);
    Drain::Cut
}

#[cfg(test)]
#[path = "server_limits_tests.rs"]
mod limits_tests;
#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
