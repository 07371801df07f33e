//! What a service with this configuration would publish and sign with: the same board, without its threads.
//!
//! Reads the memory of a service that uses the same state directory, and writes nothing there.

use std::fmt;

use serde_json::{Value, json};

use super::keys::KeysError;
use super::opened::{Opened, state_directory};
use crate::clock::Moment;
use crate::config::{Config, KeySource, Pkcs11Config, TokenConfig};
use crate::jose::{Algorithm, Kid};
use crate::keys::local::LocalKey;
use crate::keys::memory::{Found, Memory, TokenName};
use crate::keys::pkcs11::discovery::KeyReport;
use crate::keys::{Board, BoardConfig, saved};
use crate::state_dir::StateDir;

/// The board of one moment, and what each token was found to hold.
pub(super) struct Preview {
    pub(super) board: Board,
    pub(super) tokens: Vec<PreviewedToken>,
    /// Only where the command shows what it can.
    pub(super) unread: Vec<Unread>,
}

/// One token.
pub(super) struct PreviewedToken {
    pub(super) name: TokenName,
    /// As it names itself.
    pub(super) label: String,
    /// Nobody is logged in, and it wants that.
    pub(super) wants_login: bool,
    pub(super) reports: Vec<KeyReport>,
}

/// A token that could not be read.
pub(super) struct Unread {
    /// As the configuration names it.
    token: String,
    reason: KeysError,
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
        files: rotation.files.clone(),
        directory,
        tokens,
    }
}

impl Preview {
    /// Of all tokens, or of none.
    pub(super) fn of(config: &Config, now: Moment) -> Result<Self, KeysError> {
        Self::looked(config, now, |_, reason| Err(reason))
    }

    /// Of the tokens that can be read, if one can: what an operator needs while another is down.
    pub(super) fn of_what_can_be_read(config: &Config, now: Moment) -> Result<Self, KeysError> {
        let mut unread = Vec::new();
        let mut preview = Self::looked(config, now, |on, reason| {
            let token = on.token.describe();
            unread.push(Unread { token, reason });
            Ok(())
        })?;
        if preview.tokens.is_empty() && !unread.is_empty() {
            return Err(unread.swap_remove(0).reason);
        }
        preview.unread = unread;
        Ok(preview)
    }

    /// Looks at each token, one after the other: they may share a module.
    fn looked(
        config: &Config,
        now: Moment,
        mut failed: impl FnMut(&TokenConfig, KeysError) -> Result<(), KeysError>,
    ) -> Result<Self, KeysError> {
        let pkcs11 = pkcs11(&config.source)?;
        let memory = remembered(pkcs11, now)?;
        let board = Board::open(board_config(config, None), memory, now)?;
        let mut tokens = Vec::new();
        for on in &pkcs11.tokens {
            match PreviewedToken::read(pkcs11, on, &board) {
                Ok(token) => tokens.push(token),
                Err(reason) => failed(on, reason)?,
            }
        }
        let unread = Vec::new();
        let preview = Self {
            board,
            tokens,
            unread,
        };
        preview.show_to(&preview.board, now);
        Ok(preview)
    }

    /// Nobody can tell what a token holds that shows its private keys only after a login.
    pub(super) fn shows_every_key(&self) -> Result<(), KeysError> {
        match self.tokens.iter().find(|token| token.wants_login) {
            Some(token) => Err(KeysError::NoPin {
                token: token.label.clone(),
            }),
            None => Ok(()),
        }
    }

    /// A line for each token that may hold more than it shows.
    pub(super) fn hidden(&self) -> Vec<String> {
        let tokens = self.tokens.iter().filter(|token| token.wants_login);
        tokens
            .map(|token| {
                format!(
                    "nobody is logged in to token {:?}, so its private keys are invisible here. Set MACP_AUTH_PKCS11_PIN_FILE",
                    token.label
                )
            })
            .collect()
    }

    /// What would be, if this key were revoked, too.
    pub(super) fn without(
        &self,
        config: &Config,
        kid: &Kid,
        now: Moment,
    ) -> Result<Board, KeysError> {
        let memory = remembered(pkcs11(&config.source)?, now)?;
        let mut revoking = board_config(config, None);
        revoking.files.revoked.insert(kid.clone());
        let board = Board::open(revoking, memory, now)?;
        self.show_to(&board, now);
        Ok(board)
    }

    /// The board with one key more on a token.
    pub(super) fn add(&self, on: &TokenName, new: Found, now: Moment) {
        let tokens = self.tokens.iter().filter(|token| token.name == *on);
        for token in tokens {
            let mut found = token.found(&self.board, now);
            found.push(new.clone());
            self.board.looked(on, &found, token.refused(), now);
        }
        self.board.tick(now);
    }

    fn show_to(&self, board: &Board, now: Moment) {
        for token in &self.tokens {
            let found = token.found(board, now);
            let names = token.reports.iter().flat_map(KeyReport::names);
            board.named(&token.name, names.collect());
            board.looked(&token.name, &found, token.refused(), now);
        }
        board.tick(now);
    }
}

impl PreviewedToken {
    fn read(pkcs11: &Pkcs11Config, on: &TokenConfig, board: &Board) -> Result<Self, KeysError> {
        let opened = Opened::new(pkcs11, on)?;
        Ok(Self {
            name: on.name(),
            label: opened.token.label().to_owned(),
            wants_login: !opened.token.logged_in() && opened.token.info().login_required,
            reports: opened.reports(pkcs11, &on.keys, board.schedule().as_deref())?,
        })
    }

    fn found(&self, board: &Board, now: Moment) -> Vec<Found> {
        let skew = board.rules().skew;
        let found = self.reports.iter();
        found
            .filter_map(|report| report.found(now.wall, skew))
            .collect()
    }

    fn refused(&self) -> Vec<String> {
        let refused = self.reports.iter().filter(|report| report.outcome.is_err());
        refused.map(KeyReport::line).collect()
    }
}

impl Unread {
    pub(super) fn json(&self) -> Value {
        json!({ "token": self.token, "reason": self.reason.to_string() })
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, reason } = self;
        write!(
            f,
            "the token with {token} could not be read, so what it holds is missing here, and states and times may be others: {reason}"
        )
    }
}

/// The board of a key that the process of the service holds.
pub(super) fn of_pinned(
    config: BoardConfig,
    key: &LocalKey,
    now: Moment,
) -> Result<Board, KeysError> {
    let board = Board::open(config, Memory::empty(now.wall), now)?;
    board.holds(key, now);
    board.tick(now);
    Ok(board)
}

/// The tokens of the configuration.
pub(super) fn pkcs11(source: &KeySource) -> Result<&Pkcs11Config, KeysError> {
    match source {
        KeySource::Pkcs11(config) => Ok(config),
        KeySource::Ephemeral(_) | KeySource::Env(_) => Err(KeysError::NoToken),
    }
}

fn remembered(pkcs11: &Pkcs11Config, now: Moment) -> Result<Memory, KeysError> {
    let directory = state_directory(pkcs11)?;
    Ok(saved::load(directory.as_ref(), now.wall))
}
