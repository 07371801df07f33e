//! The sessions that the caller has open, each with its slot and the label of its token.
//!
//! Slot numbers here are those of the wrapped module. The table is for rules that limit sessions, ask for a token's
//! label, or act behind the caller's back; a session that is not in it is forwarded all the same. Beside them: what each
//! slot held when a rule first froze it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID};

use crate::rules::Reach;

#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: BTreeMap<CK_SESSION_HANDLE, Opened>,
    /// Slots on which a session is being opened now: they count too, or two threads could pass a limit together.
    opening: Vec<CK_SLOT_ID>,
    frozen: BTreeMap<CK_SLOT_ID, BTreeSet<CK_OBJECT_HANDLE>>,
}

/// Where a session is open.
#[derive(Debug, Clone)]
pub struct Opened {
    pub slot: CK_SLOT_ID,
    pub token: Option<String>,
}

impl Sessions {
    /// Takes a place for one more session; false if the slot has as many as it may have.
    pub fn reserve(&self, slot: CK_SLOT_ID, limit: Option<u64>) -> bool {
        let mut table = self.table();
        let open = table.open.values().filter(|opened| opened.slot == slot);
        let opening = table.opening.iter().filter(|&&other| other == slot);
        let taken = open.count() + opening.count();
        let free = limit.is_none_or(|most| (taken as u64) < most);
        if free {
            table.opening.push(slot);
        }
        free
    }

    /// What became of a reserved place.
    pub fn settle(&self, slot: CK_SLOT_ID, opened: Option<(CK_SESSION_HANDLE, Opened)>) {
        let mut table = self.table();
        if let Some(place) = table.opening.iter().position(|&other| other == slot) {
            table.opening.swap_remove(place);
        }
        table.open.extend(opened);
    }

    pub fn find(&self, session: CK_SESSION_HANDLE) -> Option<Opened> {
        self.table().open.get(&session).cloned()
    }

    pub fn any(&self) -> bool {
        !self.table().open.is_empty()
    }

    /// One session of each slot.
    pub fn one_per_slot(&self, reach: &Reach) -> BTreeMap<CK_SLOT_ID, CK_SESSION_HANDLE> {
        let table = self.table();
        let reached = table.open.iter();
        reached
            .filter(|(_, opened)| reach.includes(opened.token.as_deref()))
            .map(|(&session, opened)| (opened.slot, session))
            .collect()
    }

    pub fn closed(&self, session: CK_SESSION_HANDLE) {
        self.table().open.remove(&session);
    }

    pub fn all_closed(&self, slot: CK_SLOT_ID) {
        self.table().open.retain(|_, opened| opened.slot != slot);
    }

    /// The objects of a slot as they were at the first question since the module was initialised.
    pub fn frozen(
        &self,
        slot: CK_SLOT_ID,
        present: impl FnOnce() -> BTreeSet<CK_OBJECT_HANDLE>,
    ) -> BTreeSet<CK_OBJECT_HANDLE> {
        if let Some(known) = self.table().frozen.get(&slot) {
            return known.clone();
        }
        let present = present();
        self.table().frozen.entry(slot).or_insert(present).clone()
    }

    /// The module was initialised or finalised.
    pub fn clear(&self) {
        let mut table = self.table();
        table.open.clear();
        table.frozen.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_the_sessions_of_its_slot_and_those_being_opened() {
        let sessions = Sessions::default();
        let opened = |slot| Opened { slot, token: None };

        assert!(sessions.reserve(7, Some(2)));
        assert!(sessions.reserve(7, Some(2)));
        assert!(!sessions.reserve(7, Some(2)), "two are being opened");
        assert!(sessions.reserve(8, Some(2)), "another slot");
        sessions.settle(7, Some((1, opened(7))));
        sessions.settle(7, None);
        assert!(sessions.reserve(7, Some(2)), "one failed");
        sessions.settle(7, Some((2, opened(7))));
        assert!(!sessions.reserve(7, Some(2)), "two are open");
        sessions.closed(1);
        assert!(sessions.reserve(7, Some(2)), "one was closed");
    }
}
