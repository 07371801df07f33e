//! Reads variables by the table, and collects what is wrong with them.
//!
//! A value that is refused is reported here, once, and reads as absent; what comes out of a configuration with problems is
//! never used.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::fault::{Fault, Given, Problem};
use super::settings::{Fallback, Form, Setting};

/// The environment, and what was found wrong in it so far.
pub(super) struct Reader<'a> {
    vars: &'a Environment,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(vars: &'a Environment) -> Self {
        Self {
            vars,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn refuse(&mut self, name: &str, fault: impl Into<Fault>) {
        self.problems.push(Problem {
            name: name.to_owned(),
            fault: fault.into(),
        });
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// The value or the reported fault.
    pub(super) fn accept<T, F: Into<Fault>>(
        &mut self,
        setting: &Setting,
        result: Result<T, F>,
    ) -> Option<T> {
        result
            .map_err(|fault| self.refuse(setting.name, fault))
            .ok()
    }

    /// What the environment says; an empty value is a fault.
    pub(super) fn given(&mut self, setting: &Setting) -> Option<&'a str> {
        match self.given_or_empty(setting) {
            Some("") => {
                self.refuse(setting.name, Fault::Empty);
                None
            }
            given => given,
        }
    }

    /// What the environment says, the empty text included.
    pub(super) fn given_or_empty(&mut self, setting: &Setting) -> Option<&'a str> {
        let text = self.vars.value(setting.name)?.to_str();
        if text.is_none() {
            self.refuse(setting.name, Fault::NotUtf8);
        }
        text
    }

    /// What the environment says, or the default.
    pub(super) fn value(&mut self, setting: &Setting) -> Option<&'a str> {
        match setting.default {
            Fallback::Value(default) if !self.is_set(setting) => Some(default),
            _ => self.given(setting),
        }
    }

    /// A whole number; spaces around it are fine.
    pub(super) fn number(&mut self, setting: &Setting) -> Option<u64> {
        let text = self.value(setting)?;
        self.number_in(setting, text, text.trim())
    }

    /// A whole number without spaces around it.
    pub(super) fn bare_number(&mut self, setting: &Setting) -> Option<u64> {
        let text = self.value(setting)?;
        self.number_in(setting, text, text)
    }

    pub(super) fn switch(&mut self, setting: &Setting) -> Option<bool> {
        match self.value(setting)? {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            other => {
                let got = Given(other.to_owned());
                self.refuse(setting.name, Fault::Switch { got });
                None
            }
        }
    }

    /// A path from the root, which means the same in whatever directory the service starts.
    pub(super) fn absolute_path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let text = self.given(setting)?;
        if !Path::new(text).is_absolute() {
            let got = Given(text.to_owned());
            self.refuse(setting.name, Fault::RelativePath { got });
            return None;
        }
        Some(text.into())
    }

    pub(super) fn is_set(&self, setting: &Setting) -> bool {
        self.vars.value(setting.name).is_some()
    }

    pub(super) const fn vars(&self) -> &'a Environment {
        self.vars
    }

    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems, self.warnings)
    }

    fn number_in(&mut self, setting: &Setting, text: &str, digits: &str) -> Option<u64> {
        let Form::Number {
            least,
            most,
            because,
        } = setting.form
        else {
            return None;
        };
        // `parse` alone would take a sign.
        let number = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse::<u64>().ok())
            .flatten()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let got = Given(text.to_owned());
            let fault = Fault::Number {
                least,
                most,
                because,
                got,
            };
            self.refuse(setting.name, fault);
        }
        number
    }
}
