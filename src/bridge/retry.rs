//! Failures: what is repeated, what waits for the rate limit, what the host is told.

use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, Era, TaskId};
use super::session::Parked;
use super::task::{Lane, Notice, NoticeKind, Purpose, Task};
use super::timer::TimerId;
use super::{Bridge, Output, Timer};
use crate::config::Token;
use crate::failure::{Executed, Failure, Refusal};
use crate::log::Level;
use crate::proto::http::response::{ResponseHead, RetryAfter};
use crate::proto::jsonrpc::{self, Parsed};
use std::time::{Duration, Instant};

/// The code of our own errors: "-32603 or a code outside -32768..-32000".
const INTERNAL_ERROR: i64 = -32603;

/// The rate limit's pause: one for the whole token.
#[derive(Debug, Default)]
pub(super) struct Gate {
    until: Option<(Instant, TimerId)>,
    calls: Vec<CallId>,
    pub(super) notices: Vec<Notice>,
}

impl Gate {
    pub(super) fn is_closed(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn park(&mut self, call: CallId) {
        self.calls.push(call);
    }

    /// A new session begins: `initialized` of the old one is void.
    pub(super) fn drop_confirmation(&mut self) {
        self.notices
            .retain(|notice| notice.kind != NoticeKind::Initialized);
    }
}

impl Bridge {
    /// The workspace said no by its HTTP status.
    pub(super) fn refused(
        &mut self,
        id: TaskId,
        task: Task,
        head: Box<ResponseHead>,
        body: Vec<u8>,
    ) {
        if let Some(target) = self.redirect_target(&task, &head) {
            return self.follow(task, target);
        }
        let session = task.session;
        match task.purpose {
            Purpose::Request(call) => self.request_refused(id, task, call, head, body),
            Purpose::Notice(notice) => self.notice_refused(notice, session, &head, &body),
            Purpose::EventStream => self.stream_refused(head.status, session),
            Purpose::Resume(call) => self.resume_refused(call, head.status),
            Purpose::Upgrade(watch) => {
                let failure = Failure::Status(self.refusal(&head, &body));
                self.socket_refused(watch, &failure);
            }
            Purpose::Status(watch) => self.polled(watch, None),
            Purpose::Delete(_) => {}
        }
    }

    fn request_refused(
        &mut self,
        id: TaskId,
        task: Task,
        call: CallId,
        head: Box<ResponseHead>,
        body: Vec<u8>,
    ) {
        let Some(entry) = self.calls.get(call) else {
            return;
        };
        let verdict = rpc_error(&body, entry.id_on_wire());
        if self.is_session_loss(task.session, head.status, verdict.as_ref()) && !entry.resent {
            return self.resend_in_new_session(call, task.session);
        }
        let refusal = self.refusal(&head, &body);
        match head.status {
            429 if self.pause_for(call, &refusal) => {}
            401 if self.ask_for_token(call, task.token, &refusal) => {}
            401 | 403 | 429 => self.request_failed(call, Failure::Status(refusal)),
            // A transient failure of something harmless is repeated before anybody hears of it.
            500.. if self.may_retry(call) => self.request_failed(call, Failure::Status(refusal)),
            // "Error statuses carry JSON-RPC bodies that must reach the client unchanged".
            _ if verdict.is_some() => {
                let body = self.secrets.hide_bytes(body);
                if jsonrpc::parse(&body).is_err() {
                    // A secret that was a number: no message is left.
                    return self.request_failed(call, Failure::Status(refusal));
                }
                self.say_failed(call, &Failure::Status(refusal));
                self.tasks.restore(
                    id,
                    Task {
                        conn: None,
                        head: Some(head),
                        ..task
                    },
                );
                let delivered = self.deliver(id, body);
                debug_assert!(delivered.is_ok(), "it was parsed just now");
                self.tasks.remove(id);
            }
            _ => self.request_failed(call, Failure::Status(refusal)),
        }
    }

    /// "404 with a session id: the client MUST start a new session", unless it is the modern
    /// -32601; some servers answer 400 with words about the session.
    pub(super) fn is_session_loss(
        &self,
        session: u32,
        status: u16,
        verdict: Option<&RpcError>,
    ) -> bool {
        if session == 0 || self.session.initialize.is_none() {
            return false;
        }
        let had_id = self.session.id.is_some() || session != self.session.generation;
        match status {
            404 => had_id && verdict.is_none_or(|error| error.code != -32601),
            400 => had_id && verdict.is_some_and(|error| !error.has_id && error.speaks_of_session),
            _ => false,
        }
    }

    pub(super) fn refusal(&self, head: &ResponseHead, body: &[u8]) -> Refusal {
        let (words, html) = self.quoted(body);
        Refusal {
            status: head.status,
            retry_after_s: retry_hint(head, self.now.wall_ms / 1_000),
            location: head.location.as_deref().map(|text| self.clean(text, 200)),
            words,
            html,
        }
    }

    /// "429 … is waited out when the wait is at most 30 s, one gate for the whole token". False if it
    /// can not be waited out.
    fn pause_for(&mut self, id: CallId, refusal: &Refusal) -> bool {
        let Some(wait) = self.close_gate(refusal) else {
            return false;
        };
        let rounds = self.config.limits.rate_limit_rounds;
        let Some(call) = self.calls.get_mut(id).filter(|call| call.pauses < rounds) else {
            return false;
        };
        call.pauses += 1;
        call.waiting = Waiting::RateLimit;
        call.last_failure = Some(Failure::Status(refusal.clone()));
        let label = call.label();
        self.gate.park(id);
        self.log(Level::Info, || {
            format!("rate limit: {label} waits {} s", wait.as_secs())
        });
        true
    }

    pub(super) fn close_gate(&mut self, refusal: &Refusal) -> Option<Duration> {
        let wait = Duration::from_secs(refusal.retry_after_s?);
        if wait > self.config.limits.rate_limit_wait_max || self.ending.is_over() {
            return None;
        }
        let wait = wait.max(Duration::from_millis(100));
        let until = self.now.mono + wait;
        match self.gate.until {
            Some((later, _)) if later >= until => {}
            earlier => {
                self.disarm(earlier.map(|(_, timer)| timer));
                let timer = self.timers.insert(until, Timer::RateLimit);
                self.gate.until = Some((until, timer));
            }
        }
        Some(wait)
    }

    pub(super) fn rate_limit_over(&mut self) {
        self.gate.until = None;
        for notice in std::mem::take(&mut self.gate.notices) {
            let of_session = notice.kind == NoticeKind::Other && notice.era == Era::Legacy;
            if of_session && self.session.is_closed() {
                self.session
                    .parked
                    .push_back(Parked::Notice(notice.message));
            } else {
                self.start(Task::new(Purpose::Notice(notice), Lane::Urgent));
            }
        }
        for call in std::mem::take(&mut self.gate.calls) {
            // Cancelled ones are gone; none can have left by another way.
            if self
                .calls
                .get(call)
                .is_some_and(|call| matches!(call.waiting, Waiting::RateLimit))
            {
                self.launch(call);
            }
        }
    }

    /// A 401 while the token came from a file: it may have been renewed, and another request may have
    /// found that out already.
    fn ask_for_token(&mut self, id: CallId, sent_with: u32, refusal: &Refusal) -> bool {
        let Some(path) = self.config.token_file.clone() else {
            return false;
        };
        let Some(call) = self.calls.get_mut(id).filter(|call| !call.reauthorized) else {
            return false;
        };
        call.reauthorized = true;
        if sent_with != self.token_generation {
            self.launch(id);
            return true;
        }
        call.waiting = Waiting::Token;
        call.last_failure = Some(Failure::Status(refusal.clone()));
        self.out.push_back(Output::ReadToken(path));
        true
    }

    /// The token file's content, read again.
    pub(super) fn token_read(&mut self, text: Result<String, String>) {
        let token = text
            .ok()
            .and_then(|text| Token::parse(text.trim_end()).ok());
        let renewed = token.is_some() && token != self.config.token;
        if renewed {
            if let Some(token) = &token {
                self.secrets.learn(token.expose());
            }
            self.config.token = token;
            self.token_generation += 1;
            self.common_headers = super::request::common_headers(&self.config, true);
            self.log(Level::Info, || {
                "the token file has a new token: it is used from now on".to_owned()
            });
        }
        for id in self.calls.ids() {
            let Some(call) = self.calls.get_mut(id) else {
                continue;
            };
            if !matches!(call.waiting, Waiting::Token) {
                continue;
            }
            if renewed {
                self.launch(id);
            } else if let Some(failure) = call.last_failure.take() {
                self.conclude(id, failure);
            }
        }
    }

    /// True where a request's second execution can do no harm.
    pub(super) fn may_repeat(&self, id: CallId) -> bool {
        let promised = self.workspace.at_most_once;
        self.calls
            .get(id)
            .is_some_and(|call| call.may_repeat(promised))
    }

    fn may_retry(&self, id: CallId) -> bool {
        let limit = self.config.limits.retries_max;
        // What comes again by itself waits for its turn: under 30 a minute, also when all fails.
        let takes_turns =
            |asker: &Asker| matches!(asker, Asker::Poll(_) | Asker::ChatPoll | Asker::Heartbeat);
        let left = |call: &Call| call.retries < limit && !takes_turns(&call.asker);
        self.calls.get(id).is_some_and(left) && self.may_repeat(id) && !self.ending.is_over()
    }

    /// A request has no answer and will get none by this exchange: repeat it or say so.
    pub(super) fn request_failed(&mut self, id: CallId, failure: Failure) {
        if !(failure.is_transient() && self.may_retry(id)) {
            return self.conclude(id, failure);
        }
        let hint = match &failure {
            Failure::Status(refusal) => refusal.retry_after_s.map(Duration::from_secs),
            _ => None,
        };
        if hint.is_some_and(|hint| hint > self.config.limits.rate_limit_wait_max) {
            return self.conclude(id, failure);
        }
        let call = self.calls.get_mut(id).expect("may_retry found it");
        call.retries += 1;
        call.ran = call.ran.max(failure.executed());
        let base = Duration::from_millis(100) * (1 << call.retries);
        let label = call.label();
        if failure.executed() == Executed::Unknown && &*call.method != "initialize" {
            self.rename(id);
        }
        let delay = self.random.around(base, 4).max(hint.unwrap_or_default());
        let timer = self.after(delay, Timer::Retry(id));
        let call = self.calls.get_mut(id).expect("still there");
        call.waiting = Waiting::Retry(timer);
        self.log(Level::Debug, || {
            format!("{label} is repeated in {} ms", delay.as_millis())
        });
    }

    /// Gives a request a new id on the wire: "the request ID MUST NOT have been previously used by the
    /// requestor within the same session". False if its message is none.
    pub(super) fn rename(&mut self, id: CallId) -> bool {
        let new_id = self.own_id();
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        let Ok(Parsed::One(message)) = jsonrpc::parse(&call.message) else {
            return false;
        };
        call.message = jsonrpc::with_id(&message, &new_id);
        call.wire_id = Some(new_id);
        true
    }

    /// Answers a request with what went wrong.
    pub(super) fn conclude(&mut self, id: CallId, failure: Failure) {
        if let Some(held) = self
            .calls
            .get_mut(id)
            .and_then(|call| call.held_answer.take())
        {
            return self.complete(id, held);
        }
        if self.shows_builtins_alone(id, &failure) {
            return;
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (label, origin) = (call.label(), self.config.endpoint.origin());
        let opens = self.session.opening == Some(id);
        match call.asker.clone() {
            Asker::Host(_) if self.hides(id, &failure) => {
                self.calls.get_mut(id).expect("just looked up").waiting = Waiting::Nothing;
                self.start_offline(id, failure.words(&origin));
            }
            Asker::Host(_) => {
                if let Some(approved) = call.approved.clone()
                    && failure.executed().max(call.ran) == Executed::No
                {
                    self.approvals.restore(&approved);
                }
                let message = failure.message(&label, &origin, call.ran);
                let message = self.secrets.hide(&message).into_owned();
                let data = failure.data(call.ran);
                let answer = jsonrpc::error(&call.id, INTERNAL_ERROR, &message, Some(&data));
                self.log(Level::Warn, || message);
                if opens && self.session.phase == super::session::Phase::Opening {
                    self.opening_failed();
                }
                self.say_failed(id, &failure);
                self.complete(id, answer);
            }
            Asker::Reopening => {
                self.forget_call(id);
                if opens {
                    self.reopen_failed(failure.words(&origin));
                }
            }
            Asker::Headers(waiting) => {
                self.forget_call(id);
                self.conclude(waiting, failure);
            }
            Asker::Guardian(host) => {
                let words = failure.words(&origin);
                self.forget_call(id);
                self.guardian_failed(host, &words);
            }
            Asker::Chat(host) => {
                let words = failure.words(&origin);
                self.forget_call(id);
                self.chat_failed(host, &words);
            }
            asker @ (Asker::Poll(_)
            | Asker::ChatPoll
            | Asker::Heartbeat
            | Asker::Discover
            | Asker::Nobody) => {
                self.forget_call(id);
                self.own_request_failed(&asker, &failure);
            }
        }
    }

    /// The host's answer is about to follow: why there is none of the workspace's own, or that it came
    /// with an error status.
    fn say_failed(&mut self, id: CallId, failure: &Failure) {
        let hosts = self.calls.get(id).filter(|call| call.is_hosts());
        if let Some(host_id) = hosts.map(|call| call.id.clone()) {
            let failure = Box::new(failure.clone());
            self.out.push_back(Output::Failed(host_id, failure));
        }
    }

    /// AEROSTACK_REQUEST_TIMEOUT, or the era probe's deadline.
    pub(super) fn deadline_passed(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.deadline = None;
        let probe = &*call.method == "server/discover";
        let limit = if probe {
            self.config.limits.discover_timeout
        } else {
            self.config.request_timeout.unwrap_or_default()
        };
        let failure = Failure::TimedOut(limit.as_secs());
        if self.session.opening == Some(id) {
            // What waits for the session must not wait for ever; and "the initialize request MUST NOT
            // be cancelled": nobody is told but the host.
            if let Waiting::Exchange(task) = call.waiting {
                self.abort(task);
            }
            return self.conclude(id, failure);
        }
        let answer = jsonrpc::error(
            &call.id,
            INTERNAL_ERROR,
            &failure.message(&call.label(), &self.config.endpoint.origin(), call.ran),
            Some(&failure.data(call.ran)),
        );
        let batch = match call.asker {
            Asker::Host(batch) => batch,
            Asker::Reopening
            | Asker::Headers(_)
            | Asker::Poll(_)
            | Asker::Guardian(_)
            | Asker::ChatPoll
            | Asker::Chat(_)
            | Asker::Heartbeat
            | Asker::Discover
            | Asker::Nobody => return self.conclude(id, failure),
        };
        // "Issue a cancellation notification for that request and stop waiting" (L25#timeouts).
        let params = format!(
            "{{\"requestId\":{},\"reason\":\"time-out\"}}",
            call.id_on_wire()
        );
        if batch.is_some() {
            // The answer goes into the batch before `withdraw` would close it without one.
            call.asker = Asker::Host(None);
        }
        self.say_failed(id, &failure);
        if let Some(batch) = batch {
            self.answer_host(Some(batch), answer);
        } else {
            self.write_line(answer);
        }
        let cancel = jsonrpc::notification("notifications/cancelled", Some(&params));
        self.withdraw(id, cancel, "time-out");
    }
}

/// A JSON-RPC error that came with an HTTP error status.
pub(super) struct RpcError {
    code: i64,
    has_id: bool,
    speaks_of_session: bool,
}

/// The JSON-RPC error in a body, if it is one and not for another request.
pub(super) fn rpc_error(body: &[u8], id_on_wire: &str) -> Option<RpcError> {
    let Ok(Parsed::One(message)) = jsonrpc::parse(body) else {
        return None;
    };
    let (code, words) = jsonrpc::error_parts(message.error?)?;
    let id = message.id.filter(|id| *id != "null");
    if id.is_some_and(|id| !jsonrpc::same_id(id_on_wire, id)) {
        return None;
    }
    let speaks_of_session = words.to_ascii_lowercase().contains("session");
    Some(RpcError {
        code,
        has_id: id.is_some(),
        speaks_of_session,
    })
}

/// Seconds to wait, from Retry-After or X-RateLimit-Reset; dates are judged by the reply's own Date.
fn retry_hint(head: &ResponseHead, local_s: u64) -> Option<u64> {
    let now_s = head.date_s.unwrap_or(local_s);
    match (head.retry_after, head.rate_limit_reset) {
        (Some(RetryAfter::Seconds(seconds)), _) => Some(seconds),
        (Some(RetryAfter::At(at)), _) | (None, Some(at)) => Some(at.saturating_sub(now_s)),
        (None, None) => None,
    }
}
