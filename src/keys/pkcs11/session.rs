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
    session.sign_init(&key.mechanism.parameter(), key.object)?;
    if let Some(pin) = &key.reauthenticate {
        let secret = AuthPin::new(pin.expose().into());
        session.login(UserType::ContextSpecific, Some(&secret))?;
    }
    let raw = module
        .functions()
        .sign(session, &key.mechanism.input(message), SIGNATURE_ROOM)?;
    Ok(key.mechanism.output(raw))
}
