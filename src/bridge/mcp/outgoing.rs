//! Messages on their way out: when each may leave, and which headers it carries.

use super::call::{Call, CallId, Stage};
use super::session::Link;
use super::{Asked, Mcp, Notice, Parked, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{self, Deadline, Http, Owner, Priority, Repeat, Why};
use crate::bridge::ids::{Era, Requester};
use crate::bridge::request::Request;
use crate::failure::Failure;
use crate::proto::http::request::{HeaderLines, Method, is_header_value};
use crate::proto::jsonrpc::{self, Kind};
use std::rc::Rc;

const ACCEPT_BOTH: &str = "application/json, text/event-stream";

impl Mcp {
    /// A request of the gateway's own.
    pub(crate) fn ask(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        requester: Requester,
        method: &str,
        (era, params): (Era, &str),
    ) {
        let id = ctx.own_id();
        let request = Request::own(&id, method, params, era);
        self.dispatch(ctx, http, Call::new(requester, request));
    }

    /// Sends a request, the first time or as a person approved it. The answer comes as an event.
    pub(crate) fn dispatch(&mut self, ctx: &mut Context, http: &mut Http, call: Call) {
        if call.requester().is_host() && call.request().era() == Era::Legacy {
            self.remember_setting(ctx, call.request());
            if let Some(outage) = self.session.outage() {
                let away = outage.away();
                return self.stand_in(call, &away);
            }
        }
        let id = self.admit(ctx, call, Stage::Parked);
        self.launch(ctx, http, id);
    }

    /// The same request once more after a pause, under a new id.
    pub(crate) fn repeat(&mut self, ctx: &mut Context, call: Call, pause: std::time::Duration) {
        let id = self.admit(ctx, call, Stage::Pause);
        let new_id = ctx.own_id();
        self.calls.rename(id, &new_id);
        ctx.set(Timer::Retry(id), pause);
    }

    /// Takes a request in; its time runs from now.
    pub(super) fn admit(&mut self, ctx: &mut Context, call: Call, stage: Stage) -> CallId {
        let limit = self.time_limit(ctx, &call);
        let id = self.calls.insert(call, stage);
        if let Some(limit) = limit {
            ctx.set(Timer::Deadline(id), limit);
        }
        id
    }

    /// "The client MUST receive an answer to its era probe quickly"; of all other requests the host
    /// owns the time, unless the person set AEROSTACK_REQUEST_TIMEOUT.
    fn time_limit(&self, ctx: &Context, call: &Call) -> Option<std::time::Duration> {
        match (call.requester().is_host(), call.request().method()) {
            (true, "server/discover") => Some(ctx.limits().discover_timeout),
            (true, "subscriptions/listen") | (false, _) => None,
            (true, _) => ctx.config().request_timeout,
        }
    }

    /// A notification of the host, or its answer to a request of the workspace.
    pub(crate) fn notify(&mut self, ctx: &mut Context, http: &mut Http, text: Rc<str>, era: Era) {
        if ctx.phase().is_farewell() {
            return;
        }
        if era == Era::Legacy {
            self.note_answered(&text);
            // Without a workspace there is nobody to notify.
            if self.session.outage().is_some() || self.session.is_lost() {
                return;
            }
            if self.session.is_closed() {
                return self.park(Parked::Notice(text));
            }
        }
        self.post(ctx, http, Notice::new(text, era));
    }

    fn note_answered(&mut self, text: &str) {
        if !self.asked.is_empty()
            && let Ok(message) = jsonrpc::parse_one(text)
            && let (Kind::Response, Some(id)) = (message.kind, message.id)
        {
            self.asked.remove(id);
        }
    }

    /// Sends a message that wants no answer.
    pub(super) fn post(&mut self, ctx: &mut Context, http: &mut Http, notice: Notice) {
        let mut headers = post_headers();
        let mut session = 0;
        match notice.era {
            Era::Modern => self.tool_headers.write_notice(&mut headers, &notice.text),
            Era::Legacy => session = write_session(&mut headers, self.session.link()),
        }
        let time = match notice.confirms {
            true => ctx.limits().initialized_timeout,
            false => ctx.limits().control_timeout,
        };
        let kind = (Priority::Control, Repeat::Never);
        let request = http::Request {
            body: Some(notice.text.clone()),
            tell_head: true,
            ..http::Request::new(Owner::Mcp, Method::Post, headers, kind)
        };
        let confirms = notice.confirms;
        let purpose = Purpose::Notice(notice, session);
        let exchange = self.begin(ctx, http, request, Deadline::Within(time), purpose);
        if confirms {
            self.confirming(exchange);
        }
    }

    /// Sends a request, or parks it where it has to wait.
    pub(super) fn launch(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let request = call.request();
        // The session is being given back: nothing of the host's leaves any more, and no report waits
        // until the gate opens.
        let waits = call.requester().ticket().is_some() || self.gate.is_closed();
        if ctx.phase().is_farewell() && waits {
            return self.conclude(ctx, http, id, Failure::Unsent);
        }
        // Whatever wanted it again, a rate limit's end or a new token.
        if self.is_overtaken(id) {
            return self.conclude(ctx, http, id, Failure::Unsent);
        }
        let in_session = request.era() == Era::Legacy && !call.is_initialize();
        let early = in_session && self.may_leave_early(id);
        if in_session && (self.session.is_lost() || self.session.is_closed()) && !early {
            self.calls.enter(id, Stage::Parked);
            self.park(Parked::Call(id));
            if self.session.is_lost() {
                self.reopen(ctx, http);
            }
        } else if self.gate.is_closed() {
            self.calls.enter(id, Stage::RateLimit);
        } else if call.is_subscription() && http.streams() >= ctx.limits().streams_max {
            let limit = ctx.limits().streams_max;
            self.conclude(ctx, http, id, Failure::TooManyStreams(limit));
        } else {
            self.transmit(ctx, http, id, early);
        }
    }

    /// A list that only reads may leave before `initialized` was accepted: on a slow link a round trip
    /// would be wasted. A strict server's refusal is not passed on.
    pub(super) fn may_leave_early(&self, id: CallId) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let lists = call.request().method().ends_with("/list");
        lists && self.session.is_confirming() && call.attempts.may_leave_early()
    }

    fn transmit(&mut self, ctx: &mut Context, http: &mut Http, id: CallId, is_early: bool) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let request = call.request();
        let mut headers = post_headers();
        let mut session = 0;
        match request.era() {
            Era::Modern => self.tool_headers.write(&mut headers, request),
            Era::Legacy if call.is_initialize() => {}
            Era::Legacy => session = write_session(&mut headers, self.session.link()),
        }
        let host = call.requester().is_host();
        let priority = match request.method() {
            "subscriptions/listen" => Priority::Stream,
            "initialize" | "ping" | "server/discover" => Priority::Control,
            _ if host => Priority::Call,
            _ => Priority::Control,
        };
        let repeat = match (call.may_repeat(ctx.at_most_once()), call.consent()) {
            (true, None) => Repeat::Harmless,
            (true, Some(_)) => Repeat::Unwanted,
            (false, _) => Repeat::Never,
        };
        let deadline = match priority {
            Priority::Stream => Deadline::None(Why::LongLived),
            Priority::Call | Priority::Control if host => Deadline::None(Why::HostDecides),
            Priority::Call | Priority::Control => Deadline::Within(ctx.limits().control_timeout),
        };
        let request = http::Request {
            body: Some(request.text().clone()),
            ..http::Request::new(Owner::Mcp, Method::Post, headers, (priority, repeat))
        };
        if call.is_initialize() {
            http.warm_later(ctx);
        }
        let purpose = Purpose::Request(Asked::new(id, session, is_early));
        let exchange = self.begin(ctx, http, request, deadline, purpose);
        self.calls.enter(id, Stage::Exchange(exchange));
    }

    /// A GET for an event stream: the session's, or the rest of a request's.
    pub(super) fn get(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        last_event_id: Option<&str>,
        make: impl FnOnce(u32) -> Purpose,
    ) -> http::ExchangeId {
        let mut headers = HeaderLines::default();
        headers.add("Accept", "text/event-stream");
        let session = write_session(&mut headers, self.session.link());
        if let Some(id) = last_event_id.filter(|id| is_header_value(id.as_bytes())) {
            headers.add("Last-Event-ID", id);
        }
        let kind = (Priority::Stream, Repeat::Harmless);
        let request = http::Request::new(Owner::Mcp, Method::Get, headers, kind);
        let deadline = Deadline::None(Why::LongLived);
        self.begin(ctx, http, request, deadline, make(session))
    }

    /// "Clients that no longer need a particular session SHOULD send an HTTP DELETE" (MCP 2025-11-25,
    /// transports).
    pub(super) fn give_back(&mut self, ctx: &mut Context, http: &mut Http, link: &Link) {
        if link.id.is_none() {
            return;
        }
        let mut headers = HeaderLines::default();
        write_session(&mut headers, Some(link));
        let kind = (Priority::Control, Repeat::Never);
        let request = http::Request::new(Owner::Mcp, Method::Delete, headers, kind);
        let deadline = Deadline::Within(ctx.limits().control_timeout);
        self.begin(ctx, http, request, deadline, Purpose::Delete);
    }

    /// What the host set, for a session that is opened again.
    fn remember_setting(&mut self, ctx: &Context, request: &Request) {
        let most = ctx.limits().subscriptions_max;
        let Some(hello) = self.session.hello_mut() else {
            return;
        };
        match (request.method(), request.uri()) {
            ("logging/setLevel", _) => hello.log_level = request.params().map(Into::into),
            ("resources/subscribe", Some(uri)) if hello.subscriptions.len() < most => {
                hello.subscriptions.insert(uri.into(), ());
            }
            ("resources/unsubscribe", Some(uri)) => {
                hello.subscriptions.remove(uri);
            }
            _ => {}
        }
    }

    /// Tells a new session what the host set before.
    pub(super) fn restore_settings(&mut self, ctx: &mut Context, http: &mut Http) {
        let Some(hello) = self.session.hello_mut() else {
            return;
        };
        let log_level = hello.log_level.clone();
        let subscriptions: Vec<Box<str>> = hello.subscriptions.keys().cloned().collect();
        if let Some(params) = log_level {
            let params = (Era::Legacy, &*params);
            self.ask(ctx, http, Requester::Nobody, "logging/setLevel", params);
        }
        for uri in subscriptions {
            let params = jsonrpc::object([("uri", &*uri)]);
            let params = (Era::Legacy, params.as_str());
            self.ask(ctx, http, Requester::Nobody, "resources/subscribe", params);
        }
    }
}

impl Notice {
    pub(super) fn new(text: Rc<str>, era: Era) -> Self {
        Self {
            text,
            era,
            retries: 0,
            confirms: false,
        }
    }
}

/// What every POST of a message carries.
fn post_headers() -> HeaderLines {
    let mut headers = HeaderLines::default();
    headers
        .add("Accept", ACCEPT_BOTH)
        .add("Content-Type", "application/json");
    headers
}

/// The session's headers; returns the generation of a session that has an id.
fn write_session(headers: &mut HeaderLines, link: Option<&Link>) -> u32 {
    let Some(link) = link else { return 0 };
    if let Some(version) = &link.version {
        headers.add("MCP-Protocol-Version", version);
    }
    if let Some(id) = &link.id {
        headers.add("Mcp-Session-Id", id);
    }
    link.counted()
}
