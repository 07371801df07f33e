//! Tokens from SoftHSM2 before the verifiers that people use, which know nothing but our published key set:
//! jsonwebtoken 9.3.1 (the runtime's), jsonwebtoken 11, and the runtime's own resolver over its URL fetch.
//!
//! `MACP_TEST_TOKENS` says how many (1000); tests/verify-many.sh runs 10,000.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::precondition::tools;
use crate::harness::{Service, SoftHsm};

fn how_many() -> usize {
    std::env::var("MACP_TEST_TOKENS").map_or(1000, |text| text.parse().unwrap())
}

fn body(number: usize) -> String {
    format!(
        r#"{{"sender":"agent://{number}","scopes":{{"can_start_sessions":{},"max_open_sessions":{number}.0,"allowed_modes":["m{number}"]}},"ttl_seconds":600}}"#,
        number.is_multiple_of(2)
    )
}

/// In order, over four connections.
fn mint(service: &Service, count: usize) -> Vec<String> {
    let clients = 4;
    let mut tokens: Vec<(usize, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut connection = service.connect();
                    (client..count)
                        .step_by(clients)
                        .map(|number| {
                            let answer = connection.post(body(number));
                            assert_eq!(answer.status, 200, "{}", answer.text());
                            (number, answer.json()["token"].as_str().unwrap().to_owned())
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    tokens.sort();
    tokens.into_iter().map(|(_, token)| token).collect()
}

/// The same code for both versions of the library, whose types differ.
macro_rules! verify_with {
    ($library:ident, $jwks:expr, $tokens:expr) => {{
        let set: $library::jwk::JwkSet = serde_json::from_str($jwks).unwrap();
        for (number, token) in $tokens.iter().enumerate() {
            let header = $library::decode_header(token).unwrap();
            let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
            let key = $library::DecodingKey::from_jwk(jwk).unwrap();
            let mut validation = $library::Validation::new(header.alg);
            validation.set_issuer(&["macp-auth-service"]);
            validation.set_audience(&["macp-runtime"]);
            let claims = $library::decode::<Value>(token, &key, &validation)
                .unwrap_or_else(|error| panic!("{error}: {token}"))
                .claims;
            assert_eq!(claims["sub"], format!("agent://{number}"));
        }
    }};
}

fn all_verifiers_accept(algorithm: &str) {
    let hsm = SoftHsm::with_key(algorithm);
    let service = hsm.launch().start();
    let tokens = mint(&service, how_many());
    let jwks = service.jwks().text;

    verify_with!(jsonwebtoken9, &jwks, tokens);
    verify_with!(jsonwebtoken11, &jwks, tokens);
    the_runtime_accepts(&service, &tokens);
}

fn the_runtime_accepts(service: &Service, tokens: &[String]) {
    let mut runtime = Command::new(&tools().runtime_verifier)
        .args([
            &service.jwks_url(),
            "macp-auth-service",
            "macp-runtime",
            "300",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = runtime.stdin.take().unwrap();
    let answers = BufReader::new(runtime.stdout.take().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for token in tokens {
                writeln!(input, "{token}").unwrap();
            }
        });
        let mut seen = 0;
        for (number, line) in answers.lines().enumerate() {
            let verdict: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(verdict["ok"], true, "{verdict} for {}", tokens[number]);
            assert_eq!(verdict["sender"], format!("agent://{number}"));
            assert_eq!(verdict["max_open_sessions"], number);
            assert_eq!(verdict["can_start_sessions"], number.is_multiple_of(2));
            assert_eq!(
                verdict["allowed_modes"],
                serde_json::json!([format!("m{number}")])
            );
            seen += 1;
        }
        assert_eq!(seen, tokens.len());
    });
    assert!(runtime.wait().unwrap().success());
}

#[test]
fn rs256_tokens_from_a_token_satisfy_every_verifier() {
    all_verifiers_accept("RS256");
}

#[test]
fn es256_tokens_from_a_token_satisfy_every_verifier() {
    all_verifiers_accept("ES256");
}

#[test]
fn the_runtime_refuses_a_token_of_another_service() {
    let (hsm, other_hsm) = (SoftHsm::with_key("ES256"), SoftHsm::with_key("ES256"));
    let (service, other) = (hsm.launch().start(), other_hsm.launch().start());
    let token = mint(&other, 1).remove(0);

    let output = Command::new("sh")
        .args([
            "-c",
            "echo \"$0\" | \"$1\" \"$2\" macp-auth-service macp-runtime 300",
            &token,
        ])
        .arg(&tools().runtime_verifier)
        .arg(service.jwks_url())
        .output()
        .unwrap();
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["ok"], false, "{verdict}");
}
