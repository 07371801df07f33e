//! The one address under which verifiers fetch the key set: each fetch goes to the next replica that says it is ready for
//! it, as behind a load balancer, and the way can be shut. It keeps a record of who fetched what, and when.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fleet::Addresses;
use super::{Answer, Connection, Jwks};

/// Closes when dropped.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    ways: Arc<Ways>,
    thread: Option<JoinHandle<()>>,
}

/// What one verifier got.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub verifier: usize,
    pub at: Instant,
    /// The kids of the set; None: it got no answer.
    pub kids: Option<Vec<String>>,
}

#[derive(Debug)]
struct Ways {
    replicas: Addresses,
    turn: AtomicUsize,
    shut: AtomicBool,
    /// It asks no replica whether it is ready.
    careless: AtomicBool,
    closed: AtomicBool,
    fetches: Mutex<Vec<Fetch>>,
}

impl Gate {
    pub fn before(replicas: Addresses) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ways = Arc::new(Ways {
            replicas,
            turn: AtomicUsize::new(0),
            shut: AtomicBool::new(false),
            careless: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            fetches: Mutex::default(),
        });
        let passing = Arc::clone(&ways);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if passing.closed.load(Ordering::SeqCst) {
                    return;
                }
                let passing = Arc::clone(&passing);
                std::thread::spawn(move || passing.pass(&stream.unwrap()));
            }
        });
        Self {
            port,
            ways,
            thread: Some(thread),
        }
    }

    /// Where a verifier of this number fetches.
    pub fn url(&self, verifier: usize) -> String {
        format!(
            "http://127.0.0.1:{}/{verifier}/.well-known/jwks.json",
            self.port
        )
    }

    /// From now on no fetch succeeds.
    pub fn shut(&self) {
        self.ways.shut.store(true, Ordering::SeqCst);
    }

    pub fn open(&self) {
        self.ways.shut.store(false, Ordering::SeqCst);
    }

    /// From now on a fetch goes to any replica, ready or not.
    pub fn be_careless(&self) {
        self.ways.careless.store(true, Ordering::SeqCst);
    }

    pub fn fetches(&self) -> Vec<Fetch> {
        self.ways.fetches.lock().unwrap().clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.ways.closed.store(true, Ordering::SeqCst);
        // The listener waits for one more.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Ways {
    /// One request, one answer, as HTTP/1.1 allows anybody in between.
    fn pass(&self, stream: &TcpStream) {
        let Some(verifier) = asked_by(stream) else {
            return;
        };
        let body = self.fetch();
        // Before the verifier has it, so that no token is judged by a set that is not on record.
        self.fetches.lock().unwrap().push(Fetch {
            verifier,
            at: Instant::now(),
            kids: body.as_deref().map(|body| Jwks::parse(body).kids()),
        });
        if let Some(body) = body {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let mut out = stream;
            let _ = out.write_all(answer.as_bytes());
        }
    }

    fn fetch(&self) -> Option<String> {
        if self.shut.load(Ordering::SeqCst) {
            return None;
        }
        let all = self.replicas.count();
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        let in_turn = (0..all).map(|next| (turn + next) % all);
        let mut ready = in_turn.filter(|&number| self.is_ready(number));
        let number = if self.careless.load(Ordering::SeqCst) {
            turn % all
        } else {
            // Where none is ready, any is better than none.
            ready.next().unwrap_or(turn % all)
        };
        let answer = self.get(number, "/.well-known/jwks.json")?;
        (answer.status == 200).then(|| answer.text())
    }

    fn is_ready(&self, number: usize) -> bool {
        self.get(number, "/readyz?for=jwks")
            .is_some_and(|answer| answer.status == 200)
    }

    fn get(&self, number: usize, path: &str) -> Option<Answer> {
        let port = self.replicas.port(number);
        let mut connection = Connection::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), port).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.try_send(head).ok()?;
        connection.answer().ok()
    }
}

/// The number in the path of the request.
fn asked_by(stream: &TcpStream) -> Option<usize> {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    for line in lines {
        if line.ok()?.is_empty() {
            return first.split('/').nth(1)?.parse().ok();
        }
    }
    None
}
