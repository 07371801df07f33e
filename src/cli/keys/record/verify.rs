//! Whether a record holds, offline: signature, thumbprint, self-test, and that no part contradicts another. Pure.
//!
//! It proves that the holder of the key wrote the record. That the key is in the token that it names is the token's word, and the
//! vendor's attestation, which has to be checked with the vendor's means.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::document::{Document, FORMAT, Record, VERSION, protected, signing_input};
use crate::clock::UnixSeconds;
use crate::config::KeyPolicy;
use crate::jose::{Jwk, JwkError, Kid, Signature, Verifier};
use crate::keys::label::Instant;
use crate::keys::pkcs11::evidence::PROOF;
use crate::keys::pkcs11::mechanism::SigningMechanism;
use crate::keys::pkcs11::proof;
use crate::keys::schedule::Created;

/// Why a record does not hold.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    #[error(
        "it is no record ({0}). Take the file as `keys generate --record` or `keys record` wrote it"
    )]
    NotARecord(#[source] serde_json::Error),
    #[error("its \"{member}\" is not base64")]
    NotBase64 { member: &'static str },
    #[error("its \"payload\" is no record ({0})")]
    Payload(#[source] serde_json::Error),
    #[error(
        "what it shows under \"record\" is not what was signed (\"payload\"). It was changed, or written anew by another program"
    )]
    TwoRecords,
    #[error(
        "it is a {format:?} of version {version}; this program knows {FORMAT:?} of version {VERSION}"
    )]
    Format { format: String, version: u64 },
    #[error("its public key is none: {0}")]
    Jwk(#[from] JwkError),
    #[error("its public key has members that this program does not write, or lacks some")]
    JwkMembers,
    #[error("its kid {kid} is not the thumbprint of its public key, {thumbprint}")]
    Thumbprint { kid: String, thumbprint: Kid },
    #[error("its \"{member}\" does not fit the rest: {found:?}")]
    Contradiction { member: &'static str, found: String },
    #[error("its signature is not by this key over this record")]
    Signature,
    #[error("its self-test is no signature by this key over a nonce of this program")]
    SelfTest,
    #[error("its attributes do not pass the policy that it names: {reasons}")]
    PolicyRefuses { reasons: String },
    #[error("its attestation is not the one whose hash it has")]
    Attestation,
}

/// In seconds. A token may take minutes for an RSA key.
const SAME_MAKING: u64 = 300;

/// The record of a file, if it holds.
pub(super) fn verify(text: &str) -> Result<Record, RecordFault> {
    let document: Document = serde_json::from_str(text).map_err(RecordFault::NotARecord)?;
    let payload = base64url(&document.payload, "payload")?;
    if squeezed(document.record.get()).as_bytes() != payload {
        return Err(RecordFault::TwoRecords);
    }
    let record: Record = serde_json::from_slice(&payload).map_err(RecordFault::Payload)?;
    if record.format != FORMAT || record.version != VERSION {
        return Err(RecordFault::Format {
            format: record.format,
            version: record.version,
        });
    }
    let jwk = Jwk::from_json(&record.key.jwk)?;
    names_agree(&record, &jwk)?;
    let header = protected(jwk.algorithm(), jwk.kid()).map_err(RecordFault::Payload)?;
    if header != document.protected {
        return Err(contradiction("protected", &document.protected));
    }
    let verifier = Verifier::new(jwk.key()).map_err(JwkError::from)?;
    let signature = Signature::new(base64url(&document.signature, "signature")?);
    if !verifier.accepts(&signing_input(&header, &document.payload), &signature) {
        return Err(RecordFault::Signature);
    }
    self_test_holds(&record, &verifier)?;
    policy_agrees(&record)?;
    attestation_agrees(&record)?;
    Ok(record)
}

/// What its times leave to be explained. The key has signed them all the same, and there are honest reasons: a schedule file
/// decides against labels, and clocks are set right.
pub(super) fn findings(record: &Record) -> Vec<String> {
    let key = &record.key;
    let instant = |text: &Option<String>| Instant::from_text(text.as_deref()?).ok();
    let in_id = hex::decode(&key.cka_id).ok();
    let in_id = in_id.and_then(|id| Created::from_id(&id, UnixSeconds::new(u64::MAX), 0));
    let made = instant(&record.made_at).zip(in_id.map(Created::seconds));
    let made =
        made.filter(|(stated, in_id)| stated.seconds().get().abs_diff(in_id.get()) > SAME_MAKING);
    let made = made.map(|(stated, in_id)| {
        format!(
            "it says that the key was made at {}, and CKA_ID says {}. Was the clock set in between, or CKA_ID written by hand?",
            stated.seconds().rfc3339(),
            in_id.rfc3339()
        )
    });
    let active = instant(&record.active_from).zip(Instant::ending(&key.label));
    let active = active.filter(|(stated, in_label)| stated != in_label);
    let active = active.map(|(stated, in_label)| {
        format!(
            "it says that the key signs from {}, and the label says {}. That is right only if MACP_AUTH_KEY_SCHEDULE_FILE says the former",
            stated.seconds().rfc3339(),
            in_label.seconds().rfc3339()
        )
    });
    made.into_iter().chain(active).collect()
}

fn names_agree(record: &Record, jwk: &Jwk) -> Result<(), RecordFault> {
    let key = &record.key;
    let thumbprint = Kid::thumbprint(jwk.key());
    for kid in [&key.kid, jwk.kid().as_str()] {
        if kid != thumbprint.as_str() {
            let kid = kid.to_owned();
            return Err(RecordFault::Thumbprint { kid, thumbprint });
        }
    }
    if json!(jwk) != key.jwk {
        return Err(RecordFault::JwkMembers);
    }
    let algorithm = jwk.algorithm();
    if key.algorithm != algorithm.name() {
        return Err(contradiction("algorithm", &key.algorithm));
    }
    let mut mechanisms = SigningMechanism::candidates(algorithm).into_iter();
    if !mechanisms.any(|mechanism| mechanism.name() == key.mechanism) {
        return Err(contradiction("mechanism", &key.mechanism));
    }
    if hex::decode(&key.cka_id).is_err() {
        return Err(contradiction("cka_id", &key.cka_id));
    }
    for (member, instant) in [
        ("made_at", record.made_at.as_ref()),
        ("recorded_at", Some(&record.recorded_at)),
        ("active_from", record.active_from.as_ref()),
    ] {
        if let Some(instant) = instant
            && Instant::from_text(instant).is_err()
        {
            return Err(contradiction(member, instant));
        }
    }
    Ok(())
}

fn self_test_holds(record: &Record, verifier: &Verifier) -> Result<(), RecordFault> {
    let message = base64(&record.self_test.message, "message")?;
    let signature = Signature::new(base64(&record.self_test.signature, "signature")?);
    if message.starts_with(PROOF) && verifier.accepts(&message, &signature) {
        return Ok(());
    }
    Err(RecordFault::SelfTest)
}

/// Judges the attributes once more.
fn policy_agrees(record: &Record) -> Result<(), RecordFault> {
    let stated = &record.policy;
    let policy = KeyPolicy::ALL
        .into_iter()
        .find(|of| of.name() == stated.name);
    let policy = policy.ok_or_else(|| contradiction("policy", &stated.name))?;
    let verdict = proof::judge(&record.attributes.into(), policy);
    if !verdict.refused.is_empty() {
        let reasons = verdict.refused.join("; ");
        return Err(RecordFault::PolicyRefuses { reasons });
    }
    if verdict.warnings != stated.warnings {
        return Err(contradiction("warnings", &stated.warnings.join("; ")));
    }
    Ok(())
}

fn attestation_agrees(record: &Record) -> Result<(), RecordFault> {
    let Some(attestation) = &record.attestation else {
        return Ok(());
    };
    let content = base64(&attestation.content, "content")?;
    let hash = digest::digest(&digest::SHA256, &content);
    if hex::encode(hash.as_ref()) == attestation.sha256 {
        return Ok(());
    }
    Err(RecordFault::Attestation)
}

fn contradiction(member: &'static str, found: &str) -> RecordFault {
    RecordFault::Contradiction {
        member,
        found: found.to_owned(),
    }
}

fn base64(text: &str, member: &'static str) -> Result<Vec<u8>, RecordFault> {
    let bytes = STANDARD.decode(text);
    bytes.map_err(|_| RecordFault::NotBase64 { member })
}

fn base64url(text: &str, member: &'static str) -> Result<Vec<u8>, RecordFault> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| RecordFault::NotBase64 { member })
}

/// JSON without the white space between its parts.
fn squeezed(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |char: &char| {
        let kept = inside || !char.is_ascii_whitespace();
        if *char == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && *char == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
