//! A trickle of mints and key set requests that records every answer, and what must hold of all of them whatever the token
//! does: no token that does not verify under the keys published at that moment, no answer past the deadline, no refusal that
//! is not a clean 503, and the key set answered throughout.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::{Answer, Connection, NoAnswer};
use super::jwt::{Jwks, Token};
use super::{Service, until};

/// How often each thread asks.
#[derive(Debug, Clone, Copy)]
pub struct Trickle {
    pub threads: usize,
    pub every: Duration,
}

/// Stops when dropped.
#[derive(Debug)]
pub struct Load {
    record: Arc<Record>,
    threads: Vec<JoinHandle<()>>,
}

/// What a load saw.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    pub ok: usize,
    pub refused: usize,
    /// Between two tokens, whoever got them.
    pub longest_gap: Duration,
    pub slowest_mint: Duration,
    pub key_sets: usize,
    pub slowest_key_set: Duration,
}

/// The outcome of one mint.
#[derive(Debug, Clone, Copy)]
pub struct Mint {
    pub began: Instant,
    pub ended: Instant,
    pub ok: bool,
}

impl Mint {
    pub fn took(&self) -> Duration {
        self.ended - self.began
    }
}

/// The service's own deadline (`MACP_AUTH_SIGN_TIMEOUT_MS`), and half a second for the way there and back.
const LATEST: Duration = Duration::from_millis(3_500);
/// The key set comes from memory. Long, because the machine may be busy.
const KEY_SET_WITHIN: Duration = Duration::from_secs(1);
const LIGHT: Trickle = Trickle {
    threads: 4,
    every: Duration::from_millis(150),
};

#[derive(Debug)]
struct Record {
    port: u16,
    stop: AtomicBool,
    started: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    mints: Vec<Mint>,
    key_sets: Vec<Duration>,
    broken: Vec<String>,
}

impl Load {
    /// Four threads.
    pub fn start(service: &Service) -> Self {
        Self::with(service, LIGHT)
    }

    pub fn with(service: &Service, trickle: Trickle) -> Self {
        let record = Arc::new(Record {
            port: service.port(),
            stop: AtomicBool::new(false),
            started: Instant::now(),
            seen: Mutex::default(),
        });
        let mut threads = Vec::new();
        for number in 0..trickle.threads {
            let record = Arc::clone(&record);
            threads.push(std::thread::spawn(move || {
                record.mint(number, trickle);
            }));
        }
        let poller = Arc::clone(&record);
        threads.push(std::thread::spawn(move || poller.poll(trickle.every)));
        Self { record, threads }
    }

    /// Until a mint that begins after this call succeeds; how long that took.
    pub fn wait_for_a_token(&self, within: Duration, what: &str) -> Duration {
        let since = Instant::now();
        let ended = until(what, within, || {
            self.mints_since(since)
                .into_iter()
                .find(|mint| mint.ok)
                .map(|mint| mint.ended)
        });
        ended - since
    }

    /// Until a mint that begins after this call is refused.
    pub fn wait_for_a_refusal(&self, within: Duration, what: &str) -> Mint {
        let since = Instant::now();
        until(what, within, || {
            self.mints_since(since).into_iter().find(|mint| !mint.ok)
        })
    }

    /// The mints that began after `since` and have ended.
    pub fn mints_since(&self, since: Instant) -> Vec<Mint> {
        let seen = self.record.seen.lock().unwrap();
        let mints = seen.mints.iter();
        mints.filter(|mint| mint.began >= since).copied().collect()
    }

    /// Ends the load; panics where a claim does not hold.
    pub fn claims(mut self, what: &str) -> Claims {
        self.record.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let seen = self.record.seen.lock().unwrap();
        assert!(
            seen.broken.is_empty(),
            "{what}: {} claims broken, such as {:#?}",
            seen.broken.len(),
            &seen.broken[..seen.broken.len().min(5)]
        );
        let claims = seen.claims(self.record.started);
        assert!(claims.key_sets > 0, "{what}: no key set was fetched");
        assert!(claims.slowest_mint <= LATEST, "{what}: {claims:?}");
        assert!(
            claims.slowest_key_set <= KEY_SET_WITHIN,
            "{what}: {claims:?}"
        );
        claims
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.record.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Record {
    fn mint(&self, number: usize, trickle: Trickle) {
        // Evenly spread, so that the token is asked all the time.
        let share = u32::try_from(trickle.threads).unwrap();
        std::thread::sleep(trickle.every / share * u32::try_from(number).unwrap());
        let body = format!(r#"{{"sender":"agent://load-{number}"}}"#);
        let mut connection = None;
        while !self.stopped() {
            let began = Instant::now();
            match self.exchange(&mut connection, "POST", "/tokens", body.as_bytes()) {
                Ok(answer) => {
                    let ended = Instant::now();
                    let judged = self.judge(&answer, ended - began, &mut connection);
                    let mut seen = self.seen.lock().unwrap();
                    match judged {
                        Ok(ok) => seen.mints.push(Mint { began, ended, ok }),
                        Err(broken) => seen.broken.push(broken),
                    }
                }
                Err(broken) => self.broken(format!("a mint: {broken}")),
            }
            std::thread::sleep(trickle.every.saturating_sub(began.elapsed()));
        }
    }

    /// Ok: a valid token (true) or a clean refusal (false).
    fn judge(
        &self,
        answer: &Answer,
        took: Duration,
        connection: &mut Option<Connection>,
    ) -> Result<bool, String> {
        if took > LATEST {
            return Err(format!("{} after {took:?}", answer.status));
        }
        match answer.status {
            200 => {
                let compact = answer.json()["token"].as_str().unwrap().to_owned();
                let published = self.exchange(connection, "GET", JWKS, b"")?;
                if published.status != 200 {
                    return Err(format!("the key set answers {}", published.status));
                }
                let jwks = Jwks::parse(&published.text());
                let kid = Token::split(&compact).kid();
                let known = jwks.kids().iter().filter(|&known| *known == kid).count();
                if known != 1 || !jwks.accepts(&compact) {
                    return Err(format!(
                        "a token that does not verify: {compact} under {}",
                        jwks.text
                    ));
                }
                Ok(true)
            }
            503 => {
                answer.error();
                let after: Option<u64> = answer
                    .header("retry-after")
                    .and_then(|seconds| seconds.parse().ok());
                after
                    .map(|_| false)
                    .ok_or_else(|| format!("503 without Retry-After: {answer:?}"))
            }
            other => Err(format!("a mint was answered {other}: {}", answer.text())),
        }
    }

    fn poll(&self, every: Duration) {
        let mut connection = None;
        while !self.stopped() {
            let began = Instant::now();
            match self.exchange(&mut connection, "GET", JWKS, b"") {
                Ok(answer) => {
                    let took = began.elapsed();
                    let mut seen = self.seen.lock().unwrap();
                    seen.key_sets.push(took);
                    if answer.status != 200 || took > KEY_SET_WITHIN {
                        let broken = format!("the key set: {} after {took:?}", answer.status);
                        seen.broken.push(broken);
                    }
                }
                Err(broken) => self.broken(format!("the key set: {broken}")),
            }
            std::thread::sleep(every.saturating_sub(began.elapsed()));
        }
    }

    /// On the connection from before, where it still stands.
    fn exchange(
        &self,
        connection: &mut Option<Connection>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut reached = match connection.take() {
            Some(open) => open,
            None => Connection::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
                .map_err(|error| error.to_string())?,
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        reached
            .try_send([head.as_bytes(), body].concat())
            .map_err(|error| error.to_string())?;
        let answer = reached
            .answer_to(method)
            .map_err(|none: NoAnswer| format!("{none:?}"))?;
        if answer.header("connection") != Some("close") {
            *connection = Some(reached);
        }
        Ok(answer)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn broken(&self, what: String) {
        self.seen.lock().unwrap().broken.push(what);
    }
}

impl Seen {
    fn claims(&self, started: Instant) -> Claims {
        let mut tokens: Vec<Instant> = self
            .mints
            .iter()
            .filter(|mint| mint.ok)
            .map(|mint| mint.ended)
            .collect();
        tokens.sort_unstable();
        let before = std::iter::once(&started).chain(&tokens);
        Claims {
            ok: tokens.len(),
            refused: self.mints.len() - tokens.len(),
            longest_gap: before
                .zip(&tokens)
                .map(|(earlier, later)| *later - *earlier)
                .max()
                .unwrap_or_default(),
            slowest_mint: self.mints.iter().map(Mint::took).max().unwrap_or_default(),
            key_sets: self.key_sets.len(),
            slowest_key_set: self.key_sets.iter().max().copied().unwrap_or_default(),
        }
    }
}

const JWKS: &str = "/.well-known/jwks.json";
