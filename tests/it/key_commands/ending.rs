//! The end of keys: what `prune` destroys and what it keeps, and what `revoke-bound` foretells.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Two, json, keys, kid_of, listed, states, try_keys};
use crate::harness::faults::FaultyHsm;
use crate::harness::service::PATIENCE;
use crate::harness::vectors::RFC7515_A3_KEY;
use crate::harness::{KeyPair, Launch, SoftHsm, until};

/// A rehearsal in which a key expires seconds after its successor was made.
fn hurried(launch: Launch) -> Launch {
    launch
        .set("MACP_AUTH_ROTATION_UNSAFE", "1")
        .set("MACP_AUTH_KEY_LEAD_SECONDS", "1")
        .set("MACP_AUTH_KEY_RETAIN_SECONDS", "1")
}

/// The kids of an expired key and of its successor, which have come to that as the clock went on.
fn expired_and_active(launch: &dyn Fn() -> Launch) -> (Vec<String>, Vec<String>) {
    let kids = |made: &str| -> Vec<String> {
        let made = json(made);
        let keys = made["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = ["generate", "--alg", "ES256", "--json"];
    let past = ["--activate-at", "2025-01-01T00:00:00Z"];
    let old = kids(&keys(launch(), &[&first[..], &past].concat()));
    let new = kids(&keys(launch(), &["generate", "--now", "--json"]));
    until("the old keys to expire", PATIENCE, || {
        let states = states(&listed(launch()));
        let expired = |kid: &String| states.contains(&(kid.clone(), "EXPIRED".to_owned()));
        old.iter().all(expired).then_some(())
    });
    (old, new)
}

#[test]
fn the_kid_of_a_foreign_key_neither_breaks_a_line_nor_speaks_to_the_terminal() {
    let hsm = SoftHsm::with_key("ES256");
    let foreign = hsm.path("foreign.json");
    let mut set: Value = serde_json::from_str(&foreign_set()).unwrap();
    set["keys"][0]["kid"] = "\u{1b}[2J\nforged".into();
    write_private(&foreign, &set.to_string());
    let launch = || hsm.launch().set("MACP_AUTH_EXTRA_JWKS_FILE", &foreign);

    let unknown = try_keys(launch(), &["revoke-bound", "nobody"]);
    let bound = keys(launch(), &["revoke-bound", "\u{1b}[2J\nforged"]);
    let made = keys(launch(), &["generate", "--dry-run"]);
    let list = keys(launch(), &["list"]);
    for said in [unknown.stderr.as_str(), &bound, &list] {
        assert!(said.contains(r"\u{1b}[2J\nforged"), "{said:?}");
    }
    let plan = keys(launch(), &["plan"]);
    for said in [unknown.stderr.as_str(), &bound, &made, &list, &plan] {
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(
            !said.lines().any(|line| line.starts_with("forged")),
            "{said:?}"
        );
    }
    let kids = states(&listed(launch()));
    assert!(kids.iter().any(|(kid, _)| kid == "\u{1b}[2J\nforged"));
}

/// The key set of another service.
fn foreign_set() -> String {
    let told = Launch::ephemeral("ES256")
        .set("MACP_AUTH_SIGNING_KEY_JSON", RFC7515_A3_KEY)
        .arguments(&["jwks"])
        .run();
    assert_eq!(told.code, Some(0), "{told:?}");
    told.stdout
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn prune_destroys_what_has_expired_and_only_if_it_is_told_so() {
    let hsm = SoftHsm::new();
    let launch = || hurried(hsm.launch());
    let (old, new) = expired_and_active(&launch);

    for rehearsal in [&["prune"][..], &["prune", "--dry-run"]] {
        let said = keys(launch(), rehearsal);
        assert!(said.contains(&old[0]) && !said.contains(&new[0]), "{said}");
        assert!(said.contains("nothing was destroyed"), "{said}");
        assert_eq!(states(&listed(launch())).len(), 2);
    }
    assert_eq!(
        try_keys(launch(), &["prune", "--yes", "--dry-run"]).code,
        Some(2)
    );
    let objects = hsm.objects();
    assert_eq!(
        objects.matches("Private Key Object").count(),
        2,
        "{objects}"
    );

    let said = json(&keys(launch(), &["prune", "--yes", "--json"]));
    assert_eq!(said["keys"][0]["kid"], old[0].as_str());
    assert_eq!(said["keys"][0]["destroyed"], true);
    assert_eq!(
        states(&listed(launch())),
        [(new[0].clone(), "ACTIVE".to_owned())]
    );
    let objects = hsm.objects();
    assert_eq!(
        objects.matches("Private Key Object").count(),
        1,
        "{objects}"
    );
    assert_eq!(objects.matches("Public Key Object").count(), 1, "{objects}");
    assert!(keys(launch(), &["prune", "--yes"]).contains("no key to destroy"));
    launch().start().mint(r#"{"sender":"a"}"#);
}

#[test]
fn prune_says_what_is_destroyed_where_the_public_half_stays() {
    let faulty = FaultyHsm::without_key();
    let launch = || hurried(faulty.launch());
    let (old, _) = expired_and_active(&launch);
    let list = listed(launch());
    let mut keys = list["keys"].as_array().unwrap().iter();
    let doomed = keys.find(|key| key["kid"] == old[0].as_str()).unwrap();

    faulty.rules("C_DestroyObject fail CKR_DEVICE_ERROR after 1 times 1");
    let failed = try_keys(launch(), &["prune", "--yes"]);
    faulty.no_rules();

    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = &failed.stderr;
    assert!(!said.contains("Nothing was destroyed"), "{said}");
    for word in [
        &format!("the private half of {} is destroyed", old[0]),
        &format!("Destroyed for good: {}", old[0]),
        doomed["label"].as_str().unwrap(),
        doomed["id"].as_str().unwrap(),
        "CKR_DEVICE_ERROR",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let objects = faulty.hsm.objects();
    assert_eq!(objects.matches("Private Key Object").count(), 1);
    assert_eq!(objects.matches("Public Key Object").count(), 2);
}

#[test]
fn prune_looks_whether_a_key_is_gone_that_the_token_says_it_did_not_destroy() {
    #[rustfmt::skip]
    let rows = [
        ("carried out", "C_DestroyObject lose CKR_DEVICE_ERROR times 1", None, (1, 1)),
        ("not carried out", "C_DestroyObject fail CKR_DEVICE_ERROR times 1", Some("Nothing was destroyed"), (2, 2)),
        ("nothing can be seen", "C_DestroyObject lose CKR_DEVICE_ERROR times 1\nC_GetSessionInfo fail CKR_DEVICE_ERROR",
            Some("C_GetSessionInfo: CKR_DEVICE_ERROR"), (1, 2)),
        ("the login was lost before", "C_DestroyObject logout", Some("nobody is logged in any more"), (2, 2)),
    ];
    for (name, rules, said, left) in rows {
        let faulty = FaultyHsm::without_key();
        let launch = || hurried(faulty.launch());
        let (old, _) = expired_and_active(&launch);
        faulty.rules(rules);
        let pruned = try_keys(launch(), &["prune", "--yes", "--json"]);
        faulty.no_rules();

        let objects = faulty.hsm.objects();
        let count = |kind: &str| objects.matches(kind).count();
        let found = (count("Private Key Object"), count("Public Key Object"));
        assert_eq!(found, left, "{name}: {pruned:?}: {objects}");
        let Some(said) = said else {
            assert_eq!(pruned.code, Some(0), "{name}: {pruned:?}");
            let answer = json(&pruned.stdout);
            assert_eq!(answer["keys"][0]["destroyed"], true, "{name}: {answer}");
            let warning = answer["warnings"][0].as_str().unwrap();
            for part in [&old[0], "C_DestroyObject: CKR_DEVICE_ERROR"] {
                assert!(warning.contains(part), "{name}: {warning}");
            }
            continue;
        };
        assert_eq!(pruned.code, Some(1), "{name}: {pruned:?}");
        assert!(pruned.stderr.contains(said), "{name}: {pruned:?}");
        if said != "Nothing was destroyed" {
            for part in ["it is not known", &old[0], "`keys list`"] {
                assert!(pruned.stderr.contains(part), "{name}: {pruned:?}");
            }
            assert!(!pruned.stderr.contains("Nothing was"), "{pruned:?}");
        }
    }
}

#[test]
fn a_memory_that_cannot_be_read_is_told_and_prune_destroys_nothing() {
    let hsm = SoftHsm::new();
    let state = hsm.path("memory");
    fs::create_dir(&state).unwrap();
    let file = state.join("jwks.json");
    let launch = || hurried(hsm.launch()).set("MACP_AUTH_STATE_DIR", &state);
    let (old, _) = expired_and_active(&launch);
    let objects = hsm.objects();
    let lost = "what was known of the keys cannot be read";

    for (name, bytes) in [
        ("empty", &b""[..]),
        ("truncated", br#"{"version":2,"keys":[{"#),
        ("random", b"\xff\x00\x17"),
        ("another version", br#"{"version":3,"keys":[]}"#),
        ("a pipe", b"mkfifo"),
    ] {
        if bytes == b"mkfifo" {
            fs::remove_file(&file).unwrap();
            let made = Command::new("mkfifo").arg(&file).status();
            assert!(made.unwrap().success());
        } else {
            fs::write(&file, bytes).unwrap();
        }
        let refused = try_keys(launch(), &["prune", "--yes"]);
        assert_eq!(refused.code, Some(1), "{name}: {refused:?}");
        for word in [lost, "nothing was destroyed", file.to_str().unwrap()] {
            assert!(refused.stderr.contains(word), "{name}: {refused:?}");
        }
        for told in [&["list"][..], &["plan"], &["generate", "--dry-run"]] {
            let said = keys(launch(), told);
            assert!(said.contains(lost), "{name}: {told:?}: {said}");
        }
        let alarms = listed(launch())["alarms"].to_string();
        assert!(alarms.contains("\"state\""), "{name}: {alarms}");
    }
    // A service writes a new one, and that does not bring back what was known.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "{").unwrap();
    let keeping = || launch().set("MACP_AUTH_KEY_RETAIN_SECONDS", "600");
    keeping().start().wait_ready();
    assert_ne!(fs::read(&file).unwrap(), b"{");
    assert_eq!(fs::read(state.join("jwks.json.damaged")).unwrap(), b"{");
    let refused = try_keys(keeping(), &["prune", "--yes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(lost), "{refused:?}");
    assert_eq!(hsm.objects(), objects);

    fs::remove_file(&file).unwrap();
    assert!(keys(launch(), &["prune", "--yes"]).contains(&old[0]));
}

#[test]
fn prune_leaves_what_is_retired_prepared_of_the_other_algorithm_or_of_others() {
    let hsm = SoftHsm::with_key("ES256");
    hsm.generate(&["--activate-in", "1h"]);
    for (label, id) in [("foreign", "f1"), ("macp-jwt2", "f2")] {
        hsm.make(&KeyPair {
            label,
            id,
            ..KeyPair::EC
        });
    }
    hsm.make(&KeyPair {
        label: "macp-jwt-20240101T000000Z",
        id: "f3",
        ..KeyPair::RSA
    });
    let before = hsm.objects();
    let launch = || hsm.launch().set("MACP_AUTH_SIGNING_ALG", "ES256");

    let said = keys(launch(), &["prune", "--yes"]);
    assert!(said.contains("no key to destroy"), "{said}");
    assert_eq!(hsm.objects(), before);
}

#[test]
fn prune_keeps_a_key_whose_successor_may_be_new_to_others() {
    let hsm = SoftHsm::new();
    for (year, id) in [("2024", "01"), ("2025", "02")] {
        hsm.make(&KeyPair {
            label: &format!("macp-jwt-{year}0101T000000Z"),
            id,
            ..KeyPair::EC
        });
    }
    let states = states(&listed(hsm.launch()));
    assert_eq!(states[1].1, "EXPIRED", "{states:?}");

    let said = keys(hsm.launch(), &["prune", "--yes"]);
    assert!(said.contains("no key to destroy"), "{said}");
    assert!(said.contains(&format!("kept: {}", states[1].0)), "{said}");
    assert_eq!(hsm.objects().matches("Private Key Object").count(), 2);
}

#[test]
fn prune_destroys_nothing_while_a_token_lacks_the_active_key_or_cannot_be_read() {
    let two = Two::new();
    let launch = || hurried(two.launch());
    let (old, new) = expired_and_active(&launch);
    let id_of = |kid: &str| {
        let list = listed(launch());
        let mut keys = list["keys"].as_array().unwrap().iter();
        let found = keys.find(|key| key["kid"] == kid).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    two.0.delete_on("two", "privkey", &id_of(&new[1]));
    let refused = try_keys(launch(), &["prune", "--yes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("two holds no active key"),
        "{refused:?}"
    );
    assert_eq!(states(&listed(launch())).len(), 3);

    let unreadable = hurried(two.launch_on(&["one", "nowhere"]));
    let refused = try_keys(unreadable, &["prune", "--yes"]);
    assert!(refused.stderr.contains("nowhere"), "{refused:?}");
    assert_eq!(states(&listed(launch())).len(), 3);

    keys(launch(), &["generate", "--now"]);
    until("the new key to sign", PATIENCE, || {
        let pruned = try_keys(launch(), &["prune", "--yes"]);
        (pruned.code == Some(0) && pruned.stdout.contains(&old[0])).then_some(())
    });
    let left = states(&listed(launch()));
    assert!(left.iter().all(|(kid, _)| !old.contains(kid)), "{left:?}");
}

#[test]
fn revoke_bound_says_how_long_where_and_what_would_sign_and_revokes_nothing() {
    let hsm = SoftHsm::with_key("ES256");
    let kid = states(&listed(hsm.launch()))[0].0.clone();
    let ask = |launch: Launch| json(&keys(launch, &["revoke-bound", &kid, "--json"]));

    let alone = ask(hsm.launch());
    assert_eq!(alone["signs_now"], true);
    assert_eq!(alone["seconds"]["fetching"], 365);
    assert_eq!(alone["seconds"]["cut_off"], 3960);
    assert_eq!(alone["after"]["signing"], Value::Null);
    let alarms = alone["after"]["alarms"].to_string();
    assert!(alarms.contains("every key is revoked"), "{alarms}");

    let next = kid_of(&keys(hsm.launch(), &["generate", "--json"]));
    let short = hsm
        .launch()
        .set("MACP_AUTH_VERIFIER_TTL_SECONDS", "100")
        .set("MACP_AUTH_JWKS_MAX_AGE_SECONDS", "10");
    let followed = ask(short);
    assert_eq!(followed["seconds"]["fetching"], 115);
    assert_eq!(followed["after"]["signing"], next.as_str());
    let alarms = followed["after"]["alarms"].to_string();
    assert!(
        alarms.contains("before it was published for the lead"),
        "{alarms}"
    );

    let file = hsm.path("revoked");
    fs::write(&file, "# none\n").unwrap();
    let with_file = hsm.launch().set("MACP_AUTH_REVOKED_KIDS_FILE", &file);
    let said = keys(with_file.clone(), &["revoke-bound", &kid]);
    let line = said.lines().find(|line| line.contains("printf")).unwrap();
    let done = Command::new("sh").args(["-c", line]).status();
    assert!(done.unwrap().success());
    let after = listed(with_file);
    assert!(
        states(&after).contains(&(kid.clone(), "REVOKED".to_owned())),
        "{after}"
    );
    assert_eq!(listed(hsm.launch())["signing"], kid.as_str());
}

#[test]
fn revoke_bound_of_an_unknown_key_says_which_are_known() {
    let hsm = SoftHsm::with_key("ES256");
    let kid = states(&listed(hsm.launch()))[0].0.clone();
    let refused = try_keys(hsm.launch(), &["revoke-bound", "-nobody"]);

    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("-nobody"), "{refused:?}");
    assert!(refused.stderr.contains(&kid), "{refused:?}");
}
