//! Callers that mint all the time on every replica, and verifiers of the runtime that judge each token several times in its
//! life. What must hold of rotation is then one number: how many were rejected.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fleet::{Addresses, Fleet};
use super::gate::{Fetch, Gate};
use super::runtimes::{Minted, Rejection, Runtimes};
use super::service::PATIENCE;
use super::wait::until_or_tell;
use super::{Connection, Token, until};

use super::dice::Dice;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub verifiers: usize,
    /// The longest that a verifier keeps its keys, in seconds.
    pub verifier_ttl: u64,
    pub mints_per_second: u32,
    /// Life of a token, as the service gives it.
    pub token_life: Duration,
}

/// Goes on until stopped.
#[derive(Debug)]
pub struct Traffic {
    gate: Gate,
    runtimes: Arc<Runtimes>,
    callers: Vec<JoinHandle<()>>,
    seen: Ends,
}

/// Ends the callers, also where a test fails.
#[derive(Debug)]
struct Ends(Arc<Seen>);

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub checks: usize,
    pub rejections: Vec<Rejection>,
    /// Not counted: replicas that were being stopped or started.
    pub failed_mints: Vec<String>,
    pub fetches: Vec<Fetch>,
}

#[derive(Debug)]
struct Seen {
    replicas: Addresses,
    pace: Pace,
    stop: AtomicBool,
    /// Which replica has signed with which key.
    signed: Mutex<BTreeSet<(String, usize)>>,
    failed: Mutex<Vec<String>>,
}

/// Verifiers allow so much beyond `exp`; what is judged later than this is judged by its age.
const LEEWAY: Duration = Duration::from_secs(60);
/// Time for a verifier to get to it.
const RESERVE: Duration = Duration::from_secs(8);

impl Traffic {
    pub fn start(fleet: &Fleet, pace: Pace) -> Self {
        let replicas = fleet.addresses();
        let gate = Gate::before(replicas.clone());
        let urls: Vec<String> = (0..pace.verifiers).map(|number| gate.url(number)).collect();
        let runtimes = Arc::new(Runtimes::start(urls, pace.verifier_ttl));
        let seen = Arc::new(Seen {
            replicas,
            pace,
            stop: AtomicBool::new(false),
            signed: Mutex::default(),
            failed: Mutex::default(),
        });
        let callers = (0..seen.replicas.count())
            .map(|replica| {
                let (seen, runtimes) = (Arc::clone(&seen), Arc::clone(&runtimes));
                std::thread::spawn(move || seen.mint(replica, &runtimes))
            })
            .collect();
        Self {
            gate,
            runtimes,
            callers,
            seen: Ends(seen),
        }
    }

    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn checks(&self) -> usize {
        self.runtimes.checks()
    }

    pub fn rejections(&self) -> Vec<Rejection> {
        self.runtimes.rejections()
    }

    /// Until every replica has signed with this key.
    pub fn wait_until_all_sign_with(&self, kid: &str) {
        self.wait_until_they_sign_with(kid, 0..self.seen.0.replicas.count());
    }

    /// Until each of these replicas has.
    pub fn wait_until_they_sign_with(&self, kid: &str, replicas: Range<usize>) {
        let all_have = || {
            let signed = self.seen.0.signed.lock().unwrap();
            let mut replicas = replicas.clone();
            replicas
                .all(|replica| signed.contains(&(kid.to_owned(), replica)))
                .then_some(())
        };
        until_or_tell("they sign with the new key", PATIENCE, all_have, || {
            self.seen.0.explained(kid)
        });
    }

    pub fn wait_for_checks(&self, count: usize) {
        until("so many checks", 2 * PATIENCE, || {
            (self.checks() >= count).then_some(())
        });
    }

    /// Until each verifier has judged something once, and so has keys.
    pub fn wait_until_all_have_keys(&self) {
        until("every verifier has fetched", PATIENCE, || {
            let fetches = self.gate.fetches();
            let with_keys = fetches.iter().filter(|fetch| fetch.kids.is_some());
            let verifiers: BTreeSet<usize> = with_keys.map(|fetch| fetch.verifier).collect();
            (verifiers.len() == self.seen.0.pace.verifiers).then_some(())
        });
    }

    pub fn stop(mut self) -> Outcome {
        self.seen.0.stop.store(true, Ordering::SeqCst);
        for caller in self.callers.drain(..) {
            caller.join().expect("a caller has ended before its time");
        }
        let mut runtimes = Arc::into_inner(self.runtimes).unwrap();
        runtimes.stop();
        Outcome {
            checks: runtimes.checks(),
            rejections: runtimes.rejections(),
            failed_mints: self.seen.0.failed.lock().unwrap().clone(),
            fetches: self.gate.fetches(),
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

impl Seen {
    fn mint(&self, replica: usize, runtimes: &Runtimes) {
        let share = u32::try_from(self.replicas.count()).unwrap();
        let every = Duration::from_secs(1) * share / self.pace.mints_per_second;
        let mut dice = Dice::new();
        let mut next = Instant::now() + dice.between(Duration::ZERO, every);
        let mut open = None;
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next = (next + every).max(Instant::now().checked_sub(every).unwrap_or(next));
            let disturbed = self.replicas.is_disturbed(replica);
            match self.exchange(replica, &mut open) {
                Ok(compact) => self.send_round(replica, compact, runtimes, &mut dice),
                Err(_) if disturbed || self.replicas.is_disturbed(replica) => {}
                Err(why) => self
                    .failed
                    .lock()
                    .unwrap()
                    .push(format!("replica {replica}: {why}")),
            }
        }
    }

    /// How each replica stands to a key, and what mints failed with.
    fn explained(&self, kid: &str) -> String {
        let mut text = format!("; the key is {kid}\n");
        for replica in 0..self.replicas.count() {
            let signed = self.signed.lock().unwrap().clone();
            let signed: Vec<_> = signed.iter().filter(|(_, of)| *of == replica).collect();
            let ready = self.ready(replica).unwrap_or_else(|error| error);
            let _ = writeln!(text, "  {replica} signed {signed:?}; /readyz: {ready}");
        }
        let failed = self.failed.lock().unwrap();
        let _ = writeln!(text, "  {} mints failed", failed.len());
        for why in failed.iter().take(2).chain(failed.iter().rev().take(2)) {
            let _ = writeln!(text, "  {why}");
        }
        text
    }

    fn ready(&self, replica: usize) -> Result<String, String> {
        let port = self.replicas.port(replica);
        let mut connection = Connection::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
            .map_err(|error| error.to_string())?;
        connection
            .try_send("GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .map_err(|error| error.to_string())?;
        let answer = connection.answer().map_err(|none| format!("{none:?}"))?;
        Ok(answer.text())
    }

    /// On the connection from before, where it still stands.
    fn exchange(
        &self,
        replica: usize,
        open: &mut Option<(usize, Connection)>,
    ) -> Result<String, String> {
        let life = self.replicas.life(replica);
        let mut connection = match open.take() {
            Some((of, connection)) if of == life => connection,
            _ => {
                let port = self.replicas.port(replica);
                Connection::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
                    .map_err(|error| error.to_string())?
            }
        };
        let head = format!(
            "POST /tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        connection
            .try_send(head)
            .map_err(|error| error.to_string())?;
        let answer = connection.answer().map_err(|none| format!("{none:?}"))?;
        if answer.header("connection") != Some("close") {
            *open = Some((life, connection));
        }
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        Ok(answer.json()["token"].as_str().unwrap().to_owned())
    }

    /// To verifiers of the caller's choice, at once, during its life, and in the leeway after it.
    fn send_round(&self, replica: usize, compact: String, runtimes: &Runtimes, dice: &mut Dice) {
        let kid = Token::split(&compact).kid();
        self.signed.lock().unwrap().insert((kid.clone(), replica));
        let token = Arc::new(Minted {
            kid,
            compact,
            replica,
            at: Instant::now(),
        });
        let life = self.pace.token_life;
        let latest = life + LEEWAY - Duration::from_secs(1);
        let second = Duration::from_secs(1);
        for (from, to, times) in [
            (Duration::ZERO, second, 4),
            (Duration::ZERO, life, 2),
            (life, latest - RESERVE, 2),
        ] {
            for _ in 0..times {
                let verifier = dice.below(runtimes.count());
                runtimes.appoint(verifier, &token, dice.between(from, to), latest);
            }
        }
    }
}

impl Outcome {
    /// Fails with everything that explains a rejection, and with the failed mints.
    pub fn must_be_flawless(&self, fleet: &Fleet) {
        assert!(
            self.rejections.is_empty() && self.failed_mints.is_empty(),
            "{}{}",
            fleet.earlier_logs(),
            self.explained()
        );
    }

    pub fn explained(&self) -> String {
        let mut text = format!(
            "{} rejected of {}, {} mints failed {:?}\n",
            self.rejections.len(),
            self.checks,
            self.failed_mints.len(),
            self.failed_mints.iter().take(5).collect::<Vec<_>>()
        );
        for rejection in self.rejections.iter().take(5) {
            let Rejection {
                token,
                verifier,
                at,
                error,
            } = rejection;
            let before = self.fetches.iter().rev();
            let before =
                before.filter(|fetch| fetch.verifier == *verifier && fetch.at <= *at + SOON);
            let _ = writeln!(
                text,
                "  {error}\n    a token of {:.3} s under {} by replica {}; verifier {verifier} had fetched:",
                (*at - token.at).as_secs_f64(),
                token.kid,
                token.replica
            );
            for fetch in before.take(4) {
                let ago = match at.checked_duration_since(fetch.at) {
                    Some(ago) => format!("{:.3} s before", ago.as_secs_f64()),
                    None => format!("{:.3} s after", (fetch.at - *at).as_secs_f64()),
                };
                let _ = writeln!(text, "    {ago}: {:?}", fetch.kids);
            }
        }
        text
    }
}

/// The fetch of the very judgement that failed counts.
const SOON: Duration = Duration::from_secs(1);
const BODY: &str = r#"{"sender":"agent://rotation"}"#;
