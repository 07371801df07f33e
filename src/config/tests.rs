//! One table a subject: the environment, the variable at fault, and the fault.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::settings::{Form, SETTINGS};
use super::*;
use crate::keys::pkcs11::uri::UriError;

pub(super) type Row<'a> = (
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a str,
    fn(&Fault) -> bool,
);

type UriRow = (&'static str, fn(&UnusableUri) -> bool);

/// P-256, made for this test.
const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}"#;
pub(super) const MODULE: (&str, &str) = ("MACP_AUTH_PKCS11_MODULE", "/usr/lib/hsm.so");
pub(super) const LABEL: (&str, &str) = ("MACP_AUTH_PKCS11_TOKEN_LABEL", "macp");
pub(super) const URI: &str = "MACP_AUTH_PKCS11_URI";
pub(super) const UNSAFE: (&str, &str) = ("MACP_AUTH_ROTATION_UNSAFE", "1");

fn vars(rows: &[(&str, &str)]) -> Environment {
    rows.iter().copied().collect()
}

/// `/pin` holds a PIN, `/open` is open to others, anything else is absent.
fn files(path: &Path) -> Result<Pin, PinFileError> {
    let path = path.to_owned();
    match path.to_str() {
        Some("/pin" | "/run/my pin") => Ok(Pin::new("1234-secret".into())),
        Some("/open") => Err(PinFileError::OpenToOthers { path, mode: 0o644 }),
        _ => Err(PinFileError::Unreadable {
            path,
            source: std::io::ErrorKind::NotFound.into(),
        }),
    }
}

pub(super) fn parsed(rows: &[(&str, &str)]) -> Result<Parsed, Report> {
    parse(&vars(rows), &files, 4)
}

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

/// Exactly this one problem.
pub(super) fn assert_refused(rows: &[Row<'_>]) {
    for (name, env, variable, expected) in rows {
        let report = parsed(env).expect_err(name);
        let found: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(report.problems[0].name, *variable, "{name}: {found:?}");
        assert!(expected(&report.problems[0].fault), "{name}: {found:?}");
    }
}

#[test]
fn nothing_set_is_the_node_services_default() {
    let config = parsed(&[]).unwrap().config;

    assert_eq!(config.listen.port, 3200);
    assert_eq!(config.listen.address, BindAddress::Loopback);
    assert_eq!(config.listen.max_connections, 1024);
    assert_eq!(config.claims.issuer, "macp-auth-service");
    assert_eq!(config.claims.audience, "macp-runtime");
    assert_eq!(config.claims.max_ttl, 3600);
    assert_eq!(config.claims.default_ttl, 300);
    assert_eq!(config.sign_timeout, Duration::from_secs(3));
    assert_eq!(config.jwks_max_age, Duration::from_secs(60));
    assert_eq!(config.log, None);
    assert!(matches!(
        config.source,
        KeySource::Ephemeral(Algorithm::Rs256)
    ));
}

#[test]
fn a_number_has_to_be_whole_decimal_and_in_its_range() {
    let bounds = SETTINGS.iter().filter_map(|setting| match setting.form {
        Form::Number { least, most, .. } => Some((setting.name, least, most)),
        _ => None,
    });
    for (name, least, most) in bounds {
        let beyond = (most + 1).to_string();
        for bad in [
            "x", "-1", "+5", "1e2", "120.0", "1_0", "0x10", " ", "５", "1 2", &beyond,
        ] {
            assert_refused(&[(bad, &[MODULE, LABEL, (name, bad)], name, |fault| {
                matches!(fault, Fault::Number { .. })
            })]);
        }
        for good in [least, most] {
            assert!(
                parsed_with_token(name, &good.to_string()).is_ok(),
                "{name}={good}"
            );
        }
        if least > 0 {
            let below = (least - 1).to_string();
            assert_refused(
                &[("below", &[MODULE, LABEL, (name, &below)], name, |fault| {
                    matches!(fault, Fault::Number { .. })
                })],
            );
        }
    }
}

/// The token's own numbers need a token, and the ends of a range need no sum to hold.
fn parsed_with_token(name: &str, value: &str) -> Result<Parsed, Report> {
    parsed(&[MODULE, LABEL, UNSAFE, (name, value)])
}

#[test]
fn spaces_around_a_number_are_fine_except_in_the_port() {
    let ttl = parsed(&[("MACP_AUTH_MAX_TTL_SECONDS", " 0900\t")]).unwrap();
    assert_eq!(ttl.config.claims.max_ttl, 900);

    assert_refused(&[("spaces", &[("PORT", " 3200")], "PORT", |fault| {
        matches!(fault, Fault::Number { .. })
    })]);
}

#[test]
fn an_empty_value_is_a_problem_but_an_empty_pinned_key_is_none() {
    for setting in SETTINGS {
        let result = parsed(&[(setting.name, "")]);
        match setting.form {
            Form::Jwk => assert!(result.is_ok(), "{}", setting.name),
            _ if setting.name == "MACP_AUTH_SIGNING_ALG" => {
                let text = result.unwrap_err().to_string();
                assert!(text.ends_with("MACP_AUTH_SIGNING_ALG must be RS256 or ES256 (got \"\")"));
            }
            _ => {
                let report = result.unwrap_err();
                let empty = report
                    .problems
                    .iter()
                    .filter(|problem| matches!(problem.fault, Fault::Empty))
                    .count();
                assert_eq!(empty, 1, "{report}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_utf8_is_a_problem_of_every_variable() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    for setting in SETTINGS {
        let vars: Environment = [(setting.name, OsString::from_vec(b"\xffsecret".to_vec()))]
            .into_iter()
            .collect();
        let report = parse(&vars, &files, 4).unwrap_err();

        assert!(
            report
                .problems
                .iter()
                .any(|problem| matches!(problem.fault, Fault::NotUtf8)),
            "{report}"
        );
        assert!(!report.to_string().contains("secret"), "{report}");
    }
}

#[test]
fn every_choice_of_the_table_is_taken_and_nothing_else() {
    for setting in SETTINGS {
        let values: &[&str] = match setting.form {
            Form::Choice(choices) => choices,
            Form::Switch => &["1", "0", "true", "false"],
            _ => continue,
        };
        for value in values {
            assert!(
                parsed_with_token(setting.name, value).is_ok(),
                "{}={value}",
                setting.name
            );
        }
        for bad in ["yes", "HS256", "rs256", "STRICT", " 1", "2"] {
            assert_refused(&[(
                bad,
                &[MODULE, LABEL, (setting.name, bad)],
                setting.name,
                |fault| {
                    matches!(
                        fault,
                        Fault::Choice { .. } | Fault::Switch { .. } | Fault::Algorithm { .. }
                    )
                },
            )]);
        }
    }
}

#[test]
fn the_message_for_the_algorithm_is_the_node_services() {
    let report = parsed(&[("MACP_AUTH_SIGNING_ALG", "HS\"256\n")]).unwrap_err();

    assert_eq!(
        report.to_string(),
        "the configuration has a problem:\n  \
         MACP_AUTH_SIGNING_ALG must be RS256 or ES256 (got \"HS\\\"256\\n\")"
    );
}

#[test]
fn a_bind_address_is_loopback_or_allowed_by_name() {
    let bind = "MACP_AUTH_BIND_ADDR";
    let open: fn(&Fault) -> bool = |fault| matches!(fault, Fault::OpenToAll { .. });
    let none: fn(&Fault) -> bool = |fault| matches!(fault, Fault::Address { .. });
    assert_refused(&[
        ("any", &[(bind, "0.0.0.0")], bind, open),
        ("any of IPv6", &[(bind, "::")], bind, open),
        ("private", &[(bind, "10.0.0.1")], bind, open),
        ("mapped", &[(bind, "::ffff:10.0.0.1")], bind, open),
        (
            "switch off",
            &[(bind, "0.0.0.0"), ("MACP_AUTH_ALLOW_ANONYMOUS", "0")],
            bind,
            open,
        ),
        ("with a port", &[(bind, "127.0.0.1:3200")], bind, none),
        ("a name", &[(bind, "example.org")], bind, none),
    ]);
    for (text, want) in [
        ("localhost", BindAddress::Loopback),
        ("127.0.0.2", BindAddress::One([127, 0, 0, 2].into())),
        (
            "[::1]",
            BindAddress::One(std::net::Ipv6Addr::LOCALHOST.into()),
        ),
        (
            "::ffff:127.0.0.1",
            BindAddress::One("::ffff:127.0.0.1".parse().unwrap()),
        ),
    ] {
        let config = parsed(&[(bind, text)]).unwrap().config;
        assert_eq!(config.listen.address, want, "{text}");
    }
    let allowed = parsed(&[(bind, "0.0.0.0"), ("MACP_AUTH_ALLOW_ANONYMOUS", "1")]).unwrap();
    assert_eq!(
        allowed.config.listen.address,
        BindAddress::One([0, 0, 0, 0].into())
    );
}

#[test]
fn a_log_filter_that_cannot_be_read_stops_the_start() {
    assert_refused(&[(
        "bad level",
        &[("MACP_AUTH_LOG", "macp=loud")],
        "MACP_AUTH_LOG",
        |fault| matches!(fault, Fault::LogFilter { .. }),
    )]);
    for bad in ["info, hyper=warn", " \u{e9}=", "caf\u{e9}=debug"] {
        assert_refused(
            &[(bad, &[("MACP_AUTH_LOG", bad)], "MACP_AUTH_LOG", |fault| {
                matches!(fault, Fault::LogFilterCharacter { .. })
            })],
        );
    }
    for bad in [
        "inof",
        "info,hyper",
        "debgu,macp_auth_service=debug",
        "macp_auth_services",
    ] {
        assert_refused(
            &[(bad, &[("MACP_AUTH_LOG", bad)], "MACP_AUTH_LOG", |fault| {
                matches!(fault, Fault::LogFilterWord { .. })
            })],
        );
    }
    for good in [
        "off",
        "ERROR",
        "3",
        "hyper=warn",
        "trace,",
        "macp_auth_service",
        "macp_auth_service::web",
        "warn,macp_auth_service[mint]=debug",
    ] {
        let accepted = parsed(&[("MACP_AUTH_LOG", good)]);
        assert_eq!(accepted.unwrap().config.log.as_deref(), Some(good));
    }
    let config = parsed(&[("MACP_AUTH_LOG", "warn,macp_auth_service=debug")]).unwrap();
    assert_eq!(
        config.config.log.as_deref(),
        Some("warn,macp_auth_service=debug")
    );
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

#[test]
fn a_misspelt_or_reserved_name_stops_the_start() {
    for (name, want) in [
        ("MACP_AUTH_PKCS11_MODUL", "MACP_AUTH_PKCS11_MODULE"),
        ("MACP_AUTH_PKSC11_MODULE", "MACP_AUTH_PKCS11_MODULE"),
        ("MACP_AUTH_PKCS11_PINFILE", "MACP_AUTH_PKCS11_PIN_FILE"),
        ("MACP_AUTH_PKCS11_QUEUE_LENGTH", "MACP_AUTH_QUEUE_LENGTH"),
        ("MACP_AUTH_TOKEN_LABEL", "MACP_AUTH_PKCS11_TOKEN_LABEL"),
        ("MACP_AUTH_PIN", "MACP_AUTH_PKCS11_PIN"),
    ] {
        for value in ["x", ""] {
            let report = parsed(&[MODULE, LABEL, (name, value)]).unwrap_err();
            assert!(
                matches!(
                    &report.problems[..],
                    [Problem { name: found, fault: Fault::Unknown { nearest } }]
                    if found == name && *nearest == want
                ),
                "{report}"
            );
        }
        assert!(parsed(&[(name, "x")]).is_err(), "{name} alone");
    }
    for name in settings::NOT_BUILT {
        assert_refused(&[(name, &[(name, "x")], name, |fault| {
            matches!(fault, Fault::NotBuilt)
        })]);
    }
}

#[test]
fn a_token_and_the_names_of_the_runtime_are_no_cause_for_a_warning() {
    assert_eq!(
        parsed(&[MODULE, LABEL]).unwrap().warnings,
        Vec::<String>::new()
    );
    for name in settings::OF_THE_RUNTIME {
        let vars = [MODULE, LABEL, (name, "x")];
        assert_eq!(parsed(&vars).unwrap().warnings, Vec::<String>::new());
    }
}

#[test]
fn what_an_operator_should_know_is_one_warning_each() {
    let anonymous = [
        MODULE,
        LABEL,
        ("MACP_AUTH_BIND_ADDR", "0.0.0.0"),
        ("MACP_AUTH_ALLOW_ANONYMOUS", "1"),
    ];
    let pinned = [
        ("MACP_AUTH_SIGNING_ALG", "ES256"),
        ("MACP_AUTH_SIGNING_KEY_JSON", EC_KEY),
    ];
    let rows: [(&[(&str, &str)], &str); 11] = [
        (&[], "ephemeral key"),
        (&pinned, "MACP_AUTH_SIGNING_KEY_JSON"),
        (
            &[MODULE, LABEL, ("MACP_AUTH_PKCS11_PIN", "1234-secret")],
            "MACP_AUTH_PKCS11_PIN_FILE",
        ),
        (
            &[(URI, "pkcs11:token=a?module-path=/m&pin-value=1234-secret")],
            "pin-value",
        ),
        (
            &[(URI, "pkcs11:token=a;library-version=2?module-path=/m")],
            "library-",
        ),
        (&anonymous, "0.0.0.0"),
        (
            &[
                MODULE,
                LABEL,
                ("MACP_AUTH_MAX_TTL_SECONDS", "59"),
                ("MACP_AUTH_DEFAULT_TTL_SECONDS", "59"),
            ],
            "at least 60",
        ),
        (
            &[MODULE, LABEL, ("MACP_AUTH_DEFAULT_TTL_SECONDS", "3601")],
            "3601",
        ),
        (
            &[MODULE, LABEL, ("MACP_AUTH_ISSUR", "x")],
            "Is MACP_AUTH_ISSUER meant?",
        ),
        (
            &[MODULE, LABEL, ("MACP_AUTH_SERVICE_PORT_HTTP", "1")],
            "MACP_AUTH_SERVICE_PORT_HTTP",
        ),
        (&[MODULE, LABEL, ("MACP_AUTH_X", "1")], "MACP_AUTH_X "),
    ];
    for (vars, want) in rows {
        let warnings = parsed(vars).unwrap().warnings;
        assert!(
            matches!(&warnings[..], [one] if one.contains(want)),
            "{want}: {warnings:?}"
        );
        assert!(!format!("{warnings:?}").contains("secret"));
    }
}

#[test]
fn a_setting_of_a_token_without_one_is_said_to_have_no_effect() {
    let idle = parsed(&[
        ("MACP_AUTH_KEY_POLICY", "warn"),
        ("MACP_AUTH_QUEUE_LENGTH", "9"),
        ("MACP_AUTH_KEY_SCHEDULE_FILE", "/schedule.toml"),
    ]);
    assert_eq!(idle.unwrap().warnings.len(), 4);
}

#[test]
fn issuer_and_audience_are_text_that_shows() {
    for name in ["MACP_AUTH_ISSUER", "MACP_AUTH_AUDIENCE"] {
        for bad in ["macp\n", "a\tb", "\u{1b}[2Jme", "me\u{9b}"] {
            assert_refused(&[(bad, &[(name, bad)], name, |fault| {
                matches!(fault, Fault::ControlCharacter { .. })
            })]);
        }
        for blank in [" ", "   ", "\u{a0}"] {
            assert_refused(&[(blank, &[(name, blank)], name, |fault| {
                matches!(fault, Fault::Blank { .. })
            })]);
        }
        for good in ["zürich auth", "https://auth.example/", "鍵"] {
            assert!(parsed(&[(name, good)]).is_ok(), "{good}");
        }
    }
}

#[test]
fn every_problem_is_in_one_report() {
    let report = parsed(&[
        ("PORT", "http"),
        ("MACP_AUTH_ISSUER", ""),
        ("MACP_AUTH_SIGNING_ALG", "none"),
        ("MACP_AUTH_PKCS11_TOKEN_LABEL", "macp"),
        ("MACP_AUTH_PKCS11_PIN_FILE", "/absent"),
        ("MACP_AUTH_TLS_PORT", "1"),
    ])
    .unwrap_err();

    let text = report.to_string();
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(
        text.starts_with("the configuration has 6 problems:\n"),
        "{text}"
    );
}

#[test]
fn no_secret_reaches_a_message_or_debug() {
    let pin = ("MACP_AUTH_PKCS11_PIN", "1234-secret");
    let uri = "pkcs11:token=a?module-path=/m&pin-value=1234-secret";
    let key = (
        "MACP_AUTH_SIGNING_KEY_JSON",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"d\":\"1234-secret\"}",
    );
    for rows in [
        &[MODULE, LABEL, pin][..],
        &[(URI, uri)],
        &[(URI, uri), pin, key],
        &[key],
        &[(URI, "pkcs11:token=a;pin-value=1234-secret")],
        &[(URI, "pkcs11:token=a?pin-value=1234-secret%")],
        &[(URI, "pkcs11:token=a?pin-value=x&1234-secret=1")],
        &[(URI, "pkcs11:token=a?pin-value=x 1234-secret")],
    ] {
        let shown = match parsed(rows) {
            Ok(parsed) => format!("{parsed:?}"),
            Err(report) => format!("{report} {report:?}"),
        };
        assert!(!shown.contains("1234-secret"), "{shown}");
    }
}

proptest! {
    #[test]
    fn a_ttl_in_its_range_is_read_exactly(ttl in 1u64..=31_536_000, zeros in 0usize..4, spaces in " {0,3}") {
        let text = format!("{spaces}{}{ttl}{spaces}", "0".repeat(zeros));
        let config = parsed(&[("MACP_AUTH_MAX_TTL_SECONDS", &text)]).unwrap().config;

        prop_assert_eq!(config.claims.max_ttl, ttl);
    }

    #[test]
    fn no_value_of_any_variable_makes_the_parser_panic(
        values in proptest::collection::vec((0..SETTINGS.len(), "[ -~é\n]{0,20}"), 0..6),
    ) {
        let vars = values.iter().map(|(index, value)| (SETTINGS[*index].name, value)).collect();

        if let Err(report) = parse(&vars, &files, 4) {
            prop_assert_eq!(report.to_string().lines().count(), report.problems.len() + 1);
        }
    }
}
