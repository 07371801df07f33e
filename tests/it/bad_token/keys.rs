//! Keys that are missing, ambiguous, too weak for the policy, of another kind, or beside a public key that is not theirs.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::{MINT, waits_and_says};
use crate::harness::{KeyPair, SoftHsm};

#[test]
fn a_token_without_a_key_is_waited_for() {
    let hsm = SoftHsm::new();
    let service = hsm.launch().start();
    waits_and_says(&service, "no key", &["macp-jwt", "keys generate"]);

    hsm.generate(&["--alg", "RS256"]);
    service.wait_ready();
    service.mint(MINT);
}

fn another_key_signs_and_the_bad_one_is_told(hsm: &SoftHsm, bad: &str) {
    hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let service = hsm.launch().start();
    assert_eq!(service.jwks().keys.len(), 1);
    service.mint(MINT);
    service.must_log(bad);
}

#[test]
fn an_ambiguous_key_is_not_used_and_others_go_on() {
    let hsm = SoftHsm::new();
    let twin = KeyPair {
        id: "01",
        ..KeyPair::EC
    };
    hsm.make(&twin);
    hsm.make(&twin);
    let service = hsm.launch().start();
    waits_and_says(&service, "ambiguous", &["CKA_ID 01", "2 private keys"]);
    drop(service);
    another_key_signs_and_the_bad_one_is_told(&hsm, "CKA_ID 01");
}

#[test]
fn policies_judge_what_a_key_says_of_itself() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let extractable = || {
        let hsm = SoftHsm::new();
        hsm.make(&KeyPair {
            more: &["--extractable"],
            ..KeyPair::EC
        });
        hsm
    };
    let imported = || {
        let hsm = SoftHsm::new();
        hsm.import(pkcs8.as_ref(), "macp-jwt", "01");
        hsm
    };
    let decrypting = || {
        let hsm = SoftHsm::new();
        hsm.make(&KeyPair::RSA);
        hsm
    };
    let ours = || SoftHsm::with_key("RS256");
    #[expect(clippy::type_complexity, reason = "a table")]
    let rows: [(&str, &dyn Fn() -> SoftHsm, [bool; 4], &str); 4] = [
        // exclusive, strict, sealed, warn
        (
            "extractable",
            &extractable,
            [false, false, false, true],
            "CKA_EXTRACTABLE",
        ),
        (
            "imported",
            &imported,
            [false, false, true, true],
            "CKA_LOCAL",
        ),
        (
            "pkcs11-tool's",
            &decrypting,
            [false, true, true, true],
            "CKA_DECRYPT",
        ),
        ("ours", &ours, [true, true, true, true], ""),
    ];
    for (name, make, used, attribute) in rows {
        let hsm = make();
        for (policy, used) in ["exclusive", "strict", "sealed", "warn"]
            .into_iter()
            .zip(used)
        {
            let service = hsm.launch().set("MACP_AUTH_KEY_POLICY", policy).start();
            let shown = format!("{name} under {policy}");
            if used {
                service.mint(MINT);
            } else {
                waits_and_says(&service, &shown, &["MACP_AUTH_KEY_POLICY", "macp-jwt"]);
            }
            service.must_log(attribute);
        }
    }
}

#[test]
fn keys_of_other_sizes_curves_and_kinds_are_refused_with_the_reason() {
    for (name, kind, said) in [
        ("RSA-1024", "rsa:1024", "1024 bits"),
        ("P-384", "EC:secp384r1", "P-384"),
        ("P-521", "EC:secp521r1", "P-521"),
        ("secp256k1", "EC:secp256k1", "P-256"),
    ] {
        let hsm = SoftHsm::new();
        hsm.make(&KeyPair {
            kind,
            ..KeyPair::EC
        });
        let service = hsm.launch().start();

        waits_and_says(&service, name, &[said, "macp-jwt", "keys generate"]);
    }
}

fn foreign_public_key() -> Vec<u8> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

#[test]
fn a_foreign_public_key_in_the_place_of_the_right_one_is_never_published() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    hsm.delete("pubkey", "01");
    hsm.write_public(&foreign_public_key(), "macp-jwt", "01");

    let service = hsm.launch().start();
    waits_and_says(
        &service,
        "foreign public key",
        &["CKA_ID 01", "another key"],
    );
}

#[test]
fn a_foreign_public_key_planted_beside_the_right_one_is_ignored_and_reported() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let before = hsm.launch().start().jwks();
    hsm.write_public(&foreign_public_key(), "macp-jwt", "01");

    let service = hsm.launch().start();
    assert_eq!(service.jwks().text, before.text);
    service.mint(MINT);
    service.must_log("other public key");
}

#[test]
fn a_private_key_without_its_public_half_is_reported_unless_it_tells_it_itself() {
    // An RSA private object carries modulus and exponent; an EC one on SoftHSM2 has no point.
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    hsm.delete("pubkey", "01");
    let service = hsm.launch().start();
    waits_and_says(&service, "no public key", &["CKA_ID 01", "public key"]);

    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::RSA);
    hsm.delete("pubkey", "01");
    hsm.launch().start().mint(MINT);
}

#[test]
fn a_label_whose_instant_is_none_is_reported_and_left_alone() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "macp-jwt-20261301T120000Z",
        id: "01",
        ..KeyPair::EC
    });
    let service = hsm.launch().start();
    waits_and_says(&service, "bad instant", &["macp-jwt-20261301T120000Z"]);
    drop(service);
    another_key_signs_and_the_bad_one_is_told(&hsm, "macp-jwt-20261301T120000Z");
}

#[test]
fn an_imported_key_signs_where_the_policy_allows_it_under_its_own_thumbprint() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let hsm = SoftHsm::new();
    hsm.import(pkcs8.as_ref(), "macp-jwt", "01");
    let service = hsm.launch().set("MACP_AUTH_KEY_POLICY", "sealed").start();
    let jwks = service.jwks();
    let token = service.mint(MINT);

    let x = crate::harness::jwt::encode(&pair.public_key().as_ref()[1..33]);
    assert_eq!(jwks.keys[0]["x"], x);
    assert_eq!(token.kid(), crate::harness::jwt::thumbprint(&jwks.keys[0]));
}
