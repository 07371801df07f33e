//! What a replica remembers of its keys: when one counts as new, as gone or as forgotten, and when the replica is a stranger.

use super::*;
use crate::keys::local::LocalKey;

fn key() -> Arc<PublishedKey> {
    LocalKey::orphan().unwrap()
}

fn found(key: &Arc<PublishedKey>, instant: u64) -> Found {
    Found {
        key: Arc::clone(key),
        instant: at(instant),
        created: None,
    }
}

const fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

fn token(name: &str) -> TokenName {
    TokenName::new(Path::new("/module.so"), name)
}

#[test]
fn a_key_is_new_only_on_a_token_that_was_read_before() {
    let (old, new, elsewhere) = (key(), key(), key());
    let mut memory = Memory::empty(at(0));
    memory.look(&token("a"), &[found(&old, 0)], at(10));
    memory.look(&token("a"), &[found(&old, 0), found(&new, 5)], at(20));
    memory.look(&token("b"), &[found(&elsewhere, 0)], at(30));

    let created = |key: &PublishedKey| memory.key(key.kid()).unwrap().created;
    assert_eq!(created(&old), None);
    assert_eq!(created(&new), Some(Created::at(at(20))));
    assert_eq!(created(&elsewhere), None);
}

#[test]
fn a_key_that_says_when_it_was_made_is_believed_to_the_millisecond() {
    let one = key();
    let made = Created::from_millis(20_400);
    let says = Found {
        created: Some(made),
        ..found(&one, 5)
    };
    let mut memory = Memory::empty(at(0));
    memory.look(&token("a"), &[], at(10));
    memory.look(&token("a"), &[says], at(20));

    assert_eq!(memory.key(one.kid()).unwrap().created, Some(made));
}

#[test]
fn nothing_found_takes_nothing_away_until_it_has_expired() {
    let (old, new) = (key(), key());
    let mut memory = Memory::empty(at(0));
    memory.look(&token("a"), &[found(&old, 0), found(&new, 100)], at(10));
    memory.look(&token("a"), &[], at(20));
    assert_eq!(memory.keys().count(), 2);
    assert!(memory.keys().all(|known| known.gone));

    let table = Timetable::new(memory.members(None, &BTreeSet::new()), Rules::SHORT);
    memory.forget_expired(&table, at(299));
    assert_eq!(memory.keys().count(), 2);
    memory.forget_expired(&table, at(300));
    assert_eq!(
        memory
            .keys()
            .map(|known| known.key.kid())
            .collect::<Vec<_>>(),
        [new.kid()]
    );
}

#[test]
fn replicas_are_one_key_and_the_later_instant_counts_as_long_as_both_are_there() {
    let one = key();
    let mut memory = Memory::empty(at(0));
    memory.look(&token("a"), &[found(&one, 10)], at(10));
    memory.look(&token("b"), &[found(&one, 50)], at(10));
    let known = memory.key(one.kid()).unwrap();
    assert_eq!(known.instant, at(50));
    assert!(known.has_two_instants());

    memory.look(&token("b"), &[found(&one, 10)], at(20));
    let known = memory.key(one.kid()).unwrap();
    assert_eq!(known.instant, at(10));
    assert!(!known.has_two_instants());
}

#[test]
fn of_two_objects_with_one_key_on_one_token_the_later_instant_counts_whichever_is_found_first() {
    let one = key();
    for instants in [[10, 50], [50, 10]] {
        let mut memory = Memory::empty(at(0));
        memory.look(&token("a"), &instants.map(|at| found(&one, at)), at(60));
        let known = memory.key(one.kid()).unwrap();
        assert_eq!(known.instant, at(50));
        assert!(known.has_two_instants());
        assert!(!known.gone);

        memory.look(&token("a"), &[found(&one, 10)], at(61));
        let known = memory.key(one.kid()).unwrap();
        assert_eq!(known.instant, at(10));
        assert!(!known.has_two_instants());
    }
}

#[test]
fn a_lowered_maximum_counts_once_the_old_tokens_are_dead() {
    let mut memory = Memory::empty(at(0));
    memory.mints(&Rules::DEFAULTS, at(1_000));
    let configured = Rules {
        max_ttl: 600,
        retain: Rules::default_retain(600, 900),
        ..Rules::DEFAULTS
    };
    let dead = 1_000 + 3_600 + 120 + 900;
    memory.mints(&configured, at(dead - 1));
    assert_eq!(memory.rules(configured).retain, 4_800);
    memory.mints(&configured, at(dead));
    assert_eq!(memory.rules(configured), configured);
}

#[test]
fn a_key_that_was_new_when_its_token_went_away_for_long_is_new_again() {
    let rules = Rules::DEFAULTS;
    let stale = rules.jwks_stale_after();
    for (name, seen_before, away, want) in [
        ("new", 30, stale + 1, true),
        ("known to all", 66, stale + 1, false),
        ("a short while", 30, stale, false),
    ] {
        let (old, new) = (key(), key());
        let last = at(1_000 + seen_before);
        let mut memory = Memory::empty(at(0));
        memory.look(&token("a"), &[found(&old, 0)], at(970));
        memory.look(&token("a"), &[found(&old, 0), found(&new, 5)], at(1_000));
        memory.look(&token("a"), &[found(&old, 0), found(&new, 5)], last);

        memory.resume(&token("a"), &rules, last.plus(away));
        let known = memory.key(new.kid()).unwrap();
        let seen = if want { last.plus(away) } else { at(1_000) };
        assert_eq!(
            (known.seen, known.created),
            (seen, Some(Created::at(seen))),
            "{name}"
        );
        assert_eq!(known.absent, Some(at(970)), "{name}");
        assert_eq!(memory.key(old.kid()).unwrap().seen, at(970), "{name}");
    }
}

#[test]
fn a_replica_without_memory_is_a_stranger_for_lead_and_retention() {
    let rules = Rules::SHORT;
    let fresh = Memory::empty(at(1_000));
    assert!(fresh.is_stranger(&rules, at(1_209)));
    assert!(!fresh.is_stranger(&rules, at(1_210)));

    let again = |began| Memory::restored([], BTreeMap::new(), BTreeMap::new(), began);
    let began = fresh.began().cloned();
    assert!(again(began.clone()).is_stranger(&rules, at(1_209)));
    assert!(!again(began).is_stranger(&rules, at(1_210)));
    assert!(!again(None).is_stranger(&rules, at(1_000)));
}

#[test]
fn keys_of_which_nothing_is_known_make_a_stranger_at_their_first_look() {
    let rules = Rules::SHORT;
    let dated = Found {
        created: Some(Created::at(at(900))),
        ..found(&key(), 0)
    };
    let undated = found(&key(), 0);
    for (name, first, want) in [("dated", &dated, false), ("not dated", &undated, true)] {
        let mut memory = Memory::restored([], BTreeMap::new(), BTreeMap::new(), None);
        memory.look(&token("a"), std::slice::from_ref(first), at(1_000));
        assert_eq!(memory.is_stranger(&rules, at(1_209)), want, "{name}");
        // That one is known to be new.
        memory.look(&token("a"), &[first.clone(), found(&key(), 5)], at(1_100));
        assert!(!memory.is_stranger(&rules, at(1_210)), "{name}");
    }
}
