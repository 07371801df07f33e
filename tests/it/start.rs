//! Starting: the five lines, the port, the addresses, the names of the key sources.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use crate::harness::service::PATIENCE;
use crate::harness::vectors::RFC7515_A3_KEY;
use crate::harness::{Connection, Launch, Service, SoftHsm, until};

fn five_lines(port: u16, source: &str, algorithm: &str) -> String {
    format!(
        "[auth-service] listening on port {port}\n\
         [auth-service] issuer=macp-auth-service audience=macp-runtime\n\
         [auth-service] key source: {source} alg: {algorithm}\n\
         [auth-service] JWKS: http://localhost:{port}/.well-known/jwks.json\n\
         [auth-service] Mint: POST http://localhost:{port}/tokens\n"
    )
}

fn ipv6_exists() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn stdout_is_exactly_the_five_lines() {
    let hsm = SoftHsm::with_key("ES256");
    let rows: [(&str, Launch, &str, &str); 5] = [
        ("defaults", Launch::new(), "ephemeral", "RS256"),
        (
            "ephemeral ES256",
            Launch::ephemeral("ES256"),
            "ephemeral",
            "ES256",
        ),
        (
            "pinned",
            Launch::ephemeral("ES256").set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY),
            "env",
            "ES256",
        ),
        ("token", hsm.launch(), "pkcs11", "ES256"),
        (
            "token, algorithm named",
            hsm.launch().set("MACP_AUTH_SIGNING_ALG", "ES256"),
            "pkcs11",
            "ES256",
        ),
    ];
    for (name, launch, source, algorithm) in rows {
        let service = launch.start();

        assert_eq!(service.get("/healthz").status, 200, "{name}");
        assert_eq!(
            service.stdout(),
            five_lines(service.port(), source, algorithm),
            "{name}"
        );
    }
}

#[test]
fn issuer_and_audience_stand_in_the_second_line() {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_ISSUER", "https://auth.example")
        .set("MACP_AUTH_AUDIENCE", "a, b")
        .start();

    let line = "[auth-service] issuer=https://auth.example audience=a, b\n";
    assert!(service.stdout().contains(line), "{}", service.stdout());
}

#[test]
fn port_0_is_answered_with_a_real_port_and_a_given_port_is_kept() {
    let chosen = Launch::ephemeral("ES256").start();
    assert_ne!(chosen.port(), 0);
    assert_eq!(chosen.get("/healthz").status, 200);
    let port = chosen.port();
    drop(chosen);

    let given = Launch::ephemeral("ES256")
        .set("PORT", port.to_string())
        .start();
    assert_eq!(given.port(), port);
}

#[test]
fn both_loopback_addresses_answer_on_the_same_port() {
    let service = Launch::ephemeral("ES256").start();
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if ipv6_exists() {
        addresses.push(IpAddr::V6(Ipv6Addr::LOCALHOST));
    }

    for address in addresses {
        let mut connection = Connection::try_open(address, service.port()).unwrap();
        let answer = connection.request("GET", "/healthz", &[], b"");
        assert_eq!(answer.status, 200, "{address}");
    }
}

#[test]
fn one_bind_address_means_that_address_alone() {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_BIND_ADDR", "127.0.0.2")
        .start();
    let of = |address: [u8; 4]| Connection::try_open(IpAddr::from(address), service.port());

    let answer = of([127, 0, 0, 2])
        .unwrap()
        .request("GET", "/healthz", &[], b"");
    assert_eq!(answer.status, 200);
    assert!(of([127, 0, 0, 1]).is_err(), "127.0.0.1 answers too");
}

#[test]
fn a_port_in_use_is_a_start_failure() {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut rows = vec![("127.0.0.1", v4)];
    if ipv6_exists() {
        rows.push(("::1", TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap()));
    }
    for (name, taken) in rows {
        let port = taken.local_addr().unwrap().port();

        let stderr = Launch::ephemeral("ES256")
            .set("PORT", port.to_string())
            .refused_on_its_port();
        assert!(
            stderr.contains(&port.to_string()) && stderr.contains("in use"),
            "{name}: {stderr}"
        );
        assert!(
            stderr.contains("PORT"),
            "{name}: the setting is not named: {stderr}"
        );
    }
}

#[test]
fn two_instances_with_the_same_pinned_key_publish_the_same_jwks() {
    let launch = Launch::ephemeral("ES256").set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY);
    let (one, other) = (launch.clone().start(), launch.start());

    let (of_one, of_other) = (one.get(JWKS), other.get(JWKS));
    assert_eq!(of_one.text(), of_other.text());
    assert_eq!(of_one.header("etag"), of_other.header("etag"));
    let token = one.mint(r#"{"sender":"a"}"#);
    assert!(other.jwks().accepts(&token.compact));
}

#[test]
fn ephemeral_keys_differ_at_each_start_under_the_same_kid() {
    for algorithm in ["RS256", "ES256"] {
        let launch = Launch::ephemeral(algorithm);
        let (one, other) = (launch.clone().start().jwks(), launch.start().jwks());

        assert_eq!(one.kids(), ["dev-key-1"], "{algorithm}");
        assert_eq!(other.kids(), ["dev-key-1"], "{algorithm}");
        assert_ne!(one.text, other.text, "{algorithm}");
    }
}

#[test]
fn serve_is_the_default_command() {
    let service: Service = Launch::ephemeral("ES256").arguments(&["serve"]).start();

    assert_eq!(service.get("/healthz").status, 200);
}

const JWKS: &str = "/.well-known/jwks.json";

#[test]
fn a_first_key_whose_instant_has_not_come_does_not_sign_and_that_is_said() {
    let hsm = SoftHsm::new();
    let made = hsm.generate(&["--alg", "ES256", "--activate-in", "1d"]);
    assert!(made.stdout.contains("no key signs before"), "{made:?}");

    let service = hsm
        .launch()
        .set("MACP_AUTH_ROTATION_UNSAFE", "1")
        .set("MACP_AUTH_KEY_LEAD_SECONDS", "0")
        .start();
    until("the key is published", PATIENCE, || {
        (service.jwks().kids().len() == 1).then_some(())
    });
    let refused = service.post(r#"{"sender":"agent://early"}"#);
    assert_eq!(refused.status, 503);
    let ready = service.get("/readyz?for=mint");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("no key signs before "),
        "{}",
        ready.text()
    );
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let service = Launch::new().with_soft_open_files(512).start();

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let open_files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = open_files.unwrap().split_whitespace().collect();
    assert_ne!(words[3], "512", "{limits}");
    assert_eq!(words[3], words[4], "{limits}");
}
