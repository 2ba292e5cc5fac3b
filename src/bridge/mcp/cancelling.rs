//! Requests that are taken back: by the host, by their deadline, by the end of the process.

use super::call::{CallId, Stage};
use super::{Event, Mcp, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http};
use crate::bridge::ids::{Era, Ticket};
use crate::bridge::request::Cancel;
use crate::failure::Failure;
use crate::log::Level;
use std::rc::Rc;

/// What became of a request that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// It is gone; there will be no answer.
    Gone,
    /// It stays: "the initialize request MUST NOT be cancelled by clients".
    Stays,
    /// It is not here.
    Unknown,
}

impl Mcp {
    /// The host takes a request back. What has not left never will; a modern one loses its stream; a
    /// legacy one is followed by the cancel.
    pub(crate) fn withdraw(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        ticket: Ticket,
        cancel: &Cancel,
    ) -> Withdrawn {
        let Some(id) = self.calls.of_ticket(ticket) else {
            return Withdrawn::Unknown;
        };
        let Some(call) = self.calls.get(id) else {
            return Withdrawn::Unknown;
        };
        if call.is_initialize() {
            return Withdrawn::Stays;
        }
        let label = call.request().label();
        let (cancel, era) = (cancel.of(call.request().wire_id()), call.request().era());
        ctx.log(Level::Debug, || format!("{label} cancelled by the host"));
        if let Some((call, stage)) = self.take_call(ctx, id) {
            let unused = call.unused_consent(&Failure::Unsent);
            if let Some(approval) = unused.filter(|_| !stage.has_left(http)) {
                self.events.push_back(Event::Unused(approval.into()));
            }
            self.take_back(ctx, http, stage, (era, cancel));
        }
        Withdrawn::Gone
    }

    /// The gateway's own requests for a call of the host are of no use any more: as for the host's, an
    /// approval that crosses the cancel is heard and withdrawn.
    pub(crate) fn withdraw_own(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        ticket: Ticket,
        cancel: &Cancel,
    ) {
        for id in self.calls.for_ticket(ticket) {
            if let Some((call, stage)) = self.take_call(ctx, id) {
                let (cancel, era) = (cancel.of(call.request().wire_id()), call.request().era());
                self.take_back(ctx, http, stage, (era, cancel));
            }
        }
    }

    /// A cancel of something that is answered already, or was never known here: the workspace may
    /// still care.
    pub(crate) fn forward_cancel(&mut self, ctx: &mut Context, http: &mut Http, cancel: &Cancel) {
        if self.session.is_ready() {
            self.notify(ctx, http, cancel.text(), Era::Legacy);
        }
    }

    fn take_back(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        stage: Stage,
        (era, cancel): (Era, Rc<str>),
    ) {
        match (stage, era) {
            (Stage::Exchange(exchange), Era::Modern) => self.drop_exchange(ctx, http, exchange),
            (Stage::Exchange(exchange), Era::Legacy) => {
                if let Some(purpose) = self.exchanges.get_mut(&exchange) {
                    *purpose = Purpose::Cancelled(cancel);
                }
                if !http.give_up(ctx, exchange) {
                    self.finish(exchange);
                }
            }
            (Stage::Resume | Stage::Elsewhere, _) => self.notify(ctx, http, cancel, Era::Legacy),
            // Never sent, or refused: there is nothing to take back.
            (
                Stage::Parked | Stage::Pause | Stage::RateLimit | Stage::Headers | Stage::Token,
                _,
            ) => {}
        }
    }

    /// The bytes of a request that was taken back are with the socket: its cancel may follow soon. On
    /// another connection it could overtake it.
    pub(super) fn left(&mut self, ctx: &mut Context, id: ExchangeId) {
        if let Some(Purpose::Cancelled(_)) = self.exchanges.get(&id) {
            ctx.set(Timer::Cancel(id), ctx.limits().cancel_pause);
        }
    }

    pub(super) fn post_cancel(&mut self, ctx: &mut Context, http: &mut Http, id: ExchangeId) {
        if let Some(Purpose::Cancelled(cancel)) = self.exchanges.get(&id) {
            let cancel = cancel.clone();
            self.leave_exchange(ctx, http, id, Era::Legacy);
            self.notify(ctx, http, cancel, Era::Legacy);
        }
    }

    /// AEROSTACK_REQUEST_TIMEOUT, the era probe's limit, or the limit of an answer from elsewhere:
    /// "issue a cancellation notification for that request and stop waiting" (MCP, lifecycle).
    pub(super) fn deadline_passed(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let limit = match call.request().method() {
            "server/discover" => ctx.limits().discover_timeout,
            _ => ctx
                .config()
                .request_timeout
                .unwrap_or(ctx.limits().elsewhere),
        };
        let failure = Failure::TimedOut(limit.as_secs());
        let (wire_id, era) = (call.request().wire_id(), call.request().era());
        let cancel = Cancel::timed_out(wire_id).text();
        if self.session.is_opened_by(id) {
            // What waits for the session must not wait for ever, and nobody is told but the host.
            self.leave_call(ctx, http, id);
            return self.conclude(ctx, http, id, failure);
        }
        if let Some((call, stage)) = self.take_call(ctx, id) {
            self.take_back(ctx, http, stage, (era, cancel));
            self.events.push_back(Event::Failed(call, failure));
        }
    }

    // The end of the process.

    /// Subscriptions never end by themselves: no drain waits for them.
    pub(crate) fn end_subscriptions(&mut self, ctx: &mut Context, http: &mut Http) {
        ctx.stop(Timer::Stream);
        for id in self.calls.ids() {
            if self.calls.get(id).is_some_and(super::Call::is_subscription) {
                self.end_call(ctx, http, id);
            }
        }
    }

    /// The end: every request of the host is answered; those that never left did not run. Reports
    /// that are on their way have the farewell's time to arrive.
    pub(crate) fn end_calls(&mut self, ctx: &mut Context, http: &mut Http) {
        ctx.stop(Timer::Stream);
        ctx.stop(Timer::Reconnect);
        let mut reports = Vec::new();
        for id in self.calls.ids() {
            match self.calls.report(id) {
                Some(exchange) if !ctx.phase().is_over() => reports.push(exchange),
                _ => self.end_call(ctx, http, id),
            }
        }
        self.drop_exchanges(ctx, http, &reports);
        self.take_parked();
    }

    fn drop_exchanges(&mut self, ctx: &mut Context, http: &mut Http, but: &[ExchangeId]) {
        let exchanges: Vec<ExchangeId> = self.exchanges.keys().copied().collect();
        for id in exchanges.into_iter().filter(|id| !but.contains(id)) {
            self.drop_exchange(ctx, http, id);
        }
    }

    fn end_call(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        let Some((mut call, stage)) = self.take_call(ctx, id) else {
            return;
        };
        self.learning.remove(&id);
        let has_left = stage.has_left(http);
        if let Stage::Exchange(exchange) = stage {
            self.drop_exchange(ctx, http, exchange);
        }
        if let Some(reply) = call.fallback.take() {
            return self.events.push_back(Event::Answered(call, reply, None));
        }
        let failure = match has_left {
            true => Failure::Ending,
            false => Failure::Unsent,
        };
        self.events.push_back(Event::Failed(call, failure));
    }

    /// The last words have been said, or have had their time: the session is given back. False if
    /// there is none.
    pub(crate) fn leave(&mut self, ctx: &mut Context, http: &mut Http) -> bool {
        self.drop_exchanges(ctx, http, &[]);
        let left = self.session.leave();
        let link = left.link.filter(|link| link.id.is_some());
        if let Some(link) = &link {
            self.give_back(ctx, http, link);
        }
        link.is_some()
    }
}
