//! The way to a token: the module, the label, the PIN file, the PIN, and how often it is tried.

use std::time::Duration;

use super::{MINT, assert_waiting, waits_and_says};
use crate::harness::SoftHsm;
use crate::harness::softhsm::{PIN, TOKEN};

#[test]
fn a_file_that_is_no_module_stops_the_start() {
    let hsm = SoftHsm::new();
    let text = hsm.path("module.so");
    std::fs::write(&text, "not a library").unwrap();
    let directory = hsm.path("tokens");
    let libc = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib/libc.so.6",
    ]
    .iter()
    .find(|path| std::path::Path::new(path).exists())
    .unwrap();
    for (name, path, said) in [
        (
            "wrong path",
            "/nowhere/libsofthsm2.so".to_owned(),
            "no such file",
        ),
        ("a text file", text.display().to_string(), "PKCS#11 module"),
        (
            "a directory",
            directory.display().to_string(),
            "PKCS#11 module",
        ),
        (
            "a library without C_GetFunctionList",
            (*libc).to_owned(),
            "C_GetFunctionList",
        ),
    ] {
        let stderr = hsm.launch().set("MACP_AUTH_PKCS11_MODULE", &path).refused();
        assert!(
            stderr.contains(&path) && stderr.contains(said),
            "{name}: {stderr}"
        );
        assert!(
            stderr.contains("MACP_AUTH_PKCS11_MODULE"),
            "{name}: no cure: {stderr}"
        );
    }
}

#[test]
fn two_tokens_of_the_same_label_stop_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    let serial = hsm.serial();
    hsm.make_token(TOKEN);

    let stderr = hsm.launch().refused();
    for said in [TOKEN, "2 tokens", "MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial] {
        assert!(stderr.contains(said), "{said:?}: {stderr}");
    }
    let service = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_TOKEN_SERIAL", &serial)
        .start();
    service.mint(MINT);
}

#[test]
fn a_pin_file_that_is_missing_or_open_to_others_stops_the_start() {
    let hsm = SoftHsm::with_key("ES256");
    for (mode, starts) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o644, false),
        (0o604, false),
        (0o666, false),
    ] {
        hsm.set_pin_file_mode(mode);
        if starts {
            hsm.launch().start().mint(MINT);
            continue;
        }
        let stderr = hsm.launch().refused();
        for said in [
            "MACP_AUTH_PKCS11_PIN_FILE",
            "chmod",
            &hsm.pin_file().display().to_string(),
        ] {
            assert!(stderr.contains(said), "{mode:o}: {said:?}: {stderr}");
        }
    }
    std::fs::remove_file(hsm.pin_file()).unwrap();
    let stderr = hsm.launch().refused();
    assert!(stderr.contains("MACP_AUTH_PKCS11_PIN_FILE"), "{stderr}");
    assert!(
        stderr.contains(&hsm.pin_file().display().to_string()),
        "{stderr}"
    );
}

#[test]
fn what_cannot_be_a_pin_is_refused_before_it_costs_an_attempt() {
    let hsm = SoftHsm::with_key("ES256");
    for (name, content) in [
        ("empty", ""),
        ("newline", "\n"),
        ("two lines", "a\nb\n"),
        ("zero byte", "a\0b"),
    ] {
        std::fs::write(hsm.pin_file(), content).unwrap();
        let stderr = hsm.spied_launch().refused();
        assert!(
            stderr.contains("MACP_AUTH_PKCS11_PIN_FILE"),
            "{name}: {stderr}"
        );
    }
    assert_eq!(hsm.calls("C_Login"), 0);
}

#[test]
fn a_token_that_is_not_there_is_waited_for() {
    let hsm = SoftHsm::without_token();
    let service = hsm.launch().start();
    assert!(
        service.stdout().contains("key source: pkcs11 alg: RS256\n"),
        "{}",
        service.stdout()
    );
    waits_and_says(
        &service,
        "no token",
        &[TOKEN, "MACP_AUTH_PKCS11_TOKEN_LABEL"],
    );
    let parts = service.get("/readyz").text();
    assert!(
        parts.contains("token") && parts.contains(TOKEN),
        "the parts are not named: {parts}"
    );

    hsm.make_token(TOKEN);
    hsm.generate(&["--alg", "ES256"]);
    service.wait_ready();
    service.mint(MINT);
}

#[test]
fn a_module_whose_own_configuration_is_missing_is_waited_for() {
    let hsm = SoftHsm::with_key("ES256");
    let (tokens, away) = (hsm.path("tokens"), hsm.path("tokens-away"));
    std::fs::rename(&tokens, &away).unwrap();
    let service = hsm.launch().start();
    assert_waiting(&service, "no token directory");

    std::fs::rename(&away, &tokens).unwrap();
    service.wait_ready();
    service.mint(MINT);
}

#[test]
fn a_wrong_pin_is_tried_once_and_a_corrected_file_is_noticed() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.write_pin("wrong-pin-1234");
    let service = hsm.spied_launch().secret("wrong-pin-1234").start();
    waits_and_says(
        &service,
        "wrong PIN",
        &["CKR_PIN_INCORRECT", "MACP_AUTH_PKCS11_PIN_FILE"],
    );
    // It tries again every two seconds, without logging in.
    crate::harness::throughout(Duration::from_secs(6), || {
        assert_waiting(&service, "wrong PIN");
        assert_eq!(hsm.calls("C_Login"), 1, "a wrong PIN was tried again");
    });

    hsm.write_pin(PIN);
    service.wait_ready();
    service.mint(MINT);
    assert_eq!(hsm.calls("C_Login"), 2);
}

#[test]
fn another_wrong_pin_costs_one_more_attempt_and_no_second() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.write_pin("wrong-one");
    let service = hsm
        .spied_launch()
        .secret("wrong-one")
        .secret("wrong-two")
        .start();
    assert_eq!(hsm.calls("C_Login"), 1);
    hsm.write_pin("wrong-two");
    crate::harness::until("the second PIN is tried", Duration::from_secs(20), || {
        (hsm.calls("C_Login") == 2).then_some(())
    });

    crate::harness::throughout(Duration::from_secs(5), || {
        assert_eq!(hsm.calls("C_Login"), 2);
        assert_waiting(&service, "two wrong PINs");
    });
}

#[test]
fn a_good_service_logs_in_once_and_never_out() {
    let hsm = SoftHsm::with_key("ES256");
    let mut service = hsm.spied_launch().start();
    for _ in 0..20 {
        service.mint(MINT);
    }
    assert_eq!(service.terminate().code(), Some(0));

    assert_eq!(hsm.calls("C_Login"), 1);
    assert_eq!(hsm.calls("C_Logout"), 0);
    assert_eq!(hsm.calls("C_Finalize"), 1);
    assert_eq!(hsm.calls("C_Initialize"), 1);
}

#[test]
fn without_a_pin_the_missing_key_is_put_down_to_that() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().unset("MACP_AUTH_PKCS11_PIN_FILE").start();

    waits_and_says(&service, "no PIN", &["MACP_AUTH_PKCS11_PIN_FILE"]);
}
