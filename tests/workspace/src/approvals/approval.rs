//! One approval: what is to be decided, where it stands, and whether anybody waits for it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::raw::{RawObject, raw};
use crate::risk::Risk;
use crate::rpc::{Outcome, RpcError};
use crate::session::Program;

/// An asker that was not heard of for so long has gone: it polls every 30 s, with some jitter.
const SILENT_MS: u64 = 45_000;
/// A socket that broke is opened again by then, or its agent has gone.
const RECONNECT_MS: u64 = 20_000;
/// A decision is followed by then, or its agent has gone.
const FOLLOW_MS: u64 = 30_000;
/// What nobody waits for is kept so long for the same request to come back.
const DETACHED_MS: u64 = 600_000;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has decided.
    Pending,
    /// Approved; the request may be sent again.
    Approved,
    /// Approved and executed; the outcome is there.
    Executed,
    /// Rejected by a person.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Withdrawn by the bridge.
    Cancelled,
}

/// How far the execution of an approved request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Not begun, or over.
    #[default]
    Idle,
    /// The workspace is going to execute it.
    Queued,
    /// It runs.
    Running,
    /// The workspace was stopped while it ran: nobody knows what came of it.
    Broken,
}

/// What became of an approval, in a word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Nobody has decided.
    Waiting,
    /// Approved, and not yet taken up.
    Approved,
    /// It runs.
    Running,
    /// It ran.
    Executed,
    /// It ran and failed.
    Failed,
    /// The agent was told that it may go on.
    Allowed,
    /// The workspace was stopped while it ran.
    Unknown,
    /// Approved, and never executed: the agent had gone.
    AgentGone,
    /// Rejected.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Withdrawn.
    Cancelled,
}

/// Which agent asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its bridge, where it is known.
    pub bridge_id: Option<String>,
    /// The bridge's process, where it is known.
    pub instance: Option<String>,
    /// Its session, in the handshake era.
    pub session: Option<String>,
}

/// What is to be approved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The method of the request.
    pub method: String,
    /// The tool, for tools/call.
    pub tool: Option<String>,
    /// The category, for guardian requests.
    pub category: Option<String>,
    /// The parameters without `_meta`.
    pub params: RawObject,
    /// Why approval is needed.
    pub reason: String,
    /// The AI tool that asks.
    pub client: Program,
    /// The agent that asks.
    pub agent: Agent,
    /// The name of the token that it came with.
    pub token: String,
    /// What it may do.
    pub risk: Risk,
}

/// A person's decision.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Yes or no.
    pub approve: bool,
    /// A note for the agent.
    pub note: Option<String>,
    /// Who decided.
    pub by: String,
    /// Edited parameters (all but `_meta`).
    pub params: Option<RawObject>,
}

/// Who waits for an approval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Askers {
    sockets: u32,
    had_socket: bool,
    /// The last socket has gone, and nobody was heard of since.
    departed: bool,
    heard_ms: u64,
}

/// One approval.
#[derive(Clone, Debug)]
pub struct Approval {
    /// `apr_…`
    pub id: String,
    /// What is to be approved.
    pub subject: Subject,
    /// Where it stands.
    pub status: Status,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; `None`: never.
    pub expires_at: Option<i64>,
    /// Unix seconds.
    pub decided_at: Option<i64>,
    /// The reviewer's note.
    pub note: Option<String>,
    /// The reviewer.
    pub decided_by: Option<String>,
    /// Edited parameters.
    pub edited: Option<RawObject>,
    /// The recorded outcome.
    pub outcome: Option<Outcome>,
    /// How often it was executed. More than once would be a bug.
    pub executions: u32,
    /// How far the execution has come.
    pub stage: Stage,
    /// Whoever waits was told the decision.
    pub delivered: bool,
    pub(crate) askers: Askers,
    pub(crate) held: Option<Decision>,
    pub(crate) changed: watch::Sender<u64>,
}

/// What is kept of an approval.
#[derive(Serialize, Deserialize)]
struct Record {
    subject: Subject,
    status: Status,
    created_at: i64,
    expires_at: Option<i64>,
    decided_at: Option<i64>,
    note: Option<String>,
    decided_by: Option<String>,
    edited: Option<RawObject>,
    result: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
    executions: u32,
    stage: Stage,
    delivered: bool,
}

impl Askers {
    /// Somebody asked, polled or opened a socket.
    pub(crate) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.departed = false;
    }

    /// A socket was opened (`true`) or has gone.
    pub(crate) fn socket(&mut self, opened: bool, now_ms: u64) {
        if opened {
            self.sockets += 1;
            self.had_socket = true;
            self.heard(now_ms);
        } else {
            self.sockets = self.sockets.saturating_sub(1);
            self.departed = self.sockets == 0;
            self.heard_ms = now_ms;
        }
    }

    fn silent_ms(&self, now_ms: u64) -> u64 {
        if self.sockets > 0 {
            0
        } else {
            now_ms.saturating_sub(self.heard_ms)
        }
    }

    /// True while somebody waits.
    fn waits(&self, now_ms: u64) -> bool {
        self.sockets > 0 || (!self.departed && self.silent_ms(now_ms) < SILENT_MS)
    }
}

impl Approval {
    /// A new one.
    pub(crate) fn new(id: String, subject: Subject, now_ms: u64, ttl_s: i64) -> Self {
        let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let mut askers = Askers::default();
        askers.heard(now_ms);
        Approval {
            id,
            subject,
            status: Status::Pending,
            created_at: now,
            expires_at: (ttl_s > 0).then(|| now + ttl_s),
            decided_at: None,
            note: None,
            decided_by: None,
            edited: None,
            outcome: None,
            executions: 0,
            stage: Stage::Idle,
            delivered: false,
            askers,
            held: None,
            changed: watch::channel(0).0,
        }
    }

    /// What is kept of it.
    pub fn record(&self) -> String {
        let record = Record {
            subject: self.subject.clone(),
            status: self.status,
            created_at: self.created_at,
            expires_at: self.expires_at,
            decided_at: self.decided_at,
            note: self.note.clone(),
            decided_by: self.decided_by.clone(),
            edited: self.edited.clone(),
            result: self.outcome.clone().and_then(std::result::Result::ok),
            error: self.outcome.clone().and_then(|o| o.err()).map(|e| e.raw),
            executions: self.executions,
            stage: self.stage,
            delivered: self.delivered,
        };
        raw(&record).get().to_owned()
    }

    /// Reads what was kept. What ran when the workspace was stopped is not executed again: nobody knows
    /// what came of it.
    pub fn restored(id: String, record: &str, now_ms: u64) -> serde_json::Result<Self> {
        let kept: Record = serde_json::from_str(record)?;
        let mut approval = Approval::new(id, kept.subject, now_ms, 0);
        approval.status = kept.status;
        approval.created_at = kept.created_at;
        approval.expires_at = kept.expires_at;
        approval.decided_at = kept.decided_at;
        approval.note = kept.note;
        approval.decided_by = kept.decided_by;
        approval.edited = kept.edited;
        approval.outcome = match (kept.result, kept.error) {
            (_, Some(error)) => Some(Err(RpcError::from_raw(error))),
            (result, None) => result.map(Ok),
        };
        approval.executions = kept.executions;
        approval.stage = kept.stage;
        approval.delivered = kept.delivered;
        if kept.stage == Stage::Running {
            approval.stage = Stage::Broken;
            approval.outcome = Some(Err(RpcError::new(
                crate::rpc::INTERNAL_ERROR,
                "the workspace was stopped while this call ran: it may have been executed, and is not repeated",
            )));
            if approval.status == Status::Pending {
                approval.status = Status::Executed;
            }
        }
        Ok(approval)
    }

    pub(crate) fn settle(&mut self, status: Status, now: i64) {
        self.status = status;
        self.decided_at.get_or_insert(now);
        self.bump();
    }

    pub(crate) fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// True once no change can follow that a bridge would wait for.
    pub fn is_settled(&self) -> bool {
        self.status != Status::Pending
    }

    /// True while the workspace executes, or a decision is kept back.
    pub fn is_busy(&self) -> bool {
        self.runs() || self.held.is_some()
    }

    /// True from the decision to execute to the outcome.
    pub fn runs(&self) -> bool {
        matches!(self.stage, Stage::Queued | Stage::Running)
    }

    /// Approved for an execution, or for an agent's own deed, that has not begun.
    pub(crate) fn is_unused(&self) -> bool {
        self.status == Status::Approved
            && self.executions == 0
            && !self.runs()
            && !(self.subject.category.is_some() && self.delivered)
    }

    /// True while somebody waits for it.
    pub fn is_attended(&self, now_ms: u64) -> bool {
        self.askers.waits(now_ms)
    }

    /// True if the agent has gone; `online` is what its bridge's heartbeats say.
    pub fn is_abandoned(&self, now_ms: u64, online: Option<bool>) -> bool {
        let silent_ms = self.askers.silent_ms(now_ms);
        // After a decision the socket is closed and the polls end: the next that is heard is the retry.
        let departed = self.is_settled() || self.askers.departed;
        let limit_ms = match (self.is_settled(), departed) {
            (true, _) => FOLLOW_MS,
            (false, true) => RECONNECT_MS,
            (false, false) => SILENT_MS,
        };
        match online {
            Some(false) => true,
            Some(true) => self.askers.had_socket && departed && silent_ms >= limit_ms,
            None => silent_ms >= limit_ms,
        }
    }

    /// True if it is to be forgotten: open or unused, and nobody waits for it any more.
    pub(crate) fn has_lapsed(&self, now_ms: u64, online: Option<bool>) -> bool {
        let open = (self.status == Status::Pending && !self.is_busy()) || self.is_unused();
        open && self.is_abandoned(now_ms, online) && self.askers.silent_ms(now_ms) >= DETACHED_MS
    }

    /// What became of it.
    pub fn fate(&self, now_ms: u64, online: Option<bool>) -> Fate {
        let ran = || match &self.outcome {
            Some(Ok(result)) => {
                let failed = RawObject::parse(result.get()).and_then(|r| r.read::<bool>("isError"));
                if failed == Some(true) {
                    Fate::Failed
                } else {
                    Fate::Executed
                }
            }
            Some(Err(_)) => Fate::Failed,
            None => Fate::Unknown,
        };
        match (self.status, self.stage) {
            (_, Stage::Queued | Stage::Running) => Fate::Running,
            (_, Stage::Broken) => Fate::Unknown,
            (Status::Pending, Stage::Idle) => Fate::Waiting,
            (Status::Executed, Stage::Idle) => ran(),
            (Status::Approved, Stage::Idle) if self.outcome.is_some() => ran(),
            (Status::Approved, Stage::Idle) if !self.is_unused() => Fate::Allowed,
            (Status::Approved, Stage::Idle) if self.is_abandoned(now_ms, online) => Fate::AgentGone,
            (Status::Approved, Stage::Idle) => Fate::Approved,
            (Status::Rejected, Stage::Idle) => Fate::Rejected,
            (Status::Expired, Stage::Idle) if self.decided_by.is_some() => Fate::AgentGone,
            (Status::Expired, Stage::Idle) => Fate::Expired,
            (Status::Cancelled, Stage::Idle) if self.decided_by.is_some() => Fate::AgentGone,
            (Status::Cancelled, Stage::Idle) => Fate::Cancelled,
        }
    }

    /// The approval as the wire has it.
    pub fn object(&self) -> Box<RawValue> {
        let mut object = RawObject::default();
        object.set("type", raw("approval"));
        object.set("approval_id", raw(&self.id));
        object.set("status", raw(&self.status));
        object.set("method", raw(&self.subject.method));
        object.set("created_at", raw(&self.created_at));
        let mut optional = |name: &str, value: Option<Box<RawValue>>| {
            if let Some(value) = value {
                object.set(name, value);
            }
        };
        optional("tool", self.subject.tool.as_ref().map(raw));
        optional("category", self.subject.category.as_ref().map(raw));
        optional("expires_at", self.expires_at.as_ref().map(raw));
        if self.is_settled() {
            optional("note", self.note.as_ref().map(raw));
            optional("decided_by", self.decided_by.as_ref().map(raw));
            optional("decided_at", self.decided_at.as_ref().map(raw));
            optional("params", self.edited.as_ref().map(RawObject::to_raw));
        }
        if self.status == Status::Executed {
            match &self.outcome {
                Some(Ok(result)) => object.set("result", result.clone()),
                Some(Err(e)) => object.set("error", e.raw.clone()),
                None => {}
            }
        }
        object.to_raw()
    }
}
