//! Who signs when the key whose turn it is cannot: a revoked, missing or held key, the one before it, and for how long that
//! one may.

use super::tests::{LEAD, RETAIN, RULES, T, asked, at, first, found, own, revoked, ripe};
use super::*;

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
fn where_no_key_has_had_its_turn_none_is_missing_and_none_signs() {
    let table = Timetable::new(vec![own("a", T + 10_000, T)], RULES);

    for now in [T + 1, T + LEAD, T + 9_999] {
        assert_eq!(first(&table, now), None, "{now}");
        assert_eq!(table.begins(at(now)), Some(at(T + 10_000)), "{now}");
    }
    assert_eq!(table.begins(at(T + 10_000)), None);
    assert_eq!(first(&table, T + 10_000).as_deref(), Some("a"));
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
