//! SoftHSM2 2.6.1 may stop reading its token's directory for good: where it finds the token's own file empty, which another
//! process is rewriting for its login, just as it notices that objects came. It signs on with what it knew.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::hurry::{generate, hurried, now};
use crate::harness::{SoftHsm, until};

const MINT: &str = r#"{"sender":"agent://stale"}"#;
const SOON: Duration = Duration::from_secs(30);

fn token_directory(hsm: &SoftHsm) -> PathBuf {
    let mut tokens = fs::read_dir(hsm.path("tokens")).unwrap();
    tokens.next().unwrap().unwrap().path()
}

/// As it is written by whoever makes or destroys an object.
fn count_a_change(hsm: &SoftHsm) {
    let path = token_directory(hsm).join("generation");
    let count = u64::from_be_bytes(fs::read(&path).unwrap().try_into().unwrap());
    fs::write(path, (count + 1).to_be_bytes()).unwrap();
}

#[test]
fn a_new_key_is_published_although_the_module_has_stopped_looking_for_any() {
    let hsm = SoftHsm::with_key("ES256");
    let launch = hurried(hsm.launch());
    let service = launch.clone().start();
    service.wait_ready();
    service.mint(MINT);

    let of_the_token = token_directory(&hsm).join("token.object");
    let content = fs::read(&of_the_token).unwrap();
    fs::write(&of_the_token, "").unwrap();
    service.must_log("C_GetTokenInfo");
    count_a_change(&hsm);
    service.post(MINT);
    fs::write(&of_the_token, content).unwrap();

    let second = generate(&launch, "ES256", now() + 600);
    until("the new key is published", SOON, || {
        service.mint(MINT);
        service.jwks().kids().contains(&second).then_some(())
    });
    service.must_log("the module is started over");
}
