//! The pure engine.

use crate::config::Config;
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::{Close, ConnId, Established};
use std::time::Instant;

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
    /// SIGTERM or SIGINT.
    Terminate,
    /// The connection is ready for application bytes.
    Connected(ConnId, Established),
    /// Application bytes, cut anywhere.
    Received(ConnId, &'a [u8]),
    /// All bytes of the last `Transmit` were handed to the socket.
    Sent(ConnId),
    /// The connection is gone; no further input names it.
    Closed(ConnId, Close),
    /// `poll_timeout` has come.
    Timeout,
}

/// Everything the engine can ask of the shell.
#[derive(Debug)]
pub enum Output {
    /// One whole line (with its newline) for stdout.
    Stdout(Vec<u8>),
    /// One line for stderr, already levelled and free of secrets.
    Log(crate::log::Level, String),
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
    /// Stop reading stdin until `ResumeStdin`.
    PauseStdin,
    /// Read stdin again.
    ResumeStdin,
    /// Flush stdout as far as possible within its grace, then end the process with this code.
    Exit(u8),
}

/// The engine.
pub struct Bridge {}

impl Bridge {
    /// A bridge for this configuration. `seed` feeds jitter and id prefixes; the same seed and inputs give the same outputs.
    pub fn new(_config: Config, _seed: u64, _now: Now) -> Self {
        Self {}
    }

    /// Takes one event. Never fails: errors become outputs. Drain `poll_output` after each call.
    pub fn handle_input(&mut self, _input: Input<'_>, _now: Now) {}

    /// The next thing to do, or `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When `Input::Timeout` is due; `None`: sleep until something happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
