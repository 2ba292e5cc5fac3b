//! The end: answers in flight are still delivered, then everyone is told, then the process leaves.
//!
//! ```text
//!   Running ── stdin ends, SIGTERM ──▶ Draining ── quiet, or time over ──▶ Farewell ──▶ Over
//! ```
//!
//! Owns how far the end has come. What is said at each step is the bridge's to do.

use super::context::{self, Context};
use std::time::{Duration, Instant};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The end has not begun.
    Running,
    /// Answers in flight are waited for until then.
    Draining(Instant),
    /// Approvals are cancelled, presence ends, the session is given back.
    Farewell,
    /// `Exit` was put out.
    Over,
}

impl Phase {
    /// True once the end has begun.
    pub(crate) fn is_ending(self) -> bool {
        self != Phase::Running
    }

    /// True once nothing new may start.
    pub(crate) fn is_farewell(self) -> bool {
        matches!(self, Phase::Farewell | Phase::Over)
    }

    /// True once the last words have been said.
    pub(crate) fn is_over(self) -> bool {
        self == Phase::Over
    }
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Answers in flight have had their time.
    Drain,
    /// Whatever else is still to be said, the session is given back.
    Delete,
    /// The farewell has had its time.
    Farewell,
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        context::Timer::Shutdown(timer)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    is_terminated: bool,
}

impl Shutdown {
    /// Waits for answers in flight, at most so long from now. True if the end begins with this.
    pub(crate) fn drain(&mut self, ctx: &mut Context, limit: Duration) -> bool {
        let deadline = ctx.now() + limit;
        let begins = match ctx.phase() {
            Phase::Running => true,
            Phase::Draining(later) if deadline < later => false,
            Phase::Draining(_) | Phase::Farewell | Phase::Over => return false,
        };
        ctx.enter(Phase::Draining(deadline));
        ctx.set_at(Timer::Drain, deadline);
        begins
    }

    /// A signal to end has come; true for a second one, which ends at once.
    pub(crate) fn terminate(&mut self) -> bool {
        std::mem::replace(&mut self.is_terminated, true)
    }

    /// The last words are said from now on. False if they are already.
    pub(crate) fn begin_farewell(&mut self, ctx: &mut Context) -> bool {
        if ctx.phase().is_farewell() {
            return false;
        }
        ctx.stop(Timer::Drain);
        ctx.enter(Phase::Farewell);
        let farewell = ctx.limits().farewell;
        ctx.set(Timer::Delete, farewell / 2);
        ctx.set(Timer::Farewell, farewell);
        true
    }

    /// The process leaves. False if it has.
    pub(crate) fn exit(&mut self, ctx: &mut Context) -> bool {
        let leaves = ctx.phase() != Phase::Over;
        ctx.enter(Phase::Over);
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::testing::context;

    #[test]
    fn a_signal_shortens_a_drain_and_nothing_lengthens_it() {
        let mut ctx = context(&[]);
        let mut shutdown = Shutdown::default();
        assert!(shutdown.drain(&mut ctx, Duration::from_secs(3)));
        assert!(!shutdown.drain(&mut ctx, Duration::from_secs(1)));
        let ends = ctx.now() + Duration::from_secs(1);
        assert_eq!(
            (ctx.phase(), ctx.next_timeout()),
            (Phase::Draining(ends), Some(ends))
        );
        assert!(!shutdown.drain(&mut ctx, Duration::from_secs(2)));
        assert_eq!(ctx.phase(), Phase::Draining(ends));
        assert!(!shutdown.terminate() && shutdown.terminate());
        assert!(shutdown.begin_farewell(&mut ctx) && !shutdown.begin_farewell(&mut ctx));
        // The session's end is asked for in the first half of the farewell.
        let half = ctx.now() + ctx.limits().farewell / 2;
        assert_eq!(ctx.next_timeout(), Some(half));
        assert!(!shutdown.drain(&mut ctx, Duration::ZERO));
        assert!(shutdown.exit(&mut ctx) && !shutdown.exit(&mut ctx));
    }
}
