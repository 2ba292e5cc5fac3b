//! The invariants: watches both sides of the engine and says which promise was broken.

use super::consent::{Consent, STATUS_ACCEPT};
use super::message::{self, Kind, Message};
use super::outages::may_be_local;
use super::script::Mark;
use super::workspace::{HttpRequest, Ledger};
use aerostack_gateway::proto::transport::ConnId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// `Err`: what is wrong.
pub(crate) type Verdict = Result<(), String>;

pub(crate) const TOKEN: &str = "mwt_T0P-S3CRET";
pub(crate) const PATH: &str = "/ws/sim";
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
    line_max: usize,
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
    /// Every line on stdout.
    pub(crate) heard: Vec<String>,
    pub(crate) consent: Consent,
    /// The gateway answers for a workspace that is away: the handshake is not judged.
    pub(crate) local: bool,
}

impl Judge {
    pub(crate) fn new(line_max: usize) -> Self {
        Self {
            line_max,
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
            heard: Vec::new(),
            consent: Consent::default(),
            local: false,
        }
    }

    // The host's side.

    /// The engine is about to read these bytes.
    pub(crate) fn stdin(&mut self, bytes: &[u8]) {
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
        if line.len() > self.line_max {
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
            (Kind::Request, _) => self.host_request(message, batch),
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
            _ => {}
        }
    }

    fn host_request(&mut self, message: Message, batch: Option<usize>) {
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
        if words.starts_with("srv:") {
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

    // The workspace's side.

    /// The engine transmits a request.
    pub(crate) fn transmit(
        &mut self,
        conn: ConnId,
        request: &HttpRequest,
        now_us: u64,
        ledger: &Ledger,
    ) -> Verdict {
        if let Some(flight) = self.flights.get(&conn) {
            return Err(format!("{conn:?} is busy with {flight:?}"));
        }
        check_http(request)?;
        let asked = self.find(request);
        let what = self.what(request, asked);
        self.consent.count(request, now_us)?;
        let approval = request.approval().map(str::to_owned);
        if let Some(approval) = &approval {
            let key = request.message.as_ref().and_then(Message::key);
            self.consent.leaves(approval, key)?;
        }
        if !self.local {
            self.check_session(request, what, ledger)?;
            self.check_order(conn, request, what, now_us)?;
        }
        if let (Some(at), "POST") = (asked, request.method.as_str()) {
            let asked = &mut self.asked[at];
            asked.transmitted = true;
            asked.possible += 1;
            // What a person approved counts, whatever the method; see `Consent`.
            let repeats = asked.safe || approval.is_some() && self.consent.at_most_once;
            if asked.possible > 1 && !repeats {
                return Err(format!(
                    "{} {} may be executed twice (I7)",
                    asked.method, asked.id
                ));
            }
            if asked.state == State::Cancelled {
                return Err(format!("{} is sent after it was cancelled", asked.id));
            }
        }
        let flight = Flight {
            asked,
            approval,
            what,
            sent: false,
        };
        self.flights.insert(conn, flight);
        Ok(())
    }

    /// The host's request that this one carries.
    fn find(&self, request: &HttpRequest) -> Option<usize> {
        let message = request.message.as_ref()?;
        if message.kind != Kind::Request {
            return None;
        }
        if message.is_gateways() {
            // Sent again: under an approval, or because nobody knows what became of it.
            message.nonce().filter(|_| message.method != "initialize")?;
            let same = |asked: &Asked| asked.nonce == message.nonce();
            return self.asked.iter().rposition(same);
        }
        self.asked
            .iter()
            .rposition(|asked| asked.id == message.id && asked.nonce == message.nonce())
    }

    fn what(&self, request: &HttpRequest, asked: Option<usize>) -> What {
        let Some(message) = &request.message else {
            return match request.method.as_str() {
                "GET" if request.is_upgrade() => What::Socket,
                "GET" if request.header("accept") == Some(STATUS_ACCEPT) => What::Other,
                "GET" => What::Stream,
                _ => What::Other,
            };
        };
        match message.method.as_str() {
            // Overtaken by one of the host's: it opens nothing.
            "initialize"
                if self.void.contains(&message.id)
                    || (message.is_gateways()
                        && matches!(self.handshake, Handshake::Opening(_))) =>
            {
                What::Initialize(0)
            }
            "initialize" if message.is_gateways() => What::Reopen,
            "initialize" if !message.is_modern() => {
                What::Initialize(asked.map_or(0, |at| self.asked[at].initialize))
            }
            "notifications/initialized" => What::Initialized,
            "subscriptions/listen" => What::Stream,
            _ => What::Other,
        }
    }

    fn check_session(&mut self, request: &HttpRequest, what: What, ledger: &Ledger) -> Verdict {
        let id = request.header("mcp-session-id").map(str::to_owned);
        let version = request.header("mcp-protocol-version").map(str::to_owned);
        let modern = request.message.as_ref().is_some_and(|m| m.is_modern());
        let status = request.method == "GET" && what == What::Other;
        if modern || status || matches!(what, What::Initialize(_) | What::Reopen | What::Socket) {
            return match id {
                None => Ok(()),
                Some(id) => Err(format!("session {id} where none belongs")),
            };
        }
        if let Some(id) = id.as_ref().filter(|id| !self.issued.contains(*id)) {
            return Err(format!("session {id} was never given"));
        }
        if request.method == "DELETE" {
            return id
                .map(|_| ())
                .ok_or_else(|| "DELETE of no session".to_owned());
        }
        match (&self.session, &id) {
            (Some((Some(known), v)), Some(id)) if known == id && version.as_ref() == Some(v) => {
                Ok(())
            }
            (Some((None, v)), None) if version.as_ref() == Some(v) => Ok(()),
            (None, None) => Ok(()),
            // Lost: what needs no session may go without.
            (Some((Some(known), _)), None) if ledger.dead_sessions.contains(known) => Ok(()),
            (known, id) => Err(format!(
                "session {id:?} version {version:?}, but {known:?} is known"
            )),
        }
    }

    /// Nothing legacy before the handshake is over; no cancel before its request.
    fn check_order(
        &mut self,
        conn: ConnId,
        request: &HttpRequest,
        what: What,
        now_us: u64,
    ) -> Verdict {
        let Some(message) = &request.message else {
            return Ok(());
        };
        if what == What::Initialize(0) {
            self.void.insert(message.id.clone());
        }
        if message.is_modern() || matches!(what, What::Initialize(_)) {
            return Ok(());
        }
        if what == What::Reopen {
            self.reopens.insert(message.id.clone());
            (self.reopening, self.session) = (Some(conn), None);
            return Ok(());
        }
        let closed = match self.handshake {
            Handshake::Opening(_) => true,
            Handshake::Confirming => what != What::Initialized,
            Handshake::Free | Handshake::Opened => self.reopening.is_some(),
        };
        if closed {
            return Err(format!(
                "a legacy message before the handshake is over ({:?}, reopening {:?})",
                self.handshake, self.reopening
            ));
        }
        if message.method != "notifications/cancelled" {
            return Ok(());
        }
        let id = message::request_id(&request.body).unwrap_or_default();
        let Some(asked) = self.asked.iter().rev().find(|asked| asked.id == id) else {
            return Ok(());
        };
        match (asked.state, asked.sent_us) {
            (State::Answered | State::Open, _) => Ok(()),
            // Its answer may lie in the batch already.
            (State::Cancelled, _) if asked.batch.is_some() || asked.cancelled_late => Ok(()),
            (State::Cancelled, _) if asked.modern => {
                Err(format!("a modern cancel of {id} was POSTed"))
            }
            (State::Cancelled, Some(sent)) if sent + CANCEL_GRACE_US <= now_us => Ok(()),
            (State::Cancelled, sent) => {
                Err(format!("the cancel of {id} overtakes it (sent: {sent:?})"))
            }
        }
    }

    /// The bytes were handed to the socket.
    pub(crate) fn sent(&mut self, conn: ConnId, now_us: u64) {
        if let Some(flight) = self.flights.get_mut(&conn) {
            flight.sent = true;
            if let Some(at) = flight.asked {
                self.asked[at].sent_us.get_or_insert(now_us);
            }
        }
    }

    /// The engine is about to be handed what this means.
    pub(crate) fn mark(&mut self, conn: ConnId, mark: Mark) {
        match &mark {
            Mark::Refused => {
                if let Some(flight) = self.flights.get(&conn) {
                    if let Some(at) = flight.asked {
                        self.asked[at].possible -= 1;
                    }
                    if let Some(approval) = &flight.approval {
                        self.consent.refused(approval);
                    }
                }
            }
            Mark::Decided {
                approval,
                key,
                word,
            } => self.consent.decided(approval, *key, word),
            Mark::InitializeResult { session, version } => {
                if let Some(session) = session {
                    self.issued.insert(session.clone());
                }
                self.initialize_result(conn, session.clone(), version.clone());
            }
            Mark::Done(status) => self.outcome(conn, Some(*status)),
            Mark::Message(_) | Mark::Answer(_) | Mark::Upgraded => {}
        }
        self.marks.push(mark);
    }

    fn initialize_result(&mut self, conn: ConnId, session: Option<String>, version: String) {
        let what = self.flights.get(&conn).map(|flight| flight.what);
        match (what, self.handshake) {
            (Some(What::Initialize(n)), Handshake::Opening(latest)) if n == latest => {
                self.session = Some((session, version));
                self.handshake = match self.early_initialized {
                    true => Handshake::Confirming,
                    false => Handshake::Opened,
                };
            }
            (Some(What::Reopen), _) if self.reopening == Some(conn) => {
                self.session = Some((session, version));
                self.reopening = None;
                self.handshake = Handshake::Confirming;
            }
            _ => {}
        }
    }

    /// The exchange on this connection is over: with a status, or the connection is gone.
    fn outcome(&mut self, conn: ConnId, _status: Option<u16>) {
        let Some(flight) = self.flights.remove(&conn) else {
            return;
        };
        match flight.what {
            What::Initialized if self.handshake == Handshake::Confirming => {
                self.handshake = Handshake::Free;
                self.was_open = true;
            }
            What::Reopen if self.reopening == Some(conn) => self.reopening = None,
            _ => {}
        }
    }

    /// The connection ended under the engine; `unsent` proves that nothing of the request left.
    pub(crate) fn closed(&mut self, conn: ConnId, unsent: bool) {
        if let Some(flight) = self.flights.get(&conn)
            && unsent
        {
            if let Some(at) = flight.asked {
                self.asked[at].possible -= 1;
            }
            if let Some(approval) = &flight.approval {
                self.consent.refused(approval);
            }
        }
        self.outcome(conn, None);
    }

    pub(crate) fn is_busy(&self, conn: ConnId) -> bool {
        self.flights.contains_key(&conn)
    }

    /// Connections with a long-lived exchange.
    pub(crate) fn streams(&self) -> usize {
        let flights = self.flights.values();
        flights
            .filter(|flight| matches!(flight.what, What::Stream | What::Socket))
            .count()
    }

    /// WebSockets, open or asked for.
    pub(crate) fn sockets(&self) -> usize {
        let flights = self.flights.values();
        flights.filter(|flight| flight.what == What::Socket).count()
    }

    /// All outputs of one input have come: what had to be among them?
    pub(crate) fn end_of_turn(&mut self) -> Verdict {
        for conn in std::mem::take(&mut self.must_close) {
            if self.flights.contains_key(&conn) {
                return Err(format!("{conn:?} of a cancelled modern request stays open"));
            }
        }
        let lines = std::mem::take(&mut self.lines);
        for mark in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Message(key) => {
                    let count = lines.iter().filter(|line| line.contains(&key)).count();
                    if count != 1 {
                        return Err(format!("{key} came {count} times"));
                    }
                }
                Mark::Answer(nonce) => {
                    let open = |asked: &&Asked| {
                        asked.nonce == Some(nonce)
                            && asked.state == State::Open
                            && asked.batch.is_none()
                    };
                    if let Some(asked) = self.asked.iter().find(open) {
                        return Err(format!("the answer to {} was not handed on", asked.id));
                    }
                }
                Mark::Refused
                | Mark::InitializeResult { .. }
                | Mark::Done(_)
                | Mark::Upgraded
                | Mark::Decided { .. } => {}
            }
        }
        Ok(())
    }

    /// `initialized` can not be delivered: the session is used without it.
    pub(crate) fn confirmation_given_up(&mut self) {
        if self.handshake == Handshake::Confirming {
            self.handshake = Handshake::Free;
        }
    }

    /// The host's last handshake came to its end.
    pub(crate) fn has_session(&self) -> bool {
        self.was_open && self.handshake == Handshake::Free
    }

    /// Ids of requests without an answer that stand alone on their line.
    pub(crate) fn unanswered_alone(&self) -> Vec<String> {
        let open = self.open.values().map(|at| &self.asked[*at]);
        let alone = open.filter(|asked| asked.batch.is_none());
        alone.map(|asked| asked.id.clone()).collect()
    }

    /// Requests without an answer, as `(id, method, nonce)`.
    pub(crate) fn unanswered(&self) -> Vec<(String, String, Option<u64>)> {
        let open = self.open.values().map(|at| &self.asked[*at]);
        open.map(|asked| (asked.id.clone(), asked.method.clone(), asked.nonce))
            .collect()
    }

    /// After the end.
    pub(crate) fn end(&self, ledger: &Ledger) -> Verdict {
        if !self.open.is_empty() {
            return Err(format!("never answered: {:?}", self.unanswered()));
        }
        if self.invalid_expected != 0 || self.oversize_expected != 0 {
            return Err(format!(
                "{} errors for invalid and {} for oversize lines are missing",
                self.invalid_expected, self.oversize_expected
            ));
        }
        if self.duplicates.values().any(|count| *count > 0) {
            return Err(format!("duplicates without error: {:?}", self.duplicates));
        }
        for asked in &self.asked {
            let count = asked.nonce.map_or(0, |nonce| ledger.executions(nonce));
            if count > 1 && !asked.safe {
                return Err(format!("{} ran {count} times (I7)", asked.id));
            }
            if count > 0 && asked.denied {
                return Err(format!(
                    "{} {} ran, but the host was told that it did not",
                    asked.method, asked.id
                ));
            }
        }
        Ok(())
    }
}

/// What every request to the workspace looks like.
fn check_http(request: &HttpRequest) -> Verdict {
    let bearer = format!("Bearer {TOKEN}");
    if request.header("authorization") != Some(bearer.as_str()) {
        return Err("no bearer token".to_owned());
    }
    let elsewhere =
        |(name, value): &(String, String)| name != "authorization" && value.contains(TOKEN);
    if request.headers.iter().any(elsewhere)
        || request.target.contains(TOKEN)
        || request.body.contains(TOKEN)
    {
        return Err("the token is where it does not belong".to_owned());
    }
    if request.header("host") != Some("w.example") || !request.target.starts_with(PATH) {
        return Err(format!(
            "host {:?} target {}",
            request.header("host"),
            request.target
        ));
    }
    let accept = request.header("accept");
    match (request.method.as_str(), &request.message) {
        ("POST", Some(message)) => {
            if accept != Some("application/json, text/event-stream")
                || request.header("content-type") != Some("application/json")
            {
                return Err("a POST without the right Accept and Content-Type".to_owned());
            }
            check_era(request, message)
        }
        ("GET", None) if request.is_upgrade() => {
            let right = request.header("upgrade") == Some("websocket")
                && request.header("connection") == Some("Upgrade")
                && request.header("sec-websocket-version") == Some("13")
                && request.header("sec-websocket-key").map(str::len) == Some(24);
            match right {
                true => Ok(()),
                false => Err(format!("wrong upgrade: {:?}", request.headers)),
            }
        }
        ("GET", None) if accept == Some(STATUS_ACCEPT) => Ok(()),
        ("GET", None) if accept == Some("text/event-stream") => Ok(()),
        ("DELETE", None) => Ok(()),
        (method, message) => Err(format!("{method} with {message:?}")),
    }
}

fn check_era(request: &HttpRequest, message: &Message) -> Verdict {
    if !message.is_modern() {
        return match request.has("mcp-method") || request.has("mcp-name") {
            true => Err("modern headers on a legacy message".to_owned()),
            false => Ok(()),
        };
    }
    let version = message.version().unwrap_or("2026-07-28");
    let name = match message.method.as_str() {
        "tools/call" | "prompts/get" => message.params["name"].as_str(),
        "resources/read" => message.params["uri"].as_str(),
        _ => None,
    };
    let right = request.header("mcp-protocol-version") == Some(version)
        && request.header("mcp-method") == Some(message.method.as_str())
        && request.header("mcp-name") == name
        && message.kind != Kind::Response
        && request.method == "POST"
        && !request.has("last-event-id");
    match right {
        true => Ok(()),
        false => Err(format!("wrong modern headers: {:?}", request.headers)),
    }
}
