//! One token, found and logged in: the only owner of slot, login and anchor session.
//!
//! Login belongs to the process and the token, not to a session; closing the last session logs out. The anchor session
//! stays open for that reason, and nobody ever calls C_Logout.

use std::io;
use std::sync::Arc;

use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::ckr::{Class, Failure};
pub use super::fault::{PinRisk, TokenFault};
use super::ffi::TokenInfo;
use super::module::Module;
use super::pin_guard::PinGuard;
use crate::clock::UnixSeconds;
use crate::config::{Pin, TokenSelector};
use crate::keys::board::TokenIdentity;

/// A token that is there, with the user logged in where a PIN is configured and needed.
#[derive(Debug)]
pub struct Token {
    module: Arc<Module>,
    slot: Slot,
    info: TokenInfo,
    anchor: Session,
    logged_in: bool,
}

/// A token as one look sees it: on a session of its own, because some modules show a session only what was there when it
/// began; on the anchor where the token has no more.
#[derive(Debug)]
pub struct View<'a> {
    token: &'a Token,
    own: Option<Session>,
}

impl View<'_> {
    pub fn session(&self) -> &Session {
        self.own.as_ref().unwrap_or(&self.token.anchor)
    }

    pub const fn token(&self) -> &Token {
        self.token
    }

    /// Names the token as the one whose call failed.
    pub fn fault(&self, failure: Failure) -> TokenFault {
        self.token.fault(failure)
    }
}

impl Token {
    /// Finds the token and logs in; the module has to be initialised. At most one C_Login.
    ///
    /// # Errors
    /// [`TokenFault`], which says what an operator can do.
    pub fn connect(
        module: &Arc<Module>,
        selector: &TokenSelector,
        pin: Option<&Pin>,
        guard: &PinGuard,
    ) -> Result<Self, TokenFault> {
        let (slot, info) = select(module, selector)?;
        let anchor = module
            .open_session(slot)
            .map_err(|failure| TokenFault::NoSession {
                token: info.label.clone(),
                failure,
            })?;
        let mut token = Self {
            module: Arc::clone(module),
            slot,
            info,
            anchor,
            logged_in: false,
        };
        if let Some(pin) = pin
            && token.info.login_required
        {
            token.log_in(pin, guard)?;
            token.logged_in = true;
        }
        Ok(token)
    }

    /// Makes sure of anchor and login after trouble; at most one C_Login, and none where the login still stands.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub fn renew_login(&mut self, pin: &Pin, guard: &PinGuard) -> Result<(), TokenFault> {
        let state = self
            .anchor
            .get_session_info()
            .map(|info| info.session_state());
        match state {
            Ok(SessionState::RoUser | SessionState::RwUser) => return Ok(()),
            Ok(_) => {}
            Err(_) => {
                self.anchor = self.module.open_session(self.slot).map_err(|failure| {
                    TokenFault::NoSession {
                        token: self.info.label.clone(),
                        failure,
                    }
                })?;
            }
        }
        if self.info.login_required {
            self.log_in(pin, guard)?;
            self.logged_in = true;
        }
        Ok(())
    }

    /// For one look.
    ///
    /// # Errors
    /// [`TokenFault::Call`] where the token says nothing of itself; [`TokenFault::NoSession`], not for want of more sessions.
    pub fn view(&self) -> Result<View<'_>, TokenFault> {
        self.answers()?;
        let own = match self.module.open_session(self.slot) {
            Ok(session) => Some(session),
            Err(failure) if failure.class() == Class::SessionLimit => None,
            Err(failure) => {
                let token = self.info.label.clone();
                return Err(TokenFault::NoSession { token, failure });
            }
        };
        Ok(View { token: self, own })
    }

    /// SoftHSM2 2.6.1 may stop reading its directory for good: searches then find what was there for ever, and C_GetTokenInfo
    /// alone fails. While another process logs in it may fail, too, but seldom twice.
    fn answers(&self) -> Result<(), TokenFault> {
        let ask = || self.module.token_info(self.slot);
        let answer = ask().or_else(|_| ask());
        answer.map(drop).map_err(|failure| self.fault(failure))
    }

    pub const fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub const fn slot(&self) -> Slot {
        self.slot
    }

    pub const fn info(&self) -> &TokenInfo {
        &self.info
    }

    /// What it says of itself.
    pub fn identity(&self) -> TokenIdentity {
        let info = &self.info;
        TokenIdentity {
            label: info.label.clone(),
            serial: info.serial.clone(),
            manufacturer: info.manufacturer.clone(),
            model: info.model.clone(),
            firmware: info.firmware.clone(),
        }
    }

    pub const fn anchor(&self) -> &Session {
        &self.anchor
    }

    /// The user was logged in here.
    pub const fn logged_in(&self) -> bool {
        self.logged_in
    }

    /// An operator says that the last try may be spent.
    pub const fn allow_final_try(&mut self) {
        self.info.pin_final_try = false;
    }

    /// How the memory of refused PINs names it.
    pub fn guarded_as(&self) -> String {
        format!("{} {}", self.info.serial, self.info.label)
    }

    /// The label, for messages.
    pub fn label(&self) -> &str {
        &self.info.label
    }

    /// Names this token as the one whose call failed.
    pub fn fault(&self, failure: Failure) -> TokenFault {
        TokenFault::Call {
            token: self.info.label.clone(),
            failure,
        }
    }

    /// One C_Login, if the token's flags and the memory of refused PINs allow it.
    fn log_in(&self, pin: &Pin, guard: &PinGuard) -> Result<(), TokenFault> {
        let token = self.info.label.clone();
        if self.info.pin_locked {
            let risk = PinRisk::Locked;
            return Err(TokenFault::PinAtRisk { token, risk });
        }
        if self.info.pin_final_try {
            let risk = PinRisk::FinalTry;
            return Err(TokenFault::PinAtRisk { token, risk });
        }
        let name = self.guarded_as();
        let memory = |error: io::Error| TokenFault::Memory {
            token: token.clone(),
            reason: error.to_string(),
        };
        let begun = guard.begin(&name, pin, UnixSeconds::now());
        let attempt = match begun.map_err(memory)? {
            Ok(attempt) => attempt,
            Err(blocked) => {
                return Err(TokenFault::PinRemembered {
                    token,
                    reason: blocked.reason,
                    since: blocked.since.rfc3339(),
                });
            }
        };
        let secret = AuthPin::new(pin.expose().into());
        let outcome = self.anchor.login(UserType::User, Some(&secret));
        match outcome.map_err(Failure::from) {
            Err(failure) if failure.class() == Class::Pin => {
                let answer = failure.to_string();
                guard.refused(&attempt, &answer).map_err(memory)?;
                Err(TokenFault::PinRefused { token, failure })
            }
            Err(failure) if failure.class() != Class::AlreadyDone => {
                guard.cleared(&attempt).map_err(memory)?;
                Err(TokenFault::Login { token, failure })
            }
            Ok(()) | Err(_) => guard.cleared(&attempt).map_err(memory),
        }
    }
}

/// Exactly one token may match: two are an error, never "the first".
fn select(module: &Module, wanted: &TokenSelector) -> Result<(Slot, TokenInfo), TokenFault> {
    let tokens = module.tokens().map_err(|failure| TokenFault::Absent {
        wanted: wanted.describe(),
        seen: format!("the module lists no slots ({failure})"),
    })?;
    let seen = || match tokens.as_slice() {
        [] => "the module shows no token".to_owned(),
        tokens => format!(
            "the module shows {}",
            tokens
                .iter()
                .map(
                    |(_, info)| match (info.label.as_str(), info.serial.as_str()) {
                        ("", "") => "a slot without an initialised token".to_owned(),
                        (label, serial) => format!("{label:?} (serial {serial})"),
                    }
                )
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let mut matching = tokens
        .iter()
        .filter(|(slot, info)| matches(wanted, *slot, info));
    match (matching.next(), matching.count()) {
        (None, _) => Err(TokenFault::Absent {
            wanted: wanted.describe(),
            seen: seen(),
        }),
        (Some(found), 0) => Ok(found.clone()),
        (Some(_), more) => Err(TokenFault::Ambiguous {
            wanted: wanted.describe(),
            matches: more + 1,
            seen: seen(),
        }),
    }
}

fn matches(wanted: &TokenSelector, slot: Slot, info: &TokenInfo) -> bool {
    let says = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    says(&wanted.label, &info.label)
        && says(&wanted.serial, &info.serial)
        && says(&wanted.manufacturer, &info.manufacturer)
        && says(&wanted.model, &info.model)
        && wanted.slot_id.is_none_or(|id| id == slot.id())
}
