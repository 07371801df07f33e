//! The checks of all tokens: what they share before, each token by itself, and which key signs in the end.
//!
//! Tokens are looked at one after the other, because they may share a module; the trouble of one does not keep the next
//! from being checked.

use super::super::keys::KeysError;
use super::super::opened::state_directory;
use super::finding::Finding;
use super::token::Token;
use super::{Enough, Orders, Reporter};
use crate::clock::{Moment, UnixSeconds};
use crate::config::Pkcs11Config;
use crate::keys::memory::Memory;
use crate::keys::pkcs11::pin_guard::PinGuard;
use crate::keys::{Board, BoardConfig, Overview, saved};

pub(super) fn check(
    board_config: BoardConfig,
    config: &Pkcs11Config,
    orders: Orders,
    reporter: &Reporter,
) -> Result<(), Enough> {
    let guard = guard(config, orders, reporter)?;
    let now = Moment::now();
    let memory = remembered(config, now.wall);
    if let Some(reason) = memory.why_lost(&board_config.rules, now.wall) {
        reporter.found(Finding::warning(
            "saved keys",
            format!("what was known of the keys cannot be read: {reason}"),
            "Bring back a good copy of that file, or let a service start without it; until lead and retention have passed, leave all keys as they are",
        ));
    }
    let board = Board::open(board_config, memory, now);
    let board = reporter.expect("lists of keys", board, "")?;
    for on in &config.tokens {
        let several = (config.tokens.len() > 1).then(|| reporter.about(on.token.describe()));
        let token = Token {
            config,
            on,
            guard: &guard,
            board: &board,
            orders,
            reporter: several.as_ref().unwrap_or(reporter),
        };
        // How far the checks came stands in what they said.
        let (Ok(()) | Err(Enough)) = token.check();
    }
    let overview = board.overview(Moment::now());
    if !overview.keys.is_empty() {
        reporter.found(signing_key(&overview));
    }
    Ok(())
}

/// Without a state directory, or with one that cannot be used, which has been told: nothing.
fn remembered(config: &Pkcs11Config, now: UnixSeconds) -> Memory {
    let directory = state_directory(config).ok().flatten();
    saved::load(directory.as_ref(), now)
}

fn guard(config: &Pkcs11Config, orders: Orders, reporter: &Reporter) -> Result<PinGuard, Enough> {
    const DIRECTORY: &str = "state directory";
    const GUARD: &str = "PIN guard";
    reporter.checking(DIRECTORY);
    let directory = reporter.expect(
        DIRECTORY,
        state_directory(config).map_err(KeysError::State),
        "",
    )?;
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
        let text = match config.state_dir {
            None => {
                "without MACP_AUTH_STATE_DIR refused PINs are remembered by a running service alone"
            }
            Some(_) => {
                "MACP_AUTH_STATE_DIR is not there yet, and root does not make it: a PIN refused now is forgotten. Run this as the user of the service"
            }
        };
        reporter.found(Finding::ok(GUARD, text));
    }
    Ok(guard)
}

/// Keys that are only remembered sign nothing.
fn signing_key(overview: &Overview) -> Finding {
    const CHECK: &str = "signing key";
    let published = overview.keys.iter().filter(|key| key.published);
    let (proved, remembered): (Vec<_>, Vec<_>) = published.partition(|key| key.proved);
    let usable = proved.len();
    match &overview.signing {
        Some(kid) if proved.iter().any(|key| key.key.kid() == kid) => {
            Finding::ok(CHECK, format!("{kid} signs, of {usable} usable"))
        }
        Some(kid) => Finding::failed(
            CHECK,
            format!(
                "it is the turn of {kid}, and no token that can sign with it was found; {} keys are published from memory alone",
                remembered.len()
            ),
            "See to what failed above",
        ),
        None => Finding::failed(
            CHECK,
            format!("{usable} usable, but none signs now"),
            "Make one that does: `keys generate --now`; or correct MACP_AUTH_SIGNING_ALG",
        ),
    }
}
