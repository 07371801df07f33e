//! The HTTP front: the whole of the wire contract that is HTTP.
//!
//! ```text
//! listen -> server -> connection (wire, bell)  -> routes -> body -> request -> [grant, mint] -> reply
//! sockets   accept,   one timer, drain            path,     bytes   JSON         no HTTP         the one mapping
//!           limits                                method                                         to answers
//! ```
//!
//! hyper parses and frames; accepting, limits and routing are ours. Nothing here decides who may mint what.
//! Two servers of the same make: the public one, and where it is configured the one of `admin` with its own paths.
//! Bodies, tokens and Authorization headers are never logged.

mod admin;
mod bell;
mod body;
mod connection;
mod jwks;
mod limits;
mod listen;
mod media_type;
mod origin;
mod ready;
mod reply;
mod routes;
mod scan;
mod throttle;
mod wire;

pub mod request;
pub mod server;

use std::time::Duration;

use crate::config::ClaimSettings;
use crate::keys::Signer;

pub use limits::Limits;
pub use listen::BindError;
pub use server::{Drain, Server};

/// What requests are answered from.
#[derive(Debug)]
pub struct App {
    pub signer: Signer,
    pub claims: ClaimSettings,
    /// Longest wait of one mint for its signature.
    pub sign_timeout: Duration,
    /// `max-age` of the JWKS.
    pub jwks_max_age: Duration,
    /// Where the key comes from: pkcs11, env or ephemeral.
    pub source: &'static str,
}
