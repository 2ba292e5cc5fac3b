//! Each fault does what it says.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Reply, Session, Workspace};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#;

fn with(session: &Session<'_>, fault: Value) -> Reply {
    session.workspace.fault(fault);
    let reply = session.post(LIST);
    assert_eq!(
        session.workspace.read("/faults"),
        json!([]),
        "the fault is used up"
    );
    assert_eq!(session.post(LIST).status, 200, "and then all is well");
    reply
}

#[test]
fn answers_can_be_spoiled() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-06-18");
    let reply = with(
        &session,
        json!({ "kind": "status", "status": 502, "body": "html", "headers": [["retry-after", "7"]] }),
    );
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (502, Some("7"))
    );
    assert!(reply.body.contains("<h1>502"));
    assert_eq!(
        with(&session, json!({ "kind": "wrong_id" })).message()["id"],
        "an-id-that-nobody-sent"
    );
    assert_eq!(
        with(&session, json!({ "kind": "null_id" })).message()["id"],
        Value::Null
    );
    assert!(
        with(&session, json!({ "kind": "pretty" }))
            .body
            .contains("\n")
    );
    assert_eq!(
        with(&session, json!({ "kind": "duplicate" }))
            .messages()
            .len(),
        2
    );
    assert_eq!(
        with(&session, json!({ "kind": "sse_cut" }))
            .messages()
            .len(),
        0
    );
    assert_eq!(
        with(&session, json!({ "kind": "force_sse" })).header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(
        with(
            &session,
            json!({ "kind": "error", "code": -5, "message": "odd" })
        )
        .message()["error"]["code"],
        -5
    );
    let reply = with(
        &session,
        json!({ "kind": "body", "text": "<p>hello", "content_type": "text/html" }),
    );
    assert_eq!((reply.status, reply.body.as_str()), (200, "<p>hello"));
    let reply = with(&session, json!({ "kind": "informational", "times": 2 }));
    assert_eq!(
        (reply.informational.as_slice(), reply.status),
        ([103, 103].as_slice(), 200)
    );
    let reply = with(
        &session,
        json!({ "kind": "slow", "bytes": 100, "every_ms": 1 }),
    );
    assert!(reply.json()["result"]["prompts"].is_array());
}

#[test]
fn connections_can_break() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-06-18");
    let reply = with(&session, json!({ "kind": "half_chunk", "bytes": 30 }));
    assert!(
        reply.broken && reply.status == 200 && reply.header("transfer-encoding") == Some("chunked")
    );
    let reply = with(&session, json!({ "kind": "truncate", "bytes": 30 }));
    assert!(reply.broken && reply.header("content-length").is_some());
    let reply = with(&session, json!({ "kind": "reset" }));
    assert!(reply.broken && reply.status == 0);
    workspace.fault(json!({ "kind": "reset", "execute": true, "method": "tools/call" }));
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "files__list" } });
    assert!(session.post(&call.to_string()).broken);
    assert_eq!(
        workspace.read("/executions")["tools"]["files__list"],
        1,
        "executed, and the answer lost"
    );
}

/// Sends one request on a connection that is kept, and reads its answer.
fn keep_alive(session: &Session<'_>, tcp: &mut BufReader<TcpStream>) -> Option<u16> {
    let workspace = session.workspace;
    let head = format!(
        "POST /ws/demo HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nmcp-session-id: {}\r\nmcp-protocol-version: {}\r\ncontent-length: {}\r\n\r\n{LIST}",
        workspace.address(),
        workspace.token(),
        session.id,
        session.version,
        LIST.len()
    );
    tcp.get_mut().write_all(head.as_bytes()).ok()?;
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        tcp.read_line(&mut line).ok().filter(|n| *n > 0)?;
        if line.starts_with("HTTP/1.1") {
            status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        } else if line.trim().is_empty() {
            tcp.read_exact(&mut vec![0; length]).ok()?;
            return status;
        }
    }
}

#[test]
fn kept_connections_go_stale() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-06-18");
    let dial = || BufReader::new(TcpStream::connect(workspace.address()).expect("a connection"));
    let mut tcp = dial();
    assert_eq!(keep_alive(&session, &mut tcp), Some(200));
    workspace.fault(json!({ "kind": "close_on_next" }));
    assert_eq!(keep_alive(&session, &mut tcp), Some(200));
    assert_eq!(
        keep_alive(&session, &mut tcp),
        None,
        "reset when the next request came"
    );
    let seen = workspace
        .read("/requests?method=prompts/list")
        .as_array()
        .map(Vec::len);
    assert_eq!(seen, Some(2), "the third was never read");
    let mut tcp = dial();
    assert_eq!(keep_alive(&session, &mut tcp), Some(200));
    workspace.admin("DELETE", "/connections", &Value::Null);
    assert_eq!(keep_alive(&session, &mut tcp), None);
}

#[test]
fn outages_come_and_go() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    for (mode, status) in [("unavailable", 503), ("limited", 429), ("refuse", 0)] {
        workspace.admin("POST", "/outage", &json!({ "mode": mode }));
        assert_eq!(session.post(LIST).status, status, "{mode}");
        workspace.admin("POST", "/outage", &json!({ "mode": "none" }));
        assert_eq!(session.post(LIST).status, 200);
    }
    workspace.admin("DELETE", "/sessions", &Value::Null);
    assert_eq!(session.post(LIST).status, 404);
}

#[test]
fn the_program_ends_on_sigterm_and_leaves_no_ca_behind() {
    let workspace = Workspace::start_with(&["--admin"]);
    let ca = std::path::PathBuf::from(workspace.text("ca_file"));
    assert!(
        std::fs::read_to_string(&ca)
            .expect("the CA")
            .contains("BEGIN CERTIFICATE")
    );
    assert!(workspace.text("url").starts_with("https://"));
    workspace.fault(json!({ "kind": "never" }));
    let kill = std::process::Command::new("kill")
        .arg(workspace.pid().to_string())
        .status();
    assert!(kill.expect("kill").success());
    assert!(workspace.wait().success());
    assert!(!ca.exists());
}
