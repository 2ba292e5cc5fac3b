//! The server's side: requests as they arrive, and who decides what becomes of them.

use super::gates::Tally;
use super::message::Message;
use super::random::Random;
use super::script::{Mark, Script};
use aerostack_gateway::api::proto::{CloseCause, ConnId};
use std::collections::{BTreeMap, BTreeSet};

/// One HTTP request, whole.
#[derive(Clone, Debug)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The JSON-RPC message of a POST.
    pub(crate) message: Option<Message>,
}

impl HttpRequest {
    /// Reads what the engine transmits: exactly one request.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        let len = match head.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            other => return Err(format!("no HTTP request head: {other:?}")),
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string());
        let mut request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            headers: Vec::new(),
            body: text(&bytes[len..])?,
            message: None,
        };
        for header in head.headers.iter() {
            let pair = (header.name.to_ascii_lowercase(), text(header.value)?);
            request.headers.push(pair);
        }
        let length = request.header("content-length").unwrap_or("0").to_owned();
        if length != request.body.len().to_string() {
            return Err(format!(
                "Content-Length {length}, but {} bytes",
                request.body.len()
            ));
        }
        request.message = Message::parse(&request.body);
        Ok(request)
    }

    /// The value of a header; a doubled one is no value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let first = values.next()?;
        values.next().is_none().then_some(first.1.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }

    pub(crate) fn nonce(&self) -> Option<u64> {
        self.message.as_ref().and_then(Message::nonce)
    }

    /// The approval under which a request is sent again.
    pub(crate) fn approval(&self) -> Option<&str> {
        let params = &self.message.as_ref()?.params;
        params["_meta"]["dev.aerostack/approval_id"].as_str()
    }

    /// A GET that asks for a WebSocket.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.method == "GET" && self.has("upgrade")
    }

    /// In a few words, for the transcript.
    pub(crate) fn label(&self) -> String {
        let session = self.header("mcp-session-id").unwrap_or("-");
        match &self.message {
            Some(m) => {
                format!(
                    "{} {} {:?} id {} nonce {:?} session {session}",
                    self.method,
                    self.target,
                    m.kind,
                    m.id,
                    m.nonce()
                ) + &format!(" {}", m.method)
            }
            None => format!(
                "{} {} session {session} last {:?}",
                self.method,
                self.target,
                self.header("last-event-id")
            ),
        }
    }
}

/// What the server knows and the judge wants to hear.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Executions by the number of the host's request.
    pub(crate) executed: BTreeMap<u64, u32>,
    /// Sessions that ended on the server.
    pub(crate) dead_sessions: BTreeSet<String>,
    /// Everything that arrived, in order, and when.
    pub(crate) arrived: Vec<HttpRequest>,
    pub(crate) arrived_ms: Vec<u64>,
    /// What no engine may make a server see.
    pub(crate) broken: Option<String>,
}

impl Ledger {
    pub(crate) fn execute(&mut self, nonce: Option<u64>) {
        if let Some(nonce) = nonce {
            *self.executed.entry(nonce).or_default() += 1;
        }
    }

    pub(crate) fn executions(&self, nonce: u64) -> u32 {
        self.executed.get(&nonce).copied().unwrap_or(0)
    }
}

/// What the server's behaviour may use.
pub(crate) struct Desk<'a> {
    pub(crate) wall_ms: u64,
    /// The connection that something came over.
    pub(crate) conn: ConnId,
    /// What the server does of itself.
    pub(crate) acts: &'a mut Vec<Act>,
    pub(crate) random: &'a mut Random,
    pub(crate) ledger: &'a mut Ledger,
}

/// What a server does without being asked.
#[derive(Debug)]
pub(crate) enum Act {
    /// `Workspace::wake` with this number after so many microseconds.
    Wake(u64, u64),
    /// Bytes over an open WebSocket.
    Send(ConnId, Vec<u8>, Vec<Mark>),
    /// A connection ends.
    Drop(ConnId, CloseCause),
}

/// A server's behaviour: one exchange at a time. Approvals, chat and the like are further ones.
pub(crate) trait Workspace {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script;

    /// An `Act::Wake` has come.
    fn wake(&mut self, _number: u64, _desk: &mut Desk<'_>) {}

    /// Bytes came over an open WebSocket.
    fn frames(&mut self, _bytes: &[u8], _desk: &mut Desk<'_>) {}

    /// The connection is no more.
    fn gone(&mut self, _conn: ConnId) {}

    /// What came of approvals.
    fn tally(&self) -> Tally {
        Tally::default()
    }

    /// From here on everything works.
    fn calm(&mut self, _desk: &mut Desk<'_>) {}
}

impl<F: FnMut(&HttpRequest, &mut Desk<'_>) -> Script> Workspace for F {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        self(request, desk)
    }
}
