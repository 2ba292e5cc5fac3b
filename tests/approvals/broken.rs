//! Each way in which the WebSocket can fail: the poll decides.

use super::{connected, echo, refused, succeeded};
use crate::common::{RawServer, Workspace};
use aerostack_workspace::push::SocketOrder;
use serde_json::{Value, json};

/// The socket can not be opened: the poll asks at once, and again whenever the socket fails again.
#[test]
fn refused_upgrades_leave_it_to_the_poll() {
    for upgrades in ["forbidden", "not_found", "plain"] {
        for status_url in [false, true] {
            let workspace = Workspace::gated();
            workspace.set(json!({"upgrades": upgrades, "status_url": status_url}));
            let mut gateway = connected(&workspace);
            gateway.send(&echo("1"));
            let id = workspace.one_pending();
            polled(&workspace, &id, status_url, 1);
            workspace.approve(&id);
            assert_eq!(succeeded(&gateway.answer("1")), "hello", "{upgrades}");
            assert_eq!(workspace.executed(&id), 1);
            gateway.finish().code(0);
        }
    }
}

/// Waits until the approval was asked for so often.
fn polled(workspace: &Workspace, id: &str, status_url: bool, times: usize) {
    let path = format!("/approvals/{id}");
    workspace.wait_seen("a poll", times, |seen| match status_url {
        true => seen.http == "GET" && seen.path.ends_with(&path),
        false => seen.method.as_deref() == Some("aerostack/approvals/get"),
    });
}

/// The socket hangs in its upgrade: once the connection breaks, the poll asks at once. (That silence
/// itself is noticed takes real minutes: the simulation shows it.)
#[test]
fn an_upgrade_that_hangs_and_breaks_leaves_it_to_the_poll() {
    let workspace = Workspace::gated();
    workspace.set(json!({"upgrades": "hang"}));
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_seen("the upgrade", 1, |seen| seen.path.contains(&id));
    workspace.approve(&id);
    assert!(workspace.requests("aerostack/approvals/get").is_empty());
    // A request on a kept connection may be sent once more: not into the same silence.
    workspace.set(json!({"upgrades": "not_found"}));
    workspace.reset_connections();
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    assert_eq!(workspace.executed(&id), 1);
    gateway.finish().code(0);
}

/// An open socket is closed, killed, fed rubbish or more than it may hold, again and again.
#[test]
fn an_open_socket_that_fails_is_replaced_and_polled_for() {
    let orders = [
        SocketOrder::Close,
        SocketOrder::Kill,
        SocketOrder::Rubbish,
        SocketOrder::Oversize,
    ];
    for order in orders {
        let workspace = Workspace::gated();
        let mut gateway = connected(&workspace);
        // The chat's socket, then the approval's.
        workspace.wait_sockets(1);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        workspace.order_sockets(order);
        if order != SocketOrder::Rubbish {
            polled(&workspace, &id, false, 1);
            // It is opened again.
            workspace.wait_seen("the new socket", 2, |seen| {
                seen.http == "WS" && seen.path.contains(&id)
            });
        }
        workspace.approve(&id);
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{order:?}");
        assert_eq!(workspace.executed(&id), 1);
        gateway.finish().code(0);
    }
}

/// A socket that opens with text that is nothing of ours decides nothing.
#[test]
fn rubbish_from_the_beginning_decides_nothing() {
    let workspace = Workspace::gated();
    workspace.set(json!({"upgrades": "rubbish"}));
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_seen("the upgrade", 1, |seen| seen.path.contains(&id));
    workspace.reject(&id, "no");
    assert!(refused(&gateway.answer("1")).contains("NOT executed"));
    gateway.finish().code(0);
}

/// Upgrades that fail in the middle: refused by 500, reset, answered by half a response.
#[test]
fn upgrades_that_break_are_tried_again() {
    for fault in [
        json!({"kind": "status", "status": 500, "http": "WS", "count": 2}),
        json!({"kind": "status", "status": 301, "http": "WS", "count": 2, "headers": [["Location", "http://127.0.0.1:9/"]]}),
        json!({"kind": "reset", "http": "WS", "count": 2}),
        json!({"kind": "informational", "http": "WS", "count": 2}),
    ] {
        let workspace = Workspace::gated();
        workspace.fault(fault.clone());
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_seen("the upgrade", 1, |seen| seen.path.contains(&id));
        workspace.approve(&id);
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{fault}");
        assert_eq!(workspace.executed(&id), 1);
        gateway.finish().code(0);
    }
}

/// Polls that fail decide nothing and are repeated.
#[test]
fn polls_that_break_are_repeated() {
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "reset"}),
        json!({"kind": "body", "text": "<p>approved</p>", "content_type": "text/html"}),
        json!({"kind": "error", "code": -32_603, "message": "approved"}),
        json!({"kind": "truncate", "bytes": 20}),
    ] {
        let workspace = Workspace::gated();
        workspace.set(json!({"upgrades": "not_found"}));
        let mut fault: Value = fault;
        fault["method"] = json!("aerostack/approvals/get");
        workspace.fault(fault.clone());
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_requests("aerostack/approvals/get", 1);
        workspace.approve(&id);
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{fault}");
        assert_eq!(workspace.executed(&id), 1);
        gateway.finish().code(0);
    }
}

/// A server whose 101 is no proof of having read the key is no WebSocket.
#[test]
fn a_wrong_handshake_is_no_socket() {
    let workspace = Workspace::gated();
    let fake = RawServer::http(|_| {
        let push = r#"{"type":"approval","approval_id":"any","status":"approved"}"#;
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n".to_vec();
        bytes.extend([0x81, push.len() as u8]);
        bytes.extend(push.as_bytes());
        bytes
    });
    workspace.set(json!({"approval_data": {"ws_url": format!("ws://{}/x", fake.address)}}));
    let origin = format!("http://{}", fake.address);
    let mut gateway = crate::common::Setup::whole(&workspace)
        .env("AEROSTACK_TRUSTED_ORIGINS", &origin)
        .spawn();
    gateway.initialize();
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_requests("aerostack/approvals/get", 1);
    assert!(fake.connections() > 0, "a trusted origin is opened");
    workspace.approve(&id);
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    let ended = gateway.finish().code(0);
    assert!(
        ended.stderr.contains("handshake is wrong"),
        "{}",
        ended.stderr
    );
}
