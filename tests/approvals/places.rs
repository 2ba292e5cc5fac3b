//! Where approvals are looked for: at the workspace, and nowhere that it does not own.

use super::{connected, echo, succeeded};
use crate::common::{RawServer, Setup, Workspace, header};
use serde_json::{Value, json};

/// Another origin, however it is written, is never opened and never sees the token.
#[test]
fn urls_of_other_origins_are_never_opened() {
    let spy = RawServer::http(|_| Vec::new());
    let (at, port) = (spy.address, spy.address.port());
    for url in [
        format!("ws://{at}/x"),
        format!("http://{at}/x"),
        format!("wss://{at}/x"),
        format!("//{at}/x"),
        format!("ws:{at}/x"),
        format!("ws:///{at}/x"),
        format!("/\\{at}/x"),
        format!("\\\\{at}\\x"),
        format!("ws://localhost:{port}/x"),
        format!("ws://user:password@{at}/x"),
        format!("ws://OWN@{at}/x"),
        format!("ws://user@OWN/x@{at}"),
        format!("ws://OWN#@{at}/x"),
        format!("ws://{at}?OWN"),
        "javascript:alert(1)".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ws://".to_owned(),
        "\u{0}".to_owned(),
    ] {
        for name in ["ws_url", "status_url"] {
            let workspace = Workspace::gated();
            let own = workspace.state.origin().replace("http://", "");
            let url = url.replace("OWN", &own);
            workspace.set(json!({"approval_data": {name: url}}));
            let mut gateway = connected(&workspace);
            gateway.send(&echo("1"));
            let id = workspace.one_pending();
            let path = format!("/ws/demo/approvals/{id}/ws");
            let sure = !url.contains('#');
            if sure {
                workspace.wait_seen("the default", 1, |seen| seen.path == path);
            }
            workspace.approve(&id);
            assert_eq!(succeeded(&gateway.answer("1")), "hello", "{name} {url:?}");
            let ended = gateway.finish().code(0);
            let warned = ended
                .stderr
                .contains(&format!("workspace's {name} is not used"));
            assert!(warned || !sure, "{name} {url:?}: {}", ended.stderr);
        }
    }
    assert_eq!(spy.connections(), 0);
}

/// Under HTTPS no URL without encryption is used, not even at the same host and port.
#[test]
fn an_unencrypted_url_is_not_used_under_https() {
    for scheme in ["ws", "http"] {
        let workspace = Workspace::whole(Workspace::https());
        let own = workspace.state.origin().replace("https://", "");
        let url = format!("{scheme}://{own}/x");
        workspace.set(json!({"gates": ["demo__echo"], "approval_data": {"ws_url": url}}));
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        workspace.approve(&id);
        assert_eq!(succeeded(&gateway.answer("1")), "hello");
        let ended = gateway.finish().code(0);
        assert!(
            ended.stderr.contains("ws_url is not used"),
            "{}",
            ended.stderr
        );
    }
}

/// Missing, relative, absolute, and as http: all of these are the workspace's own.
#[test]
fn urls_of_the_workspace_are_used_as_they_are() {
    let workspace = Workspace::gated();
    let own = workspace.state.origin().replace("http://", "");
    for (url, path) in [
        (Value::Null, "/ws/demo/approvals/ID/ws"),
        (json!("chat/ws?x=1"), "/ws/demo/chat/ws?x=1"),
        (json!("../../ws/demo/chat/ws?x=2"), "/ws/demo/chat/ws?x=2"),
        (json!("/ws/demo/chat/ws?x=3"), "/ws/demo/chat/ws?x=3"),
        (
            json!(format!("ws://{own}/ws/demo/chat/ws?x=4")),
            "/ws/demo/chat/ws?x=4",
        ),
        (
            json!(format!("http://{own}/ws/demo/chat/ws?x=5")),
            "/ws/demo/chat/ws?x=5",
        ),
    ] {
        workspace.set(json!({"approval_data": {"ws_url": url}, "upgrades": "accept"}));
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        let path = path.replace("ID", &id);
        let seen = workspace.wait_seen("the upgrade", 1, |seen| seen.path == path);
        assert_eq!(seen[0].http, "WS");
        let token = format!("Bearer {}", crate::common::TOKEN);
        assert_eq!(header(&seen[0], "authorization"), Some(&*token));
        // The chat's socket tells nothing of approvals: its end brings the poll.
        workspace.approve(&id);
        workspace.set(json!({"upgrades": "not_found"}));
        workspace.reset_connections();
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{path}");
        gateway.finish().code(0);
    }
}

/// An id that could mean another place is no id: the error goes to the host, and nothing is opened.
#[test]
fn unsound_ids_are_passed_on_as_errors() {
    let long = "x".repeat(129);
    for id in [
        "../x", ".", "..", "a/b", "a b", "a?b", "a%2fb", "", "é", &long,
    ] {
        let workspace = Workspace::gated();
        workspace.set(json!({"approval_data": {"approval_id": id}}));
        let mut gateway = connected(&workspace);
        let error = gateway.ask(&echo("1"));
        assert_eq!(error.at("/error/code"), -32_050, "{id:?}");
        assert_eq!(error.at("/error/data/approval_id"), id);
        gateway.finish().code(0);
        let opened = workspace.seen(|seen| seen.http == "WS" && !seen.path.contains("/chat/"));
        assert!(opened.is_empty(), "{opened:?}");
        assert!(workspace.requests("aerostack/approvals/get").is_empty());
    }
    // Nor is one without data, or on a request that no person can approve.
    let workspace = Workspace::whole(Workspace::http());
    workspace
        .fault(json!({"kind": "error", "code": -32_050, "message": "ask", "method": "tools/call"}));
    let data = json!({"approval_id": "apr_1"});
    workspace.fault(
        json!({"kind": "error", "code": -32_050, "message": "ask", "data": data, "method": "ping"}),
    );
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.initialize();
    for request in [echo("1"), crate::common::request("2", "ping")] {
        assert_eq!(gateway.ask(&request).at("/error/code"), -32_050);
    }
    gateway.finish().code(0);
}
