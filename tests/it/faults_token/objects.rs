//! Tokens, slots and keys that go, come back or are others, and signatures that are not those of the key: found again, and
//! nothing wrong gets out.

use std::fs;

use super::{STALE_HANDLE, Scene, UNPLUGGED};
use crate::harness::KeyPair;
use crate::harness::faults::FaultyHsm;

#[test]
fn a_token_directory_that_goes_and_comes_back() {
    let scene = Scene::new();
    let (tokens, away) = (scene.hsm.hsm.path("tokens"), scene.hsm.hsm.path("away"));

    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    scene.refused("the token is away");
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    scene.resumes("the token is back");

    scene.end("token directory");
}

#[test]
fn a_destroyed_key_gives_way_to_another() {
    let hsm = FaultyHsm::new();
    hsm.hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    let scene = Scene::on(hsm);
    let first = scene.kid();

    // Either may be the one that signs.
    scene.hsm.hsm.delete("privkey", "01");
    scene.resumes("one key is left");
    let second = scene.kid();
    assert!(scene.service.jwks().kids().contains(&first));
    scene.hsm.hsm.delete("privkey", "02");
    scene.refused("no key is left");
    scene.hsm.hsm.make(&KeyPair {
        id: "03",
        ..KeyPair::EC
    });
    scene.resumes("a new key");
    let third = scene.kid();

    assert!(third != first && third != second);
    assert!(scene.service.jwks().kids().contains(&second));
    scene.end("destroyed keys");
}

#[test]
fn a_key_replaced_under_its_id_signs_under_its_own_kid() {
    let scene = Scene::new();
    let old = scene.kid();

    scene.hsm.hsm.delete("privkey", "01");
    scene.hsm.hsm.delete("pubkey", "01");
    scene.hsm.hsm.make(&KeyPair::EC);
    scene.resumes("the new key");

    assert_ne!(scene.kid(), old);
    scene.end("a replaced key");
}

#[test]
fn a_flipped_signature_is_signed_again() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign flip times 1");
    scene.hsm.wait_for_a_fault("C_Sign", 0, "one flipped bit");
    scene.resumes("after one flipped bit");

    assert_eq!(scene.logins(), 0);
    assert_eq!(scene.end("one flipped bit").refused, 0);
}

#[test]
fn a_token_that_signs_wrongly_gets_nothing_out() {
    let scene = Scene::new();

    scene.hsm.rules("C_Sign flip");
    scene.refused("all signatures are wrong");
    scene.hsm.no_rules();
    scene.resumes("signatures are right again");

    scene.end("wrong signatures");
}

#[test]
fn another_key_that_signs_gets_nothing_out() {
    let hsm = FaultyHsm::new();
    hsm.hsm.make(&KeyPair {
        id: "77",
        label: "somebody-elses",
        ..KeyPair::EC
    });
    let scene = Scene::on(hsm);

    scene.hsm.rules("C_SignInit other-key");
    scene.refused("the other key signs");
    assert!(scene.hsm.applied("C_SignInit") > 1);
    scene.hsm.no_rules();
    scene.resumes("the right key signs");

    scene.end("another key");
}

#[test]
fn hidden_objects_and_slots_are_found_again() {
    let scene = Scene::new();
    let rows = [
        ("objects", STALE_HANDLE, "C_FindObjects hide"),
        ("slots", UNPLUGGED, "C_GetSlotList hide"),
    ];
    for (what, trigger, rule) in rows {
        scene.hsm.rules(&format!("{trigger}\n{rule}"));
        scene.refused(what);
        let jwks = scene.service.jwks();
        assert_eq!(jwks.keys.len(), 1, "{what}: {}", jwks.text);
        scene.hsm.no_rules();
        scene.resumes(what);
    }

    scene.end("hidden things");
}

#[test]
fn a_token_under_another_slot_number_is_the_same_token() {
    let scene = Scene::new();

    let renumbered = format!("{UNPLUGGED}\nC_GetSlotList renumber 100");
    scene.hsm.rules(&renumbered);
    scene.logins_reach(1);
    scene.resumes("renumbered");
    // Back, while sessions are open.
    scene
        .hsm
        .rules("C_SignInit fail CKR_SESSION_HANDLE_INVALID times 1");
    scene.logins_reach(2);
    scene.resumes("numbered as before");

    assert_eq!(scene.logins(), 2);
    scene.end("other slot numbers");
}
