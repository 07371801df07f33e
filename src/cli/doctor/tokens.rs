//! The checks of all tokens: what they share before, each token by itself, and which key signs in the end.
//!
//! Tokens are looked at one after the other, because they may share a module; the trouble of one does not keep the next
//! from being checked.

use std::sync::Arc;

use super::super::opened::state_directory;
use super::finding::Finding;
use super::token::Token;
use super::{Enough, Orders, Reporter};
use crate::clock::UnixSeconds;
use crate::config::Pkcs11Config;
use crate::keys::KeyRing;
use crate::keys::PublishedKey;
use crate::keys::pkcs11::pin_guard::PinGuard;

pub(super) fn check(
    config: &Pkcs11Config,
    orders: Orders,
    reporter: &Reporter,
) -> Result<(), Enough> {
    let guard = guard(config, orders, reporter)?;
    let mut published: Vec<Arc<PublishedKey>> = Vec::new();
    for on in &config.tokens {
        let several = (config.tokens.len() > 1).then(|| reporter.about(on.token.describe()));
        let token = Token {
            config,
            on,
            guard: &guard,
            orders,
            reporter: several.as_ref().unwrap_or(reporter),
        };
        // How far the checks came stands in what they said.
        let (Ok(()) | Err(Enough)) = token.check(&mut published);
    }
    if !published.is_empty() {
        reporter.found(signing_key(published, UnixSeconds::now()));
    }
    Ok(())
}

fn guard(config: &Pkcs11Config, orders: Orders, reporter: &Reporter) -> Result<PinGuard, Enough> {
    const DIRECTORY: &str = "state directory";
    const GUARD: &str = "PIN guard";
    reporter.checking(DIRECTORY);
    let directory = reporter.expect(DIRECTORY, state_directory(config), "")?;
    let remembers = directory.is_some();
    if remembers {
        reporter.found(Finding::ok(
            DIRECTORY,
            "ours, and nobody else can write there",
        ));
    }
    let guard = PinGuard::new(directory);
    if orders.clear_pin_guard && remembers {
        let otherwise = "Check MACP_AUTH_STATE_DIR and the file pin-guard.json in it";
        let forgotten = reporter.expect(GUARD, guard.clear(), otherwise)?;
        reporter.found(Finding::ok(
            GUARD,
            format!("{forgotten} refused PINs forgotten"),
        ));
    }
    if !remembers {
        reporter.found(Finding::ok(
            GUARD,
            "without MACP_AUTH_STATE_DIR refused PINs are remembered by a running service alone",
        ));
    }
    Ok(guard)
}

/// Replicas of one key are one key.
fn signing_key(mut published: Vec<Arc<PublishedKey>>, now: UnixSeconds) -> Finding {
    const CHECK: &str = "signing key";
    published.sort_by(|one, other| one.kid().as_str().cmp(other.kid().as_str()));
    published.dedup_by(|one, other| one.kid() == other.kid());
    let ring = KeyRing::new(published, now);
    let usable = ring.keys().len();
    ring.signing_key(now).map_or_else(
        || {
            Finding::failed(
                CHECK,
                format!("{usable} usable, but none signs now"),
                "Make one that does: `keys generate --alg RS256 --activate-at` with the present time; or correct MACP_AUTH_SIGNING_ALG",
            )
        },
        |key| Finding::ok(CHECK, format!("{} signs, of {usable} usable", key.kid())),
    )
}
