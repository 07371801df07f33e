//! One token: its module, how to find it, its keys and its PIN, from single variables or from one URI.

use std::path::{Path, PathBuf};

use super::fault::{Fault, Given, TokenFault};
use super::pin_file::{self, Files};
use super::reader::Reader;
use super::settings::{self, FEWEST_SESSIONS, Form, QUEUE_PER_SESSION, Setting};
use super::{KeyPolicy, KeySelector, Pin, PinSource, Pkcs11Config, TokenSelector, token_uri};
use crate::jose::Algorithm;
use crate::keys::label::LabelPrefix;

/// What a URI can say; the rest comes from variables either way.
pub(super) struct Place {
    pub(super) module: PathBuf,
    pub(super) token: TokenSelector,
    pub(super) fixed_key: Option<KeySelector>,
    pub(super) pin: Option<PinSource>,
}

/// CK_TOKEN_INFO: label and manufacturer are 32 bytes, model and serial 16.
pub(super) const LONGEST_LABEL: usize = 32;
pub(super) const LONGEST_SERIAL: usize = 16;

pub(super) fn read(
    reader: &mut Reader<'_>,
    files: &dyn Files,
    cores: usize,
    algorithm: Option<Algorithm>,
) -> Option<Pkcs11Config> {
    let place = if reader.is_set(&settings::URI) {
        from_uri(reader, files)
    } else {
        from_variables(reader)
    };
    let fixed_key = place.as_ref().and_then(|place| place.fixed_key.clone());
    let uri_pin = place.as_ref().and_then(|place| place.pin.clone());
    let pin = pin(reader, files, uri_pin);
    let keys = keys(reader, fixed_key);
    let policy = policy(reader);
    let sessions = count(reader, &settings::SESSIONS).unwrap_or(cores.max(FEWEST_SESSIONS));
    let queue_length = count(reader, &settings::QUEUE_LENGTH)
        .unwrap_or_else(|| sessions.saturating_mul(QUEUE_PER_SESSION));
    let place = place?;
    Some(Pkcs11Config {
        module: place.module,
        token: place.token,
        keys: keys?,
        pin: pin?,
        algorithm,
        policy: policy?,
        sessions,
        queue_length,
    })
}

/// Without a token: values are checked all the same, and their lack of effect is said.
pub(super) fn check_idle(reader: &mut Reader<'_>) {
    policy(reader);
    count(reader, &settings::QUEUE_LENGTH);
    for setting in [settings::KEY_POLICY, settings::QUEUE_LENGTH] {
        if reader.is_set(&setting) {
            reader.warn(format!(
                "{} has no effect: no token is configured (MACP_AUTH_PKCS11_MODULE or MACP_AUTH_PKCS11_URI)",
                setting.name
            ));
        }
    }
}

fn from_variables(reader: &mut Reader<'_>) -> Option<Place> {
    let module = reader.given(&settings::MODULE);
    let module = match module {
        Some(text) if !Path::new(text).is_absolute() => {
            let got = Given(text.to_owned());
            reader.refuse(settings::MODULE.name, TokenFault::RelativeModule { got });
            None
        }
        module => module,
    };
    let label = token_text(reader, &settings::TOKEN_LABEL, LONGEST_LABEL);
    let serial = token_text(reader, &settings::TOKEN_SERIAL, LONGEST_SERIAL);
    if !reader.is_set(&settings::MODULE) {
        if let Some(set) = known_token_variables(reader) {
            reader.refuse(settings::MODULE.name, TokenFault::NoModule { set });
        }
    } else if !reader.is_set(&settings::TOKEN_LABEL) && !reader.is_set(&settings::TOKEN_SERIAL) {
        reader.refuse(settings::MODULE.name, TokenFault::NoToken);
    }
    Some(Place {
        module: module?.into(),
        token: TokenSelector {
            label,
            serial,
            ..TokenSelector::default()
        },
        fixed_key: None,
        pin: None,
    })
}

/// None where every set name is misspelt: that is reported by itself.
fn known_token_variables(reader: &Reader<'_>) -> Option<String> {
    let set: Vec<_> = settings::SETTINGS
        .iter()
        .filter(|setting| {
            setting.name.starts_with(settings::TOKEN_PREFIX) && reader.is_set(setting)
        })
        .map(|setting| setting.name)
        .collect();
    (!set.is_empty()).then(|| set.join(" and "))
}

fn token_text(reader: &mut Reader<'_>, setting: &Setting, most: usize) -> Option<String> {
    let text = reader.given(setting)?;
    if text.len() > most {
        let length = text.len();
        reader.refuse(setting.name, TokenFault::TooLong { length, most });
        return None;
    }
    Some(text.to_owned())
}

fn from_uri(reader: &mut Reader<'_>, files: &dyn Files) -> Option<Place> {
    for setting in [
        settings::MODULE,
        settings::TOKEN_LABEL,
        settings::TOKEN_SERIAL,
    ] {
        if reader.is_set(&setting) {
            reader.refuse(setting.name, TokenFault::BesideUri);
        }
    }
    let text = reader.given(&settings::URI)?.trim();
    if text.split_whitespace().nth(1).is_some() {
        reader.refuse(settings::URI.name, TokenFault::SeveralUris);
        return None;
    }
    let place = token_uri::read(text, files);
    let (place, warnings) = reader.accept(&settings::URI, place)?;
    for warning in warnings {
        reader.warn(format!("{}: {warning}", settings::URI.name));
    }
    Some(place)
}

fn pin(reader: &mut Reader<'_>, files: &dyn Files, of_uri: Option<PinSource>) -> Option<PinSource> {
    let path = reader.given(&settings::PIN_FILE);
    let text = reader.given(&settings::PIN);
    if of_uri.is_some() {
        for setting in [settings::PIN_FILE, settings::PIN] {
            if reader.is_set(&setting) {
                reader.refuse(setting.name, TokenFault::PinBesideUri);
            }
        }
        return of_uri;
    }
    if reader.is_set(&settings::PIN_FILE) && reader.is_set(&settings::PIN) {
        reader.refuse(settings::PIN.name, TokenFault::TwoPins);
    }
    if let Some(path) = path {
        let path = PathBuf::from(path);
        let pin = files.pin(&path).map_err(TokenFault::PinFile);
        return reader
            .accept(&settings::PIN_FILE, pin)
            .map(|_| PinSource::File(path));
    }
    if let Some(text) = text {
        let pin = pin_file::checked(Pin::new(text.to_owned())).map_err(TokenFault::Pin);
        let pin = reader.accept(&settings::PIN, pin)?;
        reader.warn(
            "MACP_AUTH_PKCS11_PIN: the PIN is in the environment, where other programs of this user can read it. Use MACP_AUTH_PKCS11_PIN_FILE",
        );
        return Some(PinSource::Value(pin));
    }
    Some(PinSource::None)
}

fn keys(reader: &mut Reader<'_>, fixed: Option<KeySelector>) -> Option<KeySelector> {
    if fixed.is_some() {
        if reader.is_set(&settings::KEY_LABEL) {
            reader.refuse(settings::KEY_LABEL.name, TokenFault::LabelBesideUri);
        }
        return fixed;
    }
    let prefix =
        LabelPrefix::new(reader.value(&settings::KEY_LABEL)?).map_err(TokenFault::KeyLabel);
    reader
        .accept(&settings::KEY_LABEL, prefix)
        .map(KeySelector::Prefix)
}

fn policy(reader: &mut Reader<'_>) -> Option<KeyPolicy> {
    let setting = &settings::KEY_POLICY;
    let Form::Choice(choices) = setting.form else {
        return None;
    };
    let parsed = match reader.value(setting)? {
        "exclusive" => Ok(KeyPolicy::Exclusive),
        "strict" => Ok(KeyPolicy::Strict),
        "sealed" => Ok(KeyPolicy::Sealed),
        "warn" => Ok(KeyPolicy::Warn),
        other => Err(Fault::Choice {
            choices,
            got: Given(other.to_owned()),
        }),
    };
    reader.accept(setting, parsed)
}

fn count(reader: &mut Reader<'_>, setting: &Setting) -> Option<usize> {
    usize::try_from(reader.number(setting)?).ok()
}
