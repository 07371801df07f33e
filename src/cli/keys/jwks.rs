//! `jwks`: the set as the service would publish it, for verifiers that take it inline.

use std::process::ExitCode;
use std::sync::Arc;

use super::super::Outside;
use super::super::preview::{Preview, board_config};
use super::{KeysError, Tell, with};
use crate::clock::Moment;
use crate::config::{Config, KeySource};
use crate::keys::memory::Memory;
use crate::keys::{Board, Signer};

/// `jwks`.
pub(in crate::cli) fn run(outside: &mut Outside<'_>) -> ExitCode {
    with(outside, None, Tell::Answer, |config, _| {
        published(config, Moment::now())
    })
}

fn published(config: Config, now: Moment) -> Result<String, KeysError> {
    let signer;
    let preview;
    let board = match config.source {
        KeySource::Ephemeral(_) => return Err(KeysError::Ephemeral),
        KeySource::Env(_) => {
            let board_config = board_config(&config, None);
            let board = Arc::new(Board::open(board_config, Memory::empty(now.wall), now)?);
            if let KeySource::Env(key) = config.source {
                signer = Signer::local(*key, Arc::clone(&board), now).map_err(KeysError::Thread)?;
                drop(signer);
            }
            board
        }
        KeySource::Pkcs11(_) => {
            preview = Preview::of(&config, now)?;
            if preview.board.ring().document().is_none() {
                preview.shows_every_key()?;
            }
            Arc::new(preview.board)
        }
    };
    let ring = board.ring();
    let document = ring.document().ok_or(KeysError::NoKey)?;
    Ok(format!("{}\n", String::from_utf8_lossy(&document.body)))
}
