//! A token opened for one command: PIN read, module initialised, logged in; and left as it was found.

use std::sync::Arc;

use crate::config::{KeySelector, Pin, PinFileError, PinSource, Pkcs11Config, pin_file};
use crate::keys::pkcs11::discovery::{self, KeyReport, Search};
use crate::keys::pkcs11::module::{LoadError, Module};
use crate::keys::pkcs11::token::{Token, TokenFault};

/// Why there is no token to work with.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error(transparent)]
    PinFile(#[from] PinFileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Token(#[from] TokenFault),
}

/// A token, logged in where a PIN is configured.
pub(super) struct Opened {
    // Dropped in this order: the session is closed before the module is finalised.
    pub(super) token: Token,
    _module: Running,
    pub(super) pin: Option<Pin>,
}

/// An initialised module, finalised when dropped.
pub(super) struct Running(Arc<Module>);

impl Opened {
    pub(super) fn new(config: &Pkcs11Config) -> Result<Self, NotOpened> {
        let pin = pin(&config.pin)?;
        let running = Running::start(Module::load(&config.module)?)?;
        Ok(Self {
            token: Token::connect(running.module(), &config.token, pin.as_ref())?,
            _module: running,
            pin,
        })
    }

    pub(super) fn reports(
        &self,
        config: &Pkcs11Config,
        keys: &KeySelector,
    ) -> Result<Vec<KeyReport>, TokenFault> {
        find_keys(&self.token, config, keys, self.pin.as_ref())
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
) -> Result<Vec<KeyReport>, TokenFault> {
    let search = Search {
        keys,
        policy: config.policy,
        algorithm: config.algorithm,
        pin,
    };
    discovery::find_keys(token, &search)
}
