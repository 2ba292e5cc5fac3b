//! Requests in the works: who asked, what was asked, how far it has come.

use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http, Position};
use crate::bridge::ids::{Requester, Ticket};
use crate::bridge::request::{Request, is_safe};
use crate::config::Limits;
use crate::failure::{Executed, Failure};
use crate::log::Level;
use crate::proto::jsonrpc;
use crate::table::Table;
use std::time::Duration;

/// Names one request of this machine. A later one has a larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(u64);

/// A request and its story so far. While a person decides about it, it is not in this machine: it
/// leaves with the event that says so and comes back to be sent again.
#[derive(Debug)]
pub(crate) struct Call {
    requester: Requester,
    request: Request,
    consent: Option<Consent>,
    approval_rounds: u8,
    pub(super) attempts: Attempts,
    /// Whether an attempt from before the approval may have run.
    ran_before: Executed,
    /// How far its event stream has come.
    pub(super) position: Position,
    /// The session in which the stream's event ids mean something; 0: one without an id.
    pub(super) stream_session: u32,
    /// The workspace's answer that a repeat tries to better.
    pub(super) fallback: Option<Reply>,
}

/// The approval under which a request is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consent {
    /// The approval's id.
    pub(crate) approval_id: Box<str>,
    /// How often the workspace has named the same approval again.
    pub(crate) repeats: u8,
}

/// An answer of the workspace, with the asker's id.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The whole message.
    pub(crate) bytes: Vec<u8>,
    /// The code, if it is an error.
    pub(crate) error: Option<i64>,
}

/// What was tried already: each kind of repeat with its own rule.
#[derive(Debug)]
pub(super) struct Attempts {
    /// After transient failures.
    retries: u8,
    /// Pauses for the rate limit.
    pauses: u8,
    /// In a new session after a lost one: once.
    in_new_session: bool,
    /// With headers that were learnt: once.
    with_new_headers: bool,
    /// With a token that was read anew: once.
    with_new_token: bool,
    /// Before `initialized` was accepted: once.
    early: bool,
    /// Resumptions of its event stream without a message in between.
    stalls: u8,
    /// Whether one that was given up may have run.
    pub(super) ran: Executed,
    /// Why the last one failed.
    pub(super) last_failure: Option<Failure>,
}

impl Attempts {
    fn new() -> Self {
        Self {
            retries: 0,
            pauses: 0,
            in_new_session: false,
            with_new_headers: false,
            with_new_token: false,
            early: false,
            stalls: 0,
            ran: Executed::No,
            last_failure: None,
        }
    }

    /// Another try after a transient failure: the pause before it, doubled each time.
    pub(super) fn retry(&mut self, limits: &Limits) -> Option<Duration> {
        if self.retries >= limits.retries_max {
            return None;
        }
        self.retries += 1;
        Some(limits.retry_pause * (1 << self.retries))
    }

    /// True while a retry is left.
    pub(super) fn may_retry(&self, limits: &Limits) -> bool {
        self.retries < limits.retries_max
    }

    /// Another pause for the rate limit: how long, given what the server asked for. Its zero, and a
    /// moment that has passed, say nothing: those pauses grow, and are few.
    pub(super) fn pause(&mut self, hint: Duration, limits: &Limits) -> Option<Duration> {
        let rounds = match hint.is_zero() {
            true => limits.rate_limit_guesses,
            false => limits.rate_limit_rounds,
        };
        if self.pauses >= rounds {
            return None;
        }
        let guess = limits.rate_limit_guess * (1 << self.pauses.min(4));
        self.pauses += 1;
        Some(if hint.is_zero() { guess } else { hint })
    }

    pub(super) fn new_session(&mut self) -> bool {
        !std::mem::replace(&mut self.in_new_session, true)
    }

    pub(super) fn new_headers(&mut self) -> bool {
        !std::mem::replace(&mut self.with_new_headers, true)
    }

    pub(super) fn new_token(&mut self) -> bool {
        !std::mem::replace(&mut self.with_new_token, true)
    }

    /// It left before `initialized` was accepted and was refused for that: not again.
    pub(super) fn left_too_early(&mut self) {
        self.early = true;
    }

    pub(super) fn may_leave_early(&self) -> bool {
        !self.early
    }

    /// Another resumption of the event stream: the pause before it; `None` if the stream stood still
    /// too often.
    pub(super) fn resume(
        &mut self,
        delivered: bool,
        retry_ms: Option<u64>,
        limits: &Limits,
    ) -> Option<Duration> {
        self.stalls = match delivered {
            true => 1,
            false => self.stalls.saturating_add(1),
        };
        let pause = match retry_ms {
            Some(retry_ms) => limits.reconnect_pause(retry_ms),
            None => limits.stream_retry,
        };
        (self.stalls <= limits.resumes_max).then_some(pause)
    }
}

/// Where a request stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for the session.
    Parked,
    /// Its exchange with the workspace.
    Exchange(ExchangeId),
    /// It is sent again after a pause.
    Pause,
    /// It waits for the end of the rate limit's pause.
    RateLimit,
    /// Its event stream is resumed after a pause.
    Resume,
    /// It waits for the list of tools that its headers depend on.
    Headers,
    /// It waits for the token file, read again after a 401.
    Token,
    /// Its exchange ended without an answer, which may come on the session's event stream.
    Elsewhere,
}

impl Stage {
    /// True while the workspace may have the request and its answer may come.
    pub(super) fn has_left(&self, http: &Http) -> bool {
        match self {
            Stage::Exchange(exchange) => !http.is_waiting(*exchange),
            Stage::Resume | Stage::Elsewhere => true,
            Stage::Parked | Stage::Pause | Stage::RateLimit | Stage::Headers | Stage::Token => {
                false
            }
        }
    }
}

impl Call {
    pub(crate) fn new(requester: Requester, request: Request) -> Self {
        Self {
            requester,
            request,
            consent: None,
            approval_rounds: 0,
            attempts: Attempts::new(),
            ran_before: Executed::No,
            position: Position::default(),
            stream_session: 0,
            fallback: None,
        }
    }

    /// Who wants the answer.
    pub(crate) fn requester(&self) -> Requester {
        self.requester
    }

    /// What is asked.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The approval under which it was sent, if any.
    pub(crate) fn consent(&self) -> Option<&Consent> {
        self.consent.as_ref()
    }

    /// Whether an attempt that was given up may have run.
    pub(crate) fn ran(&self) -> Executed {
        self.attempts.ran.max(self.ran_before)
    }

    /// The answer that tells the host of a failure: which request, what happened, whether it may have
    /// run, what to do next.
    pub(crate) fn failure_answer(&self, ctx: &mut Context, failure: &Failure) -> Vec<u8> {
        let ran = self.ran();
        let message = failure.message(&self.request.label(), &ctx.origin(), ran);
        let message = ctx.masked(&message);
        let data = failure.data(ran);
        let answer = jsonrpc::error(
            self.request.id(),
            jsonrpc::INTERNAL_ERROR,
            &message,
            Some(&data),
        );
        ctx.log(Level::Warn, || message);
        answer
    }

    /// The approval that a failed request has not used up: it is proved that nothing ran.
    pub(crate) fn unused_consent(&self, failure: &Failure) -> Option<&str> {
        let ran = failure.executed().max(self.attempts.ran);
        let consent = self.consent.as_ref().filter(|_| ran == Executed::No);
        consent.map(|consent| &*consent.approval_id)
    }

    /// It is told to wait for one more approval; false after `most` of them.
    pub(crate) fn begin_round(&mut self, most: u8) -> bool {
        let allowed = self.approval_rounds < most;
        self.approval_rounds += u8::from(allowed);
        allowed
    }

    /// The same request, as a person approved it: what was tried before uses up neither the approval
    /// nor its attempts.
    pub(crate) fn approve(&mut self, approved: Request, approval_id: &str) {
        self.request = approved;
        self.ran_before = self.ran();
        self.attempts = Attempts::new();
        self.position = Position::default();
        let (approval_id, repeats) = (approval_id.into(), 0);
        self.consent = Some(Consent {
            approval_id,
            repeats,
        });
    }

    /// The workspace named the approval again that it has; false after `most` times.
    pub(crate) fn begin_repeat(&mut self, most: u8) -> Option<u8> {
        let consent = self.consent.as_mut()?;
        let before = consent.repeats;
        consent.repeats = before.saturating_add(1);
        (before < most).then_some(before)
    }

    /// A new id on the wire.
    pub(super) fn rename(&mut self, new_id: &str) {
        self.request.rename(new_id);
    }

    /// The host has its answer: from here on the request is the gateway's.
    pub(super) fn disown(&mut self) {
        self.requester = Requester::Nobody;
    }

    /// True where a second execution does no harm. What a person approved is repeated only where the
    /// workspace promised to execute each approval once.
    pub(super) fn may_repeat(&self, at_most_once: bool) -> bool {
        match self.consent {
            Some(_) => at_most_once,
            None => is_safe(self.request.method()),
        }
    }

    /// The handshake of the legacy era.
    pub(super) fn is_initialize(&self) -> bool {
        self.request.method() == "initialize"
    }

    pub(super) fn is_subscription(&self) -> bool {
        self.request.method() == "subscriptions/listen"
    }
}

/// All requests of this machine.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: u64,
    calls: Table<CallId, Box<(Call, Stage)>>,
    by_ticket: Table<Ticket, CallId>,
    bytes: usize,
}

impl Calls {
    pub(super) fn insert(&mut self, call: Call, stage: Stage) -> CallId {
        self.next += 1;
        let id = CallId(self.next);
        if let Requester::Host(ticket) = call.requester {
            self.by_ticket.insert(ticket, id);
        }
        self.bytes += call.request.cost();
        self.calls.insert(id, Box::new((call, stage)));
        id
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<(Call, Stage)> {
        let (call, stage) = *self.calls.remove(&id)?;
        if let Requester::Host(ticket) = call.requester {
            self.by_ticket.remove(&ticket);
        }
        self.bytes = self.bytes.saturating_sub(call.request.cost());
        Some((call, stage))
    }

    pub(super) fn get(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id).map(|entry| &entry.0)
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id).map(|entry| &mut entry.0)
    }

    pub(super) fn stage(&self, id: CallId) -> Option<&Stage> {
        self.calls.get(&id).map(|entry| &entry.1)
    }

    /// The exchange of a report that is on its way.
    pub(super) fn report(&self, id: CallId) -> Option<ExchangeId> {
        match &**self.calls.get(&id)? {
            (call, Stage::Exchange(exchange)) if call.requester == Requester::Report => {
                Some(*exchange)
            }
            _ => None,
        }
    }

    pub(super) fn enter(&mut self, id: CallId, stage: Stage) {
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.1 = stage;
        }
    }

    /// The text of a request has changed: its cost may have.
    pub(super) fn rename(&mut self, id: CallId, new_id: &str) {
        if let Some(call) = self.get_mut(id) {
            let before = call.request.cost();
            call.rename(new_id);
            let now = call.request.cost();
            self.bytes = (self.bytes + now).saturating_sub(before);
        }
    }

    /// A request of the host becomes one of the gateway's own.
    pub(super) fn disown(&mut self, id: CallId) {
        if let Some(entry) = self.calls.get_mut(&id) {
            let call = &mut entry.0;
            if let Requester::Host(ticket) = call.requester {
                self.by_ticket.remove(&ticket);
            }
            call.disown();
        }
    }

    pub(super) fn of_ticket(&self, ticket: Ticket) -> Option<CallId> {
        self.by_ticket.get(&ticket).copied()
    }

    /// The gateway's own requests for a call of the host.
    pub(super) fn for_ticket(&self, ticket: Ticket) -> Vec<CallId> {
        let own =
            |call: &Call| !call.requester.is_host() && call.requester.ticket() == Some(ticket);
        let mine = self.calls.iter().filter(|(_, entry)| own(&entry.0));
        mine.map(|(id, _)| *id).collect()
    }

    /// The request that the workspace knows by this raw id.
    pub(super) fn on_wire(&self, raw_id: &str) -> Option<CallId> {
        let same = |call: &Call| crate::proto::jsonrpc::same_id(call.request.wire_id(), raw_id);
        let found = self.calls.iter().find(|(_, entry)| same(&entry.0));
        found.map(|(id, _)| *id)
    }

    /// All requests, oldest first.
    pub(super) fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    /// Requests that stand there.
    pub(super) fn at(&self, wanted: impl Fn(&Stage) -> bool) -> Vec<CallId> {
        let there = self.calls.iter().filter(|(_, entry)| wanted(&entry.1));
        there.map(|(id, _)| *id).collect()
    }

    /// Requests of the host.
    pub(super) fn hosts(&self) -> usize {
        self.by_ticket.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_a_limiter_that_names_none_grow_and_are_few() {
        let limits = Limits::default();
        let mut attempts = Attempts::new();
        let mut pauses = Vec::new();
        while let Some(pause) = attempts.pause(Duration::ZERO, &limits) {
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2]);
        let mut attempts = Attempts::new();
        let hint = Duration::from_secs(7);
        let named = std::iter::from_fn(|| attempts.pause(hint, &limits));
        assert_eq!(named.collect::<Vec<_>>(), vec![hint; 8]);
    }

    #[test]
    fn a_stream_that_stands_still_is_given_up_one_that_moves_is_not() {
        let limits = Limits::default();
        let mut attempts = Attempts::new();
        let stands = std::iter::from_fn(|| attempts.resume(false, None, &limits));
        assert_eq!(stands.count(), 5);
        let mut attempts = Attempts::new();
        let pauses: Vec<_> = (0..300)
            .map_while(|_| attempts.resume(true, Some(0), &limits))
            .collect();
        assert_eq!(pauses.len(), 300);
        assert!(pauses.iter().all(|pause| *pause == limits.reconnect_min));
    }
}
