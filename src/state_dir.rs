//! The state directory: what an instance remembers across restarts.
//!
//! Who can write there can plant a verification key or have a PIN tried, so the directory and its files belong to us and
//! nobody else may write; [`trusted`] judges the parents, and the links on the way.
//! Files are replaced whole: a temporary file, fsync, rename, fsync of the directory.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::trusted::{self, Untrusted};

/// A directory that was checked.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// Why the directory is not used, for who has named the variable. The start fails.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error(
        "names {path}, which cannot be used ({cause}). Make it for the service's user: mkdir -m 700"
    )]
    Unusable { path: String, cause: io::Error },
    #[error("names {path}, which is no directory. Name a directory of this service's own")]
    NotADirectory { path: String },
    #[error(
        "names {path}, which belongs to user {owner}, not to this service. Whoever owns it could plant keys: chown it to the service's user"
    )]
    Owner { path: String, owner: u32 },
    #[error(
        "names {path}, which belongs to user {owner}, and this runs as root. What root writes there that user could not use: run this as the user of the service, with sudo -u '#{owner}' or setpriv --reuid={owner} --clear-groups"
    )]
    NotRoots { path: String, owner: u32 },
    #[error("names a directory that cannot be used: {0}")]
    Untrusted(#[source] Untrusted),
}

impl StateDir {
    /// Makes the directory where it is missing, and checks it and all its parents.
    ///
    /// # Errors
    /// [`StateDirError`] names the path and the cure.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        if !path.exists() {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|cause| unusable(path, cause))?;
        }
        Self::existing(path)
    }

    /// Whether [`Self::open`] would succeed; makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(path: &Path) -> Result<(), StateDirError> {
        match path.parent() {
            // A link without a target is no place for a directory.
            Some(parent) if !path.exists() && !path.is_symlink() => may_make_in(parent, path),
            _ => Self::existing(path).map(drop),
        }
    }

    fn existing(path: &Path) -> Result<Self, StateDirError> {
        let real = trusted::resolve(path)?;
        let facts = fs::metadata(&real).map_err(|cause| unusable(&real, cause))?;
        if !facts.is_dir() {
            let path = real.display().to_string();
            return Err(StateDirError::NotADirectory { path });
        }
        check_ours(&real, &facts)?;
        let directory = Self(real);
        for entry in fs::read_dir(&directory.0).map_err(|cause| unusable(path, cause))? {
            let entry = entry.map_err(|cause| unusable(path, cause))?;
            let facts = entry
                .metadata()
                .map_err(|cause| unusable(&entry.path(), cause))?;
            if facts.is_file() {
                check_ours(&entry.path(), &facts)?;
            }
        }
        Ok(directory)
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The file's bytes; None where there is none.
    ///
    /// # Errors
    /// The system's; what is no regular file is not read.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match read_regular(&self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file in one step; mode 0600.
    ///
    /// # Errors
    /// The system's; the old file is then still there.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.0.join(format!(".{name}.{}.tmp", std::process::id()));
        let written = self.write(&temporary, bytes);
        let renamed = written.and_then(|()| fs::rename(&temporary, self.0.join(name)));
        if renamed.is_err() {
            fs::remove_file(&temporary).ok();
        }
        renamed?;
        File::open(&self.0)?.sync_all()
    }

    /// Keeps what the file is now under another name as well, whatever takes its place later.
    ///
    /// # Errors
    /// The system's; not every file system can.
    pub fn keep_as(&self, name: &str, other: &str) -> io::Result<()> {
        match fs::remove_file(self.file(other)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(self.file(name), self.file(other)),
        }
    }

    /// Holds the lock of this name until dropped; other processes wait.
    ///
    /// # Errors
    /// The system's.
    pub fn lock(&self, name: &str) -> io::Result<File> {
        let file = self.lock_file(name)?;
        file.lock()?;
        Ok(file)
    }

    /// Holds the lock of this name until dropped; None while somebody else does.
    ///
    /// # Errors
    /// The system's; not every file system can.
    pub fn try_lock(&self, name: &str) -> io::Result<Option<File>> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.0.join(format!("{name}.lock")))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl StateDirError {
    fn owner(path: &Path, owner: u32, root_asks: bool) -> Self {
        let path = path.display().to_string();
        match root_asks {
            true => Self::NotRoots { path, owner },
            false => Self::Owner { path, owner },
        }
    }
}

fn unusable(path: &Path, cause: io::Error) -> StateDirError {
    StateDirError::Unusable {
        path: path.display().to_string(),
        cause,
    }
}

fn may_make_in(parent: &Path, path: &Path) -> Result<(), StateDirError> {
    let real = trusted::resolve(parent)?;
    let made = Access::WRITE_OK | Access::EXEC_OK;
    // As whom this process acts, not as whom it was started.
    let allowed = rustix::fs::accessat(CWD, real.join("."), made, AtFlags::EACCESS);
    allowed.map_err(|errno| unusable(path, errno.into()))
}

impl From<Untrusted> for StateDirError {
    fn from(fault: Untrusted) -> Self {
        match fault {
            Untrusted::Unreadable { path, cause } => Self::Unusable {
                path: path.display().to_string(),
                cause,
            },
            Untrusted::Owner { path, owner } if trusted::is_root() => {
                Self::owner(&path, owner, true)
            }
            other => Self::Untrusted(other),
        }
    }
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: opening a named pipe would wait for its writer.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ours alone: what root wrote there was written by another program.
fn check_ours(path: &Path, facts: &Metadata) -> Result<(), StateDirError> {
    if facts.uid() != trusted::us() {
        return Err(StateDirError::owner(path, facts.uid(), trusted::is_root()));
    }
    Ok(trusted::check_mode(path, facts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_missing_directory_is_made_for_us_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");

        let state = StateDir::open(&path).unwrap();
        state.replace("a", b"one").unwrap();
        state.replace("a", b"two").unwrap();

        assert_eq!(state.read("a").unwrap().unwrap(), b"two");
        assert_eq!(state.read("b").unwrap(), None);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("a")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn root_is_sent_to_the_owner_and_others_are_told_to_chown() {
        let path = Path::new("/var/lib/macp");

        let told = StateDirError::owner(path, 1000, true).to_string();
        assert!(
            told.contains("sudo -u '#1000'") && !told.contains("chown"),
            "{told}"
        );
        let told = StateDirError::owner(path, 1000, false).to_string();
        assert!(told.contains("chown") && !told.contains("sudo"), "{told}");
    }

    #[test]
    fn what_others_may_write_is_refused() {
        for (name, of_directory, of_file, of_parent) in [
            ("the directory", 0o770, 0o600, 0o700),
            ("the directory, though sticky", 0o1777, 0o600, 0o700),
            ("a file", 0o700, 0o622, 0o700),
            ("a parent", 0o700, 0o600, 0o777),
        ] {
            let home = tempfile::tempdir().unwrap();
            let parent = home.path().join("parent");
            let path = parent.join("state");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("jwks.json"), "{}").unwrap();
            set_mode(&path.join("jwks.json"), of_file);
            set_mode(&path, of_directory);
            set_mode(&parent, of_parent);

            let refused = StateDir::open(&path);
            assert!(
                matches!(
                    refused,
                    Err(StateDirError::Untrusted(Untrusted::Writable { .. }))
                ),
                "{name}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_pipe_or_a_directory_in_the_place_of_a_file_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(&home.path().join("state")).unwrap();
        rustix::fs::mkfifoat(CWD, state.file("pipe"), 0o600.into()).unwrap();
        fs::create_dir(state.file("directory")).unwrap();

        assert!(state.read("pipe").is_err());
        assert!(state.read("directory").is_err());
    }

    #[test]
    fn a_sticky_parent_and_a_link_are_fine_a_file_is_not() {
        let home = tempfile::tempdir().unwrap();
        let parent = home.path().join("tmp");
        fs::create_dir_all(parent.join("state")).unwrap();
        set_mode(&parent, 0o1777);
        set_mode(&parent.join("state"), 0o700);
        symlink(parent.join("state"), home.path().join("link")).unwrap();
        fs::write(home.path().join("file"), "").unwrap();

        assert!(StateDir::open(&home.path().join("link")).is_ok());
        assert!(matches!(
            StateDir::open(&home.path().join("file")),
            Err(StateDirError::NotADirectory { .. })
        ));
    }
}
