//! The MACP runtime's `JwtBearerResolver`, fed from stdin.
//!
//! `runtime-verifier JWKS_URL ISSUER AUDIENCE TTL_SECONDS` reads one token a line and answers each with one line of
//! JSON: `{"ok":true,"sender":…,"can_start_sessions":…,…}` or `{"ok":false,"error":…}`. The resolver caches as in the runtime.

use std::io::{BufRead as _, Write as _};

use macp_auth::auth::resolver::{AuthResolver as _, ResolvedIdentity};
use macp_auth::auth::resolvers::jwt_bearer::{JwtBearerResolver, JwtConfig};
use serde_json::{Value, json};
use tonic::metadata::MetadataMap;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, issuer, audience, ttl] = arguments.as_slice() else {
        return Err("usage: runtime-verifier JWKS_URL ISSUER AUDIENCE TTL_SECONDS".into());
    };
    let config = JwtConfig {
        issuer: issuer.clone(),
        audience: audience.clone(),
        algorithms: vec![
            jsonwebtoken::Algorithm::RS256,
            jsonwebtoken::Algorithm::ES256,
        ],
    };
    let resolver = JwtBearerResolver::from_url(config, url.clone(), ttl.parse()?);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", verdict(&resolver, &line?).await)?;
        out.flush()?;
    }
    Ok(())
}

async fn verdict(resolver: &JwtBearerResolver, token: &str) -> Value {
    let mut metadata = MetadataMap::new();
    match format!("Bearer {token}").parse() {
        Ok(value) => metadata.insert("authorization", value),
        Err(_) => return json!({"ok": false, "error": "not a header value"}),
    };
    match resolver.resolve(&metadata).await {
        Ok(Some(identity)) => accepted(&identity),
        Ok(None) => json!({"ok": false, "error": "not a JWT"}),
        Err(error) => json!({"ok": false, "error": error.to_string()}),
    }
}

fn accepted(identity: &ResolvedIdentity) -> Value {
    json!({
        "ok": true,
        "sender": identity.sender,
        "can_start_sessions": identity.can_start_sessions,
        "can_manage_mode_registry": identity.can_manage_mode_registry,
        "is_observer": identity.is_observer,
        "max_open_sessions": identity.max_open_sessions,
        "allowed_modes": identity.allowed_modes,
    })
}
