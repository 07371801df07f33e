//! Keys whose labels say nothing, as NetHSM and PIV dictate them: a file says which are ours and from when each signs, and
//! rotation is as quiet as with labels.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::harness::hurry::{
    TOKEN_LIFE, VERIFIER_TTL, hurried, next_switch, now, remembering, wait_until, written,
};
use crate::harness::service::PATIENCE;
use crate::harness::{Fleet, KeyPair, Pace, Service, SoftHsm, Traffic, ec_pkcs8, until};

const PACE: Pace = Pace {
    verifiers: 8,
    verifier_ttl: VERIFIER_TTL,
    mints_per_second: 16,
    token_life: Duration::from_secs(TOKEN_LIFE),
};

/// A token is looked at every 30 s, less 10 %.
const BEFORE_THE_NEXT_LOOK: Duration = Duration::from_secs(15);

fn say(hsm: &SoftHsm, keys: &[(&str, &str)]) {
    say_by(hsm, "id", keys);
}

/// Replaced whole. `name`: `id` or `kid`.
fn say_by(hsm: &SoftHsm, name: &str, keys: &[(&str, &str)]) {
    let mut text = String::new();
    for (key, from) in keys {
        writeln!(text, "[[key]]\n{name} = {key:?}\nactive_from = {from:?}").unwrap();
    }
    let new = hsm.path("schedule.new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, hsm.path("schedule.toml")).unwrap();
}

#[test]
fn a_file_of_instants_drives_a_rotation_that_no_verifier_notices() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "PIV AUTH key",
        id: "9a",
        ..KeyPair::RSA
    });
    // The label of ours decides nothing beside a file.
    hsm.make(&KeyPair::EC);
    say(&hsm, &[("9a", "ever")]);
    let fleet = Fleet::start((0..2).map(|replica| {
        let launch = hurried(hsm.launch());
        remembering(launch, &hsm, replica)
            .set("MACP_AUTH_KEY_SCHEDULE_FILE", hsm.path("schedule.toml"))
    }));
    let first = fleet.replicas().next().unwrap();
    let old = first.jwks().kids();
    assert_eq!(old.len(), 1, "only what the file names: {old:?}");
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_have_keys();

    hsm.make(&KeyPair {
        label: "CARD AUTH key",
        id: "9e",
        ..KeyPair::EC
    });
    // A poll until it is seen, which is its creation: its id carries none.
    let switch = next_switch();
    say(&hsm, &[("9a", "ever"), ("9e", &written(switch))]);
    let new = until("the new key is published", PATIENCE, || {
        let kids = first.jwks().kids();
        kids.into_iter().find(|kid| *kid != old[0])
    });
    wait_until(switch);
    traffic.wait_until_all_sign_with(&new);

    wait_until(now() + 2 * VERIFIER_TTL);
    assert_eq!(first.jwks().kids(), [new, old[0].clone()]);
    let outcome = traffic.stop();
    assert!(outcome.checks > 500, "{}", outcome.explained());
    outcome.must_be_flawless(&fleet);
}

#[test]
fn a_hangup_reads_the_file_before_the_tokens() {
    // Two tokens of one module: it is not started over, so that only the order of the two counts.
    let hsm = SoftHsm::without_token();
    let (module, pin) = (hsm.module().display(), hsm.pin_file());
    let uris = ["one", "two"].map(|token| {
        hsm.make_token(token);
        hsm.import_to(token, &ec_pkcs8(), "a", "01");
        hsm.import_to(token, &ec_pkcs8(), "b", "02");
        let pin = pin.display();
        format!("pkcs11:token={token}?module-path={module}&pin-source={pin}")
    });
    say(&hsm, &[("01", "ever")]);
    let launch = hsm
        .bare_launch()
        .set("MACP_AUTH_PKCS11_URI", uris.join(" "));
    let service = launch
        .set("MACP_AUTH_STATE_DIR", hsm.path("state"))
        .set("MACP_AUTH_KEY_POLICY", "warn")
        .set("MACP_AUTH_KEY_SCHEDULE_FILE", hsm.path("schedule.toml"))
        .start();
    let published = |keys: usize, within: Duration| {
        until(&format!("{keys} keys"), within, || {
            (service.jwks().kids().len() == keys).then_some(())
        });
    };
    published(2, PATIENCE);

    say(&hsm, &[("01", "ever"), ("02", "2099-01-01T00:00:00Z")]);
    service.signal("HUP");
    published(4, BEFORE_THE_NEXT_LOOK);
}

#[test]
fn a_name_that_no_token_shows_is_told() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "PIV AUTH key",
        id: "9a",
        ..KeyPair::EC
    });
    let launch = || {
        let file = hsm.path("schedule.toml");
        let launch = hsm.launch().set("MACP_AUTH_KEY_SCHEDULE_FILE", file);
        launch.with_admin()
    };
    for (name, keys, alarms) in [
        ("all are there", &[("9a", "ever")][..], &[][..]),
        (
            "one is misspelt",
            &[("9a", "ever"), ("9f", "2099-01-01T00:00:00Z")],
            &["id = \"9f\""],
        ),
        (
            "the only one is misspelt",
            &[("9f", "ever")],
            &["id = \"9f\""],
        ),
    ] {
        say(&hsm, keys);
        let service = launch().start();
        let told = |status: &serde_json::Value| {
            let alarms = status["alarms"].as_array().unwrap().iter();
            let alarms = alarms.filter(|alarm| alarm["kind"] == "unknown_scheduled");
            let details = alarms.map(|alarm| alarm["detail"].as_str().unwrap().to_owned());
            details.collect::<Vec<_>>()
        };
        until(name, PATIENCE, || {
            let status = service.status();
            let told = told(&status);
            let each = alarms.iter().zip(&told);
            let right = told.len() == alarms.len();
            (right && each.into_iter().all(|(want, told)| told.contains(want))).then_some(())
        });
        if keys[0].0 == "9f" {
            let ready = service.get("/readyz?for=mint").text();
            assert!(
                ready.contains("MACP_AUTH_KEY_SCHEDULE_FILE alone says"),
                "{ready}"
            );
        }
        let listed = launch().arguments(&["keys", "list"]).run();
        let text = listed.stdout;
        assert_eq!(
            text.contains("id = \"9f\""),
            !alarms.is_empty(),
            "{name}: {text}"
        );
    }
}

const MINT: &str = r#"{"sender":"agent://schedule"}"#;
const FAR: &str = "2099-01-01T00:00:00Z";

/// Two keys that a file names by kid: 01 signs since ever, 02 not in this life. In the order of their ids.
fn two_named_by_kid(hsm: &SoftHsm, pairs: [&[u8]; 2]) -> [String; 2] {
    for (pkcs8, id) in pairs.into_iter().zip(["01", "02"]) {
        hsm.import(pkcs8, "not ours by its label", id);
    }
    say(hsm, &[("01", "ever"), ("02", FAR)]);
    let service = looking(hsm);
    let signing = service.mint(MINT).kid();
    let kids = service.jwks().kids();
    let waiting = kids.into_iter().find(|kid| *kid != signing).unwrap();
    say_by(hsm, "kid", &[(&signing, "ever"), (&waiting, FAR)]);
    [signing, waiting]
}

/// A service that looks each second and remembers nothing.
fn looking(hsm: &SoftHsm) -> Service {
    let service = hsm
        .launch()
        .set("MACP_AUTH_KEY_POLICY", "warn")
        .set("MACP_AUTH_KEY_POLL_SECONDS", "1")
        .set("MACP_AUTH_KEY_SCHEDULE_FILE", hsm.path("schedule.toml"))
        .start();
    service.wait_ready();
    service
}

/// Waits until a look has found that; each token meanwhile is of this key.
fn told_while_signing(service: &Service, kid: &str, text: &str) {
    until(text, PATIENCE, || {
        assert_eq!(service.mint(MINT).kid(), kid, "{text}");
        let ready = service.get("/readyz").text();
        ready.contains(text).then_some(())
    });
}

fn public_half(pkcs8: &[u8]) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    spki.as_ref().to_vec()
}

#[test]
fn public_objects_do_not_move_the_instant_of_a_key_that_a_file_names_by_kid() {
    let hsm = SoftHsm::new();
    let pairs = [ec_pkcs8(), ec_pkcs8()];
    let [signing, waiting] = two_named_by_kid(&hsm, [&pairs[0], &pairs[1]]);
    let service = looking(&hsm);
    let both = service.jwks().kids();
    assert_eq!(both.len(), 2, "{signing} and {waiting}: {both:?}");

    hsm.delete("pubkey", "01");
    told_while_signing(&service, &signing, "public key object is gone");
    hsm.write_public(&public_half(&pairs[1]), "planted", "01");
    told_while_signing(&service, &signing, "other public key object");
    assert_eq!(service.jwks().kids(), both);
}

#[test]
fn a_start_takes_the_instant_of_the_kid_that_is_proved_and_no_other() {
    let hsm = SoftHsm::new();
    let pairs = [ec_pkcs8(), ec_pkcs8()];
    let [signing, _] = two_named_by_kid(&hsm, [&pairs[0], &pairs[1]]);
    // More of them than of the right one: the token lists objects in any order.
    for _ in 0..5 {
        hsm.write_public(&public_half(&pairs[1]), "planted", "01");
    }
    hsm.import(&ec_pkcs8(), "somebody else's", "03");
    hsm.write_public(&public_half(&pairs[0]), "planted", "03");

    let service = looking(&hsm);
    assert_eq!(service.mint(MINT).kid(), signing);
    assert_eq!(service.jwks().kids().len(), 2, "03 is not ours");
}
