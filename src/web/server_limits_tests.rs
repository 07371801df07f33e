//! What the server lets nobody do, over real sockets: send too much, be too slow, hold too many connections, outlast its stop.

use super::tests::{HEALTH, MINT, Running, closing, header, mint, status};
use super::*;
use crate::clock::Deadline;
use tokio::io::AsyncWriteExt as _;

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
