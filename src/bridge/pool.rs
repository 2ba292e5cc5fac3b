//! Connections to the workspace: which are idle, which are busy, who waits for one.
//!
//! Owns reuse. A connection serves one exchange at a time; an exchange that must not run twice only
//! gets one that was idle for a moment. What is sent on it, and what a failure means,
//! is not known here.

use super::ids::{TaskId, WatchId};
use super::task::Lane;
use crate::config::Limits;
use crate::proto::http::exchange::Exchange;
use crate::proto::transport::ConnId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Being made, for whichever waiting exchange is next; `newest` waited when it began.
    Dialing { newest: TaskId },
    /// Being made to another origin, for this exchange alone.
    DialingFor { task: TaskId, lane: Lane },
    /// Waiting for its next exchange.
    Idle {
        since: Instant,
        keep: Option<Duration>,
    },
    /// One exchange is under way.
    Busy {
        task: TaskId,
        lane: Lane,
        exchange: Box<Exchange>,
    },
    /// A WebSocket.
    Upgraded { watch: WatchId },
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) state: State,
    /// Exchanges it has completed.
    pub(super) served: u32,
    /// Reading is paused because stdout is full.
    pub(super) paused: bool,
}

/// An exchange that waits for a connection.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    task: TaskId,
    lane: Lane,
    /// It must not run twice: only a fresh connection will do.
    fresh: bool,
}

/// All connections, and the exchanges that wait for one.
#[derive(Debug, Default)]
pub(super) struct Pool {
    next: u64,
    conns: BTreeMap<ConnId, Conn>,
    /// Most recently used last.
    idle: Vec<ConnId>,
    urgent: VecDeque<Wanted>,
    calls: VecDeque<Wanted>,
    dialing: usize,
    /// Busy connections, by lane.
    busy: [usize; 3],
}

impl Pool {
    /// Puts an exchange into the queue of its lane.
    pub(super) fn want(&mut self, task: TaskId, lane: Lane, fresh: bool) {
        let wanted = Wanted { task, lane, fresh };
        match lane {
            Lane::Call => self.calls.push_back(wanted),
            Lane::Urgent | Lane::Stream => self.urgent.push_back(wanted),
        }
    }

    /// Takes a waiting exchange out again; false if it did not wait.
    pub(super) fn forget(&mut self, task: TaskId) -> bool {
        let before = self.urgent.len() + self.calls.len();
        self.urgent.retain(|wanted| wanted.task != task);
        self.calls.retain(|wanted| wanted.task != task);
        before != self.urgent.len() + self.calls.len()
    }

    /// Pairs the next waiting exchange with an idle connection. The connection is busy from here on.
    pub(super) fn pair(
        &mut self,
        now: Instant,
        limits: &Limits,
        exchange: impl FnOnce(TaskId) -> Exchange,
    ) -> Option<(TaskId, ConnId, bool)> {
        let (queue, at) = self.pairable(now, limits)?;
        let wanted = match queue {
            Lane::Call => self.calls.remove(0),
            Lane::Urgent | Lane::Stream => self.urgent.remove(0),
        }?;
        let id = self.idle.remove(at);
        let conn = self.conns.get_mut(&id).expect("idle connections exist");
        let exchange = Box::new(exchange(wanted.task));
        conn.state = State::Busy {
            task: wanted.task,
            lane: wanted.lane,
            exchange,
        };
        self.busy[wanted.lane as usize] += 1;
        Some((wanted.task, id, conn.served > 0))
    }

    /// The queue whose first exchange can be served, and by which idle connection.
    fn pairable(&self, now: Instant, limits: &Limits) -> Option<(Lane, usize)> {
        let serve = |wanted: &Wanted| {
            self.idle
                .iter()
                .rposition(|id| !wanted.fresh || self.is_fresh(*id, now, limits))
        };
        if let Some(at) = self.urgent.front().and_then(serve) {
            return Some((Lane::Urgent, at));
        }
        // Calls leave the reserve to what must never queue behind them.
        let call = self
            .calls
            .front()
            .filter(|_| self.busy[Lane::Call as usize] < limits.connections_max);
        call.and_then(serve).map(|at| (Lane::Call, at))
    }

    fn is_fresh(&self, id: ConnId, now: Instant, limits: &Limits) -> bool {
        match &self.conns[&id] {
            // Never used: the server has had no reason to think it idle for long.
            Conn {
                state: State::Idle { since, keep },
                served,
                ..
            } => {
                let promised = keep.map(|keep| keep.saturating_sub(Duration::from_secs(1)));
                let allowed = promised.unwrap_or(limits.idle_fresh);
                let idle = now.saturating_duration_since(*since);
                idle <= allowed || (*served == 0 && idle <= limits.idle_fresh * 3)
            }
            _ => false,
        }
    }

    /// A connection to dial, while more exchanges wait that may leave than are being dialled for and
    /// the ceiling allows it. Idle ones do not count: nobody who waits can use them, and
    /// `make_room` closes what is too much.
    pub(super) fn dial(&mut self, limits: &Limits) -> Option<ConnId> {
        let slots = limits
            .connections_max
            .saturating_sub(self.busy[Lane::Call as usize]);
        let wanted = self.urgent.len() + self.calls.len().min(slots);
        let counted = self.conns.len() - self.streams() - self.idle.len();
        if self.dialing >= wanted || counted >= self.ceiling(limits) {
            return None;
        }
        let waiting = self.urgent.iter().chain(&self.calls);
        let newest = waiting.map(|wanted| wanted.task).max()?;
        Some(self.dial_as(newest))
    }

    /// Connections that may be there now, long-lived ones not counted.
    fn ceiling(&self, limits: &Limits) -> usize {
        let stream = |wanted: &&Wanted| wanted.lane == Lane::Stream;
        let streams = self.urgent.iter().filter(stream).count();
        let reserve = match self.urgent.len() > streams {
            true => limits.connections_reserve,
            false => 0,
        };
        limits.connections_max + reserve + streams
    }

    /// The oldest idle connection, if there are too many; it is removed.
    pub(super) fn make_room(&mut self, limits: &Limits) -> Option<ConnId> {
        let full = self.conns.len() - self.streams() > self.ceiling(limits);
        let oldest = self.idle.first().copied().filter(|_| full)?;
        self.remove(oldest).map(|_| oldest)
    }

    /// A connection to dial although nobody waits for it yet.
    pub(super) fn dial_ahead(&mut self) -> ConnId {
        self.dial_as(TaskId(u64::MAX))
    }

    fn dial_as(&mut self, newest: TaskId) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        self.dialing += 1;
        self.conns.insert(
            id,
            Conn {
                state: State::Dialing { newest },
                served: 0,
                paused: false,
            },
        );
        id
    }

    /// A connection to another origin, for one exchange and never kept.
    pub(super) fn dial_for(&mut self, task: TaskId, lane: Lane) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        self.busy[lane as usize] += 1;
        let state = State::DialingFor { task, lane };
        self.conns.insert(
            id,
            Conn {
                state,
                served: 0,
                paused: false,
            },
        );
        id
    }

    /// The connection was made for one exchange: that is under way from here on.
    pub(super) fn begin(
        &mut self,
        id: ConnId,
        exchange: impl FnOnce(TaskId) -> Exchange,
    ) -> Option<TaskId> {
        let conn = self.conns.get_mut(&id)?;
        let State::DialingFor { task, lane } = conn.state else {
            return None;
        };
        let exchange = Box::new(exchange(task));
        conn.state = State::Busy {
            task,
            lane,
            exchange,
        };
        Some(task)
    }

    /// The exchange has ended in an upgrade: the connection is a WebSocket.
    pub(super) fn upgrade(&mut self, id: ConnId, watch: WatchId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.state = State::Upgraded { watch };
        }
    }

    /// The connection is ready.
    pub(super) fn connected(&mut self, id: ConnId, now: Instant) {
        if let Some(conn) = self.conns.get_mut(&id) {
            self.dialing -= usize::from(matches!(conn.state, State::Dialing { .. }));
            conn.state = State::Idle {
                since: now,
                keep: None,
            };
            self.idle.push(id);
        }
    }

    /// The exchange is over and the connection may serve another.
    pub(super) fn release(&mut self, id: ConnId, now: Instant, keep_s: Option<u64>) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.served = conn.served.saturating_add(1);
            let idle = State::Idle {
                since: now,
                keep: keep_s.map(Duration::from_secs),
            };
            if let State::Busy { lane, .. } = std::mem::replace(&mut conn.state, idle) {
                self.busy[lane as usize] -= 1;
            }
            self.idle.push(id);
        }
    }

    /// The connection is gone, or about to be closed.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(&id)?;
        match conn.state {
            State::Dialing { .. } => self.dialing -= 1,
            State::Idle { .. } => self.idle.retain(|idle| *idle != id),
            State::Upgraded { .. } => self.busy[Lane::Stream as usize] -= 1,
            State::DialingFor { lane, .. } | State::Busy { lane, .. } => {
                self.busy[lane as usize] -= 1;
            }
        }
        Some(conn)
    }

    /// A dial failed: the exchange that has waited longest has to hear it, unless it came later than
    /// the dial began. That one gets a dial of its own.
    pub(super) fn take_waiting(&mut self, newest: TaskId) -> Option<TaskId> {
        let waiting = self.urgent.len() + self.calls.len();
        // Other dials may still serve those who wait.
        if waiting <= self.dialing {
            return None;
        }
        for queue in [&mut self.urgent, &mut self.calls] {
            let first = queue.iter().position(|wanted| wanted.task <= newest);
            if let Some(wanted) = first.and_then(|at| queue.remove(at)) {
                return Some(wanted.task);
            }
        }
        None
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    /// Idle connections past their age, and surplus ones past their moment; oldest first. They are
    /// removed.
    pub(super) fn expire(&mut self, now: Instant, limits: &Limits) -> Vec<ConnId> {
        let surplus = self.idle.len().saturating_sub(limits.idle_max);
        let mut expired = Vec::new();
        for (at, id) in self.idle.iter().enumerate() {
            let age = self.idle_for(*id, now);
            if age >= limits.idle_age || (at < surplus && age >= limits.idle_surplus) {
                expired.push(*id);
            }
        }
        expired.iter().for_each(|id| drop(self.remove(*id)));
        expired
    }

    /// When `expire` has its next work.
    pub(super) fn next_expiry(&self, limits: &Limits) -> Option<Instant> {
        let surplus = self.idle.len() > limits.idle_max;
        let oldest = self.idle.first()?;
        match self.conns[oldest].state {
            State::Idle { since, .. } if surplus => Some(since + limits.idle_surplus),
            State::Idle { since, .. } => Some(since + limits.idle_age),
            _ => None,
        }
    }

    /// All idle connections, taken out: the machine slept, or the end has come.
    pub(super) fn take_idle(&mut self) -> Vec<ConnId> {
        let idle = self.idle.clone();
        idle.iter().for_each(|id| drop(self.remove(*id)));
        idle
    }

    /// Every connection whose reading is paused.
    pub(super) fn paused(&mut self) -> Vec<ConnId> {
        let mut paused = Vec::new();
        for (id, conn) in &mut self.conns {
            if std::mem::take(&mut conn.paused) {
                paused.push(*id);
            }
        }
        paused
    }

    /// Every connection there is.
    pub(super) fn all(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }

    /// Long-lived exchanges that hold a connection.
    pub(super) fn streams(&self) -> usize {
        self.busy[Lane::Stream as usize]
    }

    fn idle_for(&self, id: ConnId, now: Instant) -> Duration {
        match self.conns[&id].state {
            State::Idle { since, .. } => now.saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }
}
