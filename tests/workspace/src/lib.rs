//! A small local Aerostack Workspace: what the gateway is run and tested against.
//!
//! It serves the workspace contract (approvals, guardian, chat, heartbeats) over both eras of MCP, fronts real
//! MCP servers, and has a dashboard. The admin API breaks things on purpose.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a whole response, made once"
)]

pub mod admin;
pub mod approvals;
pub mod audit;
pub mod call;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod conformance;
pub mod content;
pub mod dashboard;
pub mod decide;
pub mod demo;
pub mod dispatch;
pub mod endpoint;
pub mod extensions;
pub mod faults;
pub mod grants;
pub mod guard;
pub mod input;
pub mod legacy;
pub mod listen;
pub mod modern;
pub mod presence;
pub mod push;
pub mod raw;
pub mod reply;
pub mod risk;
pub mod routes;
pub mod rpc;
pub mod run;
pub mod session;
pub mod settings;
pub mod state;
pub mod store;
pub mod stream;
pub mod sync;
pub mod tls;
pub mod tokens;
pub mod traffic;
pub mod upstream;
pub mod wire;
