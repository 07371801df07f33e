//! What an operator is told of a refused PIN: whose turn it is, and that no restart is needed.

use super::*;
use cryptoki::context::Function;
use cryptoki::error::Error;

fn failed(code: RvError, call: Function) -> TokenFault {
    let failure = Failure::from(Error::Pkcs11(code, call));
    let token = "t".to_owned();
    TokenFault::Call { token, failure }
}

fn refused(code: RvError) -> String {
    let fault = failed(code, Function::Login).as_pin_fault();
    fault.unwrap().to_string()
}

#[test]
fn a_locked_pin_is_the_security_officers_to_reset() {
    let (locked, wrong) = (refused(RvError::PinLocked), refused(RvError::PinIncorrect));

    assert!(locked.contains("security officer"), "{locked}");
    assert!(!locked.contains("the right PIN"), "{locked}");
    assert!(wrong.contains("Put the right PIN into the file"), "{wrong}");
}

#[test]
fn a_code_about_the_pin_is_a_refused_pin_only_where_a_login_gave_it() {
    let reported = failed(RvError::PinExpired, Function::SignInit).as_pin_fault();
    let told = reported.clone().unwrap().to_string();

    assert!(matches!(reported, Some(TokenFault::PinReported { .. })));
    assert!(told.contains("C_SignInit: CKR_PIN_EXPIRED"), "{told}");
    assert!(told.contains("SIGHUP"), "{told}");
    assert!(!told.contains("the right PIN"), "{told}");
    assert!(matches!(
        failed(RvError::PinExpired, Function::Login).as_pin_fault(),
        Some(TokenFault::PinRefused { .. })
    ));
    assert!(
        failed(RvError::DeviceError, Function::Login)
            .as_pin_fault()
            .is_none()
    );
}

#[test]
fn a_pin_at_risk_needs_no_restart_and_its_last_try_can_be_spent_knowingly() {
    for (risk, can_be_spent) in [(PinRisk::Locked, false), (PinRisk::FinalTry, true)] {
        let token = "t".to_owned();
        let told = TokenFault::PinAtRisk { token, risk }.to_string();

        assert!(told.contains("No restart is needed"), "{told}");
        assert_eq!(told.contains("--clear-pin-guard"), can_be_spent, "{told}");
    }
}
