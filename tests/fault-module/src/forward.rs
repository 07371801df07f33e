//! The functions that are forwarded as they are, once the rules have been asked.
//!
//! One macro writes them all. Its first word says what a call is about, so that rules can be confined to a token and
//! slot numbers can be translated. Functions that need more are in altered.rs.

#![expect(non_snake_case, reason = "the names of the standard")]

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_INFO, CK_MECHANISM, CK_MECHANISM_INFO, CK_MECHANISM_TYPE,
    CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG,
    CK_USER_TYPE, CK_UTF8CHAR,
};

use crate::call::{Place, enter};
use crate::functions::Function;

macro_rules! place {
    (module, $first:ident) => {
        Place::Module
    };
    (slot, $first:ident) => {
        Place::Slot($first)
    };
    (session, $first:ident) => {
        Place::Session($first)
    };
}

/// The first argument as the wrapped module knows it.
macro_rules! first {
    (slot, $first:ident, $entered:ident) => {
        $entered.slot
    };
    ($kind:ident, $first:ident, $entered:ident) => {
        $first
    };
}

macro_rules! forward {
    ($($kind:ident $name:ident($first:ident: $type:ty $(, $rest:ident: $types:ty)*);)*) => {
        $(
            pub(crate) unsafe extern "C" fn $name($first: $type $(, $rest: $types)*) -> CK_RV {
                match enter(Function::$name, place!($kind, $first), false) {
                    Err(code) => code,
                    Ok(entered) => {
                        let first = first!($kind, $first, entered);
                        let forward = entered.target.0.$name;
                        // SAFETY: the caller's own arguments; of them only a slot number may have been translated.
                        entered.answer(forward.map(|f| unsafe { f(first $(, $rest)*) }))
                    }
                }
            }
        )*
    };
}

forward! {
    module C_GetInfo(a: *mut CK_INFO);
    slot C_GetSlotInfo(slot: CK_SLOT_ID, b: *mut CK_SLOT_INFO);
    slot C_GetTokenInfo(slot: CK_SLOT_ID, b: *mut CK_TOKEN_INFO);
    slot C_GetMechanismList(slot: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG);
    slot C_GetMechanismInfo(slot: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO);
    slot C_InitToken(slot: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR);
    session C_InitPIN(session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG);
    session C_SetPIN(session: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG);
    session C_GetOperationState(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    session C_SetOperationState(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE, e: CK_OBJECT_HANDLE
    );
    session C_Login(session: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG);
    session C_Logout(session: CK_SESSION_HANDLE);
    session C_CreateObject(session: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE);
    session C_CopyObject(
        session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE
    );
    session C_DestroyObject(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    session C_GetObjectSize(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG);
    session C_GetAttributeValue(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG);
    session C_SetAttributeValue(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG);
    session C_FindObjectsInit(session: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG);
    session C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    session C_EncryptInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    session C_Encrypt(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    session C_EncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_EncryptFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    session C_DecryptInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    session C_Decrypt(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    session C_DecryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_DecryptFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    session C_DigestInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM);
    session C_Digest(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG);
    session C_DigestUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_DigestKey(session: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE);
    session C_DigestFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG);
    session C_SignUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_SignRecoverInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    session C_SignRecover(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_VerifyInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    session C_Verify(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG);
    session C_VerifyUpdate(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_VerifyFinal(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_VerifyRecoverInit(session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE);
    session C_VerifyRecover(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_DigestEncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_DecryptDigestUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_SignEncryptUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_DecryptVerifyUpdate(
        session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG
    );
    session C_GenerateKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_OBJECT_HANDLE
    );
    session C_GenerateKeyPair(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG,
        e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE, h: *mut CK_OBJECT_HANDLE
    );
    session C_WrapKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE,
        e: *mut CK_BYTE, f: *mut CK_ULONG
    );
    session C_UnwrapKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE, e: CK_ULONG,
        f: *mut CK_ATTRIBUTE, g: CK_ULONG, h: *mut CK_OBJECT_HANDLE
    );
    session C_DeriveKey(
        session: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_ATTRIBUTE,
        e: CK_ULONG, f: *mut CK_OBJECT_HANDLE
    );
    session C_SeedRandom(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_GenerateRandom(session: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG);
    session C_GetFunctionStatus(session: CK_SESSION_HANDLE);
    session C_CancelFunction(session: CK_SESSION_HANDLE);
}
