//! Keys on a token: made by us or by pkcs11-tool, found by label or by URI, one or several.

use crate::harness::jwt::thumbprint;
use crate::harness::softhsm::{PIN, TOKEN};
use crate::harness::{KeyPair, Launch, Service, SoftHsm};

const MINT: &str = r#"{"sender":"a"}"#;

fn mints_under_its_thumbprint(service: &Service, algorithm: &str, name: &str) {
    let jwks = service.jwks();
    let token = service.mint(MINT);
    let kid = token.kid();

    let key = jwks.keys.iter().find(|key| key["kid"] == *kid).unwrap();
    assert_eq!(thumbprint(key), kid, "{name}");
    assert_eq!(key["alg"], algorithm, "{name}");
}

#[test]
fn keys_of_either_maker_and_algorithm_sign_under_their_thumbprint() {
    for (name, algorithm, pair) in [
        ("ours", "RS256", None),
        ("ours", "ES256", None),
        ("pkcs11-tool's", "RS256", Some(KeyPair::RSA)),
        ("pkcs11-tool's", "ES256", Some(KeyPair::EC)),
        (
            "pkcs11-tool's, 3072 bits",
            "RS256",
            Some(KeyPair {
                kind: "rsa:3072",
                ..KeyPair::RSA
            }),
        ),
    ] {
        let hsm = SoftHsm::new();
        match &pair {
            None => drop(hsm.generate(&["--alg", algorithm])),
            Some(pair) => hsm.make(pair),
        }
        let service = hsm.launch().start();

        assert!(
            service
                .stdout()
                .contains(&format!("key source: pkcs11 alg: {algorithm}\n")),
            "{name} {algorithm}"
        );
        mints_under_its_thumbprint(&service, algorithm, name);
    }
}

#[test]
fn a_token_is_found_by_label_by_serial_or_by_both() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.make_token("another");
    let serial = hsm.serial();
    for (name, launch) in [
        ("label", hsm.launch()),
        (
            "serial",
            hsm.launch()
                .unset("MACP_AUTH_PKCS11_TOKEN_LABEL")
                .set("MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial),
        ),
        (
            "both",
            hsm.launch().set("MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial),
        ),
    ] {
        mints_under_its_thumbprint(&launch.start(), "ES256", name);
    }
}

#[test]
fn the_pin_may_come_from_the_environment_with_a_warning() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm
        .launch()
        .unset("MACP_AUTH_PKCS11_PIN_FILE")
        .set("MACP_AUTH_PKCS11_PIN", PIN)
        .start();

    service.mint(MINT);
    service.must_log("MACP_AUTH_PKCS11_PIN");
}

#[test]
fn one_uri_says_it_all() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "macp-jwt",
        id: "01",
        ..KeyPair::EC
    });
    hsm.make(&KeyPair {
        label: "vendor key",
        id: "a1b2",
        ..KeyPair::EC
    });
    let module = hsm.module().display();
    let pin = hsm.pin_file().display().to_string();
    let serial = hsm.serial();
    let rows: Vec<(&str, String, Option<&str>)> = vec![
        (
            "label prefix",
            format!("pkcs11:token={TOKEN}?module-path={module}&pin-source={pin}"),
            None,
        ),
        (
            "file: URI",
            format!("pkcs11:token={TOKEN}?module-path={module}&pin-source=file:{pin}"),
            None,
        ),
        (
            "file:// URI",
            format!("pkcs11:token={TOKEN}?module-path={module}&pin-source=file://{pin}"),
            None,
        ),
        (
            "serial",
            format!("pkcs11:serial={serial}?module-path={module}&pin-source={pin}"),
            None,
        ),
        (
            "object",
            format!(
                "pkcs11:token={TOKEN};object=vendor%20key?module-path={module}&pin-source={pin}"
            ),
            Some("a1b2"),
        ),
        (
            "id",
            format!("pkcs11:token={TOKEN};id=%a1%b2?module-path={module}&pin-source={pin}"),
            Some("a1b2"),
        ),
        (
            "object, id and type",
            format!(
                "pkcs11:token={TOKEN};object=vendor%20key;id=%A1%B2;type=private?module-path={module}&pin-source={pin}"
            ),
            Some("a1b2"),
        ),
        (
            "percent-encoded token",
            format!("pkcs11:token=%69t-token?module-path={module}&pin-source={pin}"),
            None,
        ),
    ];
    let mut kids = std::collections::BTreeSet::new();
    for (name, uri, fixed) in rows {
        let service = hsm.bare_launch().set("MACP_AUTH_PKCS11_URI", &uri).start();
        mints_under_its_thumbprint(&service, "ES256", name);
        kids.insert((fixed.is_some(), service.mint(MINT).kid()));
        assert_eq!(service.jwks().keys.len(), 1, "{name}");
    }
    assert_eq!(
        kids.len(),
        2,
        "two keys: that of the prefix and the one the URI names"
    );

    let uri = format!("pkcs11:token={TOKEN}?module-path={module}&pin-value={PIN}");
    let service = hsm.bare_launch().set("MACP_AUTH_PKCS11_URI", uri).start();
    mints_under_its_thumbprint(&service, "ES256", "pin-value");
    service.must_log("pin-value");

    let uri = format!("pkcs11:token={TOKEN}?module-path={module}");
    let beside = hsm
        .bare_launch()
        .set("MACP_AUTH_PKCS11_URI", uri)
        .set("MACP_AUTH_PKCS11_PIN_FILE", hsm.pin_file());
    mints_under_its_thumbprint(&beside.start(), "ES256", "PIN file beside the URI");
}

#[test]
fn all_keys_under_the_prefix_are_published_and_the_newest_instant_that_passed_signs() {
    let hsm = SoftHsm::new();
    for (label, id) in [
        ("macp-jwt", "01"),
        ("macp-jwt-20240101T000000Z", "02"),
        ("macp-jwt/20250601T120000Z", "03"),
        ("macp-jwt-29990101T000000Z", "04"),
        ("macp-jwt2", "05"),
        ("other", "06"),
        ("macp-jwt-test", "07"),
    ] {
        hsm.make(&KeyPair {
            label,
            id,
            ..KeyPair::EC
        });
    }
    let only = |label: &str| {
        let uri = format!(
            "pkcs11:token={TOKEN};object={}?module-path={}&pin-source={}",
            label.replace('/', "%2F"),
            hsm.module().display(),
            hsm.pin_file().display()
        );
        hsm.bare_launch()
            .set("MACP_AUTH_PKCS11_URI", uri)
            .start()
            .jwks()
            .kids()
            .remove(0)
    };
    let service = hsm.launch().start();
    let published = service.jwks().kids();

    assert_eq!(published.len(), 4, "{published:?}");
    for label in [
        "macp-jwt",
        "macp-jwt-20240101T000000Z",
        "macp-jwt/20250601T120000Z",
        "macp-jwt-29990101T000000Z",
    ] {
        assert!(published.contains(&only(label)), "{label}");
    }
    let newest = only("macp-jwt/20250601T120000Z");
    for _ in 0..5 {
        assert_eq!(service.mint(MINT).kid(), newest);
    }
}

#[test]
fn of_keys_with_the_same_instant_the_smallest_kid_signs() {
    let hsm = SoftHsm::new();
    for id in ["01", "02", "03"] {
        hsm.make(&KeyPair { id, ..KeyPair::EC });
    }
    let service = hsm.launch().start();
    let mut kids = service.jwks().kids();
    kids.sort();

    assert_eq!(kids.len(), 3);
    assert_eq!(service.mint(MINT).kid(), kids[0]);
}

#[test]
fn only_keys_that_will_sign_later_mean_no_mint_yet() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "macp-jwt-29990101T000000Z",
        ..KeyPair::EC
    });
    let service = hsm.launch().start();

    assert_eq!(service.jwks().keys.len(), 1, "published");
    let answer = service.post(MINT);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(service.get("/readyz").status, 503);
}

#[test]
fn the_algorithm_decides_which_keys_sign_and_all_are_published() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "macp-jwt-20240101T000000Z",
        id: "01",
        ..KeyPair::RSA
    });
    hsm.make(&KeyPair {
        label: "macp-jwt-20250101T000000Z",
        id: "02",
        ..KeyPair::EC
    });
    for (set, signs) in [
        (None, "ES256"),
        (Some("RS256"), "RS256"),
        (Some("ES256"), "ES256"),
    ] {
        let mut launch = hsm.launch();
        if let Some(algorithm) = set {
            launch = launch.set("MACP_AUTH_SIGNING_ALG", algorithm);
        }
        let service = launch.start();

        assert!(
            service.stdout().contains(&format!("alg: {signs}\n")),
            "{set:?}"
        );
        assert_eq!(service.jwks().keys.len(), 2, "{set:?}");
        mints_under_its_thumbprint(&service, signs, signs);
    }
}

#[test]
fn a_second_start_publishes_the_same_key_set() {
    let hsm = SoftHsm::with_key("RS256");
    hsm.generate(&["--alg", "ES256", "--activate-at", "29990101T000000Z"]);
    let first = hsm.launch().start();
    let before = first.get("/.well-known/jwks.json");
    let token = first.mint(MINT);
    drop(first);

    let second = hsm.launch().start();
    let after = second.get("/.well-known/jwks.json");
    assert_eq!(before.text(), after.text());
    assert_eq!(before.header("etag"), after.header("etag"));
    assert!(second.jwks().accepts(&token.compact));
}

#[test]
fn any_number_of_sessions_signs_under_load() {
    let hsm = SoftHsm::with_key("ES256");
    for sessions in ["1", "2", "8"] {
        let service = hsm
            .launch()
            .set("MACP_AUTH_PKCS11_SESSIONS", sessions)
            .start();
        let jwks = service.jwks();
        std::thread::scope(|scope| {
            for client in 0..8 {
                let (service, jwks) = (&service, &jwks);
                scope.spawn(move || {
                    let mut connection = service.connect();
                    for turn in 0..40 {
                        let sender = format!("{client}/{turn}");
                        let answer = connection.post(format!(r#"{{"sender":"{sender}"}}"#));
                        assert_eq!(answer.status, 200, "{sessions} sessions: {}", answer.text());
                        let token = jwks.verify(answer.json()["token"].as_str().unwrap());
                        assert_eq!(token.claims()["sub"], sender);
                    }
                });
            }
        });
    }
}

#[test]
fn a_full_queue_refuses_at_once_and_what_was_taken_is_signed() {
    let hsm = SoftHsm::with_key("RS256");
    let service = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_SESSIONS", "1")
        .set("MACP_AUTH_QUEUE_LENGTH", "1")
        .start();
    let jwks = service.jwks();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let service = &service;
                scope.spawn(move || {
                    let mut connection = service.connect();
                    (0..20).map(|_| connection.post(MINT)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });

    for answer in &answers {
        match answer.status {
            200 => drop(jwks.verify(answer.json()["token"].as_str().unwrap())),
            503 => {
                answer.error();
                let pause: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!(pause >= 1);
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    assert!(
        answers.iter().any(|answer| answer.status == 503),
        "the queue was never full"
    );
    assert_eq!(
        service.get("/readyz").status,
        200,
        "a full queue is no outage"
    );
}

#[test]
fn a_key_that_wants_the_pin_for_each_signature_gets_it() {
    for pair in [KeyPair::RSA, KeyPair::EC] {
        let hsm = SoftHsm::new();
        hsm.make(&KeyPair {
            more: &["--always-auth"],
            ..pair.clone()
        });
        let service: Service = hsm.launch().set("MACP_AUTH_PKCS11_SESSIONS", "2").start();

        for _ in 0..10 {
            service.mint(MINT);
        }
    }
}

#[test]
fn pkcs11_tools_keys_also_decrypt_which_is_a_warning_below_exclusive() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::RSA);
    for policy in ["strict", "sealed", "warn"] {
        let service = hsm.launch().set("MACP_AUTH_KEY_POLICY", policy).start();
        service.mint(MINT);
        service.must_log("CKA_DECRYPT");
    }
    let ours = SoftHsm::with_key("RS256");
    let service = ours
        .launch()
        .set("MACP_AUTH_KEY_POLICY", "exclusive")
        .start();
    service.mint(MINT);
}

#[test]
fn two_services_share_a_token() {
    let hsm = SoftHsm::with_key("ES256");
    let start = || -> Service { Launch::start(hsm.launch()) };
    let (one, other) = (start(), start());

    assert_eq!(one.jwks().text, other.jwks().text);
    drop(one.mint(MINT));
    drop(one);
    other.mint(MINT);
}
