//! Who may mint what, and for how long: `MintRequest + Caller + ClaimSettings -> Grant`.
//!
//! The only maker of a [`Grant`], and a token is only made from a [`Grant`]. The values of a request are checked when
//! they are made: a [`MintRequest`] cannot hold a blank sender or a lifetime that is no positive number.
//! Pure. Knows nothing of HTTP, of keys, or of time.

use serde_json::{Map, Value};

use crate::config::ClaimSettings;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct MintRequest {
    pub sender: Sender,
    pub scopes: Scopes,
    /// None: the default lifetime.
    pub ttl: Option<RequestedTtl>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular: no callers are configured.
    Anonymous,
}

/// `sub`: not blank, kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender(String);

/// Nothing but what JavaScript's `trim` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sender is blank")]
pub struct BlankSender;

impl Sender {
    /// # Errors
    /// [`BlankSender`] where `trim` of ECMAScript would leave nothing.
    pub fn new(name: String) -> Result<Self, BlankSender> {
        if name.chars().all(trimmed_by_ecmascript) {
            return Err(BlankSender);
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `macp_scopes`: a JSON object whose members are none of our business.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scopes(Map<String, Value>);

impl Scopes {
    pub const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    pub const fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// A lifetime that a caller asked for: finite, above zero, not yet clamped.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RequestedTtl(f64);

/// Zero, negative, or no finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lifetime is not a positive number")]
pub struct NotPositive;

impl RequestedTtl {
    /// # Errors
    /// [`NotPositive`] for zero, negative and non-finite numbers.
    pub fn new(seconds: f64) -> Result<Self, NotPositive> {
        if seconds.is_finite() && seconds > 0.0 {
            Ok(Self(seconds))
        } else {
            Err(NotPositive)
        }
    }

    /// Whole seconds, rounded up: a fraction of a second must not give a token that is born expired.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and a float cast saturates"
    )]
    fn whole_seconds(self) -> u64 {
        self.0.ceil() as u64
    }
}

/// What was granted: the one thing that a token is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    sender: Sender,
    scopes: Scopes,
    ttl_seconds: u64,
}

impl Grant {
    /// Everybody is granted what they ask for, for at most the maximum lifetime.
    pub fn decide(request: MintRequest, caller: Caller, settings: &ClaimSettings) -> Self {
        match caller {
            Caller::Anonymous => Self {
                ttl_seconds: request
                    .ttl
                    .map_or(settings.default_ttl, RequestedTtl::whole_seconds)
                    .min(settings.max_ttl),
                sender: request.sender,
                scopes: request.scopes,
            },
        }
    }

    pub fn sender(&self) -> &str {
        self.sender.as_str()
    }

    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub const fn ttl_seconds(&self) -> u64 {
        self.ttl_seconds
    }

    /// The sender alone, for the answer that echoes it.
    pub fn into_sender(self) -> Sender {
        self.sender
    }
}

/// ECMAScript's WhiteSpace and LineTerminator. Rust's White_Space differs in exactly these two.
fn trimmed_by_ecmascript(c: char) -> bool {
    match c {
        '\u{feff}' => true,
        '\u{85}' => false,
        other => other.is_whitespace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(default_ttl: u64, max_ttl: u64) -> ClaimSettings {
        ClaimSettings {
            issuer: "i".into(),
            audience: "a".into(),
            default_ttl,
            max_ttl,
        }
    }

    #[test]
    fn blank_is_what_javascript_trims() {
        for blank in [
            "",
            " ",
            "\t\n\u{b}\u{c}\r",
            "\u{feff}",
            "\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}",
        ] {
            assert_eq!(Sender::new(blank.into()), Err(BlankSender), "{blank:?}");
        }
        for name in ["a", " a ", "\u{85}", "\u{200b}", "\u{180e}", "\0", "\u{1f}"] {
            let sender = Sender::new(name.into()).unwrap();
            assert_eq!(sender.as_str(), name, "{name:?} is kept untrimmed");
        }
    }

    #[test]
    fn a_lifetime_is_a_finite_number_above_zero() {
        for bad in [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(RequestedTtl::new(bad), Err(NotPositive), "{bad}");
        }
    }

    #[test]
    fn lifetimes_are_rounded_up_and_clamped_the_default_too() {
        for (name, asked, default, max, want) in [
            ("absent", None, 300, 3600, 300),
            ("default above the maximum", None, 300, 60, 60),
            ("a fraction", Some(0.4), 300, 3600, 1),
            ("a tiny fraction", Some(5e-324), 300, 3600, 1),
            ("a fraction above one", Some(100.2), 300, 3600, 101),
            ("whole", Some(100.0), 300, 3600, 100),
            ("at the maximum", Some(3600.0), 300, 3600, 3600),
            ("just above the maximum", Some(3600.1), 300, 3600, 3600),
            ("huge", Some(f64::MAX), 300, 3600, 3600),
        ] {
            let request = MintRequest {
                sender: Sender::new("a".into()).unwrap(),
                scopes: Scopes::default(),
                ttl: asked.map(|seconds| RequestedTtl::new(seconds).unwrap()),
            };
            let grant = Grant::decide(request, Caller::Anonymous, &settings(default, max));
            assert_eq!(grant.ttl_seconds(), want, "{name}");
        }
    }
}
