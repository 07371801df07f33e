//! What every token says, and how long it may live.

use super::ClaimSettings;
use super::fault::{Fault, Given};
use super::reader::Reader;
use super::settings::{self, Setting};

/// Callers cache a token for at least a minute, whatever its life.
const SHORTEST_CACHED: u64 = 60;

pub(super) fn read(reader: &mut Reader<'_>, max_ttl: Option<u64>) -> Option<ClaimSettings> {
    let issuer = text(reader, &settings::ISSUER);
    let audience = text(reader, &settings::AUDIENCE);
    let default_ttl = reader.number(&settings::DEFAULT_TTL_SECONDS);
    let claims = ClaimSettings {
        issuer: issuer?,
        audience: audience?,
        default_ttl: default_ttl?,
        max_ttl: max_ttl?,
    };
    if claims.max_ttl < SHORTEST_CACHED {
        reader.warn(format!(
            "MACP_AUTH_MAX_TTL_SECONDS is {}: callers cache tokens for up to 60 s and would use expired ones. Set at least 60",
            claims.max_ttl
        ));
    }
    if claims.default_ttl > claims.max_ttl {
        reader.warn(format!(
            "MACP_AUTH_DEFAULT_TTL_SECONDS ({}) is above MACP_AUTH_MAX_TTL_SECONDS ({}): tokens live {} s. Lower the first or raise the second",
            claims.default_ttl, claims.max_ttl, claims.max_ttl
        ));
    }
    Some(claims)
}

/// Verifiers compare it byte by byte: what nobody sees in it nobody finds.
fn text(reader: &mut Reader<'_>, setting: &Setting) -> Option<String> {
    let text = reader.value(setting)?;
    let got = || Given(text.to_owned());
    let fault = if text.chars().any(char::is_control) {
        Fault::ControlCharacter { got: got() }
    } else if text.trim().is_empty() {
        Fault::Blank { got: got() }
    } else {
        return Some(text.to_owned());
    };
    reader.refuse(setting.name, fault);
    None
}
