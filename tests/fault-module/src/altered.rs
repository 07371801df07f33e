//! The functions whose arguments or results a rule may alter, or that change what the wrapper knows of sessions.
//!
//! Each enters as every call does (call.rs), calls the wrapped module with what the caller gave, and touches the result
//! only where a rule says so.

#![expect(non_snake_case, reason = "the names of the standard")]

use std::ffi::c_void;
use std::{ptr, slice};

use cryptoki_sys::{
    CK_BBOOL, CK_BYTE, CK_FLAGS, CK_MECHANISM, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_ULONG, CKR_BUFFER_TOO_SMALL,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_OK, CKR_SESSION_COUNT,
};

use crate::call::{Entered, Place, Wrapper, enter};
use crate::functions::Function;
use crate::report;
use crate::sessions::Opened;

pub(crate) unsafe extern "C" fn C_Initialize(args: *mut c_void) -> CK_RV {
    let entered = match enter(Function::C_Initialize, Place::Module, false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    // SAFETY: the caller's own argument, untouched.
    let given = entered.target.0.C_Initialize.map(|f| unsafe { f(args) });
    if given == Some(CKR_OK) {
        Wrapper::own().sessions.clear();
    }
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    let entered = match enter(Function::C_Finalize, Place::Module, false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    // SAFETY: the caller's own argument, untouched.
    let given = entered.target.0.C_Finalize.map(|f| unsafe { f(reserved) });
    if given == Some(CKR_OK) {
        Wrapper::own().sessions.clear();
    }
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_GetSlotList(
    present: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    let entered = match enter(Function::C_GetSlotList, Place::Module, false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    if count.is_null() || (entered.hide.is_none() && entered.offset == 0) {
        let forward = entered.target.0.C_GetSlotList;
        // SAFETY: the caller's own arguments, untouched.
        return entered.answer(forward.map(|f| unsafe { f(present, list, count) }));
    }
    entered.fault();
    let shown = match shown_slots(&entered, present) {
        Ok(slots) => slots,
        Err(code) => return code,
    };
    // SAFETY: not null, so by the standard the caller's count.
    let room = unsafe { ptr::replace(count, shown.len() as CK_ULONG) };
    if list.is_null() {
        return CKR_OK;
    }
    if room < shown.len() as CK_ULONG {
        return CKR_BUFFER_TOO_SMALL;
    }
    // SAFETY: the caller has room for `room` slots, and that is enough.
    unsafe { ptr::copy_nonoverlapping(shown.as_ptr(), list, shown.len()) };
    CKR_OK
}

/// The slots that the caller may see, by the numbers that it sees.
fn shown_slots(entered: &Entered, present: CK_BBOOL) -> Result<Vec<CK_SLOT_ID>, CK_RV> {
    let forward = entered
        .target
        .0
        .C_GetSlotList
        .ok_or(CKR_FUNCTION_NOT_SUPPORTED)?;
    let mut slots = loop {
        let mut count: CK_ULONG = 0;
        // SAFETY: without a list the module only writes the count, which outlives the call.
        let answer = unsafe { forward(present, ptr::null_mut(), &raw mut count) };
        if answer != CKR_OK {
            return Err(answer);
        }
        let mut slots = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: there is room for `count` slots.
        let answer = unsafe { forward(present, slots.as_mut_ptr(), &raw mut count) };
        match answer {
            CKR_OK => {
                slots.truncate(usize::try_from(count).unwrap_or(0));
                break slots;
            }
            // A slot came in between.
            CKR_BUFFER_TOO_SMALL => {}
            other => return Err(other),
        }
    };
    if let Some(reach) = &entered.hide {
        slots.retain(|&slot| !reach.includes(entered.target.token_label(slot).as_deref()));
    }
    let seen = slots.iter();
    Ok(seen.map(|slot| slot.wrapping_add(entered.offset)).collect())
}

pub(crate) unsafe extern "C" fn C_WaitForSlotEvent(
    flags: CK_FLAGS,
    slot: *mut CK_SLOT_ID,
    reserved: *mut c_void,
) -> CK_RV {
    let entered = match enter(Function::C_WaitForSlotEvent, Place::Module, false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let forward = entered.target.0.C_WaitForSlotEvent;
    // SAFETY: the caller's own arguments, untouched.
    let given = forward.map(|f| unsafe { f(flags, slot, reserved) });
    if given == Some(CKR_OK) && !slot.is_null() {
        // SAFETY: the module has just written the slot there.
        let slot = unsafe { &mut *slot };
        *slot = slot.wrapping_add(entered.offset);
    }
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let entered = match enter(Function::C_OpenSession, Place::Slot(slot), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let sessions = &Wrapper::own().sessions;
    let slot = entered.slot;
    if !sessions.reserve(slot, entered.limit) {
        entered.fault();
        return CKR_SESSION_COUNT;
    }
    let forward = entered.target.0.C_OpenSession;
    // SAFETY: the caller's own arguments; the slot is a number.
    let given = forward.map(|f| unsafe { f(slot, flags, application, notify, session) });
    let opened = (given == Some(CKR_OK) && !session.is_null()).then(|| {
        let token = entered.target.token_label(slot);
        // SAFETY: the module has just written the session there.
        (unsafe { *session }, Opened { slot, token })
    });
    sessions.settle(slot, opened);
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    let entered = match enter(Function::C_CloseSession, Place::Session(session), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    // Before the call: afterwards another thread may have got the same number for a new session.
    Wrapper::own().sessions.closed(session);
    let forward = entered.target.0.C_CloseSession;
    // SAFETY: C_CloseSession takes any number for a session.
    entered.answer(forward.map(|f| unsafe { f(session) }))
}

pub(crate) unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    let entered = match enter(Function::C_CloseAllSessions, Place::Slot(slot), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    Wrapper::own().sessions.all_closed(entered.slot);
    let forward = entered.target.0.C_CloseAllSessions;
    // SAFETY: C_CloseAllSessions takes any number for a slot.
    entered.answer(forward.map(|f| unsafe { f(entered.slot) }))
}

pub(crate) unsafe extern "C" fn C_GetSessionInfo(
    session: CK_SESSION_HANDLE,
    info: *mut CK_SESSION_INFO,
) -> CK_RV {
    let entered = match enter(Function::C_GetSessionInfo, Place::Session(session), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let forward = entered.target.0.C_GetSessionInfo;
    // SAFETY: the caller's own arguments, untouched.
    let given = forward.map(|f| unsafe { f(session, info) });
    if given == Some(CKR_OK) && !info.is_null() {
        // SAFETY: the module has just filled it.
        let info = unsafe { &mut *info };
        info.slotID = info.slotID.wrapping_add(entered.offset);
    }
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    room: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    let entered = match enter(Function::C_FindObjects, Place::Session(session), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let forward = entered.target.0.C_FindObjects;
    // SAFETY: the caller's own arguments, untouched.
    let given = forward.map(|f| unsafe { f(session, objects, room, count) });
    if given == Some(CKR_OK) && entered.hide.is_some() && !count.is_null() {
        entered.fault();
        // SAFETY: the module has just written the count there.
        unsafe { *count = 0 };
    }
    if given == Some(CKR_OK) && entered.freeze && !count.is_null() && !objects.is_null() {
        // SAFETY: the module has just written so many handles and their count there.
        unsafe { keep_the_frozen(&entered, session, objects, count) };
    }
    entered.answer(given)
}

/// Leaves of the objects that were found those that the slot held when it was frozen.
///
/// # Safety
/// `count` is valid, and `objects` has `*count` handles.
unsafe fn keep_the_frozen(
    entered: &Entered,
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    count: *mut CK_ULONG,
) {
    let sessions = &Wrapper::own().sessions;
    let Some(opened) = sessions.find(session) else {
        return;
    };
    let frozen = sessions.frozen(opened.slot, || entered.target.objects(opened.slot));
    // SAFETY: as the caller of this function promises.
    let length = usize::try_from(unsafe { *count }).unwrap_or(0);
    // SAFETY: as the caller of this function promises.
    let found = unsafe { slice::from_raw_parts_mut(objects, length) };
    let mut kept = found.to_vec();
    kept.retain(|object| frozen.contains(object));
    if kept.len() < length {
        entered.fault();
    }
    for (place, object) in found.iter_mut().zip(&kept) {
        *place = *object;
    }
    // SAFETY: as the caller of this function promises.
    unsafe { *count = kept.len() as CK_ULONG };
}

pub(crate) unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let entered = match enter(Function::C_SignInit, Place::Session(session), false) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let Some(forward) = entered.target.0.C_SignInit else {
        return entered.answer(None);
    };
    if entered.other_key {
        let slot = Wrapper::own()
            .sessions
            .find(session)
            .map(|found| found.slot);
        let others = slot.map(|slot| entered.target.keys_like(slot, key));
        for other in others.unwrap_or_default() {
            // SAFETY: the caller's own arguments but for the key, which is a number.
            if unsafe { forward(session, mechanism, other) } == CKR_OK {
                entered.fault();
                return CKR_OK;
            }
        }
        report("other-key: the token has no other private key of this type that signs");
    }
    // SAFETY: the caller's own arguments, untouched.
    entered.answer(Some(unsafe { forward(session, mechanism, key) }))
}

pub(crate) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    let place = Place::Session(session);
    let entered = match enter(Function::C_Sign, place, signature.is_null()) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let forward = entered.target.0.C_Sign;
    // SAFETY: the caller's own arguments, untouched.
    let given = forward.map(|f| unsafe { f(session, data, data_length, signature, length) });
    // SAFETY: the module has just answered for this signature and this length.
    unsafe { flip(&entered, given, signature, length) };
    entered.answer(given)
}

pub(crate) unsafe extern "C" fn C_SignFinal(
    session: CK_SESSION_HANDLE,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    let place = Place::Session(session);
    let entered = match enter(Function::C_SignFinal, place, signature.is_null()) {
        Ok(entered) => entered,
        Err(code) => return code,
    };
    let forward = entered.target.0.C_SignFinal;
    // SAFETY: the caller's own arguments, untouched.
    let given = forward.map(|f| unsafe { f(session, signature, length) });
    // SAFETY: the module has just answered for this signature and this length.
    unsafe { flip(&entered, given, signature, length) };
    entered.answer(given)
}

/// Flips a bit in the first half of a signature: some modules return more bytes than the signature has.
///
/// # Safety
/// If `given` is CKR_OK, a non-null `signature` has `*length` bytes, and a non-null `length` is valid.
unsafe fn flip(
    entered: &Entered,
    given: Option<CK_RV>,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) {
    if !entered.flip || given != Some(CKR_OK) || signature.is_null() || length.is_null() {
        return;
    }
    // SAFETY: as the caller of this function promises.
    let length = usize::try_from(unsafe { *length }).unwrap_or(0);
    // SAFETY: as the caller of this function promises.
    let signature = unsafe { slice::from_raw_parts_mut(signature, length) };
    if let Some(byte) = signature.get_mut(length / 4) {
        *byte ^= 1;
        entered.fault();
    }
}
