//! Why a token makes no key, and what to do about it: one table of answers to C_GenerateKeyPair and its session. Pure.

use cryptoki::error::RvError;

use super::ckr::{Class, Failure};
use super::token::TokenFault;
use crate::jose::Algorithm;

/// An answer, why it is given, and the cure.
type Row = (RvError, &'static str, &'static str);

const ROWS: [Row; 7] = [
    (
        RvError::DeviceMemory,
        "it is full",
        "Make room: `keys prune` destroys expired keys, the tool of your HSM what else is not needed. Then run this again",
    ),
    (
        RvError::TokenWriteProtected,
        "it is write-protected",
        "Have its security officer lift the protection for as long as keys are made, and run this again",
    ),
    (
        RvError::SessionReadOnly,
        "it lets this client read only",
        "Give this client the right to write in the configuration of the HSM, or run this on the machine that has it",
    ),
    (
        RvError::UserNotLoggedIn,
        "who is logged in may not make keys, or the login was lost",
        "Give the PIN of a user who may with --pin-file; if this one may, run this again",
    ),
    (RvError::AttributeValueInvalid, NO_FORM, MAKE_IT_THERE),
    (RvError::TemplateInconsistent, NO_FORM, MAKE_IT_THERE),
    (
        RvError::FunctionNotSupported,
        "its module makes no key pairs at all",
        MAKE_IT_THERE,
    ),
];

const NO_FORM: &str = "it refuses every form of a key pair and every name that are known here";
const MAKE_IT_THERE: &str = "Make the pair with the tool of your HSM: the label as `keys generate --dry-run` shows it, one CKA_ID for both halves, not extractable. The service finds it by itself";

/// What to tell of the last attempt.
pub(super) fn fault(token: &str, algorithm: Algorithm, failure: Failure) -> TokenFault {
    let token = token.to_owned();
    match ROWS.into_iter().find(|(code, ..)| failure.is(*code)) {
        Some((_, why, cure)) => TokenFault::Unmade {
            token,
            failure,
            why,
            cure,
        },
        // openCryptoki's software token has no elliptic curves.
        None if failure.class() == Class::Mechanism => TokenFault::NoSuchKeys {
            token,
            algorithm,
            failure,
        },
        None => TokenFault::Call { token, failure },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;
    use cryptoki::error::Error;

    #[test]
    fn a_token_that_makes_no_key_is_told_with_what_why_and_what_to_do() {
        #[rustfmt::skip]
        let rows = [
            (RvError::DeviceMemory, "CKR_DEVICE_MEMORY", "is full", "`keys prune`"),
            (RvError::TokenWriteProtected, "CKR_TOKEN_WRITE_PROTECTED", "write-protected", "security officer"),
            (RvError::SessionReadOnly, "CKR_SESSION_READ_ONLY", "read only", "right to write"),
            (RvError::UserNotLoggedIn, "CKR_USER_NOT_LOGGED_IN", "may not make keys", "--pin-file"),
            (RvError::AttributeValueInvalid, "CKR_ATTRIBUTE_VALUE_INVALID", "every form", "tool of your HSM"),
            (RvError::TemplateInconsistent, "CKR_TEMPLATE_INCONSISTENT", "every form", "tool of your HSM"),
            (RvError::FunctionNotSupported, "CKR_FUNCTION_NOT_SUPPORTED", "no key pairs at all", "tool of your HSM"),
            (RvError::MechanismInvalid, "CKR_MECHANISM_INVALID", "keys for ES256", "--alg"),
            (RvError::DeviceError, "CKR_DEVICE_ERROR", "does not answer", ""),
        ];
        for (code, answer, why, cure) in rows {
            let failure = Failure::from(Error::Pkcs11(code, Function::GenerateKeyPair));

            let told = fault("one", Algorithm::Es256, failure).to_string();
            for part in ["token one", "C_GenerateKeyPair", answer, why, cure] {
                assert!(told.contains(part), "{answer}: {part}: {told}");
            }
        }
    }
}
