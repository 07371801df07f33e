//! Proof of possession: a nonce that nobody can have had signed before, signed by the token and verified under exactly the
//! public key that is to be published.

use aws_lc_rs::rand;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use super::ckr::{Class, Failure};
use super::discovery::{Refusal, Search};
use super::mechanism::SigningMechanism;
use super::objects::PrivateObject;
use super::public::Attributes;
use super::session::{self, KeyHandle};
use super::token::{Token, TokenFault, View};
use crate::jose::{PublicKey, Signature, Verifier};

/// Signs a nonce by each way that may work, until a signature verifies under one of the candidates.
pub(super) fn prove(
    view: &View<'_>,
    search: &Search<'_>,
    private: &PrivateObject<'_>,
    candidates: &[PublicKey],
) -> Result<Result<(KeyHandle, PublicKey), Refusal>, TokenFault> {
    let Some(algorithm) = candidates.first().map(PublicKey::algorithm) else {
        return Ok(Err(Refusal::NoPublicKey));
    };
    let reauthenticate = match (always_authenticates(view, private.object), search.pin) {
        (false, _) => None,
        (true, Some(pin)) => Some(pin.clone()),
        (true, None) => return Ok(Err(Refusal::WantsPin)),
    };
    let message = nonce();
    let mut tried = Vec::new();
    let mut signed = false;
    for mechanism in SigningMechanism::candidates(algorithm) {
        let handle = KeyHandle {
            object: private.object,
            mechanism,
            reauthenticate: reauthenticate.clone(),
        };
        match sign_once(view.token(), &handle, &message) {
            Ok(signature) => {
                signed = true;
                let owner = candidates.iter().find(|key| {
                    Verifier::new(key).is_ok_and(|verifier| verifier.accepts(&message, &signature))
                });
                if let Some(public) = owner {
                    return Ok(Ok((handle, public.clone())));
                }
            }
            // A refused PIN is not given to the next mechanism as well.
            Err(failure) if matches!(failure.class(), Class::Token | Class::Login | Class::Pin) => {
                return Err(view.fault(failure));
            }
            Err(failure) => tried.push(format!("{} {failure}", mechanism.name())),
        }
    }
    if signed {
        return Ok(Err(Refusal::ForeignPublicKey));
    }
    let tried = tried.join("; ");
    Ok(Err(Refusal::NoMechanism { tried }))
}

/// One more nonce by a key that has been proved, verified under the published key.
///
/// # Errors
/// The token's; [`TokenFault::WrongSignature`] where the signature is not this key's.
pub fn prove_again(token: &Token, key: &KeyHandle, verifier: &Verifier) -> Result<(), TokenFault> {
    let message = nonce();
    let signature = sign_once(token, key, &message).map_err(|failure| token.fault(failure))?;
    if verifier.accepts(&message, &signature) {
        return Ok(());
    }
    let token = token.label().to_owned();
    Err(TokenFault::WrongSignature { token })
}

/// On a session of its own, because a failed attempt may leave an operation active; on the anchor where the token has
/// no second session.
pub(super) fn sign_once(
    token: &Token,
    key: &KeyHandle,
    message: &[u8],
) -> Result<Signature, Failure> {
    match token.module().open_session(token.slot()) {
        Ok(fresh) => session::sign(token.module(), &fresh, key, message),
        Err(failure) if failure.class() == Class::SessionLimit => {
            session::sign(token.module(), token.anchor(), key, message)
        }
        Err(failure) => Err(failure),
    }
}

fn always_authenticates(view: &View<'_>, object: ObjectHandle) -> bool {
    Attributes::read(view.session(), object, &[AttributeType::AlwaysAuthenticate])
        .ok()
        .and_then(|attributes| {
            attributes.find(|attribute| match attribute {
                Attribute::AlwaysAuthenticate(value) => Some(*value),
                _ => None,
            })
        })
        .unwrap_or(false)
}

/// What a signed nonce begins with: no token does.
pub const PROOF: &[u8] = b"macp-auth-service: proof of possession ";

/// A message that nobody can have had signed before.
pub(super) fn nonce() -> Vec<u8> {
    let mut message = PROOF.to_vec();
    let mut random = [0; 32];
    // Without random bytes the message still proves that the pair belongs together.
    if rand::fill(&mut random).is_ok() {
        message.extend_from_slice(&random);
    }
    message
}
