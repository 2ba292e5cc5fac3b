//! The invariants: watches both sides of the engine and says which promise was broken.

use super::consent::{Consent, STATUS_ACCEPT};
use super::message::{self, Kind, Message};
use super::outages::may_be_local;
use super::script::Mark;
use super::subject::Subject;
use super::workspace::{HttpRequest, Ledger};
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::ConnId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// `Err`: what is wrong.
pub(crate) type Verdict = Result<(), String>;

pub(crate) const TOKEN: &str = "mwt_T0P-S3CRET";
pub(crate) const PATH: &str = "/ws/sim";
/// How servers say that they do not know a session.
pub(crate) const LOST_SESSION: [&str; 5] = [
    "Bad Request: No valid session ID provided",
    "Session not found",
    "Invalid session ID",
    "Bad Request: Server not initialized",
    "Session has expired",
];
/// A cancel leaves at least this long after its request.
const CANCEL_GRACE_US: u64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Answered,
    Cancelled,
}

/// A request of the host.
#[derive(Debug)]
pub(crate) struct Asked {
    id: String,
    method: String,
    nonce: Option<u64>,
    bytes: usize,
    /// What it is about: the same for a call that is repeated.
    key: Option<u64>,
    modern: bool,
    safe: bool,
    batch: Option<usize>,
    /// Which `initialize` of the host it is; 0 for others.
    initialize: u32,
    state: State,
    /// Transmissions that may have been executed.
    possible: i32,
    sent_us: Option<u64>,
    /// The workspace has begun to answer it, here or elsewhere.
    heard: bool,
    transmitted: bool,
    /// The gateway said that it was not executed.
    denied: bool,
    /// Cancelled (again) when it was over: that is for the workspace to judge.
    cancelled_late: bool,
}

/// An exchange under way on a connection.
#[derive(Debug)]
struct Flight {
    asked: Option<usize>,
    /// The approval under which it leaves.
    approval: Option<String>,
    what: What,
    sent: bool,
    /// It left before `initialized` was accepted: an error need not be handed on.
    early: bool,
    /// What it asks for.
    subject: Option<Subject>,
    /// When its exchange began, and how long it may take (I12).
    began_us: u64,
    within_us: Option<u64>,
    /// Method and body: a redirect carries the exchange on.
    text: String,
    /// The session that it names.
    session: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A request of the host; the number counts its `initialize`s.
    Initialize(u32),
    /// The gateway's own `initialize`.
    Reopen,
    Initialized,
    Stream,
    /// A WebSocket, or the request for one.
    Socket,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// Messages may leave.
    Free,
    /// The `initialize` with this number is unanswered.
    Opening(u32),
    /// It is answered; the host has not confirmed.
    Opened,
    /// `initialized` is not accepted yet.
    Confirming,
}

#[derive(Debug)]
pub(crate) struct Judge {
    limits: Limits,
    /// Of the last input.
    now_us: u64,
    partial: Vec<u8>,
    pub(crate) asked: Vec<Asked>,
    open: BTreeMap<String, usize>,
    batches: usize,
    duplicates: BTreeMap<String, u32>,
    invalid_expected: i64,
    oversize_expected: i64,
    handshake: Handshake,
    initializes: u32,
    /// `initialized` was read while `Opening`.
    early_initialized: bool,
    /// Where the gateway's own `initialize` is unanswered.
    reopening: Option<ConnId>,
    /// The latest `initialize` of the host was answered well, and confirmed.
    was_open: bool,
    /// Ids of the gateway's own `initialize`s, and of those that one of the host's overtook.
    reopens: BTreeSet<String>,
    void: BTreeSet<String>,
    session: Option<(Option<String>, String)>,
    issued: BTreeSet<String>,
    flights: BTreeMap<ConnId, Flight>,
    marks: Vec<Mark>,
    lines: Vec<String>,
    must_close: Vec<ConnId>,
    /// Notifications and answers of the host that did not leave yet: when they were read, and bytes.
    notices: VecDeque<(u64, usize)>,
    /// Bytes of responses that are no whole message yet.
    coming: BTreeMap<ConnId, usize>,
    /// Exchanges that were redirected: when they began.
    redirected: BTreeMap<String, u64>,
    /// `initialized` has had another answer than yes.
    unconfirmed: bool,
    /// What connections that closed had carried: it may be sent again as it was, whatever has
    /// become of its session since.
    lost: BTreeSet<(String, Option<String>)>,
    /// What the token file has held.
    pub(crate) tokens: BTreeSet<String>,
    /// Every line on stdout.
    pub(crate) heard: Vec<String>,
    pub(crate) consent: Consent,
    /// The gateway answers for a workspace that is away: the handshake is not judged.
    pub(crate) local: bool,
}

impl Judge {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            now_us: 0,
            partial: Vec::new(),
            asked: Vec::new(),
            open: BTreeMap::new(),
            batches: 0,
            duplicates: BTreeMap::new(),
            invalid_expected: 0,
            oversize_expected: 0,
            handshake: Handshake::Free,
            initializes: 0,
            early_initialized: false,
            reopening: None,
            was_open: false,
            reopens: BTreeSet::new(),
            void: BTreeSet::new(),
            session: None,
            issued: BTreeSet::new(),
            flights: BTreeMap::new(),
            marks: Vec::new(),
            lines: Vec::new(),
            must_close: Vec::new(),
            notices: VecDeque::new(),
            coming: BTreeMap::new(),
            redirected: BTreeMap::new(),
            unconfirmed: false,
            lost: BTreeSet::new(),
            tokens: BTreeSet::from([TOKEN.to_owned()]),
            heard: Vec::new(),
            consent: Consent::default(),
            local: false,
        }
    }

    // The host's side.

    /// The engine is about to read these bytes.
    pub(crate) fn stdin(&mut self, bytes: &[u8], now_us: u64) {
        self.now_us = now_us;
        self.partial.extend_from_slice(bytes);
        while let Some(at) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=at).collect();
            self.host_line(&line[..at]);
        }
    }

    pub(crate) fn stdin_closed(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.host_line(&line);
    }

    fn host_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.limits.line_max_bytes {
            self.oversize_expected += 1;
            return;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let text = String::from_utf8_lossy(line).into_owned();
        if text.trim_start().starts_with('[') {
            match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&text) {
                Ok(members) if !members.is_empty() => {
                    self.batches += 1;
                    for member in members {
                        self.host_message(member.get(), Some(self.batches));
                    }
                }
                _ => self.invalid_expected += 1,
            }
            return;
        }
        self.host_message(&text, None);
    }

    fn host_message(&mut self, text: &str, batch: Option<usize>) {
        let Some(message) = Message::parse(text) else {
            self.invalid_expected += 1;
            return;
        };
        match (message.kind, message.method.as_str()) {
            (Kind::Request, _) => self.host_request(message, batch, text.len()),
            (Kind::Notification, "notifications/cancelled") => {
                if let Some(id) = message::request_id(text) {
                    self.host_cancel(&id);
                }
            }
            (Kind::Notification, "notifications/initialized") => match self.handshake {
                Handshake::Opening(_) => self.early_initialized = true,
                Handshake::Opened => self.handshake = Handshake::Confirming,
                Handshake::Free | Handshake::Confirming => {}
            },
            (Kind::Notification | Kind::Response, _) => {
                self.notices.push_back((self.now_us, text.len()));
            }
        }
    }

    fn host_request(&mut self, message: Message, batch: Option<usize>, bytes: usize) {
        if self.open.contains_key(&message.id) {
            *self.duplicates.entry(message.id).or_default() += 1;
            return;
        }
        let modern = message.is_modern();
        let opens = message.method == "initialize" && !modern;
        if opens {
            self.initializes += 1;
            self.handshake = Handshake::Opening(self.initializes);
            self.early_initialized = false;
            self.reopening = None;
            self.was_open = false;
            self.session = None;
            self.void.append(&mut self.reopens);
        }
        self.open.insert(message.id.clone(), self.asked.len());
        self.asked.push(Asked {
            nonce: message.nonce(),
            bytes,
            key: message.key(),
            modern,
            safe: message.is_safe(),
            id: message.id,
            method: message.method,
            batch,
            initialize: if opens { self.initializes } else { 0 },
            state: State::Open,
            possible: 0,
            sent_us: None,
            heard: false,
            transmitted: false,
            denied: false,
            cancelled_late: false,
        });
    }

    fn host_cancel(&mut self, id: &str) {
        let Some(&at) = self.open.get(id) else {
            if let Some(asked) = self.asked.iter_mut().rev().find(|asked| asked.id == id) {
                asked.cancelled_late = true;
            }
            return;
        };
        let asked = &mut self.asked[at];
        if asked.method == "initialize" {
            return;
        }
        asked.state = State::Cancelled;
        self.open.remove(id);
        if asked.modern && asked.batch.is_none() {
            let flights = self.flights.iter();
            let conns = flights.filter(|(_, flight)| flight.asked == Some(at));
            self.must_close.extend(conns.map(|(conn, _)| *conn));
        }
    }

    /// One `Output::Stdout`.
    pub(crate) fn stdout(&mut self, line: &[u8]) -> Verdict {
        let Some((b'\n', body)) = line.split_last() else {
            return Err("a line without newline".to_owned());
        };
        if body.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err("a raw line break within a line".to_owned());
        }
        let text = std::str::from_utf8(body).map_err(|_| "stdout is not UTF-8".to_owned())?;
        if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() {
            return Err(format!("stdout is not JSON: {text}"));
        }
        if text.contains(TOKEN) {
            return Err("the token is on stdout".to_owned());
        }
        self.lines.push(text.to_owned());
        self.heard.push(text.to_owned());
        if text.starts_with('[') {
            let members: Vec<&serde_json::value::RawValue> =
                serde_json::from_str(text).map_err(|e| e.to_string())?;
            let mut batch = None;
            for member in members {
                self.host_answer(member.get(), Some(&mut batch))?;
            }
            return Ok(());
        }
        self.host_answer(text, None)
    }

    /// A message for the host; in a batch, which one its first answer belonged to.
    fn host_answer(&mut self, text: &str, batch: Option<&mut Option<usize>>) -> Verdict {
        let Some(message) = Message::parse(text) else {
            return Err(format!("stdout carries no message: {text}"));
        };
        if message.method == "notifications/progress" {
            let token = message.params["progressToken"].as_u64();
            let open = |at: &usize| self.asked[*at].nonce == token;
            return match self.open.values().any(open) {
                true => Ok(()),
                false => Err(format!("progress of what nobody waits for: {text}")),
            };
        }
        if message.kind != Kind::Response {
            return Ok(());
        }
        if let Some(error) = &message.error {
            let words = error["message"].as_str().unwrap_or_default();
            if words.contains("uses the id of a request") {
                let count = self.duplicates.get_mut(&message.id);
                return match count {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        Ok(())
                    }
                    _ => Err(format!("{} was no duplicate", message.id)),
                };
            }
            if words.contains("longer than") && error["code"] == -32600 {
                self.oversize_expected -= 1;
                return Ok(());
            }
        }
        if message.id == "null" {
            self.invalid_expected -= 1;
            return match self.invalid_expected {
                ..0 => Err(format!("an error for nothing: {text}")),
                _ => Ok(()),
            };
        }
        let Some(at) = self.open.remove(&message.id) else {
            // Its answer may have lain in the batch already when the cancel came.
            let withdrawn = |asked: &Asked| {
                asked.id == message.id && asked.batch.is_some() && asked.state == State::Cancelled
            };
            if batch.is_some() && self.asked.iter().any(withdrawn) {
                return Ok(());
            }
            return Err(format!("an answer to no open request: {text}"));
        };
        let asked = &mut self.asked[at];
        asked.state = State::Answered;
        let own = asked.batch.unwrap_or(0);
        match batch {
            None if own > 0 => return Err(format!("not in its batch: {text}")),
            None => {}
            Some(first) => {
                let expected = *first.get_or_insert(own);
                if expected != own {
                    return Err(format!("answers of two batches in one: {text}"));
                }
            }
        }
        if asked.method == "initialize"
            && message.error.is_some()
            && self.handshake == Handshake::Opening(asked.initialize)
        {
            self.handshake = Handshake::Free;
        }
        self.check_content(at, &message, text)
    }

    /// The answer is this request's, or an error of ours that says whether it was executed.
    fn check_content(&mut self, at: usize, message: &Message, text: &str) -> Verdict {
        let asked = &mut self.asked[at];
        if let Some(result) = &message.result {
            let echo = result["_meta"]["sim/nonce"].as_u64();
            let local = self.local && echo.is_none() && may_be_local(&asked.method);
            if local || echo.is_some() && echo == asked.nonce {
                return Ok(());
            }
            let denied = self.consent.result(result, asked.key);
            let denied = denied.map_err(|words| format!("{words}: {text}"))?;
            // What is harmless may have been sent before, and have another approval.
            asked.denied |= denied && !asked.safe;
            return Ok(());
        }
        let error = message.error.as_ref().unwrap_or(&Value::Null);
        let words = error["message"].as_str().unwrap_or_default();
        if words.starts_with("srv:") || LOST_SESSION.iter().any(|lost| words.ends_with(lost)) {
            return Ok(());
        }
        if error["data"]["approval"].is_string() {
            asked.denied |= self.consent.words(words, asked.key)? && !asked.safe;
            return Ok(());
        }
        match error["data"]["executed"].as_str() {
            Some("no") => asked.denied = true,
            Some("unknown") => {}
            _ => return Err(format!("an error that does not say whether it ran: {text}")),
        }
        match (error["code"].as_i64(), words.is_empty()) {
            (Some(-32603 | -32600), false) => Ok(()),
            _ => Err(format!("an error with a foreign code: {text}")),
        }
    }
}

#[path = "witness.rs"]
mod witness;
