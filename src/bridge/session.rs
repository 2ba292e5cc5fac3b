//! The legacy MCP session with the workspace (up to 2025-11-25).
//!
//! Owns where the handshake stands, what headers the session needs, what opens it again after it was
//! lost, and who waits for it. It sends nothing itself.

use super::ids::{CallId, TaskId};
use super::timer::TimerId;
use std::collections::{BTreeSet, VecDeque};

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No `initialize` yet (or it failed): messages go without a session.
    None,
    /// The host's `initialize` is under way.
    Opening,
    /// It is answered; the host's `initialized` is awaited.
    Opened,
    /// `initialized` is under way.
    Confirming,
    /// Open for everything.
    Ready,
    /// Lost: our own `initialize` and `initialized` are under way.
    Reopening,
    /// Lost, and it could not be opened again: the next request tries.
    Lost,
}

/// A session that is given back: DELETE carries its headers, not those of the next.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) id: Box<str>,
    pub(super) version: Option<Box<str>>,
}

/// The GET stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) task: Option<TaskId>,
    pub(super) reopen: Option<TimerId>,
    /// It has been open in this session: from then on a 404 means that the session is lost.
    pub(super) was_open: bool,
    /// Ends in a row without an event in between.
    pub(super) failures: u8,
    pub(super) last_event_id: Option<Box<str>>,
    pub(super) retry_ms: Option<u64>,
}

/// What waits until the session takes messages again.
#[derive(Debug)]
pub(super) enum Parked {
    Call(CallId),
    Notice(Vec<u8>),
}

/// The session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) phase: Phase,
    /// Counts sessions, so that a late 404 of an old one does not end a new one. 0: none yet.
    pub(super) generation: u32,
    /// `Mcp-Session-Id`, from the InitializeResult response only.
    pub(super) id: Option<Box<str>>,
    /// The negotiated protocol version.
    pub(super) version: Option<Box<str>>,
    /// The request whose answer opens the session: the latest `initialize`, the host's or ours. One
    /// that it overtook is answered, but opens nothing.
    pub(super) opening: Option<CallId>,
    /// The host's `initialize`, to open a lost session again.
    pub(super) initialize: Option<Vec<u8>>,
    /// The host's `initialized`.
    pub(super) initialized: Option<Vec<u8>>,
    /// The version that the host was told, where the gateway answered it itself.
    pub(super) told_version: Option<Box<str>>,
    /// Params of the host's last `logging/setLevel`.
    pub(super) log_level: Option<String>,
    /// URIs that the host subscribed to, raw JSON.
    pub(super) subscriptions: BTreeSet<Box<str>>,
    pub(super) stream: Stream,
    pub(super) parked: VecDeque<Parked>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::None,
            generation: 0,
            id: None,
            version: None,
            opening: None,
            initialize: None,
            initialized: None,
            told_version: None,
            log_level: None,
            subscriptions: BTreeSet::new(),
            stream: Stream::default(),
            parked: VecDeque::new(),
        }
    }

    /// True while no legacy message may leave: "nothing is sent before the initialize answer, nor
    /// before `initialized` was accepted".
    pub(super) fn is_closed(&self) -> bool {
        match self.phase {
            Phase::Opening | Phase::Confirming | Phase::Reopening => true,
            Phase::None | Phase::Opened | Phase::Ready | Phase::Lost => false,
        }
    }

    /// True once the host has begun a session.
    pub(super) fn is_begun(&self) -> bool {
        self.phase != Phase::None
    }

    /// A handshake begins: what belonged to the session before is forgotten. Returns the
    /// session that ends.
    pub(super) fn begin(&mut self, phase: Phase) -> Option<Left> {
        let left = self.leave();
        self.phase = phase;
        // From here on: a 404 that comes while the new session is opened is the old one's.
        self.generation += 1;
        self.version = None;
        self.stream = Stream::default();
        left
    }

    /// Takes what is needed to give the session back.
    pub(super) fn leave(&mut self) -> Option<Left> {
        let (id, version) = (self.id.take()?, self.version.clone());
        Some(Left { id, version })
    }

    /// The workspace has answered `initialize`.
    pub(super) fn established(&mut self, id: Option<Box<str>>, version: Option<Box<str>>) {
        self.id = id;
        self.version = version;
    }
}
