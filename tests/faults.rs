//! What goes wrong between the gateway and a workspace: each request still gets exactly one answer,
//! which says what happened, whether the call may have run, and what to do; and no call runs twice.

mod common;

use common::{
    Gateway, INITIALIZE, INITIALIZED, Line, Nobody, RawServer, Request, Setup, Workspace, call,
    chunk, json_reply, modern, reply, request,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ECHO: &str = r#"{"text":"hello"}"#;

/// An error of the gateway's own: code outside the reserved ranges, data as the contract has it.
fn check_error(error: &Line, status: Option<u16>, executed: &str, words: &[&str]) {
    let message = error.error();
    assert_eq!(error.at("/error/code"), -32_603, "{error:?}");
    assert_eq!(error.at("/error/data/executed"), executed, "{error:?}");
    let came = error.json().pointer("/error/data/http_status").cloned();
    assert_eq!(came, status.map(Value::from), "{error:?}");
    for word in words {
        assert!(message.contains(word), "{message}\nlacks {word}");
    }
    let ran = match executed {
        "no" => "not executed",
        _ => "may have been executed",
    };
    assert!(message.contains(ran), "{message}");
}

/// One call with a fault; the next one is served as if nothing had been.
fn check(fault: Value, status: Option<u16>, executed: &str, words: &[&str]) {
    for secure in [false, true] {
        let workspace = if secure {
            Workspace::https()
        } else {
            Workspace::http()
        };
        let mut gateway = Gateway::connected(&workspace);
        let mut fault = fault.clone();
        fault["method"] = json!("tools/call");
        workspace.fault(fault);
        let error = gateway.ask(&call("1", "demo__echo", ECHO));
        check_error(&error, status, executed, &[&["demo__echo"], words].concat());
        let ran = workspace.executions("demo__echo");
        assert!(
            ran <= 1 && (executed == "unknown" || ran == 0),
            "{ran} executions"
        );
        let next = gateway.ask(&call("2", "demo__echo", ECHO));
        assert_eq!(next.text(), "hello");
        assert_eq!(
            workspace.requests("tools/call").len(),
            2,
            "nothing was sent twice"
        );
        let ended = gateway.finish().code(0);
        assert!(ended.lines.is_empty(), "{ended:?}");
    }
}

#[test]
fn statuses_that_refuse() {
    let status =
        |status: u16, body: &str| json!({"kind": "status", "status": status, "body": body});
    check(
        status(401, "json"),
        Some(401),
        "no",
        &["Token invalid", "AEROSTACK_TOKEN", "fault on purpose"],
    );
    check(
        status(403, "text"),
        Some(403),
        "no",
        &["not allowed", "role"],
    );
    check(
        status(429, "json"),
        Some(429),
        "no",
        &["rate limit", "Try again later"],
    );
    check(status(405, "empty"), Some(405), "no", &["HTTP+SSE"]);
    check(status(413, "html"), Some(413), "no", &["too large"]);
    check(status(418, "html"), Some(418), "no", &["HTML page"]);
}

#[test]
fn statuses_after_which_nobody_knows() {
    let status =
        |status: u16, body: &str| json!({"kind": "status", "status": status, "body": body});
    check(
        status(500, "json"),
        Some(500),
        "unknown",
        &["HTTP 500", "fault on purpose", "Try again"],
    );
    check(status(502, "html"), Some(502), "unknown", &["HTTP 502"]);
    check(status(503, "empty"), Some(503), "unknown", &["HTTP 503"]);
    check(status(504, "text"), Some(504), "unknown", &["HTTP 504"]);
    let executed = json!({"kind": "status", "status": 500, "execute": true});
    check(executed, Some(500), "unknown", &["HTTP 500"]);
}

/// A status with a JSON-RPC error without id: the peer's own words, under the request's id.
#[test]
fn a_json_rpc_error_in_a_refusal_is_passed_on() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let fault = json!({"kind": "status", "status": 400, "body": "jsonrpc", "method": "tools/call"});
    workspace.fault(fault);
    let error = gateway.ask(&call("\"x\"", "demo__echo", ECHO));
    assert_eq!(error.error(), "this is a fault on purpose");
    // And errors of the workspace's own, whatever they hold, come as they are.
    let own = gateway.ask(&call(
        "1",
        "demo__fail",
        r#"{"code":-12345,"message":"mine"}"#,
    ));
    assert_eq!(own.at("/error/code"), -12_345);
    let tool = gateway.ask(&call("2", "demo__fail", r#"{"message":"a tool error"}"#));
    assert_eq!(tool.at("/result/isError"), true);
    let unknown = gateway.ask(&call("3", "no__such_tool", "{}"));
    assert_eq!(unknown.at("/error/code"), -32_602);
    gateway.finish().code(0);
}

#[test]
fn answers_that_are_none() {
    let body = |text: &str, kind: &str| json!({"kind": "body", "text": text, "content_type": kind});
    let page = "<!doctype html><title>Hotel WiFi: sign in</title>";
    check(
        body(page, "text/html"),
        Some(200),
        "unknown",
        &["HTML page", "Hotel WiFi", "captive portal"],
    );
    check(body("oops", "text/plain"), Some(200), "unknown", &["oops"]);
    check(
        body("", "application/json"),
        Some(200),
        "unknown",
        &["without an answer"],
    );
    check(
        body("{\"jsonrpc\":\"2.0\"", "application/json"),
        Some(200),
        "unknown",
        &["no JSON-RPC"],
    );
    check(
        body("42", "application/json"),
        Some(200),
        "unknown",
        &["no JSON-RPC"],
    );
    check(
        json!({"kind": "wrong_id"}),
        None,
        "unknown",
        &["id of another request"],
    );
}

/// A call is accepted, or its stream ends, without an answer: where the server has no event stream of
/// the session, none can come elsewhere.
#[test]
fn answers_that_can_come_from_nowhere() {
    for (fault, status) in [
        (
            json!({"kind": "status", "status": 202, "body": "empty"}),
            202,
        ),
        (json!({"kind": "sse_cut"}), 200),
    ] {
        let workspace = Workspace::http();
        workspace.fault(json!({"kind": "status", "status": 405, "http": "GET"}));
        let mut gateway = Setup::workspace(&workspace).spawn();
        gateway.send(&INITIALIZE.replace("2025-11-25", "2025-06-18"));
        gateway.answer("\"init\"");
        gateway.send(INITIALIZED);
        workspace.wait_seen("the event stream", 1, |seen| seen.http == "GET");
        let mut fault = fault.clone();
        fault["method"] = json!("tools/call");
        workspace.fault(fault);
        let error = gateway.ask(&call("1", "demo__echo", ECHO));
        check_error(&error, Some(status), "unknown", &["without an answer"]);
        assert_eq!(workspace.requests("tools/call").len(), 1);
        gateway.finish().code(0);
    }
}

/// An answer without id can be for nobody else, but only an error may lack it.
#[test]
fn an_answer_without_id() {
    check(
        json!({"kind": "null_id"}),
        None,
        "unknown",
        &["another request"],
    );
}

#[test]
fn connections_that_break() {
    check(
        json!({"kind": "reset"}),
        None,
        "unknown",
        &["the answer was complete"],
    );
    check(
        json!({"kind": "reset", "execute": true}),
        None,
        "unknown",
        &["the answer was complete"],
    );
    check(
        json!({"kind": "truncate", "bytes": 20}),
        None,
        "unknown",
        &["the answer was complete"],
    );
    check(
        json!({"kind": "half_chunk", "bytes": 20}),
        None,
        "unknown",
        &["the answer was complete"],
    );
}

/// A stream that ends without its answer is resumed, where the server gave it an id; then it is lost.
#[test]
fn a_stream_that_ends_without_an_answer() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    workspace.fault(json!({"kind": "sse_cut", "method": "tools/call"}));
    let echo = r#""name":"demo__echo","arguments":{"text":"x"},"#;
    let error = gateway.ask(&modern("2", "tools/call", echo));
    check_error(&error, Some(200), "unknown", &["without an answer"]);
    assert_eq!(workspace.executions("demo__echo"), 1);
    gateway.finish().code(0);
}

/// The stream of a call breaks after its first event: the rest comes by GET.
#[test]
fn a_broken_stream_of_a_call_is_resumed() {
    for secure in [false, true] {
        let workspace = if secure {
            Workspace::https()
        } else {
            Workspace::http()
        };
        let mut gateway = Gateway::connected(&workspace);
        // The priming event passes, the messages do not.
        workspace.fault(json!({"kind": "half_chunk", "bytes": 120, "method": "tools/call"}));
        let answer = gateway.ask(&call("1", "demo__log", r#"{"count":30}"#));
        assert_eq!(answer.text(), "logged");
        for n in 1..=30 {
            let message = gateway.message("notifications/message");
            assert_eq!(message.at("/params/data"), format!("message {n} of 30"));
        }
        let resumed = workspace.seen(|seen| common::header(seen, "last-event-id").is_some());
        assert_eq!((resumed.len(), workspace.executions("demo__log")), (1, 1));
        let ended = gateway.finish().code(0);
        assert!(ended.lines.is_empty(), "nothing came twice: {ended:?}");
    }
}

/// What is harmless is repeated at most three times before the host hears of it.
#[test]
fn harmless_requests_are_repeated() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    let fault = |method: &str, count: u32| {
        workspace.fault(json!({"kind": "status", "status": 503, "method": method, "count": count}));
    };
    fault("initialize", 1);
    gateway.initialize();
    workspace.fault(json!({"kind": "reset", "method": "tools/list", "count": 2}));
    assert!(
        gateway
            .ask(&request("1", "tools/list"))
            .0
            .contains("demo__echo")
    );
    assert_eq!(workspace.requests("tools/list").len(), 3);
    fault("ping", 3);
    assert!(gateway.ask(&request("2", "ping")).0.contains("\"result\""));
    fault("resources/list", 9);
    let error = gateway.ask(&request("3", "resources/list"));
    check_error(&error, Some(503), "unknown", &["HTTP 503"]);
    assert_eq!(workspace.requests("resources/list").len(), 4);
    gateway.finish().code(0);
}

/// `initialized` that gets lost is said again: without it nothing would go on.
#[test]
fn a_lost_initialized_is_said_again() {
    let workspace = Workspace::http();
    workspace.fault(json!({"kind": "reset", "method": "notifications/initialized"}));
    let mut gateway = Gateway::connected(&workspace);
    assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
    assert_eq!(workspace.requests("notifications/initialized").len(), 2);
    gateway.finish().code(0);
}

fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// 429 with a hint of at most 30 s is waited out, by all requests of the token; the call runs once.
#[test]
fn a_rate_limit_is_waited_out() {
    for header in [
        ("retry-after", "1".to_owned()),
        ("x-ratelimit-reset", (unix_s() + 2).to_string()),
    ] {
        let workspace = Workspace::http();
        let mut gateway = Gateway::connected(&workspace);
        workspace.fault(
            json!({"kind": "status", "status": 429, "headers": [header], "method": "tools/call"}),
        );
        gateway.send(&call("1", "demo__echo", ECHO));
        workspace.wait_requests("tools/call", 1);
        for id in ["2", "3"] {
            gateway.send(&call(id, "demo__echo", ECHO));
        }
        for id in ["1", "2", "3"] {
            assert_eq!(gateway.answer(id).text(), "hello");
        }
        let calls = workspace.requests("tools/call");
        assert_eq!((calls.len(), workspace.executions("demo__echo")), (4, 3));
        // One of them was refused: it came again after the pause, not before.
        let times = |id: &str| -> Vec<u64> {
            let mine = calls.iter().filter(|seen| seen.id.as_deref() == Some(id));
            mine.map(|seen| seen.at_ms).collect()
        };
        let refused = ["1", "2", "3"]
            .map(times)
            .into_iter()
            .find(|times| times.len() == 2);
        let refused = refused.expect("one came twice");
        if header.0 == "retry-after" {
            assert!(refused[1] >= refused[0] + 900, "{refused:?}");
        }
        gateway.finish().code(0);
    }
}

/// A wait of the rate limit can be cancelled, and ends with stdin.
#[test]
fn a_wait_for_the_rate_limit_is_cancelled_and_ends_with_stdin() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .args(&["--drain-timeout", "0.2"])
        .spawn();
    gateway.initialize();
    let fault = json!({"kind": "status", "status": 429, "headers": [("retry-after", "30")], "method": "tools/call", "count": 2});
    workspace.fault(fault);
    gateway.send(&call("1", "demo__echo", ECHO));
    workspace.wait_requests("tools/call", 1);
    gateway.send(&call("2", "demo__echo", ECHO));
    gateway
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#);
    let ended = gateway.finish().code(0);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert_eq!(ended.lines[0].id().as_deref(), Some("1"));
    assert_eq!(workspace.executions("demo__echo"), 0);
}

/// A longer wait is the host's decision.
#[test]
fn a_long_rate_limit_is_an_error_with_its_seconds() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let headers = [("retry-after", "3600")];
    workspace.fault(
        json!({"kind": "status", "status": 429, "headers": headers, "method": "tools/call"}),
    );
    let error = gateway.ask(&call("1", "demo__echo", ECHO));
    check_error(&error, Some(429), "no", &["Try again in 3600 s"]);
    assert_eq!(error.at("/error/data/retry_after_s"), 3600);
    assert_eq!(gateway.ask(&call("2", "demo__echo", ECHO)).text(), "hello");
    gateway.finish().code(0);
}

/// A workspace that says 404 to its own session, twice: no circle, one clear error.
#[test]
fn no_workspace_at_this_url() {
    let workspace = Workspace::http();
    let url = workspace.url.replace("/ws/demo", "/ws/typo");
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_WORKSPACE_URL", &url)
        .spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"");
    check_error(
        &error,
        Some(404),
        "no",
        &["no workspace", "AEROSTACK_WORKSPACE_URL"],
    );
    gateway.finish().code(0);
    let server = RawServer::http(|request| match request.is("tools/call") {
        true => reply("404 Not Found", "", ""),
        false => with_session(json_reply(request, "{}")),
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    let error = gateway.ask(&call("1", "any", "{}"));
    check_error(&error, Some(404), "no", &["no workspace"]);
    gateway.finish().code(0);
}

fn with_session(reply: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(reply).expect("ours");
    text.replacen("\r\n", "\r\nMcp-Session-Id: raw-session\r\n", 1)
        .into_bytes()
}

#[test]
fn nobody_listens() {
    let nobody = Nobody::new();
    let mut gateway = Setup::url(&format!("http://{}/mcp", nobody.address())).spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"");
    check_error(
        &error,
        None,
        "no",
        &["Workspace unreachable", "refused the connection"],
    );
    let error = gateway.ask(&call("1", "any", "{}"));
    check_error(&error, None, "no", &["Workspace unreachable"]);
    gateway.finish().code(0);
}

/// `.invalid` is never a name (RFC 6761), with or without a resolver.
#[test]
fn a_name_that_does_not_exist() {
    let mut gateway = Setup::url("https://workspace.invalid/ws/x").spawn();
    let error = gateway.ask(&call("1", "any", "{}"));
    check_error(
        &error,
        None,
        "no",
        &["workspace.invalid", "not found", "DNS"],
    );
    gateway.finish().code(0);
}

/// The workspace goes away in mid-session and comes back: nothing is restarted.
#[test]
fn an_outage_passes() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    gateway.ask(&call("1", "demo__echo", ECHO));
    workspace.set(json!({"outage": "refuse"}));
    workspace
        .state
        .connections()
        .iter()
        .for_each(|connection| connection.reset());
    let error = gateway.ask(&call("2", "demo__echo", ECHO));
    assert_eq!(error.at("/error/code"), -32_603);
    workspace.state.end_sessions();
    workspace.set(json!({"outage": "none"}));
    assert_eq!(gateway.ask(&call("3", "demo__echo", ECHO)).text(), "hello");
    gateway.finish().code(0);
    assert_eq!(workspace.executions("demo__echo"), 2);
}

/// AEROSTACK_REQUEST_TIMEOUT ends a call that is never answered, and the workspace is told.
#[test]
fn a_call_that_is_never_answered_ends_by_the_time_that_was_set() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_REQUEST_TIMEOUT", "0.3")
        .spawn();
    gateway.initialize();
    let error = gateway.ask(&call("1", "demo__wait", "{}"));
    check_error(&error, None, "unknown", &["no answer", "demo__wait"]);
    let cancels = workspace.wait_requests("notifications/cancelled", 1);
    assert!(cancels[0].body.contains("\"requestId\":1"), "{cancels:?}");
    gateway.finish().code(0);
}

// Stale connections.

/// The server closes an idle connection unannounced: noticed, the next call takes a new one.
#[test]
fn an_idle_connection_that_was_closed_is_not_used() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    for n in 0..20 {
        workspace.fault(json!({"kind": "close_idle", "method": "tools/call"}));
        let answer = gateway.ask(&call(&n.to_string(), "demo__echo", ECHO));
        // The FIN may cross the next call: then it is an error, never a second execution.
        match answer.json().get("error") {
            None => assert_eq!(answer.text(), "hello"),
            Some(_) => check_error(&answer, None, "unknown", &["demo__echo"]),
        }
        assert!(workspace.executions("demo__echo") <= n + 1);
    }
    gateway.finish().code(0);
}

/// A kept connection dies as the next request arrives: a call is not repeated, for it may have run;
/// what is harmless is.
#[test]
fn a_call_on_a_stale_connection_is_never_repeated() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    for n in 0..10 {
        workspace.fault(json!({"kind": "close_on_next", "method": "ping"}));
        gateway.ask(&request(&format!("\"p{n}\""), "ping"));
        let before = workspace.executions("demo__echo");
        let answer = gateway.ask(&call(&n.to_string(), "demo__echo", ECHO));
        match answer.json().get("error") {
            // It had another connection.
            None => assert_eq!(workspace.executions("demo__echo"), before + 1),
            Some(_) => {
                check_error(&answer, None, "unknown", &["demo__echo"]);
                assert_eq!(workspace.executions("demo__echo"), before);
            }
        }
        workspace.fault(json!({"kind": "close_on_next", "method": "ping"}));
        gateway.ask(&request(&format!("\"q{n}\""), "ping"));
        let list = gateway.ask(&request(&format!("\"l{n}\""), "tools/list"));
        assert!(list.0.contains("demo__echo"), "{list:?}");
    }
    gateway.finish().code(0);
}

/// The server executes, then closes the reused connection without a byte: the gateway can not know,
/// and must not send it again.
#[test]
fn a_silent_close_after_a_call_is_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let server = RawServer::start(move |mut stream, _| {
        while let Some(request) = Request::read(&mut stream) {
            if request.is("tools/call") {
                count.fetch_add(1, Ordering::SeqCst);
                return;
            }
            stream
                .write_all(&json_reply(&request, "{}"))
                .expect("it reads");
        }
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    gateway.ask(&request("0", "ping"));
    let error = gateway.ask(&call("1", "any", "{}"));
    check_error(&error, None, "unknown", &["closed the connection"]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    gateway.finish().code(0);
}

// HTTP as it is allowed to be, and as it is not.

/// Serves each tools/call with these bytes and then what `after` does with the connection.
fn answers_with(bytes: Vec<u8>, close: bool) -> RawServer {
    RawServer::start(move |mut stream, _| {
        while let Some(request) = Request::read(&mut stream) {
            if !request.is("tools/call") {
                stream
                    .write_all(&json_reply(&request, "{}"))
                    .expect("it reads");
                continue;
            }
            // Byte by byte: no border may matter.
            stream.set_nodelay(true).expect("a socket");
            if bytes.iter().any(|byte| stream.write_all(&[*byte]).is_err()) || close {
                return;
            }
        }
    })
}

fn check_http(bytes: &[u8], close: bool, expect: Result<(), &[&str]>) {
    let server = answers_with(bytes.to_vec(), close);
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    let answer = gateway.ask(&call("1", "any", "{}"));
    match expect {
        Ok(()) => assert_eq!(answer.text(), "fine", "{}", String::from_utf8_lossy(bytes)),
        Err(words) => {
            let message = answer.error();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            assert_eq!(answer.at("/error/data/executed"), "unknown");
        }
    }
    gateway.ask(&request("2", "ping"));
    gateway.finish().code(0);
}

const FINE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"fine"}]}}"#;

#[test]
fn unusual_http_is_understood() {
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let length = FINE.len();
    let (one, two) = FINE.split_at(30);
    let (head, tail) = FINE.split_at(24);
    let chunks = [chunk(one), chunk(two)].concat();
    let chunks = String::from_utf8(chunks).expect("ours");
    let with_extension = chunks.replacen("1e\r\n", "01E;name=\"a;b\"\r\n", 1);
    let chunked = format!("HTTP/1.1 200 OK\r\n{json}Transfer-Encoding: chunked\r\n\r\n");
    for (bytes, close) in [
        (format!("HTTP/1.1 200 OK\r\n{json}\r\n{FINE}"), true),
        (
            format!("HTTP/1.0 200 OK\r\n{json}Content-Length: {length}\r\n\r\n{FINE}"),
            false,
        ),
        (
            format!("HTTP/1.1 200\r\n{json}Content-Length: {length}\r\n\r\n{FINE}"),
            false,
        ),
        (format!("{chunked}{chunks}0\r\n\r\n"), false),
        (
            format!("{chunked}{with_extension}0\r\nTrailer: x\r\nOther: y\r\n\r\n"),
            false,
        ),
        (
            format!(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{chunked}{chunks}0\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\n{json}Connection: close\r\nContent-Length: {length}\r\n\r\n{FINE}"
            ),
            true,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\r\n\r\ndata: {head}\r\ndata: {tail}\r\n\r\n"
            ),
            true,
        ),
    ] {
        check_http(bytes.as_bytes(), close, Ok(()));
    }
}

#[test]
fn broken_http_is_one_clear_error() {
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = FINE.len() + 5;
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{FINE}");
    let cut = [chunked.as_bytes(), &chunk(FINE)].concat();
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (bytes, words) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], &["HTTP/1.1"][..]),
        (short.as_bytes(), &["before its answer was complete"]),
        (&cut, &["before its answer was complete"]),
        (&[chunked.as_bytes(), b"zz\r\n"].concat(), &["HTTP/1.1"]),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            &["HTTP/1.1"],
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            &["HTTP/1.1"],
        ),
        (long_head.as_bytes(), &["HTTP/1.1"]),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
            &["br"],
        ),
        (b"", &["before its answer was complete"]),
    ] {
        check_http(bytes, true, Err(words));
    }
}

/// Text of the network that reaches the log or a message can not move a cursor or forge a line.
#[test]
fn control_characters_of_a_server_are_not_passed_to_the_log() {
    let server = RawServer::http(|request| match request.is("tools/call") {
        true => reply(
            "403 Forbidden",
            "Content-Type: text/plain\r\n",
            "no\u{1b}[2J\nforged\u{202e}",
        ),
        false => json_reply(request, "{}"),
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    let error = gateway.ask(&call("\"a\\u001b\"", "any", "{}"));
    assert!(
        !error.error().contains(['\u{1b}', '\n', '\u{202e}']),
        "{error:?}"
    );
    let ended = gateway.finish().code(0);
    assert!(!ended.stderr.contains(['\u{1b}', '\u{202e}']));
    assert!(
        ended
            .stderr
            .lines()
            .all(|line| line.contains(" aerostack-gateway "))
    );
}

/// 130 calls that hang do not hold up a ping, a notification or a cancel.
#[test]
fn calls_that_hang_do_not_hold_up_what_is_urgent() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    for n in 0..130 {
        gateway.send(&call(&n.to_string(), "demo__wait", "{}"));
    }
    workspace.wait_requests("tools/call", 128);
    gateway.ask(&request("\"p\"", "ping"));
    gateway.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    workspace.wait_requests("notifications/roots/list_changed", 1);
    // The one that never left is dropped unsent; those in flight are told.
    gateway
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":129}}"#);
    gateway
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":0}}"#);
    workspace.wait_requests("notifications/cancelled", 1);
    workspace.wait_requests("tools/call", 129);
    workspace.wait("all run", |_| {
        (workspace.executions("demo__wait") == 129).then_some(())
    });
    workspace.release();
    for n in 1..129 {
        assert_eq!(gateway.answer(&n.to_string()).text(), "released");
    }
    assert_eq!(workspace.requests("notifications/cancelled").len(), 1);
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
}

/// A half-open server: it accepts and never says a word. The host's request waits, the rest works.
#[test]
fn a_server_that_accepts_and_is_silent_does_not_hold_up_the_end() {
    let (keep, kept) = mpsc::channel::<TcpStream>();
    let server = RawServer::start(move |stream, _| {
        keep.send(stream).ok();
    });
    let mut gateway = Setup::url(&server.url())
        .args(&["--drain-timeout", "0.2"])
        .spawn();
    gateway.send(&call("1", "any", "{}"));
    gateway.send("not JSON");
    assert_eq!(gateway.next().at("/error/code"), -32_700);
    let ended = gateway.finish().code(0);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
    assert_eq!(ended.lines[0].at("/error/data/executed"), "unknown");
    drop(kept);
}

/// "404 with -32601" is how a server says that it has no such method: no session is lost by it.
#[test]
fn an_unknown_method_with_404_is_no_lost_session() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let server = RawServer::http(move |request| {
        if request.is("initialize") {
            count.fetch_add(1, Ordering::SeqCst);
            let plain = String::from_utf8(json_reply(request, "{}")).expect("text");
            return plain
                .replacen("\r\n", "\r\nMcp-Session-Id: s1\r\n", 1)
                .into_bytes();
        }
        if request.is("acme/none") {
            let id = request.id();
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"none"}}}}"#
            );
            return reply("404 Not Found", "Content-Type: application/json\r\n", &body);
        }
        json_reply(request, "{}")
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    let error = gateway.ask(&request("1", "acme/none"));
    assert_eq!(
        error.0,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"none"}}"#
    );
    gateway.ask(&request("2", "ping"));
    assert_eq!(opened.load(Ordering::SeqCst), 1, "one session");
    gateway.finish().code(0);
}

/// A call was refused for its headers, and what they depend on can not be learnt: the host hears
/// what the server said of its call, not what became of our own request.
#[test]
fn what_a_server_said_is_not_lost_when_the_repeat_fails() {
    const MISMATCH: &str =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header x"}}"#;
    for list in ["403 Forbidden", "200 OK"] {
        let server = RawServer::http(move |request| {
            let json = "Content-Type: application/json\r\n";
            match request.is("tools/call") {
                true => reply("400 Bad Request", json, MISMATCH),
                false if request.is("tools/list") => reply(list, "", ""),
                false => json_reply(request, "{}"),
            }
        });
        let mut gateway = Setup::url(&server.url()).spawn();
        let line = modern("1", "tools/call", r#""name":"any","arguments":{},"#);
        assert_eq!(gateway.ask(&line).0, MISMATCH, "{list}");
        gateway.finish().code(0);
    }
}

/// Bytes that nobody asked for: the connection is out of step, and what they say is nobody's answer.
#[test]
fn bytes_on_an_idle_connection_end_it() {
    // Before it would be closed for its age, after 55 s.
    const SOON: Duration = Duration::from_secs(30);
    let (intrude, wanted) = mpsc::channel::<()>();
    let (ended, seen) = mpsc::channel::<()>();
    let wanted = std::sync::Mutex::new(wanted);
    let server = RawServer::start(move |mut stream, _| {
        use std::io::Read;
        while let Some(request) = Request::read(&mut stream) {
            let again = request.is("tools/call") && request.body.contains("\"id\":1,");
            if stream.write_all(&json_reply(&request, "{}")).is_err() {
                return;
            }
            if again {
                let wanted = wanted.lock().expect("not poisoned");
                wanted
                    .recv_timeout(common::DEADLINE)
                    .expect("the test says when");
                let body = r#"{"jsonrpc":"2.0","id":2,"result":{"forged":true}}"#;
                let forged = reply("200 OK", "Content-Type: application/json\r\n", body);
                stream.write_all(&forged).expect("it is open");
                // The gateway goes; it does not ask anything more here.
                stream.set_read_timeout(Some(SOON)).expect("a time");
                assert_eq!(stream.read(&mut [0; 1]).ok(), Some(0));
                ended.send(()).expect("it is waited for");
                return;
            }
        }
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    gateway.ask(&call("1", "any", "{}"));
    intrude.send(()).expect("the server waits");
    seen.recv_timeout(SOON).expect("the connection is closed");
    let answer = gateway.ask(&call("2", "any", "{}"));
    assert_eq!(answer.at("/result"), json!({}), "{answer:?}");
    gateway.finish().code(0);
}
