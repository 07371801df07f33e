//! Keys in a PKCS#11 token. The only home of cryptoki.
//!
//! ```text
//! signer       all tokens: which one signs, who takes over          unit    one token with its threads
//! supervisor   one a token: cure -> host (the module), token, discovery (objects, inspect, proof, possession)
//! seat         one a signing thread:  C_SignInit, C_Sign, verified under the published key
//! watch        calls that do not come back                          shared  what all of these share
//! ```
//!
//! `uri`, `ckr`, `recovery`, `unmade` and `proof` decide and are pure; `module`, `token`, `session` and `ffi` call the module.

mod blind;
mod canary;
mod caution;
pub mod ckr;
mod cure;
pub mod destroy;
pub mod discovery;
pub mod evidence;
pub mod fault;
pub mod ffi;
mod fresh_start;
pub mod generate;
mod host;
mod inspect;
pub mod mechanism;
pub mod module;
mod objects;
mod phase;
pub mod pin_guard;
pub mod possession;
pub mod proof;
pub mod public;
pub mod recovery;
mod refusal;
mod seat;
pub mod session;
mod shared;
mod signer;
mod standing;
mod supervisor;
pub mod token;
pub mod trial;
mod unit;
mod unmade;
pub mod uri;
mod watch;

pub use signer::{Shutdown, StartError, TokenSigner};
pub use standing::explain_no_key;
