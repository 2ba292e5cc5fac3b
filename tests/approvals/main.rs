//! Approvals on the real program: a call waits, a person decides, the agent gets the result or a clear
//! error, at once and exactly once, whatever breaks in between.

#[path = "../common/mod.rs"]
mod common;

mod broken;
mod crowd;
mod decisions;
mod hosts;
mod once;
mod places;
mod scripted;
mod words;

use common::{Gateway, Line, Setup, Workspace, call};
use serde_json::Value;

/// What `demo__echo` says back.
const ECHO: &str = r#"{"text":"hello"}"#;

/// A gateway with everything on, after its handshake.
fn connected(workspace: &Workspace) -> Gateway {
    let mut gateway = Setup::whole(workspace).spawn();
    gateway.initialize();
    gateway
}

/// `demo__echo`, which needs approval.
fn echo(id: &str) -> String {
    call(id, "demo__echo", ECHO)
}

/// A result that tells the agent no.
fn refused(answer: &Line) -> String {
    assert_eq!(answer.at("/result/isError"), true, "{answer:?}");
    answer.text()
}

/// A result that is none of the gateway's words.
fn succeeded(answer: &Line) -> String {
    let failed = answer.json().pointer("/result/isError") == Some(&Value::Bool(true));
    assert!(!failed, "{answer:?}");
    answer.text()
}
