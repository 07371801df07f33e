//! The record of a key: one JSON document, readable, and signed by the key itself. Pure.
//!
//! ```json
//! { "record": { … },                       what people read
//!   "payload": "…", "protected": "…", "signature": "…" }    the same as a JWS (RFC 7515, 7.2.2: flattened JSON)
//! ```
//!
//! The payload is the record without white space, letter by letter, so any JWS library checks it and nobody has to agree on how
//! JSON is made canonical. That both say the same is checked as text (verify.rs): a reader and a machine cannot be shown two
//! things. The header's `typ` and the payload, which has no claim of a token, keep a record from being taken for one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::jose::{Algorithm, Kid, Signature};
use crate::keys::pkcs11::proof::Claims;

pub(super) const FORMAT: &str = "macp-auth-key-record";
pub(super) const VERSION: u64 = 1;
/// `typ` of the header.
const TYPE: &str = "macp-auth-key-record+json";

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) record: Box<RawValue>,
    pub(super) payload: String,
    pub(super) protected: String,
    pub(super) signature: String,
}

/// What was read of the key, at its making or later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) format: String,
    pub(super) version: u64,
    /// RFC 3339, UTC, like the others. None: neither did this program make it, nor does CKA_ID say when.
    pub(super) made_at: Option<String>,
    pub(super) recorded_at: String,
    /// None: ever since.
    pub(super) active_from: Option<String>,
    pub(super) service: Service,
    pub(super) token: TokenRecord,
    pub(super) slot: u64,
    pub(super) module: ModuleRecord,
    pub(super) key: KeyRecord,
    pub(super) attributes: Attributes,
    pub(super) policy: Policy,
    pub(super) self_test: SelfTest,
    pub(super) attestation: Option<Attestation>,
}

/// The program that wrote the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) version: String,
}

/// CK_TOKEN_INFO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRecord {
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) firmware_version: String,
    pub(super) hardware_version: String,
}

/// The library and its CK_INFO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleRecord {
    pub(super) path: String,
    pub(super) manufacturer: String,
    pub(super) description: String,
    pub(super) library_version: String,
    pub(super) cryptoki_version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRecord {
    pub(super) kid: String,
    pub(super) label: String,
    /// Hexadecimal.
    pub(super) cka_id: String,
    pub(super) algorithm: String,
    pub(super) mechanism: String,
    pub(super) jwk: Value,
}

/// Of the private object, as read back. None: the token does not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attributes {
    #[serde(rename = "CKA_SENSITIVE")]
    sensitive: Option<bool>,
    #[serde(rename = "CKA_ALWAYS_SENSITIVE")]
    always_sensitive: Option<bool>,
    #[serde(rename = "CKA_EXTRACTABLE")]
    extractable: Option<bool>,
    #[serde(rename = "CKA_NEVER_EXTRACTABLE")]
    never_extractable: Option<bool>,
    #[serde(rename = "CKA_LOCAL")]
    local: Option<bool>,
    #[serde(rename = "CKA_SIGN")]
    sign: Option<bool>,
    #[serde(rename = "CKA_DECRYPT")]
    decrypt: Option<bool>,
    #[serde(rename = "CKA_UNWRAP")]
    unwrap: Option<bool>,
    #[serde(rename = "CKA_DERIVE")]
    derive: Option<bool>,
    /// It was tried to read it.
    private_value_readable: bool,
}

/// Under which policy the key was taken, and what that let pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) warnings: Vec<String>,
}

/// A nonce and its signature, base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelfTest {
    pub(super) message: String,
    pub(super) signature: String,
}

/// What the vendor's tool said of the key, unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attestation {
    /// Without directory.
    pub(super) file: String,
    /// Hexadecimal, of the content.
    pub(super) sha256: String,
    /// base64.
    pub(super) content: String,
}

/// What is to be signed.
pub(super) struct Unsigned {
    text: String,
    payload: String,
    protected: String,
}

impl Record {
    pub(super) fn unsigned(
        &self,
        algorithm: Algorithm,
        kid: &Kid,
    ) -> Result<Unsigned, serde_json::Error> {
        let compact = serde_json::to_string(self)?;
        Ok(Unsigned {
            text: serde_json::to_string_pretty(self)?,
            payload: URL_SAFE_NO_PAD.encode(compact),
            protected: protected(algorithm, kid)?,
        })
    }
}

impl Unsigned {
    pub(super) fn signing_input(&self) -> Vec<u8> {
        signing_input(&self.protected, &self.payload)
    }

    /// The text of the file.
    pub(super) fn signed(self, signature: &Signature) -> Result<String, serde_json::Error> {
        let document = Document {
            record: RawValue::from_string(indented(&self.text))?,
            payload: self.payload,
            protected: self.protected,
            signature: URL_SAFE_NO_PAD.encode(signature.as_bytes()),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }
}

impl From<Claims> for Attributes {
    fn from(claims: Claims) -> Self {
        Self {
            sensitive: claims.sensitive,
            always_sensitive: claims.always_sensitive,
            extractable: claims.extractable,
            never_extractable: claims.never_extractable,
            local: claims.local,
            sign: claims.sign,
            decrypt: claims.decrypt,
            unwrap: claims.unwrap,
            derive: claims.derive,
            private_value_readable: claims.private_value_readable,
        }
    }
}

impl From<Attributes> for Claims {
    fn from(attributes: Attributes) -> Self {
        Self {
            sensitive: attributes.sensitive,
            always_sensitive: attributes.always_sensitive,
            extractable: attributes.extractable,
            never_extractable: attributes.never_extractable,
            local: attributes.local,
            sign: attributes.sign,
            decrypt: attributes.decrypt,
            unwrap: attributes.unwrap,
            derive: attributes.derive,
            private_value_readable: attributes.private_value_readable,
        }
    }
}

/// The header of a record by this key: there is no other.
pub(super) fn protected(algorithm: Algorithm, kid: &Kid) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Header<'a> {
        alg: &'static str,
        kid: &'a str,
        typ: &'static str,
    }
    let header = Header {
        alg: algorithm.name(),
        kid: kid.as_str(),
        typ: TYPE,
    };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?))
}

/// RFC 7515, 5.1, step 8.
pub(super) fn signing_input(protected: &str, payload: &str) -> Vec<u8> {
    format!("{protected}.{payload}").into_bytes()
}

/// base64 with padding, for what people take out with `base64 -d`.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// One level further in.
fn indented(json: &str) -> String {
    json.replace('\n', "\n  ")
}
