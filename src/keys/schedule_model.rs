//! Rotation in virtual time: random histories of replicas, tokens, operators and verifiers run on the real memory, edition and
//! timetable, and every token is checked until it is refused for its age.
//!
//! ```text
//! course    what holds for a history: the rules, what there is     world     keys, tokens, outages, clocks
//! history   what happens, in the order of true time                operator  what people do
//! replica   looks, restarts, state, mints                          verifier  the runtime's cache of the JWKS
//! claims    what must hold
//! ```
//!
//! `MODEL_SEEDS=2000 cargo test --lib schedule_model` runs that many histories. A fault names its seed.

mod claims;
mod course;
mod dice;
mod history;
mod operator;
mod replica;
mod tests;
mod verifier;
mod world;
