//! The keys on the tokens as a table for people and as JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::clock::UnixSeconds;
use crate::keys::Overview;
use crate::keys::pkcs11::discovery::KeyReport;

/// One key, for both outputs.
pub(super) struct Row<'a> {
    token: &'a str,
    pub(super) report: &'a KeyReport,
    state: &'static str,
}

impl<'a> Row<'a> {
    pub(super) fn new(token: &'a str, report: &'a KeyReport, overview: &Overview) -> Self {
        let state = report.outcome.as_ref().map_or("REFUSED", |found| {
            let kid = found.published.kid();
            let key = overview.keys.iter().find(|key| key.key.kid() == kid);
            key.map_or("-", |key| key.role.name())
        });
        Self {
            token,
            report,
            state,
        }
    }

    fn active_from(&self) -> String {
        match self.report.active_from {
            None => "-".to_owned(),
            Some(UnixSeconds::EVER) => "ever".to_owned(),
            Some(at) => at.rfc3339(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let key = self.report.outcome.as_ref().ok();
        let refusal = self.report.outcome.as_ref().err();
        json!({
            "token": self.token,
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

pub(super) fn table(tokens: &[&str], rows: &[Row<'_>]) -> String {
    if rows.is_empty() {
        let tokens = tokens.join(", ");
        return format!("token {tokens}: no key. Make one with `keys generate --alg RS256`\n");
    }
    let mut text = String::new();
    let head = [
        "STATE",
        "ALG",
        "SIGNS FROM",
        "LABEL",
        "KID",
        "TOKEN",
        "CKA_ID",
    ];
    line(&mut text, head);
    for row in rows {
        let key = row.report.outcome.as_ref().ok();
        line(
            &mut text,
            [
                row.state,
                key.map_or("-", |key| key.published.algorithm().name()),
                &row.active_from(),
                &row.report.label,
                key.map_or("-", |key| key.published.kid().as_str()),
                row.token,
                &hex::encode(&row.report.id),
            ],
        );
    }
    for row in rows {
        let label = &row.report.label;
        // Writing to a String does not fail.
        if let Err(refusal) = &row.report.outcome {
            writeln!(text, "refused: {label:?}: {refusal}").ok();
        }
        for warning in &row.report.warnings {
            writeln!(text, "warning: {label:?}: {warning}").ok();
        }
    }
    text
}

fn line(text: &mut String, [state, algorithm, from, label, kid, token, id]: [&str; 7]) {
    writeln!(
        text,
        "{state:<9}  {algorithm:<5}  {from:<20}  {label:<26}  {kid:<43}  {token:<16}  {id}"
    )
    .ok();
}
