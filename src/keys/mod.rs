//! Where signatures come from, and which keys are published. [`Signer`] is all that the rest of the service knows:
//!
//! ```text
//! ring()     what is published, and when each key signs
//! sign(now, life, signing input, deadline)  ->  Jwt, verified under the published key that signed
//! ```
//!
//! [`Board`] holds what is known of the keys ([`memory`]) and lets [`schedule`] decide which of them signs. [`local`] signs in
//! this process; [`pkcs11`] asks a token through [`workers`]. Neither ever stands in for the other: the configuration
//! chooses the source, a failure never does.

pub mod alarm;
pub mod board;
pub mod clock_watch;
pub mod edition;
pub mod label;
pub mod lists;
pub mod local;
pub mod memory;
pub mod pkcs11;
pub mod ring;
mod rounds;
pub mod rules;
pub mod saved;
pub mod schedule;
pub mod verifiers;
pub mod workers;

use std::sync::Arc;

use std::io;
use std::net::IpAddr;

use arc_swap::Guard;

use crate::clock::{Deadline, Moment, UnixSeconds};
use crate::jose::{Jwt, SigningInput};
use ring::JwksVersion;
use rounds::Rounds;

pub use alarm::{Alarm, AlarmKind};
pub use board::{Board, BoardConfig, Overview};
pub use ring::{Choice, JwksDocument, KeyRing, PublishedKey};

/// Why a mint got no signature. Causes with names of devices stay in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The queue before the signing threads is full.
    #[error("the signing queue is full")]
    Overloaded,
    /// The deadline of the mint passed.
    #[error("the deadline passed before a signature was there")]
    TimedOut,
    /// No key can sign at the moment.
    #[error("no key can sign at the moment")]
    Unavailable,
    /// A signing thread panicked, or the software key failed.
    #[error("signing failed unexpectedly")]
    Unexpected,
}

/// One part of readiness: its name, whether it is well, and what an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// Whether mints may be sent here, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub ready: bool,
    pub parts: Vec<Part>,
}

/// A signature, and how long the token lives that it is under.
#[derive(Debug)]
pub struct Signed {
    pub jwt: Jwt,
    /// Seconds; at most what was asked for.
    pub ttl: u64,
}

/// The source of signatures, chosen by configuration, and the board of its keys.
#[derive(Debug)]
pub struct Signer {
    board: Arc<Board>,
    source: Source,
    rounds: Rounds,
}

#[derive(Debug)]
enum Source {
    Local(local::LocalKey),
    Token(pkcs11::TokenSigner),
}

impl Signer {
    /// Signs in this process.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn local(key: local::LocalKey, board: Arc<Board>, now: Moment) -> io::Result<Self> {
        board.holds(&key, now);
        Self::of(Source::Local(key), board)
    }

    /// Signs in PKCS#11 tokens.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn token(signer: pkcs11::TokenSigner, board: Arc<Board>) -> io::Result<Self> {
        Self::of(Source::Token(signer), board)
    }

    /// A software key and nothing else.
    #[cfg(test)]
    pub fn alone(key: local::LocalKey, now: Moment) -> Self {
        let config = BoardConfig {
            rules: rules::Rules::DEFAULTS,
            algorithm: None,
            after_convergence: false,
            files: lists::ListFiles::default(),
            directory: None,
            tokens: Vec::new(),
        };
        let board = Board::open(config, memory::Memory::empty(now.wall), now).unwrap();
        Self::local(key, Arc::new(board), now).unwrap()
    }

    fn of(source: Source, board: Arc<Board>) -> io::Result<Self> {
        Ok(Self {
            rounds: Rounds::start(Arc::clone(&board))?,
            source,
            board,
        })
    }

    /// The current snapshot of keys.
    pub fn ring(&self) -> Guard<Arc<KeyRing>> {
        self.board.ring()
    }

    /// One signature by a key that may sign at `now` a token of `ttl` seconds, verified under that key before it is returned.
    /// `input` makes what is signed for the key and the life that were chosen; it may be asked for several.
    ///
    /// A software key signs on the caller's thread: it takes less time than handing over would.
    ///
    /// # Errors
    /// See [`SignError`]; the answer never comes later than `deadline`.
    pub async fn sign(
        &self,
        now: Moment,
        ttl: u64,
        input: impl Fn(&PublishedKey, u64) -> SigningInput,
        deadline: Deadline,
    ) -> Result<Signed, SignError> {
        if !self.board.may_sign(now) {
            return Err(SignError::Unavailable);
        }
        match &self.source {
            Source::Local(key) => self.sign_here(key, now.wall, ttl, input),
            Source::Token(signer) => signer.sign(now.wall, ttl, input, deadline).await,
        }
    }

    fn sign_here(
        &self,
        key: &local::LocalKey,
        now: UnixSeconds,
        ttl: u64,
        input: impl Fn(&PublishedKey, u64) -> SigningInput,
    ) -> Result<Signed, SignError> {
        let ring = self.ring();
        let signing = ring.signing_key(now).ok_or(SignError::Unavailable)?;
        let input = input(signing, ttl);
        let signature = key
            .sign(input.as_bytes())
            .map_err(|_| SignError::Unexpected)?;
        let jwt = input.into_jwt(&signature);
        Ok(Signed { jwt, ttl })
    }

    /// Whether mints may be sent here, and what an operator should know beside.
    pub fn mint_readiness(&self, now: Moment) -> Readiness {
        let mut of_source = match &self.source {
            Source::Local(_) => Readiness {
                ready: true,
                parts: vec![Part {
                    name: "key",
                    ok: true,
                    detail: "a software key, proved at start".to_owned(),
                }],
            },
            Source::Token(signer) => signer.mint_readiness(now.wall),
        };
        let ring = self.ring();
        let signing = match &self.source {
            Source::Local(_) => ring.signing_key(now.wall).cloned(),
            Source::Token(signer) => signer.signing_key(&ring, now.wall),
        };
        let signing = signing.filter(|_| self.board.may_sign(now));
        of_source.ready &= signing.is_some();
        of_source.parts.push(Part {
            name: "signing_key",
            ok: signing.is_some(),
            detail: match (signing, ring.timetable().begins(now.wall)) {
                (Some(key), _) => format!("{} {}", key.algorithm(), key.kid()),
                (None, Some(first)) => format!("no key signs before {}", first.rfc3339()),
                (None, None) => {
                    "no key signs at this instant, or no token that is well holds it".to_owned()
                }
            },
        });
        of_source.with_alarms(self.alarms())
    }

    /// Whether verifiers may be sent here.
    pub fn jwks_readiness(&self, now: Moment) -> Readiness {
        self.board.jwks_readiness(now).with_alarms(self.alarms())
    }

    /// What an operator has to know now.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.board.alarms()
    }

    /// Everything about the keys and the tokens that hold them.
    pub fn overview(&self, now: Moment) -> Overview {
        // What is said here is what is published: not an order of the set of a fifth of a second ago.
        self.board.tick(now);
        let mut overview = self.board.overview(now);
        if let Source::Token(signer) = &self.source {
            signer.complete(&mut overview);
        }
        overview
    }

    /// A verifier has fetched this version of the JWKS.
    pub fn fetched(&self, address: IpAddr, version: &Arc<JwksVersion>, now: UnixSeconds) {
        self.board.fetched(address, version, now);
    }

    /// An operator asks to look at everything again, now: lists, clock, then tokens, because the schedule file says which keys
    /// are looked for. Blocks for 5 s at most.
    pub fn look_again(&self) {
        self.rounds.look_again();
        if let Source::Token(signer) = &self.source {
            signer.look();
        }
    }

    /// Ends what the source keeps running. Blocks for 2 s at most.
    pub fn shut_down(&self) -> pkcs11::Shutdown {
        match &self.source {
            Source::Local(_) => pkcs11::Shutdown::Clean,
            Source::Token(signer) => signer.shut_down(),
        }
    }
}

impl Readiness {
    /// Alarms are shown red; they do not make an instance unready.
    fn with_alarms(mut self, alarms: Vec<Alarm>) -> Self {
        self.parts.extend(alarms.into_iter().map(|alarm| Part {
            name: alarm.kind.name(),
            ok: false,
            detail: alarm.detail,
        }));
        self
    }
}

#[cfg(test)]
mod schedule_model;
