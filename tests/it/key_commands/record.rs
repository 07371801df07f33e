//! Records of keys: written at their making, checked without token or configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jsonwebtoken9::{Algorithm, DecodingKey, Validation, crypto, decode};
use serde_json::Value;

use super::{Two, json, keys, listed, states, try_keys};
use crate::harness::faults::FaultyHsm;
use crate::harness::{Launch, SoftHsm};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_record_says_what_the_token_says_and_is_checked_without_it() {
    for algorithm in ["ES256", "RS256"] {
        let hsm = SoftHsm::new();
        let (file, chain) = (hsm.path("key.json"), hsm.path("chain.pem"));
        std::fs::write(&chain, "a certificate of the vendor").unwrap();
        let (file_name, chain) = (file.display().to_string(), chain.display().to_string());
        let asked = [
            "--alg",
            algorithm,
            "--record",
            &file_name,
            "--attestation",
            &chain,
        ];
        hsm.generate(&asked);

        assert_eq!(mode(&file), 0o600);
        let check = |more: &[&str]| {
            let arguments = [&["verify-record", &file_name], more].concat();
            keys(Launch::new(), &arguments)
        };
        let record = json(&check(&["--json"]))["record"].clone();
        let key = listed(hsm.launch())["keys"][0].clone();
        for (stated, found) in [("kid", "kid"), ("label", "label"), ("cka_id", "id")] {
            assert_eq!(record["key"][stated], key[found], "{stated}");
        }
        assert_eq!(record["key"]["mechanism"], key["mechanism"]);
        assert_eq!(record["token"]["label"], "it-token");
        assert_eq!(record["token"]["serial"], hsm.serial());
        assert_eq!(record["module"]["path"], hsm.module().to_str().unwrap());
        assert_eq!(record["attributes"]["CKA_EXTRACTABLE"], false);
        assert_eq!(record["attributes"]["CKA_NEVER_EXTRACTABLE"], true);
        assert_eq!(record["attestation"]["file"], "chain.pem");
        let told = check(&[]);
        for part in [
            key["kid"].as_str().unwrap(),
            "The record holds",
            "CKA_LOCAL:",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }

        let text = std::fs::read_to_string(&file).unwrap();
        assert_a_jws_that_is_no_token(&json(&text), algorithm);
        std::fs::write(&file, text.replacen("it-token", "my-token", 1)).unwrap();
        let refused = try_keys(Launch::new(), &["verify-record", &file_name]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        assert!(refused.stderr.contains("does not hold"), "{refused:?}");
    }
}

/// To a library that knows nothing of records.
fn assert_a_jws_that_is_no_token(document: &Value, algorithm: &str) {
    let algorithm: Algorithm = algorithm.parse().unwrap();
    let jwk = serde_json::from_value(document["record"]["key"]["jwk"].clone()).unwrap();
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    let [protected, payload, signature] =
        ["protected", "payload", "signature"].map(|part| document[part].as_str().unwrap());
    let message = format!("{protected}.{payload}");
    assert!(crypto::verify(signature, message.as_bytes(), &key, algorithm).unwrap());

    let compact = format!("{message}.{signature}");
    let as_token = decode::<Value>(&compact, &key, &Validation::new(algorithm));
    assert!(as_token.is_err(), "{as_token:?}");
}

#[test]
fn no_key_is_made_whose_record_has_no_place() {
    let hsm = SoftHsm::new();
    let there = hsm.path("there.json");
    std::fs::write(&there, "before").unwrap();
    let there = there.display().to_string();
    let chain = hsm.path("nowhere.pem").display().to_string();
    let fresh = hsm.path("fresh.json");
    let fresh_name = fresh.display().to_string();
    for (asked, said) in [
        (&["--record", &there][..], "never overwritten"),
        (&["--record", "/nowhere/key.json"], "cannot be written"),
        (
            &["--record", &fresh_name, "--attestation", &chain],
            "cannot be read",
        ),
        (
            &[
                "--record",
                &fresh_name,
                "--attestation",
                &there,
                "--attestation",
                &there,
            ],
            "2 attestations for 1 tokens",
        ),
    ] {
        let refused = hsm.try_generate(asked);
        assert_eq!(refused.code, Some(1), "{asked:?}");
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "before");
    assert_eq!(hsm.try_generate(&["--attestation", &there]).code, Some(2));

    hsm.generate(&["--dry-run", "--record", &fresh_name]);
    assert!(!fresh.exists());
    assert!(states(&listed(hsm.launch())).is_empty());
}

#[test]
fn a_record_that_was_reserved_goes_with_the_key_that_was_not_made() {
    let faulty = FaultyHsm::without_key();
    faulty.rules("C_GenerateKeyPair fail CKR_TOKEN_WRITE_PROTECTED");
    let file = faulty.hsm.path("key.json");
    let asked = ["generate", "--record", &file.display().to_string()];

    assert_eq!(try_keys(faulty.launch(), &asked).code, Some(1));
    assert!(!file.exists());
    faulty.no_rules();
    keys(faulty.launch(), &asked);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn each_token_gets_a_record_of_its_own() {
    let two = Two::new();
    let file = two.0.path("key.json").display().to_string();
    keys(
        two.launch(),
        &["generate", "--alg", "ES256", "--record", &file],
    );

    let records = ["key-1.json", "key-2.json"].map(|name| {
        let file = two.0.path(name).display().to_string();
        json(&keys(Launch::new(), &["verify-record", &file, "--json"]))["record"].clone()
    });
    assert_eq!(records[0]["token"]["label"], "one");
    assert_eq!(records[1]["token"]["label"], "two");
    assert_ne!(records[0]["key"]["kid"], records[1]["key"]["kid"]);
}
