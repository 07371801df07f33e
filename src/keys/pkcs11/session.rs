//! One signature on one session.
//!
//! A session that saw an error may hold an active operation: the caller drops it and never puts it back.

use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use super::ckr::Failure;
use super::mechanism::{SIGNATURE_ROOM, SigningMechanism};
use super::module::Module;
use crate::config::Pin;
use crate::jose::Signature;

/// A private object and how it signs. The handle is good until the login or the module goes.
#[derive(Debug, Clone)]
pub struct KeyHandle {
    pub object: ObjectHandle,
    pub mechanism: SigningMechanism,
    /// The PIN that a CKA_ALWAYS_AUTHENTICATE key wants before each signature.
    pub reauthenticate: Option<Pin>,
}

/// C_SignInit, the context-specific login where the key wants one, C_Sign.
///
/// # Errors
/// The module's answer; the session must then be dropped.
pub fn sign(
    module: &Module,
    session: &Session,
    key: &KeyHandle,
    message: &[u8],
) -> Result<Signature, Failure> {
    let input = key.mechanism.input(message);
    let Some(functions) = module.functions() else {
        return sign_by_cryptoki(session, key, &input);
    };
    session.sign_init(&key.mechanism.parameter(), key.object)?;
    reauthenticate(session, key)?;
    let raw = functions.sign(session, &input, SIGNATURE_ROOM)?;
    Ok(key.mechanism.output(raw))
}

/// For modules that our own calls do not reach: a round trip more, and no CKA_ALWAYS_AUTHENTICATE for mechanisms that
/// take their input in one part.
fn sign_by_cryptoki(
    session: &Session,
    key: &KeyHandle,
    input: &[u8],
) -> Result<Signature, Failure> {
    let mechanism = key.mechanism.parameter();
    let raw = if key.reauthenticate.is_some() {
        session.sign_init(&mechanism, key.object)?;
        reauthenticate(session, key)?;
        session.sign_update(input)?;
        session.sign_final()?
    } else {
        session.sign(&mechanism, key.object, input)?
    };
    Ok(key.mechanism.output(raw))
}

/// Between C_SignInit and C_Sign (PKCS#11 v3.1, C_Login: CKU_CONTEXT_SPECIFIC).
fn reauthenticate(session: &Session, key: &KeyHandle) -> Result<(), Failure> {
    if let Some(pin) = &key.reauthenticate {
        let secret = AuthPin::new(pin.expose().into());
        session.login(UserType::ContextSpecific, Some(&secret))?;
    }
    Ok(())
}
