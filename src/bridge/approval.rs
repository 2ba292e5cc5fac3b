//! One state machine for each approval: watched, decided, or detached from a host that gave up.
//!
//! # Threat model
//!
//! - The workspace decides; the gateway only believes what came over the authenticated connection to
//!   its origin, by WebSocket or by poll.
//! - Only the status `approved` (or `executed`, with the outcome) lets anything happen. Unknown words,
//!   broken JSON, silence, time-outs, closed sockets and errors leave it undecided.
//! - A decision counts for the approval whose id it bears and for no other.
//! - Ids are checked before they become part of a URL; URLs of another origin are never opened, so
//!   the token stays with its workspace. It travels in the Authorization header only.
//! - Neither host nor approver can forge `_meta["dev.aerostack/approval_id"]`, and an edit can not
//!   turn a call into one of another tool.
//! - A retry leaves once, unless the workspace promised at most one execution for each approval; no
//!   other call leaves under the same approval.
//! - A consent belongs to the request it was asked for: the same method and the same bytes of every
//!   member of its params but `_meta`. A workspace that names an approval of one request for another
//!   gets no use of it, whatever else it promises.
//! - A detached approval executes nothing until the host repeats the same call, byte for byte.
//! - Messages, sockets, polls and detached approvals are bounded; a flood costs time, not memory.
//! - Reviewer's text reaches logs only without control characters, and the agent only as text.

use super::ids::{CallId, Era, WatchId};
use super::timer::TimerId;
use crate::proto::aerostack::ApprovalState;
use crate::proto::identity::Identity;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// How many approvals are remembered beyond their wait.
const KNOWN_MAX: usize = 1_024;

/// Where an approval stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Undecided.
    Watching,
    /// Its time is over: one last question is under way.
    Expiring,
    /// Decided while nobody was attached.
    Decided(ApprovalState),
}

/// An approval.
#[derive(Debug)]
pub(super) struct Approval {
    pub(super) id: Box<str>,
    /// The request in words.
    pub(super) label: String,
    /// The request it was asked for.
    pub(super) identity: Identity,
    pub(super) era: Era,
    /// `_meta` for our own requests about it (modern era), raw JSON.
    pub(super) meta: Option<String>,
    /// Requests that wait for it; none: detached.
    pub(super) calls: Vec<CallId>,
    pub(super) phase: Phase,
    pub(super) since: Instant,
    /// When the workspace said that it ends.
    pub(super) expires: Option<Instant>,
    pub(super) dashboard_url: Option<String>,
    /// Its own time, its grace, or its time as a detached one.
    pub(super) deadline: Option<TimerId>,
    pub(super) progress_timer: Option<TimerId>,
}

/// All approvals, by the watch that looks after each.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    approvals: BTreeMap<WatchId, Approval>,
    /// What each was asked for, the latest last.
    known: VecDeque<Known>,
}

/// An approval that was named by the workspace once.
#[derive(Debug)]
struct Known {
    id: Box<str>,
    identity: Identity,
    /// A request has left under it, or a local operation was allowed: without `at_most_once` no
    /// other may.
    spent: bool,
}

impl Approvals {
    pub(super) fn insert(&mut self, watch: WatchId, approval: Approval) {
        if self.owner(&approval.id).is_none() {
            self.known.push_back(Known {
                id: approval.id.clone(),
                identity: approval.identity,
                spent: false,
            });
            if self.known.len() > KNOWN_MAX {
                self.known.pop_front();
            }
        }
        self.approvals.insert(watch, approval);
    }

    pub(super) fn remove(&mut self, watch: WatchId) -> Option<Approval> {
        self.approvals.remove(&watch)
    }

    pub(super) fn get(&self, watch: WatchId) -> Option<&Approval> {
        self.approvals.get(&watch)
    }

    pub(super) fn get_mut(&mut self, watch: WatchId) -> Option<&mut Approval> {
        self.approvals.get_mut(&watch)
    }

    /// The approval with this id.
    pub(super) fn by_id(&self, id: &str) -> Option<WatchId> {
        self.approvals
            .iter()
            .find(|(_, approval)| &*approval.id == id)
            .map(|(watch, _)| *watch)
    }

    /// The request that the approval with this id was asked for.
    pub(super) fn owner(&self, id: &str) -> Option<Identity> {
        let known = self.known.iter().find(|known| &*known.id == id);
        // One that is waited for is never forgotten.
        known.map(|known| known.identity).or_else(|| {
            let watch = self.by_id(id)?;
            self.get(watch).map(|approval| approval.identity)
        })
    }

    /// A detached approval that was asked for exactly this request.
    pub(super) fn detached(&self, identity: Identity) -> Option<WatchId> {
        let fits = |approval: &Approval| approval.calls.is_empty() && approval.identity == identity;
        self.approvals
            .iter()
            .find(|(_, approval)| fits(approval))
            .map(|(watch, _)| *watch)
    }

    /// True where a repeated call may find a detached approval.
    pub(super) fn any_detached(&self) -> bool {
        self.approvals
            .values()
            .any(|approval| approval.calls.is_empty())
    }

    /// A request leaves under this approval.
    pub(super) fn spend(&mut self, id: &str, identity: Identity) {
        self.known.retain(|known| &*known.id != id);
        self.known.push_back(Known {
            id: id.into(),
            identity,
            spent: true,
        });
        if self.known.len() > KNOWN_MAX {
            self.known.pop_front();
        }
    }

    /// It is proved that it was not executed.
    pub(super) fn restore(&mut self, id: &str) {
        let found = self.known.iter_mut().find(|known| &*known.id == id);
        if let Some(known) = found {
            known.spent = false;
        }
    }

    pub(super) fn is_spent(&self, id: &str) -> bool {
        self.known
            .iter()
            .any(|known| known.spent && &*known.id == id)
    }

    pub(super) fn ids(&self) -> Vec<WatchId> {
        self.approvals.keys().copied().collect()
    }

    /// Approvals that a request waits for.
    pub(super) fn pending(&self) -> usize {
        self.approvals
            .values()
            .filter(|approval| !approval.calls.is_empty())
            .count()
    }
}
