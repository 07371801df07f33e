//! Records of keys: written at their making, checked without token or configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jsonwebtoken9::{Algorithm, DecodingKey, Validation, crypto, decode};
use serde_json::Value;

use super::{Two, json, keys, kid_of, listed, states, try_keys};
use crate::harness::faults::FaultyHsm;
use crate::harness::{KeyPair, Launch, SoftHsm, ec_pkcs8};

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

/// What `keys verify-record` reads in it.
fn record_in(hsm: &SoftHsm, name: &str) -> Value {
    let file = hsm.path(name).display().to_string();
    json(&keys(Launch::new(), &["verify-record", &file, "--json"]))["record"].clone()
}

#[test]
fn a_key_that_is_there_gets_a_record_with_what_was_attested_later() {
    let hsm = SoftHsm::new();
    let first = hsm.path("first.json").display().to_string();
    let made = hsm.generate(&["--alg", "ES256", "--json", "--record", &first]);
    let kid = kid_of(&made.stdout);
    let chain = hsm.path("chain.pem");
    std::fs::write(&chain, "of this very key").unwrap();
    let (chain, file) = (
        chain.display().to_string(),
        hsm.path("later.json").display().to_string(),
    );

    let asked = ["record", &kid, &file, "--attestation", &chain];
    let told = keys(hsm.launch(), &asked);

    assert!(told.contains("later.json"), "{told}");
    assert_eq!(mode(Path::new(&file)), 0o600);
    let (first, later) = (record_in(&hsm, "first.json"), record_in(&hsm, "later.json"));
    for same in ["key", "token", "attributes", "active_from", "module"] {
        assert_eq!(first[same], later[same], "{same}");
    }
    assert_eq!(later["attestation"]["file"], "chain.pem");
    assert_ne!(
        first["self_test"]["message"], later["self_test"]["message"],
        "each has a self-test of its own"
    );
    let making = later["made_at"].as_str().unwrap();
    assert!(making <= first["made_at"].as_str().unwrap(), "{making}");

    let again = try_keys(hsm.launch(), &asked);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("never overwritten"), "{again:?}");
}

#[test]
fn a_key_of_another_program_gets_a_record_that_knows_no_time_of_making() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let kid = states(&listed(hsm.launch()))[0].0.clone();
    let file = hsm.path("key.json").display().to_string();

    let told = keys(hsm.launch(), &["record", &kid, &file, "--json"]);

    assert_eq!(json(&told)["kid"], kid);
    assert_eq!(json(&told)["records"][0]["record"], file);
    let record = record_in(&hsm, "key.json");
    assert_eq!(record["key"]["cka_id"], "01");
    assert_eq!(record["made_at"], Value::Null);
    assert_eq!(record["active_from"], Value::Null);
    assert!(record["recorded_at"].is_string());
}

#[test]
fn a_record_whose_label_says_another_instant_than_the_schedule_holds_with_a_warning() {
    let hsm = SoftHsm::new();
    let file = hsm.path("key.json").display().to_string();
    let made = json(
        &hsm.generate(&["--alg", "ES256", "--json", "--record", &file])
            .stdout,
    );
    let check =
        |file: &str, more: &[&str]| keys(Launch::new(), &[&["verify-record", file], more].concat());
    assert_eq!(json(&check(&file, &["--json"]))["findings"], json("[]"));
    let told = check(&file, &[]);
    assert!(told.contains("nothing in it contradicts"), "{told}");

    let (schedule, later) = (hsm.path("schedule"), hsm.path("later.json"));
    let id = made["keys"][0]["id"].as_str().unwrap();
    let instant = "2026-01-02T03:04:05Z";
    let lines = format!("[[key]]\nid = \"{id}\"\nactive_from = \"{instant}\"\n");
    std::fs::write(&schedule, lines).unwrap();
    let scheduled = hsm.launch().set("MACP_AUTH_KEY_SCHEDULE_FILE", &schedule);
    let later = later.display().to_string();
    keys(scheduled, &["record", &kid_of(&made.to_string()), &later]);

    let findings = json(&check(&later, &["--json"]))["findings"].to_string();
    assert!(findings.contains(instant), "{findings}");
    let told = check(&later, &[]);
    for part in ["warning:", instant, "The record holds", "see the warnings"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("nothing in it"), "{told}");
}

#[test]
fn each_token_that_holds_the_key_writes_a_record_and_the_others_none() {
    let two = Two::new();
    let (shared, single) = (ec_pkcs8(), ec_pkcs8());
    for token in ["one", "two"] {
        two.0.import_to(token, &shared, "macp-jwt", "01");
    }
    two.0
        .import_to("two", &single, "macp-jwt-20300101T000000Z", "02");
    // What was imported was known outside.
    let launch = || two.launch().set("MACP_AUTH_KEY_POLICY", "warn");
    let list = listed(launch());
    let kid_on = |tokens: usize| {
        let mut all = list["keys"].as_array().unwrap().iter();
        let key = all.find(|key| key["objects"].as_array().unwrap().len() == tokens);
        key.unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let file = two.0.path("key.json").display().to_string();

    keys(launch(), &["record", &kid_on(1), &file]);
    keys(launch(), &["record", &kid_on(2), &file]);

    assert_eq!(record_in(&two.0, "key.json")["token"]["label"], "two");
    assert_eq!(record_in(&two.0, "key-1.json")["token"]["label"], "one");
    assert_eq!(record_in(&two.0, "key-2.json")["token"]["label"], "two");
}

#[test]
fn no_record_is_written_of_a_key_that_is_not_there() {
    let hsm = SoftHsm::new();
    let known = kid_of(&hsm.generate(&["--alg", "ES256", "--json"]).stdout);
    let file = hsm.path("key.json");
    let refused = try_keys(
        hsm.launch(),
        &["record", "of-no-key", &file.display().to_string()],
    );

    assert_eq!(refused.code, Some(1));
    for said in ["of-no-key", &known] {
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    assert!(!file.exists());
}
