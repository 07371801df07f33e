//! The body of `POST /tokens`: no panic, and what is accepted is JSON that says what was read from it.

use std::collections::HashMap;

use bolero::check;
use fuzz::spelled;
use macp_auth_service::web::request::parse;
use serde_json::value::RawValue;

const DICTIONARY: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\"sender\"",
    "\"scopes\"",
    "\"ttl_seconds\"",
    "\"a\"",
    "null",
    "true",
    "false",
    "-",
    "0",
    "1",
    "9007199254740993",
    "1e400",
    "1e-400",
    "2.0",
    "1e21",
    ".5",
    "\\ud800",
    "\\udc00",
    "\\u0000",
    "\\n",
    "\"__proto__\"",
    "\"$serde_json::private::RawValue\"",
    "{\"sender\":\"a\"",
    "\"scopes\":{",
    "\"ttl_seconds\":",
    "\"sender\":",
    "\u{feff}",
    "\u{85}",
    "[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]",
    " ",
    "\n",
];

fn examine(body: &[u8]) {
    let Ok(request) = parse(body) else {
        return;
    };
    let text = std::str::from_utf8(body).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let members: HashMap<String, &RawValue> = serde_json::from_str(text).unwrap();
    let sender: String = serde_json::from_str(members["sender"].get()).unwrap();
    assert_eq!(request.sender.as_str(), sender);
    let names: Option<HashMap<String, &RawValue>> = members
        .get("scopes")
        .map(|scopes| serde_json::from_str(scopes.get()).unwrap());
    let read = request.scopes.members();
    assert_eq!(read.len(), names.as_ref().map_or(0, HashMap::len));
    assert!(
        read.keys()
            .all(|name| names.as_ref().unwrap().contains_key(name))
    );
    let asked = members.get("ttl_seconds").filter(|ttl| ttl.get() != "null");
    assert_eq!(request.ttl.is_some(), asked.is_some());
}

#[test]
fn near_json() {
    check!()
        .with_iterations(20_000)
        .with_max_len(256)
        .for_each(|bytes| examine(&spelled(bytes, &DICTIONARY)));
}

const NAMES: [&str; 8] = [
    "sender",
    "scopes",
    "ttl_seconds",
    "exp",
    "sender",
    "\\u0073ender",
    "__proto__",
    "",
];
const VALUES: [&str; 32] = [
    "\"a\"",
    "\"\"",
    "\" \"",
    "\"\u{85}\"",
    "\"\u{feff}\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "null",
    "true",
    "false",
    "0",
    "-0.0",
    "1",
    "1e400",
    "1e-400",
    "300",
    "0.4",
    "18446744073709551615",
    "-1",
    "{}",
    "[]",
    "{\"a\":1,\"a\":2}",
    "{\"x\":{\"y\":[2.0,1e21,-0]}}",
    "{\"sub\":\"root\"}",
    "{\"x\":1e400}",
    "[{\"sender\":\"b\"}]",
    "{\"$serde_json::private::RawValue\":\"{}\"}",
    "{\"$serde_json::private::Number\":\"1\"}",
    "1.5",
    "1e2",
    "\"x\"",
    "\"\\u0000\"",
];

#[test]
fn well_formed_bodies_of_strange_members() {
    check!()
        .with_iterations(20_000)
        .with_type::<([(u8, u8); 4], Option<(u16, u8)>)>()
        .for_each(|(members, damage)| {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    format!("\"{}\": {}", one_of(&NAMES, *name), one_of(&VALUES, *value))
                })
                .collect();
            let mut body = format!("{{{}}}", members.join(",")).into_bytes();
            if let Some((at, byte)) = damage {
                let at = usize::from(*at) % body.len();
                body[at] = *byte;
            }
            examine(&body);
        });
}

fn one_of<'a>(all: &[&'a str], chosen: u8) -> &'a str {
    all[usize::from(chosen) % all.len()]
}

#[test]
fn any_bytes() {
    check!().with_iterations(5_000).for_each(examine);
}
