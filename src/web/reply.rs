//! The one mapping of errors to answers, and the answers themselves.
//!
//! Each refusal has a status, a code that stays the same (logs, metrics) and a sentence for the caller. The sentences
//! of `POST /tokens` are those of the Node service. Causes go to the log, never to the caller.
//! Matches here have no `_`: a new error has to be given its answer.

#![deny(clippy::wildcard_enum_match_arm)]

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::BodyError;
use super::media_type::UnsupportedForm;
use super::origin::ForeignOrigin;
use super::request::RequestError;
use super::throttle::Throttle;
use crate::keys::SignError;
use crate::mint::{MintError, Minted};

/// What hyper sends.
pub(super) type Answer = Response<Full<Bytes>>;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const JSON_UTF_8: HeaderValue =
    HeaderValue::from_static("application/json; charset=utf-8");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Every answer that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no such path")]
    NotFound,
    #[error("the path answers {allow} only")]
    MethodNotAllowed { allow: &'static str },
    #[error("an unknown kind of readiness was asked for")]
    UnknownReadiness,
    #[error("an unknown format of the status was asked for")]
    UnknownFormat,
    #[error(transparent)]
    ForeignOrigin(#[from] ForeignOrigin),
    #[error(transparent)]
    UnsupportedForm(#[from] UnsupportedForm),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error("the connection is beyond MACP_AUTH_MAX_CONNECTIONS")]
    Crowded,
    #[error("no key was ever known")]
    NoJwks,
    #[error("the request panicked")]
    Panicked,
    #[error("the answer could not be written as JSON")]
    Unwritable,
}

/// Status, stable code, and what the caller reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict(StatusCode, &'static str, &'static str);

const INTERNAL: &str = "internal error";

impl Refusal {
    const fn verdict(self) -> Verdict {
        match self {
            Self::NotFound => Verdict(StatusCode::NOT_FOUND, "not_found", "not found"),
            Self::MethodNotAllowed { .. } => Verdict(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "method not allowed",
            ),
            Self::UnknownReadiness => Verdict(
                StatusCode::BAD_REQUEST,
                "unknown_readiness",
                "for must be mint or jwks",
            ),
            Self::UnknownFormat => Verdict(
                StatusCode::BAD_REQUEST,
                "unknown_format",
                "format must be json or html",
            ),
            Self::ForeignOrigin(ForeignOrigin) => Verdict(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "anonymous mints from web pages of other hosts are refused",
            ),
            Self::UnsupportedForm(error) => unsupported(error),
            Self::Body(error) => body(error),
            Self::Request(error) => request(error),
            Self::Mint(error) => mint(error),
            Self::Crowded => Verdict(
                StatusCode::SERVICE_UNAVAILABLE,
                "crowded",
                "too many connections; try again in a second",
            ),
            Self::NoJwks => Verdict(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_jwks",
                "no key is published yet; try again in a second",
            ),
            Self::Panicked => Verdict(StatusCode::INTERNAL_SERVER_ERROR, "panicked", INTERNAL),
            Self::Unwritable => Verdict(StatusCode::INTERNAL_SERVER_ERROR, "unwritable", INTERNAL),
        }
    }

    /// Whether the connection ends with this answer, whatever was read.
    const fn closes(self) -> bool {
        matches!(self, Self::Body(_) | Self::Crowded | Self::Panicked)
    }

    /// Logs the refusal and makes its answer.
    pub(super) fn into_answer(self, throttle: &Throttle) -> Answer {
        let Verdict(status, code, sentence) = self.verdict();
        if status.is_server_error() {
            if let Some(held_back) = throttle.due(code) {
                tracing::warn!(code, status = status.as_u16(), held_back, "{self}");
            }
        } else {
            tracing::debug!(code, status = status.as_u16(), "request refused: {self}");
        }
        let mut answer = json(status, JSON, format!(r#"{{"error":"{sentence}"}}"#));
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.closes() {
            close(headers);
        }
        answer
    }
}

const fn unsupported(error: UnsupportedForm) -> Verdict {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    match error {
        UnsupportedForm::Charset => Verdict(status, "unsupported_charset", "charset must be utf-8"),
        UnsupportedForm::Encoding => Verdict(
            status,
            "unsupported_encoding",
            "content encoding must be identity",
        ),
    }
}

const fn body(error: BodyError) -> Verdict {
    match error {
        BodyError::TooLarge => Verdict(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "request body is larger than 102400 bytes",
        ),
        BodyError::TimedOut => Verdict(
            StatusCode::REQUEST_TIMEOUT,
            "body_timed_out",
            "request body took too long",
        ),
        BodyError::Broken => Verdict(
            StatusCode::BAD_REQUEST,
            "body_broken",
            "request body ended early or is badly framed",
        ),
    }
}

const fn request(error: RequestError) -> Verdict {
    let status = StatusCode::BAD_REQUEST;
    match error {
        RequestError::InvalidJson => Verdict(status, "invalid_json", "invalid JSON body"),
        RequestError::SenderRequired => Verdict(status, "sender_required", "sender is required"),
        RequestError::ScopesNotAnObject => {
            Verdict(status, "scopes_not_an_object", "scopes must be an object")
        }
        RequestError::TtlNotPositive => Verdict(
            status,
            "ttl_not_positive",
            "ttl_seconds must be a positive number",
        ),
    }
}

const fn mint(error: MintError) -> Verdict {
    let away = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        MintError::Sign(SignError::Overloaded) => Verdict(
            away,
            "signing_overloaded",
            "signing is overloaded; try again in a second",
        ),
        MintError::Sign(SignError::TimedOut) => Verdict(
            away,
            "signing_timed_out",
            "signing took too long; try again in a second",
        ),
        MintError::Sign(SignError::Unavailable) => Verdict(
            away,
            "signing_unavailable",
            "signing is unavailable; try again in a second",
        ),
        MintError::Sign(SignError::Unexpected) => Verdict(
            StatusCode::INTERNAL_SERVER_ERROR,
            "signing_failed",
            INTERNAL,
        ),
        MintError::Claims => Verdict(
            StatusCode::INTERNAL_SERVER_ERROR,
            "claims_unwritable",
            INTERNAL,
        ),
    }
}

/// The answer to a mint: the one place where a token leaves.
pub(super) fn minted(minted: &Minted) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body<'a> {
        token: &'a str,
        sender: &'a str,
        expires_in_seconds: u64,
    }
    let token = minted.token.expose();
    let sender = minted.sender.as_str();
    let mut text = Vec::with_capacity(token.len() + sender.len() + 64);
    let body = Body {
        token,
        sender,
        expires_in_seconds: minted.expires_in_seconds,
    };
    serde_json::to_writer(&mut text, &body).map_err(|_| Refusal::Unwritable)?;
    Ok(uncached(json(StatusCode::OK, JSON_UTF_8, text)))
}

/// A body of JSON.
pub(super) fn json(status: StatusCode, form: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

/// Not to be kept by anybody.
pub(super) fn uncached(answer: Answer) -> Answer {
    with(answer, CACHE_CONTROL, NO_STORE)
}

pub(super) fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

/// Ends the connection after this answer.
pub(super) fn close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn every_refusal() -> Vec<Refusal> {
        let mut all = vec![
            Refusal::NotFound,
            Refusal::MethodNotAllowed { allow: "POST" },
            Refusal::UnknownReadiness,
            Refusal::UnknownFormat,
            ForeignOrigin.into(),
            Refusal::Crowded,
            Refusal::NoJwks,
            Refusal::Panicked,
            Refusal::Unwritable,
            MintError::Claims.into(),
        ];
        all.extend([UnsupportedForm::Charset, UnsupportedForm::Encoding].map(Refusal::from));
        all.extend(
            [BodyError::TooLarge, BodyError::TimedOut, BodyError::Broken].map(Refusal::from),
        );
        all.extend(
            [
                RequestError::InvalidJson,
                RequestError::SenderRequired,
                RequestError::ScopesNotAnObject,
                RequestError::TtlNotPositive,
            ]
            .map(Refusal::from),
        );
        all.extend(
            [
                SignError::Overloaded,
                SignError::TimedOut,
                SignError::Unavailable,
                SignError::Unexpected,
            ]
            .map(|error| Refusal::from(MintError::from(error))),
        );
        all
    }

    #[tokio::test]
    async fn every_refusal_is_a_short_json_error() {
        for refusal in every_refusal() {
            let answer = refusal.into_answer(&Throttle::default());
            let status = answer.status();
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
            assert_eq!(
                answer.headers().contains_key(RETRY_AFTER),
                status == StatusCode::SERVICE_UNAVAILABLE,
                "{refusal:?}"
            );

            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(body.len() <= 200, "{refusal:?}");
            assert!(value["error"].is_string(), "{refusal:?}");
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                assert_eq!(value["error"], "internal error");
            }
        }
    }

    #[test]
    fn no_two_refusals_share_a_code() {
        let mut codes: Vec<_> = every_refusal().iter().map(|r| r.verdict().1).collect();
        codes.sort_unstable();
        let all = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
