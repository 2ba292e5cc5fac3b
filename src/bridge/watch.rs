//! Watches: a WebSocket that pushes, and a poll beside it that decides alone when the socket can not.
//!
//! Approvals and chat use this one machine. It owns the socket's state, its back-off and who may have
//! a socket. It never reads what is pushed.

use super::ids::{TaskId, WatchId};
use super::timer::TimerId;
use crate::failure::Failure;
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::ConnId;
use crate::proto::ws::WebSocket;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// One approval.
    Approval,
    /// Messages from the dashboard.
    Chat,
}

/// The pushing side.
#[derive(Debug)]
pub(super) enum Socket {
    /// Not there: the poll serves.
    Closed,
    /// The upgrade is under way.
    Opening(TaskId),
    /// Open.
    Open {
        conn: ConnId,
        socket: Box<WebSocket>,
        heard: Instant,
        beat: TimerId,
    },
}

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) subject: Subject,
    pub(super) url: Endpoint,
    /// Where the state is read by GET, if the workspace named a place.
    pub(super) status_url: Option<Endpoint>,
    pub(super) socket: Socket,
    /// Why the socket could not be opened.
    pub(super) trouble: Option<Failure>,
    /// Failures in a row, for the back-off.
    pub(super) failures: u8,
    pub(super) reconnect: Option<TimerId>,
    /// The next safety poll; `None` while one is queued or under way.
    pub(super) poll: Option<TimerId>,
}

impl Watch {
    pub(super) fn has_socket(&self) -> bool {
        !matches!(self.socket, Socket::Closed)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.socket, Socket::Open { .. })
    }

    /// "Reconnect after 1, 2, 4 … 30 s."
    pub(super) fn backoff(&self) -> Duration {
        let doubled = 1u64 << self.failures.saturating_sub(1).min(5);
        Duration::from_secs(doubled.min(30))
    }
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    next: u64,
    watches: BTreeMap<WatchId, Watch>,
}

impl Watches {
    pub(super) fn insert(
        &mut self,
        subject: Subject,
        url: Endpoint,
        status_url: Option<Endpoint>,
    ) -> WatchId {
        self.next += 1;
        let watch = Watch {
            subject,
            url,
            status_url,
            socket: Socket::Closed,
            trouble: None,
            failures: 0,
            reconnect: None,
            poll: None,
        };
        self.watches.insert(WatchId(self.next), watch);
        WatchId(self.next)
    }

    pub(super) fn get(&self, id: WatchId) -> Option<&Watch> {
        self.watches.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: WatchId) -> Option<&mut Watch> {
        self.watches.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: WatchId) -> Option<Watch> {
        self.watches.remove(&id)
    }

    pub(super) fn ids(&self) -> Vec<WatchId> {
        self.watches.keys().copied().collect()
    }

    /// Approvals that have a socket or are about to.
    pub(super) fn approval_sockets(&self) -> usize {
        let counted = |watch: &&Watch| watch.subject == Subject::Approval && watch.has_socket();
        self.watches.values().filter(counted).count()
    }

    /// The approval that has waited longest for a socket, and is not pausing after a failure.
    pub(super) fn next_without_socket(&self) -> Option<WatchId> {
        let waits = |watch: &Watch| {
            watch.subject == Subject::Approval && !watch.has_socket() && watch.reconnect.is_none()
        };
        self.watches
            .iter()
            .find(|(_, watch)| waits(watch))
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let url = Endpoint::parse("https://w.example/x").expect("valid");
        let mut watches = Watches::default();
        let id = watches.insert(Subject::Chat, url, None);
        let watch = watches.get_mut(id).expect("there");
        let mut pauses = Vec::new();
        for failures in 1..=8 {
            watch.failures = failures;
            pauses.push(watch.backoff().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
