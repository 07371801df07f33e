//! Black-box tests: the real binary, on a port of its own, with a throw-away token where it needs one.
//!
//! One file a subject, one binary for all, in parallel. `harness` starts and stops things and speaks HTTP; the subjects
//! state what the service promises. SoftHSM2, pkcs11-tool, the runtime's verifier and chromium must be there: softhsm/test.sh
//! sees to it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    clippy::literal_string_with_formatting_args,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests may panic, wait and look at the environment; a table is one function; nothing here is a public interface"
)]

mod harness;

mod admin;
mod backends;
mod bad_token;
mod browser;
mod commands;
mod configuration;
mod configuration_token;
mod doctor;
mod faults_codes;
mod faults_p11kit;
mod faults_token;
mod fresh_start;
mod key_commands;
mod layout;
mod looks;
mod losing;
mod lost_looks;
mod memory;
mod migration;
mod pinned;
mod pkcs11;
mod properties;
mod revocation;
mod rotation;
mod rotation_guide;
mod schedule_file;
mod secrecy;
mod soak;
mod start;
mod stop;
mod two_tokens;
mod verifiers;
mod wire;
