//! A PKCS#11 module that wraps another one and fails on demand. For tests and rehearsals, never for production.
//!
//! caller --> this module --(rules of the control file)--> the module that FAULT_MODULE_TARGET names
//!
//! It exports C_GetFunctionList alone: callers that look for C_GetInterface fall back to it. What it can do and how to
//! tell it stands in docs/rehearsal.md.
//!
//! Must not: change a call that no rule is about, hold a lock while a call waits, or panic, because a panic in a function
//! that C calls ends the process.

mod altered;
mod call;
mod codes;
mod control;
mod counts;
mod forward;
mod functions;
mod rules;
mod sessions;
mod settings;
mod target;

use std::io::Write;

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR_PTR, CK_RV, CK_VERSION, CKR_ARGUMENTS_BAD, CKR_OK,
};

use crate::counts::Column;
use crate::functions::{Function, every_function};

use crate::{altered::*, forward::*};

macro_rules! list_of {
    ($($name:ident)*) => {
        CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($name: Some($name)),*
        }
    };
}

pub(crate) static LIST: CK_FUNCTION_LIST = every_function!(list_of);

/// The only symbol that a caller finds.
///
/// # Safety
/// As the standard says: `list` is null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    call::Wrapper::own()
        .counts
        .add(Function::C_GetFunctionList, Column::Calls);
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, so by the standard a place for a pointer. Callers read the list and never write to it.
    unsafe { *list = (&raw const LIST).cast_mut() };
    CKR_OK
}

/// One line for the user. Never panics: stderr may be closed.
pub(crate) fn report(line: &str) {
    writeln!(std::io::stderr(), "fault-module: {line}").ok();
}
