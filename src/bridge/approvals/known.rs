//! Approvals that the workspace has named: for which request, and whether that has been used.

use crate::proto::identity::Identity;
use crate::table::Table;
use std::collections::VecDeque;

/// How many are remembered beyond their wait; the oldest are forgotten first.
const KNOWN_MAX: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    entries: Table<Box<str>, Entry>,
    /// The latest last.
    order: VecDeque<Box<str>>,
}

#[derive(Debug)]
struct Entry {
    identity: Identity,
    /// A request has left under it, or a local operation was allowed: without the promise of at most
    /// one execution no other may.
    is_spent: bool,
}

impl Known {
    /// The workspace asks to wait for this approval, for this request.
    pub(super) fn name(&mut self, id: &str, identity: Identity) {
        if !self.entries.contains_key(id) {
            self.insert(id, identity, false);
        }
    }

    /// A request leaves under this approval.
    pub(super) fn spend(&mut self, id: &str, identity: Identity) {
        match self.entries.get_mut(id) {
            Some(entry) => entry.is_spent = true,
            None => self.insert(id, identity, true),
        }
    }

    /// It is proved that nothing was executed under it.
    pub(super) fn restore(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.is_spent = false;
        }
    }

    pub(super) fn owner(&self, id: &str) -> Option<Identity> {
        self.entries.get(id).map(|entry| entry.identity)
    }

    pub(super) fn is_spent(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.is_spent)
    }

    fn insert(&mut self, id: &str, identity: Identity, is_spent: bool) {
        let entry = Entry { identity, is_spent };
        self.entries.insert(id.into(), entry);
        self.order.push_back(id.into());
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::jsonrpc;

    fn identity(n: u32) -> Identity {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m{n}\"}}");
        let message = jsonrpc::parse_one(&text).expect("a request");
        Identity::of(&message.method, message.params)
    }

    #[test]
    fn an_approval_stays_with_the_request_it_was_named_for() {
        let mut known = Known::default();
        known.name("a", identity(1));
        known.name("a", identity(2));
        assert_eq!(
            (known.owner("a"), known.is_spent("a")),
            (Some(identity(1)), false)
        );
        known.spend("a", identity(1));
        assert!(known.is_spent("a") && !known.is_spent("b"));
        known.restore("a");
        assert!(!known.is_spent("a"));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut known = Known::default();
        for n in 0..2_000 {
            known.name(&n.to_string(), identity(n));
        }
        assert_eq!(
            (known.entries.len(), known.order.len()),
            (KNOWN_MAX, KNOWN_MAX)
        );
        assert_eq!(known.owner("0"), None);
        assert_eq!(known.owner("1999"), Some(identity(1999)));
    }
}
