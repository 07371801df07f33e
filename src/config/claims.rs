//! What every token says, and how long it may live.

use super::ClaimSettings;
use super::reader::Reader;
use super::settings;

/// Callers cache a token for at least a minute, whatever its life.
const SHORTEST_CACHED: u64 = 60;

pub(super) fn read(reader: &mut Reader<'_>) -> Option<ClaimSettings> {
    let issuer = reader.value(&settings::ISSUER);
    let audience = reader.value(&settings::AUDIENCE);
    let max_ttl = reader.number(&settings::MAX_TTL_SECONDS);
    let default_ttl = reader.number(&settings::DEFAULT_TTL_SECONDS);
    let claims = ClaimSettings {
        issuer: issuer?.to_owned(),
        audience: audience?.to_owned(),
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
