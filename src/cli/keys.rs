//! `keys list` and `keys generate`: what is on the token, and a new key on it.
//!
//! Each command opens the module for itself, logs in once, and leaves. Tables for people, JSON for machines.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::opened::{NotOpened, Opened};
use super::{GenerateArguments, ListArguments, Outside, failed};
use crate::clock::UnixSeconds;
use crate::config::{KeySelector, KeySource, Pkcs11Config};
use crate::jose::JwkSet;
use crate::keys::label::{Instant, LabelTooLong};
use crate::keys::pkcs11::discovery::{FoundKey, KeyReport};
use crate::keys::pkcs11::generate::{self, NewKey};
use crate::keys::pkcs11::token::TokenFault;
use crate::keys::{KeyRing, PublishedKey};

/// Why a command did nothing, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(
        "no PKCS#11 token is configured. Set MACP_AUTH_PKCS11_MODULE with MACP_AUTH_PKCS11_TOKEN_LABEL, or MACP_AUTH_PKCS11_URI"
    )]
    NoToken,
    #[error(
        "the key would be another one at each call: without MACP_AUTH_PKCS11_* or MACP_AUTH_SIGNING_KEY_JSON the service makes an ephemeral key when it starts. Fetch its JWKS from /.well-known/jwks.json"
    )]
    Ephemeral,
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(
        "the token {token} wants a login before a key can be made. Give --pin-file or set MACP_AUTH_PKCS11_PIN_FILE"
    )]
    NoPin { token: String },
    #[error(
        "a key is there already: {labels}. Say with --activate-at (2026-12-01T12:00:00Z) from when on the new one signs; leave verifiers 15 minutes to fetch it"
    )]
    KeyExists { labels: String },
    #[error(
        "MACP_AUTH_PKCS11_URI names one key by object or id; keys are generated under a label prefix. Leave object and id out of the URI and set MACP_AUTH_PKCS11_KEY_LABEL"
    )]
    FixedKey,
    #[error(transparent)]
    Label(#[from] LabelTooLong),
    #[error("the system clock shows an instant that no label can carry. Set it right")]
    Clock,
    #[error("the key was made ({label}) but the service will not use it: {reason}")]
    NotUsable { label: String, reason: String },
    #[error("no key to publish on the token. Make one with `keys generate --alg RS256`")]
    NoKey,
}

/// `keys list`.
pub fn list(outside: &mut Outside<'_>, arguments: &ListArguments) -> ExitCode {
    let Some(source) = source(outside, None) else {
        return failed();
    };
    let answer = listed(source, arguments.json, UnixSeconds::now());
    outside.answer(answer)
}

/// `keys generate`.
pub fn generate(outside: &mut Outside<'_>, arguments: &GenerateArguments) -> ExitCode {
    let Some(source) = source(outside, arguments.pin_file.as_deref()) else {
        return failed();
    };
    let answer = generated(source, arguments, UnixSeconds::now());
    outside.answer(answer)
}

/// `jwks`: the set as the service would publish it, for verifiers that take it inline.
pub fn jwks(outside: &mut Outside<'_>) -> ExitCode {
    let Some(source) = source(outside, None) else {
        return failed();
    };
    let answer = published(source, UnixSeconds::now());
    outside.answer(answer)
}

/// The configured key source. `pin_file` takes the place of the configured PIN, because the user of the service may not be
/// allowed to generate.
fn source(outside: &mut Outside<'_>, pin_file: Option<&Path>) -> Option<KeySource> {
    if let Some(path) = pin_file {
        outside.environment.remove("MACP_AUTH_PKCS11_PIN");
        outside.environment.set("MACP_AUTH_PKCS11_PIN_FILE", path);
    }
    Some(outside.configuration()?.config.source)
}

fn listed(source: KeySource, as_json: bool, now: UnixSeconds) -> Result<String, KeysError> {
    let config = pkcs11(source)?;
    let session = Opened::new(&config)?;
    let reports = session.reports(&config, &config.keys)?;
    let usable = reports
        .iter()
        .filter_map(|report| report.outcome.as_ref().ok());
    let ring = KeyRing::new(usable.map(|key| Arc::clone(&key.published)).collect(), now);
    let signing = ring.signing_key(now);
    let rows: Vec<Row> = reports
        .iter()
        .map(|report| Row::new(report, signing, now))
        .collect();
    if as_json {
        let keys: Vec<Value> = rows.iter().map(Row::json).collect();
        return Ok(format!(
            "{}\n",
            json!({ "token": session.token.label(), "keys": keys })
        ));
    }
    Ok(table(session.token.label(), &rows))
}

fn generated(
    source: KeySource,
    asked: &GenerateArguments,
    now: UnixSeconds,
) -> Result<String, KeysError> {
    let config = pkcs11(source)?;
    let KeySelector::Prefix(prefix) = &config.keys else {
        return Err(KeysError::FixedKey);
    };
    let session = Opened::new(&config)?;
    if session.pin.is_none() && session.token.info().login_required {
        let token = session.token.label().to_owned();
        return Err(KeysError::NoPin { token });
    }
    let there = session.reports(&config, &config.keys)?;
    let activate_at = match asked.activate_at {
        Some(at) => at,
        None if there.is_empty() => Instant::at(now).ok_or(KeysError::Clock)?,
        None => {
            let labels: Vec<_> = there.iter().map(|key| format!("{:?}", key.label)).collect();
            let labels = labels.join(", ");
            return Err(KeysError::KeyExists { labels });
        }
    };
    let new = NewKey {
        algorithm: asked.algorithm,
        label: prefix.write(activate_at)?,
        id: creation_id(now),
    };
    generate::generate(&session.token, &new)?;
    let key = read_back(&session, &config, &new)?;
    Ok(describe_new(&session, &new, activate_at, &key, asked.json))
}

fn describe_new(
    session: &Opened,
    new: &NewKey,
    activate_at: Instant,
    key: &FoundKey,
    as_json: bool,
) -> String {
    let jwk = key.published.jwk();
    let (id, from) = (hex::encode(&new.id), activate_at.seconds().rfc3339());
    let mechanism = key.handle.mechanism.name();
    if as_json {
        let public = json!({
            "kid": jwk.kid().as_str(),
            "label": new.label,
            "id": id,
            "token": session.token.label(),
            "mechanism": mechanism,
            "active_from": from,
            "jwk": jwk,
        });
        return format!("{public}\n");
    }
    format!(
        "kid:         {}\nalgorithm:   {}\nlabel:       {}\nCKA_ID:      {id}\nsigns from:  {from}\n\
         self-test:   a signature by {mechanism} verified\npublic JWK:  {}\n",
        jwk.kid(),
        new.algorithm,
        new.label,
        json!(jwk),
    )
}

fn published(source: KeySource, now: UnixSeconds) -> Result<String, KeysError> {
    let keys = match source {
        KeySource::Ephemeral(_) => return Err(KeysError::Ephemeral),
        KeySource::Env(key) => vec![key.published()],
        KeySource::Pkcs11(config) => {
            let session = Opened::new(&config)?;
            session
                .reports(&config, &config.keys)?
                .into_iter()
                .filter_map(|report| report.outcome.ok())
                .map(|key| key.published)
                .collect()
        }
    };
    let ring = KeyRing::new(keys, now);
    if ring.keys().is_empty() {
        return Err(KeysError::NoKey);
    }
    let set = JwkSet {
        keys: ring.keys().iter().map(|key| key.jwk()).collect(),
    };
    Ok(format!("{}\n", json!(set)))
}

fn pkcs11(source: KeySource) -> Result<Box<Pkcs11Config>, KeysError> {
    match source {
        KeySource::Pkcs11(config) => Ok(config),
        KeySource::Ephemeral(_) | KeySource::Env(_) => Err(KeysError::NoToken),
    }
}

/// The key just made, judged and proved like any other.
fn read_back(session: &Opened, config: &Pkcs11Config, new: &NewKey) -> Result<FoundKey, KeysError> {
    let only_this = KeySelector::Fixed {
        label: Some(new.label.clone()),
        id: Some(new.id.clone()),
    };
    let made = session.reports(config, &only_this)?.into_iter().next();
    let outcome = made.map_or_else(
        || Err("it cannot be found again".to_owned()),
        |report| report.outcome.map_err(|refusal| refusal.to_string()),
    );
    outcome.map_err(|reason| KeysError::NotUsable {
        label: new.label.clone(),
        reason,
    })
}

/// A UUIDv7: it carries the creation time to every replica.
fn creation_id(now: UnixSeconds) -> Vec<u8> {
    let stamp = uuid::Timestamp::from_unix(uuid::NoContext, now.get(), 0);
    uuid::Uuid::new_v7(stamp).into_bytes().to_vec()
}

/// One key, for both outputs.
struct Row<'a> {
    report: &'a KeyReport,
    state: &'static str,
}

impl<'a> Row<'a> {
    fn new(report: &'a KeyReport, signing: Option<&Arc<PublishedKey>>, now: UnixSeconds) -> Self {
        let state = match &report.outcome {
            Err(_) => "refused",
            Ok(key) if signing.is_some_and(|signing| signing.kid() == key.published.kid()) => {
                "signing"
            }
            Ok(key) if key.published.active_from() > now => "waiting",
            Ok(_) => "published",
        };
        Self { report, state }
    }

    fn active_from(&self) -> String {
        match self.report.active_from {
            None => "-".to_owned(),
            Some(UnixSeconds::EVER) => "ever".to_owned(),
            Some(at) => at.rfc3339(),
        }
    }

    fn json(&self) -> Value {
        let key = self.report.outcome.as_ref().ok();
        let refusal = self.report.outcome.as_ref().err();
        json!({
            "label": self.report.label,
            "id": hex::encode(&self.report.id),
            "state": self.state,
            "kid": key.map(|key| key.published.kid().as_str()),
            "algorithm": key.map(|key| key.published.algorithm().name()),
            "mechanism": key.map(|key| key.handle.mechanism.name()),
            "active_from": self.report.active_from.filter(|at| *at != UnixSeconds::EVER).map(UnixSeconds::rfc3339),
            "refused": refusal.map(ToString::to_string),
            "warnings": self.report.warnings,
        })
    }
}

fn table(token: &str, rows: &[Row<'_>]) -> String {
    if rows.is_empty() {
        return format!("token {token}: no key. Make one with `keys generate --alg RS256`\n");
    }
    let mut text = format!(
        "token {token}\n{:<9}  {:<5}  {:<20}  {:<32}  {:<43}  CKA_ID\n",
        "STATE", "ALG", "SIGNS FROM", "LABEL", "KID"
    );
    for row in rows {
        let key = row.report.outcome.as_ref().ok();
        // Writing to a String does not fail.
        writeln!(
            text,
            "{:<9}  {:<5}  {:<20}  {:<32}  {:<43}  {}",
            row.state,
            key.map_or("-", |key| key.published.algorithm().name()),
            row.active_from(),
            row.report.label,
            key.map_or("-", |key| key.published.kid().as_str()),
            hex::encode(&row.report.id),
        )
        .ok();
    }
    for row in rows {
        let label = &row.report.label;
        if let Err(refusal) = &row.report.outcome {
            writeln!(text, "refused: {label:?}: {refusal}").ok();
        }
        for warning in &row.report.warnings {
            writeln!(text, "warning: {label:?}: {warning}").ok();
        }
    }
    text
}
