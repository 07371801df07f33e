//! What one private object says of itself, and the public keys that may belong to it: read, never decided here.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::ckr::Failure;
use super::discovery::Refusal;
use super::objects::{self, PrivateObject};
use super::proof::{self, Claims};
use super::public::{self, Attributes, PublicKeyUnfit};
use super::token::{TokenFault, View};
use crate::jose::PublicKey;

pub(super) fn key_type(view: &View<'_>, object: ObjectHandle) -> Result<KeyType, Failure> {
    let attributes = Attributes::read(view.session(), object, &[AttributeType::KeyType])?;
    Ok(attributes
        .find(|attribute| match attribute {
            Attribute::KeyType(kind) => Some(*kind),
            _ => None,
        })
        .unwrap_or(KeyType::GENERIC_SECRET))
}

/// With the first failure to read one, if any: what is missing in them may be true all the same.
pub(super) fn claims(
    view: &View<'_>,
    object: ObjectHandle,
    kind: KeyType,
) -> Result<(Claims, Option<Failure>), Failure> {
    let mut claims = Claims::default();
    let mut missed = None;
    for group in proof::CLAIM_GROUPS {
        let (attributes, unread) = Attributes::readable(view.session(), object, group)?;
        missed = missed.or(unread);
        for attribute in attributes.iter() {
            let (claim, value) = match attribute {
                Attribute::Sensitive(value) => (&mut claims.sensitive, value),
                Attribute::AlwaysSensitive(value) => (&mut claims.always_sensitive, value),
                Attribute::Extractable(value) => (&mut claims.extractable, value),
                Attribute::NeverExtractable(value) => (&mut claims.never_extractable, value),
                Attribute::Local(value) => (&mut claims.local, value),
                Attribute::Sign(value) => (&mut claims.sign, value),
                Attribute::Decrypt(value) => (&mut claims.decrypt, value),
                Attribute::Unwrap(value) => (&mut claims.unwrap, value),
                Attribute::Derive(value) => (&mut claims.derive, value),
                _ => continue,
            };
            *claim = Some(*value);
        }
    }
    claims.private_value_readable = private_value_readable(view, object, kind);
    Ok((claims, missed))
}

/// Tries to take the private value out; what comes is wiped.
fn private_value_readable(view: &View<'_>, object: ObjectHandle, kind: KeyType) -> bool {
    let secret = if kind == KeyType::RSA {
        AttributeType::PrivateExponent
    } else {
        AttributeType::Value
    };
    let Ok(read) = view.session().get_attributes(object, &[secret]) else {
        return false;
    };
    read.into_iter().any(|attribute| match attribute {
        Attribute::PrivateExponent(mut value) | Attribute::Value(mut value) => {
            let readable = !value.is_empty();
            zeroize::Zeroize::zeroize(&mut value);
            readable
        }
        _ => false,
    })
}

/// The public keys that may belong to a private object: public objects of its CKA_ID; without any, what the private
/// object tells of itself.
pub(super) fn candidates(
    view: &View<'_>,
    private: &PrivateObject<'_>,
    kind: KeyType,
) -> Result<Result<Vec<PublicKey>, Refusal>, TokenFault> {
    let mut found: Vec<PublicKey> = Vec::new();
    let mut unfit = None;
    let mut objects = public_objects(view, private)?;
    if objects.is_empty() {
        objects.push(private.object);
    }
    for object in objects {
        match public::public_key(view.session(), object, kind) {
            Ok(Ok(key)) if found.contains(&key) => {}
            Ok(Ok(key)) => found.push(key),
            Ok(Err(PublicKeyUnfit::Missing { .. })) if object == private.object => {
                unfit = Some(Refusal::NoPublicKey);
            }
            Ok(Err(reason)) => unfit = Some(Refusal::Unfit(reason)),
            Err(failure) if object == private.object => {
                tracing::debug!(%failure, "a private object tells nothing of its public part");
                unfit = Some(Refusal::NoPublicKey);
            }
            Err(failure) => {
                return objects::key_or_token(view, ObjectClass::PUBLIC_KEY, object, failure);
            }
        }
    }
    match unfit {
        Some(refusal) if found.is_empty() => Ok(Err(refusal)),
        _ => Ok(Ok(found)),
    }
}

fn public_objects(
    view: &View<'_>,
    private: &PrivateObject<'_>,
) -> Result<Vec<ObjectHandle>, TokenFault> {
    let paired = if private.id.is_empty() {
        Attribute::Label(private.label.clone().into_bytes())
    } else {
        Attribute::Id(private.id.clone())
    };
    view.session()
        .find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), paired])
        .map_err(|error| view.fault(error.into()))
}
