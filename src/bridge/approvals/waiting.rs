//! Those who wait: they hear of progress, give up, come back, or are told that the time is over.

use super::approval::State;
use super::{Approvals, Event, Timer};
use crate::bridge::context::Context;
use crate::bridge::ids::{ApprovalKey, Ticket};
use crate::bridge::mcp::Call;
use crate::log::Level;

impl Approvals {
    /// The host took a request back. A cancellation whose reason speaks of a time-out is not a
    /// person's change of mind: then the approval stays open for a while.
    pub(crate) fn withdraw(&mut self, ctx: &mut Context, ticket: Ticket, reason: &str) {
        let Some(key) = self.by_ticket.get(&ticket).copied() else {
            return;
        };
        let lower = reason.to_ascii_lowercase();
        let timed_out = ["timeout", "time-out", "time out", "timed out"];
        let gave_up = timed_out.iter().any(|word| lower.contains(word));
        if self.take_waiter(ctx, key, ticket).is_some() && self.is_abandoned(key) {
            match gave_up {
                true => self.detach(ctx, key),
                false => drop(self.cancel(ctx, key, "the host cancelled the request")),
            }
        }
    }

    fn is_abandoned(&self, key: ApprovalKey) -> bool {
        let approval = self.approvals.get(&key);
        approval.is_some_and(|approval| approval.calls().is_empty())
    }

    /// Takes one who waits out of an approval.
    fn take_waiter(&mut self, ctx: &mut Context, key: ApprovalKey, ticket: Ticket) -> Option<Call> {
        self.by_ticket.remove(&ticket);
        ctx.stop(Timer::Wait(ticket));
        let calls = self.approvals.get_mut(&key)?.calls_mut()?;
        let mine = |call: &Call| call.requester().ticket() == Some(ticket);
        let at = calls.iter().position(mine)?;
        let call = calls.remove(at);
        self.bytes -= call.request().cost();
        Some(call)
    }

    /// The host gave up, a person did not: the approval stays open for a while.
    fn detach(&mut self, ctx: &mut Context, key: ApprovalKey) {
        let Some(approval) = self.approvals.get_mut(&key) else {
            return;
        };
        let facts = &approval.facts;
        ctx.log(Level::Info, || {
            format!(
                "the host gave up on {} ({}): the approval stays open",
                facts.label, facts.id
            )
        });
        ctx.stop(Timer::Progress(key));
        ctx.set(Timer::Ends(key), ctx.limits().detached);
        approval.state = State::Detached;
        let older = self.detached.insert(facts.identity, key);
        if let Some(older) = older.filter(|older| *older != key) {
            self.cancel(ctx, older, "the same request was asked about again");
        }
        if self.detached.len() > ctx.limits().detached_max
            && let Some(oldest) = self.first_alone()
        {
            let why = "too many approvals are open that nobody waits for";
            self.cancel(ctx, oldest, why);
        }
    }

    /// The oldest that nobody waits for. Where there are many, it is the first: no look at all of them.
    fn first_alone(&self) -> Option<ApprovalKey> {
        let mut all = self.approvals.iter();
        let (key, _) = all.find(|(_, approval)| approval.calls().is_empty())?;
        Some(*key)
    }

    /// AEROSTACK_APPROVAL_WAIT is over.
    pub(super) fn wait_over(&mut self, ctx: &mut Context, ticket: Ticket) {
        let Some(key) = self.by_ticket.get(&ticket).copied() else {
            return;
        };
        let Some(call) = self.take_waiter(ctx, key, ticket) else {
            return;
        };
        let facts = self.approvals.get(&key).map(|approval| &approval.facts);
        let place = facts.and_then(|facts| facts.dashboard_url.as_deref());
        let place = place.map(|url| format!(" ({url})")).unwrap_or_default();
        let words = format!(
            "{} is still waiting for approval{place}: repeat the same call to go on waiting. It has not been executed by this call",
            call.request().label()
        );
        if self.is_abandoned(key) {
            self.detach(ctx, key);
        }
        self.give_up(call, &words, "pending");
    }

    /// Tells those who wait where a person decides: at once, and again and again, so that hosts which
    /// reset their time-out on progress keep waiting.
    pub(super) fn report_progress(&mut self, ctx: &mut Context, key: ApprovalKey) {
        let Some(approval) = self.approvals.get(&key) else {
            return;
        };
        let place = approval.facts.dashboard_url.as_deref();
        let place = place.unwrap_or("open your workspace");
        let words = format!("waiting for approval in the dashboard: {place}");
        for call in approval.calls() {
            if let Some(ticket) = call.requester().ticket() {
                self.events.push_back(Event::Waiting(ticket, words.clone()));
            }
        }
        ctx.set(Timer::Progress(key), ctx.limits().progress_every);
    }

    /// The approval's time is over: one last question, then its wait ends.
    pub(super) fn time_over(&mut self, ctx: &mut Context, key: ApprovalKey) {
        let Some(approval) = self.approvals.get_mut(&key) else {
            return;
        };
        match &mut approval.state {
            State::Detached | State::Decided(_) => {
                self.cancel(ctx, key, "nobody asked again");
            }
            State::Open(calls) => {
                let calls = std::mem::take(calls);
                approval.state = State::LastQuestion(calls);
                ctx.set(Timer::Ends(key), ctx.limits().expiry_grace);
                self.events.push_back(Event::PollNow(key));
            }
            State::LastQuestion(_) => {
                let calls = self.cancel(ctx, key, "its time is over");
                for call in calls {
                    let words = format!(
                        "{}: no decision came in time; the request was withdrawn. It may still be executed if it was approved at the last moment: check before you repeat it",
                        call.request().label()
                    );
                    self.give_up(call, &words, "pending");
                }
            }
        }
    }

    /// The end: what is pending is withdrawn, and who waits hears that.
    pub(crate) fn end(&mut self, ctx: &mut Context) {
        let keys: Vec<ApprovalKey> = self.approvals.keys().copied().collect();
        for key in keys {
            for call in self.cancel(ctx, key, "the gateway ended") {
                let words = format!(
                    "{}: the gateway ended while it waited for approval; the request was withdrawn. It may still be executed if it was approved at the last moment",
                    call.request().label()
                );
                self.give_up(call, &words, "pending");
            }
        }
    }
}
