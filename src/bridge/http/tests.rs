//! The HTTP client alone, on a virtual clock: what goes in, and every word that comes out of it.

mod connections;
mod credentials;
mod ends;
mod memory;

use super::*;
use crate::bridge::testing;
use crate::failure::quote_body;
use crate::proto::http::request::Method;
use crate::proto::transport::{Close, CloseCause, Phase};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const UPGRADED: &str = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const MIB: usize = 1 << 20;

/// The client and what it borrows. Every input gives back what the client asked of the shell
/// ("dial 1", "1> GET /ws/x", "close 1") and then what it told ("#1 200 hi"), in that order.
struct Client {
    ctx: Context,
    http: Http,
    now: crate::bridge::Now,
    /// What waits in other machines, and for stdout.
    held: (usize, usize),
    /// The bytes that were sent last.
    sent: String,
}

impl Client {
    fn new() -> Self {
        Self::with(&[], |_| {})
    }

    fn with(settings: &[(&str, &str)], limits: impl FnOnce(&mut crate::config::Limits)) -> Self {
        let (ctx, now) = testing::limited(settings, limits);
        let http = Http::new(ctx.config());
        let (held, sent) = ((0, 0), String::new());
        Self {
            ctx,
            http,
            now,
            held,
            sent,
        }
    }

    /// One with a connection that has served an exchange already: 1, by #1.
    fn used() -> Self {
        let mut client = Self::new();
        assert_eq!(client.call(), "dial 1");
        assert_eq!(client.connected(1), "1> POST /ws/x");
        assert_eq!(client.received(1, OK), "#1 200 hi");
        client
    }

    fn send(&mut self, request: Request, seconds: Option<u64>) -> String {
        let deadline = match seconds {
            Some(seconds) => Deadline::Within(Duration::from_secs(seconds)),
            None => Deadline::None(Why::HostDecides),
        };
        self.http.send(&mut self.ctx, request, deadline);
        self.outcome()
    }

    /// A call that must not run twice, as most are.
    fn call(&mut self) -> String {
        self.send(request(Priority::Call, Repeat::Never), None)
    }

    fn harmless(&mut self) -> String {
        self.send(request(Priority::Call, Repeat::Harmless), None)
    }

    fn connected(&mut self, conn: u64) -> String {
        self.http.handle_connected(&mut self.ctx, ConnId(conn));
        self.outcome()
    }

    fn received(&mut self, conn: u64, text: &str) -> String {
        let (mut input, mut told) = (text.as_bytes(), String::new());
        loop {
            self.http
                .handle_received(&mut self.ctx, ConnId(conn), &mut input);
            let events = self.events();
            told = join(&told, &events);
            if events.is_empty() {
                return join(&self.outcome(), &told);
            }
        }
    }

    /// The connection is gone, with or without bytes of the request.
    fn closed(&mut self, conn: u64, sent: bool) -> String {
        self.closes(conn, CloseCause::Eof, sent)
    }

    fn closes(&mut self, conn: u64, cause: CloseCause, sent: bool) -> String {
        let phase = Phase::Open;
        let close = Close { cause, phase, sent };
        self.http.handle_closed(&mut self.ctx, ConnId(conn), close);
        self.outcome()
    }

    /// Time passes, step by step, as the reactor lets it.
    fn wait(&mut self, millis: u64) -> String {
        let (end, mut told) = (self.now.mono + Duration::from_millis(millis), String::new());
        while let Some(at) = self.ctx.next_timeout().filter(|at| *at <= end) {
            self.now.mono = at.max(self.now.mono);
            self.ctx.advance(self.now);
            while let Some(timer) = self.ctx.pop_due() {
                if let context::Timer::Http(timer) = timer {
                    self.http.handle_timer(&mut self.ctx, timer);
                }
            }
            told = join(&told, &self.outcome());
        }
        self.now.mono = end;
        self.ctx.advance(self.now);
        told
    }

    fn outcome(&mut self) -> String {
        let told = self.events();
        let (held, stdout) = self.held;
        let own = self.http.waiting_bytes() + self.http.reply_bytes();
        self.ctx.note_held(held + own, held, stdout);
        self.http.settle(&mut self.ctx);
        let mut asked = String::new();
        while let Some(output) = self.ctx.pop_output() {
            asked = join(&asked, &self.asked(output));
        }
        join(&asked, &join(&told, &self.events()))
    }

    fn asked(&mut self, output: Output) -> String {
        match output {
            Output::Connect(conn, to) if to.same_origin(&self.http.own) => {
                format!("dial {}", conn.0)
            }
            Output::Connect(conn, to) => format!("dial {} to {}", conn.0, to.origin()),
            Output::Transmit(conn, bytes) => {
                self.sent = String::from_utf8(bytes).expect("text");
                let line = self.sent.split(" HTTP/1.1").next().unwrap_or_default();
                format!("{}> {line}", conn.0)
            }
            Output::Close(conn) => format!("close {}", conn.0),
            Output::Pause(conn) => format!("pause {}", conn.0),
            Output::Resume(conn) => format!("resume {}", conn.0),
            Output::Log(..) => String::new(),
            other => panic!("not of this machine: {other:?}"),
        }
    }

    fn events(&mut self) -> String {
        let mut told = String::new();
        while let Some(Event { id, what, .. }) = self.http.poll_event() {
            let words = match what {
                What::Response(Response { head, body, token }) => {
                    let (words, _) = quote_body(&body);
                    let old =
                        ["", " (old token)"][usize::from(token != self.http.token_generation())];
                    format!("{} {words}{old}", head.status)
                }
                What::Message(data) => format!("event {}", String::from_utf8_lossy(&data)),
                What::Bytes(data) => format!("bytes {}", String::from_utf8_lossy(&data)),
                What::Ended { position, rest } => {
                    format!("ended {:?} {}", position.last_event_id, rest.is_some())
                }
                What::Failed { failure, stream } => {
                    let kind = format!("{failure:?}");
                    let kind = kind.split([' ', '{']).next().unwrap_or_default();
                    let kind = kind.split("(C").next().unwrap_or_default();
                    let begun = ["", " in its stream"][usize::from(stream.is_some())];
                    format!("failed {kind}{begun}")
                }
                What::Upgraded(_) => "upgraded".to_owned(),
                What::Sent => "sent".to_owned(),
                What::Repeated => "repeated".to_owned(),
                What::Head => "head".to_owned(),
                What::OldTransport => "old transport".to_owned(),
            };
            told = join(&told, &format!("#{} {words}", id.0));
        }
        told
    }
}

fn join(before: &str, after: &str) -> String {
    let parts = [before, after];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

fn request(priority: Priority, repeat: Repeat) -> Request {
    Request {
        owner: Owner::Mcp,
        method: Method::Post,
        target: None,
        headers: Vec::new(),
        body: Some("{}".into()),
        priority,
        repeat,
        upgrade: false,
        tell_head: false,
    }
}

fn to(url: &str) -> Request {
    Request {
        target: Some(Endpoint::parse(url).expect("a URL")),
        ..request(Priority::Control, Repeat::Harmless)
    }
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} R\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}
