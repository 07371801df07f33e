//! Tokens that hang or fail under a command: it ends, and says what is left behind.

use super::try_keys;
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
