//! What the subjects share: a service under test, a throw-away token, an HTTP client, and an independent verifier.

pub mod browser;
mod captured;
pub mod dice;
mod faked_clock;
pub mod faults;
pub mod fleet;
pub mod gate;
pub mod guide;
pub mod http;
pub mod hurry;
pub mod jwt;
pub mod load;
mod own_keys;
pub mod precondition;
pub mod runtimes;
pub mod service;
pub mod softhsm;
pub mod traffic;
pub mod vectors;
pub mod vitals;
pub mod wait;

pub use browser::{Browser, Scheme};
pub use faked_clock::FakedClock;
pub use fleet::Fleet;
pub use http::{Answer, Connection};
pub use jwt::{Jwks, Token};
pub use own_keys::{ec_pkcs8, private_ec_jwk, private_rsa_jwk, rsa_jwk, rsa_pkcs8};
pub use service::{Launch, Service};
pub use softhsm::{KeyPair, SoftHsm};
pub use traffic::{Outcome, Pace, Traffic};
pub use wait::{stretched, throughout, until};
