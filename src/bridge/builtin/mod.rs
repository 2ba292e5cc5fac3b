//! What the gateway adds to a workspace: the Local Guardian, the chat with the dashboard, and presence
//! there. Each is a machine of its own; this one carries what they say.

mod calls;
mod chat;
mod conversation;
mod guardian;
mod presence;
mod tools;

use super::context::{self, Context};
use super::extension;
use super::ids::{Requester, Subject, Ticket};
use super::request::Request;
use super::turns::Job;
use crate::failure::Failure;
use crate::proto::aerostack::ApprovalState;
use crate::proto::endpoint::Endpoint;
use crate::proto::jsonrpc;
use chat::Chat;
use guardian::Guardian;
pub(crate) use presence::Counts;
use presence::Presence;
use std::collections::VecDeque;
pub(crate) use tools::answer_while_away;
use tools::{Listing, Tool, are_offered, called};

/// What this machine has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// A person is to be asked about a local operation, on behalf of this call.
    Guard(Ticket, Box<Request>),
    /// The workspace is asked: the method and its raw params.
    Ask(Requester, &'static str, String),
    /// The answer to a call.
    Answer(Ticket, Vec<u8>),
    /// A notification for the host.
    Notify(Vec<u8>),
    /// The host of this call waits, and for what.
    Waiting(Ticket, &'static str),
    /// Work of the gateway's own, in turn.
    Turn(Job),
    /// Messages of the chat are pushed here.
    OpenChat(Endpoint),
    /// The workspace has no chat after all.
    CloseChat,
    /// Messages of the chat should be asked for now.
    PollChat,
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Calls of the chat tool that wait.
    Chat(chat::Timer),
    /// The next heartbeat.
    Heartbeat,
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        extension::Timer::Builtin(timer).into()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Builtins {
    guardian: Guardian,
    chat: Chat,
    presence: Presence,
    listing: Listing,
    events: VecDeque<Event>,
}

impl Builtins {
    /// `random` names this process in the dashboard.
    pub(crate) fn new(random: u64, wall_ms: u64) -> Self {
        Self {
            guardian: Guardian::default(),
            chat: Chat::default(),
            presence: Presence::new(random, wall_ms),
            listing: Listing::default(),
            events: VecDeque::new(),
        }
    }

    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        let said = self.events.pop_front();
        said.or_else(|| self.guardian.poll_event())
            .or_else(|| self.chat.poll_event())
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer {
            Timer::Chat(timer) => self.chat.handle_timer(ctx, timer),
            Timer::Heartbeat => self.events.push_back(Event::Turn(Job::Heartbeat)),
        }
    }

    /// The host works: the dashboard may know, and messages from there are wanted.
    pub(crate) fn begin(&mut self, ctx: &mut Context) {
        if self.presence.begin(ctx) {
            self.events.push_back(Event::Turn(Job::Heartbeat));
        }
        if are_offered(ctx) && !ctx.config().looks_only {
            self.chat.begin(ctx);
        }
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
        match called(ctx, request) {
            Some(Tool::Guardian) => self.guardian.handle_call(ctx, ticket, request, away),
            Some(Tool::Chat) => self.chat.handle_call(ctx, ticket, request, away),
            None => return false,
        }
        true
    }

    /// The host took a call back.
    pub(crate) fn withdraw(&mut self, ctx: &mut Context, ticket: Ticket) {
        self.guardian.withdraw(ticket);
        self.chat.withdraw(ctx, ticket);
    }

    /// The workspace answered a request of this machine.
    pub(crate) fn handle_reply(&mut self, ctx: &mut Context, requester: Requester, reply: &[u8]) {
        match requester {
            Requester::Guardian(ticket) => self.guardian.handle_answer(ctx, ticket, reply),
            Requester::Chat(ticket) => self.chat.handle_answer(ctx, ticket, reply),
            Requester::Poll(Subject::Chat) => self.chat.handle_polled(ctx, reply),
            Requester::Heartbeat => {
                let unread = self.presence.handle_answer(ctx, reply);
                if self.chat.lacks(unread) {
                    self.events.push_back(Event::Turn(Job::Poll(Subject::Chat)));
                }
            }
            Requester::Host(_)
            | Requester::Poll(Subject::Approval(_))
            | Requester::Discover
            | Requester::Report
            | Requester::Nobody => {}
        }
    }

    /// A request of this machine has no answer and will get none.
    pub(crate) fn handle_failure(
        &mut self,
        ctx: &mut Context,
        requester: Requester,
        failure: &Failure,
    ) {
        let words = || ctx.masked(&failure.words(&ctx.origin()));
        match requester {
            Requester::Guardian(ticket) => self.guardian.handle_failed(ticket, &words()),
            Requester::Chat(ticket) => self.chat.handle_failed(ticket, &words()),
            Requester::Heartbeat => self.presence.handle_failed(ctx),
            Requester::Host(_)
            | Requester::Poll(_)
            | Requester::Discover
            | Requester::Report
            | Requester::Nobody => {}
        }
    }

    /// A local operation was decided.
    pub(crate) fn handle_decided(
        &mut self,
        ctx: &Context,
        ticket: Ticket,
        approval_id: &str,
        state: &ApprovalState,
    ) {
        self.guardian
            .handle_decided(ctx, ticket, approval_id, state);
    }

    /// A local operation will not be decided.
    pub(crate) fn handle_undecided(&mut self, ticket: Ticket, why: &str) {
        self.guardian.handle_failed(ticket, why);
    }

    /// A message of the chat was pushed.
    pub(crate) fn handle_pushed(&mut self, ctx: &mut Context, text: &[u8]) {
        self.chat.handle_pushed(ctx, text);
    }

    /// It is the turn of the chat's poll.
    pub(crate) fn poll_chat(&mut self, ctx: &Context) {
        self.chat.poll(ctx);
    }

    /// Opens the chat's socket for a look.
    pub(crate) fn probe_chat(&mut self, ctx: &mut Context) {
        self.chat.watch(ctx);
    }

    /// It is the turn of a heartbeat.
    pub(crate) fn beat(&mut self, ctx: &Context, counts: Counts) {
        let params = self.presence.beat(ctx, counts);
        self.say_heartbeat(Requester::Heartbeat, params);
    }

    fn say_heartbeat(&mut self, requester: Requester, params: Option<String>) {
        if let Some(params) = params {
            let ask = Event::Ask(requester, "aerostack/heartbeat", params);
            self.events.push_back(ask);
        }
    }

    /// Params of a heartbeat with this status.
    pub(crate) fn heartbeat(&self, ctx: &Context, status: &str, counts: Counts) -> String {
        self.presence.params(ctx, status, counts)
    }

    /// The workspace's answer to a request of the host, with what the gateway adds to it.
    pub(crate) fn adapt(
        &mut self,
        ctx: &mut Context,
        request: &Request,
        bytes: Vec<u8>,
        error: Option<i64>,
    ) -> Vec<u8> {
        if error.is_none() && self.listing.take_withheld() {
            let method = "notifications/tools/list_changed";
            self.events
                .push_back(Event::Notify(jsonrpc::notification(method, None)));
        }
        match (request.method(), error) {
            ("initialize", None) => tools::adapt_initialize(ctx, request, bytes),
            ("tools/list", _) => self.listing.with_builtins(ctx, request, bytes, error),
            ("tools/call", None) if are_offered(ctx) => self.chat.with_hint(ctx, bytes),
            _ => bytes,
        }
    }

    /// What the host is answered for a list of tools that the workspace can not give at the moment:
    /// the built-in ones are always listed.
    pub(crate) fn list_alone(
        &mut self,
        ctx: &Context,
        request: &Request,
        failure: &Failure,
    ) -> Option<Vec<u8>> {
        let away = failure.is_transient() || matches!(failure, Failure::SessionLost(_));
        let wanted = away && !ctx.phase().is_ending();
        wanted.then(|| self.listing.alone(ctx, request)).flatten()
    }

    /// The end: calls that are open are answered.
    pub(crate) fn end(&mut self, ctx: &mut Context) {
        self.guardian.end();
        self.chat.end(ctx);
    }

    /// The last words: this instance goes.
    pub(crate) fn say_offline(&mut self, ctx: &Context, counts: Counts) {
        let params = self.presence.end(ctx, counts);
        self.say_heartbeat(Requester::Report, params);
    }
}

#[cfg(test)]
mod tests;
