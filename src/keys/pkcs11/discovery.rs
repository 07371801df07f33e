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

use aws_lc_rs::rand;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use super::ckr::{Class, Failure};
use super::mechanism::SigningMechanism;
use super::proof::{self, Claims};
use super::public::{self, Attributes, PublicKeyUnfit};
use super::session::{self, KeyHandle};
use super::token::{Token, TokenFault};
use crate::clock::UnixSeconds;
use crate::config::{KeyPolicy, KeySelector, Pin};
use crate::jose::{Algorithm, Jwk, PublicKey, Verifier};
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

struct PrivateObject {
    object: ObjectHandle,
    label: String,
    id: Vec<u8>,
    active_from: Result<UnixSeconds, Refusal>,
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

/// One more nonce by a key that has been proved, verified under the published key.
///
/// # Errors
/// The token's; [`TokenFault::WrongSignature`] where the signature is not this key's.
pub fn prove_again(token: &Token, key: &KeyHandle, verifier: &Verifier) -> Result<(), TokenFault> {
    let message = nonce();
    let signature = sign_once(token, key, &message).map_err(|failure| token.fault(failure))?;
    if verifier.accepts(&message, &signature) {
        return Ok(());
    }
    let token = token.label().to_owned();
    Err(TokenFault::WrongSignature { token })
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
    let kind = match key_type(token, object.object) {
        Ok(kind) => kind,
        Err(failure) => return key_or_token(token, failure),
    };
    let verdict = match claims(token, object.object, kind) {
        Ok(claims) => proof::judge(&claims, search.policy),
        Err(failure) => return key_or_token(token, failure),
    };
    warnings.extend(verdict.warnings);
    if !verdict.refused.is_empty() {
        let reasons = verdict.refused.join("; ");
        return Ok(Err(Refusal::Policy { reasons }));
    }
    let candidates = match candidates(token, object, kind)? {
        Ok(candidates) => candidates,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (handle, public) = match prove(token, search, object, &candidates)? {
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
fn key_or_token<T>(token: &Token, failure: Failure) -> Result<Result<T, Refusal>, TokenFault> {
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

fn key_type(token: &Token, object: ObjectHandle) -> Result<KeyType, Failure> {
    let attributes = Attributes::read(token.anchor(), object, &[AttributeType::KeyType])?;
    Ok(attributes
        .find(|attribute| match attribute {
            Attribute::KeyType(kind) => Some(*kind),
            _ => None,
        })
        .unwrap_or(KeyType::GENERIC_SECRET))
}

fn claims(token: &Token, object: ObjectHandle, kind: KeyType) -> Result<Claims, Failure> {
    let mut claims = Claims::default();
    for group in proof::CLAIM_GROUPS {
        let attributes = Attributes::read(token.anchor(), object, group)?;
        for attribute in attributes.iter() {
            let (claim, value) = match attribute {
                Attribute::Sensitive(value) => (&mut claims.sensitive, value),
                Attribute::AlwaysSensitive(value) => (&mut claims.always_sensitive, value),
                Attribute::Extractable(value) => (&mut claims.extractable, value),
                Attribute::NeverExtractable(value) => (&mut claims.never_extractable, value),
                Attribute::Local(value) => (&mut claims.local, value),
                Attribute::Sign(value) => (&mut claims.sign, value),
                Attribute::Decrypt(value) => (&mut claims.decrypt, value),
                Attribute::Unwrap(value) => (&mut claims.unwrap, value),
                Attribute::Derive(value) => (&mut claims.derive, value),
                _ => continue,
            };
            *claim = Some(*value);
        }
    }
    claims.private_value_readable = private_value_readable(token, object, kind);
    Ok(claims)
}

/// Tries to take the private value out; what comes is wiped.
fn private_value_readable(token: &Token, object: ObjectHandle, kind: KeyType) -> bool {
    let secret = if kind == KeyType::RSA {
        AttributeType::PrivateExponent
    } else {
        AttributeType::Value
    };
    let Ok(read) = token.anchor().get_attributes(object, &[secret]) else {
        return false;
    };
    read.into_iter().any(|attribute| match attribute {
        Attribute::PrivateExponent(mut value) | Attribute::Value(mut value) => {
            let readable = !value.is_empty();
            zeroize::Zeroize::zeroize(&mut value);
            readable
        }
        _ => false,
    })
}

/// The public keys that may belong to a private object: public objects of its CKA_ID; without any, what the private
/// object tells of itself.
fn candidates(
    token: &Token,
    private: &PrivateObject,
    kind: KeyType,
) -> Result<Result<Vec<PublicKey>, Refusal>, TokenFault> {
    let mut found: Vec<PublicKey> = Vec::new();
    let mut unfit = None;
    let mut objects = public_objects(token, private)?;
    if objects.is_empty() {
        objects.push(private.object);
    }
    for object in objects {
        match public::public_key(token.anchor(), object, kind) {
            Ok(Ok(key)) if found.contains(&key) => {}
            Ok(Ok(key)) => found.push(key),
            Ok(Err(PublicKeyUnfit::Missing { .. })) if object == private.object => {
                unfit = Some(Refusal::NoPublicKey);
            }
            Ok(Err(reason)) => unfit = Some(Refusal::Unfit(reason)),
            Err(failure) if object == private.object => {
                tracing::debug!(%failure, "a private object tells nothing of its public part");
                unfit = Some(Refusal::NoPublicKey);
            }
            Err(failure) => return key_or_token(token, failure),
        }
    }
    match unfit {
        Some(refusal) if found.is_empty() => Ok(Err(refusal)),
        _ => Ok(Ok(found)),
    }
}

fn public_objects(token: &Token, private: &PrivateObject) -> Result<Vec<ObjectHandle>, TokenFault> {
    let paired = if private.id.is_empty() {
        Attribute::Label(private.label.clone().into_bytes())
    } else {
        Attribute::Id(private.id.clone())
    };
    token
        .anchor()
        .find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), paired])
        .map_err(|error| token.fault(error.into()))
}

/// Signs a nonce by each way that may work, until a signature verifies under one of the candidates.
fn prove(
    token: &Token,
    search: &Search<'_>,
    private: &PrivateObject,
    candidates: &[PublicKey],
) -> Result<Result<(KeyHandle, PublicKey), Refusal>, TokenFault> {
    let Some(algorithm) = candidates.first().map(PublicKey::algorithm) else {
        return Ok(Err(Refusal::NoPublicKey));
    };
    let reauthenticate = match (always_authenticates(token, private.object), search.pin) {
        (false, _) => None,
        (true, Some(pin)) => Some(pin.clone()),
        (true, None) => return Ok(Err(Refusal::WantsPin)),
    };
    let message = nonce();
    let mut tried = Vec::new();
    let mut signed = false;
    for mechanism in SigningMechanism::candidates(algorithm) {
        let handle = KeyHandle {
            object: private.object,
            mechanism,
            reauthenticate: reauthenticate.clone(),
        };
        match sign_once(token, &handle, &message) {
            Ok(signature) => {
                signed = true;
                let owner = candidates.iter().find(|key| {
                    Verifier::new(key).is_ok_and(|verifier| verifier.accepts(&message, &signature))
                });
                if let Some(public) = owner {
                    return Ok(Ok((handle, public.clone())));
                }
            }
            Err(failure) if failure.class() == Class::Token || failure.class() == Class::Login => {
                return Err(token.fault(failure));
            }
            Err(failure) => tried.push(format!("{} {failure}", mechanism.name())),
        }
    }
    if signed {
        return Ok(Err(Refusal::ForeignPublicKey));
    }
    let tried = tried.join("; ");
    Ok(Err(Refusal::NoMechanism { tried }))
}

/// On a session of its own, because a failed attempt may leave an operation active; on the anchor where the token has
/// no second session.
fn sign_once(
    token: &Token,
    key: &KeyHandle,
    message: &[u8],
) -> Result<crate::jose::Signature, Failure> {
    match token.module().open_session(token.slot()) {
        Ok(fresh) => session::sign(token.module(), &fresh, key, message),
        Err(failure) if failure.class() == Class::SessionLimit => {
            session::sign(token.module(), token.anchor(), key, message)
        }
        Err(failure) => Err(failure),
    }
}

fn always_authenticates(token: &Token, object: ObjectHandle) -> bool {
    Attributes::read(token.anchor(), object, &[AttributeType::AlwaysAuthenticate])
        .ok()
        .and_then(|attributes| {
            attributes.find(|attribute| match attribute {
                Attribute::AlwaysAuthenticate(value) => Some(*value),
                _ => None,
            })
        })
        .unwrap_or(false)
}

/// A message that nobody can have had signed before.
pub(super) fn nonce() -> Vec<u8> {
    let mut message = b"macp-auth-service: proof of possession ".to_vec();
    let mut random = [0; 32];
    // Without random bytes the message still proves that the pair belongs together.
    if rand::fill(&mut random).is_ok() {
        message.extend_from_slice(&random);
    }
    message
}
