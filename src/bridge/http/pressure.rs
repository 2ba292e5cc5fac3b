//! Back-pressure to the network: which responses may still be read while much waits already.
//!
//! While stdout takes less than comes, nothing is read. While the budget is used up, small
//! responses are read all the same, so that a large one which has stopped holds up nobody; of the
//! large ones one goes on at a time, and has room for a whole message. A large one that has stopped
//! loses its turn, and in the end its place: where no room is left for any, and where the host is not
//! heard for want of room.

use super::{ExchangeId, Http, Timer};
use crate::bridge::Output;
use crate::bridge::context::Context;
use crate::failure::Failure;
use crate::proto::transport::ConnId;
use crate::table::Table;
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Bytes of responses that are no whole messages yet.
    pending: Table<ExchangeId, usize>,
    total: usize,
    /// The connection that was read last: whether it is read on is decided behind the input.
    touched: Option<ConnId>,
    paused: bool,
    /// The large response whose turn it is, and what it had when that was looked at.
    turn: Option<(ExchangeId, usize)>,
    /// How long no turn has brought anything.
    idle: Duration,
}

impl Pressure {
    /// A response now holds so many bytes.
    pub(super) fn holds(&mut self, id: ExchangeId, bytes: usize) {
        let old = match bytes {
            0 => self.pending.remove(&id),
            bytes => self.pending.insert(id, bytes),
        };
        self.total = self.total + bytes - old.unwrap_or(0);
    }

    /// A response is complete, or nobody wants it any more.
    pub(super) fn forget(&mut self, id: ExchangeId) {
        self.holds(id, 0);
        self.turn = self.turn.filter(|(turn, _)| *turn != id);
    }

    pub(super) fn touched(&mut self, conn: ConnId) {
        self.touched = Some(conn);
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.total
    }

    fn of(&self, id: ExchangeId) -> usize {
        self.pending.get(&id).copied().unwrap_or(0)
    }
}

impl Http {
    /// Pauses what must not be read on, resumes what may.
    pub(super) fn balance(&mut self, ctx: &mut Context) {
        if let Some(conn) = self.pressure.touched.take() {
            self.hold_back(ctx, conn);
        }
        if ctx.is_deaf() && self.pressure.total > 0 && !ctx.runs(Timer::Stalled) {
            ctx.set(Timer::Stalled, ctx.limits().stalled_after);
        }
        if !self.pressure.paused {
            return;
        }
        self.pressure.paused = false;
        for (conn, exchange) in self.pool.paused() {
            if self.may_read(ctx, exchange) {
                self.set_paused(conn, false);
                ctx.emit(Output::Resume(conn));
            } else {
                self.pressure.paused = true;
            }
        }
    }

    fn hold_back(&mut self, ctx: &mut Context, conn: ConnId) {
        let Some(entry) = self.pool.get_mut(conn) else {
            return;
        };
        let (exchange, paused) = (entry.exchange(), entry.paused);
        if paused || self.may_read(ctx, exchange) {
            return;
        }
        self.set_paused(conn, true);
        self.pressure.paused = true;
        ctx.emit(Output::Pause(conn));
        if !ctx.runs(Timer::Stalled) {
            ctx.set(Timer::Stalled, ctx.limits().stalled_after);
        }
    }

    fn set_paused(&mut self, conn: ConnId, paused: bool) {
        if let Some(conn) = self.pool.get_mut(conn) {
            conn.paused = paused;
        }
    }

    fn may_read(&mut self, ctx: &Context, exchange: Option<ExchangeId>) -> bool {
        if ctx.is_stdout_full() {
            return false;
        }
        let Some(id) = exchange.filter(|_| ctx.is_full()) else {
            return true;
        };
        let pending = self.pressure.of(id);
        if pending < ctx.limits().small_reply_bytes {
            return true;
        }
        let (turn, _) = *self.pressure.turn.get_or_insert((id, pending));
        turn == id && !is_exhausted(ctx)
    }

    /// A large response whose turn it is but that has stopped makes way for the next; where there is
    /// no room for any, the largest that has stopped fails.
    pub(super) fn look_for_stalled(&mut self, ctx: &mut Context) {
        let deaf = ctx.is_deaf();
        if !(ctx.is_full() || deaf) || self.pressure.pending.is_empty() {
            self.pressure.idle = Duration::ZERO;
            return;
        }
        ctx.set(Timer::Stalled, ctx.limits().stalled_after);
        if ctx.is_stdout_full() {
            return;
        }
        let small = ctx.limits().small_reply_bytes;
        let is_large = |(_, bytes): &(&ExchangeId, &usize)| **bytes >= small;
        match self.pressure.turn {
            Some((id, before)) if self.pressure.of(id) > before => {
                self.pressure.turn = Some((id, self.pressure.of(id)));
                self.pressure.idle = Duration::ZERO;
                return;
            }
            _ => {}
        }
        self.pressure.idle += ctx.limits().stalled_after;
        let waited = deaf && self.pressure.idle >= ctx.limits().stalled_max();
        if is_exhausted(ctx) || waited {
            self.pressure.idle = Duration::ZERO;
            let large = self.pressure.pending.iter().filter(is_large);
            if let Some(id) = large.max_by_key(|(_, bytes)| **bytes).map(|(id, _)| *id) {
                self.break_off(ctx, id, Failure::NoMemory(self.pressure.of(id)));
            }
            return;
        }
        let after = self.pressure.turn.map(|(id, _)| id);
        let mut large = self.pressure.pending.iter().filter(is_large);
        let next = large.clone().find(|(id, _)| Some(**id) > after);
        let next = next.or_else(|| large.next());
        self.pressure.turn = next.map(|(id, bytes)| (*id, *bytes));
    }
}

/// The budget is used up, and the room that is left for one message beyond it, too.
fn is_exhausted(ctx: &Context) -> bool {
    let limits = ctx.limits();
    ctx.held_bytes() >= limits.held_max_bytes + limits.message_max_bytes
}
