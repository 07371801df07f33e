//! What the board knows again after a restart, and what it does where that was lost, or is of tokens with other names.

use super::tests::{T, after, config, found, key, kinds, open, published, token};
use super::*;
use crate::keys::alarm::AlarmKind;
use crate::keys::saved;
use crate::keys::schedule::Created;
use std::fs;
use std::path::Path;

#[test]
fn an_instance_without_its_token_serves_what_it_remembers() {
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(&home.path().join("state")).unwrap();
    let (old, new) = (key(), key());
    let remembering = BoardConfig {
        directory: Some(directory.clone()),
        ..config()
    };
    let board = open(remembering.clone());
    board.looked(&token(), &[found(&old, 0)], Vec::new(), after(1));
    board.looked(
        &token(),
        &[found(&old, 0), found(&new, T)],
        Vec::new(),
        after(30),
    );

    let memory = saved::load(Some(&directory), after(60).wall);
    let again = Board::open(remembering, memory, after(60)).unwrap();
    assert_eq!(published(&again).len(), 2);
    assert!(again.jwks_readiness(after(60)).ready);
    assert!(
        !again.jwks_readiness(after(30 + 476)).ready,
        "the look is too old"
    );
    let state = again.state.lock();
    assert!(state.memory.keys().all(|known| !known.proved));
    let created = state.memory.key(new.kid()).unwrap().created;
    assert_eq!(created, Some(Created::at(after(30).wall)));
}

#[test]
fn an_instance_whose_memory_is_lost_says_so_for_as_long_as_it_may_matter() {
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(&home.path().join("state")).unwrap();
    directory.replace("jwks.json", b"{").unwrap();
    let saving = BoardConfig {
        directory: Some(directory.clone()),
        ..config()
    };
    let start = |at: Moment| {
        let memory = saved::take_over(&directory, at.wall);
        Board::open(saving.clone(), memory, at).unwrap()
    };
    let told = |board: &Board, at: Moment| {
        board.tick(at);
        let why = board.why_memory_is_lost(at.wall);
        let alarms = board.alarms();
        let alarm = alarms
            .iter()
            .any(|alarm| alarm.detail.contains("cannot be read"));
        assert_eq!(why.is_some(), alarm, "{why:?}");
        assert!(why.is_none_or(|why| why.contains("state/jwks.json: ")));
        alarm
    };

    let board = start(after(0));
    assert!(told(&board, after(0)));
    board.looked(&token(), &[found(&key(), 0)], Vec::new(), after(1));
    let again = start(after(2));

    let matters = 1 + Rules::DEFAULTS.lead + Rules::DEFAULTS.retain;
    for board in [board, again] {
        assert!(told(&board, after(matters - 1)));
        assert!(!told(&board, after(matters)));
    }
    let kept = directory.read("jwks.json.damaged").unwrap();
    assert_eq!(kept.as_deref(), Some(&b"{"[..]));
}

#[test]
fn a_directory_of_two_services_is_an_alarm_until_one_of_them_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let saving = BoardConfig {
        directory: Some(StateDir::open(&home.path().join("state")).unwrap()),
        ..config()
    };
    let look = |board: &Board, at: Moment| {
        board.looked(&token(), &[found(&key(), 0)], Vec::new(), at);
        board.tick(at);
        kinds(board).contains(&AlarmKind::State)
    };
    let first = open(saving.clone());
    let second = open(saving);

    assert!(kinds(&second).contains(&AlarmKind::State));
    assert!(!look(&first, after(1)));
    assert!(look(&second, after(2)));
    drop(first);
    assert!(!look(&second, after(3)));
}

#[test]
fn a_revocation_outlives_a_restart_with_an_emptied_file() {
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(&home.path().join("state")).unwrap();
    let file = home.path().join("revoked");
    fs::write(&file, "# none\n").unwrap();
    let files = ListFiles {
        revoked_file: Some(file.clone()),
        ..ListFiles::default()
    };
    let saving = BoardConfig {
        files,
        directory: Some(directory.clone()),
        ..config()
    };
    let (first, second) = (key(), key());
    let board = open(saving.clone());
    let both = [found(&first, 0), found(&second, 0)];
    board.looked(&token(), &both, Vec::new(), after(1));
    fs::write(&file, first.kid().as_str()).unwrap();
    board.reread(after(2));
    assert_eq!(published(&board), [second.kid().clone()]);

    fs::write(&file, "").unwrap();
    let memory = saved::load(Some(&directory), after(3).wall);
    let again = Board::open(saving, memory, after(3)).unwrap();
    assert_eq!(published(&again), [second.kid().clone()]);
    assert!(kinds(&again).contains(&AlarmKind::List));
}

#[test]
fn a_token_under_a_new_name_is_known_by_its_keys() {
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(&home.path().join("state")).unwrap();
    let (active, next) = (key(), key());
    let saving = BoardConfig {
        directory: Some(directory.clone()),
        ..config()
    };
    let renamed = TokenName::new(Path::new("/module.so"), "label \"one\" serial \"1\"");
    let both = [found(&active, 0), found(&next, T + 100_000)];
    let gone = |token: &TokenName, restarts: bool| {
        let mut board = open(saving.clone());
        board.looked(&self::token(), &both, Vec::new(), after(1));
        if restarts {
            let memory = saved::load(Some(&directory), after(60).wall);
            let tokens = vec![token.clone()];
            let renaming = BoardConfig {
                tokens,
                ..saving.clone()
            };
            board = Board::open(renaming, memory, after(60)).unwrap();
            board.looked(token, &both, Vec::new(), after(61));
        }
        let later = after(3_000);
        board.looked(token, &both[1..], Vec::new(), later);
        board.tick(later);
        assert_eq!(published(&board).len(), 2);
        let first = board
            .ring()
            .order(later.wall, 60)
            .first()
            .map(|turn| turn.key.kid().clone());
        (kinds(&board), first)
    };

    let want = (
        vec![AlarmKind::KeyGone, AlarmKind::ActiveGone],
        Some(next.kid().clone()),
    );
    assert_eq!(gone(&token(), false), want);
    assert_eq!(gone(&renamed, true), want);
}
