//! The world around one engine: a virtual clock, a host's two pipes, a network and a server.
//!
//! Nothing here sleeps, dials or reads a clock: events lie in a queue by their virtual time, and the
//! engine is driven as the reactor drives it: one input, then outputs to the end.

use super::judge::{Judge, PATH, TOKEN, Verdict};
use super::message::Message;
use super::random::Random;
use super::script::{End, Mark, Piece, Script};
use super::workspace::{Act, Desk, HttpRequest, Ledger, Workspace};
use aerostack_gateway::bridge::{Bridge, Input, Now, Output};
use aerostack_gateway::config::{Config, Identity, Limits, Source};
use aerostack_gateway::proto::transport::{Close, CloseCause, ConnId, Established, Phase};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// 2026-11-22T00:00:00Z.
const WALL_MS: u64 = 1_795_305_600_000;
/// More wake-ups in one second are a busy loop.
const TIMEOUTS_PER_SECOND: u32 = 400;
const TRANSCRIPT_LINES: usize = 60;

/// What happens at its time.
#[derive(Debug)]
enum Event {
    /// The host writes.
    Stdin(Vec<u8>),
    StdinClosed,
    Terminate,
    StdoutGone,
    /// stdout has taken what was queued when this was planned.
    StdoutDrained(usize),
    HostTurn,
    /// The wall clock jumps: the machine slept.
    Sleep(u64),
    Connected(ConnId),
    Refused(ConnId, Close),
    Sent(ConnId, u64),
    Arrive(ConnId, u64, Box<HttpRequest>),
    Deliver(ConnId, Delivery),
    /// The server closes an idle connection.
    IdleClose(ConnId, u64),
    Flush(ConnId),
    /// The server does something of itself.
    Wake(u64),
    /// Bytes for an open WebSocket.
    Frames(ConnId, Vec<u8>),
}

/// What reaches the engine over a connection.
#[derive(Debug)]
enum Delivery {
    Bytes(Piece),
    Closed(CloseCause, Vec<Mark>),
}

#[derive(Debug)]
struct Conn {
    open: bool,
    /// Counts its requests.
    epoch: u64,
    /// Of the last request.
    sent: bool,
    /// The server has closed its side: nothing arrives any more.
    stale: bool,
    /// A WebSocket.
    upgraded: bool,
    /// When the last of its bytes arrives: what is sent later comes later.
    latest_us: u64,
    paused: bool,
    held: VecDeque<Delivery>,
}

/// How the network and stdout behave.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) connect_us: (u64, u64),
    /// Percent of dials that fail.
    pub(crate) refuse: u64,
    pub(crate) latency_us: (u64, u64),
    /// Cuts of a response into pieces, at most.
    pub(crate) cuts: u64,
    /// Percent of requests whose connection breaks before they arrive.
    pub(crate) breaks: u64,
    /// After how long the server closes an idle connection.
    pub(crate) idle_us: Option<(u64, u64)>,
    /// Bytes a millisecond that the host reads; `None`: at once.
    pub(crate) stdout_rate: Option<u64>,
    /// The host does not read at all.
    pub(crate) stdout_stuck: bool,
}

impl Weather {
    pub(crate) fn fair() -> Self {
        Self {
            connect_us: (1_000, 1_000),
            refuse: 0,
            latency_us: (500, 500),
            cuts: 0,
            breaks: 0,
            idle_us: None,
            stdout_rate: None,
            stdout_stuck: false,
        }
    }
}

/// The person's tool that speaks over stdio.
pub(crate) trait Host {
    /// Something to write, and when to ask again.
    fn turn(&mut self, judge: &Judge) -> (Vec<u8>, Option<u64>);
    /// A line has come; returns what it answers and after how long.
    fn hear(&mut self, message: &Message) -> Option<(u64, Vec<u8>)>;
}

/// Says nothing of itself: scenarios speak for it.
pub(crate) struct Quiet;

impl Host for Quiet {
    fn turn(&mut self, _judge: &Judge) -> (Vec<u8>, Option<u64>) {
        (Vec::new(), None)
    }

    fn hear(&mut self, _message: &Message) -> Option<(u64, Vec<u8>)> {
        None
    }
}

struct Settings(Vec<(&'static str, String)>);

impl Source for Settings {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.0.iter().rev().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/token" => Ok(TOKEN.to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

/// A configuration for the simulated workspace.
pub(crate) fn config(settings: &[(&'static str, &str)], limits: Limits) -> Config {
    let mut all = vec![
        (
            "AEROSTACK_WORKSPACE_URL",
            format!("https://w.example{PATH}"),
        ),
        ("AEROSTACK_LOG_LEVEL", "debug".to_owned()),
        ("AEROSTACK_BUILTIN_TOOLS", "off".to_owned()),
    ];
    if !settings
        .iter()
        .any(|(name, _)| *name == "AEROSTACK_TOKEN_FILE")
    {
        all.push(("AEROSTACK_TOKEN", TOKEN.to_owned()));
    }
    all.extend(
        settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let mut config = Config::read(&Settings(all), limits).expect("the settings are right");
    config.identity = Identity::default();
    config
}

pub(crate) struct World {
    label: String,
    bridge: Bridge,
    base: Instant,
    now_us: u64,
    slept_ms: u64,
    limits: Limits,
    queue: BTreeMap<(u64, u64), Event>,
    planned: u64,
    conns: BTreeMap<ConnId, Conn>,
    /// Of closed connections: the last request, if it was handed to the socket and the server was there.
    gone: BTreeMap<ConnId, Option<u64>>,
    pub(crate) weather: Weather,
    pub(crate) workspace: Box<dyn Workspace>,
    pub(crate) host: Box<dyn Host>,
    pub(crate) judge: Judge,
    pub(crate) ledger: Ledger,
    pub(crate) random: Random,
    stdin_paused: bool,
    stdin_over: bool,
    stdin_held: VecDeque<Event>,
    stdout_queued: usize,
    pub(crate) token_file: Result<String, String>,
    token_wanted: bool,
    timeouts: (u64, u32),
    pub(crate) terminated: u32,
    pub(crate) exit: Option<u64>,
    transcript: VecDeque<String>,
    /// Lines of the transcript that are kept.
    keep: usize,
    hash: DefaultHasher,
    /// Log lines, for scenarios.
    pub(crate) logged: Vec<String>,
    pub(crate) pauses: u32,
    pub(crate) stdin_pauses: u32,
    pub(crate) dialled: u32,
    pub(crate) token_reads: u32,
}

impl World {
    pub(crate) fn new(
        label: &str,
        seed: u64,
        config: Config,
        workspace: Box<dyn Workspace>,
        host: Box<dyn Host>,
    ) -> Self {
        let base = Instant::now();
        let now = Now {
            mono: base,
            wall_ms: WALL_MS,
        };
        let limits = config.limits.clone();
        let mut world = Self {
            label: label.to_owned(),
            bridge: Bridge::new(config, seed, now),
            base,
            now_us: 0,
            slept_ms: 0,
            queue: BTreeMap::new(),
            planned: 0,
            conns: BTreeMap::new(),
            gone: BTreeMap::new(),
            weather: Weather::fair(),
            workspace,
            host,
            judge: Judge::new(limits.line_max_bytes),
            limits,
            ledger: Ledger::default(),
            random: Random::new(seed),
            stdin_paused: false,
            stdin_over: false,
            stdin_held: VecDeque::new(),
            stdout_queued: 0,
            token_file: Ok(TOKEN.to_owned()),
            token_wanted: false,
            timeouts: (0, 0),
            terminated: 0,
            exit: None,
            transcript: VecDeque::new(),
            keep: std::env::var("AEROSTACK_SIM_LINES")
                .ok()
                .and_then(|lines| lines.parse().ok())
                .unwrap_or(TRANSCRIPT_LINES),
            hash: DefaultHasher::new(),
            logged: Vec::new(),
            pauses: 0,
            stdin_pauses: 0,
            dialled: 0,
            token_reads: 0,
        };
        world.drain();
        world.plan(0, Event::HostTurn);
        world
    }

    // What tests do.

    /// The host writes a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.say_later(0, format!("{line}\n").into_bytes());
    }

    pub(crate) fn say_later(&mut self, us: u64, bytes: Vec<u8>) {
        self.plan(us, Event::Stdin(bytes));
    }

    pub(crate) fn close_stdin(&mut self, us: u64) {
        self.plan(us, Event::StdinClosed);
    }

    pub(crate) fn terminate(&mut self, us: u64) {
        self.plan(us, Event::Terminate);
    }

    pub(crate) fn lose_stdout(&mut self, us: u64) {
        self.plan(us, Event::StdoutGone);
    }

    pub(crate) fn sleep(&mut self, us: u64, ms: u64) {
        self.plan(us, Event::Sleep(ms));
    }

    /// The host reads again.
    pub(crate) fn unstick_stdout(&mut self) {
        self.weather.stdout_stuck = false;
        self.weather.stdout_rate = None;
        self.plan(0, Event::StdoutDrained(self.stdout_queued));
    }

    /// Lets virtual time pass.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let until = self.now_us + ms * 1_000;
        while self.exit.is_none() && self.next_us().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now_us = self.now_us.max(until);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    pub(crate) fn transcript_hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn conns_open(&self) -> usize {
        self.conns.len()
    }

    /// The judge's last word.
    pub(crate) fn finish(&mut self) {
        let verdict = self.judge.end(&self.ledger);
        self.must(verdict);
    }

    // The loop.

    fn next_us(&self) -> Option<u64> {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timer_us();
        event.into_iter().chain(timer).min()
    }

    fn timer_us(&self) -> Option<u64> {
        let at = self.bridge.poll_timeout()?;
        let us = at
            .saturating_duration_since(self.base)
            .as_nanos()
            .div_ceil(1_000) as u64;
        Some(us.max(self.now_us))
    }

    fn step(&mut self) {
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timer_us();
        if timer.is_some_and(|timer| event.is_none_or(|event| timer < event)) {
            self.now_us = timer.unwrap_or(self.now_us);
            return self.timeout();
        }
        let Some((key, event)) = self.queue.pop_first() else {
            return;
        };
        self.now_us = self.now_us.max(key.0);
        self.happen(event);
    }

    fn timeout(&mut self) {
        let second = self.now_us / 1_000_000;
        self.timeouts = match self.timeouts {
            (at, count) if at == second => (at, count + 1),
            _ => (second, 1),
        };
        if self.timeouts.1 > TIMEOUTS_PER_SECOND {
            self.fail("a busy loop of time-outs");
        }
        self.note("timeout", |_| {});
        self.give(Input::Timeout);
        let now = self.base + Duration::from_micros(self.now_us);
        if self.exit.is_none() && self.bridge.poll_timeout().is_some_and(|at| at <= now) {
            self.fail("poll_timeout is not later than now after a time-out (I8)");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Stdin(_) | Event::StdinClosed if self.stdin_paused => {
                self.stdin_held.push_back(event);
            }
            // Nobody writes after the end of a pipe.
            Event::Stdin(_) | Event::StdinClosed if self.stdin_over => {}
            Event::Stdin(bytes) => {
                self.note("stdin", |out| {
                    let _ = write!(
                        out,
                        "{:?}",
                        String::from_utf8_lossy(&bytes[..bytes.len().min(400)])
                    );
                });
                self.judge.stdin(&bytes);
                self.give(Input::Stdin(&bytes));
            }
            Event::StdinClosed => {
                self.note("stdin closed", |_| {});
                self.stdin_over = true;
                self.judge.stdin_closed();
                self.give(Input::StdinClosed);
            }
            Event::Terminate => {
                self.note("terminate", |_| {});
                self.terminated += 1;
                self.give(Input::Terminate);
            }
            Event::StdoutGone => {
                self.note("stdout gone", |_| {});
                self.give(Input::StdoutGone);
            }
            Event::StdoutDrained(bytes) => self.stdout_drained(bytes),
            Event::HostTurn => self.host_turn(),
            Event::Sleep(ms) => {
                self.note("sleep", |_| {});
                self.slept_ms += ms;
            }
            Event::Connected(conn) => self.connected(conn),
            Event::Refused(conn, close) => self.refused(conn, close),
            Event::Sent(conn, epoch) => self.sent(conn, epoch),
            Event::Arrive(conn, epoch, request) => self.arrive(conn, epoch, &request),
            Event::Deliver(conn, delivery) => self.deliver(conn, delivery),
            Event::IdleClose(conn, epoch) => self.idle_close(conn, epoch),
            Event::Flush(conn) => self.flush(conn),
            Event::Wake(number) => self.serve(ConnId(0), |workspace, desk| {
                workspace.wake(number, desk);
            }),
            Event::Frames(conn, bytes) => {
                if self.conns.contains_key(&conn) {
                    self.serve(conn, |workspace, desk| workspace.frames(&bytes, desk));
                }
            }
        }
    }

    /// One input, then outputs to the end.
    fn give(&mut self, input: Input<'_>) {
        let now = Now {
            mono: self.base + Duration::from_micros(self.now_us),
            wall_ms: WALL_MS + self.slept_ms + self.now_us / 1_000,
        };
        self.bridge.handle_input(input, now);
        self.drain();
        while std::mem::take(&mut self.token_wanted) {
            let text = self.token_file.clone();
            self.bridge.handle_input(Input::TokenRead(text), now);
            self.drain();
        }
        let verdict = self.judge.end_of_turn();
        self.must(verdict);
        self.check_connections();
    }

    fn drain(&mut self) {
        while let Some(output) = self.bridge.poll_output() {
            if self.exit.is_some() {
                self.fail("an output after Exit");
            }
            self.apply(output);
        }
    }

    fn apply(&mut self, output: Output) {
        match output {
            Output::Stdout(line) => self.stdout(&line),
            Output::Log(level, text) => {
                self.note("  log", |out| {
                    let _ = write!(out, "{level:?} {text}");
                });
                if text.contains(TOKEN) {
                    self.fail("the token is in the log (I9)");
                }
                if text.contains("notifications/initialized was not accepted") {
                    self.judge.confirmation_given_up();
                }
                self.logged.push(text);
            }
            Output::Connect(conn, endpoint) => {
                if endpoint.origin() != "https://w.example" {
                    self.fail("a connection to another origin (I10)");
                }
                self.connect(conn);
            }
            Output::Transmit(conn, bytes) => self.transmit(conn, &bytes),
            Output::Pause(conn) => self.pause(conn, true),
            Output::Resume(conn) => self.pause(conn, false),
            Output::Close(conn) => {
                self.note("  close", |out| {
                    let _ = write!(out, "{conn:?}");
                });
                if self.remove(conn).is_none() {
                    self.fail("Close of an unknown connection");
                }
                self.judge.closed(conn, false);
            }
            Output::ReadToken(_) => {
                self.token_wanted = true;
                self.token_reads += 1;
            }
            Output::PauseStdin => self.pause_stdin(true),
            Output::ResumeStdin => self.pause_stdin(false),
            Output::Exit(code) => {
                self.note("  exit", |_| {});
                if code != 0 {
                    self.fail("exit code");
                }
                self.exit = Some(self.now_us / 1_000);
            }
        }
    }

    // The host's pipes.

    fn host_turn(&mut self) {
        let (bytes, next) = self.host.turn(&self.judge);
        // The pipe cuts where it likes.
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let at = match self.random.chance(60) {
                true => rest.len(),
                false => 1 + self.random.below(rest.len() as u64) as usize,
            };
            self.plan(0, Event::Stdin(rest[..at].to_vec()));
            rest = &rest[at..];
        }
        if let Some(us) = next {
            self.plan(us, Event::HostTurn);
        }
    }

    fn stdout(&mut self, line: &[u8]) {
        self.note("  stdout", |out| {
            let _ = write!(
                out,
                "{}",
                String::from_utf8_lossy(&line[..line.len().min(400)])
            );
        });
        let verdict = self.judge.stdout(line);
        self.must(verdict);
        if let Some(message) = std::str::from_utf8(line).ok().and_then(Message::parse)
            && let Some((us, bytes)) = self.host.hear(&message)
        {
            self.plan(us, Event::Stdin(bytes));
        }
        if self.stdout_queued == 0 {
            self.plan_drain(line.len());
        }
        self.stdout_queued += line.len();
    }

    fn plan_drain(&mut self, bytes: usize) {
        let us = match self.weather.stdout_rate {
            Some(rate) => bytes as u64 * 1_000 / rate.max(1),
            None => 20,
        };
        self.plan(us, Event::StdoutDrained(bytes));
    }

    fn stdout_drained(&mut self, bytes: usize) {
        if self.weather.stdout_stuck || self.stdout_queued == 0 {
            return;
        }
        self.stdout_queued = self.stdout_queued.saturating_sub(bytes);
        if self.stdout_queued > 0 {
            return self.plan_drain(self.stdout_queued);
        }
        self.note("stdout drained", |_| {});
        self.give(Input::StdoutDrained);
    }

    fn pause_stdin(&mut self, pause: bool) {
        self.note(
            if pause {
                "  pause stdin"
            } else {
                "  resume stdin"
            },
            |_| {},
        );
        if self.stdin_paused == pause {
            self.fail("PauseStdin and ResumeStdin do not alternate");
        }
        self.stdin_paused = pause;
        self.stdin_pauses += u32::from(pause);
        if !pause {
            for event in std::mem::take(&mut self.stdin_held) {
                self.plan(0, event);
            }
        }
    }

    // The network.

    fn connect(&mut self, conn: ConnId) {
        self.note("  connect", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.dialled += 1;
        let known = self.conns.insert(
            conn,
            Conn {
                open: false,
                epoch: 0,
                sent: false,
                stale: false,
                upgraded: false,
                latest_us: 0,
                paused: false,
                held: VecDeque::new(),
            },
        );
        if known.is_some() {
            self.fail("a ConnId is used again");
        }
        let (low, high) = self.weather.connect_us;
        let us = self.random.between(low, high);
        if !self.random.chance(self.weather.refuse) {
            return self.plan(us, Event::Connected(conn));
        }
        let mut failures = failures();
        if self.judge.local {
            // What passes by itself; a wrong certificate or proxy is for a person to mend.
            failures.truncate(5);
        }
        let (cause, phase) = self.random.pick(&failures).clone();
        let us = if cause == CloseCause::TimedOut {
            10_000_000
        } else {
            us
        };
        let close = Close {
            cause,
            phase,
            sent: false,
        };
        self.plan(us, Event::Refused(conn, close));
    }

    fn connected(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        entry.open = true;
        self.note("connected", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.give(Input::Connected(conn, Established::default()));
        self.plan_idle_close(conn);
    }

    fn refused(&mut self, conn: ConnId, close: Close) {
        if self.remove(conn).is_none() {
            return;
        }
        self.note("refused", |out| {
            let _ = write!(out, "{conn:?} {close:?}");
        });
        self.give(Input::Closed(conn, close));
    }

    fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let entry = self.conns.remove(&conn)?;
        self.workspace.gone(conn);
        let heard = (entry.sent && !entry.stale).then_some(entry.epoch);
        self.gone.insert(conn, heard);
        Some(entry)
    }

    /// Every connection with an exchange under way breaks.
    pub(crate) fn break_busy(&mut self) {
        let mut conns: Vec<ConnId> = self.conns.keys().copied().collect();
        conns.retain(|conn| self.judge.is_busy(*conn));
        self.break_these(conns);
    }

    /// Every connection that is open breaks.
    pub(crate) fn break_all(&mut self) {
        let open = self.conns.iter().filter(|(_, entry)| entry.open);
        let conns = open.map(|(conn, _)| *conn).collect();
        self.break_these(conns);
    }

    fn break_these(&mut self, conns: Vec<ConnId>) {
        for conn in conns {
            let cause = CloseCause::Io(ErrorKind::ConnectionReset);
            self.plan(0, Event::Deliver(conn, Delivery::Closed(cause, Vec::new())));
        }
    }

    pub(crate) fn stdin_is_paused(&self) -> bool {
        self.stdin_paused
    }

    fn transmit(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.conns.get(&conn).is_some_and(|entry| entry.upgraded) {
            self.note("  frames", |out| {
                let _ = write!(out, "{conn:?} {} bytes", bytes.len());
            });
            let (low, high) = self.weather.latency_us;
            let us = self.random.between(low, high);
            let at = self.after_earlier(conn, us);
            return self.plan(at, Event::Frames(conn, bytes.to_vec()));
        }
        let request = match HttpRequest::parse(bytes) {
            Ok(request) => request,
            Err(words) => self.fail(&words),
        };
        self.note("  transmit", |out| {
            let _ = write!(out, "{conn:?} {}", request.label());
        });
        let Some(entry) = self.conns.get_mut(&conn).filter(|entry| entry.open) else {
            self.fail("Transmit on a connection that is not open");
        };
        entry.epoch += 1;
        entry.sent = false;
        let epoch = entry.epoch;
        let verdict = self
            .judge
            .transmit(conn, &request, self.now_us, &self.ledger);
        self.must(verdict);
        let handed = self.random.below(2).min(self.weather.cuts) * self.random.below(4_000) + 10;
        let (low, high) = self.weather.latency_us;
        let arrives = handed + self.random.between(low, high);
        self.plan(handed, Event::Sent(conn, epoch));
        self.plan(arrives, Event::Arrive(conn, epoch, Box::new(request)));
        if self.random.chance(self.weather.breaks) {
            let cause = CloseCause::Io(ErrorKind::ConnectionReset);
            let at = self.random.below(2 * arrives);
            self.plan(
                at,
                Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
            );
        }
    }

    fn sent(&mut self, conn: ConnId, epoch: u64) {
        let Some(entry) = self
            .conns
            .get_mut(&conn)
            .filter(|entry| entry.epoch == epoch)
        else {
            return;
        };
        entry.sent = true;
        self.judge.sent(conn, self.now_us);
        self.note("sent", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.give(Input::Sent(conn));
    }

    /// The server has the whole request. The engine may have closed the connection since.
    fn arrive(&mut self, conn: ConnId, epoch: u64, request: &HttpRequest) {
        let entry = self.conns.get(&conn);
        // Not handed to the socket, or the server was gone.
        if entry.is_some_and(|entry| entry.stale || !entry.sent || entry.epoch != epoch) {
            return;
        }
        let gone = entry.is_none();
        if gone && (self.gone.get(&conn) != Some(&Some(epoch)) || self.random.chance(50)) {
            return;
        }
        self.note("arrived", |out| {
            let _ = write!(out, "{conn:?} {}", request.label());
        });
        let mut script = Script::nothing(End::Silent);
        self.serve(conn, |workspace, desk| {
            script = workspace.handle(request, desk);
        });
        self.ledger.arrived.push(request.clone());
        self.ledger.arrived_ms.push(self.now_us / 1_000);
        if !gone {
            self.play(conn, &script);
        }
    }

    /// The server is at work; then what it does of itself is done.
    pub(crate) fn serve(
        &mut self,
        conn: ConnId,
        work: impl FnOnce(&mut dyn Workspace, &mut Desk<'_>),
    ) {
        let mut acts = Vec::new();
        let mut desk = Desk {
            wall_ms: WALL_MS + self.slept_ms + self.now_us / 1_000,
            conn,
            acts: &mut acts,
            random: &mut self.random,
            ledger: &mut self.ledger,
        };
        work(&mut *self.workspace, &mut desk);
        if let Some(words) = self.ledger.broken.take() {
            self.fail(&words);
        }
        for act in acts {
            let (low, high) = self.weather.latency_us;
            let us = self.random.between(low, high);
            match act {
                Act::Wake(us, number) => self.plan(us, Event::Wake(number)),
                Act::Send(conn, bytes, marks) => {
                    let at = self.after_earlier(conn, us);
                    let piece = Piece {
                        delay_us: 0,
                        bytes,
                        marks,
                    };
                    self.plan(at, Event::Deliver(conn, Delivery::Bytes(piece)));
                }
                Act::Drop(conn, cause) => {
                    let at = self.after_earlier(conn, us);
                    self.plan(
                        at,
                        Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
                    );
                }
            }
        }
    }

    /// The server is well from here on.
    pub(crate) fn calm(&mut self) {
        self.serve(ConnId(0), |workspace, desk| workspace.calm(desk));
    }

    /// Bytes do not overtake each other: microseconds from now, at least so many.
    fn after_earlier(&mut self, conn: ConnId, us: u64) -> u64 {
        let now = self.now_us;
        let Some(entry) = self.conns.get_mut(&conn) else {
            return us;
        };
        entry.latest_us = entry.latest_us.max(now + us);
        entry.latest_us - now
    }

    fn play(&mut self, conn: ConnId, script: &Script) {
        let mut at = script.wait_us;
        for piece in script.pieces(&mut self.random, self.weather.cuts) {
            at += piece.delay_us;
            let (low, _) = self.weather.latency_us;
            let at = self.after_earlier(conn, at + low);
            self.plan(at, Event::Deliver(conn, Delivery::Bytes(piece)));
        }
        if let End::Closed(cause) = &script.end {
            let (low, _) = self.weather.latency_us;
            let delivery = Delivery::Closed(cause.clone(), script.marks_at_close());
            self.plan(at + low + 1, Event::Deliver(conn, delivery));
        }
    }

    fn plan_idle_close(&mut self, conn: ConnId) {
        if let Some((low, high)) = self.weather.idle_us
            && let Some(entry) = self.conns.get(&conn)
        {
            let epoch = entry.epoch;
            let us = self.random.between(low, high);
            self.plan(us, Event::IdleClose(conn, epoch));
        }
    }

    /// The server closes; the engine hears it a moment later and may have sent something by then.
    fn idle_close(&mut self, conn: ConnId, epoch: u64) {
        let busy = self.judge.is_busy(conn);
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if entry.epoch != epoch || busy {
            return;
        }
        entry.stale = true;
        let us = self.random.below(20_000);
        let causes = [CloseCause::Eof, CloseCause::Io(ErrorKind::ConnectionReset)];
        let cause = self.random.pick(&causes).clone();
        self.plan(
            us,
            Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
        );
    }

    fn deliver(&mut self, conn: ConnId, delivery: Delivery) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if entry.paused || !entry.held.is_empty() {
            return entry.held.push_back(delivery);
        }
        match delivery {
            Delivery::Bytes(piece) => {
                if entry.stale || piece.bytes.is_empty() {
                    return;
                }
                let upgraded = |mark: &Mark| matches!(mark, Mark::Upgraded);
                entry.upgraded |= piece.marks.iter().any(upgraded);
                self.note("received", |out| {
                    let _ = write!(
                        out,
                        "{conn:?} {:?}",
                        String::from_utf8_lossy(&piece.bytes[..piece.bytes.len().min(300)])
                    );
                });
                let done = piece.marks.iter().any(|mark| matches!(mark, Mark::Done(_)));
                for mark in piece.marks {
                    self.judge.mark(conn, mark);
                }
                self.give(Input::Received(conn, &piece.bytes));
                if done {
                    self.plan_idle_close(conn);
                }
            }
            Delivery::Closed(cause, marks) => {
                let sent = entry.sent;
                self.remove(conn);
                self.note("closed", |out| {
                    let _ = write!(out, "{conn:?} {cause:?} sent {sent}");
                });
                for mark in marks {
                    self.judge.mark(conn, mark);
                }
                self.judge.closed(conn, !sent);
                let phase = Phase::Open;
                self.give(Input::Closed(conn, Close { cause, phase, sent }));
            }
        }
    }

    fn pause(&mut self, conn: ConnId, pause: bool) {
        self.note(if pause { "  pause" } else { "  resume" }, |out| {
            let _ = write!(out, "{conn:?}");
        });
        let Some(entry) = self.conns.get_mut(&conn) else {
            self.fail("Pause or Resume of an unknown connection");
        };
        if entry.paused == pause {
            self.fail("Pause and Resume do not alternate");
        }
        entry.paused = pause;
        self.pauses += u32::from(pause);
        if !pause {
            self.plan(0, Event::Flush(conn));
        }
    }

    /// A connection is read again.
    fn flush(&mut self, conn: ConnId) {
        loop {
            let Some(entry) = self.conns.get_mut(&conn) else {
                return;
            };
            if entry.paused {
                return;
            }
            let mut held = std::mem::take(&mut entry.held);
            let Some(first) = held.pop_front() else {
                return;
            };
            self.deliver(conn, first);
            if let Some(entry) = self.conns.get_mut(&conn) {
                held.append(&mut entry.held);
                entry.held = held;
            }
        }
    }

    fn check_connections(&mut self) {
        let limits = &self.limits;
        let counted = self.conns.len().saturating_sub(self.judge.streams());
        // A stream that waits may have one dialled for it.
        let most = limits.connections_max + limits.connections_reserve + 8;
        if counted > most {
            self.fail("more connections than the limit allows");
        }
        if self.judge.sockets() > limits.approval_sockets_max {
            self.fail("more sockets than the limit allows");
        }
    }

    // The transcript.

    fn plan(&mut self, us: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((self.now_us + us, self.planned), event);
    }

    fn note(&mut self, what: &str, more: impl FnOnce(&mut String)) {
        let mut line = format!("{:>12.3} ms {what} ", self.now_us as f64 / 1_000.0);
        more(&mut line);
        self.hash.write(line.as_bytes());
        if self.transcript.len() >= self.keep {
            self.transcript.pop_front();
        }
        self.transcript.push_back(line);
    }

    fn must(&mut self, verdict: Verdict) {
        if let Err(words) = verdict {
            self.fail(&words);
        }
    }

    /// The transcript follows by `Drop`.
    pub(crate) fn fail(&mut self, words: &str) -> ! {
        panic!("{}: {words}", self.label);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines: Vec<&str> = self.transcript.iter().map(String::as_str).collect();
            #[allow(clippy::print_stderr, reason = "a failed test says what led to it")]
            {
                eprintln!("\n{}, the last events:\n{}", self.label, lines.join("\n"));
            }
        }
    }
}

/// The ways in which a dial fails.
fn failures() -> Vec<(CloseCause, Phase)> {
    use aerostack_gateway::proto::transport::TlsFailure;
    vec![
        (CloseCause::Io(ErrorKind::ConnectionRefused), Phase::Connect),
        (CloseCause::Io(ErrorKind::ConnectionRefused), Phase::Connect),
        (CloseCause::Io(ErrorKind::HostUnreachable), Phase::Connect),
        (CloseCause::TimedOut, Phase::Connect),
        (
            CloseCause::NotFound("no such host".to_owned()),
            Phase::Resolve,
        ),
        (CloseCause::Eof, Phase::Tls),
        (CloseCause::Tls(TlsFailure::UnknownIssuer), Phase::Tls),
        (CloseCause::ProxyStatus(502), Phase::Proxy),
        (CloseCause::ProxyProtocol, Phase::Proxy),
        (CloseCause::NotLoopback, Phase::Connect),
    ]
}
