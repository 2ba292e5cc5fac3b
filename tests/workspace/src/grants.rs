//! "Approve for 15 minutes": a consent to every call of one tool by one agent, with one token, for a while.
//!
//! A rule of this workspace alone: to the gateway such a call is one that needs no approval. What destroys is
//! never granted this way.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::approvals::{Agent, Online, Subject};
use crate::clock::Clock;
use crate::raw::raw;
use crate::session::Program;
use crate::store::Store;
use crate::sync::{Locked, random_id};

/// How long one holds.
const LASTS_S: i64 = 900;
/// Grants at a time.
const GRANTS_MAX: usize = 200;

/// One grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// `grt_…`
    pub id: String,
    /// The tool, or the guardian's category.
    pub what: String,
    /// The method of the requests.
    pub method: String,
    /// The agent.
    pub agent: Agent,
    /// The agent's program.
    pub client: Program,
    /// The name of the token.
    pub token: String,
    /// Who gave it.
    pub by: String,
    /// Unix seconds.
    pub until: i64,
    /// Calls that it let through.
    pub uses: u64,
}

/// All grants.
#[derive(Debug, Default)]
pub struct Grants {
    clock: Arc<Clock>,
    store: Option<Arc<Store>>,
    all: Mutex<Vec<Grant>>,
}

/// True if a consent to all such calls may be given: the agent's process or session is known, and nothing is
/// destroyed.
pub fn may_be_given(subject: &Subject) -> bool {
    let known = subject.agent.instance.is_some() || subject.agent.session.is_some();
    let kind = match subject.category.as_deref() {
        None => subject.tool.is_some(),
        Some(category) => category == "git_push" && subject.agent.instance.is_some(),
    };
    known && kind && subject.risk.may_be_granted()
}

/// The process where it is known, else the session.
fn same_agent(a: &Agent, b: &Agent) -> bool {
    match (&a.instance, &b.instance) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.session.is_some() && a.session == b.session,
        _ => false,
    }
}

fn what(subject: &Subject) -> Option<&String> {
    subject.category.as_ref().or(subject.tool.as_ref())
}

impl Grants {
    /// Those that the store has kept.
    pub fn restored(clock: Arc<Clock>, store: Option<Arc<Store>>) -> Result<Self, String> {
        let read = |record: String| {
            serde_json::from_str(&record).map_err(|e| format!("a grant cannot be read: {e}"))
        };
        let records = store.as_ref().map_or(Ok(Vec::new()), |s| s.grants())?;
        let all = records
            .into_iter()
            .map(read)
            .collect::<Result<Vec<Grant>, _>>()?;
        Ok(Grants {
            clock,
            store,
            all: Mutex::new(all),
        })
    }

    fn keep(&self, grant: &Grant) -> Result<(), String> {
        let store = self.store.as_ref();
        store.map_or(Ok(()), |s| s.keep_grant(&grant.id, raw(grant).get()))
    }

    /// Gives one for calls like this.
    pub fn give(&self, subject: &Subject, by: &str) -> Result<Grant, String> {
        let Some(what) = what(subject).filter(|_| may_be_given(subject)) else {
            return Err("this can only be approved once".to_owned());
        };
        let grant = Grant {
            id: random_id("grt_", 10),
            what: what.clone(),
            method: subject.method.clone(),
            agent: subject.agent.clone(),
            client: subject.client.clone(),
            token: subject.token.clone(),
            by: by.to_owned(),
            until: self.clock.now() + LASTS_S,
            uses: 0,
        };
        let mut all = self.all.locked();
        if all.len() >= GRANTS_MAX {
            return Err(format!("{GRANTS_MAX} grants are open: revoke some first"));
        }
        self.keep(&grant)?;
        all.push(grant.clone());
        drop(all);
        self.clock.changed.notify_one();
        Ok(grant)
    }

    /// Uses the grant that covers this call, if there is one; what it may do is looked at again.
    pub fn use_for(&self, subject: &Subject) -> Option<Grant> {
        if !may_be_given(subject) {
            return None;
        }
        let now = self.clock.now();
        let mut all = self.all.locked();
        let grant = all.iter_mut().find(|g| {
            g.until > now
                && g.method == subject.method
                && Some(&g.what) == what(subject)
                && g.token == subject.token
                && same_agent(&g.agent, &subject.agent)
        })?;
        grant.uses += 1;
        self.keep(grant).ok();
        Some(grant.clone())
    }

    /// Takes one back. One that cannot be forgotten on disk is still there, and said so.
    pub fn revoke(&self, id: &str) -> Result<Grant, String> {
        let mut all = self.all.locked();
        let at = all
            .iter()
            .position(|g| g.id == id)
            .ok_or("it has ended already")?;
        if let Some(store) = &self.store {
            store.forget_grant(id)?;
        }
        Ok(all.remove(at))
    }

    /// Ends those whose time is over or whose agent has gone; returns them.
    pub fn sweep(&self, online: Online<'_>) -> Vec<Grant> {
        let now = self.clock.now();
        let over = |g: &Grant| g.until <= now || online(&g.agent) == Some(false);
        let mut all = self.all.locked();
        let ended: Vec<Grant> = all.iter().filter(|g| over(g)).cloned().collect();
        all.retain(|g| !over(g));
        if let Some(store) = &self.store {
            ended.iter().for_each(|g| {
                store.forget_grant(&g.id).ok();
            });
        }
        ended
    }

    /// Those that hold.
    pub fn list(&self) -> Vec<Grant> {
        let now = self.clock.now();
        let all = self.all.locked();
        all.iter().filter(|g| g.until > now).cloned().collect()
    }
}
