//! The workspace: everything that its endpoints share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::approvals::{Approvals, Decision, Next, Subject};
use crate::audit::Audit;
use crate::call::Call;
use crate::chat::Chat;
use crate::demo::DemoState;
use crate::faults::Faults;
use crate::presence::Presence;
use crate::push::SocketOrder;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, RpcError};
use crate::session::Session;
use crate::settings::{ApprovalMode, Settings};
use crate::stream::EventLog;
use crate::sync::{Locked, random_id};
use crate::traffic::Traffic;
use crate::upstream::Upstream;
use crate::wire::ConnControl;

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
    /// The token of bridges and of the dashboard.
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
    /// Sessions by id.
    pub sessions: Mutex<HashMap<String, Arc<Session>>>,
    /// Approvals.
    pub approvals: Approvals,
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
    /// Sessions of the dashboard (cookie values).
    pub logins: Mutex<Vec<String>>,
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
    /// A workspace without a socket.
    pub fn new(
        identity: Identity,
        settings: Settings,
        upstreams: Vec<Upstream>,
        audit: Audit,
    ) -> Arc<Self> {
        let key = random_id("", 32);
        Arc::new(Workspace {
            identity,
            origin: OnceLock::new(),
            settings: Mutex::new(settings),
            sessions: Mutex::default(),
            approvals: Approvals::default(),
            chat: Chat::default(),
            presence: Presence::default(),
            audit,
            faults: Faults::default(),
            traffic: Traffic::default(),
            upstreams,
            demo: DemoState::default(),
            listeners: Mutex::default(),
            logins: Mutex::default(),
            changes: watch::channel(0).0,
            websocket_orders: watch::channel(None).0,
            websockets: AtomicI64::new(0),
            state_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes()),
            connections: Mutex::default(),
            windows: Mutex::default(),
        })
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

    /// Opens an approval and makes the error that says so.
    pub fn ask_approval(self: &Arc<Self>, subject: Subject) -> RpcError {
        let ttl_s = self.settings.locked().approval_ttl_s;
        let what = subject
            .tool
            .clone()
            .or(subject.category.clone())
            .unwrap_or(subject.method.clone());
        let who = subject
            .bridge_id
            .clone()
            .unwrap_or_else(|| subject.client.name.clone());
        let id = self.approvals.open(subject, ttl_s);
        self.log(&who, "approval requested", format!("{what} ({id})"));
        self.expire_later(id.clone(), ttl_s);
        self.approval_error(&id)
    }

    /// Ends the approval when its time is over.
    pub fn expire_later(self: &Arc<Self>, id: String, after_s: i64) {
        let Ok(after_s) = u64::try_from(after_s) else {
            return;
        };
        if after_s == 0 {
            return;
        }
        let workspace = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(after_s)).await;
            if workspace.approvals.expire(&id, false) {
                workspace.log("workspace", "approval expired", id);
            }
        });
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

    fn follow(self: &Arc<Self>, id: &str, next: Next) {
        let Next::Execute(subject) = next else { return };
        let (workspace, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let call = Call::detached(&workspace, subject);
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
