//! The rate limit's pause: one for the whole token. Requests that wait for its end stand in the
//! table of calls; messages that want no answer are kept here.

use super::{Notice, Timer};
use crate::bridge::context::Context;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gate {
    until: Option<Instant>,
    notices: Vec<Notice>,
    /// What the notices cost; asked for at each input.
    bytes: usize,
}

impl Gate {
    /// True while nothing may leave.
    pub(super) fn is_closed(&self) -> bool {
        self.until.is_some()
    }

    /// Nothing leaves for so long from now; a longer pause that runs already stays.
    pub(super) fn close(&mut self, ctx: &mut Context, pause: Duration) {
        let until = ctx.now() + pause;
        if self.until.is_none_or(|later| later < until) {
            self.until = Some(until);
            ctx.set_at(Timer::RateLimit, until);
        }
    }

    /// The pause is over: the messages that waited for its end.
    pub(super) fn open(&mut self) -> Vec<Notice> {
        self.until = None;
        self.bytes = 0;
        std::mem::take(&mut self.notices)
    }

    /// A message waits for the end of the pause.
    pub(super) fn keep(&mut self, notice: Notice) {
        self.bytes += notice.cost();
        self.notices.push(notice);
    }

    /// What the messages that wait here cost, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new session begins: `initialized` of the old one is void.
    pub(super) fn drop_confirmation(&mut self) {
        self.notices.retain(|notice| !notice.confirms);
        self.bytes = self.notices.iter().map(Notice::cost).sum();
    }
}
