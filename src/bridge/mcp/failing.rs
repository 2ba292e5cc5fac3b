//! Failures: what is repeated, what is paused, what its requester is told.

use super::call::{Call, CallId, Stage};
use super::session::{Link, Session};
use super::{Event, Mcp, Notice, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http, Position, Response};
use crate::bridge::ids::{Era, Requester};
use crate::failure::{Executed, Failure};
use crate::log::{Level, printable};
use crate::proto::jsonrpc::{self, Kind, Parsed};
use crate::proto::lost_session::is_lost_session;
use std::time::Duration;

/// A request's event stream that ended before its answer.
pub(super) struct Broken {
    /// The session in which it began, or was resumed; 0: one without an id.
    pub(super) session: u32,
    pub(super) position: Position,
    /// Messages came on it.
    pub(super) delivered: bool,
}

impl Broken {
    /// A resumption that never began.
    pub(super) fn at_once(session: u32) -> Self {
        Self {
            session,
            position: Position::default(),
            delivered: false,
        }
    }
}

impl Mcp {
    // Repeats.

    /// The request of this exchange reached the workspace, or may have: what follows is not its first
    /// attempt, nor too early once the session is ready.
    pub(super) fn may_have_run(&mut self, id: ExchangeId) {
        if let Some(Purpose::Request(asked)) = self.exchanges.get_mut(&id)
            && let Some(call) = self.calls.get_mut(asked.call)
        {
            call.attempts.ran = Executed::Unknown;
            asked.is_early &= self.session.is_confirming();
        }
    }

    /// Our own `initialize`, for a session that nobody wants any more.
    pub(super) fn is_overtaken(&self, id: CallId) -> bool {
        let own = |call: &Call| call.is_initialize() && call.requester() == Requester::Nobody;
        self.calls.get(id).is_some_and(own) && !self.session.is_opened_by(id)
    }

    pub(super) fn may_retry(&self, ctx: &Context, id: CallId) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        !self.is_overtaken(id)
            && !call.requester().takes_turns()
            && call.attempts.may_retry(ctx.limits())
            && call.may_repeat(ctx.at_most_once())
            && !ctx.phase().is_farewell()
    }

    /// A request has no answer and will get none by this exchange: repeat it, or say so.
    pub(super) fn request_failed(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        failure: Failure,
    ) {
        let hint = Duration::from_secs(failure.retry_after_s().unwrap_or_default());
        let waitable = hint <= ctx.limits().rate_limit_wait_max;
        if !failure.is_transient() || !waitable || !self.may_retry(ctx, id) {
            return self.conclude(ctx, http, id, failure);
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some(pause) = call.attempts.retry(ctx.limits()) else {
            return self.conclude(ctx, http, id, failure);
        };
        let executed = failure.executed();
        call.attempts.ran = call.attempts.ran.max(executed);
        let renames = executed == Executed::Unknown && !call.is_initialize();
        let label = call.request().label();
        call.attempts.last_failure = Some(failure);
        if renames {
            let new_id = ctx.own_id();
            self.calls.rename(id, &new_id);
        }
        let pause = ctx.random().around(pause, 4).max(hint);
        self.calls.enter(id, Stage::Pause);
        ctx.set(Timer::Retry(id), pause);
        ctx.log(Level::Debug, || {
            format!("{label} is repeated in {} ms", pause.as_millis())
        });
    }

    /// A request's event stream ended without its answer. "On disconnection the client SHOULD resume";
    /// in the modern era there is no resumption, and the request is lost.
    pub(super) fn stream_broke(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        failure: Failure,
        broken: Broken,
    ) {
        let Broken {
            session,
            position,
            delivered,
        } = broken;
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.is_subscription() {
            return self.conclude(ctx, http, id, Failure::SubscriptionEnded);
        }
        // Its answer had begun: whatever becomes of the resumption, it may have run.
        call.attempts.ran = Executed::Unknown;
        call.position.advance(position);
        call.stream_session = session;
        let resumable =
            call.request().era() == Era::Legacy && call.position.last_event_id.is_some();
        if !resumable || ctx.phase().is_farewell() {
            let clean = matches!(failure, Failure::NoAnswer { .. });
            if clean && !delivered && self.waits_elsewhere(ctx, id) {
                return;
            }
            return self.request_failed(ctx, http, id, failure);
        }
        let hint = Duration::from_secs(failure.retry_after_s().unwrap_or_default());
        let pause = call
            .attempts
            .resume(delivered, call.position.retry_ms, ctx.limits())
            .filter(|_| hint <= ctx.limits().rate_limit_wait_max);
        let Some(pause) = pause.map(|pause| pause.max(hint)) else {
            return self.request_failed(ctx, http, id, failure);
        };
        let label = call.request().label();
        self.calls.enter(id, Stage::Resume);
        ctx.set(Timer::Resume(id), pause);
        ctx.log(Level::Debug, || {
            format!(
                "the stream of {label} is resumed in {} ms",
                pause.as_millis()
            )
        });
    }

    pub(super) fn resume(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        // Ids of events mean something in their own session alone: in another the server would hand over
        // the stream of another request, or one that never ends.
        let session = self.session.link().map_or(0, Link::counted);
        if matches!(self.session, Session::Opening { .. }) || call.stream_session != session {
            return self.conclude(ctx, http, id, Failure::NoAnswer { status: 200 });
        }
        let last = call.position.last_event_id.clone();
        let exchange = self.get(ctx, http, last.as_deref(), |session| {
            Purpose::Request(super::Asked {
                is_resumption: true,
                ..super::Asked::new(id, session, false)
            })
        });
        self.calls.enter(id, Stage::Exchange(exchange));
    }

    /// The session's event stream was refused.
    pub(super) fn stream_refused(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        session: u32,
        response: &Response,
    ) {
        let head = &response.head;
        let success = (200..300).contains(&head.status);
        let Some(stream) = self.session.stream_mut() else {
            return;
        };
        // "On the first GET after initialize a 404 means that none is offered."
        let may_be_lost = !success && session != 0 && (head.status != 404 || stream.was_open());
        if may_be_lost
            && is_lost_session(head.status, &head.content, &response.body, false)
            && self.may_reopen(ctx, session)
        {
            return self.lose_session(ctx, http, session);
        }
        let status = head.status;
        let Some(stream) = self.session.stream_mut() else {
            return;
        };
        let pause = stream.refused(ctx, status);
        if pause.is_none() {
            ctx.log(Level::Debug, || {
                format!("no event stream is offered (HTTP {status})")
            });
        }
        self.pause_stream(ctx, pause);
        self.fail_elsewhere(ctx, http);
    }

    /// The session's event stream ended, or its connection did.
    pub(super) fn stream_lost(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        position: Position,
        delivered: bool,
    ) {
        let Some(stream) = self.session.stream_mut() else {
            return;
        };
        let pause = stream.ended(ctx, position, delivered);
        self.pause_stream(ctx, pause);
        self.fail_elsewhere(ctx, http);
    }

    /// A request ends without an answer of the workspace.
    pub(super) fn conclude(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        failure: Failure,
    ) {
        let fallback = self.calls.get_mut(id).and_then(|call| call.fallback.take());
        if let Some(reply) = fallback {
            return self.complete(ctx, http, id, reply, None);
        }
        if self.session.is_opened_by(id) {
            if self.hides(ctx, id, &failure) {
                self.leave_call(ctx, http, id);
                self.calls.enter(id, Stage::Parked);
                let words = failure.words(&ctx.origin());
                return self.begin_outage(ctx, http, id, words);
            }
            self.opening_failed(ctx, http, failure.words(&ctx.origin()));
        }
        let learns = self.learning.remove(&id);
        let Some((call, _)) = self.release(ctx, http, id) else {
            return;
        };
        match learns {
            Some(learning) => self.conclude(ctx, http, learning.waiting(), failure),
            None => self.events.push_back(Event::Failed(call, failure)),
        }
    }

    /// Whether this failure of the host's `initialize` is answered by the gateway itself. A wrong
    /// token or URL is not hidden.
    fn hides(&self, ctx: &Context, id: CallId, failure: &Failure) -> bool {
        let hosts = |call: &Call| call.requester().is_host();
        let limited = matches!(failure, Failure::Status(refusal) if refusal.status == 429);
        self.calls.get(id).is_some_and(hosts)
            && ctx.config().builtins_always()
            && !ctx.phase().is_ending()
            && (failure.is_transient() || limited || matches!(failure, Failure::TimedOut(_)))
    }

    pub(super) fn leave_call(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        if let Some(Stage::Exchange(exchange)) = self.calls.stage(id) {
            let exchange = *exchange;
            self.drop_exchange(ctx, http, exchange);
        }
    }

    // Messages that want no answer.

    pub(super) fn notice_failed(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        mut notice: Notice,
        failure: Failure,
    ) {
        let words = failure.words(&ctx.origin());
        let may_repeat = failure.is_transient()
            && notice.retries < ctx.limits().retries_max
            && !ctx.phase().is_farewell();
        if !notice.confirms {
            let what = match jsonrpc::parse(notice.text.as_bytes()) {
                Ok(Parsed::One(m)) if m.kind == Kind::Notification => printable(&m.method, 100),
                _ => "an answer of the host".to_owned(),
            };
            return ctx.log(Level::Warn, || {
                format!("{what} could not be delivered: {words}")
            });
        }
        // Without `initialized` the session would stay closed for ever.
        if may_repeat {
            notice.retries += 1;
            return self.post(ctx, http, notice);
        }
        ctx.log(Level::Warn, || {
            format!("notifications/initialized was not accepted: {words}")
        });
        self.session_ready(ctx, http);
    }
}
