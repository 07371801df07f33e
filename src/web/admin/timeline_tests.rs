//! The geometry: where spans begin and end, and that they say what the timetable says.

use super::super::samples::{NOW, after, keys, overview};
use super::*;
use crate::jose::Kid;
use crate::keys::rules::Rules;
use crate::keys::schedule::{Member, Timetable};
use proptest::prelude::*;

fn names(row: &Row<'_>) -> Vec<&'static str> {
    row.spans.iter().map(|span| span.phase.name()).collect()
}

fn row<'a, 'b>(timeline: &'b Timeline<'a>, kid: &str) -> &'b Row<'a> {
    let of = |row: &&Row<'_>| row.key.key.kid().as_str() == kid;
    timeline.rows.iter().find(of).unwrap()
}

#[test]
fn each_key_has_its_phases_one_after_the_other() {
    let overview = overview();
    let timeline = Timeline::of(&overview);

    // The next switch is in an hour, and what it retires goes 80 minutes later: that is shown, and an eighth more.
    assert_eq!(timeline.window.until, after((3_600 + 4_800) * 9 / 8));
    assert_eq!(timeline.window.from, after(-(3_600 + 4_800) * 9 / 8));
    for (kid, want) in [
        ("next", vec!["PREPARED", "ACTIVE"]),
        ("active", vec!["PREPARED", "ACTIVE", "RETIRED", "EXPIRED"]),
        ("retired", vec!["PREPARED", "ACTIVE", "RETIRED", "EXPIRED"]),
        ("expired", vec!["ACTIVE", "RETIRED", "EXPIRED"]),
    ] {
        let row = row(&timeline, kid);
        assert_eq!(names(row), want, "{kid}");
        let joined = row
            .spans
            .windows(2)
            .all(|pair| pair[0].until == pair[1].from);
        assert!(joined, "{kid}: {:?}", row.spans);
        assert_eq!(row.spans.last().unwrap().until, Place::END, "{kid}");
    }
    assert_eq!(timeline.now, Place(5_000));
    let next = row(&timeline, "next");
    let at_switch = Place(5_000 + 1_904);
    assert_eq!(next.spans[1].from, at_switch);
    let activation = Mark {
        event: Event::Activation,
        at: after(3_600),
        place: at_switch,
    };
    assert_eq!(next.marks, [activation]);
    assert_eq!(row(&timeline, "active").marks.len(), 3);
}

#[test]
fn a_key_that_has_signed_since_ever_is_active_from_the_edge_to_the_edge() {
    let mut overview = overview();
    overview.keys = keys(&[("only", UnixSeconds::EVER, None)], NOW);
    let timeline = Timeline::of(&overview);

    let row = row(&timeline, "only");
    assert_eq!(names(row), ["ACTIVE"]);
    assert_eq!(
        (row.spans[0].from, row.spans[0].until),
        (Place(0), Place::END)
    );
    assert_eq!((row.spans[0].starts, row.spans[0].ends), (None, None));
    assert!(row.marks.is_empty());
}

#[test]
fn a_revoked_key_and_a_key_of_the_operator_have_one_span() {
    let mut overview = overview();
    overview.keys[0].revoked = true;
    overview.keys[1].role = Role::Extra;
    overview.keys[1].switch = None;
    let timeline = Timeline::of(&overview);

    assert_eq!(names(&timeline.rows[0]), ["REVOKED"]);
    assert!(timeline.rows[0].marks.is_empty());
    assert_eq!(names(&timeline.rows[1]), ["PUBLISHED"]);
}

#[test]
fn many_keys_are_not_all_drawn() {
    let mut overview = overview();
    let key = overview.keys[0].clone();
    overview.keys = vec![key; MOST_ROWS + 5];
    let timeline = Timeline::of(&overview);

    assert_eq!(timeline.rows.len(), MOST_ROWS);
    assert_eq!(timeline.left_out, 5);
}

#[test]
fn ticks_are_round_and_few_whatever_the_window() {
    for (length, want) in [
        (300, vec!["12:01", "12:02", "12:03", "12:04"]),
        (7_200, vec!["12:30", "13:00", "13:30"]),
        (86_400, vec!["18:00", "12-02", "06:00"]),
        (30 * DAY, vec!["12-10", "12-17", "12-24"]),
        (
            500 * DAY,
            vec!["2027-03", "2027-06", "2027-08", "2027-11", "2028-02"],
        ),
    ] {
        let window = Window {
            from: NOW,
            until: NOW.plus(length),
        };
        let ticks = window.ticks();
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, want, "{length}");
    }
}

#[test]
fn places_are_written_in_per_cent() {
    for (place, want) in [
        (0, "0.00%"),
        (5, "0.05%"),
        (1_234, "12.34%"),
        (10_000, "100.00%"),
    ] {
        assert_eq!(Place(place).to_string(), want);
    }
}

fn member(number: usize, instant: u64, created: Option<u64>) -> Member {
    Member {
        kid: Kid::pinned(format!("k{number}")).unwrap(),
        instant: UnixSeconds::new(instant),
        created: created.map(|at| Created::at(UnixSeconds::new(at))),
        seen: UnixSeconds::EVER,
        absent: None,
        revoked: false,
        gone: false,
    }
}

proptest! {
    #[test]
    fn at_every_instant_the_phase_is_the_state_of_the_timetable(
        made in prop::collection::vec((0_u64..30_000, prop::option::of(0_u64..30_000)), 1..6),
        at in 1_u64..60_000,
    ) {
        let members = made.iter().enumerate();
        let members = members.map(|(number, (instant, created))| member(number, *instant, *created));
        let table = Timetable::new(members.collect(), Rules::DEFAULTS);
        let generations = table.generations();
        let at = UnixSeconds::new(at);
        for (number, generation) in generations.iter().enumerate() {
            let life = Life {
                switch: Some(generation.switch),
                revoked: false,
                since: None,
                retired: generations.iter().skip(number + 1).map(|newer| newer.switch).min(),
                removal: generation.removal,
            };
            let phases: Vec<Phase> = life
                .spans()
                .into_iter()
                .flatten()
                .filter(|span| span.starts.is_none_or(|starts| starts <= at))
                .filter(|span| span.ends.is_none_or(|ends| at < ends))
                .map(|span| span.phase)
                .collect();
            prop_assert_eq!(phases, [Phase::In(table.state(generation, at))]);
        }
    }

    #[test]
    fn whatever_the_times_nothing_is_drawn_outside(
        made in prop::collection::vec((any::<u32>(), prop::option::of(any::<u32>())), 1..6),
        now in any::<u32>(),
    ) {
        let mut overview = overview();
        let kids: Vec<String> = (0..made.len()).map(|number| format!("k{number}")).collect();
        let made: Vec<_> = kids
            .iter()
            .zip(&made)
            .map(|(kid, (instant, created))| {
                let at = |seconds: u32| UnixSeconds::new(seconds.into());
                (kid.as_str(), at(*instant), created.map(at))
            })
            .collect();
        overview.now = UnixSeconds::new(now.into());
        overview.keys = keys(&made, overview.now);
        let timeline = Timeline::of(&overview);

        for span in timeline.rows.iter().flat_map(|row| &row.spans) {
            prop_assert!(span.from <= span.until && span.until <= Place::END, "{:?}", span);
        }
        let ticks: Vec<Place> = timeline.ticks.iter().map(|tick| tick.place).collect();
        prop_assert!(ticks.len() <= 7 && ticks.is_sorted() && ticks.iter().all(|place| *place <= Place::END));
        prop_assert!(timeline.now <= Place::END);
    }
}
