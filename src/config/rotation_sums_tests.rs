//! Lead and retention: which sums stop the start, what the report says to set, what a rehearsal may do, and, for any
//! numbers, that an accepted configuration is safe or says that it is not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::rotation_tests::{LEAD, MAX_AGE, MAX_TTL, POLL, RETAIN, SKEW, VERIFIER_TTL, rotation};
use super::tests::{LABEL, MODULE, Row, UNSAFE, assert_refused, parsed};
use super::*;
use crate::keys::rules::UnsafeTiming;

fn is_lead(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Rotation(RotationFault::Lead {
            timing: UnsafeTiming::Lead(_),
            ..
        })
    )
}

fn is_retain(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Rotation(RotationFault::Retain {
            timing: UnsafeTiming::Retain(_),
            ..
        })
    )
}

#[test]
fn a_sum_is_told_beside_any_other_problem() {
    for other in [
        (MAX_TTL, "-1"),
        ("MACP_AUTH_ISSUER", ""),
        (MAX_AGE, "1m"),
        (POLL, "0"),
        (RETAIN, "1h"),
        (UNSAFE.0, "perhaps"),
    ] {
        let report = parsed(&[(LEAD, "1"), other]).unwrap_err();
        let names: BTreeSet<&str> = report
            .problems
            .iter()
            .map(|one| one.name.as_str())
            .collect();

        assert_eq!(names, BTreeSet::from([LEAD, other.0]), "{report}");
    }
}

#[test]
fn the_retention_follows_the_longest_token_and_the_lead() {
    for (name, rows, want) in [
        ("longer token", &[(MAX_TTL, "7200")][..], 8400),
        ("longer lead", &[(LEAD, "4500")], 8400),
        ("both", &[(MAX_TTL, "60"), (LEAD, "491")], 851),
        ("given", &[(LEAD, "4500"), (RETAIN, "3750")], 3750),
    ] {
        assert_eq!(rotation(rows).rules.retain, want, "{name}");
    }
}

/// One more of each part breaks a sum that just holds.
#[test]
fn an_unsafe_sum_stops_the_start_by_the_name_of_what_is_too_short() {
    let lead: fn(&Fault) -> bool = is_lead;
    let retain: fn(&Fault) -> bool = is_retain;
    let rows: [Row<'_>; 10] = [
        ("lead", &[(LEAD, "490")], LEAD, lead),
        ("no lead", &[(LEAD, "0")], LEAD, lead),
        ("poll", &[(LEAD, "491"), (POLL, "31")], LEAD, lead),
        ("max-age", &[(LEAD, "491"), (MAX_AGE, "61")], LEAD, lead),
        ("cache", &[(LEAD, "491"), (VERIFIER_TTL, "301")], LEAD, lead),
        ("skew", &[(LEAD, "491"), (SKEW, "31")], LEAD, lead),
        ("retention", &[(RETAIN, "3749")], RETAIN, retain),
        ("no retention", &[(RETAIN, "0")], RETAIN, retain),
        (
            "longer token",
            &[(RETAIN, "3750"), (MAX_TTL, "3601")],
            RETAIN,
            retain,
        ),
        (
            "longer poll",
            &[(RETAIN, "3750"), (POLL, "31")],
            RETAIN,
            retain,
        ),
    ];
    assert_refused(&rows);
    assert!(parsed(&[(LEAD, "491"), (RETAIN, "3750")]).is_ok());
}

#[test]
fn both_sums_are_in_one_report_with_their_numbers_and_what_to_set() {
    let report = parsed(&[MODULE, LABEL, (LEAD, "60"), (RETAIN, "100")]).unwrap_err();

    let text = report.to_string();
    assert_eq!(report.problems.len(), 2, "{text}");
    for part in [
        "MACP_AUTH_KEY_LEAD_SECONDS lets",
        "the lead is 60 s",
        "491 s = 2.2 x 30 (MACP_AUTH_KEY_POLL_SECONDS) + 60",
        "Set it to 491 or more",
        "MACP_AUTH_KEY_RETAIN_SECONDS withdraws",
        "the retention is 100 s",
        "3750 s = 3600 (MACP_AUTH_MAX_TTL_SECONDS) + 60",
        "Set it to 3750 or more",
        "MACP_AUTH_ROTATION_UNSAFE=1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Its cure is the lead; a retention to set by hand would only mislead.
#[test]
fn a_default_retention_is_no_problem_of_its_own_beside_a_lead_that_is_too_short() {
    assert_refused(&[("skew", &[(SKEW, "3600")], LEAD, is_lead)]);
    assert_eq!(
        rotation(&[(SKEW, "3600"), (LEAD, "7631")]).rules.retain,
        11_531
    );
}

#[test]
fn a_number_that_cannot_be_read_counts_as_its_default_and_hides_no_unsafe_lead() {
    let unreadable: fn(&Fault) -> bool = |fault| matches!(fault, Fault::Number { .. });
    assert_refused(&[
        ("lead", &[(LEAD, "15m")], LEAD, unreadable),
        ("retention", &[(RETAIN, "1h")], RETAIN, unreadable),
        ("poll", &[(POLL, "0")], POLL, unreadable),
    ]);
    let both = parsed(&[(RETAIN, "1h"), (LEAD, "0")]).unwrap_err();
    assert_eq!(both.problems.len(), 2, "{both}");
}

#[test]
fn a_rehearsal_starts_with_unsafe_sums_as_given_and_says_so() {
    let token = [MODULE, LABEL, UNSAFE];
    for (name, rows, said) in [
        ("safe", &[][..], &[][..]),
        ("lead", &[(LEAD, "0")], &["the lead is 0 s"]),
        ("retention", &[(RETAIN, "7")], &["the retention is 7 s"]),
        (
            "both",
            &[(LEAD, "1"), (RETAIN, "2")],
            &["the lead is 1 s", "the retention is 2 s"],
        ),
        (
            "default retention",
            &[(SKEW, "3600")],
            &["the lead is 900 s", "the retention is 4800 s"],
        ),
    ] {
        let rows: Vec<_> = token.iter().chain(rows).copied().collect();
        let parsed = parsed(&rows).unwrap();
        let warnings = &parsed.warnings;
        assert_eq!(warnings.len(), 1 + said.len(), "{name}: {warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|warning| warning.starts_with("MACP_AUTH_ROTATION_UNSAFE=1: ")),
            "{name}: {warnings:?}"
        );
        assert!(warnings[0].contains("rehearsals only"), "{name}");
        for (warning, said) in warnings[1..].iter().zip(said) {
            assert!(warning.contains(said), "{name}: {warning}");
        }
        assert!(parsed.config.rotation.rules.unsafe_timing, "{name}");
    }
    let rules = rotation(&[UNSAFE, (LEAD, "1"), (RETAIN, "2")]).rules;
    assert_eq!((rules.lead, rules.retain), (1, 2));
}

type Times = Vec<(&'static str, String)>;

/// Parts in their ranges; lead and retention around the least that is safe, unset, or anything, unreadable numbers too.
fn times() -> impl Strategy<Value = Times> {
    let parts = (
        proptest::option::of(1u64..=3600),
        proptest::option::of(0u64..=86_400),
        proptest::option::of(0u64..=86_400),
        proptest::option::of(0u64..=3600),
        proptest::option::of(1u64..=31_536_000),
    );
    let chosen = || {
        prop_oneof![
            4 => (0u64..4).prop_map(Choice::Near),
            2 => Just(Choice::Unset),
            1 => any::<u64>().prop_map(Choice::Number),
        ]
    };
    (parts, chosen(), chosen()).prop_map(|((poll, max_age, ttl, skew, max_ttl), lead, retain)| {
        let rules = Rules {
            poll: poll.unwrap_or(30),
            jwks_max_age: max_age.unwrap_or(60),
            verifier_ttl: ttl.unwrap_or(300),
            skew: skew.unwrap_or(30),
            max_ttl: max_ttl.unwrap_or(3600),
            lead: 0,
            retain: 0,
            unsafe_timing: false,
        };
        [
            (POLL, poll),
            (MAX_AGE, max_age),
            (VERIFIER_TTL, ttl),
            (SKEW, skew),
            (MAX_TTL, max_ttl),
            (LEAD, lead.beside(rules.least_lead())),
            (RETAIN, retain.beside(rules.least_retain())),
        ]
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?.to_string())))
        .collect()
    })
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    /// So much above two less than the least.
    Near(u64),
    Unset,
    Number(u64),
}

impl Choice {
    fn beside(self, least: u64) -> Option<u64> {
        match self {
            Self::Near(above) => Some((least + above).saturating_sub(2)),
            Self::Unset => None,
            Self::Number(number) => Some(number),
        }
    }
}

fn parse_texts(rows: &Times) -> Result<Parsed, Report> {
    let rows: Vec<_> = rows.iter().map(|(name, text)| (*name, &**text)).collect();
    parsed(&rows)
}

proptest! {
    #[test]
    fn an_accepted_configuration_is_safe_or_says_that_it_is_not(
        mut rows in times(),
        rehearsal in any::<bool>(),
    ) {
        let of_rotation = rows.iter().any(|(name, _)| ![MAX_AGE, MAX_TTL].contains(name));
        if rehearsal {
            rows.push((UNSAFE.0, UNSAFE.1.to_owned()));
        }

        match parse_texts(&rows) {
            Ok(Parsed { config, warnings }) => {
                let rules = config.rotation.rules;
                prop_assert_eq!(rules.unsafe_timing, rehearsal);
                let faults = rules.faults().count();
                prop_assert!(rehearsal || !of_rotation || faults == 0, "{:?}", rules);
                let said = warnings.iter().filter(|text| text.contains(UNSAFE.0)).count();
                prop_assert_eq!(said, if rehearsal { faults + 1 } else { 0 });
            }
            Err(report) => {
                let is_sum = |problem: &&Problem| matches!(problem.fault, Fault::Rotation(_));
                let sums = report.problems.iter().filter(is_sum).count();
                prop_assert!(!rehearsal || sums == 0, "{report}");
            }
        }
    }

    #[test]
    fn what_a_refusal_says_to_set_is_accepted(mut rows in times()) {
        let Err(report) = parse_texts(&rows) else { return Ok(()) };
        for problem in &report.problems {
            let (name, least) = match &problem.fault {
                Fault::Rotation(RotationFault::Lead { least, .. }) => (LEAD, least),
                Fault::Rotation(RotationFault::Retain { least, .. }) => (RETAIN, least),
                _ => return Ok(()),
            };
            rows.retain(|(set, _)| *set != name);
            rows.push((name, least.to_string()));
        }

        if let Err(report) = parse_texts(&rows) {
            prop_assert!(false, "{report}");
        }
    }
}
