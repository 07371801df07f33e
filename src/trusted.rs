//! Whether what stands under a path was written by those whom this service trusts: itself and root.
//!
//! Each directory and each link on the way belongs to one of the two and is not writable for others. In a sticky directory
//! others cannot replace what is not theirs, so that is enough there. A link is judged where it stands: who may replace it
//! decides what is read, however well its target is kept.
//! Kubernetes mounts a ConfigMap as a directory of root that everybody may write to, on a mount that nobody can write to:
//! a directory of root on a read-only mount is therefore fine.

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;

/// Why a path is not used. Says what and the cure; the variable that names the path is the caller's to say.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    #[error("{} cannot be read ({cause}). Put it there, readable for the service's user", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "{} belongs to user {owner}, not to this service or root. Whoever owns it could plant keys: chown it to the service's user (a link: chown -h)",
        .path.display()
    )]
    Owner { path: PathBuf, owner: u32 },
    #[error(
        "others may write to {} (mode {mode:04o}). Whoever writes there could plant keys: chmod go-w",
        .path.display()
    )]
    Writable { path: PathBuf, mode: u32 },
    #[error("{} is not a regular file. Name a file", .path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is larger than {most} bytes. Is it another file?", .path.display())]
    TooLarge { path: PathBuf, most: u64 },
}

/// As many as Linux follows.
const MOST_LINKS: usize = 40;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The bytes of a file, at most `most`, if the file and all that leads to it can be trusted.
///
/// # Errors
/// [`Untrusted`] names the part of the path and the cure.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Untrusted> {
    match read_once(path, most) {
        // Kubernetes turns a link to a new directory and then removes the old one, perhaps between two steps of ours.
        Err(Untrusted::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            read_once(path, most)
        }
        outcome => outcome,
    }
}

/// The path without links, if all that leads to it and what it names can be trusted.
///
/// # Errors
/// [`Untrusted`] names the part of the path and the cure.
pub fn resolve(path: &Path) -> Result<PathBuf, Untrusted> {
    if !path.is_absolute() {
        return Err(unreadable(path, Errno::INVAL.into()));
    }
    let mut real = PathBuf::from("/");
    check(&real, &look(&real)?)?;
    let mut ahead = parts_from_the_last(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let next = real.join(part);
        let facts = look(&next)?;
        check(&next, &facts)?;
        if !facts.is_symlink() {
            real = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(unreadable(path, Errno::LOOP.into()));
        }
        let target = fs::read_link(&next).map_err(|cause| unreadable(&next, cause))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        ahead.extend(parts_from_the_last(&target));
    }
    Ok(real)
}

/// Nobody but the owner may write there, sticky or not.
///
/// # Errors
/// [`Untrusted::Writable`].
pub fn check_mode(path: &Path, facts: &Metadata) -> Result<(), Untrusted> {
    if facts.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(Untrusted::Writable {
        path: path.to_owned(),
        mode: facts.mode() & 0o7777,
    })
}

/// The user as whom this process acts.
pub fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn read_once(path: &Path, most: u64) -> Result<Vec<u8>, Untrusted> {
    let real = resolve(path)?;
    // O_NONBLOCK: opening a named pipe would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(&real)
        .map_err(|cause| unreadable(&real, cause))?;
    // Of the open file: the name may stand for another one by now.
    let facts = file.metadata().map_err(|cause| unreadable(&real, cause))?;
    if !facts.is_file() {
        return Err(Untrusted::NotAFile { path: real });
    }
    check(&real, &facts)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|cause| unreadable(&real, cause))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(Untrusted::TooLarge { path: real, most })
}

fn look(path: &Path) -> Result<Metadata, Untrusted> {
    fs::symlink_metadata(path).map_err(|cause| unreadable(path, cause))
}

fn check(path: &Path, facts: &Metadata) -> Result<(), Untrusted> {
    let place = Place::of(facts);
    if !place.owner_is_trusted(us()) {
        return Err(Untrusted::Owner {
            path: path.to_owned(),
            owner: place.owner,
        });
    }
    if place.is_kept_from_others(|| on_a_read_only_mount(path)) {
        return Ok(());
    }
    check_mode(path, facts)
}

/// What decides who may write somewhere.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    owner: u32,
    mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Link,
    File,
}

impl Place {
    fn of(facts: &Metadata) -> Self {
        let kind = if facts.is_symlink() {
            Kind::Link
        } else if facts.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        };
        Self {
            kind,
            owner: facts.uid(),
            mode: facts.mode(),
        }
    }

    const fn owner_is_trusted(self, us: u32) -> bool {
        self.owner == us || self.owner == 0
    }

    fn is_kept_from_others(self, read_only: impl FnOnce() -> bool) -> bool {
        match self.kind {
            // A link has no mode that counts: its directory decides who may replace it.
            Kind::Link => true,
            _ if self.mode & OTHERS_WRITE == 0 => true,
            Kind::Directory => self.mode & STICKY != 0 || (self.owner == 0 && read_only()),
            Kind::File => false,
        }
    }
}

fn on_a_read_only_mount(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The last first; `.` and the root left out.
fn parts_from_the_last(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn unreadable(path: &Path, cause: io::Error) -> Untrusted {
    Untrusted::Unreadable {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
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
}
