//! The end of a key pair: the private object that has just proved its key, and the public objects with the same key.
//!
//! Private first: a public object that is left over does no harm, a private one without its public half cannot prove itself again.
//! Public objects under the same CKA_ID with another key are not touched. A token that calls the destruction a failure is not believed: an
//! answer can be lost on its way, so it is looked at once more.

use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};

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
    #[error(
        "it is not known whether the private half of {kid} is destroyed (label {label:?}, CKA_ID {id}): the token answered {complaint}, and now {doubt}. Look at `keys list` once the token answers: if the key is there, run `keys prune` again; if not, remove its public half, which is still there, with the tool of your HSM"
    )]
    Unknown {
        kid: Kid,
        label: String,
        id: String,
        complaint: Box<Failure>,
        doubt: Box<Doubt>,
    },
}

/// What keeps it from being known whether a private half is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    #[error("it does not let itself be looked at: {0}")]
    Unseen(Failure),
    #[error("nobody is logged in any more, so its private keys are invisible")]
    LoggedOut,
    #[error("it shows another private key of that name")]
    Another,
}

/// What became of a private half whose destruction the token calls a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
    Unknown(Doubt),
}

/// Destroys the pair of a key that was found under the present login. Some: the token called it a failure, and the private half is
/// gone all the same.
///
/// # Errors
/// [`DestroyFault`] says what is left.
pub fn destroy(
    token: &Token,
    report: &KeyReport,
    key: &FoundKey,
) -> Result<Option<Failure>, DestroyFault> {
    let fault = |failure| token.fault(failure);
    let open = || token.module().open_writing_session(token.slot());
    let session = open().map_err(fault)?;
    let publics = public_halves(&session, report, key).map_err(fault)?;
    let outcome = session.destroy_object(key.handle.object);
    let Err(complaint) = outcome.map_err(Failure::from) else {
        destroy_publics(&session, publics).map_err(left_over(token, report, key))?;
        return Ok(None);
    };
    // A session that saw an error is not used again.
    drop(session);
    let seen = open().and_then(|session| Ok((look_for(token, &session, report, key)?, session)));
    let unknown = |doubt| DestroyFault::Unknown {
        kid: key.published.kid().clone(),
        label: report.label.clone(),
        id: hex::encode(&report.id),
        complaint: Box::new(complaint.clone()),
        doubt: Box::new(doubt),
    };
    match seen {
        Ok((Fate::Gone, session)) => {
            destroy_publics(&session, publics).map_err(left_over(token, report, key))?;
            Ok(Some(complaint))
        }
        Ok((Fate::There, _)) => Err(fault(complaint).into()),
        Ok((Fate::Unknown(doubt), _)) => Err(unknown(doubt)),
        Err(failure) => Err(unknown(Doubt::Unseen(failure))),
    }
}

/// On a session that is fit for it.
fn look_for(
    token: &Token,
    session: &Session,
    report: &KeyReport,
    key: &FoundKey,
) -> Result<Fate, Failure> {
    let named = [Attribute::Class(ObjectClass::PRIVATE_KEY), name_of(report)];
    let found = session.find_objects(&named)?;
    // After the search: what it showed was shown to this state.
    let state = session.get_session_info()?.session_state();
    let logged_in = matches!(state, SessionState::RoUser | SessionState::RwUser);
    let sees_private = logged_in || !token.info().login_required;
    Ok(fate(sees_private, &key.handle.object, &found))
}

/// What was found under the name of an object that was to go.
fn fate<T: PartialEq>(sees_private: bool, object: &T, found: &[T]) -> Fate {
    match found {
        found if found.contains(object) => Fate::There,
        _ if !sees_private => Fate::Unknown(Doubt::LoggedOut),
        [] => Fate::Gone,
        // Perhaps the same under another handle.
        _ => Fate::Unknown(Doubt::Another),
    }
}

/// The error: how many are left, and why the first of them is.
fn destroy_publics(session: &Session, publics: Vec<ObjectHandle>) -> Result<(), (usize, Failure)> {
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
    let first = failures.into_iter().next();
    first.map_or(Ok(()), |failure| Err((left, failure)))
}

fn left_over(
    token: &Token,
    report: &KeyReport,
    key: &FoundKey,
) -> impl FnOnce((usize, Failure)) -> DestroyFault {
    |(left, failure)| DestroyFault::PublicLeft {
        kid: key.published.kid().clone(),
        label: report.label.clone(),
        id: hex::encode(&report.id),
        left,
        fault: Box::new(token.fault(failure)),
    }
}

/// By what both halves are found.
fn name_of(report: &KeyReport) -> Attribute {
    if report.id.is_empty() {
        Attribute::Label(report.label.clone().into_bytes())
    } else {
        Attribute::Id(report.id.clone())
    }
}

fn public_halves(
    session: &Session,
    report: &KeyReport,
    key: &FoundKey,
) -> Result<Vec<ObjectHandle>, Failure> {
    let kind = match key.published.algorithm() {
        Algorithm::Rs256 => KeyType::RSA,
        Algorithm::Es256 => KeyType::EC,
    };
    let mut objects =
        session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), name_of(report)])?;
    objects.retain(|object| {
        public::public_key(session, *object, kind)
            .is_ok_and(|read| read.as_ref() == Ok(key.published.jwk().key()))
    });
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_half_is_gone_only_where_it_would_be_seen() {
        for (name, sees_private, found, want) in [
            ("there", true, &[1][..], Fate::There),
            ("there beside another", true, &[2, 1], Fate::There),
            ("there without a login", false, &[1], Fate::There),
            ("gone", true, &[], Fate::Gone),
            (
                "nothing is visible",
                false,
                &[],
                Fate::Unknown(Doubt::LoggedOut),
            ),
            ("another handle", true, &[2], Fate::Unknown(Doubt::Another)),
        ] {
            assert_eq!(fate(sees_private, &1, found), want, "{name}");
        }
    }
}
