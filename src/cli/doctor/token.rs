//! The checks of a PKCS#11 token, from the file of the module to signatures, in the order in which each needs the one
//! before. At most one C_Login, and none where the token says that the PIN is at risk.

use super::super::opened::{self, Running};
use super::finding::{Finding, State};
use super::{Enough, Orders, Reporter, chain, entry, judgement, own_user};
use crate::clock::Moment;
use crate::config::{Pin, PinSource, Pkcs11Config, TokenConfig};
use crate::keys::Board;
use crate::keys::memory::Found;
use crate::keys::pkcs11::discovery::{FoundKey, KeyReport, Refusal};
use crate::keys::pkcs11::ffi::TokenInfo;
use crate::keys::pkcs11::module::Module;
use crate::keys::pkcs11::pin_guard::PinGuard;
use crate::keys::pkcs11::{explain_no_key, token, trial};

const ASK_THE_HSM: &str = "Look into the log of the HSM or its daemon";

/// One token to check.
pub(super) struct Token<'a> {
    pub(super) config: &'a Pkcs11Config,
    pub(super) on: &'a TokenConfig,
    pub(super) guard: &'a PinGuard,
    pub(super) board: &'a Board,
    pub(super) orders: Orders,
    pub(super) reporter: &'a Reporter,
}

impl Token<'_> {
    /// Its usable keys go to the board.
    pub(super) fn check(&self) -> Result<(), Enough> {
        self.files()?;
        let running = self.module()?;
        self.slots(&running)?;
        let mut token = self.find(&running)?;
        let pin = self.log_in(&mut token)?;
        let keys = self.keys(&token, pin.as_ref())?;
        self.sessions(&token);
        keys.iter()
            .try_for_each(|key| self.signatures(&token, key, keys.len()))
    }

    fn files(&self) -> Result<(), Enough> {
        const MODULE: &str = "module file";
        self.reporter.checking(MODULE);
        match chain(&self.on.module) {
            Ok(chain) => self
                .reporter
                .found(judgement::module_file(&chain, own_user())),
            Err(cause) => {
                self.reporter.found(Finding::failed(
                    MODULE,
                    format!("{} cannot be looked at: {cause}", self.on.module.display()),
                    "Set MACP_AUTH_PKCS11_MODULE (or module-path of the URI) to your vendor's .so, readable by this user",
                ));
                return Err(Enough);
            }
        }
        // Its content and mode have been checked with the configuration.
        if let PinSource::File(path) = &self.on.pin
            && let Ok(file) = entry(path)
        {
            self.reporter.found(judgement::pin_file(&file, own_user()));
        }
        Ok(())
    }

    fn module(&self) -> Result<Running, Enough> {
        const CHECK: &str = "module";
        self.reporter.checking(CHECK);
        let module = Module::load(&self.on.module);
        let module = self.reporter.expect(CHECK, module, ASK_THE_HSM)?;
        let running = Running::start(module);
        let running = self.reporter.expect(CHECK, running, ASK_THE_HSM)?;
        self.reporter
            .found(Finding::ok(CHECK, "loaded and initialised"));
        Ok(running)
    }

    fn slots(&self, running: &Running) -> Result<(), Enough> {
        const CHECK: &str = "slots";
        self.reporter.checking(CHECK);
        let tokens = running.module().tokens();
        let tokens = self.reporter.expect(CHECK, tokens, ASK_THE_HSM)?;
        if tokens.is_empty() {
            self.reporter.found(Finding::failed(
                CHECK,
                "the module shows no token",
                "Check that the HSM is connected and the module's own configuration names it (SoftHSM2: SOFTHSM2_CONF)",
            ));
            return Err(Enough);
        }
        let labels: Vec<_> = tokens
            .iter()
            .map(|(slot, info)| format!("{:?} in slot {}", info.label, slot.id()))
            .collect();
        self.reporter.found(Finding::ok(CHECK, labels.join(", ")));
        Ok(())
    }

    /// Opens a session, but does not log in.
    fn find(&self, running: &Running) -> Result<token::Token, Enough> {
        const CHECK: &str = "token";
        self.reporter.checking(CHECK);
        let found = token::Token::connect(running.module(), &self.on.token, None, self.guard);
        let otherwise = "Close sessions that other programs hold, or raise the token's limit";
        let token = self.reporter.expect(CHECK, found, otherwise)?;
        self.reporter
            .found(Finding::ok(CHECK, describe(token.info())));
        Ok(token)
    }

    /// The PIN, where one is configured.
    fn log_in(&self, token: &mut token::Token) -> Result<Option<Pin>, Enough> {
        const CHECK: &str = "login";
        if !token.info().login_required {
            return self.reporter.expect(CHECK, opened::pin(&self.on.pin), "");
        }
        let state = judgement::pin_state(token.info(), self.orders.clear_pin_guard);
        let at_risk = state.state() == State::Failed;
        self.reporter.found(state);
        if at_risk {
            return Err(Enough);
        }
        self.reporter.checking(CHECK);
        let pin = self.reporter.expect(CHECK, opened::pin(&self.on.pin), "")?;
        let Some(pin) = pin else {
            self.reporter.found(Finding::warning(
                CHECK,
                "no PIN is configured, so nobody logs in; most tokens then show no private key",
                "Set MACP_AUTH_PKCS11_PIN_FILE",
            ));
            return Ok(None);
        };
        if self.orders.clear_pin_guard {
            token.allow_final_try();
        }
        let outcome = token.renew_login(&pin, self.guard);
        self.reporter.expect(CHECK, outcome, ASK_THE_HSM)?;
        self.reporter.found(Finding::ok(CHECK, "the PIN is right"));
        Ok(Some(pin))
    }

    /// The usable ones; at least one.
    fn keys(&self, token: &token::Token, pin: Option<&Pin>) -> Result<Vec<FoundKey>, Enough> {
        const CHECK: &str = "keys";
        self.reporter.checking(CHECK);
        let schedule = self.board.schedule();
        let found = opened::find_keys(token, self.config, &self.on.keys, pin, schedule.as_deref());
        let reports = self.reporter.expect(CHECK, found, ASK_THE_HSM)?;
        let now = Moment::now();
        let skew = self.board.rules().skew;
        let found: Vec<Found> = reports
            .iter()
            .filter_map(|report| report.found(now.wall, skew))
            .collect();
        self.board.looked(&self.on.name(), &found, Vec::new(), now);
        if reports.is_empty() {
            let explained =
                explain_no_key(token, self.on, self.board.schedule().as_deref(), &reports);
            let otherwise = "Make one with `macp-auth-service keys generate --alg RS256`";
            self.reporter
                .found(Finding::told(CHECK, State::Failed, &explained, otherwise));
        }
        let usable: Vec<FoundKey> = reports
            .iter()
            .filter_map(|report| report.outcome.as_ref().ok())
            .cloned()
            .collect();
        for report in &reports {
            aspects(report, usable.is_empty(), self.reporter);
        }
        if usable.is_empty() {
            return Err(Enough);
        }
        Ok(usable)
    }

    fn sessions(&self, token: &token::Token) {
        self.reporter.checking("sessions");
        let wanted = self.config.sessions;
        let (opened, refused) = trial::open_sessions(token, wanted);
        let refused = refused.map(|failure| (failure.class(), failure.to_string()));
        let refused = refused
            .as_ref()
            .map(|(class, text)| (*class, text.as_str()));
        self.reporter
            .found(judgement::sessions(opened, wanted, refused));
    }

    fn signatures(&self, token: &token::Token, key: &FoundKey, keys: usize) -> Result<(), Enough> {
        const CHECK: &str = "signatures";
        self.reporter.checking(CHECK);
        let trial = trial::Trial::begin(token, &key.handle, key.published.verifier());
        let trial = self.reporter.expect(CHECK, trial, ASK_THE_HSM)?;
        let mut took = Vec::new();
        for _ in 0..self.orders.signatures {
            took.push(self.reporter.expect(CHECK, trial.sign(), ASK_THE_HSM)?);
            self.reporter.checking(CHECK);
        }
        let by = (keys > 1).then(|| key.published.kid().as_str());
        self.reporter
            .found(judgement::latency(by, took, self.orders.sign_timeout));
        Ok(())
    }
}

fn describe(token: &TokenInfo) -> String {
    let login = if token.login_required {
        "wants a login"
    } else {
        "wants no login"
    };
    format!(
        "{:?}, serial {}, {} {}, firmware {}; {login}",
        token.label, token.serial, token.manufacturer, token.model, token.firmware
    )
}

/// What has to be right with a key, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    Label,
    Attributes,
    Pair,
    Mechanism,
}

/// One finding an aspect of the key, up to the one that makes it unusable. That is a warning as long as another key is
/// usable.
fn aspects(report: &KeyReport, alone: bool, reporter: &Reporter) {
    let name = format!("{:?} (CKA_ID {})", report.label, hex::encode(&report.id));
    let refused = report
        .outcome
        .as_ref()
        .err()
        .map(|refusal| (aspect(refusal), refusal));
    for aspect in [
        Aspect::Label,
        Aspect::Attributes,
        Aspect::Pair,
        Aspect::Mechanism,
    ] {
        if let Some((at, refusal)) = refused
            && at == aspect
        {
            let state = if alone { State::Failed } else { State::Warning };
            let message = format!("{name}: {refusal}");
            let otherwise = "Make another key with `keys generate`, and delete this one";
            reporter.found(Finding::told(aspect.check(), state, &message, otherwise));
            break;
        }
        if aspect == Aspect::Label {
            continue;
        }
        reporter.found(Finding::ok(
            aspect.check(),
            format!("{name}: {}", well(aspect, report)),
        ));
    }
    for warning in &report.warnings {
        reporter.found(Finding::warning(
            Aspect::Attributes.check(),
            format!("{name}: {warning}"),
            "If that is not wanted, make another key with `keys generate`, or put right what the warning names",
        ));
    }
}

impl Aspect {
    const fn check(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Attributes => "attributes",
            Self::Pair => "pair",
            Self::Mechanism => "mechanism",
        }
    }
}

const fn aspect(refusal: &Refusal) -> Aspect {
    match refusal {
        Refusal::BadInstant | Refusal::Ambiguous { .. } => Aspect::Label,
        Refusal::Policy { .. } | Refusal::Unreadable(_) => Aspect::Attributes,
        Refusal::NoPublicKey | Refusal::ForeignPublicKey | Refusal::Unfit(_) => Aspect::Pair,
        Refusal::NoMechanism { .. } | Refusal::WantsPin => Aspect::Mechanism,
    }
}

fn well(aspect: Aspect, report: &KeyReport) -> String {
    let key = report.outcome.as_ref().ok();
    match (aspect, key) {
        (Aspect::Pair, Some(key)) => {
            format!("a signature verifies under {}", key.published.kid())
        }
        (Aspect::Mechanism, Some(key)) => format!(
            "{} by {}",
            key.published.algorithm(),
            key.handle.mechanism.name()
        ),
        (Aspect::Label | Aspect::Attributes, _) => "as MACP_AUTH_KEY_POLICY asks".to_owned(),
        (Aspect::Pair | Aspect::Mechanism, None) => "there".to_owned(),
    }
}
