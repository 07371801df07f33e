//! Each row of the wire contract's body checks, and properties over any body.

use super::*;
use proptest::prelude::*;
use serde_json::json;

use RequestError::{InvalidJson, ScopesNotAnObject, SenderRequired, TtlNotPositive};

fn outcome(body: &str) -> Result<(), RequestError> {
    outcome_of_bytes(body.as_bytes())
}

fn outcome_of_bytes(body: &[u8]) -> Result<(), RequestError> {
    parse(body).map(|_| ())
}

fn scopes_of(text: &str) -> Value {
    let request = parse(format!(r#"{{"sender":"a","scopes":{text}}}"#).as_bytes()).unwrap();
    Value::Object(request.scopes.members().clone())
}

#[test]
fn a_body_has_to_be_json() {
    for (name, body, want) in [
        ("empty", "", Err(SenderRequired)),
        ("an object", "{}", Err(SenderRequired)),
        ("an array", "[]", Err(SenderRequired)),
        (
            "an array of things",
            r#"[1,"a",{"sender":"a"}, 1e400]"#,
            Err(SenderRequired),
        ),
        ("a broken array", "[1,]", Err(InvalidJson)),
        ("null", "null", Err(InvalidJson)),
        ("a number", "1", Err(InvalidJson)),
        ("a string", r#""sender""#, Err(InvalidJson)),
        ("true", "true", Err(InvalidJson)),
        ("spaces", " \r\n\t", Err(InvalidJson)),
        ("a brace", "{", Err(InvalidJson)),
        ("a trailing comma", r#"{"sender":"a",}"#, Err(InvalidJson)),
        ("something after", r#"{"sender":"a"} x"#, Err(InvalidJson)),
        ("single quotes", "{'sender':'a'}", Err(InvalidJson)),
    ] {
        assert_eq!(outcome(body), want, "{name}");
    }
}

#[test]
fn a_body_has_to_be_unicode_without_control_characters() {
    assert_eq!(outcome_of_bytes(b"{\"sender\":\"\xff\"}"), Err(InvalidJson));
    for (name, body, want) in [
        (
            "a control character",
            "{\"sender\":\"a\u{1}\"}",
            Err(InvalidJson),
        ),
        (
            "a control character elsewhere",
            "{\"sender\":\"a\",\"x\":\"\u{1}\"}",
            Err(InvalidJson),
        ),
        ("spaces around", " {\"sender\":\"a\"}\n", Ok(())),
        ("a byte order mark", "\u{feff}{\"sender\":\"a\"}", Ok(())),
        (
            "two byte order marks",
            "\u{feff}\u{feff}{\"sender\":\"a\"}",
            Err(InvalidJson),
        ),
        (
            "half a pair in the sender",
            r#"{"sender":"\ud800"}"#,
            Err(InvalidJson),
        ),
        (
            "half a pair elsewhere",
            r#"{"sender":"a","x":"\ud800"}"#,
            Err(InvalidJson),
        ),
        (
            "half a pair in scopes",
            r#"{"sender":"a","scopes":{"\udc00":1}}"#,
            Err(InvalidJson),
        ),
        (
            "a bad escape elsewhere",
            r#"{"sender":"a","x":"\x"}"#,
            Err(InvalidJson),
        ),
        (
            "a huge number elsewhere",
            r#"{"sender":"a","x":1e400}"#,
            Ok(()),
        ),
        (
            "other members",
            r#"{"sender":"a","iss":"x","aud":[],"exp":0,"kid":null,"macp_scopes":{}}"#,
            Ok(()),
        ),
    ] {
        assert_eq!(outcome(body), want, "{name}");
    }
}

#[test]
fn nesting_is_refused_below_127_wherever_it_is() {
    for (member, want) in [("x", Ok(())), ("scopes", Err(ScopesNotAnObject))] {
        let nested = |depth| {
            format!(
                r#"{{"sender":"a","{member}":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        assert_eq!(outcome(&nested(126)), want, "{member}");
        assert_eq!(outcome(&nested(127)), Err(InvalidJson), "{member}");
        assert_eq!(outcome(&nested(50_000)), Err(InvalidJson), "{member}");
    }
    let deep = |depth| format!(r#"{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(scopes_of(&deep(126)).is_object());
}

#[test]
fn a_sender_is_a_string_that_is_not_blank() {
    for (raw, want) in [
        (r#""a""#, Ok(())),
        (r#"" a ""#, Ok(())),
        (r#""\u0085""#, Ok(())),
        (r#""\u0000""#, Ok(())),
        (r#""""#, Err(SenderRequired)),
        (r#"" \t\ufeff""#, Err(SenderRequired)),
        ("null", Err(SenderRequired)),
        ("1", Err(SenderRequired)),
        ("1e400", Err(SenderRequired)),
        ("true", Err(SenderRequired)),
        (r#"["a"]"#, Err(SenderRequired)),
        (r#"{"a":"a"}"#, Err(SenderRequired)),
    ] {
        assert_eq!(outcome(&format!(r#"{{"sender":{raw}}}"#)), want, "{raw}");
    }
    let request = parse("{\"\\u0073ender\":\" \\u00e9\\ud83d\\ude00 \"}".as_bytes()).unwrap();
    assert_eq!(request.sender.as_str(), " \u{e9}\u{1f600} ");
}

#[test]
fn scopes_are_an_object_or_absent() {
    assert_eq!(
        parse(br#"{"sender":"a"}"#).unwrap().scopes,
        Scopes::default()
    );
    for raw in ["null", "[]", "1", "1e400", r#""{}""#, "true"] {
        let body = format!(r#"{{"sender":"a","scopes":{raw}}}"#);
        assert_eq!(outcome(&body), Err(ScopesNotAnObject), "{raw}");
    }
    for raw in [r#"{"a":1e400}"#, r#"{"a":[{"b":-1e400}]}"#] {
        let body = format!(r#"{{"sender":"a","scopes":{raw}}}"#);
        assert_eq!(outcome(&body), Err(InvalidJson), "{raw}");
    }
}

#[test]
fn scopes_stay_as_they_are() {
    let text = r#"{"z":1,"__proto__":{"sub":"x"},"exp":null,"a":[true,"\u0041",1.5,18446744073709551615,-9223372036854775808],"":{},"10":1,"9":2}"#;
    assert_eq!(
        scopes_of(text).to_string(),
        text.replace(r"\u0041", "A"),
        "order and unknown members"
    );
}

#[test]
fn no_member_name_of_the_json_library_means_anything() {
    for name in [
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
    ] {
        for depth in [
            r#"{"NAME":"{\"a\":1}"}"#,
            r#"{"x":{"NAME":"{\"a\":1}"}}"#,
            r#"{"x":[{"NAME":"1"}]}"#,
        ] {
            let text = depth.replace("NAME", name);
            assert_eq!(scopes_of(&text).to_string(), text);
        }
        assert_eq!(
            outcome(&format!(r#"{{"{name}":"{{}}"}}"#)),
            Err(SenderRequired)
        );
    }
}

#[test]
fn the_last_of_duplicates_wins_at_every_depth() {
    let body = r#"{"sender":1,"scopes":{"a":1e400},"ttl_seconds":"x","sender":"a","scopes":{"b":1,"c":2,"b":{"d":1,"d":2}},"ttl_seconds":5}"#;

    let request = parse(body.as_bytes()).unwrap();

    assert_eq!(request.sender.as_str(), "a");
    assert_eq!(
        Value::Object(request.scopes.members().clone()).to_string(),
        r#"{"b":{"d":2},"c":2}"#
    );
    assert_eq!(request.ttl, Some(RequestedTtl::new(5.0).unwrap()));
    assert_eq!(
        outcome(r#"{"sender":"a","sender":null}"#),
        Err(SenderRequired)
    );
    assert_eq!(
        outcome(r#"{"sender":"a","scopes":{},"scopes":null}"#),
        Err(ScopesNotAnObject)
    );
}

#[test]
fn a_lifetime_is_a_positive_number_null_or_absent() {
    let ttl = |raw: &str| {
        parse(format!(r#"{{"sender":"a","ttl_seconds":{raw}}}"#).as_bytes())
            .map(|request| request.ttl)
    };
    assert_eq!(ttl("null"), Ok(None));
    for (raw, seconds) in [
        ("1", 1.0),
        ("0.4", 0.4),
        ("1e2", 100.0),
        ("5E-324", 5e-324),
        ("99999999999999999999999", 1e23),
    ] {
        assert_eq!(
            ttl(raw),
            Ok(Some(RequestedTtl::new(seconds).unwrap())),
            "{raw}"
        );
    }
    for raw in [
        "0", "-0", "0.0", "-1", "1e400", "-1e400", "1e-400", r#""5""#, r#""inf""#, "true", "[5]",
        "{}",
    ] {
        assert_eq!(ttl(raw), Err(TtlNotPositive), "{raw}");
    }
    for raw in [
        "NaN",
        "Infinity",
        "-Infinity",
        "inf",
        "nan",
        "007",
        "+5",
        ".5",
        "5.",
        "0x10",
        "1e",
        "-",
    ] {
        assert_eq!(ttl(raw), Err(InvalidJson), "{raw}");
    }
}

#[test]
fn checks_come_in_the_order_of_the_contract() {
    for (body, want) in [
        (r#"{"ttl_seconds":0,"scopes":1,"sender":"" "#, InvalidJson),
        (
            r#"{"ttl_seconds":0,"scopes":1,"sender":""}"#,
            SenderRequired,
        ),
        (
            r#"{"ttl_seconds":0,"scopes":1,"sender":"a"}"#,
            ScopesNotAnObject,
        ),
        (
            r#"{"ttl_seconds":0,"scopes":{},"sender":"a"}"#,
            TtlNotPositive,
        ),
    ] {
        assert_eq!(outcome(body), Err(want), "{body}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |number| number.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = parse(&body);
    }

    #[test]
    fn no_json_like_text_panics(body in r#"(\{|\}|\[|\]|"|sender|scopes|ttl_seconds|:|,|1e400|-|\\u|d800|null|\\| |a){0,60}"#) {
        let _outcome = parse(body.as_bytes());
    }

    #[test]
    fn any_scopes_come_back_as_they_were(value in any_json(), name in any::<String>()) {
        let body = json!({"scopes": {name.clone(): value}, "sender": "a"}).to_string();

        let request = parse(body.as_bytes()).unwrap();

        prop_assert_eq!(request.scopes.members().get(&name), Some(&value));
    }
}
