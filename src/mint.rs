//! From a grant to a token: `Grant + now + key -> claims -> SigningInput -> Jwt`.
//!
//! The clock is read once: the same instant chooses the key and stamps `iat` and `exp`. A key that is about to be withdrawn
//! may give a shorter life than was granted.
//! Claims stand in the order of the wire contract, numbers are spelled as JavaScript spells them.
//! Never logs a claim value. Knows nothing of HTTP.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use crate::clock::{Deadline, Moment, UnixSeconds};
use crate::config::ClaimSettings;
use crate::grant::{Grant, Sender};
use crate::jose::{Jwt, SigningInput};
use crate::keys::{PublishedKey, SignError, Signed, Signer};

/// A token and what the answer says about it.
#[derive(Debug)]
pub struct Minted {
    pub token: Jwt,
    pub sender: Sender,
    /// Exactly `exp - iat`.
    pub expires_in_seconds: u64,
}

/// Why a grant became no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Cannot happen: claims are strings, whole numbers and parsed JSON.
    #[error("the claims could not be written as JSON")]
    Claims,
}

/// Signs `grant` as of `now`.
///
/// # Errors
/// [`MintError`]; never later than `deadline`.
pub async fn mint(
    grant: Grant,
    settings: &ClaimSettings,
    signer: &Signer,
    now: Moment,
    deadline: Deadline,
) -> Result<Minted, MintError> {
    let issued = now.wall;
    let life = |ttl: u64| issued.plus(ttl);
    let granted = grant.ttl_seconds();
    let claims = claims(&grant, settings, issued, life(granted)).map_err(|_| MintError::Claims)?;

    let input = |key: &PublishedKey, ttl: u64| {
        if ttl == granted {
            return SigningInput::new(key.header(), &claims);
        }
        // A key about to be withdrawn signs shorter lives. What could be written once can be written again.
        let shorter = self::claims(&grant, settings, issued, life(ttl));
        SigningInput::new(key.header(), shorter.as_ref().unwrap_or(&claims))
    };
    let Signed { jwt, ttl } = signer.sign(now, granted, input, deadline).await?;

    Ok(Minted {
        token: jwt,
        sender: grant.into_sender(),
        expires_in_seconds: life(ttl).get().saturating_sub(issued.get()),
    })
}

fn claims(
    grant: &Grant,
    settings: &ClaimSettings,
    now: UnixSeconds,
    expires: UnixSeconds,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Claims<'a> {
        macp_scopes: &'a Map<String, Value>,
        sub: &'a str,
        iss: &'a str,
        aud: &'a str,
        iat: u64,
        exp: u64,
    }
    let mut text = Vec::with_capacity(256);
    Claims {
        macp_scopes: grant.scopes().members(),
        sub: grant.sender(),
        iss: &settings.issuer,
        aud: &settings.audience,
        iat: now.get(),
        exp: expires.get(),
    }
    .serialize(&mut Serializer::with_formatter(&mut text, EcmaNumbers))?;
    Ok(text)
}

/// Compact JSON with ECMAScript's Number::toString: `2.0` is `2`, `-0.0` is `0`, `1e21` is `1e+21`.
/// The verifier reads some scopes as unsigned integers and refuses `2.0`.
struct EcmaNumbers;

impl Formatter for EcmaNumbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format(value).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{Caller, MintRequest, RequestedTtl, Scopes};
    use crate::jose::{Algorithm, Signature};
    use crate::keys::local::LocalKey;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use std::time::Duration;

    const NOW: Moment = Moment {
        wall: UnixSeconds::new(1000),
        running: 1,
    };
    const LAST: Moment = Moment {
        wall: UnixSeconds::new(u64::MAX - 5),
        running: 1,
    };

    fn settings() -> ClaimSettings {
        ClaimSettings {
            issuer: "the issuer".into(),
            audience: "one,two".into(),
            default_ttl: 300,
            max_ttl: u64::MAX,
        }
    }

    fn grant(sender: &str, scopes: Value, ttl: f64) -> Grant {
        let Value::Object(scopes) = scopes else {
            panic!("scopes are an object")
        };
        let request = MintRequest {
            sender: Sender::new(sender.into()).unwrap(),
            scopes: Scopes::new(scopes),
            ttl: Some(RequestedTtl::new(ttl).unwrap()),
        };
        Grant::decide(request, Caller::Anonymous, &settings())
    }

    #[tokio::test]
    async fn a_token_says_exactly_what_was_granted_and_verifies() {
        let signer = Signer::alone(LocalKey::ephemeral(Algorithm::Es256).unwrap(), NOW);
        let grant = grant("me \"too\"", json!({"z": 1, "sub": "x", "a": [2.0]}), 60.0);

        let minted = mint(
            grant,
            &settings(),
            &signer,
            NOW,
            Deadline::after(Duration::from_secs(1)),
        )
        .await
        .unwrap();

        let parts: Vec<_> = minted.token.expose().split('.').collect();
        let [header, payload, signature] = parts[..] else {
            panic!("three parts")
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        assert_eq!(
            String::from_utf8(decode(payload)).unwrap(),
            r#"{"macp_scopes":{"z":1,"sub":"x","a":[2]},"sub":"me \"too\"","iss":"the issuer","aud":"one,two","iat":1000,"exp":1060}"#
        );
        assert_eq!(minted.expires_in_seconds, 60);
        assert_eq!(minted.sender.as_str(), "me \"too\"");
        assert!(signer.ring().keys()[0].verifier().accepts(
            format!("{header}.{payload}").as_bytes(),
            &Signature::new(decode(signature))
        ));
    }

    #[tokio::test]
    async fn an_expiry_past_the_end_of_time_saturates() {
        let signer = Signer::alone(LocalKey::ephemeral(Algorithm::Es256).unwrap(), LAST);

        let minted = mint(
            grant("a", json!({}), f64::MAX),
            &settings(),
            &signer,
            LAST,
            Deadline::after(Duration::from_secs(1)),
        )
        .await
        .unwrap();

        assert_eq!(minted.expires_in_seconds, 5);
    }

    #[test]
    fn numbers_are_spelled_as_javascript_spells_them() {
        for (read, written) in [
            ("2", "2"),
            ("2.0", "2"),
            ("2e0", "2"),
            ("20E-1", "2"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("0.1", "0.1"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "18446744073709552000"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
        ] {
            let mut text = Vec::new();
            serde_json::from_str::<Value>(read)
                .unwrap()
                .serialize(&mut Serializer::with_formatter(&mut text, EcmaNumbers))
                .unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), written, "{read}");
        }
    }
}
