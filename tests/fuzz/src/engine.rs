//! The whole engine: a host, a network, a server and a clock that do what the bytes say.
//!
//! A step is a letter and its parameters, so that a case can be read and written by hand; any other byte
//! counts as a letter, too. `judge` watches both sides of the engine, `server` knows what servers say.
//!
//! ```text
//! the host     h raw bytes   i initialize   j initialized   l request   m modern request   z tools/call
//!              n notification or answer   o batch   q cancel   e end of stdin   d stops or begins to read
//! the network  c connects   g refuses   s takes all bytes   k closes   r replies   p the rest of it
//!              b raw bytes   f a WebSocket's frame   a all goes well
//! time         t the next timer   w a while   v the machine sleeps
//! the process  x SIGTERM   y stdout is gone   u the token's file changes
//! ```

#[path = "engine/host.rs"]
mod host;
#[path = "engine/judge.rs"]
mod judge;
#[path = "engine/network.rs"]
mod network;
#[path = "engine/server.rs"]
mod server;

use aerostack_gateway::api::bridge::{Bridge, Engine, Input, Now, Output};
use aerostack_gateway::api::config::{Config, Identity, Limits};
use aerostack_gateway::api::fuzz::Source;
use aerostack_gateway::api::proto::ConnId;
use judge::Judge;
use network::Conn;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const TOKENS: [&str; 3] = ["mwt_T0P-S3CRET", "mwt_N3W-S3CRET", "mwt_0TH3R-S3CR3T"];
const ORIGIN: &str = "https://w.example";
/// 2026-11-22T00:00:00Z.
const WALL_MS: u64 = 1_795_305_600_000;
/// More wake-ups in one second are a busy loop.
const TIMEOUTS_PER_SECOND: u32 = 400;
/// Longer cases show nothing that shorter ones do not.
const STEPS_MAX: usize = 256;

/// Runs one case.
pub(crate) fn run(data: &[u8]) {
    let mut feed = Feed(data);
    let mut world = World::new(feed.byte());
    for _ in 0..STEPS_MAX {
        if feed.0.is_empty() || world.is_over() {
            break;
        }
        world.step(&mut feed);
    }
    world.end();
}

/// What is left of the bytes; zeros behind their end.
struct Feed<'a>(&'a [u8]);

impl Feed<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// So many bytes as the first says.
    fn bytes(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes.to_vec()
    }
}

/// Small enough that a case of some hundred bytes reaches them.
fn limits() -> Limits {
    Limits {
        line_max_bytes: 1_024,
        message_max_bytes: 2_048,
        head_max_bytes: 1_024,
        error_body_max_bytes: 512,
        requests_max: 12,
        held_max_bytes: 6_144,
        stdout_high_bytes: 1_024,
        small_reply_bytes: 256,
        connections_max: 4,
        connections_reserve: 2,
        streams_max: 3,
        idle_max: 2,
        approval_sockets_max: 2,
        approval_message_max_bytes: 512,
        chat_message_max_bytes: 512,
        detached_max: 4,
        chat_messages_max: 3,
        subscriptions_max: 4,
        ..Limits::default()
    }
}

struct Settings(u8);

impl Source for Settings {
    fn variable(&self, name: &str) -> Option<String> {
        let bit = |at: u8| self.0 & (1 << at) != 0;
        let value = match name {
            "AEROSTACK_WORKSPACE_URL" => "https://w.example/ws/x",
            "AEROSTACK_TOKEN" if !bit(0) => TOKENS[0],
            "AEROSTACK_TOKEN_FILE" if bit(0) => "/token",
            "AEROSTACK_LOG_LEVEL" => "debug",
            "AEROSTACK_BUILTIN_TOOLS" if bit(1) => "off",
            "AEROSTACK_BUILTIN_TOOLS" if bit(2) => "on",
            "AEROSTACK_CLAUDE_CHANNEL" if bit(3) => "1",
            "AEROSTACK_APPROVAL_WAIT" if bit(4) => "20",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Ok(TOKENS[0].to_owned())
    }
}

struct World {
    bridge: Bridge,
    base: Instant,
    now_us: u64,
    slept_ms: u64,
    timeouts: (u64, u32),
    conns: BTreeMap<ConnId, Conn>,
    judge: Judge,
    token_file: Result<String, String>,
    token_wanted: bool,
    /// The host has a number for each of its messages.
    said: u64,
    stdin: VecDeque<Vec<u8>>,
    stdin_paused: bool,
    stdin_over: bool,
    stdin_closed: bool,
    stdout_stuck: bool,
    stdout_gone: bool,
    stdout_queued: usize,
    exited: bool,
    /// FUZZ_TRACE is set: everything that happens is told.
    traced: bool,
}

impl World {
    fn new(flags: u8) -> Self {
        let mut config = Config::read(&Settings(flags), limits()).expect("the settings are right");
        config.identity = Identity::default();
        let base = Instant::now();
        let now = Now {
            mono: base,
            wall_ms: WALL_MS,
        };
        let mut world = Self {
            bridge: Bridge::new(config, u64::from(flags), now),
            base,
            now_us: 0,
            slept_ms: 0,
            timeouts: (0, 0),
            conns: BTreeMap::new(),
            judge: Judge::new(limits()),
            token_file: Ok(TOKENS[0].to_owned()),
            token_wanted: false,
            said: 0,
            stdin: VecDeque::new(),
            stdin_paused: false,
            stdin_over: false,
            stdin_closed: false,
            stdout_stuck: false,
            stdout_gone: false,
            stdout_queued: 0,
            exited: false,
            traced: std::env::var_os("FUZZ_TRACE").is_some(),
        };
        world.drain(0);
        world
    }

    fn is_over(&self) -> bool {
        self.exited
    }

    fn step(&mut self, feed: &mut Feed<'_>) {
        match b'a' + feed.byte().wrapping_sub(b'a') % 26 {
            b'a' => self.all_goes_well(),
            b'b' => {
                let (at, bytes) = (feed.byte(), feed.bytes());
                self.raw_bytes(at, &bytes);
            }
            b'c' => self.connected(feed.byte()),
            b'd' => self.host_reads(feed.byte()),
            b'e' => self.stdin_over = true,
            b'f' => self.frame(feed.byte(), feed.byte()),
            b'g' => self.refused(feed.byte(), feed.byte()),
            b'h' => {
                let bytes = feed.bytes();
                // What the host says itself may hold anything but the token, which is looked for.
                if !judge::holds_token(&bytes) {
                    self.say(bytes);
                }
            }
            b'k' => self.closed(feed.byte(), feed.byte()),
            b'p' => self.proceed(feed.byte()),
            b'r' => {
                let how = server::Manner::read(feed);
                self.reply(feed.byte(), &how);
            }
            b's' => self.sent(feed.byte()),
            b't' => self.next_timer(),
            b'u' => {
                self.token_file = match feed.byte() % 5 {
                    at @ 0..3 => Ok(TOKENS[usize::from(at)].to_owned()),
                    3 => Ok("two words\n".to_owned()),
                    _ => Err("no such file".to_owned()),
                };
            }
            b'v' => self.slept_ms += 1_000 * u64::from(feed.byte()),
            b'w' => {
                let byte = u64::from(feed.byte());
                self.pass(byte * byte * 1_000);
            }
            b'x' => self.give(Input::Terminate, 0),
            b'y' => {
                if !std::mem::replace(&mut self.stdout_gone, true) {
                    self.give(Input::StdoutGone, 0);
                }
            }
            letter => self.host_speaks(letter, feed),
        }
        self.read_stdin();
    }

    /// stdin ends, nobody answers any more, time passes: the process ends, and nobody waits for an answer.
    fn end(&mut self) {
        self.stdin_over = true;
        self.stdout_stuck = false;
        self.take_stdout();
        self.read_stdin();
        if self.stdin_paused {
            // Too much waits for the end of stdin to be read: a host sends a signal then.
            self.give(Input::Terminate, 0);
        }
        let until = self.now_us + 30_000_000;
        while !self.exited && self.now_us < until && self.bridge.poll_timeout().is_some() {
            self.next_timer();
            self.read_stdin();
        }
        assert!(self.exited, "the process does not end");
        self.judge.end(self.stdout_gone);
    }

    // Time.

    fn next_timer(&mut self) {
        if let Some(at) = self.timer_us().filter(|_| !self.exited) {
            self.now_us = at;
            self.timeout();
        }
    }

    fn pass(&mut self, us: u64) {
        let until = self.now_us + us;
        while let Some(at) = self.timer_us().filter(|at| *at <= until && !self.exited) {
            self.now_us = at;
            self.timeout();
        }
        self.now_us = until;
    }

    fn timer_us(&self) -> Option<u64> {
        let at = self
            .bridge
            .poll_timeout()?
            .saturating_duration_since(self.base);
        let us = u64::try_from(at.as_nanos().div_ceil(1_000)).expect("no timer is that late");
        Some(us.max(self.now_us))
    }

    fn timeout(&mut self) {
        let second = self.now_us / 1_000_000;
        self.timeouts = match self.timeouts {
            (at, count) if at == second => (at, count + 1),
            _ => (second, 1),
        };
        assert!(
            self.timeouts.1 <= TIMEOUTS_PER_SECOND,
            "a busy loop of time-outs"
        );
        self.give(Input::Timeout, 0);
        let now = self.base + Duration::from_micros(self.now_us);
        let later = self.bridge.poll_timeout().is_none_or(|at| at > now);
        assert!(
            self.exited || later,
            "poll_timeout is not later than now after a time-out (I8)"
        );
    }

    // The engine, driven as the reactor does.

    /// One input of so many bytes, then outputs to the end.
    fn give(&mut self, input: Input<'_>, len: usize) {
        if self.exited {
            return;
        }
        self.judge.now_us = self.now_us;
        let now = Now {
            mono: self.base + Duration::from_micros(self.now_us),
            wall_ms: WALL_MS + self.slept_ms + self.now_us / 1_000,
        };
        self.tell(|| format!("{input:?}"));
        self.bridge.handle_input(input, now);
        self.drain(len);
        while std::mem::take(&mut self.token_wanted) && !self.exited {
            let text = self.token_file.clone();
            self.bridge.handle_input(Input::TokenRead(text), now);
            self.drain(0);
        }
        self.check_limits();
        if !self.stdout_stuck {
            self.take_stdout();
        }
    }

    fn tell(&self, words: impl FnOnce() -> String) {
        if self.traced {
            // Bytes as text, where they are.
            let words = words();
            eprintln!(
                "{:>9} us {}",
                self.now_us,
                words.get(..4_000).unwrap_or(&words)
            );
        }
    }

    fn drain(&mut self, len: usize) {
        let mut count = 0;
        while let Some(output) = self.bridge.poll_output() {
            assert!(!self.exited, "an output after Exit: {output:?}");
            self.apply(output);
            count += 1;
            // Each byte can be a line that is answered; a line can end everything that is open.
            assert!(
                count <= 500 + 4 * len,
                "{count} outputs of one input of {len} bytes (I13)"
            );
        }
    }

    fn apply(&mut self, output: Output) {
        self.tell(|| format!("  {output:?}"));
        match output {
            Output::Stdout(line) => {
                self.stdout_queued += line.len();
                self.judge.stdout(&line);
            }
            Output::Log(_, text) => {
                assert!(
                    !judge::holds_token(text.as_bytes()),
                    "in the log (I9): {text}"
                );
                assert!(!text.contains('\n'), "a log line of two lines: {text:?}");
            }
            Output::Connect(conn, endpoint) => {
                assert_eq!(endpoint.origin(), ORIGIN, "another origin (I10)");
                assert!(self.conns.insert(conn, Conn::default()).is_none());
            }
            Output::Transmit(conn, bytes) => self.transmit(conn, &bytes),
            Output::Pause(conn) => self.pause(conn, true),
            Output::Resume(conn) => self.pause(conn, false),
            Output::Close(conn) => {
                assert!(
                    self.conns.remove(&conn).is_some(),
                    "Close of an unknown connection"
                );
                self.judge.closed(conn, false);
            }
            Output::ReadToken(_) => self.token_wanted = true,
            Output::Failed(..) => {}
            Output::PauseStdin => {
                assert!(!std::mem::replace(&mut self.stdin_paused, true));
            }
            Output::ResumeStdin => {
                assert!(std::mem::replace(&mut self.stdin_paused, false));
            }
            Output::Exit(code) => {
                assert_eq!(code, 0);
                self.exited = true;
            }
        }
    }

    /// What is counted stays within its limits (I5).
    fn check_limits(&self) {
        let limits = limits();
        let calls = limits.connections_max + limits.connections_reserve;
        let most = calls + limits.streams_max + 8;
        assert!(self.conns.len() <= most, "{} connections", self.conns.len());
        let one = limits.line_max_bytes.max(limits.message_max_bytes);
        let small = limits.small_reply_bytes * (calls + limits.streams_max);
        let most = limits.held_max_bytes + one + small + self.judge.chunk_max;
        let held = self.judge.held();
        assert!(held <= most, "{held} bytes wait, {most} may");
        // A line of one byte is answered with an error that explains it.
        let most = most + 100 * self.judge.chunk_max.max(limits.line_max_bytes);
        let queued = self.stdout_queued;
        assert!(queued <= most, "{queued} bytes wait for stdout, {most} may");
    }
}
