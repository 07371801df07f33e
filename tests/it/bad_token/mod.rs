//! What can be wrong with a module, a token, a PIN or a key. Each has its message, and either exit code 1 or a service
//! that stays up, says 503, and mints as soon as the trouble is gone.

mod access;
mod keys;

use std::time::{Duration, Instant};

use crate::harness::Service;

const MINT: &str = r#"{"sender":"a"}"#;

/// Alive, not ready, minting 503 quickly, and still strict about requests. `published`: whether it knows a key set.
fn assert_waiting(service: &Service, name: &str) {
    assert_eq!(
        service.get("/healthz").status,
        200,
        "{name}: liveness never depends on the token"
    );
    let since = Instant::now();
    let mint = service.post(MINT);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{name}: a slow 503: {:?}",
        since.elapsed()
    );
    assert_eq!(mint.status, 503, "{name}: {}", mint.text());
    mint.error();
    let pause: u64 = mint.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&pause), "{name}");
    assert_eq!(service.post("{}").error(), "sender is required", "{name}");
    let ready = service.get("/readyz");
    assert_eq!(ready.status, 503, "{name}");
    assert!(ready.json().is_object(), "{name}: {}", ready.text());
    let jwks = service.get("/.well-known/jwks.json");
    assert_eq!(jwks.status, 503, "{name}: {}", jwks.text());
    jwks.error();
}

/// A start that stays up without a usable key, and whose log says all of this.
fn waits_and_says(service: &Service, name: &str, said: &[&str]) {
    for text in said {
        service.must_log(text);
    }
    assert_waiting(service, name);
}
