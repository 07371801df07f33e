//! Why a token cannot be used: what, why, what to do. What a fault means for the PIN stands here, too.

use cryptoki::error::RvError;

use super::ckr::{Class, Failure};
use crate::jose::Algorithm;

/// Why a token cannot be used. Each message names the thing and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error(
        "the PKCS#11 module {module} does not start ({failure}). Check that its own configuration and its device or daemon are there (SoftHSM2: SOFTHSM2_CONF and the token directory)"
    )]
    Initialize { module: String, failure: Failure },
    #[error(
        "no token matches {wanted}; {seen}. Check MACP_AUTH_PKCS11_TOKEN_LABEL and …_TOKEN_SERIAL (or the URI), and that the HSM is connected"
    )]
    Absent { wanted: String, seen: String },
    #[error(
        "{matches} tokens match {wanted}; {seen}. Name exactly one with MACP_AUTH_PKCS11_TOKEN_SERIAL (or serial= in the URI)"
    )]
    Ambiguous {
        wanted: String,
        matches: usize,
        seen: String,
    },
    #[error("the token {token} opens no session ({failure})")]
    NoSession { token: String, failure: Failure },
    #[error(
        "the token {token} refused the PIN ({failure}). No further login is tried with this PIN, because wrong PINs lock tokens for good. {}", refused_pin_cure(.failure)
    )]
    PinRefused { token: String, failure: Failure },
    #[error(
        "the token {token} reported a PIN that is not as it should be ({failure}), though no login was refused and no attempt spent. No further login is tried by itself, because wrong PINs lock tokens for good. Look at the token and at what it runs on; when they are well, send SIGHUP to the service or restart it, and it logs in once more. If the PIN has expired or been changed, put the new one into the file of MACP_AUTH_PKCS11_PIN_FILE, where a change is noticed within 5 s"
    )]
    PinReported { token: String, failure: Failure },
    #[error("the token {token} says that {risk}; no login is tried. {}", .risk.cure())]
    PinAtRisk { token: String, risk: PinRisk },
    #[error(
        "the token {token} refused this PIN at {since} ({reason}), so it is not tried again: wrong PINs lock tokens for good. Put the right PIN into the PIN file; if the PIN is right after all, run `macp-auth-service doctor --clear-pin-guard`"
    )]
    PinRemembered {
        token: String,
        reason: String,
        since: String,
    },
    #[error(
        "the memory of refused PINs cannot be used ({reason}), so no login to the token {token} is tried. Check MACP_AUTH_STATE_DIR"
    )]
    Memory { token: String, reason: String },
    #[error("the login to the token {token} failed ({failure})")]
    Login { token: String, failure: Failure },
    #[error("the token {token} does not answer as it should ({failure})")]
    Call { token: String, failure: Failure },
    #[error(
        "the token {token} does not make keys for {algorithm} ({failure}). Take another algorithm with --alg, or a token that has this one"
    )]
    NoSuchKeys {
        token: String,
        algorithm: Algorithm,
        failure: Failure,
    },
    #[error("the token {token} makes no key ({failure}): {why}. {cure}")]
    Unmade {
        token: String,
        failure: Failure,
        why: &'static str,
        cure: &'static str,
    },
    #[error("the token {token} gave a signature that does not verify under the published key")]
    WrongSignature { token: String },
}

/// What a token says of its user PIN without a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinRisk {
    #[error("its user PIN is locked (CKF_USER_PIN_LOCKED)")]
    Locked,
    #[error("one more wrong PIN locks it (CKF_USER_PIN_FINAL_TRY)")]
    FinalTry,
}

impl PinRisk {
    const fn cure(self) -> &'static str {
        match self {
            Self::Locked => {
                "Have its security officer check and reset the user PIN. No restart is needed: the token is looked at every 2 s"
            }
            Self::FinalTry => {
                "Have its security officer check and reset the user PIN; or, sure that the PIN in the file is right, spend the last try on it with `macp-auth-service doctor --clear-pin-guard`: a login that succeeds takes the mark away on most tokens. No restart is needed: the token is looked at every 2 s"
            }
        }
    }
}

impl TokenFault {
    /// A code about the PIN: refused, where a login gave it and an attempt may be spent; else only reported.
    pub fn of_pin(token: String, failure: Failure) -> Self {
        if failure.is_of_login() {
            Self::PinRefused { token, failure }
        } else {
            Self::PinReported { token, failure }
        }
    }

    /// The same as a fault of the PIN, where the code is about the PIN, whichever call gave it.
    pub fn as_pin_fault(&self) -> Option<Self> {
        match self {
            Self::PinRefused { token, failure }
            | Self::PinReported { token, failure }
            | Self::NoSession { token, failure }
            | Self::Login { token, failure }
            | Self::Call { token, failure }
                if failure.class() == Class::Pin =>
            {
                Some(Self::of_pin(token.clone(), failure.clone()))
            }
            Self::PinRefused { .. }
            | Self::PinReported { .. }
            | Self::NoSession { .. }
            | Self::Login { .. }
            | Self::Call { .. }
            | Self::Initialize { .. }
            | Self::Absent { .. }
            | Self::Ambiguous { .. }
            | Self::PinAtRisk { .. }
            | Self::PinRemembered { .. }
            | Self::Memory { .. }
            | Self::NoSuchKeys { .. }
            | Self::Unmade { .. }
            | Self::WrongSignature { .. } => None,
        }
    }
}

fn refused_pin_cure(failure: &Failure) -> &'static str {
    if failure.is(RvError::PinLocked) {
        "The user PIN is locked: have the token's security officer set another one, and put that into the file of MACP_AUTH_PKCS11_PIN_FILE, where a change is noticed within 5 s, or restart with it"
    } else {
        "Put the right PIN into the file of MACP_AUTH_PKCS11_PIN_FILE, where a change is noticed within 5 s, or restart with the right one"
    }
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
