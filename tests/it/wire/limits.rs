//! Sizes, counts and time-outs. The slow ones take as long as the time-out they show; all run side by side.

use std::time::{Duration, Instant};

use super::{NO_SENDER, outcome, service};
use crate::harness::{Launch, until};

const LARGEST: usize = 102_400;

fn body_of(length: usize) -> Vec<u8> {
    let frame = r#"{"sender":"a","x":""}"#.len();
    format!(r#"{{"sender":"a","x":"{}"}}"#, "x".repeat(length - frame)).into_bytes()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in body.chunks(size) {
        sent.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    sent
}

#[test]
fn a_body_of_exactly_100_kib_is_read_and_one_byte_more_is_not() {
    let service = service();
    for (length, status) in [
        (1000, 200),
        (LARGEST - 1, 200),
        (LARGEST, 200),
        (LARGEST + 1, 413),
        (LARGEST * 2, 413),
    ] {
        let body = body_of(length);
        let declared = service.post(&body);
        assert_eq!(declared.status, status, "{length} declared");
        for size in [1000, LARGEST * 2] {
            let headers = [
                ("Content-Type", "application/json"),
                ("Transfer-Encoding", "chunked"),
            ];
            let answer = service.request("POST", "/tokens", &headers, &chunked(&body, size));
            assert_eq!(answer.status, status, "{length} in chunks of {size}");
            if status == 413 {
                answer.error();
            }
        }
    }
    let spaces = [br#"{"sender":"a"}"#.as_slice(), &vec![b' '; LARGEST]].concat();
    assert_eq!(service.post(&spaces).status, 413, "spaces count");
    assert_eq!(
        service.post("x".repeat(LARGEST + 1)).status,
        413,
        "the size comes before the syntax"
    );
}

#[test]
fn a_large_body_of_another_type_is_no_body() {
    let service = service();
    let headers = [("Content-Type", "text/plain")];

    let answer = service.request("POST", "/tokens", &headers, &body_of(LARGEST + 1));
    assert_eq!(outcome(&answer), NO_SENDER);
}

#[test]
fn too_large_a_declared_body_is_refused_before_it_comes() {
    let service = service();
    for length in ["102401", "1073741824", "9223372036854775807"] {
        let mut connection = service.connect();
        let since = Instant::now();
        connection.send(format!("POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"));
        let answer = connection.answer().unwrap();

        assert_eq!(answer.status, 413, "{length}");
        assert!(
            since.elapsed() < Duration::from_secs(2),
            "{length}: {:?}",
            since.elapsed()
        );
        answer.error();
        assert!(connection.is_closed_by_the_service(), "{length}");
    }
}

#[test]
fn a_client_that_is_still_sending_can_read_the_413() {
    let service = service();
    let body = vec![b'x'; 20 << 20];
    let answer = service.post(&body);
    assert_eq!(answer.status, 413, "20 MiB declared");
    answer.error();

    let headers = [
        ("Content-Type", "application/json"),
        ("Transfer-Encoding", "chunked"),
    ];
    let answer = service.request("POST", "/tokens", &headers, &chunked(&body, 1 << 16));
    assert_eq!(answer.status, 413, "20 MiB in chunks");
    answer.error();
}

#[test]
fn a_client_that_sends_without_end_is_cut_off() {
    let service = service();
    let mut connection = service.connect();
    connection.send("POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();

    let since = Instant::now();
    let sent = (0..16_384)
        .take_while(|_| connection.try_send(&chunk).is_ok())
        .count();
    assert!(sent < 16_384, "a gibibyte was taken");
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(service.get("/healthz").status, 200);
}

#[test]
fn a_request_has_at_most_100_headers_of_16_kib() {
    let service = service();
    let with = |count: usize, length: usize| {
        let headers: String = (0..count)
            .map(|number| format!("X-{number}: {}\r\n", "v".repeat(length)))
            .collect();
        format!("GET /healthz HTTP/1.1\r\n{headers}\r\n")
    };
    for (name, request, want) in [
        ("100 headers", with(100, 1), 200),
        ("101 headers", with(101, 1), 431),
        ("500 headers", with(500, 1), 431),
        ("15 KiB", with(1, 15_000), 200),
        ("15 KiB in many", with(90, 160), 200),
        ("17 KiB in one", with(1, 17_000), 431),
        ("17 KiB in many", with(90, 190), 431),
        ("200 KiB", with(1, 200_000), 431),
    ] {
        let mut connection = service.connect();
        // The service may have closed before all is sent.
        let _ = connection.try_send(&request);
        let answer = connection
            .answer()
            .unwrap_or_else(|none| panic!("{name}: {none:?}"));
        assert_eq!(answer.status, want, "{name}");
    }
    let mut connection = service.connect();
    let _ = connection.try_send(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)));
    let status = connection.answer().unwrap().status;
    assert!([414, 431].contains(&status), "a long path: {status}");
}

/// Takes five seconds.
#[test]
fn a_head_that_does_not_come_is_waited_for_five_seconds() {
    let service = service();
    for begun in ["GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow", "POST"] {
        let mut connection = service.connect();
        connection.send(begun);
        let since = Instant::now();
        if let Ok(answer) = connection.answer() {
            assert_eq!(answer.status, 408, "{begun:?}");
        }
        assert!(connection.is_closed_by_the_service(), "{begun:?}");
        let bounds = Duration::from_millis(4000)..Duration::from_secs(8);
        assert!(
            bounds.contains(&since.elapsed()),
            "{begun:?}: {:?}",
            since.elapsed()
        );
    }
}

/// Takes fifteen seconds.
#[test]
fn a_body_that_does_not_come_is_waited_for_fifteen_seconds() {
    let service = service();
    let head = "POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let mut declared = service.connect();
    declared.send(format!("{head}Content-Length: 100\r\n\r\n{{"));
    let mut chunked = service.connect();
    chunked.send(format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n"
    ));
    let since = Instant::now();

    for (name, connection) in [("declared", &mut declared), ("chunked", &mut chunked)] {
        let answer = connection
            .answer()
            .unwrap_or_else(|none| panic!("{name}: {none:?}"));
        assert_eq!(answer.status, 408, "{name}");
        answer.error();
        assert!(connection.is_closed_by_the_service(), "{name}");
    }
    let bounds = Duration::from_millis(14_000)..Duration::from_secs(19);
    assert!(bounds.contains(&since.elapsed()), "{:?}", since.elapsed());
}

/// Takes fifteen seconds: dripping does not prolong the time-out.
#[test]
fn a_body_that_drips_is_cut_off_all_the_same() {
    let service = service();
    let mut connection = service.connect();
    connection.send("POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n");
    let since = Instant::now();
    until(
        "the dripping client is cut off",
        Duration::from_secs(25),
        || connection.try_send(" ").is_err().then_some(()),
    );

    assert!(
        since.elapsed() > Duration::from_secs(13),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(service.get("/healthz").status, 200);
}

#[test]
fn beyond_the_allowed_connections_health_and_the_key_set_still_answer_and_mints_are_refused_at_once()
 {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_MAX_CONNECTIONS", "2")
        .start();
    let mint = r#"{"sender":"a"}"#;
    let (mut first, mut second) = (service.connect(), service.connect());
    assert_eq!(first.post(mint).status, 200);
    assert_eq!(second.post(mint).status, 200);

    for path in ["/healthz", "/.well-known/jwks.json", "/readyz"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    let since = Instant::now();
    let refused = service.post(mint);
    assert_eq!(refused.status, 503, "{}", refused.text());
    refused.error();
    assert!(refused.header("retry-after").is_some());
    assert!(since.elapsed() < Duration::from_secs(2));
    assert_eq!(first.post(mint).status, 200, "those inside go on");

    drop(first);
    until("the freed place is used", Duration::from_secs(10), || {
        (service.post(mint).status == 200).then_some(())
    });
}

#[test]
fn a_crowd_waits_for_its_turn_and_nobody_is_lost() {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_MAX_CONNECTIONS", "2")
        .start();
    let crowd: Vec<_> = (0..150)
        .map(|_| {
            let mut connection = service.connect();
            connection.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            connection
        })
        .collect();

    // Each is answered when those before it have gone.
    for (number, mut connection) in crowd.into_iter().enumerate() {
        let answer = connection.answer();
        assert_eq!(answer.unwrap().status, 200, "connection {number}");
    }
}
