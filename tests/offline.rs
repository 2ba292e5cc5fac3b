//! A start that never fails: the network is not there yet, and the agent has a working server all the
//! same.

mod common;

use aerostack_workspace::settings::Outage;
use common::{
    Gateway, INITIALIZE, INITIALIZED, RawServer, Setup, Workspace, call, json_reply, reply, request,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ECHO: &str = r#"{"text":"hello"}"#;

fn workspace() -> Workspace {
    Workspace::whole(Workspace::http())
}

fn names(gateway: &mut Gateway) -> Vec<String> {
    let tools = gateway
        .ask(&request("\"list\"", "tools/list"))
        .at("/result/tools");
    let tools = tools.as_array().expect("a list");
    tools
        .iter()
        .map(|tool| tool["name"].as_str().expect("a name").to_owned())
        .collect()
}

const BUILT_IN: [&str; 2] = ["aerostack__local_guardian", "aerostack__agent_chat"];

/// Answered without the workspace: the host's version, every list can change, and why.
fn started_alone(gateway: &mut Gateway) -> String {
    let answer = gateway.initialize();
    assert_eq!(answer.at("/result/serverInfo/name"), "aerostack-gateway");
    assert_eq!(answer.at("/result/protocolVersion"), "2025-11-25");
    for list in ["tools", "resources", "prompts"] {
        assert_eq!(
            answer.at(&format!("/result/capabilities/{list}/listChanged")),
            true
        );
    }
    let words = answer
        .at("/result/instructions")
        .as_str()
        .expect("words")
        .to_owned();
    assert!(words.contains("not reachable yet"), "{words}");
    assert_eq!(names(gateway), BUILT_IN);
    for (method, member) in [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        assert_eq!(
            gateway
                .ask(&request("1", method))
                .at(&format!("/result/{member}")),
            json!([])
        );
    }
    assert_eq!(gateway.ask(&request("2", "ping")).at("/result"), json!({}));
    let error = gateway.ask(&call("3", "demo__echo", ECHO));
    assert_eq!(error.at("/error/data/executed"), "no");
    assert!(error.error().contains("not connected yet: "), "{error:?}");
    words
}

/// The workspace is there: its tools appear by themselves.
fn then_connected(gateway: &mut Gateway, workspace: &Workspace) {
    for list in ["tools", "resources", "prompts"] {
        gateway.message(&format!("notifications/{list}/list_changed"));
    }
    let all = names(gateway);
    assert!(
        all.iter().any(|name| name == "demo__echo") && all.ends_with(&BUILT_IN.map(str::to_owned))
    );
    assert_eq!(gateway.ask(&call("4", "demo__echo", ECHO)).text(), "hello");
    assert_eq!(workspace.sessions(), 1);
    workspace.wait_bridges("online", |bridges| bridges.len() == 1 && bridges[0].online);
}

/// Refused, 503, 429: each is answered by the gateway itself, and each passes.
#[test]
fn every_kind_of_absence_is_bridged() {
    for (outage, reason) in [
        (Outage::Refuse, "127.0.0.1"),
        (Outage::Unavailable, "503"),
        (Outage::Limited, "429"),
    ] {
        let workspace = workspace();
        workspace.outage(outage);
        let mut gateway = Setup::whole(&workspace).spawn();
        let words = started_alone(&mut gateway);
        assert!(words.contains(reason), "{outage:?}: {words}");
        workspace.outage(Outage::None);
        then_connected(&mut gateway, &workspace);
        // What was opened is the host's own handshake.
        let opened = workspace.requests("initialize");
        let body: Value =
            serde_json::from_str(&opened.last().expect("it came").body).expect("JSON");
        let own: Value = serde_json::from_str(INITIALIZE).expect("JSON");
        assert_eq!(body["params"], own["params"]);
        gateway.finish().code(0);
        assert_eq!(workspace.sessions(), 0);
    }
}

/// Nothing listens at all, and nothing resolves.
#[test]
fn nobody_there_at_all() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    for url in [
        format!("http://{address}/ws/demo"),
        "https://no-such-host.invalid/ws/demo".to_owned(),
    ] {
        let mut gateway = Setup::url(&url).without("AEROSTACK_BUILTIN_TOOLS").spawn();
        started_alone(&mut gateway);
        gateway.finish().code(0);
    }
}

/// Three seconds of silence are enough; "an initialize answer that comes after the 3 s becomes the
/// session, never a second one".
#[test]
fn a_late_answer_becomes_the_session() {
    let release = Arc::new(AtomicBool::new(false));
    let opened = Arc::new(AtomicUsize::new(0));
    let (released, count) = (release.clone(), opened.clone());
    let server = RawServer::http(move |request| {
        if request.is("initialize") {
            count.fetch_add(1, Ordering::SeqCst);
            while !released.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let bytes = String::from_utf8(json_reply(request, "{}")).expect("UTF-8");
            let session = "HTTP/1.1 200 OK\r\nMcp-Session-Id: late\r\n";
            return bytes
                .replacen("HTTP/1.1 200 OK\r\n", session, 1)
                .into_bytes();
        }
        if request.head.starts_with("POST") && request.header("mcp-session-id") != Some("late") {
            return reply("400 Bad Request", "", "no session");
        }
        json_reply(request, r#"{"tools":[{"name":"late"}]}"#)
    });
    let mut gateway = Setup::url(&server.url())
        .without("AEROSTACK_BUILTIN_TOOLS")
        .spawn();
    let words = started_alone(&mut gateway);
    assert!(words.contains("3 s"), "{words}");
    release.store(true, Ordering::SeqCst);
    gateway.message("notifications/tools/list_changed");
    assert_eq!(names(&mut gateway), ["late", BUILT_IN[0], BUILT_IN[1]]);
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    gateway.finish().code(0);
}

/// A wrong token or URL is not hidden: the error says what to fix, and a later initialize may work.
#[test]
fn what_a_person_has_to_fix_is_not_hidden() {
    for (status, part) in [(401, "oken"), (403, "oken"), (404, "URL")] {
        let workspace = workspace();
        workspace.fault(json!({"kind": "status", "status": status, "method": "initialize"}));
        let mut gateway = Setup::whole(&workspace).spawn();
        let error = gateway.ask(INITIALIZE);
        assert_eq!(error.at("/error/data/http_status"), status);
        assert!(error.error().contains(part), "{error:?}");
        gateway.initialize();
        assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
        gateway.finish().code(0);
    }
}

/// Without built-in tools there is nothing to offer meanwhile: an error, and another try works.
#[test]
fn a_plain_server_that_is_away_is_an_error() {
    for outage in [Outage::Refuse, Outage::Unavailable] {
        let workspace = Workspace::http();
        workspace.outage(outage);
        let mut gateway = Setup::workspace(&workspace).spawn();
        let error = gateway.ask(INITIALIZE);
        assert!(error.at("/error/code").is_i64(), "{error:?}");
        workspace.outage(Outage::None);
        gateway.initialize();
        assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
        let ended = gateway.finish().code(0);
        assert!(ended.lines.is_empty(), "{ended:?}");
    }
}

/// The workspace goes away in mid-session and comes back: nothing to restart.
#[test]
fn an_outage_in_mid_session_passes() {
    for (outage, forgets) in [
        (Outage::Refuse, false),
        (Outage::Refuse, true),
        (Outage::Unavailable, true),
    ] {
        let workspace = workspace();
        let mut gateway = Setup::whole(&workspace).spawn();
        gateway.initialize();
        assert_eq!(gateway.ask(&call("1", "demo__echo", ECHO)).text(), "hello");
        workspace.outage(outage);
        if forgets {
            workspace.state.end_sessions();
        }
        let error = gateway.ask(&call("2", "demo__echo", ECHO));
        assert!(error.at("/error/data/executed").is_string(), "{error:?}");
        assert_eq!(
            names(&mut gateway),
            BUILT_IN,
            "built-ins are always available"
        );
        workspace.outage(Outage::None);
        assert_eq!(gateway.ask(&call("3", "demo__echo", ECHO)).text(), "hello");
        // The list that was withheld is announced.
        gateway.message("notifications/tools/list_changed");
        assert!(names(&mut gateway).len() > 2);
        gateway.finish().code(0);
        assert_eq!(workspace.sessions(), 0);
    }
}

/// What the host set is set again in a new session, and what it set meanwhile in the first.
#[test]
fn settings_are_restored() {
    let level =
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"warning"}}"#;
    let follow = |uri: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{{"uri":"files://{uri}"}}}}"#
        )
    };
    let workspace = workspace();
    workspace.outage(Outage::Refuse);
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.initialize();
    // Meanwhile.
    for request in [level.to_owned(), follow("a"), follow("gone")] {
        assert_eq!(gateway.ask(&request).at("/result"), json!({}));
    }
    gateway.ask(&follow("gone").replace("subscribe", "unsubscribe"));
    gateway.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    workspace.outage(Outage::None);
    gateway.message("notifications/tools/list_changed");
    let restored = |times: usize, uris: usize| {
        workspace.wait_requests("logging/setLevel", times);
        workspace.wait_requests("resources/subscribe", uris);
    };
    restored(1, 1);
    assert!(
        workspace.requests("resources/subscribe")[0]
            .body
            .contains("files://a")
    );
    assert!(
        workspace
            .requests("notifications/roots/list_changed")
            .is_empty()
    );
    gateway.ask(&follow("b"));
    // And after a lost session.
    workspace.state.end_sessions();
    gateway.ask(&call("3", "demo__echo", ECHO));
    restored(2, 4);
    for uri in ["a", "b"] {
        let followed = |state: &aerostack_workspace::state::Workspace| {
            let sessions = state.sessions.lock().expect("not poisoned");
            let uri = format!("files://{uri}");
            let follows = |session: &Arc<aerostack_workspace::session::Session>| {
                session
                    .subscriptions
                    .lock()
                    .expect("not poisoned")
                    .contains(&uri)
            };
            sessions.values().all(follows).then_some(())
        };
        workspace.wait("the subscription", followed);
        workspace.state.announce_resource(&format!("files://{uri}"));
        let update = gateway.message("notifications/resources/updated");
        assert_eq!(update.at("/params/uri"), format!("files://{uri}"));
    }
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| line.id().is_none()),
        "{ended:?}"
    );
}

/// The host is told a version that it knows; the headers carry the workspace's, and a mismatch is
/// logged.
#[test]
fn versions_are_kept_apart() {
    let workspace = workspace();
    workspace.set(json!({"protocol_version": "2024-11-05"}));
    workspace.outage(Outage::Refuse);
    for (asked, told) in [("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")] {
        let mut gateway = Setup::whole(&workspace).spawn();
        let answer = gateway.ask(&INITIALIZE.replace("2025-11-25", asked));
        assert_eq!(answer.at("/result/protocolVersion"), told);
        gateway.send(INITIALIZED);
        workspace.outage(Outage::None);
        gateway.message("notifications/tools/list_changed");
        gateway.ask(&call("1", "demo__echo", ECHO));
        let calls = workspace.requests("tools/call");
        let sent = common::header(calls.last().expect("it came"), "mcp-protocol-version");
        assert_eq!(sent, Some("2024-11-05"));
        let ended = gateway.finish().code(0);
        assert!(
            ended.stderr.contains(&format!("was told protocol {told}")),
            "{}",
            ended.stderr
        );
        workspace.outage(Outage::Refuse);
    }
}

/// With built-ins on the workspace's own instructions are passed on, with one sentence more.
#[test]
fn instructions_name_the_guardian() {
    let workspace = workspace();
    workspace.set(json!({"no_tools": true, "instructions": "Be \"kind\"."}));
    let mut gateway = Setup::whole(&workspace).spawn();
    let answer = gateway.initialize();
    let words = answer
        .at("/result/instructions")
        .as_str()
        .expect("words")
        .to_owned();
    assert!(
        words.starts_with("Be \"kind\".\n") && words.contains(BUILT_IN[0]),
        "{words}"
    );
    assert_eq!(answer.at("/result/capabilities/tools/listChanged"), true);
    assert_eq!(names(&mut gateway), BUILT_IN);
    gateway.finish().code(0);
}

/// The end while nobody is there: at once, with nothing owed.
#[test]
fn the_end_without_a_workspace() {
    let workspace = workspace();
    workspace.outage(Outage::Refuse);
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.initialize();
    let ended = gateway.finish().code(0);
    assert!(ended.lines.is_empty(), "{ended:?}");
    // The host may leave before it has its answer.
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.send(INITIALIZE);
    let ended = gateway.finish().code(0);
    assert_eq!(ended.lines.len(), 1, "{ended:?}");
}
