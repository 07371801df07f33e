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
use crate::jose::Algorithm;

/// Destroys the pair of a key that was found under the present login; how many objects that were.
///
/// # Errors
/// The token's. What was destroyed before stays destroyed.
pub fn destroy(token: &Token, report: &KeyReport, key: &FoundKey) -> Result<usize, TokenFault> {
    let fault = |failure| token.fault(failure);
    let session = token.module().open_writing_session(token.slot());
    let session = session.map_err(fault)?;
    let publics = public_halves(&session, report, key).map_err(fault)?;
    session
        .destroy_object(key.handle.object)
        .map_err(|error| fault(error.into()))?;
    let mut destroyed = 1;
    for object in publics {
        match session.destroy_object(object).map_err(Failure::from) {
            Ok(()) => destroyed += 1,
            // Some tokens take both halves at once.
            Err(failure) if failure.class() == Class::Key => {}
            Err(failure) => return Err(fault(failure)),
        }
    }
    Ok(destroyed)
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
