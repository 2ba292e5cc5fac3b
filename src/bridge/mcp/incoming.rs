//! What comes back: heads, bodies and events become messages, messages become answers.

use super::call::{CallId, Reply, Stage};
use super::failing::Broken;
use super::{Asked, Event, Mcp, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http, Position, Response};
use crate::bridge::ids::Era;
use crate::failure::Failure;
use crate::log::{Level, printable};
use crate::proto::aerostack::{APPROVAL_NEEDED, ApprovalNeeded};
use crate::proto::http::response::{Content, ResponseHead};
use crate::proto::jsonrpc::{self, Invalid, Kind, Message, Parsed};

/// What came with the bytes of a message.
#[derive(Clone, Default)]
pub(super) struct Came {
    /// `Mcp-Session-Id` of the response.
    pub(super) session_id: Option<Box<str>>,
    /// The error status that it came with.
    pub(super) refusal: Option<Failure>,
}

impl Came {
    fn with(head: &ResponseHead) -> Self {
        Self {
            session_id: head.session_id.clone(),
            refusal: None,
        }
    }
}

/// What a message of the workspace is.
enum Route {
    /// For the host, as it is.
    Host,
    /// A request of the workspace for the host: its raw id.
    Asks(Box<str>),
    /// The answer to a request; with the code if it is an error.
    Answer(CallId, Option<i64>),
    /// An approval that a request wants which nobody waits for any more.
    StrayApproval(String),
    /// An answer whose id is that of no request here.
    WrongId(Option<String>),
    /// Not for anybody.
    Drop(&'static str),
}

/// A text that is no message. Its bytes come back: only now are they looked at for words.
pub(super) struct Undelivered {
    why: Invalid,
    bytes: Vec<u8>,
}

impl Mcp {
    /// The head of a success: a notification is accepted by it, whatever its body does; the session's
    /// event stream is open.
    pub(super) fn head_came(&mut self, ctx: &mut Context, http: &mut Http, id: ExchangeId) {
        match self.exchanges.get(&id) {
            Some(Purpose::Notice(notice, _)) => {
                let era = notice.era;
                let purpose = self.finish(id);
                self.exchanges.insert(id, Purpose::Answered(era));
                http.linger(ctx, id);
                self.notice_accepted(ctx, http, purpose);
            }
            Some(Purpose::EventStream { .. }) => {
                ctx.log(Level::Debug, || "the event stream is open".to_owned());
                if let Some(stream) = self.session.stream_mut() {
                    stream.opened();
                }
            }
            Some(Purpose::Request(_) | Purpose::Answered(_) | Purpose::Cancelled(_))
            | Some(Purpose::Delete)
            | None => {}
        }
    }

    fn notice_accepted(&mut self, ctx: &mut Context, http: &mut Http, purpose: Option<Purpose>) {
        if let Some(Purpose::Notice(notice, _)) = purpose
            && notice.confirms
        {
            self.session_ready(ctx, http);
        }
    }

    /// A message event of a stream.
    pub(super) fn event_came(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        data: Vec<u8>,
    ) {
        let came = http.head(id).map(Came::with).unwrap_or_default();
        if let Err(Undelivered { why, .. }) = self.deliver(ctx, http, id, data, came) {
            ctx.log(Level::Warn, || {
                format!("an event that is no JSON-RPC message was dropped ({why:?})")
            });
        }
    }

    /// The server speaks the HTTP+SSE transport of 2024-11-05, which is not supported.
    pub(super) fn old_transport(&mut self, ctx: &mut Context, http: &mut Http, id: ExchangeId) {
        let purpose = self.finish(id);
        http.abort(ctx, id);
        match purpose {
            Some(Purpose::Request(asked)) => {
                self.conclude(ctx, http, asked.call, Failure::OldTransport { status: 200 });
            }
            Some(Purpose::EventStream { .. }) => {
                let words = Failure::OldTransport { status: 200 }.words(&ctx.origin());
                ctx.log(Level::Warn, || words);
                if let Some(stream) = self.session.stream_mut() {
                    stream.take_past();
                }
            }
            Some(Purpose::Answered(_) | Purpose::Cancelled(_) | Purpose::Delete)
            | Some(Purpose::Notice(..))
            | None => {}
        }
    }

    /// A whole response.
    pub(super) fn response_came(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        response: Response,
    ) {
        ctx.stop(Timer::Cancel(id));
        let success = (200..300).contains(&response.head.status);
        match self.exchanges.get(&id) {
            Some(Purpose::Request(_)) if success => self.body_came(ctx, http, id, response),
            Some(Purpose::Request(_)) => self.refused(ctx, http, id, response),
            Some(Purpose::Answered(_) | Purpose::Cancelled(_)) if success => {
                // Messages beside an answer; or an answer that nobody waits for.
                let _ = self.deliver(ctx, http, id, response.body, Came::default());
                self.finish(id);
            }
            Some(Purpose::Notice(..)) => {
                let purpose = self.finish(id);
                match success {
                    true => self.notice_accepted(ctx, http, purpose),
                    false => self.notice_refused(ctx, http, purpose, &response),
                }
            }
            Some(Purpose::EventStream { session, .. }) => {
                let session = *session;
                self.finish(id);
                self.stream_refused(ctx, http, session, &response);
            }
            Some(Purpose::Answered(_) | Purpose::Cancelled(_) | Purpose::Delete) | None => {
                self.finish(id);
            }
        }
    }

    /// A success whose body is no event stream.
    fn body_came(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        Response { head, body, .. }: Response,
    ) {
        let is_empty = body.is_empty();
        let delivered = self.deliver(ctx, http, id, body, Came::with(&head));
        let Some(Purpose::Request(asked)) = self.finish(id) else {
            return;
        };
        if !self.awaits(asked.call, id) {
            return;
        }
        let status = head.status;
        if asked.is_resumption {
            return self.conclude(ctx, http, asked.call, Failure::NoAnswer { status });
        }
        let failure = match delivered {
            _ if is_empty => Failure::NoAnswer { status },
            Err(Undelivered { bytes, .. }) => {
                let came = describe(ctx, &head, &bytes);
                Failure::NotMcp { status, came }
            }
            Ok(()) => match asked.stray {
                Some(words) => Failure::WrongId(words),
                None => Failure::NoAnswer { status },
            },
        };
        if is_empty && status == 202 && self.waits_elsewhere(ctx, asked.call) {
            return;
        }
        self.request_failed(ctx, http, asked.call, failure);
    }

    /// A request was accepted without an answer: it may come on the session's event stream, while
    /// that lives.
    pub(super) fn waits_elsewhere(&mut self, ctx: &mut Context, id: CallId) -> bool {
        let legacy = |call: &super::Call| call.request().era() == Era::Legacy;
        let open = self
            .session
            .stream_mut()
            .is_some_and(|stream| stream.is_open());
        if !open || !self.calls.get(id).is_some_and(legacy) {
            return false;
        }
        self.calls.enter(id, Stage::Elsewhere);
        if !ctx.runs(Timer::Deadline(id)) {
            ctx.set(Timer::Deadline(id), ctx.limits().elsewhere);
        }
        true
    }

    /// The session's event stream is gone: what was to be answered on it will not be.
    pub(super) fn fail_elsewhere(&mut self, ctx: &mut Context, http: &mut Http) {
        for id in self.calls.at(|stage| matches!(stage, Stage::Elsewhere)) {
            let status = 202;
            self.conclude(ctx, http, id, Failure::NoAnswer { status });
        }
    }

    /// An event stream ended as its server meant it.
    pub(super) fn stream_ended(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        position: Position,
        rest: Option<(Box<ResponseHead>, Vec<u8>)>,
    ) {
        ctx.stop(Timer::Cancel(id));
        // Servers that close right behind the data of an answer, without the blank line, do exist.
        if let (Some((head, rest)), Some(Purpose::Request(_))) = (rest, self.exchanges.get(&id)) {
            let came = Came::with(&head);
            let _ = self.deliver(ctx, http, id, rest, came);
        }
        match self.finish(id) {
            Some(Purpose::Request(asked)) if self.awaits(asked.call, id) => {
                let failure = match asked.stray {
                    Some(words) => Failure::WrongId(words),
                    None => Failure::NoAnswer { status: 200 },
                };
                let broken = Broken {
                    session: asked.session,
                    position,
                    delivered: asked.delivered,
                };
                self.stream_broke(ctx, http, asked.call, failure, broken);
            }
            purpose @ Some(Purpose::Notice(..)) => self.notice_accepted(ctx, http, purpose),
            Some(Purpose::EventStream { delivered, .. }) => {
                self.stream_lost(ctx, http, position, delivered);
            }
            Some(Purpose::Request(_) | Purpose::Answered(_) | Purpose::Cancelled(_))
            | Some(Purpose::Delete)
            | None => {}
        }
    }

    /// True while a request still waits for this exchange.
    pub(super) fn awaits(&self, call: CallId, id: ExchangeId) -> bool {
        matches!(self.calls.stage(call), Some(Stage::Exchange(exchange)) if *exchange == id)
    }

    /// One JSON text of the workspace: a message, or a batch of them.
    pub(super) fn deliver(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        bytes: Vec<u8>,
        came: Came,
    ) -> Result<(), Undelivered> {
        let (route, renamed) = match jsonrpc::parse(&bytes) {
            Ok(Parsed::One(message)) => self.routed(ctx, id, &message),
            Ok(Parsed::Batch(members)) => {
                for member in members {
                    let (route, renamed) = match jsonrpc::parse_one(member) {
                        Ok(message) => self.routed(ctx, id, &message),
                        Err(why) => return Err(Undelivered { why, bytes }),
                    };
                    let member = renamed.unwrap_or_else(|| member.as_bytes().to_vec());
                    self.take(ctx, http, id, route, member, came.clone());
                }
                return Ok(());
            }
            Err(why) => return Err(Undelivered { why, bytes }),
        };
        self.take(ctx, http, id, route, renamed.unwrap_or(bytes), came);
        Ok(())
    }

    /// What a message is, and its bytes if they have to change.
    fn routed(
        &self,
        ctx: &Context,
        id: ExchangeId,
        message: &Message<'_>,
    ) -> (Route, Option<Vec<u8>>) {
        let route = self.route(ctx, id, message);
        let renamed = self.with_askers_id(&route, message);
        (route, renamed)
    }

    /// The answer with the id that its asker gave, as it was written; `None` if it has that already.
    fn with_askers_id(&self, route: &Route, message: &Message<'_>) -> Option<Vec<u8>> {
        let Route::Answer(call, _) = route else {
            return None;
        };
        let asked_as = self.calls.get(*call)?.request().id();
        (message.id != Some(asked_as)).then(|| jsonrpc::with_id(message, asked_as))
    }

    fn route(&self, ctx: &Context, id: ExchangeId, message: &Message<'_>) -> Route {
        let purpose = self.exchanges.get(&id);
        let asked = match purpose {
            Some(Purpose::Request(asked)) => Some(asked.call),
            _ => None,
        };
        let era = match (asked.and_then(|call| self.calls.get(call)), purpose) {
            (Some(call), _) => call.request().era(),
            (None, Some(Purpose::Answered(era))) => *era,
            (None, _) => Era::Legacy,
        };
        match message.kind {
            Kind::Notification => Route::Host,
            // "The server MUST NOT send JSON-RPC requests" on a modern stream, and we "MUST NOT
            // write JSON-RPC requests to stdout" there (MCP 2026-07-28, transports).
            Kind::Request if era == Era::Modern => Route::Drop("a request on a modern stream"),
            Kind::Request => Route::Asks(message.id.unwrap_or("null").into()),
            Kind::Response => self.route_response(ctx, asked, purpose, message),
        }
    }

    fn route_response(
        &self,
        ctx: &Context,
        asked: Option<CallId>,
        purpose: Option<&Purpose>,
        message: &Message<'_>,
    ) -> Route {
        let code =
            |raw| jsonrpc::error_parts(raw).map_or(jsonrpc::INTERNAL_ERROR, |(code, _)| code);
        let error = message.error.map(code);
        let came = message.id.filter(|id| *id != "null");
        let on_wire = |call: &CallId, came| {
            let call = self.calls.get(*call);
            call.is_some_and(|call| jsonrpc::same_id(call.request().wire_id(), came))
        };
        let call = match (came, asked) {
            // An error that names no request, on a request's own POST, is about that request.
            (None, Some(call)) if error.is_some() => Some(call),
            (None, _) => None,
            (Some(came), Some(call)) => Some(call).filter(|call| on_wire(call, came)),
            // On the session's event stream: an answer from elsewhere, or the rest of a stream that
            // broke. Nowhere else: the host may use the id of a request again that it took back.
            (Some(came), None) if matches!(purpose, Some(Purpose::EventStream { .. })) => {
                self.calls.on_wire(came)
            }
            (Some(_), None) => None,
        };
        match call.filter(|call| self.calls.get(*call).is_some()) {
            Some(call) => Route::Answer(call, error),
            None => {
                let needed = message
                    .error
                    .and_then(|raw| ApprovalNeeded::of_error(raw, ctx.secrets()));
                if let Some(needed) = needed.filter(|_| error == Some(APPROVAL_NEEDED)) {
                    return Route::StrayApproval(needed.approval_id);
                }
                match asked.is_some_and(|call| self.calls.get(call).is_some()) {
                    true => {
                        let words = message.error.and_then(jsonrpc::error_parts);
                        Route::WrongId(words.map(|(_, words)| ctx.clean(&words, 300)))
                    }
                    false => Route::Drop("an answer that nobody waits for"),
                }
            }
        }
    }

    fn take(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        route: Route,
        bytes: Vec<u8>,
        came: Came,
    ) {
        match self.exchanges.get_mut(&id) {
            Some(Purpose::Request(asked)) => match &route {
                Route::WrongId(words) => asked.stray = Some(words.clone().unwrap_or_default()),
                Route::Drop(_) => {}
                Route::Host | Route::Asks(_) | Route::Answer(..) | Route::StrayApproval(_) => {
                    asked.delivered = true
                }
            },
            Some(Purpose::EventStream { delivered, .. }) => *delivered = true,
            Some(Purpose::Answered(_) | Purpose::Cancelled(_) | Purpose::Delete)
            | Some(Purpose::Notice(..))
            | None => {}
        }
        match route {
            Route::Host => self.events.push_back(Event::Message(bytes)),
            Route::Asks(id) => {
                if self.asked.len() < ctx.limits().subscriptions_max {
                    self.asked.insert(id, ());
                }
                self.events.push_back(Event::Message(bytes));
            }
            Route::StrayApproval(approval) => {
                self.events.push_back(Event::StrayApproval(approval));
            }
            Route::Drop(what) => ctx.log(Level::Warn, || format!("{what} was dropped")),
            Route::WrongId(_) => ctx.log(Level::Warn, || {
                "an answer with another request's id was dropped".to_owned()
            }),
            Route::Answer(call, error) => {
                let reply = Reply { bytes, error };
                self.answered(ctx, http, (id, call), reply, came);
            }
        }
    }

    /// An exchange failed.
    pub(super) fn exchange_failed(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        failure: Failure,
        stream: Option<Position>,
    ) {
        ctx.stop(Timer::Cancel(id));
        match self.finish(id) {
            Some(Purpose::Request(Asked {
                call,
                session,
                delivered,
                is_resumption,
                ..
            })) if self.awaits(call, id) => match stream {
                Some(position) => {
                    let broken = Broken {
                        session,
                        position,
                        delivered,
                    };
                    self.stream_broke(ctx, http, call, failure, broken);
                }
                None if is_resumption => {
                    self.stream_broke(ctx, http, call, failure, Broken::at_once(session));
                }
                None => self.request_failed(ctx, http, call, failure),
            },
            Some(Purpose::Notice(notice, _)) => self.notice_failed(ctx, http, notice, failure),
            Some(Purpose::EventStream { delivered, .. }) => {
                self.stream_lost(ctx, http, stream.unwrap_or_default(), delivered);
            }
            Some(Purpose::Request(_) | Purpose::Answered(_) | Purpose::Cancelled(_))
            | Some(Purpose::Delete)
            | None => {}
        }
    }
}

/// What came instead of a message, in words.
fn describe(ctx: &Context, head: &ResponseHead, body: &[u8]) -> String {
    let (words, html) = ctx.quoted(body);
    let kind = match &head.content {
        _ if html => "an HTML page".to_owned(),
        Content::Json => "JSON that is no JSON-RPC message".to_owned(),
        Content::Other(name) => ctx.clean(name, 80),
        Content::None | Content::EventStream => "no content type".to_owned(),
    };
    if words.is_empty() {
        kind
    } else {
        format!("{kind} ({})", printable(&words, 120))
    }
}
