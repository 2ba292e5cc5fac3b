//! What a machine borrows for one call: time, configuration, randomness, timers, the way out.
//!
//! Machines know nothing of each other; what they have in common they find here. The context acts on
//! nothing by itself.

use super::extension;
use super::http;
use super::ids::Era;
use super::mcp;
use super::peers::Peers;
use super::random::Random;
use super::request::Request;
use super::shutdown::{self, Phase};
use super::timers::Timers;
use super::{Now, Output};
use crate::config::{Config, Limits};
use crate::failure::{Failure, quote_body};
use crate::log::{Level, printable};
use crate::proto::endpoint::{Endpoint, EndpointError};
use crate::proto::http::response::ResponseHead;
use crate::proto::secrets::Secrets;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// No timer is set further ahead: a year is for ever to a process, and no clock overflows.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// What a timer is for. Each machine has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Connections and exchanges.
    Http(http::Timer),
    /// Requests, session and event stream.
    Mcp(mcp::Timer),
    /// Approvals, built-in tools, channels.
    Extension(extension::Timer),
    /// The end of the process.
    Shutdown(shutdown::Timer),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Context {
    config: Config,
    now: Now,
    random: Random,
    timers: Timers<Timer>,
    out: VecDeque<Output>,
    /// What no word of ours may show.
    secrets: Secrets,
    peers: Peers,
    own_ids: u64,
    phase: Phase,
    held_bytes: usize,
    bytes_from_host: usize,
    stdout_bytes: usize,
    is_stdin_paused: bool,
}

impl Context {
    /// `seed` feeds jitter and ids: the same seed and the same inputs give the same outputs.
    pub(crate) fn new(config: Config, seed: u64, now: Now) -> Self {
        Self {
            secrets: Secrets::new(config.secrets()),
            peers: Peers::new(&config),
            own_ids: 0,
            config,
            now,
            random: Random::new(seed),
            timers: Timers::new(now.mono),
            out: VecDeque::new(),
            phase: Phase::Running,
            held_bytes: 0,
            bytes_from_host: 0,
            stdout_bytes: 0,
            is_stdin_paused: false,
        }
    }

    /// The settings of this process.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Every limit and interval.
    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// The workspace's URL.
    pub(crate) fn workspace(&self) -> &Endpoint {
        &self.config.endpoint
    }

    /// The workspace's origin, for messages to people.
    pub(crate) fn origin(&self) -> String {
        self.config.endpoint.origin()
    }

    /// Jitter and ids; never for anything secret.
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// An id for a request of our own, raw JSON: never one of the host's.
    pub(crate) fn own_id(&mut self) -> Box<str> {
        self.own_ids += 1;
        let tag = self.random.tag();
        format!("\"aerostack-gateway/{tag:x}/{}\"", self.own_ids).into()
    }

    // Who is at both ends.

    /// Host and workspace, as far as they are known.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The same, to learn more.
    pub(crate) fn peers_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// The host says who it is.
    pub(crate) fn meet(&mut self, client_info: Option<&str>) {
        self.peers.meet(&self.config, client_info);
    }

    /// A modern request says who the host is: the first that came stays.
    pub(crate) fn meet_modern(&mut self, request: &Request) {
        if !self.peers.is_modern() {
            self.peers.keep_meta(mcp::own_meta(request.meta()));
            self.meet(request.client_info());
        }
    }

    /// The workspace executes an approval once and answers a repeat with the recorded outcome.
    pub(crate) fn at_most_once(&self) -> bool {
        self.peers.offer().at_most_once
    }

    /// True for a host that asks before its own tools run by a hook of `--guard`.
    pub(crate) fn is_guarded(&self) -> bool {
        self.peers.is_guarded(&self.config)
    }

    /// Claude Code's research preview of channels, in a legacy session only.
    pub(crate) fn has_channel(&self) -> bool {
        self.config.claude_channel && self.peers.is_claude_code()
    }

    /// A URL that the workspace named, if it lies with the workspace or an origin that the person
    /// trusts: nothing else is ever opened, or sees the token (I10).
    pub(crate) fn trusted_url(&mut self, url: &str, what: &str) -> Option<Endpoint> {
        let own = &self.config.endpoint;
        let known = |endpoint: &Endpoint| {
            let trusted = &self.config.trusted_origins;
            let trusts = trusted.iter().any(|origin| origin.same_origin(endpoint));
            endpoint.same_origin(own) || trusts
        };
        let why = match own.resolve(url) {
            Ok(endpoint) if known(&endpoint) => return Some(endpoint),
            Ok(endpoint) => format!("{} is another origin", endpoint.origin()),
            Err(EndpointError::Downgrade) => "it is not encrypted".to_owned(),
            Err(error) => error.to_string(),
        };
        self.log(Level::Warn, || {
            format!("the workspace's {what} is not used: {why}")
        });
        None
    }

    // What may be shown.

    /// What no word of ours may show.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Before what was lost is opened again, once the workspace can be reached again.
    pub(crate) fn hurried_pause(&mut self) -> Duration {
        let pause = self.config.limits.reconnect_min;
        self.random.around(pause, 4)
    }

    /// A secret came up: a session id, a token that was read anew.
    pub(crate) fn keep_secret(&mut self, secret: &str) {
        self.secrets.learn(secret);
    }

    /// The value of a cookie came up: some servers set another one with every response.
    pub(crate) fn keep_cookie(&mut self, value: &str) {
        self.secrets.learn_cookie(value);
    }

    /// Text without secrets.
    pub(crate) fn masked(&self, text: &str) -> String {
        self.secrets.hide(text).into_owned()
    }

    /// Text of the network for people and models: without secrets, without control characters, cut.
    pub(crate) fn clean(&self, text: &str, max_bytes: usize) -> String {
        printable(&self.secrets.hide(text), max_bytes)
    }

    /// The peer's own words in a body, and whether it is an HTML page. Secrets are hidden in all of it
    /// first: what is cut could hold the half of one.
    pub(crate) fn quoted(&self, body: &[u8]) -> (String, bool) {
        let most = self.config.limits.error_body_max_bytes;
        let text = String::from_utf8_lossy(&body[..body.len().min(most)]);
        quote_body(self.secrets.hide(&text).as_bytes())
    }

    /// What an answer with an error status says; `is_post`: to a message for the workspace.
    pub(crate) fn refusal(&self, head: &ResponseHead, body: &[u8], is_post: bool) -> Failure {
        let path = is_post.then(|| self.config.endpoint.path());
        let hide = |text: &str| self.masked(text);
        Failure::of_refusal(head, body, path, self.now.wall_ms / 1_000, hide)
    }

    // Time.

    /// The monotonic clock of this input.
    pub(crate) fn now(&self) -> Instant {
        self.now.mono
    }

    /// The wall clock of this input, milliseconds since the Unix epoch.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.now.wall_ms
    }

    /// A new input has come. True if the machine slept before it: the monotonic clock stands still
    /// meanwhile, so the wall clock has run ahead.
    pub(crate) fn advance(&mut self, now: Now) -> bool {
        const DRIFT_MS: u64 = 10_000;
        let mono = now.mono.saturating_duration_since(self.now.mono);
        let mono_ms = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        let wall_ms = now.wall_ms.saturating_sub(self.now.wall_ms);
        self.now = now;
        wall_ms > mono_ms.saturating_add(DRIFT_MS)
    }

    /// Fires `key` after this time; one that runs already is moved.
    pub(crate) fn set(&mut self, key: impl Into<Timer>, after: Duration) {
        self.set_at(key, self.now.mono + after.min(FOREVER));
    }

    /// Fires `key` at this moment; one that runs already is moved.
    pub(crate) fn set_at(&mut self, key: impl Into<Timer>, at: Instant) {
        self.timers.set(key.into(), at);
    }

    /// `key` will not fire.
    pub(crate) fn stop(&mut self, key: impl Into<Timer>) {
        self.timers.stop(key.into());
    }

    /// True while `key` is going to fire.
    pub(crate) fn runs(&self, key: impl Into<Timer>) -> bool {
        self.timers.runs(key.into())
    }

    /// The next timer whose time has come.
    pub(crate) fn pop_due(&mut self) -> Option<Timer> {
        self.timers.pop_due(self.now.mono)
    }

    /// When the next timer fires.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    // The end.

    /// How far the end of the process has come.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The end has come this far; `shutdown` says so.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    // The way out.

    /// Asks the shell for something.
    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// The next thing for the shell.
    pub(crate) fn pop_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// One line for stderr, if the level asks for it; the text is only made then.
    pub(crate) fn log(&mut self, level: Level, text: impl FnOnce() -> String) {
        if level <= self.config.log_level {
            let text = self.masked(&text());
            self.out.push_back(Output::Log(level, text));
        }
    }

    // The budget: bytes that wait, whatever they are.

    /// What the machines hold, of that what the host has said or has to read, and of that what waits
    /// for stdout; counted once for each input.
    pub(crate) fn note_held(&mut self, held: usize, from_host: usize, stdout: usize) {
        (self.held_bytes, self.bytes_from_host, self.stdout_bytes) = (held, from_host, stdout);
    }

    /// What the host has said or has to read, bytes: while this alone uses the budget up, stdin is not
    /// read. What the network sends does not hold up the host.
    pub(crate) fn bytes_from_host(&self) -> usize {
        self.bytes_from_host
    }

    /// Everything that waits anywhere in the engine, bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// True once so much waits that the source which fills it is no longer read.
    pub(crate) fn is_full(&self) -> bool {
        self.held_bytes >= self.config.limits.held_max_bytes
    }

    /// True once so little waits that stdin is read again.
    pub(crate) fn has_room(&self, held_bytes: usize) -> bool {
        held_bytes <= self.config.limits.held_max_bytes * 3 / 4
    }

    /// True while stdin is not read.
    pub(crate) fn is_stdin_paused(&self) -> bool {
        self.is_stdin_paused
    }

    /// stdin is not read, or read again.
    pub(crate) fn note_stdin_paused(&mut self, is_paused: bool) {
        self.is_stdin_paused = is_paused;
    }

    /// True while the host is not heard because too much waits: not even its cancels are.
    pub(crate) fn is_deaf(&self) -> bool {
        self.is_stdin_paused && !self.has_room(self.held_bytes)
    }

    /// True while stdout takes less than comes: then the network is not read.
    pub(crate) fn is_stdout_full(&self) -> bool {
        self.stdout_bytes >= self.config.limits.stdout_high_bytes
    }
}

/// A CallToolResult with one text.
pub(crate) fn tool_text(words: &str, is_error: bool, era: Era) -> String {
    let kind = match era {
        Era::Modern => "\"resultType\":\"complete\",",
        Era::Legacy => "",
    };
    format!(
        "{{{kind}\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":{is_error}}}",
        crate::proto::jsonrpc::quote(words)
    )
}
