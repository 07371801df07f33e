//! Whether a start of the module that nothing but new keys asks for is better put off: it logs in anew, and where PIN and token
//! differ by now, that spends an attempt and a login that stands. Three instances would lock a TPM.
//!
//! The decision is pure; the supervisor asks the token for its flags, and the memory of refused PINs.

use super::ffi::TokenInfo;
use super::supervisor::Supervisor;
use crate::config::Pin;

/// The sign that a login may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Caution {
    #[error("the token says that its user PIN is locked (CKF_USER_PIN_LOCKED)")]
    Locked,
    #[error("the token says that one more wrong PIN locks it (CKF_USER_PIN_FINAL_TRY)")]
    FinalTry,
    #[error(
        "the token says that a wrong PIN was given since the last login that succeeded (CKF_USER_PIN_COUNT_LOW)"
    )]
    CountLow,
    #[error("the token says that its user PIN is to be changed (CKF_USER_PIN_TO_BE_CHANGED)")]
    ToBeChanged,
    #[error("another login with the same state directory was refused this PIN")]
    Refused,
    #[error("the token does not say how its PIN is, or the memory of refused PINs cannot be read")]
    Unknown,
}

/// The gravest sign first. `remembered`: the PIN was refused before.
fn caution(token: &TokenInfo, remembered: bool) -> Option<Caution> {
    [
        (token.pin_locked, Caution::Locked),
        (token.pin_final_try, Caution::FinalTry),
        (token.pin_count_low, Caution::CountLow),
        (token.pin_to_be_changed, Caution::ToBeChanged),
        (remembered, Caution::Refused),
    ]
    .into_iter()
    .find_map(|(is_so, caution)| is_so.then_some(caution))
}

impl Supervisor {
    /// Whether a start of the module that is well is put off; said once.
    pub(super) fn puts_off_a_start(&mut self) -> bool {
        let caution = self.caution();
        let news = self.fresh_starts.put_off(caution);
        if let (Some(reason), true) = (caution, news) {
            tracing::warn!(
                token = %self.charge.name, %reason,
                "the module is not started over, so new keys may not be seen: that takes a login, which could spend an attempt. If the PIN was changed, put the new one into the PIN file and restart the service; if not, find who gives wrong PINs, and log in once with the right one (`macp-auth-service doctor`)"
            );
        }
        caution.is_some()
    }

    fn caution(&self) -> Option<Caution> {
        let pin = self.last_pin.as_ref()?;
        let shared = &self.charge.shared;
        let (token, name) = {
            let _inside = shared.enter_to_look();
            let _in_module = self.charge.host.enter();
            let guard = shared.token.lock();
            let token = guard.as_ref()?;
            if !token.logged_in() {
                return None;
            }
            let info = token.module().token_info(token.slot());
            (info, token.guarded_as())
        };
        let (Ok(token), Ok(remembered)) = (token, self.is_spent(&name, pin)) else {
            return Some(Caution::Unknown);
        };
        caution(&token, remembered)
    }

    /// Neither the PIN that has logged in nor the configured one may be tried.
    fn is_spent(&self, token: &str, last: &Pin) -> std::io::Result<bool> {
        let guard = &self.charge.guard;
        if !guard.remembers(token, last)? {
            return Ok(false);
        }
        match self.pin() {
            Ok(Some(configured)) => guard.remembers(token, &configured),
            Ok(None) | Err(_) => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (locked, final try, count low, to be changed)
    fn token((locked, last, low, change): (bool, bool, bool, bool)) -> TokenInfo {
        TokenInfo {
            pin_count_low: low,
            pin_final_try: last,
            pin_locked: locked,
            pin_to_be_changed: change,
            ..TokenInfo::silent()
        }
    }

    #[test]
    fn each_sign_that_pin_and_token_differ_puts_a_start_off() {
        use Caution::{CountLow, FinalTry, Locked, Refused, ToBeChanged};
        for (name, flags, remembered, want) in [
            ("well", (false, false, false, false), false, None),
            ("low", (false, false, true, false), false, Some(CountLow)),
            ("last", (false, true, true, false), false, Some(FinalTry)),
            ("locked", (true, true, true, false), false, Some(Locked)),
            ("old", (false, false, false, true), false, Some(ToBeChanged)),
            ("refused", (false, false, false, false), true, Some(Refused)),
        ] {
            assert_eq!(caution(&token(flags), remembered), want, "{name}");
        }
    }
}
