//! Where the module that is wrapped, the control file and the counts are: from the environment.
//!
//! One process may wrap two modules with two copies of this one. A copy named `libfault_module_NAME.so` reads
//! `FAULT_MODULE_TARGET_NAME` and so on; the file's own name is the only thing in which two copies differ.

#![expect(
    clippy::disallowed_methods,
    reason = "a module gets its settings from nobody but the environment"
)]

use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The settings of this copy.
#[derive(Debug)]
pub struct Settings {
    /// The variable that names the module, for messages.
    pub target_variable: String,
    pub target: Option<PathBuf>,
    pub control: Option<PathBuf>,
    pub counts: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment.
    pub fn from_environment() -> Self {
        let suffix = suffix(own_file().as_deref());
        let path = |name: &str| {
            std::env::var_os(format!("{name}{suffix}"))
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            target_variable: format!("FAULT_MODULE_TARGET{suffix}"),
            target: path("FAULT_MODULE_TARGET"),
            control: path("FAULT_MODULE_CONTROL"),
            counts: path("FAULT_MODULE_COUNTS"),
        }
    }
}

/// The file that this code was loaded from, as the loader was asked for it.
fn own_file() -> Option<PathBuf> {
    static HERE: u8 = 0;
    // SAFETY: all fields of Dl_info are pointers, for which zero is a value.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr only compares the address, and fills `info`, which outlives the call.
    let found = unsafe { libc::dladdr((&raw const HERE).cast::<c_void>(), &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr succeeded, so the name is a C string that lives as long as this library is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// `_STANDBY` for `/x/libfault_module_standby.so`, else nothing.
fn suffix(file: Option<&Path>) -> String {
    let stem = file
        .and_then(Path::file_stem)
        .map(OsStr::to_string_lossy)
        .unwrap_or_default();
    match stem.strip_prefix("libfault_module_") {
        Some(name) => format!("_{}", name.to_uppercase()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_a_name_of_its_own_has_settings_of_its_own() {
        for (file, want) in [
            (Some("/x/libfault_module.so"), ""),
            (Some("/x/libfault_module_standby.so"), "_STANDBY"),
            (Some("/x/fault_module-0123abcd"), ""),
            (Some("/"), ""),
            (None, ""),
        ] {
            assert_eq!(suffix(file.map(Path::new)), want, "{file:?}");
        }
    }
}
