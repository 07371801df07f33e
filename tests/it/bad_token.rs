//! What can be wrong with a module, a token, a PIN or a key. Each has its message, and either exit code 1 or a service
//! that stays up, says 503, and mints as soon as the trouble is gone.

use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::harness::softhsm::{PIN, TOKEN};
use crate::harness::{KeyPair, Service, SoftHsm};

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

#[test]
fn a_file_that_is_no_module_stops_the_start() {
    let hsm = SoftHsm::new();
    let text = hsm.path("module.so");
    std::fs::write(&text, "not a library").unwrap();
    let directory = hsm.path("tokens");
    let libc = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib/libc.so.6",
    ]
    .iter()
    .find(|path| std::path::Path::new(path).exists())
    .unwrap();
    for (name, path, said) in [
        (
            "wrong path",
            "/nowhere/libsofthsm2.so".to_owned(),
            "no such file",
        ),
        ("a text file", text.display().to_string(), "PKCS#11 module"),
        (
            "a directory",
            directory.display().to_string(),
            "PKCS#11 module",
        ),
        (
            "a library without C_GetFunctionList",
            (*libc).to_owned(),
            "C_GetFunctionList",
        ),
    ] {
        let stderr = hsm.launch().set("MACP_AUTH_PKCS11_MODULE", &path).refused();
        assert!(
            stderr.contains(&path) && stderr.contains(said),
            "{name}: {stderr}"
        );
        assert!(
            stderr.contains("MACP_AUTH_PKCS11_MODULE"),
            "{name}: no cure: {stderr}"
        );
    }
}

#[test]
fn two_tokens_of_the_same_label_stop_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    let serial = hsm.serial();
    hsm.make_token(TOKEN);

    let stderr = hsm.launch().refused();
    for said in [TOKEN, "2 tokens", "MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial] {
        assert!(stderr.contains(said), "{said:?}: {stderr}");
    }
    let service = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial)
        .start();
    service.mint(MINT);
}

#[test]
fn a_pin_file_that_is_missing_or_open_to_others_stops_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    for (mode, starts) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o644, false),
        (0o604, false),
        (0o666, false),
    ] {
        hsm.set_pin_file_mode(mode);
        if starts {
            hsm.launch().start().mint(MINT);
            continue;
        }
        let stderr = hsm.launch().refused();
        for said in [
            "MACP_AUTH_PKCS11_PIN_FILE",
            "chmod",
            &hsm.pin_file().display().to_string(),
        ] {
            assert!(stderr.contains(said), "{mode:o}: {said:?}: {stderr}");
        }
    }
    std::fs::remove_file(hsm.pin_file()).unwrap();
    let stderr = hsm.launch().refused();
    assert!(stderr.contains("MACP_AUTH_PKCS11_PIN_FILE"), "{stderr}");
    assert!(
        stderr.contains(&hsm.pin_file().display().to_string()),
        "{stderr}"
    );
}

#[test]
fn what_cannot_be_a_pin_is_refused_before_it_costs_an_attempt() {
    let hsm = SoftHsm::with_key("ES256");
    for (name, content) in [
        ("empty", ""),
        ("newline", "\n"),
        ("two lines", "a\nb\n"),
        ("zero byte", "a\0b"),
    ] {
        std::fs::write(hsm.pin_file(), content).unwrap();
        let stderr = hsm.spied_launch().refused();
        assert!(
            stderr.contains("MACP_AUTH_PKCS11_PIN_FILE"),
            "{name}: {stderr}"
        );
    }
    assert_eq!(hsm.calls("C_Login"), 0);
}

#[test]
fn a_token_that_is_not_there_is_waited_for() {
    let hsm = SoftHsm::without_token();
    let service = hsm.launch().start();
    assert!(
        service.stdout().contains("key source: pkcs11 alg: RS256\n"),
        "{}",
        service.stdout()
    );
    waits_and_says(
        &service,
        "no token",
        &[TOKEN, "MACP_AUTH_PKCS11_TOKEN_LABEL"],
    );
    let parts = service.get("/readyz").text();
    assert!(
        parts.contains("token") && parts.contains(TOKEN),
        "the parts are not named: {parts}"
    );

    hsm.make_token(TOKEN);
    hsm.generate(&["--alg", "ES256"]);
    service.wait_ready();
    service.mint(MINT);
}

#[test]
fn a_module_whose_own_configuration_is_missing_is_waited_for() {
    let hsm = SoftHsm::with_key("ES256");
    let (tokens, away) = (hsm.path("tokens"), hsm.path("tokens-away"));
    std::fs::rename(&tokens, &away).unwrap();
    let service = hsm.launch().start();
    assert_waiting(&service, "no token directory");

    std::fs::rename(&away, &tokens).unwrap();
    service.wait_ready();
    service.mint(MINT);
}

#[test]
fn a_wrong_pin_is_tried_once_and_a_corrected_file_is_noticed() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.write_pin("wrong-pin-1234");
    let service = hsm.spied_launch().secret("wrong-pin-1234").start();
    waits_and_says(
        &service,
        "wrong PIN",
        &["CKR_PIN_INCORRECT", "MACP_AUTH_PKCS11_PIN_FILE"],
    );
    // It tries again every two seconds, without logging in.
    crate::harness::throughout(Duration::from_secs(6), || {
        assert_waiting(&service, "wrong PIN");
        assert_eq!(hsm.calls("C_Login"), 1, "a wrong PIN was tried again");
    });

    hsm.write_pin(PIN);
    service.wait_ready();
    service.mint(MINT);
    assert_eq!(hsm.calls("C_Login"), 2);
}

#[test]
fn another_wrong_pin_costs_one_more_attempt_and_no_second() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.write_pin("wrong-one");
    let service = hsm
        .spied_launch()
        .secret("wrong-one")
        .secret("wrong-two")
        .start();
    assert_eq!(hsm.calls("C_Login"), 1);
    hsm.write_pin("wrong-two");
    crate::harness::until("the second PIN is tried", Duration::from_secs(20), || {
        (hsm.calls("C_Login") == 2).then_some(())
    });

    crate::harness::throughout(Duration::from_secs(5), || {
        assert_eq!(hsm.calls("C_Login"), 2);
        assert_waiting(&service, "two wrong PINs");
    });
}

#[test]
fn a_good_service_logs_in_once_and_never_out() {
    let hsm = SoftHsm::with_key("ES256");
    let mut service = hsm.spied_launch().start();
    for _ in 0..20 {
        service.mint(MINT);
    }
    assert_eq!(service.terminate().code(), Some(0));

    assert_eq!(hsm.calls("C_Login"), 1);
    assert_eq!(hsm.calls("C_Logout"), 0);
    assert_eq!(hsm.calls("C_Finalize"), 1);
    assert_eq!(hsm.calls("C_Initialize"), 1);
}

#[test]
fn without_a_pin_the_missing_key_is_put_down_to_that() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE").start();

    waits_and_says(&service, "no PIN", &["MACP_AUTH_PKCS11_PIN_FILE"]);
}

#[test]
fn a_token_without_a_key_is_waited_for() {
    let hsm = SoftHsm::new();
    let service = hsm.launch().start();
    waits_and_says(&service, "no key", &["macp-jwt", "keys generate"]);

    hsm.generate(&["--alg", "RS256"]);
    service.wait_ready();
    service.mint(MINT);
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

    hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let service = hsm.launch().start();
    assert_eq!(service.jwks().keys.len(), 1);
    service.mint(MINT);
    service.must_log("CKA_ID 01");
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

    hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let service = hsm.launch().start();
    assert_eq!(service.jwks().keys.len(), 1);
    service.mint(MINT);
    service.must_log("macp-jwt-20261301T120000Z");
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
