//! What the admin listener shows: everything about the keys at one moment, for people and for machines.
//!
//! ```text
//! App, now -> Report -> status (JSON) | page (HTML, with the timeline) | metrics
//! ```
//!
//! Nothing here mints, and nothing here is secret: kids, times, names of tokens, addresses of verifiers.

mod metrics;
mod preference;
mod status;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, VARY};

use super::App;
use super::reply::{Answer, JSON, Refusal, json, uncached, with};
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
        Form::Json | Form::Html => {
            let text = serde_json::to_vec(&status::Status::of(&report));
            json(StatusCode::OK, JSON, text.map_err(|_| Refusal::Unwritable)?)
        }
    };
    let answer = with(answer, VARY, HeaderValue::from_static("accept"));
    Ok(uncached(answer))
}
