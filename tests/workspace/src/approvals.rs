//! Approvals: requests that wait for a person, and the rule that each of them is executed at most once.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::raw::{RawObject, compact, raw};
use crate::rpc::{Outcome, RpcError};
use crate::session::Program;
use crate::sync::{Locked, random_id, unix_now};

/// The member of `_meta` that names the approval on the retry.
pub const APPROVAL_META: &str = "dev.aerostack/approval_id";
/// Decided approvals kept in memory.
const APPROVALS_MAX: usize = 5000;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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

/// What is to be approved.
#[derive(Clone, Debug)]
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
    /// The bridge that asks, where it is known.
    pub bridge_id: Option<String>,
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

/// One approval.
#[derive(Debug)]
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
    running: bool,
    held: Option<Decision>,
    changed: watch::Sender<u64>,
}

/// What follows from a decision.
#[derive(Debug)]
pub enum Next {
    /// Nothing more: the bridge is told.
    Nothing,
    /// The workspace executes this request.
    Execute(Subject),
}

/// What a retry that names an approval may do.
#[derive(Debug)]
pub enum Claim {
    /// Execute it: this is the only time.
    Execute,
    /// It has been executed: this is what came out.
    Recorded(Outcome),
    /// It is being executed: wait for a change.
    Running(watch::Receiver<u64>),
    /// Nobody has decided yet.
    Pending,
    /// No.
    Refused(RpcError),
}

/// All approvals.
#[derive(Debug, Default)]
pub struct Approvals {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: HashMap<String, Approval>,
    order: Vec<String>,
}

impl Approvals {
    /// Opens an approval and returns its id.
    pub fn open(&self, subject: Subject, ttl_s: i64) -> String {
        let id = random_id("apr_", 10);
        let now = unix_now();
        let approval = Approval {
            id: id.clone(),
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
            running: false,
            held: None,
            changed: watch::channel(0).0,
        };
        let mut inner = self.inner.locked();
        inner.order.push(id.clone());
        inner.all.insert(id.clone(), approval);
        if inner.order.len() > APPROVALS_MAX {
            let settled =
                |i: &Inner, id: &String| i.all.get(id).is_none_or(|a| a.status != Status::Pending);
            if let Some(at) = inner.order.iter().position(|id| settled(&inner, id)) {
                let old = inner.order.remove(at);
                inner.all.remove(&old);
            }
        }
        id
    }

    /// Reads an approval.
    pub fn with<T>(&self, id: &str, read: impl FnOnce(&Approval) -> T) -> Option<T> {
        self.inner.locked().all.get(id).map(read)
    }

    /// Reads all approvals, newest first.
    pub fn each<T>(&self, mut read: impl FnMut(&Approval) -> T) -> Vec<T> {
        let inner = self.inner.locked();
        inner
            .order
            .iter()
            .rev()
            .filter_map(|id| inner.all.get(id))
            .map(&mut read)
            .collect()
    }

    /// The approval as the wire has it.
    pub fn object(&self, id: &str) -> Option<Box<RawValue>> {
        self.with(id, Approval::object)
    }

    /// Wakes at each change of an approval.
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<u64>> {
        self.with(id, |a| a.changed.subscribe())
    }

    /// A person decides. With `hold` the decision is kept back until [`Approvals::release`].
    pub fn decide(
        &self,
        id: &str,
        decision: Decision,
        executes: bool,
        hold: bool,
    ) -> Result<Next, String> {
        let mut inner = self.inner.locked();
        let approval = inner.all.get_mut(id).ok_or("no such approval")?;
        if approval.status != Status::Pending || approval.running || approval.held.is_some() {
            return Err("already decided".to_owned());
        }
        if let Some(params) = &decision.params {
            let name = |p: &RawObject| p.string("name");
            if approval.subject.tool.is_some() && name(params) != name(&approval.subject.params) {
                return Err("an edit may not change the tool's name".to_owned());
            }
        }
        if hold {
            approval.held = Some(decision);
            return Ok(Next::Nothing);
        }
        Ok(approval.apply(decision, executes))
    }

    /// Releases the decisions kept back; returns what is to be executed, by approval id.
    pub fn release(&self, executes: bool) -> Vec<(String, Next)> {
        let mut inner = self.inner.locked();
        let held = inner.all.values_mut().filter(|a| a.held.is_some());
        held.filter_map(|a| {
            let decision = a.held.take()?;
            (a.status == Status::Pending).then(|| (a.id.clone(), a.apply(decision, executes)))
        })
        .collect()
    }

    /// The bridge withdraws; what has been decided stays.
    pub fn cancel(&self, id: &str, reason: Option<String>) {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return;
        };
        let unused = approval.status == Status::Approved && approval.executions == 0;
        let open = approval.status == Status::Pending && !approval.running;
        if open || (unused && !approval.running) {
            approval.settle(Status::Cancelled);
            approval.note = reason.or(approval.note.take());
        }
    }

    /// Ends an approval whose time is over; `force`: whatever the time.
    pub fn expire(&self, id: &str, force: bool) -> bool {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return false;
        };
        let due = approval.expires_at.is_some_and(|at| at <= unix_now());
        let open = approval.status == Status::Pending && !approval.running;
        if open && (due || force) {
            approval.settle(Status::Expired);
        }
        open && (due || force)
    }

    /// Changes the time of expiry.
    pub fn set_expires_at(&self, id: &str, at: Option<i64>) -> bool {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return false;
        };
        approval.expires_at = at;
        approval.bump();
        true
    }

    /// A retry names the approval. At most one caller ever gets [`Claim::Execute`].
    pub fn claim(&self, id: &str, method: &str, params: &RawObject) -> Claim {
        let refuse = |text: &str| Claim::Refused(RpcError::params(text));
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return refuse("unknown approval_id");
        };
        let granted = approval.edited.as_ref().unwrap_or(&approval.subject.params);
        if approval.subject.method != method || !same_params(granted, params) {
            return refuse("the approval was given for another request");
        }
        if let Some(outcome) = &approval.outcome {
            return Claim::Recorded(outcome.clone());
        }
        if approval.running {
            return Claim::Running(approval.changed.subscribe());
        }
        match approval.status {
            Status::Pending => Claim::Pending,
            Status::Approved => {
                approval.running = true;
                approval.executions += 1;
                Claim::Execute
            }
            Status::Executed => refuse("the outcome of this approval is gone"),
            Status::Rejected => refuse("the approval was rejected"),
            Status::Expired => refuse("the approval has expired"),
            Status::Cancelled => refuse("the approval was cancelled"),
        }
    }

    /// Records what the execution came to.
    pub fn executed(&self, id: &str, outcome: Outcome, executes: bool) {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return;
        };
        approval.running = false;
        approval.outcome = Some(outcome);
        if executes {
            approval.status = Status::Executed;
        }
        approval.bump();
    }
}

impl Approval {
    fn apply(&mut self, decision: Decision, executes: bool) -> Next {
        self.note = decision.note;
        self.decided_by = Some(decision.by);
        self.edited = decision.params;
        if !decision.approve {
            self.settle(Status::Rejected);
            return Next::Nothing;
        }
        if !executes || self.subject.category.is_some() {
            self.settle(Status::Approved);
            return Next::Nothing;
        }
        self.running = true;
        self.executions += 1;
        self.decided_at = Some(unix_now());
        let mut subject = self.subject.clone();
        if let Some(edited) = &self.edited {
            subject.params = edited.clone();
        }
        Next::Execute(subject)
    }

    fn settle(&mut self, status: Status) {
        self.status = status;
        self.decided_at.get_or_insert_with(unix_now);
        self.bump();
    }

    fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// True once no change can follow that a bridge would wait for.
    pub fn is_settled(&self) -> bool {
        self.status != Status::Pending
    }

    /// True while the workspace executes, or a decision is kept back.
    pub fn is_busy(&self) -> bool {
        self.running || self.held.is_some()
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

/// The same members with the same bytes, white space and `_meta` apart.
fn same_params(a: &RawObject, b: &RawObject) -> bool {
    let members = |o: &RawObject| {
        let mut list: Vec<_> = o
            .iter()
            .filter(|(n, _)| *n != "_meta")
            .map(|(n, v)| (n.to_owned(), compact(v.get())))
            .collect();
        list.sort();
        list
    };
    members(a) == members(b)
}

#[cfg(test)]
mod tests;
