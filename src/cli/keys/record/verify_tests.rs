//! Records made here by software keys, then changed in every member.

use serde_json::{Value, json};

use super::super::document::{
    Attestation, KeyRecord, ModuleRecord, Policy, SelfTest, Service, TokenRecord,
};
use super::*;
use crate::jose::Algorithm;
use crate::keys::local::LocalKey;
use crate::keys::pkcs11::proof::Claims;

fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn jwk_of(key: &LocalKey) -> Jwk {
    Jwk::by_thumbprint(key.published().jwk().key().clone())
}

fn record_of(key: &LocalKey) -> Record {
    let jwk = jwk_of(key);
    let text = str::to_owned;
    let nonce = [PROOF, &[7; 32]].concat();
    let claims = Claims {
        sensitive: Some(true),
        extractable: Some(false),
        sign: Some(true),
        unwrap: None,
        ..Claims::default()
    };
    let attestation = b"-----BEGIN CERTIFICATE-----";
    Record {
        format: text(FORMAT),
        version: VERSION,
        made_at: Some(text("2026-12-01T12:00:00Z")),
        recorded_at: text("2026-12-01T12:00:01Z"),
        active_from: Some(text("2026-12-01T12:16:00Z")),
        service: Service {
            name: text("macp-auth-service"),
            version: text("0.1.0"),
        },
        token: TokenRecord {
            label: text("a \"label\" with \\ and blanks"),
            serial: text("0815"),
            manufacturer: text("Zürich"),
            model: text("m"),
            firmware_version: text("1.2"),
            hardware_version: text("3.4"),
        },
        slot: 3,
        module: ModuleRecord {
            path: text("/m.so"),
            manufacturer: text("m"),
            description: text("d"),
            library_version: text("2.6"),
            cryptoki_version: text("2.40"),
        },
        key: KeyRecord {
            kid: jwk.kid().to_string(),
            label: text("macp-jwt-20261201T121600Z"),
            cka_id: text("01ab"),
            algorithm: jwk.algorithm().to_string(),
            mechanism: text(SigningMechanism::candidates(jwk.algorithm())[1].name()),
            jwk: json!(jwk),
        },
        attributes: claims.into(),
        policy: Policy {
            name: text("sealed"),
            warnings: proof::judge(&claims, KeyPolicy::Sealed).warnings,
        },
        self_test: SelfTest {
            message: base64_of(&nonce),
            signature: base64_of(key.sign(&nonce).unwrap().as_bytes()),
        },
        attestation: Some(Attestation {
            file: text("chain.pem"),
            sha256: hex::encode(digest::digest(&digest::SHA256, attestation).as_ref()),
            content: base64_of(attestation),
        }),
    }
}

fn file_of(record: &Record, key: &LocalKey) -> String {
    let jwk = jwk_of(key);
    let unsigned = record.unsigned(jwk.algorithm(), jwk.kid()).unwrap();
    let signature = key.sign(&unsigned.signing_input()).unwrap();
    unsigned.signed(&signature).unwrap()
}

/// Every place in the value, each with another content.
fn changes(value: &Value) -> Vec<(String, Value)> {
    let inside = |name: String, put: &dyn Fn(Value) -> Value, inner: &Value| {
        let changed = changes(inner).into_iter();
        changed
            .map(|(place, inner)| (format!("{name}.{place}"), put(inner)))
            .collect::<Vec<_>>()
    };
    let changed = match value {
        Value::Null => json!(true),
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) => json!(format!("{text}x")),
        Value::Array(entries) => {
            let mut more = entries.clone();
            more.push(json!("more"));
            json!(more)
        }
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, inner) in members {
                let put = |new: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), new);
                    Value::Object(members)
                };
                all.extend(inside(name.clone(), &put, inner));
                let mut fewer = members.clone();
                fewer.shift_remove(name);
                all.push((format!("without {name}"), Value::Object(fewer)));
            }
            let mut more = members.clone();
            more.insert("more".to_owned(), json!(1));
            all.push(("one more".to_owned(), Value::Object(more)));
            return all;
        }
    };
    vec![(String::new(), changed)]
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_record_holds_for_either_algorithm_and_however_it_is_indented() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let key = LocalKey::ephemeral(algorithm).unwrap();
        let record = record_of(&key);
        let file = file_of(&record, &key);

        assert_eq!(verify(&file).unwrap(), record);
        let compact = document(&file).to_string();
        assert_eq!(verify(&compact).unwrap(), record, "indented otherwise");
    }
}

#[test]
fn a_record_of_a_key_whose_making_nobody_dates_holds() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let mut record = record_of(&key);
    (record.made_at, record.active_from) = (None, None);

    assert_eq!(verify(&file_of(&record, &key)).unwrap(), record);
}

#[test]
fn a_change_of_any_member_is_noticed() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let file = document(&file_of(&record_of(&key), &key));
    let all = changes(&file);
    assert!(all.len() > 100, "{}", all.len());

    for (place, changed) in all {
        assert!(verify(&changed.to_string()).is_err(), "{place}");
    }
}

#[test]
fn a_change_of_any_member_that_is_made_in_the_payload_as_well_is_noticed() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let file = document(&file_of(&record_of(&key), &key));
    for (place, changed) in changes(&file["record"]) {
        let mut forged = file.clone();
        forged["payload"] = json!(URL_SAFE_NO_PAD.encode(changed.to_string()));
        forged["record"] = changed;

        assert!(verify(&forged.to_string()).is_err(), "{place}");
    }
}

#[test]
fn times_that_contradict_each_other_are_found_and_the_record_holds() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let id_at = |second: u64| {
        let [_, _, time @ ..] = (second * 1000).to_be_bytes();
        hex::encode([&time[..], &[0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]].concat())
    };
    let made = Instant::from_text("2026-12-01T12:00:00Z").unwrap();
    let made = made.seconds().get();
    let (apart, elsewhere) = (
        "CKA_ID says 2026-12-01T12:05:01Z",
        "label says 2026-12-01T12:16:01Z",
    );
    type Change<'a> = &'a dyn Fn(&mut Record);
    #[rustfmt::skip]
    let rows: [(&str, Change<'_>, &[&str]); 9] = [
        ("another CKA_ID", &|_| {}, &[]),
        ("made then", &|r| r.key.cka_id = id_at(made), &[]),
        ("a slow token", &|r| r.key.cka_id = id_at(made - 300), &[]),
        ("made later", &|r| r.key.cka_id = id_at(made + 301), &[apart]),
        ("nobody says when", &|r| (r.made_at, r.key.cka_id) = (None, id_at(made + 301)), &[]),
        ("another label", &|r| r.key.label = "macp-jwt".into(), &[]),
        ("another instant", &|r| r.key.label = "ö20261201T121601Z".into(), &[elsewhere]),
        ("ever since", &|r| (r.active_from, r.key.label) = (None, "k-20261201T121601Z".into()), &[]),
        ("both", &|r| (r.key.cka_id, r.key.label) = (id_at(made + 301), "20261201T121601Z".into()), &[apart, elsewhere]),
    ];
    for (name, change, want) in rows {
        let mut record = record_of(&key);
        change(&mut record);

        let found = findings(&verify(&file_of(&record, &key)).unwrap());
        assert_eq!(found.len(), want.len(), "{name}: {found:?}");
        for (found, want) in found.iter().zip(want) {
            assert!(found.contains(want), "{name}: {found}");
        }
    }
}

/// What the holder of the key could write.
#[test]
fn a_record_that_contradicts_itself_is_refused_although_the_key_has_signed_it() {
    type Change = fn(&mut Record);
    #[rustfmt::skip]
    let rows: [(&str, Change, &str); 18] = [
        ("another format", |r| r.format = "x".into(), "version 1"),
        ("a later version", |r| r.version = 2, "version 2"),
        ("no time", |r| r.made_at = Some("noon".into()), "made_at"),
        ("no time of writing", |r| r.recorded_at = "noon".into(), "recorded_at"),
        ("no instant", |r| r.active_from = Some("ever".into()), "active_from"),
        ("another kid", |r| r.key.kid = "k".into(), "thumbprint"),
        ("another kid in the JWK", |r| r.key.jwk["kid"] = json!("k"), "thumbprint"),
        ("a private member", |r| r.key.jwk["d"] = json!("AA"), "private"),
        ("a member more", |r| r.key.jwk["key_ops"] = json!(["sign"]), "members"),
        ("the other algorithm", |r| r.key.algorithm = "RS256".into(), "algorithm"),
        ("its mechanism", |r| r.key.mechanism = "CKM_RSA_PKCS".into(), "mechanism"),
        ("no CKA_ID", |r| r.key.cka_id = "0".into(), "cka_id"),
        ("another nonce", |r| r.self_test.message = base64_of(&[PROOF, &[8; 32]].concat()), "self-test"),
        ("no base64", |r| r.self_test.signature = "-".into(), "base64"),
        ("another attestation", |r| r.attestation.as_mut().unwrap().content = base64_of(b"x"), "attestation"),
        ("a policy that nobody knows", |r| r.policy.name = "lax".into(), "policy"),
        ("a policy that it does not pass", |r| r.policy.name = "strict".into(), "CKA_LOCAL"),
        ("a warning less", |r| r.policy.warnings.truncate(1), "warnings"),
    ];
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    for (name, change, said) in rows {
        let mut record = record_of(&key);
        change(&mut record);
        let refused = verify(&file_of(&record, &key)).unwrap_err().to_string();

        assert!(refused.contains(said), "{name}: {refused}");
    }
}

#[test]
fn a_message_that_is_no_nonce_of_ours_is_no_self_test() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let mut record = record_of(&key);
    let token = b"eyJhbGciOiJFUzI1NiJ9.e30";
    record.self_test = SelfTest {
        message: base64_of(token),
        signature: base64_of(key.sign(token).unwrap().as_bytes()),
    };

    let refused = verify(&file_of(&record, &key));
    assert!(matches!(refused, Err(RecordFault::SelfTest)), "{refused:?}");
}

#[test]
fn a_record_signed_by_another_key_is_refused() {
    let [key, other] = [0, 1].map(|_| LocalKey::ephemeral(Algorithm::Es256).unwrap());
    let record = record_of(&key);
    let by_other = file_of(&record, &other);
    let refused = verify(&by_other);
    assert!(
        matches!(refused, Err(RecordFault::Contradiction { member, .. }) if member == "protected")
    );

    let mut forged = document(&by_other);
    forged["protected"] = json!(protected(Algorithm::Es256, jwk_of(&key).kid()).unwrap());
    let refused = verify(&forged.to_string());
    assert!(
        matches!(refused, Err(RecordFault::Signature)),
        "{refused:?}"
    );
}

#[test]
fn a_member_that_stands_there_twice_does_not_deceive_the_reader() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let file = file_of(&record_of(&key), &key);
    let first = file.replacen("\"serial\"", "\"serial\": \"4711\", \"serial\"", 1);
    assert!(matches!(verify(&first), Err(RecordFault::TwoRecords)));

    let twice = file.replacen("\"payload\"", "\"payload\": \"\", \"payload\"", 1);
    assert!(matches!(verify(&twice), Err(RecordFault::NotARecord(_))));
}

#[test]
fn no_record_can_be_taken_for_a_token() {
    let key = LocalKey::ephemeral(Algorithm::Es256).unwrap();
    let file = document(&file_of(&record_of(&key), &key));
    for claim in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"] {
        assert!(file["record"].get(claim).is_none(), "{claim}");
    }
    let header = URL_SAFE_NO_PAD.decode(file["protected"].as_str().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    assert_eq!(header["typ"], "macp-auth-key-record+json");
}

#[test]
fn what_is_no_record_is_told_so() {
    for text in ["", "{}", "[]", "null", "{\"record\":{}}", "\u{0}"] {
        assert!(
            matches!(verify(text), Err(RecordFault::NotARecord(_))),
            "{text}"
        );
    }
}
