//! The MCP client: requests out, answers in, over the HTTP client of [`super::http`].
//!
//! Owns the legacy session and its event stream, the modern era's headers, resumption, cancellation,
//! the rate limit's pause, and what is tried again. It never knows who asks for what: the answer goes to
//! the [`Requester`](super::ids::Requester) that the request came with. A request that a person must
//! decide about leaves this machine with [`Event::Gated`] and comes back, approved, as a new one.

mod answers;
mod call;
mod cancelling;
mod failing;
mod gate;
mod incoming;
mod opening;
mod outage;
mod outgoing;
mod refused;
mod session;
mod stream;
mod tool_headers;

use super::context::{self, Context};
use super::http::{self, ExchangeId, Http};
use super::ids::{Era, Ticket};
use super::request::{OVERHEAD_BYTES, Request};
use crate::failure::Failure;
use crate::proto::aerostack::ApprovalNeeded;
use crate::table::Table;
pub(crate) use call::{Call, Reply};
use call::{CallId, Calls};
pub(crate) use cancelling::Withdrawn;
use gate::Gate;
use session::Session;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;
use tool_headers::{Learning, ToolHeaders};
pub(crate) use tool_headers::{own_meta, tool_list};

/// What this machine has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// The workspace answered. The failure says that it came with an error status.
    Answered(Call, Reply, Option<Failure>),
    /// There is no answer of the workspace, and there will be none.
    Failed(Call, Failure),
    /// A person must decide about this request; the answer said so.
    Gated(Call, ApprovalNeeded, Reply),
    /// A request that nobody waits for any more would have needed this approval.
    StrayApproval(String),
    /// A request was taken back that never left under this approval, or was refused.
    Unused(Box<str>),
    /// A message of the workspace for the host, as it came.
    Message(Vec<u8>),
    /// The workspace is away, and the host's `initialize` waits, or another request came: whoever
    /// stands for the workspace answers.
    Away(Ticket, Request, Away),
    /// `initialize` or `server/discover` was answered: the raw result.
    Connected(String),
    /// The legacy session takes messages.
    Ready {
        /// The host was answered while the workspace was away: it has to look again.
        after_outage: bool,
    },
}

/// Why the host has to be answered without the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Away {
    /// In words.
    pub(crate) words: String,
    /// The version that the host is told.
    pub(crate) version: String,
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// AEROSTACK_REQUEST_TIMEOUT, or the era probe's limit.
    Deadline(CallId),
    /// A request is sent again.
    Retry(CallId),
    /// A request's event stream is resumed.
    Resume(CallId),
    /// A legacy cancel follows its request.
    Cancel(ExchangeId),
    /// The host's `initialize` is answered without the workspace.
    Patience(CallId),
    /// The workspace is tried again.
    Reconnect,
    /// The session's event stream is opened again.
    Stream,
    /// The rate limit's pause is over.
    RateLimit,
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        context::Timer::Mcp(timer)
    }
}

/// A POST that wants no answer: a notification, or the host's answer to the workspace.
#[derive(Clone, Debug)]
struct Notice {
    text: Rc<str>,
    era: Era,
    retries: u8,
    /// `notifications/initialized`: the session is ready once it is accepted.
    confirms: bool,
}

/// What an exchange is for.
#[derive(Debug)]
enum Purpose {
    /// A request, or the rest of its event stream.
    Request(Asked),
    /// A request that is answered, or that nobody wants any more: what else comes is for the host.
    Answered(Era),
    /// The same, and the cancel that follows once the request has left.
    Cancelled(Rc<str>),
    /// A message that wants no answer, in the session of this generation.
    Notice(Notice, u32),
    /// The session's event stream; whether messages came on it.
    EventStream { session: u32, delivered: bool },
    /// The end of a session.
    Delete,
}

/// An exchange that a request waits for.
#[derive(Debug)]
struct Asked {
    call: CallId,
    /// The session (by generation) whose id it carried; 0 for none.
    session: u32,
    /// It left before `initialized` was accepted.
    is_early: bool,
    /// It asks for the rest of an event stream.
    is_resumption: bool,
    /// Messages came.
    delivered: bool,
    /// An answer with another id came: its words.
    stray: Option<String>,
}

/// What waits until the session takes messages again.
#[derive(Debug)]
enum Parked {
    Call(CallId),
    Notice(Rc<str>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mcp {
    calls: Calls,
    exchanges: Table<ExchangeId, Purpose>,
    session: Session,
    /// Counts sessions.
    generation: u32,
    /// When the session was last opened again because the workspace forgot it.
    reopened: Option<Instant>,
    parked: VecDeque<Parked>,
    /// Bytes of notices that wait, parked or with their exchange.
    notice_bytes: usize,
    gate: Gate,
    /// Requests of the session to the host that have no answer yet, by raw id.
    asked: Table<Box<str>, ()>,
    /// Messages that want no answer and wait for the token file, read again after a 401.
    refused_notices: Vec<(Notice, Failure)>,
    tool_headers: ToolHeaders,
    /// Lists of tools that are read to learn headers, each with the request that needs them.
    learning: Table<CallId, Learning>,
    events: VecDeque<Event>,
}

impl Mcp {
    pub(crate) fn new() -> Self {
        Self {
            calls: Calls::default(),
            exchanges: Table::new(),
            session: Session::None,
            generation: 0,
            reopened: None,
            parked: VecDeque::new(),
            notice_bytes: 0,
            gate: Gate::default(),
            asked: Table::new(),
            refused_notices: Vec::new(),
            tool_headers: ToolHeaders::default(),
            learning: Table::new(),
            events: VecDeque::new(),
        }
    }

    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, http: &mut Http, timer: Timer) {
        match timer {
            Timer::Deadline(call) => self.deadline_passed(ctx, http, call),
            Timer::Retry(call) => self.launch(ctx, http, call),
            Timer::Resume(call) => self.resume(ctx, http, call),
            Timer::Cancel(exchange) => self.post_cancel(ctx, http, exchange),
            Timer::Patience(call) => self.patience_over(ctx, http, call),
            Timer::Reconnect => self.reconnect(ctx, http),
            Timer::Stream => self.open_stream(ctx, http),
            Timer::RateLimit => self.rate_limit_over(ctx, http),
        }
    }

    /// Something happened to an exchange of this machine.
    pub(crate) fn handle_exchange(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        what: http::What,
    ) {
        match what {
            http::What::Sent => self.left(ctx, id),
            // The bytes went to a stale connection before they were sent again.
            http::What::Repeated => self.may_have_run(id),
            http::What::Head => self.head_came(ctx, http, id),
            http::What::Message(data) => self.event_came(ctx, http, id, data),
            http::What::OldTransport => self.old_transport(ctx, http, id),
            http::What::Response(response) => self.response_came(ctx, http, id, response),
            http::What::Ended { position, rest } => {
                self.stream_ended(ctx, http, id, position, rest);
            }
            http::What::Failed { failure, stream } => {
                self.exchange_failed(ctx, http, id, failure, stream);
            }
            // This machine asks for no upgrade.
            http::What::Upgraded(_) | http::What::Bytes(_) => http.abort(ctx, id),
        }
    }

    /// Why the workspace is away, while the host has been answered without it.
    pub(crate) fn away(&self) -> Option<&str> {
        self.session.outage().map(|outage| outage.reason.as_str())
    }

    /// True once the host has begun a legacy session.
    pub(crate) fn has_session(&self) -> bool {
        self.session.is_begun()
    }

    /// Bytes that wait: requests, and messages that want no answer.
    pub(crate) fn held_bytes(&self) -> usize {
        self.calls.bytes() + self.notice_bytes + self.gate.bytes()
    }

    /// True while no message of the host is on its way, or waits to be.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.hosts() == 0 && self.notice_bytes == 0 && self.gate.bytes() == 0
    }

    /// True while an exchange of this machine is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// An exchange for this purpose: its events will find it.
    fn begin(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        request: http::Request,
        deadline: http::Deadline,
        purpose: Purpose,
    ) -> ExchangeId {
        let id = http.send(ctx, request, deadline);
        if let Purpose::Notice(notice, _) = &purpose {
            self.notice_bytes += notice.cost();
        }
        self.exchanges.insert(id, purpose);
        id
    }

    /// An exchange is over, or of no interest any more.
    fn finish(&mut self, id: ExchangeId) -> Option<Purpose> {
        let purpose = self.exchanges.remove(&id)?;
        if let Purpose::Notice(notice, _) = &purpose {
            self.notice_bytes -= notice.cost();
        }
        Some(purpose)
    }

    /// Ends an exchange; nobody is told.
    fn drop_exchange(&mut self, ctx: &mut Context, http: &mut Http, id: ExchangeId) {
        self.finish(id);
        ctx.stop(Timer::Cancel(id));
        http.abort(ctx, id);
    }

    fn park(&mut self, parked: Parked) {
        if let Parked::Notice(text) = &parked {
            self.notice_bytes += text.len() + OVERHEAD_BYTES;
        }
        self.parked.push_back(parked);
    }

    fn take_parked(&mut self) -> VecDeque<Parked> {
        let parked = std::mem::take(&mut self.parked);
        for notice in &parked {
            if let Parked::Notice(text) = notice {
                self.notice_bytes -= text.len() + OVERHEAD_BYTES;
            }
        }
        parked
    }
}

impl Notice {
    fn cost(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }
}

impl Asked {
    fn new(call: CallId, session: u32, is_early: bool) -> Self {
        Self {
            call,
            session,
            is_early,
            is_resumption: false,
            delivered: false,
            stray: None,
        }
    }
}

#[cfg(test)]
mod tests;
