//! What breaks the specification is answered as the specification demands.

mod support;

use serde_json::{Value, json};
use support::{Workspace, open, read_chunk};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

#[test]
fn a_session_lives_from_initialize_to_delete() {
    let workspace = Workspace::start(&[]);
    for (asked, given) in [
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2024-11-05"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let session = workspace.session(asked);
        assert_eq!(session.version, given);
        assert_eq!(
            session.result["serverInfo"]["name"],
            "aerostack-mcp-gateway"
        );
        assert_eq!(
            session.result["capabilities"]["experimental"]["aerostack"]["approvals"]["at_most_once"],
            true
        );
        assert_eq!(
            session.result["_meta"]["dev.aerostack/workspace"]["slug"],
            "demo"
        );
        let tools = session.request("tools/list", json!({}));
        assert!(
            tools["result"]["tools"]
                .as_array()
                .expect("tools")
                .iter()
                .any(|t| t["name"] == "demo__echo")
        );
        let auth = format!("Bearer {}", workspace.token());
        let headers = [
            ("authorization", auth.as_str()),
            ("mcp-session-id", &session.id),
            ("mcp-protocol-version", given),
        ];
        assert_eq!(
            workspace.http("DELETE", "/ws/demo", &headers, "").status,
            204
        );
        assert_eq!(session.post(LIST).status, 404, "the session has ended");
    }
}

#[test]
fn each_rule_has_its_status() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let [id, version] = session.headers();
    let check = |expect: u16, headers: &[(&str, &str)], body: &str| {
        let reply = workspace.post(headers, body);
        assert_eq!(reply.status, expect, "{headers:?} {body}: {}", reply.body);
    };
    check(200, &[id, version], LIST);
    check(400, &[version], LIST);
    check(404, &[("mcp-session-id", "ses_unknown"), version], LIST);
    check(400, &[id], LIST);
    check(400, &[id, ("mcp-protocol-version", "2025-06-18")], LIST);
    check(400, &[id, ("mcp-protocol-version", "nonsense")], LIST);
    check(406, &[id, version, ("accept", "application/json")], LIST);
    check(415, &[id, version, ("content-type", "text/plain")], LIST);
    check(401, &[("authorization", "-")], LIST);
    check(401, &[("authorization", "Bearer mwt_wrong")], LIST);
    check(403, &[("origin", "https://evil.example")], LIST);
    check(403, &[("host", "evil.example")], LIST);
    check(400, &[id, version], "{not json");
    check(400, &[id, version], r#"{"id":1,"method":"ping"}"#);
    check(
        400,
        &[id, version],
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
    );
    check(
        400,
        &[id, version],
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
    );
    check(
        202,
        &[id, version],
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#,
    );
    let auth = format!("Bearer {}", workspace.token());
    let other = workspace.http("POST", "/ws/other", &[("authorization", &auth)], LIST);
    assert_eq!(other.status, 404);
    assert_eq!(
        workspace
            .http("PUT", "/ws/demo", &[("authorization", &auth)], LIST)
            .status,
        405
    );
    let get = [
        ("authorization", auth.as_str()),
        ("accept", "text/event-stream"),
        version,
    ];
    assert_eq!(workspace.http("GET", "/ws/demo", &get, "").status, 400);
}

#[test]
fn bytes_survive() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let arguments = r#"{"z":12345678901234567890,"a":1.0,"e":1E400,"s":"\u00e5\/ \ud83d\ude00"}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"name":"demo__raw","arguments":{arguments}}}}}"#
    );
    let reply = session.post(&body);
    assert!(
        reply
            .body
            .contains(&format!(r#""structuredContent":{arguments}"#)),
        "{}",
        reply.body
    );
    let echo = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"demo__echo","arguments":{"text":"\u00e5\/"}}}"#;
    assert!(session.post(echo).body.contains(r#""text":"\u00e5\/""#));
}

#[test]
fn progress_and_questions_travel_on_the_requests_own_stream() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-06-18");
    let params = json!({ "name": "demo__slow", "arguments": { "ms": 30, "steps": 3 }, "_meta": { "progressToken": 7 } });
    let body = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params });
    let messages = session.post(&body.to_string()).messages();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2]["params"]["progress"], 3);
    assert_eq!(messages[3]["id"], 5);

    let ask = json!({ "jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": { "name": "demo__ask" } });
    let auth = format!("Bearer {}", workspace.token());
    let mut headers = vec![
        ("authorization", auth.as_str()),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.push(("content-type", "application/json"));
    headers.extend(session.headers());
    let (_, mut stream) = open(
        &workspace.address(),
        "POST",
        "/ws/demo",
        &headers,
        &ask.to_string(),
    );
    let question = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("UTF-8");
    assert!(question.contains("elicitation/create"), "{question}");
    let answer = json!({ "jsonrpc": "2.0", "id": "ask-1", "result": { "action": "accept", "content": { "answer": "42" } } });
    assert_eq!(session.post(&answer.to_string()).status, 202);
    let result = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("UTF-8");
    assert!(result.contains("answered"), "{result}");
}

#[test]
fn a_cut_stream_is_resumed_after_the_last_event() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    workspace.admin("POST", "/notify", &json!({ "list": "tools" }));
    let auth = format!("Bearer {}", workspace.token());
    let mut headers = vec![
        ("authorization", auth.as_str()),
        ("accept", "text/event-stream"),
    ];
    headers.extend(session.headers());
    let (reply, mut stream) = open(&workspace.address(), "GET", "/ws/demo", &headers, "");
    assert_eq!(reply.status, 200);
    let event = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("UTF-8");
    assert!(
        event.contains("id: g-0") && event.contains("notifications/tools/list_changed"),
        "{event}"
    );
    workspace.admin("POST", "/streams/cut", &Value::Null);
    assert_eq!(read_chunk(&mut stream), Some(Vec::new()), "the stream ends");
    workspace.admin("POST", "/notify", &json!({ "list": "prompts" }));
    headers.push(("last-event-id", "g-0"));
    let (_, mut stream) = open(&workspace.address(), "GET", "/ws/demo", &headers, "");
    let event = String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("UTF-8");
    assert!(
        event.contains("id: g-1") && event.contains("notifications/prompts/list_changed"),
        "{event}"
    );
}

#[test]
fn the_rate_limit_says_when_to_come_back() {
    let workspace = Workspace::start_with(&["--http", "--rate-limit", "3"]);
    let session = workspace.session("2025-11-25");
    assert_eq!(session.post(LIST).status, 200);
    let reply = session.post(LIST);
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").is_some() && reply.header("x-ratelimit-reset").is_some());
}

/// A request of the stateless era with its headers; `change` spoils it.
fn modern(
    workspace: &Workspace,
    method: &str,
    params: Value,
    change: &[(&str, &str)],
) -> (u16, Value) {
    let mut params = params;
    let name = params["name"]
        .as_str()
        .or(params["uri"].as_str())
        .unwrap_or_default()
        .to_owned();
    if params["_meta"].is_null() {
        params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
            "io.modelcontextprotocol/clientInfo": { "name": "test-host", "version": "1.0" } });
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut headers = vec![
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", name.as_str()),
    ];
    headers.retain(|(n, v)| !v.is_empty() && !change.iter().any(|(c, _)| c == n));
    headers.extend(change.iter().filter(|(_, v)| *v != "-"));
    let reply = workspace.post(&headers, &body.to_string());
    (reply.status, reply.message())
}

#[test]
fn the_stateless_era_checks_headers_against_the_body() {
    let workspace = Workspace::start(&[]);
    let echo = || json!({ "name": "demo__echo", "arguments": { "text": "hi" } });
    let (status, discovered) = modern(&workspace, "server/discover", json!({}), &[]);
    assert_eq!(
        (status, &discovered["result"]["supportedVersions"][0]),
        (200, &json!("2026-07-28"))
    );
    let extension = &discovered["result"]["capabilities"]["extensions"]["dev.aerostack/workspace"];
    assert_eq!(extension["approvals"]["at_most_once"], true);
    let (status, answer) = modern(&workspace, "tools/call", echo(), &[]);
    assert_eq!(
        (status, &answer["result"]["resultType"]),
        (200, &json!("complete")),
        "{answer}"
    );
    let (status, listed) = modern(&workspace, "tools/list", json!({}), &[]);
    assert_eq!(
        (status, &listed["result"]["cacheScope"]),
        (200, &json!("private"))
    );

    let refused = |change: &[(&str, &str)], code: i64| {
        let (status, answer) = modern(&workspace, "tools/call", echo(), change);
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!(code)),
            "{change:?}: {answer}"
        );
        assert_eq!(answer["id"], 1);
    };
    refused(&[("mcp-method", "-")], -32020);
    refused(&[("mcp-method", "tools/list")], -32020);
    refused(&[("mcp-name", "-")], -32020);
    refused(&[("mcp-name", "demo__add")], -32020);
    refused(&[("mcp-protocol-version", "-")], -32020);
    refused(&[("mcp-protocol-version", "2025-11-25")], -32020);
    let (status, answer) = modern(&workspace, "ping", json!({}), &[]);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2099-01-01", "io.modelcontextprotocol/clientCapabilities": {} });
    let (status, answer) = modern(
        &workspace,
        "tools/list",
        json!({ "_meta": meta }),
        &[("mcp-protocol-version", "2099-01-01")],
    );
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32022)));

    let route = |headers: &[(&str, &str)]| {
        let arguments = json!({ "region": "Zürich", "priority": 3, "dry_run": true });
        modern(
            &workspace,
            "tools/call",
            json!({ "name": "demo__route", "arguments": arguments }),
            headers,
        )
        .0
    };
    let region = ("mcp-param-region", "=?base64?WsO8cmljaA==?=");
    let (priority, dry_run) = (("mcp-param-priority", "3"), ("mcp-param-dry-run", "true"));
    assert_eq!(route(&[region, priority, dry_run]), 200);
    assert_eq!(route(&[region, priority]), 400);
    assert_eq!(route(&[region, ("mcp-param-priority", "4"), dry_run]), 400);
    assert_eq!(
        route(&[region, priority, dry_run, ("mcp-param-zone", "a")]),
        400
    );
}

#[test]
fn a_round_trip_carries_its_state() {
    let workspace = Workspace::start(&[]);
    let (_, first) = modern(
        &workspace,
        "tools/call",
        json!({ "name": "demo__ask" }),
        &[],
    );
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    let state = first["result"]["requestState"]
        .as_str()
        .expect("a state")
        .to_owned();
    let responses = json!({ "answer": { "action": "accept", "content": { "answer": "42" } } });
    let again = |state: &str| {
        let params =
            json!({ "name": "demo__ask", "inputResponses": responses, "requestState": state });
        modern(&workspace, "tools/call", params, &[]).1
    };
    assert!(
        again(&state)["result"]["content"][0]["text"]
            .as_str()
            .is_some_and(|t| t.contains("42"))
    );
    assert_eq!(again(&format!("x{state}"))["error"]["code"], -32602);
}

#[test]
fn listening_begins_with_an_acknowledgement() {
    let workspace = Workspace::start(&[]);
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let params = json!({ "_meta": meta, "notifications": { "toolsListChanged": true } });
    let body = json!({ "jsonrpc": "2.0", "id": "listen-1", "method": "subscriptions/listen", "params": params });
    let auth = format!("Bearer {}", workspace.token());
    let headers = [
        ("authorization", auth.as_str()),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "subscriptions/listen"),
    ];
    let (_, mut stream) = open(
        &workspace.address(),
        "POST",
        "/ws/demo",
        &headers,
        &body.to_string(),
    );
    let mut next = || String::from_utf8(read_chunk(&mut stream).expect("an event")).expect("UTF-8");
    assert!(next().contains("notifications/subscriptions/acknowledged"));
    workspace.admin("POST", "/notify", &json!({ "list": "prompts" }));
    workspace.admin("POST", "/notify", &json!({ "list": "tools" }));
    let event = next();
    assert!(
        event.contains("tools/list_changed")
            && event.contains(r#""io.modelcontextprotocol/subscriptionId":"listen-1""#),
        "{event}"
    );
    workspace.admin("POST", "/listeners/end", &json!({ "gracefully": true }));
    assert!(next().contains(r#""id":"listen-1","result""#));
}
