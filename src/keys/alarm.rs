//! What an operator has to know although the service works: one list, shown in the log when it changes, in `/readyz`,
//! `/status` and the metrics.

use std::fmt;

use serde::Serialize;

/// One trouble. The same trouble gives the same text, so that it is told once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// What, why, what to do.
    pub detail: String,
}

/// Stable names for metrics and for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The clock cannot be trusted: nothing signs, nothing changes.
    Clock,
    /// Lead and retention are shorter than verifiers need.
    UnsafeTiming,
    /// A look at a token failed, or found nothing.
    Look,
    /// Keys that are there and not used.
    KeyRefused,
    /// A published key that its token no longer holds.
    KeyGone,
    /// One key, two instants.
    TwoInstants,
    /// A new key whose instant lies before that of a key which signs.
    Overtaken,
    /// A key signs that verifiers may not have yet.
    Unannounced,
    /// The key whose turn it is has been revoked.
    ActiveRevoked,
    /// The key whose turn it is has gone from its token.
    ActiveGone,
    /// A revoked kid that was never known.
    UnknownRevoked,
    /// The schedule names a key that no token shows.
    UnknownScheduled,
    /// Nothing is left to publish.
    Tombstone,
    /// An activation was held for as long as it may be.
    NotConverged,
    /// A file of the operator cannot be used.
    List,
    /// An extra key has a kid of ours.
    ExtraConflict,
    /// What is known of the keys cannot be saved, or could not be read.
    State,
}

impl AlarmKind {
    pub const ALL: [Self; 17] = [
        Self::Clock,
        Self::UnsafeTiming,
        Self::Look,
        Self::KeyRefused,
        Self::KeyGone,
        Self::TwoInstants,
        Self::Overtaken,
        Self::Unannounced,
        Self::ActiveRevoked,
        Self::ActiveGone,
        Self::UnknownRevoked,
        Self::UnknownScheduled,
        Self::Tombstone,
        Self::NotConverged,
        Self::List,
        Self::ExtraConflict,
        Self::State,
    ];

    /// As in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::UnsafeTiming => "unsafe_timing",
            Self::Look => "look",
            Self::KeyRefused => "key_refused",
            Self::KeyGone => "key_gone",
            Self::TwoInstants => "two_instants",
            Self::Overtaken => "overtaken",
            Self::Unannounced => "unannounced",
            Self::ActiveRevoked => "active_revoked",
            Self::ActiveGone => "active_gone",
            Self::UnknownRevoked => "unknown_revoked",
            Self::UnknownScheduled => "unknown_scheduled",
            Self::Tombstone => "tombstone",
            Self::NotConverged => "not_converged",
            Self::List => "list",
            Self::ExtraConflict => "extra_conflict",
            Self::State => "state",
        }
    }
}

impl Alarm {
    pub fn new(kind: AlarmKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}
