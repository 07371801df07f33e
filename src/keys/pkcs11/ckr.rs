//! What a PKCS#11 call answered: names as the standard spells them, and the class of trouble each code stands for.
//!
//! Pure. The match over codes has no `_`: a release of cryptoki that knows another code must fail to compile here.

#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;

use cryptoki::error::{Error, RvError};

/// A call that failed: `C_Login: CKR_PIN_INCORRECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    call: String,
    code: Code,
}

/// The answer of the module, or what the binding made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Code {
    Ckr(RvError),
    Binding(String),
}

/// What kind of trouble a code stands for; `recovery` decides what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The session is of no more use; another one may work.
    Session,
    /// The token takes no more sessions.
    SessionLimit,
    /// The login is gone, and with it every object handle.
    Login,
    /// The handle names no key, or another one.
    Key,
    /// The mechanism or the size of the key does not suit the token.
    Mechanism,
    /// The token or the module as a whole is gone.
    Token,
    /// No further login with this PIN.
    Pin,
    /// An attribute or a template was refused; the session is fine.
    Attribute,
    /// The state asked for is already there.
    AlreadyDone,
    /// Somebody has to change something.
    Permanent,
}

impl Failure {
    /// The class of this failure.
    pub const fn class(&self) -> Class {
        match &self.code {
            Code::Ckr(code) => class(code),
            Code::Binding(_) => Class::Session,
        }
    }

    /// Whether a login was answered so, of a user or for one signature.
    pub fn is_of_login(&self) -> bool {
        self.call == "C_Login"
    }

    /// Whether the answer was exactly this code.
    pub fn is(&self, code: RvError) -> bool {
        self.code == Code::Ckr(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(code, function) => Self {
                call: format!("C_{function:?}"),
                code: Code::Ckr(code),
            },
            other @ (Error::LibraryLoading(_)
            | Error::NotSupported
            | Error::TryFromInt(_)
            | Error::TryFromSlice(_)
            | Error::ParseInt(_)
            | Error::Utf8(_)
            | Error::NulError(_)
            | Error::NullFunctionPointer
            | Error::MissingSymbol(_)
            | Error::InvalidValue
            | Error::PinNotSet) => Self {
                call: "the module's answer".to_owned(),
                code: Code::Binding(other.to_string()),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Code::Ckr(code) => write!(f, "{}: {}", self.call, name(code)),
            Code::Binding(text) => write!(f, "{}: {text}", self.call),
        }
    }
}

/// `CKR_PIN_INCORRECT`; unknown and vendor codes as `CKR_0x…`.
pub fn name(code: &RvError) -> String {
    if let RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) = code {
        return format!("CKR_{code:#x}");
    }
    let mut name = String::from("CKR");
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The rows of the recovery ladder, as measured on six modules (docs/pkcs11.md).
#[expect(
    clippy::too_many_lines,
    reason = "one table; splitting it would hide which code is where"
)]
const fn class(code: &RvError) -> Class {
    match code {
        // SoftHSM2: GENERAL_ERROR for a wrong key type; Kryoptic: for a lost login. A fresh session tells them apart.
        RvError::GeneralError
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::BufferTooSmall
        | RvError::FunctionFailed
        | RvError::FunctionCanceled
        | RvError::FunctionRejected
        | RvError::Cancel
        | RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::HostMemory
        | RvError::ArgumentsBad
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::MutexBad
        | RvError::MutexNotLocked
        | RvError::NoEvent
        | RvError::RandomNoRng
        | RvError::RandomSeedNotSupported
        | RvError::SavedStateInvalid
        | RvError::StateUnsaveable
        | RvError::SignatureInvalid
        | RvError::SignatureLenRange
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::ExceededMaxIterations
        | RvError::SessionExists
        | RvError::SessionReadOnly
        | RvError::SessionReadOnlyExists
        | RvError::SessionReadWriteSoExists
        | RvError::SessionParallelNotSupported
        | RvError::FunctionNotParallel
        | RvError::VendorDefined(_)
        | RvError::UnknownErrorCode(_) => Class::Session,
        RvError::SessionCount => Class::SessionLimit,
        RvError::UserNotLoggedIn
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTooManyTypes => Class::Login,
        RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::KeyFunctionNotPermitted
        | RvError::KeyChanged
        | RvError::KeyNeeded
        | RvError::KeyNotNeeded
        | RvError::KeyIndigestible
        | RvError::KeyNotWrappable
        | RvError::KeyUnextractable
        | RvError::PublicKeyInvalid
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange
        | RvError::WrappingKeyHandleInvalid
        | RvError::WrappingKeySizeRange
        | RvError::WrappingKeyTypeInconsistent
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::UnwrappingKeySizeRange
        | RvError::UnwrappingKeyTypeInconsistent => Class::Key,
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::KeyTypeInconsistent
        | RvError::KeySizeRange
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::FunctionNotSupported => Class::Mechanism,
        RvError::CryptokiNotInitialized
        | RvError::SlotIdInvalid
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::FipsSelfTestFailed
        | RvError::LibraryLoadFailed => Class::Token,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked
        | RvError::PinTooWeak
        | RvError::NewPinMode
        | RvError::NextOtp
        | RvError::UserPinNotInitialized
        | RvError::UserTypeInvalid => Class::Pin,
        RvError::AttributeReadOnly
        | RvError::AttributeSensitive
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::ActionProhibited
        | RvError::InformationSensitive => Class::Attribute,
        RvError::UserAlreadyLoggedIn | RvError::CryptokiAlreadyInitialized => Class::AlreadyDone,
        RvError::CantLock | RvError::NeedToCreateThreads | RvError::TokenWriteProtected => {
            Class::Permanent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_in_the_standard() {
        for (code, want) in [
            (RvError::PinIncorrect, "CKR_PIN_INCORRECT"),
            (RvError::SlotIdInvalid, "CKR_SLOT_ID_INVALID"),
            (
                RvError::SessionReadWriteSoExists,
                "CKR_SESSION_READ_WRITE_SO_EXISTS",
            ),
            (RvError::FipsSelfTestFailed, "CKR_FIPS_SELF_TEST_FAILED"),
            (RvError::RandomNoRng, "CKR_RANDOM_NO_RNG"),
            (RvError::NextOtp, "CKR_NEXT_OTP"),
            (RvError::UnknownErrorCode(0x203), "CKR_0x203"),
            (RvError::VendorDefined(0x8000_0001), "CKR_0x80000001"),
        ] {
            assert_eq!(name(&code), want);
        }
    }

    #[test]
    fn a_failure_names_the_call_and_the_code() {
        let failure = Failure::from(Error::Pkcs11(
            RvError::PinLocked,
            cryptoki::context::Function::Login,
        ));

        assert_eq!(failure.to_string(), "C_Login: CKR_PIN_LOCKED");
        assert_eq!(failure.class(), Class::Pin);
    }
}
