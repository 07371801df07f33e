//! What the checks found, in the order of the checks: for people a table with the cure under each trouble, for machines
//! JSON, and an exit code.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

/// How one check ended; the worst of all is the answer of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// The service runs, but somebody should know.
    Warning,
    Failed,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    check: &'static str,
    state: State,
    detail: String,
    /// What to do; with every warning and failure.
    cure: Option<String>,
}

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    checks: Vec<Finding>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            token: None,
            check,
            state: State::Ok,
            detail: detail.into(),
            cure: None,
        }
    }

    pub(super) fn warning(
        check: &'static str,
        detail: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            token: None,
            check,
            state: State::Warning,
            detail: detail.into(),
            cure: Some(cure.into()),
        }
    }

    pub(super) fn failed(
        check: &'static str,
        detail: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            state: State::Failed,
            ..Self::warning(check, detail, cure)
        }
    }

    /// From a message of the service, which says what, why and, after the first sentence, the cure; `otherwise` is the
    /// cure where it names none.
    pub(super) fn told(
        check: &'static str,
        state: State,
        message: &dyn fmt::Display,
        otherwise: &str,
    ) -> Self {
        let message = message.to_string();
        let (detail, cure) = message.split_once(". ").unwrap_or((&message, otherwise));
        Self {
            state,
            ..Self::warning(check, detail, cure)
        }
    }

    pub(super) fn on(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        self.checks.push(finding);
    }

    pub(super) fn worst(&self) -> State {
        self.checks
            .iter()
            .map(Finding::state)
            .max()
            .unwrap_or(State::Ok)
    }

    /// 0: all well; 1: something failed; 2: warnings alone.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit_number())
    }

    pub(super) fn exit_number(&self) -> u8 {
        match self.worst() {
            State::Ok => 0,
            State::Failed => 1,
            State::Warning => 2,
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Answer<'a> {
            result: State,
            #[serde(flatten)]
            findings: &'a Findings,
        }
        let answer = Answer {
            result: self.worst(),
            findings: self,
        };
        serde_json::to_string_pretty(&answer).map(|text| text + "\n")
    }

    pub(super) fn table(&self) -> String {
        let width = self
            .checks
            .iter()
            .map(|finding| finding.check.len())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        let mut token = &None;
        for finding in &self.checks {
            if finding.token != *token {
                let title = finding.token.as_deref().unwrap_or("all tokens");
                writeln!(text, "\n{}", printable(title)).ok();
                token = &finding.token;
            }
            // Writing to a String does not fail.
            writeln!(
                text,
                "{:<7}  {:<width$}  {}",
                finding.state.name(),
                finding.check,
                printable(&finding.detail)
            )
            .ok();
            if let Some(cure) = &finding.cure {
                let indent = "";
                writeln!(
                    text,
                    "{indent:<7}  {indent:<width$}  cure: {}",
                    printable(cure)
                )
                .ok();
            }
        }
        let count = |state| {
            let matching = self
                .checks
                .iter()
                .filter(|finding| finding.state() == state);
            matching.count()
        };
        writeln!(
            text,
            "\n{}: {} ok, {} warning, {} failed",
            self.worst().name(),
            count(State::Ok),
            count(State::Warning),
            count(State::Failed)
        )
        .ok();
        text
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// Labels come from the token: a row stays one line, and no control character reaches a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(findings: impl IntoIterator<Item = Finding>) -> Findings {
        Findings {
            checks: findings.into_iter().collect(),
        }
    }

    #[test]
    fn the_worst_finding_is_the_exit_code() {
        let (ok, warning, failed) = (
            Finding::ok("a", "x"),
            Finding::warning("b", "x", "y"),
            Finding::failed("c", "x", "y"),
        );
        for (name, findings, want) in [
            ("nothing", vec![], 0),
            ("all well", vec![&ok, &ok], 0),
            ("a warning", vec![&ok, &warning, &ok], 2),
            ("a failure", vec![&failed, &warning, &ok], 1),
        ] {
            let findings = all(findings.into_iter().cloned());

            assert_eq!(findings.exit_number(), want, "{name}");
        }
    }

    #[test]
    fn a_message_is_cut_into_what_is_wrong_and_its_cure() {
        let cut = |message| Finding::told("a", State::Failed, &message, "otherwise");

        let whole = cut("no token matches. Check the label. Or the cable");
        let bare = cut("the token opens no session");

        assert_eq!(whole.detail, "no token matches");
        assert_eq!(whole.cure.as_deref(), Some("Check the label. Or the cable"));
        assert_eq!(bare.cure.as_deref(), Some("otherwise"));
    }

    #[test]
    fn the_table_holds_one_line_a_check_and_the_cure_under_it() {
        let findings = all([
            Finding::ok("module", "loaded"),
            Finding::failed("token", "label \"a\nb\" \u{1b}[31m", "do"),
        ]);

        assert_eq!(
            findings.table(),
            "ok       module  loaded\n\
             failed   token   label \"a b\"  [31m\n\
             \x20                cure: do\n\
             \nfailed: 1 ok, 0 warning, 1 failed\n"
        );
    }

    #[test]
    fn json_says_the_same() {
        let findings = all([Finding::warning("token", "x", "y")]);
        let value: serde_json::Value = serde_json::from_str(&findings.json().unwrap()).unwrap();

        assert_eq!(
            value,
            serde_json::json!({
                "result": "warning",
                "checks": [{"check": "token", "state": "warning", "detail": "x", "cure": "y"}],
            })
        );
    }
}
