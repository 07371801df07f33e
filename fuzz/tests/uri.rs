//! PKCS#11 URIs: no panic, what is accepted is read again from what it writes, and no PIN is shown.

use bolero::check;
use fuzz::spelled;
use macp_auth_service::keys::pkcs11::uri::{Attribute, Pkcs11Uri};

const DICTIONARY: [&str; 44] = [
    "pkcs11:",
    ";",
    "?",
    "&",
    "=",
    "%",
    "%00",
    "%3B",
    "%3f",
    "%26",
    "%3D",
    "%25",
    "%70in-value=",
    "%C3%A4",
    "%ff",
    "token=",
    "manufacturer=",
    "serial=",
    "model=",
    "library-manufacturer=",
    "library-version=",
    "library-description=",
    "object=",
    "type=",
    "id=",
    "slot-manufacturer=",
    "slot-description=",
    "slot-id=",
    "pin-source=",
    "pin-value=",
    "module-name=",
    "module-path=",
    "x-own=",
    "a",
    "Z",
    "0",
    "18446744073709551616",
    "2.20",
    "private",
    "file:",
    "|cat",
    "/usr/lib/x.so",
    " ",
    "\u{e4}",
];

/// Stands in no other place of a URI than its PIN.
const PIN: &str = "QQ4711QQ";

fn examine(text: &str) {
    let Ok(uri) = Pkcs11Uri::parse(text) else {
        return;
    };
    let written = uri.expose();
    let again = Pkcs11Uri::parse(&written)
        .unwrap_or_else(|error| panic!("{text:?} -> {written:?}: {error}", written = *written));
    assert_eq!(*again.expose(), *written, "{text:?}");
    assert_eq!(again.id(), uri.id(), "{text:?}");
    assert_eq!(again.slot_id(), uri.slot_id(), "{text:?}");
    for attribute in [
        Attribute::Token,
        Attribute::Object,
        Attribute::ModulePath,
        Attribute::PinValue,
        Attribute::PinSource,
    ] {
        assert_eq!(again.text(attribute), uri.text(attribute), "{text:?}");
    }
}

#[test]
fn near_the_grammar() {
    check!()
        .with_iterations(20_000)
        .with_max_len(64)
        .for_each(|bytes| {
            let mut text = b"pkcs11:".to_vec();
            text.extend(spelled(bytes, &DICTIONARY));
            examine(&String::from_utf8_lossy(&text));
        });
}

#[test]
fn any_text() {
    check!()
        .with_iterations(5_000)
        .for_each(|bytes| examine(&String::from_utf8_lossy(bytes)));
}

#[test]
fn no_pin_in_what_is_shown() {
    check!()
        .with_iterations(20_000)
        .with_max_len(32)
        .for_each(|bytes| {
            let around = String::from_utf8_lossy(&spelled(bytes, &DICTIONARY)).into_owned();
            let (before, after) = around.split_at(
                around
                    .char_indices()
                    .nth(8)
                    .map_or(around.len(), |(at, _)| at),
            );
            let text = format!("pkcs11:{before}?pin-value={PIN}{after}");
            let shown = match Pkcs11Uri::parse(&text) {
                Ok(uri) => format!("{uri} {uri:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(PIN), "{text:?}: {shown}");
        });
}
