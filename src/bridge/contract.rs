//! What the engine and the shell say to each other.

use crate::failure::Failure;
use crate::log::Level;
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
