//! The configuration: environment variables, parsed once into types, every problem in one report.
//!
//! Pure: the environment and the reading of files come in as values. [`settings`] is the one table of variables.

mod claims;
mod environment;
mod fault;
mod files;
mod listen;
mod markdown;
mod names;
pub mod pin_file;
mod reader;
mod rotation;
mod secret;
pub mod settings;
mod source;
mod token;
mod token_uri;

#[cfg(test)]
mod rotation_sums_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
#[cfg(test)]
mod value_tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use environment::Environment;
pub use fault::{Fault, Given, Problem, Report, RotationFault, SourceFault, TokenFault};
pub use files::{AtStart, Files};
pub use markdown::markdown;
pub use pin_file::{PinDefect, PinFileError};
pub use secret::Pin;
pub use token_uri::UnusableUri;

use reader::Reader;

use crate::jose::Algorithm;
use crate::keys::label::LabelPrefix;
use crate::keys::lists::ListFiles;
use crate::keys::local::LocalKey;
use crate::keys::memory::TokenName;
use crate::keys::rules::Rules;

/// A configuration without problems, and what an operator should know about it all the same.
#[derive(Debug)]
pub struct Parsed {
    pub config: Config,
    /// One line each; none holds a secret.
    pub warnings: Vec<String>,
}

/// Reads the whole configuration. `cores` decides how many sessions sign by default.
///
/// # Errors
/// Every problem at once.
pub fn parse(vars: &Environment, files: &dyn Files, cores: usize) -> Result<Parsed, Report> {
    let mut reader = Reader::new(vars);
    let config = read(&mut reader, files, cores);
    names::check(&mut reader);
    let (problems, warnings) = reader.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(Parsed { config, warnings }),
        _ => Err(Report { problems, warnings }),
    }
}

/// Where the service listens, without the rest: a probe needs neither key nor PIN.
///
/// # Errors
/// The problems of these variables.
pub fn listen(vars: &Environment) -> Result<Listen, Report> {
    let mut reader = Reader::new(vars);
    let listen = listen::read(&mut reader);
    let (problems, warnings) = reader.finish();
    match listen {
        Some(listen) if problems.is_empty() => Ok(listen),
        _ => Err(Report { problems, warnings }),
    }
}

fn read(reader: &mut Reader<'_>, files: &dyn Files, cores: usize) -> Option<Config> {
    let listen = listen::read(reader);
    let admin = listen::admin(reader);
    let max_ttl = reader.number(&settings::MAX_TTL_SECONDS);
    let claims = claims::read(reader, max_ttl);
    let source = source::read(reader, files, cores);
    let sign_timeout = reader.number(&settings::SIGN_TIMEOUT_MS);
    let jwks_max_age = reader.number(&settings::JWKS_MAX_AGE_SECONDS);
    let on_token = source::is_token(reader);
    let rotation = rotation::read(reader, files, max_ttl, jwks_max_age, on_token);
    let core_dumps = reader.switch(&settings::CORE_DUMPS);
    let log = log_filter(reader);
    Some(Config {
        listen: listen?,
        admin,
        claims: claims?,
        source: source?,
        sign_timeout: Duration::from_millis(sign_timeout?),
        jwks_max_age: Duration::from_secs(jwks_max_age?),
        rotation: rotation?,
        core_dumps: core_dumps?,
        log,
    })
}

fn log_filter(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.given(&settings::LOG)?;
    // tracing-subscriber 0.3.23 cuts a directive with a space before it in the wrong place: it reads another filter, or panics.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let got = Given(text.to_owned());
        reader.refuse(settings::LOG.name, Fault::LogFilterCharacter { got });
        return None;
    }
    // Fields of a span have commas of their own.
    let mut words = text.split(',').filter(|_| !text.contains('['));
    if let Some(word) = words.find(|word| says_nothing(word)) {
        let got = Given(word.to_owned());
        reader.refuse(settings::LOG.name, Fault::LogFilterWord { got });
        return None;
    }
    let parsed = tracing_subscriber::EnvFilter::builder()
        .parse(text)
        .map_err(|source| Fault::LogFilter {
            got: Given(text.to_owned()),
            source,
        });
    reader
        .accept(&settings::LOG, parsed)
        .map(|_| text.to_owned())
}

/// A bare word is a level or, to the parser, a target: a slip of the first would be taken for the second, and silence all.
fn says_nothing(word: &str) -> bool {
    let is_level = word
        .parse::<tracing_subscriber::filter::LevelFilter>()
        .is_ok();
    let ours = word
        .strip_prefix(env!("CARGO_CRATE_NAME"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let bare = !word.is_empty() && !word.contains('=');
    bare && !is_level && !ours
}

/// Everything that the service was told, valid by construction.
#[derive(Debug)]
pub struct Config {
    pub listen: Listen,
    /// None: no admin listener.
    pub admin: Option<AdminAddress>,
    pub claims: ClaimSettings,
    pub source: KeySource,
    pub sign_timeout: Duration,
    pub jwks_max_age: Duration,
    pub rotation: RotationConfig,
    /// The process may be looked into, by core dump or debugger.
    pub core_dumps: bool,
    pub log: Option<String>,
}

/// Where and how much to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub address: BindAddress,
    /// 0: the system chooses.
    pub port: u16,
    pub max_connections: usize,
}

/// Where metrics and state are shown: never a token, never a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAddress {
    pub address: BindAddress,
    /// 0: the system chooses.
    pub port: u16,
}

/// `MACP_AUTH_BIND_ADDR`, and the host of `MACP_AUTH_ADMIN_ADDR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindAddress {
    /// 127.0.0.1 and, where it exists, ::1.
    Loopback,
    One(IpAddr),
}

/// What every token says, and how long it may live. Seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimSettings {
    pub issuer: String,
    pub audience: String,
    pub default_ttl: u64,
    pub max_ttl: u64,
}

/// When keys change, and which keys beside those that the tokens name. The files are read, and read again, by whoever uses them.
#[derive(Debug, Clone)]
pub struct RotationConfig {
    /// Their sums hold, or `unsafe_timing` is set.
    pub rules: Rules,
    pub files: ListFiles,
    /// A new key also waits for the verifiers that were seen.
    pub after_convergence: bool,
}

/// Where signatures come from: by configuration, never by failure.
#[derive(Debug)]
pub enum KeySource {
    Ephemeral(Algorithm),
    Env(Box<LocalKey>),
    Pkcs11(Box<Pkcs11Config>),
}

/// The tokens that sign, and what holds for all of them.
#[derive(Debug, Clone)]
pub struct Pkcs11Config {
    /// At least one.
    pub tokens: Vec<TokenConfig>,
    /// Only keys of this algorithm sign; the others are published. None: all.
    pub algorithm: Option<Algorithm>,
    pub policy: KeyPolicy,
    /// Signing threads a token, each with a session of its own.
    pub sessions: usize,
    /// Mints that may wait for a session of one token.
    pub queue_length: usize,
    /// What is remembered across restarts: the last JWKS, refused PINs.
    pub state_dir: Option<PathBuf>,
    /// How long stuck calls may last while no token signs, before the process leaves.
    pub stuck_exit: Duration,
}

/// One token and the keys on it.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    pub module: PathBuf,
    pub token: TokenSelector,
    pub keys: KeySelector,
    pub pin: PinSource,
}

impl TokenConfig {
    /// What tells it from every other token of the configuration.
    pub fn name(&self) -> TokenName {
        TokenName::new(&self.module, &self.token.describe())
    }
}

/// Which token: everything stated must match, and exactly one token may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSelector {
    pub label: Option<String>,
    pub serial: Option<String>,
    /// Of a URI only.
    pub manufacturer: Option<String>,
    /// Of a URI only.
    pub model: Option<String>,
    /// Of a URI only.
    pub slot_id: Option<u64>,
}

impl TokenSelector {
    /// `label "macp", serial "0123"`: for messages.
    pub fn describe(&self) -> String {
        let named = [
            ("label", &self.label),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
        ];
        let named = named.iter().filter_map(|(name, value)| {
            let value = value.as_ref()?;
            Some(format!("{name} {value:?}"))
        });
        let slot = self.slot_id.map(|id| format!("slot {id}"));
        named.chain(slot).collect::<Vec<_>>().join(", ")
    }
}

/// Which keys on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySelector {
    /// All that carry the label grammar of this prefix.
    Prefix(LabelPrefix),
    /// The one key that a URI names.
    Fixed {
        label: Option<String>,
        id: Option<Vec<u8>>,
    },
}

/// Where the PIN comes from.
#[derive(Debug, Clone)]
pub enum PinSource {
    /// Read again when it changes.
    File(PathBuf),
    Value(Pin),
    /// No C_Login.
    None,
}

/// How much proof of non-exportability a key has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPolicy {
    /// Used whatever it reports; the report goes to the log.
    Warn,
    /// Not exportable now.
    Sealed,
    /// Never exportable in its whole life.
    Strict,
    /// Strict, and good for nothing but signing.
    Exclusive,
}

impl KeyPolicy {
    pub const ALL: [Self; 4] = [Self::Warn, Self::Sealed, Self::Strict, Self::Exclusive];

    /// As `MACP_AUTH_KEY_POLICY` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Sealed => "sealed",
            Self::Strict => "strict",
            Self::Exclusive => "exclusive",
        }
    }
}
