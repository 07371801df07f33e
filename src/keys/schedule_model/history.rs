//! One random history: replicas look, mint and start again, verifiers fetch and check, in the order of true time.
//!
//! What must hold is looked at in `claims`, what people do is in `operator`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::claims::Tally;
use super::course::{Course, Cut};
use super::dice::Dice;
use super::replica::{Minted, Replica};
use super::verifier::Verifier;
use super::world::{Clock, Key, Place, World, public_half};
use crate::clock::UnixSeconds;
use crate::jose::Algorithm;
use crate::keys::ring::JwksVersion;
use crate::keys::rules::{FETCH, Rules};
use crate::keys::schedule::Created;

#[derive(Debug)]
pub(super) struct History {
    pub(super) dice: Dice,
    pub(super) course: Course,
    pub(super) world: World,
    pub(super) replicas: Vec<Replica>,
    /// With which replicas start since a change of the configuration.
    pub(super) configured: Rules,
    pub(super) verifiers: Vec<Verifier>,
    pub(super) minted: Vec<Minted>,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    planned: usize,
    pub(super) revocations: usize,
    pub(super) tally: Tally,
    /// What was done to keys and replicas, to be told with a fault.
    pub(super) acts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Look { replica: usize, token: usize },
    Reread { replica: usize },
    Restart { replica: usize },
    Start { replica: usize },
    Operate,
    Generate,
    Lower,
    Mint,
    Check { minted: usize, verifier: usize },
}

pub(super) const REPLICAS: usize = 3;
pub(super) const VERIFIERS: usize = 8;
/// Everything has been read and is up until then.
const QUIET: u64 = 40_000;

impl History {
    /// Runs to its end.
    pub(super) fn run(seed: u64, cut: Cut) -> Tally {
        Self::new(seed, cut).finish()
    }

    pub(super) fn new(seed: u64, cut: Cut) -> Self {
        let mut dice = Dice::new(seed);
        let course = Course::random(&mut dice, cut);
        let skew = course.rules.skew;
        let replicas = (0..REPLICAS).map(|_| Replica::new(&course, Clock::new(skew, &mut dice), 0));
        let replicas = replicas.collect();
        let verifiers = (0..VERIFIERS).map(|_| {
            // No verifier keeps its copy for longer than the rules say.
            let ttl = course.rules.verifier_ttl;
            let ttl = dice.pick(&[ttl, ttl, ttl / 2]);
            Verifier::new(Clock::new(skew, &mut dice), ttl)
        });
        let mut history = Self {
            world: World {
                keys: Vec::new(),
                outages: Vec::new(),
            },
            verifiers: verifiers.collect(),
            replicas,
            configured: course.rules,
            minted: Vec::new(),
            events: BinaryHeap::new(),
            planned: 0,
            revocations: 0,
            tally: Tally::default(),
            acts: Vec::new(),
            dice,
            course,
        };
        history.begin();
        history
    }

    fn begin(&mut self) {
        let course = self.course.clone();
        let first = self.dice.chance(50);
        let born = self.dice.chance(100 - course.foreign);
        for token in 0..course.tokens {
            // A token on which no key was ever found counts as never read, and makes nobody ready.
            self.first_key(token, first, born);
            let outages = self.outages();
            self.world.outages.push(outages);
            for replica in 0..REPLICAS {
                let at = self.dice.below(5_000);
                self.plan(at, Event::Look { replica, token });
            }
        }
        for replica in 0..REPLICAS {
            for _ in 0..self.dice.below(5) {
                let at = self.dice.between(QUIET, course.ends);
                self.plan(at, Event::Restart { replica });
            }
        }
        if course.lowers {
            let at = self.dice.between(QUIET, course.ends);
            self.plan(at, Event::Lower);
        }
        let at = self.dice.between(1, course.rules.least_lead() * 1000);
        self.plan(QUIET + at, Event::Operate);
        self.plan(QUIET, Event::Mint);
    }

    fn first_key(&mut self, token: usize, ever: bool, own: bool) {
        let algorithm = self.course.algorithm.unwrap_or(Algorithm::Es256);
        let published = public_half(algorithm, self.world.keys.len(), &mut self.dice);
        let zero = self.clock().wall(0).get() - 100_000;
        self.world.keys.push(Key {
            published,
            born: None,
            created: own.then_some(Created::at(UnixSeconds::new(zero))),
            instant: UnixSeconds::new(if ever { 0 } else { zero }),
            places: vec![Place {
                token,
                visible: 0,
                destroyed: false,
            }],
            revoked: None,
        });
    }

    fn outages(&mut self) -> Vec<(u64, u64)> {
        // Who does not remember has nothing to publish while its token is away.
        let leads = if self.course.all_remember() {
            2_000
        } else {
            500
        };
        let (ends, most) = (self.course.ends, self.course.rules.least_lead() * leads);
        let mut outages: Vec<(u64, u64)> = Vec::new();
        for _ in 0..self.dice.below(4) {
            let from = self.dice.between(QUIET, ends);
            let until = from + self.dice.between(1_000, most);
            if outages
                .iter()
                .all(|(other, end)| until < *other || *end < from)
            {
                outages.push((from, until));
            }
        }
        outages
    }

    pub(super) const fn clock(&mut self) -> Clock {
        Clock::new(self.course.rules.skew, &mut self.dice)
    }

    pub(super) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    fn finish(mut self) -> Tally {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            let over = at > self.course.ends;
            match event {
                Event::Check { minted, verifier } => self.check(minted, verifier, at),
                Event::Look { replica, token } => self.look(replica, token, at),
                Event::Reread { replica } => self.reread(replica, at),
                Event::Start { replica } => self.start(replica, at),
                _ if over => {}
                Event::Restart { replica } => self.restart(replica, at),
                Event::Operate => self.operate(at),
                Event::Generate => self.generate(at),
                Event::Lower => self.lower(at),
                Event::Mint => self.mint(at),
            }
            // Looks go on for as long as a token lives, not for ever.
            if over
                && !self
                    .events
                    .iter()
                    .any(|Reverse((_, _, event))| matches!(event, Event::Check { .. }))
            {
                break;
            }
        }
        if !self.tally.faults.is_empty() {
            self.tally.story = self.story();
        }
        self.tally
    }

    fn look(&mut self, replica: usize, token: usize, at: u64) {
        if !self.replicas[replica].is_present(at) {
            return;
        }
        let back = self.world.back(token, at);
        if back > at {
            // A token that is down is tried every two seconds.
            let next = back + self.dice.below(2_400);
            return self.plan(next, Event::Look { replica, token });
        }
        if !self.dice.chance(4) {
            let found = self.world.found(token, at);
            self.replicas[replica].look(token, &found, &self.course, at);
        }
        let poll = self.course.rules.poll;
        let next = at + self.dice.between(poll * 900, poll * 1100);
        self.plan(next, Event::Look { replica, token });
    }

    fn reread(&mut self, replica: usize, at: u64) {
        let revoked = self.world.keys.iter().filter(|key| key.is_revoked(at));
        self.replicas[replica].revoked = revoked.map(|key| key.published.kid().clone()).collect();
        self.replicas[replica].settle(&self.course, at);
    }

    /// One replica after the other: a JWKS that nobody serves is another matter than a rotation.
    fn restart(&mut self, replica: usize, at: u64) {
        let away = self.replicas.iter().map(|replica| replica.away_until);
        let back = away.max().unwrap_or(at);
        if back > at {
            return self.plan(back, Event::Restart { replica });
        }
        let until = at + self.dice.between(100, 20_000);
        self.replicas[replica].away_until = until;
        self.acts
            .push(format!("{at}: {replica} restarts until {until}"));
        self.plan(until, Event::Start { replica });
    }

    fn start(&mut self, replica: usize, at: u64) {
        self.replicas[replica].rules = self.configured;
        if self.course.newcomers && self.dice.chance(50) {
            self.acts
                .push(format!("{at}: {replica} starts with nothing"));
            self.replicas[replica].forget();
            let soon = self.dice.below(1 + self.course.rules.lead * 1500);
            self.plan(at + soon, Event::Restart { replica });
        }
        self.reread(replica, at);
        self.replicas[replica].start(&self.course, at);
        self.drop_looks(replica);
        for token in 0..self.course.tokens {
            self.plan(at, Event::Look { replica, token });
        }
    }

    /// Those of the process before.
    fn drop_looks(&mut self, of: usize) {
        self.events.retain(|Reverse((_, _, event))| {
            !matches!(event, Event::Look { replica, .. } if *replica == of)
        });
    }

    pub(super) fn fetch_if_old(&mut self, verifier: usize, at: u64) {
        if !self.verifiers[verifier].wants_fetch(at) {
            return;
        }
        let answer = self.fetch(verifier, at);
        let took = self.dice.below(FETCH * 1000 + 1);
        self.verifiers[verifier].fetched(answer, at, took);
    }

    /// From a replica that is ready for it, or from any that runs.
    fn fetch(&mut self, verifier: usize, at: u64) -> Option<Arc<JwksVersion>> {
        for replica in &mut self.replicas {
            replica.settle(&self.course, at);
        }
        let of = |is: &dyn Fn(&Replica) -> bool| -> Vec<usize> {
            (0..REPLICAS)
                .filter(|number| is(&self.replicas[*number]))
                .collect()
        };
        let ready = of(&|replica| replica.is_ready(at));
        let present = of(&|replica| replica.is_present(at));
        let among = if ready.is_empty() { present } else { ready };
        if among.is_empty() {
            return None;
        }
        let number = self.dice.pick(&among);
        self.replicas[number].fetch(verifier, &self.course, at)
    }
}
