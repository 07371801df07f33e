//! `sender`: what is blank, what is echoed, and which check comes first.

use serde_json::json;

use super::{NO_JSON, NO_SCOPES, NO_SENDER, NO_TTL, outcome, service};

/// What JavaScript's `trim` takes away: WhiteSpace and LineTerminator of ECMA-262, that is all of Zs and these.
const BLANK: [u32; 25] = [
    0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
    0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff,
];

/// Looks empty, or is white space to others, but is not blank here.
const NOT_BLANK: [u32; 19] = [
    0x00, 0x08, 0x1c, 0x1d, 0x1e, 0x1f, 0x7f, 0x85, 0xad, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e,
    0x2060, 0x2800, 0x3164, 0xfffd, 0xe0020,
];

fn characters(codes: &[u32]) -> impl Iterator<Item = char> {
    codes.iter().map(|&code| char::from_u32(code).unwrap())
}

#[test]
fn a_blank_sender_is_none() {
    let service = service();
    let mut connection = service.connect();
    for char in characters(&BLANK) {
        let code = u32::from(char);
        for (name, body) in [
            ("written out", json!({"sender": char}).to_string()),
            ("escaped", format!(r#"{{"sender":"\u{code:04x}"}}"#)),
            (
                "three of them",
                json!({"sender": format!("{char}{char}{char}")}).to_string(),
            ),
            (
                "among spaces",
                json!({"sender": format!(" {char}\t")}).to_string(),
            ),
        ] {
            assert_eq!(
                outcome(&connection.post(body)),
                NO_SENDER,
                "U+{code:04X} {name}"
            );
        }
    }
    let all: String = characters(&BLANK).collect();
    assert_eq!(
        outcome(&connection.post(json!({"sender": all}).to_string())),
        NO_SENDER
    );
    assert_eq!(outcome(&connection.post(r#"{"sender":""}"#)), NO_SENDER);
}

#[test]
fn every_blank_is_blank_and_no_other_character_of_the_basic_plane_is() {
    // Over the wire for the doubtful ones; here that the two lists above are whole.
    let service = service();
    let mut connection = service.connect();
    let doubtful = (0..0x3100u32).filter_map(char::from_u32).filter(|char| {
        char.is_whitespace() || char.is_control() || (0x2000..0x2070).contains(&u32::from(*char))
    });
    for char in doubtful {
        let want = if BLANK.contains(&u32::from(char)) {
            NO_SENDER
        } else {
            "200"
        };
        let got = outcome(&connection.post(json!({"sender": char}).to_string()));
        assert_eq!(got, want, "U+{:04X}", u32::from(char));
    }
}

#[test]
fn a_sender_is_echoed_and_signed_untrimmed_byte_for_byte() {
    let service = service();
    let jwks = service.jwks();
    let mut connection = service.connect();
    let mut senders: Vec<String> = characters(&NOT_BLANK).map(String::from).collect();
    senders.extend(characters(&BLANK).map(|char| format!("{char}a{char}")));
    senders.extend(
        [
            "a",
            "agent://risk",
            " a ",
            "\ta\n",
            "a b",
            "Ünïcödé",
            "日本語",
            "👩‍👩‍👧",
            "e\u{301}",
            "\u{e9}",
            "\"\\/",
            "</script>",
            "null",
            "0",
            "__proto__",
            "a\u{0}b",
            "\u{feff}a",
            "\u{10ffff}",
            "'; DROP TABLE",
            "{\"a\":1}",
        ]
        .map(str::to_owned),
    );
    senders.push("x".repeat(60_000));
    for sender in senders {
        let answer = connection.post(json!({"sender": sender}).to_string());
        let shown: String = sender.chars().take(30).collect();

        assert_eq!(answer.status, 200, "{shown:?}: {}", answer.text());
        assert_eq!(answer.json()["sender"], *sender, "{shown:?}");
        let token = jwks.verify(answer.json()["token"].as_str().unwrap());
        assert_eq!(token.claims()["sub"], *sender, "{shown:?}");
        // As JSON.stringify writes it: only what must be escaped is.
        let spelled = serde_json::to_string(&sender).unwrap();
        assert!(
            token.payload.contains(&format!("\"sub\":{spelled},")),
            "{shown:?}"
        );
        assert!(
            answer.text().contains(&format!("\"sender\":{spelled},")),
            "{shown:?}"
        );
    }
}

#[test]
fn a_sender_that_is_no_string_is_none() {
    let service = service();
    for value in [
        "null",
        "true",
        "false",
        "0",
        "1",
        "1e400",
        "{}",
        "[]",
        r#"["a"]"#,
        r#"{"sender":"a"}"#,
    ] {
        let got = outcome(&service.post(format!(r#"{{"sender":{value}}}"#)));
        assert_eq!(got, NO_SENDER, "{value}");
    }
    for body in [
        r#"{"Sender":"a"}"#,
        r#"{"sender ":"a"}"#,
        r#"{"sub":"a"}"#,
        r#"{"x":{"sender":"a"}}"#,
    ] {
        assert_eq!(outcome(&service.post(body)), NO_SENDER, "{body}");
    }
}

#[test]
fn the_first_failing_check_answers() {
    let service = service();
    for (name, body, want) in [
        ("sender before scopes", r#"{"scopes":5}"#, NO_SENDER),
        ("sender before ttl", r#"{"ttl_seconds":0}"#, NO_SENDER),
        (
            "blank sender before both",
            r#"{"ttl_seconds":0,"scopes":[],"sender":" "}"#,
            NO_SENDER,
        ),
        (
            "scopes before ttl",
            r#"{"ttl_seconds":0,"scopes":[],"sender":"a"}"#,
            NO_SCOPES,
        ),
        (
            "ttl",
            r#"{"ttl_seconds":0,"scopes":{},"sender":"a"}"#,
            NO_TTL,
        ),
        (
            "JSON before all",
            r#"{"ttl_seconds":0,"scopes":[],"sender":" "#,
            NO_JSON,
        ),
    ] {
        assert_eq!(outcome(&service.post(body)), want, "{name}");
    }
}
