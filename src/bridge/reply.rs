//! Responses: heads, bodies and events become messages, messages become answers.

use super::Bridge;
use super::call::{Asker, Calls, Waiting};
use super::ids::{CallId, Era, TaskId};
use super::progress::Told;
use super::task::{Purpose, Sink, Task};
use crate::failure::{Failure, quote_body};
use crate::log::{Level, printable};
use crate::proto::aerostack::{APPROVAL_NEEDED, ApprovalNeeded};
use crate::proto::grow;
use crate::proto::http::response::{Content, ResponseHead};
use crate::proto::jsonrpc::{self, Invalid, Kind, Message, Parsed};
use crate::proto::sse::EventStream;

/// The specification's code for headers that do not match the body.
const HEADER_MISMATCH: i64 = -32020;

/// What a message of the workspace is, once nothing of it is borrowed any more.
enum Routed {
    /// For the host as it is.
    Forward,
    /// The same, but its number may have to grow.
    Progress,
    /// The answer to a request; with the workspace's error code if it is an error.
    Answer {
        call: CallId,
        exact: bool,
        error: Option<i64>,
    },
    /// An approval that a request wants which its host took back.
    Unwanted(String),
    /// Not for anybody.
    Drop(&'static str),
    /// An answer whose id is that of no request here.
    WrongId,
}

/// A text that is no message. Its bytes come back: only now are they looked at for words.
#[derive(Debug)]
pub(super) struct Undelivered {
    why: Invalid,
    bytes: Vec<u8>,
}

impl Bridge {
    pub(super) fn head(&mut self, id: TaskId, head: ResponseHead) {
        let limits = &self.config.limits;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let success = (200..300).contains(&head.status);
        let max_bytes = if success {
            limits.message_max_bytes
        } else {
            limits.error_body_max_bytes
        };
        task.sink = match head.content {
            Content::EventStream if success => {
                Sink::Events(Box::new(EventStream::new(limits.message_max_bytes)))
            }
            _ => {
                let expected =
                    usize::try_from(head.content_length.unwrap_or(0)).unwrap_or(usize::MAX);
                if success && expected > max_bytes {
                    return self.give_up(id, Failure::TooLarge(max_bytes));
                }
                let mut bytes = Vec::new();
                // One byte more: the newline that makes it a line. Exact, so that a large reply is
                // held once; a refusal by the allocator shows later as a smaller buffer.
                let _ = bytes.try_reserve_exact(expected.min(max_bytes) + 1);
                Sink::Buffer {
                    bytes,
                    max_bytes,
                    cut: !success,
                }
            }
        };
        let opened = matches!(task.sink, Sink::Events(_));
        self.last_date_s = head.date_s.or(self.last_date_s);
        task.head = Some(Box::new(head));
        if opened && matches!(task.purpose, Purpose::EventStream) {
            self.stream_opened();
        }
    }

    pub(super) fn data(&mut self, id: TaskId, data: &[u8]) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        match &mut task.sink {
            Sink::Nothing => {}
            Sink::Buffer {
                bytes,
                max_bytes,
                cut,
            } => {
                let room = *max_bytes - bytes.len();
                if data.len() > room && !*cut {
                    let limit = *max_bytes;
                    return self.give_up(id, Failure::TooLarge(limit));
                }
                let part = &data[..data.len().min(room)];
                grow::extend(bytes, part, *max_bytes);
            }
            Sink::Events(_) => self.events(id, data),
        }
        self.tasks.holds(id, data.len());
    }

    fn events(&mut self, id: TaskId, mut data: &[u8]) {
        loop {
            let Some(task) = self.tasks.get_mut(id) else {
                return;
            };
            let Sink::Events(stream) = &mut task.sink else {
                return;
            };
            match stream.feed(&mut data) {
                Ok(Some(event)) if event.message && !event.data.is_empty() => {
                    self.tasks.hands_on(id);
                    self.event(id, event.data);
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.note_position(id),
                Err(_) => {
                    let limit = self.config.limits.message_max_bytes;
                    return self.give_up(id, Failure::TooLarge(limit));
                }
            }
        }
    }

    fn event(&mut self, id: TaskId, data: Vec<u8>) {
        if let Err(Undelivered { why, .. }) = self.deliver(id, data) {
            self.log(Level::Warn, || {
                format!("an event that is no JSON-RPC message was dropped ({why:?})")
            });
        }
    }

    /// True while the request still waits for this exchange.
    fn awaits(&self, call: CallId, task: TaskId) -> bool {
        let waiting = self.calls.get(call).map(|call| &call.waiting);
        matches!(waiting, Some(Waiting::Exchange(exchange)) if *exchange == task)
    }

    /// Closes the connection of an exchange and fails it.
    pub(super) fn give_up(&mut self, id: TaskId, failure: Failure) {
        if let Some(conn) = self.tasks.get(id).and_then(|task| task.conn) {
            self.close(conn);
        }
        self.fail(id, failure);
    }

    /// One JSON text of the workspace: a message or a batch of them.
    pub(super) fn deliver(&mut self, id: TaskId, bytes: Vec<u8>) -> Result<(), Undelivered> {
        let routed = match jsonrpc::parse(&bytes) {
            Ok(Parsed::One(message)) => self.route(id, &message),
            Ok(Parsed::Batch(members)) => {
                for member in members {
                    let routed = match jsonrpc::parse_one(member) {
                        Ok(message) => self.route(id, &message),
                        Err(why) => return Err(Undelivered { why, bytes }),
                    };
                    self.deliver_routed(id, routed, member.as_bytes().to_vec());
                }
                return Ok(());
            }
            Err(why) => return Err(Undelivered { why, bytes }),
        };
        self.deliver_routed(id, routed, bytes);
        Ok(())
    }

    fn route(&self, id: TaskId, message: &Message<'_>) -> Routed {
        let task = self.tasks.get(id);
        let asked = task.and_then(Task::call);
        let era = asked
            .and_then(|call| self.calls.get(call))
            .map(|call| call.era);
        match message.kind {
            Kind::Notification if message.method == "notifications/progress" => Routed::Progress,
            Kind::Notification => Routed::Forward,
            // "The server MUST NOT send JSON-RPC requests" on a modern stream, and we "MUST NOT
            // write JSON-RPC requests to stdout" there.
            Kind::Request if era == Some(Era::Modern) => {
                Routed::Drop("a request on a modern stream")
            }
            Kind::Request => Routed::Forward,
            Kind::Response => {
                let error = message
                    .error
                    .map(|raw| jsonrpc::error_parts(raw).map_or(-32603, |(code, _)| code));
                let came = message.id.filter(|id| *id != "null");
                let call = match (came, asked) {
                    // "Fill in the request's id".
                    (None, Some(call)) if error.is_some() => Some(call),
                    (None, _) => None,
                    (Some(came), Some(call)) => self
                        .calls
                        .get(call)
                        .filter(|call| jsonrpc::same_id(call.id_on_wire(), came))
                        .map(|_| call),
                    // On the GET stream: the rest of a stream that broke.
                    (Some(came), None) => self.calls.on_wire(came),
                };
                let Some(call) = call else {
                    if let Some(raw) = message.error
                        && error == Some(APPROVAL_NEEDED)
                        && let Some(needed) = ApprovalNeeded::of_error(raw, &self.secrets)
                    {
                        return Routed::Unwanted(needed.approval_id);
                    }
                    let open = asked.is_some_and(|call| self.calls.get(call).is_some());
                    return if open {
                        Routed::WrongId
                    } else {
                        Routed::Drop("an answer that nobody waits for")
                    };
                };
                let exact = self
                    .calls
                    .get(call)
                    .is_some_and(|call| message.id == Some(&*call.id));
                Routed::Answer { call, exact, error }
            }
        }
    }

    fn deliver_routed(&mut self, id: TaskId, routed: Routed, bytes: Vec<u8>) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.delivered |= !matches!(routed, Routed::Drop(_) | Routed::WrongId);
            task.wrong_id |= matches!(routed, Routed::WrongId);
        }
        match routed {
            Routed::Forward => self.write_line(bytes),
            Routed::Progress => {
                let bytes = self.growing(id, bytes);
                self.write_line(bytes);
            }
            Routed::Unwanted(approval) => self.withdraw_approval(&approval),
            Routed::Drop(what) => self.log(Level::Warn, || format!("{what} was dropped")),
            Routed::WrongId => self.log(Level::Warn, || {
                "an answer with another request's id was dropped".to_owned()
            }),
            Routed::Answer { call, exact, error } => self.answer(id, call, bytes, exact, error),
        }
    }

    /// An answer of the workspace to one of our requests.
    fn answer(
        &mut self,
        task: TaskId,
        id: CallId,
        bytes: Vec<u8>,
        exact: bool,
        error: Option<i64>,
    ) {
        if error == Some(HEADER_MISMATCH) && self.learn_headers(id, &bytes) {
            return self.leave_stream(task);
        }
        if error == Some(APPROVAL_NEEDED) && self.approval_needed(id, &bytes) {
            return self.leave_stream(task);
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        match (call.method.as_ref(), &call.asker, error) {
            ("initialize", _, _) if call.era == Era::Legacy && self.session.opening != Some(id) => {
                self.overtaken(task, &bytes);
            }
            ("initialize", Asker::Host(_), _) if call.era == Era::Legacy => {
                self.initialize_answered(task, &bytes, error)
            }
            ("initialize", Asker::Reopening, _) => return self.reopened(task, id, &bytes, error),
            _ => {}
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (method, hosts, era) = (call.method.as_ref(), call.is_hosts(), call.era);
        let bytes = match (method, era, error) {
            ("initialize", Era::Legacy, None) if hosts => self.adapt_initialize(bytes),
            ("tools/list", Era::Modern, None) if hosts => {
                let bytes = self.tools_listed(bytes);
                self.with_builtins(id, bytes, None)
            }
            ("tools/list", _, _) if hosts => self.with_builtins(id, bytes, error),
            ("tools/call", _, None) if hosts => self.with_hint(bytes),
            ("server/discover", Era::Modern, None) if hosts => {
                self.discovered(&bytes);
                bytes
            }
            _ => bytes,
        };
        if error.is_none() && std::mem::take(&mut self.tools_withheld) {
            self.write_line(jsonrpc::notification(
                "notifications/tools/list_changed",
                None,
            ));
        }
        let bytes = if exact {
            bytes
        } else {
            self.with_hosts_id(id, bytes)
        };
        self.complete(id, bytes);
    }

    /// The exchange has answered. "The response SHOULD end the stream": it need not.
    fn leave_stream(&mut self, task: TaskId) {
        match self.tasks.get(task) {
            Some(Task { conn: Some(_), .. }) => self.linger(task),
            _ => self.abort(task),
        }
    }

    /// The answer with the id that the asker gave, as it was written.
    fn with_hosts_id(&self, id: CallId, bytes: Vec<u8>) -> Vec<u8> {
        let Some(call) = self.calls.get(id) else {
            return bytes;
        };
        match jsonrpc::parse(&bytes) {
            Ok(Parsed::One(message)) => jsonrpc::with_id(&message, &call.id),
            _ => bytes,
        }
    }

    /// A request has its answer: it is handed to whoever asked.
    pub(super) fn complete(&mut self, id: CallId, answer: Vec<u8>) {
        let Some(call) = self.forget_call(id) else {
            return;
        };
        if let Waiting::Exchange(task) = call.waiting {
            self.leave_stream(task);
        }
        match call.asker {
            Asker::Host(batch) => self.answer_host(batch, answer),
            Asker::Headers(waiting) => self.headers_learnt(waiting, &answer),
            Asker::Poll(watch) => self.poll_answered(watch, &answer),
            Asker::Guardian(host) => self.guardian_answered(host, &answer),
            Asker::ChatPoll => self.chat_polled(&answer),
            Asker::Chat(host) => self.chat_answered(host, &answer),
            Asker::Heartbeat => self.heartbeat_answered(&answer),
            Asker::Discover => self.discovered(&answer),
            Asker::Reopening | Asker::Nobody => {}
        }
    }

    /// The response is complete; its connection is free or gone.
    pub(super) fn end(&mut self, id: TaskId) {
        let Some(mut task) = self.tasks.remove(id) else {
            return;
        };
        self.disarm(task.timer);
        let Some(head) = task.head.take() else { return };
        match std::mem::replace(&mut task.sink, Sink::Nothing) {
            Sink::Buffer { bytes, .. } => self.end_of_body(id, task, head, bytes),
            Sink::Events(_) | Sink::Nothing => self.end_of_events(id, task, head.status),
        }
    }

    fn end_of_body(&mut self, id: TaskId, task: Task, head: Box<ResponseHead>, body: Vec<u8>) {
        if !(200..300).contains(&head.status) {
            return self.refused(id, task, head, body);
        }
        match task.purpose {
            Purpose::Notice(notice) => self.notice_accepted(notice.kind),
            Purpose::Request(call) => {
                // `deliver` looks the exchange up by its id.
                self.tasks.restore(
                    id,
                    Task {
                        conn: None,
                        head: Some(head),
                        ..task
                    },
                );
                let empty = body.is_empty();
                let delivered = self.deliver(id, body);
                let Some(task) = self.tasks.remove(id) else {
                    return;
                };
                let status = task.head.as_ref().map_or(0, |head| head.status);
                if self.awaits(call, id) {
                    let failure = match delivered {
                        _ if empty => Failure::NoAnswer { status },
                        Err(Undelivered { bytes, .. }) => Failure::NotMcp {
                            status,
                            came: self.describe(&task, &bytes),
                        },
                        Ok(()) if task.wrong_id => Failure::WrongId,
                        Ok(()) => Failure::NoAnswer { status },
                    };
                    self.request_failed(call, failure);
                }
            }
            // A success, but no event stream.
            Purpose::EventStream => self.stream_refused(head.status, task.session),
            Purpose::Resume(call) => self.resume_refused(call, head.status),
            // A success, but no WebSocket.
            Purpose::Upgrade(watch) => {
                let status = head.status;
                self.socket_refused(watch, &Failure::NoAnswer { status });
            }
            Purpose::Status(watch) => self.polled(watch, Some(&body)),
            Purpose::Delete(_) => {}
        }
    }

    fn end_of_events(&mut self, id: TaskId, task: Task, status: u16) {
        match task.purpose {
            Purpose::Request(call) | Purpose::Resume(call) => {
                if self.awaits(call, id) {
                    let failure = if task.wrong_id {
                        Failure::WrongId
                    } else {
                        Failure::NoAnswer { status }
                    };
                    self.stream_broke(call, failure, task.delivered);
                }
            }
            Purpose::Notice(notice) => self.notice_accepted(notice.kind),
            Purpose::EventStream => self.stream_ended(task.delivered),
            Purpose::Upgrade(watch) => self.socket_lost(watch),
            Purpose::Status(watch) => self.polled(watch, None),
            Purpose::Delete(_) => {}
        }
    }

    /// The peer's own words in a body. Secrets are hidden in all of it first: what is cut could hold
    /// the half of one.
    pub(super) fn quoted(&self, body: &[u8]) -> (String, bool) {
        let most = self.config.limits.error_body_max_bytes;
        let text = String::from_utf8_lossy(&body[..body.len().min(most)]);
        quote_body(self.secrets.hide(&text).as_bytes())
    }

    /// What came instead of a message, in words.
    fn describe(&self, task: &Task, body: &[u8]) -> String {
        let (words, html) = self.quoted(body);
        let content = task.head.as_ref().map(|head| &head.content);
        let kind = match content {
            _ if html => "an HTML page".to_owned(),
            Some(Content::Json) => "JSON that is no JSON-RPC message".to_owned(),
            Some(Content::Other(name)) => self.clean(name.as_ref(), 80),
            Some(Content::None | Content::EventStream) | None => "no content type".to_owned(),
        };
        if words.is_empty() {
            kind
        } else {
            format!("{kind} ({})", printable(&words, 120))
        }
    }

    /// A progress notification whose number grows, whatever the gateway said in between.
    fn growing(&mut self, id: TaskId, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(Parsed::One(message)) = jsonrpc::parse(&bytes) else {
            return bytes;
        };
        let Some(told) = Told::read(message.params) else {
            return bytes;
        };
        let asked = self.tasks.get(id).and_then(Task::call);
        let of_token = |calls: &Calls, call: &CallId| {
            let call = calls.get(*call);
            call.is_some_and(|call| call.progress.is_for(told.token.get()))
        };
        let call = asked
            .filter(|call| of_token(&self.calls, call))
            .or_else(|| self.calls.with_progress(told.token.get()));
        let number = call
            .and_then(|call| self.calls.get_mut(call))
            .and_then(|call| call.progress.follow(told.progress.get()));
        match number {
            Some(number) => {
                let place = jsonrpc::range_in(message.text, told.progress.get());
                jsonrpc::splice(message.text, &[(place, &number)])
            }
            None => bytes,
        }
    }
}
