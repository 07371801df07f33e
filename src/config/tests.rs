//! What the environment as a whole gives: defaults, warnings, one report of all problems, and no secret in any of them.
//!
//! Single values stand in value_tests.rs, tokens in token_tests.rs, rotation in rotation_tests.rs and rotation_sums_tests.rs.
//! One table a subject: the environment, the variable at fault, and the fault.

use std::path::Path;

use super::*;

pub(super) type Row<'a> = (
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a str,
    fn(&Fault) -> bool,
);

/// P-256, made for this test.
pub(super) const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}"#;
pub(super) const MODULE: (&str, &str) = ("MACP_AUTH_PKCS11_MODULE", "/usr/lib/hsm.so");
pub(super) const LABEL: (&str, &str) = ("MACP_AUTH_PKCS11_TOKEN_LABEL", "macp");
pub(super) const URI: &str = "MACP_AUTH_PKCS11_URI";
pub(super) const UNSAFE: (&str, &str) = ("MACP_AUTH_ROTATION_UNSAFE", "1");

fn vars(rows: &[(&str, &str)]) -> Environment {
    rows.iter().copied().collect()
}

/// `/pin` holds a PIN, `/open` is open to others, anything else is absent.
pub(super) fn files(path: &Path) -> Result<Pin, PinFileError> {
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
