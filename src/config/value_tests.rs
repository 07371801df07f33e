//! One value at a time: what each form of setting takes, what it refuses, and that no text makes the parser panic.

use proptest::prelude::*;

use super::settings::{Form, SETTINGS};
use super::tests::{LABEL, MODULE, UNSAFE, assert_refused, files, parsed};
use super::*;

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
