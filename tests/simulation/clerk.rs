//! A workspace for directed scenarios: every call needs approval, and the scenario says what the
//! person does and when.

use super::frames;
use super::gates::http_date;
use super::message::Kind;
use super::script::{End, Framing, Mark, Script};
use super::workspace::{Act, Desk, HttpRequest, Workspace};
use super::world::{Quiet, World, config};
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::ConnId;
use aerostack_gateway::api::proto::accept_for;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const JSON: &str = "Content-Type: application/json\r\n";
const LENGTH: Framing = Framing::Length;

#[derive(Debug, Default)]
pub(crate) struct Clerk {
    pub(crate) at_most_once: bool,
    /// Members of `capabilities.experimental.aerostack` beside `approvals`.
    pub(crate) offer: String,
    /// More members of -32050's data.
    pub(crate) needs: String,
    /// Every call needs this approval instead of one of its own.
    pub(crate) only: Option<&'static str>,
    /// Members of the approval object beside its id; empty: pending.
    pub(crate) state: String,
    /// Socket requests are refused with this status.
    pub(crate) refuse: Option<u16>,
    /// Sockets take and say nothing.
    pub(crate) silent: bool,
    /// Polls and heartbeats are answered with this status.
    pub(crate) sick: Option<u16>,
    /// No call is answered for so long.
    pub(crate) slow_us: u64,
    /// How often a retry is told to wait for the same approval.
    pub(crate) nags: u32,
    /// The server's clock is ahead by so much.
    pub(crate) skew_s: u64,
    /// What heartbeats are answered with.
    pub(crate) beat: String,
    pub(crate) sockets: BTreeMap<ConnId, String>,
    pub(crate) pings_ms: Vec<u64>,
    pub(crate) made: u64,
}

pub(crate) type Desked = Rc<RefCell<Clerk>>;

/// A world with this clerk; the session is open.
pub(crate) fn world_of(
    settings: &[(&'static str, &str)],
    limits: Limits,
    clerk: Clerk,
) -> (World, Desked) {
    let clerk = Rc::new(RefCell::new(clerk));
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("scenario");
    let mut world = World::new(
        name,
        7,
        config(settings, limits),
        Box::new(Rc::clone(&clerk)),
        Box::new(Quiet),
    );
    world.judge.consent.at_most_once = clerk.borrow().at_most_once;
    world.say(&super::host::request("0", "initialize", 1_000_000, false));
    world.run_ms(50);
    world.say(super::host::INITIALIZED);
    world.run_ms(50);
    (world, clerk)
}

impl Clerk {
    fn object(&self, id: &str) -> (String, Vec<Mark>) {
        let state = match self.state.as_str() {
            "" => "\"status\":\"pending\"",
            state => state,
        };
        let words = ["approved", "executed", "rejected", "expired", "cancelled"];
        let word = words
            .iter()
            .find(|word| state.contains(&format!("\"status\":\"{word}\"")));
        let marks = word.map(|word| Mark::Decided {
            approval: id.to_owned(),
            key: 10,
            word,
        });
        let object = format!("{{\"approval_id\":\"{id}\",{state}}}");
        let mut marks: Vec<Mark> = marks.into_iter().collect();
        let state: serde_json::Value = serde_json::from_str(&object).unwrap_or_default();
        if let arguments @ serde_json::Value::Object(_) = &state["params"]["arguments"] {
            marks.push(Mark::Edited {
                approval: id.to_owned(),
                arguments: arguments.to_string(),
            });
        }
        (object, marks)
    }

    fn answer(&self, id: &str, part: &str, marks: Vec<Mark>, desk: &Desk<'_>) -> Script {
        let headers = format!("Date: {}\r\n{JSON}", http_date(self.now_s(desk)));
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{part}}}");
        Script::response(200, &headers, &body, LENGTH, marks)
    }

    pub(crate) fn now_s(&self, desk: &Desk<'_>) -> u64 {
        desk.wall_ms / 1_000 + self.skew_s
    }

    fn socket(&mut self, request: &HttpRequest, desk: &Desk<'_>) -> Script {
        if let Some(status) = self.refuse {
            return Script::response(status, "", "no", LENGTH, vec![]);
        }
        let id = request.target.split('/').rev().nth(1).unwrap_or_default();
        self.sockets.insert(desk.conn, id.to_owned());
        let key = request.header("sec-websocket-key").unwrap_or_default();
        let mut script = Script::nothing(End::KeepAlive);
        script.bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept_for(key)
        )
        .into_bytes();
        script.marks.push((script.bytes.len(), Mark::Upgraded));
        if !self.silent {
            let (object, marks) = self.object(id);
            script
                .bytes
                .extend(frames::frame(frames::TEXT, true, object.as_bytes()));
            let at = script.bytes.len();
            script
                .marks
                .extend(marks.into_iter().map(|mark| (at, mark)));
        }
        script
    }

    fn call(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let Some(message) = &request.message else {
            return Script::nothing(End::Silent);
        };
        let nonce = message.nonce().unwrap_or_default();
        let known = request.approval().map(str::to_owned);
        if known.is_some() && self.nags == 0 {
            desk.ledger.execute(message.nonce());
            let part = format!("\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}},\"content\":[]}}");
            return self
                .answer(&message.id, &part, vec![], desk)
                .after(self.slow_us);
        }
        if known.is_some() {
            self.nags -= 1;
        }
        self.made += 1;
        let only = self.only.map(str::to_owned);
        let id = known
            .or(only)
            .unwrap_or_else(|| format!("apr_{}", self.made));
        let needs = &self.needs;
        let part = format!(
            "\"error\":{{\"code\":-32050,\"message\":\"srv: needs approval\",\"data\":{{\"approval_id\":\"{id}\"{needs}}}}}"
        );
        let marks = vec![Mark::Refused, Mark::Gated(id)];
        self.answer(&message.id, &part, marks, desk)
            .after(self.slow_us)
    }
}

impl Workspace for Desked {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let mut clerk = self.borrow_mut();
        let Some(message) = &request.message else {
            return match request.is_upgrade() {
                true => clerk.socket(request, desk),
                false => Script::response(405, "", "", LENGTH, vec![]),
            };
        };
        if message.kind != Kind::Request {
            return Script::response(202, "", "", LENGTH, vec![]);
        }
        let own = message.method.starts_with("aerostack/");
        if let Some(status) = clerk.sick.filter(|_| own) {
            return Script::response(status, "", "", LENGTH, vec![]);
        }
        match message.method.as_str() {
            "initialize" => {
                let nonce = message.nonce().unwrap_or_default();
                let version = "2025-06-18".to_owned();
                let part = format!(
                    "\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}},\"protocolVersion\":\"{version}\",\"capabilities\":{{\
                     \"experimental\":{{\"aerostack\":{{\"approvals\":{{\"at_most_once\":{}}}{}}}}}}}}}",
                    clerk.at_most_once, clerk.offer
                );
                let session = None;
                let marks = vec![Mark::InitializeResult { session, version }];
                clerk.answer(&message.id, &part, marks, desk)
            }
            "aerostack/heartbeat" => {
                let part = format!("\"result\":{{{}}}", clerk.beat);
                clerk.answer(&message.id, &part, vec![], desk)
            }
            "aerostack/approvals/get" | "aerostack/approvals/cancel" => {
                let id = message.params["approval_id"].as_str().unwrap_or_default();
                let (object, marks) = clerk.object(id);
                clerk.answer(&message.id, &format!("\"result\":{object}"), marks, desk)
            }
            _ => clerk.call(request, desk),
        }
    }

    fn frames(&mut self, bytes: &[u8], desk: &mut Desk<'_>) {
        let mut clerk = self.borrow_mut();
        for (opcode, payload) in frames::read(bytes).expect("whole frames") {
            if opcode == frames::PING {
                clerk.pings_ms.push(desk.wall_ms);
                if !clerk.silent {
                    let pong = frames::frame(frames::PONG, true, &payload);
                    desk.acts.push(Act::Send(desk.conn, pong, vec![]));
                }
            }
        }
    }

    fn gone(&mut self, conn: ConnId) {
        // A connection is only ever removed between two of the other calls.
        if let Ok(mut clerk) = self.try_borrow_mut() {
            clerk.sockets.remove(&conn);
        }
    }
}

/// A person decides: every open socket hears of it.
pub(crate) fn decide(world: &mut World, clerk: &Desked, state: &str) {
    clerk.borrow_mut().state = state.to_owned();
    let clerk = Rc::clone(clerk);
    world.serve(ConnId(0), move |_, desk| {
        let clerk = clerk.borrow();
        for (conn, id) in &clerk.sockets {
            let (object, marks) = clerk.object(id);
            let bytes = frames::frame(frames::TEXT, true, object.as_bytes());
            desk.acts.push(Act::Send(*conn, bytes, marks));
        }
    });
}

/// When requests arrived that are so.
pub(crate) fn times(world: &World, so: impl Fn(&HttpRequest) -> bool) -> Vec<u64> {
    let all = world.ledger.arrived.iter().zip(&world.ledger.arrived_ms);
    all.filter(|(request, _)| so(request))
        .map(|(_, at)| *at)
        .collect()
}

pub(crate) fn is(method: &'static str) -> impl Fn(&HttpRequest) -> bool {
    move |request| request.message.as_ref().is_some_and(|m| m.method == method)
}

/// What lies between one and the next.
pub(crate) fn gaps(times: &[u64]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}
