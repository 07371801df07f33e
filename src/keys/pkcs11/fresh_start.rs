//! When a module that is well is started over, for the sake of keys that it may not show before.
//!
//! Most modules show another program's new key at the next look. Some read their objects once, at C_Initialize: tpm2-pkcs11 does,
//! and is known by its name; of others it is learned when a key comes.
//!
//! ```text
//! unknown        when somebody asks; when it is time, in a quiet moment
//! at once        never
//! after a start  when somebody asks; when it is time: a key that others sign with must be published here
//! ```
//!
//! Mints wait for it.
//!
//! Knows no module and no board: is told what was read, and says what is due.

use std::collections::BTreeSet;
use std::time::Duration;

use super::caution::Caution;
use crate::clock::Deadline;
use crate::keys::rules::Rules;

/// Of one token.
#[derive(Debug)]
pub(super) struct FreshStarts {
    shows: Shows,
    every: Duration,
    next: Deadline,
    /// By an operator, who may know of a key that is not shown yet.
    asked: bool,
    /// Why the one that is due does not happen.
    put_off: Option<Caution>,
    /// CKA_IDs of the private objects of the last look.
    seen: BTreeSet<Vec<u8>>,
}

/// When a module shows what another program has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Unknown,
    AtOnce,
    AfterAStart,
}

impl FreshStarts {
    pub(super) fn new(rules: &Rules) -> Self {
        let every = Duration::from_secs(every(rules));
        Self {
            shows: Shows::Unknown,
            every,
            next: Deadline::after(every),
            asked: false,
            put_off: None,
            seen: BTreeSet::new(),
        }
    }

    /// The module has just been started.
    pub(super) fn started(&mut self) {
        self.asked = false;
        self.put_off = None;
        self.next = Deadline::after(self.every);
    }

    /// Somebody asks for keys that may not be shown yet.
    pub(super) const fn ask(&mut self) {
        self.asked = true;
    }

    /// The one that is due does not happen, for this reason. Whether that is news.
    pub(super) fn put_off(&mut self, why: Option<Caution>) -> bool {
        std::mem::replace(&mut self.put_off, why) != why
    }

    /// The module is known to read its objects once.
    pub(super) const fn is_one_that_reads_once(&mut self) {
        if matches!(self.shows, Shows::Unknown) {
            self.shows = Shows::AfterAStart;
        }
    }

    /// A look at a module that goes on showed these private objects. One that came teaches how the module shows it; one that
    /// went does not: a token whose directory vanished loses all of them.
    pub(super) fn looked(&mut self, ids: BTreeSet<Vec<u8>>) {
        if !ids.is_subset(&self.seen) {
            self.shows = Shows::AtOnce;
        }
        self.seen = ids;
    }

    /// The same where more has changed than the token: it teaches nothing.
    pub(super) fn read_anew(&mut self, ids: BTreeSet<Vec<u8>>) {
        self.seen = ids;
    }

    /// What a look has just shown, for [`Self::started_since`].
    pub(super) fn seen(&self) -> BTreeSet<Vec<u8>> {
        self.seen.clone()
    }

    /// Between that look and the last one there was nothing but a start of the module.
    pub(super) fn started_since(&mut self, before: &BTreeSet<Vec<u8>>) {
        if !self.seen.is_subset(before) {
            self.shows = Shows::AfterAStart;
        }
    }

    pub(super) fn is_due(&self, idle: bool) -> bool {
        due(self.shows, self.asked, self.next.passed(), idle)
    }
}

const fn due(shows: Shows, asked: bool, time: bool, idle: bool) -> bool {
    match shows {
        Shows::Unknown => asked || (time && idle),
        Shows::AtOnce => false,
        Shows::AfterAStart => asked || time,
    }
}

/// Half the lead; less where verifiers need more of it than that. A look's time is taken off, because it is only then that a start
/// is thought of.
const fn every(rules: &Rules) -> u64 {
    let half = rules.sign_stale_after() / 2;
    let a_look = rules.poll.saturating_mul(11).div_ceil(10);
    let in_time = rules.jwks_stale_after().saturating_sub(a_look);
    if in_time < half { in_time } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u8]) -> BTreeSet<Vec<u8>> {
        ids.iter().map(|id| vec![*id]).collect()
    }

    /// After its first look, which found the key 1.
    fn running() -> FreshStarts {
        let mut starts = FreshStarts::new(&Rules::DEFAULTS);
        starts.read_anew(ids(&[1]));
        starts
    }

    #[test]
    fn a_key_is_seen_in_time_to_reach_every_verifier_before_it_signs() {
        assert_eq!(every(&Rules::DEFAULTS), 442);
        for lead in (491..6000).step_by(7) {
            let rules = Rules {
                lead,
                ..Rules::DEFAULTS
            };
            let seen_within = every(&rules) + 33;
            assert!(seen_within + rules.reaches_verifiers() <= lead, "{lead}");
            assert!(every(&rules) >= 33, "{lead}: not at every look");
            assert!(every(&rules) <= lead / 2, "{lead}");
        }
    }

    #[test]
    fn what_is_due_is_as_documented() {
        use Shows::{AfterAStart, AtOnce, Unknown};
        for (shows, asked, time, idle, want) in [
            (Unknown, true, false, false, true),
            (Unknown, false, true, true, true),
            (Unknown, false, true, false, false),
            (Unknown, false, false, true, false),
            (AtOnce, true, true, true, false),
            (AfterAStart, true, false, false, true),
            (AfterAStart, false, true, false, true),
            (AfterAStart, false, false, true, false),
        ] {
            let row = format!("{shows:?} {asked} {time} {idle}");
            assert_eq!(due(shows, asked, time, idle), want, "{row}");
        }
    }

    #[test]
    fn what_a_module_does_is_learned_from_keys_that_come_and_from_nothing_else() {
        use Shows::{AfterAStart, AtOnce, Unknown};
        for (name, found, by_a_look, by_a_start) in [
            ("the same key", &[1][..], Unknown, Unknown),
            ("a key that went", &[], Unknown, Unknown),
            ("a key that came", &[1, 2], AtOnce, AfterAStart),
            ("one for another", &[2], AtOnce, AfterAStart),
        ] {
            let mut looked = running();
            looked.looked(ids(found));
            assert_eq!(looked.shows, by_a_look, "{name}");

            let mut started = running();
            let before = started.seen();
            started.read_anew(ids(found));
            assert_eq!(started.shows, Unknown, "{name}: with trouble");
            started.started_since(&before);
            assert_eq!(started.shows, by_a_start, "{name}: with a start");
        }
    }

    #[test]
    fn what_was_seen_counts_more_than_a_name() {
        let mut named = running();
        named.is_one_that_reads_once();
        assert_eq!(named.shows, Shows::AfterAStart);

        named.looked(ids(&[1, 2]));
        named.is_one_that_reads_once();
        assert_eq!(named.shows, Shows::AtOnce);
    }

    #[test]
    fn a_start_that_is_put_off_is_news_once_for_each_reason_and_stays_due() {
        let mut starts = running();
        starts.ask();

        for (why, news) in [
            (Some(Caution::CountLow), true),
            (Some(Caution::CountLow), false),
            (Some(Caution::FinalTry), true),
            (Some(Caution::FinalTry), false),
        ] {
            assert_eq!(starts.put_off(why), news, "{why:?}");
            assert!(starts.is_due(false), "{why:?}");
        }
        starts.started();
        assert!(starts.put_off(Some(Caution::CountLow)));
    }

    #[test]
    fn a_start_answers_whoever_asked() {
        let mut starts = running();
        assert!(!starts.is_due(true), "not yet");
        starts.ask();
        assert!(starts.is_due(true));

        starts.started();
        assert!(!starts.is_due(true));
    }
}
