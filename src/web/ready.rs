//! `GET /readyz`: may this instance be sent mints, or fetches of the JWKS? Liveness is `/healthz` and never asks a key.

use hyper::StatusCode;
use serde::Serialize;

use super::reply::{Answer, JSON, Refusal, json, uncached};
use crate::clock::UnixSeconds;
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

pub(super) fn answer(
    signer: &Signer,
    purpose: Purpose,
    now: UnixSeconds,
) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Body {
        ready: bool,
        r#for: Purpose,
        parts: Vec<Part>,
    }
    let Readiness { ready, parts } = match purpose {
        Purpose::Mint => mint(signer, now),
        Purpose::Jwks => jwks(signer),
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

fn mint(signer: &Signer, now: UnixSeconds) -> Readiness {
    let Readiness { ready, mut parts } = signer.mint_readiness();
    let ring = signer.ring();
    let signing = ring.signing_key(now);
    parts.push(Part {
        name: "signing_key",
        ok: signing.is_some(),
        detail: signing.map_or_else(
            || "no key signs at this instant".to_owned(),
            |key| format!("{} {}", key.algorithm(), key.kid()),
        ),
    });
    Readiness {
        ready: ready && signing.is_some(),
        parts,
    }
}

fn jwks(signer: &Signer) -> Readiness {
    let part = jwks_part(signer);
    Readiness {
        ready: part.ok,
        parts: vec![part],
    }
}

fn jwks_part(signer: &Signer) -> Part {
    let ring = signer.ring();
    Part {
        name: "jwks",
        ok: ring.document().is_some(),
        detail: format!("{} published", ring.keys().len()),
    }
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
