//! What a replica knows of its keys: everything it has ever read from its tokens, until it may be forgotten. Pure.
//!
//! A look at a token adds and updates; it never takes away what verifiers may still need. A key that no token shows any
//! more stays published and signs no more: "found nothing" is also what a token says whose directory is gone for a moment.
//! Saved after each change (`saved`), so that a replica that starts again knows as much as before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::PublishedKey;
use super::rules::{LEEWAY, Rules};
use super::schedule::{Created, Member, State, Timetable};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, Kid};

/// See the module.
#[derive(Debug, Clone)]
pub struct Memory {
    keys: BTreeMap<Kid, Known>,
    /// The last complete look at each token.
    looks: BTreeMap<TokenName, UnixSeconds>,
    /// The longest lives of tokens that were minted here, and when last.
    maxima: BTreeMap<u64, UnixSeconds>,
    /// What the file of revoked kids said last.
    revoked: BTreeSet<Kid>,
    /// None: too long ago to matter.
    began: Option<Beginning>,
}

/// When a replica began with nothing, or found keys of which nothing tells how long others have known them: for a while it
/// cannot know what those are publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    pub at: UnixSeconds,
    /// Why what it knew before cannot be read any more.
    pub lost: Option<String>,
}

/// A token as the configuration names it: module and what selects it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName(String);

/// One key.
#[derive(Debug, Clone)]
pub struct Known {
    pub key: Arc<PublishedKey>,
    pub instant: UnixSeconds,
    pub created: Option<Created>,
    pub seen: UnixSeconds,
    /// The last look at its token that did not show it.
    pub absent: Option<UnixSeconds>,
    /// The tokens that showed it at their last look, each with the instants of its objects.
    pub on: BTreeMap<TokenName, BTreeSet<UnixSeconds>>,
    /// A complete look at the last token that held it did not show it.
    pub gone: bool,
    /// It has signed in this life of the process.
    pub proved: bool,
}

/// A key as one look found it.
#[derive(Debug, Clone)]
pub struct Found {
    pub key: Arc<PublishedKey>,
    pub instant: UnixSeconds,
    /// From its CKA_ID.
    pub created: Option<Created>,
}

impl TokenName {
    pub fn new(module: &Path, selector: &str) -> Self {
        Self(format!("{} {selector}", module.display()))
    }

    /// As it was saved.
    pub const fn restored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Memory {
    /// Of a replica that knows nothing.
    pub const fn empty(started: UnixSeconds) -> Self {
        Self {
            keys: BTreeMap::new(),
            looks: BTreeMap::new(),
            maxima: BTreeMap::new(),
            revoked: BTreeSet::new(),
            began: Some(Beginning {
                at: started,
                lost: None,
            }),
        }
    }

    /// Of a replica that knew something which cannot be read any more, and why not.
    pub fn lost(started: UnixSeconds, reason: String) -> Self {
        Self {
            began: Some(Beginning {
                at: started,
                lost: Some(reason),
            }),
            ..Self::empty(started)
        }
    }

    /// Of a replica that starts again.
    pub fn restored(
        keys: impl IntoIterator<Item = Known>,
        looks: BTreeMap<TokenName, UnixSeconds>,
        maxima: BTreeMap<u64, UnixSeconds>,
        began: Option<Beginning>,
    ) -> Self {
        let keys = keys.into_iter();
        Self {
            keys: keys.map(|known| (known.key.kid().clone(), known)).collect(),
            looks,
            maxima,
            revoked: BTreeSet::new(),
            began,
        }
    }

    /// Of tokens that the configuration no longer names nothing can be read. A key that was seen only there may be on any of the
    /// others, which may be the same one under a new name: it is gone when none of them shows it.
    pub fn knows_only(&mut self, tokens: &[TokenName]) {
        if tokens.is_empty() {
            return;
        }
        self.looks.retain(|token, _| tokens.contains(token));
        for known in self.keys.values_mut() {
            let before = known.on.clone();
            known.on.retain(|token, _| tokens.contains(token));
            if known.on.is_empty() {
                let instants: BTreeSet<_> = before.into_values().flatten().collect();
                if !instants.is_empty() {
                    let anywhere = tokens.iter().map(|token| (token.clone(), instants.clone()));
                    known.on = anywhere.collect();
                }
            }
        }
    }

    /// Before the first look at a token that could not be read for long: keys that were new when that began count as new again.
    /// Another replica may not have seen them before, and for as long its verifiers could not fetch them.
    pub fn resume(&mut self, token: &TokenName, rules: &Rules, now: UnixSeconds) {
        let Some(before) = self.looks.get(token).copied() else {
            return;
        };
        if now <= before.plus(rules.jwks_stale_after()) || rules.unsafe_timing {
            return;
        }
        for known in self.keys.values_mut() {
            let new = known.absent.is_some() && before < known.seen.plus(rules.two_polls());
            if !new || known.on.keys().any(|other| other != token) {
                continue;
            }
            if known.created == Some(Created::at(known.seen)) {
                known.created = Some(Created::at(now));
            }
            known.seen = now;
        }
    }

    /// Takes in one complete look at a token.
    pub fn look(&mut self, token: &TokenName, found: &[Found], now: UnixSeconds) {
        let before = self.looks.insert(token.clone(), now);
        let mut strange = false;
        for known in self.keys.values_mut() {
            if known.on.remove(token).is_some() {
                known.gone = known.on.is_empty();
            }
        }
        for found in found {
            let known = self.keys.entry(found.key.kid().clone());
            let known = known.or_insert_with(|| {
                // Its own word counts: this clock's whole second may lie before it, and before keys that are older.
                let created = found.created.or(before.map(|_| Created::at(now)));
                strange |= created.is_none();
                Known {
                    key: Arc::clone(&found.key),
                    instant: found.instant,
                    created,
                    seen: now,
                    absent: before,
                    on: BTreeMap::new(),
                    gone: false,
                    proved: true,
                }
            });
            known.proved = true;
            known.gone = false;
            known.created = earlier(known.created, found.created);
            let here = known.on.entry(token.clone()).or_default();
            here.insert(found.instant);
            // Objects may give different instants: the later one counts, in whatever order they are found.
            let instants = known.on.values().flatten();
            known.instant = instants.max().copied().unwrap_or(found.instant);
        }
        if strange {
            let lost = self.began.take().and_then(|began| began.lost);
            self.began = Some(Beginning { at: now, lost });
        }
    }

    /// The keys that form generations: with an algorithm set, only its own.
    pub fn members(&self, algorithm: Option<Algorithm>, revoked: &BTreeSet<Kid>) -> Vec<Member> {
        self.keys
            .values()
            .filter(|known| signs(known, algorithm))
            .map(|known| Member {
                kid: known.key.kid().clone(),
                instant: known.instant,
                created: known.created,
                seen: known.seen,
                absent: known.absent,
                revoked: revoked.contains(known.key.kid()),
                gone: known.gone,
            })
            .collect()
    }

    /// The keys of the other algorithm: published without end, they never sign.
    pub fn bystanders(&self, algorithm: Option<Algorithm>) -> impl Iterator<Item = &Known> {
        self.keys
            .values()
            .filter(move |known| !signs(known, algorithm))
    }

    /// Expired keys that no token holds any more.
    pub fn forget_expired(&mut self, table: &Timetable, now: UnixSeconds) {
        self.keys.retain(|kid, known| {
            let expired = table
                .of(kid)
                .is_some_and(|of| table.state(of, now) == State::Expired);
            !(known.gone && expired)
        });
    }

    /// Until then a replica that began with nothing publishes expired keys, too: others may have seen their successor later.
    pub fn is_stranger(&self, rules: &Rules, now: UnixSeconds) -> bool {
        let began = self.began.as_ref();
        began.is_some_and(|began| now < began.at.plus(rules.lead).plus(rules.retain))
    }

    /// Why what was known before could not be read, for as long as it may matter.
    pub fn why_lost(&self, rules: &Rules, now: UnixSeconds) -> Option<&str> {
        let began = self.began.as_ref()?;
        let lost = began.lost.as_deref();
        lost.filter(|_| self.is_stranger(rules, now))
    }

    /// When it began with nothing.
    pub const fn began(&self) -> Option<&Beginning> {
        self.began.as_ref()
    }

    /// Notes that tokens of the longest life of these rules may be minted now. Other replicas may go on with an older maximum
    /// for the lead: they are configured one after the other.
    pub fn mints(&mut self, rules: &Rules, now: UnixSeconds) {
        self.maxima.insert(rules.max_ttl, now);
        let after = (LEEWAY + 2 * rules.skew).saturating_add(rules.lead);
        self.maxima
            .retain(|ttl, last| now < last.plus(*ttl).plus(after));
    }

    /// The rules with the longest life of a token that may still be accepted.
    pub fn rules(&self, configured: Rules) -> Rules {
        let longest = self.maxima.keys().max().copied().unwrap_or(0);
        configured.with_older_tokens(longest)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Known> {
        self.keys.values()
    }

    pub fn key(&self, kid: &Kid) -> Option<&Known> {
        self.keys.get(kid)
    }

    pub const fn looks(&self) -> &BTreeMap<TokenName, UnixSeconds> {
        &self.looks
    }

    /// The file of revoked kids says this.
    pub fn revoke(&mut self, kids: BTreeSet<Kid>) {
        self.revoked = kids;
    }

    pub const fn revoked(&self) -> &BTreeSet<Kid> {
        &self.revoked
    }

    pub const fn maxima(&self) -> &BTreeMap<u64, UnixSeconds> {
        &self.maxima
    }

    /// The latest time that was ever written down: no clock should show an earlier one.
    pub fn latest(&self) -> Option<UnixSeconds> {
        self.looks
            .values()
            .chain(self.maxima.values())
            .max()
            .copied()
    }
}

impl Known {
    /// Objects give it different instants, on one token or on several.
    pub fn has_two_instants(&self) -> bool {
        let mut instants = self.on.values().flatten();
        let first = instants.next();
        instants.any(|other| Some(other) != first)
    }
}

fn signs(known: &Known, algorithm: Option<Algorithm>) -> bool {
    algorithm.is_none_or(|only| only == known.key.algorithm())
}

/// A creation time that is known counts; of two, the earlier one.
fn earlier(one: Option<Created>, other: Option<Created>) -> Option<Created> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (known, None) | (None, known) => known,
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
