//! Bridges and their heartbeats: which agents are there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::approvals::Agent;
use crate::clock::Clock;
use crate::session::Program;
use crate::sync::Locked;

/// A heartbeat as it comes; unknown members are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct Heartbeat {
    /// The bridge.
    pub bridge: BridgeInfo,
    /// The AI tool in front of it.
    pub client: Option<ClientInfo>,
    /// `online`, `offline` or `check`.
    pub status: String,
    /// Requests that run.
    #[serde(default, alias = "inFlight")]
    pub in_flight: u64,
    /// Approvals that it waits for.
    #[serde(default, alias = "pendingApprovals")]
    pub pending_approvals: u64,
    /// Calls since its start.
    #[serde(default, alias = "callsTotal")]
    pub calls_total: u64,
}

/// What a bridge says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BridgeInfo {
    /// Stable over restarts.
    pub id: String,
    /// Random for each process.
    pub instance: String,
    /// The program.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The machine.
    #[serde(default)]
    pub hostname: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The processor.
    #[serde(default)]
    pub arch: String,
    /// When the process began (unix seconds or RFC 3339).
    #[serde(default, alias = "startedAt")]
    pub started_at: serde_json::Value,
}

/// What a bridge says of its AI tool.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientInfo {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// One process of a bridge.
#[derive(Clone, Debug, Serialize)]
pub struct Instance {
    /// The process.
    pub instance: String,
    /// `online` or `offline`.
    pub status: String,
    /// The last heartbeat, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// Heartbeats so far.
    pub heartbeats: u64,
    /// Requests that run.
    pub in_flight: u64,
    /// Approvals that it waits for.
    pub pending_approvals: u64,
    /// Calls since its start.
    pub calls_total: u64,
}

/// A bridge as listed.
#[derive(Clone, Debug, Serialize)]
pub struct Bridge {
    /// What it says of itself, from its last heartbeat.
    #[serde(flatten)]
    pub info: BridgeInfo,
    /// The AI tool in front of it.
    pub client: Option<Program>,
    /// True if any of its processes is online.
    pub online: bool,
    /// The last heartbeat of any process.
    pub last_seen_ms: u64,
    /// Its processes; those offline are kept, newest last.
    pub instances: Vec<Instance>,
}

/// All bridges.
#[derive(Debug, Default)]
pub struct Presence {
    clock: Arc<Clock>,
    bridges: Mutex<BTreeMap<String, Bridge>>,
    checks: Mutex<Vec<BridgeInfo>>,
}

/// Offline processes kept for each bridge.
const INSTANCES_MAX: usize = 20;

impl Presence {
    /// Nobody yet.
    pub fn new(clock: Arc<Clock>) -> Self {
        Presence {
            clock,
            ..Presence::default()
        }
    }

    /// Whether an agent's process is there: unknown where it sends no heartbeats.
    pub fn online(&self, agent: &Agent, stale_ms: u64) -> Option<bool> {
        let oldest = self.clock.now_ms().saturating_sub(stale_ms);
        let bridges = self.bridges.locked();
        let bridge = bridges.get(agent.bridge_id.as_ref()?)?;
        let own = agent.instance.as_ref()?;
        let instance = bridge.instances.iter().find(|i| i.instance == *own)?;
        Some(instance.status == "online" && instance.last_seen_ms >= oldest)
    }

    /// Records a heartbeat; true if it was the first of a process, or its end.
    pub fn record(&self, beat: &Heartbeat) -> bool {
        if beat.status == "check" {
            self.checks.locked().push(beat.bridge.clone());
            return true;
        }
        let now = self.clock.now_ms();
        let client = beat.client.as_ref().map(|c| Program {
            name: c.name.clone(),
            version: c.version.clone(),
        });
        let mut bridges = self.bridges.locked();
        let bridge = bridges
            .entry(beat.bridge.id.clone())
            .or_insert_with(|| Bridge {
                info: beat.bridge.clone(),
                client: client.clone(),
                online: false,
                last_seen_ms: now,
                instances: Vec::new(),
            });
        if beat.status != "offline" {
            bridge.info = beat.bridge.clone();
            bridge.client = client.or(bridge.client.take());
        }
        bridge.last_seen_ms = now;
        let known = bridge
            .instances
            .iter_mut()
            .find(|i| i.instance == beat.bridge.instance);
        let status = if beat.status == "offline" {
            "offline"
        } else {
            "online"
        };
        let news = known.as_ref().is_none_or(|i| i.status != status);
        match known {
            Some(i) => {
                i.status = status.to_owned();
                i.last_seen_ms = now;
                i.heartbeats += 1;
                (i.in_flight, i.pending_approvals, i.calls_total) =
                    (beat.in_flight, beat.pending_approvals, beat.calls_total);
            }
            None => bridge.instances.push(Instance {
                instance: beat.bridge.instance.clone(),
                status: status.to_owned(),
                last_seen_ms: now,
                heartbeats: 1,
                in_flight: beat.in_flight,
                pending_approvals: beat.pending_approvals,
                calls_total: beat.calls_total,
            }),
        }
        if bridge.instances.len() > INSTANCES_MAX {
            let at = bridge
                .instances
                .iter()
                .position(|i| i.status == "offline")
                .unwrap_or(0);
            bridge.instances.remove(at);
        }
        news
    }

    /// The bridges; one whose heartbeat is overdue by `stale_ms` is offline.
    pub fn list(&self, stale_ms: u64) -> Vec<Bridge> {
        let oldest = self.clock.now_ms().saturating_sub(stale_ms);
        let mut list: Vec<Bridge> = self.bridges.locked().values().cloned().collect();
        for bridge in &mut list {
            for instance in &mut bridge.instances {
                if instance.last_seen_ms < oldest {
                    instance.status = "offline".to_owned();
                }
            }
            bridge.online = bridge.instances.iter().any(|i| i.status == "online");
        }
        list.sort_by_key(|b| (!b.online, u64::MAX - b.last_seen_ms));
        list
    }

    /// Bridges that only checked their configuration.
    pub fn checks(&self) -> Vec<BridgeInfo> {
        self.checks.locked().clone()
    }
}
