//! Presence: the signs of life that show this bridge in the dashboard.

use crate::bridge::context::Context;
use crate::proto::aerostack::HeartbeatAnswer;
use crate::proto::jsonrpc::{self, Parsed};
use serde::Serialize;
use std::time::Duration;

/// What the contract allows a workspace to ask for.
const INTERVAL_MIN_S: u64 = 5;
const INTERVAL_MAX_S: u64 = 3_600;
const INTERVAL_S: u64 = 60;
/// After an outage an agent is seen again within this time.
const BACKOFF_MAX_S: u64 = 300;

/// What a heartbeat counts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Requests of the host that have no answer yet.
    pub(crate) in_flight: usize,
    /// Approvals that a request waits for.
    pub(crate) pending_approvals: usize,
    /// Calls of tools since the start.
    pub(crate) calls_total: u64,
}

/// The presence of this process.
#[derive(Debug)]
pub(crate) struct Presence {
    /// Random for each process: `offline` ends this instance only.
    instance: String,
    started_s: u64,
    state: State,
    failures: u8,
}

#[derive(Debug)]
enum State {
    /// Nobody knows of this process.
    Unseen,
    /// The first heartbeat waits for its turn.
    Announced,
    /// `online` was sent; the interval that the workspace asked for.
    Online(Option<u64>),
}

/// Params of `aerostack/heartbeat`.
#[derive(Serialize)]
struct Heartbeat<'a> {
    bridge: Instance<'a>,
    client: Option<Program<'a>>,
    status: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Instance<'a> {
    id: &'a str,
    instance: &'a str,
    #[serde(flatten)]
    program: Program<'a>,
    hostname: &'a str,
    os: &'a str,
    arch: &'a str,
    started_at: u64,
}

#[derive(Serialize)]
struct Program<'a> {
    name: &'a str,
    version: &'a str,
}

impl Presence {
    pub(crate) fn new(random: u64, wall_ms: u64) -> Self {
        Self {
            instance: format!("{random:016x}"),
            started_s: wall_ms / 1_000,
            state: State::Unseen,
            failures: 0,
        }
    }

    /// A host has really begun to work. True if the workspace wants to know and does not yet.
    pub(crate) fn begin(&mut self, ctx: &Context) -> bool {
        let wanted = ctx.peers().offer().heartbeat && !ctx.config().looks_only;
        let begins = wanted && matches!(self.state, State::Unseen);
        if begins {
            self.state = State::Announced;
        }
        begins
    }

    /// It is this machine's turn: the params of a heartbeat, if one is wanted.
    pub(crate) fn beat(&mut self, ctx: &Context, counts: Counts) -> Option<String> {
        let wanted = ctx.peers().offer().heartbeat && !ctx.phase().is_ending();
        if wanted && !matches!(self.state, State::Online(_)) {
            self.state = State::Online(None);
        }
        wanted.then(|| self.params(ctx, "online", counts))
    }

    /// The end: the params of the last one, if `online` was sent.
    pub(crate) fn end(&mut self, ctx: &Context, counts: Counts) -> Option<String> {
        let was_online = matches!(self.state, State::Online(_));
        self.state = State::Unseen;
        let wanted = was_online && ctx.peers().offer().heartbeat;
        wanted.then(|| self.params(ctx, "offline", counts))
    }

    /// Params of a heartbeat with this status.
    pub(crate) fn params(&self, ctx: &Context, status: &str, counts: Counts) -> String {
        let program = |name, version| Program { name, version };
        let peers = ctx.peers();
        let client = peers.client();
        let heartbeat = Heartbeat {
            bridge: Instance {
                id: peers.bridge_id(),
                instance: &self.instance,
                program: program("aerostack-gateway", env!("CARGO_PKG_VERSION")),
                hostname: &ctx.config().identity.hostname,
                os: std::env::consts::OS,
                arch: std::env::consts::ARCH,
                started_at: self.started_s,
            },
            client: client.map(|client| program(&client.name, &client.version)),
            status,
            counts,
        };
        serde_json::to_string(&heartbeat).unwrap_or_default()
    }

    /// The workspace answered. Returns how many chat messages it counts as unread.
    pub(crate) fn handle_answer(&mut self, ctx: &mut Context, answer: &[u8]) -> u64 {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            self.handle_failed(ctx);
            return 0;
        };
        if let Some((code, _)) = message.error.and_then(jsonrpc::error_parts) {
            match code {
                jsonrpc::METHOD_NOT_FOUND => {
                    ctx.peers_mut().correct(|offer| offer.heartbeat = false)
                }
                _ => self.handle_failed(ctx),
            }
            return 0;
        }
        let answer = message
            .result
            .map(HeartbeatAnswer::parse)
            .unwrap_or_default();
        self.failures = 0;
        if let State::Online(interval_s) = &mut self.state {
            *interval_s = answer.interval_s.or(*interval_s);
        }
        self.beat_later(ctx);
        answer.unread_chat.unwrap_or(0)
    }

    /// There was no answer.
    pub(crate) fn handle_failed(&mut self, ctx: &mut Context) {
        self.failures = self.failures.saturating_add(1);
        self.beat_later(ctx);
    }

    /// "Honoured from 5 s to 1 h, default 60, jittered by 10 %"; failures double it, up to five minutes.
    fn beat_later(&mut self, ctx: &mut Context) {
        let asked = match self.state {
            State::Online(asked) => asked,
            State::Unseen | State::Announced => None,
        };
        let wanted = asked.or(ctx.peers().offer().heartbeat_s);
        let wanted = wanted
            .unwrap_or(INTERVAL_S)
            .clamp(INTERVAL_MIN_S, INTERVAL_MAX_S);
        let doubled = wanted << self.failures.min(6);
        let interval = Duration::from_secs(doubled.min(wanted.max(BACKOFF_MAX_S)));
        let pause = ctx.random().around(interval, 10);
        ctx.set(super::Timer::Heartbeat, pause);
    }
}
