//! The files of operators: no panic, a kid that is read stands in the file, an extra key comes without its private half, and
//! a schedule that is read is read again from what it writes.

use bolero::check;
use fuzz::spelled;
use macp_auth_service::keys::lists::{KeyName, KeySchedule, extra, revoked};

const KIDS: [&str; 14] = [
    "kid-1", "#", "# ", " ", "\t", "\n", "\r\n", "\r", "\u{feff}", "\u{85}", "\u{a0}", "\u{200b}",
    "\u{0}", "\"",
];

#[test]
fn revoked_kids() {
    check!()
        .with_iterations(20_000)
        .with_max_len(32)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(&spelled(bytes, &KIDS)).into_owned();
            for kid in revoked::parse(&text).into_iter().flatten() {
                // No fragment has a backslash: a JSON string shows what it says.
                let quoted = format!("\"{}\"", kid.as_str());
                let written = |line: &str| {
                    let bare = line.split_whitespace().next() == Some(kid.as_str());
                    bare && !line.trim_start().starts_with('#') || line.trim().starts_with(&quoted)
                };
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                assert!(text.lines().any(written), "{text:?}: {kid}");
            }
        });
}

/// RFC 7515, A.3; guards nothing.
const MEMBERS: [&str; 30] = [
    "{\"keys\":[",
    "]}",
    "{",
    "}",
    ",",
    ":",
    "[",
    "]",
    "\"keys\":",
    "\"kty\":\"EC\"",
    "\"kty\":\"RSA\"",
    "\"kty\":\"oct\"",
    "\"crv\":\"P-256\"",
    "\"crv\":\"P-384\"",
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"",
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"",
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\",",
    "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"",
    "\"e\":\"AQAB\"",
    "\"n\":\"AAAA\"",
    "\"kid\":\"a\"}",
    "\"kid\":\"b\"}",
    "\"kid\":\"\"",
    "\"kid\":null",
    "\"alg\":\"ES256\",",
    "\"alg\":\"RS256\",",
    "\"use\":\"sig\",",
    "\"use\":\"enc\",",
    "\"key_ops\":[\"verify\"],",
    "null",
];

#[test]
fn extra_keys() {
    check!()
        .with_iterations(20_000)
        .with_max_len(24)
        .for_each(|bytes| {
            let rest = String::from_utf8_lossy(&spelled(bytes, &MEMBERS)).into_owned();
            for text in [
                &rest,
                &format!("{{\"keys\":[{rest}]}}"),
                &format!("{}{rest}", MEMBERS[16]),
            ] {
                for key in extra::parse(text).into_iter().flatten() {
                    let published = serde_json::to_value(key.jwk()).unwrap();
                    assert!(published.get("d").is_none(), "{text:?}");
                    assert!(text.contains("\"kid\":"), "{text:?}");
                }
            }
        });
}

const ENTRIES: [&str; 24] = [
    "[[key]]\n",
    "[key]\n",
    "kid = \"a\"\n",
    "kid = 'b\"\\'\n",
    "id = \"01:9A:3f\"\n",
    "id = \"019a\"\n",
    "id = \"0:1\"\n",
    "id = 12\n",
    "active_from = 2026-12-01T12:00:00Z\n",
    "active_from = \"20261201T120000Z\"\n",
    "active_from = \"ever\"\n",
    "active_from = 1969-12-31T23:59:59Z\n",
    "active_from = 2026-12-01T12:00:00+01:00\n",
    "active_from = 12:00:00\n",
    "key = [",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "\"\"\"",
    "#",
    "\r\n",
    "\u{feff}",
];

#[test]
fn schedules() {
    check!()
        .with_iterations(20_000)
        .with_max_len(16)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(&spelled(bytes, &ENTRIES)).into_owned();
            let Ok(schedule) = KeySchedule::parse(&text) else {
                return;
            };
            assert_eq!(
                KeySchedule::parse(&schedule.to_string()),
                Ok(schedule.clone()),
                "{text:?}"
            );
            for (name, at) in schedule.entries() {
                let found = match name {
                    KeyName::Kid(kid) => schedule.by_kid(kid),
                    KeyName::Id(id) => schedule.by_id(id),
                };
                assert_eq!(found, Some(at), "{text:?}");
            }
        });
}
