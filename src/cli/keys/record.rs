//! `keys generate --record`, `keys record` and `keys verify-record`: what is known of a key, signed by the key.
//!
//! ```text
//! file reserved -> key made or found, and proved -> token, module, attributes read -> signed by the key -> written
//! ```

mod document;
mod present;
mod reserved;
mod verify;

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde_json::json;

use self::document::{
    Attestation, FORMAT, KeyRecord, ModuleRecord, Policy, Record, SelfTest, Service, TokenRecord,
    VERSION, base64,
};
use super::arguments::VerifyRecordArguments;
use crate::clock::UnixSeconds;
use crate::config::KeyPolicy;
use crate::keys::pkcs11::discovery::FoundKey;
use crate::keys::pkcs11::evidence::{self, Evidence};
use crate::keys::pkcs11::proof;
use crate::keys::pkcs11::token::{Token, TokenFault};
use crate::shown::shown;

pub(super) use self::present::answer;
use self::reserved::Reserved;
pub use self::verify::RecordFault;

/// Why there is no record, or none to check.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{} is there already, and a record is never overwritten. Name another file", .path.display())]
    Exists { path: PathBuf },
    #[error("the record {} cannot be written: {cause}", .path.display())]
    Unwritable { path: PathBuf, cause: io::Error },
    #[error("{} cannot be read: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{} is larger than {LARGEST} bytes. Is it another file?", .path.display())]
    TooLarge { path: PathBuf },
    #[error(
        "{given} attestations for {tokens} tokens. Give --attestation once for each, in the order of the configuration"
    )]
    Attestations { given: usize, tokens: usize },
    #[error(
        "--attestation {} is empty, as where the tool of the vendor failed, and proves nothing. Write the attestation again, and name that file",
        .path.display()
    )]
    EmptyAttestation { path: PathBuf },
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error("{} does not hold: {fault}", .path.display())]
    Fault {
        path: PathBuf,
        #[source]
        fault: RecordFault,
    },
}

/// Where the record of one key goes, and what goes into it beside.
#[derive(Debug)]
pub(super) struct Sheet {
    file: Reserved,
    attestation: Option<Attestation>,
}

/// The key that a record is about.
pub(super) struct Subject<'a> {
    pub(super) token: &'a Token,
    pub(super) key: &'a FoundKey,
    pub(super) label: &'a str,
    /// CKA_ID.
    pub(super) id: &'a [u8],
    pub(super) policy: KeyPolicy,
    pub(super) made_at: Option<UnixSeconds>,
    pub(super) active_from: Option<UnixSeconds>,
    pub(super) now: UnixSeconds,
}

/// A certificate chain has some kilobytes.
const LARGEST: u64 = 1 << 20;

/// One sheet a token.
pub(super) fn sheets(
    path: &Path,
    attestations: &[PathBuf],
    tokens: usize,
) -> Result<Vec<Sheet>, RecordError> {
    let given = attestations.len();
    if given > 0 && given != tokens {
        return Err(RecordError::Attestations { given, tokens });
    }
    (0..tokens)
        .map(|number| {
            let attestation = attestations.get(number);
            let attestation = attestation.map(|path| attached(path)).transpose()?;
            let path = if tokens == 1 {
                path.to_owned()
            } else {
                numbered(path, number + 1)
            };
            let file = Reserved::new(path.clone()).map_err(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => RecordError::Exists { path },
                _ => RecordError::Unwritable { path, cause },
            })?;
            Ok(Sheet { file, attestation })
        })
        .collect()
}

/// `key.json` -> `key-2.json`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(end) = path.extension() {
        name.push(".");
        name.push(end);
    }
    path.with_file_name(name)
}

fn attached(path: &Path) -> Result<Attestation, RecordError> {
    let content = read(path)?;
    if content.is_empty() {
        let path = path.to_owned();
        return Err(RecordError::EmptyAttestation { path });
    }
    let name = path.file_name().unwrap_or_default();
    Ok(Attestation {
        file: name.to_string_lossy().into_owned(),
        sha256: hex::encode(digest::digest(&digest::SHA256, &content).as_ref()),
        content: base64(&content),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, RecordError> {
    let unreadable = |cause| RecordError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let length = file.take(LARGEST + 1).read_to_end(&mut bytes);
    // A file of just the limit is refused as well.
    if length.map_err(unreadable)? as u64 > LARGEST {
        let path = path.to_owned();
        return Err(RecordError::TooLarge { path });
    }
    Ok(bytes)
}

impl Sheet {
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes down what is known of the key, with its signature.
    pub(super) fn fill(self, subject: &Subject<'_>) -> Result<PathBuf, RecordError> {
        let evidence = evidence::gather(subject.token, subject.key)?;
        let record = record(subject, evidence, self.attestation);
        let path = self.file.path().to_owned();
        let unwritable = |cause: io::Error| RecordError::Unwritable { path, cause };
        let jwk = subject.key.published.jwk();
        let unsigned = record.unsigned(jwk.algorithm(), jwk.kid());
        let unsigned = match unsigned {
            Ok(unsigned) => unsigned,
            Err(error) => return Err(unwritable(error.into())),
        };
        let signature = evidence::sign(subject.token, subject.key, &unsigned.signing_input())?;
        let text = unsigned.signed(&signature).map_err(io::Error::from);
        text.and_then(|text| self.file.write(&text))
            .map_err(unwritable)
    }
}

fn record(subject: &Subject<'_>, evidence: Evidence, attestation: Option<Attestation>) -> Record {
    let Evidence { token, library, .. } = evidence;
    let jwk = subject.key.published.jwk();
    Record {
        format: FORMAT.to_owned(),
        version: VERSION,
        made_at: subject.made_at.map(UnixSeconds::rfc3339),
        recorded_at: subject.now.rfc3339(),
        active_from: subject.active_from.map(UnixSeconds::rfc3339),
        service: Service {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        token: TokenRecord {
            label: token.label,
            serial: token.serial,
            manufacturer: token.manufacturer,
            model: token.model,
            firmware_version: token.firmware,
            hardware_version: token.hardware,
        },
        slot: evidence.slot,
        module: ModuleRecord {
            path: evidence.module.display().to_string(),
            manufacturer: library.manufacturer,
            description: library.description,
            library_version: library.version,
            cryptoki_version: library.cryptoki,
        },
        key: KeyRecord {
            kid: jwk.kid().as_str().to_owned(),
            label: subject.label.to_owned(),
            cka_id: hex::encode(subject.id),
            algorithm: jwk.algorithm().name().to_owned(),
            mechanism: subject.key.handle.mechanism.name().to_owned(),
            jwk: json!(jwk),
        },
        attributes: evidence.claims.into(),
        policy: Policy {
            name: subject.policy.name().to_owned(),
            warnings: proof::judge(&evidence.claims, subject.policy).warnings,
        },
        self_test: SelfTest {
            message: base64(&evidence.nonce),
            signature: base64(evidence.signature.as_bytes()),
        },
        attestation,
    }
}

/// `keys verify-record`: needs neither configuration nor token.
pub(super) fn verified(asked: &VerifyRecordArguments) -> Result<String, RecordError> {
    let bytes = read(&asked.file)?;
    let record = verify::verify(&String::from_utf8_lossy(&bytes));
    let record = record.map_err(|fault| RecordError::Fault {
        path: asked.file.clone(),
        fault,
    })?;
    let findings = verify::findings(&record);
    if asked.json {
        let answer = json!({ "holds": true, "findings": findings, "record": record });
        return Ok(format!("{answer}\n"));
    }
    Ok(told(&record, &findings))
}

fn told(record: &Record, findings: &[String]) -> String {
    let attributes = json!(record.attributes);
    let attributes = attributes.as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, value)| {
        let value = match value.as_bool() {
            Some(true) => "true",
            Some(false) => "false",
            None => "not reported",
        };
        (name.as_str(), value.to_owned())
    });
    let warnings = record.policy.warnings.iter().chain(findings);
    let warnings = warnings.map(|warning| ("warning", warning.clone()));
    let attestation = record.attestation.iter();
    let attestation = attestation.map(|of| {
        let told = format!("{}, SHA-256 {}; not checked here", of.file, of.sha256);
        ("attestation", told)
    });
    let mut text = String::new();
    let rows = facts(record).into_iter().chain(warnings);
    for (name, value) in rows.chain(attributes).chain(attestation) {
        // What stands in a file may hold anything.
        let value = shown(&value);
        // Writing to a String does not fail.
        writeln!(text, "{:<24}{value}", format!("{name}:")).ok();
    }
    let fits = if findings.is_empty() {
        "and nothing in it contradicts the rest"
    } else {
        "but its times contradict each other: see the warnings"
    };
    // Writing to a String does not fail.
    writeln!(
        text,
        "\nThe record holds: it is signed by this key, kid and self-test are the key's, {fits}."
    )
    .ok();
    text.push_str(TOKENS_WORD);
    text
}

fn told_or(time: Option<&String>, without: &str) -> String {
    time.map_or_else(|| without.to_owned(), Clone::clone)
}

const TOKENS_WORD: &str = "\
That the key is in this token is the token's word; only the vendor's attestation can prove it.
";

fn facts(record: &Record) -> [(&'static str, String); 14] {
    let Record {
        service,
        token,
        module,
        key,
        ..
    } = record;
    let signs = format!("{} by {}", key.algorithm, key.mechanism);
    let name = format!(
        "{:?}, serial {}, {} {}",
        token.label, token.serial, token.manufacturer, token.model
    );
    let versions = format!(
        "firmware {}, hardware {}",
        token.firmware_version, token.hardware_version
    );
    let library = format!(
        "{} {} {}, PKCS#11 {}",
        module.manufacturer, module.description, module.library_version, module.cryptoki_version
    );
    [
        ("kid", key.kid.clone()),
        ("algorithm", signs),
        ("label", key.label.clone()),
        ("CKA_ID", key.cka_id.clone()),
        ("made at", told_or(record.made_at.as_ref(), "not known")),
        (
            "active from",
            told_or(record.active_from.as_ref(), "ever since"),
        ),
        ("recorded at", record.recorded_at.clone()),
        (
            "recorded by",
            format!("{} {}", service.name, service.version),
        ),
        ("token", name),
        ("token versions", versions),
        ("slot", record.slot.to_string()),
        ("module", module.path.clone()),
        ("library", library),
        ("policy", record.policy.name.clone()),
    ]
}
