//! Content types, encodings, sizes, and what is JSON.

use super::{NO_JSON, NO_SENDER, outcome, service};
use crate::harness::Service;

const GOOD: &[u8] = br#"{"sender":"a"}"#;

fn post_as(service: &Service, headers: &[(&str, &str)], body: &[u8]) -> String {
    outcome(&service.request("POST", "/tokens", headers, body))
}

#[test]
fn only_application_json_is_read() {
    let service = service();
    for (content_type, want) in [
        ("application/json", "200"),
        ("Application/JSON", "200"),
        ("APPLICATION/JSON", "200"),
        ("application/json;", "200"),
        ("application/json ; charset=utf-8", "200"),
        ("application/json; charset=utf-8", "200"),
        ("application/json;charset=UTF-8", "200"),
        ("application/json; CHARSET=Utf-8", "200"),
        ("application/json; charset=\"utf-8\"", "200"),
        ("application/json; profile=x", "200"),
        ("application/json; profile=\"a;b\"; charset=utf-8", "200"),
        ("application/json; profile=\"charset=latin1\"", "200"),
        ("text/plain", NO_SENDER),
        ("text/plain; charset=latin1", NO_SENDER),
        ("text/json", NO_SENDER),
        ("application/x-www-form-urlencoded", NO_SENDER),
        ("multipart/form-data; boundary=x", NO_SENDER),
        ("application/json5", NO_SENDER),
        ("application/jsonx", NO_SENDER),
        ("xapplication/json", NO_SENDER),
        ("application/vnd.api+json", NO_SENDER),
        ("application/problem+json", NO_SENDER),
        ("application/octet-stream", NO_SENDER),
        ("application/jwt", NO_SENDER),
        ("application/*", NO_SENDER),
        ("*/*", NO_SENDER),
        ("json", NO_SENDER),
        ("application", NO_SENDER),
        ("application/", NO_SENDER),
        ("/json", NO_SENDER),
        ("; charset=utf-8", NO_SENDER),
        ("", NO_SENDER),
    ] {
        let got = post_as(&service, &[("Content-Type", content_type)], GOOD);
        assert_eq!(got, want, "{content_type:?}");
    }
    assert_eq!(post_as(&service, &[], GOOD), NO_SENDER, "no content type");
}

#[test]
fn another_charset_or_encoding_is_not_supported() {
    let service = service();
    for charset in [
        "iso-8859-1",
        "latin1",
        "\"iso-8859-1\"",
        "us-ascii",
        "utf-16",
        "utf-32",
        "windows-1252",
        "x",
    ] {
        let content_type = format!("application/json; charset={charset}");
        let answer = service.request("POST", "/tokens", &[("Content-Type", &content_type)], GOOD);
        assert_eq!(answer.status, 415, "{charset}: {}", answer.text());
        answer.error();
    }
    let json = ("Content-Type", "application/json");
    for (encoding, status) in [
        ("identity", 200),
        ("Identity", 200),
        ("IDENTITY", 200),
        ("gzip", 415),
        ("x-gzip", 415),
        ("deflate", 415),
        ("br", 415),
        ("zstd", 415),
        ("gzip, identity", 415),
        ("nonsense", 415),
    ] {
        let answer = service.request(
            "POST",
            "/tokens",
            &[json, ("Content-Encoding", encoding)],
            GOOD,
        );
        assert_eq!(answer.status, status, "{encoding}: {}", answer.text());
        if status != 200 {
            answer.error();
        }
    }
    let unread = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    assert_eq!(
        post_as(&service, &unread, b"\x1f\x8b"),
        NO_SENDER,
        "a body that is not read"
    );
}

#[test]
fn what_is_no_json_is_told_from_what_lacks_a_sender() {
    let service = service();
    let rows: &[(&str, &[u8], &str)] = &[
        ("empty body", b"", NO_SENDER),
        ("empty object", b"{}", NO_SENDER),
        ("object with spaces", b" \t\r\n{ } \n", NO_SENDER),
        ("empty array", b"[]", NO_SENDER),
        ("array", br#"[{"sender":"a"}]"#, NO_SENDER),
        ("array of arrays", b"[[[]]]", NO_SENDER),
        ("spaces around", b" \t\r\n{\"sender\" : \"a\"} \n", "200"),
        ("null", b"null", NO_JSON),
        ("true", b"true", NO_JSON),
        ("number", b"1", NO_JSON),
        ("string", br#""sender""#, NO_JSON),
        ("empty string", br#""""#, NO_JSON),
        ("one space", b" ", NO_JSON),
        ("newline", b"\n", NO_JSON),
        ("open object", b"{", NO_JSON),
        ("closing brace", b"}", NO_JSON),
        ("open array", b"[", NO_JSON),
        ("array with comma", b"[1,]", NO_JSON),
        ("array that ends early", b"[1,", NO_JSON),
        ("brackets crossed", b"{\"a\":[}]", NO_JSON),
        ("trailing comma", br#"{"sender":"a",}"#, NO_JSON),
        ("double comma", br#"{"sender":"a",,"b":1}"#, NO_JSON),
        ("leading comma", br#"{,"sender":"a"}"#, NO_JSON),
        ("no comma", br#"{"sender":"a" "b":1}"#, NO_JSON),
        ("bare name", br#"{sender:"a"}"#, NO_JSON),
        ("number as name", br#"{1:"a"}"#, NO_JSON),
        ("single quotes", br#"{'sender':'a'}"#, NO_JSON),
        ("text after", br#"{"sender":"a"} x"#, NO_JSON),
        ("two values", br#"{"sender":"a"}{}"#, NO_JSON),
        ("NUL after", b"{\"sender\":\"a\"}\0", NO_JSON),
        ("no value", br#"{"sender"}"#, NO_JSON),
        ("empty value", br#"{"sender":}"#, NO_JSON),
        ("equals sign", br#"{"sender"="a"}"#, NO_JSON),
        ("half a word", br#"{"sender":"a","x":nul}"#, NO_JSON),
        ("capital word", br#"{"sender":"a","x":True}"#, NO_JSON),
        ("undefined", br#"{"sender":"a","x":undefined}"#, NO_JSON),
        ("comment before", b"// x\n{\"sender\":\"a\"}", NO_JSON),
        ("comment inside", br#"{/**/"sender":"a"}"#, NO_JSON),
        ("unterminated string", br#"{"sender":"a"#, NO_JSON),
        ("raw newline in a string", b"{\"sender\":\"a\nb\"}", NO_JSON),
        ("raw tab in a string", b"{\"sender\":\"a\tb\"}", NO_JSON),
        ("raw NUL in a string", b"{\"sender\":\"a\0b\"}", NO_JSON),
        (
            "raw control in an ignored member",
            b"{\"sender\":\"a\",\"x\":\"\x1f\"}",
            NO_JSON,
        ),
        ("DEL in a string is fine", b"{\"sender\":\"a\x7f\"}", "200"),
        ("bad escape", br#"{"sender":"\x41"}"#, NO_JSON),
        (
            "bad escape, ignored member",
            br#"{"sender":"a","x":"\q"}"#,
            NO_JSON,
        ),
        ("short unicode escape", br#"{"sender":"\u12"}"#, NO_JSON),
        (
            "unicode escape without digits",
            br#"{"sender":"\uzzzz"}"#,
            NO_JSON,
        ),
        ("vertical tab around", b"\x0b{\"sender\":\"a\"}", NO_JSON),
        (
            "no-break space around",
            "\u{a0}{\"sender\":\"a\"}".as_bytes(),
            NO_JSON,
        ),
        ("form", b"sender=a", NO_JSON),
        ("XML", b"<sender>a</sender>", NO_JSON),
        (
            "leading zero, ignored member",
            br#"{"sender":"a","x":01}"#,
            NO_JSON,
        ),
        (
            "dot alone, ignored member",
            br#"{"sender":"a","x":1.}"#,
            NO_JSON,
        ),
        ("NaN, ignored member", br#"{"sender":"a","x":NaN}"#, NO_JSON),
        (
            "minus alone, ignored member",
            br#"{"sender":"a","x":-}"#,
            NO_JSON,
        ),
        ("invalid UTF-8, sender", b"{\"sender\":\"\xff\"}", NO_JSON),
        (
            "invalid UTF-8, scopes",
            b"{\"sender\":\"a\",\"scopes\":{\"x\":\"\xc3\x28\"}}",
            NO_JSON,
        ),
        (
            "invalid UTF-8, ignored member",
            b"{\"sender\":\"a\",\"x\":\"\xff\"}",
            NO_JSON,
        ),
        (
            "invalid UTF-8, ignored name",
            b"{\"sender\":\"a\",\"\xff\":1}",
            NO_JSON,
        ),
        ("overlong UTF-8", b"{\"sender\":\"\xc0\x80\"}", NO_JSON),
        (
            "surrogate as UTF-8",
            b"{\"sender\":\"\xed\xa0\x80\"}",
            NO_JSON,
        ),
        ("truncated UTF-8", b"{\"sender\":\"\xe2\x82\"}", NO_JSON),
        (
            "above U+10FFFF",
            b"{\"sender\":\"\xf4\x90\x80\x80\"}",
            NO_JSON,
        ),
        ("Latin-1", b"{\"sender\":\"M\xfcller\"}", NO_JSON),
        ("UTF-16", b"\xff\xfe{\0}\0", NO_JSON),
        ("lone high surrogate", br#"{"sender":"\ud800"}"#, NO_JSON),
        ("lone low surrogate", br#"{"sender":"\udc00"}"#, NO_JSON),
        (
            "surrogates in the wrong order",
            br#"{"sender":"\udc00\ud800"}"#,
            NO_JSON,
        ),
        (
            "two high surrogates",
            br#"{"sender":"\ud800\ud800"}"#,
            NO_JSON,
        ),
        (
            "high surrogate and a letter",
            br#"{"sender":"\ud83dx"}"#,
            NO_JSON,
        ),
        (
            "lone surrogate in scopes",
            br#"{"sender":"a","scopes":{"x":"\ud800"}}"#,
            NO_JSON,
        ),
        (
            "lone surrogate in a name of scopes",
            br#"{"sender":"a","scopes":{"\ud800":1}}"#,
            NO_JSON,
        ),
        (
            "lone surrogate in ttl_seconds",
            br#"{"sender":"a","ttl_seconds":"\ud800"}"#,
            NO_JSON,
        ),
        (
            "lone surrogate in an ignored member",
            br#"{"sender":"a","x":"\ud800"}"#,
            NO_JSON,
        ),
        (
            "lone surrogate in an ignored name",
            br#"{"sender":"a","\ud800":1}"#,
            NO_JSON,
        ),
        (
            "a pair of surrogates",
            br#"{"sender":"\ud83d\ude00"}"#,
            "200",
        ),
        ("malformed array", b"[{]", NO_JSON),
        (
            "malformed comes first",
            br#"{"sender":5,"scopes":[],"ttl_seconds":0"#,
            NO_JSON,
        ),
    ];
    for (name, body, want) in rows {
        assert_eq!(outcome(&service.post(body)), *want, "{name}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped_or_refused_but_nothing_else() {
    let service = service();
    let got = outcome(&service.post([b"\xef\xbb\xbf", GOOD].concat()));

    assert!(["200", NO_JSON].contains(&got.as_str()), "{got}");
}

#[test]
fn nesting_is_read_down_to_127_levels() {
    let service = service();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    // The object around it is the first level.
    for (name, member, levels, want) in [
        ("ignored", "x", 126, "200"),
        ("ignored", "x", 127, NO_JSON),
        ("ignored", "x", 128, NO_JSON),
        ("ignored", "x", 20_000, NO_JSON),
        ("ttl_seconds", "ttl_seconds", 127, NO_JSON),
        ("ttl_seconds", "ttl_seconds", 20_000, NO_JSON),
        ("sender", "sender", 126, NO_SENDER),
        ("sender", "sender", 127, NO_JSON),
    ] {
        let mut body = format!(r#"{{"{member}":{}"#, nested(levels));
        if member != "sender" {
            body.push_str(r#","sender":"a""#);
        }
        body.push('}');
        assert_eq!(outcome(&service.post(&body)), want, "{name} {levels}");
    }
    for (levels, want) in [(126, "200"), (127, NO_JSON), (10_000, NO_JSON)] {
        let body = format!(r#"{{"sender":"a","scopes":{}}}"#, objects(levels));
        assert_eq!(outcome(&service.post(&body)), want, "scopes {levels}");
    }
    for (levels, want) in [(127, NO_SENDER), (128, NO_JSON), (50_000, NO_JSON)] {
        assert_eq!(
            outcome(&service.post(nested(levels))),
            want,
            "array {levels}"
        );
    }
}

#[test]
fn of_members_with_the_same_name_the_last_one_wins() {
    let service = service();
    for (name, body, want) in [
        ("two senders", r#"{"sender":"first","sender":"a"}"#, "200"),
        ("a wrong one first", r#"{"sender":5,"sender":"a"}"#, "200"),
        (
            "a wrong one last",
            r#"{"sender":"a","sender":5}"#,
            NO_SENDER,
        ),
        ("a null last", r#"{"sender":"a","sender":null}"#, NO_SENDER),
        (
            "escaped name",
            r#"{"sender":"first","\u0073ender":"a"}"#,
            "200",
        ),
        (
            "wrong scopes first",
            r#"{"sender":"a","scopes":[],"scopes":{}}"#,
            "200",
        ),
        (
            "wrong scopes last",
            r#"{"sender":"a","scopes":{},"scopes":[]}"#,
            super::NO_SCOPES,
        ),
        (
            "wrong ttl first",
            r#"{"sender":"a","ttl_seconds":0,"ttl_seconds":5}"#,
            "200",
        ),
        (
            "wrong ttl last",
            r#"{"sender":"a","ttl_seconds":5,"ttl_seconds":0}"#,
            super::NO_TTL,
        ),
    ] {
        let answer = service.post(body);
        assert_eq!(outcome(&answer), want, "{name}");
        if want == "200" {
            assert_eq!(answer.json()["sender"], "a", "{name}");
        }
    }
    let last = service.post(r#"{"sender":"a","ttl_seconds":5,"ttl_seconds":7}"#);
    assert_eq!(last.json()["expires_in_seconds"], 7);
}
