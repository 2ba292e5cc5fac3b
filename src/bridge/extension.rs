//! What Aerostack adds to MCP: approvals, the built-in tools, presence, and the channels to the
//! dashboard. It sits on the MCP client as a host would.
//!
//! Owns those machines and carries events between them; what it wants of the host's side or of the
//! workspace it says. It decides nothing.

use super::approvals::{self, Approvals};
use super::builtin::{self, Builtins, Counts};
use super::channel::{self, Channels, Socket};
use super::context::{self, Context};
use super::http::{self, ExchangeId, Http};
use super::ids::{Era, Requester, Subject, Ticket};
use super::mcp::{Call, Reply};
use super::request::Request;
use super::turns::Job;
use crate::failure::Failure;
use crate::proto::aerostack::ApprovalNeeded;
use std::collections::VecDeque;
use std::time::Duration;

/// What this machine has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request goes to the workspace.
    Send(Call),
    /// A request goes to the workspace once more after a pause.
    SendLater(Call, Duration),
    /// The workspace is asked: by whom, the method and its raw params; the generation of MCP, if it is
    /// not that of the host's traffic.
    Ask(Requester, &'static str, String, Option<Era>),
    /// The answer to a request of the host.
    Answer(Ticket, Vec<u8>),
    /// The workspace's reply is for its requester after all.
    PassOn(Call, Reply),
    /// A notification for the host.
    Notify(Vec<u8>),
    /// The host of this request waits, and for what.
    Waiting(Ticket, String),
    /// It is the turn of a heartbeat.
    HeartbeatDue,
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Sockets and polls.
    Channel(channel::Timer),
    /// Approvals and those who wait for them.
    Approvals(approvals::Timer),
    /// The chat's waiting calls, the next heartbeat.
    Builtin(builtin::Timer),
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        context::Timer::Extension(timer)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Extension {
    channels: Channels,
    approvals: Approvals,
    builtins: Builtins,
    events: VecDeque<Event>,
}

impl Extension {
    /// `random` names this process in the dashboard.
    pub(crate) fn new(random: u64, wall_ms: u64) -> Self {
        Self {
            channels: Channels::new(),
            approvals: Approvals::default(),
            builtins: Builtins::new(random, wall_ms),
            events: VecDeque::new(),
        }
    }

    /// The next thing that happened, once what the parts tell each other has been carried.
    pub(crate) fn poll_event(&mut self, ctx: &mut Context, http: &mut Http) -> Option<Event> {
        while self.events.is_empty() {
            if let Some(event) = self.approvals.poll_event() {
                self.approvals_event(ctx, http, event);
            } else if let Some(event) = self.builtins.poll_event() {
                self.builtins_event(ctx, http, event);
            } else {
                let event = self.channels.poll_event()?;
                self.channels_event(ctx, event);
            }
        }
        self.events.pop_front()
    }

    fn approvals_event(&mut self, ctx: &mut Context, http: &mut Http, event: approvals::Event) {
        let event = match event {
            approvals::Event::Watch(key, url, status_url) => {
                let subject = Subject::Approval(key);
                return self.channels.open(ctx, http, subject, url, status_url);
            }
            approvals::Event::Unwatch(key) => {
                return self.channels.close(ctx, http, Subject::Approval(key));
            }
            approvals::Event::PollNow(key) => {
                return self.channels.poll_now(ctx, Subject::Approval(key));
            }
            approvals::Event::Decided(ticket, id, state) => {
                return self.builtins.handle_decided(ctx, ticket, &id, &state);
            }
            approvals::Event::Undecided(ticket, words) => {
                return self.builtins.handle_undecided(ticket, &words);
            }
            approvals::Event::Resend(call) => Event::Send(call),
            approvals::Event::ResendLater(call, pause) => Event::SendLater(call, pause),
            approvals::Event::Answer(ticket, answer) => Event::Answer(ticket, answer),
            approvals::Event::PassOn(call, reply) => Event::PassOn(call, reply),
            approvals::Event::Withdraw(approvals::Withdrawal { params, era }) => {
                Event::Ask(Requester::Report, "aerostack/approvals/cancel", params, era)
            }
            approvals::Event::Waiting(ticket, words) => Event::Waiting(ticket, words),
        };
        self.events.push_back(event);
    }

    fn builtins_event(&mut self, ctx: &mut Context, http: &mut Http, event: builtin::Event) {
        let event = match event {
            builtin::Event::Guard(ticket, request) => {
                let call = Call::new(Requester::Guardian(ticket), *request);
                return self.submit(ctx, call);
            }
            builtin::Event::Turn(job) => return self.channels.want(job),
            builtin::Event::OpenChat(url) => {
                return self.channels.open(ctx, http, Subject::Chat, url, None);
            }
            builtin::Event::CloseChat => return self.channels.close(ctx, http, Subject::Chat),
            builtin::Event::PollChat => return self.channels.poll_now(ctx, Subject::Chat),
            builtin::Event::Ask(requester, method, params) => {
                Event::Ask(requester, method, params, None)
            }
            builtin::Event::Answer(ticket, answer) => Event::Answer(ticket, answer),
            builtin::Event::Notify(notification) => Event::Notify(notification),
            builtin::Event::Waiting(ticket, words) => Event::Waiting(ticket, words.to_owned()),
        };
        self.events.push_back(event);
    }

    fn channels_event(&mut self, ctx: &mut Context, event: channel::Event) {
        match event {
            channel::Event::Pushed(Subject::Approval(key), text) => {
                self.approvals.handle_state(ctx, key, &text);
            }
            channel::Event::Pushed(Subject::Chat, text) => self.builtins.handle_pushed(ctx, &text),
            channel::Event::Turn(Job::Poll(Subject::Chat)) => self.builtins.poll_chat(ctx),
            channel::Event::Turn(Job::Poll(subject @ Subject::Approval(key))) => {
                if let Some((era, params)) = self.approvals.question(key) {
                    let (requester, method) = (Requester::Poll(subject), "aerostack/approvals/get");
                    let ask = Event::Ask(requester, method, params, Some(era));
                    self.events.push_back(ask);
                }
            }
            channel::Event::Turn(Job::Heartbeat) => self.events.push_back(Event::HeartbeatDue),
            channel::Event::Read(key, state) => {
                self.channels.polled(ctx, Subject::Approval(key));
                if let Some(state) = state {
                    self.approvals.handle_state(ctx, key, &state);
                }
            }
        }
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, http: &mut Http, timer: Timer) {
        match timer {
            Timer::Channel(timer) => self.channels.handle_timer(ctx, http, timer),
            Timer::Approvals(timer) => self.approvals.handle_timer(ctx, timer),
            Timer::Builtin(timer) => self.builtins.handle_timer(ctx, timer),
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
        self.channels.handle_exchange(ctx, http, id, what);
    }

    /// The host works: the dashboard may know, and messages from there are wanted.
    pub(crate) fn begin(&mut self, ctx: &mut Context) {
        self.builtins.begin(ctx);
    }

    /// A request of the host. False if it calls no built-in tool. `away`: why the workspace is not
    /// there.
    pub(crate) fn handle_request(
        &mut self,
        ctx: &mut Context,
        ticket: Ticket,
        request: &Request,
        away: Option<&str>,
    ) -> bool {
        self.builtins.handle_request(ctx, ticket, request, away)
    }

    /// A request goes to the workspace, unless it repeats one whose approval is still open.
    pub(crate) fn submit(&mut self, ctx: &mut Context, call: Call) {
        if let Some(call) = self.approvals.reattach(ctx, call) {
            self.events.push_back(Event::Send(call));
        }
    }

    /// A request was answered with -32050, at this moment by the workspace's clock (Unix seconds).
    pub(crate) fn handle_gated(
        &mut self,
        ctx: &mut Context,
        call: Call,
        needed: &ApprovalNeeded,
        reply: Reply,
        clock_s: u64,
    ) {
        self.approvals
            .handle_needed(ctx, call, needed, reply, clock_s);
    }

    /// A request that nobody waits for any more would have needed this approval.
    pub(crate) fn handle_stray(&mut self, approval_id: &str) {
        self.approvals.handle_stray(approval_id);
    }

    /// A request was taken back that had not left under this approval.
    pub(crate) fn restore(&mut self, approval_id: &str) {
        self.approvals.restore(approval_id);
    }

    /// The host took a request back that waits here.
    pub(crate) fn withdraw(&mut self, ctx: &mut Context, ticket: Ticket, reason: &str) {
        self.approvals.withdraw(ctx, ticket, reason);
        self.builtins.withdraw(ctx, ticket);
    }

    /// The workspace answered a request of this machine.
    pub(crate) fn handle_reply(&mut self, ctx: &mut Context, requester: Requester, reply: &[u8]) {
        if let Requester::Poll(subject) = requester {
            self.channels.polled(ctx, subject);
        }
        match requester {
            Requester::Poll(Subject::Approval(key)) => self.approvals.handle_reply(ctx, key, reply),
            requester => self.builtins.handle_reply(ctx, requester, reply),
        }
    }

    /// A request has no answer and will get none. Returns what the host is answered instead of the
    /// failure, if anything.
    pub(crate) fn handle_failure(
        &mut self,
        ctx: &mut Context,
        call: &Call,
        failure: &Failure,
    ) -> Option<Vec<u8>> {
        match call.requester() {
            Requester::Host(_) => {
                if let Some(approval) = call.unused_consent(failure) {
                    self.approvals.restore(approval);
                }
                return self.builtins.list_alone(ctx, call.request(), failure);
            }
            Requester::Poll(subject) => self.channels.polled(ctx, subject),
            requester => self.builtins.handle_failure(ctx, requester, failure),
        }
        None
    }

    /// The workspace's answer to a request of the host, with what the gateway adds to it.
    pub(crate) fn adapt(
        &mut self,
        ctx: &mut Context,
        request: &Request,
        bytes: Vec<u8>,
        error: Option<i64>,
    ) -> Vec<u8> {
        self.builtins.adapt(ctx, request, bytes, error)
    }

    /// Approvals that a request waits for.
    pub(crate) fn pending_approvals(&self) -> usize {
        self.approvals.pending()
    }

    /// A heartbeat, with these counts.
    pub(crate) fn beat(&mut self, ctx: &Context, counts: Counts) {
        self.builtins.beat(ctx, counts);
    }

    /// What follows from any input.
    pub(crate) fn settle(&mut self, ctx: &mut Context, http: &mut Http) {
        self.channels.settle(ctx, http);
    }

    /// The workspace can be reached again.
    pub(crate) fn hurry(&mut self, ctx: &mut Context) {
        self.channels.hurry(ctx);
    }

    /// The machine slept: sockets are dead.
    pub(crate) fn wake(&mut self, ctx: &mut Context, http: &mut Http) {
        self.channels.wake(ctx, http);
    }

    /// Bytes of the host's requests that wait for a person.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.approvals.held_bytes()
    }

    /// Bytes that wait in open sockets.
    pub(crate) fn socket_bytes(&self) -> usize {
        self.channels.held_bytes()
    }

    /// True while an exchange of this machine is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.channels.is_busy()
    }

    /// The end: who waits is answered, approvals are withdrawn.
    pub(crate) fn end(&mut self, ctx: &mut Context) {
        self.approvals.end(ctx);
        self.builtins.end(ctx);
    }

    /// The last words: this instance goes.
    pub(crate) fn say_offline(&mut self, ctx: &mut Context, http: &mut Http, counts: Counts) {
        self.channels.close(ctx, http, Subject::Chat);
        self.builtins.say_offline(ctx, counts);
    }

    /// Params of a heartbeat with this status.
    pub(crate) fn heartbeat(&self, ctx: &Context, status: &str, counts: Counts) -> String {
        self.builtins.heartbeat(ctx, status, counts)
    }

    /// Opens a WebSocket to see whether one can be opened.
    pub(crate) fn probe_socket(&mut self, ctx: &mut Context) {
        self.builtins.probe_chat(ctx);
    }

    /// How that went.
    pub(crate) fn probed_socket(&self) -> Socket {
        self.channels.socket(Subject::Chat)
    }
}
