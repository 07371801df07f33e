//! Keys that an operator revokes: by a file, read again at each poll and on SIGHUP, on the replica that has it, and never by
//! a change on the token. Verifiers forget a revoked key only when they fetch a set with another key in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::hurry::{VERIFIER_TTL, generate_now, hurried, remembering};
use crate::harness::runtimes::Runtime;
use crate::harness::service::PATIENCE;
use crate::harness::{KeyPair, Launch, Service, SoftHsm, until};

const MINT: &str = r#"{"sender":"a"}"#;
/// What would change the token.
const WRITES: [&str; 7] = [
    "C_CopyObject",
    "C_CreateObject",
    "C_DestroyObject",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_SetAttributeValue",
    "C_UnwrapKey",
];

/// A file of revoked kids; at the start it has none.
struct Revoked(PathBuf);

impl Revoked {
    fn file(hsm: &SoftHsm) -> Self {
        let file = Self(hsm.path("revoked"));
        file.say("# none so far\n");
        file
    }

    /// Replaced whole, as an editor does.
    fn say(&self, text: &str) {
        let written = self.0.with_extension("new");
        fs::write(&written, text).unwrap();
        fs::rename(&written, &self.0).unwrap();
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn before(&self, launch: Launch) -> Launch {
        launch.set("MACP_AUTH_REVOKED_KIDS_FILE", self.path())
    }
}

fn wait_until_withdrawn(service: &Service, kid: &str) {
    until("the revoked key is withdrawn", PATIENCE, || {
        let kids = service.jwks().kids();
        (!kids.iter().any(|published| published == kid)).then_some(())
    });
}

/// Two keys without an instant: one signs, the other stands by.
fn with_a_stand_by() -> SoftHsm {
    let hsm = SoftHsm::new();
    for id in ["01", "02"] {
        hsm.make(&KeyPair { id, ..KeyPair::EC });
    }
    hsm
}

#[test]
fn a_revoked_key_is_gone_after_one_poll_where_the_file_says_so_and_nowhere_else() {
    let hsm = with_a_stand_by();
    let revoked = Revoked::file(&hsm);
    let other = hurried(hsm.launch()).start();
    let service = revoked.before(hurried(hsm.spied_launch())).start();
    let signing = service.mint(MINT).kid();
    assert_eq!(other.mint(MINT).kid(), signing);

    revoked.say(&format!("{signing}  # lost\n"));

    wait_until_withdrawn(&service, &signing);
    assert_ne!(service.mint(MINT).kid(), signing, "the other key signs");
    assert_eq!(other.mint(MINT).kid(), signing);
    assert_eq!(other.jwks().keys.len(), 2);

    revoked.say("# a mistake\n");
    until("it is published again", PATIENCE, || {
        service.jwks().kids().contains(&signing).then_some(())
    });
    assert_eq!(service.mint(MINT).kid(), signing);
    assert!(hsm.calls("C_Sign") > 0, "the calls are written down");
    for write in WRITES {
        assert_eq!(hsm.calls(write), 0, "{write}");
    }
}

#[test]
fn a_hangup_has_the_file_read_at_once() {
    let hsm = with_a_stand_by();
    let revoked = Revoked::file(&hsm);
    // Within this test no poll comes.
    let service = revoked
        .before(hsm.launch())
        .set("MACP_AUTH_KEY_POLL_SECONDS", "3600")
        .set("MACP_AUTH_KEY_LEAD_SECONDS", "9000")
        .start();
    let signing = service.mint(MINT).kid();

    revoked.say(&signing);
    service.signal("HUP");

    wait_until_withdrawn(&service, &signing);
    assert_ne!(service.mint(MINT).kid(), signing);
}

#[test]
fn the_only_key_is_revoked_and_verifiers_forget_it_until_a_new_one_signs() {
    let hsm = SoftHsm::with_key("RS256");
    let revoked = Revoked::file(&hsm);
    let launch = revoked.before(hurried(hsm.launch()));
    let service = launch.clone().start();
    let mut runtime = Runtime::new(&service.jwks_url(), VERIFIER_TTL);
    let stolen = service.mint(MINT);
    runtime.judge(&stolen.compact).unwrap();

    revoked.say(&stolen.kid());
    wait_until_withdrawn(&service, &stolen.kid());

    let refused = service.post(MINT);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let tombstone = service.jwks();
    assert_eq!(tombstone.keys.len(), 1, "{}", tombstone.text);
    let ready = until("not ready", PATIENCE, || {
        let ready = service.get("/readyz");
        (ready.status == 503).then(|| ready.text())
    });
    assert!(ready.contains("keys generate"), "{ready}");
    assert_eq!(service.get("/healthz").status, 200);
    until("the runtime forgets the revoked key", PATIENCE, || {
        runtime.judge(&stolen.compact).err()
    });

    let successor = generate_now(&launch, "ES256");
    service.wait_ready();
    let token = service.mint(MINT);
    assert_eq!(token.kid(), successor);
    assert_eq!(service.jwks().kids(), [successor]);
    until("the runtime learns the new key", PATIENCE, || {
        runtime.judge(&token.compact).ok()
    });
    assert!(runtime.judge(&stolen.compact).is_err());
}

#[test]
fn a_revoked_key_stays_away_when_the_service_starts_without_its_hsm() {
    let hsm = with_a_stand_by();
    let revoked = Revoked::file(&hsm);
    let launch = remembering(revoked.before(hurried(hsm.launch())), &hsm, 0);
    let mut service = launch.clone().start();
    let signing = service.mint(MINT).kid();
    let mut kids = service.jwks().kids();
    kids.retain(|kid| *kid != signing);
    service.terminate();

    fs::rename(hsm.path("tokens"), hsm.path("away")).unwrap();
    let service = launch.clone().start();
    assert_eq!(service.jwks().keys.len(), 2, "what was saved is served");
    revoked.say(&signing);
    wait_until_withdrawn(&service, &signing);
    drop(service);
    let service = launch.start();

    assert_eq!(service.jwks().kids(), kids);
    fs::rename(hsm.path("away"), hsm.path("tokens")).unwrap();
    service.wait_ready();
    assert_eq!(service.mint(MINT).kid(), kids[0]);
    assert_eq!(service.jwks().kids(), kids);
}

#[test]
fn a_revoked_pinned_key_no_longer_signs_and_is_no_longer_published() {
    let hsm = SoftHsm::without_token();
    let revoked = Revoked::file(&hsm);
    let service = revoked.before(hurried(Launch::ephemeral("ES256"))).start();
    let kid = service.mint(MINT).kid();

    revoked.say(&kid);

    wait_until_withdrawn(&service, &kid);
    assert_eq!(service.post(MINT).status, 503);
    assert_eq!(service.get("/readyz").status, 503);
    assert_eq!(service.jwks().keys.len(), 1, "a key that nobody has");
}
