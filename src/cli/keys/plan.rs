//! `keys plan`: what happened and what will, as a table, and as a drawing with a line a key.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::columns::aligned;
use super::super::preview::{Preview, Unread};
use super::span::{Spelled, from_now};
use super::timeline::{self, Life};
use super::{Answer, KeysError};
use crate::clock::{Moment, UnixSeconds};
use crate::config::Config;
use crate::jose::Kid;
use crate::keys::board::{KeyOverview, Overview, Role};
use crate::keys::rules::Rules;

/// The timetable of one moment.
pub(super) struct Plan {
    now: UnixSeconds,
    rules: Rules,
    signing: Option<Kid>,
    /// Newest first.
    keys: Vec<Line>,
    alarms: Vec<String>,
    /// Of tokens that may hold more than they show.
    hidden: Vec<String>,
    unread: Vec<Unread>,
}

/// One key.
struct Line {
    /// None: it is not made yet.
    kid: Option<Kid>,
    name: String,
    state: &'static str,
    life: Life,
    created: Option<UnixSeconds>,
    revoked: bool,
}

/// Something that happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Created,
    Published,
    SignsFrom,
    Retired,
    Removed,
}

pub(super) fn answer(
    config: &Config,
    as_json: bool,
    columns: usize,
    now: Moment,
) -> Result<Answer, KeysError> {
    let preview = Preview::of_what_can_be_read(config, now)?;
    let mut plan = Plan::of(&preview.board.overview(now), &BTreeSet::new());
    plan.hidden = preview.hidden();
    plan.unread = preview.unread;
    let text = if as_json {
        format!("{}\n", plan.json())
    } else {
        plan.text(columns)
    };
    let lacks = plan.unread.iter().map(ToString::to_string).collect();
    Ok(Answer { text, lacks })
}

impl Plan {
    /// `unmade` stand for keys that would be made.
    pub(super) fn of(overview: &Overview, unmade: &BTreeSet<Kid>) -> Self {
        let in_rotation = |key: &&KeyOverview| matches!(key.role, Role::Scheduled(_));
        let keys = overview.keys.iter().filter(in_rotation);
        let rules = overview.rules;
        Self {
            now: overview.now,
            rules,
            signing: overview.signing.clone(),
            keys: keys.map(|key| Line::of(key, &rules, unmade)).collect(),
            alarms: overview
                .alarms
                .iter()
                .map(|alarm| alarm.detail.clone())
                .collect(),
            hidden: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Oldest first.
    fn events(&self) -> Vec<(UnixSeconds, Event, &Line)> {
        let mut events: Vec<_> = self.keys.iter().flat_map(Line::events).collect();
        events.sort_by_key(|(at, event, _)| (*at, *event));
        events
    }

    pub(super) fn json(&self) -> Value {
        let events = self.events();
        let events = events.iter().map(|(at, event, line)| {
            json!({
                "at": at.rfc3339(),
                "event": event.name(),
                "past": *at <= self.now,
                "kid": line.kid.as_ref().map(Kid::as_str),
            })
        });
        let keys = self.keys.iter().map(|line| {
            json!({
                "kid": line.kid.as_ref().map(Kid::as_str),
                "state": line.state,
                "signs_now": line.kid.is_some() && line.kid == self.signing,
                "revoked": line.revoked,
            })
        });
        json!({
            "now": self.now.rfc3339(),
            "rules": self.rules,
            "signing": self.signing.as_ref().map(Kid::as_str),
            "keys": keys.collect::<Vec<_>>(),
            "events": events.collect::<Vec<_>>(),
            "alarms": self.alarms,
            "warnings": self.hidden,
            "unread": self.unread.iter().map(Unread::json).collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self, columns: usize) -> String {
        let mut text = self.drawn(columns);
        for alarm in &self.alarms {
            // Writing to a String does not fail.
            writeln!(text, "alarm: {alarm}").ok();
        }
        for warning in &self.hidden {
            writeln!(text, "warning: {warning}").ok();
        }
        for unread in &self.unread {
            writeln!(text, "warning: {unread}").ok();
        }
        text
    }

    fn drawn(&self, columns: usize) -> String {
        let whole = self.hidden.is_empty() && self.unread.is_empty();
        if self.keys.is_empty() && !whole {
            return "no key can be seen\n".to_owned();
        }
        if self.keys.is_empty() {
            return "no key. Make one with `keys generate`\n".to_owned();
        }
        let rows: Vec<[String; 4]> = self
            .events()
            .into_iter()
            .map(|(at, event, line)| {
                let when = from_now(at, self.now);
                [
                    at.rfc3339(),
                    when,
                    line.name.clone(),
                    event.told().to_owned(),
                ]
            })
            .collect();
        let mut text = aligned(["WHEN", "FROM NOW", "KEY", "WHAT"], &rows);
        text.push('\n');
        let lives = self.keys.iter().map(|line| {
            let label = format!("{} {}", line.short(), line.state);
            (label, line.life)
        });
        let lives: Vec<(String, Life)> = lives.collect();
        text.push_str(&timeline::drawn(&lives, self.now, columns));
        let Rules { lead, retain, .. } = self.rules;
        let (lead, retain) = (Spelled(lead), Spelled(retain));
        // Writing to a String does not fail.
        writeln!(text, "\na new key waits {lead} (lead); an old one is published for {retain} after its successor began (retention)").ok();
        if self.signing.is_none() {
            text.push_str(if whole {
                "no key signs now\n"
            } else {
                "no key that can be seen signs now\n"
            });
        }
        text
    }
}

impl Line {
    fn of(key: &KeyOverview, rules: &Rules, unmade: &BTreeSet<Kid>) -> Self {
        let kid = Some(key.key.kid().clone()).filter(|kid| !unmade.contains(kid));
        let created = key.created.map(|created| created.seconds());
        let algorithm = key.key.algorithm();
        let name = kid.as_ref().map_or("(the new key)", Kid::as_str);
        Self {
            name: format!("{algorithm} {name}"),
            kid,
            state: key.state(),
            life: Life {
                // At the latest: every instance has then looked.
                published: created.map_or(UnixSeconds::EVER, |created| {
                    created.plus(rules.poll.saturating_mul(11).div_ceil(10))
                }),
                signs_from: key.ripe.unwrap_or(UnixSeconds::EVER),
                retired: key.retired,
                removal: key.removal,
                revoked: key.revoked,
            },
            created,
            revoked: key.revoked,
        }
    }

    /// Those whose time is known. A revoked key neither signs nor is published, whatever the time.
    fn events(&self) -> Vec<(UnixSeconds, Event, &Self)> {
        let life = &self.life;
        // A key that is retired before its time never signs.
        let signs = life.retired.is_none_or(|retired| life.signs_from < retired);
        let of_use = !self.revoked;
        let events = [
            (self.created, Event::Created),
            (Some(life.published).filter(|_| of_use), Event::Published),
            (
                Some(life.signs_from).filter(|_| signs && of_use),
                Event::SignsFrom,
            ),
            (life.retired.filter(|_| of_use), Event::Retired),
            (life.removal.filter(|_| of_use), Event::Removed),
        ];
        let known = events.into_iter().filter_map(|(at, event)| {
            let at = at.filter(|at| *at != UnixSeconds::EVER)?;
            Some((at, event, self))
        });
        known.collect()
    }

    /// The first characters of the kid tell keys apart.
    fn short(&self) -> String {
        let kid = self.kid.as_ref().map_or("new", Kid::as_str);
        kid.chars().take(8).collect()
    }
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Published => "published",
            Self::SignsFrom => "signs_from",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Published => "published by every instance, at the latest",
            Self::SignsFrom => "signs from here on",
            Self::Retired => "retired: another key signs; still published",
            Self::Removed => "no longer published; `keys prune` may destroy it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::local::LocalKey;
    use crate::keys::memory::{Found, Memory, TokenName};
    use crate::keys::schedule::Created;
    use crate::keys::{Board, BoardConfig, PublishedKey};
    use std::path::Path;
    use std::sync::Arc;

    const NOW: u64 = 1_800_000_000;

    fn key() -> Arc<PublishedKey> {
        LocalKey::orphan().unwrap()
    }

    /// An old key, one that signs since an hour, one that is about to.
    fn overview() -> (Overview, [Kid; 3]) {
        let now = Moment {
            wall: UnixSeconds::new(NOW),
            running: 100,
        };
        let config = BoardConfig {
            rules: Rules::DEFAULTS,
            algorithm: None,
            after_convergence: false,
            files: crate::keys::lists::ListFiles::default(),
            directory: None,
            tokens: Vec::new(),
        };
        let board = Board::open(config, Memory::empty(now.wall), now).unwrap();
        let found = [
            (0, None),
            (NOW - 3600, Some(NOW - 4600)),
            (NOW + 960, Some(NOW)),
        ];
        let found = found.map(|(instant, created)| Found {
            key: key(),
            instant: UnixSeconds::new(instant),
            created: created.map(|at| Created::at(UnixSeconds::new(at))),
        });
        let token = TokenName::new(Path::new("/m.so"), "t");
        board.looked(&token, &found, Vec::new(), now);
        board.tick(now);
        (
            board.overview(now),
            found.map(|found| found.key.kid().clone()),
        )
    }

    #[test]
    fn what_happens_stands_in_the_order_of_time_and_only_what_is_known() {
        let (overview, [old, active, new]) = overview();
        let plan = Plan::of(&overview, &BTreeSet::new());
        let events: Vec<_> = plan
            .events()
            .into_iter()
            .map(|(at, event, line)| {
                let at = i64::try_from(at.get()).unwrap() - i64::try_from(NOW).unwrap();
                (at, event, line.kid.clone().unwrap())
            })
            .collect();

        assert_eq!(
            events,
            [
                (-4600, Event::Created, active.clone()),
                (-4567, Event::Published, active.clone()),
                (-3600, Event::SignsFrom, active.clone()),
                (-3600, Event::Retired, old.clone()),
                (0, Event::Created, new.clone()),
                (33, Event::Published, new.clone()),
                (960, Event::SignsFrom, new),
                (960, Event::Retired, active.clone()),
                (1200, Event::Removed, old),
                (5760, Event::Removed, active),
            ]
        );
    }

    #[test]
    fn a_key_that_is_not_made_yet_has_no_kid() {
        let (overview, [_, _, new]) = overview();
        let plan = Plan::of(&overview, &BTreeSet::from([new.clone()]));

        let text = plan.text(80);
        assert!(text.contains("ES256 (the new key)"), "{text}");
        assert!(!text.contains(new.as_str()), "{text}");
        assert!(!plan.json().to_string().contains(new.as_str()));
        assert!(
            text.lines().any(|line| line.starts_with("new PREPARED")),
            "{text}"
        );
    }
}
