//! `GET /readyz`: may this instance be sent mints, or fetches of the JWKS? Liveness is `/healthz` and never asks a key.

use hyper::StatusCode;
use serde::Serialize;

use super::reply::{Answer, JSON, Refusal, json, uncached};
use crate::clock::Moment;
use crate::keys::{Part, Readiness, Signer};

/// `?for=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Purpose {
    Mint,
    Jwks,
}

impl Purpose {
    /// Minting unless asked otherwise; other parameters mean nothing.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Refusal> {
        let asked = query
            .unwrap_or_default()
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("for="));
        match asked {
            None | Some("mint") => Ok(Self::Mint),
            Some("jwks") => Ok(Self::Jwks),
            Some(_) => Err(Refusal::UnknownReadiness),
        }
    }
}

pub(super) fn answer(signer: &Signer, purpose: Purpose, now: Moment) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body {
        ready: bool,
        r#for: Purpose,
        parts: Vec<Part>,
    }
    let Readiness { ready, parts } = match purpose {
        Purpose::Mint => signer.mint_readiness(now),
        Purpose::Jwks => signer.jwks_readiness(now),
    };
    let body = Body {
        ready,
        r#for: purpose,
        parts,
    };
    let text = serde_json::to_vec(&body).map_err(|_| Refusal::Unwritable)?;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(uncached(json(status, JSON, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_purpose_is_minting_unless_asked_otherwise() {
        for (query, want) in [
            (None, Ok(Purpose::Mint)),
            (Some(""), Ok(Purpose::Mint)),
            (Some("for=mint"), Ok(Purpose::Mint)),
            (Some("x=1&for=jwks"), Ok(Purpose::Jwks)),
            (Some("fortune=1"), Ok(Purpose::Mint)),
            (Some("for="), Err(Refusal::UnknownReadiness)),
            (Some("for=MINT"), Err(Refusal::UnknownReadiness)),
        ] {
            assert_eq!(Purpose::read(query), want, "{query:?}");
        }
    }
}
