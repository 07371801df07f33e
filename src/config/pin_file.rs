//! The PIN in a file: checked before it is read, the same way at the start and whenever the file changes.
//!
//! Others must not be able to read or replace it; the group may read it, because that is how a secret volume reaches a
//! service that is not root. What cannot be a PIN is refused here: a login with it would cost one of few attempts.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use super::Pin;

/// Longer than any token takes; shorter than a file named by mistake.
const LONGEST_PIN: usize = 1024;

/// Why a file gives no PIN. Never carries its content.
#[derive(Debug, thiserror::Error)]
pub enum PinFileError {
    #[error(
        "names {}, which cannot be read: {source}. Write the PIN into that file, readable by the user of the service", named(.path)
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "names {}, which is not a regular file. Give the path of a file that holds the PIN alone", named(.path)
    )]
    NotAFile { path: PathBuf },
    #[error(
        "names {name}, which every user of this machine can use (mode {mode:04o}). Run: chmod o-rwx {file} (for a mounted secret: mode 0440)",
        name = named(.path),
        file = if may_be_a_pin(.path) { "FILE".to_owned() } else { format!("{:?}", .path) }
    )]
    OpenToOthers { path: PathBuf, mode: u32 },
    #[error("names {}, which holds no PIN: it {defect}", named(.path))]
    Defect {
        path: PathBuf,
        #[source]
        defect: PinDefect,
    },
}

/// Why a text cannot be a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinDefect {
    #[error("is empty. Write the PIN there")]
    Empty,
    #[error("has a zero byte in it. Write the PIN as text")]
    Nul,
    #[error("has more than one line. Write the PIN alone, on one line")]
    Lines,
    #[error("is longer than {LONGEST_PIN} bytes. Is it another file or text?")]
    TooLong,
    #[error("is not UTF-8 text. PKCS#11 takes PINs as UTF-8")]
    NotUtf8,
}

/// A PIN that was put in the place of the path would be read as one.
pub fn may_be_a_pin(path: &Path) -> bool {
    !path.as_os_str().as_encoded_bytes().contains(&b'/')
}

fn named(path: &Path) -> String {
    if may_be_a_pin(path) {
        return "a file without its directory (not shown here, because it may be the PIN itself; write the path from the root)".to_owned();
    }
    format!("{path:?}")
}

/// Reads the PIN from `path`, without one newline at its end.
///
/// # Errors
/// [`PinFileError`] says what is wrong with the file, and the cure.
pub fn read(path: &Path) -> Result<Pin, PinFileError> {
    let unreadable = |source| PinFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // O_NONBLOCK: opening a named pipe would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(unreadable)?;
    // Of the open file, not of the path: the two may differ by now.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(PinFileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(PinFileError::OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    let limit = LONGEST_PIN + "\r\n".len() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    pin_of_bytes(bytes).map_err(|defect| PinFileError::Defect {
        path: path.to_owned(),
        defect,
    })
}

fn pin_of_bytes(mut bytes: Zeroizing<Vec<u8>>) -> Result<Pin, PinDefect> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        error.into_bytes().zeroize();
        PinDefect::NotUtf8
    })?;
    checked(Pin::new(text))
}

/// The same check for PINs that do not come from a file.
///
/// # Errors
/// [`PinDefect`].
pub(super) fn checked(pin: Pin) -> Result<Pin, PinDefect> {
    match pin.expose() {
        "" => Err(PinDefect::Empty),
        text if text.len() > LONGEST_PIN => Err(PinDefect::TooLong),
        text if text.contains('\0') => Err(PinDefect::Nul),
        text if text.contains(['\n', '\r']) => Err(PinDefect::Lines),
        _ => Ok(pin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_the_pin() {
        for (name, content, want) in [
            ("no newline", &b"1234"[..], "1234"),
            ("newline", b"1234\n", "1234"),
            ("Windows newline", b"1234\r\n", "1234"),
            ("spaces stay", b" 12 34 \n", " 12 34 "),
            ("letters", "pässwort\n".as_bytes(), "pässwort"),
        ] {
            let (_directory, path) = file(content, 0o600);

            assert_eq!(read(&path).unwrap().expose(), want, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_a_pin_is_refused_before_it_costs_an_attempt() {
        for (name, content, want) in [
            ("empty", &b""[..], PinDefect::Empty),
            ("newline alone", b"\n", PinDefect::Empty),
            ("zero byte", b"12\x0034", PinDefect::Nul),
            ("two lines", b"1234\n5678\n", PinDefect::Lines),
            ("two newlines", b"1234\n\n", PinDefect::Lines),
            ("Latin-1", b"p\xe4ss", PinDefect::NotUtf8),
            ("too long", &[b'1'; 2000], PinDefect::TooLong),
        ] {
            let (_directory, path) = file(content, 0o600);
            let error = read(&path).unwrap_err();

            assert!(
                matches!(error, PinFileError::Defect { defect, .. } if defect == want),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused_with_the_chmod_that_cures_it() {
        for (mode, accepted) in [
            (0o400, true),
            (0o440, true),
            (0o660, true),
            (0o444, false),
            (0o602, false),
            (0o601, false),
        ] {
            let (_directory, path) = file(b"1234\n", mode);
            let pin = read(&path);

            assert_eq!(pin.is_ok(), accepted, "{mode:o}");
            if let Err(error) = pin {
                assert!(error.to_string().contains("chmod o-rwx"), "{error}");
            }
        }
    }

    #[test]
    fn a_pin_in_the_place_of_the_path_is_not_shown() {
        let path = PathBuf::from("987654");
        let read = read(&path).unwrap_err();
        let open = PinFileError::OpenToOthers {
            path: path.clone(),
            mode: 0o644,
        };
        let not_a_file = PinFileError::NotAFile { path: path.clone() };
        let defect = PinFileError::Defect {
            path,
            defect: PinDefect::Empty,
        };

        for error in [read, open, not_a_file, defect] {
            let text = error.to_string();
            assert!(!text.contains("987654"), "{text}");
            assert!(text.contains("may be the PIN itself"), "{text}");
        }
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let directory = tempfile::tempdir().unwrap();

        let absent = read(&directory.path().join("absent")).unwrap_err();
        let not_a_file = read(directory.path()).unwrap_err();

        assert!(matches!(absent, PinFileError::Unreadable { .. }));
        assert!(matches!(not_a_file, PinFileError::NotAFile { .. }));
    }
}
