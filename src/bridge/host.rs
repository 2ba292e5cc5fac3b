//! Lines of the host: what they are, and where they go.

use super::call::{Asker, Call, Waiting};
use super::ids::{BatchId, CallId, Era};
use super::progress::Progress;
use super::session::{Parked, Phase};
use super::task::{Lane, NoticeKind, Purpose, Task};
use super::{Bridge, Output, Timer};
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc::{self, Invalid, Kind, Message, Meta, Params, Parsed};
use crate::proto::line::Line;
use std::time::Duration;

/// A cancel follows its request after this pause: on another connection it could overtake it.
const CANCEL_GRACE: Duration = Duration::from_millis(25);

impl Bridge {
    pub(super) fn stdin(&mut self, mut bytes: &[u8]) {
        let mut lines = std::mem::replace(&mut self.lines, crate::proto::line::LineReader::new(0));
        while let Some(line) = lines.feed(&mut bytes) {
            self.line(line);
        }
        self.lines = lines;
    }

    /// stdin is read until too many requests wait; answers make room again (I6).
    pub(super) fn limit_stdin(&mut self) {
        let limits = &self.config.limits;
        let (count, bytes) = (self.calls.hosts(), self.calls.bytes());
        if !self.stdin_paused
            && (count >= limits.requests_max || bytes >= limits.requests_max_bytes)
        {
            self.stdin_paused = true;
            self.out.push_back(Output::PauseStdin);
        } else if self.stdin_paused
            && count <= limits.requests_max * 3 / 4
            && bytes <= limits.requests_max_bytes * 3 / 4
        {
            self.stdin_paused = false;
            self.out.push_back(Output::ResumeStdin);
        }
    }

    /// End of input: "a last line without newline counts".
    pub(super) fn stdin_closed(&mut self) {
        let mut lines = std::mem::replace(&mut self.lines, crate::proto::line::LineReader::new(0));
        if let Some(line) = lines.finish() {
            self.line(line);
        }
        self.drain(self.config.limits.drain);
    }

    fn line(&mut self, line: Line<'_>) {
        let text = match line {
            Line::Complete(text) => text,
            Line::TooLong(prefix) => return self.line_too_long(prefix),
        };
        match jsonrpc::parse(text) {
            Ok(Parsed::One(message)) => self.message(&message, None),
            Ok(Parsed::Batch(members)) => self.batch(&members),
            Err(invalid) => self.invalid(invalid),
        }
    }

    fn invalid(&mut self, invalid: Invalid) {
        let (code, words) = match invalid {
            Invalid::Json => (
                -32700,
                "parse error: this line is not JSON; it was not forwarded",
            ),
            Invalid::Message => (
                -32600,
                "invalid request: this is neither a JSON-RPC request, notification nor response; it was not forwarded",
            ),
        };
        self.write_line(jsonrpc::error("null", code, words, None));
    }

    fn line_too_long(&mut self, prefix: &[u8]) {
        let limit = self.config.limits.line_max_bytes;
        let words = format!(
            "this message is longer than {limit} bytes, the limit for one line; it was not forwarded"
        );
        let id = jsonrpc::id_in_prefix(prefix).unwrap_or("null");
        self.write_line(jsonrpc::error(
            id,
            -32600,
            &words,
            Some("{\"executed\":\"no\"}"),
        ));
    }

    /// A batch is split: from 2025-06-18 on every message is a POST of its own.
    fn batch(&mut self, members: &[&str]) {
        let parsed: Vec<_> = members
            .iter()
            .map(|text| jsonrpc::parse_one(text))
            .collect();
        if parsed.is_empty() {
            return self.invalid(Invalid::Message);
        }
        let is_request =
            |m: &Result<Message<'_>, _>| !matches!(m, Ok(m) if m.kind != Kind::Request);
        let batch = self
            .batches
            .begin(parsed.iter().filter(|m| is_request(m)).count());
        for member in parsed {
            match member {
                Ok(message) => self.message(&message, Some(batch)),
                Err(_) => {
                    let error = jsonrpc::error("null", -32600, "invalid request in a batch", None);
                    self.answer_host(Some(batch), error);
                }
            }
        }
    }

    fn message(&mut self, message: &Message<'_>, batch: Option<BatchId>) {
        let params = Params::peek(message.params);
        let modern = Meta::peek(params.meta).protocol_version.is_some()
            || matches!(
                message.method.as_ref(),
                "server/discover" | "subscriptions/listen"
            );
        let era = if modern { Era::Modern } else { Era::Legacy };
        // Without a workspace there is nobody to notify; what matters is remembered.
        let deaf = self.offline.is_some() && era == Era::Legacy;
        match message.kind {
            Kind::Request => self.request(message, &params, era, batch),
            Kind::Notification => match message.method.as_ref() {
                "notifications/cancelled" => self.cancelled(message, &params),
                "notifications/initialized" if era == Era::Legacy => {
                    self.host_initialized(message.text)
                }
                _ if deaf => {}
                _ => self.notify(message.text.as_bytes().to_vec(), era),
            },
            Kind::Response if deaf => {}
            // The host's answer to a request of the workspace: a POST of its own.
            Kind::Response => self.notify(message.text.as_bytes().to_vec(), Era::Legacy),
        }
    }

    fn request(
        &mut self,
        message: &Message<'_>,
        params: &Params<'_>,
        era: Era,
        batch: Option<BatchId>,
    ) {
        let raw_id = message.id.expect("a request has an id");
        let name = params.name.or(params.uri).or(params.task_id);
        let message_bytes = message.text.as_bytes().to_vec();
        let mut call = Call::new(
            Asker::Host(batch),
            raw_id.into(),
            &message.method,
            era,
            message_bytes,
        );
        call.name = name
            .and_then(|name| jsonrpc::string(name.get()))
            .map(|name| name.as_ref().into());
        call.progress = Progress::of(Meta::peek(params.meta).progress_token);
        let label = call.label();
        let Some(id) = self.calls.insert(call) else {
            let words = format!(
                "{label} uses the id of a request that is still being worked on; it was not forwarded"
            );
            let error = jsonrpc::error(raw_id, -32600, &words, Some("{\"executed\":\"no\"}"));
            return self.answer_host(batch, error);
        };
        self.log(Level::Debug, || {
            format!("{label} (id {raw_id}) from the host")
        });
        self.arm_deadline(id);
        self.presence.calls_total += u64::from(message.method == "tools/call");
        match era {
            Era::Modern => self.modern_request(message, params),
            Era::Legacy => self.remember_setting(&message.method, message.params, params),
        }
        match message.method.as_ref() {
            "initialize" if era == Era::Legacy => self.host_initialize(id, params),
            _ if self.answer_locally(id, params, era) || self.reattach(id) => {}
            _ => self.launch(id),
        }
    }

    /// A modern host has no handshake: its first requests say who it is, and that it works.
    fn modern_request(&mut self, message: &Message<'_>, params: &Params<'_>) {
        if self.modern_meta.is_none() {
            self.modern_meta = Some(super::headers::own_meta(message));
            self.meet_client(Meta::peek(params.meta).client_info.map(|raw| raw.get()));
        }
        if message.method == "server/discover" {
            return;
        }
        if self.workspace_asked {
            self.begin_presence();
            self.begin_chat();
        } else if self.config.builtins_always() && !std::mem::replace(&mut self.discovering, true) {
            self.ask_workspace(Asker::Discover, "server/discover", "{}");
        }
    }

    /// The answer to a `server/discover`, the host's or our own.
    pub(super) fn discovered(&mut self, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return;
        };
        let Some(result) = message.result else { return };
        self.workspace = Offer::of_result(result, &self.secrets);
        self.workspace_asked = true;
        if self.discovering {
            self.begin_presence();
            self.begin_chat();
        }
    }

    /// "The client MUST receive an answer to its era probe quickly"; for all else the host owns
    /// time, unless the person set AEROSTACK_REQUEST_TIMEOUT.
    pub(super) fn arm_deadline(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let limit = match call.method.as_ref() {
            "server/discover" => Some(self.config.limits.discover_timeout),
            "subscriptions/listen" => None,
            _ => self.config.request_timeout,
        };
        if let Some(limit) = limit {
            let timer = self.after(limit, Timer::Deadline(id));
            let call = self.calls.get_mut(id).expect("just looked up");
            let old = call.deadline.replace(timer);
            self.disarm(old);
        }
    }

    /// A notification, or the host's answer.
    pub(super) fn notify(&mut self, message: Vec<u8>, era: Era) {
        if self.ending.is_over() {
            return;
        }
        if era == Era::Legacy && self.session.is_closed() {
            self.session.parked.push_back(Parked::Notice(message));
            return;
        }
        // What it speaks of is gone with the session; only a request opens another.
        if era == Era::Legacy && self.session.phase == Phase::Lost {
            return;
        }
        self.post(NoticeKind::Other, era, message);
    }

    /// Sends a request, or parks it where it has to wait.
    pub(super) fn launch(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        // The session is being given back: nothing of the host's leaves any more.
        if self.ending.is_over() && call.is_hosts() {
            return self.conclude_at_end(id);
        }
        let opens = &*call.method == "initialize";
        let needs_session = call.era == Era::Legacy && !opens;
        if needs_session && (self.session.is_closed() || self.session.phase == Phase::Lost) {
            call.waiting = Waiting::Session;
            self.session.parked.push_back(Parked::Call(id));
            if self.session.phase == Phase::Lost {
                self.reopen();
            }
        } else if self.gate.is_closed() {
            call.waiting = Waiting::RateLimit;
            self.gate.park(id);
        } else if &*call.method == "subscriptions/listen"
            && self.pool.streams() >= self.config.limits.streams_max
        {
            let limit = self.config.limits.streams_max;
            self.conclude(id, Failure::TooManyStreams(limit));
        } else {
            let lane = match call.method.as_ref() {
                "subscriptions/listen" => Lane::Stream,
                "initialize" | "ping" | "server/discover" => Lane::Urgent,
                _ if !call.is_hosts() => Lane::Urgent,
                _ => Lane::Call,
            };
            let task = self.start(Task::new(Purpose::Request(id), lane));
            self.calls.get_mut(id).expect("just looked up").waiting = Waiting::Exchange(task);
        }
    }

    /// `notifications/cancelled` of the host.
    fn cancelled(&mut self, message: &Message<'_>, params: &Params<'_>) {
        let target = params
            .request_id
            .and_then(|raw| self.calls.of_host(raw.get()));
        let Some(id) = target else {
            // Answered already, or never known: the workspace may still care.
            if self.session.phase == Phase::Ready {
                self.notify(message.text.as_bytes().to_vec(), Era::Legacy);
            }
            return;
        };
        let call = self.calls.get(id).expect("of_host names existing calls");
        // "The initialize request MUST NOT be cancelled by clients."
        if &*call.method == "initialize" {
            return;
        }
        let label = call.label();
        let raw = params.request_id.expect("a target was found by it").get();
        let place = jsonrpc::range_in(message.text, raw);
        let cancel = jsonrpc::splice(message.text, &[(place, call.id_on_wire())]);
        let reason = params
            .reason
            .and_then(|raw| jsonrpc::string(raw.get()))
            .unwrap_or_default();
        self.log(Level::Debug, || format!("{label} cancelled by the host"));
        self.withdraw(id, cancel, &reason);
    }

    /// Takes a request back: unsent ones vanish, modern ones lose their stream, legacy ones are
    /// followed by `cancel`. No answer is written.
    pub(super) fn withdraw(&mut self, id: CallId, cancel: Vec<u8>, reason: &str) {
        let Some(call) = self.forget_call(id) else {
            return;
        };
        if let Asker::Host(Some(batch)) = call.asker {
            self.finish_batch(batch, None);
        }
        match call.waiting {
            Waiting::Exchange(task) => self.withdraw_exchange(task, call.era, cancel),
            Waiting::Resume(_) => self.notify(cancel, Era::Legacy),
            Waiting::Approval(watch, _) => self.leave_or_detach(watch, id, reason),
            Waiting::Local => self.withdraw_local(id, reason),
            // Never sent, or refused: nothing to take back.
            Waiting::Nothing
            | Waiting::Session
            | Waiting::Retry(_)
            | Waiting::RateLimit
            | Waiting::Headers
            | Waiting::Token => {}
        }
    }

    fn withdraw_exchange(&mut self, id: super::ids::TaskId, era: Era, cancel: Vec<u8>) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        match era {
            Era::Modern => self.abort(id),
            Era::Legacy if task.conn.is_none() => self.abort(id),
            Era::Legacy => {
                task.cancel = Some(cancel);
                if task.sent {
                    self.after(CANCEL_GRACE, Timer::Cancel(id));
                }
            }
        }
    }

    /// The request has left some time ago: its cancel may follow.
    pub(super) fn post_cancel(&mut self, id: super::ids::TaskId) {
        let Some(cancel) = self.tasks.get_mut(id).and_then(|task| task.cancel.take()) else {
            return;
        };
        self.linger(id);
        self.notify(cancel, Era::Legacy);
    }

    /// The bytes of an exchange are with the socket.
    pub(super) fn request_left(&mut self, id: super::ids::TaskId) {
        if self.tasks.get(id).is_some_and(|task| task.cancel.is_some()) {
            self.after(CANCEL_GRACE, Timer::Cancel(id));
        }
    }

    /// Removes a request and everything that was armed for it.
    pub(super) fn forget_call(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(id)?;
        self.disarm(call.deadline);
        match call.waiting {
            Waiting::Retry(timer) | Waiting::Resume(timer) => self.disarm(Some(timer)),
            Waiting::Nothing
            | Waiting::Local
            | Waiting::Session
            | Waiting::Exchange(_)
            | Waiting::RateLimit
            | Waiting::Headers
            | Waiting::Token
            | Waiting::Approval(_, None) => {}
            Waiting::Approval(_, Some(timer)) => self.disarm(Some(timer)),
        }
        Some(call)
    }

    /// An answer for the host, alone or as part of its batch.
    pub(super) fn answer_host(&mut self, batch: Option<BatchId>, answer: Vec<u8>) {
        match batch {
            None => self.write_line(answer),
            Some(batch) => self.finish_batch(batch, Some(&answer)),
        }
    }

    fn finish_batch(&mut self, batch: BatchId, answer: Option<&[u8]>) {
        if let Some(joined) = self.batches.done(batch, answer) {
            self.write_line(joined);
        }
    }
}
