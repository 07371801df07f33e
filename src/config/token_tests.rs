//! Where keys come from: one source, whole tokens, one PIN for each, and URIs that leave no choice open.

use std::path::{Path, PathBuf};

use super::tests::{EC_KEY, LABEL, MODULE, URI, assert_refused, files, parsed};
use super::*;
use crate::keys::pkcs11::uri::UriError;

type UriRow = (&'static str, fn(&UnusableUri) -> bool);

fn token(rows: &[(&str, &str)]) -> Pkcs11Config {
    match parsed(rows).unwrap().config.source {
        KeySource::Pkcs11(token) => *token,
        other => panic!("not a token: {other:?}"),
    }
}

fn only_token(rows: &[(&str, &str)]) -> TokenConfig {
    let [only] = <[TokenConfig; 1]>::try_from(token(rows).tokens).unwrap();
    only
}

fn of_uri(uri: &str) -> TokenConfig {
    only_token(&[(URI, uri)])
}

#[test]
fn the_source_of_keys_follows_the_configuration() {
    let key = ("MACP_AUTH_SIGNING_KEY_JSON", EC_KEY);
    let es256 = ("MACP_AUTH_SIGNING_ALG", "ES256");
    assert!(matches!(
        parsed(&[es256]).unwrap().config.source,
        KeySource::Ephemeral(Algorithm::Es256)
    ));
    assert!(matches!(
        parsed(&[es256, key]).unwrap().config.source,
        KeySource::Env(_)
    ));
    assert_eq!(token(&[MODULE, LABEL]).algorithm, None);
    assert_eq!(
        token(&[MODULE, LABEL, es256]).algorithm,
        Some(Algorithm::Es256)
    );
    assert!(parsed(&[MODULE, LABEL, ("MACP_AUTH_REQUIRE_HSM", "1")]).is_ok());
}

#[test]
fn a_source_that_is_double_forbidden_or_no_key_is_refused() {
    let key = ("MACP_AUTH_SIGNING_KEY_JSON", EC_KEY);
    let es256 = ("MACP_AUTH_SIGNING_ALG", "ES256");
    let hsm = ("MACP_AUTH_REQUIRE_HSM", "1");
    assert_refused(&[
        (
            "pinned and token",
            &[key, es256, MODULE, LABEL],
            key.0,
            |fault| matches!(fault, Fault::Source(SourceFault::PinnedAndToken)),
        ),
        ("pinned, forbidden", &[key, es256, hsm], hsm.0, |fault| {
            matches!(fault, Fault::Source(SourceFault::PinnedForbidden))
        }),
        ("ephemeral, forbidden", &[hsm], hsm.0, |fault| {
            matches!(fault, Fault::Source(SourceFault::EphemeralForbidden))
        }),
        ("other algorithm", &[key], key.0, |fault| {
            matches!(fault, Fault::Source(SourceFault::PinnedKey(_)))
        }),
        ("no JSON", &[(key.0, " ")], key.0, |fault| {
            matches!(fault, Fault::Source(SourceFault::PinnedKey(_)))
        }),
    ]);
}

#[test]
fn half_a_token_is_refused() {
    let pin = ("MACP_AUTH_PKCS11_PIN", "1234-secret");
    let no_module: fn(&Fault) -> bool =
        |fault| matches!(fault, Fault::Token(TokenFault::NoModule { .. }));
    let key_label = ("MACP_AUTH_PKCS11_KEY_LABEL", "macp-jwt");
    let sessions = ("MACP_AUTH_PKCS11_SESSIONS", "2");
    assert_refused(&[
        ("label alone", &[LABEL], MODULE.0, no_module),
        ("PIN alone", &[pin], MODULE.0, no_module),
        ("key label alone", &[key_label], MODULE.0, no_module),
        ("sessions alone", &[sessions], MODULE.0, no_module),
        ("module alone", &[MODULE], MODULE.0, |fault| {
            matches!(fault, Fault::Token(TokenFault::NoToken))
        }),
        (
            "relative",
            &[(MODULE.0, "hsm.so"), LABEL],
            MODULE.0,
            |fault| matches!(fault, Fault::Token(TokenFault::RelativeModule { .. })),
        ),
        (
            "label of 33",
            &[MODULE, (LABEL.0, "123456789012345678901234567890123")],
            LABEL.0,
            |fault| {
                matches!(
                    fault,
                    Fault::Token(TokenFault::TooLong {
                        length: 33,
                        most: 32
                    })
                )
            },
        ),
        (
            "key label with a control character",
            &[MODULE, LABEL, (key_label.0, "a\nb")],
            key_label.0,
            |fault| matches!(fault, Fault::Token(TokenFault::KeyLabel(_))),
        ),
    ]);
}

#[test]
fn one_pin_comes_from_one_place() {
    let (file, pin) = ("MACP_AUTH_PKCS11_PIN_FILE", "MACP_AUTH_PKCS11_PIN");
    let both = [MODULE, LABEL, (file, "/pin"), (pin, "1234-secret")];
    assert_refused(&[
        ("both", &both, pin, |fault| {
            matches!(fault, Fault::Token(TokenFault::TwoPins))
        }),
        (
            "absent file",
            &[MODULE, LABEL, (file, "/absent")],
            file,
            |fault| {
                matches!(
                    fault,
                    Fault::Token(TokenFault::PinFile(PinFileError::Unreadable { .. }))
                )
            },
        ),
        (
            "file open to others",
            &[MODULE, LABEL, (file, "/open")],
            file,
            |fault| {
                matches!(
                    fault,
                    Fault::Token(TokenFault::PinFile(PinFileError::OpenToOthers { .. }))
                )
            },
        ),
        (
            "newline in a PIN",
            &[MODULE, LABEL, (pin, "1234\n")],
            pin,
            |fault| matches!(fault, Fault::Token(TokenFault::Pin(PinDefect::Lines))),
        ),
    ]);
    assert!(matches!(only_token(&[MODULE, LABEL]).pin, PinSource::None));
    assert!(matches!(
        only_token(&[MODULE, LABEL, (file, "/pin")]).pin,
        PinSource::File(path) if path == Path::new("/pin")
    ));
    assert!(matches!(
        only_token(&[MODULE, LABEL, (pin, "1234-secret")]).pin,
        PinSource::Value(pin) if pin.expose() == "1234-secret"
    ));
}

#[test]
fn sessions_follow_the_cores_and_the_queue_follows_the_sessions() {
    let sessions = "MACP_AUTH_PKCS11_SESSIONS";
    for (name, cores, extra, want) in [
        ("cores", 8, &[][..], (8, 512)),
        ("at least two", 1, &[], (2, 128)),
        ("as told", 8, &[(sessions, "1")], (1, 64)),
        (
            "queue as told",
            8,
            &[("MACP_AUTH_QUEUE_LENGTH", "5")],
            (8, 5),
        ),
    ] {
        let vars: Environment = [MODULE, LABEL]
            .into_iter()
            .chain(extra.iter().copied())
            .collect();
        let KeySource::Pkcs11(token) = parse(&vars, &files, cores).unwrap().config.source else {
            panic!("{name}");
        };
        assert_eq!((token.sessions, token.queue_length), want, "{name}");
    }
}

#[test]
fn a_uri_says_which_token_which_key_and_where_the_pin_is() {
    let config = of_uri(
        "pkcs11:token=my%20token;serial=01;manufacturer=M;model=X;slot-id=7\
         ?module-path=/usr/lib/hsm.so&pin-source=file:///run/my%2520pin",
    );

    assert_eq!(config.module, PathBuf::from("/usr/lib/hsm.so"));
    assert_eq!(
        config.token,
        TokenSelector {
            label: Some("my token".into()),
            serial: Some("01".into()),
            manufacturer: Some("M".into()),
            model: Some("X".into()),
            slot_id: Some(7),
        }
    );
    assert_eq!(
        config.keys,
        KeySelector::Prefix(LabelPrefix::new("macp-jwt").unwrap())
    );
    assert!(matches!(config.pin, PinSource::File(path) if path == Path::new("/run/my pin")));

    let fixed = of_uri("pkcs11:token=a;object=k;id=%01%ff;type=private?module-path=/m&pin-value=1");
    assert_eq!(
        fixed.keys,
        KeySelector::Fixed {
            label: Some("k".into()),
            id: Some(vec![1, 0xff])
        }
    );
    assert!(matches!(fixed.pin, PinSource::Value(_)));
}

#[test]
fn a_pin_source_is_a_path_or_a_file_uri_and_never_a_command() {
    for source in ["/pin", "file:/pin", "FILE:///pin", "file://localhost/pin"] {
        let config = of_uri(&format!(
            "pkcs11:token=a?module-path=/m&pin-source={source}"
        ));
        assert!(matches!(config.pin, PinSource::File(path) if path == Path::new("/pin")));
    }
    use UnusableUri as U;
    let rows: [UriRow; 7] = [
        ("|/bin/cat%20/pin", |fault| matches!(fault, U::PinCommand)),
        ("%7C/bin/cat", |fault| matches!(fault, U::PinCommand)),
        ("https://host/pin", |fault| matches!(fault, U::PinElsewhere)),
        ("file://host/pin", |fault| matches!(fault, U::PinElsewhere)),
        ("pin", |fault| matches!(fault, U::Relative { .. })),
        ("", |fault| matches!(fault, U::Empty { .. })),
        ("/open", |fault| matches!(fault, U::PinFile(_))),
    ];
    for (source, expected) in rows {
        let uri = format!("pkcs11:token=a?module-path=/m&pin-source={source}");
        let report = parsed(&[(URI, &uri)]).unwrap_err();
        assert!(
            matches!(&report.problems[..], [Problem { fault: Fault::Token(TokenFault::UnusableUri(fault)), .. }] if expected(fault)),
            "{report}"
        );
    }
}

#[test]
fn a_uri_that_leaves_the_choice_open_is_refused() {
    use UnusableUri as U;
    let rows: [UriRow; 11] = [
        ("pkcs11:token=a", |fault| matches!(fault, U::NoModule)),
        ("pkcs11:token=a?module-name=hsm", |fault| {
            matches!(fault, U::ModuleName)
        }),
        ("pkcs11:token=a?module-path=hsm.so", |fault| {
            matches!(fault, U::Relative { .. })
        }),
        ("pkcs11:?module-path=/m", |fault| {
            matches!(fault, U::NoToken)
        }),
        ("pkcs11:slot-id=1;model=x?module-path=/m", |fault| {
            matches!(fault, U::NoToken)
        }),
        ("pkcs11:token=?module-path=/m", |fault| {
            matches!(fault, U::Empty { .. })
        }),
        ("pkcs11:token=a;id=?module-path=/m", |fault| {
            matches!(fault, U::Empty { .. })
        }),
        ("pkcs11:serial=12345678901234567?module-path=/m", |fault| {
            matches!(fault, U::TooLong { .. })
        }),
        ("pkcs11:token=a;type=cert?module-path=/m", |fault| {
            matches!(fault, U::NotPrivate)
        }),
        (
            "pkcs11:token=a;slot-description=x?module-path=/m",
            |fault| matches!(fault, U::NotCompared { .. }),
        ),
        ("pkcs11:token=a?module-path=/m&pin-value=", |fault| {
            matches!(fault, U::PinValue(PinDefect::Empty))
        }),
    ];
    for (uri, expected) in rows {
        let report = parsed(&[(URI, uri)]).unwrap_err();
        assert!(
            matches!(&report.problems[..], [Problem { fault: Fault::Token(TokenFault::UnusableUri(fault)), .. }] if expected(fault)),
            "{uri}: {report}"
        );
    }
}

const TWO: &str =
    "pkcs11:token=a?module-path=/m&pin-value=own\n pkcs11:token=b;object=k?module-path=/m";

#[test]
fn several_uris_are_several_tokens_and_the_variables_serve_those_without() {
    let tokens = token(&[
        (URI, TWO),
        ("MACP_AUTH_STATE_DIR", "/state"),
        ("MACP_AUTH_PKCS11_PIN_FILE", "/pin"),
    ])
    .tokens;

    assert!(matches!(&tokens[0].pin, PinSource::Value(pin) if pin.expose() == "own"));
    assert!(matches!(&tokens[1].pin, PinSource::File(path) if path == Path::new("/pin")));
    assert!(matches!(tokens[0].keys, KeySelector::Prefix(_)));
    assert!(matches!(tokens[1].keys, KeySelector::Fixed { .. }));
    assert_eq!(tokens.len(), 2);
}

#[test]
fn a_uri_stands_alone() {
    const GOOD: &str = "pkcs11:token=a?module-path=/m";
    let beside: fn(&Fault) -> bool = |fault| matches!(fault, Fault::Token(TokenFault::BesideUri));
    let serial = "MACP_AUTH_PKCS11_TOKEN_SERIAL";
    assert_refused(&[
        ("module", &[(URI, GOOD), MODULE], MODULE.0, beside),
        ("label", &[(URI, GOOD), LABEL], LABEL.0, beside),
        ("serial", &[(URI, GOOD), (serial, "1")], serial, beside),
        ("two URIs without a memory", &[(URI, TWO)], URI, |fault| {
            matches!(fault, Fault::Token(TokenFault::SeveralWithoutState))
        }),
        (
            "one token twice",
            &[
                (
                    URI,
                    "pkcs11:token=a?module-path=/m pkcs11:token=a;object=k?module-path=/m",
                ),
                ("MACP_AUTH_STATE_DIR", "/state"),
            ],
            URI,
            |fault| matches!(fault, Fault::Token(TokenFault::SameTokenTwice)),
        ),
        (
            "a state directory that is no place",
            &[(URI, GOOD), ("MACP_AUTH_STATE_DIR", "state")],
            "MACP_AUTH_STATE_DIR",
            |fault| matches!(fault, Fault::RelativePath { .. }),
        ),
        ("no URI", &[(URI, "token=a")], URI, |fault| {
            matches!(fault, Fault::Token(TokenFault::Uri(UriError::Scheme)))
        }),
    ]);
    assert!(
        parsed(&[
            (URI, GOOD),
            ("MACP_AUTH_PKCS11_PIN_FILE", "/pin"),
            ("MACP_AUTH_PKCS11_KEY_LABEL", "k")
        ])
        .is_ok()
    );
}
