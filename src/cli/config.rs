//! `config`: every variable with its default and current value, then what is wrong, with the files that it names too.
//!
//! Secrets are not shown; of a URI everything but its PIN is, and nothing at all of one that cannot be read.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{ConfigArguments, DONE, Outside, failed};
use crate::config::settings::{Fallback, Form, PIN_FILE, SETTINGS, Setting};
use crate::config::{AtStart, Environment, markdown, parse, pin_file};
use crate::keys::pkcs11::uri::Pkcs11Uri;
use crate::shown::shown;

/// The answer of `config --json`.
#[derive(Serialize)]
struct Overview {
    variables: Vec<Row>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    default: Option<&'static str>,
    set: bool,
    value: Option<String>,
    secret: bool,
}

pub(super) fn run(outside: &mut Outside<'_>, arguments: &ConfigArguments) -> io::Result<ExitCode> {
    if arguments.markdown {
        write!(outside.stdout, "{}", markdown())?;
        return Ok(DONE);
    }
    let overview = overview(&outside.environment, outside.cores);
    if arguments.json {
        let text = serde_json::to_string_pretty(&overview).map_err(io::Error::other)?;
        writeln!(outside.stdout, "{text}")?;
    } else {
        overview.print(outside.stdout)?;
    }
    Ok(if overview.problems.is_empty() {
        DONE
    } else {
        failed()
    })
}

fn overview(vars: &Environment, cores: usize) -> Overview {
    let (problems, warnings) = match parse(vars, &AtStart, cores) {
        Ok(parsed) => (Vec::new(), parsed.warnings),
        Err(report) => (report.problems, report.warnings),
    };
    Overview {
        variables: SETTINGS.iter().map(|setting| row(setting, vars)).collect(),
        problems: problems.iter().map(ToString::to_string).collect(),
        warnings,
    }
}

fn row(setting: &Setting, vars: &Environment) -> Row {
    let value = vars.value(setting.name);
    Row {
        name: setting.name,
        default: match setting.default {
            Fallback::Nothing => None,
            Fallback::Value(text) | Fallback::Described(text) => Some(text),
        },
        set: value.is_some(),
        value: value.map(|value| told(setting, &value.to_string_lossy())),
        secret: setting.secret,
    }
}

fn told(setting: &Setting, value: &str) -> String {
    if value.is_empty() {
        return "(empty)".to_owned();
    }
    if setting.secret {
        return "(set)".to_owned();
    }
    if setting.name == PIN_FILE.name && pin_file::may_be_a_pin(Path::new(value)) {
        return "(set, but no path: it may be the PIN itself)".to_owned();
    }
    if setting.form == Form::Uri {
        let uris: Result<Vec<_>, _> = value
            .split_whitespace()
            .map(|uri| Pkcs11Uri::parse(uri).map(|uri| uri.to_string()))
            .collect();
        return uris.map_or_else(
            |_| "(set, but no PKCS#11 URI)".to_owned(),
            |uris| uris.join(" "),
        );
    }
    shown(value).into_owned()
}

impl Overview {
    fn print(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let header = ("VARIABLE", "DEFAULT", "VALUE");
        let rows: Vec<_> = std::iter::once(header)
            .chain(self.variables.iter().map(|row| {
                let value = row.value.as_deref().unwrap_or("(not set)");
                (row.name, row.default.unwrap_or("none"), value)
            }))
            .collect();
        let width = |text: &str| text.chars().count();
        let names = rows.iter().map(|row| width(row.0)).max().unwrap_or(0);
        let defaults = rows.iter().map(|row| width(row.1)).max().unwrap_or(0);
        for (name, default, value) in rows {
            writeln!(out, "{name:names$}  {default:defaults$}  {value}")?;
        }
        for (title, lines) in [("Problems", &self.problems), ("Warnings", &self.warnings)] {
            if !lines.is_empty() {
                writeln!(out, "\n{title}:")?;
            }
            for line in lines {
                writeln!(out, "  {}", shown(line))?;
            }
        }
        Ok(())
    }
}
