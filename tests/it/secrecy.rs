//! What must never be written, however much is logged.

use crate::harness::vectors::RFC7515_A3_KEY;
use crate::harness::{Launch, SoftHsm};

const FILTERS: [&str; 2] = ["trace", "trace,hyper=trace,cryptoki=trace"];

#[test]
fn at_the_finest_log_level_no_token_and_no_credential_is_written() {
    for filter in FILTERS {
        let mut service = Launch::ephemeral("ES256")
            .set("MACP_AUTH_LOG", filter)
            .start();
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", "Bearer caller-secret-1"),
            ("Cookie", "session=caller-secret-2"),
        ];
        let answer = service.request("POST", "/tokens", &headers, br#"{"sender":"a"}"#);
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        let bad = service.request(
            "POST",
            "/tokens",
            &headers,
            br#"{"sender":"caller-secret-3"#,
        );
        assert_eq!(bad.status, 400);

        let log = service.log_to_its_end();
        let signature = token.rsplit('.').next().unwrap();
        for secret in [
            signature,
            "caller-secret-1",
            "caller-secret-2",
            "caller-secret-3",
        ] {
            assert!(!log.contains(secret), "{filter}: {secret} in {log}");
        }
    }
}

#[test]
fn at_the_finest_log_level_no_pin_and_no_private_key_is_written() {
    // The harness looks for the PIN in whatever such a service writes.
    for filter in FILTERS {
        let hsm = SoftHsm::with_key("ES256");
        let mut service = hsm.launch().set("MACP_AUTH_LOG", filter).start();
        service.mint(r#"{"sender":"a"}"#);
        assert_eq!(service.terminate().code(), Some(0));

        hsm.write_pin("another-pin-4711");
        let refused = hsm
            .launch()
            .secret("another-pin-4711")
            .set("MACP_AUTH_LOG", filter)
            .start();
        assert_eq!(refused.post(r#"{"sender":"a"}"#).status, 503);

        Launch::ephemeral("ES256")
            .set("MACP_AUTH_LOG", filter)
            .set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY)
            .secret("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
            .start()
            .mint(r#"{"sender":"a"}"#);
    }
}

#[test]
fn the_key_set_never_shows_what_a_token_keeps() {
    let hsm = SoftHsm::with_key("RS256");
    let service = hsm.launch().start();
    for key in service.jwks().keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}
