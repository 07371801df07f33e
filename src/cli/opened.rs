//! A token opened for one command: module, login, keys; closed and finalised when dropped.

use std::sync::Arc;

use super::keys::KeysError;
use crate::config::{KeySelector, Pin, PinSource, Pkcs11Config, TokenConfig, pin_file};
use crate::keys::pkcs11::discovery::{self, FoundKey, KeyReport, Search};
use crate::keys::pkcs11::generate::NewKey;
use crate::keys::pkcs11::module::Module;
use crate::keys::pkcs11::pin_guard::PinGuard;
use crate::keys::pkcs11::token::{Token, TokenFault};
use crate::state_dir::StateDir;

/// A token opened for one command.
pub(super) struct Opened {
    // Dropped in this order: the session is closed before the module is finalised.
    pub(super) token: Token,
    _module: FinalizedOnDrop,
    pin: Option<Pin>,
}

struct FinalizedOnDrop(Arc<Module>);

impl Drop for FinalizedOnDrop {
    fn drop(&mut self) {
        if let Err(failure) = self.0.finalize() {
            tracing::debug!(%failure, "the module did not finalise");
        }
    }
}

impl Opened {
    pub(super) fn new(config: &Pkcs11Config, on: &TokenConfig) -> Result<Self, KeysError> {
        let directory = config
            .state_dir
            .as_deref()
            .map(StateDir::open)
            .transpose()?;
        let guard = PinGuard::new(directory);
        let pin = match &on.pin {
            PinSource::File(path) => Some(pin_file::read(path)?),
            PinSource::Value(pin) => Some(pin.clone()),
            PinSource::None => None,
        };
        let module = Arc::new(Module::load(&on.module)?);
        module
            .initialize()
            .map_err(|failure| TokenFault::Initialize {
                module: module.path().display().to_string(),
                failure,
            })?;
        let finalized = FinalizedOnDrop(Arc::clone(&module));
        Ok(Self {
            token: Token::connect(&module, &on.token, pin.as_ref(), &guard)?,
            _module: finalized,
            pin,
        })
    }

    pub(super) fn reports(
        &self,
        config: &Pkcs11Config,
        keys: &KeySelector,
    ) -> Result<Vec<KeyReport>, TokenFault> {
        let search = Search {
            keys,
            policy: config.policy,
            algorithm: config.algorithm,
            pin: self.pin.as_ref(),
        };
        discovery::find_keys(&self.token, &search)
    }

    /// The key just made, judged and proved like any other.
    pub(super) fn read_back(
        &self,
        config: &Pkcs11Config,
        new: &NewKey,
    ) -> Result<FoundKey, KeysError> {
        let only_this = KeySelector::Fixed {
            label: Some(new.label.clone()),
            id: Some(new.id.clone()),
        };
        let made = self.reports(config, &only_this)?.into_iter().next();
        let outcome = made.map_or_else(
            || Err("it cannot be found again".to_owned()),
            |report| report.outcome.map_err(|refusal| refusal.to_string()),
        );
        outcome.map_err(|reason| KeysError::NotUsable {
            label: new.label.clone(),
            reason,
        })
    }
}
