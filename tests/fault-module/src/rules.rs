//! What the control file says, and what that means for one call.
//!
//! control text --parse--> RuleSet --decide(Call)--> Plan
//!
//! Pure but for the counters of the rules, which are atomics: a decision takes no lock. A new version of the control
//! file is a new RuleSet, so all counters start afresh with it. The grammar stands in docs/rehearsal.md.

mod grammar;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cryptoki_sys::{CK_RV, CK_SLOT_ID};

use crate::functions::Function;

/// The rules of one version of the control file, in its order.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    complaints: Vec<String>,
}

/// A call, as far as rules can ask about it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub function: Function,
    /// The label of the token that the call is about, where it is about one.
    pub token: Option<&'a str>,
    /// The call only asks how long its result would be.
    pub asks_length: bool,
    /// The caller has an open session.
    pub has_sessions: bool,
}

/// What is to be done with one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub log_out: Option<Reach>,
    pub close_sessions: Option<Reach>,
    pub delay: Duration,
    /// The words of the rule that stops the call; it goes on when no rule has these words any more.
    pub hang: Option<String>,
    pub fail: Option<CK_RV>,
    /// The call is carried out, and the caller is told that it failed.
    pub lose: Option<CK_RV>,
    pub flip: bool,
    pub other_key: bool,
    pub hide: Option<Reach>,
    pub freeze: bool,
    /// The most sessions that a token may have.
    pub limit: Option<u64>,
}

/// Which tokens something is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    All,
    Token(String),
}

#[derive(Debug)]
struct Rule {
    /// The words of the line, with single spaces.
    text: String,
    functions: Functions,
    action: Action,
    when: When,
    reach: Reach,
    /// Calls that the rule was asked about and that are of its kind.
    matched: AtomicU64,
    /// Calls that it applied to.
    applied: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
enum Functions {
    Star,
    Named(Vec<Function>),
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Fail(Vec<CK_RV>),
    Lose(Vec<CK_RV>),
    Hang,
    Delay(Duration),
    Flip,
    OtherKey,
    Hide,
    Freeze,
    Renumber(CK_SLOT_ID),
    Limit(u64),
    Logout,
    CloseSessions,
}

/// Which of the calls of its kind a rule applies to.
#[derive(Debug, Default, PartialEq)]
struct When {
    after: u64,
    times: Option<u64>,
    chance: Option<f64>,
    seed: u64,
}

impl RuleSet {
    /// Every text has a meaning: a line that cannot be read becomes a complaint and is otherwise ignored.
    pub fn parse(text: &str) -> Self {
        let mut set = Self::default();
        for (index, line) in text.lines().enumerate() {
            match grammar::rule(line) {
                Ok(Some(rule)) => set.rules.push(rule),
                Ok(None) => {}
                Err(wrong) => set.complaints.push(format!(
                    "line {} of the control file is ignored: {wrong}: {line:?}",
                    index + 1
                )),
            }
        }
        set
    }

    /// What to tell the user about lines that could not be read.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Whether a rule with these words stands in the file.
    pub fn holds(&self, text: &str) -> bool {
        self.rules.iter().any(|rule| rule.text == text)
    }

    /// Whether `Call::token` matters to any rule.
    pub fn asks_for_tokens(&self) -> bool {
        self.rules.iter().any(|rule| rule.reach != Reach::All)
    }

    /// What is added to every slot number that the caller sees.
    pub fn slot_offset(&self) -> CK_SLOT_ID {
        let offset = |rule: &Rule| match rule.action {
            Action::Renumber(by) => Some(by),
            _ => None,
        };
        self.rules.iter().rev().find_map(offset).unwrap_or(0)
    }

    /// Asks the rules in order. The first failure or hang ends it: the rules below do not count this call.
    pub fn decide(&self, call: &Call<'_>) -> Plan {
        let mut plan = Plan::default();
        for rule in &self.rules {
            let Some(turn) = rule.turn(call) else {
                continue;
            };
            match &rule.action {
                Action::Fail(codes) => {
                    plan.fail = turned(codes, turn);
                    break;
                }
                Action::Lose(codes) => plan.lose = turned(codes, turn),
                Action::Hang => {
                    plan.hang = Some(rule.text.clone());
                    break;
                }
                Action::Delay(by) => plan.delay += *by,
                Action::Flip => plan.flip = true,
                Action::OtherKey => plan.other_key = true,
                Action::Hide => plan.hide = Some(rule.reach.clone()),
                Action::Freeze => plan.freeze = true,
                Action::Limit(most) => plan.limit = Some(*most),
                Action::Logout => plan.log_out = Some(rule.reach.clone()),
                Action::CloseSessions => plan.close_sessions = Some(rule.reach.clone()),
                Action::Renumber(_) => {}
            }
        }
        plan
    }
}

impl Reach {
    pub fn includes(&self, token: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Token(label) => token == Some(label.as_str()),
        }
    }
}

impl Rule {
    /// How often the rule has applied before, if it applies to this call.
    fn turn(&self, call: &Call<'_>) -> Option<usize> {
        if !self.is_about(call) {
            return None;
        }
        let number = self.matched.fetch_add(1, Ordering::Relaxed);
        if number < self.when.after || !self.when.falls_on(number) {
            return None;
        }
        let most = self.when.times.unwrap_or(u64::MAX);
        let turn = self
            .applied
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                (before < most).then(|| before.saturating_add(1))
            })
            .ok()?;
        usize::try_from(turn).ok()
    }

    fn is_about(&self, call: &Call<'_>) -> bool {
        let named = match &self.functions {
            Functions::Star => call.function.is_in_star(),
            Functions::Named(functions) => functions.contains(&call.function),
        };
        let possible = match self.action {
            Action::Flip => !call.asks_length,
            Action::Logout | Action::CloseSessions => call.has_sessions,
            _ => true,
        };
        // A list of slots is about no token: there the label says which slots to hide.
        let of_many = self.action == Action::Hide && call.function == Function::C_GetSlotList;
        named && possible && (of_many || self.reach.includes(call.token))
    }
}

impl When {
    /// Throws the dice for the call of that number: the same seed, the same throws.
    fn falls_on(&self, number: u64) -> bool {
        let Some(chance) = self.chance else {
            return true;
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "both numbers are below 2^53: a fraction of [0, 1)"
        )]
        let throw = (mixed(self.seed, number) >> 11) as f64 / (1_u64 << 53) as f64;
        throw < chance
    }
}

/// They take turns.
fn turned(codes: &[CK_RV], turn: usize) -> Option<CK_RV> {
    codes.iter().cycle().nth(turn % codes.len().max(1)).copied()
}

/// SplitMix64: the `number`-th value of the sequence that `seed` begins.
const fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
