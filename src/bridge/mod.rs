//! The pure engine: one deterministic value that is fed inputs and drained of outputs.
//!
//! It owns all policy and no file descriptor, clock, thread or socket. The state lies in organs that
//! never call each other (`call`, `task`, `pool`, `session`, `batch`, `headers`, `timer`); the other
//! files are the bridge's own flows, one a chapter:
//!
//! ```text
//! host      lines of the host: requests, notifications, answers, cancels
//! exchange  HTTP exchanges: queue, transmit, receive, replay
//! reply     responses: heads, bodies, events -> messages -> answers
//! opening   the legacy session: handshake, lost sessions, event stream, resumption
//! retry     failures: what is repeated, what is paused, what the host is told
//! ending    drain, farewell, exit
//! ```

mod approval;
mod approving;
mod background;
mod batch;
mod builtin;
mod call;
mod chat;
mod chatting;
mod deciding;
mod ending;
mod exchange;
mod guarding;
mod headers;
mod heartbeat;
mod host;
mod ids;
mod notice;
mod offline;
mod opening;
mod pool;
mod probe;
mod progress;
mod random;
mod reply;
mod request;
mod retry;
mod session;
mod task;
pub mod timer;
mod watch;
mod watching;

use crate::config::Config;
use crate::failure::Failure;
use crate::log::{Level, printable};
use crate::proto::aerostack::Offer;
use crate::proto::endpoint::Endpoint;
use crate::proto::line::LineReader;
use crate::proto::secrets::Secrets;
use crate::proto::transport::{Close, ConnId, Established};
use call::Calls;
use ids::{CallId, TaskId, WatchId};
use pool::Pool;
pub use probe::Socket;
use session::Session;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use task::Tasks;
use timer::{TimerId, Wheel};

/// The two clocks, read once per turn of the reactor.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time: every timer and deadline.
    pub mono: Instant,
    /// Wall clock, milliseconds since the Unix epoch: only for dates that come from the network and
    /// to notice that the machine slept.
    pub wall_ms: u64,
}

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes from the host, cut anywhere.
    Stdin(&'a [u8]),
    /// The host closed its side (EOF).
    StdinClosed,
    /// All that was queued for stdout has been written.
    StdoutDrained,
    /// Nobody reads stdout any more (EPIPE, EPOLLERR).
    StdoutGone,
    /// SIGTERM, SIGINT or SIGHUP.
    Terminate,
    /// The connection is ready for application bytes.
    Connected(ConnId, Established),
    /// Application bytes, cut anywhere.
    Received(ConnId, &'a [u8]),
    /// All bytes of the last `Transmit` were handed to the socket.
    Sent(ConnId),
    /// The connection is gone; no further input names it.
    Closed(ConnId, Close),
    /// What `ReadToken` asked for: the file's content, or why it can not be read.
    TokenRead(Result<String, String>),
    /// `poll_timeout` has come.
    Timeout,
}

/// Everything the engine can ask of the shell.
#[derive(Debug)]
pub enum Output {
    /// One whole line (with its newline) for stdout.
    Stdout(Vec<u8>),
    /// One line for stderr, already levelled and free of secrets.
    Log(Level, String),
    /// Dial the endpoint (its path does not matter); answered by `Connected` or `Closed`.
    Connect(ConnId, Endpoint),
    /// Send these bytes.
    Transmit(ConnId, Vec<u8>),
    /// Stop reading this connection (back-pressure).
    Pause(ConnId),
    /// Read it again.
    Resume(ConnId),
    /// Close it; no `Closed` follows.
    Close(ConnId),
    /// Read this token file again; answered by `TokenRead`.
    ReadToken(String),
    /// The exchange of the host's request with this id (raw JSON) failed: what goes to stdout next is
    /// its answer. For an engine that plays the host, and wants more than the answer's words.
    Failed(Box<str>, Box<Failure>),
    /// Stop reading stdin until `ResumeStdin`.
    PauseStdin,
    /// Read stdin again.
    ResumeStdin,
    /// Flush stdout as far as possible within its grace, then end the process with this code.
    Exit(u8),
}

/// What the reactor drives: the bridge, or the diagnosis that plays its host.
///
/// The rule: one input, then `poll_output` until `None`. The reactor is the only caller.
pub trait Engine {
    /// Takes one event. Never fails: errors become outputs.
    fn handle_input(&mut self, input: Input<'_>, now: Now);
    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;
    /// When `Input::Timeout` is due. After that input it must be later than its `now`.
    fn poll_timeout(&self) -> Option<Instant>;
}

impl Engine for Bridge {
    fn handle_input(&mut self, input: Input<'_>, now: Now) {
        Bridge::handle_input(self, input, now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Bridge::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Bridge::poll_timeout(self)
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// A request's deadline.
    Deadline(CallId),
    /// A request is sent again.
    Retry(CallId),
    /// A request's event stream is resumed.
    Resume(CallId),
    /// An exchange took too long, or lingers after its answer.
    Task(TaskId),
    /// A legacy cancel follows its request.
    Cancel(TaskId),
    /// The session's event stream is opened again.
    Stream,
    /// The rate limit's pause is over.
    RateLimit,
    /// Idle connections grow old.
    Pool,
    /// An approval's time, its grace, or its time without a host.
    Approval(WatchId),
    /// AEROSTACK_APPROVAL_WAIT.
    ApprovalWait(CallId),
    /// The next progress notification of a waiting call.
    Progress(WatchId),
    /// A socket is opened again.
    Reconnect(WatchId),
    /// A socket's ping, or its end.
    Beat(WatchId),
    /// A safety poll.
    Poll(WatchId),
    /// The host's `initialize` is answered without the workspace.
    Patience(CallId),
    /// The workspace is tried again.
    Knock,
    /// The next sign of life.
    Heartbeat,
    /// A call of the chat tool has waited long enough.
    ChatWait(CallId),
    /// Its next progress notification.
    ChatProgress(CallId),
    /// The next turn of background work.
    Background,
    /// Connections that wait for memory are read again.
    Crowd,
    /// The drain is over.
    Drain,
    /// Whatever else is still to be said, the session is given back.
    Delete,
    /// The farewell is over.
    Farewell,
}

/// The engine. Drain `poll_output` to `None` after every `handle_input`; the reactor is the only
/// caller.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    now: Now,
    random: random::Random,
    out: VecDeque<Output>,
    timers: Wheel<Timer>,
    lines: LineReader,
    calls: Calls,
    tasks: Tasks,
    pool: Pool,
    pool_timer: Option<TimerId>,
    /// Connections wait for memory.
    crowd_timer: Option<TimerId>,
    session: Session,
    batches: batch::Batches,
    headers: headers::ToolHeaders,
    watches: watch::Watches,
    approvals: approval::Approvals,
    background: background::Background,
    background_timer: Option<TimerId>,
    /// What the workspace offers beyond MCP, once it was asked.
    workspace: Offer,
    workspace_asked: bool,
    /// Who is at the other end of stdio.
    client: Option<heartbeat::Client>,
    /// A modern host's metadata, for requests of our own.
    modern_meta: Option<String>,
    /// Our own `server/discover` was sent.
    discovering: bool,
    presence: heartbeat::Presence,
    chat: chat::Chat,
    chatting: chatting::Chatting,
    offline: Option<offline::Offline>,
    /// The host was shown the built-in tools alone because the workspace did not answer.
    tools_withheld: bool,
    hid_tools: bool,
    told_empty: bool,
    /// The workspace's clock, as of its last reply.
    last_date_s: Option<u64>,
    gate: retry::Gate,
    ending: ending::Ending,
    /// Header lines that every request carries.
    common_headers: Vec<u8>,
    /// Counts tokens: a 401 to a request that carried an earlier one says nothing of this one.
    token_generation: u32,
    /// What no word of ours may show.
    secrets: Secrets,
    own_ids: u64,
    /// Bytes given to stdout since it was last drained.
    stdout_bytes: usize,
    stdin_paused: bool,
    /// SIGTERM has come once.
    terminated: bool,
}

impl Bridge {
    /// A bridge for this configuration. `seed` feeds jitter and ids: the same seed and the same
    /// inputs give the same outputs. The first connection is dialled at once, before stdin speaks.
    pub fn new(config: Config, seed: u64, now: Now) -> Self {
        let mut random = random::Random::new(seed);
        let presence = heartbeat::Presence::new(random.next(), now.wall_ms);
        let mut bridge = Self {
            now,
            random,
            out: VecDeque::new(),
            timers: Wheel::new(now.mono),
            lines: LineReader::new(config.limits.line_max_bytes),
            calls: Calls::default(),
            tasks: Tasks::default(),
            pool: Pool::default(),
            pool_timer: None,
            crowd_timer: None,
            session: Session::new(),
            batches: batch::Batches::default(),
            headers: headers::ToolHeaders::default(),
            watches: watch::Watches::default(),
            approvals: approval::Approvals::default(),
            background: background::Background::default(),
            background_timer: None,
            workspace: Offer::default(),
            workspace_asked: false,
            client: None,
            modern_meta: None,
            discovering: false,
            presence,
            chat: chat::Chat::default(),
            chatting: chatting::Chatting::default(),
            offline: None,
            tools_withheld: false,
            hid_tools: false,
            told_empty: false,
            last_date_s: None,
            gate: retry::Gate::default(),
            ending: ending::Ending::No,
            common_headers: request::common_headers(&config, true),
            token_generation: 0,
            secrets: Secrets::new(config.secrets()),
            own_ids: 0,
            stdout_bytes: 0,
            stdin_paused: false,
            terminated: false,
            config,
        };
        for warning in std::mem::take(&mut bridge.config.warnings) {
            bridge.log(Level::Warn, || warning);
        }
        let conn = bridge.pool.dial_ahead();
        bridge.connect(conn);
        bridge
    }

    /// Takes one event. Never fails: errors become outputs.
    pub fn handle_input(&mut self, input: Input<'_>, now: Now) {
        let slept = self.has_slept(now);
        self.now = now;
        match input {
            Input::Stdin(bytes) => self.stdin(bytes),
            Input::StdinClosed => self.stdin_closed(),
            Input::StdoutDrained => self.stdout_drained(),
            Input::StdoutGone => self.stdout_gone(),
            Input::Terminate => self.terminate(),
            Input::Connected(conn, _) => self.connected(conn),
            Input::Received(conn, bytes) => self.received(conn, bytes),
            Input::Sent(conn) => self.sent(conn),
            Input::Closed(conn, close) => self.closed(conn, close),
            Input::TokenRead(text) => self.token_read(text),
            Input::Timeout => self.timeouts(),
        }
        // Behind the input, so that a connection it ends is not touched again; before anything is sent.
        if slept && !matches!(self.ending, ending::Ending::Over) {
            self.wake_up();
        }
        self.settle();
    }

    /// The next thing to do, or `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When `Input::Timeout` is due; `None`: sleep until something happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    fn timeouts(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now.mono) {
            match timer {
                Timer::Deadline(call) => self.deadline_passed(call),
                Timer::Retry(call) => self.launch(call),
                Timer::Resume(call) => self.resume(call),
                Timer::Task(task) => self.task_timed_out(task),
                Timer::Cancel(task) => self.post_cancel(task),
                Timer::Stream => self.open_stream(),
                Timer::RateLimit => self.rate_limit_over(),
                Timer::Pool => self.pool_timer = None,
                Timer::Approval(watch) => self.approval_time_over(watch),
                Timer::ApprovalWait(call) => self.approval_wait_over(call),
                Timer::Progress(watch) => self.report_progress(watch),
                Timer::Reconnect(watch) => self.open_socket(watch),
                Timer::Beat(watch) => self.beat(watch),
                Timer::Poll(watch) => self.poll_now(watch),
                Timer::Patience(call) => self.patience_over(call),
                Timer::Knock => self.knock(),
                Timer::Heartbeat => self.heartbeat_due(),
                Timer::ChatWait(call) => self.chat_wait_over(call),
                Timer::ChatProgress(call) => self.chat_progress(call),
                Timer::Background => self.background_timer = None,
                Timer::Crowd => self.let_crowd_go(),
                Timer::Drain => self.farewell(),
                Timer::Delete => self.give_session_back(),
                Timer::Farewell => self.exit(),
            }
        }
    }

    /// What follows from any input: connections for who waits, limits, the end.
    fn settle(&mut self) {
        if self.tasks.take_freed() && self.crowd_timer.is_some() {
            self.let_crowd_go();
        }
        self.run_background();
        self.end_if_done();
        if matches!(self.ending, ending::Ending::Over) {
            return;
        }
        self.pump();
        self.expire_idle();
        self.limit_stdin();
    }

    /// CLOCK_MONOTONIC stands still while the machine sleeps: if the wall clock ran ahead,
    /// idle connections are dead, though nobody told us.
    fn has_slept(&self, now: Now) -> bool {
        const DRIFT_MS: u64 = 10_000;
        let mono_ms = now
            .mono
            .saturating_duration_since(self.now.mono)
            .as_millis() as u64;
        let wall_ms = now.wall_ms.saturating_sub(self.now.wall_ms);
        wall_ms > mono_ms + DRIFT_MS
    }

    fn wake_up(&mut self) {
        self.log(Level::Info, || {
            "the machine slept: connections are renewed".to_owned()
        });
        self.drop_idle();
        self.wake_watches();
    }

    fn drop_idle(&mut self) {
        for conn in self.pool.take_idle() {
            self.out.push_back(Output::Close(conn));
        }
    }

    fn expire_idle(&mut self) {
        for conn in self.pool.expire(self.now.mono, &self.config.limits) {
            self.out.push_back(Output::Close(conn));
        }
        let next = self.pool.next_expiry(&self.config.limits);
        match (next, self.pool_timer) {
            // An armed timer that fires too early only looks again.
            (Some(at), None) => self.pool_timer = Some(self.timers.insert(at, Timer::Pool)),
            (None, Some(timer)) => {
                self.timers.cancel(timer);
                self.pool_timer = None;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Hands the host one message.
    fn write_line(&mut self, mut message: Vec<u8>) {
        crate::proto::jsonrpc::end_line(&mut message);
        self.stdout_bytes += message.len();
        self.out.push_back(Output::Stdout(message));
    }

    fn stdout_drained(&mut self) {
        self.stdout_bytes = 0;
        self.resume_all();
    }

    /// Logs if the level asks for it; the text is only made then.
    fn log(&mut self, level: Level, text: impl FnOnce() -> String) {
        if level <= self.config.log_level {
            let text = self.secrets.hide(&text()).into_owned();
            self.out.push_back(Output::Log(level, text));
        }
    }

    /// Text of the network for people and models: without secrets, without control characters, cut.
    fn clean(&self, text: &str, max_bytes: usize) -> String {
        printable(&self.secrets.hide(text), max_bytes)
    }

    fn after(&mut self, delay: Duration, timer: Timer) -> TimerId {
        let far = Duration::from_secs(365 * 86_400);
        self.timers.insert(self.now.mono + delay.min(far), timer)
    }

    fn disarm(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
    }

    /// An id for a request of our own, raw JSON: never one of the host's.
    fn own_id(&mut self) -> Box<str> {
        self.own_ids += 1;
        format!(
            "\"aerostack-gateway/{:x}/{}\"",
            self.random.tag(),
            self.own_ids
        )
        .into()
    }
}
