//! Refusals: an HTTP status that says no. A lost session, a rate limit and a token that was renewed are
//! met without the requester; everything else is its to hear.

use super::call::{CallId, Stage};
use super::failing::Broken;
use super::incoming::Came;
use super::{Mcp, Notice, Parked, Purpose};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http, Response};
use crate::bridge::ids::Era;
use crate::config::Token;
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::jsonrpc::{self, Parsed};
use crate::proto::lost_session::is_lost_session;
use std::time::Duration;

impl Mcp {
    /// A request was refused by its HTTP status.
    pub(super) fn refused(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        response: Response,
    ) {
        let Some(Purpose::Request(asked)) = self.exchanges.get(&id) else {
            return;
        };
        let (call, session) = (asked.call, asked.session);
        let (is_early, is_resumption) = (asked.is_early, asked.is_resumption);
        let may_be_lost = session != 0 && !asked.delivered && !is_early;
        let status = response.head.status;
        if !self.awaits(call, id) {
            self.finish(id);
            return;
        }
        if is_resumption {
            self.finish(id);
            // As where no connection can be made: a balancer's refusal passes.
            if matches!(status, 429 | 500..) {
                let failure = ctx.refusal(&response.head, &response.body, true);
                return self.stream_broke(ctx, http, call, failure, Broken::at_once(session));
            }
            return self.conclude(ctx, http, call, Failure::NoAnswer { status });
        }
        let failure = ctx.refusal(&response.head, &response.body, true);
        let rpc_error = self
            .calls
            .get(call)
            .and_then(|call| rpc_error_code(&response.body, call.request().wire_id()));
        if is_early
            && matches!(status, 400 | 404 | 409 | 422)
            && rpc_error != Some(jsonrpc::METHOD_NOT_FOUND)
        {
            self.finish(id);
            return self.repeat_after_acceptance(ctx, http, id, call);
        }
        if may_be_lost && self.is_lost(ctx, call, session, &response) {
            self.finish(id);
            return self.resend_in_new_session(ctx, http, call, session);
        }
        let is_met = match status {
            429 => is_limiter(&response) && self.pause_for(ctx, call, &failure),
            401 => self.ask_for_token(ctx, http, call, &failure, response.token),
            _ => false,
        };
        // A transient failure of something harmless is repeated before anybody hears of it.
        let speaks_for_itself =
            matches!(status, 401 | 403 | 429) || (status >= 500 && self.may_retry(ctx, call));
        let mut is_told = false;
        if !is_met && !speaks_for_itself && rpc_error.is_some() {
            // A JSON-RPC error reaches the host as it is, whatever the status it came with.
            let came = Came {
                session_id: None,
                refusal: Some(failure.clone()),
            };
            let body = ctx.secrets().hide_bytes(response.body);
            // No message is left of it where a secret was a number.
            is_told = self.deliver(ctx, http, id, body, came).is_ok();
        }
        self.finish(id);
        if !is_met && !is_told {
            self.request_failed(ctx, http, call, failure);
        }
    }

    /// The workspace forgot the session: by status, and by words where the status alone does not say
    /// it. Once for each request.
    fn is_lost(&mut self, ctx: &Context, id: CallId, session: u32, response: &Response) -> bool {
        if !self.may_reopen(ctx, session) {
            return false;
        }
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        let tools_call = call.request().method() == "tools/call";
        let head = &response.head;
        is_lost_session(head.status, &head.content, &response.body, tools_call)
            && call.attempts.new_session()
    }

    // The rate limit.

    /// A refusal for the rate limit is waited out: one pause for the whole token.
    fn pause_for(&mut self, ctx: &mut Context, id: CallId, failure: &Failure) -> bool {
        let Some(hint) = self.gate_hint(ctx, failure) else {
            return false;
        };
        let limits = ctx.limits();
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        let Some(pause) = call.attempts.pause(hint, limits) else {
            return false;
        };
        call.attempts.last_failure = Some(failure.clone());
        let label = call.request().label();
        self.gate.close(ctx, pause);
        self.calls.enter(id, Stage::RateLimit);
        ctx.log(Level::Info, || {
            format!("rate limit: {label} waits {} s", pause.as_secs())
        });
        true
    }

    /// How long the limiter asks to wait, if that is short enough to be waited out.
    /// Zero where it names no moment.
    fn gate_hint(&self, ctx: &Context, failure: &Failure) -> Option<Duration> {
        let Failure::Status(refusal) = failure else {
            return None;
        };
        let hint = Duration::from_secs(refusal.retry_after_s.unwrap_or(0));
        let short = hint <= ctx.limits().rate_limit_wait_max;
        (short && !ctx.phase().is_farewell()).then_some(hint)
    }

    pub(super) fn rate_limit_over(&mut self, ctx: &mut Context, http: &mut Http) {
        for notice in self.gate.open() {
            self.post_again(ctx, http, notice);
        }
        for id in self.calls.at(|stage| matches!(stage, Stage::RateLimit)) {
            self.launch(ctx, http, id);
        }
    }

    /// A message that was refused is sent again, or waits for the session that is opened meanwhile.
    fn post_again(&mut self, ctx: &mut Context, http: &mut Http, notice: Notice) {
        let waits = !notice.confirms && notice.era == Era::Legacy && self.session.is_closed();
        match waits {
            true => self.park(Parked::Notice(notice.text)),
            false => self.post(ctx, http, notice),
        }
    }

    // The token.

    /// A 401 while the token came from a file: it may have been renewed. If that was seen already,
    /// the request only carried the old one.
    fn ask_for_token(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        failure: &Failure,
        carried: u32,
    ) -> bool {
        let Some(path) = ctx.config().token_file.clone() else {
            return false;
        };
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        if !call.attempts.new_token() {
            return false;
        }
        if carried != http.token_generation() {
            self.launch(ctx, http, id);
            return true;
        }
        call.attempts.last_failure = Some(failure.clone());
        self.read_token(ctx, path);
        self.calls.enter(id, Stage::Token);
        true
    }

    /// The token file is read again, once for all who wait for it.
    fn read_token(&mut self, ctx: &mut Context, path: String) {
        let waits = |stage: &Stage| matches!(stage, Stage::Token);
        if self.calls.at(waits).is_empty() && self.refused_notices.is_empty() {
            ctx.emit(crate::bridge::Output::ReadToken(path));
        }
    }

    /// The token file's content, read again.
    pub(crate) fn handle_token(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        text: Result<String, String>,
    ) {
        let token = text
            .ok()
            .and_then(|text| Token::parse(text.trim_end()).ok());
        if let Some(token) = &token {
            ctx.keep_secret(token.expose());
        }
        let renewed = token.filter(|token| http.token() != Some(token));
        let is_renewed = renewed.is_some();
        if let Some(token) = renewed {
            http.renew_token(token);
            ctx.log(Level::Info, || {
                "the token file has a new token: it is used from now on".to_owned()
            });
        }
        for (notice, failure) in std::mem::take(&mut self.refused_notices) {
            self.notice_bytes -= notice.cost();
            match is_renewed {
                true => self.post_again(ctx, http, notice),
                false => self.notice_failed(ctx, http, notice, failure),
            }
        }
        for id in self.calls.at(|stage| matches!(stage, Stage::Token)) {
            if is_renewed {
                self.launch(ctx, http, id);
                continue;
            }
            let call = self.calls.get_mut(id);
            if let Some(failure) = call.and_then(|call| call.attempts.last_failure.take()) {
                self.conclude(ctx, http, id, failure);
            }
        }
    }

    pub(super) fn notice_refused(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        purpose: Option<Purpose>,
        response: &Response,
    ) {
        let Some(Purpose::Notice(mut notice, session)) = purpose else {
            return;
        };
        let failure = ctx.refusal(&response.head, &response.body, true);
        let head = &response.head;
        let may_repeat = notice.retries < ctx.limits().retries_max;
        if head.status == 429
            && may_repeat
            && is_limiter(response)
            && let Some(hint) = self.gate_hint(ctx, &failure)
        {
            notice.retries += 1;
            let least = ctx.limits().rate_limit_guess;
            self.gate.close(ctx, hint.max(least));
            return self.gate.keep(notice);
        }
        if head.status == 401
            && may_repeat
            && !ctx.phase().is_farewell()
            && let Some(path) = ctx.config().token_file.clone()
        {
            notice.retries += 1;
            if response.token != http.token_generation() {
                return self.post_again(ctx, http, notice);
            }
            self.read_token(ctx, path);
            self.notice_bytes += notice.cost();
            return self.refused_notices.push((notice, failure));
        }
        // What it spoke of is gone with the session.
        if !notice.confirms
            && session != 0
            && is_lost_session(head.status, &head.content, &response.body, false)
            && self.may_reopen(ctx, session)
        {
            return self.lose_session(ctx, http, session);
        }
        self.notice_failed(ctx, http, notice, failure);
    }
}

/// True for a rate limiter that says when to come again, be it nonsense.
fn is_limiter(response: &Response) -> bool {
    response.head.retry_after.is_some() || response.head.rate_limit_reset.is_some()
}

/// The code of a JSON-RPC error in a body, unless it is for another request.
fn rpc_error_code(body: &[u8], wire_id: &str) -> Option<i64> {
    let Ok(Parsed::One(message)) = jsonrpc::parse(body) else {
        return None;
    };
    let (code, _) = jsonrpc::error_parts(message.error?)?;
    let id = message.id.filter(|id| *id != "null");
    let ours = id.is_none_or(|id| jsonrpc::same_id(wire_id, id));
    ours.then_some(code)
}
