//! The MCP client alone, on a virtual clock, with a workspace that answers what each test says.

mod calls;
mod handshake;
mod repeats;
mod streams;

use super::*;
use crate::bridge::ids::{Requester, Ticket};
use crate::bridge::request::{Cancel, Request};
use crate::bridge::{Now, Output, shutdown, testing};
use crate::failure::Executed;
use crate::proto::jsonrpc::{self, Meta, Params};
use crate::proto::transport::{Close, CloseCause, ConnId, Phase};
use std::time::Duration;

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;
const INITIALIZED: &str = "notifications/initialized";
const ACCEPTED: &str = "HTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\n\r\n";
const RESULT: &str = r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#;

/// The client over the HTTP client, and what both borrow. Every input gives back what was sent
/// ("> tools/call @s1" in session s1, "cut GET" for a connection that was closed under a request)
/// and what the client told, in that order.
struct Client {
    ctx: Context,
    http: Http,
    mcp: Mcp,
    now: Now,
    /// What was sent and is not answered yet.
    open: Vec<Sent>,
    /// No connection can be made, or none is.
    dials: Dials,
    /// The text that was sent last.
    sent: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dials {
    Succeed,
    Fail,
    Hang,
}

struct Sent {
    label: String,
    conn: ConnId,
    /// The raw id that the workspace knows it by.
    id: String,
}

impl Client {
    fn with(settings: &[(&str, &str)]) -> Self {
        let (ctx, now) = testing::limited(settings, |_| {});
        let http = Http::new(ctx.config());
        Self {
            ctx,
            http,
            mcp: Mcp::new(),
            now,
            open: Vec::new(),
            dials: Dials::Succeed,
            sent: String::new(),
        }
    }

    /// With session s1 open for everything, and no event stream offered.
    fn ready() -> Self {
        Self::ready_with(&[])
    }

    fn ready_with(settings: &[(&str, &str)]) -> Self {
        let mut client = Self::confirming(settings);
        assert_eq!(client.answer(INITIALIZED, ACCEPTED), "> GET @s1; ready");
        assert_eq!(client.answer("GET", &status(405, "", "")), "");
        client
    }

    /// `initialized` is under way in session s1.
    fn confirming(settings: &[(&str, &str)]) -> Self {
        let mut client = Self::with(settings);
        assert_eq!(client.request(INITIALIZE), "> initialize");
        let answered = client.answer("initialize", &opened("s1"));
        assert_eq!(answered, "connected; answered 1");
        assert_eq!(client.initialized(), "> notifications/initialized @s1");
        client
    }

    // The host.

    fn request(&mut self, text: &str) -> String {
        let request = parsed(text);
        let number = request
            .id()
            .parse()
            .expect("ids of these tests are numbers");
        let ticket = Ticket(number);
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        match request.method() == "initialize" {
            true => self.mcp.initialize(ctx, http, ticket, request),
            false => {
                let call = Call::new(Requester::Host(ticket), request);
                self.mcp.dispatch(ctx, http, call);
            }
        }
        self.outcome()
    }

    /// A legacy request.
    fn ask(&mut self, id: u64, method: &str) -> String {
        self.request(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"name":"t"}}}}"#
        ))
    }

    /// A modern one.
    fn ask_modern(&mut self, id: u64, method: &str, arguments: &str) -> String {
        self.request(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"name":"t","arguments":{arguments},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        ))
    }

    /// One of the gateway's own, whose answer nobody needs.
    fn report(&mut self, method: &str) -> String {
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        let params = (Era::Legacy, "{}");
        self.mcp.ask(ctx, http, Requester::Report, method, params);
        self.outcome()
    }

    /// The process is at this point of its end.
    fn end(&mut self, phase: shutdown::Phase) -> String {
        self.ctx.enter(phase);
        self.mcp.end_calls(&mut self.ctx, &mut self.http);
        self.outcome()
    }

    fn initialized(&mut self) -> String {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{INITIALIZED}"}}"#);
        self.mcp
            .host_initialized(&mut self.ctx, &mut self.http, text.into());
        self.outcome()
    }

    fn notify(&mut self, method: &str) -> String {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        self.mcp
            .notify(&mut self.ctx, &mut self.http, text.into(), Era::Legacy);
        self.outcome()
    }

    fn cancel(&mut self, id: u64) -> (Withdrawn, String) {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        );
        let message = jsonrpc::parse_one(&text).expect("a message");
        let cancel = Cancel::new(&message, &Params::peek(message.params)).expect("a cancel");
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        let withdrawn = self.mcp.withdraw(ctx, http, Ticket(id), &cancel);
        (withdrawn, self.outcome())
    }

    // The workspace.

    /// A whole response to the oldest open request of this name; `$ID` is that request's id.
    fn answer(&mut self, label: &str, response: &str) -> String {
        let at = self.find(label);
        let Sent { conn, id, .. } = self.open.remove(at);
        self.receive(conn, &with_id(response, &id))
    }

    /// A part of one.
    fn begin(&mut self, label: &str, part: &str) -> String {
        let Sent { conn, id, .. } = &self.open[self.find(label)];
        let (conn, part) = (*conn, with_id(part, id));
        self.receive(conn, &part)
    }

    /// The connection of the oldest such request is lost.
    fn lose(&mut self, label: &str) -> String {
        let at = self.find(label);
        let conn = self.open.remove(at).conn;
        self.close(conn, Phase::Open, true);
        self.outcome()
    }

    fn find(&self, label: &str) -> usize {
        let found = self.open.iter().position(|sent| sent.label == label);
        found.unwrap_or_else(|| panic!("{label} is not open"))
    }

    fn wire_id(&self, label: &str) -> &str {
        &self.open[self.find(label)].id
    }

    fn receive(&mut self, conn: ConnId, text: &str) -> String {
        let (mut input, mut told) = (text.as_bytes(), String::new());
        loop {
            self.http.handle_received(&mut self.ctx, conn, &mut input);
            let more = self.route();
            told = join(&told, &more);
            if input.is_empty() {
                return self.outcome_after(told);
            }
        }
    }

    fn close(&mut self, conn: ConnId, phase: Phase, sent: bool) {
        let cause = CloseCause::Eof;
        let close = Close { cause, phase, sent };
        self.http.handle_closed(&mut self.ctx, conn, close);
    }

    // Time.

    fn wait(&mut self, millis: u64) -> String {
        let (end, mut told) = (self.now.mono + Duration::from_millis(millis), String::new());
        while let Some(at) = self.ctx.next_timeout().filter(|at| *at <= end) {
            self.now.mono = at.max(self.now.mono);
            self.ctx.advance(self.now);
            while let Some(timer) = self.ctx.pop_due() {
                let (ctx, http) = (&mut self.ctx, &mut self.http);
                match timer {
                    context::Timer::Http(timer) => http.handle_timer(ctx, timer),
                    context::Timer::Mcp(timer) => self.mcp.handle_timer(ctx, http, timer),
                    other => panic!("not of these machines: {other:?}"),
                }
            }
            told = join(&told, &self.outcome());
        }
        self.now.mono = end;
        self.ctx.advance(self.now);
        told
    }

    // What comes out.

    fn outcome(&mut self) -> String {
        self.outcome_after(String::new())
    }

    fn outcome_after(&mut self, told: String) -> String {
        let mut told = join(&told, &self.route());
        let mut asked = String::new();
        loop {
            if self.http.take_back() {
                self.mcp.hurry(&mut self.ctx);
            }
            self.http.settle(&mut self.ctx);
            let Some(output) = self.ctx.pop_output() else {
                return join(&asked, &told);
            };
            asked = join(&asked, &self.perform(output));
            told = join(&told, &self.route());
        }
    }

    /// Carries events as the engine does.
    fn route(&mut self) -> String {
        let mut told = String::new();
        loop {
            if let Some(event) = self.mcp.poll_event() {
                told = join(&told, &words(event));
            } else if let Some(http::Event { id, what, .. }) = self.http.poll_event() {
                let (ctx, http) = (&mut self.ctx, &mut self.http);
                self.mcp.handle_exchange(ctx, http, id, what);
            } else {
                return told;
            }
        }
    }

    fn perform(&mut self, output: Output) -> String {
        match output {
            Output::Connect(conn, _) => match self.dials {
                Dials::Succeed => self.http.handle_connected(&mut self.ctx, conn),
                Dials::Fail => self.close(conn, Phase::Connect, false),
                Dials::Hang => {}
            },
            Output::Transmit(conn, bytes) => return self.transmitted(conn, bytes),
            Output::Close(conn) => {
                if let Some(at) = self.open.iter().position(|sent| sent.conn == conn) {
                    return format!("cut {}", self.open.remove(at).label);
                }
            }
            Output::ReadToken(_) => return "read the token".to_owned(),
            Output::Log(..) => {}
            other => panic!("not of these machines: {other:?}"),
        }
        String::new()
    }

    fn transmitted(&mut self, conn: ConnId, bytes: Vec<u8>) -> String {
        self.sent = String::from_utf8(bytes).expect("text");
        let (head, body) = self.sent.split_once("\r\n\r\n").expect("a head");
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(given, _)| *given == name)
                .map(|(_, value)| value)
        };
        let (label, id) = match jsonrpc::parse_one(body) {
            Ok(message) => (message.method.to_string(), message.id.unwrap_or_default()),
            Err(_) => (head.split(' ').next().unwrap_or_default().to_owned(), ""),
        };
        let session = header("Mcp-Session-Id").map(|id| format!(" @{id}"));
        let last = header("Last-Event-ID").map(|id| format!(" after {id}"));
        let words = format!(
            "> {label}{}{}",
            session.unwrap_or_default(),
            last.unwrap_or_default()
        );
        let id = id.to_owned();
        self.open.push(Sent { label, conn, id });
        self.http.handle_sent(conn);
        words
    }
}

fn words(event: Event) -> String {
    let name = |call: &Call| match call.requester().is_host() {
        true => call.request().id().to_owned(),
        false => "own".to_owned(),
    };
    match event {
        Event::Answered(call, reply, refusal) => {
            let code = reply.error.map(|code| format!(" error {code}"));
            let status = refusal.and_then(|failure| failure.http_status());
            let status = status.map(|status| format!(" ({status})"));
            let parts = [code, status].map(Option::unwrap_or_default).concat();
            format!("answered {}{parts}", name(&call))
        }
        Event::Failed(call, failure) => {
            let kind = format!("{failure:?}");
            let kind = kind.split([' ', '(', '{']).next().unwrap_or_default();
            let ran = match failure.executed().max(call.ran()) {
                Executed::No => "did not run",
                Executed::Unknown => "may have run",
            };
            format!("failed {} {kind}, {ran}", name(&call))
        }
        Event::Gated(call, needed, _) => format!("gated {} {}", name(&call), needed.approval_id),
        Event::StrayApproval(id) => format!("stray {id}"),
        Event::Unused(id) => format!("unused {id}"),
        Event::Message(bytes) => {
            let message = jsonrpc::parse_one(std::str::from_utf8(&bytes).expect("text"));
            format!("message {}", message.expect("a message").method)
        }
        Event::Away(_, request, away) => format!("away {} {}", request.id(), away.version),
        Event::Connected(_) => "connected".to_owned(),
        Event::Ready { after_outage: true } => "ready after an outage".to_owned(),
        Event::Ready { .. } => "ready".to_owned(),
    }
}

fn parsed(text: &str) -> Request {
    let message = jsonrpc::parse_one(text).expect(text);
    let params = Params::peek(message.params);
    Request::new(&message, &params, &Meta::peek(params.meta))
}

fn join(before: &str, after: &str) -> String {
    let parts = [before, after];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

/// The response with this id in it; its length is of what stands there then.
fn with_id(response: &str, id: &str) -> String {
    let response = response.replace("$ID", id);
    match response.split_once("\r\n\r\n") {
        Some((_, body)) => response.replace("$LENGTH", &body.len().to_string()),
        None => response,
    }
}

fn status(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} S\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: $LENGTH\r\n\r\n{body}"
    )
}

fn result() -> String {
    status(200, "", RESULT)
}

fn error(code: i64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{{"code":{code},"message":"m"}}}}"#)
}

/// The answer to `initialize` that opens this session.
fn opened(session: &str) -> String {
    let body = r#"{"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":"2025-06-18"}}"#;
    status(200, &format!("Mcp-Session-Id: {session}\r\n"), body)
}

/// One event of a stream, as a chunk.
fn event(id: &str, data: &str) -> String {
    chunk(&format!("{id}data: {data}\n\n"))
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
