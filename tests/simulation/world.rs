//! The world around one engine: a virtual clock, a host's two pipes, a network and a server.
//!
//! Nothing here sleeps, dials or reads a clock: events lie in a queue by their virtual time, and the
//! engine is driven as the reactor drives it: one input, then outputs to the end.

use super::judge::{Judge, PATH, TOKEN, Verdict};
use super::message::Message;
use super::random::Random;
use super::script::{End, Mark, Piece, Script};
use super::workspace::{Act, Desk, HttpRequest, Ledger, Workspace};
use aerostack_gateway::api::bridge::{Bridge, Engine, Input, Now, Output};
use aerostack_gateway::api::config::{Config, Limits};
use aerostack_gateway::api::proto::{Close, CloseCause, ConnId, Established, Phase};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// 2026-11-22T00:00:00Z.
const WALL_MS: u64 = 1_795_305_600_000;
/// More wake-ups in one second are a busy loop.
const TIMEOUTS_PER_SECOND: u32 = 400;
const TRANSCRIPT_LINES: usize = 120;

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
    /// What the engine put out for an open WebSocket was handed to its socket.
    FramesSent(ConnId),
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

#[path = "setting.rs"]
mod setting;
pub(crate) use setting::{Host, Quiet, Weather, config};

#[path = "network.rs"]
mod network;

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
    /// The longest piece that stdin brought.
    stdin_chunk: usize,
    stdin_held: VecDeque<Event>,
    stdout_queued: usize,
    /// Bytes for WebSockets whose peer has not taken them.
    socket_out: BTreeMap<ConnId, usize>,
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
            judge: Judge::new(&limits),
            limits,
            ledger: Ledger::default(),
            random: Random::new(seed),
            stdin_paused: false,
            stdin_over: false,
            stdin_chunk: 0,
            stdin_held: VecDeque::new(),
            stdout_queued: 0,
            socket_out: BTreeMap::new(),
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
                self.stdin_chunk = self.stdin_chunk.max(bytes.len());
                self.judge.stdin(&bytes, self.now_us);
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
            Event::FramesSent(conn) => {
                self.socket_out.remove(&conn);
                if self.conns.get(&conn).is_some_and(|entry| entry.open) {
                    self.give(Input::Sent(conn));
                }
            }
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
        let verdict = self.judge.end_of_turn(self.now_us);
        self.must(verdict);
        self.check_connections();
        self.check_held();
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
            // What a diagnosis reads; the host sees the answer that follows.
            Output::Failed(id, failure) => self.note("  failed", |out| {
                let _ = write!(out, "{id} {failure:?}");
            }),
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
