//! Which key signs: decided by what is configured, never by what fails.
//!
//! Any variable of a token means the token, even a half or misspelt one; a pinned key as well is a contradiction.

use super::fault::{Fault, Given, SourceFault};
use super::files::Files;
use super::reader::Reader;
use super::settings::{self, TOKEN_PREFIX};
use super::{KeySource, token};
use crate::jose::Algorithm;
use crate::keys::local::LocalKey;

pub(super) fn read(reader: &mut Reader<'_>, files: &dyn Files, cores: usize) -> Option<KeySource> {
    let algorithm = algorithm(reader);
    let require_hsm = reader.switch(&settings::REQUIRE_HSM);
    let pinned = reader
        .given_or_empty(&settings::SIGNING_KEY_JSON)
        .filter(|text| !text.is_empty());
    if is_token(reader) {
        if pinned.is_some() {
            reader.refuse(settings::SIGNING_KEY_JSON.name, SourceFault::PinnedAndToken);
        }
        let chosen = reader.is_set(&settings::SIGNING_ALG);
        let only = algorithm.filter(|_| chosen);
        return token::read(reader, files, cores, only)
            .map(|token| KeySource::Pkcs11(Box::new(token)));
    }
    token::check_idle(reader);
    let source = match (pinned, algorithm) {
        (Some(text), algorithm) => pinned_key(reader, text, algorithm),
        (None, Some(algorithm)) => {
            if require_hsm != Some(true) {
                reader.warn(EPHEMERAL);
            }
            Some(KeySource::Ephemeral(algorithm))
        }
        (None, None) => None,
    };
    if require_hsm == Some(true) {
        let fault = match pinned {
            Some(_) => SourceFault::PinnedForbidden,
            None => SourceFault::EphemeralForbidden,
        };
        reader.refuse(settings::REQUIRE_HSM.name, fault);
    }
    source
}

/// Whether any variable speaks of a token.
pub(super) fn is_token(reader: &Reader<'_>) -> bool {
    let mut names = reader.vars().names();
    names.any(|name| name.starts_with(TOKEN_PREFIX))
}

const EPHEMERAL: &str = "no signing key is configured: an ephemeral key signs, for development only. \
     It dies with the process, and verifiers then reject its tokens. Set MACP_AUTH_PKCS11_MODULE or MACP_AUTH_PKCS11_URI";

const PINNED: &str = "MACP_AUTH_SIGNING_KEY_JSON: the private key is in the environment, where other programs of this user \
     can read it. Keep it in a token instead (MACP_AUTH_PKCS11_MODULE or MACP_AUTH_PKCS11_URI)";

fn algorithm(reader: &mut Reader<'_>) -> Option<Algorithm> {
    let text = if reader.is_set(&settings::SIGNING_ALG) {
        reader.given_or_empty(&settings::SIGNING_ALG)
    } else {
        reader.value(&settings::SIGNING_ALG)
    }?;
    let parsed = text.parse().map_err(|_| Fault::Algorithm {
        got: Given(text.to_owned()),
    });
    reader.accept(&settings::SIGNING_ALG, parsed)
}

fn pinned_key(
    reader: &mut Reader<'_>,
    text: &str,
    algorithm: Option<Algorithm>,
) -> Option<KeySource> {
    let key = LocalKey::from_jwk(text, algorithm?);
    let key = reader.accept(&settings::SIGNING_KEY_JSON, key)?;
    reader.warn(PINNED);
    Some(KeySource::Env(Box::new(key)))
}
