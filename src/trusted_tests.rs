//! Which paths are trusted: table and real directories, links, a mount of Kubernetes, and what is no file at all.

use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use tempfile::TempDir;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `safe/file` and `open/`, whatever the umask.
fn tree() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (directory, mode) in [("safe", 0o755), ("open", 0o777)] {
        let path = home.path().join(directory);
        fs::create_dir(&path).unwrap();
        set_mode(&path, mode);
    }
    let file = home.path().join("safe/file");
    fs::write(&file, "content").unwrap();
    set_mode(&file, 0o644);
    home
}

#[test]
fn who_may_write_decides() {
    const US: u32 = 1000;
    let rows = [
        // name, kind, owner, mode, on a read-only mount, trusted
        ("ours", Kind::Directory, US, 0o755, false, true),
        ("of root", Kind::Directory, 0, 0o755, false, true),
        ("of another", Kind::Directory, 7, 0o755, false, false),
        (
            "sticky of another",
            Kind::Directory,
            7,
            0o1777,
            false,
            false,
        ),
        ("for the group", Kind::Directory, US, 0o775, false, false),
        ("for all", Kind::Directory, 0, 0o777, false, false),
        ("sticky", Kind::Directory, 0, 0o1777, false, true),
        ("a ConfigMap", Kind::Directory, 0, 0o777, true, true),
        ("ours, read-only", Kind::Directory, US, 0o777, true, false),
        ("our file", Kind::File, US, 0o600, false, true),
        ("a file of root", Kind::File, 0, 0o644, false, true),
        ("a file of another", Kind::File, 7, 0o600, false, false),
        ("a file for the group", Kind::File, US, 0o660, false, false),
        ("a file for all", Kind::File, 0, 0o646, false, false),
        ("a sticky file", Kind::File, US, 0o1666, false, false),
        (
            "a file for all, read-only",
            Kind::File,
            0,
            0o666,
            true,
            false,
        ),
        ("our link", Kind::Link, US, 0o777, false, true),
        ("a link of root", Kind::Link, 0, 0o777, false, true),
        ("a link of another", Kind::Link, 7, 0o777, false, false),
    ];
    for (name, kind, owner, mode, read_only, trusted) in rows {
        let place = Place { kind, owner, mode };
        let verdict = place.owner_is_trusted(US) && place.is_kept_from_others(|| read_only);

        assert_eq!(verdict, trusted, "{name}");
    }
}

#[test]
fn a_file_is_read_where_nobody_else_can_write() {
    let home = tree();

    let path = home.path().join("safe/../safe/./file");
    assert_eq!(read(&path, 7).unwrap(), b"content");
    assert!(matches!(
        read(&path, 6),
        Err(Untrusted::TooLarge { most: 6, .. })
    ));
    set_mode(&home.path().join("safe/file"), 0o664);
    assert!(matches!(
        read(&path, 7),
        Err(Untrusted::Writable { mode: 0o664, .. })
    ));
}

#[test]
fn a_link_is_judged_where_it_stands_and_so_is_all_behind_it() {
    let home = tree();
    let at = |name: &str| home.path().join(name);
    symlink("../safe/file", at("open/link")).unwrap();
    symlink(at("open/link"), at("safe/through")).unwrap();
    symlink("file", at("safe/beside")).unwrap();
    symlink(at("safe"), at("directory")).unwrap();
    symlink("loop", at("safe/loop")).unwrap();
    symlink("nowhere", at("safe/dangling")).unwrap();

    for (name, trusted) in [
        ("safe/file", true),
        ("safe/beside", true),
        ("directory/beside", true),
        ("directory/../safe/file", true),
        ("open/link", false),
        ("safe/through", false),
        ("open/../safe/file", false),
    ] {
        let outcome = resolve(&at(name));
        if trusted {
            assert_eq!(outcome.unwrap(), at("safe/file"), "{name}");
        } else {
            assert!(
                matches!(&outcome, Err(Untrusted::Writable { path, .. }) if *path == at("open")),
                "{name}: {outcome:?}"
            );
        }
    }
    for name in ["safe/loop", "safe/dangling", "safe/file/below"] {
        let outcome = resolve(&at(name));
        assert!(
            matches!(outcome, Err(Untrusted::Unreadable { .. })),
            "{name}"
        );
    }
}

#[test]
fn a_sticky_parent_is_fine() {
    let home = tree();
    set_mode(&home.path().join("open"), 0o1777);
    symlink("../safe/file", home.path().join("open/link")).unwrap();

    assert_eq!(
        read(&home.path().join("open/link"), 99).unwrap(),
        b"content"
    );
}

#[test]
fn a_mount_of_kubernetes_is_read_before_and_after_its_swap() {
    let home = tree();
    let at = |name: &str| home.path().join("safe").join(name);
    for (version, content) in [("..2026_11_01", "one"), ("..2026_11_02", "two")] {
        fs::create_dir(at(version)).unwrap();
        set_mode(&at(version), 0o755);
        fs::write(at(version).join("revoked"), content).unwrap();
        set_mode(&at(version).join("revoked"), 0o644);
    }
    symlink("..2026_11_01", at("..data")).unwrap();
    symlink("..data/revoked", at("revoked")).unwrap();

    assert_eq!(read(&at("revoked"), 99).unwrap(), b"one");
    symlink("..2026_11_02", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    fs::remove_dir_all(at("..2026_11_01")).unwrap();
    assert_eq!(read(&at("revoked"), 99).unwrap(), b"two");
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let home = tree();
    let pipe = home.path().join("safe/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();

    for path in [pipe, home.path().join("safe")] {
        assert!(
            matches!(read(&path, 9), Err(Untrusted::NotAFile { .. })),
            "{path:?}"
        );
    }
    assert!(matches!(
        read(Path::new("relative"), 9),
        Err(Untrusted::Unreadable { .. })
    ));
}
