//! `scopes`, `ttl_seconds`, and the members that are ignored.

use super::{NO_JSON, NO_SCOPES, NO_TTL, outcome, service};
use crate::harness::Launch;

#[test]
fn scopes_are_an_object_or_absent() {
    let service = service();
    for (scopes, want) in [
        ("{}", "200"),
        (r#"{"a":null}"#, "200"),
        ("null", NO_SCOPES),
        ("[]", NO_SCOPES),
        ("[{}]", NO_SCOPES),
        ("\"\"", NO_SCOPES),
        ("\"{}\"", NO_SCOPES),
        ("0", NO_SCOPES),
        ("1.5", NO_SCOPES),
        ("true", NO_SCOPES),
        ("false", NO_SCOPES),
        ("{", NO_JSON),
        ("{a:1}", NO_JSON),
    ] {
        let got = outcome(&service.post(format!(r#"{{"sender":"a","scopes":{scopes}}}"#)));
        assert_eq!(got, want, "{scopes}");
    }
    assert_eq!(service.mint(r#"{"sender":"a"}"#).scopes(), "{}", "absent");
}

#[test]
fn scopes_are_signed_verbatim() {
    let service = service();
    for (name, given, signed) in [
        ("empty", "{}", "{}"),
        (
            "the members that the runtime knows",
            r#"{"can_start_sessions":true,"is_observer":false,"allowed_modes":["macp.mode.decision.v1"],"max_open_sessions":1,"can_manage_mode_registry":false}"#,
            r#"{"can_start_sessions":true,"is_observer":false,"allowed_modes":["macp.mode.decision.v1"],"max_open_sessions":1,"can_manage_mode_registry":false}"#,
        ),
        (
            "order of members",
            r#"{"z":1,"a":2,"m":3}"#,
            r#"{"z":1,"a":2,"m":3}"#,
        ),
        (
            "unknown members",
            r#"{"x":{"y":[1,"2",null,true]}}"#,
            r#"{"x":{"y":[1,"2",null,true]}}"#,
        ),
        (
            "white space goes",
            "{ \"a\" : [ 1 ,\n2 ] }",
            r#"{"a":[1,2]}"#,
        ),
        (
            "names of claims",
            r#"{"sub":"b","exp":1,"iat":0,"iss":"x","aud":"y","macp_scopes":{}}"#,
            r#"{"sub":"b","exp":1,"iat":0,"iss":"x","aud":"y","macp_scopes":{}}"#,
        ),
        (
            "__proto__",
            r#"{"__proto__":{"can_start_sessions":false},"constructor":1}"#,
            r#"{"__proto__":{"can_start_sessions":false},"constructor":1}"#,
        ),
        ("empty name", r#"{"":""}"#, r#"{"":""}"#),
        (
            "empty list of modes",
            r#"{"allowed_modes":[]}"#,
            r#"{"allowed_modes":[]}"#,
        ),
        (
            "empty mode",
            r#"{"allowed_modes":[""]}"#,
            r#"{"allowed_modes":[""]}"#,
        ),
        (
            "null stays",
            r#"{"can_start_sessions":null}"#,
            r#"{"can_start_sessions":null}"#,
        ),
        (
            "escapes are written the short way",
            r#"{"\u0061":"\u00e9\/\u0041"}"#,
            r#"{"a":"é/A"}"#,
        ),
        (
            "control characters",
            r#"{"a":"\b\f\n\r\t\u0000\u001f\u007f"}"#,
            "{\"a\":\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\"}",
        ),
        (
            "line separators",
            "{\"a\":\"\u{2028}\u{2029}\"}",
            "{\"a\":\"\u{2028}\u{2029}\"}",
        ),
        ("surrogate pair", r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"😀"}"#),
        ("quotes", r#"{"a":"\"\\"}"#, r#"{"a":"\"\\"}"#),
        ("last of the same name", r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (
            "in the first one's place",
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":3,"b":2}"#,
        ),
        (
            "deeper too",
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
            r#"{"x":[{"a":3,"b":2}]}"#,
        ),
        (
            "of different type",
            r#"{"a":{"b":1},"a":[]}"#,
            r#"{"a":[]}"#,
        ),
        ("same name by escape", r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
        (
            "macp_scopes beside is ignored",
            r#"{"a":1},"macp_scopes":{"b":2}"#,
            r#"{"a":1}"#,
        ),
        (
            "names that serde_json keeps for itself",
            r#"{"$serde_json::private::Number":"5","$serde_json::private::RawValue":"x"}"#,
            r#"{"$serde_json::private::Number":"5","$serde_json::private::RawValue":"x"}"#,
        ),
    ] {
        let token = service.mint(&format!(r#"{{"sender":"a","scopes":{given}}}"#));
        assert_eq!(token.scopes(), signed, "{name}");
    }
}

#[test]
fn ttl_seconds_is_a_positive_number_rounded_up_and_cut_to_the_maximum() {
    let service = service();
    let jwks = service.jwks();
    for (ttl, want) in [
        ("null", 300),
        ("1", 1),
        ("5", 5),
        ("600", 600),
        ("3599", 3599),
        ("3600", 3600),
        ("3601", 3600),
        ("999999", 3600),
        ("18446744073709551616", 3600),
        ("1e308", 3600),
        ("1e2", 100),
        ("1E+2", 100),
        ("100.0", 100),
        ("1.0e0", 1),
        ("10e-1", 1),
        ("0.4", 1),
        ("0.999", 1),
        ("1.2", 2),
        ("299.0000001", 300),
        ("3599.5", 3600),
        ("3600.5", 3600),
        ("1e-7", 1),
        ("5e-324", 1),
        // As a double it is 4.
        ("4.0000000000000000001", 4),
    ] {
        let answer = service.post(format!(r#"{{"sender":"a","ttl_seconds":{ttl}}}"#));
        assert_eq!(answer.status, 200, "{ttl}: {}", answer.text());
        assert!(
            answer
                .text()
                .ends_with(&format!("\"expires_in_seconds\":{want}}}")),
            "{ttl}: {}",
            answer.text()
        );
        let claims = jwks
            .verify(answer.json()["token"].as_str().unwrap())
            .claims();
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, want, "{ttl}");
    }
    let answer = service.post(r#"{"sender":"a"}"#);
    assert_eq!(answer.json()["expires_in_seconds"], 300, "absent");
}

#[test]
fn any_other_ttl_seconds_is_refused() {
    let service = service();
    let (nines, tiny) = ("9".repeat(400), format!("0.{}1", "0".repeat(400)));
    for ttl in [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "0e5",
        "0e-5",
        "0e400",
        "-1",
        "-0.5",
        "-1e-7",
        "-1e308",
        "1e400",
        "-1e400",
        "1E400",
        "1e-400",
        "-1e-400",
        "1e99999999999999999999",
        &nines,
        &tiny,
        "\"\"",
        "\"600\"",
        "\"1e2\"",
        "true",
        "false",
        "[]",
        "[5]",
        "{}",
        r#"{"a":5}"#,
    ] {
        let got = outcome(&service.post(format!(r#"{{"sender":"a","ttl_seconds":{ttl}}}"#)));
        assert_eq!(got, NO_TTL, "{ttl:.40}");
    }
    for ttl in [
        "NaN",
        "Infinity",
        "-Infinity",
        "007",
        "-01",
        "+5",
        ".5",
        "5.",
        "5.e1",
        "0x10",
        "1_000",
        "1e",
        "1e+",
        "--5",
        "5s",
        "1,5",
        "-",
        "٣",
        "undefined",
    ] {
        let got = outcome(&service.post(format!(r#"{{"sender":"a","ttl_seconds":{ttl}}}"#)));
        assert_eq!(got, NO_JSON, "{ttl}");
    }
}

#[test]
fn maximum_and_default_are_configured_and_the_default_is_cut_too() {
    for (name, default, max, body, want) in [
        ("default", "120", "3600", r#"{"sender":"a"}"#, 120),
        (
            "default, null",
            "120",
            "3600",
            r#"{"sender":"a","ttl_seconds":null}"#,
            120,
        ),
        (
            "default above maximum",
            "300",
            "100",
            r#"{"sender":"a"}"#,
            100,
        ),
        (
            "asked above maximum",
            "300",
            "100",
            r#"{"sender":"a","ttl_seconds":101}"#,
            100,
        ),
        (
            "a year",
            "31536000",
            "31536000",
            r#"{"sender":"a"}"#,
            31_536_000,
        ),
        (
            "spaces around",
            " 60 ",
            "\t90\n",
            r#"{"sender":"a","ttl_seconds":1000}"#,
            90,
        ),
        (
            "a fraction just above the maximum",
            "1",
            "1",
            r#"{"sender":"a","ttl_seconds":1.1}"#,
            1,
        ),
    ] {
        let service = Launch::ephemeral("ES256")
            .set("MACP_AUTH_DEFAULT_TTL_SECONDS", default)
            .set("MACP_AUTH_MAX_TTL_SECONDS", max)
            .start();
        let answer = service.post(body);
        assert_eq!(answer.json()["expires_in_seconds"], want, "{name}");
    }
}

#[test]
fn other_members_and_queries_are_ignored_and_never_copied() {
    let service = service();
    let plain = service.mint(r#"{"sender":"a"}"#);
    for member in [
        r#""iss":"evil""#,
        r#""aud":["evil"]"#,
        r#""sub":"evil""#,
        r#""exp":9999999999"#,
        r#""iat":1"#,
        r#""nbf":9999999999"#,
        r#""kid":"evil""#,
        r#""alg":"none""#,
        r#""typ":"JWT""#,
        r#""macp_scopes":{"is_observer":true}"#,
        r#""jti":"1""#,
        r#""x":1e308"#,
        r#""x":{"y":[{}]}"#,
        r#""ttl":5"#,
        r#""expires_in_seconds":5"#,
        r#""__proto__":{"sender":"evil"}"#,
    ] {
        let token = service.mint(&format!(r#"{{{member},"sender":"a"}}"#));
        assert_eq!(token.header, plain.header, "{member}");
        let fixed = |payload: &str| payload.split("\"iat\"").next().unwrap().to_owned();
        assert_eq!(fixed(&token.payload), fixed(&plain.payload), "{member}");
        let claims = token.claims();
        assert_eq!(
            claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
            300,
            "{member}"
        );
    }
    let json = [("Content-Type", "application/json")];
    let path = "/tokens?sender=evil&ttl_seconds=1&scopes%5Bis_observer%5D=true&aud=evil";
    let answer = service.request("POST", path, &json, br#"{"sender":"a"}"#);
    assert_eq!(
        (answer.status, answer.json()["expires_in_seconds"].as_u64()),
        (200, Some(300))
    );
}

#[test]
fn a_number_too_large_in_an_ignored_member_is_as_ignored_as_the_member() {
    let service = service();

    assert_eq!(outcome(&service.post(r#"{"sender":"a","x":1e400}"#)), "200");
}
