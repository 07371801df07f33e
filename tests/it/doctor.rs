//! `doctor`: what it finds, what it says to do, its exit codes, and that it logs in at most once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::service::Refusal;
use crate::harness::softhsm::{PIN, TOKEN};
use crate::harness::{KeyPair, Launch, SoftHsm};

/// The rows of `doctor --json`: check, state, detail and cure.
struct Checked {
    code: Option<i32>,
    result: String,
    rows: Vec<(String, String, String, Option<String>)>,
}

fn examine(launch: Launch) -> Checked {
    let Refusal { code, stdout, .. } = launch.arguments(&["doctor", "--json"]).run();
    let answer: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let text = |row: &Value, name: &str| row[name].as_str().map(ToOwned::to_owned);
    let rows = answer["checks"].as_array().unwrap();
    Checked {
        code,
        result: text(&answer, "result").unwrap(),
        rows: rows
            .iter()
            .map(|row| {
                let always = |name| text(row, name).unwrap();
                (
                    always("check"),
                    always("state"),
                    always("detail"),
                    text(row, "cure"),
                )
            })
            .collect(),
    }
}

impl Checked {
    /// Every row that is not ok: its check, and detail and cure in one text.
    fn troubles(&self) -> Vec<(&str, &str, String)> {
        self.rows
            .iter()
            .filter(|(_, state, ..)| state != "ok")
            .map(|(check, state, detail, cure)| {
                let cure = cure
                    .as_ref()
                    .unwrap_or_else(|| panic!("{check} has no cure: {detail}"));
                (check.as_str(), state.as_str(), format!("{detail}. {cure}"))
            })
            .collect()
    }

    fn assert_only(&self, name: &str, check: &str, state: &str, says: &str) {
        let troubles = self.troubles();
        assert_eq!(troubles.len(), 1, "{name}: {troubles:?}");
        let (found_check, found_state, text) = &troubles[0];
        assert_eq!(
            (*found_check, *found_state),
            (check, state),
            "{name}: {text}"
        );
        assert!(text.contains(says), "{name}: {text}");
        let code = if state == "failed" { 1 } else { 2 };
        assert_eq!(self.code, Some(code), "{name}");
        assert_eq!(self.result, state, "{name}");
    }
}

#[test]
fn a_token_that_is_well_passes_every_check_with_one_login() {
    for algorithm in ["RS256", "ES256"] {
        let hsm = SoftHsm::with_key(algorithm);
        let checked = examine(hsm.spied_launch());

        assert_eq!(checked.code, Some(0), "{:?}", checked.troubles());
        let checks: Vec<_> = checked
            .rows
            .iter()
            .map(|(check, ..)| check.as_str())
            .collect();
        assert_eq!(
            checks,
            [
                "configuration",
                "memory",
                "PIN guard",
                "module file",
                "PIN file",
                "module",
                "slots",
                "token",
                "PIN state",
                "login",
                "attributes",
                "pair",
                "mechanism",
                "sessions",
                "signatures",
                "signing key",
                "clock"
            ]
        );
        assert_eq!(hsm.calls("C_Login"), 1);
        for function in [
            "C_Logout",
            "C_SetPIN",
            "C_CreateObject",
            "C_GenerateKeyPair",
            "C_DestroyObject",
        ] {
            assert_eq!(hsm.calls(function), 0, "{function}");
        }
        assert_eq!(hsm.calls("C_OpenSession"), hsm.calls("C_CloseSession"));
        assert_eq!(hsm.calls("C_Finalize"), 1);
    }
}

#[test]
fn people_get_a_table_with_the_cure_under_each_trouble() {
    let hsm = SoftHsm::new();
    let told = hsm.launch().arguments(&["doctor"]).run();

    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("ok       login"), "{}", told.stdout);
    let mut lines = told
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("failed"));
    assert!(lines.next().unwrap().contains("holds no private key"));
    let cure = lines.next().unwrap().trim_start();
    assert!(
        cure.starts_with("cure: ") && cure.contains("keys generate"),
        "{cure}"
    );
}

#[test]
fn a_wrong_pin_costs_one_login_and_nothing_is_tried_after_it() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.write_pin("wrong-0000");
    let checked = examine(hsm.spied_launch().secret("wrong-0000"));

    checked.assert_only("wrong PIN", "login", "failed", "CKR_PIN_INCORRECT");
    assert_eq!(hsm.calls("C_Login"), 1);
    assert_eq!(hsm.calls("C_SignInit"), 0);

    let warned = examine(hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE"));
    let state = warned
        .rows
        .iter()
        .find(|(check, ..)| check == "PIN state")
        .unwrap();
    assert_eq!(state.1, "warning", "the token remembers it: {}", state.2);
}

#[test]
fn each_fault_of_the_surroundings_is_the_one_trouble() {
    let hsm = SoftHsm::with_key("ES256");
    let copy = hsm.path("module.so");
    fs::copy(hsm.module(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o666)).unwrap();
    let no_module = hsm.path("pin-of-nobody");
    fs::write(&no_module, "text").unwrap();
    let rows = [
        (
            "another token",
            "token",
            "failed",
            "MACP_AUTH_PKCS11_TOKEN_LABEL",
            hsm.launch()
                .set("MACP_AUTH_PKCS11_TOKEN_LABEL", "elsewhere"),
        ),
        (
            "no such module",
            "module file",
            "failed",
            "MACP_AUTH_PKCS11_MODULE",
            hsm.launch()
                .set("MACP_AUTH_PKCS11_MODULE", "/nonexistent/module.so"),
        ),
        (
            "a file that is no module",
            "module",
            "failed",
            "cannot load",
            hsm.launch().set("MACP_AUTH_PKCS11_MODULE", &no_module),
        ),
        (
            "a module for all to write",
            "module file",
            "failed",
            "chmod o-w",
            hsm.launch().set("MACP_AUTH_PKCS11_MODULE", &copy),
        ),
        (
            "a module that does not start",
            "module",
            "failed",
            "C_Initialize",
            hsm.launch()
                .set("SOFTHSM2_CONF", "/nonexistent/softhsm2.conf"),
        ),
        (
            "no key under this label",
            "keys",
            "failed",
            "keys generate",
            hsm.launch().set("MACP_AUTH_PKCS11_KEY_LABEL", "other"),
        ),
        (
            "dumps allowed",
            "memory",
            "warning",
            "MACP_AUTH_CORE_DUMPS",
            hsm.launch().set("MACP_AUTH_CORE_DUMPS", "1"),
        ),
        (
            "a misspelt variable",
            "configuration",
            "failed",
            "MACP_AUTH_PKCS11_SESSIONS",
            hsm.launch().set("MACP_AUTH_PKCS11_SESSION", "2"),
        ),
        (
            "software keys alone",
            "configuration",
            "warning",
            "ephemeral",
            Launch::ephemeral("ES256"),
        ),
    ];
    for (name, check, state, says, launch) in rows {
        examine(launch).assert_only(name, check, state, says);
    }
}

#[test]
fn the_file_of_the_pin_is_looked_at() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.set_pin_file_mode(0o660);
    examine(hsm.launch()).assert_only("group", "PIN file", "warning", "chmod g-w");

    hsm.set_pin_file_mode(0o644);
    examine(hsm.launch()).assert_only("all", "configuration", "failed", "chmod o-rwx");
}

#[test]
fn without_a_pin_nobody_logs_in() {
    let hsm = SoftHsm::with_key("ES256");
    let checked = examine(hsm.spied_launch().unset("MACP_AUTH_PKCS11_PIN_FILE"));

    assert_eq!(checked.code, Some(1));
    let troubles = checked.troubles();
    let checks: Vec<_> = troubles
        .iter()
        .map(|(check, state, _)| (*check, *state))
        .collect();
    assert_eq!(
        checks,
        [("login", "warning"), ("keys", "failed")],
        "{troubles:?}"
    );
    assert_eq!(hsm.calls("C_Login"), 0);
}

#[test]
fn a_memory_that_cannot_be_read_is_a_warning() {
    let hsm = SoftHsm::with_key("ES256");
    let state = hsm.path("memory");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("jwks.json"), "{").unwrap();

    let checked = examine(hsm.launch().set("MACP_AUTH_STATE_DIR", &state));
    assert_eq!(checked.code, Some(2), "{:?}", checked.troubles());
    checked.assert_only("damaged", "saved keys", "warning", "jwks.json");
}

#[test]
fn a_refused_key_is_a_warning_while_another_signs_and_a_failure_alone() {
    let foreign = KeyPair {
        more: &["--extractable"],
        id: "77",
        ..KeyPair::EC
    };
    let (with_another, alone) = (SoftHsm::with_key("ES256"), SoftHsm::new());
    for (hsm, code, state) in [(with_another, 2, "warning"), (alone, 1, "failed")] {
        hsm.make(&foreign);
        let checked = examine(hsm.launch());

        assert_eq!(checked.code, Some(code), "{:?}", checked.troubles());
        let refused = checked
            .troubles()
            .into_iter()
            .find(|(.., text)| text.contains("CKA_EXTRACTABLE is true"));
        let (check, found, text) = refused.unwrap();
        assert_eq!((check, found), ("attributes", state), "{text}");
        assert!(text.contains("CKA_ID 77"), "{text}");
    }
}

#[test]
fn as_many_signatures_are_timed_as_asked_for() {
    let hsm = SoftHsm::with_key("ES256");
    let told = hsm
        .spied_launch()
        .arguments(&["doctor", "--signatures", "7"])
        .run();

    assert_eq!(told.code, Some(0), "{}", told.stdout);
    assert!(
        told.stdout.contains("7 verified; median "),
        "{}",
        told.stdout
    );
    // One more proved the pair.
    assert_eq!(hsm.calls("C_Sign"), 8);
}

#[test]
fn a_pin_that_was_refused_once_is_not_tried_again_until_somebody_says_so() {
    let hsm = SoftHsm::with_key("ES256");
    let state = hsm.path("state");
    fs::create_dir(&state).unwrap();
    let launch = || hsm.spied_launch().set("MACP_AUTH_STATE_DIR", &state);
    hsm.write_pin("wrong-0000");

    let first = examine(launch());
    first.assert_only("first", "login", "failed", "CKR_PIN_INCORRECT");
    let second = examine(launch());
    assert_eq!(hsm.calls("C_Login"), 1, "by both");
    let (check, state_of_it, text) = second.troubles().pop().unwrap();
    assert_eq!((check, state_of_it), ("login", "failed"), "{text}");
    assert!(text.contains("doctor --clear-pin-guard"), "{text}");

    let listed = launch().arguments(&["keys", "list"]).run();
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert_eq!(hsm.calls("C_Login"), 1, "all commands share the memory");

    let cleared = launch().arguments(&["doctor", "--clear-pin-guard"]).run();
    assert_eq!(cleared.code, Some(1), "{}", cleared.stdout);
    assert!(
        cleared.stdout.contains("1 refused PINs forgotten"),
        "{}",
        cleared.stdout
    );
    assert_eq!(hsm.calls("C_Login"), 2, "once more, because it was said so");

    hsm.write_pin(PIN);
    let right = examine(launch());
    assert_eq!(hsm.calls("C_Login"), 3);
    right.assert_only(
        "the token remembers, too",
        "PIN state",
        "warning",
        "wrong PIN was given",
    );
    assert_eq!(examine(launch()).code, Some(0));
}

#[test]
fn several_tokens_are_checked_one_after_the_other_whatever_the_first_says() {
    let hsm = SoftHsm::with_key("ES256");
    let uris = |labels: [&str; 2]| {
        labels
            .map(|label| {
                format!(
                    "pkcs11:token={label}?module-path={}",
                    hsm.module().display()
                )
            })
            .join(" ")
    };
    let launch = |labels| {
        hsm.bare_launch()
            .set("MACP_AUTH_PKCS11_URI", uris(labels))
            .set("MACP_AUTH_PKCS11_PIN_FILE", hsm.pin_file())
            .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
    };

    examine(launch(["elsewhere", TOKEN])).assert_only(
        "one is away",
        "token",
        "failed",
        "elsewhere",
    );

    hsm.make_token("other");
    launch([TOKEN, "other"])
        .arguments(&["doctor"])
        .run()
        .stdout
        .lines()
        .find(|line| line.contains("the token other holds no private key"))
        .expect("the second token's own trouble");
}
