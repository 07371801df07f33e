//! The board: what it publishes from looks, lists and time. What the times are is shown in schedule_tests.rs.

use super::*;
use crate::jose::Jwk;
use crate::jose::PublicKey;
use crate::keys::alarm::AlarmKind;
use crate::keys::schedule::Created;
use std::fs;
use std::path::Path;

pub(super) const T: u64 = 1_800_000_000;

pub(super) fn key() -> Arc<PublishedKey> {
    LocalKey::orphan().unwrap()
}

pub(super) fn found(key: &Arc<PublishedKey>, instant: u64) -> Found {
    Found {
        key: Arc::clone(key),
        instant: UnixSeconds::new(instant),
        created: None,
    }
}

pub(super) fn token() -> TokenName {
    TokenName::new(Path::new("/module.so"), "label \"one\"")
}

pub(super) fn config() -> BoardConfig {
    BoardConfig {
        rules: Rules::DEFAULTS,
        algorithm: None,
        after_convergence: false,
        files: ListFiles::default(),
        directory: None,
        tokens: vec![token()],
    }
}

/// So many seconds after the start.
pub(super) const fn after(seconds: u64) -> Moment {
    Moment {
        wall: UnixSeconds::new(T + seconds),
        running: 1_000 + seconds,
    }
}

pub(super) fn open(config: BoardConfig) -> Board {
    Board::open(config, Memory::empty(after(0).wall), after(0)).unwrap()
}

pub(super) fn kinds(board: &Board) -> Vec<AlarmKind> {
    board.alarms().iter().map(|alarm| alarm.kind).collect()
}

pub(super) fn published(board: &Board) -> Vec<Kid> {
    let ring = board.ring();
    ring.keys().iter().map(|key| key.kid().clone()).collect()
}

#[test]
fn a_revoked_key_goes_at_once_and_a_tombstone_takes_the_last_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("revoked");
    fs::write(&file, "# none\n").unwrap();
    let files = ListFiles {
        revoked_file: Some(file.clone()),
        ..ListFiles::default()
    };
    let board = open(BoardConfig { files, ..config() });
    let (first, second) = (key(), key());
    board.looked(
        &token(),
        &[found(&first, 0), found(&second, 0)],
        Vec::new(),
        after(1),
    );

    fs::write(&file, first.kid().as_str()).unwrap();
    board.reread(after(2));
    assert_eq!(published(&board), [second.kid().clone()]);
    assert!(!board.publishes(first.kid()));

    fs::write(
        &file,
        format!("{}\n{}\nunknown\n", first.kid(), second.kid()),
    )
    .unwrap();
    board.reread(after(3));
    let stone = published(&board);
    assert_eq!(stone.len(), 1);
    assert!(stone != [first.kid().clone()] && stone != [second.kid().clone()]);
    assert!(board.ring().signing_key(after(3).wall).is_none());
    let told = kinds(&board);
    for kind in [
        AlarmKind::Tombstone,
        AlarmKind::ActiveRevoked,
        AlarmKind::UnknownRevoked,
    ] {
        assert!(told.contains(&kind), "{kind:?} in {told:?}");
    }

    fs::write(&file, "# none\n").unwrap();
    board.reread(after(4));
    assert_eq!(published(&board).len(), 2);
    assert!(kinds(&board).is_empty());
}

#[test]
fn a_successor_is_found_and_said() {
    let board = open(BoardConfig {
        files: ListFiles {
            revoked: BTreeSet::new(),
            ..ListFiles::default()
        },
        ..config()
    });
    let (old, young) = (key(), key());
    board.looked(&token(), &[found(&old, 0)], Vec::new(), after(1));
    board.looked(
        &token(),
        &[found(&old, 0), found(&young, T + 9_000)],
        Vec::new(),
        after(10),
    );
    board.state.lock().lists.revoked = Arc::new(BTreeSet::from([old.kid().clone()]));
    board.tick(after(11));

    assert_eq!(
        board.ring().signing_key(after(11).wall).unwrap().kid(),
        young.kid()
    );
    assert_eq!(
        kinds(&board),
        [AlarmKind::Unannounced, AlarmKind::ActiveRevoked]
    );
}

#[test]
fn an_extra_key_is_published_unless_it_is_ours_under_other_material() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("extra.json");
    let (ours, theirs) = (key(), key());
    let write = |keys: &[&Jwk]| {
        fs::write(&file, serde_json::json!({ "keys": keys }).to_string()).unwrap();
    };
    write(&[theirs.jwk(), ours.jwk()]);
    let files = ListFiles {
        extra_jwks_file: Some(file.clone()),
        ..ListFiles::default()
    };
    let board = open(BoardConfig { files, ..config() });
    board.looked(&token(), &[found(&ours, 0)], Vec::new(), after(1));
    assert_eq!(
        published(&board),
        [ours.kid().clone(), theirs.kid().clone()]
    );

    let PublicKey::P256 { .. } = theirs.jwk().key() else {
        panic!("a P-256 key")
    };
    let posing = Jwk::new(ours.kid().clone(), theirs.jwk().key().clone());
    write(&[&posing]);
    board.reread(after(2));
    assert_eq!(published(&board), [ours.kid().clone()]);
    assert_eq!(board.ring().keys()[0].jwk(), ours.jwk());
    assert_eq!(kinds(&board), [AlarmKind::ExtraConflict]);

    fs::write(&file, "{").unwrap();
    board.reread(after(3));
    assert_eq!(published(&board), [ours.kid().clone()]);
    assert!(kinds(&board).contains(&AlarmKind::List));
}

#[test]
fn an_expired_key_of_ours_that_another_site_still_signs_with_is_published_as_extra() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("extra.json");
    let (old, new) = (key(), key());
    let files = ListFiles {
        extra_jwks_file: Some(file.clone()),
        ..ListFiles::default()
    };
    let made = |key: &Arc<PublishedKey>, at: u64| Found {
        created: Some(Created::at(UnixSeconds::new(at))),
        ..found(key, at)
    };
    let both = [made(&old, T - 100_000), made(&new, T - 10_000)];
    for (name, keys, want) in [
        ("not named", vec![], vec![new.kid()]),
        ("named", vec![old.jwk()], vec![new.kid(), old.kid()]),
    ] {
        fs::write(&file, serde_json::json!({ "keys": keys }).to_string()).unwrap();
        let knowing = Memory::restored([], BTreeMap::new(), BTreeMap::new(), None);
        let files = files.clone();
        let board = Board::open(BoardConfig { files, ..config() }, knowing, after(0)).unwrap();
        board.looked(&token(), &both, Vec::new(), after(1));
        assert_eq!(published(&board).iter().collect::<Vec<_>>(), want, "{name}");
    }
}

#[test]
fn an_activation_waits_for_the_verifiers_that_were_seen_and_for_the_lead_at_most() {
    let board = open(BoardConfig {
        after_convergence: true,
        ..config()
    });
    let (old, new) = (key(), key());
    board.looked(&token(), &[found(&old, 0)], Vec::new(), after(1));
    let verifier = IpAddr::from([10, 0, 0, 1]);
    let fetch = |at: u64| {
        let ring = board.ring();
        let version = &ring.document().unwrap().version;
        board.fetched(verifier, version, after(at).wall);
    };
    fetch(5);
    let switch = 10 + 900;
    board.looked(
        &token(),
        &[found(&old, 0), found(&new, T)],
        Vec::new(),
        after(10),
    );
    let signs = |at: u64| {
        board.tick(after(at));
        board
            .ring()
            .signing_key(after(at).wall)
            .unwrap()
            .kid()
            .clone()
    };

    assert_eq!(signs(switch), *new.kid(), "the verifier is gone");
    // Seen again, with an old set from a cache in between.
    let stale = Arc::new(JwksVersion {
        etag: String::new(),
        kids: BTreeSet::from([old.kid().clone()]),
    });
    board.fetched(verifier, &stale, after(switch).wall);
    assert_eq!(signs(switch + 1), *old.kid(), "held");
    fetch(switch + 300);
    assert_eq!(signs(switch + 300), *new.kid(), "it has the key");
    board.fetched(verifier, &stale, after(switch + 600).wall);
    assert_eq!(signs(switch + 899), *old.kid());
    assert_eq!(signs(switch + 900), *new.kid(), "no longer than the lead");
    let without_a_look = [AlarmKind::Look, AlarmKind::NotConverged];
    assert_eq!(kinds(&board), without_a_look);
}

#[test]
fn a_look_that_comes_to_no_end_is_told_once() {
    let board = open(config());
    let limit = Rules::DEFAULTS.jwks_stale_after();
    let old = key();
    let told = |at: u64| {
        board.tick(after(at));
        kinds(&board)
    };

    assert_eq!(told(limit), []);
    assert_eq!(told(limit + 1), [AlarmKind::Look], "since the start");
    let looked = limit + 2;
    board.looked(&token(), &[found(&old, 0)], Vec::new(), after(looked));
    assert_eq!(told(looked + limit), []);
    assert_eq!(told(looked + limit + 1), [AlarmKind::Look], "since a look");
    board.look_failed(&token(), "it failed".to_owned());
    assert_eq!(told(looked + limit + 2), [AlarmKind::Look], "not twice");
}

#[test]
fn a_clock_that_jumps_stops_signing_and_every_change() {
    let board = open(config());
    let (old, new) = (key(), key());
    board.looked(&token(), &[found(&old, 0)], Vec::new(), after(1));
    let jumped = Moment {
        wall: after(100_000).wall,
        ..after(2)
    };
    board.tick(jumped);
    board.looked(
        &token(),
        &[found(&old, 0), found(&new, T)],
        Vec::new(),
        jumped,
    );

    assert!(!board.may_sign(jumped));
    assert_eq!(published(&board), [old.kid().clone()]);
    assert_eq!(kinds(&board), [AlarmKind::Clock]);
    assert!(!board.jwks_readiness(jumped).ready);
    board.tick(after(3));
    assert!(board.may_sign(after(3)) && kinds(&board).is_empty());
    board.confirm(jumped);
    assert!(board.may_sign(jumped));
}

#[test]
fn a_failed_look_is_told_until_one_succeeds_and_takes_nothing_away() {
    let board = open(config());
    let one = key();
    board.looked(&token(), &[found(&one, 0)], Vec::new(), after(1));
    board.look_failed(&token(), "CKR_DEVICE_ERROR".to_owned());
    board.tick(after(2));
    assert_eq!(kinds(&board), [AlarmKind::Look]);
    assert_eq!(published(&board), [one.kid().clone()]);

    let bad = vec!["\"macp-jwt-2026\": no instant".to_owned()];
    board.looked(&token(), &[found(&one, 0)], bad, after(3));
    board.tick(after(3));
    assert_eq!(kinds(&board), [AlarmKind::KeyRefused]);
}

#[test]
fn a_token_that_never_held_a_key_is_known_when_it_shows_none() {
    let board = open(config());
    assert!(!board.jwks_readiness(after(1)).parts[2].ok, "never read");
    board.looked_empty(&token(), "it holds no key".to_owned(), after(2).wall);
    assert!(board.jwks_readiness(after(3)).parts[2].ok);

    board.looked(&token(), &[found(&key(), 0)], Vec::new(), after(4));
    board.looked_empty(&token(), "it holds no key".to_owned(), after(500).wall);
    assert!(
        !board.jwks_readiness(after(500)).parts[2].ok,
        "where there was one, none says nothing"
    );
}

#[test]
fn timing_that_is_unsafe_on_purpose_is_red() {
    let rules = Rules {
        lead: 0,
        unsafe_timing: true,
        ..Rules::DEFAULTS
    };
    let board = open(BoardConfig { rules, ..config() });

    assert_eq!(kinds(&board), [AlarmKind::UnsafeTiming]);
}

#[test]
fn a_key_of_the_other_algorithm_is_published_and_never_signs() {
    let board = open(BoardConfig {
        algorithm: Some(Algorithm::Rs256),
        ..config()
    });
    let bystander = key();
    board.looked(&token(), &[found(&bystander, 0)], Vec::new(), after(1));

    assert_eq!(published(&board), [bystander.kid().clone()]);
    assert!(board.ring().order(after(1).wall, 300).is_empty());
}
