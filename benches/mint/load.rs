//! Load over keep-alive connections, one blocking thread each: as little client as possible beside the server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Request {
    Mint,
    Jwks,
}

const CONNECTIONS: usize = 16;

impl Request {
    fn bytes(self) -> Vec<u8> {
        let body = r#"{"sender":"agent://risk","scopes":{"can_start_sessions":true,"is_observer":false,"allowed_modes":["macp.mode.decision.v1"],"max_open_sessions":1},"ttl_seconds":600}"#;
        match self {
            Self::Mint => format!(
                "POST /tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            Self::Jwks => "GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        }
        .into_bytes()
    }
}

/// Requests answered with 200 within `time`, after a warm-up that is not counted.
pub(crate) fn run(
    port: u16,
    request: Request,
    time: Duration,
    warm: impl FnOnce(),
) -> (u64, Duration) {
    let (done, counting, stop) = (
        AtomicU64::new(0),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| connection(port, request, &done, &counting, &stop));
        }
        std::thread::sleep(Duration::from_millis(500));
        warm();
        counting.store(true, Ordering::Relaxed);
        let start = Instant::now();
        std::thread::sleep(time);
        let took = start.elapsed();
        let count = done.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        (count, took)
    })
}

fn connection(
    port: u16,
    request: Request,
    done: &AtomicU64,
    counting: &AtomicBool,
    stop: &AtomicBool,
) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let bytes = request.bytes();
    let mut buffer = vec![0; 16 * 1024];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&bytes).unwrap();
        answer(&mut stream, &mut buffer);
        if counting.load(Ordering::Relaxed) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads one answer by its Content-Length; anything but 200 ends the benchmark.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the service closed the connection");
        filled += read;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        assert!(
            text.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&text[..head])
        );
        if filled >= head + 4 + content_length(&text[..head]) {
            return;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-length:"))
        .unwrap();
    line[15..].trim().parse().unwrap()
}
