//! What a service with this configuration would publish and sign with: the same board, without its threads.
//!
//! Reads the memory of a service that uses the same state directory, and writes nothing there.

use super::keys::KeysError;
use super::opened::{Opened, state_directory};
use crate::clock::Moment;
use crate::config::{Config, KeySource, Pkcs11Config};
use crate::jose::Algorithm;
use crate::keys::lists::ListFiles;
use crate::keys::memory::{Found, Memory};
use crate::keys::pkcs11::discovery::KeyReport;
use crate::keys::{Board, BoardConfig, saved};
use crate::state_dir::StateDir;

/// The board of one moment, and what each token was found to hold.
pub(super) struct Preview {
    pub(super) board: Board,
    pub(super) tokens: Vec<PreviewedToken>,
}

/// One token.
pub(super) struct PreviewedToken {
    /// As it names itself.
    pub(super) label: String,
    pub(super) reports: Vec<KeyReport>,
}

/// What of the configuration decides about keys. `directory` is where a service saves what it knows.
pub(super) fn board_config(config: &Config, directory: Option<StateDir>) -> BoardConfig {
    let rotation = &config.rotation;
    let (algorithm, tokens) = match &config.source {
        KeySource::Pkcs11(pkcs11) => (
            pkcs11.algorithm,
            pkcs11.tokens.iter().map(|on| on.name()).collect(),
        ),
        KeySource::Ephemeral(_) | KeySource::Env(_) => (None::<Algorithm>, Vec::new()),
    };
    BoardConfig {
        rules: rotation.rules,
        algorithm,
        after_convergence: rotation.after_convergence,
        files: ListFiles {
            revoked: rotation.revoked.clone(),
            revoked_file: rotation.revoked_file.clone(),
            extra_jwks_file: rotation.extra_jwks_file.clone(),
            schedule_file: rotation.schedule_file.clone(),
        },
        directory,
        tokens,
    }
}

impl Preview {
    /// Looks at each token, one after the other: they may share a module.
    pub(super) fn of(config: &Config, now: Moment) -> Result<Self, KeysError> {
        let KeySource::Pkcs11(pkcs11) = &config.source else {
            return Err(KeysError::NoToken);
        };
        let memory = remembered(pkcs11, now)?;
        let board = Board::open(board_config(config, None), memory, now)?;
        let skew = config.rotation.rules.skew;
        let mut tokens = Vec::new();
        for on in &pkcs11.tokens {
            let opened = Opened::new(pkcs11, on)?;
            let reports = opened.reports(pkcs11, &on.keys, board.schedule().as_deref())?;
            let found: Vec<Found> = reports
                .iter()
                .filter_map(|report| report.found(now.wall, skew))
                .collect();
            let refused = reports.iter().filter(|report| report.outcome.is_err());
            let refused = refused.map(KeyReport::line).collect();
            board.looked(&on.name(), &found, refused, now);
            tokens.push(PreviewedToken {
                label: opened.token.label().to_owned(),
                reports,
            });
        }
        board.tick(now);
        Ok(Self { board, tokens })
    }
}

fn remembered(pkcs11: &Pkcs11Config, now: Moment) -> Result<Memory, KeysError> {
    let directory = state_directory(pkcs11)?;
    Ok(directory.map_or_else(
        || Memory::empty(now.wall),
        |directory| saved::load(&directory, now.wall),
    ))
}
