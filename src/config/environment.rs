//! The environment as a value: names and values as the system gives them, UTF-8 or not.
//!
//! Debug shows names alone: values may be secrets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// Environment variables, in the order of their names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Puts a command-line option in the place of a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Forgets a variable that a command-line option replaces.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(OsStr::new(name));
    }

    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// All names; bytes that are no UTF-8 are replaced.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0
            .keys()
            .map(|name| name.to_string_lossy().into_owned())
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_reaches_a_debug_string() {
        let vars: Environment = [("MACP_AUTH_PKCS11_PIN", "1234-secret")]
            .into_iter()
            .collect();

        assert_eq!(format!("{vars:?}"), "{\"MACP_AUTH_PKCS11_PIN\"}");
    }
}
