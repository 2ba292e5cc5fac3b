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
//! Where to begin: [`bridge`] is the engine, a tree of machines; [`proto`] are its codecs, [`io`] the
//! machine around it. [`check`] and [`guard`] play a host of the same engine. [`config`], [`cli`],
//! [`setup`] and [`hosts`] are what a person meets first; [`failure`] is what they read when something
//! fails.
//!
//! # Invariants
//!
//! - I1 Only [`io`] touches descriptors, threads and the clock; [`hosts`] edits configuration files.
//! - I2 One input, then outputs are drained to the end.
//! - I3 The flags of descriptors 0 to 2 never change: O_NONBLOCK would be shared with the parent.
//! - I4 stdout carries whole lines and has one writer.
//! - I5 Every queue, buffer and loop has its limit in [`config::Limits`], and one budget is over all.
//! - I6 Reading stdin never waits for stdout alone: it pauses where the whole budget is used up, and
//!   then writing, network, timers and signals go on.
//! - I7 A request leaves once, unless its replay is provably safe.
//! - I8 After a fired timeout the next one is later; with nothing due the process sleeps; no word of a
//!   server makes it come back faster than a floor.
//! - I9 The token appears in no log line, URL, error, report or panic, also where the network echoes it.
//! - I10 The token goes to the workspace's origin, and to origins that the person named.
//! - I11 A consent is used for the bytes that it was given for, for one outcome.
//! - I12 Every exchange ends: by an answer, a failure or its deadline.
//! - I13 Work per input is near linear in its size.

// The book is built with --document-private-items: one list below is all that is public.
#![allow(rustdoc::private_intra_doc_links)]

pub mod api;
mod bridge;
mod check;
mod cli;
mod config;
mod failure;
mod guard;
mod hosts;
mod io;
mod log;
mod proto;
mod refusal;
mod setup;
#[cfg(test)]
mod storm;
mod table;
