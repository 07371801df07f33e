//! `jwks`: the set as the service would publish it, for verifiers that take it inline.

use std::process::ExitCode;

use super::super::Outside;
use super::super::preview::{Preview, board_config, of_pinned};
use super::{KeysError, Tell, with};
use crate::clock::Moment;
use crate::config::{Config, KeySource};

/// `jwks`.
pub(in crate::cli) fn run(outside: &mut Outside<'_>) -> ExitCode {
    with(outside, None, Tell::Answer, |config, _| {
        published(&config, Moment::now())
    })
}

fn published(config: &Config, now: Moment) -> Result<String, KeysError> {
    let board = match &config.source {
        KeySource::Ephemeral(_) => return Err(KeysError::Ephemeral),
        KeySource::Env(key) => of_pinned(board_config(config, None), key, now)?,
        KeySource::Pkcs11(_) => {
            let preview = Preview::of(config, now)?;
            if preview.board.ring().document().is_none() {
                preview.shows_every_key()?;
            }
            preview.board
        }
    };
    let ring = board.ring();
    let document = ring.document().ok_or(KeysError::NoKey)?;
    Ok(format!("{}\n", String::from_utf8_lossy(&document.body)))
}
