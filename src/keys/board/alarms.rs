//! Which alarms there are now: computed from what is, not from what happened; told in the log when they come and go.

use super::keeper::Kept;
use super::{Board, State};
use crate::clock::{Moment, UnixSeconds};
use crate::keys::alarm::{Alarm, AlarmKind};
use crate::keys::memory::TokenName;
use crate::keys::rules::Rules;
use crate::keys::{KeyRing, Part, Readiness};

impl Board {
    /// What an operator has to know now.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.state.lock().alarms.clone()
    }

    /// Whether verifiers may be sent here: every token was read recently enough to know all keys that are about to sign.
    pub fn jwks_readiness(&self, now: Moment) -> Readiness {
        let ring = self.ring();
        let published = Part {
            name: "jwks",
            ok: ring.document().is_some(),
            detail: format!("{} published", ring.keys().len()),
        };
        let doubt = self.clock.doubt(now);
        let clock = Part {
            name: "clock",
            ok: doubt.is_none(),
            detail: doubt.unwrap_or_else(|| "as it should be".to_owned()),
        };
        let parts: Vec<Part> = [published, clock]
            .into_iter()
            .chain(self.look_parts(now.wall))
            .collect();
        Readiness {
            ready: parts.iter().all(|part| part.ok),
            parts,
        }
    }

    fn look_parts(&self, now: UnixSeconds) -> Vec<Part> {
        let state = self.state.lock();
        let limit = self.config.rules.jwks_stale_after();
        let tokens = self.config.tokens.iter();
        tokens
            .map(|token| match state.last_look(token) {
                Some(last) => Part {
                    name: "last_look",
                    ok: now <= last.plus(limit),
                    detail: format!(
                        "{token} was read {} s ago, {limit} s at most",
                        now.get().saturating_sub(last.get())
                    ),
                },
                None => Part {
                    name: "last_look",
                    ok: false,
                    detail: format!("{token} was never read"),
                },
            })
            .collect()
    }

    /// A look that hangs neither succeeds nor fails.
    fn of_overdue_looks(&self, state: &State, now: Moment) -> Vec<Alarm> {
        let rules = &self.config.rules;
        let limit = rules.jwks_stale_after();
        let is_overdue = |token: &&TokenName| {
            let last = state.last_look(token).unwrap_or(self.opened);
            now.wall > last.max(self.opened).plus(limit) && !state.failed_looks.contains_key(*token)
        };
        if !self.may_sign(now) {
            return Vec::new();
        }
        let overdue = self.config.tokens.iter().filter(is_overdue);
        overdue
            .map(|token| Alarm::new(AlarmKind::Look, format!("no look at {token} has come to an end for more than {limit} s: a call into its module hangs or takes too long. New keys may be missing here, and {} s after its last look the token signs no more. If it does not end by itself, look at the token and restart the service", rules.sign_stale_after())))
            .collect()
    }

    /// Renews the list, and logs what came and what went.
    pub(super) fn raise(&self, state: &mut State, now: Moment) {
        let ring = self.ring.load();
        let mut alarms: Vec<Alarm> = self.timing(now).collect();
        alarms.extend(state.of_tokens());
        alarms.extend(self.of_overdue_looks(state, now));
        alarms.extend(of_kept(self.keeper.kept()));
        alarms.extend(state.of_lost_memory(&self.config.rules, now.wall));
        alarms.extend(state.of_lists(&ring));
        let named = |token| state.names.contains_key(token);
        if self.config.tokens.iter().all(named) {
            alarms.extend(state.of_unknown_scheduled());
        }
        let mut tokens = self.config.tokens.iter();
        let all_read = tokens.all(|token| state.last_look(token).is_some());
        if all_read && state.memory.keys().next().is_some() {
            alarms.extend(state.of_unknown_revoked());
        }
        alarms.extend(of_overtaken(&ring));
        alarms.extend(of_successor(&ring, self.new_key(), now.wall));
        alarms.extend(self.of_convergence(&ring, now.wall));
        alarms.sort();
        alarms.dedup();
        for alarm in alarms.iter().filter(|alarm| !state.alarms.contains(alarm)) {
            tracing::warn!(kind = alarm.kind.name(), detail = %alarm.detail, "alarm");
        }
        for alarm in state.alarms.iter().filter(|alarm| !alarms.contains(alarm)) {
            tracing::info!(kind = alarm.kind.name(), detail = %alarm.detail, "alarm is over");
        }
        state.alarms = alarms;
    }

    fn timing(&self, now: Moment) -> impl Iterator<Item = Alarm> + use<> {
        let doubt = self.clock.doubt(now);
        let rules = self.config.rules;
        let faults: Vec<_> = rules.faults().filter(|_| rules.unsafe_timing).collect();
        let faults = faults.into_iter().map(|fault| {
            Alarm::new(AlarmKind::UnsafeTiming, format!("MACP_AUTH_ROTATION_UNSAFE=1: {fault}. A rotation loses tokens; for rehearsals only"))
        });
        // The exact number of seconds would be another alarm at each tick.
        let clock = doubt.map(|_| {
            Alarm::new(AlarmKind::Clock, "the system clock has jumped by more than a minute, or shows a time before one that was written down: nothing is signed and no key changes its state. Set it right, or confirm it with SIGHUP")
        });
        faults.chain(clock)
    }

    /// How to come by a key that signs at once.
    fn new_key(&self) -> &'static str {
        if self.config.tokens.is_empty() {
            return "Pin another (MACP_AUTH_SIGNING_KEY_JSON) and restart the service";
        }
        "Make one with `keys generate --now`"
    }

    fn of_convergence(&self, ring: &KeyRing, now: UnixSeconds) -> Option<Alarm> {
        if !self.config.after_convergence {
            return None;
        }
        let rules = ring.timetable().rules();
        let active = ring.timetable().active(now)?;
        let newest = active
            .keys
            .iter()
            .filter(|entry| entry.ripe > UnixSeconds::EVER && entry.ripe.plus(rules.lead) <= now);
        let verifiers = self.verifiers.lock();
        let late = newest.into_iter().find_map(|entry| {
            let kid = &entry.member.kid;
            let lacking = verifiers.lacking(kid, rules, now).next()?;
            Some(format!("{kid} signs although the verifier at {lacking} has not fetched it: an activation waits for the lead at most. See to that verifier"))
        });
        late.map(|detail| Alarm::new(AlarmKind::NotConverged, detail))
    }
}

fn of_kept(kept: Kept) -> impl Iterator<Item = Alarm> {
    let unsaved = kept.unsaved.map(|error| {
        Alarm::new(AlarmKind::State, format!("what is known of the keys could not be saved ({error}): a start without the HSM would serve less. Check MACP_AUTH_STATE_DIR"))
    });
    let shared = kept.is_shared.then(|| {
        Alarm::new(AlarmKind::State, "another running service uses the same MACP_AUTH_STATE_DIR, and each overwrites what the other remembers of its keys. Give each instance a directory of its own; if that was the service before a restart, this is over at the next complete look")
    });
    unsaved.into_iter().chain(shared)
}

impl State {
    /// When all keys of a token were last known. Where it never held one, finding none is knowing all.
    pub(super) fn last_look(&self, token: &TokenName) -> Option<UnixSeconds> {
        let held_one = self.memory.keys().any(|known| known.on.contains_key(token));
        let empty = self.empty_looks.get(token).filter(|_| !held_one);
        self.memory.looks().get(token).max(empty).copied()
    }

    fn of_tokens(&self) -> impl Iterator<Item = Alarm> {
        let looks = self.failed_looks.iter().map(|(token, reason)| {
            let detail = format!(
                "the last look at {token} failed: {reason}. What was known stays published"
            );
            Alarm::new(AlarmKind::Look, detail)
        });
        let refused = self.refused_keys.iter().flat_map(|(token, lines)| {
            lines
                .iter()
                .map(move |line| Alarm::new(AlarmKind::KeyRefused, format!("on {token}: {line}")))
        });
        let instants = self.memory.keys().filter(|known| known.has_two_instants());
        let instants = instants.map(|known| {
            let kid = known.key.kid();
            Alarm::new(AlarmKind::TwoInstants, format!("{kid} has different instants in its labels; the later one counts. Give it one private object a token, with the same label on each"))
        });
        let gone = self.memory.keys().filter(|known| known.gone);
        let gone = gone.map(|known| {
            let kid = known.key.kid();
            Alarm::new(AlarmKind::KeyGone, format!("no token holds {kid} any more. It stays published here until its removal; a replica that starts without memory cannot publish it. Destroy keys with `keys prune`, which waits until they have expired"))
        });
        let keys = refused.chain(gone).chain(instants);
        looks.chain(keys)
    }

    /// For as long as it may matter what was known.
    fn of_lost_memory(&self, rules: &Rules, now: UnixSeconds) -> Option<Alarm> {
        let reason = self.memory.why_lost(rules, now)?;
        Some(Alarm::new(
            AlarmKind::State,
            format!(
                "what was known of the keys cannot be read ({reason}), and a longer life of tokens from before is forgotten: keys may be withdrawn too early. Bring back a good copy while the service stands still, or leave MACP_AUTH_MAX_TTL_SECONDS and all keys as they are for lead and retention"
            ),
        ))
    }

    /// Kids that are revoked and were never seen, perhaps misspelt.
    fn of_unknown_revoked(&self) -> impl Iterator<Item = Alarm> {
        let lists = &self.lists;
        let known = |kid: &_| {
            self.memory.key(kid).is_some() || lists.extra.iter().any(|key| key.kid() == kid)
        };
        let unknown = lists.revoked.iter().filter(move |kid| !known(kid));
        unknown.map(|kid| {
            Alarm::new(AlarmKind::UnknownRevoked, format!("{kid} is revoked and was never seen here. Check the spelling against `keys list`"))
        })
    }

    /// Keys that the schedule names, perhaps misspelt, and no token shows.
    fn of_unknown_scheduled(&self) -> impl Iterator<Item = Alarm> {
        let entries = self
            .lists
            .schedule
            .iter()
            .flat_map(|schedule| schedule.entries());
        let unknown =
            entries.filter(|(name, _)| !self.names.values().any(|shown| shown.contains(name)));
        unknown.map(|(name, _)| {
            Alarm::new(AlarmKind::UnknownScheduled, format!("MACP_AUTH_KEY_SCHEDULE_FILE names a key ({name}) that no token shows or that has not proved itself, so it never has its turn. Check the spelling: `doctor` and the tool of your HSM show CKA_ID, `keys list` the kid of keys that are used"))
        })
    }

    fn of_lists(&self, ring: &KeyRing) -> impl Iterator<Item = Alarm> {
        let lists = &self.lists;
        let troubles = lists
            .troubles()
            .map(|line| Alarm::new(AlarmKind::List, line));
        let conflicts = lists.extra.iter().filter(|extra| {
            let ours = self.memory.key(extra.kid());
            ours.is_some_and(|ours| ours.key.jwk() != extra.jwk())
        });
        let conflicts = conflicts.map(|extra| {
            Alarm::new(AlarmKind::ExtraConflict, format!("MACP_AUTH_EXTRA_JWKS_FILE has {} with other material than our own key of that name; it is not published. Take it out", extra.kid()))
        });
        let stone = self
            .tombstone
            .as_ref()
            .filter(|stone| ring.key(stone.kid()).is_some());
        let stone = stone.map(|_| {
            Alarm::new(AlarmKind::Tombstone, "every key is revoked: the JWKS holds only a key whose private half nobody has, so that verifiers drop the revoked ones. Make a key with `keys generate`, or pin another")
        });
        troubles.chain(conflicts).chain(stone)
    }
}

/// They look like keys that are about to sign.
fn of_overtaken(ring: &KeyRing) -> impl Iterator<Item = Alarm> {
    let overtaken = ring.timetable().overtaken();
    let present = overtaken.filter(|member| !member.gone && !member.revoked);
    present.map(|member| {
        Alarm::new(AlarmKind::Overtaken, format!("{} is new, and its label has an instant before that of a key which had begun to sign, so it has no turn of its own. If it is to sign, give its private object a later instant, or make another with `keys rotate`", member.kid))
    })
}

/// Not the key whose turn it is signs.
fn of_successor(ring: &KeyRing, new_key: &str, now: UnixSeconds) -> Vec<Alarm> {
    let table = ring.timetable();
    let order = table.order(now, table.usual_life(), ring.held());
    let first = order.first();
    let revoked = table.is_left_without_signer(now).then(|| {
        let detail = first.map_or_else(
            || format!("the key whose turn it is has been revoked, and no other may sign. {new_key}"),
            |turn| format!("the key whose turn it is has been revoked; {} signs in its place. Make a new key with `keys rotate`", turn.kid),
        );
        Alarm::new(AlarmKind::ActiveRevoked, detail)
    });
    let unannounced = first.filter(|turn| turn.unannounced).map(|turn| {
        let detail = format!("{} signs before it was published for the lead, because nothing else is left: verifiers reject its tokens until they fetch the JWKS again", turn.kid);
        Alarm::new(AlarmKind::Unannounced, detail)
    });
    let gone = table.active(now).filter(|active| {
        let mut ripe = active.keys.iter().filter(|entry| entry.ripe <= now);
        ripe.all(|entry| entry.member.gone)
    });
    let gone = gone.map(|_| {
        let detail = first.map_or_else(
            || "the key whose turn it is has gone from its token, and no other may sign. Bring it back, or make one with `keys generate`".to_owned(),
            |turn| format!("the key whose turn it is has gone from its token; {} signs in its place. Bring it back, or make a new key with `keys rotate`", turn.kid),
        );
        Alarm::new(AlarmKind::ActiveGone, detail)
    });
    revoked.into_iter().chain(unannounced).chain(gone).collect()
}
