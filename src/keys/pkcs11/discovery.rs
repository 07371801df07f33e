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

use cryptoki::object::{KeyType, ObjectClass};

use super::ckr::Failure;
use super::objects::{self, PrivateObject, Timing};
use super::proof;
pub use super::refusal::Refusal;
use super::session::KeyHandle;
use super::token::{Token, TokenFault, View};
use super::{inspect, possession};
use crate::clock::UnixSeconds;
use crate::config::{KeyPolicy, KeySelector, Pin};
use crate::jose::{Algorithm, Jwk, Kid, PublicKey};
use crate::keys::PublishedKey;
use crate::keys::lists::{KeyName, KeySchedule};
use crate::keys::memory::Found;
use crate::keys::schedule::Created;

/// What to look for, and how strictly to judge it.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    pub keys: &'a KeySelector,
    pub policy: KeyPolicy,
    /// Only keys of this algorithm sign.
    pub algorithm: Option<Algorithm>,
    /// For CKA_ALWAYS_AUTHENTICATE keys.
    pub pin: Option<&'a Pin>,
    /// Decides alone which keys are ours, where it is there.
    pub schedule: Option<&'a KeySchedule>,
    /// What has been proved under the present login: not asked for another proof.
    pub proved: &'a [Proved],
}

/// A private object that has proved its key. Its handle names it until the login or the module goes.
#[derive(Debug, Clone)]
pub struct Proved {
    pub id: Vec<u8>,
    pub key: FoundKey,
    pub warnings: Vec<String>,
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
    /// What the policy lets pass.
    pub warnings: Vec<String>,
    /// What is wrong around a key that is used all the same.
    pub findings: Vec<String>,
}

/// Finds and proves all keys that the selector, or the schedule, names.
///
/// # Errors
/// [`TokenFault`] where the token itself fails; what is wrong with one key stands in its report.
pub fn find_keys(token: &Token, search: &Search<'_>) -> Result<Vec<KeyReport>, TokenFault> {
    let view = token.view()?;
    let mut by_id: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut reports = Vec::new();
    for object in objects::may_be_ours(&view, search, &mut by_id)? {
        let sharing = by_id.get(&object.id).copied().unwrap_or(1);
        reports.extend(report(&view, search, object, sharing)?);
    }
    Ok(reports)
}

impl KeyReport {
    /// Before it is judged.
    fn of(object: &PrivateObject<'_>, active_from: Option<UnixSeconds>) -> Self {
        Self {
            label: object.label.clone(),
            id: object.id.clone(),
            active_from,
            outcome: Err(Refusal::BadInstant),
            warnings: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The key, if it is this one and can be used.
    pub fn key(&self, kid: &Kid) -> Option<&FoundKey> {
        let key = self.outcome.as_ref().ok();
        key.filter(|key| key.published.kid() == kid)
    }

    /// How a schedule may name it.
    pub fn names(&self) -> impl Iterator<Item = KeyName> {
        let key = self.outcome.as_ref().ok();
        let kid = key.map(|key| KeyName::Kid(key.published.kid().clone()));
        kid.into_iter().chain([KeyName::Id(self.id.clone())])
    }

    /// The key for the board; None where it is not used. `skew` in seconds.
    pub fn found(&self, now: UnixSeconds, skew: u64) -> Option<Found> {
        let key = self.outcome.as_ref().ok()?;
        Some(Found {
            key: Arc::clone(&key.published),
            instant: self.active_from?,
            created: Created::from_id(&self.id, now, skew),
        })
    }

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
    Ok(objects::of_class(&token.view()?, ObjectClass::PRIVATE_KEY)?.len())
}

/// None: an object that only the schedule could name, and does not.
fn report(
    view: &View<'_>,
    search: &Search<'_>,
    object: PrivateObject<'_>,
    sharing: usize,
) -> Result<Option<KeyReport>, TokenFault> {
    let active_from = match object.timing {
        Timing::From(at) => Some(at),
        Timing::BadInstant => None,
        Timing::ByKid(schedule) => {
            return report_by_kid(view, search, schedule, &object, sharing);
        }
    };
    let mut report = KeyReport::of(&object, active_from);
    if active_from.is_some() {
        report.outcome = evaluate(view, search, &object, sharing, &mut report)?;
    }
    Ok(Some(report))
}

/// The kid that was proved decides alone: anybody may write public objects, without a PIN. They only tell which of the keys
/// that nobody has proved yet are worth a signature.
fn report_by_kid(
    view: &View<'_>,
    search: &Search<'_>,
    schedule: &KeySchedule,
    object: &PrivateObject<'_>,
    sharing: usize,
) -> Result<Option<KeyReport>, TokenFault> {
    let may_be_named = match proved(search, object) {
        Some(proved) => schedule.by_kid(proved.key.published.kid()).is_some(),
        None => a_candidate_is_named(view, schedule, object)?,
    };
    if !may_be_named {
        return Ok(None);
    }
    let mut report = KeyReport::of(object, None);
    report.outcome = evaluate(view, search, object, sharing, &mut report)?;
    if let Ok(key) = &report.outcome {
        report.active_from = schedule.by_kid(key.published.kid());
        if report.active_from.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(report))
}

fn a_candidate_is_named(
    view: &View<'_>,
    schedule: &KeySchedule,
    object: &PrivateObject<'_>,
) -> Result<bool, TokenFault> {
    let kind = match inspect::key_type(view, object.object) {
        Ok(kind) => kind,
        // Nothing names what is gone.
        Err(failure) => return unread(view, object, failure).map(|_: Result<(), _>| false),
    };
    let candidates = inspect::candidates(view, object, kind)?.unwrap_or_default();
    let mut kids = candidates.iter().map(Kid::thumbprint);
    Ok(kids.any(|kid| schedule.by_kid(&kid).is_some()))
}

fn proved<'a>(search: &Search<'a>, object: &PrivateObject) -> Option<&'a Proved> {
    let mut proved = search.proved.iter();
    proved.find(|proved| proved.key.handle.object == object.object && proved.id == object.id)
}

/// The outer error is the token's, the inner one the key's. `sharing`: how many private objects carry its CKA_ID.
fn evaluate(
    view: &View<'_>,
    search: &Search<'_>,
    object: &PrivateObject<'_>,
    sharing: usize,
    report: &mut KeyReport,
) -> Result<Result<FoundKey, Refusal>, TokenFault> {
    if sharing > 1 && !object.id.is_empty() {
        return Ok(Err(Refusal::Ambiguous { count: sharing }));
    }
    let kind = match inspect::key_type(view, object.object) {
        Ok(kind) => kind,
        Err(failure) => return unread(view, object, failure),
    };
    if let Some(proved) = proved(search, object) {
        let around = inspect::candidates(view, object, kind)?;
        report.findings = findings(&proved.key.published, around.as_deref());
        report.warnings.clone_from(&proved.warnings);
        return Ok(Ok(proved.key.clone()));
    }
    prove_anew(view, search, object, kind, report)
}

fn prove_anew(
    view: &View<'_>,
    search: &Search<'_>,
    object: &PrivateObject<'_>,
    kind: KeyType,
    report: &mut KeyReport,
) -> Result<Result<FoundKey, Refusal>, TokenFault> {
    let (claims, missed) = match inspect::claims(view, object.object, kind) {
        Ok(read) => read,
        Err(failure) => return unread(view, object, failure),
    };
    let verdict = proof::judge(&claims, search.policy);
    report.warnings = verdict.warnings;
    if !verdict.refused.is_empty() {
        // Not for what the token did not get to say.
        if let Some(failure) = missed {
            return unread(view, object, failure);
        }
        let reasons = verdict.refused.join("; ");
        let taken_by = proof::strictest(&claims);
        return Ok(Err(Refusal::Policy { reasons, taken_by }));
    }
    let candidates = match inspect::candidates(view, object, kind)? {
        Ok(candidates) => candidates,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (handle, public) = match possession::prove(view, search, object, &candidates)? {
        Ok(proved) => proved,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let signs = search
        .algorithm
        .is_none_or(|only| only == public.algorithm());
    if !signs {
        report.warnings.push(
            "it is published but does not sign: MACP_AUTH_SIGNING_ALG names the other algorithm"
                .to_owned(),
        );
    }
    let Ok(published) = PublishedKey::new(Jwk::by_thumbprint(public)) else {
        return Ok(Err(Refusal::ForeignPublicKey));
    };
    report.findings = findings(&published, Ok(&candidates));
    let published = Arc::new(published);
    Ok(Ok(FoundKey { published, handle }))
}

/// What the public objects around a proved key look like. They change nothing: the key signs on under the public key that
/// was proved.
fn findings(key: &PublishedKey, around: Result<&[PublicKey], &Refusal>) -> Vec<String> {
    let candidates = around.unwrap_or_default();
    let ours = candidates.contains(key.jwk().key());
    let others = candidates.len() - usize::from(ours);
    let gone = (!ours).then(|| {
        "its public key object is gone or was changed; the key signs on under the public key that was proved. Write the right one back".to_owned()
    });
    let foreign = (others > 0).then(|| {
        format!("{others} other public key object(s) carry its CKA_ID and are ignored; delete what does not belong there")
    });
    gone.into_iter().chain(foreign).collect()
}

fn unread<T>(
    view: &View<'_>,
    private: &PrivateObject<'_>,
    failure: Failure,
) -> Result<Result<T, Refusal>, TokenFault> {
    objects::key_or_token(view, ObjectClass::PRIVATE_KEY, private.object, failure)
}
