//! The workspace: everything that its endpoints share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::approvals::{Agent, Approvals, Decision, Next, Subject};
use crate::audit::Audit;
use crate::call::Call;
use crate::chat::Chat;
use crate::clock::Clock;
use crate::demo::DemoState;
use crate::faults::Faults;
use crate::grants::{self, Grants};
use crate::presence::Presence;
use crate::push::SocketOrder;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, RpcError};
use crate::session::Session;
use crate::settings::{ApprovalMode, Settings};
use crate::stream::EventLog;
use crate::sync::{Locked, random_id};
use crate::tokens::Tokens;
use crate::traffic::Traffic;
use crate::upstream::Upstream;
use crate::wire::ConnControl;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(250);

/// A `subscriptions/listen` stream (2026-07-28).
#[derive(Debug)]
pub struct Listener {
    /// The JSON-RPC id of the request, which is the subscription's id.
    pub id: Box<RawValue>,
    /// What it asked for and gets.
    pub filter: RawObject,
    /// Where it goes.
    pub stream: Arc<EventLog>,
}

/// What is fixed at the start.
#[derive(Debug)]
pub struct Identity {
    /// The path segment after `/ws/`.
    pub slug: String,
    /// The workspace's name.
    pub name: String,
    /// The main token, which may do everything.
    pub token: String,
    /// The conformance suite's fixture tools are there.
    pub conformance: bool,
}

/// The workspace.
#[derive(Debug)]
pub struct Workspace {
    /// What is fixed at the start.
    pub identity: Identity,
    /// The origin, once the socket is bound: `https://127.0.0.1:1234`.
    pub origin: OnceLock<String>,
    /// How it behaves.
    pub settings: Mutex<Settings>,
    /// Its time.
    pub clock: Arc<Clock>,
    /// Tokens, their roles, and logins of the dashboard.
    pub tokens: Tokens,
    /// Sessions by id.
    pub sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// Approvals.
    pub approvals: Approvals,
    /// Consents for a while.
    pub grants: Grants,
    /// Agent chat.
    pub chat: Chat,
    /// Bridges.
    pub presence: Presence,
    /// The audit log.
    pub audit: Audit,
    /// Faults on purpose.
    pub faults: Faults,
    /// What was seen.
    pub traffic: Traffic,
    /// Servers behind us.
    pub upstreams: Vec<Upstream>,
    /// What the demo servers remember.
    pub demo: DemoState,
    /// `subscriptions/listen` streams.
    pub listeners: Mutex<Vec<Arc<Listener>>>,
    /// Counts changes, for the dashboard and for waiting read-outs.
    pub changes: watch::Sender<u64>,
    /// The admin's last order for all WebSockets.
    pub websocket_orders: watch::Sender<Option<SocketOrder>>,
    /// WebSockets that are open.
    pub websockets: AtomicI64,
    /// The secret that guards `requestState`.
    pub state_key: ring::hmac::Key,
    connections: Mutex<Vec<Weak<ConnControl>>>,
    windows: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Workspace {
    /// A workspace in memory, without a socket.
    pub fn new(
        identity: Identity,
        settings: Settings,
        upstreams: Vec<Upstream>,
        audit: Audit,
    ) -> Arc<Self> {
        Workspace::open(identity, settings, upstreams, audit)
            .expect("what is only in memory can be read")
    }

    /// A workspace with all that is kept where the audit log is kept, without a socket.
    pub fn open(
        identity: Identity,
        settings: Settings,
        upstreams: Vec<Upstream>,
        audit: Audit,
    ) -> Result<Arc<Self>, String> {
        let key = random_id("", 32);
        let clock = Arc::new(Clock::default());
        let store = audit.store();
        let workspace = Arc::new(Workspace {
            tokens: Tokens::restored(&identity.token, store.clone())?,
            identity,
            origin: OnceLock::new(),
            settings: Mutex::new(settings),
            sessions: Mutex::default(),
            approvals: Approvals::restored(clock.clone(), store.clone())?,
            grants: Grants::restored(clock.clone(), store.clone())?,
            chat: Chat::restored(clock.clone(), store)?,
            presence: Presence::new(clock.clone()),
            audit: audit.on(clock.clone()),
            clock,
            faults: Faults::default(),
            traffic: Traffic::default(),
            upstreams,
            demo: DemoState::default(),
            listeners: Mutex::default(),
            changes: watch::channel(0).0,
            websocket_orders: watch::channel(None).0,
            websockets: AtomicI64::new(0),
            state_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes()),
            connections: Mutex::default(),
            windows: Mutex::default(),
        });
        for upstream in &workspace.upstreams {
            upstream.attach(Arc::downgrade(&workspace));
        }
        Ok(workspace)
    }

    /// A copy of the settings.
    pub fn settings(&self) -> Settings {
        self.settings.locked().clone()
    }

    /// The origin: scheme, host and port.
    pub fn origin(&self) -> &str {
        self.origin.get().map_or("", String::as_str)
    }

    /// A bridge that was silent for so long is offline.
    pub fn stale_ms(&self) -> u64 {
        self.settings.locked().heartbeat_interval_s * 2500
    }

    /// The dashboard's address.
    pub fn dashboard_url(&self) -> String {
        format!("{}/", self.origin())
    }

    /// Something changed that the dashboard shows or a test waits for.
    pub fn touched(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Records in the audit log.
    pub fn log(&self, actor: &str, event: &str, detail: impl Into<String>) {
        self.audit.record(actor, event, detail);
        self.touched();
    }

    /// A new connection.
    pub fn connected(&self) -> Arc<ConnControl> {
        let control = ConnControl::new(self.traffic.connection_opened());
        let mut connections = self.connections.locked();
        connections.retain(|c| c.strong_count() > 0);
        connections.push(Arc::downgrade(&control));
        control
    }

    /// Counts WebSockets.
    pub fn sockets_open(&self, change: i64) {
        self.websockets.fetch_add(change, Ordering::SeqCst);
        self.touched();
    }

    /// The connections that are open.
    pub fn connections(&self) -> Vec<Arc<ConnControl>> {
        self.connections
            .locked()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Counts a request against the token's limit; `Err` has the seconds until the window ends.
    pub fn admit(&self, token: &str) -> Result<(u32, u64), u64> {
        let limit = self.settings.locked().rate_limit;
        if limit == 0 {
            return Ok((u32::MAX, 0));
        }
        let mut windows = self.windows.locked();
        let (began, used) = windows
            .entry(token.to_owned())
            .or_insert((Instant::now(), 0));
        if began.elapsed() >= Duration::from_secs(60) {
            (*began, *used) = (Instant::now(), 0);
        }
        let left_s = 60_u64.saturating_sub(began.elapsed().as_secs()).max(1);
        if *used >= limit {
            return Err(left_s);
        }
        *used += 1;
        Ok((limit - *used, left_s))
    }

    /// Sends a notification to every session and to every listener whose filter has `wants`.
    pub fn announce(&self, method: &str, wants: &str) {
        for session in self.sessions.locked().values() {
            if session.initialized.load(Ordering::SeqCst) {
                session.standing.push(&rpc::notification(method, None));
            }
        }
        for listener in self.listeners.locked().iter() {
            if listener.filter.read::<bool>(wants) == Some(true) {
                listener
                    .stream
                    .push(&rpc::notification(method, Some(&listener.params(None))));
            }
        }
    }

    /// Tells those who subscribed that a resource has changed.
    pub fn announce_resource(&self, uri: &str) {
        let method = "notifications/resources/updated";
        for session in self.sessions.locked().values() {
            if session.subscriptions.locked().contains(uri) {
                session.standing.push(&rpc::notification(
                    method,
                    Some(&raw(&json!({ "uri": uri }))),
                ));
            }
        }
        for listener in self.listeners.locked().iter() {
            let uris: Vec<String> = listener
                .filter
                .read("resourceSubscriptions")
                .unwrap_or_default();
            if uris.iter().any(|u| u == uri) {
                listener.stream.push(&rpc::notification(
                    method,
                    Some(&listener.params(Some(uri))),
                ));
            }
        }
    }

    /// What the heartbeats say of an agent.
    pub fn online(&self, agent: &Agent) -> Option<bool> {
        self.presence.online(agent, self.stale_ms())
    }

    /// Opens an approval and makes the error that says so.
    pub fn ask_approval(&self, subject: Subject) -> RpcError {
        let ttl_s = self.settings.locked().approval_ttl_s;
        let what = subject
            .tool
            .clone()
            .or(subject.category.clone())
            .unwrap_or(subject.method.clone());
        let who = subject
            .agent
            .bridge_id
            .clone()
            .unwrap_or_else(|| subject.client.name.clone());
        match self.approvals.open(subject, ttl_s) {
            Ok(id) => {
                self.log(&who, "approval requested", format!("{what} ({id})"));
                self.approval_error(&id)
            }
            Err(e) => RpcError::new(
                rpc::INTERNAL_ERROR,
                format!("not executed: nobody can be asked for approval, because {e}"),
            ),
        }
    }

    /// Follows the clock: ends what is due, for as long as the workspace lives.
    pub async fn keep_time(workspace: Weak<Self>) {
        loop {
            let Some(own) = workspace.upgrade() else {
                return;
            };
            own.sweep();
            let clock = own.clock.clone();
            drop(own);
            tokio::time::timeout(TICK, clock.changed.notified())
                .await
                .ok();
        }
    }

    /// Ends what is due now.
    pub fn sweep(&self) {
        let online = |agent: &Agent| self.online(agent);
        for id in self.approvals.sweep(&online) {
            self.log("workspace", "approval expired", id);
        }
        for grant in self.grants.sweep(&online) {
            self.log("workspace", "15-minute approval ended", grant.what);
        }
    }

    /// The -32050 error of an approval.
    pub fn approval_error(&self, id: &str) -> RpcError {
        let slug = &self.identity.slug;
        let mut data = self
            .approvals
            .with(id, |a| {
                json!({
                    "approval_id": id,
                    "ws_url": format!("/ws/{slug}/approvals/{id}/ws"),
                    "reason": a.subject.reason,
                    "expires_at": a.expires_at,
                    "dashboard_url": format!("{}#{id}", self.dashboard_url()),
                })
            })
            .unwrap_or_default();
        let settings = self.settings.locked();
        if let Some(members) = data.as_object_mut() {
            if settings.status_url {
                members.insert(
                    "status_url".to_owned(),
                    format!("/ws/{slug}/approvals/{id}").into(),
                );
            }
            members.extend(settings.approval_data.clone());
            members.retain(|_, v| !v.is_null());
        }
        RpcError::with_data(
            rpc::APPROVAL_REQUIRED,
            "this call needs approval",
            &raw(&data),
        )
    }

    /// A person decides; the execution, if any, runs by itself.
    pub fn decide(self: &Arc<Self>, id: &str, decision: Decision) -> Result<(), String> {
        let settings = self.settings();
        let verb = if decision.approve {
            "approved"
        } else {
            "rejected"
        };
        let edited = if decision.params.is_some() {
            ", edited"
        } else {
            ""
        };
        let note = decision
            .note
            .as_deref()
            .map(|n| format!(": {n}"))
            .unwrap_or_default();
        let by = decision.by.clone();
        let executes = settings.approval_mode == ApprovalMode::Executed;
        let next = self
            .approvals
            .decide(id, decision, executes, settings.hold_decisions)?;
        let what = self.approvals.with(id, |a| {
            a.subject.tool.clone().or(a.subject.category.clone())
        });
        self.log(
            &by,
            verb,
            format!(
                "{} ({id}{edited}){note}",
                what.flatten().unwrap_or_default()
            ),
        );
        self.follow(id, next);
        Ok(())
    }

    /// Releases the decisions that were kept back.
    pub fn release_decisions(self: &Arc<Self>) -> usize {
        let executes = self.settings.locked().approval_mode == ApprovalMode::Executed;
        let released = self.approvals.release(executes);
        let count = released.len();
        for (id, next) in released {
            self.follow(&id, next);
        }
        self.touched();
        count
    }

    /// A person approves this and every call like it for a while.
    pub fn decide_for_a_while(
        self: &Arc<Self>,
        id: &str,
        decision: Decision,
    ) -> Result<(), String> {
        let subject = self.approvals.with(id, |a| a.subject.clone());
        let subject = subject.ok_or("no such approval")?;
        if !decision.approve || !grants::may_be_given(&subject) {
            return Err("this can only be approved once".to_owned());
        }
        let by = decision.by.clone();
        self.decide(id, decision)?;
        let given = self.grants.give(&subject, &by);
        let grant = given.map_err(|e| format!("approved once, not for 15 minutes: {e}"))?;
        self.log(
            &by,
            "15-minute approval given",
            format!("{} ({})", grant.what, grant.id),
        );
        Ok(())
    }

    /// A person takes a 15-minute approval back.
    pub fn revoke(&self, id: &str, by: &str) -> Result<(), String> {
        let grant = self.grants.revoke(id)?;
        self.log(
            by,
            "15-minute approval revoked",
            format!("{} ({id})", grant.what),
        );
        Ok(())
    }

    /// Executes what was decided to be executed before the workspace was stopped.
    pub fn resume(self: &Arc<Self>) {
        for (id, subject) in self.approvals.queued() {
            self.follow(&id, Next::Execute(Box::new(subject)));
        }
    }

    fn follow(self: &Arc<Self>, id: &str, next: Next) {
        let Next::Execute(subject) = next else { return };
        let (workspace, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            if !workspace.approvals.start(&id) {
                return;
            }
            let call = Call::detached(&workspace, *subject);
            let outcome = crate::dispatch::execute(&call).await;
            workspace.approvals.executed(&id, outcome, true);
            workspace.log("workspace", "executed", id);
        });
    }

    /// Ends every session, as a restart of the workspace would.
    pub fn end_sessions(&self) -> usize {
        let sessions: Vec<_> = self.sessions.locked().drain().map(|(_, s)| s).collect();
        for session in &sessions {
            session.close();
        }
        self.touched();
        sessions.len()
    }
}

impl Listener {
    /// The parameters of a notification on this stream.
    fn params(&self, uri: Option<&str>) -> Box<RawValue> {
        let mut meta = RawObject::default();
        meta.set("io.modelcontextprotocol/subscriptionId", self.id.clone());
        let mut params = RawObject::default();
        if let Some(uri) = uri {
            params.set("uri", raw(uri));
        }
        params.set("_meta", meta.to_raw());
        params.to_raw()
    }
}
