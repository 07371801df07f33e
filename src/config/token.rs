//! The tokens: module, how to find each, its keys and its PIN, from single variables or from one URI a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Fault, Given, RotationFault, TokenFault};
use super::files::Files;
use super::pin_file;
use super::reader::Reader;
use super::settings::{self, FEWEST_SESSIONS, Form, QUEUE_PER_SESSION, Setting};
use super::{
    KeyPolicy, KeySelector, Pin, PinSource, Pkcs11Config, TokenConfig, TokenSelector, token_uri,
};
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
    let places = if reader.is_set(&settings::URI) {
        from_uris(reader, files)
    } else {
        from_variables(reader).map(|place| vec![place])
    };
    let pin = pin(reader, files);
    let prefix = prefix(reader);
    let policy = policy(reader);
    let sessions = count(reader, &settings::SESSIONS).unwrap_or(cores.max(FEWEST_SESSIONS));
    let queue_length = count(reader, &settings::QUEUE_LENGTH)
        .unwrap_or_else(|| sessions.saturating_mul(QUEUE_PER_SESSION));
    let state_dir = reader.absolute_path(&settings::STATE_DIR);
    if let Some(path) = &state_dir {
        reader.accept(&settings::STATE_DIR, files.state_dir(path));
    }
    let stuck_exit = reader.number(&settings::STUCK_EXIT_SECONDS);
    let places = places?;
    if places.len() > 1 && !reader.is_set(&settings::STATE_DIR) {
        reader.refuse(settings::URI.name, TokenFault::SeveralWithoutState);
    }
    let any_fixed = places.iter().any(|place| place.fixed_key.is_some());
    if any_fixed && reader.is_set(&settings::KEY_SCHEDULE_FILE) {
        let fault = RotationFault::ScheduleAndFixedKey;
        reader.refuse(settings::KEY_SCHEDULE_FILE.name, fault);
    }
    warn_of_the_unused(reader, &places);
    let (pin, prefix) = (pin?, prefix?);
    let tokens = places
        .into_iter()
        .map(|place| TokenConfig {
            module: place.module,
            token: place.token,
            keys: place
                .fixed_key
                .unwrap_or_else(|| KeySelector::Prefix(prefix.clone())),
            pin: place.pin.unwrap_or_else(|| pin.clone()),
        })
        .collect();
    Some(Pkcs11Config {
        tokens,
        algorithm,
        policy: policy?,
        sessions,
        queue_length,
        state_dir,
        stuck_exit: Duration::from_secs(stuck_exit?),
    })
}

/// A PIN or a label prefix that every URI replaces by its own.
fn warn_of_the_unused(reader: &mut Reader<'_>, places: &[Place]) {
    let own_pins = places.iter().all(|place| place.pin.is_some());
    let own_keys = places.iter().all(|place| place.fixed_key.is_some());
    for (setting, replaced, by) in [
        (settings::PIN_FILE, own_pins, "a PIN"),
        (settings::PIN, own_pins, "a PIN"),
        (settings::KEY_LABEL, own_keys, "object or id"),
    ] {
        if replaced && reader.is_set(&setting) {
            reader.warn(format!(
                "{} has no effect: MACP_AUTH_PKCS11_URI brings {by} of its own",
                setting.name
            ));
        }
    }
}

/// Without a token: values are checked all the same, and their lack of effect is said.
pub(super) fn check_idle(reader: &mut Reader<'_>) {
    policy(reader);
    count(reader, &settings::QUEUE_LENGTH);
    reader.absolute_path(&settings::STATE_DIR);
    reader.number(&settings::STUCK_EXIT_SECONDS);
    for setting in [
        settings::KEY_POLICY,
        settings::QUEUE_LENGTH,
        settings::STATE_DIR,
        settings::STUCK_EXIT_SECONDS,
        settings::KEY_SCHEDULE_FILE,
    ] {
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

fn from_uris(reader: &mut Reader<'_>, files: &dyn Files) -> Option<Vec<Place>> {
    for setting in [
        settings::MODULE,
        settings::TOKEN_LABEL,
        settings::TOKEN_SERIAL,
    ] {
        if reader.is_set(&setting) {
            reader.refuse(setting.name, TokenFault::BesideUri);
        }
    }
    let text = reader.given(&settings::URI)?;
    let uris: Vec<&str> = text.split_whitespace().collect();
    let mut places: Vec<Place> = Vec::new();
    for uri in &uris {
        let place = token_uri::read(uri, files);
        let Some((place, warnings)) = reader.accept(&settings::URI, place) else {
            continue;
        };
        for warning in warnings {
            reader.warn(format!("{}: {warning}", settings::URI.name));
        }
        if places.iter().any(|other| other.is_at(&place)) {
            reader.refuse(settings::URI.name, TokenFault::SameTokenTwice);
        }
        places.push(place);
    }
    if uris.is_empty() {
        reader.refuse(settings::URI.name, Fault::Empty);
    }
    (!places.is_empty()).then_some(places)
}

impl Place {
    fn is_at(&self, other: &Self) -> bool {
        self.module == other.module && self.token == other.token
    }
}

fn pin(reader: &mut Reader<'_>, files: &dyn Files) -> Option<PinSource> {
    let path = reader.given(&settings::PIN_FILE);
    let text = reader.given(&settings::PIN);
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

fn prefix(reader: &mut Reader<'_>) -> Option<LabelPrefix> {
    let prefix =
        LabelPrefix::new(reader.value(&settings::KEY_LABEL)?).map_err(TokenFault::KeyLabel);
    reader.accept(&settings::KEY_LABEL, prefix)
}

fn policy(reader: &mut Reader<'_>) -> Option<KeyPolicy> {
    let setting = &settings::KEY_POLICY;
    let Form::Choice(choices) = setting.form else {
        return None;
    };
    let value = reader.value(setting)?;
    let named = KeyPolicy::ALL.into_iter().find(|of| of.name() == value);
    let parsed = named.ok_or_else(|| Fault::Choice {
        choices,
        got: Given(value.to_owned()),
    });
    reader.accept(setting, parsed)
}

fn count(reader: &mut Reader<'_>, setting: &Setting) -> Option<usize> {
    usize::try_from(reader.number(setting)?).ok()
}
