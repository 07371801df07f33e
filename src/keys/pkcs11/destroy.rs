//! The end of a key pair: the private object that has just proved its key, and the public objects with the same key.
//!
//! Private first: a public object that is left over does no harm, a private one without its public half cannot prove itself again.
//! Public objects under the same CKA_ID with another key are not touched.

use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::ckr::{Class, Failure};
use super::discovery::{FoundKey, KeyReport};
use super::public;
use super::token::{Token, TokenFault};
use crate::jose::{Algorithm, Kid};

/// Why a pair is not destroyed, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum DestroyFault {
    /// Before the private half was gone.
    #[error(transparent)]
    Untouched(#[from] TokenFault),
    #[error(
        "the private half of {kid} is destroyed, but its public half is still there: {left} public key object(s), made with label {label:?} and CKA_ID {id:?} (hex). It signs nothing, and no later `keys prune` finds it: remove it with the tool of your HSM. The token said: {fault}"
    )]
    PublicLeft {
        kid: Kid,
        label: String,
        id: String,
        left: usize,
        fault: Box<TokenFault>,
    },
}

/// Destroys the pair of a key that was found under the present login.
///
/// # Errors
/// [`DestroyFault`] says what is left.
pub fn destroy(token: &Token, report: &KeyReport, key: &FoundKey) -> Result<(), DestroyFault> {
    let fault = |failure| token.fault(failure);
    let session = token.module().open_writing_session(token.slot());
    let session = session.map_err(fault)?;
    let publics = public_halves(&session, report, key).map_err(fault)?;
    session
        .destroy_object(key.handle.object)
        .map_err(|error| fault(error.into()))?;
    let mut failures = Vec::new();
    for object in publics {
        match session.destroy_object(object).map_err(Failure::from) {
            Ok(()) => {}
            // Some tokens take both halves at once.
            Err(failure) if failure.class() == Class::Key => {}
            Err(failure) => failures.push(failure),
        }
    }
    let left = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(DestroyFault::PublicLeft {
            kid: key.published.kid().clone(),
            label: report.label.clone(),
            id: hex::encode(&report.id),
            left,
            fault: Box::new(token.fault(failure)),
        }),
    }
}

fn public_halves(
    session: &Session,
    report: &KeyReport,
    key: &FoundKey,
) -> Result<Vec<ObjectHandle>, Failure> {
    let paired = if report.id.is_empty() {
        Attribute::Label(report.label.clone().into_bytes())
    } else {
        Attribute::Id(report.id.clone())
    };
    let kind = match key.published.algorithm() {
        Algorithm::Rs256 => KeyType::RSA,
        Algorithm::Es256 => KeyType::EC,
    };
    let mut objects = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), paired])?;
    objects.retain(|object| {
        public::public_key(session, *object, kind)
            .is_ok_and(|read| read.as_ref() == Ok(key.published.jwk().key()))
    });
    Ok(objects)
}
