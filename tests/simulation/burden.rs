//! What the judge counts: bytes that wait, and time that exchanges take.

use super::*;
use std::time::Duration;

/// A timer fires within this.
const SLACK_US: u64 = 5_000;

impl Judge {
    /// Bytes that the engine was given and has not let go of, as far as anybody can tell from outside:
    /// requests without an answer, notifications that did not leave, messages that are not whole.
    pub(crate) fn held(&mut self) -> usize {
        // What could not be delivered in its time is dropped.
        let time = micros(self.limits.control_timeout);
        let now_us = self.now_us;
        while self
            .notices
            .front()
            .is_some_and(|(at, _)| at + time <= now_us)
        {
            self.notices.pop_front();
        }
        let open: usize = self.open.values().map(|at| self.asked[*at].bytes).sum();
        let notices: usize = self.notices.iter().map(|(_, bytes)| bytes).sum();
        let coming: usize = self.coming.values().sum();
        self.partial.len() + open + notices + coming
    }

    /// The engine is about to be handed bytes of a response; marks say where a message ends.
    pub(crate) fn received(&mut self, conn: ConnId, bytes: usize) {
        let ends = |mark: &Mark| {
            !matches!(
                mark,
                Mark::Refused | Mark::Gated(_) | Mark::Edited { .. } | Mark::Decided { .. }
            )
        };
        // What a WebSocket brings is mostly no message.
        let flight = self.flights.get(&conn);
        if flight.is_none_or(|flight| flight.what == What::Socket) {
            return;
        }
        match self.marks.iter().any(ends) {
            true => self.coming.remove(&conn),
            false => {
                *self.coming.entry(conn).or_default() += bytes;
                None
            }
        };
    }

    /// A notification or an answer of the host has left.
    pub(super) fn leaves(&mut self, request: &HttpRequest) {
        let is_notice =
            |message: &Message| matches!(message.kind, Kind::Notification | Kind::Response);
        if request.message.as_ref().is_some_and(is_notice) {
            let len = request.body.len();
            let place = self.notices.iter().position(|(_, bytes)| *bytes == len);
            if let Some(place) = place {
                self.notices.remove(place);
            }
        }
    }

    /// How long an exchange of this kind may take: the host's own requests and streams as long as
    /// they like, all else has its limit.
    pub(super) fn within_us(
        &self,
        request: &HttpRequest,
        what: What,
        asked: Option<usize>,
    ) -> Option<u64> {
        let control = matches!(what, What::Other | What::Initialized | What::Reopen);
        let ours = request.message.as_ref().is_none_or(|message| {
            message.kind != Kind::Request || message.is_gateways() && asked.is_none()
        });
        match what {
            What::Socket => Some(micros(self.limits.upgrade_timeout)),
            _ if control && ours => Some(micros(self.limits.control_timeout)),
            What::Initialize(_) | What::Reopen | What::Initialized | What::Stream | What::Other => {
                None
            }
        }
    }

    /// Every exchange ends: by answer, failure or deadline (I12).
    pub(super) fn check_deadlines(&mut self, now_us: u64) -> Verdict {
        self.now_us = now_us;
        let late = self.flights.iter().find(|(_, flight)| {
            let within = flight.within_us.map(|us| us + SLACK_US);
            within.is_some_and(|us| flight.began_us + us < now_us)
        });
        match late {
            Some((conn, flight)) => Err(format!(
                "{conn:?} has been open since {} us, past its deadline (I12): {}",
                flight.began_us, flight.text
            )),
            None => Ok(()),
        }
    }

    /// Every request bears the token of the moment, or the one before it.
    pub(super) fn check_token(&self, request: &HttpRequest) -> Verdict {
        let token = request.header("authorization");
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        match token.is_some_and(|token| self.tokens.contains(token)) {
            true => Ok(()),
            false => Err("no bearer token".to_owned()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}
