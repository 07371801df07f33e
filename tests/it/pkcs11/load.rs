//! Many clients on one token: any number of sessions, a queue that is full, a second service.

use super::MINT;
use crate::harness::{Launch, Service, SoftHsm};

#[test]
fn any_number_of_sessions_signs_under_load() {
    let hsm = SoftHsm::with_key("ES256");
    for sessions in ["1", "2", "8"] {
        let service = hsm
            .launch()
            .set("MACP_AUTH_PKCS11_SESSIONS", sessions)
            .start();
        let jwks = service.jwks();
        std::thread::scope(|scope| {
            for client in 0..8 {
                let (service, jwks) = (&service, &jwks);
                scope.spawn(move || {
                    let mut connection = service.connect();
                    for turn in 0..40 {
                        let sender = format!("{client}/{turn}");
                        let answer = connection.post(format!(r#"{{"sender":"{sender}"}}"#));
                        assert_eq!(answer.status, 200, "{sessions} sessions: {}", answer.text());
                        let token = jwks.verify(answer.json()["token"].as_str().unwrap());
                        assert_eq!(token.claims()["sub"], sender);
                    }
                });
            }
        });
    }
}

#[test]
fn a_full_queue_refuses_at_once_and_what_was_taken_is_signed() {
    let hsm = SoftHsm::with_key("RS256");
    let service = hsm
        .launch()
        .set("MACP_AUTH_PKCS11_SESSIONS", "1")
        .set("MACP_AUTH_QUEUE_LENGTH", "1")
        .start();
    let jwks = service.jwks();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let service = &service;
                scope.spawn(move || {
                    let mut connection = service.connect();
                    (0..20).map(|_| connection.post(MINT)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });

    for answer in &answers {
        match answer.status {
            200 => drop(jwks.verify(answer.json()["token"].as_str().unwrap())),
            503 => {
                answer.error();
                let pause: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!(pause >= 1);
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
    assert!(
        answers.iter().any(|answer| answer.status == 503),
        "the queue was never full"
    );
    assert_eq!(
        service.get("/readyz").status,
        200,
        "a full queue is no outage"
    );
}

#[test]
fn two_services_share_a_token() {
    let hsm = SoftHsm::with_key("ES256");
    let start = || -> Service { Launch::start(hsm.launch()) };
    let (one, other) = (start(), start());

    assert_eq!(one.jwks().text, other.jwks().text);
    drop(one.mint(MINT));
    drop(one);
    other.mint(MINT);
}
