//! The main job on the real program: a host on stdio, the reference workspace over http and HTTPS.

mod common;

use common::{
    Gateway, INITIALIZE, INITIALIZED, RawServer, Setup, TOKEN, Workspace, call, header, json_reply,
    modern, reply, request,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

const ECHO: &str = r#"{"text":"hello"}"#;

/// What a session looks like from the workspace: who speaks when, with which headers.
#[test]
fn a_session_from_handshake_to_delete() {
    for workspace in [Workspace::http(), Workspace::https()] {
        let mut gateway = Setup::workspace(&workspace).spawn();
        let answer = gateway.initialize();
        assert_eq!(
            answer.at("/result/serverInfo/name"),
            "aerostack-mcp-gateway"
        );
        assert_eq!(answer.at("/result/protocolVersion"), "2025-11-25");
        workspace.wait_seen("the event stream", 1, |seen| seen.http == "GET");
        let tools = gateway.ask(&request("1", "tools/list")).at("/result/tools");
        let names: Vec<_> = tools
            .as_array()
            .expect("a list")
            .iter()
            .map(|t| &t["name"])
            .collect();
        assert!(names.contains(&&json!("demo__echo")), "{names:?}");
        assert_eq!(gateway.ask(&call("2", "demo__echo", ECHO)).text(), "hello");
        let sum = gateway.ask(&call("3", "demo__add", r#"{"a":2,"b":3}"#));
        assert_eq!(sum.at("/result/structuredContent/sum"), 5.0);
        gateway.finish().code(0);
        let seen = workspace.seen(|_| true);
        let order: Vec<_> = seen
            .iter()
            .map(|seen| seen.method.as_deref().unwrap_or(&seen.http))
            .collect();
        let expect = [
            "initialize",
            "notifications/initialized",
            "GET",
            "tools/list",
            "tools/call",
            "tools/call",
            "DELETE",
        ];
        assert_eq!(order, expect);
        let session = header(&seen[1], "mcp-session-id").expect("a session");
        let agent = format!("aerostack-gateway/{}", env!("CARGO_PKG_VERSION"));
        for (at, seen) in seen.iter().enumerate() {
            assert_eq!(
                header(seen, "authorization"),
                Some(&*format!("Bearer {TOKEN}"))
            );
            assert_eq!(header(seen, "user-agent"), Some(&*agent));
            let in_session = (at > 0).then_some(session);
            assert_eq!(header(seen, "mcp-session-id"), in_session, "{seen:?}");
            let version = (at > 0).then_some("2025-11-25");
            assert_eq!(header(seen, "mcp-protocol-version"), version, "{seen:?}");
            assert_eq!(header(seen, "mcp-method"), None);
            let accept = match seen.http.as_str() {
                "POST" => Some("application/json, text/event-stream"),
                "GET" => Some("text/event-stream"),
                _ => None,
            };
            assert_eq!(header(seen, "accept"), accept);
        }
    }
}

/// The same answers by JSON and by event stream, pretty-printed, after 1xx, twice.
#[test]
fn however_an_answer_travels_it_is_one_line() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    for (at, fault) in [
        "force_json",
        "force_sse",
        "pretty",
        "informational",
        "sse_open",
        "null",
    ]
    .into_iter()
    .enumerate()
    {
        if fault != "null" {
            workspace.fault(json!({"kind": fault, "method": "tools/call"}));
        }
        let answer = gateway.ask(&call(&at.to_string(), "demo__echo", ECHO));
        assert_eq!(answer.text(), "hello", "{fault}");
    }
    // A pretty event goes over many `data:` lines.
    workspace.fault(json!({"kind": "pretty", "method": "tools/call"}));
    workspace.fault(json!({"kind": "force_sse", "method": "tools/call"}));
    assert_eq!(
        gateway.ask(&call("\"p\"", "demo__echo", ECHO)).text(),
        "hello"
    );
    workspace.fault(json!({"kind": "slow", "bytes": 7, "every_ms": 1, "method": "tools/call"}));
    assert_eq!(
        gateway.ask(&call("\"s\"", "demo__echo", ECHO)).text(),
        "hello"
    );
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
}

/// Each event twice is one answer.
#[test]
fn a_doubled_answer_is_given_once() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    workspace.fault(json!({"kind": "duplicate", "method": "tools/call"}));
    assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
    gateway.ask(&request("2", "ping"));
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
}

#[test]
fn progress_and_log_messages_come_before_the_answer_in_order() {
    let workspace = Workspace::https();
    let mut gateway = Gateway::connected(&workspace);
    gateway.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"demo__slow","arguments":{"ms":20,"steps":5},"_meta":{"progressToken":"tok"}}}"#);
    for step in 1..=5 {
        let progress = gateway.next();
        assert_eq!(progress.at("/method"), "notifications/progress");
        assert_eq!(progress.at("/params/progressToken"), "tok");
        assert_eq!(progress.at("/params/progress"), step);
    }
    assert_eq!(gateway.next().id().as_deref(), Some("1"));
    gateway.send(&call("2", "demo__log", r#"{"count":50}"#));
    for n in 1..=50 {
        let message = gateway.next();
        assert_eq!(message.at("/params/data"), format!("message {n} of 50"));
    }
    assert_eq!(gateway.next().text(), "logged");
    gateway.finish().code(0);
}

/// A call that waits for an elicitation must not block the POST that answers it: here more calls ask
/// than connections for calls exist.
#[test]
fn questions_of_the_workspace_are_answered_while_calls_are_in_flight() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    const ASKS: usize = 128;
    for id in 0..ASKS {
        gateway.send(&call(
            &id.to_string(),
            "demo__ask",
            r#"{"question":"who?"}"#,
        ));
    }
    for _ in 0..ASKS {
        let question = gateway.message("elicitation/create");
        assert_eq!(question.at("/params/message"), "who?");
        let id = question.at("/id");
        let answer = json!({"jsonrpc": "2.0", "id": id,
            "result": {"action": "accept", "content": {"answer": id}}});
        gateway.send(&answer.to_string());
    }
    let mut answers = BTreeSet::new();
    for id in 0..ASKS {
        let text = gateway.answer(&id.to_string()).text();
        assert!(
            text.starts_with("answered: ") && text.contains("accept"),
            "{text}"
        );
        answers.insert(text);
    }
    assert_eq!(answers.len(), ASKS, "each got its own answer");
    // Roots and sampling go the same way; an error is an answer too.
    gateway.send(&call("\"r\"", "demo__roots", "{}"));
    let id = gateway.message("roots/list").at("/id");
    gateway.send(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"no roots"}}}}"#
    ));
    assert!(gateway.answer("\"r\"").text().contains("no roots"));
    gateway.finish().code(0);
}

/// Connections that were made for what is urgent are not lost to calls that wait: the host answers
/// nothing before it has pinged a hundred times, and then everything.
#[test]
fn answers_find_a_connection_however_many_calls_ask() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    const ASKS: usize = 300;
    for id in 0..ASKS {
        gateway.send(&call(&id.to_string(), "demo__ask", "{}"));
    }
    let mut questions = vec![gateway.message("elicitation/create")];
    for id in 0..100 {
        gateway.ask(&request(&format!("\"p{id}\""), "ping"));
    }
    for _ in 0..ASKS {
        let question = questions
            .pop()
            .unwrap_or_else(|| gateway.message("elicitation/create"));
        let id = question.at("/id");
        gateway.send(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"cancel"}}}}"#
        ));
    }
    for id in 0..ASKS {
        assert!(gateway.answer(&id.to_string()).text().contains("cancel"));
    }
    gateway.finish().code(0);
}

/// The ids of both directions are separate: the workspace asks with an id that the host uses.
#[test]
fn ids_of_both_directions_are_separate() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    // The workspace's first request has the id "ask-1".
    gateway.send(&call("\"ask-1\"", "demo__ask", "{}"));
    let question = gateway.message("elicitation/create");
    assert_eq!(question.at("/id"), "ask-1");
    gateway.send(r#"{"jsonrpc":"2.0","id":"ask-1","result":{"action":"decline"}}"#);
    assert!(gateway.answer("\"ask-1\"").text().contains("decline"));
    gateway.finish().code(0);
}

/// Bytes stay bytes: whatever id a host thinks of, its answer has that id as it was written.
#[test]
fn ids_keep_every_byte() {
    let server = RawServer::http(|request| json_reply(request, "{}"));
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    for id in [
        "\"\\u0000\"",
        "12345678901234567890",
        "123456789012345678901234567890",
        "1.0",
        "-0",
        "1E400",
        "\"\"",
        "\"a\\/b\"",
        "\"\\u00e5\"",
        "\"å\"",
        "\"1\"",
        "1",
    ] {
        gateway.send(&call(id, "any", "{}"));
        let expect = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        assert_eq!(gateway.next().0, expect);
    }
    gateway.finish().code(0);
}

/// Requests leave as the host wrote them, and come back so.
#[test]
fn bodies_keep_every_byte() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let arguments = r#"{ "n":1E400, "big":123456789012345678901234567890,"f":1.0 , "e":1E+2,"s":"\u00e9\/\ud834\udd1e","":null,"deep":[[[{}]]]}"#;
    let line = format!(
        r#"{{ "method":"tools/call", "id":"raw","jsonrpc":"2.0","params":{{"arguments":{arguments},"name":"demo__raw","_meta":{{"traceparent":"00-1","vendor/x":1.0}},"unknown":1e5}} , "extra":true}}"#
    );
    let answer = gateway.ask(&line);
    let seen = workspace.requests("tools/call");
    assert_eq!(seen.last().expect("it came").body, line);
    for part in [
        "1E400",
        "123456789012345678901234567890",
        "\"f\":1.0",
        "1E+2",
        r"\u00e9\/\ud834\udd1e",
    ] {
        assert!(answer.0.contains(part), "{part} is not in {}", answer.0);
    }
    gateway.finish().code(0);
}

/// An answer's bytes: what a server wrote arrives, with line breaks blanked, nothing else.
#[test]
fn answers_keep_every_byte() {
    let result =
        "{\r\n  \"n\" : 1E400,\n\t\"f\":1.0,\"s\":\"\\u2028\\/\u{2028}\",\"dup\":1,\"dup\":2}";
    let server = RawServer::http(move |request| json_reply(request, result));
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    gateway.send(&call("1", "any", "{}"));
    let line = gateway.next().0;
    let blanked = result.replace(['\r', '\n'], " ");
    assert_eq!(
        line,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{blanked}}}"#)
    );
    gateway.finish().code(0);
}

#[test]
fn ten_megabytes_arrive_intact_by_json_and_by_event_stream() {
    let workspace = Workspace::https();
    let mut gateway = Gateway::connected(&workspace);
    let expect = "0123456789abcdef".repeat(10_000_000 / 16);
    for (id, tool) in [("1", "demo__big"), ("2", "demo__big_sse")] {
        let answer = gateway.ask(&call(id, tool, r#"{"bytes":10000000,"events":3}"#));
        assert!(answer.text() == expect, "{tool}");
    }
    gateway.finish().code(0);
}

/// Calls with 64 in flight over HTTPS, every answer the right one: 20,000, but fewer in a debug build
/// unless AEROSTACK_TEST_CALLS says how many.
#[test]
fn many_calls_with_64_in_flight_are_all_answered_correctly() {
    let usual = if cfg!(debug_assertions) {
        2_000
    } else {
        20_000
    };
    let count = std::env::var("AEROSTACK_TEST_CALLS");
    let count = count.map_or(usual, |count| count.parse().expect("a number"));
    let workspace = Workspace::https();
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_LOG_LEVEL", "info")
        .spawn();
    gateway.initialize();
    let send = |gateway: &mut Gateway, n: usize| {
        gateway.send(&call(
            &n.to_string(),
            "demo__echo",
            &format!(r#"{{"text":"call {n}"}}"#),
        ));
    };
    (0..64).for_each(|n| send(&mut gateway, n));
    let mut answered = vec![false; count];
    for next in 64..count + 64 {
        let answer = gateway.next();
        let n: usize = answer
            .id()
            .and_then(|id| id.parse().ok())
            .expect("an answer");
        assert_eq!(answer.text(), format!("call {n}"));
        assert!(
            !std::mem::replace(&mut answered[n], true),
            "{n} was answered twice"
        );
        if next < count {
            send(&mut gateway, next);
        }
    }
    assert!(answered.iter().all(|answered| *answered));
    assert_eq!(workspace.executions("demo__echo"), count as u64);
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty());
    let connections = workspace.state.traffic.connections();
    assert!(
        connections <= 64 + 8,
        "{connections} connections for 64 in flight"
    );
}

/// The workspace restarts: the next request opens a new session, once for all, and is sent again.
#[test]
fn an_expired_session_is_opened_again_unnoticed() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    gateway.ask(&call("1", "demo__echo", ECHO));
    workspace.wait_seen("the event stream", 1, |seen| seen.http == "GET");
    assert_eq!(workspace.state.end_sessions(), 1);
    for n in 0..30 {
        gateway.send(&call(&format!("\"{n}\""), "demo__echo", ECHO));
    }
    for n in 0..30 {
        let answer = gateway.answer(&format!("\"{n}\""));
        assert_eq!(answer.text(), "hello");
    }
    assert_eq!(workspace.sessions(), 1);
    assert_eq!(workspace.executions("demo__echo"), 31, "none ran twice");
    let opened = workspace.requests("initialize");
    assert_eq!(opened.len(), 2);
    // Ours is the host's but for the id.
    let parts = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["params"].take();
    assert!(
        opened
            .iter()
            .all(|seen| parts(&seen.body) == parts(INITIALIZE))
    );
    assert!(
        opened
            .iter()
            .all(|seen| header(seen, "mcp-session-id").is_none())
    );
    // The event stream follows the session.
    workspace.wait("the stream", |state| {
        let sessions = state.sessions.lock().expect("not poisoned");
        sessions
            .values()
            .all(|session| session.standing.is_followed())
            .then_some(())
    });
    gateway.ask(&call("\"t\"", "demo__toggle", "{}"));
    gateway.message("notifications/tools/list_changed");
    gateway.finish().code(0);
    assert_eq!(workspace.sessions(), 0);
}

/// The event stream breaks: it is taken up where it was, nothing is lost.
#[test]
fn the_event_stream_is_resumed() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    workspace.wait_seen("the stream", 1, |seen| seen.http == "GET");
    workspace
        .state
        .announce("notifications/tools/list_changed", "toolsListChanged");
    gateway.message("notifications/tools/list_changed");
    for session in workspace
        .state
        .sessions
        .lock()
        .expect("not poisoned")
        .values()
    {
        session.standing.cut();
    }
    // Said while nobody listens.
    workspace
        .state
        .announce("notifications/prompts/list_changed", "promptsListChanged");
    gateway.message("notifications/prompts/list_changed");
    let streams = workspace.seen(|seen| seen.http == "GET");
    assert!(
        header(&streams[1], "last-event-id").is_some(),
        "{streams:?}"
    );
    gateway.finish().code(0);
}

/// A call's own stream breaks after an event id: the rest comes by GET, the call is not sent again.
#[test]
fn a_calls_stream_is_resumed() {
    let server = RawServer::http(|request| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: ";
        let events = match (request.target(), request.header("last-event-id")) {
            ("POST /mcp", _) if request.is("tools/call") => {
                "id: a-1\nretry: 10\ndata:\n\nid: a-2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n"
            }
            ("GET /mcp", Some("a-2")) => "id: a-3\ndata:\n\n",
            ("GET /mcp", Some("a-3")) => {
                "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"text\":\"resumed\"}]}}\n\n"
            }
            _ => return json_reply(request, "{}"),
        };
        format!("{head}{}\r\n\r\n{events}", events.len()).into_bytes()
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    assert_eq!(gateway.ask(&call("1", "any", "{}")).text(), "resumed");
    gateway.message("notifications/message");
    gateway.finish().code(0);
}

/// A batch of a 2025-03-26 host is split, and its answers are joined.
#[test]
fn batches_are_split_and_joined() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    gateway.send(&INITIALIZE.replace("2025-11-25", "2025-03-26"));
    assert_eq!(
        gateway.answer("\"init\"").at("/result/protocolVersion"),
        "2025-03-26"
    );
    gateway.send(INITIALIZED);
    let members = [
        call("1", "demo__echo", ECHO),
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned(),
        request("\"two\"", "ping"),
        "7".to_owned(),
        request("3", "no/such/method"),
    ];
    gateway.send(&format!("[{}]", members.join(", ")));
    let joined = gateway.next().json();
    let answers = joined.as_array().expect("an array");
    assert_eq!(answers.len(), 4, "{joined}");
    let by_id = |id: Value| {
        answers
            .iter()
            .find(|a| a["id"] == id)
            .expect("each has its answer")
    };
    assert_eq!(by_id(json!(1))["result"]["content"][0]["text"], "hello");
    assert_eq!(by_id(json!("two"))["result"], json!({}));
    assert_eq!(by_id(json!(3))["error"]["code"], -32_601);
    assert_eq!(by_id(Value::Null)["error"]["code"], -32_600);
    workspace.wait_requests("notifications/roots/list_changed", 1);
    // Only notifications: no answer.
    gateway.send(r#"[{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}]"#);
    workspace.wait_requests("notifications/roots/list_changed", 2);
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
    let posts = workspace.seen(|seen| seen.http == "POST");
    assert!(
        posts.iter().all(|seen| seen.body.starts_with('{')),
        "no batch left"
    );
}

/// The workspace stops working on what the host cancels; the host hears nothing more of it.
#[test]
fn a_cancelled_call_is_cancelled_at_the_workspace() {
    let workspace = Workspace::https();
    let mut gateway = Gateway::connected(&workspace);
    for id in ["1", "\"two\"", "12345678901234567890"] {
        gateway.send(&call(id, "demo__wait", "{}"));
        workspace.wait("the call runs", |state| {
            let sessions = state.sessions.lock().expect("not poisoned");
            sessions
                .values()
                .any(|session| session.running() == 1)
                .then_some(())
        });
        let cancel = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"no need"}}}}"#
        );
        gateway.send(&cancel);
        workspace.wait("the call is cancelled", |state| {
            let sessions = state.sessions.lock().expect("not poisoned");
            sessions
                .values()
                .all(|session| session.running() == 0)
                .then_some(())
        });
        let seen = workspace.requests("notifications/cancelled");
        assert_eq!(seen.last().expect("it came").body, cancel);
    }
    gateway.ask(&request("9", "ping"));
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
}

/// A second initialize in one process starts a new session; the old one is given back.
#[test]
fn a_second_initialize_starts_a_new_session() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    gateway.ask(&call("1", "demo__echo", ECHO));
    gateway.initialize();
    gateway.ask(&call("2", "demo__echo", ECHO));
    workspace.wait_seen("DELETE", 1, |seen| seen.http == "DELETE");
    let sessions: Vec<_> = workspace
        .requests("tools/call")
        .iter()
        .map(|seen| header(seen, "mcp-session-id").map(str::to_owned))
        .collect();
    assert!(sessions[0] != sessions[1] && sessions[1].is_some());
    workspace.wait("one session is left", |_| {
        (workspace.sessions() == 1).then_some(())
    });
    gateway.finish().code(0);
    assert_eq!(workspace.sessions(), 0);
}

/// Nothing legacy leaves before the initialize answer, nor before `initialized` was accepted, however
/// fast the host is.
#[test]
fn a_host_that_does_not_wait_is_kept_in_order() {
    let workspace = Workspace::http();
    workspace.fault(json!({"kind": "delay", "ms": 100, "method": "initialize"}));
    workspace.fault(json!({"kind": "delay", "ms": 100, "method": "notifications/initialized"}));
    let mut gateway = Setup::workspace(&workspace).spawn();
    let call = call("1", "demo__echo", ECHO);
    gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n{call}\n").into_bytes());
    assert_eq!(gateway.answer("1").text(), "hello");
    let seen = workspace.seen(|seen| seen.http == "POST");
    let order: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.method.as_deref())
        .collect();
    assert_eq!(
        order,
        ["initialize", "notifications/initialized", "tools/call"]
    );
    assert!(
        seen[2].at_ms >= seen[1].at_ms + 100,
        "initialized was accepted first"
    );
    gateway.finish().code(0);
}

#[test]
fn settings_as_arguments_win_and_a_visible_token_is_warned_of() {
    let workspace = Workspace::http();
    let url = format!("AEROSTACK_WORKSPACE_URL={}", workspace.url);
    let token = format!("AEROSTACK_TOKEN={TOKEN}");
    let mut gateway = Setup::url("https://other.example.com/")
        .env("AEROSTACK_TOKEN", "mwt_other")
        .env("AEROSTACK_LOG_LEVEL", "warn")
        .args(&[
            "--env",
            &url,
            "--env",
            "AEROSTACK_TOKEN=mwt_first",
            "--env",
            &token,
        ])
        .spawn();
    gateway.initialize();
    let ended = gateway.finish().code(0);
    let warnings: Vec<_> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("ps"))
        .collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    assert!(warnings[0].contains("AEROSTACK_TOKEN") && warnings[0].contains(" warn: "));
    assert!(!ended.stderr.contains("mwt_"), "{}", ended.stderr);
}

/// 0.0.0.0 reaches this machine, but is no loopback name.
#[test]
fn allow_http_opens_other_hosts() {
    let server = RawServer::http(|request| json_reply(request, "{}"));
    let url = format!("http://0.0.0.0:{}/mcp", server.address.port());
    let refused = Setup::url(&url).spawn().finish().code(2);
    assert!(
        refused.stderr.contains("--allow-http"),
        "{}",
        refused.stderr
    );
    for setup in [
        Setup::url(&url).args(&["--allow-http"]),
        Setup::url(&url).env("AEROSTACK_ALLOW_HTTP", "1"),
    ] {
        let mut gateway = setup.spawn();
        gateway.initialize();
        let ended = gateway.finish().code(0);
        assert!(ended.stderr.contains("unencrypted"), "{}", ended.stderr);
    }
    // Loopback needs no leave, by any of its names.
    for host in ["localhost", "127.0.0.1", "127.1.2.3"] {
        let url = format!("http://{host}:{}/mcp", server.address.port());
        let mut gateway = Setup::url(&url).spawn();
        if host != "127.1.2.3" {
            gateway.initialize();
        }
        gateway.finish().code(0);
    }
}

/// A server without authentication gets no Authorization header.
#[test]
fn no_token_for_a_server_without_one() {
    let server = RawServer::http(|request| match request.header("authorization") {
        None => json_reply(request, "{}"),
        Some(_) => reply("400 Bad Request", "", "no token was asked for"),
    });
    let mut gateway = Setup::url(&server.url())
        .env("AEROSTACK_TOKEN", "none")
        .spawn();
    gateway.initialize();
    gateway.finish().code(0);
}

/// A token file is read again after a 401, once for each request.
#[test]
fn a_renewed_token_file_is_read_after_a_401() {
    let workspace = Workspace::http();
    let dir = common::Dir::new();
    let file = dir.file("token", "mwt_outdated\n");
    let mut gateway = Setup::workspace(&workspace)
        .without("AEROSTACK_TOKEN")
        .env("AEROSTACK_TOKEN_FILE", &file)
        .spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"");
    assert!(error.error().contains("Token invalid"), "{error:?}");
    dir.file("token", format!("{TOKEN}\n"));
    gateway.initialize();
    assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
    let ended = gateway.finish().code(0);
    assert!(!ended.stderr.contains("mwt_outdated"), "{}", ended.stderr);
}

/// 307 and 308 to the same origin are followed, method and body kept.
#[test]
fn redirects_within_the_origin_are_followed() {
    let server = RawServer::http(|request| {
        let to =
            |status: &str, location: &str| reply(status, &format!("Location: {location}\r\n"), "");
        match request.target() {
            "POST /mcp" => to("307 Temporary Redirect", "/one"),
            "POST /one" => to("308 Permanent Redirect", "two?x=1"),
            "POST /two?x=1" => to("307 Temporary Redirect", "//127.0.0.1/../three"),
            _ => json_reply(request, "{}"),
        }
    });
    let port = server.address.port();
    let own = RawServer::http(move |request| match request.target() {
        "POST /mcp" => {
            let location = "Location: /moved/mcp\r\n";
            reply("308 Permanent Redirect", location, "<p>moved</p>")
        }
        "POST /moved/mcp" => json_reply(request, r#"{"content":[{"text":"moved"}]}"#),
        _ => json_reply(request, "{}"),
    });
    let mut gateway = Setup::url(&own.url()).spawn();
    gateway.initialize();
    assert_eq!(gateway.ask(&call("1", "any", "{}")).text(), "moved");
    gateway.finish().code(0);
    // Another origin (no port is port 80): named, not followed.
    let mut gateway = Setup::url(&format!("http://127.0.0.1:{port}/mcp")).spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"");
    assert_eq!(error.at("/error/data/http_status"), 307);
    assert!(error.error().contains("//127.0.0.1/../three"), "{error:?}");
    gateway.finish().code(0);
}

/// I10: the token goes to no other origin, nor does anything else.
#[test]
fn redirects_to_another_origin_are_named_and_not_followed() {
    let other = RawServer::http(|request| json_reply(request, "{}"));
    let location = other.url();
    for status in [
        "307 Temporary Redirect",
        "308 Permanent Redirect",
        "302 Found",
        "303 See Other",
    ] {
        let header = format!("Location: {location}\r\n");
        let server = RawServer::http(move |_| reply(status, &header, ""));
        let mut gateway = Setup::url(&server.url()).spawn();
        gateway.send(INITIALIZE);
        let error = gateway.answer("\"init\"");
        assert_eq!(
            error.at("/error/data/http_status"),
            status[..3].parse::<u16>().expect("digits")
        );
        assert_eq!(error.at("/error/data/executed"), "no");
        assert!(error.error().contains(&location), "{error:?}");
        gateway.finish().code(0);
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_circle_of_redirects_ends() {
    let hops = std::sync::Arc::new(AtomicUsize::new(0));
    let count = hops.clone();
    let server = RawServer::http(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        reply("307 Temporary Redirect", "Location: /mcp\r\n", "")
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.send(INITIALIZE);
    assert_eq!(
        gateway.answer("\"init\"").at("/error/data/http_status"),
        307
    );
    assert_eq!(hops.load(Ordering::SeqCst), 4, "three are followed");
    gateway.finish().code(0);
}

// The modern era (2026-07-28).

/// Headers are made from the body, no session header ever.
#[test]
fn modern_requests_carry_the_headers_of_their_bodies() {
    let workspace = Workspace::https();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let discovered = gateway.ask(&modern("0", "server/discover", ""));
    assert_eq!(
        discovered.at("/result/supportedVersions"),
        json!(["2026-07-28"])
    );
    gateway.ask(&modern("1", "tools/list", ""));
    let route = r#""name":"demo__route","arguments":{"region":"Århus ","priority":42,"dry_run":true,"target":{"zone":"z1"}},"#;
    let routed = gateway.ask(&modern("2", "tools/call", route));
    assert_eq!(routed.at("/result/structuredContent/priority"), 42);
    let seen = workspace.requests("tools/call");
    let [seen] = &seen[..] else {
        panic!("{seen:?}")
    };
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "demo__route"),
        ("mcp-param-region", "=?base64?w4VyaHVzIA==?="),
        ("mcp-param-priority", "42"),
        ("mcp-param-dry-run", "true"),
        ("mcp-param-zone", "z1"),
    ] {
        assert_eq!(header(seen, name), Some(value), "{name}");
    }
    let resource = gateway.ask(&modern(
        "3",
        "resources/read",
        r#""uri":"files://notes/welcome.md","#,
    ));
    assert!(
        resource
            .at("/result/contents/0/text")
            .as_str()
            .is_some_and(|t| t.contains("Welcome"))
    );
    let prompt = gateway.ask(&modern(
        "4",
        "prompts/get",
        r#""name":"demo__greet","arguments":{"name":"Å"},"#,
    ));
    assert!(prompt.0.contains("Please greet"), "{prompt:?}");
    gateway.finish().code(0);
    assert!(
        workspace
            .seen(|seen| header(seen, "mcp-session-id").is_some())
            .is_empty()
    );
    assert!(workspace.seen(|seen| seen.http != "POST").is_empty());
}

/// What no header can hold as it is, is encoded: other letters, blanks at the ends, and what looks
/// encoded already. No name of anybody's may end a header.
#[test]
fn names_are_encoded_for_their_header() {
    let (tell, told) = mpsc::channel();
    let server = RawServer::http(move |request| {
        let name = request.header("mcp-name").map(str::to_owned);
        tell.send(name).expect("the test listens");
        json_reply(request, "{}")
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    let mut check = |method: &str, member: &str, raw: &str, expect: &str| {
        let params = format!(r#""{member}":"{raw}","#);
        let answer = gateway.ask(&modern("1", method, &params));
        assert_eq!(answer.at("/result"), json!({}));
        assert_eq!(told.recv().expect("it was asked").as_deref(), Some(expect));
    };
    check("tools/call", "name", "plain__tool", "plain__tool");
    check("tools/call", "name", "två ord", "=?base64?dHbDpSBvcmQ=?=");
    check(
        "tools/call",
        "name",
        r"a\r\nX-Evil: 1",
        "=?base64?YQ0KWC1FdmlsOiAx?=",
    );
    check("prompts/get", "name", " led", "=?base64?IGxlZA==?=");
    check("prompts/get", "name", r"\u00e5", "=?base64?w6U=?=");
    let looks_encoded = "=?base64?PT9iYXNlNjQ/ZUE9PT89?=";
    check("resources/read", "uri", "=?base64?eA==?=", looks_encoded);
    check(
        "resources/read",
        "uri",
        "file:///å",
        "=?base64?ZmlsZTovLy/DpQ==?=",
    );
    gateway.finish().code(0);
}

/// -32020 because the tool's annotations are not known yet: they are learnt, the call is repeated.
#[test]
fn a_header_mismatch_is_mended_once() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let route = r#""name":"demo__route","arguments":{"region":"eu"},"#;
    let routed = gateway.ask(&modern("1", "tools/call", route));
    assert_eq!(routed.at("/result/structuredContent/region"), "eu");
    assert_eq!(workspace.requests("tools/call").len(), 2);
    assert_eq!(workspace.executions("demo__route"), 1);
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.is_empty(),
        "the list was not the host's: {ended:?}"
    );
}

/// Both eras in one process, side by side.
#[test]
fn both_eras_side_by_side() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let echo = r#""name":"demo__echo","arguments":{"text":"modern"},"#;
    for n in 0..20 {
        gateway.send(&call(&format!("{n}"), "demo__echo", r#"{"text":"legacy"}"#));
        gateway.send(&modern(&format!("\"m{n}\""), "tools/call", echo));
    }
    for n in 0..20 {
        assert_eq!(gateway.answer(&format!("{n}")).text(), "legacy");
        let answer = gateway.answer(&format!("\"m{n}\""));
        assert_eq!(
            (answer.text().as_str(), answer.at("/result/resultType")),
            ("modern", json!("complete"))
        );
    }
    for seen in workspace.requests("tools/call") {
        let modern = header(&seen, "mcp-method").is_some();
        assert_ne!(
            modern,
            header(&seen, "mcp-session-id").is_some(),
            "{seen:?}"
        );
    }
    gateway.finish().code(0);
}

/// The era probe against a server of the handshake era: an error with the request's id, so that the
/// host falls back, and the handshake works after it.
#[test]
fn the_era_probe_of_a_legacy_workspace_is_answered_with_an_error() {
    let workspace = Workspace::http();
    workspace.set(json!({"modern": false}));
    let mut gateway = Setup::workspace(&workspace).spawn();
    let answer = gateway.ask(&modern("\"probe\"", "server/discover", ""));
    assert!(answer.at("/error/code").is_i64(), "{answer:?}");
    gateway.initialize();
    assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
    gateway.finish().code(0);
}

/// Silence would cost the host a minute.
#[test]
fn the_era_probe_of_a_silent_workspace_is_answered() {
    let workspace = Workspace::http();
    workspace.fault(json!({"kind": "never", "method": "server/discover"}));
    let mut gateway = Setup::workspace(&workspace).spawn();
    let answer = gateway.ask(&modern("\"probe\"", "server/discover", ""));
    let code = answer.at("/error/code").as_i64().expect("a code");
    assert!(!(-32_022..=-32_020).contains(&code), "{answer:?}");
    gateway.finish().code(0);
}

#[test]
fn subscriptions_carry_announcements_and_end_well() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let filter =
        r#""notifications":{"toolsListChanged":true,"resourceSubscriptions":["files://a"]},"#;
    gateway.send(&modern("\"sub\"", "subscriptions/listen", filter));
    gateway.message("notifications/subscriptions/acknowledged");
    workspace
        .state
        .announce("notifications/tools/list_changed", "toolsListChanged");
    let change = gateway.message("notifications/tools/list_changed");
    assert!(
        change
            .0
            .contains(r#""io.modelcontextprotocol/subscriptionId":"sub""#),
        "{change:?}"
    );
    workspace.state.announce_resource("files://a");
    gateway.message("notifications/resources/updated");
    // A graceful end is a result.
    aerostack_workspace::modern::end_listeners(&workspace.state, true);
    assert!(gateway.answer("\"sub\"").0.contains("\"result\""));
    // An abrupt one is told as well.
    gateway.send(&modern("\"again\"", "subscriptions/listen", filter));
    gateway.message("notifications/subscriptions/acknowledged");
    aerostack_workspace::modern::end_listeners(&workspace.state, false);
    let error = gateway.answer("\"again\"");
    assert!(error.error().contains("subscribe again"), "{error:?}");
    gateway.finish().code(0);
}

/// A modern cancel closes the stream and is not POSTed.
#[test]
fn a_modern_cancel_closes_the_stream() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let filter = r#""notifications":{"toolsListChanged":true},"#;
    gateway.send(&modern("5", "subscriptions/listen", filter));
    gateway.message("notifications/subscriptions/acknowledged");
    gateway
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#);
    workspace.wait("the listener is gone", |state| {
        state
            .listeners
            .lock()
            .expect("not poisoned")
            .is_empty()
            .then_some(())
    });
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
    assert!(workspace.requests("notifications/cancelled").is_empty());
}

/// An open subscription does not hold up the end.
#[test]
fn an_open_subscription_ends_with_stdin() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .args(&["--drain-timeout", "600"])
        .spawn();
    gateway.send(&modern(
        "5",
        "subscriptions/listen",
        r#""notifications":{},"#,
    ));
    gateway.message("notifications/subscriptions/acknowledged");
    let ended = gateway.finish().code(0);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert_eq!(ended.lines[0].id().as_deref(), Some("5"));
}

/// Errors of the modern era reach the host unchanged, for they steer its choice of an era.
#[test]
fn modern_errors_pass_untouched() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let unknown = gateway.ask(&modern("1", "no/such/method", ""));
    assert_eq!(unknown.at("/error/code"), -32_601);
    let version = modern("2", "tools/list", "").replace("2026-07-28", "2099-01-01");
    let error = gateway.ask(&version);
    assert_eq!(error.at("/error/code"), -32_022);
    assert_eq!(error.at("/error/data/requested"), "2099-01-01");
    assert!(error.at("/error/data/supported").is_array());
    gateway.finish().code(0);
}

/// A tool whose header annotations break the rules is left out, the others keep every byte.
#[test]
fn tools_with_broken_annotations_are_left_out_of_a_modern_list() {
    let good = r#"{"name":"good", "inputSchema":{"type":"object"},"x":1E400}"#;
    let bad = r#"{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}}}"#;
    let result = format!(r#"{{"tools":[{bad},{good}],"ttlMs":0,"resultType":"complete"}}"#);
    let server = RawServer::http(move |request| json_reply(request, &result));
    let mut gateway = Setup::url(&server.url()).spawn();
    let modern_list = gateway.ask(&modern("1", "tools/list", ""));
    assert!(
        modern_list.0.contains(good) && modern_list.0.contains("\"ttlMs\":0"),
        "{modern_list:?}"
    );
    assert!(!modern_list.0.contains("\"bad\""), "{modern_list:?}");
    // A legacy host gets what the server said.
    gateway.initialize();
    let legacy_list = gateway.ask(&request("2", "tools/list"));
    assert!(legacy_list.0.contains(bad) && legacy_list.0.contains(good));
    let ended = gateway.finish().code(0);
    assert!(
        ended.stderr.contains("bad"),
        "the reason is logged: {}",
        ended.stderr
    );
}

/// One id, one request: a second one with it while the first is under way is refused.
#[test]
fn an_id_in_use_is_refused() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    gateway.send(&call("1", "demo__wait", "{}"));
    workspace.wait_requests("tools/call", 1);
    let refused = gateway.ask(&call("1", "demo__echo", ECHO));
    assert_eq!(refused.at("/error/code"), -32_600);
    assert_eq!(refused.at("/error/data/executed"), "no");
    workspace.wait("it runs", |_| {
        (workspace.executions("demo__wait") == 1).then_some(())
    });
    workspace.release();
    assert_eq!(gateway.answer("1").text(), "released");
    // Then it is free again.
    assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
    gateway.finish().code(0);
}

/// More requests at once than are kept in the works: stdin is read in turns, each is answered.
#[test]
fn more_requests_than_the_gateway_keeps_are_all_answered() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_LOG_LEVEL", "warn")
        .spawn();
    let mut lines = format!("{INITIALIZE}\n{INITIALIZED}\n");
    const CALLS: usize = 6_000;
    for n in 0..CALLS {
        lines += &call(&n.to_string(), "demo__echo", ECHO);
        lines.push('\n');
    }
    gateway.write(lines.into_bytes());
    let mut answered = vec![false; CALLS];
    gateway.answer("\"init\"");
    for _ in 0..CALLS {
        let answer = gateway.next();
        let n: usize = answer
            .id()
            .and_then(|id| id.parse().ok())
            .expect("an answer");
        assert_eq!(answer.text(), "hello");
        assert!(!std::mem::replace(&mut answered[n], true), "{n} twice");
    }
    gateway.finish().code(0);
}

/// A host that speaks before its handshake hears what the workspace thinks of that.
#[test]
fn a_request_before_the_handshake_goes_without_a_session() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let refused = gateway.ask(&request("1", "tools/list"));
    assert!(
        refused.error().contains("Mcp-Session-Id is missing"),
        "{refused:?}"
    );
    gateway.initialize();
    assert!(
        gateway
            .ask(&request("2", "tools/list"))
            .0
            .contains("demo__echo")
    );
    gateway.finish().code(0);
}

/// What the levels say: arguments and answers stay out of the log above debug, the token always.
#[test]
fn log_levels() {
    let secret = "argument-of-a-call";
    for (level, lines) in [("error", 0), ("info", 1)] {
        let workspace = Workspace::http();
        let mut gateway = Setup::workspace(&workspace)
            .env("AEROSTACK_LOG_LEVEL", level)
            .spawn();
        gateway.initialize();
        gateway.ask(&call(
            "1",
            "demo__echo",
            &format!(r#"{{"text":"{secret}"}}"#),
        ));
        let ended = gateway.finish().code(0);
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        assert!(ended.stderr.lines().count() >= lines, "{}", ended.stderr);
        assert!(
            level == "info" || ended.stderr.is_empty(),
            "{}",
            ended.stderr
        );
        for line in ended.stderr.lines() {
            let (time, rest) = line.split_once(' ').expect("time first");
            assert!(time.ends_with('Z') && time.len() == 24, "{line}");
            assert!(rest.starts_with("aerostack-gateway info: "), "{line}");
        }
    }
}

/// An address of IPv6, where the machine has any.
#[test]
fn ipv6_by_address() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        return;
    };
    let server = RawServer::on(listener, |mut stream, _| {
        while let Some(request) = common::Request::read(&mut stream) {
            let answer = json_reply(&request, "{}");
            std::io::Write::write_all(&mut stream, &answer).expect("it reads");
        }
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    gateway.finish().code(0);
}
