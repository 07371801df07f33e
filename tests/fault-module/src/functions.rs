//! The functions of the PKCS#11 2.40 list, by name and in the order of the list.
//!
//! One list serves the enum, the exported table and the counts file, so none of them can miss a function.

/// Hands the names of all functions of the list to the macro that is named.
macro_rules! every_function {
    ($then:ident) => {
        $then! {
            C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
            C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession
            C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_Logout
            C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue
            C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
            C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest
            C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal
            C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal
            C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate
            C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey
            C_DeriveKey C_SeedRandom C_GenerateRandom C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
        }
    };
}
pub(crate) use every_function;

macro_rules! functions {
    ($($name:ident)*) => {
        /// A function of the list.
        #[expect(
            non_camel_case_types,
            clippy::enum_variant_names,
            reason = "the names of the standard"
        )]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function {
            $($name),*
        }

        impl Function {
            /// All of them, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As the standard spells it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }
        }
    };
}
every_function!(functions);

impl Function {
    /// The function of that name, letter for letter.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// Whether `*` in a rule means this function too: not the ends of the module's life, which a broken device leaves
    /// working, and without which no caller could recover.
    pub const fn is_in_star(self) -> bool {
        !matches!(
            self,
            Self::C_Initialize | Self::C_Finalize | Self::C_GetFunctionList
        )
    }

    /// Whether the wrapped module is called even where the caller is told that it failed. Otherwise a rule would leak
    /// what the caller believes to be given back.
    pub const fn gives_back(self) -> bool {
        matches!(
            self,
            Self::C_CloseSession | Self::C_CloseAllSessions | Self::C_FindObjectsFinal
        )
    }
}
