//! What was seen: requests with their headers, connections, executions. For tests, read by the admin API.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::sync::{Locked, unix_now_ms};

/// Requests remembered.
const SEEN_MAX: usize = 20_000;
/// Bytes of each body remembered.
const BODY_MAX: usize = 64 * 1024;

/// One request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Its number, from 1.
    pub n: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The connection it came on.
    pub connection: u64,
    /// GET, POST, DELETE; WS for upgrades.
    pub http: String,
    /// Path and query.
    pub path: String,
    /// Headers as they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The JSON-RPC method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The JSON-RPC id, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The body's text.
    pub body: String,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Traffic {
    seen: Mutex<VecDeque<Seen>>,
    count: AtomicU64,
    connections: AtomicU64,
    executions: Mutex<BTreeMap<String, u64>>,
}

impl Traffic {
    /// Counts a connection and returns its number.
    pub fn connection_opened(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Connections opened so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Records a request.
    pub fn record(&self, mut request: Seen) {
        request.n = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        request.at_ms = unix_now_ms();
        if request.body.len() > BODY_MAX {
            let end = (0..=BODY_MAX)
                .rev()
                .find(|i| request.body.is_char_boundary(*i))
                .unwrap_or(0);
            request.body.truncate(end);
        }
        let mut seen = self.seen.locked();
        seen.push_back(request);
        if seen.len() > SEEN_MAX {
            seen.pop_front();
        }
    }

    /// Requests after number `since` that match.
    pub fn seen(&self, since: u64, fits: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.seen
            .locked()
            .iter()
            .filter(|r| r.n > since && fits(r))
            .cloned()
            .collect()
    }

    /// Counts an execution of a tool.
    pub fn executed(&self, tool: &str) {
        *self.executions.locked().entry(tool.to_owned()).or_default() += 1;
    }

    /// Executions by tool.
    pub fn executions(&self) -> BTreeMap<String, u64> {
        self.executions.locked().clone()
    }
}
