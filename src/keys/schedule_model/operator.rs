//! What an operator does in a history, by what a replica shows: makes keys, in time or late, moves instants, destroys what is
//! no longer needed, revokes, lowers the maximum.

use super::history::{Event, History};
use super::world::{Key, Place, public_half, second};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Kid};
use crate::keys::rules::Rules;
use crate::keys::schedule::{Created, State};

impl History {
    /// One act, and the plan of the next.
    pub(super) fn operate(&mut self, at: u64) {
        let next = self
            .dice
            .between(5, 1 + self.course.rules.least_lead() * 3 / 2);
        self.plan(at + next * 1000, Event::Operate);
        match self.dice.below(10) {
            0 => self.move_instant(at),
            1 | 2 => self.destroy(at),
            3 if self.course.revokes && self.revocations < 2 => self.revoke(at),
            _ => self.generate(at),
        }
    }

    /// A generation of one or more keys.
    pub(super) fn generate(&mut self, at: u64) {
        let now = self.clock().wall(at);
        let instant = self.instant(now);
        let foreign = self.dice.chance(self.course.foreign);
        let tokens = self.course.tokens;
        let several = self.dice.chance(40);
        let copied = tokens > 1 && self.dice.chance(30);
        let many = if several && !copied { 2 } else { 1 };
        let first = self.dice.index(tokens);
        for number in 0..many {
            let after = self.dice.below(3_000) * number as u64;
            let shown = self.shown(at + after);
            let mut places = vec![Place {
                token: (first + number) % tokens,
                visible: shown,
                destroyed: false,
            }];
            if copied {
                let visible = self.shown(shown + 20_000);
                places.push(Place {
                    token: (first + 1) % tokens,
                    visible,
                    destroyed: false,
                });
            }
            let algorithm = self.algorithm();
            let published = public_half(algorithm, self.world.keys.len(), &mut self.dice);
            let made = Created::from_millis(self.clock().millis(at + after));
            self.world.keys.push(Key {
                published,
                born: Some(at + after),
                created: (!foreign).then_some(made),
                instant,
                places,
                revoked: None,
            });
        }
    }

    /// When a token shows a key that was made at `made`: now and then long after.
    fn shown(&mut self, made: u64) -> u64 {
        // Only who was there before knows that it came late.
        if self.course.late && self.course.all_remember() && self.dice.chance(15) {
            made + self.dice.below(self.course.rules.least_lead() * 1500)
        } else {
            made
        }
    }

    /// `keys generate` adds a minute to the lead; others are later, or have passed.
    fn instant(&mut self, now: UnixSeconds) -> UnixSeconds {
        let lead = self.course.rules.lead;
        let spread = self.dice.below(2 * lead + 1);
        let past = UnixSeconds::new(now.get() - 50);
        let in_time = [
            now.plus(lead + 60),
            now.plus(lead + 60),
            now.plus(lead + 60 + spread),
        ];
        let late = [now.plus(5), past];
        if self.course.late && self.dice.chance(40) {
            self.dice.pick(&late)
        } else {
            self.dice.pick(&in_time)
        }
    }

    fn algorithm(&mut self) -> Algorithm {
        let any = self.dice.pick(&[Algorithm::Rs256, Algorithm::Es256]);
        match self.course.algorithm {
            Some(only) if self.dice.chance(80) => only,
            _ => any,
        }
    }

    /// Of a key that no replica will have signed with when all have seen the change.
    fn move_instant(&mut self, at: u64) {
        let Rules { lead, skew, .. } = self.course.rules;
        let spread = self.dice.below(2 * lead + 1);
        let now = self.clock().wall(at);
        let instant = if self.course.late {
            now.plus(spread)
        } else {
            now.plus(lead + 60 + spread)
        };
        let soon = at + 1000 * (self.course.rules.two_polls() + 2 * skew);
        let mut states = self.shown_states(at, soon);
        states.retain(|(_, state)| *state == State::Prepared);
        // What nobody can read would count from a time that has passed when it is read.
        let readable = (0..self.course.tokens).all(|token| self.world.stays_up(token, at, soon));
        if readable && !states.is_empty() {
            let (kid, _) = states.swap_remove(self.dice.index(states.len()));
            self.world.key_mut(&kid).instant = instant;
            self.acts
                .push(format!("{at}: {kid} moved to {}", second(instant)));
        }
    }

    /// The private half of a key that has been retired for so long that every replica knows it, and verifiers its successor.
    fn destroy(&mut self, at: u64) {
        let ago = self.course.rules.least_lead();
        let all_remember = self.course.all_remember();
        let mut states = self.shown_states(at, at.saturating_sub(ago * 1000));
        let settled = self.replicas.iter().all(|replica| {
            let generations = replica.edition.timetable.generations().iter();
            let mut keys = generations.flat_map(|generation| &generation.keys);
            keys.all(|entry| entry.member.seen.plus(ago) <= replica.clock.wall(at))
        });
        let may =
            |state| state == State::Expired || all_remember && settled && state == State::Retired;
        states.retain(|(_, state)| may(*state));
        if !states.is_empty() {
            let (kid, _) = states.swap_remove(self.dice.index(states.len()));
            self.acts.push(format!("{at}: {kid} destroyed"));
            for place in &mut self.world.key_mut(&kid).places {
                place.destroyed = true;
            }
        }
    }

    /// One of the keys that are not expired; a new one is made soon.
    fn revoke(&mut self, at: u64) {
        self.revocations += 1;
        let mut states = self.shown_states(at, at);
        states.retain(|(_, state)| *state != State::Expired);
        if states.is_empty() {
            return;
        }
        let (kid, _) = states.swap_remove(self.dice.index(states.len()));
        self.world.key_mut(&kid).revoked.get_or_insert(at);
        for replica in 0..self.replicas.len() {
            let within = self.dice.below(self.course.rules.poll * 1000 + 1);
            self.plan(at + within, Event::Reread { replica });
        }
        let soon = self.dice.below(self.course.rules.least_lead() * 1000);
        self.plan(at + soon, Event::Generate);
    }

    /// All replicas are restarted one after the other.
    pub(super) fn lower(&mut self, at: u64) {
        let before = self.configured;
        let max_ttl = self.dice.between(61, before.max_ttl);
        let least = Rules { max_ttl, ..before };
        let retain = if before.unsafe_timing {
            before.retain
        } else if before.retain == before.least_retain() {
            least.least_retain()
        } else {
            before.retain - (before.max_ttl - max_ttl)
        };
        self.configured = Rules { retain, ..least };
        self.acts
            .push(format!("{at}: lowered {:?}", self.configured));
        for replica in 0..self.replicas.len() {
            let within = self.dice.below(self.course.rules.lead * 500 + 1);
            self.plan(at + within, Event::Restart { replica });
        }
    }

    /// The states that a replica shows of the keys at `at`, as of another time.
    fn shown_states(&mut self, at: u64, of: u64) -> Vec<(Kid, State)> {
        let number = self.dice.index(self.replicas.len());
        let replica = &self.replicas[number];
        if !replica.is_ready(at) {
            return Vec::new();
        }
        let now = replica.clock.wall(of);
        let table = &replica.edition.timetable;
        let mut states = Vec::new();
        for generation in table.generations() {
            let state = table.state(generation, now);
            states.extend(
                generation
                    .keys
                    .iter()
                    .map(|entry| (entry.member.kid.clone(), state)),
            );
        }
        states
    }
}
