//! Approvals: a request is told to wait, a person decides, the request goes on or is told no.
//!
//! ```text
//!             -32050                    decision
//!   (request) ──────▶ Open ──────────────────────────────▶ sent again, or answered
//!                      │ ▲  its time is over ▶ LastQuestion ▶ withdrawn
//!        host gave up  ▼ │ the same request again
//!                    Detached ── decision ──▶ Decided ── the same request ──▶ as above
//!                      └─────────── 10 minutes ───────────▶ withdrawn
//! ```
//!
//! # Threat model
//!
//! - The workspace decides; the gateway only believes what came over the authenticated connection
//!   to its origin, by WebSocket or by poll.
//! - Only the status `approved` (or `executed`, with the outcome) lets anything happen. Unknown
//!   words, broken JSON, silence, time-outs, closed sockets and errors leave it undecided.
//! - A decision counts for the approval whose id it bears and for no other.
//! - A consent belongs to the request it was asked for: the same method and the same bytes of every
//!   member of its params but `_meta`. A workspace that names an approval of one request for another
//!   gets no use of it, whatever else it promises.
//! - Ids are checked before they become part of a URL; URLs of another origin are never opened, so
//!   the token stays with its workspace. It travels in the Authorization header only.
//! - Neither host nor approver can forge `_meta["dev.aerostack/approval_id"]`, and an edit can not
//!   turn a call into one of another tool.
//! - A retry leaves once, unless the workspace promised at most one execution for each approval; no
//!   other call leaves under the same approval.
//! - A detached approval executes nothing until the host repeats the same call.
//! - Messages, sockets, polls and approvals are bounded; a flood costs time, not memory.
//! - Reviewer's text reaches logs only without control characters, and the agent only as text.

mod approval;
mod deciding;
mod known;
mod waiting;

use super::context::{self, Context};
use super::extension;
use super::ids::{ApprovalKey, Era, Requester, Ticket};
use super::mcp::{Call, Reply};
use crate::log::{Level, printable};
use crate::proto::aerostack::{ApprovalNeeded, ApprovalState, Decision, approval_params};
use crate::proto::endpoint::Endpoint;
use crate::proto::identity::Identity;
use crate::proto::jsonrpc::{self, Parsed};
use crate::table::Table;
use approval::{Approval, Facts, State};
use known::Known;
use std::collections::VecDeque;
use std::time::Duration;

/// How often in a row a request may be told to wait for yet another approval.
const ROUNDS_MAX: u8 = 3;
/// How often a retry is repeated that is answered with the approval it already has.
const REPEATS_MAX: u8 = 3;

/// What this machine has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// The decision is pushed here; its state can be read there.
    Watch(ApprovalKey, Endpoint, Option<Endpoint>),
    /// Nobody cares for the decision any more.
    Unwatch(ApprovalKey),
    /// The state should be asked for now.
    PollNow(ApprovalKey),
    /// A person allowed this request: it is sent again.
    Resend(Call),
    /// The workspace names the approval again that the request has: it is sent again after a pause.
    ResendLater(Call, Duration),
    /// The answer to a request: an outcome, or a refusal.
    Answer(Ticket, Vec<u8>),
    /// The workspace's error is for the requester to see.
    PassOn(Call, Reply),
    /// A local operation was decided.
    Decided(Ticket, Box<str>, ApprovalState),
    /// A local operation will not be decided; why.
    Undecided(Ticket, String),
    /// An approval is of no use any more: the workspace should know.
    Withdraw(Withdrawal),
    /// The host of this call waits: where a person decides.
    Waiting(Ticket, String),
}

/// An approval that the workspace is asked to cancel.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    /// The params of the request that asks for it.
    pub(crate) params: String,
    /// The generation of MCP that the approval was asked for in; `None`: that of the host's traffic.
    pub(crate) era: Option<Era>,
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An approval's time, its last question's, or its time without a host.
    Ends(ApprovalKey),
    /// The next progress notification of who waits.
    Progress(ApprovalKey),
    /// AEROSTACK_APPROVAL_WAIT.
    Wait(Ticket),
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        extension::Timer::Approvals(timer).into()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    next: u64,
    approvals: Table<ApprovalKey, Box<Approval>>,
    by_id: Table<Box<str>, ApprovalKey>,
    /// Those that a repeated request finds again.
    detached: Table<Identity, ApprovalKey>,
    by_ticket: Table<Ticket, ApprovalKey>,
    known: Known,
    /// Bytes of requests that wait.
    bytes: usize,
    events: VecDeque<Event>,
}

impl Approvals {
    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Approvals that a request waits for.
    pub(crate) fn pending(&self) -> usize {
        self.approvals.len() - self.detached.len()
    }

    /// Bytes of requests that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes + self.approvals.len() * super::request::OVERHEAD_BYTES
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer {
            Timer::Ends(key) => self.time_over(ctx, key),
            Timer::Progress(key) => self.report_progress(ctx, key),
            Timer::Wait(ticket) => self.wait_over(ctx, ticket),
        }
    }

    /// A request was answered with -32050, at this moment by the workspace's clock (Unix seconds).
    pub(crate) fn handle_needed(
        &mut self,
        ctx: &mut Context,
        mut call: Call,
        needed: &ApprovalNeeded,
        reply: Reply,
        clock_s: u64,
    ) {
        let id = needed.approval_id.as_str();
        if call
            .consent()
            .is_some_and(|consent| &*consent.approval_id == id)
        {
            return self.named_again(call, reply);
        }
        let identity = call.request().identity();
        // What a person allows is one request; the workspace's word does not make it another's.
        if self.owner(id).is_some_and(|owner| owner != identity) {
            return self.refuse_foreign(ctx, call);
        }
        // Another call has used it: what it allowed would run twice. What a local operation was
        // allowed by, nobody can repeat the outcome of.
        let repeatable = call.requester().is_host() && ctx.at_most_once();
        if self.known.is_spent(id) && !repeatable {
            return self.refuse_used(call);
        }
        let full = self.bytes + call.request().cost() > ctx.limits().gated_max_bytes();
        if full && !self.approvals.is_empty() {
            return self.refuse_more(call, needed);
        }
        if !call.begin_round(ROUNDS_MAX) {
            return self.events.push_back(Event::PassOn(call, reply));
        }
        match self.by_id.get(id).copied() {
            Some(key) => self.attach(ctx, key, call),
            None => self.begin(ctx, call, needed, (identity, clock_s)),
        }
    }

    /// The request that the approval with this id was asked for.
    fn owner(&self, id: &str) -> Option<Identity> {
        // One that is waited for is never forgotten.
        let waits = || self.approvals.get(self.by_id.get(id)?);
        self.known
            .owner(id)
            .or_else(|| waits().map(|approval| approval.facts.identity))
    }

    /// "With the same id: wait 1, 2, 4 s and send again, then an error."
    fn named_again(&mut self, mut call: Call, reply: Reply) {
        let id = call.consent().map(|consent| consent.approval_id.clone());
        match call.begin_repeat(REPEATS_MAX) {
            Some(repeats) => {
                let pause = Duration::from_secs(1 << repeats.min(6));
                self.events.push_back(Event::ResendLater(call, pause));
            }
            None => {
                if let Some(id) = id {
                    self.known.restore(&id);
                }
                self.events.push_back(Event::PassOn(call, reply));
            }
        }
    }

    fn begin(
        &mut self,
        ctx: &mut Context,
        call: Call,
        needed: &ApprovalNeeded,
        (identity, clock_s): (Identity, u64),
    ) {
        self.next += 1;
        let key = ApprovalKey(self.next);
        let request = call.request();
        let era = request.era();
        let meta = (era == Era::Modern).then(|| super::mcp::own_meta(request.meta()));
        let time = match needed.expires_at {
            Some(at) => Duration::from_secs(at.saturating_sub(clock_s).min(30 * 86_400)),
            None => ctx.config().approval_timeout,
        };
        let named = needed.dashboard_url.clone();
        let facts = Facts {
            id: needed.approval_id.as_str().into(),
            label: request.label(),
            identity,
            era,
            meta,
            since: ctx.now(),
            expires: needed.expires_at.map(|_| ctx.now() + time),
            dashboard_url: named.or_else(|| ctx.peers().offer().dashboard_url.clone()),
        };
        let place = facts.dashboard_url.as_deref().unwrap_or("the dashboard");
        let reason = needed
            .reason
            .as_deref()
            .map(|reason| printable(reason, 300));
        let reason = reason
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        ctx.log(Level::Info, || {
            format!(
                "waiting for approval of {} ({}){reason}: {place}",
                facts.label, facts.id
            )
        });
        ctx.set(Timer::Ends(key), time);
        let url = self.url(ctx, needed);
        let status_url = needed.status_url.as_deref();
        let status_url = status_url.and_then(|url| ctx.trusted_url(url, "status_url"));
        self.events.push_back(Event::Watch(key, url, status_url));
        self.known.name(&facts.id, identity);
        self.by_id.insert(facts.id.clone(), key);
        let state = State::Open(Vec::new());
        let approval = Box::new(Approval { facts, state });
        self.approvals.insert(key, approval);
        self.attach(ctx, key, call);
    }

    /// "`ws_url` missing: `W/approvals/<id>/ws`"; one that is not trusted is replaced by that, too.
    fn url(&self, ctx: &mut Context, needed: &ApprovalNeeded) -> Endpoint {
        let named = needed.ws_url.as_deref();
        named
            .and_then(|url| ctx.trusted_url(url, "ws_url"))
            .unwrap_or_else(|| {
                let path = format!("approvals/{}/ws", needed.approval_id);
                let own = ctx.workspace();
                own.resolve(&path).unwrap_or_else(|_| own.clone())
            })
    }

    /// A request waits for this approval from now on.
    fn attach(&mut self, ctx: &mut Context, key: ApprovalKey, call: Call) {
        let Some(approval) = self.approvals.get_mut(&key) else {
            return;
        };
        // Another one of an equal request may be open without a host: it stays to be found.
        if self.detached.get(&approval.facts.identity) == Some(&key) {
            self.detached.remove(&approval.facts.identity);
        }
        self.bytes += call.request().cost();
        let ticket = call.requester().ticket();
        if let Some(ticket) = ticket {
            self.by_ticket.insert(ticket, key);
            if let Some(wait) = ctx.config().approval_wait {
                ctx.set(Timer::Wait(ticket), wait);
            }
        }
        match std::mem::replace(&mut approval.state, State::Open(Vec::new())) {
            State::Open(mut calls) => {
                calls.push(call);
                approval.state = State::Open(calls);
            }
            State::LastQuestion(mut calls) => {
                calls.push(call);
                approval.state = State::LastQuestion(calls);
            }
            State::Detached => {
                // Its time was the ten minutes; from here on its own counts.
                let whole = ctx.now() + ctx.config().approval_timeout;
                ctx.set_at(Timer::Ends(key), approval.facts.expires.unwrap_or(whole));
                approval.state = State::Open(vec![call]);
            }
            State::Decided(state) => {
                approval.state = State::Open(vec![call]);
                return self.decided(ctx, key, &state);
            }
        }
        self.report_progress(ctx, key);
    }

    /// The host repeats a request whose approval is still open: it waits for that again. The request
    /// comes back if there is none.
    pub(crate) fn reattach(&mut self, ctx: &mut Context, call: Call) -> Option<Call> {
        if self.detached.is_empty() {
            return Some(call);
        }
        let found = self.detached.get(&call.request().identity()).copied();
        let Some(key) = found else {
            return Some(call);
        };
        let label = call.request().label();
        ctx.log(Level::Info, || {
            format!("{label} was repeated: it waits for its approval again")
        });
        self.attach(ctx, key, call);
        None
    }

    /// A cancel and an approval crossed: nobody waits for the decision.
    pub(crate) fn handle_stray(&mut self, approval_id: &str) {
        self.refuse_stray(approval_id, "the host cancelled the request");
    }

    /// Withdraws an approval that is not begun, unless another request has to do with it.
    fn refuse_stray(&mut self, approval_id: &str, reason: &str) {
        // An equal call may wait for the same one, or have used it.
        if self.by_id.contains_key(approval_id) || self.known.is_spent(approval_id) {
            return;
        }
        self.events.push_back(Event::Withdraw(Withdrawal {
            params: approval_params(approval_id, Some(reason), None),
            era: None,
        }));
    }

    /// It is proved that the request which left under this approval was not executed.
    pub(crate) fn restore(&mut self, approval_id: &str) {
        self.known.restore(approval_id);
    }

    /// What asks for an approval's state.
    pub(crate) fn question(&self, key: ApprovalKey) -> Option<(Era, String)> {
        let facts = &self.approvals.get(&key)?.facts;
        let params = approval_params(&facts.id, None, facts.meta.as_deref());
        Some((facts.era, params))
    }

    /// The workspace answered what was asked about an approval.
    pub(crate) fn handle_reply(&mut self, ctx: &mut Context, key: ApprovalKey, reply: &[u8]) {
        if let Ok(Parsed::One(message)) = jsonrpc::parse(reply)
            && let Some(state) = message.result
        {
            self.handle_state(ctx, key, state.as_bytes());
        }
    }

    /// An approval object came, pushed or polled.
    pub(crate) fn handle_state(&mut self, ctx: &mut Context, key: ApprovalKey, raw: &[u8]) {
        let Some(state) = std::str::from_utf8(raw)
            .ok()
            .and_then(|raw| ApprovalState::parse(raw, ctx.secrets()))
        else {
            return;
        };
        let Some(approval) = self.approvals.get_mut(&key) else {
            return;
        };
        let facts = &approval.facts;
        if *state.approval_id != *facts.id {
            return ctx.log(Level::Warn, || {
                "a decision for another approval was ignored".to_owned()
            });
        }
        if state.decision == Decision::Pending {
            return;
        }
        match &approval.state {
            State::Open(_) | State::LastQuestion(_) => self.decided(ctx, key, &state),
            State::Decided(_) => {}
            State::Detached => {
                ctx.log(Level::Info, || {
                    format!(
                        "{} ({}) was decided while nobody waited",
                        facts.label, facts.id
                    )
                });
                approval.state = State::Decided(state);
                self.events.push_back(Event::Unwatch(key));
            }
        }
    }

    /// Withdraws an approval. Returns those who waited for it.
    fn cancel(&mut self, ctx: &mut Context, key: ApprovalKey, reason: &str) -> Vec<Call> {
        let Some((facts, calls)) = self.forget(ctx, key) else {
            return Vec::new();
        };
        self.events.push_back(Event::Withdraw(Withdrawal {
            params: approval_params(&facts.id, Some(reason), facts.meta.as_deref()),
            era: Some(facts.era),
        }));
        calls
    }

    /// Takes an approval out with all that runs for it.
    fn forget(&mut self, ctx: &mut Context, key: ApprovalKey) -> Option<(Facts, Vec<Call>)> {
        let Approval { facts, state } = *self.approvals.remove(&key)?;
        ctx.stop(Timer::Ends(key));
        ctx.stop(Timer::Progress(key));
        self.by_id.remove(&facts.id);
        if self.detached.get(&facts.identity) == Some(&key) {
            self.detached.remove(&facts.identity);
        }
        let calls = match state {
            State::Open(calls) | State::LastQuestion(calls) => calls,
            State::Detached | State::Decided(_) => Vec::new(),
        };
        for call in &calls {
            self.bytes -= call.request().cost();
            if let Some(ticket) = call.requester().ticket() {
                self.by_ticket.remove(&ticket);
                ctx.stop(Timer::Wait(ticket));
            }
        }
        self.events.push_back(Event::Unwatch(key));
        Some((facts, calls))
    }

    /// A request that waited for an approval, or would have to, ends without one.
    fn give_up(&mut self, call: Call, words: &str, status: &str) {
        match call.requester() {
            Requester::Guardian(ticket) => {
                self.events
                    .push_back(Event::Undecided(ticket, words.to_owned()));
            }
            Requester::Host(_)
            | Requester::Chat(_)
            | Requester::Poll(_)
            | Requester::Heartbeat
            | Requester::Discover
            | Requester::Report
            | Requester::Nobody => self.decline(call, words, status),
        }
    }
}

#[cfg(test)]
mod tests;
