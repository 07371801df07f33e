//! Keys of either maker, found by label, serial or URI, that sign under their thumbprint whatever their token wants for it.

use super::{MINT, mints_under_its_thumbprint};
use crate::harness::softhsm::{PIN, TOKEN};
use crate::harness::{KeyPair, Service, SoftHsm};

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
