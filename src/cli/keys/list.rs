//! `keys list`: one row a key, with the objects that hold it on the tokens; one row an object that is not used.
//!
//! Keys that no token shows any more, and those of others, stand there as well as long as the service publishes them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::columns::aligned;
use super::super::preview::{Preview, Unread};
use super::span::from_now;
use super::{Answer, KeysError};
use crate::clock::{Moment, UnixSeconds};
use crate::config::Config;
use crate::keys::board::{KeyOverview, Overview};
use crate::keys::pkcs11::discovery::KeyReport;
use crate::shown::shown;

/// One private object on one token.
struct Object<'a> {
    token: &'a str,
    report: &'a KeyReport,
}

/// One key, or one object that is not used.
struct Row<'a> {
    /// None: not used, or not on the board because the clock is in doubt.
    key: Option<&'a KeyOverview>,
    objects: Vec<Object<'a>>,
    signs: bool,
}

pub(super) fn answer(config: &Config, as_json: bool, now: Moment) -> Result<Answer, KeysError> {
    let preview = Preview::of_what_can_be_read(config, now)?;
    let overview = preview.board.overview(now);
    let rows = rows(&preview, &overview);
    let hidden = preview.hidden();
    let lacks: Vec<String> = preview.unread.iter().map(ToString::to_string).collect();
    let tokens: Vec<&str> = preview.tokens.iter().map(|on| on.label.as_str()).collect();
    if as_json {
        let keys: Vec<Value> = rows.iter().map(Row::json).collect();
        let answer = json!({
            "now": overview.now.rfc3339(),
            "tokens": tokens,
            "signing": overview.signing.as_ref().map(|kid| kid.as_str()),
            "keys": keys,
            "alarms": overview.alarms,
            "warnings": hidden,
            "unread": preview.unread.iter().map(Unread::json).collect::<Vec<_>>(),
        });
        let text = format!("{answer}\n");
        return Ok(Answer { text, lacks });
    }
    let hidden = [hidden, lacks.clone()].concat();
    let text = text(&tokens, &rows, &overview, &hidden);
    Ok(Answer { text, lacks })
}

/// Keys in the order of the board, then what is not used.
fn rows<'a>(preview: &'a Preview, overview: &'a Overview) -> Vec<Row<'a>> {
    let objects = || {
        preview.tokens.iter().flat_map(|on| {
            let token = on.label.as_str();
            on.reports
                .iter()
                .map(move |report| Object { token, report })
        })
    };
    let keys = overview.keys.iter().map(|key| Row {
        key: Some(key),
        objects: objects().filter(|object| object.holds(key)).collect(),
        signs: overview.signing.as_ref() == Some(key.key.kid()),
    });
    let unused = objects().filter(|object| !overview.keys.iter().any(|key| object.holds(key)));
    let unused = unused.map(|object| Row {
        key: None,
        objects: vec![object],
        signs: false,
    });
    keys.chain(unused).collect()
}

impl Object<'_> {
    fn holds(&self, key: &KeyOverview) -> bool {
        self.report.key(key.key.kid()).is_some()
    }

    fn json(&self) -> Value {
        let found = self.report.outcome.as_ref().ok();
        json!({
            "token": self.token,
            "label": self.report.label,
            "id": hex::encode(&self.report.id),
            "mechanism": found.map(|found| found.handle.mechanism.name()),
            "warnings": self.report.warnings,
            "findings": self.report.findings,
        })
    }
}

impl Row<'_> {
    fn state(&self) -> &'static str {
        match (self.key, self.refusal()) {
            (Some(key), _) => key.state(),
            (None, Some(_)) => "REFUSED",
            (None, None) => "-",
        }
    }

    fn refusal(&self) -> Option<String> {
        let first = self.objects.first()?;
        first.report.outcome.as_ref().err().map(ToString::to_string)
    }

    fn algorithm(&self) -> Option<&'static str> {
        self.key.map(|key| key.key.algorithm().name())
    }

    fn json(&self) -> Value {
        let first = self.objects.first();
        let mechanism = first.and_then(|object| object.report.outcome.as_ref().ok());
        let time = |pick: fn(&KeyOverview) -> Option<UnixSeconds>| {
            let at = self.key.and_then(pick);
            at.filter(|at| *at != UnixSeconds::EVER)
                .map(UnixSeconds::rfc3339)
        };
        let instant = first.and_then(|object| object.report.active_from);
        let instant = self.key.and_then(|key| key.instant).or(instant);
        json!({
            "state": self.state(),
            "kid": self.key.map(|key| key.key.kid().as_str()),
            "algorithm": self.algorithm(),
            "signs_now": self.signs,
            "active_from": instant.filter(|at| *at != UnixSeconds::EVER).map(UnixSeconds::rfc3339),
            "created": time(|key| key.created.map(|at| at.seconds())),
            "signs_from": time(|key| key.ripe),
            "retired": time(|key| key.retired),
            "removal": time(|key| key.removal),
            "published": self.key.is_some_and(|key| key.published),
            "proved": self.key.is_some_and(|key| key.proved),
            "label": first.map(|object| object.report.label.as_str()),
            "id": first.map(|object| hex::encode(&object.report.id)),
            "mechanism": mechanism.map(|found| found.handle.mechanism.name()),
            "tokens": self.objects.iter().map(|object| object.token).collect::<Vec<_>>(),
            "objects": self.objects.iter().map(Object::json).collect::<Vec<_>>(),
            "refused": self.refusal(),
            "warnings": self.each(|object| object.report.warnings.clone()),
        })
    }

    fn cells(&self, now: UnixSeconds) -> [String; 9] {
        let time = |at: Option<UnixSeconds>| match at {
            None => "-".to_owned(),
            Some(UnixSeconds::EVER) => "ever".to_owned(),
            Some(at) => from_now(at, now),
        };
        let cell = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let key = self.key;
        let mark = if self.signs { "*" } else { " " };
        [
            format!("{mark} {}", self.state()),
            cell(self.algorithm()),
            time(key.and_then(|key| key.ripe)),
            time(key.and_then(|key| key.retired)),
            time(key.and_then(|key| key.removal)),
            cell(key.map(|key| key.key.kid().as_str())),
            self.joined(|object| object.token.to_owned()),
            self.joined(|object| object.report.label.clone()),
            self.joined(|object| hex::encode(&object.report.id)),
        ]
    }

    /// What the objects say, each once.
    fn each<T: PartialEq>(&self, say: impl Fn(&Object<'_>) -> Vec<T>) -> Vec<T> {
        let mut said = Vec::new();
        for new in self.objects.iter().flat_map(say) {
            if !said.contains(&new) {
                said.push(new);
            }
        }
        said
    }

    fn joined(&self, say: impl Fn(&Object<'_>) -> String) -> String {
        let said = self.each(|object| vec![say(object)]);
        if said.is_empty() {
            return "-".to_owned();
        }
        said.join(",")
    }

    /// Lines that do not fit into a row.
    fn notes(&self, text: &mut String) {
        for object in &self.objects {
            let name = format!("{:?} on {:?}", object.report.label, object.token);
            // Writing to a String does not fail.
            if let Err(refusal) = &object.report.outcome {
                writeln!(text, "refused: {name}: {refusal}").ok();
            }
            let report = object.report;
            for warning in report.warnings.iter().chain(&report.findings) {
                writeln!(text, "warning: {name}: {warning}").ok();
            }
        }
    }
}

fn text(tokens: &[&str], rows: &[Row<'_>], overview: &Overview, hidden: &[String]) -> String {
    let mut text = if rows.is_empty() && !hidden.is_empty() {
        "no key can be seen\n".to_owned()
    } else {
        table(tokens, rows, overview, hidden.is_empty())
    };
    for row in rows {
        row.notes(&mut text);
    }
    // Refused keys have been told.
    let alarms = overview.alarms.iter();
    for alarm in alarms.filter(|alarm| alarm.kind != crate::keys::AlarmKind::KeyRefused) {
        writeln!(text, "alarm: {}", alarm.detail).ok();
    }
    for warning in hidden {
        writeln!(text, "warning: {warning}").ok();
    }
    text
}

fn table(tokens: &[&str], rows: &[Row<'_>], overview: &Overview, whole: bool) -> String {
    if rows.is_empty() {
        let tokens = tokens.join(", ");
        let tokens = shown(&tokens);
        return format!("token {tokens}: no key. Make one with `keys generate`\n");
    }
    let cells: Vec<[String; 9]> = rows.iter().map(|row| row.cells(overview.now)).collect();
    let head = [
        "  STATE",
        "ALG",
        "SIGNS FROM",
        "RETIRED",
        "REMOVED",
        "KID",
        "TOKEN",
        "LABEL",
        "CKA_ID",
    ];
    let mut text = aligned(head, &cells);
    text.push_str(match &overview.signing {
        Some(_) => "\n* signs now\n",
        None if whole => "\nno key signs now\n",
        None => "\nno key that can be seen signs now\n",
    });
    text
}
