//! How many histories are run, and the sum of what they came to.

use std::ops::Range;

use super::claims::Tally;
use super::course::Cut;
use super::history::History;

#[expect(
    clippy::disallowed_methods,
    reason = "more histories for who has the time, without building anew"
)]
fn seeds(default: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let first = number("MODEL_FIRST").unwrap_or(0);
    first..first + number("MODEL_SEEDS").unwrap_or(default)
}

fn sum(tallies: &[Tally], of: impl Fn(&Tally) -> u64) -> u64 {
    tallies.iter().map(of).sum()
}

fn cut(cut: Cut) -> u64 {
    let tallies: Vec<Tally> = (0..12).map(|seed| History::run(seed, cut)).collect();
    sum(&tallies, |tally| tally.rejected)
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the figures of a long run are read by people"
)]
fn no_token_is_rejected_whatever_happens_within_the_rules() {
    let tallies: Vec<Tally> = seeds(100)
        .map(|seed| {
            let tally = History::run(seed, Cut::Nothing);
            let fault = tally.faults.first();
            assert!(
                fault.is_none(),
                "MODEL_FIRST={seed} MODEL_SEEDS=1 {fault:?}\n{}",
                tally.story
            );
            tally
        })
        .collect();

    let rows = [
        ("tokens minted", sum(&tallies, |tally| tally.minted)),
        (
            "by different keys",
            sum(&tallies, |tally| tally.signers.len() as u64),
        ),
        (
            "checks, none rejected",
            sum(&tallies, |tally| tally.checked),
        ),
        (
            "checks of revoked keys",
            sum(&tallies, |tally| tally.revoked),
        ),
        (
            "signed unannounced",
            sum(&tallies, |tally| tally.unannounced),
        ),
        ("mints refused", sum(&tallies, |tally| tally.unminted)),
        (
            "pairs of replicas compared",
            sum(&tallies, |tally| tally.compared),
        ),
    ];
    println!("{} histories", tallies.len());
    for (name, all) in rows {
        println!("{all:>10} {name}");
        assert!(all > 0 || tallies.len() < 50, "{name}");
    }
}

#[test]
fn without_enough_lead_the_model_finds_rejected_tokens() {
    for (name, left, least) in [("none", 0, 100), ("half", 50, 10)] {
        let rejected = cut(Cut::Lead(left));
        assert!(rejected > least, "{name}: {rejected}");
    }
}

#[test]
fn without_enough_retention_the_model_finds_rejected_tokens() {
    for (name, left, least) in [("none", 0, 100), ("half", 50, 10)] {
        let rejected = cut(Cut::Retain(left));
        assert!(rejected > least, "{name}: {rejected}");
    }
}
