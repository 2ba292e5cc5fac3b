//! The loop: poll, read the clock once, move bytes, hand inputs to the engine, do what it says,
//! write what was queued, sleep.
//!
//! Owns every descriptor. It must never decide anything about messages, wait
//! for one source alone, or sleep with something undone.

use super::clock;
use super::conn::{Conn, ConnEvent, Env};
use super::fd::AnyFd;
use super::link::Scratch;
use super::resolve::Resolver;
use super::signal::Signals;
use super::socket::conn_of;
use super::stderr::Stderr;
use super::stdio::{Read, Stdin, Stdout, Written};
use super::tls::Tls;
use super::{Engine, ShellSettings};
use crate::bridge::{Input, Now, Output};
use crate::log::Level;
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::ConnId;
use crate::table::Table;
use mio::{Events, Poll, Token};
use std::io::{self, ErrorKind};
use std::mem;
use std::time::Duration;

/// One read takes at most this much; one buffer serves all sources.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;
/// Reads per connection and turn: 256 KiB, then the others have their turn.
pub(super) const READS_PER_TURN: usize = 4;
/// Events per poll; what does not fit comes with the next one.
const EVENTS_MAX: usize = 64;
/// The process could not even start its loop.
const EXIT_FAILURE: u8 = 1;

const STDIN: Token = Token(usize::MAX);
const STDOUT: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
const RESOLVER: Token = Token(usize::MAX - 3);

/// Runs the engine until it says `Output::Exit`; returns its exit code.
pub fn run(engine: &mut dyn Engine, settings: ShellSettings) -> u8 {
    let fds = Fds {
        stdin: Box::new(io::stdin()),
        stdout: Box::new(io::stdout()),
        stderr: Box::new(io::stderr()),
    };
    let wants_signals = settings.stdio;
    match Reactor::new(settings, fds) {
        Ok(mut reactor) => {
            if wants_signals && let Err(err) = reactor.catch_signals() {
                reactor.log(Level::Error, &format!("can not catch signals: {err}"));
            }
            reactor.run(engine)
        }
        Err((mut stderr, err)) => {
            let wall_ms = clock::now().wall_ms;
            let text = format!("can not start: {err}");
            stderr.line(&crate::log::line(Level::Error, wall_ms, &text));
            EXIT_FAILURE
        }
    }
}

/// The process's standard descriptors, or what a test puts in their place.
pub(crate) struct Fds {
    pub(crate) stdin: AnyFd,
    pub(crate) stdout: AnyFd,
    pub(crate) stderr: AnyFd,
}

/// See the module.
pub(crate) struct Reactor {
    poll: Poll,
    settings: ShellSettings,
    now: Now,
    scratch: Vec<u8>,
    stdin: Option<Stdin>,
    stdout: StdoutSlot,
    stderr: Stderr,
    signals: Option<Signals>,
    resolver: Resolver,
    tls: Tls,
    conns: Table<ConnId, Box<Conn>>,
    /// Connections to pump in this turn, whether or not an event comes.
    ready: Vec<ConnId>,
    /// Connections that may have something to write.
    dirty: Vec<ConnId>,
    /// Connections that may have a deadline: few, for an open one has none.
    timed: Vec<ConnId>,
    /// The token file, as the engine asked for it.
    token: Option<Result<String, String>>,
    exit: Option<u8>,
    /// How often the poll returned: tests hold that nothing spins.
    #[cfg(test)]
    pub(crate) turns: usize,
}

/// For `--check`, stdout is left alone until something is to be written.
enum StdoutSlot {
    Unused(Option<AnyFd>),
    Used(Stdout),
}

impl Reactor {
    /// A reactor over these descriptors.
    pub(crate) fn new(settings: ShellSettings, fds: Fds) -> Result<Self, (Stderr, io::Error)> {
        let mut stderr = Stderr::new(fds.stderr);
        stderr.also_to(settings.log_file.as_deref());
        let poll = match Poll::new() {
            Ok(poll) => poll,
            Err(err) => return Err((stderr, err)),
        };
        let (stdin, stdout) = match settings.stdio {
            true => (
                (!settings.without_stdin).then(|| Stdin::new(fds.stdin, poll.registry(), STDIN)),
                StdoutSlot::Used(Stdout::new(fds.stdout, poll.registry(), STDOUT)),
            ),
            false => (None, StdoutSlot::Unused(Some(fds.stdout))),
        };
        Ok(Self {
            poll,
            tls: Tls::new(settings.tls.clone()),
            settings,
            now: clock::now(),
            scratch: vec![0; SCRATCH_BYTES],
            stdin,
            stdout,
            stderr,
            signals: None,
            resolver: Resolver::new(),
            conns: Table::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            timed: Vec::new(),
            token: None,
            exit: None,
            #[cfg(test)]
            turns: 0,
        })
    }

    /// Turns SIGTERM, SIGINT and SIGHUP into `Input::Terminate`.
    pub(crate) fn catch_signals(&mut self) -> io::Result<()> {
        self.signals = Some(Signals::install(self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// Turns until the engine wants to exit.
    pub(crate) fn run(&mut self, engine: &mut dyn Engine) -> u8 {
        let mut events = Events::with_capacity(EVENTS_MAX);
        // The engine may want to connect before the host has said a word.
        self.drain(engine);
        self.write_all(engine);
        loop {
            if let Some(code) = self.exit {
                self.finish(&mut events);
                return code;
            }
            let timeout = self.timeout(engine);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(err) if err.kind() == ErrorKind::Interrupted => events.clear(),
                Err(err) => {
                    self.log(Level::Error, &format!("poll failed: {err}"));
                    return EXIT_FAILURE;
                }
            }
            #[cfg(test)]
            {
                self.turns += 1;
            }
            self.now = clock::now();
            self.turn(&events, engine);
        }
    }

    /// How long the poll may sleep.
    fn timeout(&mut self, engine: &dyn Engine) -> Option<Duration> {
        let is_ready = self.stdin.as_ref().is_some_and(Stdin::is_ready) || !self.ready.is_empty();
        if is_ready {
            return Some(Duration::ZERO);
        }
        let conns = &self.conns;
        let deadline = |id: &ConnId| conns.get(id).and_then(|conn| conn.deadline());
        self.timed.retain(|id| deadline(id).is_some());
        let first = self
            .timed
            .iter()
            .filter_map(deadline)
            .chain(engine.poll_timeout())
            .min()?;
        Some(first.saturating_duration_since(clock::now().mono))
    }

    fn turn(&mut self, events: &Events, engine: &mut dyn Engine) {
        for event in events {
            match event.token() {
                STDIN => self
                    .stdin
                    .iter_mut()
                    .for_each(|stdin| stdin.handle_event(event)),
                STDOUT => {
                    if let StdoutSlot::Used(stdout) = &mut self.stdout {
                        stdout.handle_event(event);
                    }
                }
                SIGNALS => {
                    let count = self.signals.as_mut().map_or(0, Signals::take);
                    for _ in 0..count {
                        self.give(Input::Terminate, engine);
                    }
                }
                RESOLVER => {
                    while let Some((conns, addresses)) = self.resolver.poll() {
                        for id in conns {
                            self.with_conn(id, |conn, env| {
                                conn.handle_resolved(addresses.clone(), env);
                            });
                        }
                    }
                }
                token => {
                    let id = conn_of(token);
                    self.with_conn(id, |conn, env| conn.handle_event(event, env));
                }
            }
        }
        // A TLS hello above all: the server works on it while this process reads on.
        self.flush_conns(engine);
        self.pump_stdin(engine);
        for id in mem::take(&mut self.ready) {
            self.pump(id, engine);
        }
        self.expire(engine);
        self.write_all(engine);
    }

    /// One input, then drain: the engine's rule.
    fn give(&mut self, input: Input<'_>, engine: &mut dyn Engine) {
        engine.handle_input(input, self.now);
        self.drain(engine);
    }

    fn drain(&mut self, engine: &mut dyn Engine) {
        loop {
            while let Some(output) = engine.poll_output() {
                self.apply(output);
            }
            let Some(text) = self.token.take() else {
                return;
            };
            engine.handle_input(Input::TokenRead(text), self.now);
        }
    }

    fn apply(&mut self, output: Output) {
        match output {
            Output::Stdout(line) => self.stdout().push(line),
            Output::Log(level, text) => self.log(level, &text),
            Output::Connect(id, endpoint) => self.connect(id, endpoint),
            Output::Transmit(id, bytes) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.transmit(bytes);
                    self.mark(id);
                }
            }
            Output::Pause(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.set_paused(true);
                }
            }
            Output::Resume(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.set_paused(false);
                    self.mark(id);
                }
            }
            Output::Close(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.close(self.now.mono);
                    self.mark(id);
                }
            }
            // What a person or host has to know of it goes to stdout.
            Output::Failed(..) => {}
            Output::PauseStdin => self
                .stdin
                .iter_mut()
                .for_each(|stdin| stdin.set_paused(true)),
            Output::ResumeStdin => self
                .stdin
                .iter_mut()
                .for_each(|stdin| stdin.set_paused(false)),
            Output::ReadToken(path) => self.token = Some(super::environment::read_text(&path)),
            Output::Exit(code) => self.exit = self.exit.or(Some(code)),
        }
    }

    fn connect(&mut self, id: ConnId, endpoint: Endpoint) {
        let conn = Conn::new(id, endpoint, &self.settings, self.now.mono);
        let (host, port) = conn.dial_target();
        let place = (self.poll.registry(), RESOLVER);
        let known = self.resolver.start(id, host, port, place);
        self.conns.insert(id, Box::new(conn));
        self.mark(id);
        if let Some(addresses) = known {
            self.with_conn(id, |conn, env| conn.handle_resolved(addresses, env));
        }
    }

    /// Calls a connection that may have failed or become writable by it.
    fn with_conn(&mut self, id: ConnId, call: impl FnOnce(&mut Conn, &mut Env<'_>)) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (registry, now, tls) = (self.poll.registry(), self.now.mono, &mut self.tls);
        call(conn, &mut Env { registry, now, tls });
        self.mark(id);
    }

    /// Notes what a connection can do without a new event, or drops it.
    fn mark(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else {
            return;
        };
        if conn.is_gone() {
            self.conns.remove(&id);
            return;
        }
        let lists = [
            (&mut self.ready, conn.is_ready()),
            (&mut self.dirty, conn.wants_flush()),
            (&mut self.timed, conn.deadline().is_some()),
        ];
        for (list, belongs) in lists {
            if belongs && !list.contains(&id) {
                list.push(id);
            }
        }
    }

    fn pump_stdin(&mut self, engine: &mut dyn Engine) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.read(self.poll.registry(), &mut self.scratch) {
            Read::Bytes(len) => {
                engine.handle_input(Input::Stdin(&self.scratch[..len]), self.now);
                self.drain(engine);
            }
            Read::Closed => self.give(Input::StdinClosed, engine),
            Read::Nothing => {}
        }
    }

    /// Hands on what a connection has to tell, within its share of the turn.
    fn pump(&mut self, id: ConnId, engine: &mut dyn Engine) {
        let mut reads_left = READS_PER_TURN;
        while self.exit.is_none() {
            let Some(conn) = self.conns.get_mut(&id) else {
                return;
            };
            let buf = &mut self.scratch[..];
            let mut scratch = Scratch {
                buf,
                reads_left: &mut reads_left,
            };
            let (registry, now, tls) = (self.poll.registry(), self.now.mono, &mut self.tls);
            let Some(event) = conn.poll(&mut scratch, &mut Env { registry, now, tls }) else {
                break;
            };
            let is_closed = matches!(event, ConnEvent::Closed(_));
            let input = match event {
                ConnEvent::Connected(established) => Input::Connected(id, established),
                ConnEvent::Received(bytes) => Input::Received(id, bytes),
                ConnEvent::Closed(close) => Input::Closed(id, close),
            };
            engine.handle_input(input, self.now);
            if is_closed {
                self.conns.remove(&id);
            }
            self.drain(engine);
        }
        // Its share is used up, or it was resumed: it goes on with the next turn.
        self.mark(id);
    }

    /// Deadlines of connections, then the engine's.
    fn expire(&mut self, engine: &mut dyn Engine) {
        let now = self.now.mono;
        let conns = &self.conns;
        let is_due = |id: &&ConnId| {
            let deadline = conns.get(id).and_then(|conn| conn.deadline());
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let due: Vec<ConnId> = self.timed.iter().filter(is_due).copied().collect();
        for id in due {
            self.with_conn(id, |conn, env| conn.handle_timeout(env));
        }
        if engine
            .poll_timeout()
            .is_some_and(|deadline| deadline <= now)
        {
            self.give(Input::Timeout, engine);
        }
    }

    /// Writes until nothing is left that would go without waiting.
    fn write_all(&mut self, engine: &mut dyn Engine) {
        while self.exit.is_none() {
            let stdout_waits = match &self.stdout {
                StdoutSlot::Used(stdout) => stdout.wants_flush(),
                StdoutSlot::Unused(_) => false,
            };
            if self.dirty.is_empty() && !stdout_waits {
                return;
            }
            self.flush_conns(engine);
            match self.flush_stdout() {
                Written::Drained => self.give(Input::StdoutDrained, engine),
                Written::Gone => self.give(Input::StdoutGone, engine),
                Written::Nothing => {}
            }
        }
    }

    fn flush_conns(&mut self, engine: &mut dyn Engine) {
        for id in mem::take(&mut self.dirty) {
            self.flush(id, engine);
        }
    }

    fn flush(&mut self, id: ConnId, engine: &mut dyn Engine) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let is_sent = conn.flush();
        // If the socket failed, what the peer had said before is read with the next turn.
        self.mark(id);
        if is_sent {
            self.give(Input::Sent(id), engine);
        }
    }

    fn flush_stdout(&mut self) -> Written {
        match &mut self.stdout {
            StdoutSlot::Used(stdout) => stdout.flush(self.poll.registry()),
            StdoutSlot::Unused(_) => Written::Nothing,
        }
    }

    fn stdout(&mut self) -> &mut Stdout {
        if let StdoutSlot::Unused(fd) = &mut self.stdout {
            let fd = fd.take().expect("the descriptor is taken once");
            self.stdout = StdoutSlot::Used(Stdout::new(fd, self.poll.registry(), STDOUT));
        }
        match &mut self.stdout {
            StdoutSlot::Used(stdout) => stdout,
            StdoutSlot::Unused(_) => unreachable!("replaced just above"),
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        let line = crate::log::line(level, self.now.wall_ms, text);
        self.stderr.line(&line);
    }

    /// The end: stdout has a bounded time to be read, connections say goodbye where it costs
    /// nothing.
    fn finish(&mut self, events: &mut Events) {
        self.flush_stdout();
        for conn in self.conns.values_mut() {
            conn.close(self.now.mono);
        }
        let end = clock::now().mono + self.settings.limits.exit;
        loop {
            let StdoutSlot::Used(stdout) = &mut self.stdout else {
                return;
            };
            stdout.flush(self.poll.registry());
            let left = end.saturating_duration_since(clock::now().mono);
            if stdout.is_empty() || left.is_zero() {
                return;
            }
            if self.poll.poll(events, Some(left)).is_err() {
                continue;
            }
            for event in events.iter().filter(|event| event.token() == STDOUT) {
                stdout.handle_event(event);
            }
        }
    }
}
