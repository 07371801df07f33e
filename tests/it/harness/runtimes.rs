//! Verifiers of the runtime (its own crate, in processes of their own), each with its cache of the key set: they judge
//! tokens when their time has come, and keep what they reject.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::precondition::tools;

/// One verifier. It refreshes its keys when it is asked and they are older than its TTL, never because of an unknown kid.
#[derive(Debug)]
pub struct Runtime {
    child: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A token on its way.
#[derive(Debug)]
pub struct Minted {
    pub compact: String,
    pub kid: String,
    pub replica: usize,
    pub at: Instant,
}

/// A token that a verifier did not take.
#[derive(Debug, Clone)]
pub struct Rejection {
    pub token: Arc<Minted>,
    pub verifier: usize,
    pub at: Instant,
    pub error: String,
}

/// Many of them. They stop when dropped.
#[derive(Debug)]
pub struct Runtimes {
    inboxes: Vec<Sender<Appointment>>,
    threads: Vec<JoinHandle<()>>,
    verdicts: Arc<Verdicts>,
}

#[derive(Debug, Default)]
struct Verdicts {
    checks: AtomicUsize,
    rejections: Mutex<Vec<Rejection>>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Appointment {
    due: Instant,
    /// Later it would say nothing about keys: the token is too old.
    latest: Instant,
    token: Arc<Minted>,
}

impl Runtime {
    pub fn new(jwks_url: &str, ttl_seconds: u64) -> Self {
        let mut child = Command::new(&tools().runtime_verifier)
            .args([jwks_url, "macp-auth-service", "macp-runtime"])
            .arg(ttl_seconds.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            answers,
        }
    }

    /// `Err` is why it does not take the token.
    pub fn judge(&mut self, compact: &str) -> Result<(), String> {
        writeln!(self.input, "{compact}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let verdict: Value = serde_json::from_str(&line).unwrap();
        if verdict["ok"] == true {
            return Ok(());
        }
        Err(verdict["error"].as_str().unwrap().to_owned())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runtimes {
    /// One for each URL.
    pub fn start(urls: impl IntoIterator<Item = String>, ttl_seconds: u64) -> Self {
        let verdicts = Arc::new(Verdicts::default());
        let (inboxes, threads) = urls
            .into_iter()
            .enumerate()
            .map(|(number, url)| {
                let (inbox, appointments) = channel();
                let verdicts = Arc::clone(&verdicts);
                let runtime = Runtime::new(&url, ttl_seconds);
                let thread =
                    std::thread::spawn(move || verdicts.collect(number, runtime, &appointments));
                (inbox, thread)
            })
            .unzip();
        Self {
            inboxes,
            threads,
            verdicts,
        }
    }

    /// One of them judges the token when it has this age, if it gets to it before the token has the other.
    pub fn appoint(&self, verifier: usize, token: &Arc<Minted>, age: Duration, at_most: Duration) {
        // A verifier that is gone is noticed when they are stopped.
        let _ = self.inboxes[verifier].send(Appointment {
            due: token.at + age,
            latest: token.at + at_most,
            token: Arc::clone(token),
        });
    }

    pub fn count(&self) -> usize {
        self.inboxes.len()
    }

    pub fn checks(&self) -> usize {
        self.verdicts.checks.load(Ordering::SeqCst)
    }

    pub fn rejections(&self) -> Vec<Rejection> {
        self.verdicts.rejections.lock().unwrap().clone()
    }

    /// Open appointments are dropped.
    pub fn stop(&mut self) {
        self.verdicts.stop.store(true, Ordering::SeqCst);
        self.inboxes.clear();
        for thread in self.threads.drain(..) {
            thread.join().expect("a verifier has ended before its time");
        }
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        self.verdicts.stop.store(true, Ordering::SeqCst);
        self.inboxes.clear();
    }
}

impl Verdicts {
    fn collect(&self, number: usize, mut runtime: Runtime, inbox: &Receiver<Appointment>) {
        let mut waiting = BinaryHeap::new();
        while !self.stop.load(Ordering::SeqCst) {
            let next = waiting
                .peek()
                .map(|Reverse(first): &Reverse<Appointment>| first.due);
            let patience = next.map_or(LOOK_UP, |due| {
                due.saturating_duration_since(Instant::now()).min(LOOK_UP)
            });
            match inbox.recv_timeout(patience) {
                Ok(appointment) => {
                    waiting.push(Reverse(appointment));
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let due = |first: &Reverse<Appointment>| first.0.due <= Instant::now();
            if waiting.peek().is_some_and(due)
                && let Some(Reverse(appointment)) = waiting.pop()
                && Instant::now() < appointment.latest
            {
                self.note(number, &mut runtime, appointment.token);
            }
        }
    }

    fn note(&self, verifier: usize, runtime: &mut Runtime, token: Arc<Minted>) {
        let at = Instant::now();
        let verdict = runtime.judge(&token.compact);
        self.checks.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = verdict {
            self.rejections.lock().unwrap().push(Rejection {
                token,
                verifier,
                at,
                error,
            });
        }
    }
}

impl PartialEq for Appointment {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Appointment {}

impl PartialOrd for Appointment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Appointment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

/// How long a verifier without work may miss that all is over.
const LOOK_UP: Duration = Duration::from_millis(200);
