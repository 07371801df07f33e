//! The token and the key set, to the byte.

use std::time::{SystemTime, UNIX_EPOCH};

use super::service;
use crate::harness::{Jwks, Launch, Service};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn header_and_claims_are_exactly_these_in_this_order() {
    for algorithm in ["RS256", "ES256"] {
        let service = Launch::ephemeral(algorithm).start();
        let before = now();
        let token = service
            .mint(r#"{"ttl_seconds":600,"scopes":{"is_observer":true},"sender":"agent://risk"}"#);
        let after = now();

        assert_eq!(
            token.header,
            format!(r#"{{"alg":"{algorithm}","kid":"dev-key-1"}}"#)
        );
        let issued = token.claims()["iat"].as_u64().unwrap();
        assert!(
            (before..=after).contains(&issued),
            "{issued} not in {before}..={after}"
        );
        assert_eq!(
            token.payload,
            format!(
                r#"{{"macp_scopes":{{"is_observer":true}},"sub":"agent://risk","iss":"macp-auth-service","aud":"macp-runtime","iat":{issued},"exp":{}}}"#,
                issued + 600
            )
        );
        let length = if algorithm == "RS256" { 256 } else { 64 };
        assert_eq!(token.signature.len(), length, "{algorithm}");
        assert!(!token.compact.contains('='), "{}", token.compact);
    }
}

#[test]
fn issuer_and_audience_are_signed_as_configured() {
    for (issuer, audience) in [
        ("https://auth.example", "macp-runtime"),
        ("a", "one,two"),
        ("with \"quotes\"", "back\\slash"),
        ("Ünïcödé", "日本語"),
        (" spaces ", " stay "),
    ] {
        let service = Launch::ephemeral("ES256")
            .set("MACP_AUTH_ISSUER", issuer)
            .set("MACP_AUTH_AUDIENCE", audience)
            .start();
        let claims = service.mint(r#"{"sender":"a"}"#).claims();
        assert_eq!(claims["iss"], issuer);
        assert_eq!(claims["aud"], audience);
    }
}

#[test]
fn the_answer_to_a_mint_has_three_members_in_this_order() {
    let answer = service().post(r#"{"sender":"a","ttl_seconds":60}"#);

    let body = answer.json();
    let token = body["token"].as_str().unwrap();
    assert_eq!(
        answer.text(),
        format!(r#"{{"token":"{token}","sender":"a","expires_in_seconds":60}}"#)
    );
}

#[test]
fn a_published_key_has_exactly_these_members_in_this_order() {
    for (algorithm, members) in [
        ("RS256", &["kty", "n", "e", "kid", "alg", "use"][..]),
        ("ES256", &["kty", "crv", "x", "y", "kid", "alg", "use"]),
    ] {
        let jwks = Launch::ephemeral(algorithm).start().jwks();

        assert!(
            jwks.text.starts_with(r#"{"keys":[{"kty":"#),
            "{}",
            jwks.text
        );
        let key = jwks.keys[0].as_object().unwrap();
        assert_eq!(key.keys().collect::<Vec<_>>(), members, "{algorithm}");
        assert_eq!(
            (&key["alg"], &key["use"]),
            (&algorithm.into(), &"sig".into())
        );
        let length = |name: &str| crate::harness::jwt::decode(key[name].as_str().unwrap()).len();
        if algorithm == "RS256" {
            assert_eq!((length("n"), &key["e"]), (256, &"AQAB".into()));
        } else {
            assert_eq!(
                (length("x"), length("y"), &key["crv"]),
                (32, 32, &"P-256".into())
            );
        }
    }
}

#[test]
fn every_token_verifies_and_one_changed_byte_does_not() {
    for algorithm in ["RS256", "ES256"] {
        let service = Launch::ephemeral(algorithm).start();
        let jwks = service.jwks();
        let token = service.mint(r#"{"sender":"a"}"#).compact;

        assert!(jwks.accepts(&token));
        assert!(!jwks.accepts(&forged(&token)), "{algorithm}");
        assert!(
            !other_keys(algorithm).accepts(&token),
            "{algorithm} under another key"
        );
    }
}

fn forged(token: &str) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let payload = crate::harness::Token::split(token)
        .payload
        .replace(r#""sub":"a""#, r#""sub":"b""#);
    [
        parts[0],
        &crate::harness::jwt::encode(payload.as_bytes()),
        parts[2],
    ]
    .join(".")
}

fn other_keys(algorithm: &str) -> Jwks {
    let other: Service = Launch::ephemeral(algorithm).start();
    other.jwks()
}
