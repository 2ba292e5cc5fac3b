//! Approvals: requests that wait for a person, and the rule that each of them is executed at most once.
//!
//! Where they are kept on disk, a change is written before anything follows from it: what cannot be written
//! does not happen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::raw::{RawObject, compact};
use crate::rpc::{Outcome, RpcError};
use crate::store::Store;
use crate::sync::{Locked, random_id};

mod approval;

pub use approval::{Agent, Approval, Decision, Fate, Stage, Status, Subject};

/// The member of `_meta` that names the approval on the retry.
pub const APPROVAL_META: &str = "dev.aerostack/approval_id";
/// Approvals kept; the oldest that are decided go first.
const APPROVALS_MAX: usize = 5000;

/// What follows from a decision.
#[derive(Debug)]
pub enum Next {
    /// Nothing more: the bridge is told.
    Nothing,
    /// The workspace executes this request.
    Execute(Box<Subject>),
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

/// What becomes of an operation that is asked for again.
#[derive(Debug)]
pub enum Joined {
    /// This one is still open.
    Open(String),
    /// It was decided while nobody waited: approved or not, with the note and who said so.
    Decided {
        /// The approval.
        id: String,
        /// Yes or no.
        approved: bool,
        /// The reviewer's note.
        note: Option<String>,
        /// The reviewer.
        by: Option<String>,
    },
}

/// What the heartbeats say of an agent: there, gone, or unknown.
pub type Online<'a> = &'a dyn Fn(&Agent) -> Option<bool>;

/// All approvals.
#[derive(Debug, Default)]
pub struct Approvals {
    clock: Arc<Clock>,
    store: Option<Arc<Store>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: HashMap<String, Approval>,
    order: Vec<String>,
}

impl Approvals {
    /// Those that the store has kept.
    pub fn restored(clock: Arc<Clock>, store: Option<Arc<Store>>) -> Result<Self, String> {
        let mut inner = Inner::default();
        for (id, record) in store.as_ref().map_or(Ok(Vec::new()), |s| s.approvals())? {
            let approval = Approval::restored(id.clone(), &record, clock.now_ms())
                .map_err(|e| format!("the approval {id} cannot be read: {e}"))?;
            inner.order.push(id.clone());
            inner.all.insert(id, approval);
        }
        Ok(Approvals {
            clock,
            store,
            inner: Mutex::new(inner),
        })
    }

    fn keep(&self, approval: &Approval) -> Result<(), String> {
        let store = self.store.as_ref();
        store.map_or(Ok(()), |s| {
            s.keep_approval(&approval.id, &approval.record())
        })
    }

    /// Changes an approval and keeps the change; without being kept it is undone.
    fn change<T>(
        &self,
        approval: &mut Approval,
        act: impl FnOnce(&mut Approval) -> T,
    ) -> Result<T, String> {
        let before = approval.clone();
        let done = act(approval);
        if let Err(e) = self.keep(approval) {
            *approval = before;
            approval.bump();
            return Err(e);
        }
        Ok(done)
    }

    /// Opens an approval and returns its id.
    pub fn open(&self, subject: Subject, ttl_s: i64) -> Result<String, String> {
        let id = random_id("apr_", 10);
        let approval = Approval::new(id.clone(), subject, self.clock.now_ms(), ttl_s);
        let mut inner = self.inner.locked();
        self.keep(&approval)?;
        inner.order.push(id.clone());
        inner.all.insert(id.clone(), approval);
        if inner.order.len() > APPROVALS_MAX {
            let settled =
                |i: &Inner, id: &String| i.all.get(id).is_none_or(|a| a.status != Status::Pending);
            if let Some(at) = inner.order.iter().position(|id| settled(&inner, id)) {
                let old = inner.order.remove(at);
                inner.all.remove(&old);
                if let Some(store) = &self.store {
                    store.forget_approval(&old);
                }
            }
        }
        drop(inner);
        self.clock.changed.notify_one();
        Ok(id)
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

    /// The approval as the wire has it, for whoever waits for it: a decision in it is delivered.
    pub fn object(&self, id: &str) -> Option<Box<RawValue>> {
        let mut inner = self.inner.locked();
        let approval = inner.all.get_mut(id)?;
        approval.askers.heard(self.clock.now_ms());
        self.deliver(approval);
        Some(approval.object())
    }

    /// Wakes at each change of an approval.
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<u64>> {
        self.with(id, |a| a.changed.subscribe())
    }

    /// A socket of somebody who waits was opened (`true`) or has gone.
    pub fn socket(&self, id: &str, opened: bool) {
        if let Some(approval) = self.inner.locked().all.get_mut(id) {
            approval.askers.socket(opened, self.clock.now_ms());
        }
    }

    /// The decision was pushed.
    pub fn delivered(&self, id: &str) {
        if let Some(approval) = self.inner.locked().all.get_mut(id) {
            self.deliver(approval);
        }
    }

    fn deliver(&self, approval: &mut Approval) {
        if approval.is_settled() && !approval.delivered {
            // Where this cannot be kept it is asked once more at the worst.
            self.change(approval, |a| a.delivered = true).ok();
        }
    }

    /// The approval of the same operation that the asker may join: one for which nobody waits any more, and
    /// whose decision nobody has heard.
    pub fn join(&self, operation: &str, subject: &Subject) -> Option<Joined> {
        let now_ms = self.clock.now_ms();
        let mut inner = self.inner.locked();
        let inner = &mut *inner;
        let same = |a: &Approval| {
            a.subject.method == subject.method
                && a.subject.token == subject.token
                && a.subject.params.string("operation").as_deref() == Some(operation)
                && !a.is_attended(now_ms)
                && !a.delivered
        };
        let mut newest = inner.order.iter().rev();
        let id = newest.find(|id| inner.all.get(*id).is_some_and(same))?;
        let approval = inner.all.get_mut(id)?;
        let decided = |approved| Joined::Decided {
            id: approval.id.clone(),
            approved,
            note: approval.note.clone(),
            by: approval.decided_by.clone(),
        };
        let joined = match approval.status {
            // A request that differs in anything else is shown to the person anew.
            _ if !same_params(&approval.subject.params, &subject.params) => return None,
            Status::Pending => Joined::Open(approval.id.clone()),
            // What was edited is not what is asked for.
            Status::Approved => decided(approval.edited.is_none()),
            Status::Rejected => decided(false),
            Status::Executed | Status::Expired | Status::Cancelled => return None,
        };
        approval.askers.heard(now_ms);
        if approval.is_settled() && self.change(approval, |a| a.delivered = true).is_err() {
            return None;
        }
        Some(joined)
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
        if approval.status != Status::Pending || approval.is_busy() {
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
        let now = self.clock.now();
        self.change(approval, |a| a.apply(decision, executes, now))
    }

    /// Releases the decisions kept back; returns what is to be executed, by approval id.
    pub fn release(&self, executes: bool) -> Vec<(String, Next)> {
        let now = self.clock.now();
        let mut inner = self.inner.locked();
        let held = inner.all.values_mut().filter(|a| a.held.is_some());
        held.filter_map(|a| {
            let decision = a.held.take()?;
            let open = a.status == Status::Pending;
            let next = open.then(|| self.change(a, |a| a.apply(decision, executes, now)));
            next?.ok().map(|next| (a.id.clone(), next))
        })
        .collect()
    }

    /// What was decided to be executed before the workspace was stopped.
    pub fn queued(&self) -> Vec<(String, Subject)> {
        let queued =
            |a: &Approval| (a.stage == Stage::Queued).then(|| (a.id.clone(), a.granted_subject()));
        self.each(queued).into_iter().flatten().collect()
    }

    /// The workspace begins an execution: the only one. `false`: it may not.
    pub fn start(&self, id: &str) -> bool {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return false;
        };
        approval.stage == Stage::Queued && self.change(approval, Approval::run).is_ok()
    }

    /// The bridge withdraws; what has been decided stays.
    pub fn cancel(&self, id: &str, reason: Option<String>) {
        let now = self.clock.now();
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return;
        };
        let unused = approval.status == Status::Approved && approval.executions == 0;
        if !approval.runs() && (approval.status == Status::Pending || unused) {
            // Whoever withdraws has heard what stood there.
            approval.delivered = true;
            approval.note = reason.or(approval.note.take());
            approval.settle(Status::Cancelled, now);
            // A withdrawal counts also where it cannot be kept: it only takes away.
            self.keep(approval).ok();
        }
    }

    /// Ends an approval whose time is over; `force`: whatever the time.
    pub fn expire(&self, id: &str, force: bool) -> bool {
        let now = self.clock.now();
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return false;
        };
        let due = approval.expires_at.is_some_and(|at| at <= now);
        let open = approval.status == Status::Pending && !approval.runs();
        if open && (due || force) {
            approval.settle(Status::Expired, now);
            self.keep(approval).ok();
        }
        open && (due || force)
    }

    /// Ends what is due, and what nobody has waited for in a long time; returns their ids.
    pub fn sweep(&self, online: Online<'_>) -> Vec<String> {
        let (now, now_ms) = (self.clock.now(), self.clock.now_ms());
        let mut inner = self.inner.locked();
        let mut ended = Vec::new();
        for approval in inner.all.values_mut() {
            let open = approval.status == Status::Pending && !approval.runs();
            let due = open && approval.expires_at.is_some_and(|at| at <= now);
            if due || approval.has_lapsed(now_ms, online(&approval.subject.agent)) {
                approval.settle(Status::Expired, now);
                self.keep(approval).ok();
                ended.push(approval.id.clone());
            }
        }
        ended
    }

    /// Changes the time of expiry.
    pub fn set_expires_at(&self, id: &str, at: Option<i64>) -> bool {
        let mut inner = self.inner.locked();
        let Some(approval) = inner.all.get_mut(id) else {
            return false;
        };
        approval.expires_at = at;
        approval.bump();
        self.keep(approval).ok();
        self.clock.changed.notify_one();
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
        approval.askers.heard(self.clock.now_ms());
        if let Some(outcome) = &approval.outcome {
            return Claim::Recorded(outcome.clone());
        }
        if approval.runs() {
            return Claim::Running(approval.changed.subscribe());
        }
        match approval.status {
            Status::Pending => Claim::Pending,
            Status::Approved => match self.change(approval, Approval::run) {
                Ok(()) => Claim::Execute,
                Err(e) => refuse(&format!("not executed: {e}")),
            },
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
        approval.stage = Stage::Idle;
        approval.outcome = Some(outcome);
        if executes {
            approval.status = Status::Executed;
        }
        approval.bump();
        // Where this cannot be kept, a restart finds it running: it is not executed again.
        self.keep(approval).ok();
    }
}

impl Approval {
    fn apply(&mut self, decision: Decision, executes: bool, now: i64) -> Next {
        self.note = decision.note;
        self.decided_by = Some(decision.by);
        self.edited = decision.params;
        if !decision.approve {
            self.settle(Status::Rejected, now);
            return Next::Nothing;
        }
        if !executes || self.subject.category.is_some() {
            self.settle(Status::Approved, now);
            return Next::Nothing;
        }
        self.stage = Stage::Queued;
        self.decided_at = Some(now);
        Next::Execute(Box::new(self.granted_subject()))
    }

    fn run(&mut self) {
        self.stage = Stage::Running;
        self.executions += 1;
        self.delivered = true;
    }

    fn granted_subject(&self) -> Subject {
        let mut subject = self.subject.clone();
        if let Some(edited) = &self.edited {
            subject.params = edited.clone();
        }
        subject
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
