//! Channels: one subject, pushed over a WebSocket, with a poll beside it that decides alone when the
//! socket can not. Approvals and chat use this one machine.
//!
//! ```text
//!            open, if one may be had        101                     close, error, silence
//!   Closed ─────────────────────────▶ Opening ──────▶ Open ────────────────────────────┐
//!     ▲  ▲                               │ refused                                     ▼
//!     │  └───────────────────────────────┴───────────────────────────────────────▶ Pausing
//!     └──────────────────── 1, 2, 4 … 30 s ────────────────────────────────────────────┘
//! ```
//!
//! The poll comes every 30 s, and at once when a socket is lost. A pause ends early where a connection to
//! the workspace is made after one that failed. Owns the sockets' state, their back-off, and who may have
//! one. It never reads what is pushed.

mod socket;

use super::context::{self, Context};
use super::extension;
use super::http::{self, Deadline, ExchangeId, Http, Owner, Priority, Repeat};
use super::ids::{ApprovalKey, Subject};
use super::turns::{Job, Turns};
use crate::failure::Failure;
use crate::proto::endpoint::Endpoint;
use crate::proto::http::request::{HeaderLines, Method};
use crate::proto::ws::WebSocket;
use crate::table::Table;
use std::collections::VecDeque;
use std::time::Instant;

/// What this machine has to tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// A text was pushed.
    Pushed(Subject, Vec<u8>),
    /// It is the turn of this work, which is the caller's to do.
    Turn(Job),
    /// What the status URL of an approval answered; `None` if that was no success.
    Read(ApprovalKey, Option<Vec<u8>>),
}

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The socket is opened again.
    Reconnect(Subject),
    /// A ping is due, or the socket has been silent for too long.
    Ping(Subject),
    /// The safety poll.
    Poll(Subject),
    /// The gateway's own requests have their next turn.
    Turn,
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        extension::Timer::Channel(timer).into()
    }
}

/// The state of a WebSocket that was opened for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// On its way.
    Opening,
    /// It works.
    Open,
    /// It does not; `None` if it was closed as soon as it was open.
    Refused(Option<Failure>),
}

/// The pushing side.
#[derive(Debug)]
enum Push {
    /// Not there: the poll serves. It is opened as soon as one may be had.
    Closed,
    /// Not there after a failure: it is opened again after a pause.
    Pausing,
    /// The upgrade is under way.
    Opening { exchange: ExchangeId, key: String },
    /// Open.
    Open {
        exchange: ExchangeId,
        socket: Box<WebSocket>,
        since: Instant,
        heard: Instant,
    },
}

#[derive(Debug)]
struct Channel {
    url: Endpoint,
    /// Where the state is read by GET, if the workspace named a place.
    status_url: Option<Endpoint>,
    push: Push,
    /// Why the socket could not be opened.
    trouble: Option<Failure>,
    /// Failures in a row, for the back-off; a socket that was open for a while ends the row.
    failures: u8,
}

/// All channels.
#[derive(Debug)]
pub(crate) struct Channels {
    channels: Table<Subject, Box<Channel>>,
    exchanges: Table<ExchangeId, Subject>,
    /// Status URLs that are read.
    polls: Table<ExchangeId, ApprovalKey>,
    /// Approvals that have a socket or are about to.
    approval_sockets: usize,
    /// Approvals that wait for one.
    without_socket: Table<Subject, ()>,
    turns: Turns,
    events: VecDeque<Event>,
}

impl Channels {
    pub(crate) fn new() -> Self {
        Self {
            channels: Table::new(),
            exchanges: Table::new(),
            polls: Table::new(),
            approval_sockets: 0,
            without_socket: Table::new(),
            turns: Turns::default(),
            events: VecDeque::new(),
        }
    }

    /// Begins to watch a subject: the socket at once, the first poll after its interval.
    pub(crate) fn open(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        subject: Subject,
        url: Endpoint,
        status_url: Option<Endpoint>,
    ) {
        let channel = Channel {
            url,
            status_url,
            push: Push::Closed,
            trouble: None,
            failures: 0,
        };
        self.channels.insert(subject, Box::new(channel));
        ctx.set(Timer::Poll(subject), ctx.limits().safety_poll);
        self.open_socket(ctx, http, subject);
    }

    /// Ends a channel and gives its socket to one that waits for it.
    pub(crate) fn close(&mut self, ctx: &mut Context, http: &mut Http, subject: Subject) {
        let Some(channel) = self.channels.remove(&subject) else {
            return;
        };
        for timer in [
            Timer::Reconnect(subject),
            Timer::Ping(subject),
            Timer::Poll(subject),
        ] {
            ctx.stop(timer);
        }
        self.without_socket.remove(&subject);
        self.turns.forget(Job::Poll(subject));
        self.close_socket(ctx, http, subject, channel.push);
        self.open_waiting(ctx, http);
    }

    /// The state of a subject's socket, for a look.
    pub(crate) fn socket(&self, subject: Subject) -> Socket {
        match self.channels.get(&subject) {
            Some(channel) => match channel.push {
                Push::Open { .. } => Socket::Open,
                Push::Closed | Push::Pausing => Socket::Refused(channel.trouble.clone()),
                Push::Opening { .. } => Socket::Opening,
            },
            None => Socket::Opening,
        }
    }

    /// Asks for a subject's state ahead of the poll's time.
    pub(crate) fn poll_now(&mut self, ctx: &mut Context, subject: Subject) {
        let Some(channel) = self.channels.get(&subject) else {
            return;
        };
        let is_live = matches!(channel.push, Push::Open { .. });
        ctx.stop(Timer::Poll(subject));
        let urgent = subject != Subject::Chat && !is_live;
        self.turns.push(Job::Poll(subject), urgent);
    }

    /// Work of the gateway's own waits for its turn.
    pub(crate) fn want(&mut self, job: Job) {
        self.turns.push(job, false);
    }

    /// What follows from any input: does the work whose turn it is, or says so.
    pub(crate) fn settle(&mut self, ctx: &mut Context, http: &mut Http) {
        while let Some(job) = self.turns.pop(ctx.now()) {
            let by_url = match job {
                Job::Poll(Subject::Approval(key)) => self.read(ctx, http, key),
                Job::Poll(Subject::Chat) | Job::Heartbeat => false,
            };
            if !by_url {
                self.events.push_back(Event::Turn(job));
            }
        }
        if let Some(at) = self.turns.next_turn()
            && !ctx.runs(Timer::Turn)
        {
            ctx.set_at(Timer::Turn, at);
        }
    }

    /// The workspace can be reached again: a socket that has failed more than once need not sit out its
    /// pause.
    pub(crate) fn hurry(&mut self, ctx: &mut Context) {
        for (subject, channel) in self.channels.iter_mut() {
            if matches!(channel.push, Push::Pausing) && channel.failures > 1 {
                channel.failures = 0;
                let pause = ctx.hurried_pause();
                ctx.set(Timer::Reconnect(*subject), pause);
            }
        }
    }

    /// Reads an approval's state at the URL that the workspace named. False if it named none.
    fn read(&mut self, ctx: &mut Context, http: &mut Http, key: ApprovalKey) -> bool {
        let channel = self.channels.get(&Subject::Approval(key));
        let Some(url) = channel.and_then(|channel| channel.status_url.clone()) else {
            return false;
        };
        let mut headers = HeaderLines::default();
        headers.add("Accept", "application/json");
        let kind = (Priority::Control, Repeat::Harmless);
        let request = http::Request {
            target: Some(url),
            ..http::Request::new(Owner::Channel, Method::Get, headers, kind)
        };
        let deadline = Deadline::Within(ctx.limits().control_timeout);
        let exchange = http.send(ctx, request, deadline);
        self.polls.insert(exchange, key);
        true
    }

    /// A poll came back, or failed: the next one comes after its interval.
    pub(crate) fn polled(&mut self, ctx: &mut Context, subject: Subject) {
        if self.channels.contains_key(&subject) && !ctx.runs(Timer::Poll(subject)) {
            ctx.set(Timer::Poll(subject), ctx.limits().safety_poll);
        }
    }

    /// The machine slept: sockets are dead though nobody told us; ask at once.
    pub(crate) fn wake(&mut self, ctx: &mut Context, http: &mut Http) {
        let subjects: Vec<Subject> = self.channels.keys().copied().collect();
        for subject in subjects {
            if let Some(channel) = self.channels.get_mut(&subject) {
                channel.failures = 0;
                let push = std::mem::replace(&mut channel.push, Push::Closed);
                ctx.stop(Timer::Reconnect(subject));
                self.close_socket(ctx, http, subject, push);
            }
            self.poll_now(ctx, subject);
            self.open_socket(ctx, http, subject);
        }
    }

    /// Bytes that wait in open sockets, in either direction.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |channel: &Channel| match &channel.push {
            Push::Open { socket, .. } => socket.held_bytes(),
            Push::Closed | Push::Pausing | Push::Opening { .. } => 0,
        };
        // Few have a socket.
        let open = self.exchanges.values();
        open.filter_map(|subject| self.channels.get(subject))
            .map(|channel| held(channel))
            .sum()
    }

    /// True while an exchange of this machine is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.polls.is_empty() || !self.exchanges.is_empty()
    }

    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, http: &mut Http, timer: Timer) {
        match timer {
            Timer::Reconnect(subject) => {
                if let Some(channel) = self.channels.get_mut(&subject) {
                    channel.push = Push::Closed;
                    self.open_socket(ctx, http, subject);
                }
            }
            Timer::Ping(subject) => self.ping(ctx, http, subject),
            Timer::Poll(subject) => self.poll_now(ctx, subject),
            // `take_turns` looks whose turn it is.
            Timer::Turn => {}
        }
    }

    /// Something happened to an exchange of this machine.
    pub(crate) fn handle_exchange(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: ExchangeId,
        what: http::What,
    ) {
        if self.polls.contains_key(&id) && matches!(what, http::What::Repeated) {
            // It is under way again, and still to be answered.
            return;
        }
        if let Some(key) = self.polls.remove(&id) {
            let body = match what {
                http::What::Response(response) if response.head.status / 100 == 2 => {
                    Some(response.body)
                }
                _ => None,
            };
            return self.events.push_back(Event::Read(key, body));
        }
        let Some(subject) = self.exchanges.get(&id).copied() else {
            return http.abort(ctx, id);
        };
        match what {
            http::What::Upgraded(head) => self.upgraded(ctx, http, subject, &head),
            http::What::Bytes(bytes) => self.bytes_came(ctx, http, subject, &bytes),
            http::What::Sent => self.sent(ctx, http, subject),
            http::What::Response(response) => {
                let status = response.head.status;
                let failure = match status / 100 {
                    // A success, but no WebSocket.
                    2 => Failure::NoAnswer { status },
                    _ => ctx.refusal(&response.head, &response.body, false),
                };
                self.lost(ctx, http, subject, Some(failure));
            }
            http::What::Ended { .. } => {
                self.lost(ctx, http, subject, Some(Failure::NoAnswer { status: 200 }));
            }
            http::What::Failed { failure, .. } => {
                let opened = self.socket(subject) == Socket::Open;
                self.lost(ctx, http, subject, (!opened).then_some(failure));
            }
            http::What::Repeated
            | http::What::Head
            | http::What::Message(_)
            | http::What::OldTransport => {}
        }
    }
}

#[cfg(test)]
mod tests;
