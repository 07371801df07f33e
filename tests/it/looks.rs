//! Keys that come, go and change while the service runs: what a look at the token makes of them. None of it breaks minting or
//! the JWKS, and each is told.

use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::Value;

use crate::harness::faults::FaultyHsm;
use crate::harness::{FakedClock, KeyPair, Launch, Service, SoftHsm, ec_pkcs8, until};

const MINT: &str = r#"{"sender":"agent://looks"}"#;
/// A key that comes to a token which has one already; its instant has long come.
const SECOND: KeyPair<'_> = KeyPair {
    label: "macp-jwt-20250101T000000Z",
    id: "02",
    ..KeyPair::EC
};
/// Long enough for several looks on a machine with other things to do.
const SOON: Duration = Duration::from_secs(30);
const LEAD: u64 = 9;

/// The shortest times that are safe: a look each second, and verifiers that keep nothing for longer than one.
fn quick(launch: Launch) -> Launch {
    launch
        .set("MACP_AUTH_KEY_POLL_SECONDS", "1")
        .set("MACP_AUTH_JWKS_MAX_AGE_SECONDS", "0")
        .set("MACP_AUTH_VERIFIER_TTL_SECONDS", "1")
        .set("MACP_AUTH_CLOCK_SKEW_SECONDS", "0")
        .set("MACP_AUTH_KEY_LEAD_SECONDS", LEAD.to_string())
}

/// A service that has found its first key.
fn running(hsm: &SoftHsm) -> Service {
    let service = quick(hsm.launch()).start();
    service.wait_ready();
    service
}

fn parts(service: &Service) -> Vec<(String, String)> {
    let ready: Value = service.get("/readyz").json();
    let parts = ready["parts"].as_array().unwrap().iter();
    parts
        .map(|part| {
            let text = |name: &str| part[name].as_str().unwrap().to_owned();
            (text("name"), text("detail"))
        })
        .collect()
}

/// Waits until `/readyz` says so.
fn told(service: &Service, kind: &str, text: &str) {
    until(&format!("{kind}: {text}"), SOON, || {
        let parts = parts(service);
        parts
            .iter()
            .any(|(name, detail)| name == kind && detail.contains(text))
            .then_some(())
    });
}

fn published(service: &Service, keys: usize) {
    until(&format!("{keys} keys"), SOON, || {
        (service.jwks().kids().len() == keys).then_some(())
    });
}

/// Waits for a token under a key that is not `old`.
fn signs_with_another(service: &Service, old: &str) -> String {
    until("another key signs", SOON, || {
        let token = service.mint(MINT);
        (token.kid() != old).then(|| token.kid())
    })
}

#[test]
fn a_new_key_is_published_at_the_next_look_and_signs_after_the_lead() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::RSA);
    let service = running(&hsm);
    let old = service.mint(MINT).kid();

    hsm.make(&SECOND);
    published(&service, 2);
    assert_eq!(service.mint(MINT).kid(), old, "not before the lead");
    let new = signs_with_another(&service, &old);

    assert!(service.jwks().kids().contains(&old), "still published");
    until("the signing key comes first", SOON, || {
        (service.jwks().kids()[0] == new).then_some(())
    });
}

#[test]
fn a_hangup_looks_at_once() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().start();
    service.wait_ready();
    hsm.make(&KeyPair {
        label: "macp-jwt-20990101T000000Z",
        id: "02",
        ..KeyPair::EC
    });

    service.signal("HUP");
    until(
        "two keys long before the next look",
        Duration::from_secs(10),
        || (service.jwks().kids().len() == 2).then_some(()),
    );
    service.mint(MINT);
}

#[test]
fn one_key_under_two_instants_has_the_later_one_whatever_the_order_and_is_told() {
    let early = "macp-jwt-20250101T000000Z";
    let late = "macp-jwt-20250601T000000Z";
    for labels in [[early, late], [late, early]] {
        let hsm = SoftHsm::new();
        let twice = ec_pkcs8();
        for (label, id) in labels.into_iter().zip(["01", "02"]) {
            hsm.import(&twice, label, id);
        }
        let launch = quick(hsm.launch().set("MACP_AUTH_KEY_POLICY", "warn"));
        let service = launch.with_admin().start();

        let kid = service.mint(MINT).kid();
        told(&service, "two_instants", &kid);
        let status = service.status();
        assert_eq!(status["keys"][0]["signs_from"], "2025-06-01T00:00:00Z");
    }
}

#[test]
fn a_new_key_with_an_instant_that_is_overtaken_is_told() {
    let hsm = SoftHsm::new();
    hsm.make(&SECOND);
    let service = running(&hsm);
    let signing = service.mint(MINT).kid();

    hsm.make(&KeyPair::EC);
    published(&service, 2);
    let mut kids = service.jwks().kids().into_iter();
    let new = kids.find(|kid| *kid != signing).unwrap();
    told(&service, "overtaken", &new);
    assert_eq!(service.mint(MINT).kid(), signing);
}

#[test]
fn a_retired_key_that_is_destroyed_early_stays_published_and_is_told() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = running(&hsm);
    let old = service.mint(MINT).kid();
    hsm.make(&SECOND);
    signs_with_another(&service, &old);

    hsm.delete("privkey", "01");
    told(&service, "key_gone", &old);
    assert!(service.jwks().kids().contains(&old));
    service.mint(MINT);
}

fn foreign_public_key() -> Vec<u8> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

#[test]
fn a_foreign_public_object_changes_nothing_and_is_told() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = running(&hsm);
    let before = service.jwks().text;

    hsm.write_public(&foreign_public_key(), "macp-jwt-20250101T000000Z", "01");
    told(&service, "key_refused", "other public key object");
    assert_eq!(service.jwks().text, before);
    service.mint(MINT);
}

#[test]
fn a_public_object_that_goes_or_is_another_under_its_label_changes_nothing_and_is_told() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = running(&hsm);
    let before = service.jwks().text;

    hsm.delete("pubkey", "01");
    told(&service, "key_refused", "public key object is gone");
    hsm.write_public(&foreign_public_key(), "macp-jwt-20990101T000000Z", "01");
    told(&service, "key_refused", "other public key object");
    assert_eq!(service.jwks().text, before);
    service.mint(MINT);
}

#[test]
fn two_keys_made_at_once_are_one_generation() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::RSA);
    let service = running(&hsm);
    let old = service.mint(MINT).kid();
    let made: Vec<_> = [("02", "rsa:2048"), ("03", "EC:prime256v1")]
        .map(|(id, kind)| KeyPair {
            kind,
            label: "macp-jwt.20250101T000000Z",
            id,
            more: &[],
        })
        .into();

    std::thread::scope(|scope| {
        for pair in &made {
            scope.spawn(|| hsm.make(pair));
        }
    });
    published(&service, 3);
    let new = signs_with_another(&service, &old);
    for _ in 0..20 {
        assert_eq!(service.mint(MINT).kid(), new, "one of them signs");
    }
}

#[test]
fn a_label_that_ends_in_no_instant_is_left_alone_and_told() {
    let hsm = SoftHsm::with_key("ES256");
    let service = running(&hsm);
    let before = service.jwks().text;

    hsm.make(&KeyPair {
        label: "macp-jwt-20261301T000000Z",
        id: "02",
        ..KeyPair::EC
    });
    told(&service, "key_refused", "macp-jwt-20261301T000000Z");
    assert_eq!(service.jwks().text, before);
    service.mint(MINT);
}

#[test]
fn a_private_object_waits_for_its_public_half_before_it_is_told() {
    let hsm = SoftHsm::with_key("ES256");
    let service = running(&hsm);
    hsm.make(&SECOND);
    hsm.delete("pubkey", "02");

    told(&service, "key_refused", "no public key object");
    service.mint(MINT);
}

#[test]
fn a_clock_that_jumps_stops_minting_until_it_is_right_again_or_confirmed() {
    let hsm = SoftHsm::with_key("ES256");
    let clock = FakedClock::beside(&hsm);
    let service = clock.of(hsm.launch()).start();
    service.wait_ready();
    let jwks = service.jwks().text;

    let calm = || {
        until("no alarm", SOON, || {
            let parts = parts(&service);
            (!parts.iter().any(|(name, _)| name == "clock")).then_some(())
        });
    };
    for jump in [-120, 7200] {
        clock.set(jump);
        told(&service, "clock", "jumped");
        assert_eq!(service.post(MINT).status, 503, "{jump}");
        assert_eq!(service.get("/readyz").status, 503);
        assert_eq!(service.jwks().text, jwks);
        clock.set(0);
        calm();
        service.mint(MINT);
    }

    clock.set(7200);
    told(&service, "clock", "jumped");
    service.signal("HUP");
    service.wait_ready();
    service.mint(MINT);
}

/// A service that looks each second at a token that fails on demand.
fn faulty(lead: u64) -> (FaultyHsm, Service) {
    let faulty = FaultyHsm::new();
    let launch = quick(faulty.launch()).set("MACP_AUTH_KEY_LEAD_SECONDS", lead.to_string());
    let service = launch.start();
    faulty.warm_up(&service);
    (faulty, service)
}

#[test]
fn a_look_that_fails_or_finds_nothing_disturbs_no_mint_and_takes_nothing_away() {
    for rule in [
        "C_FindObjectsInit fail CKR_GENERAL_ERROR",
        "C_FindObjects fail CKR_DEVICE_ERROR",
        "C_FindObjects hide",
        "C_GetAttributeValue fail CKR_FUNCTION_FAILED",
    ] {
        let (faulty, service) = faulty(60);
        let jwks = service.jwks().text;

        faulty.rules(rule);
        told(&service, "look", "last look");
        for _ in 0..50 {
            service.mint(MINT);
        }
        assert_eq!(service.jwks().text, jwks, "{rule}");
        assert_eq!(service.get("/readyz").status, 200, "{rule}");
        faulty.no_rules();
        until("the look is well again", SOON, || {
            let parts = parts(&service);
            (!parts.iter().any(|(name, _)| name == "look")).then_some(())
        });
    }
}

#[test]
fn a_look_that_hangs_disturbs_no_mint_until_it_is_too_old() {
    let (faulty, service) = faulty(LEAD);
    let before = faulty.applied("C_FindObjects");
    faulty.rules("C_FindObjects hang");
    faulty.wait_for_a_fault("C_FindObjects", before, "a look");

    // Longer than any call may take.
    let patience = Instant::now() + Duration::from_secs(5);
    while Instant::now() < patience {
        service.mint(MINT);
    }
    until("too old to know which keys are about to sign", SOON, || {
        (service.get("/readyz?for=jwks").status == 503).then_some(())
    });
    told(&service, "look", "hangs or takes too long");
    until("too old to sign", SOON, || {
        (service.post(MINT).status == 503).then_some(())
    });

    faulty.no_rules();
    service.wait_ready();
    service.mint(MINT);
}

/// A fetch of the JWKS from an address of its own.
fn fetch_from(address: &str, service: &Service) {
    let fetched = Command::new("curl")
        .args(["--silent", "--fail", "--interface", address])
        .arg(service.jwks_url())
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
}

#[test]
fn an_activation_waits_for_a_verifier_that_was_seen_and_lacks_the_key() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = quick(hsm.launch())
        .set("MACP_AUTH_ROTATION_UNSAFE", "1")
        .set("MACP_AUTH_KEY_LEAD_SECONDS", "20")
        .set("MACP_AUTH_VERIFIER_TTL_SECONDS", "60")
        .set("MACP_AUTH_ACTIVATE_AFTER_CONVERGENCE", "1")
        .start();
    service.wait_ready();
    let old = service.mint(MINT).kid();
    fetch_from("127.0.0.7", &service);

    hsm.make(&KeyPair {
        label: "macp-jwt-20250101T000000Z",
        id: "02",
        ..KeyPair::RSA
    });
    published(&service, 2);
    let lead = Instant::now() + Duration::from_secs(22);
    until("the lead is over", 2 * SOON, || {
        assert_eq!(
            service.mint(MINT).kid(),
            old,
            "the verifier has not come again"
        );
        (Instant::now() > lead).then_some(())
    });

    fetch_from("127.0.0.7", &service);
    signs_with_another(&service, &old);
}
