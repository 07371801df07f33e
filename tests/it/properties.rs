//! Properties over arbitrary input: whatever is sent, the answer is a token or a sentence of the contract.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value};

use crate::harness::{Answer, Connection, Jwks, Launch, Service};

const SENTENCES: [&str; 4] = [
    "invalid JSON body",
    "sender is required",
    "scopes must be an object",
    "ttl_seconds must be a positive number",
];

/// One service for all cases of a property, over one connection that has to survive them.
struct Subject {
    service: Service,
    jwks: Jwks,
    connection: RefCell<Connection>,
}

impl Subject {
    fn new() -> Self {
        let service = Launch::ephemeral("ES256").start();
        let jwks = service.jwks();
        let connection = RefCell::new(service.connect());
        Self {
            service,
            jwks,
            connection,
        }
    }

    fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.connection.borrow_mut().post(body)
    }

    fn check<S: Strategy>(
        self,
        cases: u32,
        strategy: S,
        test: impl Fn(&Self, S::Value) -> Result<(), TestCaseError>,
    ) {
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new(config)
            .run(&strategy, |value| test(&self, value))
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.service.get("/healthz").status, 200);
    }
}

fn minted_or_sentence(subject: &Subject, answer: &Answer) -> Result<(), TestCaseError> {
    if answer.status == 200 {
        let body = answer.json();
        prop_assert!(subject.jwks.accepts(body["token"].as_str().unwrap()));
        prop_assert!(
            body["expires_in_seconds"]
                .as_u64()
                .is_some_and(|life| (1..=3600).contains(&life))
        );
        return Ok(());
    }
    prop_assert_eq!(answer.status, 400, "{}", answer.text());
    let sentence = answer.error();
    prop_assert!(SENTENCES.contains(&sentence.as_str()), "{}", sentence);
    Ok(())
}

/// Numbers as people and programs write them, most of them valid JSON.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| if number.is_finite() {
            format!("{number:e}")
        } else {
            "1e400".to_owned()
        }),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        Just("0".to_owned()),
        Just("-0".to_owned()),
    ]
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        number(),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "\"(\\\\u[0-9a-f]{4}|[a-z]){0,4}\"",
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let name = prop_oneof![3 => "[a-c]{0,2}".boxed(), 1 => any::<String>().boxed()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|members| format!("[{}]", members.join(","))),
            prop::collection::vec((name, inner), 0..6).prop_map(object),
        ]
    })
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| format!("{}:{value}", Value::from(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Objects with the members that count, in any order, number and kind.
fn request_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => Just("sender".to_owned()),
        3 => Just("scopes".to_owned()),
        3 => Just("ttl_seconds".to_owned()),
        1 => any::<String>(),
    ];
    let value = prop_oneof![2 => "\"[a-z ]{0,5}\"".boxed(), 3 => json_text().boxed(), 1 => number().boxed()];
    prop::collection::vec((name, value), 0..6).prop_map(object)
}

fn scopes() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |number| number.is_finite())
            .prop_map(Value::from),
        (-1e6..1e6).prop_map(|number: f64| Value::from(number.trunc())),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec((any::<String>(), value), 0..6)
        .prop_map(|members| members.into_iter().collect())
}

/// Equal as a verifier sees it; integral numbers have become integers.
fn same(given: &Value, signed: &Value) -> bool {
    match (given, signed) {
        (Value::Number(given), Value::Number(signed)) if given.is_f64() => {
            let number = given.as_f64().unwrap();
            let integral = number.fract() == 0.0 && number.abs() < 9e15;
            signed.as_f64() == Some(number) && (!integral || !signed.is_f64())
        }
        (Value::Array(given), Value::Array(signed)) => {
            given.len() == signed.len()
                && given
                    .iter()
                    .zip(signed)
                    .all(|(given, signed)| same(given, signed))
        }
        (Value::Object(given), Value::Object(signed)) => {
            given.len() == signed.len()
                && given
                    .iter()
                    .zip(signed)
                    .all(|((name, given), (same_name, signed))| {
                        name == same_name && same(given, signed)
                    })
        }
        (given, signed) => given == signed,
    }
}

#[test]
fn any_json_body_gives_a_token_or_a_sentence_of_the_contract() {
    let strategy = prop_oneof![json_text().boxed(), request_text().boxed()];
    Subject::new().check(200, strategy, |subject, body| {
        minted_or_sentence(subject, &subject.post(body))
    });
}

#[test]
fn arbitrary_bytes_give_a_sentence_of_the_contract() {
    let strategy = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).boxed(),
        any::<String>().prop_map(String::into_bytes).boxed(),
        // Almost right: one byte of a good request is another.
        (any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(at, byte)| {
                let mut body =
                    br#"{"sender":"a","scopes":{"n":[1.5,"\u00e9"]},"ttl_seconds":60}"#.to_vec();
                let at = at.index(body.len());
                body[at] = byte;
                body
            })
            .boxed(),
    ];
    Subject::new().check(200, strategy, |subject, body| {
        minted_or_sentence(subject, &subject.post(body))
    });
}

#[test]
fn any_scopes_come_back_equal_from_the_verified_token() {
    Subject::new().check(150, scopes(), |subject, scopes| {
        let given = Value::Object(scopes);
        let answer = subject.post(format!(r#"{{"sender":"a","scopes":{given}}}"#));
        prop_assert_eq!(answer.status, 200, "{}", answer.text());
        let token = subject
            .jwks
            .verify(answer.json()["token"].as_str().unwrap());
        let signed = &token.claims()["macp_scopes"];
        prop_assert!(same(&given, signed), "{given} became {signed}");
        Ok(())
    });
}

#[test]
fn any_sender_comes_back_as_it_was() {
    Subject::new().check(100, any::<String>(), |subject, sender| {
        let answer = subject.post(serde_json::json!({"sender": sender}).to_string());
        if answer.status == 400 {
            prop_assert_eq!(answer.error(), "sender is required");
            prop_assert!(
                sender
                    .chars()
                    .all(|char| char.is_whitespace() || char == '\u{feff}'),
                "{:?}",
                sender
            );
            return Ok(());
        }
        prop_assert_eq!(&answer.json()["sender"], &Value::from(sender.clone()));
        let token = subject
            .jwks
            .verify(answer.json()["token"].as_str().unwrap());
        prop_assert_eq!(&token.claims()["sub"], &Value::from(sender));
        Ok(())
    });
}

#[test]
fn any_header_values_leave_the_service_alive() {
    let strategy = ("[ -~]{0,40}", "[ -~]{0,40}", "[!-~]{0,30}");
    Subject::new().check(100, strategy, |subject, (content_type, origin, path)| {
        let headers = [
            ("Content-Type", content_type.as_str()),
            ("Origin", origin.as_str()),
        ];
        let mut connection = subject.service.connect();
        let answer =
            connection.request("POST", &format!("/{path}"), &headers, br#"{"sender":"a"}"#);
        prop_assert!(answer.status < 500, "{} {}", answer.status, answer.text());
        Ok(())
    });
}
