//! Approvals end to end: every way of ending, pushes, and execution at most once.

mod support;

use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Session, Workspace};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const TOOL: &str = "github__delete_repo";

fn id_of(data: &Value) -> String {
    data["approval_id"].as_str().expect("an id").to_owned()
}

fn socket(workspace: &Workspace, path: &str, token: &str) -> Result<WebSocket<TcpStream>, u16> {
    let tcp = TcpStream::connect(workspace.address()).expect("a connection");
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .expect("a timeout");
    let mut request = format!("ws://{}{path}", workspace.address())
        .into_client_request()
        .expect("a request");
    request.headers_mut().insert(
        "authorization",
        format!("Bearer {token}").parse().expect("a value"),
    );
    match tungstenite::client(request, tcp) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(reply))) => {
            Err(reply.status().as_u16())
        }
        Err(e) => panic!("{e}"),
    }
}

fn watch(workspace: &Workspace, data: &Value) -> WebSocket<TcpStream> {
    socket(
        workspace,
        data["ws_url"].as_str().expect("a url"),
        workspace.token(),
    )
    .expect("an upgrade")
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("json"),
            Message::Close(_) => return Value::Null,
            _ => {}
        }
    }
}

fn get(session: &Session<'_>, id: &str) -> Value {
    session.request("aerostack/approvals/get", json!({ "approval_id": id }))["result"].clone()
}

fn executions(workspace: &Workspace, id: &str) -> u64 {
    workspace.read("/executions")["approvals"][id]
        .as_u64()
        .expect("a count")
}

#[test]
fn approved_then_sent_again_executes_once() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let arguments = json!({ "repo": "acme/website" });
    let data = session.gated(TOOL, arguments.clone());
    let id = id_of(&data);
    let mut socket = watch(&workspace, &data);
    assert_eq!(next(&mut socket)["status"], "pending");
    let early = session.retry(TOOL, arguments.clone(), &id);
    assert_eq!(
        (
            &early["error"]["code"],
            &early["error"]["data"]["approval_id"]
        ),
        (&json!(-32050), &json!(id))
    );
    workspace.admin(
        "POST",
        &format!("/approvals/{id}/approve"),
        &json!({ "note": "go", "by": "ada" }),
    );
    let pushed = next(&mut socket);
    assert_eq!(
        (&pushed["type"], &pushed["status"], &pushed["note"]),
        (&json!("approval"), &json!("approved"), &json!("go"))
    );
    assert_eq!(
        next(&mut socket),
        Value::Null,
        "the socket is closed after the decision"
    );
    assert_eq!(executions(&workspace, &id), 0);
    let first = session.retry(TOOL, arguments.clone(), &id);
    let second = session.retry(TOOL, arguments, &id);
    assert_eq!(first["result"], second["result"]);
    assert_eq!(
        first["result"]["structuredContent"]["deleted"],
        "acme/website"
    );
    assert_eq!(executions(&workspace, &id), 1);
    let other = session.retry(TOOL, json!({ "repo": "acme/old-prototype" }), &id);
    assert_eq!(
        other["error"]["code"], -32602,
        "an approval covers only what was approved"
    );
}

#[test]
fn many_retries_at_once_execute_once() {
    let workspace = Workspace::start(&["--gate", "demo__wait"]);
    let session = workspace.session("2025-11-25");
    let id = id_of(&session.gated("demo__wait", json!({})));
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    let meta = json!({ "dev.aerostack/approval_id": id });
    let headers = session.headers();
    std::thread::scope(|scope| {
        let retries: Vec<_> = (0..8)
            .map(|n| {
                let params = json!({ "name": "demo__wait", "arguments": {}, "_meta": meta });
                let body = json!({ "jsonrpc": "2.0", "id": format!("retry-{n}"), "method": "tools/call", "params": params });
                let (workspace, headers) = (&workspace, &headers);
                scope.spawn(move || workspace.post(headers, &body.to_string()).message())
            })
            .collect();
        workspace.read("/requests?method=tools/call&min=9");
        while !retries
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            workspace.admin("POST", "/release", &Value::Null);
        }
        for retry in retries {
            assert_eq!(
                retry.join().expect("a reply")["result"]["content"][0]["text"],
                "released"
            );
        }
    });
    assert_eq!(executions(&workspace, &id), 1);
}

#[test]
fn executed_carries_the_outcome() {
    let workspace = Workspace::start(&["--approvals", "executed"]);
    let session = workspace.session("2025-11-25");
    let data = session.gated(TOOL, json!({ "repo": "acme/x" }));
    let mut socket = watch(&workspace, &data);
    next(&mut socket);
    workspace.admin(
        "POST",
        &format!("/approvals/{}/approve", id_of(&data)),
        &json!({ "arguments": { "repo": "acme/y" } }),
    );
    let pushed = next(&mut socket);
    assert_eq!(pushed["status"], "executed");
    assert_eq!(
        pushed["result"]["structuredContent"]["deleted"], "acme/y",
        "{pushed}"
    );
    assert_eq!(executions(&workspace, &id_of(&data)), 1);
}

#[test]
fn rejected_expired_and_cancelled_end_without_execution() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let ask = || id_of(&session.gated(TOOL, json!({ "repo": "acme/x" })));
    let (rejected, expired, cancelled, soon) = (ask(), ask(), ask(), ask());
    workspace.admin(
        "POST",
        &format!("/approvals/{rejected}/reject"),
        &json!({ "note": "no" }),
    );
    workspace.admin(
        "POST",
        &format!("/approvals/{expired}/expire"),
        &Value::Null,
    );
    let object = session.request(
        "aerostack/approvals/cancel",
        json!({ "approval_id": cancelled, "reason": "the user gave up" }),
    );
    assert_eq!(object["result"]["status"], "cancelled");
    assert_eq!(
        (
            get(&session, &rejected)["status"].clone(),
            get(&session, &rejected)["note"].clone()
        ),
        (json!("rejected"), json!("no"))
    );
    assert_eq!(get(&session, &expired)["status"], "expired");
    workspace.admin(
        "POST",
        &format!("/approvals/{soon}/expires_at"),
        &json!({ "expires_at": 1 }),
    );
    workspace.read("/approvals?status=expired&min=2");
    for id in [&rejected, &expired, &cancelled, &soon] {
        assert_eq!(
            session.retry(TOOL, json!({ "repo": "acme/x" }), id)["error"]["code"],
            -32602
        );
        assert_eq!(executions(&workspace, id), 0);
    }
}

#[test]
fn an_edit_replaces_the_parameters_as_bytes() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let id = id_of(&session.gated(TOOL, json!({ "repo": "acme/x" })));
    workspace.admin(
        "POST",
        &format!("/approvals/{id}/approve"),
        &json!({ "arguments": { "repo": "acme/z" } }),
    );
    assert_eq!(
        get(&session, &id)["params"],
        json!({ "name": TOOL, "arguments": { "repo": "acme/z" } })
    );
    assert_eq!(
        session.retry(TOOL, json!({ "repo": "acme/x" }), &id)["error"]["code"],
        -32602
    );
    let answer = session.retry(TOOL, json!({ "repo": "acme/z" }), &id);
    assert_eq!(answer["result"]["structuredContent"]["deleted"], "acme/z");
}

#[test]
fn decisions_can_be_held_and_sockets_broken() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    workspace.set(json!({ "hold_decisions": true, "status_url": true }));
    let data = session.gated(TOOL, json!({ "repo": "acme/x" }));
    let id = id_of(&data);
    let mut one = watch(&workspace, &data);
    assert_eq!(next(&mut one)["status"], "pending");
    workspace.read("/websockets?min=1");
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    let auth = format!("Bearer {}", workspace.token());
    let status = workspace.http(
        "GET",
        data["status_url"].as_str().expect("a url"),
        &[("authorization", &auth)],
        "",
    );
    assert_eq!(status.json()["status"], "pending");
    workspace.admin("POST", "/websockets", &json!({ "action": "kill" }));
    assert!(one.read().is_err(), "the socket is reset");
    workspace.admin("POST", "/decisions/release", &Value::Null);
    assert_eq!(next(&mut watch(&workspace, &data))["status"], "approved");
    for (upgrades, status) in [("forbidden", 403), ("not_found", 404), ("plain", 200)] {
        workspace.set(json!({ "upgrades": upgrades }));
        let path = data["ws_url"].as_str().expect("a url");
        assert_eq!(
            socket(&workspace, path, workspace.token()).err(),
            Some(status)
        );
    }
}

#[test]
fn guardian_chat_and_heartbeats() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let ask = json!({ "category": "git_push", "action": "git push --force", "bridge_id": "b1" });
    let id = id_of(&session.request("aerostack/guardian/request", ask.clone())["error"]["data"]);
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    assert_eq!(get(&session, &id)["status"], "approved");
    workspace.set(json!({ "guardian": "reject" }));
    assert_eq!(
        session.request("aerostack/guardian/request", ask)["result"]["decision"],
        "rejected"
    );
    let odd = session.request(
        "aerostack/guardian/request",
        json!({ "category": "party", "action": "x" }),
    );
    assert_eq!(odd["error"]["code"], -32602);

    assert_eq!(
        session.heartbeat("b1", "one", "online")["result"]["interval_s"],
        60
    );
    session.heartbeat("b1", "two", "online");
    session.heartbeat("b1", "one", "offline");
    session.heartbeat("b2", "three", "check");
    let bridges = workspace.read("/bridges");
    assert_eq!(
        (bridges.as_array().map(Vec::len), &bridges[0]["online"]),
        (Some(1), &json!(true)),
        "{bridges}"
    );

    let mut all = socket(&workspace, "/ws/demo/chat/ws", workspace.token()).expect("an upgrade");
    let mut named = socket(
        &workspace,
        "/ws/demo/chat/ws?bridge_id=b1",
        workspace.token(),
    )
    .expect("an upgrade");
    workspace.read("/websockets?min=2");
    workspace.admin("POST", "/chat", &json!({ "text": "only you", "to": "b1" }));
    session.request(
        "aerostack/chat/send",
        json!({ "text": "from an agent", "bridge_id": "b1" }),
    );
    workspace.admin(
        "POST",
        "/chat",
        &json!({ "text": "everyone", "topic": "t" }),
    );
    assert_eq!(next(&mut all)["message"]["text"], "everyone");
    let first = next(&mut named);
    assert_eq!(
        (&first["type"], &first["message"]["text"]),
        (&json!("chat"), &json!("only you"))
    );
    let unread =
        session.request("aerostack/chat/messages", json!({ "bridge_id": "b1" }))["result"].clone();
    assert_eq!(
        (
            unread["messages"].as_array().map(Vec::len),
            &unread["unread"]
        ),
        (Some(2), &json!(2))
    );
    let last = unread["messages"][1]["id"].clone();
    session.request(
        "aerostack/chat/messages",
        json!({ "bridge_id": "b1", "mark_read": last }),
    );
    assert_eq!(
        session.heartbeat("b1", "two", "online")["result"]["unread_chat"],
        0
    );
}

#[test]
fn a_workspace_can_be_put_behind_a_workspace() {
    let behind = Workspace::start(&["--conformance"]);
    let upstream = format!("far={}", behind.text("url"));
    let workspace = Workspace::start(&["--upstream", &upstream, "--gate", "far__github__*"]);
    let session = workspace.session("2025-11-25");
    let tools = session.request("tools/list", json!({}))["result"]["tools"].clone();
    assert!(
        tools
            .as_array()
            .expect("tools")
            .iter()
            .any(|t| t["name"] == "far__demo__echo")
    );
    let echo = session.call("far__demo__echo", json!({ "text": "through two" }));
    assert_eq!(
        echo["result"]["content"][0]["text"], "through two",
        "{echo}"
    );
    let id = id_of(&session.gated(
        "far__github__create_issue",
        json!({ "repo": "acme/x", "title": "t" }),
    ));
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    let answer = session.retry(
        "far__github__create_issue",
        json!({ "repo": "acme/x", "title": "t" }),
        &id,
    );
    assert_eq!(
        answer["result"]["structuredContent"]["number"], 1,
        "{answer}"
    );
    behind.admin("DELETE", "/sessions", &Value::Null);
    let again = session.call("far__demo__echo", json!({ "text": "after its restart" }));
    assert_eq!(
        again["result"]["content"][0]["text"], "after its restart",
        "{again}"
    );
}
