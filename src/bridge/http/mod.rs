//! An HTTP/1.1 client for one origin: it could be lifted into another program.
//!
//! Owns connections, exchanges, redirects, the replay of what a stale connection swallowed, the
//! token, cookies, deadlines, and back-pressure to the network. It knows bytes and event streams; it
//! never knows what a message means, and never repeats a request that the server may have seen,
//! unless the caller said that this does no harm.
//!
//! ```text
//!              send                 a connection is free          the head has come
//!   (caller) ───────▶ Waiting ───────────────────────────▶ Sent ───────────────────▶ Sent + body
//!                      ▲  │ 307/308, same origin ◀──────────┤ │                          │
//!                      └──┴─ stale connection, no byte came ◀┘ │ 101                     │
//!                                                              ▼                         ▼
//!                                                           Upgraded ──────────▶ Failed, Response, Ended
//! ```
//!
//! Every exchange ends with exactly one of [`What::Response`], [`What::Ended`] and
//! [`What::Failed`], unless its caller aborts it; and each has a [`Deadline`].

mod credentials;
mod exchange;
mod flow;
mod pool;
mod pressure;
mod request;

use super::Output;
use super::context::{self, Context};
use crate::config::{Config, Token};
use crate::failure::Failure;
use crate::proto::endpoint::Endpoint;
use crate::proto::http::response::ResponseHead;
use crate::proto::transport::ConnId;
use crate::table::Table;
use credentials::Credentials;
use exchange::{Exchange, Stage};
use pool::Pool;
use pressure::Pressure;
pub(crate) use request::{Deadline, Priority, Repeat, Request, Why};
use std::collections::VecDeque;
use std::time::Instant;

/// Names one exchange for the life of the process. A later one has a larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExchangeId(u64);

/// Who sent a request: the events of its exchange are for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The MCP client.
    Mcp,
    /// The channels.
    Channel,
}

/// What happened to an exchange.
#[derive(Debug)]
pub(crate) struct Event {
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// What happened.
    pub(crate) what: What,
}

/// See [`Event`].
#[derive(Debug)]
pub(crate) enum What {
    /// The bytes of a request that was given up, or the last bytes for an upgraded connection, are
    /// with the socket.
    Sent,
    /// The request was handed to a connection that turned out stale, and is sent again: the server may
    /// have seen it twice.
    Repeated,
    /// The head of a success, for an event stream or where the request asked to be told.
    Head,
    /// A message event of its stream.
    Message(Vec<u8>),
    /// The event stream begins as servers of the HTTP+SSE transport of 2024-11-05 begin it.
    OldTransport,
    /// The end: a whole response that is no event stream, whatever its status.
    Response(Response),
    /// The end of an event stream, as its server meant it.
    Ended {
        /// How far it came.
        position: Position,
        /// Data that lacked only the blank line at the end, and the response's head.
        rest: Option<(Box<ResponseHead>, Vec<u8>)>,
    },
    /// The end: there is no (whole) response.
    Failed {
        /// Why.
        failure: Failure,
        /// How far its event stream had come, if it had begun.
        stream: Option<Position>,
    },
    /// 101: the connection speaks another protocol from here on.
    Upgraded(Box<ResponseHead>),
    /// Bytes of an upgraded connection.
    Bytes(Vec<u8>),
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response {
    /// Its head.
    pub(crate) head: Box<ResponseHead>,
    /// Its body; of a refusal at most the beginning.
    pub(crate) body: Vec<u8>,
    /// Counts tokens: which one the request carried.
    pub(crate) token: u32,
}

/// How far an event stream has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// For Last-Event-ID.
    pub(crate) last_event_id: Option<Box<str>>,
    /// The server's `retry`, milliseconds.
    pub(crate) retry_ms: Option<u64>,
}

impl Position {
    /// Takes over what a later stretch of the stream has said.
    pub(crate) fn advance(&mut self, later: Position) {
        self.last_event_id = later.last_event_id.or(self.last_event_id.take());
        self.retry_ms = later.retry_ms.or(self.retry_ms);
    }
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An exchange has taken too long.
    Deadline(ExchangeId),
    /// Idle connections grow old.
    Age,
    /// Nothing has been answered yet: another connection is made meanwhile.
    Warm,
    /// Memory is short, and a large response may have stopped.
    Stalled,
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        context::Timer::Http(timer)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Http {
    own: Endpoint,
    credentials: Credentials,
    pool: Pool,
    exchanges: Table<ExchangeId, Box<Exchange>>,
    next: u64,
    pressure: Pressure,
    /// Bytes of requests that wait for a connection.
    waiting_bytes: usize,
    /// When idle connections are looked at next.
    age_at: Option<Instant>,
    /// An answer is awaited, and a spare connection is made should it take its time.
    is_warming: bool,
    events: VecDeque<Event>,
    /// The server's clock, Unix seconds, as of its last response.
    server_clock_s: Option<u64>,
    reach: Reach,
}

/// Whether connections to the own origin can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// As far as is known.
    Here,
    /// A connection could not be made, and none was since.
    Away,
    /// There is a connection again, and nobody was told yet.
    Back,
}

impl Http {
    /// A client for the URL and with the token of these settings.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            own: config.endpoint.clone(),
            credentials: Credentials::new(config),
            pool: Pool::default(),
            exchanges: Table::new(),
            next: 0,
            pressure: Pressure::default(),
            waiting_bytes: 0,
            age_at: None,
            is_warming: false,
            events: VecDeque::new(),
            server_clock_s: None,
            reach: Reach::Here,
        }
    }

    /// Makes a connection that nobody waits for yet; a second one, should the first take its time:
    /// on such a link two requests in a row would otherwise wait for each other.
    pub(crate) fn dial_ahead(&mut self, ctx: &mut Context) {
        // Whoever comes meanwhile waits for this one: its failure is theirs.
        let conn = self.pool.dial_ahead(ExchangeId(u64::MAX));
        self.connect(ctx, conn);
        self.warm_later(ctx);
    }

    /// Should the answer that is awaited now take its time, there will be a spare connection when it
    /// comes.
    pub(crate) fn warm_later(&mut self, ctx: &mut Context) {
        ctx.set(Timer::Warm, ctx.limits().warm_after);
        self.is_warming = true;
    }

    fn warm(&mut self, ctx: &mut Context) {
        self.is_warming = false;
        if self.pool.spare() < 2 && !ctx.phase().is_farewell() {
            let conn = self.pool.dial_ahead(ExchangeId(self.next));
            self.connect(ctx, conn);
        }
    }

    /// Sends a request as soon as there is a connection for it.
    pub(crate) fn send(
        &mut self,
        ctx: &mut Context,
        request: Request,
        deadline: Deadline,
    ) -> ExchangeId {
        self.next += 1;
        let id = ExchangeId(self.next);
        self.exchanges.insert(id, Box::new(Exchange::new(request)));
        self.limit(ctx, id, deadline);
        self.enqueue(ctx, id);
        id
    }

    /// From now on an exchange has this much time.
    pub(crate) fn limit(&mut self, ctx: &mut Context, id: ExchangeId, deadline: Deadline) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        exchange.deadline = deadline;
        match deadline {
            Deadline::Within(time) => ctx.set(Timer::Deadline(id), time),
            Deadline::None(_) => ctx.stop(Timer::Deadline(id)),
        }
    }

    /// Ends an exchange whatever its state: its connection is closed, nobody is told.
    pub(crate) fn abort(&mut self, ctx: &mut Context, id: ExchangeId) {
        if let Some(exchange) = self.take(ctx, id) {
            match exchange.conn() {
                Some(conn) => self.close(ctx, conn),
                None => self.pool.forget(id),
            }
        }
    }

    /// Nobody wants a request any more that may have left: it is neither repeated nor redirected.
    /// False if no byte of it has left, and none will: it is gone.
    pub(crate) fn give_up(&mut self, ctx: &mut Context, id: ExchangeId) -> bool {
        match self.exchanges.get_mut(&id) {
            Some(exchange) if exchange.conn().is_some() => {
                exchange.given_up = true;
                if matches!(exchange.stage, Stage::Sent { sent: true, .. }) {
                    self.tell(id, What::Sent);
                }
                true
            }
            Some(_) => {
                self.abort(ctx, id);
                false
            }
            None => false,
        }
    }

    /// An exchange has told what was wanted of it: it gets a little time to end well, so that its
    /// connection can be kept and what is still said on it is heard.
    pub(crate) fn linger(&mut self, ctx: &mut Context, id: ExchangeId) {
        match self.exchanges.get_mut(&id) {
            Some(exchange) if exchange.conn().is_some() => {
                exchange.given_up = true;
                let linger = ctx.limits().linger;
                self.limit(ctx, id, Deadline::Within(linger));
            }
            Some(_) => self.abort(ctx, id),
            None => {}
        }
    }

    /// True while an exchange waits for a connection: nothing of it has left.
    pub(crate) fn is_waiting(&self, id: ExchangeId) -> bool {
        let exchange = self.exchanges.get(&id);
        exchange.is_some_and(|exchange| exchange.conn().is_none())
    }

    /// True once an exchange has ended, or was aborted.
    pub(crate) fn is_gone(&self, id: ExchangeId) -> bool {
        !self.exchanges.contains_key(&id)
    }

    /// The head of a response that has begun.
    pub(crate) fn head(&self, id: ExchangeId) -> Option<&ResponseHead> {
        self.exchanges.get(&id)?.head()
    }

    /// Bytes for an upgraded connection. One piece at a time: the next after [`What::Sent`].
    pub(crate) fn write(&mut self, ctx: &mut Context, id: ExchangeId, bytes: Vec<u8>) {
        if let Some(Stage::Upgraded { conn }) = self.exchanges.get(&id).map(|it| &it.stage) {
            ctx.emit(Output::Transmit(*conn, bytes));
        }
    }

    /// A new token is used from now on.
    pub(crate) fn renew_token(&mut self, token: Token) {
        self.credentials.renew(token);
    }

    /// The token in use.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.credentials.token()
    }

    /// Counts tokens.
    pub(crate) fn token_generation(&self) -> u32 {
        self.credentials.generation()
    }

    /// Long-lived exchanges that hold a connection, or wait for one.
    pub(crate) fn streams(&self) -> usize {
        self.pool.streams() + self.pool.waiting_streams()
    }

    /// The server's clock, Unix seconds, as of its last response.
    pub(crate) fn server_clock_s(&self) -> Option<u64> {
        self.server_clock_s
    }

    /// True once each time that connections to the own origin can be made again.
    pub(crate) fn take_back(&mut self) -> bool {
        let is_back = self.reach == Reach::Back;
        if is_back {
            self.reach = Reach::Here;
        }
        is_back
    }

    /// Bytes of requests that wait for a connection.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of responses that are not complete.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.pressure.pending_bytes()
    }

    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Closes every connection.
    pub(crate) fn close_all(&mut self, ctx: &mut Context) {
        for conn in self.pool.all() {
            self.close(ctx, conn);
        }
    }

    /// The machine slept: idle connections are dead, though nobody told us.
    pub(crate) fn drop_idle(&mut self, ctx: &mut Context) {
        for conn in self.pool.take_idle() {
            ctx.emit(Output::Close(conn));
        }
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer {
            Timer::Deadline(id) => self.timed_out(ctx, id),
            Timer::Warm => self.warm(ctx),
            Timer::Stalled => self.look_for_stalled(ctx),
            // `settle` looks at their age.
            Timer::Age => self.age_at = None,
        }
    }

    /// What follows from any input: connections for who waits, an end for those that are old.
    pub(crate) fn settle(&mut self, ctx: &mut Context) {
        self.pump(ctx);
        for conn in self.pool.expire(ctx.now(), ctx.limits()) {
            ctx.emit(Output::Close(conn));
        }
        match self.pool.next_expiry(ctx.limits()) {
            // One that fires too early only looks again.
            Some(at) if self.age_at.is_none_or(|set| at < set) => {
                self.age_at = Some(at);
                ctx.set_at(Timer::Age, at);
            }
            Some(_) => {}
            None => {
                self.age_at = None;
                ctx.stop(Timer::Age);
            }
        }
        self.balance(ctx);
    }

    fn connect(&mut self, ctx: &mut Context, conn: ConnId) {
        ctx.emit(Output::Connect(conn, self.own.clone()));
    }

    fn tell(&mut self, id: ExchangeId, what: What) {
        if let Some(exchange) = self.exchanges.get(&id) {
            let owner = exchange.request.owner;
            self.events.push_back(Event { id, owner, what });
        }
    }

    /// Takes an exchange out with all that is kept for it; its connection is the caller's to care for.
    fn take(&mut self, ctx: &mut Context, id: ExchangeId) -> Option<Exchange> {
        let exchange = self.exchanges.remove(&id)?;
        ctx.stop(Timer::Deadline(id));
        self.pressure.forget(id);
        if exchange.conn().is_none() {
            self.waiting_bytes -= exchange.cost();
        }
        Some(*exchange)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::ExchangeId;

    /// A name for tests of machines that only keep it.
    pub(crate) fn exchange(number: u64) -> ExchangeId {
        ExchangeId(number)
    }
}

#[cfg(test)]
mod tests;
