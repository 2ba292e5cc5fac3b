//! The session's event stream (GET): open, lost, opened again. It sends nothing itself.

use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Position};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(super) enum Stream {
    /// None is offered, or none is wanted yet.
    #[default]
    Absent,
    /// Asked for, or open.
    Under {
        exchange: ExchangeId,
        is_open: bool,
        past: Past,
    },
    /// It is opened again after a pause.
    Pausing { past: Past },
}

/// What the stream was before.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// It has been open in this session.
    was_open: bool,
    /// Ends in a row without a message in between.
    failures: u8,
    pub(super) position: Position,
}

impl Stream {
    /// The exchange, while there is one.
    pub(super) fn exchange(&self) -> Option<ExchangeId> {
        match self {
            Stream::Under { exchange, .. } => Some(*exchange),
            Stream::Absent | Stream::Pausing { .. } => None,
        }
    }

    /// True while messages can come on it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Stream::Under { is_open: true, .. })
    }

    /// True if it has been open in this session.
    pub(super) fn was_open(&self) -> bool {
        match self {
            Stream::Absent => false,
            Stream::Under { past, .. } | Stream::Pausing { past } => past.was_open,
        }
    }

    /// What it was before, taken out to begin again.
    pub(super) fn take_past(&mut self) -> Past {
        match std::mem::take(self) {
            Stream::Absent => Past::default(),
            Stream::Under { past, .. } | Stream::Pausing { past } => past,
        }
    }

    /// The server has answered with an event stream.
    pub(super) fn opened(&mut self) {
        if let Stream::Under { is_open, past, .. } = self {
            (*is_open, past.was_open) = (true, true);
        }
    }

    /// It was refused with this status. "405: none offered; not an error", and so are other refusals
    /// of a first one; but what was open once comes back. Returns the pause before the next attempt.
    pub(super) fn refused(&mut self, ctx: &mut Context, status: u16) -> Option<Duration> {
        let Stream::Under { past, .. } = self else {
            return None;
        };
        if !past.was_open && !matches!(status, 409 | 429 | 500..) {
            *self = Stream::Absent;
            return None;
        }
        self.ended(ctx, Position::default(), false)
    }

    /// It ended, or its connection did. Returns the pause before it is opened again.
    pub(super) fn ended(
        &mut self,
        ctx: &mut Context,
        position: Position,
        delivered: bool,
    ) -> Option<Duration> {
        let mut past = self.take_past();
        past.position.advance(position);
        past.failures = match delivered {
            true => 0,
            false => past.failures.saturating_add(1),
        };
        if !past.was_open && past.failures > ctx.limits().retries_max {
            return None;
        }
        let pause = match past.position.retry_ms {
            Some(retry_ms) => ctx.limits().reconnect_pause(retry_ms),
            None => {
                let doubled = ctx.limits().stream_retry * (1 << past.failures.min(5));
                let pause = doubled.min(ctx.limits().stream_retry_max);
                ctx.random().around(pause, 10)
            }
        };
        *self = Stream::Pausing { past };
        Some(pause)
    }

    /// The server can be reached again. True if the pause is of our own making and has grown: then it
    /// is over.
    pub(super) fn hurry(&mut self) -> bool {
        let Stream::Pausing { past } = self else {
            return false;
        };
        let hurries = past.position.retry_ms.is_none() && past.failures > 1;
        if hurries {
            past.failures = 0;
        }
        hurries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::testing::context;

    fn under(past: Past) -> Stream {
        let exchange = crate::bridge::http::testing::exchange(1);
        let is_open = past.was_open;
        Stream::Under {
            exchange,
            is_open,
            past,
        }
    }

    fn was_open() -> Past {
        Past {
            was_open: true,
            ..Past::default()
        }
    }

    #[test]
    fn a_refusal_of_what_was_open_once_is_not_the_end() {
        let mut ctx = context(&[]);
        for status in [400, 401, 404, 405, 409, 429, 503] {
            let mut stream = under(was_open());
            assert!(stream.refused(&mut ctx, status).is_some());
            assert!(matches!(stream, Stream::Pausing { .. }), "{status}");
            let mut first = under(Past::default());
            let again = first.refused(&mut ctx, status).is_some();
            assert_eq!(again, matches!(status, 409 | 429 | 503), "{status}");
        }
    }

    #[test]
    fn pauses_grow_up_to_half_a_minute_and_a_first_one_is_given_up() {
        let mut ctx = context(&[]);
        let mut stream = under(was_open());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let pause = stream.ended(&mut ctx, Position::default(), false);
            pauses.push(pause.expect("it was open").as_secs_f64().round() as u64);
            stream = under(stream.take_past());
        }
        assert!(
            pauses[0] <= 3 && *pauses.last().expect("seven") >= 27,
            "{pauses:?}"
        );
        let mut stream = under(Past::default());
        let mut attempts = 0;
        while stream.ended(&mut ctx, Position::default(), false).is_some() {
            stream = under(stream.take_past());
            attempts += 1;
        }
        assert_eq!(attempts, 3);
    }
}
