//! What holds of the timetable for any set of keys, found in any order.

use super::tests::{LEAD, RETAIN, RULES, T, asked, at, own};
use super::*;
use proptest::prelude::*;

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
        let before_all = |one: &Member| {
            let mut others = all().map(|entry| &entry.member);
            others.all(|other| one.since(&RULES) <= other.since(&RULES) || other.came_after(one, &RULES))
        };
        for turn in table.order(at(now), 300, &BTreeSet::new()) {
            let entry = table.of(turn.kid).and_then(|of| of.entry(turn.kid)).unwrap();
            let Some(created) = entry.member.created else { continue };
            let waited = created.seconds().plus(LEAD) <= at(now);
            let first = entry.member.since(&RULES) == oldest || before_all(&entry.member);
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
