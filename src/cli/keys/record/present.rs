//! `keys record`: the record of a key that is on the tokens already, because another program made it, or because the vendor attests
//! it only once it is there.
//!
//! ```text
//! kid -> the tokens that hold it -> files reserved -> on each: found and proved again, read, signed by the key -> written
//! ```

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::super::super::opened::Opened;
use super::super::super::preview::{Preview, PreviewedToken, pkcs11};
use super::super::arguments::RecordKeyArguments;
use super::super::{KeysError, believe_the_clock, known};
use super::{Sheet, Subject, sheets};
use crate::clock::{Moment, UnixSeconds};
use crate::config::{Config, Pkcs11Config, TokenConfig};
use crate::jose::Kid;
use crate::keys::schedule::Created;

/// A record that was written.
struct Written<'a> {
    token: &'a str,
    file: PathBuf,
}

pub(in crate::cli::keys) fn answer(
    config: &Config,
    asked: &RecordKeyArguments,
    now: Moment,
) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    let pkcs11 = pkcs11(&config.source)?;
    believe_the_clock(&preview.board, now)?;
    let overview = preview.board.overview(now);
    let kid = known(&overview, &asked.kid)?.key.kid();
    let holders: Vec<(&TokenConfig, &PreviewedToken)> = pkcs11
        .tokens
        .iter()
        .zip(&preview.tokens)
        .filter(|(_, token)| token.reports.iter().any(|of| of.key(kid).is_some()))
        .collect();
    if holders.is_empty() {
        return Err(KeysError::NotHeld { kid: kid.clone() });
    }
    let sheets = sheets(&asked.file, &asked.attestation, holders.len())?;
    let mut written: Vec<Written<'_>> = Vec::new();
    for ((on, token), sheet) in holders.into_iter().zip(sheets) {
        let token = token.label.as_str();
        match fill(pkcs11, on, &preview, kid, sheet) {
            Ok(file) => written.push(Written { token, file }),
            Err(error) if written.is_empty() => return Err(error),
            Err(error) => {
                return Err(KeysError::RecordedPartly {
                    token: token.to_owned(),
                    error: Box::new(error),
                    written: written.into_iter().map(|one| one.file).collect(),
                });
            }
        }
    }
    Ok(told(kid, &written, asked.json))
}

fn fill(
    config: &Pkcs11Config,
    on: &TokenConfig,
    preview: &Preview,
    kid: &Kid,
    sheet: Sheet,
) -> Result<PathBuf, KeysError> {
    let opened = Opened::new(config, on)?;
    // Under this login: handles of an earlier one may name other objects.
    let reports = opened.reports(config, &on.keys, preview.board.schedule().as_deref())?;
    let mut found = reports.iter().filter_map(|of| Some((of, of.key(kid)?)));
    let (report, key) = found
        .next()
        .ok_or_else(|| KeysError::Moved { kid: kid.clone() })?;
    let now = UnixSeconds::now();
    let made_at = Created::from_id(&report.id, now, preview.board.rules().skew);
    let subject = Subject {
        token: &opened.token,
        key,
        label: &report.label,
        id: &report.id,
        policy: config.policy,
        made_at: made_at.map(Created::seconds),
        active_from: report.active_from.filter(|at| *at != UnixSeconds::EVER),
        now,
    };
    Ok(sheet.fill(&subject)?)
}

fn told(kid: &Kid, written: &[Written<'_>], as_json: bool) -> String {
    if as_json {
        let records = written
            .iter()
            .map(|one| json!({ "token": one.token, "record": one.file }));
        let records: Vec<_> = records.collect();
        return format!("{}\n", json!({ "kid": kid.as_str(), "records": records }));
    }
    let mut text = String::new();
    for one in written {
        // Writing to a String does not fail.
        writeln!(
            text,
            "record:      {} ({:?})",
            one.file.display(),
            one.token
        )
        .ok();
    }
    text
}
