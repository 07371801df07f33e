//! The rules of the timetable one by one: when a key is ripe, switches and goes. Who stands by is in
//! schedule_stand_by_tests.rs; schedule_model.rs shows that the rules hold together.

use super::*;

pub(super) const LEAD: u64 = 900;
pub(super) const RETAIN: u64 = 4800;
pub(super) const RULES: Rules = Rules::DEFAULTS;
/// Long after the first key, so that nothing saturates.
pub(super) const T: u64 = 1_800_000_000;

/// A key of our own: its CKA_ID tells when it was made.
pub(super) fn own(kid: &str, instant: u64, created: u64) -> Member {
    Member {
        kid: Kid::pinned(kid.to_owned()).unwrap(),
        instant: UnixSeconds::new(instant),
        created: Some(Created::at(UnixSeconds::new(created))),
        seen: UnixSeconds::new(created),
        absent: Some(UnixSeconds::new(created.saturating_sub(30))),
        revoked: false,
        gone: false,
    }
}

/// A key that was there when this replica first looked, and does not tell its age.
pub(super) fn found(kid: &str, instant: u64) -> Member {
    Member {
        created: None,
        absent: None,
        ..own(kid, instant, T)
    }
}

pub(super) fn revoked(member: Member) -> Member {
    Member {
        revoked: true,
        ..member
    }
}

pub(super) fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

/// The kids that are asked at `now` for a token of 300 s, with the life each may give.
pub(super) fn asked(table: &Timetable, now: u64) -> Vec<(String, u64)> {
    let order = table.order(at(now), 300, &BTreeSet::new());
    order
        .into_iter()
        .map(|turn| (turn.kid.to_string(), turn.ttl))
        .collect()
}

pub(super) fn first(table: &Timetable, now: u64) -> Option<String> {
    asked(table, now).into_iter().next().map(|(kid, _)| kid)
}

pub(super) fn ripe(table: &Timetable, kid: &str) -> UnixSeconds {
    let kid = Kid::pinned(kid.to_owned()).unwrap();
    table.of(&kid).and_then(|of| of.entry(&kid)).unwrap().ripe
}

fn states(table: &Timetable, now: u64) -> Vec<State> {
    let generations = table.generations().iter();
    generations
        .map(|generation| table.state(generation, at(now)))
        .collect()
}

#[test]
fn a_rotation_goes_through_its_four_states() {
    use State::{Active, Expired, Prepared, Retired};
    let switch = T + 10_000;
    let table = Timetable::new(vec![own("a", 0, T), own("b", switch, T + 5_000)], RULES);

    for (name, now, want, signs) in [
        ("before", switch - 1, [Active, Prepared], "a"),
        ("at the switch", switch, [Retired, Active], "b"),
        (
            "before the removal",
            switch + RETAIN - 1,
            [Retired, Active],
            "b",
        ),
        ("at the removal", switch + RETAIN, [Expired, Active], "b"),
    ] {
        assert_eq!(states(&table, now), want, "{name}");
        assert_eq!(first(&table, now).as_deref(), Some(signs), "{name}");
        let published = table.published(at(now), false).count();
        let expired = want.iter().filter(|state| **state == Expired).count();
        assert_eq!(published, 2 - expired, "{name}");
        assert_eq!(table.published(at(now), true).count(), 2, "{name}");
    }
}

#[test]
fn a_key_signs_when_its_instant_has_come_and_it_was_published_for_the_lead() {
    let made = T + 5_000;
    for (name, second, want) in [
        ("in time", own("b", made + 2_000, made), made + 2_000),
        ("late", own("b", made + 10, made), made + LEAD),
        ("past", own("b", made - 50, made), made + LEAD),
        ("unknown creation", found("b", made), made),
    ] {
        let table = Timetable::new(vec![own("a", 0, T), second], RULES);
        assert_eq!(table.generations()[1].switch, at(want), "{name}");
    }
}

#[test]
fn only_the_oldest_key_of_the_oldest_generation_waits_for_nobody() {
    let early = Created::from_millis(T * 1000 + 1);
    let late = Created::from_millis(T * 1000 + 2);
    let with = |member: Member, created| Member {
        created: Some(created),
        ..member
    };
    let keys = vec![
        with(own("b", T, T), early),
        with(own("a", T, T), late),
        own("c", T + 1, T + 1),
    ];
    let table = Timetable::new(keys, RULES);

    assert_eq!(ripe(&table, "b"), at(T));
    assert_eq!(ripe(&table, "a"), at(T + 1 + LEAD));
    assert_eq!(ripe(&table, "c"), at(T + 1 + LEAD));
}

#[test]
fn a_key_of_another_tool_that_comes_in_the_second_of_the_first_one_is_not_the_elder() {
    let first_one = Member {
        created: Some(Created::from_millis(T * 1000 + 345)),
        ..own("first", T, T)
    };
    // Dated in whole seconds, perhaps by a clock that is behind.
    for seen in [T, T + 1, T + 100] {
        let foreign = Member {
            absent: Some(at(T)),
            ..own("foreign", T + 100_000, seen)
        };
        let table = Timetable::new(vec![first_one.clone(), foreign], RULES);
        assert_eq!(first(&table, T + 1).as_deref(), Some("first"), "{seen}");
        assert_eq!(ripe(&table, "foreign"), at(T + 100_000));
    }
}

#[test]
fn a_key_that_comes_later_under_an_earlier_instant_waits_all_the_same() {
    let table = Timetable::new(vec![own("first", T, T), own("later", 0, T + 10)], RULES);

    assert_eq!(ripe(&table, "first"), at(T));
    assert_eq!(ripe(&table, "later"), at(T + 10 + LEAD));
    assert_eq!(first(&table, T + 10).as_deref(), Some("first"));
}

#[test]
fn a_key_that_comes_when_a_newer_one_had_switched_has_no_turn() {
    let (first, second) = (own("a", T, T), own("b", T + 10_000, T + 5_000));
    for (name, late, want) in [
        ("undated", own("late", 0, T + 12_000), true),
        ("between the two", own("late", T + 9_000, T + 12_000), true),
        (
            "before the second began",
            own("late", T + 9_000, T + 9_500),
            false,
        ),
        (
            "beside the second",
            own("late", T + 10_000, T + 12_000),
            false,
        ),
        (
            "after the second",
            own("late", T + 10_001, T + 12_000),
            false,
        ),
        ("found at the first look", found("late", 0), false),
    ] {
        let table = Timetable::new(vec![first.clone(), second.clone(), late], RULES);
        let overtaken = table.overtaken().map(|member| member.kid.as_str());
        let want: &[&str] = if want { &["late"] } else { &[] };
        assert_eq!(overtaken.collect::<Vec<_>>(), want, "{name}");
    }
}

#[test]
fn a_key_that_was_brought_here_late_waits_until_verifiers_of_every_replica_have_it() {
    let made = T + 5_000;
    for (name, brought, want) in [
        ("at once", made + 30, made + LEAD),
        ("after a failed look", made + 66, made + LEAD),
        ("soon enough", made + 400, made + LEAD),
        ("late", made + 500, made + 500 + 491),
        ("a month later", made + 2_592_000, made + 2_592_000 + 491),
    ] {
        let late = Member {
            seen: at(brought),
            absent: Some(at(brought - 30)),
            ..own("b", made + 10, made)
        };
        let table = Timetable::new(vec![own("a", 0, T), late], RULES);

        let [old, new] = table.generations() else {
            panic!("{name}: two generations")
        };
        assert_eq!(new.switch, at(want), "{name}");
        assert_eq!(old.removal, Some(at(want + RETAIN)), "{name}");
        assert!(
            old.room
                .is_some_and(|room| room <= at(want + RETAIN) && at(want + RETAIN - 30) <= room),
            "{name}"
        );
        assert_eq!(first(&table, want - 1).as_deref(), Some("a"), "{name}");
        assert_eq!(first(&table, want).as_deref(), Some("b"), "{name}");
    }
}

#[test]
fn a_new_key_is_not_the_first_because_the_others_were_brought() {
    let brought = Member {
        seen: at(T + 5_000),
        absent: Some(at(T + 4_970)),
        ..own("a", 1, T)
    };
    let table = Timetable::new(vec![brought, own("b", T, T + 9_000)], RULES);

    assert_eq!(table.generations()[1].switch, at(T + 9_000 + LEAD));
}

#[test]
fn a_creation_time_is_read_from_a_uuid_of_version_7_alone() {
    let now = at(1_800_000_000);
    let uuid = |millis: u64, version: u8, variant: u8| {
        let mut id = [0xaa; 16];
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        id[6] = version;
        id[8] = variant;
        id.to_vec()
    };
    let made = 1_799_000_000_123;
    for (name, id, want) in [
        ("ours", uuid(made, 0x71, 0x80), Some(made)),
        ("version 4", uuid(made, 0x41, 0x80), None),
        ("another variant", uuid(made, 0x71, 0xc0), None),
        ("too old", uuid(1_700_000_000_000, 0x71, 0x80), None),
        ("from the future", uuid(1_800_000_031_000, 0x71, 0x80), None),
        (
            "within the skew",
            uuid(1_800_000_030_999, 0x71, 0x80),
            Some(1_800_000_030_999),
        ),
        ("too short", vec![1; 15], None),
        ("too long", [uuid(made, 0x71, 0x80), vec![0]].concat(), None),
        ("empty", vec![], None),
    ] {
        let read = Created::from_id(&id, now, 30).map(Created::millis);
        assert_eq!(read, want, "{name}");
    }
}
