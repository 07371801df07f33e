//! HTTP as probes, proxies and rude clients speak it.

use super::{NO_SENDER, outcome, service};
use crate::harness::{Answer, Connection, Service};

const MINT: &str = r#"{"sender":"a"}"#;

fn head(length: &str) -> String {
    format!(
        "POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    )
}

fn exchange(service: &Service, request: impl AsRef<[u8]>) -> (Connection, Answer) {
    let mut connection = service.connect();
    connection.send(request);
    let answer = connection.answer().unwrap();
    (connection, answer)
}

#[test]
fn a_probe_in_http_1_0_needs_no_host() {
    let service = service();
    for request in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nUser-Agent: kube-probe\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n",
    ] {
        let (mut connection, answer) = exchange(&service, request);
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"ok":true}"#.to_owned())
        );
        assert!(
            connection.is_closed_by_the_service(),
            "HTTP/1.0 without keep-alive"
        );
    }
    let request = format!(
        "POST /tokens HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{MINT}",
        MINT.len()
    );
    let (_, answer) = exchange(&service, request);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_connection_serves_many_requests_until_it_is_asked_to_close() {
    let service = service();
    let mut connection = service.connect();
    for _ in 0..100 {
        assert_eq!(connection.post(MINT).status, 200);
        assert_eq!(connection.post("{").status, 400);
        assert_eq!(connection.request("GET", "/nowhere", &[], b"").status, 404);
    }

    let last = connection.request("GET", "/healthz", &[("Connection", "close")], b"");
    assert_eq!(last.status, 200);
    assert!(connection.is_closed_by_the_service());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = service();
    let mut connection = service.connect();
    let length = format!("Content-Length: {}", MINT.len());
    connection.send(format!(
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n{}{MINT}GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nGET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n",
        head(&length)
    ));

    let answers: Vec<_> = (0..4).map(|_| connection.answer().unwrap()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 404, 200]);
    assert!(answers[1].json()["token"].is_string());
    assert!(answers[3].json()["keys"].is_array());
}

#[test]
fn chunked_bodies_are_read() {
    let service = service();
    for (name, body, want) in [
        (
            "one chunk",
            format!("{:x}\r\n{MINT}\r\n0\r\n\r\n", MINT.len()),
            "200",
        ),
        (
            "upper-case size",
            format!("{:X}\r\n{MINT}\r\n0\r\n\r\n", MINT.len()),
            "200",
        ),
        (
            "with extension",
            format!("{:x};a=b\r\n{MINT}\r\n0\r\n\r\n", MINT.len()),
            "200",
        ),
        (
            "with trailer",
            format!("{:x}\r\n{MINT}\r\n0\r\nX-Sum: 1\r\n\r\n", MINT.len()),
            "200",
        ),
        (
            "byte by byte",
            MINT.chars()
                .map(|char| format!("1\r\n{char}\r\n"))
                .collect::<String>()
                + "0\r\n\r\n",
            "200",
        ),
        ("empty", "0\r\n\r\n".to_owned(), NO_SENDER),
    ] {
        let (_, answer) = exchange(&service, head("Transfer-Encoding: chunked") + &body);
        assert_eq!(outcome(&answer), want, "{name}");
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let service = service();
    let mut connection = service.connect();
    let request = head(&format!("Content-Length: {}", MINT.len())) + MINT;
    for byte in request.as_bytes() {
        connection.send([*byte]);
    }

    assert_eq!(connection.answer().unwrap().status, 200);
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let service = service();
    let mut connection = service.connect();
    connection.send(head(&format!(
        "Expect: 100-continue\r\nContent-Length: {}",
        MINT.len()
    )));
    assert_eq!(connection.answer().unwrap().status, 100);

    connection.send(MINT);
    assert_eq!(connection.answer().unwrap().status, 200);
}

#[test]
fn expect_100_continue_with_too_large_a_body_gets_413_at_once() {
    let (_, answer) = exchange(
        &service(),
        head("Expect: 100-continue\r\nContent-Length: 102401"),
    );

    assert_eq!(answer.status, 413);
    answer.error();
}

#[test]
fn bytes_that_are_no_request_end_the_connection_and_nothing_else() {
    let service = service();
    let rows: &[(&str, &[u8])] = &[
        ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("rubbish", b"rubbish\r\n\r\n"),
        ("zeros", &[0; 64]),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("no version", b"GET /healthz\r\n\r\n"),
        ("HTTP/9", b"GET /healthz HTTP/9.0\r\n\r\n"),
        ("NUL in a header", b"GET /healthz HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        ("header without colon", b"GET /healthz HTTP/1.1\r\nHost a\r\n\r\n"),
        ("space in a header name", b"GET /healthz HTTP/1.1\r\nHo st: a\r\n\r\n"),
        ("two lengths", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("negative length", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
        ("length with sign", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        ("length in letters", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\n"),
        ("length beyond 64 bits", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("unknown transfer coding", b"POST /tokens HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("chunk size that is none", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("endless chunk size", b"POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n"),
    ];
    for (name, bytes) in rows {
        let mut connection = service.connect();
        connection.send(bytes);
        connection.end_sending();
        if let Ok(answer) = connection.answer() {
            assert!(
                (400..500).contains(&answer.status) || answer.status == 505,
                "{name}: {answer:?}"
            );
            if !answer.body.is_empty() {
                answer.error();
            }
        }
        assert_eq!(service.get("/healthz").status, 200, "after {name}");
    }
}

#[test]
fn a_length_beside_chunks_smuggles_nothing() {
    let service = service();
    let smuggled = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = head(&format!(
        "Content-Length: {}\r\nTransfer-Encoding: chunked",
        smuggled.len()
    )) + "0\r\n\r\n"
        + smuggled;
    let (mut connection, first) = exchange(&service, request);

    assert_eq!(first.status, 400);
    // Either the chunks counted and the rest is a request of its own, or the connection is over.
    if let Ok(second) = connection.answer() {
        assert_eq!(second.status, 404);
    }
}

#[test]
fn a_client_that_leaves_early_harms_nobody() {
    let service = service();
    for request in [
        "G".to_owned(),
        "POST /tokens HTTP/1.1\r\nHost: a\r\n".to_owned(),
        head("Content-Length: 100") + "{",
        head("Transfer-Encoding: chunked") + "5\r\nab",
        head("Content-Length: 200000") + "x",
        head(&format!("Content-Length: {}", MINT.len())) + MINT,
    ] {
        let mut connection = service.connect();
        connection.send(request);
        drop(connection);
        assert_eq!(service.post(MINT).status, 200);
    }
}

#[test]
fn the_absolute_form_of_a_proxy_is_understood() {
    let (_, answer) = exchange(
        &service(),
        "GET http://auth.example:3200/healthz HTTP/1.1\r\nHost: auth.example:3200\r\n\r\n",
    );

    assert_eq!(answer.status, 200);
}

#[test]
fn a_body_on_a_get_does_not_disturb_the_next_request() {
    let service = service();
    let mut connection = service.connect();
    let first = connection.request("GET", "/healthz", &[], b"GET /nowhere HTTP/1.1\r\n\r\n");
    assert_eq!(first.status, 200);

    assert_eq!(
        connection
            .request("GET", "/.well-known/jwks.json", &[], b"")
            .status,
        200
    );
}
