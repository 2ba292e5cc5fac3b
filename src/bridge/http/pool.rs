//! Connections to the workspace: which are idle, which are busy, who waits for one.
//!
//! Owns reuse. A connection serves one exchange at a time; an exchange that must not run twice only
//! gets one that was idle for a moment. What is sent on it, and what a failure means, is not known
//! here.

use super::{ExchangeId, Priority};
use crate::config::Limits;
use crate::proto::http::exchange::Exchange as Reader;
use crate::proto::transport::ConnId;
use crate::table::Table;
use std::time::{Duration, Instant};

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Being made, for whichever waiting exchange is next; `newest` waited when it began.
    Dialing { newest: ExchangeId },
    /// Being made to another origin, for this exchange alone.
    DialingFor { exchange: ExchangeId },
    /// Waiting for its next exchange.
    Idle {
        since: Instant,
        /// How long it may have been idle for a request that must not be lost; `None`: the usual time.
        allowed: Option<Duration>,
    },
    /// One exchange is under way.
    Busy {
        exchange: ExchangeId,
        reader: Box<Reader>,
    },
    /// It speaks another protocol now (101 Switching Protocols).
    Upgraded { exchange: ExchangeId },
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) state: State,
    priority: Priority,
    /// It has completed an exchange.
    pub(super) used: bool,
    /// Reading is paused.
    pub(super) paused: bool,
}

/// All connections, and the exchanges that wait for one.
#[derive(Debug, Default)]
pub(super) struct Pool {
    next: u64,
    conns: Table<ConnId, Conn>,
    /// Most recently used last.
    idle: Vec<ConnId>,
    /// Exchanges that never wait behind calls; with whether only a fresh connection will do.
    control: Table<ExchangeId, Waiting>,
    calls: Table<ExchangeId, Waiting>,
    /// Long-lived ones among `control`.
    waiting_streams: usize,
    dialing: usize,
    /// Busy connections, by priority.
    busy: [usize; 3],
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    priority: Priority,
    /// It must not run twice: only a connection that the server certainly still reads will do.
    fresh: bool,
}

impl Pool {
    /// An exchange waits for a connection from now on.
    pub(super) fn wait(&mut self, exchange: ExchangeId, priority: Priority, fresh: bool) {
        let waiting = Waiting { priority, fresh };
        match priority {
            Priority::Call => self.calls.insert(exchange, waiting),
            Priority::Control | Priority::Stream => self.control.insert(exchange, waiting),
        };
        self.waiting_streams += usize::from(priority == Priority::Stream);
    }

    /// An exchange does not wait any more.
    pub(super) fn forget(&mut self, exchange: ExchangeId) {
        let waited = self.control.remove(&exchange);
        self.calls.remove(&exchange);
        let stream = waited.is_some_and(|waiting| waiting.priority == Priority::Stream);
        self.waiting_streams -= usize::from(stream);
    }

    /// Pairs the next waiting exchange with an idle connection: the connection is busy from here on.
    /// The flag says whether it has served another before.
    pub(super) fn pair(
        &mut self,
        now: Instant,
        limits: &Limits,
        reader: impl FnOnce(ExchangeId) -> Reader,
    ) -> Option<(ExchangeId, ConnId, bool)> {
        let (exchange, waiting, at) = self.pairable(now, limits)?;
        self.forget(exchange);
        let id = self.idle.remove(at);
        let conn = self.conns.get_mut(&id)?;
        let reader = Box::new(reader(exchange));
        conn.state = State::Busy { exchange, reader };
        conn.priority = waiting.priority;
        self.busy[waiting.priority as usize] += 1;
        Some((exchange, id, conn.used))
    }

    /// The next exchange that can be served, and by which idle connection.
    fn pairable(&self, now: Instant, limits: &Limits) -> Option<(ExchangeId, Waiting, usize)> {
        let serve = |(exchange, waiting): (&ExchangeId, &Waiting)| {
            let fits = |id: &ConnId| !waiting.fresh || self.is_fresh(*id, now, limits);
            let at = self.idle.iter().rposition(fits)?;
            Some((*exchange, *waiting, at))
        };
        // Calls leave the reserve to what must never queue behind them.
        let room = self.busy[Priority::Call as usize] < limits.connections_max;
        let call = || self.calls.first().filter(|_| room).and_then(serve);
        self.control.first().and_then(serve).or_else(call)
    }

    fn is_fresh(&self, id: ConnId, now: Instant, limits: &Limits) -> bool {
        match self.conns.get(&id).map(|conn| &conn.state) {
            Some(State::Idle { since, allowed }) => {
                let idle = now.saturating_duration_since(*since);
                idle <= allowed.unwrap_or(limits.idle_fresh)
            }
            _ => false,
        }
    }

    /// A connection to dial, while more exchanges wait that may leave than are being dialled for and
    /// the ceiling allows it. Idle ones do not count: nobody who waits can use them, and
    /// `make_room` closes what is too much.
    pub(super) fn dial(&mut self, limits: &Limits) -> Option<ConnId> {
        let busy = self.busy[Priority::Call as usize];
        let slots = limits.connections_max.saturating_sub(busy);
        let wanted = self.control.len() + self.calls.len().min(slots);
        let counted = self.conns.len() - self.streams() - self.idle.len();
        if self.dialing >= wanted || counted >= self.ceiling(limits) {
            return None;
        }
        let newest = self.newest_waiting()?;
        Some(self.begin_dial(newest))
    }

    /// Who came last of those who wait for a connection.
    fn newest_waiting(&self) -> Option<ExchangeId> {
        let newest = |queue: &Table<ExchangeId, Waiting>| queue.keys().next_back().copied();
        newest(&self.control).max(newest(&self.calls))
    }

    /// Connections that may be there now, long-lived ones not counted.
    fn ceiling(&self, limits: &Limits) -> usize {
        let reserve = match self.control.len() > self.waiting_streams {
            true => limits.connections_reserve,
            false => 0,
        };
        limits.connections_max + reserve + self.waiting_streams
    }

    /// The oldest idle connection, if there are too many; it is removed.
    pub(super) fn make_room(&mut self, limits: &Limits) -> Option<ConnId> {
        let full = self.conns.len() - self.streams() > self.ceiling(limits);
        let oldest = self.idle.first().copied().filter(|_| full)?;
        self.remove(oldest).map(|_| oldest)
    }

    /// A connection to dial although nobody may wait for it yet. Should that fail, who came after
    /// `newest` has not heard of the server yet.
    pub(super) fn dial_ahead(&mut self, newest: ExchangeId) -> ConnId {
        self.begin_dial(newest)
    }

    /// Connections that are ready or will be, and are not taken.
    pub(super) fn spare(&self) -> usize {
        self.idle.len() + self.dialing
    }

    fn begin_dial(&mut self, newest: ExchangeId) -> ConnId {
        self.dialing += 1;
        self.insert(State::Dialing { newest }, Priority::Control)
    }

    /// A connection to another origin, for one exchange and never kept.
    pub(super) fn dial_for(&mut self, exchange: ExchangeId, priority: Priority) -> ConnId {
        self.busy[priority as usize] += 1;
        self.insert(State::DialingFor { exchange }, priority)
    }

    fn insert(&mut self, state: State, priority: Priority) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        let (used, paused) = (false, false);
        let conn = Conn {
            state,
            priority,
            used,
            paused,
        };
        self.conns.insert(id, conn);
        id
    }

    /// The connection is ready. Returns the exchange that it was made for alone: that is under way
    /// from here on.
    pub(super) fn connected(
        &mut self,
        id: ConnId,
        now: Instant,
        reader: impl FnOnce(ExchangeId) -> Reader,
    ) -> Option<ExchangeId> {
        let conn = self.conns.get_mut(&id)?;
        match conn.state {
            State::DialingFor { exchange } => {
                let reader = Box::new(reader(exchange));
                conn.state = State::Busy { exchange, reader };
                Some(exchange)
            }
            State::Dialing { .. } => {
                self.dialing -= 1;
                let (since, allowed) = (now, None);
                conn.state = State::Idle { since, allowed };
                self.idle.push(id);
                None
            }
            State::Idle { .. } | State::Busy { .. } | State::Upgraded { .. } => None,
        }
    }

    /// The exchange has ended in an upgrade.
    pub(super) fn upgrade(&mut self, id: ConnId, exchange: ExchangeId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.state = State::Upgraded { exchange };
        }
    }

    /// The exchange is over and the connection may serve another.
    pub(super) fn release(&mut self, id: ConnId, now: Instant, allowed: Option<Duration>) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.used = true;
            self.busy[conn.priority as usize] -= 1;
            let since = now;
            conn.state = State::Idle { since, allowed };
            self.idle.push(id);
        }
    }

    /// The connection is gone, or about to be closed.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(&id)?;
        match conn.state {
            State::Dialing { .. } => self.dialing -= 1,
            State::Idle { .. } => self.idle.retain(|idle| *idle != id),
            State::DialingFor { .. } | State::Busy { .. } | State::Upgraded { .. } => {
                self.busy[conn.priority as usize] -= 1;
            }
        }
        Some(conn)
    }

    /// A dial failed: the exchange that has waited longest has to hear it, unless it came later than
    /// the dial began. That one gets a dial of its own.
    pub(super) fn take_waiting(&mut self, newest: ExchangeId) -> Option<ExchangeId> {
        if self.control.len() + self.calls.len() <= self.dialing {
            self.leave_to_others(newest);
            return None;
        }
        let first = |queue: &Table<ExchangeId, Waiting>| queue.keys().next().copied();
        let waited = |exchange: &ExchangeId| *exchange <= newest;
        let control = first(&self.control).filter(waited);
        let exchange = control.or_else(|| first(&self.calls).filter(waited))?;
        self.forget(exchange);
        Some(exchange)
    }

    /// Other dials may still serve those who waited for the one that failed: theirs is the failure now.
    fn leave_to_others(&mut self, newest: ExchangeId) {
        let Some(waits) = self.newest_waiting().filter(|waits| *waits <= newest) else {
            return;
        };
        for conn in self.conns.values_mut() {
            if let State::Dialing { newest } = &mut conn.state {
                *newest = waits.max(*newest);
            }
        }
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
        let oldest = self.conns.get(self.idle.first()?)?;
        let surplus = self.idle.len() > limits.idle_max;
        match oldest.state {
            State::Idle { since, .. } if surplus => Some(since + limits.idle_surplus),
            State::Idle { since, .. } => Some(since + limits.idle_age),
            _ => None,
        }
    }

    /// All idle connections, taken out: the machine slept, or they are no better than a stale one.
    pub(super) fn take_idle(&mut self) -> Vec<ConnId> {
        let idle = self.idle.clone();
        idle.iter().for_each(|id| drop(self.remove(*id)));
        idle
    }

    /// Every connection whose reading is paused, with its exchange.
    pub(super) fn paused(&self) -> Vec<(ConnId, Option<ExchangeId>)> {
        let paused = self.conns.iter().filter(|(_, conn)| conn.paused);
        paused.map(|(id, conn)| (*id, conn.exchange())).collect()
    }

    /// Every connection there is.
    pub(super) fn all(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }

    /// Long-lived exchanges that hold a connection.
    pub(super) fn streams(&self) -> usize {
        self.busy[Priority::Stream as usize]
    }

    /// Those that wait for one.
    pub(super) fn waiting_streams(&self) -> usize {
        self.waiting_streams
    }

    fn idle_for(&self, id: ConnId, now: Instant) -> Duration {
        match self.conns.get(&id).map(|conn| &conn.state) {
            Some(State::Idle { since, .. }) => now.saturating_duration_since(*since),
            _ => Duration::ZERO,
        }
    }
}

impl Conn {
    /// The exchange that it carries.
    pub(super) fn exchange(&self) -> Option<ExchangeId> {
        match self.state {
            State::DialingFor { exchange }
            | State::Busy { exchange, .. }
            | State::Upgraded { exchange } => Some(exchange),
            State::Dialing { .. } | State::Idle { .. } => None,
        }
    }
}
