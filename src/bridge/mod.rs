//! The pure engine: one deterministic value that is fed inputs and drained of outputs.
//!
//! It is a tree of machines. Each owns its state, is driven by commands and `handle_*`, and speaks
//! through `poll_event`; it borrows a `Context` and knows no sibling. This file alone knows them
//! all: it carries inputs to machines, and events between them. It decides nothing.
//!
//! ```text
//!  host line ─▶ host ─▶ mcp ─▶ http ─▶ io::conn ─▶ workspace
//!  host line ◀─ host ◀─ mcp ◀─ http ◀─ io::conn ◀─ workspace
//!                        ▲      ▲
//!                extension      └─ channel
//!          (approvals, builtin)
//! ```

mod approvals;
mod builtin;
mod channel;
mod context;
mod contract;
mod diagnosis;
mod extension;
mod host;
mod http;
mod ids;
mod mcp;
mod peers;
mod random;
mod request;
mod shutdown;
mod timers;
mod turns;

use crate::config::Config;
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc;
use crate::proto::transport::ConnId;
use builtin::Counts;
pub(crate) use channel::Socket;
use context::{Context, Timer};
pub use contract::{Engine, Input, Now, Output};
use extension::Extension;
use host::Host;
use http::{Http, Owner};
use ids::{Era, Requester, Ticket};
use mcp::{Call, Mcp, Withdrawn};
use request::{Cancel, Request};
use shutdown::{Phase, Shutdown};
use std::time::{Duration, Instant};

/// The engine. Drain `poll_output` to `None` after every `handle_input`; the reactor is the only
/// caller.
#[derive(Debug)]
pub struct Bridge {
    ctx: Context,
    host: Host,
    http: Http,
    mcp: Mcp,
    extension: Extension,
    shutdown: Shutdown,
    calls_total: u64,
    /// Our own `server/discover` was sent, for a modern host that never asks.
    is_discovering: bool,
}

impl Bridge {
    /// A bridge for this configuration. `seed` feeds jitter and ids: the same seed and the same
    /// inputs give the same outputs. The first connection is dialled at once, before stdin speaks.
    pub fn new(mut config: Config, seed: u64, now: Now) -> Self {
        let warnings = std::mem::take(&mut config.warnings);
        let (host, http) = (Host::new(config.limits.line_max_bytes), Http::new(&config));
        let mut ctx = Context::new(config, seed, now);
        let extension = Extension::new(ctx.random().next(), now.wall_ms);
        for warning in warnings {
            ctx.log(Level::Warn, || warning);
        }
        let mut bridge = Self {
            ctx,
            host,
            http,
            mcp: Mcp::new(),
            extension,
            shutdown: Shutdown::default(),
            calls_total: 0,
            is_discovering: false,
        };
        bridge.http.dial_ahead(&mut bridge.ctx);
        bridge
    }
}

impl Engine for Bridge {
    fn handle_input(&mut self, input: Input<'_>, now: Now) {
        let slept = self.ctx.advance(now);
        match input {
            Input::Stdin(bytes) => self.stdin(bytes),
            Input::StdinClosed => {
                self.host.handle_end(&mut self.ctx);
                self.route();
                self.drain(self.ctx.limits().drain);
            }
            Input::StdoutDrained => self.host.handle_drained(),
            // Nobody reads any more: answers need not be waited for.
            Input::StdoutGone => self.farewell(),
            Input::Terminate if self.shutdown.terminate() => self.exit(),
            Input::Terminate => self.drain(self.ctx.limits().drain_terminated),
            Input::Connected(conn, _) => self.http.handle_connected(&mut self.ctx, conn),
            Input::Received(conn, bytes) => self.received(conn, bytes),
            Input::Sent(conn) => self.http.handle_sent(conn),
            Input::Closed(conn, close) => self.http.handle_closed(&mut self.ctx, conn, close),
            Input::TokenRead(text) => self.mcp.handle_token(&mut self.ctx, &mut self.http, text),
            Input::Timeout => self.timeouts(),
        }
        self.route();
        // Behind the input, so that a connection it ends is not touched again; before anything is sent.
        if slept && self.ctx.phase() != Phase::Over {
            self.wake_up();
        }
        self.settle();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.ctx.pop_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.ctx.next_timeout()
    }
}

impl Bridge {
    fn stdin(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.host.handle_bytes(&mut self.ctx, &mut bytes);
            self.route();
        }
    }

    fn received(&mut self, conn: ConnId, mut bytes: &[u8]) {
        loop {
            self.http.handle_received(&mut self.ctx, conn, &mut bytes);
            if !self.route() {
                return;
            }
        }
    }

    fn timeouts(&mut self) {
        while let Some(timer) = self.ctx.pop_due() {
            let (ctx, http) = (&mut self.ctx, &mut self.http);
            match timer {
                Timer::Http(timer) => http.handle_timer(ctx, timer),
                Timer::Mcp(timer) => self.mcp.handle_timer(ctx, http, timer),
                Timer::Extension(timer) => self.extension.handle_timer(ctx, http, timer),
                Timer::Shutdown(shutdown::Timer::Drain) => self.farewell(),
                Timer::Shutdown(shutdown::Timer::Delete) => _ = self.mcp.leave(ctx, http),
                Timer::Shutdown(shutdown::Timer::Farewell) => self.exit(),
            }
            self.route();
        }
    }

    /// What follows from any input: turns, the end, connections for who waits, limits.
    fn settle(&mut self) {
        if self.http.take_back() {
            self.extension.hurry(&mut self.ctx);
            self.mcp.hurry(&mut self.ctx);
        }
        self.extension.settle(&mut self.ctx, &mut self.http);
        self.route();
        self.end_if_done();
        if self.ctx.phase() == Phase::Over {
            return;
        }
        let stdout = self.host.stdout_bytes();
        let calls = self.host.held_bytes() + self.mcp.held_bytes() + self.http.waiting_bytes();
        let rest = self.extension.socket_bytes() + self.http.reply_bytes();
        let from_host = stdout + calls + self.extension.waiting_bytes();
        self.ctx.note_held(from_host + rest, from_host, stdout);
        self.host.settle(&mut self.ctx);
        self.http.settle(&mut self.ctx);
    }

    /// The machine slept: nothing that was open before is.
    fn wake_up(&mut self) {
        self.ctx.log(Level::Info, || {
            "the machine slept: connections are renewed".to_owned()
        });
        self.http.drop_idle(&mut self.ctx);
        self.extension.wake(&mut self.ctx, &mut self.http);
        self.route();
    }

    /// Carries events between machines until none has anything to say: what follows from a message
    /// before the next message. True if there was anything.
    fn route(&mut self) -> bool {
        let mut any = false;
        loop {
            let has_session = self.mcp.has_session();
            self.ctx.peers_mut().note_session(has_session);
            let (ctx, http) = (&mut self.ctx, &mut self.http);
            if let Some(event) = self.extension.poll_event(ctx, http) {
                self.extension_event(event);
            } else if let Some(event) = self.mcp.poll_event() {
                self.mcp_event(event);
            } else if let Some(event) = self.host.poll_event() {
                self.host_event(event);
            } else if let Some(http::Event { id, owner, what }) = self.http.poll_event() {
                let (ctx, http) = (&mut self.ctx, &mut self.http);
                match owner {
                    Owner::Mcp => self.mcp.handle_exchange(ctx, http, id, what),
                    Owner::Channel => self.extension.handle_exchange(ctx, http, id, what),
                }
            } else {
                return any;
            }
            any = true;
        }
    }

    /// Carries what the extension has to say, and nothing else.
    fn route_extension(&mut self) {
        while let Some(event) = self.extension.poll_event(&mut self.ctx, &mut self.http) {
            self.extension_event(event);
        }
    }

    // The host.

    fn host_event(&mut self, event: host::Event) {
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        match event {
            host::Event::Request(ticket, request) => self.host_request(ticket, *request),
            host::Event::Initialized(text) => self.mcp.host_initialized(ctx, http, text),
            host::Event::Notification(text, era) => self.mcp.notify(ctx, http, text, era),
            host::Event::Cancelled(Some(ticket), cancel) => self.cancelled(ticket, &cancel),
            host::Event::Cancelled(None, cancel) => self.mcp.forward_cancel(ctx, http, &cancel),
        }
    }

    fn host_request(&mut self, ticket: Ticket, request: Request) {
        self.ctx.log(Level::Debug, || {
            format!("{} (id {}) from the host", request.label(), request.id())
        });
        self.calls_total += u64::from(request.method() == "tools/call");
        let opens = request.method() == "initialize" && request.era() == Era::Legacy;
        match request.era() {
            Era::Modern => self.meet_modern(&request),
            Era::Legacy if opens => self.ctx.meet(request.client_info()),
            Era::Legacy => {}
        }
        let (ctx, away) = (&mut self.ctx, self.mcp.away());
        if self.extension.handle_request(ctx, ticket, &request, away) {
            return;
        }
        if opens {
            return self.mcp.initialize(ctx, &mut self.http, ticket, request);
        }
        let call = Call::new(Requester::Host(ticket), request);
        self.extension.submit(ctx, call);
    }

    /// A modern host has no handshake: its first requests say who it is, and that it works.
    fn meet_modern(&mut self, request: &Request) {
        self.ctx.meet_modern(request);
        if request.method() == "server/discover" {
            return;
        }
        if self.ctx.peers().was_asked() {
            self.extension.begin(&mut self.ctx);
        } else if self.ctx.config().builtins_always()
            && !std::mem::replace(&mut self.is_discovering, true)
        {
            self.ask(Requester::Discover, "server/discover", "{}");
        }
    }

    fn cancelled(&mut self, ticket: Ticket, cancel: &Cancel) {
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        match self.mcp.withdraw(ctx, http, ticket, cancel) {
            Withdrawn::Gone => {}
            Withdrawn::Stays => return,
            Withdrawn::Unknown => {
                self.extension.withdraw(ctx, ticket, cancel.reason());
                self.mcp.withdraw_own(ctx, http, ticket, cancel);
            }
        }
        self.host.forget(&mut self.ctx, ticket);
    }

    fn answer(&mut self, ticket: Ticket, answer: Vec<u8>) {
        self.host.answer(&mut self.ctx, ticket, answer);
    }

    // The workspace.

    /// A request of our own, in the generation of the host's traffic.
    fn ask(&mut self, requester: Requester, method: &str, params: &str) {
        let (era, meta) = self.ctx.peers().era();
        let with_meta = meta.map(|meta| jsonrpc::set_member(params, "_meta", meta));
        let params = (era, with_meta.as_deref().unwrap_or(params));
        self.mcp
            .ask(&mut self.ctx, &mut self.http, requester, method, params);
    }

    fn mcp_event(&mut self, event: mcp::Event) {
        match event {
            mcp::Event::Answered(call, reply, refusal) => self.answered(&call, reply, refusal),
            mcp::Event::Failed(call, failure) => self.failed(&call, failure),
            mcp::Event::Gated(call, needed, reply) => {
                let clock_s = self.workspace_clock_s();
                let clock_s = clock_s.unwrap_or(self.ctx.wall_ms() / 1_000);
                let (ctx, call) = (&mut self.ctx, call);
                self.extension
                    .handle_gated(ctx, call, &needed, reply, clock_s);
            }
            mcp::Event::StrayApproval(id) => self.extension.handle_stray(&id),
            mcp::Event::Unused(approval) => self.extension.restore(&approval),
            mcp::Event::Message(message) => self.host.forward(&mut self.ctx, message),
            mcp::Event::Away(ticket, request, away) => {
                let answer = builtin::answer_while_away(&self.ctx, &request, &away);
                self.answer(ticket, answer);
            }
            mcp::Event::Connected(result) => {
                let offer = Offer::of_result(&result, self.ctx.secrets());
                self.ctx.peers_mut().learn(offer);
                if self.is_discovering {
                    self.extension.begin(&mut self.ctx);
                }
            }
            mcp::Event::Ready { after_outage } => {
                if after_outage {
                    self.host.tell_lists_changed(&mut self.ctx);
                }
                self.extension.begin(&mut self.ctx);
            }
        }
    }

    fn answered(&mut self, call: &Call, reply: mcp::Reply, refusal: Option<Failure>) {
        let mcp::Reply { bytes, error } = reply;
        match call.requester() {
            Requester::Host(ticket) => {
                if let Some(failure) = refusal {
                    self.say_failed(ticket, failure);
                }
                let (ctx, request) = (&mut self.ctx, call.request());
                let answer = self.extension.adapt(ctx, request, bytes, error);
                // What the host has to hear before it. What the workspace said behind it stays behind it.
                self.route_extension();
                self.answer(ticket, answer);
            }
            requester => self
                .extension
                .handle_reply(&mut self.ctx, requester, &bytes),
        }
    }

    fn failed(&mut self, call: &Call, failure: Failure) {
        let instead = self.extension.handle_failure(&mut self.ctx, call, &failure);
        match (call.requester(), instead) {
            (Requester::Host(ticket), Some(answer)) => self.answer(ticket, answer),
            (Requester::Host(ticket), None) => {
                let answer = call.failure_answer(&mut self.ctx, &failure);
                self.say_failed(ticket, failure);
                self.answer(ticket, answer);
            }
            (requester, _) => {
                if requester == Requester::Discover && failure.is_transient() {
                    // The next request of the host asks again.
                    self.is_discovering = false;
                }
                let origin = self.ctx.origin();
                self.ctx.log(Level::Debug, || {
                    format!(
                        "a request of the gateway failed: {}",
                        failure.words(&origin)
                    )
                });
            }
        }
    }

    /// The host's answer is about to follow: why there is none of the workspace's own, or that it
    /// came with an error status.
    fn say_failed(&mut self, ticket: Ticket, failure: Failure) {
        if let Some(raw_id) = self.host.raw_id(ticket) {
            self.ctx
                .emit(Output::Failed(raw_id.into(), Box::new(failure)));
        }
    }

    fn extension_event(&mut self, event: extension::Event) {
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        match event {
            extension::Event::Send(call) => self.mcp.dispatch(ctx, http, call),
            extension::Event::SendLater(call, pause) => self.mcp.repeat(ctx, call, pause),
            extension::Event::Ask(requester, method, params, Some(era)) => {
                self.mcp.ask(ctx, http, requester, method, (era, &params));
            }
            extension::Event::Ask(requester, method, params, None) => {
                self.ask(requester, method, &params);
            }
            extension::Event::Answer(ticket, answer) => self.answer(ticket, answer),
            extension::Event::PassOn(call, reply) => self.answered(&call, reply, None),
            extension::Event::Notify(notification) => self.host.tell(ctx, notification),
            extension::Event::Waiting(ticket, words) => {
                self.host.report_progress(ctx, ticket, &words);
            }
            extension::Event::HeartbeatDue => self.extension.beat(&self.ctx, self.counts()),
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            in_flight: self.host.open_requests(),
            pending_approvals: self.extension.pending_approvals(),
            calls_total: self.calls_total,
        }
    }

    // The end.

    fn drain(&mut self, limit: Duration) {
        if self.shutdown.drain(&mut self.ctx, limit) {
            self.mcp.end_subscriptions(&mut self.ctx, &mut self.http);
            self.route();
        }
    }

    /// The drain ends early when nothing is in flight, the farewell when everything has been said.
    fn end_if_done(&mut self) {
        let drains = matches!(self.ctx.phase(), Phase::Draining(_));
        if drains && self.host.open_requests() == 0 && self.mcp.is_quiet() {
            self.farewell();
        }
        let said =
            self.ctx.phase() == Phase::Farewell && !self.mcp.is_busy() && !self.extension.is_busy();
        if said && !self.mcp.leave(&mut self.ctx, &mut self.http) {
            self.exit();
        }
    }

    /// Every request is answered, approvals are withdrawn, presence ends.
    fn farewell(&mut self) {
        if !self.shutdown.begin_farewell(&mut self.ctx) {
            return;
        }
        let counts = self.counts();
        self.end_requests();
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        self.extension.say_offline(ctx, http, counts);
        self.route();
    }

    fn exit(&mut self) {
        if self.shutdown.exit(&mut self.ctx) {
            // What was read during the farewell, or is cut off by a second signal.
            self.end_requests();
            self.http.close_all(&mut self.ctx);
            self.ctx.emit(Output::Exit(0));
        }
    }

    fn end_requests(&mut self) {
        self.mcp.end_calls(&mut self.ctx, &mut self.http);
        self.route();
        self.extension.end(&mut self.ctx);
        self.route();
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
