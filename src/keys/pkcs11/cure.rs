//! How a token is brought up, and up again: the rungs of the ladder.
//!
//! ```text
//! find keys  ->  log in, find keys  ->  module, token, login, keys
//! ```
//!
//! Where tokens share a module, the last rung first tries without disturbing the siblings. A PIN that was refused is never
//! tried again: only another PIN in the PIN file is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ckr::{Class, Failure};
use super::discovery::{self, KeyReport, Proved, Search};
use super::host::NotRestarted;
use super::recovery::{Action, escalate};
use super::shared::{Live, State};
use super::standing;
use super::supervisor::{Down, Supervisor};
use super::token::{Token, TokenFault};
use crate::clock::{Moment, UnixSeconds};
use crate::config::settings::PIN_FILE;
use crate::config::{Pin, PinSource, pin_file};
use crate::keys::memory::Found;

impl Supervisor {
    /// Climbs the ladder from `action` until the token signs or the last rung failed.
    pub(super) fn cure(&mut self, mut action: Action) -> Result<(), Down> {
        let shared = Arc::clone(&self.charge.shared);
        let _inside = shared.enter();
        loop {
            let outcome = match action {
                Action::FindKeys | Action::Proceed | Action::NewSession => self.find_keys(),
                Action::LogIn => self.log_in_again().and_then(|()| self.find_keys()),
                // Without a PIN to try there is nothing to do in the module.
                Action::Reinitialize | Action::StopLogins | Action::GiveUp => {
                    self.pin().and_then(|pin| self.reinitialize(pin.as_ref()))
                }
            };
            match outcome {
                Err(down) if action < Action::Reinitialize && !down.is_final() => {
                    if escalate(action) == Action::Reinitialize && self.started_just_now() {
                        return Err(down);
                    }
                    tracing::debug!(reason = %down, ?action, "not cured; the next rung");
                    action = escalate(action);
                }
                other => {
                    self.tell_board(&other);
                    return other;
                }
            }
        }
    }

    /// Why nothing is known of the keys now; where the token was read and holds none, that has been told.
    fn tell_board(&self, outcome: &Result<(), Down>) {
        let reason = match outcome {
            Err(Down::Token(fault)) => fault.to_string(),
            Err(Down::PinFile(error)) => error.clone(),
            Ok(()) | Err(Down::NoKey(_) | Down::Refused(_) | Down::Stuck) => return,
        };
        self.charge.board.look_failed(&self.charge.name, reason);
    }

    /// Starts a module over that is well, with the PIN that is known to log in: what stands in the file may not be the token's PIN
    /// yet, and nothing is amiss that would be worth an attempt.
    pub(super) fn start_over(&mut self) -> Result<(), Down> {
        let started = {
            let shared = Arc::clone(&self.charge.shared);
            let _inside = shared.enter();
            shared.set_state(State::Repairing);
            let pin = self.last_pin.clone();
            self.reinitialize(pin.as_ref())
        };
        match started {
            // The token has another PIN by now, and the file may have it.
            Err(Down::Token(
                TokenFault::PinRefused { .. }
                | TokenFault::PinReported { .. }
                | TokenFault::PinRemembered { .. },
            )) => self.cure(Action::Reinitialize),
            // SoftHSM2 fails a login while another process logs in. Mints still wait.
            Err(down) if !down.is_final() => self.cure(Action::Reinitialize),
            other => other,
        }
    }

    fn reinitialize(&mut self, pin: Option<&Pin>) -> Result<(), Down> {
        self.drop_sessions()?;
        self.started_now();
        if self.charge.host.is_shared() {
            let gently = self.come_up(pin);
            let down = match gently {
                Err(down) if self.is_worth_a_restart(&down) => down,
                other => return other,
            };
            self.drop_sessions()?;
            tracing::debug!(token = %self.charge.name, reason = %down, "a fresh login is not enough; the module is to be restarted");
            self.restart_module(|| down)?;
        } else {
            self.restart_module(|| Down::Stuck)?;
        }
        self.come_up(pin)
    }

    /// From slot list to keys in one stay: a sibling that restarts the module in between would cost a login.
    fn come_up(&mut self, pin: Option<&Pin>) -> Result<(), Down> {
        let host = Arc::clone(&self.charge.host);
        let _inside = host.enter();
        self.connect(pin)?;
        self.search()
    }

    /// A first look that finds no key is no reason to disturb siblings; keys that were there and are gone are one.
    const fn is_worth_a_restart(&self, down: &Down) -> bool {
        match down {
            Down::NoKey(_) => self.last.is_some(),
            Down::Token(_) => !down.is_final(),
            Down::PinFile(_) | Down::Refused(_) | Down::Stuck => false,
        }
    }

    fn restart_module(&self, too_soon: impl FnOnce() -> Down) -> Result<(), Down> {
        let charge = &self.charge;
        charge
            .host
            .restart(&charge.shared)
            .map_err(|not| match not {
                NotRestarted::Stuck => Down::Stuck,
                NotRestarted::TooSoon => too_soon(),
                NotRestarted::Failed(failure) => Down::Token(TokenFault::Initialize {
                    module: charge.host.module().path().display().to_string(),
                    failure,
                }),
            })
    }

    fn connect(&mut self, pin: Option<&Pin>) -> Result<(), Down> {
        let charge = self.charge.clone();
        charge
            .host
            .start()
            .map_err(|failure| TokenFault::Initialize {
                module: charge.host.module().path().display().to_string(),
                failure,
            })?;
        if charge.host.module().reads_once() {
            self.fresh_starts.is_one_that_reads_once();
        }
        match Token::connect(
            charge.host.module(),
            &charge.token.token,
            pin,
            &charge.guard,
        ) {
            Ok(token) => {
                *charge.shared.token.lock() = Some(token);
                self.last_pin = pin.cloned();
                Ok(())
            }
            Err(fault) => Err(self.remember_refusal(fault, pin.cloned())),
        }
    }

    fn log_in_again(&mut self) -> Result<(), Down> {
        let pin = self.pin()?;
        let charge = self.charge.clone();
        let _inside = charge.host.enter();
        let outcome = match (charge.shared.token.lock().as_mut(), &pin) {
            (Some(token), Some(pin)) => token.renew_login(pin, &charge.guard),
            (Some(_), None) => Ok(()),
            (None, _) => return Err(Down::NoKey(String::new())),
        };
        outcome.map_err(|fault| self.remember_refusal(fault, pin))
    }

    /// A code about the PIN ends its use wherever it comes from: the search and each signature give it to some keys.
    pub(super) fn remember_refusal(&mut self, fault: TokenFault, pin: Option<Pin>) -> Down {
        let fault = fault.as_pin_fault().unwrap_or(fault);
        let refused = matches!(
            fault,
            TokenFault::PinRefused { .. }
                | TokenFault::PinReported { .. }
                | TokenFault::PinRemembered { .. }
        );
        if let (true, Some(pin)) = (refused, pin) {
            self.refused_pin = Some((pin, fault.clone()));
        }
        fault.into()
    }

    /// What a mint met that no repair cures.
    pub(super) fn refused(&mut self, failure: Failure) -> Down {
        if failure.class() != Class::Pin {
            return Down::Refused(failure.to_string());
        }
        let token = self.charge.name.to_string();
        let fault = TokenFault::of_pin(token, failure);
        self.remember_refusal(fault, self.last_pin.clone())
    }

    /// An operator has looked at the token. What no login has refused may be tried again.
    pub(super) fn allow_reported_pin(&mut self) {
        self.refused_pin
            .take_if(|(_, fault)| matches!(fault, TokenFault::PinReported { .. }));
    }

    /// The configured PIN, unless the token has refused exactly this one. A PIN that has logged in outlives its file.
    pub(super) fn pin(&self) -> Result<Option<Pin>, Down> {
        let pin = match &self.charge.token.pin {
            PinSource::None => return Ok(None),
            PinSource::Value(pin) => pin.clone(),
            PinSource::File(path) => match (pin_file::read(path), &self.last_pin) {
                (Ok(pin), _) => pin,
                (Err(_), Some(last)) => last.clone(),
                (Err(error), None) => {
                    let named = PIN_FILE.name;
                    return Err(Down::PinFile(format!("{named} {error}")));
                }
            },
        };
        match &self.refused_pin {
            Some((refused, fault)) if refused.same_as(&pin) => Err(fault.clone().into()),
            _ => Ok(Some(pin)),
        }
    }

    fn find_keys(&mut self) -> Result<(), Down> {
        let host = Arc::clone(&self.charge.host);
        let _inside = host.enter();
        self.search()
    }

    /// Inside the module: every key proved anew, handles for a new generation.
    fn search(&mut self) -> Result<(), Down> {
        self.proved.clear();
        let reports = match self.reports() {
            Ok(reports) => reports,
            Err(Unread::Token(fault)) => {
                return Err(self.remember_refusal(fault, self.last_pin.clone()));
            }
            Err(Unread::NoToken) => return Err(Down::NoKey(String::new())),
        };
        let refused = self.tell(&reports);
        self.fresh_starts.read_anew(ids(&reports));
        self.proved = proved(&reports);
        if self.proved.is_empty() {
            let explained = self.explain(&reports);
            let (board, name) = (&self.charge.board, &self.charge.name);
            board.looked_empty(name, explained.clone(), UnixSeconds::now());
            return Err(Down::NoKey(explained));
        }
        self.publish(&reports, refused);
        self.generation += 1;
        let Some(live) = self.live() else {
            return Err(Down::NoKey(String::new()));
        };
        self.last = Some(Arc::clone(&live));
        // Each key has just proved itself by a signature.
        self.charge.shared.verified();
        self.charge.shared.set_state(State::Live(live));
        Ok(())
    }

    /// Looks for keys that came or went, while the token signs. A look that fails or finds nothing changes nothing, but is a
    /// reason to see whether the token still signs.
    pub(super) fn look(&mut self) -> Result<(), Down> {
        let shared = Arc::clone(&self.charge.shared);
        let host = Arc::clone(&self.charge.host);
        self.read_now();
        let looked = {
            let _inside = shared.enter_to_look();
            let _in_module = host.enter();
            self.reports()
        };
        let failed = match looked {
            Ok(reports) if reports.iter().any(|report| report.outcome.is_ok()) => {
                let refused = self.tell(&reports);
                if self.charge.board.schedule().is_some() {
                    // A new schedule names other keys, which may have been there before.
                    self.fresh_starts.read_anew(ids(&reports));
                } else {
                    self.fresh_starts.looked(ids(&reports));
                }
                self.proved = proved(&reports);
                self.publish(&reports, refused);
                if let Some(live) = self.live()
                    && shared.exchange_keys(&live)
                {
                    self.last = Some(live);
                }
                return Ok(());
            }
            Ok(_) => "it found no key, though there were some".to_owned(),
            Err(Unread::Token(fault)) => fault.to_string(),
            Err(Unread::NoToken) => return self.canary(),
        };
        self.charge.board.look_failed(&self.charge.name, failed);
        self.canary()
    }

    fn reports(&self) -> Result<Vec<KeyReport>, Unread> {
        let charge = &self.charge;
        let schedule = charge.board.schedule();
        let search = Search {
            keys: &charge.token.keys,
            policy: charge.policy,
            algorithm: charge.board.algorithm(),
            pin: self.last_pin.as_ref(),
            schedule: schedule.as_deref(),
            proved: &self.proved,
        };
        let guard = charge.shared.token.lock();
        let token = guard.as_ref().ok_or(Unread::NoToken)?;
        discovery::find_keys(token, &search).map_err(Unread::Token)
    }

    fn explain(&self, reports: &[KeyReport]) -> String {
        let token = self.charge.shared.token.lock();
        let token = token.as_ref();
        let schedule = self.charge.board.schedule();
        token.map_or_else(String::new, |token| {
            standing::explain_no_key(token, &self.charge.token, schedule.as_deref(), reports)
        })
    }

    /// Tells the board what the token holds, before anything signs with it.
    fn publish(&mut self, reports: &[KeyReport], refused: Vec<String>) {
        let now = Moment::now();
        let charge = &self.charge;
        let skew = charge.board.rules().skew;
        let found: Vec<Found> = reports
            .iter()
            .filter_map(|report| report.found(now.wall, skew))
            .collect();
        charge.board.looked(&charge.name, &found, refused, now);
        // The board takes in nothing while the clock is in doubt.
        if charge.board.may_sign(now) {
            charge.shared.looked(now);
            self.read_now();
        } else {
            self.read_in_doubt();
        }
        self.blindness.over();
    }

    /// The handles of this generation.
    fn live(&self) -> Option<Arc<Live>> {
        let token = self.charge.shared.token.lock();
        let token = token.as_ref()?;
        let keys = self.proved.iter().map(|proved| {
            let key = &proved.key;
            (key.published.kid().clone(), key.handle.clone())
        });
        Some(Arc::new(Live {
            generation: self.generation,
            slot: token.slot(),
            logged_in: token.logged_in(),
            keys: keys.collect(),
        }))
    }

    fn drop_sessions(&self) -> Result<(), Down> {
        if self.charge.shared.quiesce() {
            Ok(())
        } else {
            Err(Down::Stuck)
        }
    }
}

/// Why there is nothing to say of the keys.
enum Unread {
    Token(TokenFault),
    NoToken,
}

fn ids(reports: &[KeyReport]) -> BTreeSet<Vec<u8>> {
    reports.iter().map(|report| report.id.clone()).collect()
}

fn proved(reports: &[KeyReport]) -> Vec<Proved> {
    let proved = reports.iter().filter_map(|report| {
        Some(Proved {
            id: report.id.clone(),
            key: report.outcome.as_ref().ok()?.clone(),
            warnings: report.warnings.clone(),
        })
    });
    proved.collect()
}
