//! A random server: right most of the time, else wrong in every way that was seen in the wild.

use super::judge::LOST_SESSION;
use super::message::{Kind, Message};
use super::script::{End, Event, Framing, Mark, Script};
use super::workspace::{Desk, HttpRequest, Workspace};
use aerostack_gateway::api::proto::CloseCause;
use std::collections::BTreeMap;
use std::io::ErrorKind;

const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

#[derive(Debug)]
pub(crate) struct Chaos {
    /// Percent of exchanges that go wrong.
    faults: u64,
    /// Sessions are used at all.
    sessions: bool,
    /// GET streams are offered.
    streams: bool,
    /// Percent of requests at which the session has just been forgotten.
    amnesia: u64,
    made: u64,
    alive: BTreeMap<String, bool>,
    /// What follows an event id.
    rest: BTreeMap<String, Vec<Event>>,
}

impl Chaos {
    pub(crate) fn new(faults: u64, sessions: bool, streams: bool, amnesia: u64) -> Self {
        Self {
            faults,
            sessions,
            streams,
            amnesia,
            made: 0,
            alive: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }

    fn make(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}.", self.made)
    }

    fn forget(&mut self, id: &str, desk: &mut Desk<'_>) {
        self.alive.remove(id);
        desk.ledger.dead_sessions.insert(id.to_owned());
    }

    /// Refuses what belongs to no session that lives.
    fn check_session(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Option<Script> {
        if !self.sessions {
            return None;
        }
        if let Some(id) = request.header("mcp-session-id")
            && desk.random.chance(self.amnesia)
        {
            self.forget(id, desk);
        }
        let known = request
            .header("mcp-session-id")
            .is_some_and(|id| self.alive.contains_key(id));
        if known {
            return None;
        }
        let marks = vec![Mark::Refused];
        let words = *desk.random.pick(&LOST_SESSION);
        let id = *desk.random.pick(&["null", "\"server-error\""]);
        let json = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32000,\"message\":\"{words}\"}}}}"
        );
        let (kind, body) = match desk.random.below(3) {
            0 => ("text/plain", words.to_owned()),
            1 => ("application/json", json),
            _ => ("text/event-stream", format!("data: {json}\n\n")),
        };
        let status = *desk.random.pick(&[404, 400, 422]);
        let kind = format!("Content-Type: {kind}\r\n");
        Some(Script::response(
            status,
            &kind,
            &body,
            Framing::Length,
            marks,
        ))
    }

    /// The server does what it is asked.
    fn serve(&mut self, request: &HttpRequest, message: &Message, desk: &mut Desk<'_>) -> Script {
        desk.ledger.execute(message.nonce());
        let id = print_anew(&message.id, desk.random.chance(20));
        let echo = message
            .nonce()
            .map_or("null".to_owned(), |nonce| nonce.to_string());
        let mut headers = String::new();
        let mut marks = Vec::new();
        let mut more = r#""content":[]"#.to_owned();
        match message.method.as_str() {
            "initialize" if !message.is_modern() => {
                let session = self.sessions.then(|| self.make("session"));
                if let Some(session) = &session {
                    self.alive.insert(session.clone(), true);
                    headers = format!("mcp-session-ID: {session}\r\n");
                }
                let version = (*desk.random.pick(&VERSIONS)).to_owned();
                more = format!("\"protocolVersion\":\"{version}\",\"capabilities\":{{}}");
                marks.push(Mark::InitializeResult { session, version });
            }
            "tools/list" => {
                more = r#""tools":[{"name":"tool","inputSchema":{"type":"object"}}]"#.to_owned()
            }
            "server/discover" => more = r#""supportedVersions":["2026-07-28"]"#.to_owned(),
            _ if desk.random.chance(10) => headers = "Mcp-Session-Id: bogus\r\n".to_owned(),
            _ => {}
        }
        if let (Some(nonce), false) = (message.nonce(), message.is_gateways()) {
            marks.push(Mark::Answer(nonce));
        }
        let mut answer = match desk.random.chance(8) && message.method != "initialize" {
            true => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32000,\"message\":\"srv: {echo}\"}}}}"
            ),
            false => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"_meta\":{{\"sim/nonce\":{echo}}},{more}}}}}"
            ),
        };
        if desk.random.chance(20) {
            answer = answer
                .replace("\"id\":", "\r\n  \"id\" :\r")
                .replace(",\"m", ",\n\t\"m");
        }
        if message.method == "subscriptions/listen" {
            return self.subscription(&answer, marks, desk);
        }
        if desk.random.chance(45) {
            return self.event_stream(request, &headers, answer, marks, desk);
        }
        headers += "Content-Type: application/json; charset=utf-8\r\n";
        let framings = [
            Framing::Length,
            Framing::Length,
            Framing::Chunked,
            Framing::Close,
        ];
        let framing = *desk.random.pick(&framings);
        Script::response(200, &headers, &answer, framing, marks)
    }

    fn event_stream(
        &mut self,
        request: &HttpRequest,
        headers: &str,
        answer: String,
        marks: Vec<Mark>,
        desk: &mut Desk<'_>,
    ) -> Script {
        let modern = request.message.as_ref().is_some_and(Message::is_modern);
        let mut events = self.notices(desk, modern);
        let mut last = Event::new(answer.replace('\r', "\n")).after(desk.random.below(20_000));
        last.marks = marks;
        events.push(last);
        if desk.random.chance(20) {
            events.extend(self.notices(desk, modern));
        }
        // The session id stands in the head of the POST's response: that stream is not resumed.
        let opens = request
            .message
            .as_ref()
            .is_some_and(|m| m.method == "initialize");
        if !modern && !opens && desk.random.chance(60) {
            self.number(&mut events, desk);
        }
        self.finish_stream(headers, &events, desk)
    }

    /// Notifications and, to legacy hosts, requests of the server.
    fn notices(&mut self, desk: &mut Desk<'_>, modern: bool) -> Vec<Event> {
        (0..desk.random.below(3))
            .map(|_| {
                let key = self.make("key");
                let text = match desk.random.below(3) {
                    0 if !modern => {
                        format!("{{\"jsonrpc\":\"2.0\",\"id\":\"srv-{key}\",\"method\":\"roots/list\"}}")
                    }
                    _ => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\n\"params\":{{\"k\":\"{key}\"}}}}"),
                };
                Event::new(text).mark(Mark::Message(key)).after(desk.random.below(30_000))
            })
            .collect()
    }

    /// Gives events ids, and remembers what follows each.
    fn number(&mut self, events: &mut Vec<Event>, desk: &mut Desk<'_>) {
        let mut first = Event::new("").id(self.make("event"));
        if desk.random.chance(50) {
            first = first.retry(desk.random.between(300, 1_500));
        }
        events.insert(0, first);
        for event in events.iter_mut().skip(1) {
            if desk.random.chance(80) {
                event.id = Some(self.make("event"));
            }
        }
        for (at, event) in events.iter().enumerate() {
            if let Some(id) = &event.id {
                self.rest.insert(id.clone(), events[at + 1..].to_vec());
            }
        }
    }

    fn finish_stream(&mut self, headers: &str, events: &[Event], desk: &mut Desk<'_>) -> Script {
        let line_end = *desk.random.pick(&["\n", "\r\n", "\n"]);
        let script = Script::events(headers, events, desk.random.chance(70), line_end);
        match desk.random.chance(10) && self.faults > 0 {
            true => script.left_open(),
            false => script,
        }
    }

    fn subscription(&mut self, answer: &str, marks: Vec<Mark>, desk: &mut Desk<'_>) -> Script {
        let mut events = self.notices(desk, true);
        events.extend(self.notices(desk, true));
        if desk.random.chance(30) {
            let mut last =
                Event::new(answer.replace('\r', "\n")).after(desk.random.below(3_000_000));
            last.marks = marks;
            events.push(last);
            return Script::events("", &events, true, "\n");
        }
        Script::events("", &events, true, "\n").left_open()
    }

    /// GET: the session's stream, or the rest of another.
    fn stream(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        if let Some(events) = request
            .header("last-event-id")
            .and_then(|id| self.rest.get(id))
        {
            let events = events.clone();
            return self.finish_stream("", &events, desk);
        }
        if !self.streams {
            return Script::response(405, "", "", Framing::Length, vec![]);
        }
        let mut events = self.notices(desk, false);
        events.extend(self.notices(desk, false));
        for event in &mut events {
            event.pause_us *= 40;
        }
        if desk.random.chance(50) {
            self.number(&mut events, desk);
        }
        let script = Script::events("", &events, true, "\n");
        match desk.random.below(3) {
            0 => script,
            _ => script.left_open(),
        }
    }

    fn fault(&mut self, request: &HttpRequest, message: &Message, desk: &mut Desk<'_>) -> Script {
        let closed = match desk.random.chance(50) {
            true => End::Closed(CloseCause::Eof),
            false => End::Closed(CloseCause::Io(ErrorKind::ConnectionReset)),
        };
        let refused = || vec![Mark::Refused];
        let text = "Content-Type: text/plain\r\n";
        let json = "Content-Type: application/json\r\n";
        let length = Framing::Length;
        match desk.random.below(18) {
            0 | 1 => {
                if desk.random.chance(50) {
                    desk.ledger.execute(message.nonce());
                }
                Script::nothing(closed).after(desk.random.below(100_000))
            }
            2..=4 => {
                let script = self.serve(request, message, desk);
                let at = desk.random.below(script.bytes.len() as u64) as usize;
                script.cut(at, closed)
            }
            5 | 6 => {
                if desk.random.chance(50) {
                    desk.ledger.execute(message.nonce());
                }
                let status = *desk.random.pick(&[500, 502, 503, 504]);
                let headers = match desk.random.below(3) {
                    0 => "Retry-After: 1\r\n",
                    1 => "Retry-After: 100\r\n",
                    _ => "",
                };
                Script::response(status, headers, "<html><title>Down</title>", length, vec![])
            }
            7 | 8 => {
                let reset = format!("X-RateLimit-Reset: {}\r\n", desk.wall_ms / 1_000 + 2);
                let headers = *desk.random.pick(&[
                    "Retry-After: 0\r\n",
                    "Retry-After: 2\r\n",
                    "Retry-After: 90\r\n",
                    "",
                    reset.as_str(),
                ]);
                Script::response(429, headers, "slow down", length, refused())
            }
            9 => Script::response(401, text, "who?", length, refused()),
            10 => Script::response(202, "", "", length, vec![]),
            11 => {
                desk.ledger.execute(message.nonce());
                Script::response(
                    200,
                    "Content-Type: text/html\r\n",
                    "<html><title>Sign in</title>",
                    length,
                    vec![],
                )
            }
            12 => {
                desk.ledger.execute(message.nonce());
                let body = r#"{"jsonrpc":"2.0","id":"other","result":{}}"#;
                Script::response(200, json, body, Framing::Chunked, vec![])
            }
            13 => {
                desk.ledger.execute(message.nonce());
                Script::nothing(End::Silent)
            }
            14 => {
                let location = *desk.random.pick(&[
                    "/ws/sim/b",
                    "https://evil.example/x",
                    "http://w.example/ws/sim",
                ]);
                let headers = format!("Location: {location}\r\n");
                let status = *desk.random.pick(&[301, 307, 308]);
                Script::response(status, &headers, "", length, refused())
            }
            15 => {
                let id = *desk.random.pick(&[message.id.as_str(), "null"]);
                let body = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32602,\"message\":\"srv: bad\"}}}}"
                );
                Script::response(400, json, &body, length, refused())
            }
            16 => {
                desk.ledger.execute(message.nonce());
                Script::events("", &self.notices(desk, true), true, "\n")
            }
            _ => Script::response(200, "", "HTTP/9 rubbish", length, vec![]).garbled(),
        }
    }

    /// A notification or an answer of the host.
    fn notice(&mut self, faulty: bool, desk: &mut Desk<'_>) -> Script {
        let length = Framing::Length;
        match desk.random.below(10) {
            0 if faulty => Script::nothing(End::Closed(CloseCause::Eof)),
            1 if faulty => Script::response(503, "", "", length, vec![]),
            2 if faulty => Script::response(429, "Retry-After: 1\r\n", "", length, vec![]),
            3 if faulty => Script::nothing(End::Silent),
            4 => Script::response(
                200,
                "Content-Type: application/json\r\n",
                "{}",
                length,
                vec![],
            ),
            5 => Script::events("", &self.notices(desk, false), true, "\n"),
            6 => Script::response(204, "", "", Framing::Length, vec![]),
            _ => Script::response(202, "", "", length, vec![]),
        }
    }
}

impl Workspace for Chaos {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let faulty = desk.random.chance(self.faults);
        let wait = match desk.random.below(10) {
            0 => desk.random.below(400_000),
            _ => desk.random.below(10_000),
        };
        let Some(message) = &request.message else {
            if request.method == "DELETE" {
                if let Some(id) = request.header("mcp-session-id") {
                    self.forget(id, desk);
                }
                return self.notice(faulty, desk).after(wait);
            }
            if let Some(refusal) = self.check_session(request, desk) {
                return refusal;
            }
            return match faulty {
                true => Script::nothing(End::Closed(CloseCause::Eof)),
                false => self.stream(request, desk),
            };
        };
        let opens = message.method == "initialize";
        if !opens
            && !message.is_modern()
            && let Some(refusal) = self.check_session(request, desk)
        {
            return refusal.after(wait);
        }
        match (message.kind, faulty) {
            (Kind::Request, true) => self.fault(request, message, desk).after(wait),
            (Kind::Request, false) => self.serve(request, message, desk).after(wait),
            (Kind::Notification | Kind::Response, _) => self.notice(faulty, desk).after(wait),
        }
    }

    fn calm(&mut self, _desk: &mut Desk<'_>) {
        (self.faults, self.amnesia) = (0, 0);
    }
}

/// The id as a peer prints it that parses numbers and strings.
fn print_anew(id: &str, anew: bool) -> String {
    match serde_json::from_str::<serde_json::Value>(id) {
        Ok(value) if anew => match value.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                format!("{}", number as i64)
            }
            _ => value.to_string(),
        },
        _ => id.to_owned(),
    }
}
