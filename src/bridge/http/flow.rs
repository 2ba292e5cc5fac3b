//! What happens to an exchange on its way: it gets a connection, leaves, is answered, redirected,
//! repeated, or fails.

use super::exchange::{Answer, Exchange, Stage};
use super::pool::{Conn, State};
use super::{Deadline, ExchangeId, Http, Reach, Repeat, Response, What};
use crate::bridge::Output;
use crate::bridge::context::Context;
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::endpoint::{Endpoint, Scheme};
use crate::proto::http::exchange::{Event as Read, Exchange as Reader};
use crate::proto::http::request::RequestHead;
use crate::proto::http::response::ResponseHead;
use crate::proto::sse::ServerEvent;
use crate::proto::transport::{Close, CloseCause, ConnId};
use crate::table::Table;
use std::mem;

impl Http {
    /// An exchange waits for a connection to the own origin, or has one made to another.
    pub(super) fn enqueue(&mut self, ctx: &mut Context, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let (priority, repeat) = (exchange.request.priority, exchange.request.repeat);
        let own = &self.own;
        let foreign = |target: &&Endpoint| !target.same_origin(own);
        match exchange.request.target.as_ref().filter(foreign) {
            None => {
                exchange.stage = Stage::Waiting;
                self.waiting_bytes += exchange.cost();
                let fresh = repeat != Repeat::Harmless || exchange.replayed;
                self.pool.wait(id, priority, fresh);
            }
            Some(target) => {
                let conn = self.pool.dial_for(id, priority);
                ctx.emit(Output::Connect(conn, target.clone()));
                exchange.stage = Stage::Dialing { conn };
            }
        }
    }

    /// Pairs waiting exchanges with idle connections and dials what is missing.
    pub(super) fn pump(&mut self, ctx: &mut Context) {
        loop {
            let reader = |id| reader_for(&self.exchanges, ctx, id);
            let paired = self.pool.pair(ctx.now(), ctx.limits(), reader);
            let Some((id, conn, used)) = paired else {
                break;
            };
            self.transmit(ctx, id, conn, used);
        }
        while let Some(conn) = self.pool.dial(ctx.limits()) {
            if let Some(idle) = self.pool.make_room(ctx.limits()) {
                ctx.emit(Output::Close(idle));
            }
            self.connect(ctx, conn);
        }
    }

    /// The request leaves as one buffer, head and body, so that it is one write.
    fn transmit(&mut self, ctx: &mut Context, id: ExchangeId, conn: ConnId, used: bool) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return self.close(ctx, conn);
        };
        if matches!(exchange.stage, Stage::Waiting) {
            self.waiting_bytes -= exchange.cost();
        }
        let request = &exchange.request;
        let target = request.target.as_ref().unwrap_or(&self.own);
        let mut head = RequestHead::new(request.method, target.target(), &target.host_header());
        self.credentials.write(&mut head, target, ctx.wall_ms());
        head.raw(&request.headers);
        let bytes = head.finish(request.body.as_ref().map(|body| body.as_bytes()));
        exchange.token = self.credentials.generation();
        exchange.stage = Stage::Sent {
            conn,
            used,
            sent: false,
            answer: Answer::Nothing,
        };
        ctx.emit(Output::Transmit(conn, bytes));
    }

    /// A connection is ready.
    pub(crate) fn handle_connected(&mut self, ctx: &mut Context, conn: ConnId) {
        // Another origin tells nothing of the workspace's.
        let own = |conn: &mut Conn| matches!(conn.state, State::Dialing { .. });
        if self.reach == Reach::Away && self.pool.get_mut(conn).is_some_and(own) {
            self.reach = Reach::Back;
        }
        let reader = |id| reader_for(&self.exchanges, ctx, id);
        if let Some(id) = self.pool.connected(conn, ctx.now(), reader) {
            self.transmit(ctx, id, conn, false);
        }
    }

    /// All bytes for a connection were handed to the socket.
    pub(crate) fn handle_sent(&mut self, conn: ConnId) {
        let Some(id) = self.pool.get_mut(conn).and_then(|conn| conn.exchange()) else {
            return;
        };
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let wanted = match &mut exchange.stage {
            Stage::Sent { sent, .. } => !mem::replace(sent, true) && exchange.given_up,
            Stage::Upgraded { .. } => true,
            Stage::Waiting | Stage::Dialing { .. } => false,
        };
        if wanted {
            self.tell(id, What::Sent);
        }
    }

    /// Bytes of a connection, taken from the front until something has happened that the owner of
    /// the exchange must hear first: drain the events, then call again until nothing is left.
    pub(crate) fn handle_received(&mut self, ctx: &mut Context, conn: ConnId, input: &mut &[u8]) {
        while self.events.is_empty() {
            let Some(entry) = self.pool.get_mut(conn) else {
                *input = &[];
                return;
            };
            let (id, reader) = match &mut entry.state {
                State::Busy { exchange, reader } => (*exchange, reader),
                State::Upgraded { exchange } => {
                    let id = *exchange;
                    let bytes = mem::take(input);
                    if !bytes.is_empty() {
                        self.tell(id, What::Bytes(bytes.to_vec()));
                    }
                    return;
                }
                // Nobody asked for these bytes: the connection is out of step.
                State::Idle { .. } | State::Dialing { .. } | State::DialingFor { .. } => {
                    if !mem::take(input).is_empty() {
                        self.close(ctx, conn);
                    }
                    return;
                }
            };
            match reader.feed(input) {
                Ok(Some(Read::Head(head))) => self.head_came(ctx, id, head),
                Ok(Some(Read::Data(data))) => self.data_came(ctx, id, data),
                Ok(Some(Read::End { reusable })) => {
                    self.release(ctx, conn, id, reusable && input.is_empty());
                    self.complete(ctx, id);
                }
                Ok(Some(Read::Upgraded(head))) => self.upgraded(ctx, conn, id, head),
                Ok(None) => {
                    self.pressure.touched(conn);
                    return;
                }
                Err(error) => {
                    *input = &[];
                    self.close(ctx, conn);
                    self.fail(ctx, id, Failure::Protocol(error));
                }
            }
        }
        self.pressure.touched(conn);
    }

    fn head_came(&mut self, ctx: &mut Context, id: ExchangeId, head: ResponseHead) {
        self.server_clock_s = head.date_s.or(self.server_clock_s);
        if mem::take(&mut self.is_warming) {
            ctx.stop(super::Timer::Warm);
        }
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let target = exchange.request.target.as_ref().unwrap_or(&self.own);
        self.credentials.store(ctx, &head, target);
        let Stage::Sent { answer, .. } = &mut exchange.stage else {
            return;
        };
        let success = (200..300).contains(&head.status);
        match Answer::begin(Box::new(head), ctx.limits()) {
            Ok(begun) => {
                let is_stream = matches!(begun, Answer::Events { .. });
                *answer = begun;
                if is_stream || (success && exchange.request.tell_head) {
                    self.tell(id, What::Head);
                }
            }
            Err(failure) => self.break_off(ctx, id, failure),
        }
    }

    fn data_came(&mut self, ctx: &mut Context, id: ExchangeId, data: &[u8]) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let owner = exchange.request.owner;
        let Stage::Sent { answer, .. } = &mut exchange.stage else {
            return;
        };
        let events = &mut self.events;
        let pushed = answer.push(data, |event| {
            let what = match event {
                ServerEvent { endpoint: true, .. } => What::OldTransport,
                ServerEvent {
                    message: true,
                    data,
                    ..
                } => What::Message(data),
                ServerEvent { .. } => return,
            };
            events.push_back(super::Event { id, owner, what });
        });
        self.pressure.holds(id, answer.pending_bytes());
        if let Err(failure) = pushed {
            self.break_off(ctx, id, failure);
        }
    }

    /// The response is complete; its connection is free or gone.
    fn complete(&mut self, ctx: &mut Context, id: ExchangeId) {
        if let Some(target) = self.redirect(ctx, id) {
            return self.follow(ctx, id, target);
        }
        let Some(exchange) = self.take(ctx, id) else {
            return;
        };
        let (owner, token) = (exchange.request.owner, exchange.token);
        let Stage::Sent { answer, .. } = exchange.stage else {
            return;
        };
        let position = answer.position();
        let what = match answer {
            Answer::Nothing => return,
            Answer::Body { head, bytes, .. } => What::Response(Response {
                head,
                body: bytes,
                token,
            }),
            Answer::Events {
                head, mut stream, ..
            } => What::Ended {
                position: position.unwrap_or_default(),
                rest: stream.finish().map(|event| (head, event.data)),
            },
        };
        self.events.push_back(super::Event { id, owner, what });
    }

    /// 101 Switching Protocols.
    fn upgraded(&mut self, ctx: &mut Context, conn: ConnId, id: ExchangeId, head: ResponseHead) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return self.close(ctx, conn);
        };
        exchange.stage = Stage::Upgraded { conn };
        ctx.stop(super::Timer::Deadline(id));
        self.pool.upgrade(conn, id);
        self.tell(id, What::Upgraded(Box::new(head)));
    }

    fn release(&mut self, ctx: &mut Context, conn: ConnId, id: ExchangeId, reusable: bool) {
        let exchange = self.exchanges.get(&id);
        let target = exchange.and_then(|exchange| exchange.request.target.as_ref());
        let foreign = target.is_some_and(|target| !target.same_origin(&self.own));
        if !reusable || foreign || ctx.phase().is_farewell() {
            return self.close(ctx, conn);
        }
        let head = exchange.and_then(|exchange| exchange.head());
        let allowed = head.map(|head| head.idle_allowed(ctx.limits().idle_fresh));
        self.pool.release(conn, ctx.now(), allowed);
    }

    /// Closes a connection that nobody needs any more.
    pub(super) fn close(&mut self, ctx: &mut Context, conn: ConnId) {
        if self.pool.remove(conn).is_some() {
            ctx.emit(Output::Close(conn));
        }
    }

    /// A connection is gone.
    pub(crate) fn handle_closed(&mut self, ctx: &mut Context, conn: ConnId, close: Close) {
        let Some(entry) = self.pool.remove(conn) else {
            return;
        };
        if let State::Dialing { .. } = entry.state {
            self.reach = Reach::Away;
        }
        match entry.state {
            State::Idle { .. } => {}
            State::Upgraded { exchange } => self.fail(ctx, exchange, Failure::Lost(close)),
            State::DialingFor { exchange } => self.fail(ctx, exchange, Failure::Connect(close)),
            State::Dialing { newest } => match self.pool.take_waiting(newest) {
                Some(exchange) => self.fail(ctx, exchange, Failure::Connect(close)),
                None => ctx.log(Level::Debug, || {
                    format!("a connection could not be made: {close:?}")
                }),
            },
            State::Busy {
                exchange,
                mut reader,
            } => {
                if close.cause == CloseCause::Eof && reader.finish().is_ok() {
                    return self.complete(ctx, exchange);
                }
                if !reader.started() && self.replay(ctx, exchange, &close) {
                    return;
                }
                self.fail(ctx, exchange, Failure::Lost(close));
            }
        }
    }

    /// The connection turned out dead before a byte of the response came. The request is sent again,
    /// once, if nothing of it was handed to the socket, or if the connection was a kept one and it
    /// does no harm.
    fn replay(&mut self, ctx: &mut Context, id: ExchangeId, close: &Close) -> bool {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return false;
        };
        let Stage::Sent { used, .. } = exchange.stage else {
            return false;
        };
        let harmless = exchange.request.repeat != Repeat::Never;
        let wanted = !exchange.given_up && !ctx.phase().is_farewell();
        let may_repeat = !close.sent || (used && harmless);
        if exchange.replayed || !may_repeat || !wanted {
            return false;
        }
        exchange.replayed = true;
        if close.sent {
            self.tell(id, What::Repeated);
        }
        ctx.log(Level::Debug, || {
            "the connection was dead already: the request is sent again".to_owned()
        });
        // Its idle siblings are no better.
        self.drop_idle(ctx);
        self.enqueue(ctx, id);
        true
    }

    /// Where a redirect leads, if it is followed: 307 and 308 within the origin, method and body
    /// kept (RFC 9110 sections 15.4.8 and 15.4.9). The token never goes to another origin, nor back
    /// to http.
    fn redirect(&self, ctx: &Context, id: ExchangeId) -> Option<Endpoint> {
        let exchange = self.exchanges.get(&id)?;
        let head = exchange.head()?;
        let followed = matches!(head.status, 307 | 308) && !exchange.given_up;
        if !followed || exchange.redirects >= ctx.limits().redirects_max {
            return None;
        }
        let base = exchange.request.target.as_ref().unwrap_or(&self.own);
        let target = base.resolve_location(head.location.as_deref()?).ok()?;
        let encrypted = self.own.scheme() == Scheme::Http || target.scheme() == Scheme::Https;
        (target.same_origin(&self.own) && encrypted).then_some(target)
    }

    fn follow(&mut self, ctx: &mut Context, id: ExchangeId, target: Endpoint) {
        self.pressure.forget(id);
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            exchange.redirects += 1;
            exchange.request.target = Some(target);
        }
        self.enqueue(ctx, id);
    }

    pub(super) fn timed_out(&mut self, ctx: &mut Context, id: ExchangeId) {
        let deadline = self.exchanges.get(&id).map(|exchange| exchange.deadline);
        if let Some(Deadline::Within(time)) = deadline {
            self.break_off(ctx, id, Failure::TimedOut(time.as_secs()));
        }
    }

    /// Closes the connection of an exchange, if it has one, and fails it.
    pub(super) fn break_off(&mut self, ctx: &mut Context, id: ExchangeId, failure: Failure) {
        match self.exchanges.get(&id).and_then(|it| it.conn()) {
            Some(conn) => self.close(ctx, conn),
            None => self.pool.forget(id),
        }
        self.fail(ctx, id, failure);
    }

    /// The exchange has failed; its connection is gone already.
    fn fail(&mut self, ctx: &mut Context, id: ExchangeId, failure: Failure) {
        let Some(exchange) = self.take(ctx, id) else {
            return;
        };
        let origin = self.own.origin();
        ctx.log(Level::Debug, || {
            format!("exchange failed: {}", failure.words(&origin))
        });
        let stream = match &exchange.stage {
            Stage::Sent { answer, .. } => answer.position(),
            Stage::Waiting | Stage::Dialing { .. } | Stage::Upgraded { .. } => None,
        };
        let owner = exchange.request.owner;
        let what = What::Failed { failure, stream };
        self.events.push_back(super::Event { id, owner, what });
    }
}

/// The reader of an exchange's response.
fn reader_for(
    exchanges: &Table<ExchangeId, Box<Exchange>>,
    ctx: &Context,
    id: ExchangeId,
) -> Reader {
    let reader = Reader::new(ctx.limits().head_max_bytes);
    match exchanges.get(&id) {
        Some(exchange) if exchange.request.upgrade => reader.for_upgrade(),
        _ => reader,
    }
}
