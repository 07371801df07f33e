//! The checks of a PKCS#11 token, from the file of the module to signatures, in the order in which each needs the one
//! before. At most one C_Login, and none where the token says that the PIN is at risk.

use std::sync::Arc;

use super::super::opened::{self, Running};
use super::finding::{Finding, State};
use super::{Enough, Orders, Reporter, chain, entry, judgement, own_user};
use crate::clock::UnixSeconds;
use crate::config::{Pin, PinSource, Pkcs11Config};
use crate::keys::KeyRing;
use crate::keys::pkcs11::discovery::{FoundKey, KeyReport, Refusal};
use crate::keys::pkcs11::ffi::TokenInfo;
use crate::keys::pkcs11::module::Module;
use crate::keys::pkcs11::token::Token;
use crate::keys::pkcs11::{explain_no_key, trial};

const ASK_THE_HSM: &str = "Look into the log of the HSM or its daemon";

pub(super) fn check(
    config: &Pkcs11Config,
    orders: Orders,
    reporter: &Reporter,
) -> Result<(), Enough> {
    files(config, reporter)?;
    let running = module(config, reporter)?;
    slots(&running, reporter)?;
    let mut token = find(&running, config, reporter)?;
    let pin = log_in(&mut token, config, reporter)?;
    let key = keys(&token, config, pin.as_ref(), reporter)?;
    sessions(&token, config, reporter);
    signatures(&token, &key, orders, reporter)
}

fn files(config: &Pkcs11Config, reporter: &Reporter) -> Result<(), Enough> {
    const MODULE: &str = "module file";
    reporter.checking(MODULE);
    match chain(&config.module) {
        Ok(chain) => reporter.found(judgement::module_file(&chain, own_user())),
        Err(cause) => {
            reporter.found(Finding::failed(
                MODULE,
                format!("{} cannot be looked at: {cause}", config.module.display()),
                "Set MACP_AUTH_PKCS11_MODULE (or module-path of the URI) to your vendor's .so, readable by this user",
            ));
            return Err(Enough);
        }
    }
    // Its content and mode have been checked with the configuration.
    if let PinSource::File(path) = &config.pin
        && let Ok(file) = entry(path)
    {
        reporter.found(judgement::pin_file(&file, own_user()));
    }
    Ok(())
}

fn module(config: &Pkcs11Config, reporter: &Reporter) -> Result<Running, Enough> {
    const CHECK: &str = "module";
    reporter.checking(CHECK);
    let module = reporter.expect(CHECK, Module::load(&config.module), ASK_THE_HSM)?;
    let running = reporter.expect(CHECK, Running::start(module), ASK_THE_HSM)?;
    reporter.found(Finding::ok(CHECK, "loaded and initialised"));
    Ok(running)
}

fn slots(running: &Running, reporter: &Reporter) -> Result<(), Enough> {
    const CHECK: &str = "slots";
    reporter.checking(CHECK);
    let tokens = reporter.expect(CHECK, running.module().tokens(), ASK_THE_HSM)?;
    if tokens.is_empty() {
        reporter.found(Finding::failed(
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
    reporter.found(Finding::ok(CHECK, labels.join(", ")));
    Ok(())
}

/// Opens a session, but does not log in.
fn find(running: &Running, config: &Pkcs11Config, reporter: &Reporter) -> Result<Token, Enough> {
    const CHECK: &str = "token";
    reporter.checking(CHECK);
    let found = Token::connect(running.module(), &config.token, None);
    let otherwise = "Close sessions that other programs hold, or raise the token's limit";
    let token = reporter.expect(CHECK, found, otherwise)?;
    reporter.found(Finding::ok(CHECK, describe(token.info())));
    Ok(token)
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

/// The PIN, where one is configured.
fn log_in(
    token: &mut Token,
    config: &Pkcs11Config,
    reporter: &Reporter,
) -> Result<Option<Pin>, Enough> {
    const CHECK: &str = "login";
    if !token.info().login_required {
        return reporter.expect(CHECK, opened::pin(&config.pin), "");
    }
    let state = judgement::pin_state(token.info());
    let at_risk = state.state() == State::Failed;
    reporter.found(state);
    if at_risk {
        return Err(Enough);
    }
    reporter.checking(CHECK);
    let pin = reporter.expect(CHECK, opened::pin(&config.pin), "")?;
    let Some(pin) = pin else {
        reporter.found(Finding::warning(
            CHECK,
            "no PIN is configured, so nobody logs in; most tokens then show no private key",
            "Set MACP_AUTH_PKCS11_PIN_FILE",
        ));
        return Ok(None);
    };
    reporter.expect(CHECK, token.renew_login(&pin), ASK_THE_HSM)?;
    reporter.found(Finding::ok(CHECK, "the PIN is right"));
    Ok(Some(pin))
}

/// The key that signs now, or else the first that could.
fn keys(
    token: &Token,
    config: &Pkcs11Config,
    pin: Option<&Pin>,
    reporter: &Reporter,
) -> Result<FoundKey, Enough> {
    const CHECK: &str = "keys";
    reporter.checking(CHECK);
    let found = opened::find_keys(token, config, &config.keys, pin);
    let reports = reporter.expect(CHECK, found, ASK_THE_HSM)?;
    let usable: Vec<&FoundKey> = reports
        .iter()
        .filter_map(|report| report.outcome.as_ref().ok())
        .collect();
    for report in &reports {
        aspects(report, usable.is_empty(), reporter);
    }
    let now = UnixSeconds::now();
    let published = usable
        .iter()
        .map(|key| Arc::clone(&key.published))
        .collect();
    let ring = KeyRing::new(published, now);
    let signing = ring.signing_key(now);
    let key = usable
        .iter()
        .find(|key| signing.is_some_and(|signing| signing.kid() == key.published.kid()));
    match (key, usable.first()) {
        (Some(key), _) => {
            let kid = key.published.kid();
            reporter.found(Finding::ok(
                CHECK,
                format!("{} usable; {kid} signs", usable.len()),
            ));
            Ok((*key).clone())
        }
        (None, Some(first)) => {
            reporter.found(Finding::failed(
                CHECK,
                format!("{} usable, but none signs now", usable.len()),
                "Make one that does: `keys generate --alg RS256 --activate-at` with the present time; or correct MACP_AUTH_SIGNING_ALG",
            ));
            Ok((*first).clone())
        }
        (None, None) if reports.is_empty() => {
            let explained = explain_no_key(token, config, &reports);
            let otherwise = "Make one with `macp-auth-service keys generate --alg RS256`";
            reporter.found(Finding::told(CHECK, State::Failed, &explained, otherwise));
            Err(Enough)
        }
        (None, None) => Err(Enough),
    }
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

fn sessions(token: &Token, config: &Pkcs11Config, reporter: &Reporter) {
    reporter.checking("sessions");
    let (opened, refused) = trial::open_sessions(token, config.sessions);
    let refused = refused.map(|failure| (failure.class(), failure.to_string()));
    let refused = refused
        .as_ref()
        .map(|(class, text)| (*class, text.as_str()));
    reporter.found(judgement::sessions(opened, config.sessions, refused));
}

fn signatures(
    token: &Token,
    key: &FoundKey,
    orders: Orders,
    reporter: &Reporter,
) -> Result<(), Enough> {
    const CHECK: &str = "signatures";
    reporter.checking(CHECK);
    let trial = trial::Trial::begin(token, &key.handle, key.published.verifier());
    let trial = reporter.expect(CHECK, trial, ASK_THE_HSM)?;
    let mut took = Vec::new();
    for _ in 0..orders.signatures {
        took.push(reporter.expect(CHECK, trial.sign(), ASK_THE_HSM)?);
        reporter.checking(CHECK);
    }
    reporter.found(judgement::latency(took, orders.sign_timeout));
    Ok(())
}
