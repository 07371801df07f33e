//! Tokens that hang or fail under a command: it ends, and says what is left behind.

use super::{json, keys, listed, states, try_keys};
use crate::harness::Launch;
use crate::harness::faults::FaultyHsm;

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
        for part in ["libfault_module.so", "for 1 s", "`doctor`"] {
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
