//! A new key pair on the token, made so that its private half never leaves it.
//!
//! Private: TOKEN, PRIVATE, SENSITIVE, SIGN true; EXTRACTABLE, DECRYPT, UNWRAP, DERIVE false; the mechanisms that sign
//! JOSE allowed alone. Public: TOKEN, PRIVATE, VERIFY true, MODIFIABLE false, so that nobody sees or relabels it without
//! the PIN. A token that refuses a form gets the next simpler one, then another name; what was made is read back and judged.

use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use super::ckr::{Class, Failure};
use super::public::{Attributes, P256_OID};
use super::token::{Token, TokenFault};
use super::unmade;
use crate::jose::Algorithm;

/// What to make, and what it may be called.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub algorithm: Algorithm,
    /// In the order in which they are tried.
    pub names: Vec<KeyNaming>,
}

/// What a pair is called on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNaming {
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
}

/// A pair that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The name that the token took.
    pub asked: KeyNaming,
    /// What it wrote down.
    pub stored: KeyNaming,
    /// Why it did not take the first name.
    pub refusal: Option<String>,
}

/// From the strictest form to the one that every token takes.
const FORMS: [Form; 4] = [
    Form {
        allowed_mechanisms: true,
        private_public: true,
        single_purpose: true,
    },
    Form {
        allowed_mechanisms: false,
        private_public: true,
        single_purpose: true,
    },
    Form {
        allowed_mechanisms: false,
        private_public: false,
        single_purpose: true,
    },
    Form {
        allowed_mechanisms: false,
        private_public: false,
        single_purpose: false,
    },
];

/// More that lose their name have another reason.
const MOST_PAIRS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Form {
    allowed_mechanisms: bool,
    private_public: bool,
    single_purpose: bool,
}

/// Generates the pair under the first name and in the strictest form that the token takes.
///
/// # Errors
/// The token's, of the last attempt where it refuses every one.
pub fn generate(token: &Token, new: &NewKey) -> Result<Made, TokenFault> {
    let mut refusal: Option<Failure> = None;
    for naming in &new.names {
        match in_any_form(token, new.algorithm, naming)? {
            Ok(stored) => {
                return Ok(Made {
                    asked: naming.clone(),
                    stored,
                    refusal: refusal.map(|failure| failure.to_string()),
                });
            }
            Err(failure) if may_mean_the_name(&failure) => refusal = refusal.or(Some(failure)),
            Err(failure) => return Err(unmade::fault(token.label(), new.algorithm, failure)),
        }
    }
    let nothing = || Failure::from(cryptoki::error::Error::InvalidValue);
    let last = refusal.unwrap_or_else(nothing);
    Err(unmade::fault(token.label(), new.algorithm, last))
}

/// The inner error is of the simplest form.
fn in_any_form(
    token: &Token,
    algorithm: Algorithm,
    naming: &KeyNaming,
) -> Result<Result<KeyNaming, Failure>, TokenFault> {
    let mut last = Failure::from(cryptoki::error::Error::InvalidValue);
    let fault = |failure| unmade::fault(token.label(), algorithm, failure);
    for form in FORMS {
        // A session that saw an error is not used again.
        let session = token
            .module()
            .open_writing_session(token.slot())
            .map_err(fault)?;
        match named(&session, algorithm, naming, form) {
            Ok(stored) => return Ok(Ok(stored)),
            // NSS answers CKR_GENERAL_ERROR where it means an attribute.
            Err(failure) if matches!(failure.class(), Class::Attribute | Class::Session) => {
                tracing::debug!(%failure, ?form, "the token refuses this form of a key");
                last = failure;
            }
            Err(failure) => return Err(fault(failure)),
        }
    }
    Ok(Err(last))
}

/// Not where the token is full, or out of memory: another name would help nothing.
fn may_mean_the_name(failure: &Failure) -> bool {
    failure.class() == Class::Attribute
        || [
            RvError::GeneralError,
            RvError::FunctionFailed,
            RvError::ArgumentsBad,
            RvError::DataInvalid,
            RvError::DataLenRange,
            RvError::DeviceError,
        ]
        .into_iter()
        .any(|code| failure.is(code))
}

/// A pair that has kept its name. SoftHSM2 2.6.1 writes a key twice, and loses what it wrote first where another process reads
/// the file in between (1 of 230 with three services that look each second): such a pair is nobody's, and another is made.
fn named(
    session: &Session,
    algorithm: Algorithm,
    naming: &KeyNaming,
    form: Form,
) -> Result<KeyNaming, Failure> {
    for _ in 1..MOST_PAIRS {
        let (public, private) = attempt(session, algorithm, naming, form)?;
        let stored = stored(session, private, naming);
        if !stored.label.is_empty() || !stored.id.is_empty() {
            return Ok(stored);
        }
        tracing::warn!(
            "the token has lost the name of a new key; it is destroyed, and another is made"
        );
        for object in [private, public] {
            session.destroy_object(object)?;
        }
    }
    let (_, private) = attempt(session, algorithm, naming, form)?;
    Ok(stored(session, private, naming))
}

/// What the token wrote down: some cut labels without a word. What cannot be read is as asked.
fn stored(session: &Session, private: ObjectHandle, asked: &KeyNaming) -> KeyNaming {
    let named = [AttributeType::Label, AttributeType::Id];
    let (read, _) = Attributes::readable(session, private, &named).unwrap_or_default();
    KeyNaming {
        label: read.label().unwrap_or_else(|| asked.label.clone()),
        id: read.id().unwrap_or_else(|| asked.id.clone()),
    }
}

fn attempt(
    session: &Session,
    algorithm: Algorithm,
    naming: &KeyNaming,
    form: Form,
) -> Result<(ObjectHandle, ObjectHandle), Failure> {
    let named = [
        Attribute::Label(naming.label.clone().into_bytes()),
        Attribute::Id(naming.id.clone()),
        Attribute::Token(true),
    ];
    let (mechanism, parameters, allowed) = match algorithm {
        Algorithm::Rs256 => (
            Mechanism::RsaPkcsKeyPairGen,
            vec![
                Attribute::ModulusBits(2048.into()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ],
            [MechanismType::SHA256_RSA_PKCS, MechanismType::RSA_PKCS],
        ),
        Algorithm::Es256 => (
            Mechanism::EccKeyPairGen,
            vec![Attribute::EcParams(P256_OID.to_vec())],
            [MechanismType::ECDSA_SHA256, MechanismType::ECDSA],
        ),
    };
    let mut public = [&named[..], &parameters, &[Attribute::Verify(true)]].concat();
    if form.private_public {
        public.extend([Attribute::Private(true), Attribute::Modifiable(false)]);
    }
    let mut private = [
        &named[..],
        &[
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ],
    ]
    .concat();
    if form.single_purpose {
        private.extend([
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ]);
    }
    if form.allowed_mechanisms {
        private.push(Attribute::AllowedMechanisms(allowed.to_vec()));
    }
    Ok(session.generate_key_pair(&mechanism, &public, &private)?)
}
