//! The invariants: watches both sides of the engine.

use super::server::Request;
use super::{ConnId, Limits, TOKENS};
use aerostack_gateway::api::proto::jsonrpc::{self, Invalid, Kind, Message, Meta, Params, Parsed};
use aerostack_gateway::api::proto::{Event, Exchange, Line, LineReader};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// One of the tokens stands there.
pub(super) fn holds_token(bytes: &[u8]) -> bool {
    let holds = |token: &&str| {
        bytes
            .windows(token.len())
            .any(|part| part == token.as_bytes())
    };
    TOKENS.iter().any(holds)
}

/// A member of an object, as it is written; read by serde_json, so that the engine's reader is not trusted.
pub(super) fn member(object: &str, name: &str) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).map(|raw| raw.get().to_owned())
}

/// What runs twice without harm.
fn is_safe(method: &str) -> bool {
    matches!(
        method,
        "initialize" | "ping" | "prompts/get" | "server/discover"
    ) || method.ends_with("/list")
        || method.ends_with("/read")
}

/// A request of the host that has no answer.
struct Asked {
    bytes: usize,
    in_batch: bool,
    /// The end of the host's last handshake is awaited by this one.
    is_initialize: bool,
}

/// Once a request of the host was put on the wire.
struct Attempt {
    number: String,
    conn: ConnId,
    /// Nothing of it left.
    unsent: bool,
    /// Everything that came back.
    heard: Vec<u8>,
    approval: Option<String>,
    /// Method and params without `_meta`.
    subject: Vec<(String, String)>,
}

/// What comes back on a connection.
struct Answer {
    exchange: Exchange,
    heard: Vec<u8>,
    /// To which attempt it is the answer.
    attempt: Option<usize>,
    upgraded: bool,
    /// Of a body whose message has no end yet.
    coming: usize,
    succeeds: bool,
}

pub(super) struct Judge {
    limits: Limits,
    lines: LineReader,
    /// More than one of an id where the answer to the first may lie in its batch already.
    open: BTreeMap<String, Vec<Asked>>,
    /// Answered for in a batch though they were cancelled.
    withdrawn: Vec<String>,
    /// By id, and whether in a batch: that one's error comes with the rest of its batch.
    duplicates: BTreeMap<(String, bool), u32>,
    invalid: u32,
    too_long: u32,
    attempts: Vec<Attempt>,
    answers: BTreeMap<ConnId, Answer>,
    /// What WebSockets and polls said.
    told: Vec<Vec<u8>>,
    /// The token stood in what came with a success: that reaches the host byte for byte.
    says_token: bool,
    /// The longest piece of stdin.
    pub(super) chunk_max: usize,
    pub(super) now_us: u64,
}

impl Judge {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            lines: LineReader::new(limits.line_max_bytes),
            limits,
            open: BTreeMap::new(),
            withdrawn: Vec::new(),
            duplicates: BTreeMap::new(),
            invalid: 0,
            too_long: 0,
            attempts: Vec::new(),
            answers: BTreeMap::new(),
            told: Vec::new(),
            says_token: false,
            chunk_max: 0,
            now_us: 0,
        }
    }

    // The host's side.

    pub(super) fn stdin(&mut self, mut bytes: &[u8]) {
        self.chunk_max = self.chunk_max.max(bytes.len());
        loop {
            let line = match self.lines.feed(&mut bytes) {
                Some(Line::Complete(line)) => line.to_vec(),
                Some(Line::TooLong(_)) => {
                    self.too_long += 1;
                    continue;
                }
                None => return,
            };
            self.line(&line);
        }
    }

    pub(super) fn stdin_closed(&mut self) {
        if let Some(Line::Complete(line)) = self.lines.finish() {
            let line = line.to_vec();
            self.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match jsonrpc::parse(line) {
            Ok(Parsed::One(message)) => self.message(&message, false),
            Ok(Parsed::Batch(members)) if members.is_empty() => self.invalid += 1,
            Ok(Parsed::Batch(members)) => {
                for member in members {
                    match jsonrpc::parse_one(member) {
                        Ok(message) => self.message(&message, true),
                        Err(_) => self.invalid += 1,
                    }
                }
            }
            Err(Invalid::Json | Invalid::Message | Invalid::BatchTooLong) => self.invalid += 1,
        }
    }

    fn message(&mut self, message: &Message<'_>, in_batch: bool) {
        match (message.kind, &*message.method) {
            (Kind::Request, method) => {
                let id = message.id.expect("a request has an id").to_owned();
                let before = self.open.entry(id.clone()).or_default();
                if before.iter().any(|asked| !asked.in_batch) {
                    *self.duplicates.entry((id, in_batch)).or_default() += 1;
                    return;
                }
                let modern = Meta::peek(Params::peek(message.params).meta)
                    .protocol_version
                    .is_some();
                let asked = Asked {
                    bytes: message.text.len(),
                    in_batch,
                    is_initialize: method == "initialize" && !modern,
                };
                before.push(asked);
            }
            (Kind::Notification, "notifications/cancelled") => {
                let Some(id) = Params::peek(message.params).request_id else {
                    return;
                };
                if let Some(asked) = self.open.get_mut(id) {
                    let in_batch = asked.iter().filter(|asked| asked.in_batch).count();
                    asked.retain(|asked| asked.is_initialize);
                    self.withdrawn
                        .extend(std::iter::repeat_n(id.to_owned(), in_batch));
                }
            }
            (Kind::Notification | Kind::Response, _) => {}
        }
    }

    /// A line for the host: whole, valid, and an answer only to what was asked.
    pub(super) fn stdout(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).expect("stdout is UTF-8");
        let body = text.strip_suffix('\n').expect("a line has an end");
        assert!(
            !body.contains(['\n', '\r']),
            "a line break within a line: {text:?}"
        );
        let is_allowed = self.says_token || !holds_token(line);
        assert!(is_allowed, "on stdout (I9): {text}");
        let raw: &RawValue =
            serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text:?}"));
        if raw.get().starts_with('[') {
            let members: Vec<&RawValue> = serde_json::from_str(raw.get()).expect("a list");
            members
                .iter()
                .for_each(|member| self.answer(member.get(), true));
        } else {
            self.answer(raw.get(), false);
        }
    }

    fn answer(&mut self, text: &str, in_batch: bool) {
        let message = jsonrpc::parse_one(text).unwrap_or_else(|_| panic!("no message: {text}"));
        if message.kind != Kind::Response {
            return;
        }
        let id = message.id.unwrap_or("null");
        let (code, words) = message
            .error
            .and_then(jsonrpc::error_parts)
            .unwrap_or_default();
        let open = self.open.entry(id.to_owned()).or_default();
        let own = open.iter().rposition(|asked| asked.in_batch == in_batch);
        let late = in_batch && self.withdrawn.iter().any(|own| own == id);
        if code == -32600 && words.contains("uses the id of a request") {
            let duplicates = self.duplicates.get_mut(&(id.to_owned(), in_batch));
            match duplicates.filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => {
                    assert!(late || own.is_some(), "{id} was no duplicate");
                    own.map(|own| open.remove(own));
                }
            }
        } else if code == -32600 && words.contains("longer than") {
            assert!(self.too_long > 0, "no line was too long: {text}");
            self.too_long -= 1;
        } else if let Some(own) = own {
            open.remove(own);
        } else if id == "null" {
            assert!(self.invalid > 0, "an error for nothing: {text}");
            self.invalid -= 1;
        } else {
            assert!(late, "an answer to no open request: {text}");
        }
    }

    /// Bytes of the host that wait for an answer, or for the end of their line, and of messages that come.
    pub(super) fn held(&self) -> usize {
        let open: usize = self.open.values().flatten().map(|asked| asked.bytes).sum();
        let coming: usize = self.answers.values().map(|answer| answer.coming).sum();
        self.lines.buffered() + open + coming
    }

    // The workspace's side.

    pub(super) fn transmit(&mut self, conn: ConnId, request: &Request) {
        let header = |name: &str| {
            let found = request.headers.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("host"), Some("w.example"));
        let token = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        assert!(
            token.is_some_and(|token| TOKENS.contains(&token)),
            "no bearer token"
        );
        for (name, value) in &request.headers {
            assert!(
                name == "authorization" || !holds_token(value.as_bytes()),
                "in {name} (I9)"
            );
        }
        assert!(!holds_token(request.target.as_bytes()) && !holds_token(request.body.as_bytes()));
        let mut exchange = Exchange::new(self.limits.head_max_bytes);
        if request.key.is_some() {
            exchange = exchange.for_upgrade();
        }
        self.closed(conn, false);
        let attempt = self.attempt(conn, &request.body);
        let answer = Answer {
            exchange,
            heard: Vec::new(),
            attempt,
            upgraded: false,
            coming: 0,
            succeeds: false,
        };
        self.answers.insert(conn, answer);
    }

    /// A message leaves: what may not run twice is not repeated without proof that it did not run (I7),
    /// and what a person allowed is what they were asked about (I11).
    fn attempt(&mut self, conn: ConnId, body: &str) -> Option<usize> {
        if body.is_empty() {
            return None;
        }
        let message =
            jsonrpc::parse_one(body).unwrap_or_else(|_| panic!("a body without a message: {body}"));
        let meta = message.params.and_then(|params| member(params, "_meta"));
        let meta_member = |name: &str| member(meta.as_deref()?, name);
        let number = meta_member("n").filter(|_| message.kind == Kind::Request)?;
        let approval = meta_member("dev.aerostack/approval_id");
        let approval = approval.map(|id| id.trim_matches('"').to_owned());
        let mut subject = message
            .params
            .and_then(jsonrpc::members)
            .unwrap_or_default();
        subject.retain(|(name, _)| name != "_meta");
        let mut subject: Vec<(String, String)> = subject
            .into_iter()
            .map(|(name, raw)| (name, raw.to_owned()))
            .collect();
        subject.push(("method".to_owned(), message.method.to_string()));
        if let Some(approval) = &approval {
            self.check_consent(&number, approval, &subject);
        }
        if !is_safe(&message.method) {
            for before in self
                .attempts
                .iter()
                .filter(|attempt| attempt.number == number)
            {
                assert!(
                    self.may_repeat(before),
                    "{} may run twice (I7): {body} after {:?}",
                    message.method,
                    String::from_utf8_lossy(self.heard_of(before))
                );
            }
        }
        self.attempts.push(Attempt {
            number,
            conn,
            unsent: false,
            heard: Vec::new(),
            approval,
            subject,
        });
        Some(self.attempts.len() - 1)
    }

    fn heard_of<'a>(&'a self, attempt: &'a Attempt) -> &'a [u8] {
        let answer = self.answers.get(&attempt.conn);
        let own = |at: usize| std::ptr::eq(&self.attempts[at], attempt);
        match answer.filter(|answer| answer.attempt.is_some_and(own)) {
            Some(answer) => &answer.heard,
            None => &attempt.heard,
        }
    }

    /// It did not run: nothing left, or it was refused. Which refusals count is read widely here.
    fn may_repeat(&self, attempt: &Attempt) -> bool {
        let heard = self.heard_of(attempt);
        let text = String::from_utf8_lossy(heard);
        let refused = [307, 308, 400, 401, 404, 410, 422, 429, 503];
        attempt.unsent
            || text.contains("-32050")
            || status(heard).is_some_and(|status| refused.contains(&status))
            || attempt.approval.is_some() && self.was_told("at_most_once")
    }

    fn was_told(&self, words: &str) -> bool {
        self.all_heard()
            .any(|heard| String::from_utf8_lossy(heard).contains(words))
    }

    fn all_heard(&self) -> impl Iterator<Item = &Vec<u8>> {
        let answers = self.answers.values().map(|answer| &answer.heard);
        let attempts = self.attempts.iter().map(|attempt| &attempt.heard);
        answers.chain(attempts).chain(&self.told)
    }

    fn check_consent(&self, number: &str, approval: &str, subject: &Vec<(String, String)>) {
        let asked = self.attempts.iter().any(|attempt| {
            let text = String::from_utf8_lossy(self.heard_of(attempt));
            text.contains("-32050") && text.contains(approval) && attempt.subject == *subject
        });
        let decides = |heard: &&Vec<u8>| {
            let text = String::from_utf8_lossy(heard);
            text.contains(approval) && text.contains("approved")
        };
        let decided = self.all_heard().find(decides);
        assert!(
            decided.is_some(),
            "request {number} leaves without a consent"
        );
        let edited = self
            .all_heard()
            .filter(decides)
            .any(|heard| String::from_utf8_lossy(heard).contains("\"params\""));
        assert!(
            asked || edited,
            "request {number} leaves under another's consent (I11)"
        );
    }

    /// Bytes of a response; true once it is whole and the connection is free, or is a WebSocket.
    pub(super) fn received(&mut self, conn: ConnId, mut bytes: &[u8]) -> bool {
        let Some(answer) = self.answers.get_mut(&conn) else {
            return false;
        };
        answer.heard.extend_from_slice(bytes);
        if answer.upgraded {
            return false;
        }
        loop {
            match answer.exchange.feed(&mut bytes) {
                Ok(Some(Event::Head(head))) => answer.succeeds = head.status / 100 == 2,
                Ok(Some(Event::Data(data))) => {
                    // A stream's events end; a body that is one message waits for its end.
                    let ended = data.windows(2).any(|pair| pair == b"\n\n");
                    self.says_token |= answer.succeeds && holds_token(data);
                    answer.coming = if ended { 0 } else { answer.coming + data.len() };
                }
                Ok(Some(Event::End { .. })) => {
                    answer.coming = 0;
                    return true;
                }
                Ok(Some(Event::Upgraded(_))) => {
                    answer.upgraded = true;
                    return true;
                }
                Ok(None) => return false,
                Err(_) => {
                    answer.coming = 0;
                    return false;
                }
            }
        }
    }

    pub(super) fn is_upgraded(&self, conn: ConnId) -> bool {
        self.answers
            .get(&conn)
            .is_some_and(|answer| answer.upgraded)
    }

    /// The connection is gone, or carries the next request; `unsent` proves that nothing of its last request left.
    pub(super) fn closed(&mut self, conn: ConnId, unsent: bool) {
        let Some(answer) = self.answers.remove(&conn) else {
            return;
        };
        match answer.attempt.map(|at| &mut self.attempts[at]) {
            Some(attempt) => (attempt.unsent, attempt.heard) = (unsent, answer.heard),
            None => self.told.push(answer.heard),
        }
    }

    /// The process has ended: everything was answered.
    pub(super) fn end(&self, stdout_gone: bool) {
        if stdout_gone {
            return;
        }
        let open = self.open.iter().filter(|(_, asked)| !asked.is_empty());
        let ids: Vec<&String> = open.map(|(id, _)| id).collect();
        assert!(ids.is_empty(), "never answered: {ids:?}");
        assert_eq!(
            (self.invalid, self.too_long),
            (0, 0),
            "errors for lines are missing"
        );
        assert!(
            self.duplicates.values().all(|count| *count == 0),
            "errors for duplicates are missing"
        );
    }
}

/// The status of a response, interim ones passed over.
fn status(heard: &[u8]) -> Option<u16> {
    let mut exchange = Exchange::new(usize::MAX);
    match exchange.feed(&mut &*heard) {
        Ok(Some(Event::Head(head))) => Some(head.status),
        _ => None,
    }
}
