//! One PKCS#11 module: loaded once, initialised and finalised as recovery asks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::ckr::{Class, Failure};
use super::ffi::{Functions, TokenInfo};

/// How tpm2-pkcs11 names its maker.
const TPM2_PKCS11: &str = "tpm2-software.github.io";

/// A loaded module.
#[derive(Debug)]
pub struct Module {
    path: PathBuf,
    context: Pkcs11,
    functions: Functions,
    /// `functions` and `context` are one instance of the module.
    direct: AtomicBool,
}

/// Only a change of configuration cures this: the start fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error(
        "cannot open the PKCS#11 module {path}: no such file. Set MACP_AUTH_PKCS11_MODULE (or module-path of the URI) to your vendor's .so (Debian SoftHSM2: /usr/lib/softhsm/libsofthsm2.so)"
    )]
    Missing { path: String },
    #[error(
        "cannot load {path} as a PKCS#11 module: {reason}. Set MACP_AUTH_PKCS11_MODULE (or module-path of the URI) to the .so of your vendor's PKCS#11 library, built for this machine"
    )]
    NotAModule { path: String, reason: String },
}

/// What a module says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryInfo {
    pub manufacturer: String,
    pub description: String,
    pub version: String,
    /// Of the standard.
    pub cryptoki: String,
}

impl Module {
    /// Opens the library and asks for its functions; calls nothing else.
    ///
    /// # Errors
    /// [`LoadError`] for a path that is none or a file that is no module.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let shown = path.display().to_string();
        if !path.exists() {
            return Err(LoadError::Missing { path: shown });
        }
        let no_module = |error: Error| LoadError::NotAModule {
            path: shown.clone(),
            reason: load_reason(error),
        };
        Ok(Self {
            path: path.to_owned(),
            context: Pkcs11::new(path).map_err(no_module)?,
            functions: Functions::load(path).map_err(no_module)?,
            direct: AtomicBool::new(false),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The calls of our own, where they reach the same instance of the module as cryptoki's.
    pub(super) fn functions(&self) -> Option<&Functions> {
        self.direct
            .load(Ordering::Relaxed)
            .then_some(&self.functions)
    }

    /// C_Initialize with CKF_OS_LOCKING_OK: sessions are used by many threads, one each.
    ///
    /// # Errors
    /// The module's answer; that it was initialised already is success.
    pub fn initialize(&self) -> Result<(), Failure> {
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.context.initialize(arguments).map_err(Failure::from) {
            Err(failure) if failure.class() == Class::AlreadyDone => {}
            other => other?,
        }
        self.direct
            .store(self.functions.is_initialized(), Ordering::Relaxed);
        Ok(())
    }

    /// C_Finalize. All sessions have to be dropped before, and no thread may be inside the module.
    ///
    /// # Errors
    /// The module's answer.
    pub fn finalize(&self) -> Result<(), Failure> {
        self.context.clone().finalize().map_err(Failure::from)
    }

    /// Every slot with an initialised or uninitialised token in it, with what the token says of itself.
    ///
    /// # Errors
    /// C_GetSlotList's answer. A slot whose token does not answer is left out.
    pub fn tokens(&self) -> Result<Vec<(Slot, TokenInfo)>, Failure> {
        let slots = self.context.get_slots_with_token()?;
        Ok(slots
            .into_iter()
            .filter_map(|slot| match self.token_info(slot) {
                Ok(info) => Some((slot, info)),
                Err(failure) => {
                    tracing::debug!(slot = slot.id(), %failure, "a slot does not answer");
                    None
                }
            })
            .collect())
    }

    /// What the token in a slot says of itself now.
    ///
    /// # Errors
    /// The module's answer.
    pub fn token_info(&self, slot: Slot) -> Result<TokenInfo, Failure> {
        if let Some(functions) = self.functions() {
            return functions.token_info(slot);
        }
        let info = self.context.get_token_info(slot)?;
        Ok(TokenInfo {
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            firmware: info.firmware_version().to_string(),
            hardware: info.hardware_version().to_string(),
            login_required: info.login_required(),
            pin_count_low: info.user_pin_count_low(),
            pin_final_try: info.user_pin_final_try(),
            pin_locked: info.user_pin_locked(),
            pin_to_be_changed: info.user_pin_to_be_changed(),
        })
    }

    /// What the module says of itself (C_GetInfo).
    ///
    /// # Errors
    /// The module's answer.
    pub fn library(&self) -> Result<LibraryInfo, Failure> {
        let info = self.context.get_library_info()?;
        Ok(LibraryInfo {
            manufacturer: info.manufacturer_id().to_owned(),
            description: info.library_description().to_owned(),
            version: info.library_version().to_string(),
            cryptoki: info.cryptoki_version().to_string(),
        })
    }

    /// Known to read its objects at C_Initialize alone: what other programs make afterwards is not there before the next one.
    pub fn reads_once(&self) -> bool {
        self.library()
            .is_ok_and(|library| library.manufacturer == TPM2_PKCS11)
    }

    /// A read-only session: enough to sign.
    ///
    /// # Errors
    /// The module's answer.
    pub fn open_session(&self, slot: Slot) -> Result<Session, Failure> {
        Ok(self.context.open_ro_session(slot)?)
    }

    /// A read-write session: to make keys.
    ///
    /// # Errors
    /// The module's answer.
    pub fn open_writing_session(&self, slot: Slot) -> Result<Session, Failure> {
        Ok(self.context.open_rw_session(slot)?)
    }
}

/// The loader's reason without the path it repeats, or what the file lacks.
fn load_reason(error: Error) -> String {
    match error {
        Error::LibraryLoading(cause) => {
            std::error::Error::source(&cause).map_or_else(|| cause.to_string(), ToString::to_string)
        }
        Error::MissingSymbol(symbol) => format!("it has no {symbol}"),
        other => Failure::from(other).to_string(),
    }
}
