//! Answers: what each means for the request that it answers.

use super::call::{Call, CallId, Reply, Stage};
use super::incoming::Came;
use super::{Event, Mcp, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http};
use crate::bridge::ids::{Era, Requester};
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::aerostack::{APPROVAL_NEEDED, ApprovalNeeded};
use crate::proto::jsonrpc::{self, Parsed};

/// The specification's code for headers that do not match the body.
const HEADER_MISMATCH: i64 = -32020;

impl Mcp {
    /// The workspace's answer to one of our requests.
    pub(super) fn answered(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        (exchange, id): (ExchangeId, CallId),
        reply: Reply,
        came: Came,
    ) {
        let early = match self.exchanges.get(&exchange) {
            Some(Purpose::Request(asked)) => asked.is_early,
            _ => false,
        };
        if early && is_too_early(&reply, came.refusal.as_ref()) {
            // Words in a success status may be those of a server that ran it.
            if came.refusal.is_none() {
                self.may_have_run(exchange);
            }
            return self.repeat_after_acceptance(ctx, http, exchange, id);
        }
        if reply.error == Some(HEADER_MISMATCH) && self.learn_headers(ctx, http, id, &reply) {
            return;
        }
        if reply.error == Some(APPROVAL_NEEDED) && self.gated(ctx, http, id, &reply) {
            return;
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (opens, legacy) = (call.is_initialize(), call.request().era() == Era::Legacy);
        let discovers = call.request().method() == "server/discover" && !legacy;
        let host = call.requester().is_host();
        let lists_tools = call.request().method() == "tools/list" && !legacy && host;
        let error_free = reply.error.is_none();
        if opens && legacy {
            let error = reply.error.is_some();
            if self.session.is_opened_by(id) {
                self.opening_answered(ctx, http, came.session_id, &reply.bytes, error);
            } else {
                self.overtaken(ctx, http, came.session_id, &reply.bytes);
            }
        }
        let (mut reply, good) = (reply, error_free);
        if discovers && good {
            self.discovered(&reply.bytes);
        }
        if lists_tools && good {
            reply.bytes = self.tools_listed(ctx, reply.bytes);
        }
        self.complete(ctx, http, id, reply, came.refusal);
    }

    fn discovered(&mut self, answer: &[u8]) {
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer)
            && let Some(result) = message.result
        {
            self.events.push_back(Event::Connected(result.to_owned()));
        }
    }

    /// A list that left before `initialized` was accepted was refused for that: it is repeated once
    /// the session takes messages, and the second answer counts.
    pub(super) fn repeat_after_acceptance(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        exchange: ExchangeId,
        id: CallId,
    ) {
        if let Some(call) = self.calls.get_mut(id) {
            call.attempts.left_too_early();
        }
        self.leave_exchange(ctx, http, exchange, Era::Legacy);
        let new_id = ctx.own_id();
        self.calls.rename(id, &new_id);
        self.launch(ctx, http, id);
    }

    /// "This needs a person's approval." Requests of the host and of the guardian wait for people,
    /// others do not; and the handshake, the era probe and pings can not wait.
    fn gated(&mut self, ctx: &mut Context, http: &mut Http, id: CallId, reply: &Reply) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let waits = matches!(
            call.requester(),
            Requester::Host(_) | Requester::Guardian(_)
        );
        let method = call.request().method();
        if !waits || matches!(method, "initialize" | "server/discover" | "ping") {
            return false;
        }
        let needed = match jsonrpc::parse(&reply.bytes) {
            Ok(Parsed::One(message)) => message
                .error
                .and_then(|raw| ApprovalNeeded::of_error(raw, ctx.secrets())),
            _ => None,
        };
        let Some(needed) = needed else {
            ctx.log(Level::Warn, || {
                "an approval without a usable id was passed on as an error".to_owned()
            });
            return false;
        };
        if let Some((call, _)) = self.release(ctx, http, id) {
            self.events
                .push_back(Event::Gated(call, needed, reply.clone()));
        }
        true
    }

    /// A request has its answer.
    pub(super) fn complete(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        reply: Reply,
        refusal: Option<Failure>,
    ) {
        let learns = self.learning.remove(&id);
        let Some((call, _)) = self.release(ctx, http, id) else {
            return;
        };
        match learns {
            Some(learning) => self.headers_learnt(ctx, http, learning, &reply.bytes),
            None => self.events.push_back(Event::Answered(call, reply, refusal)),
        }
    }

    /// Takes a request out with all that runs for it; its exchange may end well.
    pub(super) fn release(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
    ) -> Option<(Call, Stage)> {
        let (call, stage) = self.take_call(ctx, id)?;
        if let Stage::Exchange(exchange) = stage {
            self.leave_exchange(ctx, http, exchange, call.request().era());
        }
        Some((call, stage))
    }

    /// Takes a request out with all timers that run for it.
    pub(super) fn take_call(&mut self, ctx: &mut Context, id: CallId) -> Option<(Call, Stage)> {
        let taken = self.calls.remove(id)?;
        for timer in [
            Timer::Deadline(id),
            Timer::Retry(id),
            Timer::Resume(id),
            Timer::Patience(id),
        ] {
            ctx.stop(timer);
        }
        Some(taken)
    }

    /// An exchange has answered. "The response SHOULD end the stream" (MCP, transports): it need not.
    pub(super) fn leave_exchange(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        exchange: ExchangeId,
        era: Era,
    ) {
        if let Some(purpose) = self.exchanges.get_mut(&exchange) {
            *purpose = Purpose::Answered(era);
            http.linger(ctx, exchange);
        }
        if http.is_gone(exchange) {
            self.finish(exchange);
        }
    }
}

/// An error that a list may have got only because `initialized` was not accepted yet.
fn is_too_early(reply: &Reply, refusal: Option<&Failure>) -> bool {
    match (refusal.and_then(Failure::http_status), reply.error) {
        (Some(400 | 404 | 409 | 422), _) => true,
        (_, Some(code)) => code != APPROVAL_NEEDED && code != jsonrpc::METHOD_NOT_FOUND,
        (_, None) => false,
    }
}
