//! Anonymous mints that a foreign web page sends are refused: DNS rebinding reaches loopback ports.

use super::service;

#[test]
fn a_mint_with_a_foreign_origin_is_refused() {
    let service = service();
    for (origin, status) in [
        ("http://localhost", 200),
        ("http://localhost:3000", 200),
        ("https://localhost:3000", 200),
        ("http://LOCALHOST", 200),
        ("http://127.0.0.1", 200),
        ("http://127.0.0.1:8080", 200),
        ("http://[::1]", 200),
        ("http://[::1]:8080", 200),
        ("http://evil.example", 403),
        ("https://evil.example:3200", 403),
        ("http://localhost.evil.example", 403),
        ("http://evil.example/localhost", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("http://evil-localhost", 403),
        ("http://10.0.0.1", 403),
        ("http://192.168.1.1:3000", 403),
        ("http://[2001:db8::1]", 403),
        ("http://0.0.0.0", 403),
        ("null", 403),
        ("localhost.", 403),
        ("rubbish", 403),
    ] {
        let headers = [("Content-Type", "application/json"), ("Origin", origin)];
        let answer = service.request("POST", "/tokens", &headers, br#"{"sender":"a"}"#);
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
        if status == 403 {
            answer.error();
        }
    }
    let headers = [
        ("Content-Type", "application/json"),
        ("Origin", "http://localhost"),
        ("Origin", "http://evil.example"),
    ];
    let answer = service.request("POST", "/tokens", &headers, br#"{"sender":"a"}"#);
    assert_eq!(answer.status, 403, "a foreign one behind a good one");
}

#[test]
fn the_key_set_and_health_are_for_everyone() {
    let service = service();
    for path in ["/.well-known/jwks.json", "/healthz", "/readyz"] {
        let answer = service.request("GET", path, &[("Origin", "http://evil.example")], b"");
        assert_eq!(answer.status, 200, "{path}");
    }
}
