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
const ROOT: u32 = 0;
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

/// Whether this process may do everything, and so make files that nobody else may use.
pub fn is_root() -> bool {
    us() == ROOT
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
        self.owner == us || self.owner == ROOT
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
#[path = "trusted_tests.rs"]
mod tests;
