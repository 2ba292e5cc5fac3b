//! aerostack-gateway: a stdio MCP server that forwards every message to an Aerostack Workspace, or
//! to any Streamable HTTP MCP server.
//!
//! One process, one thread, one poll loop. Everything that can be pure is pure: the whole program
//! minus sockets, TLS, DNS, files and the clock is one deterministic value, [`bridge::Bridge`], that
//! is fed [`bridge::Input`]s and drained of [`bridge::Output`]s.
//!
//! ```text
//!           stdin              bytes               lines, messages
//!  host ───────────▶ io::stdio ─────▶ ┌────────────────────────────┐
//!                                     │ bridge   (policy)          │
//!  host ◀─────────── io::stdio ◀───── │   proto  (codecs)          │
//!           stdout           messages └────────────────────────────┘
//!                                        │ requests      ▲ responses
//!                                        ▼               │
//!                               io::conn (TCP, TLS) ──▶ workspace
//! ```
//!
//! A stdin line becomes a stdout line in five hops and four owners (stdin, bridge, connection,
//! stdout), with no channel, callback, shared cell or task. The body that leaves is the host's own
//! bytes; a reply is handed on as it came, its raw line breaks blanked.
//!
//! # Invariants
//!
//! - I1 Only `io` touches descriptors, threads and the clock; `hosts` edits configuration files.
//! - I2 One input, then outputs are drained to the end.
//! - I3 The flags of descriptors 0 to 2 never change: O_NONBLOCK would be shared with the parent.
//! - I4 stdout carries whole lines and has one writer.
//! - I5 Every queue, buffer and loop has its limit in [`config::Limits`].
//! - I6 Reading stdin never waits for stdout: back-pressure goes to the network side.
//! - I7 A request leaves once, unless its replay is provably safe.
//! - I8 After a fired timeout the next one is later; with nothing due the process sleeps.
//! - I9 The token appears in no log line, URL, error or panic.
//! - I10 The token goes to the workspace's origin only.

pub mod bridge;
pub mod check;
pub mod cli;
pub mod config;
pub mod failure;
pub mod guard;
pub mod hosts;
pub mod io;
pub mod log;
pub mod proto;
pub mod refusal;
pub mod setup;
mod table;
