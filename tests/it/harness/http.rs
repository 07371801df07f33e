//! HTTP/1.1 over a plain socket, so that a test can send what no client library would.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One connection, with what was read of the next answer.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Closed (or reset) before the answer was complete.
    Closed,
    /// Nothing within [`LONGEST_WAIT`].
    Silent,
}

/// Longer than every time-out of the service that a test waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

impl Connection {
    pub fn open(port: u16) -> Self {
        Self::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), port).unwrap()
    }

    pub fn try_open(address: IpAddr, port: u16) -> std::io::Result<Self> {
        let stream =
            TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_secs(10))?;
        stream.set_read_timeout(Some(LONGEST_WAIT))?;
        stream.set_write_timeout(Some(LONGEST_WAIT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// No more will be sent.
    pub fn end_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// One request and its answer; the connection stays open.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let sizes_itself = headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !sizes_itself && (!body.is_empty() || method == "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send([head.as_bytes(), body].concat());
        self.answer_to(method)
            .unwrap_or_else(|none| panic!("{method} {path}: {none:?}"))
    }

    /// `POST /tokens` with a JSON body.
    pub fn post(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", "/tokens", &[JSON], body.as_ref())
    }

    /// The next answer to anything but HEAD.
    pub fn answer(&mut self) -> Result<Answer, NoAnswer> {
        self.answer_to("GET")
    }

    /// The next answer; that to HEAD has no body whatever its headers say.
    pub fn answer_to(&mut self, method: &str) -> Result<Answer, NoAnswer> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let mut answer = parse_head(&String::from_utf8(head).unwrap());
        let bodiless =
            method == "HEAD" || answer.status < 200 || [204, 304].contains(&answer.status);
        if bodiless {
            return Ok(answer);
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.unread.len() < length {
                self.read_more()?;
            }
            answer.body = self.unread.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            answer.body = self.read_chunks()?;
        } else {
            while self.read_more().is_ok() {}
            answer.body = std::mem::take(&mut self.unread);
        }
        Ok(answer)
    }

    /// Waits for the other side to close; false if it sends something or stays silent.
    pub fn is_closed_by_the_service(&mut self) -> bool {
        self.unread.is_empty() && self.read_more() == Err(NoAnswer::Closed)
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
            while self.unread.len() < size + 2 {
                self.read_more()?;
            }
            body.extend(self.unread.drain(..size));
            self.unread.drain(..2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn read_line(&mut self) -> Result<String, NoAnswer> {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return Ok(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), NoAnswer> {
        let mut part = [0; 16_384];
        match self.stream.read(&mut part) {
            Ok(0) => Err(NoAnswer::Closed),
            Ok(read) => {
                self.unread.extend_from_slice(&part[..read]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(NoAnswer::Silent)
            }
            Err(_) => Err(NoAnswer::Closed),
        }
    }
}

/// The header that makes a body count.
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

impl Answer {
    /// The value of a header; panics if it stands there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text()))
    }

    /// The sentence of an error, which has to be the whole of a short JSON body.
    pub fn error(&self) -> String {
        assert!(self.status >= 400, "no error: {self:?}");
        assert!(self.body.len() <= 200, "a long error body: {}", self.text());
        let media = self.header("content-type").unwrap_or_default();
        assert!(media.starts_with("application/json"), "{self:?}");
        let body = self.json();
        let members = body.as_object().unwrap();
        assert_eq!(members.len(), 1, "{body}");
        members["error"].as_str().unwrap().to_owned()
    }
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let mut status_line = lines.next().unwrap().splitn(3, ' ');
    assert!(status_line.next().unwrap().starts_with("HTTP/1."));
    let status = status_line.next().unwrap().parse().unwrap();
    let headers = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    Answer {
        status,
        headers,
        body: Vec::new(),
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
