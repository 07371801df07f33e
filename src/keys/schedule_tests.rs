//! The rules of the timetable one by one; schedule_model.rs shows that they hold together.

use super::*;
use proptest::prelude::*;

const LEAD: u64 = 900;
const RETAIN: u64 = 4800;
const RULES: Rules = Rules::DEFAULTS;
/// Long after the first key, so that nothing saturates.
const T: u64 = 1_800_000_000;

/// A key of our own: its CKA_ID tells when it was made.
fn own(kid: &str, instant: u64, created: u64) -> Member {
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
fn found(kid: &str, instant: u64) -> Member {
    Member {
        created: None,
        absent: None,
        ..own(kid, instant, T)
    }
}

fn revoked(member: Member) -> Member {
    Member {
        revoked: true,
        ..member
    }
}

fn at(seconds: u64) -> UnixSeconds {
    UnixSeconds::new(seconds)
}

/// The kids that are asked at `now` for a token of 300 s, with the life each may give.
fn asked(table: &Timetable, now: u64) -> Vec<(String, u64)> {
    let order = table.order(at(now), 300, &BTreeSet::new());
    order
        .into_iter()
        .map(|turn| (turn.kid.to_string(), turn.ttl))
        .collect()
}

fn first(table: &Timetable, now: u64) -> Option<String> {
    asked(table, now).into_iter().next().map(|(kid, _)| kid)
}

fn ripe(table: &Timetable, kid: &str) -> UnixSeconds {
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
fn an_older_generation_takes_over_while_its_tokens_die_in_time() {
    let switch = T + 10_000;
    let table = Timetable::new(vec![own("a", 0, T), own("b", switch, T + 5_000)], RULES);
    let removal = switch + RETAIN;
    let overhead = LEEWAY + 2 * RULES.skew + 1;

    for (name, now, want) in [
        ("fits", removal - overhead - 300, Some(300)),
        ("is cut", removal - overhead - 299, Some(299)),
        ("is cut to a minute", removal - overhead - 60, Some(60)),
        ("does not fit", removal - overhead - 59, None),
    ] {
        let fallback = asked(&table, now).get(1).map(|(_, ttl)| *ttl);
        assert_eq!(fallback, want, "{name}");
    }
}

#[test]
fn the_room_ends_where_any_other_replica_might_remove_the_key() {
    // Another replica may have known c for longer, so that for it c switches at its instant.
    let table = Timetable::new(vec![own("a", 0, T), found("c", T + 2_000)], RULES);

    assert_eq!(table.generations()[0].room, Some(at(T + 2_000 + RETAIN)));
    assert_eq!(
        asked(&table, T + 3_000),
        [("a".to_owned(), 300), ("c".to_owned(), 300)]
    );
    assert_eq!(first(&table, T + 2_000 + RETAIN).as_deref(), Some("c"));
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
fn the_room_of_a_key_before_one_of_another_tool_counts_from_the_look_that_did_not_show_it() {
    let seen = T + 5_000;
    let foreign = Member {
        absent: Some(at(seen - 70)),
        ..own("b", 0, seen)
    };
    let foreign = Member {
        instant: at(1),
        ..foreign
    };
    let table = Timetable::new(vec![own("a", 0, T), foreign], RULES);

    let old = &table.generations()[0];
    assert_eq!(old.removal, Some(at(seen + LEAD + RETAIN)));
    assert_eq!(old.room, Some(at(seen - 70 + LEAD + RETAIN)));
}

#[test]
fn a_key_of_last_resort_signs_no_token_that_outlives_its_publication() {
    // Nobody knows for how long b was published, and c takes its place.
    let switch = T + 10_000;
    let keys = vec![
        own("a", 0, T),
        found("b", T + 10),
        own("c", switch, T + 5_000),
    ];
    let table = Timetable::new(keys, RULES);

    let removal = switch + RETAIN;
    for (now, want) in [
        (switch, Some(300)),
        (removal - 300, Some(179)),
        (removal - 100, None),
    ] {
        let asked = asked(&table, now);
        let of_b = asked.iter().find(|(kid, _)| kid == "b");
        assert_eq!(of_b.map(|(_, ttl)| *ttl), want, "{now}");
    }
}

#[test]
fn the_successor_of_a_revoked_key_is_the_one_that_verifiers_have() {
    let now = T + 20_000;
    let old = own("old", 0, T);
    let active = revoked(own("active", T + 10_000, T + 5_000));
    let published = own("published", now + 5_000, now - LEAD);
    let young = own("young", now + 3_000, now - 10);
    for (name, keys, want) in [
        (
            "prepared for the lead",
            vec![old.clone(), active.clone(), published, young.clone()],
            vec!["published"],
        ),
        (
            "nothing but a young one",
            vec![active.clone(), young.clone()],
            vec!["young"],
        ),
        ("nothing", vec![active.clone()], vec![]),
        (
            "retired without room",
            vec![old.clone(), active.clone(), young],
            vec!["young"],
        ),
    ] {
        let table = Timetable::new(keys, RULES);
        let order: Vec<String> = asked(&table, now).into_iter().map(|(kid, _)| kid).collect();
        assert_eq!(order, want, "{name}");
    }
    let soon = T + 10_000 + 100;
    let table = Timetable::new(
        vec![old, active, own("young", soon + 3_000, soon - 10)],
        RULES,
    );
    assert_eq!(
        first(&table, soon).as_deref(),
        Some("old"),
        "retired within its room"
    );
    assert!(
        !table
            .published(at(soon), true)
            .any(|kid| kid.as_str() == "active")
    );
}

#[test]
fn a_missing_key_is_replaced_by_one_that_verifiers_have_or_by_one_whose_instant_has_come() {
    let now = T + 20_000;
    let gone = |member: Member| Member {
        gone: true,
        ..member
    };
    let active = gone(own("active", T + 10_000, T + 5_000));
    let announced = own("announced", now + 5_000, now - LEAD);
    let due = own("due", now - 10, now - 10);
    let later = own("later", now + 3_000, now - 10);
    for (name, keys, want) in [
        (
            "announced",
            vec![active.clone(), announced, due.clone(), later.clone()],
            Some("announced"),
        ),
        (
            "its instant has come",
            vec![active.clone(), due.clone(), later.clone()],
            Some("due"),
        ),
        ("its instant is to come", vec![active.clone(), later], None),
        ("missing as well", vec![active.clone(), gone(due)], None),
        (
            "retired within its room",
            vec![
                own("old", 0, T),
                Member {
                    instant: at(now - 100),
                    ..active
                },
            ],
            Some("old"),
        ),
    ] {
        let table = Timetable::new(keys, RULES);
        assert_eq!(first(&table, now).as_deref(), want, "{name}");
    }
}

#[test]
fn keys_of_the_first_generation_that_were_made_together_stand_by_for_each_other() {
    let later = Member {
        seen: at(T + 5),
        ..own("a", 0, T)
    };
    let table = Timetable::new(vec![own("b", 0, T), later], RULES);

    assert_eq!(
        asked(&table, T + 5),
        [("b".to_owned(), 300), ("a".to_owned(), 300)]
    );
    assert!(table.order(at(T + 5), 300, &BTreeSet::new())[1].unannounced);
    let reached = T + 5 + RULES.least_lead();
    assert_eq!(first(&table, reached).as_deref(), Some("a"));
}

#[test]
fn a_held_key_waits_behind_the_one_before() {
    let switch = T + 10_000;
    let table = Timetable::new(vec![own("a", 0, T), own("b", switch, T + 5_000)], RULES);
    let held = BTreeSet::from([Kid::pinned("b".to_owned()).unwrap()]);

    let kids = |now| -> Vec<String> {
        let order = table.order(at(now), 300, &held);
        order.iter().map(|turn| turn.kid.to_string()).collect()
    };
    assert_eq!(kids(switch), ["a", "b"]);
    assert_eq!(
        kids(switch + RETAIN),
        ["b"],
        "no longer than another may sign"
    );
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

prop_compose! {
    fn any_member()(
        kid in "[a-h]",
        instant in prop_oneof![Just(0), T..T + 20_000],
        created in proptest::option::of(T - 5_000..T + 20_000),
        seen in T - 5_000..T + 20_000,
        absent in proptest::option::of(0_u64..30),
        revoked in proptest::bool::weighted(0.1),
        gone in proptest::bool::weighted(0.1),
    ) -> Member {
        Member {
            gone,
            created: created.map(|at| Created::at(UnixSeconds::new(at))),
            seen: at(seen),
            absent: absent.map(|before| at(seen - before)),
            revoked,
            ..own(&kid, instant, T)
        }
    }
}

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    proptest::collection::vec(any_member(), 0..7).prop_map(|mut members| {
        members.sort_by(|a, b| a.kid.cmp(&b.kid));
        members.dedup_by(|a, b| a.kid == b.kid);
        members
    })
}

proptest! {
    #[test]
    fn the_order_in_which_keys_are_found_changes_nothing(members in any_members(), now in T..T + 30_000) {
        let mut turned = members.clone();
        turned.reverse();
        let (one, other) = (Timetable::new(members, RULES), Timetable::new(turned, RULES));

        prop_assert_eq!(&one, &other);
        prop_assert_eq!(asked(&one, now), asked(&other, now));
    }

    #[test]
    fn what_signs_is_published_not_revoked_and_asked_once(members in any_members(), now in T..T + 30_000, ttl in 1_u64..3_600) {
        let table = Timetable::new(members.clone(), RULES);
        let published: BTreeSet<&Kid> = table.published(at(now), false).collect();
        let order = table.order(at(now), ttl, &BTreeSet::new());

        let kids: BTreeSet<&Kid> = order.iter().map(|turn| turn.kid).collect();
        prop_assert_eq!(kids.len(), order.len());
        for turn in &order {
            prop_assert!(published.contains(turn.kid), "{} is not published", turn.kid);
            prop_assert!(!members.iter().any(|member| member.kid == *turn.kid && (member.revoked || member.gone)));
            prop_assert!(turn.ttl <= ttl);
        }
    }

    #[test]
    fn a_key_of_known_age_signs_only_after_the_lead_unless_it_is_the_first(members in any_members(), now in T..T + 30_000) {
        let table = Timetable::new(members, RULES);
        let all = || table.generations().iter().flat_map(|generation| &generation.keys);
        let oldest = all().filter_map(|entry| entry.member.since(&RULES)).min();
        for turn in table.order(at(now), 300, &BTreeSet::new()) {
            let entry = table.of(turn.kid).and_then(|of| of.entry(turn.kid)).unwrap();
            let Some(created) = entry.member.created else { continue };
            let waited = created.seconds().plus(LEAD) <= at(now);
            let first = entry.member.since(&RULES) == oldest;
            prop_assert!(waited || first || turn.unannounced, "{:?}", entry);
        }
    }

    #[test]
    fn a_generation_is_removed_a_retention_after_a_newer_one_switched(members in any_members()) {
        let table = Timetable::new(members, RULES);
        for (older, generation) in table.generations().iter().enumerate() {
            let newer = table.generations().iter().skip(older + 1);
            let first = newer.map(|newer| newer.switch).min();
            prop_assert_eq!(generation.removal, first.map(|switch| switch.plus(RETAIN)));
            prop_assert!(generation.room <= generation.removal || generation.removal.is_none());
        }
    }
}

/// "new" is lost (or revoked) in the moment in which somebody makes a key without an instant: the older generation.
#[test]
fn a_key_that_is_older_by_its_instant_than_a_lost_one_signs_only_what_dies_before_its_removal() {
    let switch = T + 10_000;
    for lost in [revoked, |member| Member {
        gone: true,
        ..member
    }] {
        let late = own("late", 0, switch + 4_400);
        let table = Timetable::new(vec![late, lost(own("new", switch, T))], RULES);
        let [of_late, _] = table.generations() else {
            panic!("{table:?}");
        };
        let removal = of_late.removal.unwrap();
        assert!(ripe(&table, "late") > removal);

        for now in (switch + 4_400)..removal.get() {
            for (_, ttl) in asked(&table, now) {
                assert!(now + ttl + LEEWAY + 2 * RULES.skew < removal.get(), "{now}");
            }
        }
        assert_eq!(first(&table, switch + 4_400).as_deref(), Some("late"));
    }
}
