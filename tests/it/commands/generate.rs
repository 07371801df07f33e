//! `keys generate`: what it makes and prints, which arguments it takes, and what it says of a bad PIN file or token.

use super::{all, json};
use crate::harness::softhsm::PIN;
use crate::harness::{Launch, SoftHsm};

#[test]
fn generate_makes_a_key_that_signs_at_once_and_prints_its_kid() {
    for algorithm in ["RS256", "ES256"] {
        let hsm = SoftHsm::new();
        let made = hsm.generate(&["--alg", algorithm]);
        let service = hsm.launch().start();
        let kid = service.mint(r#"{"sender":"a"}"#).kid();

        assert!(made.stdout.contains(&kid), "{algorithm}: {}", made.stdout);
        assert_eq!(service.jwks().keys[0]["alg"], algorithm);
        assert_eq!(service.jwks().kids(), [kid]);
    }
}

#[test]
fn generate_prints_the_public_jwk_for_machines() {
    let hsm = SoftHsm::new();
    let made = json(&hsm.generate(&["--alg", "ES256", "--json"]).stdout);
    let published = hsm.launch().start().jwks();

    let kid = published.kids().remove(0);
    assert!(all(&made, "kid").contains(&kid), "{made}");
    assert!(
        all(&made, "x").contains(&published.keys[0]["x"].as_str().unwrap().to_owned()),
        "{made}"
    );
    assert!(all(&made, "d").is_empty());
}

#[test]
fn generate_takes_an_instant_in_both_spellings() {
    let hsm = SoftHsm::with_key("ES256");
    for (time, label) in [
        ("2999-01-01T00:00:00Z", "macp-jwt-29990101T000000Z"),
        ("29990201T000000Z", "macp-jwt-29990201T000000Z"),
    ] {
        hsm.generate(&["--alg", "ES256", "--activate-at", time]);
        let listed = hsm.launch().arguments(&["keys", "list"]).run();
        assert!(listed.stdout.contains(label), "{time}: {}", listed.stdout);
    }
    let service = hsm.launch().start();
    assert_eq!(service.jwks().keys.len(), 3);
    service.mint(r#"{"sender":"a"}"#);
}

#[test]
fn generate_refuses_what_it_does_not_understand_as_a_wrong_command_line() {
    let hsm = SoftHsm::new();
    for arguments in [
        &["--alg", "HS256"][..],
        &["--alg", "rs-256"],
        &["--alg", "RS256", "--activate-at", "tomorrow"],
        &[
            "--alg",
            "RS256",
            "--activate-at",
            "2026-12-01T12:00:00+01:00",
        ],
        &["--alg", "RS256", "--activate-at", "20261301T120000Z"],
        &["--activate-in", "15"],
        &["--activate-in", "-15m"],
        &["--now", "--activate-in", "15m"],
    ] {
        let outcome = hsm.try_generate(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
    assert_eq!(
        hsm.launch().start().get("/.well-known/jwks.json").status,
        503,
        "nothing was made"
    );
}

#[test]
fn generate_takes_a_pin_file_of_its_own() {
    let hsm = SoftHsm::new();
    let other = hsm.path("generating-pin");
    std::fs::rename(hsm.pin_file(), &other).unwrap();
    let launch = hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE");
    let made = launch
        .arguments(&[
            "keys",
            "generate",
            "--alg",
            "ES256",
            "--pin-file",
            &other.display().to_string(),
        ])
        .run();
    assert_eq!(made.code, Some(0), "{made:?}");

    hsm.write_pin(PIN);
    hsm.launch().start().mint(r#"{"sender":"a"}"#);
}

#[test]
fn a_bad_pin_file_is_named_as_it_was_given_and_a_pin_in_its_place_is_not_shown() {
    let hsm = SoftHsm::new();
    let generate = ["keys", "generate", "--alg", "ES256", "--pin-file"];
    let run = |given: &str| {
        let arguments = [&generate[..], &[given]].concat();
        hsm.launch().arguments(&arguments).run()
    };

    let absent = run("/absent/pin");
    let slip = run("987654");

    for refused in [&absent, &slip] {
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let told = &refused.stderr;
        assert!(told.contains("--pin-file names"), "{told}");
        assert!(!told.contains("MACP_AUTH_PKCS11_PIN_FILE"), "{told}");
    }
    assert!(absent.stderr.contains("/absent/pin"), "{absent:?}");
    assert!(!slip.stderr.contains("987654"), "{slip:?}");

    let config = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_PIN_FILE", "987654")
        .secret("987654")
        .arguments(&["config"])
        .run();
    assert!(
        config.stdout.contains("may be the PIN itself"),
        "{config:?}"
    );
}

#[test]
fn generate_says_what_is_wrong_with_the_token_and_tries_a_wrong_pin_once() {
    let hsm = SoftHsm::new();
    hsm.write_pin("wrong-pin-1");
    let outcome = hsm
        .spied_launch()
        .secret("wrong-pin-1")
        .arguments(&["keys", "generate", "--alg", "ES256"])
        .run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stderr.contains("CKR_PIN_INCORRECT"),
        "{}",
        outcome.stderr
    );
    assert_eq!(hsm.calls("C_Login"), 1);

    let outcome = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_TOKEN_LABEL", "nowhere")
        .arguments(&["keys", "generate", "--alg", "ES256"])
        .run();
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("nowhere"), "{}", outcome.stderr);

    let outcome = Launch::new()
        .arguments(&["keys", "generate", "--alg", "ES256"])
        .run();
    assert_eq!(outcome.code, Some(1), "no token configured");
    assert!(
        outcome.stderr.contains("MACP_AUTH_PKCS11_MODULE"),
        "{}",
        outcome.stderr
    );
}
