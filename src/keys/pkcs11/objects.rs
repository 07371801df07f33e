//! The private objects of a token: listed, told apart by label, id and schedule, and believed to be gone only when they are.
//!
//! An object that could not be read is not one that is not ours: the look fails, and what was known before holds.

use std::collections::BTreeMap;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use super::ckr::{Class, Failure};
use super::discovery::{Refusal, Search};
use super::public::Attributes;
use super::token::{TokenFault, View};
use crate::clock::UnixSeconds;
use crate::config::KeySelector;
use crate::keys::label::LabelMatch;
use crate::keys::lists::KeySchedule;

/// A private object that the selector names.
pub(super) struct PrivateObject<'s> {
    pub(super) object: ObjectHandle,
    pub(super) label: String,
    pub(super) id: Vec<u8>,
    pub(super) timing: Timing<'s>,
}

/// When a key signs, as far as label, id and schedule say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timing<'s> {
    From(UnixSeconds),
    BadInstant,
    /// This schedule may name its kid.
    ByKid(&'s KeySchedule),
}

pub(super) fn of_class(
    view: &View<'_>,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, TokenFault> {
    view.session()
        .find_objects(&[Attribute::Class(class)])
        .map_err(|error| view.fault(error.into()))
}

/// The objects that may be ours, and into `by_id` how many private objects of any label carry each CKA_ID.
pub(super) fn may_be_ours<'s>(
    view: &View<'_>,
    search: &Search<'s>,
    by_id: &mut BTreeMap<Vec<u8>, usize>,
) -> Result<Vec<PrivateObject<'s>>, TokenFault> {
    let mut ours = Vec::new();
    for object in of_class(view, PRIVATE)? {
        let named = [AttributeType::Label, AttributeType::Id];
        let attributes = match Attributes::read(view.session(), object, &named) {
            Ok(attributes) => attributes,
            Err(failure) if is_gone(view, PRIVATE, object, &failure)? => continue,
            Err(failure) => return Err(view.fault(failure)),
        };
        let label = attributes.label().unwrap_or_default();
        let id = attributes.id().unwrap_or_default();
        *by_id.entry(id.clone()).or_default() += 1;
        let timing = match search.schedule {
            Some(schedule) => scheduled(schedule, &id),
            None => chosen(search.keys, &label, &id),
        };
        if let Some(timing) = timing {
            ours.push(PrivateObject {
                object,
                label,
                id,
                timing,
            });
        }
    }
    Ok(ours)
}

fn scheduled<'s>(schedule: &'s KeySchedule, id: &[u8]) -> Option<Timing<'s>> {
    match schedule.by_id(id) {
        Some(at) => Some(Timing::From(at)),
        None => schedule.names_kids().then_some(Timing::ByKid(schedule)),
    }
}

fn chosen(selector: &KeySelector, label: &str, id: &[u8]) -> Option<Timing<'static>> {
    match selector {
        KeySelector::Prefix(prefix) => match prefix.read(label) {
            LabelMatch::NotOurs => None,
            LabelMatch::ActiveFrom(at) => Some(Timing::From(at)),
            LabelMatch::BadInstant => Some(Timing::BadInstant),
        },
        KeySelector::Fixed {
            label: wanted_label,
            id: wanted_id,
        } => (wanted_label.as_deref().is_none_or(|wanted| wanted == label)
            && wanted_id.as_deref().is_none_or(|wanted| wanted == id))
        .then_some(Timing::From(UnixSeconds::EVER)),
    }
}

/// Whose trouble a failed read of an object is: the key's, which the token goes on without, or the token's.
pub(super) fn key_or_token<T>(
    view: &View<'_>,
    class: ObjectClass,
    object: ObjectHandle,
    failure: Failure,
) -> Result<Result<T, Refusal>, TokenFault> {
    let is_of_the_key = match failure.class() {
        Class::Key => is_gone(view, class, object, &failure)?,
        Class::Mechanism | Class::Attribute | Class::AlreadyDone => true,
        Class::Session
        | Class::SessionLimit
        | Class::Login
        | Class::Token
        | Class::Pin
        | Class::Permanent => false,
    };
    if is_of_the_key {
        Ok(Err(Refusal::Unreadable(failure)))
    } else {
        Err(view.fault(failure))
    }
}

/// Whether it was destroyed between search and read. Not, where another search still lists it: the token was wrong then, and
/// says nothing about the key.
fn is_gone(
    view: &View<'_>,
    class: ObjectClass,
    object: ObjectHandle,
    failure: &Failure,
) -> Result<bool, TokenFault> {
    Ok(failure.class() == Class::Key && !of_class(view, class)?.contains(&object))
}

const PRIVATE: ObjectClass = ObjectClass::PRIVATE_KEY;
