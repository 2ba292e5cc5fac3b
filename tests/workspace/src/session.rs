//! Sessions of the handshake era (protocol 2025-11-25 and before).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::raw::raw;
use crate::rpc::{self, Outcome, RpcError};
use crate::stream::EventLog;
use crate::sync::{Locked, random_id};

/// The handshake versions that are served, newest first.
pub const LEGACY_VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The stateless version that is served.
pub const MODERN_VERSION: &str = "2026-07-28";
/// Event streams of requests that a session remembers for resumption.
const STREAMS_MAX: usize = 256;

/// Name and version of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its secret id.
    pub id: String,
    /// The negotiated protocol version.
    pub version: String,
    /// Who the client said it is.
    pub client: Program,
    /// The client's capabilities, raw.
    pub capabilities: Option<Box<RawValue>>,
    /// The standing stream of GET.
    pub standing: Arc<EventLog>,
    /// Set by `notifications/initialized`.
    pub initialized: AtomicBool,
    /// Ended by DELETE or by expiry.
    pub ended: CancellationToken,
    streams: Mutex<Vec<(String, Arc<EventLog>)>>,
    streams_made: AtomicU64,
    calls: Mutex<HashMap<String, CancellationToken>>,
    asked: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    asked_made: AtomicU64,
    /// Resources that the client wants to hear about.
    pub subscriptions: Mutex<HashSet<String>>,
    /// The bridge that sent a heartbeat in this session.
    pub bridge_id: Mutex<Option<String>>,
    /// Its process.
    pub instance: Mutex<Option<String>>,
    /// The name of the token that opened it.
    pub token: String,
}

impl Session {
    /// A session that has just been negotiated.
    pub fn new(
        version: &str,
        client: Program,
        capabilities: Option<Box<RawValue>>,
        token: String,
    ) -> Arc<Self> {
        Arc::new(Session {
            id: random_id("ses_", 16),
            version: version.to_owned(),
            client,
            capabilities,
            standing: EventLog::new("g", true),
            initialized: AtomicBool::new(false),
            ended: CancellationToken::new(),
            streams: Mutex::default(),
            streams_made: AtomicU64::new(0),
            calls: Mutex::default(),
            asked: Mutex::default(),
            asked_made: AtomicU64::new(0),
            subscriptions: Mutex::default(),
            bridge_id: Mutex::default(),
            instance: Mutex::default(),
            token,
        })
    }

    /// True from 2025-11-25 on: streams are primed and can be polled.
    pub fn primes(&self) -> bool {
        self.version.as_str() >= "2025-11-25"
    }

    /// A stream for one request's answer.
    pub fn open_stream(&self) -> Arc<EventLog> {
        let name = format!("p{}", self.streams_made.fetch_add(1, Ordering::Relaxed) + 1);
        let log = EventLog::new(name.clone(), true);
        let mut streams = self.streams.locked();
        if streams.len() >= STREAMS_MAX {
            streams.remove(0);
        }
        streams.push((name, log.clone()));
        log
    }

    /// The stream of that name, to resume it.
    pub fn stream(&self, name: &str) -> Option<Arc<EventLog>> {
        if name == "g" {
            return Some(self.standing.clone());
        }
        self.streams
            .locked()
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, log)| log.clone())
    }

    /// Remembers a running request; false if its id is in use.
    pub fn begin(&self, id: &RawValue, cancel: &CancellationToken) -> bool {
        let mut calls = self.calls.locked();
        if calls.contains_key(id.get()) {
            return false;
        }
        calls.insert(id.get().to_owned(), cancel.clone());
        true
    }

    /// Forgets a request that has ended.
    pub fn end(&self, id: &RawValue) {
        self.calls.locked().remove(id.get());
    }

    /// The client cancels a request; unknown ids are ignored, as the specification allows.
    pub fn cancel(&self, id: &RawValue) {
        if let Some(cancel) = self.calls.locked().get(id.get()) {
            cancel.cancel();
        }
    }

    /// Requests that run.
    pub fn running(&self) -> usize {
        self.calls.locked().len()
    }

    /// Sends the client a request on `stream` and waits for its answer.
    pub async fn ask(&self, stream: &EventLog, method: &str, params: &RawValue) -> Outcome {
        let id = format!(
            "ask-{}",
            self.asked_made.fetch_add(1, Ordering::Relaxed) + 1
        );
        let id = raw(&id);
        let (sender, receiver) = oneshot::channel();
        self.asked.locked().insert(id.get().to_owned(), sender);
        stream.push(&rpc::request(&id, method, params));
        let gone = || {
            RpcError::new(
                rpc::INTERNAL_ERROR,
                "the session ended before the client answered",
            )
        };
        tokio::select! {
            answer = receiver => answer.unwrap_or_else(|_| Err(gone())),
            () = self.ended.cancelled() => Err(gone()),
        }
    }

    /// The client answers one of our requests; false if we asked nothing of that id.
    pub fn answered(&self, id: &RawValue, outcome: Outcome) -> bool {
        let sender = self.asked.locked().remove(id.get());
        sender.is_some_and(|s| s.send(outcome).is_ok())
    }

    /// Ends the session: running requests are cancelled, streams end.
    pub fn close(&self) {
        self.ended.cancel();
        for cancel in self.calls.locked().values() {
            cancel.cancel();
        }
        self.standing.finish();
        for (_, stream) in self.streams.locked().iter() {
            stream.finish();
        }
    }
}
