//! The handshake: the host's, and the gateway's own where the workspace forgot the session or was
//! away when the host began; and the session's event stream.

use super::call::{Call, CallId, Stage};
use super::session::{By, Confirmation, Hello, Link, Session};
use super::stream::Stream;
use super::{Event, Mcp, Notice, Parked, Purpose, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{ExchangeId, Http};
use crate::bridge::ids::{Era, Requester, Ticket};
use crate::bridge::request::Request;
use crate::log::Level;
use crate::proto::jsonrpc::{self, Parsed};
use std::mem;
use std::rc::Rc;
use std::time::Duration;

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

impl Mcp {
    /// The host's `initialize`: a second one in a process starts a new session.
    pub(crate) fn initialize(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        ticket: Ticket,
        request: Request,
    ) {
        let requester = Requester::Host(ticket);
        self.leave_session(ctx, http);
        ctx.stop(Timer::Reconnect);
        let hello = Hello::new(request.clone());
        let id = self.admit(ctx, Call::new(requester, request), Stage::Parked);
        self.generation += 1;
        let by = By::Host;
        self.session = Session::Opening {
            hello,
            call: id,
            by,
        };
        if ctx.config().builtins_always() {
            ctx.set(Timer::Patience(id), ctx.limits().initialize_patience);
        }
        self.launch(ctx, http, id);
    }

    /// Leaves the session: its stream and its confirmation end, the workspace may forget it. Returns
    /// what the host said.
    fn leave_session(&mut self, ctx: &mut Context, http: &mut Http) -> Option<Hello> {
        ctx.stop(Timer::Stream);
        self.gate.drop_confirmation();
        self.drop_refused_confirmation();
        self.drop_unsent_opening(ctx, http);
        let left = self.session.leave();
        if let Some(exchange) = left.exchange {
            self.drop_exchange(ctx, http, exchange);
        }
        self.fail_elsewhere(ctx, http);
        self.take_questions_back();
        self.park_unsent(ctx, http);
        if let Some(link) = left.link {
            self.give_back(ctx, http, &link);
        }
        left.hello
    }

    /// What the session asked the host is void with it, and its ids are free for the next one: an answer
    /// would be taken for that of another question.
    fn take_questions_back(&mut self) {
        for id in std::mem::take(&mut self.asked).keys() {
            let reason = "\"the session with the workspace has ended\"";
            let params = jsonrpc::object([("requestId", &**id), ("reason", reason)]);
            let cancel = jsonrpc::notification("notifications/cancelled", Some(&params));
            self.events.push_back(Event::Message(cancel));
        }
    }

    fn drop_refused_confirmation(&mut self) {
        let notices = self.refused_notices.iter();
        let void = notices.filter(|(notice, _)| notice.confirms);
        self.notice_bytes -= void.map(|(notice, _)| notice.cost()).sum::<usize>();
        self.refused_notices.retain(|(notice, _)| !notice.confirms);
    }

    /// Our own `initialize` for a session that is left before it is there: where it has not left, it never
    /// does. What has left may still be answered, and is not repeated.
    fn drop_unsent_opening(&mut self, ctx: &mut Context, http: &mut Http) {
        let Session::Opening {
            call,
            by: By::Gateway { .. },
            ..
        } = self.session
        else {
            return;
        };
        let stage = self.calls.stage(call);
        if stage.is_some_and(|stage| stage.has_left(http)) {
            return;
        }
        if let Some((_, Stage::Exchange(exchange))) = self.take_call(ctx, call) {
            self.drop_exchange(ctx, http, exchange);
        }
    }

    /// What still waits for a connection waits for the next session: it would leave with the headers
    /// of one that is gone. The rest of an event stream is asked for as it is: only the session that
    /// it began in knows it, and its request has left long ago.
    fn park_unsent(&mut self, ctx: &mut Context, http: &mut Http) {
        let all = self.exchanges.keys().copied();
        let unsent: Vec<ExchangeId> = all.filter(|id| http.is_waiting(*id)).collect();
        for id in unsent {
            let parked = match self.exchanges.get(&id) {
                Some(Purpose::Request(asked)) if asked.is_resumption => continue,
                Some(Purpose::Request(asked)) => match self.calls.get(asked.call) {
                    Some(call) if call.request().era() == Era::Legacy && !call.is_initialize() => {
                        Parked::Call(asked.call)
                    }
                    _ => continue,
                },
                Some(Purpose::Notice(notice, _)) if notice.era == Era::Legacy => {
                    Parked::Notice(notice.text.clone())
                }
                _ => continue,
            };
            self.drop_exchange(ctx, http, id);
            if let Parked::Call(call) = parked {
                self.calls.enter(call, Stage::Parked);
            }
            self.park(parked);
        }
    }

    /// The request that opens the session was answered.
    pub(super) fn opening_answered(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        session_id: Option<Box<str>>,
        answer: &[u8],
        is_error: bool,
    ) {
        let Session::Opening { hello, by, .. } = mem::take(&mut self.session) else {
            return;
        };
        if is_error {
            return self.opening_refused(ctx, http, hello, by, answer);
        }
        if let Some(id) = &session_id {
            ctx.keep_secret(id);
        }
        let link = self.link_of(session_id, answer);
        self.log_connected(ctx, &link, &by);
        match (by, hello.initialized.clone()) {
            (By::Host, None) => {
                self.session = Session::Opened { hello, link };
                self.unpark(ctx, http);
            }
            // A host that does not wait for the answer has said it already.
            (By::Host, Some(text)) => self.confirm(ctx, http, (hello, link, By::Host), text),
            (by @ By::Gateway { .. }, said) => {
                let text = said.unwrap_or_else(|| INITIALIZED.into());
                self.confirm(ctx, http, (hello, link, by), text);
            }
        }
    }

    /// What a new session is known by: the version is the answer's, not what was proposed; the id
    /// comes from this response only.
    fn link_of(&mut self, id: Option<Box<str>>, answer: &[u8]) -> Link {
        let mut version = None;
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer)
            && let Some(result) = message.result
        {
            version = protocol_version(result);
            self.events.push_back(Event::Connected(result.to_owned()));
        }
        Link {
            generation: self.generation,
            id,
            version,
        }
    }

    fn log_connected(&self, ctx: &mut Context, link: &Link, by: &By) {
        let named = match link.id {
            Some(_) => "with a session",
            None => "without a session id",
        };
        let version = link.version.as_deref().unwrap_or("an unnamed version");
        ctx.log(Level::Info, || {
            format!("connected ({named}, protocol {version})")
        });
        if let By::Gateway {
            outage: Some(outage),
        } = by
            && link.version.as_deref() != Some(outage.told_version.as_str())
        {
            let told = &outage.told_version;
            ctx.log(Level::Warn, || {
                format!("the host was told protocol {told}, the workspace speaks {version}")
            });
        }
    }

    /// `initialize` was refused: the host has the answer, and what waited goes without a session; the
    /// peer says what it thinks of that.
    fn opening_refused(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        hello: Hello,
        by: By,
        answer: &[u8],
    ) {
        match by {
            By::Host => self.unpark(ctx, http),
            By::Gateway { outage } => {
                let (words, _) = ctx.quoted(answer);
                self.reopen_failed(ctx, http, hello, outage, words);
            }
        }
    }

    /// The request that opens the session has failed, and the host (if it asked) is told so.
    pub(super) fn opening_failed(&mut self, ctx: &mut Context, http: &mut Http, words: String) {
        match mem::take(&mut self.session) {
            Session::Opening {
                hello,
                by: By::Gateway { outage },
                ..
            } => self.reopen_failed(ctx, http, hello, outage, words),
            Session::Opening { by: By::Host, .. } => self.unpark(ctx, http),
            other => self.session = other,
        }
    }

    /// The host's `notifications/initialized`.
    pub(crate) fn host_initialized(&mut self, ctx: &mut Context, http: &mut Http, text: Rc<str>) {
        match mem::take(&mut self.session) {
            Session::Opened { mut hello, link } => {
                hello.initialized = Some(text.clone());
                self.confirm(ctx, http, (hello, link, By::Host), text);
            }
            mut session => {
                let keeps = matches!(session, Session::Opening { .. } | Session::Lost { .. });
                let again = matches!(
                    session,
                    Session::Confirming {
                        by: By::Gateway { .. },
                        ..
                    }
                );
                // It is said to the session that is opened, or opened next.
                if let Some(hello) = session.hello_mut().filter(|_| keeps || again) {
                    hello.initialized = Some(text);
                    self.session = session;
                } else {
                    self.session = session;
                    self.notify(ctx, http, text, Era::Legacy);
                }
            }
        }
    }

    fn confirm(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        (hello, link, by): (Hello, Link, By),
        text: Rc<str>,
    ) {
        let confirmation = Confirmation::RateLimit;
        self.session = Session::Confirming {
            hello,
            link,
            by,
            confirmation,
        };
        self.park_unsent(ctx, http);
        let mut notice = Notice::new(text, Era::Legacy);
        notice.confirms = true;
        self.post(ctx, http, notice);
        self.send_early(ctx, http);
    }

    /// Lists that wait leave beside `initialized`.
    fn send_early(&mut self, ctx: &mut Context, http: &mut Http) {
        let lists = |parked: &Parked| match parked {
            Parked::Call(id) => self.may_leave_early(*id),
            Parked::Notice(_) => false,
        };
        let early: Vec<usize> = (0..self.parked.len())
            .filter(|at| lists(&self.parked[*at]))
            .collect();
        for at in early.into_iter().rev() {
            if let Some(Parked::Call(id)) = self.parked.remove(at) {
                self.launch(ctx, http, id);
            }
        }
    }

    /// The confirmation is on its way with this exchange.
    pub(super) fn confirming(&mut self, exchange: ExchangeId) {
        if let Session::Confirming { confirmation, .. } = &mut self.session {
            *confirmation = Confirmation::Exchange(exchange);
        }
    }

    /// `initialized` was accepted, or has had its time: the session takes messages.
    pub(super) fn session_ready(&mut self, ctx: &mut Context, http: &mut Http) {
        let Session::Confirming {
            hello, link, by, ..
        } = mem::take(&mut self.session)
        else {
            return;
        };
        // What has not left by now does not leave too early.
        for (id, purpose) in self.exchanges.iter_mut() {
            if let Purpose::Request(asked) = purpose {
                asked.is_early &= !http.is_waiting(*id);
            }
        }
        let stream = Stream::Absent;
        self.session = Session::Ready {
            hello,
            link,
            stream,
        };
        self.open_stream(ctx, http);
        let after_outage = match by {
            By::Host => false,
            By::Gateway { outage } => {
                self.restore_settings(ctx, http);
                if outage.is_some() {
                    ctx.log(Level::Info, || "the workspace is connected".to_owned());
                }
                outage.is_some()
            }
        };
        ctx.stop(Timer::Reconnect);
        self.events.push_back(Event::Ready { after_outage });
        self.unpark(ctx, http);
    }

    /// What waited for the session leaves, in order.
    fn unpark(&mut self, ctx: &mut Context, http: &mut Http) {
        for parked in self.take_parked() {
            match parked {
                // Cancelled ones are gone; others may have been parked anew.
                Parked::Call(id) => {
                    if matches!(self.calls.stage(id), Some(Stage::Parked)) {
                        self.launch(ctx, http, id);
                    }
                }
                Parked::Notice(text) => self.notify(ctx, http, text, Era::Legacy),
            }
        }
    }

    /// A request was refused because the workspace forgot the session: refused means not executed, so
    /// it is sent once more in a new one.
    pub(super) fn resend_in_new_session(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        session: u32,
    ) {
        self.calls.enter(id, Stage::Parked);
        self.park(Parked::Call(id));
        self.lose_session(ctx, http, session);
        if !self.session.is_closed() {
            // Another request has had it opened again already.
            self.unpark(ctx, http);
        }
    }

    fn is_current(&self, session: u32) -> bool {
        let link = self.session.link();
        link.is_some_and(|link| link.generation == session)
    }

    /// True where a session that was just refused as unknown may be opened again: a server that knows
    /// none for longer would have us open sessions without end.
    pub(super) fn may_reopen(&self, ctx: &Context, session: u32) -> bool {
        let pause = ctx.limits().reopen_pause;
        let recent = |at: std::time::Instant| ctx.now().saturating_duration_since(at) < pause;
        session != 0 && (!self.is_current(session) || !self.reopened.is_some_and(recent))
    }

    /// Opens the session again, once for all who noticed its loss.
    pub(super) fn lose_session(&mut self, ctx: &mut Context, http: &mut Http, session: u32) {
        let open = matches!(self.session, Session::Ready { .. } | Session::Opened { .. });
        if open && self.is_current(session) {
            ctx.log(Level::Info, || {
                "the workspace forgot the session: a new one is opened".to_owned()
            });
            self.reopened = Some(ctx.now());
            self.reopen(ctx, http);
        }
    }

    /// Our own `initialize`: as the host's was, but for its id.
    pub(super) fn reopen(&mut self, ctx: &mut Context, http: &mut Http) {
        let outage = self.session.outage().cloned();
        // The workspace does not know the id any more: there is nothing to give back.
        if let Some(link) = self.session.link_mut() {
            link.id = None;
        }
        let Some(hello) = self.leave_session(ctx, http) else {
            return;
        };
        let mut request = hello.initialize.clone();
        request.rename(&ctx.own_id());
        let call = Call::new(Requester::Nobody, request);
        let id = self.calls.insert(call, Stage::Parked);
        self.generation += 1;
        let by = By::Gateway { outage };
        self.session = Session::Opening {
            hello,
            call: id,
            by,
        };
        self.launch(ctx, http, id);
    }

    /// The answer to an `initialize` that a later one overtook: its session is given back.
    pub(super) fn overtaken(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: Option<Box<str>>,
        answer: &[u8],
    ) {
        let version = match jsonrpc::parse(answer) {
            Ok(Parsed::One(message)) => message.result.and_then(protocol_version),
            _ => None,
        };
        let link = Link {
            generation: 0,
            id,
            version,
        };
        self.give_back(ctx, http, &link);
    }

    // The session's event stream.

    pub(super) fn open_stream(&mut self, ctx: &mut Context, http: &mut Http) {
        // A hook asks one question and has gone.
        if ctx.phase().is_ending() || ctx.config().hook {
            return;
        }
        let Some(past) = self.session.stream_mut().map(Stream::take_past) else {
            return;
        };
        let last = past.position.last_event_id.clone();
        let delivered = false;
        let exchange = self.get(ctx, http, last.as_deref(), |session| Purpose::EventStream {
            session,
            delivered,
        });
        if let Some(stream) = self.session.stream_mut() {
            let is_open = false;
            *stream = Stream::Under {
                exchange,
                is_open,
                past,
            };
        }
    }

    /// The server can be reached again: the event stream need not sit out its pause.
    pub(crate) fn hurry(&mut self, ctx: &mut Context) {
        if self.session.stream_mut().is_some_and(Stream::hurry) {
            let pause = ctx.hurried_pause();
            self.pause_stream(ctx, Some(pause));
        }
    }

    pub(super) fn pause_stream(&mut self, ctx: &mut Context, pause: Option<Duration>) {
        if let Some(pause) = pause
            && !ctx.phase().is_ending()
        {
            ctx.set(Timer::Stream, pause);
        }
    }
}

/// `protocolVersion` of an InitializeResult, if it can stand in a header.
fn protocol_version(result: &str) -> Option<Box<str>> {
    let version = jsonrpc::string(jsonrpc::member(result, "protocolVersion")?)?;
    let visible = version.bytes().all(|byte| byte.is_ascii_graphic());
    visible.then(|| version.as_ref().into())
}
