//! Keys on a token: made by us or by pkcs11-tool, found by label or by URI, one or several.

mod choice;
mod found;
mod load;
mod stale;

use crate::harness::Service;
use crate::harness::jwt::thumbprint;

const MINT: &str = r#"{"sender":"a"}"#;

fn mints_under_its_thumbprint(service: &Service, algorithm: &str, name: &str) {
    let jwks = service.jwks();
    let token = service.mint(MINT);
    let kid = token.kid();

    let key = jwks.keys.iter().find(|key| key["kid"] == *kid).unwrap();
    assert_eq!(thumbprint(key), kid, "{name}");
    assert_eq!(key["alg"], algorithm, "{name}");
}
