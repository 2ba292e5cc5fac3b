//! Requests in the works: the host's, and the gateway's own.
//!
//! Owns who asked, what was asked and how far it has come. It never decides what happens next and
//! never touches a connection: the bridge does, and notes it here.

use super::ids::{BatchId, CallId, Era, TaskId, WatchId};
use super::progress::Progress;
use super::timer::TimerId;
use crate::failure::{Executed, Failure};
use std::collections::BTreeMap;

/// Who wants the answer.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// The host; within a batch where one is named.
    Host(Option<BatchId>),
    /// The gateway: a new session for the host's lost one.
    Reopening,
    /// The gateway: all pages of tools/list, to learn a tool's headers for the waiting call.
    Headers(CallId),
    /// The gateway: the state of an approval.
    Poll(WatchId),
    /// The gateway: approval of something local, for a call of the guardian tool.
    Guardian(CallId),
    /// The gateway: messages from the dashboard.
    ChatPoll,
    /// The gateway: for a call of the chat tool.
    Chat(CallId),
    /// The gateway: a sign of life.
    Heartbeat,
    /// The gateway: what the workspace offers, for a modern host that never asks.
    Discover,
    /// The gateway, which does not need the answer.
    Nobody,
}

/// What a request is waiting for.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// Nothing has been done yet, or it is being moved from one state to the next.
    Nothing,
    /// The gateway itself, which answers it.
    Local,
    /// The session: it leaves when that is open.
    Session,
    /// Its exchange with the workspace.
    Exchange(TaskId),
    /// A repeat after a pause.
    Retry(TimerId),
    /// The end of the rate limit's pause.
    RateLimit,
    /// The moment to resume its event stream.
    Resume(TimerId),
    /// The list of tools that its headers depend on.
    Headers,
    /// A person's decision; with the time after which the host is told to ask again.
    Approval(WatchId, Option<TimerId>),
    /// The token file, which is read again after a 401.
    Token,
}

/// A request and its story so far.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) asker: Asker,
    /// The asker's id, raw JSON.
    pub(super) id: Box<str>,
    /// The id on the wire where it differs: a replay needs a new one.
    pub(super) wire_id: Option<Box<str>>,
    pub(super) method: Box<str>,
    /// The tool's or prompt's name, for messages to people.
    pub(super) name: Option<Box<str>>,
    pub(super) era: Era,
    /// The request as it is POSTed.
    pub(super) message: Vec<u8>,
    pub(super) waiting: Waiting,
    /// AEROSTACK_REQUEST_TIMEOUT, the probe's or our own requests' deadline.
    pub(super) deadline: Option<TimerId>,
    /// What the host was told of its progress.
    pub(super) progress: Progress,
    /// Repeats after transient failures.
    pub(super) retries: u8,
    /// Whether an attempt that was given up may have run.
    pub(super) ran: Executed,
    /// Pauses for the rate limit.
    pub(super) pauses: u8,
    /// Sent again after a lost session: once.
    pub(super) resent: bool,
    /// Sent again with new headers: once.
    pub(super) reheaded: bool,
    /// Resumptions without an event in between.
    pub(super) resumes: u8,
    /// The last event id of its stream.
    pub(super) last_event_id: Option<Box<str>>,
    /// The server's `retry` for its stream.
    pub(super) retry_ms: Option<u64>,
    /// Sent again with a token that was read anew: once.
    pub(super) reauthorized: bool,
    /// The last failure before a repeat, should that get no answer either.
    pub(super) last_failure: Option<Failure>,
    /// The approval under which it was sent again.
    pub(super) approved: Option<Box<str>>,
    /// Approvals that it was told to wait for.
    pub(super) approval_rounds: u8,
    /// Repeats because the workspace named the approval again that it already had.
    pub(super) approval_repeats: u8,
    /// The workspace's answer that a repeat tries to better.
    pub(super) held_answer: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn new(
        asker: Asker,
        id: Box<str>,
        method: &str,
        era: Era,
        message: Vec<u8>,
    ) -> Self {
        Self {
            asker,
            id,
            wire_id: None,
            method: method.into(),
            name: None,
            era,
            message,
            waiting: Waiting::Nothing,
            deadline: None,
            progress: Progress::default(),
            retries: 0,
            ran: Executed::No,
            pauses: 0,
            resent: false,
            reheaded: false,
            resumes: 0,
            last_event_id: None,
            retry_ms: None,
            reauthorized: false,
            last_failure: None,
            approved: None,
            approval_rounds: 0,
            approval_repeats: 0,
            held_answer: None,
        }
    }

    /// The request in words: "github__create_issue", "tools/list".
    pub(super) fn label(&self) -> String {
        let text = match &self.name {
            Some(action) if matches!(self.asker, Asker::Guardian(_)) => {
                format!("the local operation \u{201c}{action}\u{201d}")
            }
            Some(name) if &*self.method == "tools/call" => name.to_string(),
            Some(name) => format!("{} {name}", self.method),
            None => self.method.to_string(),
        };
        crate::log::printable(&text, 160)
    }

    /// The id that the workspace sees.
    pub(super) fn id_on_wire(&self) -> &str {
        self.wire_id.as_deref().unwrap_or(&self.id)
    }

    /// True for the host's requests.
    pub(super) fn is_hosts(&self) -> bool {
        matches!(self.asker, Asker::Host(_))
    }

    /// The host's requests wait for people, and the guardian's; other requests of ours do not.
    pub(super) fn may_wait_for_approval(&self) -> bool {
        matches!(self.asker, Asker::Host(_) | Asker::Guardian(_))
    }

    /// True where a second execution can do no harm (I7): requests that only read, or open what a
    /// repeat opens again. What a person approved is repeated only where the workspace promised to
    /// execute each approval once.
    pub(super) fn may_repeat(&self, at_most_once: bool) -> bool {
        match self.approved {
            Some(_) => at_most_once,
            None => is_safe(&self.method),
        }
    }
}

/// Methods that may be replayed without asking. Of our own requests those that only ask, or say what
/// is true at any time.
pub(super) fn is_safe(method: &str) -> bool {
    let listed = [
        "initialize",
        "ping",
        "server/discover",
        "prompts/get",
        "aerostack/approvals/get",
        "aerostack/approvals/cancel",
        "aerostack/chat/messages",
        "aerostack/heartbeat",
    ];
    listed.contains(&method) || method.ends_with("/list") || method.ends_with("/read")
}

/// All requests in the works.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next: u64,
    calls: BTreeMap<CallId, Call>,
    by_host_id: BTreeMap<Box<str>, CallId>,
    /// Bytes of all requests held.
    bytes: usize,
}

impl Calls {
    /// Registers a request. The host's ids must be unique among those in the works: `None` if not.
    pub(super) fn insert(&mut self, call: Call) -> Option<CallId> {
        self.next += 1;
        let id = CallId(self.next);
        if call.is_hosts() {
            if self.by_host_id.contains_key(&call.id) {
                return None;
            }
            self.by_host_id.insert(call.id.clone(), id);
        }
        self.bytes += call.message.len();
        self.calls.insert(id, call);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        if call.is_hosts() {
            self.by_host_id.remove(&call.id);
        }
        self.bytes -= call.message.len().min(self.bytes);
        Some(call)
    }

    pub(super) fn get(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id)
    }

    /// The host's request with this raw id.
    pub(super) fn of_host(&self, raw_id: &str) -> Option<CallId> {
        self.by_host_id.get(raw_id).copied()
    }

    /// A request of the host becomes one of our own: the host has its answer already.
    pub(super) fn disown(&mut self, id: CallId, asker: Asker) {
        if let Some(call) = self.calls.get_mut(&id) {
            self.by_host_id.remove(&call.id);
            call.asker = asker;
        }
    }

    /// The request that the workspace knows by this raw id.
    pub(super) fn on_wire(&self, raw_id: &str) -> Option<CallId> {
        // The common case is one look-up; ids printed anew by the peer need the slow one.
        let exact = self
            .of_host(raw_id)
            .filter(|id| self.calls[id].wire_id.is_none());
        exact.or_else(|| {
            let same = |call: &Call| crate::proto::jsonrpc::same_id(call.id_on_wire(), raw_id);
            self.calls
                .iter()
                .find(|(_, call)| same(call))
                .map(|(id, _)| *id)
        })
    }

    /// The host's request that wants progress under this raw token.
    pub(super) fn with_progress(&self, token: &str) -> Option<CallId> {
        let wants = |call: &&Call| call.is_hosts() && call.progress.is_for(token);
        let found = self.calls.iter().find(|(_, call)| wants(call));
        found.map(|(id, _)| *id)
    }

    /// All requests, oldest first.
    pub(super) fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    /// Requests of the host in the works.
    pub(super) fn hosts(&self) -> usize {
        self.by_host_id.len()
    }

    /// Bytes of all requests held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
