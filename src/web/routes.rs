//! Which request gets which answer: one match over path and method.
//!
//! Handlers decide nothing: check, grant, mint, reply. A panic in one becomes 500. What a handler left unread of a
//! body is settled here, after the answer is made.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1::Builder;
use hyper::{Method, Request, StatusCode};

use super::body::Body;
use super::limits::Limits;
use super::listen::Side;
use super::media_type::{self, MediaType};
use super::ready::{self, Purpose};
use super::reply::{self, Answer, JSON, Refusal};
use super::request::{self, RequestError};
use super::throttle::Throttle;
use super::wire::Pulse;
use super::{App, admin, connection, jwks, origin};
use crate::clock::{Deadline, Moment};
use crate::grant::{Caller, Grant};
use crate::mint;

/// Everything that answers are made from, the same for all connections.
#[derive(Debug)]
pub(super) struct Front {
    app: Arc<App>,
    pub(super) side: Side,
    jwks_cache_control: HeaderValue,
    pub(super) throttle: Throttle,
    pub(super) limits: Limits,
    pub(super) http: Builder,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) lane: Lane,
    /// None where the system does not tell.
    pub(super) address: Option<IpAddr>,
}

/// What a connection may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Open,
    /// Beyond the limit of connections: health and JWKS, no mints.
    Reserve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Health,
    Readiness,
    Jwks,
    Tokens,
    Status,
    Metrics,
}

impl Front {
    pub(super) fn new(app: Arc<App>, side: Side, limits: Limits) -> Self {
        let max_age = app.jwks_max_age.as_secs();
        Self {
            // A whole number always is a header value.
            jwks_cache_control: HeaderValue::try_from(format!("public, max-age={max_age}"))
                .unwrap_or(reply::NO_STORE),
            app,
            side,
            throttle: Throttle::default(),
            limits,
            http: connection::http(),
        }
    }

    /// Answers one request; never panics.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        pulse: &Pulse,
    ) -> Answer {
        let serving = self.serve(request, peer, pulse);
        caught(serving).await.unwrap_or_else(|Panicked| {
            pulse.linger();
            Refusal::Panicked.into_answer(&self.throttle)
        })
    }

    async fn serve(&self, request: Request<Incoming>, peer: Peer, pulse: &Pulse) -> Answer {
        let (head, incoming) = request.into_parts();
        let mut body = Body::new(incoming, &head);
        let mut answer = self
            .route(&head, &mut body, peer)
            .await
            .unwrap_or_else(|refusal| refusal.into_answer(&self.throttle));
        if !body.swallow().await {
            reply::close(answer.headers_mut());
            pulse.linger();
        }
        answer
    }

    async fn route(&self, head: &Parts, body: &mut Body, peer: Peer) -> Result<Answer, Refusal> {
        let route = Route::find(self.side, head.uri.path()).ok_or(Refusal::NotFound)?;
        route.check_method(&head.method)?;
        match route {
            Route::Health => Ok(reply::json(StatusCode::OK, JSON, &br#"{"ok":true}"#[..])),
            Route::Readiness => {
                let purpose = Purpose::read(head.uri.query())?;
                ready::answer(&self.app.signer, purpose, Moment::now())
            }
            Route::Jwks => {
                let verifier = (head.method == Method::GET)
                    .then_some(peer.address)
                    .flatten();
                let cache_control = &self.jwks_cache_control;
                jwks::answer(&self.app.signer, &head.headers, cache_control, verifier)
            }
            Route::Tokens if peer.lane == Lane::Reserve => Err(Refusal::Crowded),
            Route::Tokens => self.mint(&head.headers, body).await,
            Route::Metrics => admin::metrics(&self.app, Moment::now()),
            Route::Status => {
                admin::status(&self.app, head.uri.query(), &head.headers, Moment::now())
            }
        }
    }

    async fn mint(&self, headers: &HeaderMap, body: &mut Body) -> Result<Answer, Refusal> {
        origin::check(headers)?;
        let request = match media_type::declared(headers)? {
            MediaType::Json => request::parse(&body.read(self.limits.body).await?)?,
            MediaType::Other => return Err(RequestError::SenderRequired.into()),
        };
        let app = &self.app;
        let grant = Grant::decide(request, Caller::Anonymous, &app.claims);
        let deadline = Deadline::after(app.sign_timeout);
        let now = Moment::now();
        let minted = mint::mint(grant, &app.claims, &app.signer, now, deadline).await?;
        reply::minted(&minted)
    }
}

impl Route {
    /// Any letter case and one trailing slash, as Express is lenient.
    fn find(side: Side, path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let routes: &[(&str, Self)] = match side {
            Side::Public => &[
                ("/tokens", Self::Tokens),
                ("/.well-known/jwks.json", Self::Jwks),
                ("/healthz", Self::Health),
                ("/readyz", Self::Readiness),
            ],
            Side::Admin => &[
                ("/status", Self::Status),
                ("/metrics", Self::Metrics),
                ("/healthz", Self::Health),
                ("/readyz", Self::Readiness),
            ],
        };
        routes
            .iter()
            .find(|(known, _)| path.eq_ignore_ascii_case(known))
            .map(|(_, route)| *route)
    }

    fn check_method(self, method: &Method) -> Result<(), Refusal> {
        let (allowed, allow) = match self {
            Self::Tokens => (method == Method::POST, "POST"),
            Self::Health | Self::Readiness | Self::Jwks | Self::Status | Self::Metrics => {
                (method == Method::GET || method == Method::HEAD, "GET, HEAD")
            }
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::MethodNotAllowed { allow })
        }
    }
}

/// A request panicked; the panic hook has said where.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

/// The task of a connection outlives a panic in one of its requests.
async fn caught<F: Future>(serving: F) -> Result<F::Output, Panicked> {
    let mut serving = pin!(serving);
    std::future::poll_fn(|cx| {
        // What the request held is dropped with it; what it shares are atomics and locks that outlive a panic.
        match catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_panic) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_request_alone() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("as a test");
        };

        assert_eq!(caught(panics).await, Err::<(), _>(Panicked));
        assert_eq!(caught(async { 1 }).await, Ok(1));
    }

    #[test]
    fn paths_are_found_in_any_case_with_at_most_one_trailing_slash() {
        for (path, want) in [
            ("/tokens", Some(Route::Tokens)),
            ("/tokens/", Some(Route::Tokens)),
            ("/Tokens", Some(Route::Tokens)),
            ("/HEALTHZ/", Some(Route::Health)),
            ("/.well-known/jwks.json", Some(Route::Jwks)),
            ("/.Well-Known/JWKS.json/", Some(Route::Jwks)),
            ("/readyz", Some(Route::Readiness)),
            ("", None),
            ("/", None),
            ("*", None),
            ("//tokens", None),
            ("/tokens//", None),
            ("/tokens/1", None),
            ("/%74okens", None),
            ("/.well-known/", None),
        ] {
            assert_eq!(Route::find(Side::Public, path), want, "{path}");
        }
    }

    #[test]
    fn each_side_has_its_own_paths() {
        for (path, public, admin) in [
            ("/tokens", Some(Route::Tokens), None),
            ("/.well-known/jwks.json", Some(Route::Jwks), None),
            ("/status", None, Some(Route::Status)),
            ("/metrics", None, Some(Route::Metrics)),
            ("/healthz", Some(Route::Health), Some(Route::Health)),
            ("/readyz", Some(Route::Readiness), Some(Route::Readiness)),
        ] {
            assert_eq!(Route::find(Side::Public, path), public, "{path}");
            assert_eq!(Route::find(Side::Admin, path), admin, "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_what_is_allowed() {
        for (route, method, want) in [
            (Route::Tokens, Method::POST, Ok(())),
            (Route::Tokens, Method::GET, Err("POST")),
            (Route::Tokens, Method::HEAD, Err("POST")),
            (Route::Tokens, Method::OPTIONS, Err("POST")),
            (Route::Jwks, Method::GET, Ok(())),
            (Route::Jwks, Method::HEAD, Ok(())),
            (Route::Jwks, Method::POST, Err("GET, HEAD")),
            (Route::Health, Method::DELETE, Err("GET, HEAD")),
            (Route::Readiness, Method::OPTIONS, Err("GET, HEAD")),
            (Route::Status, Method::HEAD, Ok(())),
            (Route::Metrics, Method::POST, Err("GET, HEAD")),
        ] {
            let want = want.map_err(|allow| Refusal::MethodNotAllowed { allow });
            assert_eq!(route.check_method(&method), want, "{route:?} {method}");
        }
    }
}
