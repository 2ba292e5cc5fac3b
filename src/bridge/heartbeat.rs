//! Presence: the bridge's identity, and the signs of life that show it in the dashboard.

use super::background::Job;
use super::call::Asker;
use super::timer::TimerId;
use super::{Bridge, Timer};
use crate::log::printable;
use crate::proto::aerostack::HeartbeatAnswer;
use crate::proto::jsonrpc::{self, Parsed, quote};
use ring::digest;
use std::time::Duration;

/// What the contract allows a workspace to ask for.
const INTERVAL_MIN_S: u64 = 5;
const INTERVAL_MAX_S: u64 = 3_600;
const INTERVAL_S: u64 = 60;
/// After an outage an agent is seen again within this time.
const BACKOFF_MAX_S: u64 = 300;

/// Who is at the other end of stdio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) version: String,
}

/// The presence of this process.
#[derive(Debug)]
pub(super) struct Presence {
    /// Random for each process: `offline` ends this instance only.
    instance: String,
    started_s: u64,
    /// `online` was sent.
    online: bool,
    interval_s: Option<u64>,
    failures: u8,
    timer: Option<TimerId>,
    pub(super) calls_total: u64,
}

impl Presence {
    pub(super) fn new(random: u64, wall_ms: u64) -> Self {
        Self {
            instance: format!("{random:016x}"),
            started_s: wall_ms / 1_000,
            online: false,
            interval_s: None,
            failures: 0,
            timer: None,
            calls_total: 0,
        }
    }
}

impl Bridge {
    /// "The same for the same machine, user, workspace and client program": restarts leave no phantom
    /// agents.
    pub(super) fn bridge_id(&self) -> String {
        let identity = &self.config.identity;
        let client = self
            .client
            .as_ref()
            .map_or("", |client| client.name.as_str());
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in [
            &identity.machine,
            &identity.user,
            &self.config.endpoint.url(),
            client,
        ] {
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        hash.finish().as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The first sign of life: a host has really begun to work, and the workspace wants to know.
    pub(super) fn begin_presence(&mut self) {
        if self.config.looks_only {
            return;
        }
        if self.workspace.heartbeat && !self.presence.online && self.presence.timer.is_none() {
            self.background.push(Job::Heartbeat, false);
        }
    }

    pub(super) fn heartbeat_due(&mut self) {
        self.presence.timer = None;
        self.background.push(Job::Heartbeat, false);
    }

    pub(super) fn heartbeat(&mut self) {
        if self.workspace.heartbeat && !self.ending.is_begun() {
            self.presence.online = true;
            let params = self.heartbeat_params("online");
            self.ask_workspace(Asker::Heartbeat, "aerostack/heartbeat", &params);
        }
    }

    /// "`offline` once at the end, only if `online` was sent."
    pub(super) fn say_offline(&mut self) {
        if std::mem::take(&mut self.presence.online) && self.workspace.heartbeat {
            let params = self.heartbeat_params("offline");
            self.ask_workspace(Asker::Nobody, "aerostack/heartbeat", &params);
        }
    }

    /// Params of `aerostack/heartbeat`.
    pub(super) fn heartbeat_params(&self, status: &str) -> String {
        let client = match &self.client {
            Some(client) => {
                format!(
                    "{{\"name\":{},\"version\":{}}}",
                    quote(&client.name),
                    quote(&client.version)
                )
            }
            None => "null".to_owned(),
        };
        format!(
            "{{\"bridge\":{{\"id\":{},\"instance\":{},\"name\":\"aerostack-gateway\",\"version\":{},\"hostname\":{},\
             \"os\":{},\"arch\":{},\"started_at\":{}}},\"client\":{client},\"status\":\"{status}\",\"in_flight\":{},\
             \"pending_approvals\":{},\"calls_total\":{}}}",
            quote(&self.bridge_id()),
            quote(&self.presence.instance),
            quote(env!("CARGO_PKG_VERSION")),
            quote(&self.config.identity.hostname),
            quote(std::env::consts::OS),
            quote(std::env::consts::ARCH),
            self.presence.started_s,
            self.calls.hosts(),
            self.approvals.pending(),
            self.presence.calls_total
        )
    }

    pub(super) fn heartbeat_answered(&mut self, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return self.heartbeat_failed();
        };
        if let Some((code, _)) = message.error.and_then(jsonrpc::error_parts) {
            if code == -32601 {
                // "Turns that extension off quietly."
                self.workspace.heartbeat = false;
                return;
            }
            return self.heartbeat_failed();
        }
        let answer: HeartbeatAnswer = message
            .result
            .map(HeartbeatAnswer::parse)
            .unwrap_or_default();
        self.presence.failures = 0;
        self.presence.interval_s = answer.interval_s.or(self.presence.interval_s);
        self.arm_heartbeat();
        self.chat_may_have_more(answer.unread_chat.unwrap_or(0));
    }

    pub(super) fn heartbeat_failed(&mut self) {
        self.presence.failures = self.presence.failures.saturating_add(1);
        self.arm_heartbeat();
    }

    /// "Honoured from 5 s to 1 h, default 60, jittered by 10 %"; failures double it, up to five minutes.
    fn arm_heartbeat(&mut self) {
        let wanted = self
            .presence
            .interval_s
            .or(self.workspace.heartbeat_s)
            .unwrap_or(INTERVAL_S);
        let wanted = wanted.clamp(INTERVAL_MIN_S, INTERVAL_MAX_S);
        let doubled = wanted << self.presence.failures.min(6);
        let interval = Duration::from_secs(doubled.min(wanted.max(BACKOFF_MAX_S)));
        let pause = self.random.around(interval, 10);
        let timer = self.after(pause, Timer::Heartbeat);
        let old = self.presence.timer.replace(timer);
        self.disarm(old);
    }

    /// Who the host says it is, by `initialize` or by a modern request's metadata.
    pub(super) fn meet_client(&mut self, raw: Option<&str>) {
        let Some(raw) = raw else { return };
        let text = |name: &str| {
            let text = jsonrpc::member(raw, name).and_then(jsonrpc::string);
            text.map(|text| printable(&text, 200)).unwrap_or_default()
        };
        self.client = Some(Client {
            name: text("name"),
            version: text("version"),
        });
    }
}
