use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::clock::UnixSeconds;
use crate::jose::Algorithm;
use crate::keys::local::LocalKey;

/// The three files in a directory of their own, and one kid by value.
struct Desk {
    home: TempDir,
    files: ListFiles,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(home.path().join(name));
        let files = ListFiles {
            revoked: [kid("given")].into(),
            revoked_file: path("revoked"),
            extra_jwks_file: path("extra"),
            schedule_file: path("schedule"),
        };
        let desk = Self { home, files };
        desk.write("revoked", "a\nb\n");
        desk.write("extra", json!({ "keys": [jwk("x")] }).to_string());
        desk.write("schedule", entry("ab"));
        desk
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.home.path().join(name), content).unwrap();
        self.set_mode(name, 0o600);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        let path = self.home.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.home.path().join(name)).unwrap();
    }

    fn read(&self) -> Lists {
        self.read_after(&[])
    }

    /// With kids that the file had in an earlier life.
    fn read_after(&self, revoked: &[&str]) -> Lists {
        let revoked = revoked.iter().map(|name| kid(name)).collect();
        Lists::read(&self.files, &revoked).unwrap()
    }
}

fn kid(text: &str) -> Kid {
    Kid::pinned(text.to_owned()).unwrap()
}

fn jwk(name: &str) -> serde_json::Value {
    let local = LocalKey::ephemeral(Algorithm::Es256).unwrap().published();
    json!(Jwk::new(kid(name), local.jwk().key().clone()))
}

fn entry(id: &str) -> String {
    format!("[[key]]\nid = '{id}'\nactive_from = 2026-12-01T12:00:00Z\n")
}

fn revoked(lists: &Lists) -> Vec<&str> {
    lists.revoked.iter().map(Kid::as_str).collect()
}

fn extra(lists: &Lists) -> Vec<&str> {
    lists.extra.iter().map(|key| key.kid().as_str()).collect()
}

fn ids(lists: &Lists) -> Vec<String> {
    let schedule = lists.schedule.as_ref().unwrap();
    schedule
        .entries()
        .map(|(name, _)| name.to_string())
        .collect()
}

#[test]
fn nothing_configured_is_nothing_read() {
    let mut lists = Lists::read(&ListFiles::default(), &BTreeSet::new()).unwrap();

    assert!(lists.revoked.is_empty() && lists.extra.is_empty() && lists.schedule.is_none());
    assert!(!lists.refresh(&ListFiles::default()));
}

#[test]
fn the_file_adds_to_the_kids_that_are_given() {
    let desk = Desk::new();
    let lists = desk.read();

    assert_eq!(revoked(&lists), ["a", "b", "given"]);
    assert_eq!(extra(&lists), ["x"]);
    let noon = lists.schedule.as_ref().unwrap().by_id(&[0xab]);
    assert_eq!(noon, Some(UnixSeconds::new(1_796_126_400)));
}

#[test]
fn only_a_change_that_counts_is_a_change() {
    let desk = Desk::new();
    let (x, y) = (jwk("x"), jwk("y"));
    let set = |keys: &[&serde_json::Value]| json!({ "keys": keys }).to_string();
    desk.write("extra", set(&[&x, &y]));
    let mut lists = desk.read();
    let before = lists.clone();

    for (name, file, content, counts) in [
        ("nothing", "revoked", "a\nb\n".to_owned(), false),
        ("a comment", "revoked", "# gone\nb\na".to_owned(), false),
        (
            "a kid that is given too",
            "revoked",
            "a\nb\ngiven".to_owned(),
            false,
        ),
        ("order", "extra", set(&[&y, &x]), false),
        ("spelling", "schedule", entry("AB"), false),
        ("one kid more", "revoked", "a\nb\nc".to_owned(), true),
        ("one kid less", "revoked", "a\nb".to_owned(), true),
        ("one key less", "extra", set(&[&x]), true),
        ("other material", "extra", set(&[&jwk("x")]), true),
        ("no key", "extra", set(&[]), true),
        ("another entry", "schedule", entry("cd"), true),
        (
            "another instant",
            "schedule",
            entry("cd").replace("12:00:00", "13:00:00"),
            true,
        ),
        ("no entry", "schedule", "# none\n".to_owned(), true),
        ("no kid", "revoked", "#\n".to_owned(), true),
    ] {
        desk.write(file, content);

        assert_eq!(lists.refresh(&desk.files), counts, "{name}");
        assert!(!lists.refresh(&desk.files), "{name}, once more");
        assert_eq!(lists.troubles().count(), 0, "{name}");
        if !counts {
            assert!(Arc::ptr_eq(&lists.revoked, &before.revoked), "{name}");
            assert!(Arc::ptr_eq(&lists.extra, &before.extra), "{name}");
        }
    }
    assert_eq!(revoked(&lists), ["given"]);
    assert!(lists.extra.is_empty() && ids(&lists).is_empty());
}

#[test]
fn any_fault_stops_the_start_and_all_are_told_with_variable_and_path() {
    let desk = Desk::new();
    desk.write("revoked", "a b");
    desk.remove("extra");
    desk.write("schedule", "[[key]]");

    let error = Lists::read(&desk.files, &BTreeSet::new()).unwrap_err();
    let told = error.to_string();
    assert_eq!(error.faults.len(), 3);
    for (variable, file) in [
        (REVOKED, "revoked"),
        (EXTRA, "extra"),
        (SCHEDULE, "schedule"),
    ] {
        let path = desk.home.path().join(file);
        let start = format!("{variable} names {}, which", path.display());
        assert!(told.lines().any(|line| line.starts_with(&start)), "{told}");
    }
}

#[test]
fn what_cannot_be_used_later_stays_as_it_was_with_a_line_until_it_is_cured() {
    type Damage = fn(&Desk, &str);
    let damages: [(&str, Damage); 6] = [
        ("gone", |desk, file| desk.remove(file)),
        ("empty", |desk, file| desk.write(file, "")),
        ("a mark alone", |desk, file| desk.write(file, "\u{feff}")),
        ("no text", |desk, file| {
            desk.write(file, [0xff, 0xfe, b'a', 0])
        }),
        ("for all to write", |desk, file| desk.set_mode(file, 0o666)),
        ("too large", |desk, file| {
            desk.write(file, "#".repeat(256 * 1024 + 1))
        }),
    ];
    for (name, damage) in damages {
        for (file, variable, other) in [
            ("revoked", REVOKED, "c\n".to_owned()),
            ("extra", EXTRA, jwk("y").to_string()),
            ("schedule", SCHEDULE, entry("cd")),
        ] {
            let desk = Desk::new();
            let mut lists = desk.read();
            damage(&desk, file);

            assert!(!lists.refresh(&desk.files), "{name}: {file}");
            let line: Vec<String> = lists.troubles().map(ToOwned::to_owned).collect();
            assert_eq!(line.len(), 1, "{name}: {line:?}");
            assert!(
                line[0].starts_with(variable) && line[0].contains(file),
                "{line:?}"
            );
            assert_eq!(revoked(&lists), ["a", "b", "given"], "{name}");
            assert_eq!(extra(&lists), ["x"], "{name}");
            assert_eq!(ids(&lists), ["id = \"ab\""], "{name}");
            lists.refresh(&desk.files);
            assert!(
                lists.troubles().eq(line.iter()),
                "{name}: the same line again"
            );

            desk.write(file, other);
            assert!(lists.refresh(&desk.files), "{name}: {file}");
            assert_eq!(lists.troubles().count(), 0, "{name}");
        }
    }
}

#[test]
fn a_bad_file_holds_up_no_other() {
    let desk = Desk::new();
    let mut lists = desk.read();
    desk.write("extra", "{");
    desk.write("revoked", "c");

    assert!(lists.refresh(&desk.files));
    assert_eq!(revoked(&lists), ["c", "given"]);
    assert_eq!(extra(&lists), ["x"]);
    assert_eq!(lists.troubles().count(), 1);
}

#[test]
fn an_empty_file_is_fine_where_none_was_before() {
    let desk = Desk::new();
    desk.write("revoked", "");
    desk.write("schedule", "");
    let mut lists = desk.read();

    assert!(!lists.refresh(&desk.files));
    assert_eq!(lists.troubles().count(), 0);
    assert_eq!(revoked(&lists), ["given"]);
    assert!(ids(&lists).is_empty());
}

#[test]
fn a_file_that_was_emptied_while_nobody_looked_revokes_what_it_did() {
    let desk = Desk::new();
    desk.write("revoked", "");
    let mut lists = desk.read_after(&["a", "b"]);
    assert_eq!(revoked(&lists), ["a", "b", "given"]);
    let told: Vec<_> = lists.troubles().collect();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("it is empty and was not before"),
        "{told:?}"
    );
    assert_eq!(
        lists.revoked_by_file(&desk.files),
        ["a", "b"].map(kid).into()
    );

    desk.write("revoked", "# nothing is revoked\n");
    assert!(lists.refresh(&desk.files));
    assert_eq!(revoked(&lists), ["given"]);
    assert_eq!(lists.troubles().count(), 0);
    assert_eq!(revoked(&desk.read_after(&["a"])), ["given"]);
}
