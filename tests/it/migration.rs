//! From a service with a pinned key to one whose key is in an HSM, and back, without a rejected token. The service with the
//! pinned key stands for the one in Node, whose tokens have the same kid. Verifiers see one address and one change after
//! the other:
//!
//! ```text
//! old alone  ->  old, publishing the new key too  ->  new, publishing the old key too  ->  new alone
//!             after the lead                      after the retention
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;

use crate::harness::hurry::{
    LEAD, RETAIN, TOKEN_LIFE, VERIFIER_TTL, hurried, now, remembering, wait_until,
};
use crate::harness::service::PATIENCE;
use crate::harness::{Fleet, Jwks, Launch, Pace, SoftHsm, Traffic, private_rsa_jwk, until};

const PACE: Pace = Pace {
    verifiers: 8,
    verifier_ttl: VERIFIER_TTL,
    mints_per_second: 8,
    token_life: Duration::from_secs(TOKEN_LIFE),
};

fn with_pinned_key() -> Launch {
    let key = private_rsa_jwk(KeySize::Rsa2048).to_string();
    hurried(Launch::ephemeral("RS256").set("MACP_AUTH_SIGNING_KEY_JSON", key))
}

fn with_key_in(hsm: &SoftHsm) -> Launch {
    remembering(hurried(hsm.launch()), hsm, 0)
}

/// What `jwks` says of this configuration, in a file.
fn key_set(of: &Launch, path: PathBuf) -> (PathBuf, String) {
    let told = of.clone().arguments(&["jwks"]).run();
    assert_eq!(told.code, Some(0), "{told:?}");
    fs::write(&path, &told.stdout).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (path, Jwks::parse(&told.stdout).kids().remove(0))
}

fn publishing_too(launch: &Launch, extra: &Path) -> Launch {
    launch.clone().set("MACP_AUTH_EXTRA_JWKS_FILE", extra)
}

fn moves(old: &Launch, new: &Launch, files: &SoftHsm) {
    let (old_set, old_kid) = key_set(old, files.path("old.json"));
    let (new_set, new_kid) = key_set(new, files.path("new.json"));
    let mut fleet = Fleet::start([old.clone()]);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_sign_with(&old_kid);
    traffic.wait_until_all_have_keys();

    fleet.become_another(publishing_too(old, &new_set));
    wait_until(now() + LEAD);
    fleet.become_another(publishing_too(new, &old_set));
    traffic.wait_until_all_sign_with(&new_kid);
    wait_until(now() + RETAIN);
    fleet.become_another(new.clone());

    assert_eq!(
        fleet.replicas().next().unwrap().jwks().kids(),
        [new_kid],
        "nothing of the old service is left"
    );
    // A round of fetches, and tokens after it.
    wait_until(now() + 2 * VERIFIER_TTL);
    let outcome = traffic.stop();
    assert!(outcome.checks > 2_000, "{}", outcome.explained());
    outcome.must_be_flawless(&fleet);
}

#[test]
fn neither_to_an_hsm_nor_back_from_it_is_a_token_rejected() {
    let (here, there) = (SoftHsm::with_key("ES256"), SoftHsm::with_key("RS256"));
    // Both at once, because each is a minute and a half of waiting.
    std::thread::scope(|scope| {
        scope.spawn(|| moves(&with_pinned_key(), &with_key_in(&here), &here));
        scope.spawn(|| moves(&with_key_in(&there), &with_pinned_key(), &there));
    });
}

#[test]
fn a_change_of_services_at_one_blow_is_noticed() {
    let hsm = SoftHsm::with_key("RS256");
    let (old, new) = (with_pinned_key(), with_key_in(&hsm));
    let (_, old_kid) = key_set(&old, hsm.path("old.json"));
    let (_, new_kid) = key_set(&new, hsm.path("new.json"));
    let mut fleet = Fleet::start([old]);
    let traffic = Traffic::start(&fleet, PACE);
    traffic.wait_until_all_sign_with(&old_kid);
    traffic.wait_until_all_have_keys();

    fleet.become_another(new);

    for (name, kid) in [("early", new_kid), ("late", old_kid)] {
        until(name, PATIENCE, || {
            let mut rejections = traffic.rejections().into_iter();
            rejections
                .any(|rejection| rejection.token.kid == kid)
                .then_some(())
        });
    }
}
