//! Agent chat on the real program: messages of the dashboard reach the agent, and its own reach it.

mod common;

use aerostack_workspace::push::SocketOrder;
use common::{
    Gateway, INITIALIZE, INITIALIZED, Line, RawServer, Setup, Workspace, call, json_reply, modern,
    reply,
};
use serde_json::json;

const TOOL: &str = "aerostack__agent_chat";
const READ: &str = r#"{"action":"read"}"#;

fn workspace() -> Workspace {
    Workspace::whole(Workspace::http())
}

/// After the handshake, with the chat's socket open.
fn connected(workspace: &Workspace) -> Gateway {
    let mut gateway = Setup::whole(workspace).spawn();
    gateway.initialize();
    workspace.wait_sockets(1);
    gateway
}

fn said(answer: &Line) -> String {
    assert_eq!(answer.at("/result/isError"), false, "{answer:?}");
    answer.text()
}

fn read(gateway: &mut Gateway) -> String {
    said(&gateway.ask(&call("\"read\"", TOOL, READ)))
}

#[test]
fn unread_messages_come_with_the_history_of_their_topics() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    assert!(read(&mut gateway).contains("No unread"));
    workspace.say(json!({"text": "first of a", "topic": "a"}));
    let first = read(&mut gateway);
    assert!(
        first.contains("1 unread") && first.contains("Topic: a") && first.contains("first of a")
    );
    let send = r#"{"action":"send","text":"answer in a","topic":"a"}"#;
    said(&gateway.ask(&call("1", TOOL, send)));
    workspace.say(json!({"text": "in general"}));
    workspace.say(json!({"text": "second of a", "topic": "a"}));
    let second = read(&mut gateway);
    assert!(second.contains("2 unread"), "{second}");
    let at = |words: &str| {
        second
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {second}"))
    };
    // The topic's own order, with what was said in it before.
    assert!(at("first of a") < at("answer in a") && at("answer in a") < at("second of a"));
    assert!(
        second.contains("(unread) user") && second.contains("Topic: general"),
        "{second}"
    );
    assert!(read(&mut gateway).contains("No unread"));
    gateway.finish().code(0);
}

/// What the agent sends, and what the workspace makes of it.
#[test]
fn the_agent_sends() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    workspace.wait_requests("aerostack/heartbeat", 1);
    said(&gateway.ask(&call(
        "1",
        TOOL,
        r#"{"action":"send","text":"é \"hi\"","topic":"t"}"#,
    )));
    let messages = workspace.state.chat.newest(1);
    let message = &messages[0];
    assert_eq!(
        (message.from.as_str(), message.text.as_str()),
        ("agent", "é \"hi\"")
    );
    assert_eq!(message.topic.as_deref(), Some("t"));
    assert_eq!(
        message.bridge_id.as_deref(),
        Some(workspace.bridges()[0].info.id.as_str())
    );
    let modern_send =
        format!(r#""name":"{TOOL}","arguments":{{"action":"send","text":"modern"}},"#);
    said(&gateway.ask(&modern("2", "tools/call", &modern_send)));
    for (arguments, field) in [
        (r#"{"action":"send"}"#, "text"),
        (r#"{"action":"send","text":"  "}"#, "text"),
        (r#"{"action":"shout"}"#, "action"),
        ("{}", "action"),
        (r#"{"action":"send","text":7}"#, "invalid"),
    ] {
        let answer = gateway.ask(&call("3", TOOL, arguments));
        assert_eq!(answer.at("/result/isError"), true);
        assert!(answer.text().contains(field), "{answer:?}");
    }
    workspace.fault(json!({"kind": "status", "status": 500, "method": "aerostack/chat/send"}));
    let answer = gateway.ask(&call("4", TOOL, r#"{"action":"send","text":"lost"}"#));
    assert_eq!(answer.at("/result/isError"), true, "{answer:?}");
    assert_eq!(workspace.state.chat.newest(9).len(), 2);
    gateway.finish().code(0);
}

/// `wait` ends with the message, or with its time.
#[test]
fn wait_ends_with_a_message_or_its_time() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    let over = said(&gateway.ask(&call("1", TOOL, r#"{"action":"wait","timeout_s":0.001}"#)));
    assert!(over.contains("No message"), "{over}");
    gateway.send(&call("2", TOOL, r#"{"action":"wait","timeout_s":300}"#));
    // Other calls go on meanwhile.
    gateway.ask(&call("3", "demo__add", r#"{"a":2,"b":3}"#));
    workspace.say(json!({"text": "here I am"}));
    assert!(said(&gateway.answer("2")).contains("here I am"));
    // Two wait: each message goes to one of them.
    gateway.send(&call("4", TOOL, r#"{"action":"wait"}"#));
    gateway.send(&call("5", TOOL, r#"{"action":"wait"}"#));
    gateway.ask(&call("6", "demo__add", r#"{"a":2,"b":3}"#));
    workspace.say(json!({"text": "one"}));
    assert!(said(&gateway.answer("4")).contains("one"));
    workspace.say(json!({"text": "two"}));
    assert!(said(&gateway.answer("5")).contains("two"));
    // What is unread already is not waited for.
    workspace.say(json!({"text": "three"}));
    assert!(said(&gateway.ask(&call("7", TOOL, r#"{"action":"wait"}"#))).contains("three"));
    // A wait that is taken back takes no message.
    gateway.send(&call("8", TOOL, r#"{"action":"wait"}"#));
    gateway
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}"#);
    gateway.ask(&call("9", "demo__add", r#"{"a":2,"b":3}"#));
    workspace.say(json!({"text": "four"}));
    assert!(said(&gateway.ask(&call("10", TOOL, r#"{"action":"wait"}"#))).contains("four"));
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| line.id().is_none()),
        "{ended:?}"
    );
}

/// The end of the gateway answers who waits.
#[test]
fn the_end_answers_a_wait() {
    let workspace = workspace();
    let mut gateway = Setup::whole(&workspace)
        .args(&["--drain-timeout", "1"])
        .spawn();
    gateway.initialize();
    gateway.send(&call("1", TOOL, r#"{"action":"wait"}"#));
    let ended = gateway.finish().code(0);
    assert_eq!(
        ended
            .lines
            .iter()
            .filter(|line| line.id().is_some())
            .count(),
        1,
        "{ended:?}"
    );
}

/// Asks until a result bears a hint; all other results bear none.
fn hint(gateway: &mut Gateway) -> String {
    loop {
        let answer = gateway.ask(&call("\"h\"", "demo__add", r#"{"a":2,"b":3}"#));
        let content = answer.at("/result/content");
        let content = content.as_array().expect("a list");
        if let [_, hint] = &content[..] {
            return hint["text"].as_str().expect("text").to_owned();
        }
    }
}

/// Each message is announced once, in the next successful result.
#[test]
fn unread_messages_are_hinted_once() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    let plain = |gateway: &mut Gateway| {
        let answer = gateway.ask(&call("1", "demo__add", r#"{"a":2,"b":3}"#));
        assert_eq!(
            answer.at("/result/content").as_array().map(Vec::len),
            Some(1),
            "{answer:?}"
        );
    };
    plain(&mut gateway);
    workspace.say(json!({"text": "psst"}));
    let words = hint(&mut gateway);
    assert_eq!(
        words,
        format!("1 unread message from the dashboard: call {TOOL}")
    );
    plain(&mut gateway);
    workspace.say(json!({"text": "again"}));
    assert!(hint(&mut gateway).starts_with("1 unread"));
    plain(&mut gateway);
    assert!(
        read(&mut gateway).contains("2 unread"),
        "hinted is not read"
    );
    plain(&mut gateway);
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.is_empty(),
        "list_changed is not abused: {ended:?}"
    );
    // Off.
    let mut gateway = Setup::whole(&workspace)
        .env("AEROSTACK_CHAT_HINTS", "0")
        .spawn();
    gateway.initialize();
    workspace.say(json!({"text": "unheard"}));
    assert!(read(&mut gateway).contains("unheard"));
    workspace.say(json!({"text": "unheard again"}));
    workspace.wait_sockets(1);
    plain(&mut gateway);
    gateway.finish().code(0);
}

/// "A restart announces nothing twice": what was read stays read.
#[test]
fn a_restart_announces_nothing_twice() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    workspace.say(json!({"text": "read me"}));
    assert!(read(&mut gateway).contains("read me"));
    gateway.finish().code(0);
    workspace.say(json!({"text": "while nobody was there"}));
    let mut gateway = connected(&workspace);
    assert!(hint(&mut gateway).starts_with("1 unread message "));
    let text = read(&mut gateway);
    assert!(
        text.contains("while nobody was there") && text.contains("1 unread"),
        "{text}"
    );
    gateway.finish().code(0);
    let mut gateway = connected(&workspace);
    assert!(read(&mut gateway).contains("No unread"));
    gateway.finish().code(0);
}

fn claude(name: &str) -> String {
    INITIALIZE.replace("real-tests", name)
}

/// Claude Code alone gets its channel: the capability, and each message as a notification.
#[test]
fn claude_codes_channel() {
    let workspace = workspace();
    let mut gateway = Setup::whole(&workspace).spawn();
    let answer = gateway.ask(&claude("claude-code"));
    assert_eq!(
        answer.at("/result/capabilities/experimental/claude~1channel"),
        json!({})
    );
    assert!(
        answer.json()["result"]["capabilities"]["experimental"]["aerostack"].is_object(),
        "what the workspace said stays"
    );
    gateway.send(INITIALIZED);
    workspace.wait_sockets(1);
    let id = workspace.say(json!({"text": "look \"here\"", "topic": "t"}));
    let pushed = gateway.message("notifications/claude/channel");
    assert_eq!(
        pushed.at("/params"),
        json!({"content": "look \"here\"", "meta": {"topic": "t", "message_id": id}})
    );
    let meta = pushed.at("/params/meta");
    let letters = |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    assert!(meta.as_object().expect("an object").keys().all(letters));
    // The push is not acknowledged: it stays unread, and is hinted once.
    assert!(hint(&mut gateway).starts_with("1 unread"));
    assert!(read(&mut gateway).contains("look"));
    // To send is to have read.
    workspace.say(json!({"text": "second"}));
    gateway.message("notifications/claude/channel");
    said(&gateway.ask(&call("1", TOOL, r#"{"action":"send","text":"yes"}"#)));
    assert!(read(&mut gateway).contains("No unread"));
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
}

#[test]
fn nobody_else_gets_the_channel() {
    for (name, off) in [
        ("cursor", false),
        ("Claude Desktop", false),
        ("claude-code", true),
    ] {
        let workspace = workspace();
        let mut setup = Setup::whole(&workspace);
        if off {
            setup = setup.env("AEROSTACK_CLAUDE_CHANNEL", "0");
        }
        let mut gateway = setup.spawn();
        let answer = gateway.ask(&claude(name));
        assert!(!answer.0.contains("claude/channel"), "{answer:?}");
        gateway.send(INITIALIZED);
        workspace.wait_sockets(1);
        workspace.say(json!({"text": "hello"}));
        assert!(hint(&mut gateway).starts_with("1 unread"), "it has arrived");
        let ended = gateway.finish().code(0);
        assert!(ended.lines.is_empty(), "{ended:?}");
    }
}

/// A message with `to` reaches that bridge alone; one without reaches all.
#[test]
fn addressed_messages_reach_their_bridge_only() {
    let workspace = workspace();
    let mut gateways = ["one", "two"].map(|name| {
        let mut gateway = Setup::whole(&workspace).spawn();
        gateway.ask(&claude(name));
        gateway.send(INITIALIZED);
        gateway
    });
    workspace.wait_sockets(2);
    let bridges = workspace.wait_bridges("two bridges", |bridges| bridges.len() == 2);
    let of = |name: &str| {
        let fits = |bridge: &&aerostack_workspace::presence::Bridge| {
            bridge
                .client
                .as_ref()
                .is_some_and(|client| client.name == name)
        };
        bridges
            .iter()
            .find(fits)
            .expect("it is there")
            .info
            .id
            .clone()
    };
    workspace.say(json!({"text": "for one", "to": of("one")}));
    workspace.say(json!({"text": "for two", "to": of("two")}));
    workspace.say(json!({"text": "for all"}));
    for (gateway, (own, other)) in gateways
        .iter_mut()
        .zip([("for one", "for two"), ("for two", "for one")])
    {
        let text = read(gateway);
        assert!(
            text.contains(own) && text.contains("for all") && !text.contains(other),
            "{text}"
        );
        assert!(text.contains("2 unread"), "{text}");
    }
    for gateway in gateways {
        gateway.finish().code(0);
    }
}

/// An addressed message is pushed, not only polled for.
#[test]
fn addressed_messages_are_pushed() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    let bridges = workspace.wait_bridges("the bridge", |bridges| bridges.len() == 1);
    gateway.send(&call("1", TOOL, r#"{"action":"wait"}"#));
    gateway.ask(&call("2", "demo__add", r#"{"a":2,"b":3}"#));
    workspace.say(json!({"text": "psst", "to": bridges[0].info.id}));
    assert!(said(&gateway.answer("1")).contains("psst"));
    gateway.finish().code(0);
}

/// The socket fails in every way: the poll fetches what was said.
#[test]
fn without_a_socket_the_poll_fetches() {
    for upgrades in ["forbidden", "not_found", "plain", "rubbish"] {
        let workspace = workspace();
        workspace.set(json!({ "upgrades": upgrades }));
        let mut gateway = Setup::whole(&workspace).spawn();
        gateway.initialize();
        gateway.send(&call("1", TOOL, r#"{"action":"wait"}"#));
        gateway.ask(&call("2", "demo__add", r#"{"a":2,"b":3}"#));
        workspace.say(json!({"text": "fetched"}));
        assert!(said(&gateway.answer("1")).contains("fetched"), "{upgrades}");
        gateway.finish().code(0);
    }
    for order in [SocketOrder::Kill, SocketOrder::Close, SocketOrder::Oversize] {
        let workspace = workspace();
        let mut gateway = connected(&workspace);
        gateway.send(&call("1", TOOL, r#"{"action":"wait"}"#));
        gateway.ask(&call("2", "demo__add", r#"{"a":2,"b":3}"#));
        workspace.order_sockets(order);
        workspace.wait_seen("the next socket", 2, |seen| seen.http == "WS");
        workspace.say(json!({"text": "here"}));
        assert!(said(&gateway.answer("1")).contains("here"), "{order:?}");
        gateway.finish().code(0);
    }
}

/// A server without a chat, one that takes it back, and one that names another origin's socket.
#[test]
fn what_is_not_offered_says_so() {
    let plain = Workspace::http();
    let mut gateway = Setup::whole(&plain).spawn();
    gateway.initialize();
    let answer = gateway.ask(&call("1", TOOL, READ));
    assert_eq!(answer.at("/result/isError"), true);
    assert!(
        answer.text().contains("does not offer a chat"),
        "{answer:?}"
    );
    gateway.finish().code(0);
    assert!(plain.seen(|seen| seen.http == "WS").is_empty());
    let spy = RawServer::http(|_| Vec::new());
    let url = format!("ws://{}/chat", spy.address);
    let server = RawServer::http(move |request| {
        if request.head.starts_with("GET") {
            return reply("404 Not Found", "", "");
        }
        if request.is("initialize") {
            let id = request.id();
            let body = json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "raw", "version": "1"},
                "capabilities": {"tools": {}, "experimental": {"aerostack": {"chat": {"ws_url": url}}}}});
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{body}}}"#);
            return reply("200 OK", "Content-Type: application/json\r\n", &body);
        }
        if request.is("aerostack/chat/messages") {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32601,"message":"no"}}}}"#,
                request.id()
            );
            return reply("200 OK", "Content-Type: application/json\r\n", &body);
        }
        json_reply(request, "{}")
    });
    let mut gateway = Setup::url(&server.url())
        .without("AEROSTACK_BUILTIN_TOOLS")
        .spawn();
    gateway.initialize();
    let answer = gateway.ask(&call("1", TOOL, READ));
    assert!(
        answer.text().contains("does not offer a chat"),
        "{answer:?}"
    );
    let ended = gateway.finish().code(0);
    assert!(
        ended.stderr.contains("chat.ws_url is not used"),
        "{}",
        ended.stderr
    );
    assert_eq!(spy.connections(), 0);
}

/// What is said while the socket is away comes with the next one, in its place.
#[test]
fn what_was_said_in_between_is_fetched_when_the_socket_is_back() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    workspace.say(json!({"text": "first"}));
    assert!(read(&mut gateway).contains("first"));
    workspace.set(json!({"upgrades": "not_found"}));
    workspace.order_sockets(SocketOrder::Kill);
    workspace.wait_sockets(0);
    let polled = workspace.requests("aerostack/chat/messages").len();
    workspace.wait_requests("aerostack/chat/messages", polled + 1);
    workspace.say(json!({"text": "in between"}));
    workspace.set(json!({"upgrades": "accept"}));
    workspace.wait_sockets(1);
    workspace.say(json!({"text": "second"}));
    let text = read(&mut gateway);
    let at = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    assert!(at("first") < at("in between") && at("in between") < at("second"));
    gateway.finish().code(0);
}
