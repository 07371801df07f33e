//! The module that is wrapped: loaded once, at the first C_Initialize that finds it, and never unloaded.

use std::collections::BTreeSet;
use std::path::Path;
use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_FUNCTION_LIST, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO,
    CK_ULONG, CKA_CLASS, CKA_KEY_TYPE, CKF_SERIAL_SESSION, CKO_PRIVATE_KEY, CKR_OK,
};

/// The function list of the wrapped module.
#[derive(Debug, Clone, Copy)]
pub struct Target(pub &'static CK_FUNCTION_LIST);

impl Target {
    /// The error says what is wrong with the module of that path.
    pub fn load(path: &Path, own: *const CK_FUNCTION_LIST) -> Result<Self, String> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(format!("{shown} is no absolute path"));
        }
        // SAFETY: the user names a PKCS#11 module; its initialisers are as safe as those of any module.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }
            .map_err(|error| format!("cannot load {shown}: {error}"))?;
        if library.C_GetFunctionList.is_err() {
            return Err(format!("{shown} is no PKCS#11 module"));
        }
        let mut list = ptr::null_mut();
        // SAFETY: the symbol exists, and `list` is a valid place for the pointer.
        let answer = unsafe { library.C_GetFunctionList(&raw mut list) };
        if answer != CKR_OK || list.is_null() {
            return Err(format!("C_GetFunctionList of {shown} answers {answer:#x}"));
        }
        if ptr::eq(list, own) {
            return Err(format!("{shown} is this very module"));
        }
        // Other threads may be inside it when the process ends, so it is never unloaded.
        std::mem::forget(library);
        // SAFETY: the list is not null, and the module that it lies in is never unloaded. Modules do not change it.
        Ok(Self(unsafe { &*list }))
    }

    /// The label of the token in a slot, if the module says one.
    pub fn token_label(self, slot: CK_SLOT_ID) -> Option<String> {
        let call = self.0.C_GetTokenInfo?;
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: `info` outlives the call, and the module only fills it.
        let answer = unsafe { call(slot, &raw mut info) };
        (answer == CKR_OK).then(|| {
            String::from_utf8_lossy(&info.label)
                .trim_end_matches([' ', '\0'])
                .to_owned()
        })
    }

    /// The private keys of a slot that have the type of `key` and are not `key`.
    pub fn keys_like(self, slot: CK_SLOT_ID, key: CK_OBJECT_HANDLE) -> Vec<CK_OBJECT_HANDLE> {
        let others = self.in_a_session(slot, |session| self.search_like(session, key));
        others.unwrap_or_default()
    }

    /// All objects of a slot that the login shows.
    pub fn objects(self, slot: CK_SLOT_ID) -> BTreeSet<CK_OBJECT_HANDLE> {
        let all = self.in_a_session(slot, |session| self.search(session, &mut []));
        all.unwrap_or_default().into_iter().collect()
    }

    /// In a session of its own, because the caller's may have a search or a signature going.
    fn in_a_session<T>(
        self,
        slot: CK_SLOT_ID,
        act: impl FnOnce(CK_SESSION_HANDLE) -> Option<T>,
    ) -> Option<T> {
        let (open, close) = (self.0.C_OpenSession?, self.0.C_CloseSession?);
        let mut session = 0;
        // SAFETY: `session` outlives the call; no callback is given.
        let answer = unsafe {
            open(
                slot,
                CKF_SERIAL_SESSION,
                ptr::null_mut(),
                None,
                &raw mut session,
            )
        };
        if answer != CKR_OK {
            return None;
        }
        let outcome = act(session);
        // SAFETY: the session was opened above, and nobody else knows it.
        unsafe { close(session) };
        outcome
    }

    fn search_like(
        self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Option<Vec<CK_OBJECT_HANDLE>> {
        let mut class = CKO_PRIVATE_KEY;
        let mut kind: CK_ULONG = 0;
        let mut wanted = [
            attribute(CKA_CLASS, &mut class),
            attribute(CKA_KEY_TYPE, &mut kind),
        ];
        let [_, asked] = &mut wanted;
        // SAFETY: the attribute points to `kind`, which outlives the call, and says its length.
        let answer = unsafe { self.0.C_GetAttributeValue?(session, key, asked, 1) };
        if answer != CKR_OK {
            return None;
        }
        let mut found = self.search(session, &mut wanted)?;
        found.retain(|&other| other != key);
        Some(found)
    }

    fn search(
        self,
        session: CK_SESSION_HANDLE,
        wanted: &mut [CK_ATTRIBUTE],
    ) -> Option<Vec<CK_OBJECT_HANDLE>> {
        let many = wanted.len() as CK_ULONG;
        // SAFETY: there are so many attributes, and each points to a value that outlives the call.
        let answer = unsafe { self.0.C_FindObjectsInit?(session, wanted.as_mut_ptr(), many) };
        if answer != CKR_OK {
            return None;
        }
        let mut found: [CK_OBJECT_HANDLE; 64] = [0; 64];
        let mut count: CK_ULONG = 0;
        // SAFETY: there is room for 64 handles, and `count` outlives the call.
        let answer =
            unsafe { self.0.C_FindObjects?(session, found.as_mut_ptr(), 64, &raw mut count) };
        if answer != CKR_OK {
            return None;
        }
        let count = usize::try_from(count).ok()?;
        Some(found.iter().take(count).copied().collect())
    }
}

fn attribute(kind: CK_ULONG, value: &mut CK_ULONG) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: kind,
        pValue: ptr::from_mut(value).cast(),
        ulValueLen: size_of::<CK_ULONG>() as CK_ULONG,
    }
}
