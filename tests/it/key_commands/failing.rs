//! Tokens that hang or fail under a command: it ends, and says what is left behind.

use serde_json::Value;

use super::{Two, json, keys, listed, states, try_keys};
use crate::harness::Launch;
use crate::harness::faults::{FaultyHsm, fault_module};
use crate::harness::hurry::{now, wait_until};

fn impatient(faulty: &FaultyHsm) -> Launch {
    faulty.launch().set("MACP_AUTH_STUCK_EXIT_SECONDS", "1")
}

#[test]
fn a_command_does_not_wait_for_a_call_that_does_not_come_back() {
    let faulty = FaultyHsm::new();
    for arguments in [
        &["keys", "list"][..],
        &["keys", "plan"],
        &["keys", "generate"],
        &["keys", "rotate", "--json"],
        &["keys", "prune"],
        &["keys", "revoke-bound", "any"],
        &["keys", "record", "any", "/dev/null"],
        &["jwks"],
    ] {
        faulty.rules("C_Sign hang");
        let ended = impatient(&faulty).arguments(arguments).run();

        assert_eq!(ended.code, Some(75), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        for part in [
            "macp-auth-service: a call",
            "libfault_module.so",
            "for 1 s",
            "`doctor`",
        ] {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
        assert!(!ended.stderr.contains("been made"), "{ended:?}");
    }
}

#[test]
fn a_call_that_hangs_after_the_key_was_made_leaves_word_of_it() {
    let faulty = FaultyHsm::without_key();
    faulty.rules("C_Sign hang");
    let ended = try_keys(impatient(&faulty), &["generate", "--alg", "ES256"]);

    assert_eq!(ended.code, Some(75), "{ended:?}");
    for part in ["A key may have been made", "`keys list`"] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert!(faulty.hsm.objects().contains("Private Key Object"));
}

#[test]
fn a_new_key_that_meets_a_passing_fault_is_looked_at_once_more() {
    let faulty = FaultyHsm::without_key();
    // One for each mechanism of the first look.
    for rule in [
        "C_SignInit fail CKR_DEVICE_ERROR times 1",
        "C_Sign fail CKR_FUNCTION_FAILED times 1",
    ] {
        faulty.rules(rule);
        let made = json(&keys(
            faulty.launch(),
            &[
                "generate",
                "--alg",
                "ES256",
                "--activate-in",
                "1h",
                "--json",
            ],
        ));

        assert_eq!(made["keys"].as_array().unwrap().len(), 1, "{rule}: {made}");
    }
}

#[test]
fn a_new_key_that_cannot_prove_itself_is_named_and_is_used_once_the_fault_is_gone() {
    let faulty = FaultyHsm::without_key();
    faulty.rules("C_SignInit fail CKR_DEVICE_ERROR");
    let failed = try_keys(faulty.launch(), &["generate", "--alg", "ES256"]);

    assert_eq!(failed.code, Some(1), "{failed:?}");
    faulty.no_rules();
    let list = listed(faulty.launch());
    assert_eq!(states(&list).len(), 1, "{list}");
    assert_eq!(list["keys"][0]["state"], "ACTIVE");
    let object = &list["keys"][0]["objects"][0];
    for name in ["label", "id"] {
        let name = object[name].as_str().unwrap();
        assert!(failed.stderr.contains(name), "{name}: {failed:?}");
    }
    for part in ["CKR_DEVICE_ERROR", "stays on the token", "`keys list`"] {
        assert!(failed.stderr.contains(part), "{part}: {failed:?}");
    }
}

#[test]
fn a_key_that_one_token_lacks_is_named_with_the_way_to_make_it() {
    let two = Two::new();
    keys(two.launch(), &["generate", "--alg", "ES256"]);
    // The second token takes no new key.
    let faulty = two
        .launch()
        .set("FAULT_MODULE_TARGET", two.0.module())
        .set("FAULT_MODULE_CONTROL", two.0.path("rules"));
    let uri = |token: &str| {
        let module = fault_module();
        let module = std::path::PathBuf::from(module);
        let (module, pin) = (module.display(), two.0.pin_file());
        format!(
            "pkcs11:token={token}?module-path={module}&pin-source={}",
            pin.display()
        )
    };
    let faulty = faulty.set(
        "MACP_AUTH_PKCS11_URI",
        format!("{} {}", uri("one"), uri("two")),
    );
    std::fs::write(
        two.0.path("rules"),
        "C_GenerateKeyPair fail CKR_DEVICE_MEMORY token two\n",
    )
    .unwrap();

    // The lead of the default rules, without the margin: what is made later is made too late for it.
    let partly = try_keys(faulty, &["generate", "--activate-in", "15m"]);
    assert_eq!(partly.code, Some(1), "{partly:?}");
    for part in [
        "On two:",
        "CKR_DEVICE_MEMORY",
        "Made: ",
        "on one",
        "--activate-at 2",
        "--token two",
    ] {
        assert!(partly.stderr.contains(part), "{part}: {}", partly.stderr);
    }
    let mut quoted = partly.stderr.split('`');
    let command = quoted.find(|part| part.starts_with("keys generate"));
    let command = command.unwrap();
    let mut arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    arguments.push("--json");
    wait_until(now() + 2);
    let made = json(&keys(two.launch(), &arguments));
    assert_eq!(made["keys"].as_array().unwrap().len(), 1, "{made}");
    let late = &made["keys"][0];
    assert_eq!(late["token"], "two");
    assert!(
        late["signs_from"].as_str() > late["active_from"].as_str(),
        "its own lead: {made}"
    );
    assert!(
        made["notes"].to_string().contains("published for the lead"),
        "{made}"
    );

    let list = listed(two.launch());
    let prepared: Vec<&Value> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["state"] == "PREPARED")
        .collect();
    assert_eq!(prepared.len(), 2, "{list}");
    assert_eq!(prepared[0]["active_from"], prepared[1]["active_from"]);
}
