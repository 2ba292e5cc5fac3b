//! What a decision means for the call that waits for it.

use super::{ECHO, connected, echo, refused, succeeded};
use crate::common::{Setup, Workspace, call, header, modern, request};
use aerostack_workspace::approvals::Status;
use serde_json::{Value, json};

/// The decision is pushed: in both eras, by JSON and by event stream, over http and HTTPS, and the
/// retry is a new request that names its approval.
#[test]
fn a_pushed_approval_sends_the_call_again_once() {
    for (secure, replies) in [(false, "json"), (false, "sse"), (true, "auto")] {
        let workspace = Workspace::whole(match secure {
            true => Workspace::https(),
            false => Workspace::http(),
        });
        workspace.set(json!({"gates": ["demo__echo"], "replies": replies}));
        let mut gateway = Setup::whole(&workspace)
            .env("AEROSTACK_LOG_LEVEL", "info")
            .spawn();
        gateway.initialize();
        let by_era = [
            echo("1"),
            modern(
                "1",
                "tools/call",
                &format!(r#""name":"demo__echo","arguments":{ECHO},"#),
            ),
        ];
        for (era, call) in by_era.into_iter().enumerate() {
            gateway.send(&call);
            let id = workspace.one_pending();
            workspace.wait_sockets(2);
            workspace.approve(&id);
            assert_eq!(succeeded(&gateway.answer("1")), "hello");
            assert_eq!(workspace.executed(&id), 1);
            let calls = workspace.requests("tools/call");
            let [first, second] = &calls[calls.len() - 2..] else {
                panic!("{calls:?}")
            };
            assert_eq!(first.id.as_deref(), Some("1"));
            assert_ne!(second.id, first.id, "an id is used once in a session");
            let retry: Value = serde_json::from_str(&second.body).expect("JSON");
            assert_eq!(
                retry.pointer("/params/_meta/dev.aerostack~1approval_id"),
                Some(&json!(id))
            );
            let versioned = retry.pointer("/params/_meta/io.modelcontextprotocol~1protocolVersion");
            assert_eq!(versioned.is_some(), era == 1, "the host's _meta stays");
        }
        assert!(workspace.requests("aerostack/approvals/get").is_empty());
        let upgrades = workspace.seen(|seen| seen.http == "WS");
        assert!(
            upgrades
                .iter()
                .all(|seen| !seen.path.contains("mwt_") && header(seen, "authorization").is_some())
        );
        let ended = gateway.finish().code(0);
        let dashboard = workspace.state.dashboard_url();
        let said = |words: &str| {
            ended
                .stderr
                .lines()
                .filter(|line| line.contains(words))
                .count()
        };
        assert_eq!(
            said("waiting for approval of demo__echo (apr_"),
            2,
            "{}",
            ended.stderr
        );
        assert_eq!(said(&dashboard), 2, "{}", ended.stderr);
        assert_eq!(said("approved after"), 2, "{}", ended.stderr);
    }
}

/// The workspace executes: its outcome is the answer, and nothing is sent again.
#[test]
fn an_executed_approval_brings_its_outcome() {
    let workspace = Workspace::gated();
    workspace.set(json!({"approval_mode": "executed", "gates": ["demo__echo", "resources/read"]}));
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    workspace.approve(&workspace.one_pending());
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    assert_eq!(workspace.requests("tools/call").len(), 1);
    // An error is an outcome as well.
    gateway.send(
        r#"{"jsonrpc":"2.0","id":"two","method":"resources/read","params":{"uri":"files://no/such"}}"#,
    );
    workspace.approve(&workspace.one_pending());
    let error = gateway.answer("\"two\"");
    assert!(
        error
            .at("/error/code")
            .as_i64()
            .is_some_and(|code| code != -32_050)
    );
    assert_eq!(workspace.requests("resources/read").len(), 1);
    gateway.finish().code(0);
}

#[test]
fn a_rejection_names_the_tool_the_reviewer_and_the_note() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.reject(&id, "not on a Friday\u{1b}[2J");
    let words = refused(&gateway.answer("1"));
    for part in [
        "demo__echo",
        "NOT executed",
        "rejected",
        "Ada",
        "not on a Friday",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(workspace.executed(&id), 0);
    let ended = gateway.finish().code(0);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    assert_eq!(workspace.executions("demo__echo"), 0);
}

#[test]
fn expired_and_cancelled_approvals_say_that_nothing_was_executed() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    for (id, word) in [("1", "expired"), ("2", "cancelled")] {
        gateway.send(&echo(id));
        let approval = workspace.one_pending();
        match word {
            "expired" => assert!(workspace.state.approvals.expire(&approval, true)),
            _ => workspace
                .state
                .approvals
                .cancel(&approval, Some("no".to_owned())),
        }
        let words = refused(&gateway.answer(id));
        assert!(
            words.contains("NOT executed") && words.contains(word),
            "{words}"
        );
    }
    assert_eq!(workspace.executions("demo__echo"), 0);
    gateway.finish().code(0);
}

/// A method that is no tool gets a JSON-RPC error, and an approval all the same.
#[test]
fn other_methods_wait_as_well_and_are_refused_by_an_error() {
    let workspace = Workspace::whole(Workspace::http());
    workspace.set(json!({"gates": ["resources/read", "prompts/get"]}));
    let mut gateway = connected(&workspace);
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"files://notes/welcome.md"}}"#;
    gateway.send(read);
    workspace.reject(&workspace.one_pending(), "private");
    let error = gateway.answer("1");
    assert!(error.error().contains("private") && error.error().contains("NOT executed"));
    assert_eq!(error.at("/error/data/approval"), "rejected");
    gateway.send(read);
    workspace.approve(&workspace.one_pending());
    assert!(gateway.answer("1").at("/result/contents").is_array());
    gateway.finish().code(0);
}

/// An edit's bytes arrive as they are; the host's `_meta` stays.
#[test]
fn edited_parameters_keep_their_numbers() {
    let workspace = Workspace::whole(Workspace::http());
    workspace.set(json!({"gates": ["demo__raw"]}));
    let mut gateway = connected(&workspace);
    gateway.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"demo__raw","arguments":{"a":1},"_meta":{"traceparent":"00-1"}}}"#);
    let edit = r#"{"big":123456789012345678901234567890,"f":1.0,"e":1E400,"s":"\u00e9\/"}"#;
    let id = workspace.one_pending();
    workspace.decide(&id, true, &format!(r#"{{"arguments":{edit}}}"#));
    let answer = gateway.answer("1");
    let calls = workspace.requests("tools/call");
    let retry = &calls.last().expect("it came").body;
    for part in [
        "123456789012345678901234567890",
        "\"f\":1.0",
        "1E400",
        r"\u00e9\/",
    ] {
        assert!(retry.contains(part), "{part}: {retry}");
        assert!(answer.0.contains(part), "{part}: {answer:?}");
    }
    assert!(retry.contains("\"traceparent\":\"00-1\""));
    assert!(retry.contains(&id) && !retry.contains("\"a\":1"), "{retry}");
    gateway.finish().code(0);
}

/// The headers of a modern request are made from what is sent, not from what was asked.
#[test]
fn an_edit_rebuilds_the_headers() {
    let workspace = Workspace::whole(Workspace::http());
    workspace.set(json!({"gates": ["demo__route"]}));
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.ask(&modern("0", "tools/list", ""));
    let route = r#""name":"demo__route","arguments":{"region":"eu","priority":1},"#;
    gateway.send(&modern("1", "tools/call", route));
    let id = workspace.one_pending();
    workspace.decide(
        &id,
        true,
        r#"{"arguments":{"region":"Århus","priority":2}}"#,
    );
    let answer = gateway.answer("1");
    assert_eq!(
        answer.at("/result/structuredContent/priority"),
        2,
        "{answer:?}"
    );
    let calls = workspace.requests("tools/call");
    let retry = calls.last().expect("it came");
    assert_eq!(header(retry, "mcp-name"), Some("demo__route"));
    assert_eq!(
        header(retry, "mcp-param-region"),
        Some("=?base64?w4VyaHVz?=")
    );
    assert_eq!(header(retry, "mcp-param-priority"), Some("2"));
    gateway.finish().code(0);
}

/// The approval's time is over: the workspace says so, and the host hears it.
#[test]
fn the_wait_ends_with_the_approvals_time() {
    let workspace = Workspace::gated();
    workspace.set(json!({"approval_ttl_s": 1}));
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    let words = refused(&gateway.answer("1"));
    assert!(words.contains("expired"), "{words}");
    workspace.wait_status(&id, Status::Expired);
    assert_eq!(workspace.executed(&id), 0);
    gateway.finish().code(0);
}

/// What needs no approval is not held up by what does.
#[test]
fn other_calls_go_on_while_one_waits() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("\"gated\""));
    let id = workspace.one_pending();
    for n in 0..50 {
        let sum = gateway.ask(&call(&n.to_string(), "demo__add", r#"{"a":2,"b":3}"#));
        assert_eq!(sum.at("/result/structuredContent/sum"), 5.0);
    }
    gateway.ask(&request("\"l\"", "tools/list"));
    workspace.approve(&id);
    assert_eq!(succeeded(&gateway.answer("\"gated\"")), "hello");
    gateway.finish().code(0);
}
