//! Stopping: what happens to requests in flight, to idle connections, and to clients that never finish.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::harness::{Connection, Launch, Service, SoftHsm, until};

const BODY: &str = r#"{"sender":"in flight"}"#;

/// A mint whose body the service waits for: its handler has begun.
fn half_a_mint(service: &Service) -> Connection {
    let mut connection = service.connect();
    connection.send(format!(
        "POST /tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        BODY.len()
    ));
    assert_eq!(connection.answer().unwrap().status, 100);
    connection
}

#[test]
fn a_signal_ends_the_service_with_its_message_and_exit_code_0() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let mut service = Launch::ephemeral("ES256").start();
        let started = service.stdout();

        service.signal(signal);
        let (status, took) = service.wait_for_exit(Duration::from_secs(20));

        assert_eq!(status.code(), Some(0), "{name}");
        assert!(took < Duration::from_secs(5), "{name} took {took:?}");
        service.wait_for_stdout("shutting down\n");
        assert_eq!(
            service.stdout(),
            format!("{started}[auth-service] {name} received; shutting down\n")
        );
    }
}

#[test]
fn a_service_on_a_token_stops_as_cleanly() {
    let hsm = SoftHsm::with_key("ES256");
    let mut service = hsm.launch().start();
    service.mint(BODY);

    assert_eq!(service.terminate().code(), Some(0));
}

#[test]
fn a_request_in_flight_is_answered_with_connection_close() {
    let mut service = Launch::ephemeral("ES256").start();
    let mut connection = half_a_mint(&service);

    service.signal("TERM");
    service.wait_for_stdout("SIGTERM received; shutting down\n");
    connection.send(BODY);
    let answer = connection.answer().unwrap();

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer
            .header("connection")
            .map(str::to_lowercase)
            .as_deref(),
        Some("close")
    );
    assert!(connection.is_closed_by_the_service());
    assert_eq!(
        service.wait_for_exit(Duration::from_secs(9)).0.code(),
        Some(0)
    );
}

#[test]
fn no_new_connection_is_served_while_draining() {
    let mut service = Launch::ephemeral("ES256").start();
    let mut in_flight = half_a_mint(&service);

    service.signal("TERM");
    service.wait_for_stdout("shutting down\n");

    until(
        "new connections are refused",
        Duration::from_secs(5),
        || {
            let connection = Connection::try_open(IpAddr::V4(Ipv4Addr::LOCALHOST), service.port());
            let Ok(mut connection) = connection else {
                return Some(());
            };
            let sent = connection.try_send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            (sent.is_err() || connection.answer().is_err()).then_some(())
        },
    );
    in_flight.send(BODY);
    assert_eq!(in_flight.answer().unwrap().status, 200);
    assert_eq!(
        service.wait_for_exit(Duration::from_secs(9)).0.code(),
        Some(0)
    );
}

#[test]
fn idle_connections_are_closed_at_once() {
    let mut service = Launch::ephemeral("ES256").start();
    let mut used = service.connect();
    assert_eq!(used.post(BODY).status, 200);
    let mut unused = service.connect();
    assert_eq!(service.get("/healthz").status, 200);

    service.signal("TERM");
    let (status, took) = service.wait_for_exit(Duration::from_secs(20));

    assert!(used.is_closed_by_the_service());
    assert!(unused.is_closed_by_the_service());
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_second_signal_changes_nothing() {
    for second in ["TERM", "INT"] {
        let mut service = Launch::ephemeral("ES256").start();
        let mut connection = half_a_mint(&service);
        service.signal("TERM");
        service.wait_for_stdout("shutting down\n");

        service.signal(second);
        service.signal(second);
        connection.send(BODY);

        assert_eq!(connection.answer().unwrap().status, 200, "{second}");
        let (status, _) = service.wait_for_exit(Duration::from_secs(9));
        assert_eq!(status.code(), Some(0), "{second}");
        assert_eq!(
            service.stdout().matches("shutting down").count(),
            1,
            "{second}"
        );
    }
}

/// Takes ten seconds: that is what it shows.
#[test]
fn a_client_that_never_finishes_is_cut_after_ten_seconds_with_exit_code_1() {
    let mut service = Launch::ephemeral("ES256").start();
    let mut stuck = half_a_mint(&service);

    service.signal("TERM");
    let (status, took) = service.wait_for_exit(Duration::from_secs(25));

    assert_eq!(status.code(), Some(1));
    let bounds = Duration::from_millis(9500)..Duration::from_millis(13_000);
    assert!(bounds.contains(&took), "cut after {took:?}");
    assert!(stuck.answer().is_err());
}
