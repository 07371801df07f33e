//! The `keys` commands: what is on the tokens, what happens when, and new keys.
//!
//! ```text
//! Preview (each token looked at once) -> Board -> Overview  ->  list, plan
//!                                          + a new key      ->  generate, rotate
//! ```
//!
//! Each command opens the modules for itself, logs in once a token, and leaves. Which key signs when is the board's to say, never
//! computed here. Text for people, JSON for machines.

mod activation;
mod arguments;
mod generate;
mod jwks;
mod list;
mod naming;
mod plan;
mod prune;
mod record;
mod revoke_bound;
mod span;
mod timeline;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::hang::{self, Hung};
use super::opened::Unproved;
use super::{Outside, complain_to, failed};
use crate::clock::Moment;
use crate::config::settings::PIN_FILE;
use crate::config::{Config, KeySource, PinSource, Problem, pin_file};
use crate::jose::Kid;
use crate::keys::Board;
use crate::keys::board::{KeyOverview, Overview};
use crate::keys::label::LabelTooLong;
use crate::keys::lists::ListsError;
use crate::keys::pkcs11::destroy::DestroyFault;
use crate::keys::pkcs11::ffi;
use crate::keys::pkcs11::module::LoadError;
use crate::keys::pkcs11::token::TokenFault;
use crate::shown::shown;
use crate::state_dir::StateDirError;

pub use activation::TooSoon;
pub use arguments::KeysCommand;
pub use generate::MadeSoFar;
pub(in crate::cli) use jwks::run as jwks;
pub use prune::DestroyedSoFar;
pub use record::{RecordError, RecordFault};

/// Why a command did nothing, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(
        "no PKCS#11 token is configured. Set MACP_AUTH_PKCS11_MODULE with MACP_AUTH_PKCS11_TOKEN_LABEL, or MACP_AUTH_PKCS11_URI"
    )]
    NoToken,
    #[error(
        "the key would be another one at each call: without MACP_AUTH_PKCS11_* or MACP_AUTH_SIGNING_KEY_JSON the service makes an ephemeral key when it starts. Fetch its JWKS from /.well-known/jwks.json"
    )]
    Ephemeral,
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    PinFile(#[from] pin_file::PinFileError),
    #[error(
        "nobody is logged in to the token {token}, so its private keys are invisible, and none can be judged or made. Give --pin-file or set MACP_AUTH_PKCS11_PIN_FILE"
    )]
    NoPin { token: String },
    #[error(
        "--token {label} names {found} tokens of the configuration, and has to name one. They are: {known}. Where two have one label, set MACP_AUTH_PKCS11_URI to the one that is meant"
    )]
    NotOneToken {
        label: String,
        found: usize,
        known: String,
    },
    #[error(transparent)]
    TooSoon(#[from] Box<TooSoon>),
    #[error(
        "MACP_AUTH_PKCS11_URI names one key by object or id; keys are generated under a label prefix. Leave object and id out of the URI and set MACP_AUTH_PKCS11_KEY_LABEL"
    )]
    FixedKey,
    #[error(transparent)]
    Label(#[from] LabelTooLong),
    #[error("the system clock shows an instant that no label can carry. Set it right")]
    Clock,
    #[error(
        "the system clock shows a time before one that this service has written down, so what the keys are doing now is not known. Set it right"
    )]
    ClockInDoubt,
    #[error("the system gives no random bytes for a CKA_ID")]
    NoRandom,
    #[error(
        "the key was made ({label:?}, CKA_ID {id}), but it has not proved itself: {reason}. It stays on the token, and the service uses it once that reason is gone; `keys list` shows whether it does. If you do not want it, remove it with the tool of your HSM"
    )]
    NotUsable {
        label: String,
        /// CKA_ID.
        id: String,
        reason: Box<Unproved>,
    },
    #[error("not on every token. On {token}: {error}. {made}")]
    Partly {
        token: String,
        error: Box<Self>,
        made: MadeSoFar,
    },
    #[error(
        "the token {token} holds no active key, so nothing is destroyed anywhere: what has expired may be all that it has. See `keys list`, and make the key with `keys generate`"
    )]
    ActiveMissing { token: String },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(
        "the key was made ({label:?}, kid {kid}), but there is no record of it: {error}. Write one with `keys record {kid} FILE`"
    )]
    NoRecord {
        label: String,
        kid: Kid,
        error: Box<RecordError>,
    },
    #[error(
        "no token shows {kid} as a key that can sign, and the key itself signs its record. See `keys list`"
    )]
    NotHeld { kid: Kid },
    #[error("on {token}: {error}. Written before: {}", listed(.written))]
    RecordedPartly {
        token: String,
        error: Box<Self>,
        written: Vec<PathBuf>,
    },
    #[error("no key of that kid is known here: {kid}. Known are: {known}")]
    UnknownKid { kid: String, known: String },
    /// Which keys may go depends on what was known.
    #[error(
        "MACP_AUTH_STATE_DIR: what was known of the keys cannot be read ({reason}), so nothing was destroyed: tokens of a longer life may have been minted than is known now. Bring back a good copy of that file. Without one, move it away, and run this again only when every token that was minted until now has expired"
    )]
    MemoryLost { reason: String },
    #[error("{kid} is not where it was a moment ago. Look at `keys list`, and run this again")]
    Moved { kid: Kid },
    #[error(
        "the token says that it has destroyed {kid}, and still shows it. Use the tool of your HSM"
    )]
    StillThere { kid: Kid },
    #[error(transparent)]
    Destroy(#[from] DestroyFault),
    #[error("on {token}: {error}. {done}")]
    PrunedPartly {
        token: String,
        error: Box<Self>,
        done: DestroyedSoFar,
    },
    #[error("MACP_AUTH_STATE_DIR {0}")]
    State(#[from] StateDirError),
    #[error(transparent)]
    Lists(#[from] ListsError),
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    #[error("no key to publish on the token. Make one with `keys generate`")]
    NoKey,
}

/// What the answer of a command tells.
#[derive(Clone, Copy)]
enum Tell {
    /// Only what is.
    Answer,
    /// What was done, and nobody may miss.
    Change,
}

/// What a command says.
struct Answer {
    text: String,
    /// Why it is not the whole: told on stderr as well, and by the exit code.
    lacks: Vec<String>,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        let lacks = Vec::new();
        Self { text, lacks }
    }
}

impl Tell {
    const fn of(command: &KeysCommand) -> Self {
        if command.changes_something() {
            Self::Change
        } else {
            Self::Answer
        }
    }
}

/// Runs one of them.
pub(super) fn run(outside: &mut Outside<'_>, command: KeysCommand) -> ExitCode {
    let now = Moment::now();
    let tell = Tell::of(&command);
    match command {
        KeysCommand::List(asked) => with(outside, None, tell, move |config, _| {
            list::answer(&config, asked.json, now)
        }),
        KeysCommand::Plan(asked) => with(outside, None, tell, move |config, columns| {
            plan::answer(&config, asked.json, columns, now)
        }),
        KeysCommand::Generate(asked) => {
            let pin_file = asked.make.pin_file.clone();
            with(outside, pin_file.as_deref(), tell, move |config, _| {
                generate::answer(&config, &asked, now)
            })
        }
        KeysCommand::Rotate(asked) => {
            let pin_file = asked.make.pin_file.clone();
            with(
                outside,
                pin_file.as_deref(),
                tell,
                move |config, columns| generate::rotated(&config, asked, columns, now),
            )
        }
        KeysCommand::Prune(asked) => {
            let pin_file = asked.pin_file.clone();
            with(outside, pin_file.as_deref(), tell, move |config, _| {
                prune::answer(&config, &asked, now)
            })
        }
        KeysCommand::RevokeBound(asked) => with(outside, None, tell, move |config, _| {
            revoke_bound::answer(&config, &asked, now)
        }),
        KeysCommand::Record(asked) => {
            let pin_file = asked.pin_file.clone();
            with(outside, pin_file.as_deref(), tell, move |config, _| {
                record::answer(&config, &asked, now)
            })
        }
        KeysCommand::VerifyRecord(asked) => outside.answer(record::verified(&asked)),
    }
}

/// The answer of a command that needs the configuration and may draw in so many columns.
fn with<A: Into<Answer>>(
    outside: &mut Outside<'_>,
    pin_file: Option<&Path>,
    tell: Tell,
    command: impl FnOnce(Config, usize) -> Result<A, KeysError>,
) -> ExitCode {
    let Some(config) = configured(outside, pin_file) else {
        return failed();
    };
    let columns = columns(outside);
    let patience = match &config.source {
        KeySource::Pkcs11(pkcs11) => pkcs11.stuck_exit,
        // No module is called.
        KeySource::Ephemeral(_) | KeySource::Env(_) => Duration::MAX,
    };
    let watched = hang::watched(patience, leave, || command(config, columns));
    let answer = watched.unwrap_or_else(|cause| Err(KeysError::Thread(cause)));
    let (answer, lacks) = match answer.map(Into::into) {
        Ok(Answer { text, lacks }) => (Ok(text), lacks),
        Err(error) => (Err(error), Vec::new()),
    };
    let code = match tell {
        Tell::Answer => outside.answer(answer),
        Tell::Change => outside.answer_of_change(answer),
    };
    if lacks.is_empty() {
        return code;
    }
    for lack in lacks {
        outside.complain(&format_args!("warning: {lack}"));
    }
    failed()
}

/// The module's destructors would wait for the call that hangs.
fn leave(hung: Hung) {
    // One line: what names the token may hold anything.
    complain_to(&mut std::io::stderr(), &shown(&hung.to_string()));
    ffi::exit_now(ffi::STUCK_EXIT_CODE);
}

/// The configuration. `pin_file` takes the place of the configured PIN, because the user of the service may not be
/// allowed to generate.
fn configured(outside: &mut Outside<'_>, pin_file: Option<&Path>) -> Option<Config> {
    if let Some(path) = pin_file {
        outside.environment.remove("MACP_AUTH_PKCS11_PIN");
        outside.environment.set(PIN_FILE.name, path);
    }
    let mut parsed = outside.parsed(&pin_file::read);
    if let (Err(report), Some(_)) = (&mut parsed, pin_file) {
        let of_it = |problem: &&mut Problem| problem.name == PIN_FILE.name;
        for problem in report.problems.iter_mut().filter(of_it) {
            "--pin-file".clone_into(&mut problem.name);
        }
    }
    let mut config = outside.closed(parsed)?.config;
    if let (KeySource::Pkcs11(pkcs11), Some(path)) = (&mut config.source, pin_file) {
        for token in &mut pkcs11.tokens {
            token.pin = PinSource::File(path.to_owned());
        }
    }
    Some(config)
}

fn listed(files: &[PathBuf]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    files.join(", ")
}

/// The key of this kid, as the board knows it.
fn known<'a>(overview: &'a Overview, kid: &str) -> Result<&'a KeyOverview, KeysError> {
    let mut keys = overview.keys.iter();
    let found = keys.find(|key| key.key.kid().as_str() == kid);
    found.ok_or_else(|| {
        let known = overview.keys.iter().map(|key| key.key.kid().to_string());
        let known: Vec<String> = known.collect();
        KeysError::UnknownKid {
            kid: shown(kid).into_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        }
    })
}

/// As wide as the terminal says that it is.
fn columns(outside: &Outside<'_>) -> usize {
    let said = outside.environment.value("COLUMNS");
    let said = said.and_then(|text| text.to_str()?.parse().ok());
    said.unwrap_or(80)
}

/// Nothing may be decided by a clock that is wrong.
fn believe_the_clock(board: &Board, now: Moment) -> Result<(), KeysError> {
    if board.may_sign(now) {
        return Ok(());
    }
    Err(KeysError::ClockInDoubt)
}
