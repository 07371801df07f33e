//! The keys on a token: found under the label grammar, paired, judged, and proved by a signature.
//!
//! ```text
//! private objects -> label -> one per CKA_ID -> public candidates -> policy -> nonce signed -> the candidate that verifies
//! ```
//!
//! Ambiguity is an error for the keys concerned, never "the first"; the other keys go on. Searches are collected before
//! anything else happens on a session: an open search keeps SoftHSM2 from signing.

use std::collections::BTreeMap;
use std::sync::Arc;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use super::ckr::{Class, Failure};
use super::proof;
use super::public::{Attributes, PublicKeyUnfit};
use super::session::KeyHandle;
use super::token::{Token, TokenFault};
use super::{inspect, possession};
use crate::clock::UnixSeconds;
use crate::config::{KeyPolicy, KeySelector, Pin};
use crate::jose::{Algorithm, Jwk};
use crate::keys::PublishedKey;
use crate::keys::label::LabelMatch;

/// What to look for, and how strictly to judge it.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    pub keys: &'a KeySelector,
    pub policy: KeyPolicy,
    /// Only keys of this algorithm sign.
    pub algorithm: Option<Algorithm>,
    /// For CKA_ALWAYS_AUTHENTICATE keys.
    pub pin: Option<&'a Pin>,
}

/// A key that may be published, with its handle on this token.
#[derive(Debug, Clone)]
pub struct FoundKey {
    pub published: Arc<PublishedKey>,
    pub handle: KeyHandle,
}

/// One line for people about one private object.
#[derive(Debug, Clone)]
pub struct KeyReport {
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    pub active_from: Option<UnixSeconds>,
    pub outcome: Result<FoundKey, Refusal>,
    pub warnings: Vec<String>,
}

/// Why a private object is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "its label ends in something that is no instant. Relabel it as <prefix>-20261201T120000Z (UTC)"
    )]
    BadInstant,
    #[error(
        "{count} private keys share this CKA_ID, so none of them is used. Give each an id of its own, or delete the superfluous one"
    )]
    Ambiguous { count: usize },
    #[error(
        "no public key object with this CKA_ID is visible. Write the public key to the token under the same CKA_ID, or generate a new pair with `keys generate`"
    )]
    NoPublicKey,
    #[error(
        "the public key object with this CKA_ID belongs to another key: a signature of the private key does not verify under it. Delete the foreign object and write the right public key under this CKA_ID"
    )]
    ForeignPublicKey,
    #[error("{0}. Make an RSA key of 2048 to 8192 bits or a P-256 key with `keys generate`")]
    Unfit(#[from] PublicKeyUnfit),
    #[error(
        "{reasons}. Make a key that never leaves the token with `keys generate`, or lower MACP_AUTH_KEY_POLICY knowingly (`sealed` for keys restored from a backup, `warn` for any)"
    )]
    Policy { reasons: String },
    #[error("it does not sign: {tried}")]
    NoMechanism { tried: String },
    #[error(
        "it wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), and none is configured. Set MACP_AUTH_PKCS11_PIN_FILE"
    )]
    WantsPin,
    #[error("its attributes cannot be read ({0})")]
    Unreadable(Failure),
}

/// A private object that the selector names.
pub(super) struct PrivateObject {
    pub(super) object: ObjectHandle,
    pub(super) label: String,
    pub(super) id: Vec<u8>,
    pub(super) active_from: Result<UnixSeconds, Refusal>,
}

/// Finds and proves all keys that the selector names.
///
/// # Errors
/// [`TokenFault`] where the token itself fails; what is wrong with one key stands in its report.
pub fn find_keys(token: &Token, search: &Search<'_>) -> Result<Vec<KeyReport>, TokenFault> {
    let mut by_id: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let objects = private_objects(token, search.keys, &mut by_id)?;
    objects
        .into_iter()
        .map(|object| {
            let sharing = by_id.get(&object.id).copied().unwrap_or(1);
            report(token, search, object, sharing)
        })
        .collect()
}

impl KeyReport {
    /// `"macp-jwt" (CKA_ID 01): kid …, RS256 by CKM_SHA256_RSA_PKCS`, or why it is not used.
    pub fn line(&self) -> String {
        let name = format!("{:?} (CKA_ID {})", self.label, hex::encode(&self.id));
        match &self.outcome {
            Ok(key) => format!(
                "{name}: kid {}, {} by {}",
                key.published.kid(),
                key.published.algorithm(),
                key.handle.mechanism.name()
            ),
            Err(refusal) => format!("{name}: {refusal}"),
        }
    }
}

/// How many private objects of any label the login shows: zero may mean that a PIN is missing.
///
/// # Errors
/// The token's.
pub fn visible_private_objects(token: &Token) -> Result<usize, TokenFault> {
    Ok(search_class(token, ObjectClass::PRIVATE_KEY)?.len())
}

fn search_class(token: &Token, class: ObjectClass) -> Result<Vec<ObjectHandle>, TokenFault> {
    token
        .anchor()
        .find_objects(&[Attribute::Class(class)])
        .map_err(|error| token.fault(error.into()))
}

/// The objects that are ours, and into `by_id` how many private objects of any label carry each CKA_ID.
fn private_objects(
    token: &Token,
    selector: &KeySelector,
    by_id: &mut BTreeMap<Vec<u8>, usize>,
) -> Result<Vec<PrivateObject>, TokenFault> {
    let mut ours = Vec::new();
    for object in search_class(token, ObjectClass::PRIVATE_KEY)? {
        let named = [AttributeType::Label, AttributeType::Id];
        let attributes = match Attributes::read(token.anchor(), object, &named) {
            Ok(attributes) => attributes,
            // Destroyed between search and read.
            Err(failure) if failure.class() == Class::Key => continue,
            Err(failure) => return Err(token.fault(failure)),
        };
        let label = attributes
            .find(|attribute| match attribute {
                Attribute::Label(text) => Some(
                    String::from_utf8_lossy(text)
                        .trim_end_matches([' ', '\0'])
                        .to_owned(),
                ),
                _ => None,
            })
            .unwrap_or_default();
        let id = attributes
            .find(|attribute| match attribute {
                Attribute::Id(id) => Some(id.clone()),
                _ => None,
            })
            .unwrap_or_default();
        *by_id.entry(id.clone()).or_default() += 1;
        if let Some(active_from) = chosen(selector, &label, &id) {
            ours.push(PrivateObject {
                object,
                label,
                id,
                active_from,
            });
        }
    }
    Ok(ours)
}

fn chosen(selector: &KeySelector, label: &str, id: &[u8]) -> Option<Result<UnixSeconds, Refusal>> {
    match selector {
        KeySelector::Prefix(prefix) => match prefix.read(label) {
            LabelMatch::NotOurs => None,
            LabelMatch::ActiveFrom(at) => Some(Ok(at)),
            LabelMatch::BadInstant => Some(Err(Refusal::BadInstant)),
        },
        KeySelector::Fixed {
            label: wanted_label,
            id: wanted_id,
        } => (wanted_label.as_deref().is_none_or(|wanted| wanted == label)
            && wanted_id.as_deref().is_none_or(|wanted| wanted == id))
        .then_some(Ok(UnixSeconds::EVER)),
    }
}

fn report(
    token: &Token,
    search: &Search<'_>,
    object: PrivateObject,
    sharing: usize,
) -> Result<KeyReport, TokenFault> {
    let mut warnings = Vec::new();
    let outcome = match &object.active_from {
        Err(refusal) => Err(refusal.clone()),
        Ok(_) if sharing > 1 && !object.id.is_empty() => Err(Refusal::Ambiguous { count: sharing }),
        Ok(active_from) => evaluate(token, search, &object, *active_from, &mut warnings)?,
    };
    Ok(KeyReport {
        active_from: object.active_from.ok(),
        label: object.label,
        id: object.id,
        outcome,
        warnings,
    })
}

/// The outer error is the token's, the inner one the key's.
fn evaluate(
    token: &Token,
    search: &Search<'_>,
    object: &PrivateObject,
    active_from: UnixSeconds,
    warnings: &mut Vec<String>,
) -> Result<Result<FoundKey, Refusal>, TokenFault> {
    let kind = match inspect::key_type(token, object.object) {
        Ok(kind) => kind,
        Err(failure) => return key_or_token(token, failure),
    };
    let verdict = match inspect::claims(token, object.object, kind) {
        Ok(claims) => proof::judge(&claims, search.policy),
        Err(failure) => return key_or_token(token, failure),
    };
    warnings.extend(verdict.warnings);
    if !verdict.refused.is_empty() {
        let reasons = verdict.refused.join("; ");
        return Ok(Err(Refusal::Policy { reasons }));
    }
    let candidates = match inspect::candidates(token, object, kind)? {
        Ok(candidates) => candidates,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (handle, public) = match possession::prove(token, search, object, &candidates)? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if candidates.len() > 1 {
        let others = candidates.len() - 1;
        warnings.push(format!(
            "{others} other public key object(s) carry its CKA_ID and are ignored; delete what does not belong there"
        ));
    }
    let signs = search
        .algorithm
        .is_none_or(|algorithm| algorithm == public.algorithm());
    if !signs {
        warnings.push(
            "it is published but does not sign: MACP_AUTH_SIGNING_ALG names the other algorithm"
                .to_owned(),
        );
    }
    let found = PublishedKey::new(Jwk::by_thumbprint(public), active_from, signs)
        .map(|published| FoundKey {
            published: Arc::new(published),
            handle,
        })
        .map_err(|_| Refusal::ForeignPublicKey);
    Ok(found)
}

/// A failure that speaks of the key or its attributes is the key's; everything else is the token's.
pub(super) fn key_or_token<T>(
    token: &Token,
    failure: Failure,
) -> Result<Result<T, Refusal>, TokenFault> {
    match failure.class() {
        Class::Key | Class::Mechanism | Class::Attribute | Class::AlreadyDone => {
            Ok(Err(Refusal::Unreadable(failure)))
        }
        Class::Session
        | Class::SessionLimit
        | Class::Login
        | Class::Token
        | Class::Pin
        | Class::Permanent => Err(token.fault(failure)),
    }
}
