//! Answers: told even where stdout takes nothing, and only what could be seen.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::process::Stdio;

use super::{Two, json, keys, kid_of, listed, states, try_keys};
use crate::harness::{Launch, SoftHsm};

/// A pipe whose reader has left, and a disk that is full.
fn broken_outputs() -> [(&'static str, Stdio); 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    [
        ("no reader", writer.into()),
        ("a full disk", full.unwrap().into()),
    ]
}

#[test]
fn an_algorithm_is_taken_in_any_case() {
    let hsm = SoftHsm::new();
    for (name, want) in [("rs256", "RS256"), ("Es256", "ES256")] {
        let made = keys(
            hsm.launch(),
            &["generate", "--alg", name, "--dry-run", "--json"],
        );
        assert_eq!(json(&made)["keys"][0]["algorithm"], want, "{made}");
    }
}

#[test]
fn prune_says_which_retention_and_life_of_tokens_it_counted_with() {
    let hsm = SoftHsm::with_key("ES256");
    let launch = || {
        hsm.launch()
            .set("MACP_AUTH_KEY_RETAIN_SECONDS", "9000")
            .set("MACP_AUTH_MAX_TTL_SECONDS", "7200")
    };

    let text = keys(launch(), &["prune"]);
    assert!(
        text.contains("retention of 9000 s") && text.contains("live 7200 s"),
        "{text}"
    );
    let counted = json(&keys(launch(), &["prune", "--json"]));
    assert_eq!(counted["retain_seconds"], 9000);
    assert_eq!(counted["max_ttl_seconds"], 7200);
}

#[test]
fn an_empty_attestation_is_refused_before_anything_is_made() {
    let hsm = SoftHsm::new();
    fs::write(hsm.path("empty"), "").unwrap();
    let (record, empty) = (hsm.path("record.json"), hsm.path("empty"));
    let (record, empty) = (record.to_str().unwrap(), empty.to_str().unwrap());

    let arguments = ["generate", "--record", record, "--attestation", empty];
    let refused = try_keys(hsm.launch(), &arguments);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is empty"), "{refused:?}");
    assert!(!hsm.path("record.json").exists());
    assert!(!hsm.objects().contains("Private Key Object"));
}

#[test]
fn root_makes_no_state_directory_and_is_sent_to_the_user_who_owns_it() {
    let hsm = SoftHsm::with_key("ES256");
    let state = hsm.path("state");
    if fs::metadata(hsm.pin_file()).unwrap().uid() != 0 {
        return;
    }
    let launch = || hsm.launch().set("MACP_AUTH_STATE_DIR", &state);
    for command in [&["keys", "list"][..], &["jwks"], &["doctor"]] {
        let outcome = launch().arguments(command).run();
        assert_eq!(outcome.code, Some(0), "{command:?}: {outcome:?}");
        assert!(!state.exists(), "{command:?}");
    }

    fs::create_dir(&state).unwrap();
    chown(&state, Some(4711), None).unwrap();
    for command in [&["keys", "list"][..], &["jwks"], &["doctor"], &["config"]] {
        let outcome = launch().arguments(command).run();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, Some(1), "{command:?}: {said}");
        assert!(
            said.contains("MACP_AUTH_STATE_DIR names"),
            "{command:?}: {said}"
        );
        assert!(
            said.contains("sudo -u '#4711'") && !said.contains("chown"),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn a_change_whose_answer_cannot_be_written_is_told_on_stderr() {
    let hsm = SoftHsm::new();
    let generate = |launch: Launch, more: &[&str]| {
        launch.arguments(&[&["keys", "generate", "--alg", "ES256"], more].concat())
    };
    for (name, output) in broken_outputs() {
        let before = hsm.objects();
        let rehearsed = generate(hsm.launch(), &["--dry-run"]).run_into(Stdio::null());
        assert_eq!((rehearsed.code, rehearsed.stderr.as_str()), (Some(0), ""));
        assert_eq!(hsm.objects(), before);

        let made = generate(hsm.launch(), &["--activate-in", "1h"]).run_into(output);
        assert_eq!(made.code, Some(1), "{name}: {made:?}");
        assert!(made.stderr.contains("was carried out"), "{name}: {made:?}");
        let known = states(&listed(hsm.launch()));
        let told = known.iter().filter(|(kid, _)| made.stderr.contains(kid));
        assert_eq!(told.count(), 1, "{name}: {known:?}: {made:?}");
    }
    for (name, output) in broken_outputs() {
        let arguments = ["keys", "prune", "--yes"];
        let pruned = hsm.launch().arguments(&arguments).run_into(output);
        assert_eq!(pruned.code, Some(1), "{name}: {pruned:?}");
        assert!(pruned.stderr.contains("no key to destroy"), "{pruned:?}");
    }
}

#[test]
fn a_token_that_hides_its_keys_is_not_called_empty() {
    let hsm = SoftHsm::with_key("ES256");
    let launch = || hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE");
    for command in ["list", "plan"] {
        let said = keys(launch(), &[command]);
        for word in [
            "no key can be seen",
            "nobody is logged in",
            "MACP_AUTH_PKCS11_PIN_FILE",
        ] {
            assert!(said.contains(word), "{command}: {said}");
        }
        assert!(!said.contains("keys generate"), "{command}: {said}");
        let seen = keys(hsm.launch(), &[command]);
        assert!(!seen.contains("logged in"), "{command}: {seen}");
    }
    let warnings = listed(launch())["warnings"].to_string();
    assert!(warnings.contains("nobody is logged in"), "{warnings}");

    for refused in [&["prune"][..], &["prune", "--yes"], &["generate"]] {
        let outcome = try_keys(launch(), refused);
        assert_eq!(outcome.code, Some(1), "{refused:?}: {outcome:?}");
        for word in ["nobody is logged in", "MACP_AUTH_PKCS11_PIN_FILE"] {
            assert!(outcome.stderr.contains(word), "{refused:?}: {outcome:?}");
        }
    }
    let jwks = launch().arguments(&["jwks"]).run();
    assert!(jwks.stderr.contains("nobody is logged in"), "{jwks:?}");
}

#[test]
fn what_the_other_tokens_hold_is_shown_while_one_cannot_be_read() {
    let two = Two::new();
    let one = || two.launch_on(&["one"]);
    let kid = kid_of(&keys(one(), &["generate", "--alg", "ES256", "--json"]));
    let broken = || two.launch_on(&["nowhere", "one"]);
    for command in ["list", "plan"] {
        let told = try_keys(broken(), &[command]);
        let answer = try_keys(broken(), &[command, "--json"]);
        for shown in [&told, &answer] {
            assert_eq!(shown.code, Some(1), "{command}: {shown:?}");
            assert!(shown.stdout.contains(&kid), "{command}: {shown:?}");
            let warned = shown.stderr.contains("warning: the token with label");
            assert!(warned && shown.stderr.contains("nowhere"), "{shown:?}");
        }
        let warning = told
            .stdout
            .lines()
            .find(|line| line.starts_with("warning:"));
        assert!(warning.unwrap().contains("nowhere"), "{command}: {told:?}");
        let unread = &json(&answer.stdout)["unread"];
        assert_eq!(unread[0]["token"], "label \"nowhere\"");
        let reason = unread[0]["reason"].as_str().unwrap();
        assert!(reason.contains("no token matches"), "{command}: {reason}");
        assert_eq!(
            json(&keys(one(), &[command, "--json"]))["unread"],
            json("[]")
        );

        let waiting = broken().set("MACP_AUTH_REVOKED_KIDS", &kid);
        let waiting = try_keys(waiting, &[command]);
        let said = waiting.stdout.contains("no key that can be seen signs now");
        assert!(said, "{command}: {waiting:?}");

        let empty = try_keys(two.launch_on(&["nowhere", "two"]), &[command]);
        assert!(empty.stdout.contains("no key can be seen"), "{empty:?}");
        let none = try_keys(two.launch_on(&["nowhere", "elsewhere"]), &[command]);
        assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
        assert!(none.stderr.contains("no token matches"), "{none:?}");
    }
    for refused in [
        &["generate"][..],
        &["rotate"],
        &["prune"],
        &["revoke-bound", &kid],
        &["record", &kid, "/nowhere/record"],
    ] {
        let outcome = try_keys(broken(), refused);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(1), ""),
            "{refused:?}"
        );
        assert!(
            outcome.stderr.contains("no token matches"),
            "{refused:?}: {outcome:?}"
        );
    }
}
