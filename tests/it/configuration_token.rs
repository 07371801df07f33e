//! What configuration of a token is refused: in half, twice, misspelt, or a software key in its place; and no PIN is shown.

use crate::harness::vectors::{RFC7515_A3_KEY, RSA_1024_KEY};
use crate::harness::{Launch, SoftHsm};

#[test]
fn an_unknown_name_of_a_token_stops_the_start_and_the_nearest_known_one_is_named() {
    for (name, nearest) in [
        ("MACP_AUTH_PKCS11_MODUL", "MACP_AUTH_PKCS11_MODULE"),
        ("MACP_AUTH_PKCS11_MODULE_PATH", "MACP_AUTH_PKCS11_MODULE"),
        ("MACP_AUTH_PKCS11_PINFILE", "MACP_AUTH_PKCS11_PIN_FILE"),
        (
            "MACP_AUTH_PKCS11_TOKEN_LABLE",
            "MACP_AUTH_PKCS11_TOKEN_LABEL",
        ),
        ("MACP_AUTH_PKCS11_SESSION", "MACP_AUTH_PKCS11_SESSIONS"),
        ("MACP_AUTH_PKCS11_module", "MACP_AUTH_PKCS11_MODULE"),
        ("MACP_AUTH_PKCS11_URL", "MACP_AUTH_PKCS11_URI"),
    ] {
        let stderr = Launch::new().set(name, "x").refused();
        assert!(
            stderr.contains(name) && stderr.contains(nearest),
            "{name}: {stderr}"
        );
    }
    let hsm = SoftHsm::with_key("ES256");
    let stderr = hsm.launch().set("MACP_AUTH_PKCS11_KEYLABEL", "x").refused();
    assert!(
        stderr.contains("MACP_AUTH_PKCS11_KEY_LABEL"),
        "beside a good token: {stderr}"
    );
}

#[test]
fn a_software_key_is_forbidden_where_an_hsm_is_required() {
    let stderr = Launch::new().set("MACP_AUTH_REQUIRE_HSM", "1").refused();
    assert!(
        stderr.contains("MACP_AUTH_REQUIRE_HSM"),
        "ephemeral: {stderr}"
    );
    let stderr = Launch::ephemeral("ES256")
        .set("MACP_AUTH_REQUIRE_HSM", "1")
        .set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY)
        .refused();
    assert!(stderr.contains("MACP_AUTH_REQUIRE_HSM"), "pinned: {stderr}");

    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().set("MACP_AUTH_REQUIRE_HSM", "1").start();
    service.mint(r#"{"sender":"a"}"#);
}

#[test]
fn a_token_configured_in_half_or_twice_is_refused() {
    let hsm = SoftHsm::new();
    let uri = format!(
        "pkcs11:token=it-token?module-path={}",
        hsm.module().display()
    );
    let module = hsm.module();
    let bare = || hsm.bare_launch();
    let with_module = || bare().set("MACP_AUTH_PKCS11_MODULE", module);
    for (name, launch, said) in [
        (
            "label alone",
            bare().set("MACP_AUTH_PKCS11_TOKEN_LABEL", "x"),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "PIN file alone",
            bare().set("MACP_AUTH_PKCS11_PIN_FILE", hsm.pin_file()),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "key label alone",
            bare().set("MACP_AUTH_PKCS11_KEY_LABEL", "x"),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "sessions alone",
            bare().set("MACP_AUTH_PKCS11_SESSIONS", "4"),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "module alone",
            with_module(),
            "MACP_AUTH_PKCS11_TOKEN_LABEL",
        ),
        (
            "module and PIN",
            with_module().set("MACP_AUTH_PKCS11_PIN_FILE", hsm.pin_file()),
            "MACP_AUTH_PKCS11_TOKEN_LABEL",
        ),
        (
            "relative module",
            hsm.launch()
                .set("MACP_AUTH_PKCS11_MODULE", "libsofthsm2.so"),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "empty module",
            hsm.launch().set("MACP_AUTH_PKCS11_MODULE", ""),
            "MACP_AUTH_PKCS11_MODULE",
        ),
        (
            "empty label",
            hsm.launch().set("MACP_AUTH_PKCS11_TOKEN_LABEL", ""),
            "MACP_AUTH_PKCS11_TOKEN_LABEL",
        ),
        (
            "empty key label",
            hsm.launch().set("MACP_AUTH_PKCS11_KEY_LABEL", ""),
            "MACP_AUTH_PKCS11_KEY_LABEL",
        ),
        (
            "empty PIN",
            hsm.launch()
                .unset("MACP_AUTH_PKCS11_PIN_FILE")
                .set("MACP_AUTH_PKCS11_PIN", ""),
            "MACP_AUTH_PKCS11_PIN",
        ),
        (
            "empty URI",
            bare().set("MACP_AUTH_PKCS11_URI", ""),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "two PINs",
            hsm.launch().set("MACP_AUTH_PKCS11_PIN", "1234"),
            "MACP_AUTH_PKCS11_PIN",
        ),
        (
            "URI and module",
            hsm.launch().set("MACP_AUTH_PKCS11_URI", &uri),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "a token and a pinned key",
            hsm.launch()
                .set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY),
            "MACP_AUTH_SIGNING_KEY_JSON",
        ),
        (
            "a token and a bad pinned key",
            hsm.launch().set("MACP_AUTH_SIGNING_KEY_JSON", RSA_1024_KEY),
            "MACP_AUTH_SIGNING_KEY_JSON",
        ),
        (
            "two URIs",
            bare().set("MACP_AUTH_PKCS11_URI", format!("{uri} {uri}")),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "URI without module",
            bare().set("MACP_AUTH_PKCS11_URI", "pkcs11:token=x"),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "URI without token",
            bare().set(
                "MACP_AUTH_PKCS11_URI",
                format!("pkcs11:?module-path={}", module.display()),
            ),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "no URI",
            bare().set("MACP_AUTH_PKCS11_URI", "http://x"),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "PIN command",
            bare().set(
                "MACP_AUTH_PKCS11_URI",
                format!("{uri}&pin-source=%7Ccat%20/etc/passwd"),
            ),
            "MACP_AUTH_PKCS11_URI",
        ),
        (
            "sessions 0",
            hsm.launch().set("MACP_AUTH_PKCS11_SESSIONS", "0"),
            "MACP_AUTH_PKCS11_SESSIONS",
        ),
        (
            "sessions many",
            hsm.launch().set("MACP_AUTH_PKCS11_SESSIONS", "many"),
            "MACP_AUTH_PKCS11_SESSIONS",
        ),
    ] {
        let stderr = launch.refused();
        assert!(
            stderr.contains(said),
            "{name}: {said} is not named: {stderr}"
        );
    }
}

#[test]
fn a_pin_is_never_shown_whatever_is_wrong_beside_it() {
    let hsm = SoftHsm::new();
    let pin = "hunter2-hunter2";
    let uri = format!("pkcs11:token=x;bad=%zz?pin-value={pin}&module-path=/x.so");
    for (name, launch) in [
        (
            "variable",
            hsm.bare_launch().set("MACP_AUTH_PKCS11_PIN", pin),
        ),
        (
            "misspelt variable",
            hsm.bare_launch().set("MACP_AUTH_PKCS11_PINN", pin),
        ),
        (
            "bad URI",
            hsm.bare_launch().set("MACP_AUTH_PKCS11_URI", uri.as_str()),
        ),
        (
            "several URIs",
            hsm.bare_launch()
                .set("MACP_AUTH_PKCS11_URI", format!("{uri} {uri}")),
        ),
    ] {
        let stderr = launch.secret(pin).refused();
        assert!(stderr.contains("MACP_AUTH_PKCS11_"), "{name}: {stderr}");
    }
}
