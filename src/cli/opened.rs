//! A token opened for one command: module, login, keys; closed and finalised when dropped.

use std::sync::Arc;

use super::hang::{Act, goes_on};
use super::keys::KeysError;
use crate::config::{
    KeySelector, Pin, PinFileError, PinSource, Pkcs11Config, TokenConfig, pin_file,
};
use crate::keys::lists::KeySchedule;
use crate::keys::pkcs11::discovery::{self, FoundKey, KeyReport, Refusal, Search};
use crate::keys::pkcs11::generate::KeyNaming;
use crate::keys::pkcs11::module::Module;
use crate::keys::pkcs11::pin_guard::PinGuard;
use crate::keys::pkcs11::token::{Token, TokenFault};
use crate::state_dir::{StateDir, StateDirError};
use crate::trusted;

/// A token opened for one command.
pub(super) struct Opened {
    // Dropped in this order: the session is closed before the module is finalised.
    pub(super) token: Token,
    _module: Running,
    pin: Option<Pin>,
}

/// An initialised module, finalised when dropped.
pub(super) struct Running(Arc<Module>);

/// Why a key that was just made cannot be used, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    #[error("it cannot be found again")]
    NotFound,
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Opened {
    pub(super) fn new(config: &Pkcs11Config, on: &TokenConfig) -> Result<Self, KeysError> {
        goes_on(&on.module, &on.token.describe(), Act::Look);
        let guard = PinGuard::new(state_directory(config)?);
        let pin = pin(&on.pin)?;
        let running = Running::start(Module::load(&on.module)?)?;
        Ok(Self {
            token: Token::connect(running.module(), &on.token, pin.as_ref(), &guard)?,
            _module: running,
            pin,
        })
    }

    /// What follows changes the token.
    pub(super) fn will(&self, act: Act) {
        goes_on(self.token.module().path(), self.token.label(), act);
    }

    pub(super) fn reports(
        &self,
        config: &Pkcs11Config,
        keys: &KeySelector,
        schedule: Option<&KeySchedule>,
    ) -> Result<Vec<KeyReport>, TokenFault> {
        find_keys(&self.token, config, keys, self.pin.as_ref(), schedule)
    }

    /// The key just made, judged and proved like any other; and what the policy lets pass. Where that may be a passing fault, it
    /// is looked at once more, and then by a module that starts anew: SoftHSM2 keeps what it once read wrongly.
    pub(super) fn read_back(
        self,
        config: &Pkcs11Config,
        on: &TokenConfig,
        made: &KeyNaming,
    ) -> Result<(Self, FoundKey, Vec<String>), KeysError> {
        let first = self.proved(config, made);
        let looked = match first {
            Err(unproved) if unproved.may_pass() => self.proved(config, made),
            other => other,
        };
        let reason = match looked {
            Ok((key, warnings)) => return Ok((self, key, warnings)),
            Err(unproved) => unproved,
        };
        let unusable = |reason| KeysError::NotUsable {
            label: made.label.clone(),
            id: hex::encode(&made.id),
            reason: Box::new(reason),
        };
        if !reason.may_pass() {
            return Err(unusable(reason));
        }
        drop(self);
        let Ok(again) = Self::new(config, on) else {
            return Err(unusable(reason));
        };
        again.will(Act::Make);
        let (key, warnings) = again.proved(config, made).map_err(unusable)?;
        Ok((again, key, warnings))
    }

    fn proved(
        &self,
        config: &Pkcs11Config,
        made: &KeyNaming,
    ) -> Result<(FoundKey, Vec<String>), Unproved> {
        let only_this = KeySelector::Fixed {
            label: Some(made.label.clone()),
            id: Some(made.id.clone()),
        };
        let found = self.reports(config, &only_this, None)?.into_iter().next();
        let report = found.ok_or(Unproved::NotFound)?;
        Ok((report.outcome?, report.warnings))
    }
}

impl Unproved {
    /// Not the verdict on a key that was surely read: of an object whose attributes are missing, the policy thinks the worst.
    const fn may_pass(&self) -> bool {
        match self {
            Self::NotFound | Self::Token(_) => true,
            Self::Refused(refusal) => match refusal {
                Refusal::NoPublicKey
                | Refusal::NoMechanism { .. }
                | Refusal::Unreadable(_)
                | Refusal::Policy { .. } => true,
                Refusal::BadInstant
                | Refusal::Ambiguous { .. }
                | Refusal::ForeignPublicKey
                | Refusal::Unfit(_)
                | Refusal::WantsPin => false,
            },
        }
    }
}

impl Running {
    pub(super) fn start(module: Module) -> Result<Self, TokenFault> {
        module
            .initialize()
            .map_err(|failure| TokenFault::Initialize {
                module: module.path().display().to_string(),
                failure,
            })?;
        Ok(Self(Arc::new(module)))
    }

    pub(super) const fn module(&self) -> &Arc<Module> {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(failure) = self.0.finalize() {
            tracing::debug!(%failure, "the module did not finalise");
        }
    }
}

/// Where refused PINs are remembered. Root makes no directory: the service of another user could not start with it.
pub(super) fn state_directory(config: &Pkcs11Config) -> Result<Option<StateDir>, StateDirError> {
    match config.state_dir.as_deref() {
        Some(path) if path.exists() || !trusted::is_root() => StateDir::open(path).map(Some),
        _ => Ok(None),
    }
}

/// The configured PIN, as it is now.
pub(super) fn pin(source: &PinSource) -> Result<Option<Pin>, PinFileError> {
    match source {
        PinSource::File(path) => pin_file::read(path).map(Some),
        PinSource::Value(pin) => Ok(Some(pin.clone())),
        PinSource::None => Ok(None),
    }
}

/// Every key that `keys` names, judged under the configured policy.
pub(super) fn find_keys(
    token: &Token,
    config: &Pkcs11Config,
    keys: &KeySelector,
    pin: Option<&Pin>,
    schedule: Option<&KeySchedule>,
) -> Result<Vec<KeyReport>, TokenFault> {
    let search = Search {
        keys,
        policy: config.policy,
        algorithm: config.algorithm,
        pin,
        schedule,
        proved: &[],
    };
    discovery::find_keys(token, &search)
}
