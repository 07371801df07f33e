//! `keys list` and `keys generate`: what is on the token, and a new key on it.
//!
//! Each command opens the module for itself, logs in once, and leaves. Tables for people, JSON for machines.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::key_table::{Row, table};
use super::opened::Opened;
use super::preview::{Preview, board_config};
use super::{GenerateArguments, ListArguments, Outside, failed};
use crate::clock::Moment;
use crate::config::{
    Config, KeySelector, KeySource, PinSource, Pkcs11Config, TokenConfig, pin_file,
};
use crate::keys::label::{Instant, LabelTooLong};
use crate::keys::lists::ListsError;
use crate::keys::memory::Memory;
use crate::keys::pkcs11::discovery::FoundKey;
use crate::keys::pkcs11::generate::{self, NewKey};
use crate::keys::pkcs11::module::LoadError;
use crate::keys::pkcs11::token::TokenFault;
use crate::keys::{Board, Signer};
use crate::state_dir::StateDirError;

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
    Load(#[from] LoadError),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    PinFile(#[from] pin_file::PinFileError),
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
    #[error(
        "{made}not on every token: {error}. Make the missing key with --activate-at and the same instant, with a URI of that token alone"
    )]
    Partly { made: String, error: Box<Self> },
    #[error(transparent)]
    State(#[from] StateDirError),
    #[error(transparent)]
    Lists(#[from] ListsError),
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    #[error("no key to publish on the token. Make one with `keys generate --alg RS256`")]
    NoKey,
}

/// `keys list`.
pub fn list(outside: &mut Outside<'_>, arguments: &ListArguments) -> ExitCode {
    let Some(config) = configured(outside, None) else {
        return failed();
    };
    let answer = listed(&config, arguments.json, Moment::now());
    outside.answer(answer)
}

/// `keys generate`.
pub fn generate(outside: &mut Outside<'_>, arguments: &GenerateArguments) -> ExitCode {
    let Some(config) = configured(outside, arguments.pin_file.as_deref()) else {
        return failed();
    };
    let answer = generated(&config, arguments, Moment::now());
    outside.answer(answer)
}

/// `jwks`: the set as the service would publish it, for verifiers that take it inline.
pub fn jwks(outside: &mut Outside<'_>) -> ExitCode {
    let Some(config) = configured(outside, None) else {
        return failed();
    };
    let answer = published(config, Moment::now());
    outside.answer(answer)
}

/// The configuration. `pin_file` takes the place of the configured PIN, because the user of the service may not be
/// allowed to generate.
fn configured(outside: &mut Outside<'_>, pin_file: Option<&Path>) -> Option<Config> {
    if let Some(path) = pin_file {
        outside.environment.remove("MACP_AUTH_PKCS11_PIN");
        outside.environment.set("MACP_AUTH_PKCS11_PIN_FILE", path);
    }
    let mut config = outside.configuration()?.config;
    if let (KeySource::Pkcs11(pkcs11), Some(path)) = (&mut config.source, pin_file) {
        for token in &mut pkcs11.tokens {
            token.pin = PinSource::File(path.to_owned());
        }
    }
    Some(config)
}

fn listed(config: &Config, as_json: bool, now: Moment) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    let overview = preview.board.overview(now);
    let tokens: Vec<&str> = preview
        .tokens
        .iter()
        .map(|token| token.label.as_str())
        .collect();
    let mut rows: Vec<Row> = preview
        .tokens
        .iter()
        .flat_map(|token| {
            token
                .reports
                .iter()
                .map(move |report| (&token.label, report))
        })
        .map(|(label, report)| Row::new(label, report, &overview))
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.report.active_from));
    if as_json {
        let keys: Vec<Value> = rows.iter().map(Row::json).collect();
        return Ok(format!("{}\n", json!({ "tokens": tokens, "keys": keys })));
    }
    Ok(table(&tokens, &rows))
}

/// One key on each token, all active from the same instant.
fn generated(config: &Config, asked: &GenerateArguments, now: Moment) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    let config = pkcs11(&config.source)?;
    let labels: Vec<String> = preview
        .tokens
        .iter()
        .flat_map(|token| {
            token
                .reports
                .iter()
                .map(|report| format!("{:?}", report.label))
        })
        .collect();
    let activate_at = match asked.activate_at {
        Some(at) => at,
        None if labels.is_empty() => Instant::at(now.wall).ok_or(KeysError::Clock)?,
        None => {
            let labels = labels.join(", ");
            return Err(KeysError::KeyExists { labels });
        }
    };
    let stamp = uuid::Timestamp::now(uuid::NoContext);
    let mut text = String::new();
    for token in &config.tokens {
        let made = generate_on(config, token, asked, activate_at, stamp);
        // What was made before is told all the same: it is on its token.
        text.push_str(&made.map_err(|error| KeysError::Partly {
            made: text.clone(),
            error: Box::new(error),
        })?);
    }
    Ok(text)
}

fn generate_on(
    config: &Pkcs11Config,
    on: &TokenConfig,
    asked: &GenerateArguments,
    activate_at: Instant,
    stamp: uuid::Timestamp,
) -> Result<String, KeysError> {
    let KeySelector::Prefix(prefix) = &on.keys else {
        return Err(KeysError::FixedKey);
    };
    let opened = Opened::new(config, on)?;
    if !opened.token.logged_in() && opened.token.info().login_required {
        let token = opened.token.label().to_owned();
        return Err(KeysError::NoPin { token });
    }
    let new = NewKey {
        algorithm: asked.algorithm,
        label: prefix.write(activate_at)?,
        id: creation_id(stamp),
    };
    generate::generate(&opened.token, &new)?;
    let key = opened.read_back(config, &new)?;
    Ok(describe_new(&opened, &new, activate_at, &key, asked.json))
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

fn published(config: Config, now: Moment) -> Result<String, KeysError> {
    let signer;
    let preview;
    let board = match config.source {
        KeySource::Ephemeral(_) => return Err(KeysError::Ephemeral),
        KeySource::Env(_) => {
            let board_config = board_config(&config, None);
            let board = Arc::new(Board::open(board_config, Memory::empty(now.wall), now)?);
            if let KeySource::Env(key) = config.source {
                signer = Signer::local(*key, Arc::clone(&board), now).map_err(KeysError::Thread)?;
                drop(signer);
            }
            board
        }
        KeySource::Pkcs11(_) => {
            preview = Preview::of(&config, now)?;
            Arc::new(preview.board)
        }
    };
    let ring = board.ring();
    let document = ring.document().ok_or(KeysError::NoKey)?;
    Ok(format!("{}\n", String::from_utf8_lossy(&document.body)))
}

fn pkcs11(source: &KeySource) -> Result<&Pkcs11Config, KeysError> {
    match source {
        KeySource::Pkcs11(config) => Ok(config),
        KeySource::Ephemeral(_) | KeySource::Env(_) => Err(KeysError::NoToken),
    }
}

/// A UUIDv7: it carries the creation time to every replica. Keys made together have the same, so that none of them counts as
/// the elder.
fn creation_id(stamp: uuid::Timestamp) -> Vec<u8> {
    uuid::Uuid::new_v7(stamp).into_bytes().to_vec()
}
