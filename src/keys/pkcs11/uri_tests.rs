//! PKCS#11 URIs: the whole grammar is read, everything else refused, what is written is read back, and no PIN is shown.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn the_examples_of_the_rfc_are_read() {
    let uri = Pkcs11Uri::parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
         object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
    )
    .unwrap();

    for (attribute, want) in [
        (A::Token, "The Software PKCS#11 Softtoken"),
        (A::Manufacturer, "Snake Oil, Inc."),
        (A::Model, "1.0"),
        (A::Object, "my-certificate"),
        (A::Type, "cert"),
        (A::Serial, ""),
        (A::PinSource, "file:/etc/token_pin"),
    ] {
        assert_eq!(uri.text(attribute), Some(want), "{attribute}");
    }
    assert_eq!(uri.id(), Some(&b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91"[..]));
}

#[test]
fn every_part_of_the_grammar_is_accepted() {
    for (name, text, written) in [
        ("empty path", "pkcs11:", "pkcs11:"),
        ("empty query", "pkcs11:?", "pkcs11:"),
        ("scheme in capitals", "PKCS11:token=a", "pkcs11:token=a"),
        (
            "query alone",
            "pkcs11:?module-name=p11",
            "pkcs11:?module-name=p11",
        ),
        (
            "ampersand in the path",
            "pkcs11:token=a&b",
            "pkcs11:token=a&b",
        ),
        (
            "slash, question mark and bar in the query",
            "pkcs11:?module-path=/a?b|c",
            "pkcs11:?module-path=/a?b|c",
        ),
        ("equals in a value", "pkcs11:token==", "pkcs11:token=%3D"),
        ("small hex", "pkcs11:token=%c3%a9", "pkcs11:token=%C3%A9"),
        (
            "needless escapes",
            "pkcs11:token=%61?module-path=%2fb",
            "pkcs11:token=a?module-path=/b",
        ),
        (
            "library and slot",
            "pkcs11:slot-id=7;library-version=3.1",
            "pkcs11:library-version=3.1;slot-id=7",
        ),
        (
            "vendor attribute in the query",
            "pkcs11:token=a?x-y=1&x-y=2",
            "pkcs11:token=a",
        ),
    ] {
        let uri = Pkcs11Uri::parse(text);
        assert_eq!(
            uri.map(|uri| uri.to_string()),
            Ok(written.to_owned()),
            "{name}"
        );
    }
}

fn assert_refused(rows: &[(&str, UriError)]) {
    for (text, want) in rows {
        assert_eq!(Pkcs11Uri::parse(text).err().as_ref(), Some(want), "{text}");
    }
}

#[test]
fn what_is_no_list_of_known_attributes_is_refused() {
    let no_equals = |half, position| UriError::NoEquals { half, position };
    let unknown = |name: &str, nearest| {
        let name = name.to_owned();
        UriError::Unknown { name, nearest }
    };
    let beside_pin = UriError::UnknownBesidePin {
        half: Half::Query,
        position: 1,
    };
    assert_refused(&[
        ("", UriError::Scheme),
        ("pkcs11", UriError::Scheme),
        ("\"pkcs11:token=a\"", UriError::Scheme),
        ("pkcs12:token=a", UriError::Scheme),
        ("pkcs11:token", no_equals(Half::Path, 1)),
        ("pkcs11:token=a;", no_equals(Half::Path, 2)),
        ("pkcs11:?module-path=/a&b", no_equals(Half::Query, 2)),
        ("pkcs11:tokn=a", unknown("tokn", Some(A::Token))),
        ("pkcs11:Token=a", unknown("Token", Some(A::Token))),
        ("pkcs11:x-vendor=a", unknown("x-vendor", None)),
        ("pkcs11:object-type=private", unknown("object-type", None)),
        ("pkcs11:?pin-souce=/a", beside_pin),
    ]);
}

#[test]
fn an_attribute_stands_once_and_in_its_own_half() {
    let misplaced = |attribute| UriError::Misplaced { attribute };
    let duplicate = |attribute| UriError::Duplicate { attribute };
    assert_refused(&[
        ("pkcs11:token=a;pin-value=1", misplaced(A::PinValue)),
        ("pkcs11:?token=a", misplaced(A::Token)),
        ("pkcs11:token=a&pin-value=1", misplaced(A::PinValue)),
        (
            "pkcs11:?module-path=/m?pin-source=/p",
            misplaced(A::PinSource),
        ),
        ("pkcs11:token=a;token=a", duplicate(A::Token)),
        ("pkcs11:id=%01;id=%01", duplicate(A::Id)),
        ("pkcs11:?pin-value=1&pin-value=1", duplicate(A::PinValue)),
        ("pkcs11:?pin-value=1&pin-source=/a", UriError::TwoPins),
    ]);
}

#[test]
fn a_value_that_its_attribute_cannot_have_is_refused() {
    let character = |attribute| UriError::Character { attribute };
    let percent = |attribute| UriError::Percent { attribute };
    let not_utf8 = |attribute| UriError::NotUtf8 { attribute };
    let nul = |attribute| UriError::Nul { attribute };
    let number = |attribute| UriError::Number { attribute };
    assert_refused(&[
        ("pkcs11:token=a b", character(A::Token)),
        ("pkcs11:token=\u{e9}", character(A::Token)),
        ("pkcs11:token=a/b", character(A::Token)),
        ("pkcs11:?module-path=/m;x", character(A::ModulePath)),
        ("pkcs11:token=%4", percent(A::Token)),
        ("pkcs11:token=%+4", percent(A::Token)),
        ("pkcs11:token=%ff", not_utf8(A::Token)),
        ("pkcs11:?pin-value=1%00", nul(A::PinValue)),
        ("pkcs11:slot-id=0x1", number(A::SlotId)),
        ("pkcs11:slot-id=99999999999999999999", number(A::SlotId)),
        ("pkcs11:library-version=3.", UriError::Version),
        ("pkcs11:type=key", UriError::Type),
    ]);
}

fn any_uri() -> impl Strategy<Value = Pkcs11Uri> {
    let attribute = proptest::sample::select(ATTRIBUTES.to_vec());
    let value = vec(any::<char>(), 0..12).prop_map(String::from_iter);
    vec((attribute, value, 0u64.., vec(any::<u8>(), 0..20)), 0..12).prop_map(|parts| {
        let mut uri = Pkcs11Uri::default();
        for (attribute, text, number, id) in parts {
            let value = match attribute {
                A::Id => id,
                A::SlotId => number.to_string().into_bytes(),
                A::LibraryVersion => format!("{number}.0").into_bytes(),
                A::Type => b"private".to_vec(),
                A::PinSource => continue,
                _ => text.replace('\0', "").into_bytes(),
            };
            uri = uri.clone().with(attribute, &value).unwrap_or(uri);
        }
        uri
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(uri in any_uri()) {
        let again = Pkcs11Uri::parse(&uri.expose()).unwrap();

        prop_assert_eq!(&again.texts, &uri.texts);
        prop_assert_eq!(again.id(), uri.id());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(pkcs11:)?[a-z%=;&?:/0-9|é\\-]{0,60}") {
        let _ignored = Pkcs11Uri::parse(&text);
    }

    #[test]
    fn a_pin_reaches_neither_messages_nor_debug(inside in any::<String>(), separator in "[?&;]") {
        let text = format!("pkcs11:token=a{separator}pin-value=Zq9{inside}Zq9=Zq9");
        let shown = match Pkcs11Uri::parse(&text) {
            Ok(uri) => format!("{uri} {uri:?}"),
            Err(error) => format!("{error} {error:?}"),
        };

        prop_assert!(!shown.contains("Zq9"), "{}", shown);
    }
}
