//! What configuration is refused: exit code 1, nothing on stdout, every problem at once, each by its variable's name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::vectors::RFC7515_A3_KEY;
use crate::harness::{Launch, SoftHsm};

#[test]
fn a_bad_value_is_refused_by_the_name_of_its_variable() {
    let empty_too = [
        "PORT",
        "MACP_AUTH_ISSUER",
        "MACP_AUTH_AUDIENCE",
        "MACP_AUTH_MAX_TTL_SECONDS",
        "MACP_AUTH_DEFAULT_TTL_SECONDS",
        "MACP_AUTH_SIGNING_ALG",
        "MACP_AUTH_BIND_ADDR",
    ];
    let ttl = [
        "0",
        "-1",
        "+5",
        "1e2",
        "120.0",
        "1.5",
        "0x10",
        "abc",
        "NaN",
        "31536001",
        "99999999999999999999",
        "1 2",
        " ",
        "٣",
    ];
    let rows: [(&str, &[&str]); 24] = [
        (
            "PORT",
            &[
                "65536",
                "-1",
                "abc",
                "3200.0",
                "0x10",
                " 3200",
                "3200 ",
                "+3200",
                "1e3",
                "99999999999",
                " ",
            ],
        ),
        ("MACP_AUTH_MAX_TTL_SECONDS", &ttl),
        ("MACP_AUTH_DEFAULT_TTL_SECONDS", &ttl),
        (
            "MACP_AUTH_SIGNING_ALG",
            &[
                "HS256", "none", "rs256", "es256", "RS512", "PS256", "EdDSA", " RS256", "RS256 ",
            ],
        ),
        (
            "MACP_AUTH_BIND_ADDR",
            &[
                "example.org",
                "127.0.0.1:3200",
                "256.0.0.1",
                "localhost:1",
                "lo",
            ],
        ),
        (
            "MACP_AUTH_SIGN_TIMEOUT_MS",
            &["0", "3501", "60000", "-1", "3s", ""],
        ),
        ("MACP_AUTH_MAX_CONNECTIONS", &["0", "-1", "many", ""]),
        ("MACP_AUTH_JWKS_MAX_AGE_SECONDS", &["-1", "1m", ""]),
        ("MACP_AUTH_REQUIRE_HSM", &["yes please", "2", ""]),
        ("MACP_AUTH_ALLOW_ANONYMOUS", &["maybe", "2", ""]),
        ("MACP_AUTH_KEY_POLICY", &["lax", "Strict", ""]),
        ("MACP_AUTH_KEY_POLL_SECONDS", &["0", "3601", "30s", ""]),
        ("MACP_AUTH_KEY_LEAD_SECONDS", &["490", "15m", ""]),
        ("MACP_AUTH_KEY_RETAIN_SECONDS", &["3749", "1h", ""]),
        ("MACP_AUTH_VERIFIER_TTL_SECONDS", &["86401", "-1", ""]),
        ("MACP_AUTH_CLOCK_SKEW_SECONDS", &["3601", "-1", ""]),
        ("MACP_AUTH_ROTATION_UNSAFE", &["2", "yes", ""]),
        ("MACP_AUTH_ACTIVATE_AFTER_CONVERGENCE", &["2", ""]),
        ("MACP_AUTH_KEY_SCHEDULE_FILE", &["schedule.toml", ""]),
        ("MACP_AUTH_REVOKED_KIDS", &[",", ""]),
        ("MACP_AUTH_REVOKED_KIDS_FILE", &["revoked", ""]),
        ("MACP_AUTH_EXTRA_JWKS_FILE", &["extra.json", ""]),
        ("MACP_AUTH_ADMIN_ADDR", &["9464", "localhost", ""]),
        ("MACP_AUTH_QUEUE_LENGTH", &["0", "-1", ""]),
    ];
    let empty = empty_too.iter().map(|name| (*name, ""));
    let all = rows
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (*name, *value)));
    for (name, value) in all.chain(empty) {
        let launch = Launch::new().set(name, value);
        let stderr = if name == "PORT" {
            launch.refused_on_its_port()
        } else {
            launch.refused()
        };
        assert!(stderr.contains(name), "{name}={value:?}: {stderr}");
    }
}

#[test]
fn the_sentence_about_the_algorithm_is_the_known_one() {
    for (value, shown) in [
        ("HS256", r#""HS256""#),
        ("", r#""""#),
        ("a\"b", r#""a\"b""#),
        ("x\ny", r#""x\ny""#),
    ] {
        let stderr = Launch::ephemeral(value).refused();
        let sentence = format!("MACP_AUTH_SIGNING_ALG must be RS256 or ES256 (got {shown})");
        assert!(stderr.contains(&sentence), "{value:?}: {stderr}");
    }
}

#[test]
fn every_problem_stands_in_one_report() {
    let stderr = Launch::new()
        .set("MACP_AUTH_SIGNING_ALG", "HS256")
        .set("MACP_AUTH_ISSUER", "")
        .set("MACP_AUTH_MAX_TTL_SECONDS", "1e2")
        .set("MACP_AUTH_SIGN_TIMEOUT_MS", "9000")
        .set("MACP_AUTH_BIND_ADDR", "nowhere")
        .set("MACP_AUTH_POLICY_FILE", "/etc/policy.toml")
        .set("MACP_AUTH_PKCS11_MODUL", "/x.so")
        .refused();

    for name in [
        "MACP_AUTH_SIGNING_ALG",
        "MACP_AUTH_ISSUER",
        "MACP_AUTH_MAX_TTL_SECONDS",
        "MACP_AUTH_SIGN_TIMEOUT_MS",
        "MACP_AUTH_BIND_ADDR",
        "MACP_AUTH_POLICY_FILE",
        "MACP_AUTH_PKCS11_MODUL",
    ] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn files_that_would_stop_the_start_stand_in_the_same_report_and_nothing_is_made() {
    let hsm = SoftHsm::without_token();
    fs::write(hsm.path("extra"), "no set").unwrap();
    fs::write(hsm.path("schedule"), "?").unwrap();
    fs::create_dir(hsm.path("open")).unwrap();
    fs::set_permissions(hsm.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let launch = |state: &str| {
        hsm.launch()
            .set("MACP_AUTH_ISSUER", "")
            .set("MACP_AUTH_REVOKED_KIDS_FILE", hsm.path("missing"))
            .set("MACP_AUTH_EXTRA_JWKS_FILE", hsm.path("extra"))
            .set("MACP_AUTH_KEY_SCHEDULE_FILE", hsm.path("schedule"))
            .set("MACP_AUTH_STATE_DIR", hsm.path(state))
    };
    let files = |name: &str, file: &str| format!("{name} names {}", hsm.path(file).display());
    let lists = [
        "MACP_AUTH_ISSUER".to_owned(),
        files("MACP_AUTH_REVOKED_KIDS_FILE", "missing"),
        files("MACP_AUTH_EXTRA_JWKS_FILE", "extra"),
        files("MACP_AUTH_KEY_SCHEDULE_FILE", "schedule"),
    ];
    for state in ["open/new", "open", "extra", "away/new"] {
        let shown = launch(state).arguments(&["config"]).run();
        assert_eq!(shown.code, Some(1), "{state}");
        let (_, problems) = shown.stdout.split_once("Problems:").unwrap();
        let refused = launch(state).refused();
        for said in [problems, &refused] {
            for problem in lists
                .iter()
                .map(String::as_str)
                .chain(["MACP_AUTH_STATE_DIR names"])
            {
                assert!(said.contains(problem), "{state}: {problem}: {said}");
            }
        }
        assert!(!hsm.path("away").exists() && !hsm.path("open/new").exists());
    }

    let good = hsm.launch().set("MACP_AUTH_STATE_DIR", hsm.path("state"));
    let shown = good.arguments(&["config"]).run();
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(!hsm.path("state").exists());
}

#[test]
fn names_that_are_not_built_yet_are_refused_and_not_ignored() {
    for name in [
        "MACP_AUTH_TLS_CERT_FILE",
        "MACP_AUTH_TLS_KEY_FILE",
        "MACP_AUTH_TLS_CLIENT_CA_FILE",
        "MACP_AUTH_TLS_PORT",
        "MACP_AUTH_POLICY_FILE",
        "MACP_AUTH_AUDIT_DIR",
    ] {
        let stderr = Launch::new().set(name, "1").refused();
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn an_unsafe_sum_of_rotation_is_refused_with_its_numbers_unless_it_is_a_rehearsal() {
    let hsm = SoftHsm::with_key("ES256");
    let unsafe_times = || {
        hsm.launch()
            .set("MACP_AUTH_KEY_LEAD_SECONDS", "60")
            .set("MACP_AUTH_KEY_RETAIN_SECONDS", "100")
    };
    let sums = [
        "the lead is 60 s, and must be at least 491 s = 2.2 x 30 (MACP_AUTH_KEY_POLL_SECONDS) + 60",
        "the retention is 100 s, and must be at least 3750 s = 3600 (MACP_AUTH_MAX_TTL_SECONDS) + 60",
    ];

    let stderr = unsafe_times().refused();
    for said in sums.into_iter().chain([
        "MACP_AUTH_KEY_LEAD_SECONDS lets",
        "MACP_AUTH_KEY_RETAIN_SECONDS withdraws",
        "MACP_AUTH_ROTATION_UNSAFE=1",
    ]) {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }

    let service = unsafe_times().set("MACP_AUTH_ROTATION_UNSAFE", "1").start();
    for said in sums.into_iter().chain(["rehearsals only"]) {
        service.must_log(said);
    }
    service.mint(r#"{"sender":"a"}"#);
}

#[test]
fn names_of_the_runtime_are_ignored_and_other_names_are_warned_of() {
    let mut service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_JWKS_URL", "http://127.0.0.1:1/x")
        .set("MACP_AUTH_JWKS_TTL_SECS", "60")
        .set("MACP_AUTH_JWKS_JSON", "{}")
        .set("MACP_AUTH_JWT_ALGS", "RS256")
        .set("MACP_AUTH_ISUER", "typo")
        .set("MACP_ALLOW_INSECURE", "1")
        .start();

    let log = service.log_to_its_end();
    for quiet in [
        "MACP_AUTH_JWKS_URL",
        "MACP_AUTH_JWKS_TTL_SECS",
        "MACP_AUTH_JWKS_JSON",
        "MACP_AUTH_JWT_ALGS",
        "MACP_ALLOW_INSECURE",
    ] {
        assert!(!log.contains(quiet), "{quiet}: {log}");
    }
    assert!(
        log.contains("MACP_AUTH_ISUER") && log.contains("MACP_AUTH_ISSUER"),
        "{log}"
    );
}

#[test]
fn doubtful_but_possible_settings_are_warned_of() {
    for (name, value, said) in [
        ("MACP_AUTH_SIGNING_ALG", "ES256", "development"),
        (
            "MACP_AUTH_MAX_TTL_SECONDS",
            "59",
            "MACP_AUTH_MAX_TTL_SECONDS",
        ),
        ("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY, "environment"),
    ] {
        let service = Launch::ephemeral("ES256").set(name, value).start();
        service.must_log(said);
    }
    let mut quiet = Launch::ephemeral("ES256")
        .set("MACP_AUTH_MAX_TTL_SECONDS", "60")
        .set("MACP_AUTH_DEFAULT_TTL_SECONDS", "60")
        .start();
    let log = quiet.log_to_its_end();
    assert!(!log.contains("MACP_AUTH_MAX_TTL_SECONDS"), "{log}");
}

#[test]
fn an_address_that_others_reach_needs_a_word_of_consent() {
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let stderr = Launch::new().set("MACP_AUTH_BIND_ADDR", address).refused();
        assert!(
            stderr.contains("MACP_AUTH_BIND_ADDR") && stderr.contains("MACP_AUTH_ALLOW_ANONYMOUS"),
            "{address}: {stderr}"
        );
    }
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_BIND_ADDR", "0.0.0.0")
        .set("MACP_AUTH_ALLOW_ANONYMOUS", "1")
        .start();
    service.must_log("MACP_AUTH_ALLOW_ANONYMOUS");
    service.mint(r#"{"sender":"a"}"#);
}
