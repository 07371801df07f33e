//! What must hold, looked at as it happens. Each fault is a sentence with its time; the story of a history with a fault is told
//! with it.

use std::collections::BTreeSet;

use super::history::{Event, History, REPLICAS, VERIFIERS};
use super::replica::{Minted, Replica};
use super::world::second;
use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::rules::{LEEWAY, Rules};
use crate::keys::schedule::{Created, Entry, Generation, Member, Timetable};

/// What a history came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) minted: u64,
    /// Refused with 503.
    pub(super) unminted: u64,
    pub(super) checked: u64,
    /// Of keys that had been revoked: not counted as checked.
    pub(super) revoked: u64,
    /// Signed before the key was announced, because nothing else was left: not checked.
    pub(super) unannounced: u64,
    pub(super) rejected: u64,
    /// Pairs of replicas that knew the same.
    pub(super) compared: u64,
    /// Kids that have signed.
    pub(super) signers: BTreeSet<Kid>,
    pub(super) faults: Vec<String>,
    pub(super) story: String,
}

impl History {
    /// One replica mints; three verifiers will check, one of them often in the last second.
    pub(super) fn mint(&mut self, at: u64) {
        let next = at + self.dice.between(1, 15_000);
        self.plan(next, Event::Mint);
        for replica in &mut self.replicas {
            replica.settle(&self.course, at);
        }
        self.compare(at);
        let number = self.dice.index(REPLICAS);
        let most = self.replicas[number].rules.max_ttl;
        let ttl = self.dice.pick(&[most, most, most / 2, 60, 10]);
        let replica = &self.replicas[number];
        if !replica.is_present(at) {
            return;
        }
        let Some(minted) = replica.mint(ttl, &self.world, at) else {
            self.tally.unminted += 1;
            return;
        };
        self.tally.minted += 1;
        self.tally.unannounced += u64::from(minted.unannounced);
        self.tally.signers.insert(minted.kid.clone());
        self.was_announced(&minted, number);
        for _ in 0..3 {
            let verifier = self.dice.index(VERIFIERS);
            let dies = minted.expires.plus(LEEWAY);
            let last = self.verifiers[verifier].clock.last_of(dies).max(at);
            let when = if self.dice.chance(30) {
                last
            } else {
                self.dice.between(at, last)
            };
            let check = Event::Check {
                minted: self.minted.len(),
                verifier,
            };
            self.plan(when, check);
        }
        self.minted.push(minted);
    }

    /// A key signs only after the lead, unless it is the first or nothing else is left.
    fn was_announced(&mut self, minted: &Minted, by: usize) {
        let replica = &self.replicas[by];
        let table = &replica.edition.timetable;
        let generation = table.of(&minted.kid).unwrap();
        let first = table.generations().first() == Some(generation);
        let entry = generation.entry(&minted.kid).unwrap();
        let Some(born) = self.world.key(&minted.kid).born else {
            return;
        };
        let rules = &self.course.rules;
        // A look is dated in whole seconds.
        let since = minted.at.saturating_sub(born) + rules.skew * 1000 + 999;
        if since < rules.lead * 1000
            && !first
            && !minted.unannounced
            && entry.member.created.is_some()
        {
            self.fault(
                minted.at,
                &format!("{} signed {since} ms after its creation", minted.kid),
            );
        }
    }

    /// Replicas that know the same choose the same.
    fn compare(&mut self, at: u64) {
        if self.course.converges {
            return;
        }
        let now = self.replicas[0].clock.wall(at);
        let most = self.configured.max_ttl;
        let of = |replica: &Replica| -> Option<Kid> {
            let turns = replica.edition.timetable.order(now, most, &BTreeSet::new());
            turns.first().map(|turn| turn.kid.clone())
        };
        let known: Vec<_> = self
            .replicas
            .iter()
            .map(|replica| Known::of(replica, now))
            .collect();
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            if known[one].is_none() || known[one] != known[other] {
                continue;
            }
            self.tally.compared += 1;
            let (mine, theirs) = (of(&self.replicas[one]), of(&self.replicas[other]));
            if mine != theirs {
                self.fault(
                    at,
                    &format!("{one} would ask {mine:?} and {other} {theirs:?}"),
                );
            }
        }
    }

    pub(super) fn check(&mut self, minted: usize, verifier: usize, at: u64) {
        let token = self.minted[minted].clone();
        self.fetch_if_old(verifier, at);
        if self.world.key(&token.kid).is_revoked(at) {
            self.tally.revoked += 1;
            return;
        }
        let accepted = self.verifiers[verifier].has(&token.kid);
        if token.unannounced {
            return;
        }
        self.tally.checked += 1;
        if !accepted {
            self.tally.rejected += 1;
            let age = self.verifiers[verifier].age(at);
            self.fault(
                at,
                &format!("verifier {verifier} (copy {age:?} ms old) rejects {token:?}"),
            );
        }
        let number = self.dice.index(REPLICAS);
        self.replicas[number].settle(&self.course, at);
        let replica = &self.replicas[number];
        if replica.is_ready(at)
            && !replica
                .published()
                .is_some_and(|kids| kids.contains(&token.kid))
        {
            self.fault(
                at,
                &format!("{number} does not publish the key of {token:?}"),
            );
        }
    }

    /// What somebody needs who looks for the reason of a fault.
    pub(super) fn story(&self) -> String {
        let mut lines = vec![format!("{:?}", self.course)];
        for (token, outages) in self.world.outages.iter().enumerate() {
            lines.push(format!("token {token} is away {outages:?}"));
        }
        lines.extend(self.world.keys.iter().map(|key| format!("{key:?}")));
        for (number, replica) in self.replicas.iter().enumerate() {
            lines.push(format!("{number} {:?}", replica.clock));
        }
        lines.extend(self.acts.iter().cloned());
        lines.join("\n")
    }

    fn fault(&mut self, at: u64, what: &str) {
        let fault = format!("at {at} ms: {what}");
        if self.tally.faults.is_empty() {
            self.acts.push(fault.clone());
            for (number, replica) in self.replicas.iter().enumerate() {
                self.acts.push(format!("{number} knows"));
                self.acts.extend(lines(&replica.edition.timetable));
            }
        }
        self.tally.faults.push(fault);
    }
}

/// One of each generation and key, with their times.
fn lines(table: &Timetable) -> impl Iterator<Item = String> {
    table.generations().iter().flat_map(|generation| {
        let Generation { instant, switch, removal, room, keys } = generation;
        let [instant, switch] = [instant, switch].map(|at| second(*at));
        let [removal, room] = [removal, room].map(|at| at.map(second));
        let head = format!("  {instant}: switch {switch}, removal {removal:?}, room {room:?}");
        let keys = keys.iter().map(|Entry { member, ripe, .. }| {
            let seen = second(member.seen);
            let absent = member.absent.map(second);
            let created = member.created.map(|created| second(created.seconds()));
            let out = [member.revoked, member.gone];
            format!("    {}: ripe {}, created {created:?}, seen {seen}, absent {absent:?}, revoked and gone {out:?}", member.kid, second(*ripe))
        });
        [head].into_iter().chain(keys).collect::<Vec<_>>()
    })
}

/// All that decides which key signs.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    rules: Rules,
    members: Vec<Member>,
}

impl Known {
    /// None where each replica counts from its own first sight of a key.
    fn of(replica: &Replica, now: UnixSeconds) -> Option<Self> {
        let table = &replica.edition.timetable;
        let rules = *table.rules();
        if table.is_left_without_signer(now) {
            return None;
        }
        let generations = table.generations().iter();
        let mut members = Vec::new();
        for Entry { member, .. } in generations.flat_map(|generation| &generation.keys) {
            let in_time = rules.two_polls() + rules.skew;
            let late = |created: Created| created.seconds().plus(in_time) < member.seen;
            let counts_from_here = if member.absent.is_some() {
                member.created.is_some_and(late)
            } else {
                now < member.seen.plus(rules.least_lead())
            };
            if counts_from_here {
                return None;
            }
            let dated_here = member.created == Some(Created::at(member.seen));
            members.push(Member {
                seen: UnixSeconds::EVER,
                absent: member.absent.filter(|_| dated_here),
                ..member.clone()
            });
        }
        Some(Self { rules, members })
    }
}
