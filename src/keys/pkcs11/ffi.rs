//! The calls that cryptoki cannot make as they are needed here. The only `unsafe` of the crate.
//!
//! * C_Sign once: `Session::sign` asks for the length first, a round trip too many on a network HSM, and leaves no room
//!   for the context-specific login between C_SignInit and C_Sign.
//! * C_GetTokenInfo as bytes: cryptoki's own fails as a whole where a token's clock text is none (openCryptoki).
//! * `_exit`: past destructors of a module in which a thread is stuck.

#![expect(unsafe_code, reason = "three calls that no safe binding offers")]

use std::path::Path;

use cryptoki::context::Function;
use cryptoki::error::{Error, Rv};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR, CK_INFO, CK_TOKEN_INFO, CK_ULONG, CK_VERSION,
    CKF_LOGIN_REQUIRED, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED,
    CKF_USER_PIN_TO_BE_CHANGED, CKR_CRYPTOKI_NOT_INITIALIZED,
};

use super::ckr::Failure;

/// The module's own function list, from a second reference to the library that cryptoki has loaded.
pub struct Functions {
    list: CK_FUNCTION_LIST,
    _library: cryptoki_sys::Pkcs11,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Functions")
    }
}

/// CK_TOKEN_INFO, as far as it is needed. Texts without their padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub label: String,
    pub serial: String,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
    pub hardware: String,
    pub login_required: bool,
    pub pin_count_low: bool,
    pub pin_final_try: bool,
    pub pin_locked: bool,
    pub pin_to_be_changed: bool,
}

#[cfg(test)]
impl TokenInfo {
    /// Of a token that wants a login and says nothing else.
    pub const fn silent() -> Self {
        Self {
            label: String::new(),
            serial: String::new(),
            manufacturer: String::new(),
            model: String::new(),
            firmware: String::new(),
            hardware: String::new(),
            login_required: true,
            pin_count_low: false,
            pin_final_try: false,
            pin_locked: false,
            pin_to_be_changed: false,
        }
    }
}

impl Functions {
    /// # Errors
    /// The loader's or C_GetFunctionList's.
    pub fn load(path: &Path) -> Result<Self, Error> {
        // SAFETY: the library is already loaded, so no initialiser of it runs here; its handle is kept in `self`.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }?;
        if library.C_GetFunctionList.is_err() {
            return Err(Error::MissingSymbol("C_GetFunctionList"));
        }
        let mut list: CK_FUNCTION_LIST_PTR = std::ptr::null_mut();
        // SAFETY: the symbol exists, and `list` is a valid place for the pointer (PKCS#11, C_GetFunctionList).
        let answer = unsafe { library.C_GetFunctionList(&raw mut list) };
        Rv::from(answer).into_result(Function::GetFunctionList)?;
        if list.is_null() {
            return Err(Error::NullFunctionPointer);
        }
        // SAFETY: C_GetFunctionList succeeded, so `list` points to a CK_FUNCTION_LIST that lives as long as the library.
        let list = unsafe { *list };
        Ok(Self {
            list,
            _library: library,
        })
    }

    /// Whether this list and cryptoki's are one instance of the module. p11-kit's proxy makes an instance a list
    /// (measured): ours is then not initialised, and its calls know nothing of cryptoki's sessions.
    pub fn is_initialized(&self) -> bool {
        let Some(call) = self.list.C_GetInfo else {
            return false;
        };
        let mut info = CK_INFO::default();
        // SAFETY: `info` is a CK_INFO that the module fills; it keeps no reference.
        let answer = unsafe { call(&raw mut info) };
        answer != CKR_CRYPTOKI_NOT_INITIALIZED
    }

    /// # Errors
    /// The module's answer to C_GetTokenInfo.
    pub fn token_info(&self, slot: Slot) -> Result<TokenInfo, Failure> {
        let call = self.list.C_GetTokenInfo.ok_or(Error::NullFunctionPointer)?;
        let mut info = CK_TOKEN_INFO::default();
        // CK_SLOT_ID is an unsigned long: 64 bits on the targets this service is built for.
        let slot = slot.id();
        // SAFETY: `info` is a CK_TOKEN_INFO that the module fills; it keeps no reference.
        let answer = unsafe { call(slot, &raw mut info) };
        Rv::from(answer).into_result(Function::GetTokenInfo)?;
        let flag = |bit| info.flags & bit != 0;
        Ok(TokenInfo {
            label: text(&info.label),
            serial: text(&info.serialNumber),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            firmware: version(info.firmwareVersion),
            hardware: version(info.hardwareVersion),
            login_required: flag(CKF_LOGIN_REQUIRED),
            pin_count_low: flag(CKF_USER_PIN_COUNT_LOW),
            pin_final_try: flag(CKF_USER_PIN_FINAL_TRY),
            pin_locked: flag(CKF_USER_PIN_LOCKED),
            pin_to_be_changed: flag(CKF_USER_PIN_TO_BE_CHANGED),
        })
    }

    /// One C_Sign after a C_SignInit on the same session; `room` bytes are offered for the signature.
    ///
    /// # Errors
    /// The module's answer to C_Sign.
    pub fn sign(&self, session: &Session, data: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
        let call = self.list.C_Sign.ok_or(Error::NullFunctionPointer)?;
        let mut signature = vec![0; room];
        let mut length: CK_ULONG = room.try_into().map_err(|_| Error::InvalidValue)?;
        let data_length: CK_ULONG = data.len().try_into().map_err(|_| Error::InvalidValue)?;
        // SAFETY: both buffers outlive the call and have the lengths that are passed. The module does not write to the
        // data: PKCS#11 types it mutable for want of const. A Session is not Sync, so no other thread uses it meanwhile.
        let answer = unsafe {
            call(
                session.handle(),
                data.as_ptr().cast_mut(),
                data_length,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        };
        Rv::from(answer).into_result(Function::Sign)?;
        signature.truncate(length.try_into().map_err(|_| Error::InvalidValue)?);
        Ok(signature)
    }
}

/// Of a process that leaves because a call into a module does not come back. EX_TEMPFAIL of sysexits.h: try again.
pub const STUCK_EXIT_CODE: u8 = 75;

/// Ends the process without running destructors: a module with a stuck thread would hang or crash in them.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

fn version(version: CK_VERSION) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// Blank-padded UTF-8 (PKCS#11, CK_TOKEN_INFO); some modules pad with zero bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches([' ', '\0'])
        .to_owned()
}
