//! The server over real sockets, in the bytes that clients send. What it refuses to do for them is in server_limits_tests.rs.

use super::*;
use crate::clock::Moment;
use crate::config::{BindAddress, ClaimSettings};
use crate::jose::Algorithm;
use crate::keys::Signer;
use crate::keys::local::LocalKey;
use serde_json::Value;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) const MINT: &str =
    "POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
pub(super) const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that a test has to itself.
pub(super) struct Running {
    pub(super) port: u16,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) ended: JoinHandle<Drain>,
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::with(Limits::default(), 100).await
    }

    pub(super) async fn with(limits: Limits, max_connections: usize) -> Self {
        let listen = Listen {
            address: BindAddress::One(Ipv4Addr::LOCALHOST.into()),
            port: 0,
            max_connections,
        };
        let server = Server::bind(&listen).await.unwrap().with_limits(limits);
        let port = server.port();
        let (stopping, stopped) = oneshot::channel();
        let stop = async {
            let _told = stopped.await;
        };
        let ended = tokio::spawn(server.run(Arc::new(app()), stop, |()| {}));
        Self {
            port,
            stop: stopping,
            ended,
        }
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// Sends on a connection of its own; everything that comes until the server closes.
    pub(super) async fn tell(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    pub(super) async fn stop(self) -> Drain {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }
}

fn app() -> App {
    App {
        signer: Signer::alone(
            LocalKey::ephemeral(Algorithm::Es256).unwrap(),
            Moment::now(),
        ),
        claims: ClaimSettings {
            issuer: "i".into(),
            audience: "a".into(),
            default_ttl: 300,
            max_ttl: 3600,
        },
        sign_timeout: Duration::from_secs(3),
        jwks_max_age: Duration::from_secs(60),
        source: "ephemeral",
    }
}

pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One answer: its head and as much body as it declares.
    pub(super) async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(self.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(text).unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        head + std::str::from_utf8(&body).unwrap()
    }

    pub(super) async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        timeout(Duration::from_secs(20), self.0.read_to_end(&mut text))
            .await
            .expect("the server closes")
            .unwrap();
        String::from_utf8(text).unwrap()
    }
}

pub(super) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_end())
}

pub(super) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

pub(super) fn mint(json: &str) -> String {
    format!("{MINT}Content-Length: {}\r\n\r\n{json}", json.len())
}

pub(super) fn closing(request: &str) -> String {
    request.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

#[tokio::test]
async fn a_mint_answers_200_with_three_members_in_order() {
    let server = Running::start().await;

    let answer = server
        .tell(closing(&mint(r#"{"sender":"me","ttl_seconds":1e2}"#)))
        .await;

    assert_eq!(status(&answer), "200");
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert_eq!(header(&answer, "etag"), None);
    assert_eq!(header(&answer, "server"), None);
    let value: Value = serde_json::from_str(body(&answer)).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["token", "sender", "expires_in_seconds"]);
    assert!(body(&answer).ends_with(r#","sender":"me","expires_in_seconds":100}"#));
}

#[tokio::test]
async fn routes_answer_as_the_contract_says() {
    let server = Running::start().await;
    for (line, want, in_body) in [
        ("GET /healthz", "200", r#"{"ok":true}"#),
        ("GET /HealthZ/?x=1", "200", r#"{"ok":true}"#),
        ("GET /readyz", "200", r#""ready":true,"for":"mint""#),
        ("GET /readyz?for=jwks", "200", r#""for":"jwks""#),
        (
            "GET /readyz?for=x",
            "400",
            r#"{"error":"for must be mint or jwks"}"#,
        ),
        (
            "GET /.well-known/jwks.json",
            "200",
            r#"{"keys":[{"kty":"EC""#,
        ),
        ("GET /", "404", r#"{"error":"not found"}"#),
        ("DELETE /nowhere", "404", r#"{"error":"not found"}"#),
        ("GET /tokens", "405", r#"{"error":"method not allowed"}"#),
        (
            "OPTIONS /tokens",
            "405",
            r#"{"error":"method not allowed"}"#,
        ),
        ("POST /healthz", "405", r#"{"error":"method not allowed"}"#),
        ("POST /tokens", "400", r#"{"error":"sender is required"}"#),
        ("HEAD /nowhere", "404", ""),
        ("CONNECT a:1", "404", ""),
    ] {
        let answer = server
            .tell(format!(
                "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&answer), want, "{line}");
        assert!(body(&answer).contains(in_body), "{line}: {answer}");
    }
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_body() {
    let server = Running::start().await;
    for path in ["/healthz", "/.well-known/jwks.json", "/readyz"] {
        let ask = |method| closing(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));

        let (get, head) = (
            server.tell(ask("GET")).await,
            server.tell(ask("HEAD")).await,
        );

        assert_eq!(body(&head), "", "{path}");
        let length = header(&head, "content-length").unwrap().parse::<usize>();
        assert_eq!(length, Ok(body(&get).len()), "{path}");
        assert_eq!(header(&get, "etag"), header(&head, "etag"), "{path}");
    }
}

#[tokio::test]
async fn a_known_jwks_is_not_sent_again() {
    let server = Running::start().await;
    let mut client = server.connect().await;
    client
        .send("GET /.well-known/jwks.json HTTP/1.1\r\n\r\n")
        .await;
    let first = client.answer().await;
    let etag = header(&first, "etag").unwrap();
    assert!(etag.starts_with('"'), "a strong tag");

    client
        .send(format!(
            "GET /.well-known/jwks.json HTTP/1.1\r\nIf-None-Match: W/{etag}\r\n\r\n"
        ))
        .await;
    let second = client.answer().await;

    assert_eq!(status(&second), "304");
    assert_eq!(header(&second, "content-length"), None);
    for name in ["etag", "cache-control"] {
        assert_eq!(header(&second, name), header(&first, name));
    }
    assert_eq!(header(&first, "cache-control"), Some("public, max-age=60"));
    client.send(HEALTH).await;
    assert_eq!(
        status(&client.answer().await),
        "200",
        "nothing is left over"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Running::start().await;
    let mut client = server.connect().await;
    let unread = "POST /nowhere HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";

    client
        .send(format!(
            "{HEALTH}{}{unread}{}{}",
            mint(r#"{"sender":"a"}"#),
            mint("{}"),
            closing(HEALTH)
        ))
        .await;

    let answers = client.rest().await;
    let statuses: Vec<_> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "404", "400", "200"]);
}

#[tokio::test]
async fn http_1_0_without_host_works_even_half_closed() {
    let server = Running::start().await;
    let mut client = server.connect().await;

    client.send("GET /healthz HTTP/1.0\r\n\r\n").await;
    client.0.shutdown().await.unwrap();

    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!(body(&answer), r#"{"ok":true}"#);
}

#[tokio::test]
async fn a_chunked_body_is_read_and_the_connection_kept() {
    let server = Running::start().await;
    let mut client = server.connect().await;
    client
        .send(format!(
            "{MINT}Transfer-Encoding: chunked\r\n\r\n8\r\n{{\"sende"
        ))
        .await;
    client
        .send("\r\n7;x=y\r\nr\":\"a\"}\r\n0\r\nTrailer: x\r\n\r\n")
        .await;
    // Nine bytes were announced as eight: the framing is broken.
    assert_eq!(status(&client.rest().await), "400");

    let mut client = server.connect().await;
    client
        .send(format!(
            "{MINT}Transfer-Encoding: chunked\r\n\r\n7\r\n{{\"sende\r\n"
        ))
        .await;
    client
        .send("7;x=y\r\nr\":\"a\"}\r\n0\r\nTrailer: x\r\n\r\n")
        .await;
    assert_eq!(status(&client.answer().await), "200");
    client.send(HEALTH).await;
    assert_eq!(status(&client.answer().await), "200");
}

#[tokio::test]
async fn a_client_that_waits_to_continue_is_told_or_refused() {
    let server = Running::start().await;
    let json = r#"{"sender":"a"}"#;
    let mut client = server.connect().await;
    client
        .send(format!(
            "{MINT}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            json.len()
        ))
        .await;
    assert_eq!(client.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(json).await;
    assert_eq!(status(&client.answer().await), "200");
    drop(client);

    for (name, head, want) in [
        (
            "too large",
            format!("{MINT}Content-Length: 102401\r\n"),
            "413",
        ),
        (
            "no content type",
            "POST /tokens HTTP/1.1\r\nContent-Length: 9\r\n".to_owned(),
            "400",
        ),
    ] {
        let mut client = server.connect().await;
        client
            .send(format!("{head}Expect: 100-continue\r\n\r\n"))
            .await;
        let answer = client.rest_of_half_closed().await;
        assert_eq!(status(&answer), want, "{name}: no 100 first");
        assert_eq!(header(&answer, "connection"), Some("close"), "{name}");
    }
}

impl Client {
    /// Everything that comes, then our half is closed too.
    async fn rest_of_half_closed(&mut self) -> String {
        let text = self.rest().await;
        self.0.shutdown().await.unwrap();
        text
    }
}

#[tokio::test]
async fn pages_of_other_hosts_cannot_mint() {
    let server = Running::start().await;
    for (origin, want) in [
        ("http://localhost:3000", "200"),
        ("https://evil.example", "403"),
        ("null", "403"),
    ] {
        let request =
            mint(r#"{"sender":"a"}"#).replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1);
        assert_eq!(
            status(&server.tell(closing(&request)).await),
            want,
            "{origin}"
        );
    }
}
