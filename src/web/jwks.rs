//! `GET /.well-known/jwks.json`: ready-made bytes of the current snapshot, or 304.
//!
//! A verifier holds all its requests while it fetches this, so it never waits for anything.

use std::net::IpAddr;

use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};

use super::reply::{Answer, JSON_UTF_8, Refusal, json, with};
use crate::clock::UnixSeconds;
use crate::keys::{JwksDocument, Signer};

pub(super) fn answer(
    signer: &Signer,
    request: &HeaderMap,
    cache_control: &HeaderValue,
    verifier: Option<IpAddr>,
) -> Result<Answer, Refusal> {
    let ring = signer.ring();
    let document = ring.document().ok_or(Refusal::NoJwks)?;
    let etag = HeaderValue::from_str(&document.version.etag).map_err(|_| Refusal::Unwritable)?;
    if let Some(address) = verifier {
        signer.fetched(address, &document.version, UnixSeconds::now());
    }
    let answer = if is_known(request, document) {
        let mut unchanged = Response::new(Full::default());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        json(StatusCode::OK, JSON_UTF_8, document.body.clone())
    };
    let answer = with(answer, ETAG, etag);
    Ok(with(answer, CACHE_CONTROL, cache_control.clone()))
}

/// RFC 9110, 13.1.2: `*`, or one of the listed tags by weak comparison. A comma inside a foreign tag splits it into
/// parts that are not ours either.
fn is_known(request: &HeaderMap, document: &JwksDocument) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == document.version.etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ring::JwksVersion;
    use bytes::Bytes;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn a_tag_is_known_by_weak_comparison() {
        let document = JwksDocument {
            body: Bytes::new(),
            version: Arc::new(JwksVersion {
                etag: "\"abc\"".into(),
                kids: BTreeSet::new(),
            }),
        };
        for (tags, want) in [
            (vec![], false),
            (vec!["\"abc\""], true),
            (vec!["W/\"abc\""], true),
            (vec!["*"], true),
            (vec!["\"x\", W/\"abc\""], true),
            (vec!["\"x\"", "\"abc\""], true),
            (vec!["\"x,abc\""], false),
            (vec!["abc"], false),
            (vec!["\"ABC\""], false),
            (vec![""], false),
        ] {
            let mut headers = HeaderMap::new();
            for tag in &tags {
                headers.append(IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
            }
            assert_eq!(is_known(&headers, &document), want, "{tags:?}");
        }
    }
}
