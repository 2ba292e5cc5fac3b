//! A workspace in which some calls need a person's approval, with everything that can go wrong
//! between that person and the engine.

use super::frames;
use super::message::{Kind, Message};
use super::script::{End, Event, Framing, Mark, Script};
use super::workspace::{Act, Desk, HttpRequest, Workspace};
use aerostack_gateway::api::proto::accept_for;
use aerostack_gateway::api::proto::to_rfc3339;
use aerostack_gateway::api::proto::{CloseCause, ConnId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

const JSON: &str = "Content-Type: application/json\r\n";
const LENGTH: Framing = Framing::Length;
const EOF: End = End::Closed(CloseCause::Eof);
const RESET: End = End::Closed(CloseCause::Io(ErrorKind::ConnectionReset));

/// What a person, or nobody, will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Approved,
    /// With other arguments.
    Edited,
    /// With another tool: no gateway may send that.
    Forged,
    /// The workspace runs it itself: a result, an error, or neither comes back.
    Executed(u8),
    Rejected,
    Expired,
    Cancelled,
}

#[derive(Debug)]
pub(crate) struct Approval {
    key: u64,
    nonce: Option<u64>,
    method: String,
    fate: Fate,
    /// The truth; "pending" until it is decided.
    pub(crate) word: &'static str,
    /// The recorded outcome: `"result":…` or `"error":…`.
    outcome: Option<String>,
    pub(crate) executions: u32,
    /// How often the retry is told to wait for the same approval.
    nags: u64,
    /// The approval that its retry needs, too.
    next: Option<String>,
    silent: bool,
}

/// What the server does of itself.
#[derive(Clone, Debug)]
enum Todo {
    Decide(String),
    /// Says again what is known already.
    Repeat(String),
    /// A socket breaks, speaks rubbish or falls silent.
    Harm(ConnId),
    /// Sessions are forgotten, and perhaps approvals.
    Restart,
}

#[derive(Debug)]
struct Socket {
    approval: String,
    silent: bool,
}

/// How this workspace is.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) at_most_once: bool,
    /// Percent of calls that need approval.
    pub(crate) gate: u64,
    /// Percent of exchanges that go wrong, and of sockets.
    pub(crate) faults: u64,
    pub(crate) socket_faults: u64,
    /// Percent of socket requests that are refused.
    pub(crate) socket_refusals: u64,
    /// Until a person decides, at most.
    pub(crate) decide_us: u64,
    /// Percent of calls that share an approval which an equal call has.
    pub(crate) shares: u64,
    pub(crate) nags: u64,
    pub(crate) restarts: bool,
    pub(crate) forgets: bool,
    pub(crate) status_url: bool,
    pub(crate) expires: bool,
    /// The server's clock is ahead by so much.
    pub(crate) skew_s: u64,
}

#[derive(Debug)]
pub(crate) struct Gates {
    manner: Manner,
    calm: bool,
    made: u64,
    sessions: BTreeSet<String>,
    pub(crate) approvals: BTreeMap<String, Approval>,
    sockets: BTreeMap<ConnId, Socket>,
    todo: BTreeMap<u64, Todo>,
    /// Of approvals that were forgotten: they count, too.
    forgotten: u64,
}

impl Gates {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            calm: false,
            made: 0,
            sessions: BTreeSet::new(),
            approvals: BTreeMap::new(),
            sockets: BTreeMap::new(),
            todo: BTreeMap::new(),
            forgotten: 0,
        }
    }

    fn plan(&mut self, us: u64, todo: Todo, desk: &mut Desk<'_>) {
        self.made += 1;
        self.todo.insert(self.made, todo);
        desk.acts.push(Act::Wake(us, self.made));
    }

    fn now_s(&self, desk: &Desk<'_>) -> u64 {
        desk.wall_ms / 1_000 + self.manner.skew_s
    }

    // HTTP.

    fn reply(&mut self, body: &str, marks: Vec<Mark>, desk: &mut Desk<'_>) -> Script {
        let mut headers = format!("Date: {}\r\n", http_date(self.now_s(desk)));
        if desk.random.chance(40) {
            let mut event = Event::new(body).after(desk.random.below(5_000));
            event.marks = marks;
            return Script::events(&headers, &[event], true, "\n");
        }
        headers += JSON;
        Script::response(200, &headers, body, LENGTH, marks)
    }

    fn serve(&mut self, message: &Message, desk: &mut Desk<'_>) -> Script {
        if matches!(message.method.as_str(), "initialize" | "server/discover") {
            return self.introduce(message, desk);
        }
        desk.ledger.execute(message.nonce());
        let nonce = message.nonce().unwrap_or_default();
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}},\"content\":[],\"tools\":[]}}}}",
            message.id
        );
        let marks = match message.nonce() {
            Some(nonce) if !message.is_gateways() => vec![Mark::Answer(nonce)],
            _ => vec![],
        };
        self.reply(&body, marks, desk)
    }

    fn introduce(&mut self, message: &Message, desk: &mut Desk<'_>) -> Script {
        let nonce = message.nonce().unwrap_or_default();
        let offer = format!(
            "{{\"approvals\":{{\"at_most_once\":{}}}}}",
            self.manner.at_most_once
        );
        let meta = format!("\"_meta\":{{\"sim/nonce\":{nonce}}}");
        if message.method == "server/discover" {
            let body = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{{meta},\"supportedVersions\":[\"2026-07-28\"],\
                 \"capabilities\":{{\"extensions\":{{\"dev.aerostack/workspace\":{offer}}}}}}}}}",
                message.id
            );
            return self.reply(&body, vec![], desk);
        }
        self.made += 1;
        let session = format!("session-{}", self.made);
        self.sessions.insert(session.clone());
        let version = "2025-06-18".to_owned();
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{{meta},\"protocolVersion\":\"{version}\",\
             \"capabilities\":{{\"tools\":{{}},\"experimental\":{{\"aerostack\":{offer}}}}}}}}}",
            message.id
        );
        let headers = format!("Mcp-Session-Id: {session}\r\n{JSON}");
        let session = Some(session);
        let marks = vec![Mark::InitializeResult { session, version }];
        Script::response(200, &headers, &body, LENGTH, marks)
    }

    /// `aerostack/approvals/get` and `…/cancel`.
    fn ask(&mut self, message: &Message, desk: &mut Desk<'_>) -> Script {
        let id = message.params["approval_id"].as_str().unwrap_or_default();
        let cancels = message.method.ends_with("cancel");
        if let Some(approval) = self.approvals.get_mut(id)
            && cancels
            && approval.word == "pending"
        {
            approval.word = "cancelled";
            self.push(id, desk);
        }
        let (body, marks) = match self.approvals.contains_key(id) {
            true => {
                let (object, marks) = self.object(id, desk);
                let body = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{object}}}",
                    message.id
                );
                (body, marks)
            }
            false => {
                let body = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":-32602,\"message\":\"srv: no such approval\"}}}}",
                    message.id
                );
                (body, vec![])
            }
        };
        self.reply(&body, marks, desk)
    }

    fn fault(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let closed = desk.random.pick(&[EOF, RESET]).clone();
        match desk.random.below(9) {
            0 => Script::nothing(closed).after(desk.random.below(50_000)),
            1 | 2 => {
                let script = self.work(request, desk);
                let at = desk.random.below(script.bytes.len() as u64 + 1) as usize;
                script.cut(at, closed)
            }
            3 => Script::response(503, "", "<html>", LENGTH, vec![]),
            4 => Script::response(500, "", "", LENGTH, vec![]),
            5 => {
                let headers = "Retry-After: 2\r\n";
                Script::response(429, headers, "slow down", LENGTH, vec![Mark::Refused])
            }
            6 => {
                self.work(request, desk);
                Script::nothing(End::Silent)
            }
            7 => Script::nothing(End::Silent),
            _ => {
                self.work(request, desk);
                Script::response(200, "", "", LENGTH, vec![]).garbled()
            }
        }
    }

    fn work(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let Some(message) = &request.message else {
            return match request.method.as_str() {
                "GET" => self.look(request, desk),
                _ => Script::response(200, "", "", LENGTH, vec![]),
            };
        };
        if let Some(id) = request.header("mcp-session-id")
            && !self.sessions.contains(id)
        {
            let marks = vec![Mark::Refused];
            return Script::response(404, "Content-Type: text/plain\r\n", "gone", LENGTH, marks);
        }
        if message.kind != Kind::Request {
            return Script::response(202, "", "", LENGTH, vec![]);
        }
        match message.method.as_str() {
            "aerostack/approvals/get" | "aerostack/approvals/cancel" => self.ask(message, desk),
            _ => match request.approval() {
                Some(id) => self.retry(id, message, desk),
                None if message.key().is_some() && desk.random.chance(self.manner.gate) => {
                    self.gate(message, desk)
                }
                None => self.serve(message, desk),
            },
        }
    }

    /// A GET: a socket, a state, or a stream that is not offered.
    fn look(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let parts: Vec<&str> = request.target.split('/').collect();
        let [.., "approvals", id, last] = parts[..] else {
            return Script::response(405, "", "", LENGTH, vec![]);
        };
        if !self.approvals.contains_key(id) {
            return Script::response(404, "", "", LENGTH, vec![]);
        }
        if last == "status" {
            let (object, marks) = self.object(id, desk);
            return Script::response(200, JSON, &object, LENGTH, marks);
        }
        let key = request.header("sec-websocket-key").unwrap_or_default();
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept_for(key)
        );
        if desk.random.chance(self.manner.socket_refusals) && !self.calm {
            let none = vec![];
            return match desk.random.below(8) {
                0 => Script::response(403, "", "no", LENGTH, none),
                1 => Script::response(404, "", "no", LENGTH, none),
                2 => Script::response(200, JSON, "{}", LENGTH, none),
                3 => Script::nothing(End::Silent),
                4 => Script::nothing(RESET),
                5 => Script::response(200, "", "", LENGTH, none).garbled(),
                6 => {
                    // The proof of another key.
                    head = head.replace("Accept: ", "Accept: x");
                    let mut script = Script::nothing(End::Silent);
                    script.bytes = head.into_bytes();
                    script
                }
                _ => Script::response(429, "Retry-After: 3\r\n", "", LENGTH, none),
            };
        }
        let mut script = Script::nothing(End::KeepAlive);
        script.bytes = head.into_bytes();
        script.marks.push((script.bytes.len(), Mark::Upgraded));
        let harmed = desk.random.chance(self.manner.socket_faults) && !self.calm;
        let silent = harmed && desk.random.chance(30);
        let socket = Socket {
            approval: id.to_owned(),
            silent,
        };
        self.sockets.insert(desk.conn, socket);
        if !silent {
            let (bytes, marks) = self.told(id, desk);
            script.bytes.extend(bytes);
            let at = script.bytes.len();
            script
                .marks
                .extend(marks.into_iter().map(|mark| (at, mark)));
        }
        if harmed {
            let us = desk.random.below(30_000_000);
            self.plan(us, Todo::Harm(desk.conn), desk);
        }
        script
    }

    fn harm(&mut self, conn: ConnId, desk: &mut Desk<'_>) {
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        let rubbish: &[&[u8]] = &[
            b"\xff\xff\xff",
            b"\x81\x85mask12345",
            b"\xc1\x01x",
            b"\x81\x02\xff\xfe",
            b"\x80\x01x",
            b"\x81\x7f\x00\x00\x00\x00\x7f\xff\xff\xff",
        ];
        match desk.random.below(5) {
            0 => socket.silent = true,
            1 => desk.acts.push(Act::Drop(conn, CloseCause::Eof)),
            2 => {
                let cause = CloseCause::Io(ErrorKind::ConnectionReset);
                desk.acts.push(Act::Drop(conn, cause));
            }
            3 => {
                let bytes = frames::frame(frames::CLOSE, true, &1_001u16.to_be_bytes());
                desk.acts.push(Act::Send(conn, bytes, vec![]));
                desk.acts.push(Act::Drop(conn, CloseCause::Eof));
            }
            _ => {
                let bytes = desk.random.pick(rubbish).to_vec();
                desk.acts.push(Act::Send(conn, bytes, vec![]));
            }
        }
    }

    fn restart(&mut self, desk: &mut Desk<'_>) {
        for session in std::mem::take(&mut self.sessions) {
            desk.ledger.dead_sessions.insert(session);
        }
        for conn in std::mem::take(&mut self.sockets).into_keys() {
            desk.acts.push(Act::Drop(conn, CloseCause::Eof));
        }
        if self.manner.forgets {
            self.forgotten += self.approvals.len() as u64;
            self.approvals.clear();
        }
        if !self.calm {
            let us = desk.random.between(5_000_000, 40_000_000);
            self.plan(us, Todo::Restart, desk);
        }
    }
}

impl Workspace for Gates {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        if self.made == 0 && self.manner.restarts {
            let us = desk.random.between(2_000_000, 30_000_000);
            self.plan(us, Todo::Restart, desk);
        }
        let opens = request
            .message
            .as_ref()
            .is_some_and(|m| matches!(m.method.as_str(), "initialize" | "server/discover"));
        let whole = request.is_upgrade() || opens || request.method == "DELETE";
        if !whole && !self.calm && desk.random.chance(self.manner.faults) {
            return self.fault(request, desk);
        }
        let wait = match desk.random.below(10) {
            0 if !self.calm => desk.random.below(2_000_000),
            _ => desk.random.below(20_000),
        };
        self.work(request, desk).after(wait)
    }

    fn wake(&mut self, number: u64, desk: &mut Desk<'_>) {
        match self.todo.remove(&number) {
            Some(Todo::Decide(id)) => self.decide(&id, desk),
            Some(Todo::Repeat(id)) => self.push(&id, desk),
            Some(Todo::Harm(conn)) if !self.calm => self.harm(conn, desk),
            Some(Todo::Restart) if !self.calm => self.restart(desk),
            _ => {}
        }
    }

    fn frames(&mut self, bytes: &[u8], desk: &mut Desk<'_>) {
        let frames = match frames::read(bytes) {
            Ok(frames) => frames,
            Err(words) => return desk.ledger.broken = Some(words.to_owned()),
        };
        let silent = self.sockets.get(&desk.conn).is_none_or(|s| s.silent);
        for (opcode, payload) in frames {
            match opcode {
                frames::PING if !silent => {
                    let pong = frames::frame(frames::PONG, true, &payload);
                    desk.acts.push(Act::Send(desk.conn, pong, vec![]));
                }
                frames::PING | frames::PONG | frames::CLOSE => {}
                _ => desk.ledger.broken = Some(format!("a frame of kind {opcode}")),
            }
        }
    }

    fn gone(&mut self, conn: ConnId) {
        self.sockets.remove(&conn);
    }

    fn calm(&mut self, desk: &mut Desk<'_>) {
        self.calm = true;
        let open = self.approvals.iter().filter(|(_, a)| a.word == "pending");
        let open: Vec<String> = open.map(|(id, _)| id.clone()).collect();
        for id in open {
            let us = desk.random.below(5_000_000);
            self.plan(us, Todo::Decide(id), desk);
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally {
            approvals: self.approvals.len() as u64 + self.forgotten,
            ..Tally::default()
        };
        for approval in self.approvals.values() {
            tally.executed += u64::from(approval.executions);
            tally.decided += u64::from(approval.word != "pending");
        }
        tally
    }
}

/// What came of approvals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) approvals: u64,
    pub(crate) decided: u64,
    pub(crate) executed: u64,
}

/// A date as HTTP writes it.
pub(crate) fn http_date(seconds: u64) -> String {
    let text = to_rfc3339(seconds * 1_000);
    let day = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(seconds / 86_400 % 7) as usize];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months[text[5..7].parse::<usize>().unwrap_or(1) - 1];
    let (year, date, time) = (&text[..4], &text[8..10], &text[11..19]);
    format!("{day}, {date} {month} {year} {time} GMT")
}

#[path = "people.rs"]
mod people;
