//! Pinned private JWKs: no panic, an accepted key signs what verifies under its published half, and no private member is
//! told in an error.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bolero::check;
use fuzz::spelled;
use macp_auth_service::jose::Algorithm;
use macp_auth_service::keys::local::LocalKey;

/// RFC 7515, A.3, and the key of RFC 7515, A.2. Neither guards anything.
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB","d":"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ","p":"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc","q":"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc","dp":"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0","dq":"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU","qi":"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;

const DICTIONARY: [&str; 34] = [
    "{",
    "}",
    "\"",
    ":",
    ",",
    "\"kty\":\"EC\"",
    "\"kty\":\"RSA\"",
    "\"kty\":\"oct\"",
    "\"crv\":\"P-256\"",
    "\"crv\":\"P-384\"",
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"",
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"",
    "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"",
    "\"n\":\"",
    "\"e\":\"AQAB\"",
    "\"e\":\"AA\"",
    "\"p\":\"",
    "\"q\":\"",
    "\"dp\":\"",
    "\"dq\":\"",
    "\"qi\":\"",
    "\"kid\":null",
    "\"kid\":\"\"",
    "\"kid\":\"k\"",
    "\"kid\":7",
    "\"use\":\"enc\"",
    "\"alg\":\"RS256\"",
    "\"key_ops\":[]",
    "\"x5c\":[\"\"]",
    "null",
    "AAAA",
    "____",
    "=",
    "\\u0000",
];

fn examine(text: &str) {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        match LocalKey::from_jwk(text, algorithm) {
            Ok(key) => {
                let signature = key.sign(b"message").unwrap();
                assert!(key.published().verifier().accepts(b"message", &signature));
            }
            Err(error) => {
                let told = format!("{error} {error:?}");
                for secret in secrets(text) {
                    assert!(!told.contains(&secret), "{told}");
                }
            }
        }
    }
}

/// The private members, where the text is that much of a JWK.
fn secrets(text: &str) -> Vec<String> {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else {
        return Vec::new();
    };
    ["d", "p", "q", "dp", "dq", "qi"]
        .iter()
        .filter_map(|name| members.get(*name)?.as_str())
        // Short texts stand in a message by chance.
        .filter(|value| {
            URL_SAFE_NO_PAD
                .decode(value)
                .is_ok_and(|bytes| bytes.len() > 8)
        })
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn near_a_jwk() {
    check!()
        .with_iterations(10_000)
        .with_max_len(24)
        .for_each(|bytes| {
            let members = String::from_utf8_lossy(&spelled(bytes, &DICTIONARY)).into_owned();
            examine(&members);
            examine(&format!("{{{members}}}"));
        });
}

/// Some bytes of a real key are replaced, so that the deep checks are reached.
fn damaged(key: &str, damage: &[(u16, u8)]) {
    let mut bytes = key.as_bytes().to_vec();
    for (at, byte) in damage {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
    }
    examine(&String::from_utf8_lossy(&bytes));
}

#[test]
fn a_damaged_p256_key() {
    check!()
        .with_iterations(5_000)
        .with_type::<Vec<(u16, u8)>>()
        .for_each(|damage| damaged(EC, damage));
}

#[test]
fn a_damaged_rsa_key() {
    check!()
        .with_iterations(1_000)
        .with_type::<Vec<(u16, u8)>>()
        .for_each(|damage| damaged(RSA, damage));
}
