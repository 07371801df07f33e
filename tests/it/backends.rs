//! One suite, every source of keys: what a client sees must not tell where the key lives.

use std::collections::BTreeSet;

use crate::harness::vectors::{RFC7515_A2_KEY, RFC7515_A3_KEY};
use crate::harness::{Launch, Service, SoftHsm};

/// A running service, and the token it needs while it runs.
struct Subject {
    service: Service,
    algorithm: &'static str,
    source: &'static str,
    _hsm: Option<SoftHsm>,
}

type Start = fn(&'static str) -> Subject;

fn ephemeral(algorithm: &'static str) -> Subject {
    let service = Launch::ephemeral(algorithm).start();
    Subject {
        service,
        algorithm,
        source: "ephemeral",
        _hsm: None,
    }
}

fn pinned(algorithm: &'static str) -> Subject {
    let key = if algorithm == "RS256" {
        RFC7515_A2_KEY
    } else {
        RFC7515_A3_KEY
    };
    let service = Launch::ephemeral(algorithm)
        .set("MACP_AUTH_SIGNING_KEY_JSON", key)
        .start();
    Subject {
        service,
        algorithm,
        source: "env",
        _hsm: None,
    }
}

fn softhsm(algorithm: &'static str) -> Subject {
    let hsm = SoftHsm::with_key(algorithm);
    let service = hsm.launch().start();
    Subject {
        service,
        algorithm,
        source: "pkcs11",
        _hsm: Some(hsm),
    }
}

/// The suite once for each source, under the source's name.
macro_rules! backends {
    ($($backend:ident),*) => {
        $(mod $backend {
            backends!(@tests $backend:
                the_first_request_after_the_start_lines_mints,
                tokens_say_what_was_asked_and_verify_under_the_published_key,
                header_and_jwk_name_the_same_key,
                the_key_set_does_not_change_by_itself,
                a_bad_request_is_told_before_a_key_is_asked,
                many_at_once_all_verify,
                the_service_is_ready);
        })*
    };
    (@tests $backend:ident: $($test:ident),*) => {
        $(#[test]
        fn $test() {
            for algorithm in ["RS256", "ES256"] {
                super::$test(super::$backend as super::Start, algorithm);
            }
        })*
    };
}

backends! { ephemeral, pinned, softhsm }

fn the_first_request_after_the_start_lines_mints(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);

    assert_eq!(
        subject.service.post(r#"{"sender":"a"}"#).status,
        200,
        "{algorithm}"
    );
    let line = format!("key source: {} alg: {algorithm}\n", subject.source);
    assert!(subject.service.stdout().contains(&line));
}

fn tokens_say_what_was_asked_and_verify_under_the_published_key(
    start: Start,
    algorithm: &'static str,
) {
    let subject = start(algorithm);
    let token = subject
        .service
        .mint(r#"{"sender":"agent://risk","scopes":{"max_open_sessions":2.0},"ttl_seconds":60}"#);

    let prefix = r#"{"macp_scopes":{"max_open_sessions":2},"sub":"agent://risk","iss":"macp-auth-service","aud":"macp-runtime","iat":"#;
    assert!(token.payload.starts_with(prefix), "{}", token.payload);
    let claims = token.claims();
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        60
    );
    assert_eq!(claims.as_object().unwrap().len(), 6);
}

fn header_and_jwk_name_the_same_key(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);
    let jwks = subject.service.jwks();
    let token = subject.service.mint(r#"{"sender":"a"}"#);

    let kid = &jwks.kids()[0];
    assert_eq!(jwks.keys.len(), 1);
    assert_eq!(
        token.header,
        format!(r#"{{"alg":"{}","kid":"{kid}"}}"#, subject.algorithm)
    );
    assert_eq!(jwks.keys[0]["alg"], algorithm);
    let members: Vec<_> = jwks.keys[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let want: &[&str] = if algorithm == "RS256" {
        &["kty", "n", "e", "kid", "alg", "use"]
    } else {
        &["kty", "crv", "x", "y", "kid", "alg", "use"]
    };
    assert_eq!(members, want);
    let signature = if algorithm == "RS256" { 256 } else { 64 };
    assert_eq!(token.signature.len(), signature);
}

fn the_key_set_does_not_change_by_itself(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);
    let before = subject.service.get("/.well-known/jwks.json");
    for _ in 0..5 {
        subject.service.mint(r#"{"sender":"a"}"#);
    }
    let after = subject.service.get("/.well-known/jwks.json");

    assert_eq!(
        (before.text(), before.header("etag")),
        (after.text(), after.header("etag"))
    );
}

fn a_bad_request_is_told_before_a_key_is_asked(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);
    let answer = subject.service.post("{}");

    assert_eq!(
        (answer.status, answer.error()),
        (400, "sender is required".to_owned())
    );
}

fn many_at_once_all_verify(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);
    let jwks = subject.service.jwks();
    let service = &subject.service;

    let tokens: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = service.connect();
                    let mint = |turn: i32| {
                        let answer = connection.post(format!(r#"{{"sender":"{client}/{turn}"}}"#));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        answer.json()["token"].as_str().unwrap().to_owned()
                    };
                    (0..25).map(mint).collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });

    let senders: BTreeSet<String> = tokens
        .iter()
        .map(|token| {
            jwks.verify(token).claims()["sub"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(senders.len(), 200, "each client got its own token");
}

fn the_service_is_ready(start: Start, algorithm: &'static str) {
    let subject = start(algorithm);
    for path in ["/readyz", "/readyz?for=mint", "/readyz?for=jwks"] {
        let answer = subject.service.get(path);
        assert_eq!(answer.status, 200, "{algorithm} {path}: {}", answer.text());
    }
}
