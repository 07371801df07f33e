//! A private JWK in `MACP_AUTH_SIGNING_KEY_JSON`: what is taken, what is refused, and that nothing private is shown.

use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

use crate::harness::jwt::{decode, verifies};
use crate::harness::vectors::{
    RFC7515_A2_JWS, RFC7515_A2_KEY, RFC7515_A3_JWS, RFC7515_A3_KEY, RFC7638_MODULUS,
    RFC7638_THUMBPRINT, RSA_1024_KEY,
};
use crate::harness::{Launch, jwt, private_ec_jwk, private_rsa_jwk};

const PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

fn parsed(jwk: &str) -> Value {
    serde_json::from_str(jwk).unwrap()
}

fn changed(jwk: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut jwk = parsed(jwk);
    change(&mut jwk);
    jwk.to_string()
}

fn without(jwk: &str, member: &str) -> String {
    changed(jwk, |jwk| {
        jwk.as_object_mut().unwrap().shift_remove(member);
    })
}

/// A launch that fails if a private value of the key is written anywhere.
fn pinned(algorithm: &str, jwk: &str) -> Launch {
    let mut launch = Launch::ephemeral(algorithm).set("MACP_AUTH_SIGNING_KEY_JSON", jwk);
    if let Ok(Value::Object(members)) = serde_json::from_str(jwk) {
        for member in PRIVATE_MEMBERS {
            if let Some(value) = members
                .get(member)
                .and_then(Value::as_str)
                .filter(|value| value.len() > 20)
            {
                launch = launch.secret(value);
            }
        }
    }
    launch
}

#[test]
fn the_published_half_of_the_rfc_keys_verifies_the_rfc_signatures() {
    for (algorithm, key, jws) in [
        ("RS256", RFC7515_A2_KEY, RFC7515_A2_JWS),
        ("ES256", RFC7515_A3_KEY, RFC7515_A3_JWS),
    ] {
        let service = pinned(algorithm, key).start();
        let jwks = service.jwks();
        let (input, signature) = jws.rsplit_once('.').unwrap();

        assert!(
            verifies(&jwks.keys[0], input.as_bytes(), &decode(signature)),
            "{algorithm}"
        );
        assert_eq!(jwks.kids(), ["key-1"], "{algorithm}");
        service.mint(r#"{"sender":"a"}"#);
    }
}

#[test]
fn an_rs256_signature_is_the_one_that_every_library_makes() {
    let service = pinned("RS256", RFC7515_A2_KEY).start();
    let token = service.mint(r#"{"sender":"a"}"#);
    let key = jsonwebtoken11::EncodingKey::from_rsa_der(&pkcs1_of(&parsed(RFC7515_A2_KEY)));

    let input = token.compact.rsplit_once('.').unwrap().0;
    let made =
        jsonwebtoken11::crypto::sign(input.as_bytes(), &key, jsonwebtoken11::Algorithm::RS256)
            .unwrap();
    assert_eq!(made, token.compact.rsplit_once('.').unwrap().1);
}

fn pkcs1_of(jwk: &Value) -> Vec<u8> {
    use pkcs1::der::Encode as _;
    let numbers =
        ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(|name| decode(jwk[name].as_str().unwrap()));
    let [
        modulus,
        public_exponent,
        private_exponent,
        prime1,
        prime2,
        exponent1,
        exponent2,
        coefficient,
    ] = numbers
        .each_ref()
        .map(|bytes| pkcs1::UintRef::new(bytes).unwrap());
    let key = pkcs1::RsaPrivateKey {
        modulus,
        public_exponent,
        private_exponent,
        prime1,
        prime2,
        exponent1,
        exponent2,
        coefficient,
        other_prime_infos: None,
    };
    key.to_der().unwrap()
}

#[test]
fn the_thumbprint_of_rfc_7638_is_what_these_tests_compare_with() {
    let jwk = json!({"kty": "RSA", "n": RFC7638_MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});

    assert_eq!(jwt::thumbprint(&jwk), RFC7638_THUMBPRINT);
}

#[test]
fn good_keys_of_every_form_sign() {
    let fresh = private_ec_jwk().to_string();
    let rows: [(&str, &str, String, &str); 14] = [
        ("fresh P-256", "ES256", fresh, "key-1"),
        (
            "fresh RSA-3072",
            "RS256",
            private_rsa_jwk(KeySize::Rsa3072).to_string(),
            "key-1",
        ),
        (
            "with kid",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!("prod-key-1")),
            "prod-key-1",
        ),
        (
            "kid null",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = Value::Null),
            "key-1",
        ),
        (
            "kid with quotes",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!("a\"\\b")),
            "a\"\\b",
        ),
        (
            "kid in Unicode",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!("schlüssel-日本")),
            "schlüssel-日本",
        ),
        (
            "kid of one space",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!(" ")),
            " ",
        ),
        (
            "alg, use, key_ops and notes",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| {
                jwk["alg"] = json!("ES256");
                jwk["use"] = json!("sig");
                jwk["key_ops"] = json!(["sign"]);
                jwk["ext"] = json!(true);
                jwk["notes"] = json!({"owner": "me"});
                jwk["k"] = json!("c2VjcmV0");
            }),
            "key-1",
        ),
        (
            "RSA with notes and oth",
            "RS256",
            changed(RFC7515_A2_KEY, |jwk| jwk["x5c"] = json!(["x"])),
            "key-1",
        ),
        (
            "padded members",
            "ES256",
            changed(RFC7515_A3_KEY, |jwk| {
                for name in ["x", "y", "d"] {
                    jwk[name] = json!(format!("{}=", jwk[name].as_str().unwrap()));
                }
            }),
            "key-1",
        ),
        (
            "spaces around",
            "ES256",
            format!(" \n{RFC7515_A3_KEY}\n"),
            "key-1",
        ),
        (
            "modulus with leading zero byte",
            "RS256",
            changed(RFC7515_A2_KEY, |jwk| {
                let padded = [vec![0], decode(jwk["n"].as_str().unwrap())].concat();
                jwk["n"] = json!(jwt::encode(&padded));
            }),
            "key-1",
        ),
        (
            "members in another order",
            "ES256",
            {
                let jwk = parsed(RFC7515_A3_KEY);
                json!({"y": jwk["y"], "d": jwk["d"], "crv": "P-256", "x": jwk["x"], "kty": "EC"})
                    .to_string()
            },
            "key-1",
        ),
        ("RFC 7515 A.2", "RS256", RFC7515_A2_KEY.to_owned(), "key-1"),
    ];
    for (name, algorithm, jwk, kid) in rows {
        let service = pinned(algorithm, &jwk).start();
        let jwks = service.jwks();
        let token = service.mint(r#"{"sender":"a"}"#);

        assert_eq!(jwks.kids(), [kid], "{name}");
        assert_eq!(token.kid(), kid, "{name}");
        let members: Vec<_> = jwks.keys[0].as_object().unwrap().keys().cloned().collect();
        let public: &[&str] = if algorithm == "RS256" {
            &["kty", "n", "e", "kid", "alg", "use"]
        } else {
            &["kty", "crv", "x", "y", "kid", "alg", "use"]
        };
        assert_eq!(members, public, "{name}: a member too many");
        if algorithm == "RS256" {
            let modulus = decode(jwks.keys[0]["n"].as_str().unwrap());
            assert_ne!(modulus[0], 0, "{name}");
            assert_eq!(token.signature.len(), modulus.len(), "{name}");
        }
        service.must_log("MACP_AUTH_SIGNING_KEY_JSON");
    }
}

#[test]
fn an_empty_variable_is_no_key() {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_SIGNING_KEY_JSON", "")
        .start();

    assert!(
        service
            .stdout()
            .contains("key source: ephemeral alg: ES256")
    );
}

#[test]
fn keys_that_cannot_sign_as_asked_are_refused_with_the_reason_and_without_a_private_value() {
    let other = private_ec_jwk();
    let other_rsa = private_rsa_jwk(KeySize::Rsa2048);
    let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
    let rows: Vec<(&str, &str, String, &str)> = vec![
        ("public only, EC", "ES256", without(RFC7515_A3_KEY, "d"), "public"),
        ("public only, RSA", "RS256", {
            let jwk = parsed(RFC7515_A2_KEY);
            json!({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}).to_string()
        }, "public"),
        ("symmetric", "RS256", json!({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}).to_string(), "oct"),
        ("Ed25519", "ES256", json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}).to_string(), "OKP"),
        ("P-384", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["crv"] = json!("P-384")), "P-384"),
        ("no curve", "ES256", without(RFC7515_A3_KEY, "crv"), "crv"),
        ("RSA for ES256", "ES256", RFC7515_A2_KEY.to_owned(), "RSA"),
        ("EC for RS256", "RS256", RFC7515_A3_KEY.to_owned(), "EC"),
        ("RSA-1024", "RS256", RSA_1024_KEY.to_owned(), "1024"),
        ("d of another EC key", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["d"] = other["d"].clone()), "belong"),
        ("d of another RSA key", "RS256", changed(RFC7515_A2_KEY, |jwk| jwk["d"] = other_rsa["d"].clone()), "belong"),
        ("n of another RSA key", "RS256", changed(RFC7515_A2_KEY, |jwk| jwk["n"] = other_rsa["n"].clone()), "belong"),
        ("primes of another RSA key", "RS256", changed(RFC7515_A2_KEY, |jwk| {
            for name in ["p", "q", "dp", "dq", "qi"] {
                jwk[name] = other_rsa[name].clone();
            }
        }), "belong"),
        ("a point off the curve", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["y"] = jwk["x"].clone()), "belong"),
        ("even exponent", "RS256", changed(RFC7515_A2_KEY, |jwk| jwk["e"] = json!("AQAA")), "exponent"),
        ("no kty", "ES256", without(RFC7515_A3_KEY, "kty"), "kty"),
        ("no x", "ES256", without(RFC7515_A3_KEY, "x"), "x"),
        ("no n", "RS256", without(RFC7515_A2_KEY, "n"), "n"),
        ("x is a number", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["x"] = json!(5)), "x"),
        ("d is no base64url", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["d"] = json!("!!!")), "base64url"),
        ("d is empty", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["d"] = json!("")), "d"),
        ("d is zero", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["d"] = json!(jwt::encode(&[0; 32]))), "belong"),
        ("x too short", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["x"] = json!("AAAA")), "belong"),
        ("kid is a number", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!(1)), "kid"),
        ("kid is empty", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!("")), "kid"),
        ("kid is a list", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!(["a"])), "kid"),
        ("kid is false", "ES256", changed(RFC7515_A3_KEY, |jwk| jwk["kid"] = json!(false)), "kid"),
        ("a set", "ES256", json!({"keys": [parsed(RFC7515_A3_KEY)]}).to_string(), "set"),
        ("a list", "ES256", json!([parsed(RFC7515_A3_KEY)]).to_string(), "object"),
        ("a PEM", "ES256", pem.to_owned(), "PEM"),
        ("a path", "ES256", "/etc/keys/private.json".to_owned(), "JSON"),
        ("not JSON", "ES256", "{\"kty\":".to_owned(), "JSON"),
        ("a string", "ES256", "\"x\"".to_owned(), "object"),
        ("null", "ES256", "null".to_owned(), "object"),
        ("a space", "ES256", " ".to_owned(), "JSON"),
    ];
    for (name, algorithm, jwk, reason) in rows {
        let stderr = pinned(algorithm, &jwk)
            .secret("MIGHAgEAMBMGByqGSM49")
            .secret("c2VjcmV0LXNlY3JldC1zZWNyZXQ")
            .refused();
        assert!(
            stderr.contains("MACP_AUTH_SIGNING_KEY_JSON"),
            "{name}: {stderr}"
        );
        assert!(
            stderr.contains(reason),
            "{name}: {reason:?} is not said: {stderr}"
        );
    }
}

#[test]
fn an_rsa_key_without_crt_members_is_refused_or_rebuilt_but_never_signs_wrongly() {
    for member in ["p", "q", "dp", "dq", "qi"] {
        let stderr = pinned("RS256", &without(RFC7515_A2_KEY, member)).refused();
        assert!(
            stderr.contains(&format!("\"{member}\"")),
            "{member}: {stderr}"
        );
    }
}

#[test]
fn a_revoked_pinned_key_is_replaced_by_another_that_is_pinned() {
    let launch = || pinned("ES256", RFC7515_A3_KEY);

    let bound = launch().arguments(&["keys", "revoke-bound", "key-1"]).run();
    assert_eq!(bound.code, Some(0), "{bound:?}");
    for said in [
        "ES256, ACTIVE, signs now",
        "Pin another",
        "pin it (MACP_AUTH_SIGNING_KEY_JSON)",
    ] {
        assert!(bound.stdout.contains(said), "{said}: {bound:?}");
    }

    let mut service = launch().set("MACP_AUTH_REVOKED_KIDS", "key-1").start();
    assert_eq!(service.post(r#"{"sender":"a"}"#).status, 503);
    let log = service.log_to_its_end();
    assert!(
        log.contains("Pin another (MACP_AUTH_SIGNING_KEY_JSON)"),
        "{log}"
    );
    assert!(!log.contains("keys generate --now"), "{log}");
}
