//! An AI tool's side of stdio: the real gateway, driven line by line.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::Workspace;

/// The gateway of this build.
pub(crate) fn gateway() -> PathBuf {
    if let Some(named) = std::env::var_os("AEROSTACK_GATEWAY_BIN") {
        return named.into();
    }
    let own = std::path::Path::new(env!("CARGO_BIN_EXE_aerostack-workspace"));
    let program = own.with_file_name("aerostack-gateway");
    assert!(program.exists(), "build the gateway first: cargo build");
    program
}

/// A gateway and the host in front of it.
pub(crate) struct Host {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    last: u64,
}

impl Host {
    /// Starts it and shakes hands; `capabilities` are the host's.
    pub(crate) fn start(workspace: &Workspace, capabilities: Value) -> Self {
        let mut child = Command::new(gateway())
            .env("AEROSTACK_WORKSPACE_URL", workspace.text("url"))
            .env("AEROSTACK_TOKEN", workspace.token())
            .env("AEROSTACK_LOG_LEVEL", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let stdin = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut host = Host {
            child,
            stdin,
            lines,
            last: 0,
        };
        let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test-host", "version": "1" } });
        let id = host.send("initialize", hello);
        host.answer(id);
        host.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        host
    }

    fn write(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").expect("the gateway reads");
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Calls a tool and returns the request's id.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
    }

    /// Cancels a request.
    pub(crate) fn cancel(&mut self, id: u64) {
        let params = json!({ "requestId": id, "reason": "changed my mind" });
        self.write(
            &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }),
        );
    }

    /// Answers a request of the server.
    pub(crate) fn reply(&mut self, request: &Value, result: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }));
    }

    /// The next message that fits; others are passed over.
    pub(crate) fn next(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("the gateway goes on");
            let message: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
            if fits(&message) {
                return message;
            }
        }
    }

    /// The answer to a request, whole.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.next(|m| m["id"] == id && m.get("method").is_none())
    }

    /// Calls a tool and returns its answer's first text.
    pub(crate) fn text(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.call(tool, arguments);
        first_text(&self.answer(id))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The first text of a tool's answer.
pub(crate) fn first_text(answer: &Value) -> String {
    let text = answer["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {answer}"))
        .to_owned()
}
