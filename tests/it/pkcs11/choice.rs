//! Of several keys on a token: all are published, one signs, and a second start sees the same.

use super::{MINT, mints_under_its_thumbprint};
use crate::harness::softhsm::TOKEN;
use crate::harness::{KeyPair, SoftHsm};

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
