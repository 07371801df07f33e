//! Which key signs, which are published, and until when: a pure function of keys, instant and rules (docs/rotation.md).
//!
//! ```text
//! PREPARED --switch--> ACTIVE --a newer one switches--> RETIRED --removal--> EXPIRED
//! published            signs                            published, fallback  not published
//! ```
//!
//! Keys with the same instant are a generation. Every replica that sees the same keys computes the same table, so nobody
//! has to coordinate. What replicas may see at different times is bounded by the lead and the retention ([`Rules`]).

mod beginning;
mod member;

use std::collections::BTreeSet;

use serde::Serialize;

use super::rules::{LEEWAY, Rules};
use crate::clock::UnixSeconds;
use crate::jose::Kid;

use beginning::Beginning;
pub use member::{Created, Member};

/// Where a generation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Prepared,
    Active,
    Retired,
    Expired,
}

/// One key to ask for a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<'a> {
    pub kid: &'a Kid,
    /// Life of the token that it may sign; at most what was asked for.
    pub ttl: u64,
    /// It signs before it was published for the lead: nothing else is left.
    pub unannounced: bool,
}

/// All generations with their times; oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    rules: Rules,
    generations: Vec<Generation>,
}

/// Keys with the same instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    pub instant: UnixSeconds,
    /// By kid.
    pub keys: Vec<Entry>,
    /// When the first of its keys may sign.
    pub switch: UnixSeconds,
    /// When it is no longer published; None while no newer generation is there.
    pub removal: Option<UnixSeconds>,
    /// The earliest removal that another replica could compute; a token signed here must be dead by then.
    pub room: Option<UnixSeconds>,
}

/// One key with the time from which it may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub member: Member,
    pub ripe: UnixSeconds,
    /// Until then it signs only where nothing else can.
    last_resort_until: Option<UnixSeconds>,
}

/// A key that has not had its turn, with the room of its generation.
type Waiting<'a> = (Option<UnixSeconds>, &'a Entry);

/// A cut token is not shorter than this: callers keep tokens for a minute whatever they say.
const SHORTEST_CUT: u64 = 60;

impl Timetable {
    /// The table of these keys. A kid stands in `members` once.
    pub fn new(members: Vec<Member>, rules: Rules) -> Self {
        Self::outliving(members, rules, rules.retain)
    }

    /// The same while tokens of an older, longer life may be accepted: keys are published for the longer retention of `rules`,
    /// but sign only what dies within `retain`, because the longer one ends before.
    pub fn outliving(mut members: Vec<Member>, rules: Rules, retain: u64) -> Self {
        members.sort_by(|a, b| (a.instant, &a.kid).cmp(&(b.instant, &b.kid)));
        let begin = Beginning::of(&members, &rules);
        let mut generations: Vec<Generation> = Vec::new();
        for member in members {
            let entry = Entry::new(member, &begin, &rules);
            match generations.last_mut() {
                Some(last) if last.instant == entry.member.instant => last.add(entry),
                _ => generations.push(Generation::of(entry)),
            }
        }
        // From the newest to the oldest: what the newer ones mean for each.
        let (mut removal, mut room) = (None, None);
        for generation in generations.iter_mut().rev() {
            (generation.removal, generation.room) = (removal, room);
            removal = earliest(removal, generation.switch.plus(rules.retain));
            room = earliest(
                room,
                generation.bound(&rules).plus(retain.min(rules.retain)),
            );
        }
        Self { rules, generations }
    }

    /// Oldest first.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The generation of a key.
    pub fn of(&self, kid: &Kid) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.entry(kid).is_some())
    }

    /// The state of a generation of this table.
    pub fn state(&self, generation: &Generation, now: UnixSeconds) -> State {
        if generation.is_expired(now) {
            State::Expired
        } else if now < generation.switch {
            State::Prepared
        } else if self.active(now).map(|active| active.instant) == Some(generation.instant) {
            State::Active
        } else {
            State::Retired
        }
    }

    /// The newest generation that is ripe.
    pub fn active(&self, now: UnixSeconds) -> Option<&Generation> {
        self.generations
            .iter()
            .rev()
            .find(|generation| generation.switch <= now)
    }

    /// Kids to publish: all that are neither revoked nor expired. `also_expired`: a replica without memory cannot know for
    /// how long others have been publishing them.
    pub fn published(&self, now: UnixSeconds, also_expired: bool) -> impl Iterator<Item = &Kid> {
        self.generations
            .iter()
            .filter(move |generation| also_expired || !generation.is_expired(now))
            .flat_map(|generation| &generation.keys)
            .filter(|entry| !entry.member.revoked)
            .map(|entry| &entry.member.kid)
    }

    /// The keys to ask for a token of `ttl` seconds that is stamped `now`, in their order. `held` keys wait until verifiers
    /// have them, as long as another can sign.
    pub fn order<'a>(&'a self, now: UnixSeconds, ttl: u64, held: &BTreeSet<Kid>) -> Vec<Turn<'a>> {
        let mut order = Vec::new();
        let mut last = Vec::new();
        let published = self.generations.iter().filter(|of| !of.is_expired(now));
        for generation in published.rev() {
            let room = generation.room;
            for entry in generation.keys.iter().filter(|entry| entry.may_sign(now)) {
                let Some(ttl) = self.fits(now, ttl, room) else {
                    continue;
                };
                if entry.is_last_resort(now) || held.contains(&entry.member.kid) {
                    last.push(Turn {
                        unannounced: entry.is_late(now),
                        ..entry.turn(ttl)
                    });
                } else {
                    order.push(entry.turn(ttl));
                }
            }
        }
        order.append(&mut last);
        let revoked = self.is_left_without_signer(now);
        // Where no key has had its turn yet, none is missing.
        let lost = order.is_empty() && self.active(now).is_some();
        if revoked || lost {
            let (announced, unannounced) = self.prepared(now, revoked);
            let turns = |waiting: Vec<Waiting<'a>>| {
                let within = waiting.into_iter();
                within.filter_map(|of| self.within_room(of, now, ttl))
            };
            order.splice(0..0, turns(announced));
            if order.is_empty() {
                order.extend(turns(unannounced).map(|turn| Turn {
                    unannounced: true,
                    ..turn
                }));
            }
        }
        order
    }

    /// A key with an older instant than one that is lost is withdrawn on that one's account, too.
    fn within_room<'a>(
        &self,
        waiting: Waiting<'a>,
        now: UnixSeconds,
        ttl: u64,
    ) -> Option<Turn<'a>> {
        let (room, entry) = waiting;
        Some(entry.turn(self.fits(now, ttl, room)?))
    }

    /// When the first key has its turn, where none has had it.
    pub fn begins(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let first = self.generations.iter().map(|of| of.switch).min();
        first.filter(|first| now < *first)
    }

    /// The life by which it is told who signs now, seconds: mints that ask for more get at least this much, where it is cut.
    pub const fn usual_life(&self) -> u64 {
        if self.rules.max_ttl < SHORTEST_CUT {
            self.rules.max_ttl
        } else {
            SHORTEST_CUT
        }
    }

    /// Every key of the active generation that could sign has been revoked.
    pub fn is_left_without_signer(&self, now: UnixSeconds) -> bool {
        self.active(now).is_some_and(|active| {
            let mut ripe = active.keys.iter().filter(|entry| entry.ripe <= now);
            ripe.all(|entry| entry.member.revoked)
        })
    }

    /// The keys that were made or brought when a newer one had switched already: their turn was over before it could begin.
    pub fn overtaken(&self) -> impl Iterator<Item = &Member> {
        let rules = &self.rules;
        let older = self.generations.iter();
        let older = older.filter_map(|of| Some((&of.keys, of.removal?)));
        older.flat_map(move |(keys, removal)| {
            let members = keys.iter().map(|entry| &entry.member);
            members.filter(move |member| {
                let since = member.since(rules).filter(|_| member.absent.is_some());
                since.is_some_and(|since| removal <= since.seconds().plus(rules.retain))
            })
        })
    }

    /// The keys that have not had their turn, by the time of it: those that were published for the lead, and the others. Without
    /// a revocation the others are only those whose instant has come: a key that is missing may be back at the next look.
    fn prepared(&self, now: UnixSeconds, revoked: bool) -> (Vec<Waiting<'_>>, Vec<Waiting<'_>>) {
        let published = self.generations.iter().filter(|of| !of.is_expired(now));
        let mut waiting: Vec<Waiting<'_>> = published
            .flat_map(|of| of.keys.iter().map(|entry| (of.room, entry)))
            .filter(|(_, entry)| now < entry.ripe && !entry.member.revoked && !entry.member.gone)
            .collect();
        waiting.sort_by_key(|(_, entry)| (entry.ripe, &entry.member.kid));
        let (announced, mut unannounced): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, entry)| entry.member.published_since_lead(now, &self.rules));
        unannounced.retain(|(_, entry)| revoked || entry.member.instant <= now);
        (announced, unannounced)
    }

    /// The life that a token may have if it must be dead before `room` ends.
    fn fits(&self, now: UnixSeconds, ttl: u64, room: Option<UnixSeconds>) -> Option<u64> {
        // A rehearsal takes the retention as it is, to show what it does to verifiers.
        let Some(room) = room.filter(|_| !self.rules.unsafe_timing) else {
            return Some(ttl);
        };
        // The second in which it dies is the last in which it is accepted.
        let overhead = LEEWAY + 2 * self.rules.skew + 1;
        let most = room.get().checked_sub(now.get().saturating_add(overhead))?;
        if ttl <= most {
            return Some(ttl);
        }
        (most >= SHORTEST_CUT).then_some(most)
    }
}

impl Generation {
    fn of(entry: Entry) -> Self {
        Self {
            instant: entry.member.instant,
            switch: entry.ripe,
            keys: vec![entry],
            removal: None,
            room: None,
        }
    }

    fn add(&mut self, entry: Entry) {
        self.switch = self.switch.min(entry.ripe);
        self.keys.push(entry);
    }

    pub fn entry(&self, kid: &Kid) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.member.kid == *kid)
    }

    fn is_expired(&self, now: UnixSeconds) -> bool {
        self.removal.is_some_and(|removal| removal <= now)
    }

    /// The earliest switch that another replica could compute: it may have known these keys for longer.
    fn bound(&self, rules: &Rules) -> UnixSeconds {
        let earliest = self.keys.iter().map(|entry| entry.member.bound(rules));
        let earliest = earliest.min().unwrap_or(UnixSeconds::EVER);
        self.switch.min(self.instant.max(earliest))
    }
}

impl Entry {
    fn new(member: Member, begin: &Beginning, rules: &Rules) -> Self {
        let of_the_oldest = member.instant == begin.instant;
        let since = member.since(rules);
        let first = since == begin.created && (of_the_oldest || since.is_some());
        let ripe = match member.created {
            Some(created) if !first => member.ripe(created, rules),
            _ => member.instant,
        };
        // Published beside the first key, but so late that verifiers may not have it.
        let late = of_the_oldest && member.seen > begin.seen && !rules.unsafe_timing;
        let last_resort_until = match member.created {
            None if !of_the_oldest => Some(UnixSeconds::new(u64::MAX)),
            _ => late.then_some(member.seen.plus(rules.least_lead())),
        };
        Self {
            member,
            ripe,
            last_resort_until,
        }
    }

    fn may_sign(&self, now: UnixSeconds) -> bool {
        self.ripe <= now && !self.member.revoked && !self.member.gone
    }

    fn is_last_resort(&self, now: UnixSeconds) -> bool {
        self.last_resort_until.is_some_and(|until| now < until)
    }

    /// Verifiers may not have it yet, and nothing else is the reason why it waits.
    fn is_late(&self, now: UnixSeconds) -> bool {
        let until = self.last_resort_until;
        until.is_some_and(|until| now < until && until < UnixSeconds::new(u64::MAX))
    }

    const fn turn(&self, ttl: u64) -> Turn<'_> {
        Turn {
            kid: &self.member.kid,
            ttl,
            unannounced: false,
        }
    }
}

fn earliest(known: Option<UnixSeconds>, other: UnixSeconds) -> Option<UnixSeconds> {
    Some(known.map_or(other, |known| known.min(other)))
}

#[cfg(test)]
#[path = "schedule_properties_tests.rs"]
mod properties_tests;
#[cfg(test)]
#[path = "schedule_stand_by_tests.rs"]
mod stand_by_tests;
#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
