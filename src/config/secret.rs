//! The PIN: wiped when dropped, never shown, one loud accessor.

use std::fmt;

use zeroize::Zeroizing;

/// A user PIN (PKCS#11: CKU_USER), as its bytes.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

impl Pin {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The PIN in clear, for C_Login alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same PIN. Not `PartialEq`: comparing secrets should catch the eye.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_never_reaches_a_debug_string() {
        assert_eq!(
            format!("{:?}", Pin::new("1234-secret".into())),
            "Pin(hidden)"
        );
    }
}
