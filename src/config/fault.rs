//! What can be wrong with a variable, in the words that an operator reads: what, why, fix.
//!
//! A [`Report`] holds every problem at once, so that one start shows them all. No fault carries a secret; values that are
//! shown are written as JSON strings, so that no control character reaches a terminal.

use std::fmt;
use std::net::IpAddr;

use super::pin_file::{PinDefect, PinFileError};
use super::token_uri::UnusableUri;
use crate::keys::label::BadPrefix;
use crate::keys::lists::FileFault;
use crate::keys::local::LocalKeyError;
use crate::keys::pkcs11::uri::UriError;
use crate::keys::rules::UnsafeTiming;
use crate::shown::shown;
use crate::state_dir::StateDirError;

/// Every problem of a configuration; at least one.
#[derive(Debug, thiserror::Error)]
pub struct Report {
    pub problems: Vec<Problem>,
    /// What would have been said of a configuration without them.
    pub warnings: Vec<String>,
}

/// One variable, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{} {fault}", shown(.name))]
pub struct Problem {
    pub name: String,
    #[source]
    pub fault: Fault,
}

/// A value as it was given, cut and quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given(pub String);

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("is not UTF-8 text. Write it anew")]
    NotUtf8,
    #[error("is set but empty. Give it a value or unset it")]
    Empty,
    #[error(
        "has a newline or another control character (got {got}), which verifiers would have to expect as well. Write it without: printf instead of echo, where it comes from a file"
    )]
    ControlCharacter { got: Given },
    #[error(
        "is blank (got {got}), so nobody can tell whose tokens these are. Give it a name, or unset it for the default"
    )]
    Blank { got: Given },
    #[error("must be RS256 or ES256 (got {got})")]
    Algorithm { got: Given },
    #[error(
        "must be a whole number from {least} to {most} in decimal digits (got {got}). Not more: {because}"
    )]
    Number {
        least: u64,
        most: u64,
        because: &'static str,
        got: Given,
    },
    #[error("must be 1 or 0, or true or false (got {got})")]
    Switch { got: Given },
    #[error("must be one of {} (got {got})", .choices.join(", "))]
    Choice {
        choices: &'static [&'static str],
        got: Given,
    },
    #[error(
        "must be an IP address or localhost (got {got}). Names are not looked up; PORT sets the port"
    )]
    Address { got: Given },
    #[error(
        "is {address}, which other machines may reach, and nobody who asks for a token is authenticated. Use localhost, or set MACP_AUTH_ALLOW_ANONYMOUS=1 where the network itself decides who gets here"
    )]
    OpenToAll { address: IpAddr },
    #[error(
        "is no log filter: {source} (got {got}). Write it as debug or warn,macp_auth_service=debug"
    )]
    LogFilter {
        got: Given,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error(
        "has a space or another character that log filters cannot hold (got {got}). Write it as debug or warn,macp_auth_service=debug"
    )]
    LogFilterCharacter { got: Given },
    #[error(
        "has the word {got}, which is no level and names nothing of this program, so it would log nothing. Write off, error, warn, info, debug or trace, or a target with its level, as in warn,macp_auth_service=debug"
    )]
    LogFilterWord { got: Given },
    #[error(
        "must be address:port, with an IP address or localhost, as localhost:9464 or [::1]:9464 (got {got}). Names are not looked up"
    )]
    Place { got: Given },
    #[error("is not an absolute path (got {got}). Write it from the root: /…")]
    RelativePath { got: Given },
    #[error("is not built yet in this version; unset it")]
    NotBuilt,
    #[error(
        "is not known, and a misspelt name must not lead to a software key. Is {nearest} meant? Else unset it"
    )]
    Unknown { nearest: &'static str },
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Rotation(#[from] RotationFault),
    #[error("{}", .0.unnamed())]
    List(#[from] FileFault),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
}

/// Which key signs is not clear, or not allowed.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    #[error("{0}")]
    PinnedKey(#[from] LocalKeyError),
    #[error(
        "is set, and so are MACP_AUTH_PKCS11_* variables: two sources of keys. Unset it, and the keys of the token sign; or unset those"
    )]
    PinnedAndToken,
    #[error(
        "forbids software keys, but MACP_AUTH_SIGNING_KEY_JSON is one. Unset that, and set MACP_AUTH_PKCS11_MODULE or MACP_AUTH_PKCS11_URI"
    )]
    PinnedForbidden,
    #[error(
        "forbids software keys, but no token is configured, which would mean an ephemeral key. Set MACP_AUTH_PKCS11_MODULE or MACP_AUTH_PKCS11_URI"
    )]
    EphemeralForbidden,
}

/// The token is configured in half, twice, or in a way that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    #[error(
        "is missing beside {set}: half a configuration. Set it to the absolute path of the vendor's module, or set MACP_AUTH_PKCS11_URI; for a software key unset {set}"
    )]
    NoModule { set: String },
    #[error(
        "names a module but no token on it. Set MACP_AUTH_PKCS11_TOKEN_LABEL or MACP_AUTH_PKCS11_TOKEN_SERIAL, even if there is one token only"
    )]
    NoToken,
    #[error(
        "must be an absolute path, so that no other file can take its place (got {got}). Write it from the root: /usr/lib/…"
    )]
    RelativeModule { got: Given },
    #[error(
        "has {length} bytes, but PKCS#11 stores {most} at most, so no token can match. Correct it"
    )]
    TooLong { length: usize, most: usize },
    #[error("is set beside MACP_AUTH_PKCS11_URI, which says the same. Unset one of the two")]
    BesideUri,
    #[error("names the same token twice. Give each token one URI")]
    SameTokenTwice,
    #[error(
        "names several tokens, and MACP_AUTH_STATE_DIR is not set: without a memory this instance could not tell a token that is away from one that lost its keys. Set it to a directory of this service's own"
    )]
    SeveralWithoutState,
    #[error("{0}")]
    Uri(#[from] UriError),
    #[error("{0}")]
    UnusableUri(#[from] UnusableUri),
    #[error("is set, and so is MACP_AUTH_PKCS11_PIN_FILE: two PINs. Keep the file")]
    TwoPins,
    #[error("{0}")]
    PinFile(#[from] PinFileError),
    #[error("{0}")]
    Pin(#[from] PinDefect),
    #[error("{0}. It is the beginning of the labels of the signing keys, as in macp-jwt")]
    KeyLabel(#[from] BadPrefix),
}

/// Keys would change in a way that verifiers cannot follow, or nobody can tell which.
#[derive(Debug, thiserror::Error)]
pub enum RotationFault {
    #[error(
        "lets a new key sign before every verifier has it: {timing}. Set it to {least} or more, or lower a part of the sum; MACP_AUTH_ROTATION_UNSAFE=1 starts all the same, for rehearsals only"
    )]
    Lead {
        #[source]
        timing: UnsafeTiming,
        least: u64,
    },
    #[error(
        "withdraws a key while tokens of it are still good: {timing}. Set it to {least} or more, unset it, or lower a part of the sum; MACP_AUTH_ROTATION_UNSAFE=1 starts all the same, for rehearsals only"
    )]
    Retain {
        #[source]
        timing: UnsafeTiming,
        least: u64,
    },
    #[error(
        "says which keys sign, and so does object or id in MACP_AUTH_PKCS11_URI. Unset it, or take those out of the URI"
    )]
    ScheduleAndFixedKey,
}

impl From<LocalKeyError> for Fault {
    fn from(error: LocalKeyError) -> Self {
        Self::Source(error.into())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

const LONGEST_SHOWN: usize = 80;

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut: String = self.0.chars().take(LONGEST_SHOWN).collect();
        let quoted = serde_json::to_string(&cut).map_err(|_| fmt::Error)?;
        f.write_str(&quoted)?;
        if cut.len() < self.0.len() {
            f.write_str("…")?;
        }
        Ok(())
    }
}
