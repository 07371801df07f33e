//! A new key pair on the token, made so that its private half never leaves it.
//!
//! Private: TOKEN, PRIVATE, SENSITIVE, SIGN true; EXTRACTABLE, DECRYPT, UNWRAP, DERIVE false; the mechanisms that sign
//! JOSE allowed alone. Public: TOKEN, PRIVATE, VERIFY true, MODIFIABLE false, so that nobody sees or relabels it without
//! the PIN. A token that refuses a form gets the next simpler one; what was made is then read back and judged.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::session::Session;

use super::ckr::{Class, Failure};
use super::public::P256_OID;
use super::token::{Token, TokenFault};
use crate::jose::Algorithm;

/// What the new pair is called.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub algorithm: Algorithm,
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
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

#[derive(Debug, Clone, Copy)]
struct Form {
    allowed_mechanisms: bool,
    private_public: bool,
    single_purpose: bool,
}

/// Generates the pair.
///
/// # Errors
/// The token's, of the simplest form where the token refuses every one.
pub fn generate(token: &Token, new: &NewKey) -> Result<(), TokenFault> {
    let mut last = None;
    for form in FORMS {
        // A session that saw an error is not used again.
        let session = token
            .module()
            .open_writing_session(token.slot())
            .map_err(|failure| token.fault(failure))?;
        match attempt(&session, new, form) {
            Ok(()) => return Ok(()),
            // NSS answers CKR_GENERAL_ERROR where it means an attribute.
            Err(failure) if matches!(failure.class(), Class::Attribute | Class::Session) => {
                tracing::debug!(%failure, ?form, "the token refuses this form of a key");
                last = Some(failure);
            }
            Err(failure) => return Err(token.fault(failure)),
        }
    }
    last.map_or(Ok(()), |failure| Err(token.fault(failure)))
}

fn attempt(session: &Session, new: &NewKey, form: Form) -> Result<(), Failure> {
    let named = [
        Attribute::Label(new.label.clone().into_bytes()),
        Attribute::Id(new.id.clone()),
        Attribute::Token(true),
    ];
    let (mechanism, parameters, allowed) = match new.algorithm {
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
    session.generate_key_pair(&mechanism, &public, &private)?;
    Ok(())
}
