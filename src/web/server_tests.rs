//! The server over real sockets, in the bytes that clients send.

use super::*;
use crate::clock::Deadline;
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

const MINT: &str = "POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that a test has to itself.
struct Running {
    port: u16,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drain>,
}

impl Running {
    async fn start() -> Self {
        Self::with(Limits::default(), 100).await
    }

    async fn with(limits: Limits, max_connections: usize) -> Self {
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

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// Sends on a connection of its own; everything that comes until the server closes.
    async fn tell(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    async fn stop(self) -> Drain {
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

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One answer: its head and as much body as it declares.
    async fn answer(&mut self) -> String {
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

    async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        timeout(Duration::from_secs(20), self.0.read_to_end(&mut text))
            .await
            .expect("the server closes")
            .unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_end())
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn mint(json: &str) -> String {
    format!("{MINT}Content-Length: {}\r\n\r\n{json}", json.len())
}

fn closing(request: &str) -> String {
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
async fn heads_are_limited_in_number_and_size() {
    let server = Running::start().await;
    let many = |count| {
        format!(
            "GET /healthz HTTP/1.1\r\nConnection: close\r\n{}\r\n",
            "a: b\r\n".repeat(count)
        )
    };
    let long = |size| {
        format!(
            "GET /healthz HTTP/1.1\r\nConnection: close\r\na: {}\r\n\r\n",
            "b".repeat(size)
        )
    };
    let short = long(0).len();
    for (name, request, want) in [
        ("100 headers", many(99), "200"),
        ("101 headers", many(100), "431"),
        ("16 KiB", long(16 * 1024 - short), "200"),
        ("more", long(16 * 1024 - short + 1), "431"),
        ("much more", long(500_000), "431"),
        (
            "a long path",
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)),
            "431",
        ),
        ("no request", "hello\r\n\r\n".to_owned(), "400"),
        (
            "two lengths",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            "400",
        ),
    ] {
        assert_eq!(status(&server.tell(request).await), want, "{name}");
    }
}

#[tokio::test]
async fn a_body_of_100_kib_is_read_and_one_byte_more_is_not() {
    let server = Running::start().await;
    let json = |size: usize| format!(r#"{{"sender":"a"{}}}"#, " ".repeat(size - 14));
    let chunked = |size| {
        let body = json(size);
        closing(&format!(
            "{MINT}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
        ))
    };
    for (name, request, want) in [
        ("declared", closing(&mint(&json(102_400))), "200"),
        ("declared, above", mint(&json(102_401)), "413"),
        ("declared, far above", mint(&json(10_000_000)), "413"),
        ("chunked", chunked(102_400), "200"),
        ("chunked, above", chunked(102_401), "413"),
        ("chunked, far above", chunked(10_000_000), "413"),
        (
            "elsewhere",
            mint(&json(10_000_000)).replace("/tokens", "/nowhere"),
            "404",
        ),
    ] {
        let answer = server.tell(request).await;
        assert_eq!(status(&answer), want, "{name}");
        assert_eq!(header(&answer, "connection"), Some("close"), "{name}");
    }
}

#[tokio::test]
async fn what_is_declared_too_large_is_refused_before_it_comes() {
    let server = Running::start().await;
    let mut client = server.connect().await;

    client
        .send(format!("{MINT}Content-Length: 102401\r\n\r\n"))
        .await;

    assert_eq!(status(&client.answer().await), "413");
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

#[tokio::test]
async fn slow_clients_are_left() {
    let short = Duration::from_millis(50);
    let usual = Limits::default();
    let first_byte = Limits {
        first_byte: short,
        ..usual
    };
    let idle = Limits {
        idle: short,
        ..usual
    };
    let head = Limits {
        head: short,
        ..usual
    };
    let body = Limits {
        body: short,
        linger: short,
        ..usual
    };
    let half_a_body = format!("{MINT}Content-Length: 9\r\n\r\n{{");
    let half_a_chunk = format!("{MINT}Transfer-Encoding: chunked\r\n\r\n9\r\n{{");
    for (name, limits, sent, want) in [
        ("nothing", first_byte, "", vec![]),
        ("half a head", head, "GET /healthz HT", vec![]),
        ("idle", idle, HEALTH, vec!["200"]),
        ("half a body", body, &half_a_body, vec!["408"]),
        ("half a chunk", body, &half_a_chunk, vec!["408"]),
    ] {
        let server = Running::with(limits, 100).await;
        let answers = server.tell(sent).await;
        let statuses: Vec<_> = answers
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|answer| &answer[..3])
            .collect();
        assert_eq!(statuses, want, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let limits = Limits {
        answer: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Running::with(limits, 100).await;
    let mut client = server.connect().await;
    let ask = "GET /.well-known/jwks.json HTTP/1.1\r\n\r\n".repeat(1000);

    let patience = Deadline::after(Duration::from_secs(20));
    while client.0.write_all(ask.as_bytes()).await.is_ok() {
        assert!(!patience.passed(), "the server holds the connection");
    }
}

#[tokio::test]
async fn beyond_the_limit_health_and_jwks_are_answered_and_mints_are_not() {
    let server = Running::with(Limits::default(), 1).await;
    let mut first = server.connect().await;
    first.send(HEALTH).await;
    first.answer().await;

    let mut second = server.connect().await;
    for path in ["/healthz", "/readyz", "/.well-known/jwks.json"] {
        second.send(format!("GET {path} HTTP/1.1\r\n\r\n")).await;
        assert_eq!(status(&second.answer().await), "200", "{path}");
    }
    second.send(mint(r#"{"sender":"a"}"#)).await;
    let refused = second.rest().await;
    assert_eq!(status(&refused), "503");
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    assert_eq!(header(&refused, "connection"), Some("close"));

    first.send(mint(r#"{"sender":"a"}"#)).await;
    assert_eq!(status(&first.answer().await), "200");
}

#[tokio::test]
async fn beyond_the_reserve_connections_wait_for_a_place() {
    let server = Running::with(Limits::default(), 1).await;
    let mut held = Vec::new();
    for _ in 0..=RESERVE {
        let mut client = server.connect().await;
        client.send(HEALTH).await;
        client.answer().await;
        held.push(client);
    }

    let mut waiting = server.connect().await;
    waiting.send(HEALTH).await;
    let early = timeout(Duration::from_millis(50), waiting.0.readable()).await;
    assert!(early.is_err(), "it is not served yet");

    held.pop();
    assert_eq!(status(&waiting.answer().await), "200");
}

#[tokio::test]
async fn on_stop_requests_in_flight_finish_and_idle_connections_close() {
    let server = Running::start().await;
    let mut idle = server.connect().await;
    idle.send(HEALTH).await;
    idle.answer().await;
    let json = r#"{"sender":"a"}"#;
    let mut in_body = server.connect().await;
    in_body
        .send(format!(
            "{MINT}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            json.len()
        ))
        .await;
    in_body.answer().await;
    let mut in_head = server.connect().await;
    in_head.send(HEALTH).await;
    in_head.answer().await;
    in_head.send("GET /hea").await;
    // Answered on the same thread after what was sent before: the head above has been read by then.
    let mut fence = server.connect().await;
    fence.send(HEALTH).await;
    fence.answer().await;

    let port = server.port;
    server.stop.send(()).unwrap();
    assert_eq!(idle.rest().await, "");
    in_body.send(json).await;
    in_head.send("lthz HTTP/1.1\r\n\r\n").await;

    for client in [&mut in_body, &mut in_head] {
        let answer = client.rest().await;
        assert_eq!(status(&answer), "200");
        assert_eq!(header(&answer, "connection"), Some("close"));
    }
    assert_eq!(server.ended.await.unwrap(), Drain::Finished);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let limits = Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Running::with(limits, 100).await;
    let mut client = server.connect().await;
    client
        .send(format!(
            "{MINT}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        ))
        .await;
    client.answer().await;

    assert_eq!(server.stop().await, Drain::Cut);
    assert_eq!(client.rest().await, "");
}
