//! The admin listener: what it shows, what it never does, and that it comes and goes with the service.

use std::net::TcpListener;
use std::time::Duration;

use crate::harness::service::PATIENCE;
use crate::harness::{Connection, Launch, SoftHsm, until};

const BODY: &[u8] = br#"{"sender":"admin"}"#;
const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[test]
fn the_status_tells_of_the_key_that_was_generated_and_of_its_token() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().with_admin().start();
    service.wait_ready();
    let jwks = service.get("/.well-known/jwks.json");
    let kid = &jwks.json()["keys"][0]["kid"];

    let status = service.status();

    assert_eq!(status["key_source"], "pkcs11");
    assert_eq!(status["ready"]["mint"]["ready"], true, "{status}");
    assert_eq!(status["ready"]["jwks"]["ready"], true, "{status}");
    assert_eq!(&status["signing_kid"], kid);
    assert_eq!(status["alarms"], serde_json::json!([]));
    let key = &status["keys"][0];
    assert_eq!(
        (&key["kid"], &key["state"]),
        (kid, &"ACTIVE".into()),
        "{status}"
    );
    assert_eq!(
        (&key["published"], &key["proved"]),
        (&true.into(), &true.into())
    );
    assert!(key["created"].as_str().unwrap().ends_with('Z'), "{status}");
    let token = &status["tokens"][0];
    assert_eq!(
        (&token["label"], &token["ready"]),
        (&"it-token".into(), &true.into())
    );
    assert_eq!(token["serial"].as_str(), Some(hsm.serial().as_str()));
    for time in ["last_look", "last_verified_signature"] {
        assert!(
            token[time].as_str().unwrap().ends_with('Z'),
            "{time}: {status}"
        );
    }
    let verifier = &status["verifiers"][0];
    assert_eq!(
        (&verifier["address"], &verifier["current"]),
        (&"127.0.0.1".into(), &true.into())
    );
    assert_eq!(verifier["etag"].as_str(), jwks.header("etag"));
    assert_eq!(status["jwks_etag"].as_str(), jwks.header("etag"));
    assert_eq!(status["rules"]["least_lead_seconds"], 491);
}

#[test]
fn a_token_without_a_key_is_no_place_to_mint_and_the_status_says_why() {
    let hsm = SoftHsm::new();
    let service = hsm.launch().with_admin().start();

    let status = service.status();

    assert_eq!(status["ready"]["mint"]["ready"], false, "{status}");
    assert_eq!(status["signing_kid"], serde_json::Value::Null);
    let parts = status["tokens"][0]["parts"].to_string();
    assert!(parts.contains("keys generate"), "{status}");
    let metrics = service.ask_admin("/metrics", &[]).text();
    assert!(
        metrics.contains("macp_auth_ready{for=\"mint\"} 0\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("signing_key_info{"), "{metrics}");
}

#[test]
fn replicas_that_are_configured_alike_show_one_digest() {
    let digest = |lead: &str| {
        let launch = Launch::ephemeral("ES256").set("MACP_AUTH_KEY_LEAD_SECONDS", lead);
        launch.with_admin().start().status()["rules"]["digest"].clone()
    };

    assert_eq!(digest("1000"), digest("1000"));
    assert_ne!(digest("1000"), digest("1001"));
}

#[test]
fn browsers_get_a_page_and_machines_json() {
    let service = Launch::ephemeral("ES256").with_admin().start();
    for (path, headers, want) in [
        ("/status", vec![], "application/json"),
        ("/status", vec![BROWSER], "text/html; charset=utf-8"),
        ("/status?format=html", vec![], "text/html; charset=utf-8"),
        ("/status?format=json", vec![BROWSER], "application/json"),
        (
            "/metrics",
            vec![BROWSER],
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let answer = service.ask_admin(path, &headers);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(want), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
    }
    let page = service.ask_admin("/status", &[BROWSER]);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    let refused = service.ask_admin("/status?format=xml", &[]);
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (400, "format must be json or html")
    );
}

#[test]
fn each_port_answers_its_own_paths_alone() {
    let service = Launch::ephemeral("ES256").with_admin().start();
    let json = [("Content-Type", "application/json")];
    let mut admin = Connection::open(service.admin_port());

    for path in ["/tokens", "/.well-known/jwks.json", "/"] {
        for method in ["GET", "POST"] {
            assert_eq!(
                admin.request(method, path, &json, BODY).status,
                404,
                "{method} {path}"
            );
        }
    }
    assert_eq!(admin.request("POST", "/status", &json, BODY).status, 405);
    for path in ["/status", "/metrics"] {
        assert_eq!(service.get(path).status, 404, "{path}");
    }
    for path in ["/healthz", "/readyz", "/readyz?for=jwks"] {
        assert_eq!(service.ask_admin(path, &[]).status, 200, "{path}");
        assert_eq!(service.get(path).status, 200, "{path}");
    }
}

#[test]
fn without_the_setting_there_is_no_second_listener() {
    let mut service = Launch::ephemeral("ES256").start();

    assert!(!service.log_to_its_end().contains("admin listener"));
}

#[test]
fn the_start_lines_are_five_with_an_admin_listener_too() {
    let service = Launch::ephemeral("ES256").with_admin().start();
    service.admin_port();

    assert_eq!(service.stdout().lines().count(), 5, "{}", service.stdout());
}

#[test]
fn both_listeners_drain_at_a_signal() {
    let mut service = Launch::ephemeral("ES256").with_admin().start();
    let port = service.admin_port();
    let mut idle = Connection::open(port);
    idle.request("GET", "/healthz", &[], b"");
    let mut in_flight = [service.connect(), Connection::open(port)];
    for connection in &mut in_flight {
        connection.send("GET /healthz HTTP/1.1\r\nHo");
    }
    // Answered after what was sent before: the heads above have begun by then.
    service.get("/healthz");
    service.ask_admin("/healthz", &[]);

    service.signal("TERM");
    service.wait_for_stdout("shutting down\n");
    assert!(idle.is_closed_by_the_service());
    for connection in &mut in_flight {
        connection.send("st: a\r\n\r\n");
        let answer = connection.answer().unwrap();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, Some("close"))
        );
    }

    assert_eq!(
        service.wait_for_exit(Duration::from_secs(20)).0.code(),
        Some(0)
    );
    assert!(Connection::try_open([127, 0, 0, 1].into(), port).is_err());
}

#[test]
fn a_port_that_is_taken_stops_the_start_and_names_the_variable() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let said = Launch::ephemeral("ES256")
        .set("MACP_AUTH_ADMIN_ADDR", taken.to_string())
        .refused();
    assert!(
        said.contains(&taken.to_string()) && said.contains("MACP_AUTH_ADMIN_ADDR"),
        "{said}"
    );
    assert!(said.contains("in use"), "{said}");
    drop(held);

    let said = Launch::ephemeral("ES256")
        .set("PORT", taken.port().to_string())
        .set("MACP_AUTH_ADMIN_ADDR", taken.to_string())
        .refused_on_its_port();
    assert!(
        said.contains("PORT is the same") && said.contains("MACP_AUTH_ADMIN_ADDR"),
        "{said}"
    );
}

#[test]
fn metrics_follow_the_token() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().with_admin().start();
    service.wait_ready();
    let metrics = || service.ask_admin("/metrics", &[]).text();
    let kid = service.status()["signing_kid"].as_str().unwrap().to_owned();

    let text = metrics();
    assert!(
        text.contains(&format!(
            "signing_key_info{{kid=\"{kid}\",algorithm=\"ES256\"}} 1\n"
        )),
        "{text}"
    );
    assert!(
        text.contains("macp_auth_keys{state=\"ACTIVE\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("macp_auth_alarms{kind=\"look\"} 0\n"),
        "{text}"
    );

    std::fs::remove_dir_all(hsm.path("tokens")).unwrap();
    service.signal("HUP");
    until("the loss in the metrics", PATIENCE, || {
        metrics()
            .contains("macp_auth_alarms{kind=\"look\"} 1\n")
            .then_some(())
    });
}
