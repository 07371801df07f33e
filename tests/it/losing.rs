//! A token or a key that goes away while the service runs: mints are refused quickly, the key set stays, and signing comes
//! back by itself.

use std::time::{Duration, Instant};

use crate::harness::{Answer, KeyPair, Service, SoftHsm, until};

const MINT: &str = r#"{"sender":"a"}"#;

/// Mints until one is refused, which has to be with 503, quickly, and never with a token that does not verify.
fn refused_mint(service: &Service) -> Answer {
    let jwks = service.jwks();
    until("a mint is refused", Duration::from_secs(20), || {
        let since = Instant::now();
        let answer = service.post(MINT);
        assert!(
            since.elapsed() < Duration::from_secs(4),
            "{:?}",
            since.elapsed()
        );
        if answer.status == 200 {
            jwks.verify(answer.json()["token"].as_str().unwrap());
            return None;
        }
        Some(answer)
    })
}

fn assert_lost_but_published(service: &Service, jwks: &str) {
    let answer = refused_mint(service);
    assert_eq!(answer.status, 503, "{}", answer.text());
    answer.error();
    assert!(answer.header("retry-after").is_some());
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.jwks().text, jwks, "the key set shrank");
    assert_eq!(service.post("{}").status, 400);
}

#[test]
fn a_key_that_is_deleted_no_longer_signs_and_a_new_one_is_found() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = hsm.launch().start();
    let before = service.jwks().text;
    service.mint(MINT);

    hsm.delete("privkey", "01");
    assert_lost_but_published(&service, &before);

    hsm.make(&KeyPair {
        id: "02",
        ..KeyPair::EC
    });
    service.wait_ready();
    service.mint(MINT);
}

#[test]
fn a_token_whose_directory_vanishes_comes_back() {
    let hsm = SoftHsm::with_key("ES256");
    let service = hsm.launch().start();
    let before = service.jwks().text;
    service.mint(MINT);
    let (tokens, away) = (hsm.path("tokens"), hsm.path("tokens-away"));

    std::fs::rename(&tokens, &away).unwrap();
    std::fs::create_dir(&tokens).unwrap();
    assert_lost_but_published(&service, &before);

    std::fs::remove_dir_all(&tokens).unwrap();
    std::fs::rename(&away, &tokens).unwrap();
    service.wait_ready();
    assert_eq!(service.jwks().text, before);
    service.mint(MINT);
}

#[test]
fn a_key_that_is_replaced_under_the_same_id_never_signs_for_the_old_one() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair::EC);
    let service = hsm.launch().start();
    let old = service.jwks();
    service.mint(MINT);

    hsm.delete("privkey", "01");
    hsm.delete("pubkey", "01");
    hsm.make(&KeyPair::EC);
    until("the new key signs", Duration::from_secs(20), || {
        let answer = service.post(MINT);
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            return None;
        }
        let compact = answer.json()["token"].as_str().unwrap().to_owned();
        let kid = crate::harness::Token::split(&compact).kid();
        if old.kids().contains(&kid) {
            assert!(
                old.accepts(&compact),
                "the new key signed under the old kid"
            );
            return None;
        }
        service.jwks().verify(&compact);
        Some(())
    });
}
