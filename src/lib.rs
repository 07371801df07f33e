//! macp-auth-service: mints short-lived JWTs for MACP agents with a key that never leaves its PKCS#11 token.

pub mod cli;
pub mod clock;
pub mod config;
pub mod jose;
pub mod keys;
