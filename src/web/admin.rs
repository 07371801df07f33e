//! What the admin listener shows: everything about the keys at one moment, for people and for machines.
//!
//! ```text
//! App, now -> Report -> status (JSON) | page (HTML, with the timeline) | metrics
//! ```
//!
//! Nothing here mints, and nothing here is secret: kids, times, names of tokens, addresses of verifiers.

mod drawing;
mod metrics;
mod page;
mod preference;
#[cfg(test)]
mod samples;
mod status;
mod tables;
mod text;
mod timeline;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::App;
use super::reply::{Answer, JSON, Refusal, uncached, with};
use crate::clock::Moment;
use crate::keys::{Overview, Readiness};
use preference::Form;

/// All that is shown, read at one moment.
#[derive(Debug)]
struct Report {
    overview: Overview,
    mint: Readiness,
    jwks: Readiness,
    /// pkcs11, env or ephemeral.
    source: &'static str,
    version: &'static str,
}

impl Report {
    fn of(app: &App, now: Moment) -> Self {
        Self {
            overview: app.signer.overview(now),
            mint: app.signer.mint_readiness(now),
            jwks: app.signer.jwks_readiness(now),
            source: app.source,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// `GET /status`.
pub(super) fn status(
    app: &App,
    query: Option<&str>,
    headers: &HeaderMap,
    now: Moment,
) -> Result<Answer, Refusal> {
    let form = Form::wanted(query, headers)?;
    let report = Report::of(app, now);
    let answer = match form {
        Form::Json => {
            let text = serde_json::to_vec(&status::Status::of(&report));
            shown(JSON, text.map_err(|_| Refusal::Unwritable)?)
        }
        Form::Html => {
            let policy = HeaderValue::from_str(&page::POLICY).map_err(|_| Refusal::Unwritable)?;
            let answer = shown(HTML, page::Page(&report).to_string());
            let answer = with(
                answer,
                REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            );
            with(answer, CONTENT_SECURITY_POLICY, policy)
        }
    };
    Ok(with(answer, VARY, HeaderValue::from_static("accept")))
}

/// `GET /metrics`.
pub(super) fn metrics(app: &App, now: Moment) -> Result<Answer, Refusal> {
    let text = metrics::text(&Report::of(app, now)).map_err(|_| Refusal::Unwritable)?;
    Ok(shown(OPEN_METRICS, text))
}

/// An answer that is kept by nobody, and taken for nothing else than it says.
fn shown(form: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let answer = uncached(Response::new(Full::new(body.into())));
    let answer = with(answer, CONTENT_TYPE, form);
    with(
        answer,
        X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    )
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
