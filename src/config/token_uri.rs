//! What a PKCS#11 URI must say to configure a token: stricter than its grammar, because it is not a search but a choice.
//!
//! Everything stated narrows the choice, so what we cannot check (the slot's description) is refused. `library-*` is only
//! warned about: `module-path` already names the library.

use std::path::PathBuf;

use super::fault::TokenFault;
use super::files::Files;
use super::pin_file::{self, PinDefect, PinFileError};
use super::token::{LONGEST_LABEL, LONGEST_SERIAL, Place};
use super::{KeySelector, Pin, PinSource, TokenSelector};
use crate::keys::pkcs11::uri::{Attribute, Pkcs11Uri};

/// A URI that is well formed and still no configuration.
#[derive(Debug, thiserror::Error)]
pub enum UnusableUri {
    #[error("lacks module-path. Add ?module-path= with the absolute path of the vendor's module")]
    NoModule,
    #[error(
        "has module-name, which names no certain file. Give module-path with the absolute path instead"
    )]
    ModuleName,
    #[error("has a {attribute} that is not an absolute path. Write it from the root: /…")]
    Relative { attribute: Attribute },
    #[error("has neither token nor serial. Add one of them, even if there is one token only")]
    NoToken,
    #[error("has an empty {attribute}. Give it a value or leave it out")]
    Empty { attribute: Attribute },
    #[error("has a {attribute} of {length} bytes, but PKCS#11 stores {most} at most. Correct it")]
    TooLong {
        attribute: Attribute,
        length: usize,
        most: usize,
    },
    #[error("has a type other than private. Leave it out or write type=private: private keys sign")]
    NotPrivate,
    #[error(
        "has {attribute}, which is not compared. Leave it out and use token, serial or slot-id"
    )]
    NotCompared { attribute: Attribute },
    #[error("has a pin-source that is a command. Programs are never run: write the path of a file")]
    PinCommand,
    #[error(
        "has a pin-source that is no file of this machine. Write an absolute path or file:/path"
    )]
    PinElsewhere,
    #[error("has a pin-source that {0}")]
    PinFile(#[source] PinFileError),
    #[error("has a pin-value that {0}")]
    PinValue(#[source] PinDefect),
}

/// The place that a URI describes, and what an operator should know about it.
///
/// # Errors
/// Why the URI describes none; never with a PIN in it.
pub(super) fn read(
    text: &str,
    files: &dyn Files,
) -> Result<(Place, Vec<&'static str>), TokenFault> {
    let uri = Pkcs11Uri::parse(text)?;
    let mut warnings = Vec::new();
    refuse_what_cannot_be_honoured(&uri)?;
    if LIBRARY.iter().any(|library| uri.text(*library).is_some()) {
        warnings.push("library-… is not compared: module-path names the library. Leave it out");
    }
    let module = module(&uri)?;
    let token = token(&uri)?;
    let pin = pin(&uri, files)?;
    if matches!(pin, Some(PinSource::Value(_))) {
        warnings.push("pin-value puts the PIN into the environment, where other programs of this user can read it. Use pin-source");
    }
    let place = Place {
        module,
        token,
        fixed_key: fixed_key(&uri)?,
        pin,
    };
    Ok((place, warnings))
}

const LIBRARY: [Attribute; 3] = [
    Attribute::LibraryManufacturer,
    Attribute::LibraryDescription,
    Attribute::LibraryVersion,
];

fn refuse_what_cannot_be_honoured(uri: &Pkcs11Uri) -> Result<(), UnusableUri> {
    for attribute in [Attribute::SlotDescription, Attribute::SlotManufacturer] {
        if uri.text(attribute).is_some() {
            return Err(UnusableUri::NotCompared { attribute });
        }
    }
    match uri.text(Attribute::Type) {
        None | Some("private") => Ok(()),
        Some(_) => Err(UnusableUri::NotPrivate),
    }
}

fn module(uri: &Pkcs11Uri) -> Result<PathBuf, UnusableUri> {
    if uri.text(Attribute::ModuleName).is_some() {
        return Err(UnusableUri::ModuleName);
    }
    let path = uri
        .text(Attribute::ModulePath)
        .ok_or(UnusableUri::NoModule)?;
    absolute(Attribute::ModulePath, path)
}

fn absolute(attribute: Attribute, path: &str) -> Result<PathBuf, UnusableUri> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(UnusableUri::Relative { attribute })
    }
}

fn token(uri: &Pkcs11Uri) -> Result<TokenSelector, UnusableUri> {
    let selector = TokenSelector {
        label: text(uri, Attribute::Token, LONGEST_LABEL)?,
        serial: text(uri, Attribute::Serial, LONGEST_SERIAL)?,
        manufacturer: text(uri, Attribute::Manufacturer, LONGEST_LABEL)?,
        model: text(uri, Attribute::Model, LONGEST_SERIAL)?,
        slot_id: uri.slot_id(),
    };
    if selector.label.is_none() && selector.serial.is_none() {
        return Err(UnusableUri::NoToken);
    }
    Ok(selector)
}

fn text(uri: &Pkcs11Uri, attribute: Attribute, most: usize) -> Result<Option<String>, UnusableUri> {
    match uri.text(attribute).map(|text| (text, text.len())) {
        None => Ok(None),
        Some((_, 0)) => Err(UnusableUri::Empty { attribute }),
        Some((_, length)) if length > most => Err(UnusableUri::TooLong {
            attribute,
            length,
            most,
        }),
        Some((text, _)) => Ok(Some(text.to_owned())),
    }
}

fn fixed_key(uri: &Pkcs11Uri) -> Result<Option<KeySelector>, UnusableUri> {
    let label = text(uri, Attribute::Object, usize::MAX)?;
    let id = uri.id().map(<[u8]>::to_vec);
    if id.as_ref().is_some_and(Vec::is_empty) {
        let attribute = Attribute::Id;
        return Err(UnusableUri::Empty { attribute });
    }
    Ok((label.is_some() || id.is_some()).then_some(KeySelector::Fixed { label, id }))
}

fn pin(uri: &Pkcs11Uri, files: &dyn Files) -> Result<Option<PinSource>, UnusableUri> {
    if let Some(value) = uri.text(Attribute::PinValue) {
        return pin_file::checked(Pin::new(value.to_owned()))
            .map(|pin| Some(PinSource::Value(pin)))
            .map_err(UnusableUri::PinValue);
    }
    let Some(source) = uri.text(Attribute::PinSource) else {
        return Ok(None);
    };
    let path = pin_path(source)?;
    files.pin(&path).map_err(UnusableUri::PinFile)?;
    Ok(Some(PinSource::File(path)))
}

/// A path, or a `file:` URI (RFC 8089), whose path is percent-encoded once more.
fn pin_path(source: &str) -> Result<PathBuf, UnusableUri> {
    if source.starts_with('|') {
        return Err(UnusableUri::PinCommand);
    }
    let attribute = Attribute::PinSource;
    let path = match source.split_at_checked("file:".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file:") => file_uri_path(rest)?,
        _ if source
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':')) =>
        {
            return Err(UnusableUri::PinElsewhere);
        }
        _ => source.to_owned(),
    };
    if path.is_empty() {
        return Err(UnusableUri::Empty { attribute });
    }
    absolute(attribute, &path)
}

fn file_uri_path(rest: &str) -> Result<String, UnusableUri> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(authority) => authority.strip_prefix("localhost").unwrap_or(authority),
    };
    if !path.starts_with('/') {
        return Err(UnusableUri::PinElsewhere);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, after) = part.split_at_checked(2).ok_or(UnusableUri::PinElsewhere)?;
        bytes.extend(hex::decode(digits).map_err(|_| UnusableUri::PinElsewhere)?);
        bytes.extend_from_slice(after.as_bytes());
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|path| !path.contains('\0'))
        .ok_or(UnusableUri::PinElsewhere)
}
