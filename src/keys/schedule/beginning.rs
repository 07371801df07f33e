//! Which key was there before all others: it waits for nobody, because nothing was published before it.
//!
//! It is the oldest of the oldest generation, where unknown creation counts as oldest; a key that comes later under an earlier
//! instant is not it.

use super::member::{Created, Member};
use crate::clock::UnixSeconds;
use crate::keys::rules::Rules;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) instant: UnixSeconds,
    pub(super) created: Option<Created>,
    /// When this replica saw the first key of the oldest generation.
    pub(super) seen: UnixSeconds,
}

impl Beginning {
    /// Of keys in the order of their instants.
    pub(super) fn of(members: &[Member], rules: &Rules) -> Self {
        let instant = members
            .first()
            .map_or(UnixSeconds::EVER, |member| member.instant);
        let oldest = members.iter().filter(|member| member.instant == instant);
        let known = oldest.clone().all(|member| member.created.is_some());
        Self {
            instant,
            created: first(members, rules).filter(|_| known),
            seen: oldest
                .map(|member| member.seen)
                .min()
                .unwrap_or(UnixSeconds::EVER),
        }
    }
}

/// When the first of them was made, or came.
fn first(members: &[Member], rules: &Rules) -> Option<Created> {
    let before_all = members.iter().filter(|member| {
        let mut others = members.iter();
        !others.any(|other| was_before(other, member, rules))
    });
    let first = before_all.filter_map(|member| member.since(rules)).min();
    first.or_else(|| {
        members
            .iter()
            .filter_map(|member| member.since(rules))
            .min()
    })
}

/// Of two keys of which one came when the other was there, the order is certain, whatever whole second or slower clock dates
/// that one here.
fn was_before(one: &Member, other: &Member, rules: &Rules) -> bool {
    if other.came_after(one, rules) {
        return true;
    }
    if one.came_after(other, rules) {
        return false;
    }
    let dates = one.since(rules).zip(other.since(rules));
    dates.is_some_and(|(one, other)| one < other)
}
