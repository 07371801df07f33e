//! Lists, plans and new keys: what is shown, what is made, and that a rehearsal makes nothing.

use serde_json::Value;

use super::{Two, json, keys, kid_of, listed, states, try_keys};
use crate::harness::faults::FaultyHsm;
use crate::harness::softhsm::PIN;
use crate::harness::{KeyPair, SoftHsm, rsa_pkcs8};

#[test]
fn the_first_key_signs_at_once_and_the_next_after_the_lead() {
    let hsm = SoftHsm::new();
    let first = kid_of(&keys(
        hsm.launch(),
        &["generate", "--alg", "ES256", "--json"],
    ));
    let second = json(&keys(hsm.launch(), &["generate", "--json"]));
    let second = &second["keys"][0];

    assert_eq!(second["algorithm"], "ES256", "as the present key: {second}");
    assert_eq!(second["signs_now"], false);
    let list = listed(hsm.launch());
    assert_eq!(list["signing"], first.as_str());
    assert_eq!(
        states(&list),
        [
            (
                second["kid"].as_str().unwrap().to_owned(),
                "PREPARED".to_owned()
            ),
            (first, "ACTIVE".to_owned()),
        ]
    );
    assert_eq!(list["keys"][0]["signs_from"], second["signs_from"]);
    assert_eq!(list["keys"][1]["retired"], second["signs_from"]);
    assert_eq!(list["keys"][1]["signs_now"], true);
}

#[test]
fn the_label_of_a_token_does_not_speak_to_the_terminal() {
    let hsm = SoftHsm::without_token();
    let label = "\u{1b}[2Jtoken";
    hsm.make_token(label);
    let launch = || {
        hsm.bare_launch()
            .set("MACP_AUTH_PKCS11_MODULE", hsm.module())
            .set("MACP_AUTH_PKCS11_TOKEN_LABEL", label)
            .set("MACP_AUTH_PKCS11_PIN_FILE", hsm.pin_file())
    };

    let empty = keys(launch(), &["list"]);
    let made = keys(launch(), &["generate", "--alg", "ES256"]);
    let list = keys(launch(), &["list"]);
    for said in [&empty, &made, &list] {
        assert!(said.contains(r"\u{1b}[2Jtoken"), "{said:?}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn without_any_key_the_algorithm_is_rs256() {
    let hsm = SoftHsm::new();
    let made = json(&keys(hsm.launch(), &["generate", "--json"]));

    assert_eq!(made["keys"][0]["algorithm"], "RS256");
    assert_eq!(made["keys"][0]["signs_now"], true);
}

#[test]
fn a_key_that_would_sign_before_the_lead_is_refused_with_the_sum_and_a_time() {
    let hsm = SoftHsm::with_key("ES256");
    for asked in [
        ["--activate-in", "5m"],
        ["--activate-at", "2025-01-01T00:00:00Z"],
    ] {
        let refused = hsm.try_generate(&asked);

        assert_eq!(refused.code, Some(1), "{refused:?}");
        for part in ["--activate-in 16m", "491 s = 2.2 x 30"] {
            assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
        }
    }
    hsm.generate(&["--activate-in", "16m"]);
    assert_eq!(states(&listed(hsm.launch())).len(), 2);
}

#[test]
fn now_is_taken_but_waits_for_the_lead_and_says_so() {
    let hsm = SoftHsm::new();
    hsm.generate(&["--alg", "ES256", "--activate-at", "2025-01-01T00:00:00Z"]);
    let made = hsm.generate(&["--now"]).stdout;

    for part in ["another key may sign", "whatever its instant", "revoked"] {
        assert!(made.contains(part), "{part}: {made}");
    }
    let list = listed(hsm.launch());
    assert_eq!(states(&list)[0].1, "PREPARED", "{list}");
}

#[test]
fn a_rehearsal_says_what_would_be_and_makes_nothing() {
    let hsm = SoftHsm::with_key("ES256");
    let before = listed(hsm.launch())["keys"].clone();
    for arguments in [
        &["generate", "--dry-run"][..],
        &["generate", "--dry-run", "--now"],
        &[
            "generate",
            "--dry-run",
            "--alg",
            "RS256",
            "--activate-in",
            "2d",
        ],
        &["rotate", "--dry-run"],
    ] {
        let said = keys(hsm.launch(), arguments);
        assert!(said.contains("nothing was made"), "{arguments:?}: {said}");
        assert!(said.contains("signs from:"), "{arguments:?}: {said}");
    }
    let said = json(&keys(hsm.launch(), &["rotate", "--dry-run", "--json"]));
    assert_eq!(said["generated"]["dry_run"], true);
    assert_eq!(said["generated"]["keys"][0]["kid"], Value::Null);
    assert_eq!(said["plan"]["keys"][0]["kid"], Value::Null);
    assert_eq!(said["plan"]["keys"][0]["state"], "PREPARED");
    let refused = hsm.try_generate(&["--dry-run", "--activate-in", "5m"]);
    assert_eq!(refused.code, Some(1), "a rehearsal refuses as well");

    let after = listed(hsm.launch())["keys"].clone();
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_eq!(after[0]["kid"], before[0]["kid"]);
}

#[test]
fn rotate_changes_the_algorithm_and_shows_the_plan() {
    let hsm = SoftHsm::with_key("ES256");
    let said = json(&keys(hsm.launch(), &["rotate", "--alg", "RS256", "--json"]));
    let new = said["generated"]["keys"][0]["kid"].as_str().unwrap();
    let old = said["plan"]["signing"].as_str().unwrap();

    let events = said["plan"]["events"].as_array().unwrap();
    let event = |kid: &str, name: &str| {
        let mut events = events.iter();
        let found = events.find(|event| event["kid"] == kid && event["event"] == name);
        found.unwrap_or_else(|| panic!("{name} of {kid}: {said}"))["at"].clone()
    };
    assert_eq!(event(new, "signs_from"), event(old, "retired"));
    assert!(event(old, "removed").as_str() > event(old, "retired").as_str());

    let text = keys(hsm.launch().set("COLUMNS", "70"), &["plan"]);
    for part in [
        new,
        old,
        "signs from here on",
        "no longer published",
        &format!("{} PREPARED", &new[..8]),
        "lead",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let drawn = text.lines().filter(|line| line.contains('|'));
    let widest = drawn.map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|width| width <= 70), "{text}");
}

#[test]
fn plan_and_list_of_an_empty_token_say_what_to_do() {
    let hsm = SoftHsm::new();
    for command in ["plan", "list"] {
        let said = keys(hsm.launch(), &[command]);
        assert!(
            said.contains("no key. Make one with `keys generate`"),
            "{said}"
        );
    }
    let plan = json(&keys(hsm.launch(), &["plan", "--json"]));
    assert_eq!(plan["events"], serde_json::json!([]));
}

#[test]
fn each_of_two_tokens_gets_a_key_with_the_same_instant() {
    let two = Two::new();
    let made = json(&keys(
        two.launch(),
        &["generate", "--alg", "ES256", "--json"],
    ));
    let made = made["keys"].as_array().unwrap();

    assert_eq!(made.len(), 2);
    assert_eq!(made[0]["active_from"], made[1]["active_from"]);
    assert_ne!(made[0]["kid"], made[1]["kid"]);
    assert_eq!(
        (&made[0]["token"], &made[1]["token"]),
        (&"one".into(), &"two".into())
    );
    let list = listed(two.launch());
    assert_eq!(states(&list).len(), 2, "{list}");
}

#[test]
fn a_token_that_is_not_one_of_the_configuration_gets_no_key() {
    let two = Two::new();
    let refused = try_keys(two.launch(), &["generate", "--token", "three"]);

    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("one, two"), "{refused:?}");
    assert!(states(&listed(two.launch())).is_empty());
}

#[test]
fn replicas_are_one_row_with_both_tokens_and_refused_objects_one_each() {
    let two = Two::new();
    let key = rsa_pkcs8(aws_lc_rs::rsa::KeySize::Rsa2048);
    for token in ["one", "two"] {
        two.0.import_to(token, &key, "macp-jwt", "01");
        two.0.import_to(token, &key, "macp-jwt-2026", "02");
        two.0.import_to(token, &key, "macp-jwt-20261399", "03");
    }
    let list = listed(two.launch().set("MACP_AUTH_KEY_POLICY", "warn"));
    let keys = list["keys"].as_array().unwrap();

    assert_eq!(keys.len(), 3, "{list}");
    assert_eq!(keys[0]["tokens"], serde_json::json!(["one", "two"]));
    assert_eq!(keys[0]["objects"].as_array().unwrap().len(), 2);
    for (row, token) in keys[1..].iter().zip(["one", "two"]) {
        assert_eq!(row["state"], "REFUSED");
        assert_eq!(row["tokens"], serde_json::json!([token]));
        assert!(row["refused"].as_str().unwrap().contains("no instant"));
    }
}

#[test]
fn list_shows_who_stands_by_what_is_revoked_and_what_the_policy_lets_pass() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::RSA);
    hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let list = listed(hsm.launch().set("MACP_AUTH_SIGNING_ALG", "ES256"));
    let state = |algorithm: &str| {
        let mut keys = list["keys"].as_array().unwrap().iter();
        keys.find(|key| key["algorithm"] == algorithm)
            .unwrap()
            .clone()
    };
    assert_eq!(state("ES256")["state"], "ACTIVE");
    assert_eq!(state("RS256")["state"], "BYSTANDER");
    let warnings = state("RS256")["warnings"].to_string();
    assert!(warnings.contains("CKA_DECRYPT is true"), "{warnings}");

    let kid = state("ES256")["kid"].as_str().unwrap().to_owned();
    let revoked = listed(hsm.launch().set("MACP_AUTH_REVOKED_KIDS", &kid));
    let states = states(&revoked);
    assert!(states.contains(&(kid, "REVOKED".to_owned())), "{revoked}");
}

#[test]
fn an_hsm_that_refuses_a_name_gets_the_next_simpler_one() {
    // Each name is tried in four forms.
    for (refusals, label, id_bytes, said) in [
        (4, "macp-jwt-2", 8, "8 bytes"),
        (8, "macp-jwt2", 16, "16 bytes"),
        (16, "macp-jwt", 16, "MACP_AUTH_KEY_SCHEDULE_FILE"),
    ] {
        let faulty = FaultyHsm::without_key();
        faulty.rules(&format!(
            "C_GenerateKeyPair fail CKR_ATTRIBUTE_VALUE_INVALID times {refusals}"
        ));
        let made = json(&keys(
            faulty.launch(),
            &["generate", "--alg", "ES256", "--json"],
        ));
        let key = &made["keys"][0];

        let name = key["label"].as_str().unwrap();
        assert!(name.starts_with(label), "{refusals}: {made}");
        assert_eq!(key["id"].as_str().unwrap().len(), 2 * id_bytes, "{made}");
        let notes = key["notes"].to_string();
        assert!(notes.contains(said), "{refusals}: {notes}");
        assert!(notes.contains("CKR_ATTRIBUTE_VALUE_INVALID"), "{notes}");
        let entry = key["schedule_entry"].as_str();
        assert_eq!(entry.is_some(), refusals == 16, "{made}");
    }
}

#[test]
fn an_hsm_that_makes_no_key_is_told_with_the_reason_and_the_cure() {
    let faulty = FaultyHsm::without_key();
    let mut made = 0;
    // How often it is asked: no other form or name helps where the token is protected.
    #[rustfmt::skip]
    let rows = [
        ("CKR_TOKEN_WRITE_PROTECTED", 1, "write-protected. Have its security officer"),
        ("CKR_USER_NOT_LOGGED_IN", 1, "--pin-file"),
        ("CKR_FUNCTION_NOT_SUPPORTED", 1, "tool of your HSM"),
        ("CKR_DEVICE_MEMORY", 4, "it is full. Make room"),
        ("CKR_SESSION_READ_ONLY", 4, "read only. Give this client the right"),
        ("CKR_TEMPLATE_INCONSISTENT", 24, "every form of a key pair and every name"),
    ];
    for (code, asked, said) in rows {
        faulty.rules(&format!("C_GenerateKeyPair fail {code}"));
        let refused = try_keys(faulty.launch(), &["generate", "--alg", "ES256"]);

        assert_eq!(refused.code, Some(1), "{code}");
        for part in [code, said] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
        let calls = faulty.calls("C_GenerateKeyPair");
        assert_eq!(calls - made, asked, "{code}");
        made = calls;
    }
}

#[test]
fn an_hsm_without_this_kind_of_key_is_said_to_be_one() {
    let faulty = FaultyHsm::without_key();
    faulty.rules("C_GenerateKeyPair fail CKR_MECHANISM_INVALID");
    let refused = try_keys(faulty.launch(), &["generate", "--alg", "ES256"]);

    assert_eq!(refused.code, Some(1));
    let said = &refused.stderr;
    assert!(said.contains("does not make keys for ES256"), "{said}");
    assert!(said.contains("--alg"), "{said}");
    assert_eq!(faulty.calls("C_GenerateKeyPair"), 1);
}

#[test]
fn the_lines_for_the_schedule_file_are_printed_and_are_what_it_takes() {
    let hsm = SoftHsm::with_key("ES256");
    let file = hsm.path("schedule.toml");
    std::fs::write(&file, "").unwrap();
    let launch = || hsm.launch().set("MACP_AUTH_KEY_SCHEDULE_FILE", &file);
    assert!(states(&listed(launch())).is_empty(), "it alone decides");
    let made = keys(launch(), &["generate", "--alg", "ES256"]);
    let lines = made.split_once("[[key]]").unwrap().1;
    std::fs::write(&file, format!("[[key]]{lines}")).unwrap();

    let list = listed(launch());
    assert_eq!(states(&list).len(), 1, "{list}");
    let kid = states(&list)[0].0.clone();
    assert!(made.contains(&kid), "{made}");
    assert_eq!(list["signing"], kid.as_str());
}

#[test]
fn a_key_that_is_made_after_a_revocation_signs_at_once() {
    let hsm = SoftHsm::with_key("ES256");
    let kid = states(&listed(hsm.launch()))[0].0.clone();
    let launch = hsm.launch().set("MACP_AUTH_REVOKED_KIDS", kid);
    let made = json(&keys(launch.clone(), &["generate", "--json"]));

    assert_eq!(made["keys"][0]["signs_now"], true, "{made}");
    assert_eq!(listed(launch)["signing"], made["keys"][0]["kid"]);
}

#[test]
fn nothing_is_made_or_destroyed_by_a_clock_that_was_ahead_before() {
    let hsm = SoftHsm::with_key("ES256");
    let state = hsm.path("state");
    std::fs::create_dir(&state).unwrap();
    let launch = hsm.launch().set("MACP_AUTH_STATE_DIR", &state);
    let later = r#"{"version":2,"keys":[],"looks":{"a token":4102444800},"maxima":{}}"#;
    std::fs::write(state.join("jwks.json"), later).unwrap();

    for command in [&["generate"][..], &["rotate"], &["prune", "--yes"]] {
        let refused = try_keys(launch.clone(), command);
        assert_eq!(refused.code, Some(1), "{command:?}");
        assert!(refused.stderr.contains("clock"), "{refused:?}");
    }
    assert_eq!(hsm.objects().matches("Private Key Object").count(), 1);
}

#[test]
fn no_command_changes_a_token_without_a_login_or_shows_a_pin() {
    let hsm = SoftHsm::new();
    let launch = hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE").secret(PIN);
    for command in ["generate", "rotate"] {
        let refused = try_keys(launch.clone(), &[command]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("--pin-file"), "{refused:?}");
    }
    assert!(states(&listed(hsm.launch())).is_empty());
}
