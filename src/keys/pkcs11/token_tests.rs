//! What an operator is told of a refused PIN: whose turn it is, and that no restart is needed.

use super::*;
use cryptoki::context::Function;
use cryptoki::error::Error;

fn refused(code: RvError) -> String {
    let failure = Failure::from(Error::Pkcs11(code, Function::Login));
    let token = "t".to_owned();
    TokenFault::PinRefused { token, failure }.to_string()
}

#[test]
fn a_locked_pin_is_the_security_officers_to_reset() {
    let (locked, wrong) = (refused(RvError::PinLocked), refused(RvError::PinIncorrect));

    assert!(locked.contains("security officer"), "{locked}");
    assert!(!locked.contains("the right PIN"), "{locked}");
    assert!(wrong.contains("Put the right PIN into the file"), "{wrong}");
}

#[test]
fn a_pin_at_risk_needs_no_restart() {
    let told = TokenFault::PinAtRisk {
        token: "t".to_owned(),
        state: "its user PIN is locked",
    };

    assert!(told.to_string().contains("No restart is needed"), "{told}");
}
