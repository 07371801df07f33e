//! macp-auth-service: mints short-lived JWTs for MACP agents with a key that never leaves its PKCS#11 token, and
//! publishes the public half as a JWKS.
//!
//! One request, from left to right; each arrow is one module, and none knows the ones to its left:
//!
//! ```text
//! web    ->  grant           ->  mint             ->  keys                    ->  signing thread
//! bytes      who may mint        grant -> claims,     which key signs now,        own session,
//!            what                signing input        queue, deadline             never awaits
//! web    <-  Minted          <-  Jwt              <-  verified under the published key
//! ```
//!
//! The JWKS path touches none of this: it answers ready-made bytes of one snapshot ([`keys::KeyRing`]).
//! [`jose`] holds the values, [`clock`] reads the clocks, [`config`] turns the environment into types, [`process`] keeps the
//! memory in the process, [`shown`] keeps foreign names from speaking to a terminal.

pub mod cli;
pub mod clock;
pub mod config;
pub mod grant;
pub mod jose;
pub mod keys;
pub mod mint;
pub mod process;
pub mod shown;
pub mod state_dir;
pub mod telemetry;
pub mod trusted;
pub mod web;
