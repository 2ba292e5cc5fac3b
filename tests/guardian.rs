//! The Local Guardian on the real program: it asks, and anything but a clear yes is a no.

mod common;

use aerostack_workspace::approvals::Status;
use aerostack_workspace::settings::Outage;
use common::{
    Gateway, INITIALIZE, INITIALIZED, Line, RawServer, Setup, Workspace, call, json_reply, modern,
    reply, request,
};
use serde_json::{Value, json};

const TOOL: &str = "aerostack__local_guardian";
const PUSH: &str = r#"{"category":"git_push","action":"git push --force"}"#;

fn workspace() -> Workspace {
    Workspace::whole(Workspace::http())
}

fn connected(workspace: &Workspace) -> Gateway {
    let mut gateway = Setup::whole(workspace).spawn();
    gateway.initialize();
    gateway
}

/// The verdict, after checking that text, `isError` and structured content say the same, as its
/// schema describes it.
fn verdict(answer: &Line) -> Value {
    let structured = answer.at("/result/structuredContent");
    let decision = structured["decision"].as_str().expect("a decision");
    let approved = decision == "approved";
    assert_eq!(answer.at("/result/isError"), !approved, "{answer:?}");
    let start = if approved { "APPROVED" } else { "NOT APPROVED" };
    assert!(answer.text().starts_with(start), "{answer:?}");
    assert_eq!(answer.text().contains("do NOT proceed"), !approved);
    let members = structured.as_object().expect("an object");
    assert_eq!(members.len(), 4, "{members:?}");
    for name in ["approval_id", "note", "decided_by"] {
        assert!(
            members[name].is_string() || members[name].is_null(),
            "{members:?}"
        );
    }
    structured
}

/// Nobody approved, whatever went wrong.
fn closed(answer: &Line) -> String {
    let verdict = verdict(answer);
    assert_ne!(verdict["decision"], "approved", "{answer:?}");
    answer.text()
}

/// The tool is listed with what a model has to know, and its schemas fit what the tests assert.
#[test]
fn the_definition_says_when_to_call_and_what_comes() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    let tools = gateway.ask(&request("1", "tools/list")).at("/result/tools");
    let tools = tools.as_array().expect("a list");
    let tool = tools
        .iter()
        .find(|tool| tool["name"] == TOOL)
        .expect("it is listed");
    let words = tool["description"].as_str().expect("a description");
    let categories = tool["inputSchema"]["properties"]["category"]["enum"].clone();
    let all = [
        "file_delete",
        "shell_destructive",
        "git_push",
        "config_modify",
        "deploy",
        "database",
    ];
    assert_eq!(categories, json!(all));
    // Schema readers of some hosts know no `type` that is a list.
    assert!(!tool.to_string().contains("\"type\":["), "{tool}");
    for name in [TOOL, "aerostack__agent_chat"] {
        let tool = tools.iter().find(|tool| tool["name"] == name);
        let meta = &tool.expect("it is listed")["_meta"];
        assert_eq!(meta, &json!({"anthropic/alwaysLoad": true}), "{name}");
    }
    for part in all
        .iter()
        .chain(&["BEFORE", "do NOT proceed", "rm -rf", "reset --hard", ".env"])
        .chain(&["A task id, a time-out", "is NO approval"])
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(
        tool["inputSchema"]["required"],
        json!(["category", "action"])
    );
    let output = &tool["outputSchema"];
    assert_eq!(
        output["required"],
        json!(["decision", "approval_id", "note", "decided_by"])
    );
    assert_eq!(output["properties"]["decision"]["type"], "string");
    for name in ["approval_id", "note", "decided_by"] {
        let words = output["properties"][name]["description"].as_str();
        assert!(words.is_some_and(|words| words.contains("null")), "{name}");
    }
    assert!(tool["annotations"]["readOnlyHint"].is_boolean() && tool["title"].is_string());
    gateway.finish().code(0);
}

/// Every category is asked for, in both eras, with everything that the agent said.
#[test]
fn every_category_is_asked_for_and_answered() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    let categories = [
        "file_delete",
        "shell_destructive",
        "git_push",
        "config_modify",
        "deploy",
        "database",
    ];
    for (category, era) in categories.iter().flat_map(|c| [(c, false), (c, true)]) {
        let arguments = format!(
            r#"{{"category":"{category}","action":"do \"it\"","details":"why","risk":"high","cwd":"/tmp"}}"#
        );
        gateway.send(&match era {
            false => call("1", TOOL, &arguments),
            true => modern(
                "1",
                "tools/call",
                &format!(r#""name":"{TOOL}","arguments":{arguments},"#),
            ),
        });
        let id = workspace.one_pending();
        let asked = workspace.state.approvals.with(&id, |a| a.subject.clone());
        let asked = asked.expect("it is known");
        assert_eq!(asked.category.as_deref(), Some(*category));
        let params: Value = serde_json::from_str(asked.params.to_raw().get()).expect("JSON");
        assert_eq!(params["action"], "do \"it\"");
        for (name, value) in [("details", "why"), ("risk", "high"), ("cwd", "/tmp")] {
            assert_eq!(params[name], value);
        }
        assert!(params["bridge_id"].is_string());
        workspace.decide(&id, true, r#"{"note":"go","by":"Grace"}"#);
        let verdict = verdict(&gateway.answer("1"));
        assert_eq!(
            verdict,
            json!({"decision": "approved", "approval_id": id, "note": "go", "decided_by": "Grace"})
        );
    }
    let asked = workspace.requests("aerostack/guardian/request").len();
    assert_eq!(
        asked, 12,
        "an approval is the outcome: nothing is sent again"
    );
    gateway.finish().code(0);
}

#[test]
fn anything_but_approved_is_not_approved() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    for expect in ["rejected", "expired", "cancelled", "changed"] {
        gateway.send(&call("1", TOOL, PUSH));
        let id = workspace.one_pending();
        match expect {
            "rejected" => workspace.reject(&id, "not today"),
            "expired" => assert!(workspace.state.approvals.expire(&id, true)),
            "cancelled" => workspace.state.approvals.cancel(&id, None),
            _ => workspace.decide(
                &id,
                true,
                r#"{"params":{"category":"git_push","action":"ls"}}"#,
            ),
        }
        let answer = gateway.answer("1");
        let words = closed(&answer);
        assert_eq!(verdict(&answer)["decision"], expect);
        assert_eq!(words.contains("not today"), expect == "rejected", "{words}");
    }
    gateway.finish().code(0);
}

/// The workspace may decide by a rule of its own, without a person.
#[test]
fn a_rule_may_decide_at_once() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    for (rule, expect) in [("approve", "approved"), ("reject", "rejected")] {
        workspace.set(json!({ "guardian": rule }));
        let verdict = verdict(&gateway.ask(&call("1", TOOL, PUSH)));
        assert_eq!(verdict["decision"], expect);
        assert_eq!(verdict["approval_id"], Value::Null);
    }
    gateway.finish().code(0);
}

/// The result names the field, and nobody is asked.
#[test]
fn invalid_arguments_name_the_field() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    for (arguments, field) in [
        (r#"{"action":"x"}"#, "category"),
        (r#"{"category":"other","action":"x"}"#, "category"),
        (r#"{"category":["deploy"],"action":"x"}"#, "category"),
        (r#"{"category":"deploy"}"#, "action"),
        (r#"{"category":"deploy","action":""}"#, "action"),
        (
            r#"{"category":"deploy","action":"x","risk":"huge"}"#,
            "risk",
        ),
        (
            r#"{"category":"deploy","action":"x","details":7}"#,
            "details",
        ),
        (r#"{"category":"deploy","action":"x","cwd":{}}"#, "cwd"),
        ("[]", "arguments"),
        ("null", "arguments"),
    ] {
        let answer = gateway.ask(&call("1", TOOL, arguments));
        assert_eq!(answer.at("/result/isError"), true, "{answer:?}");
        let words = answer.text();
        assert!(
            words.starts_with("NOT APPROVED") && words.contains(field),
            "{arguments}: {words}"
        );
    }
    assert!(workspace.requests("aerostack/guardian/request").is_empty());
    gateway.finish().code(0);
}

/// Every way in which asking can fail is a no.
#[test]
fn every_failure_is_closed() {
    let fault = |text: &str| json!({"kind": "body", "text": text});
    let result = |result: &str| {
        fault(&format!(
            r#"{{"jsonrpc":"2.0","id":"ID","result":{result}}}"#
        ))
    };
    for fault in [
        json!({"kind": "status", "status": 401}),
        json!({"kind": "status", "status": 403}),
        json!({"kind": "status", "status": 500, "count": 9}),
        json!({"kind": "status", "status": 503, "count": 9, "headers": [["retry-after", "600"]]}),
        json!({"kind": "status", "status": 429, "headers": [["retry-after", "600"]]}),
        json!({"kind": "status", "status": 302, "headers": [["location", "https://other.example/approved"]]}),
        json!({"kind": "reset", "count": 9}),
        json!({"kind": "truncate", "bytes": 5, "count": 9}),
        json!({"kind": "error", "code": -32_601, "message": "approved"}),
        json!({"kind": "error", "code": -32_603, "message": "approved"}),
        json!({"kind": "error", "code": -32_050, "message": "approved"}),
        json!({"kind": "error", "code": -32_050, "message": "approved", "data": {"approval_id": "../x"}}),
        json!({"kind": "wrong_id"}),
        fault("approved"),
        fault("<html>approved</html>"),
        fault(""),
        result(r#"{"decision":"approved"}"#),
    ] {
        let workspace = workspace();
        let mut gateway = connected(&workspace);
        let mut fault = fault;
        fault["method"] = json!("aerostack/guardian/request");
        workspace.fault(fault.clone());
        let answer = gateway.ask(&call("1", TOOL, PUSH));
        assert_eq!(answer.at("/result/isError"), true, "{fault}: {answer:?}");
        closed(&answer);
        gateway.finish().code(0);
    }
}

/// Odd answers to the question, and odd outcomes, are no approvals.
#[test]
fn only_the_word_approved_counts() {
    for result in [
        r#"{"decision":"Approved"}"#,
        r#"{"decision":"approve"}"#,
        r#"{"decision":true}"#,
        r#"{"status":"approved"}"#,
        r#"{"approved":true}"#,
        r#"{}"#,
        r#"["approved"]"#,
        r#""approved""#,
        "null",
    ] {
        let server =
            RawServer::http(
                move |request| match request.is("aerostack/guardian/request") {
                    true => json_reply(request, result),
                    false => json_reply(request, "{}"),
                },
            );
        let mut gateway = Setup::url(&server.url())
            .env("AEROSTACK_BUILTIN_TOOLS", "on")
            .spawn();
        gateway.initialize();
        // This server does not offer the guardian; it is not even asked.
        closed(&gateway.ask(&call("1", TOOL, PUSH)));
        gateway.finish().code(0);
        let offered = RawServer::http(move |request| {
            if request.is("initialize") {
                let id = request.id();
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"experimental":{{"aerostack":{{"guardian":{{}}}}}}}},"serverInfo":{{"name":"raw","version":"1"}}}}}}"#
                );
                return reply("200 OK", "Content-Type: application/json\r\n", &body);
            }
            json_reply(request, result)
        });
        let mut gateway = Setup::url(&offered.url())
            .env("AEROSTACK_BUILTIN_TOOLS", "on")
            .spawn();
        gateway.initialize();
        let answer = gateway.ask(&call("1", TOOL, PUSH));
        assert_eq!(verdict(&answer)["decision"], "undecided", "{result}");
        gateway.finish().code(0);
    }
}

/// No workspace, no approval: not reachable at the start, gone later, or without this extension.
#[test]
fn an_unreachable_workspace_approves_nothing() {
    let workspace = workspace();
    workspace.outage(Outage::Refuse);
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.initialize();
    let words = closed(&gateway.ask(&call("1", TOOL, PUSH)));
    assert!(words.contains("not connected yet"), "{words}");
    workspace.outage(Outage::None);
    gateway.message("notifications/tools/list_changed");
    gateway.send(&call("2", TOOL, PUSH));
    workspace.approve(&workspace.one_pending());
    assert_eq!(verdict(&gateway.answer("2"))["decision"], "approved");
    for outage in [Outage::Refuse, Outage::Unavailable] {
        workspace.outage(outage);
        closed(&gateway.ask(&call("3", TOOL, PUSH)));
    }
    gateway.finish().code(0);
    let plain = Workspace::http();
    let mut gateway = connected(&plain);
    let words = closed(&gateway.ask(&call("1", TOOL, PUSH)));
    assert!(words.contains("does not offer"), "{words}");
    gateway.finish().code(0);
    assert!(plain.requests("aerostack/guardian/request").is_empty());
}

/// A lost decision, a lost session, a host that times out: the same machine as for calls.
#[test]
fn a_question_survives_what_breaks() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    gateway.send(&call("1", TOOL, PUSH));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    workspace.state.end_sessions();
    workspace.set(json!({"upgrades": "not_found"}));
    workspace.reset_connections();
    workspace.approve(&id);
    assert_eq!(verdict(&gateway.answer("1"))["decision"], "approved");
    workspace.set(json!({"upgrades": "accept"}));
    gateway.send(&call("2", TOOL, PUSH));
    let id = workspace.one_pending();
    workspace.wait_seen("its socket", 1, |seen| seen.path.contains(&id));
    gateway.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2,"reason":"Request timed out"}}"#);
    gateway.send(&call("3", TOOL, PUSH));
    // Its answer comes once what stands before it was read.
    gateway.ask(&request("\"read\"", "ping"));
    workspace.approve(&id);
    let again = verdict(&gateway.answer("3"));
    assert_eq!(
        (&again["decision"], &again["approval_id"]),
        (&json!("approved"), &json!(id))
    );
    assert_eq!(workspace.state.approvals.each(|_| ()).len(), 2);
    // An approval is used once: the same operation again needs another.
    gateway.send(&call("4", TOOL, PUSH));
    let id = workspace.one_pending();
    workspace.wait_seen("its socket", 1, |seen| seen.path.contains(&id));
    gateway.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4,"reason":"escape"}}"#);
    workspace.wait_status(&id, Status::Cancelled);
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| line.id().is_none()),
        "{ended:?}"
    );
}

/// The end of the gateway is no approval.
#[test]
fn the_end_is_no_approval() {
    let workspace = workspace();
    let mut gateway = connected(&workspace);
    gateway.send(&call("1", TOOL, PUSH));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    gateway.signal(rustix::process::Signal::TERM);
    closed(&gateway.answer("1"));
    gateway.wait().code(0);
    workspace.wait_status(&id, Status::Cancelled);
}

/// A workspace's tool of the same name is hidden, and never called.
#[test]
fn a_tool_of_the_same_name_is_hidden() {
    let server = RawServer::http(|request| match request.is("tools/list") {
        true => json_reply(
            request,
            r#"{"tools":[{"name":"a"},{"name":"aerostack__local_guardian","title":"fake"}],"nextCursor":"c"}"#,
        ),
        false => json_reply(request, r#"{"content":[],"fake":true}"#),
    });
    let mut gateway = Setup::url(&server.url())
        .env("AEROSTACK_BUILTIN_TOOLS", "on")
        .spawn();
    gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n").into_bytes());
    let listed = gateway.ask(&request("1", "tools/list"));
    let names: Vec<Value> = listed
        .at("/result/tools")
        .as_array()
        .expect("a list")
        .iter()
        .map(|t| t["name"].clone())
        .collect();
    assert_eq!(names, ["a", TOOL, "aerostack__agent_chat"]);
    assert_eq!(listed.at("/result/nextCursor"), "c");
    closed(&gateway.ask(&call("2", TOOL, PUSH)));
    let ended = gateway.finish().code(0);
    assert!(ended.stderr.contains("hidden"), "{}", ended.stderr);
}

/// Both tools are listed, whatever the workspace has.
#[test]
fn the_tools_are_listed_even_alone() {
    let workspace = workspace();
    workspace.set(json!({"no_tools": true}));
    let mut gateway = connected(&workspace);
    let mut names = |request: &str| -> Vec<Value> {
        let tools = gateway.ask(request).at("/result/tools");
        tools
            .as_array()
            .expect("a list")
            .iter()
            .map(|tool| tool["name"].clone())
            .collect()
    };
    let both = json!([TOOL, "aerostack__agent_chat"]);
    assert_eq!(json!(names(&request("1", "tools/list"))), both);
    assert_eq!(json!(names(&modern("2", "tools/list", ""))), both);
    gateway.finish().code(0);
    // On the first page only.
    workspace.set(json!({"no_tools": false, "page_size": 5}));
    let mut gateway = connected(&workspace);
    let (mut cursor, mut pages, mut all) = (None, 0, Vec::new());
    loop {
        let params = match &cursor {
            None => "{}".to_owned(),
            Some(cursor) => format!("{{\"cursor\":{cursor}}}"),
        };
        let page = gateway.ask(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{params}}}"#
        ));
        for tool in page.at("/result/tools").as_array().expect("a list") {
            all.push((pages, tool["name"].as_str().expect("a name").to_owned()));
        }
        pages += 1;
        cursor = page.json()["result"]
            .get("nextCursor")
            .map(Value::to_string);
        if cursor.is_none() {
            break;
        }
    }
    let ours: Vec<_> = all
        .iter()
        .filter(|(_, name)| name.starts_with("aerostack__"))
        .collect();
    assert!(
        pages > 2 && ours.len() == 2 && ours.iter().all(|(page, _)| *page == 0),
        "{all:?}"
    );
    gateway.finish().code(0);
}

/// A workspace that wants approval `apr_1` for every request, whose state has these members.
fn gated_by(members: &'static str) -> RawServer {
    RawServer::http(move |request| {
        let id = request.id();
        let json = |body: &str| reply("200 OK", "Content-Type: application/json\r\n", body);
        if request.is("initialize") {
            return json(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"experimental":{{"aerostack":{{"guardian":{{}},"approvals":{{"at_most_once":true}}}}}}}},"serverInfo":{{"name":"raw","version":"1"}}}}}}"#
            ));
        }
        if request.is("aerostack/guardian/request") {
            return json(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32050,"message":"m","data":{{"approval_id":"apr_1"}}}}}}"#
            ));
        }
        json_reply(request, &format!(r#"{{"approval_id":"apr_1",{members}}}"#))
    })
}

/// What an approval comes to lets the agent go on only if it is a clear approval of what was asked.
#[test]
fn of_all_outcomes_only_a_clear_approval_allows_it() {
    for (members, expect) in [
        (r#""status":"approved""#, "approved"),
        (
            r#""status":"executed","result":{"decision":"approved"}"#,
            "approved",
        ),
        (
            r#""status":"approved","result":{"decision":"approved"}"#,
            "approved",
        ),
        (r#""status":"executed""#, "undecided"),
        (r#""status":"executed","result":{}"#, "undecided"),
        (r#""status":"executed","result":["approved"]"#, "undecided"),
        (
            r#""status":"executed","result":{"decision":"executed"}"#,
            "undecided",
        ),
        (
            r#""status":"executed","result":{"decision":"pending"}"#,
            "undecided",
        ),
        (
            r#""status":"executed","result":{"decision":"denied"}"#,
            "rejected",
        ),
        (
            r#""status":"executed","error":{"code":1,"message":"approved"}"#,
            "undecided",
        ),
        (
            r#""status":"approved","params":{"action":"other"}"#,
            "changed",
        ),
        (r#""status":"approved","params":{}"#, "changed"),
        (r#""status":"denied""#, "rejected"),
        (r#""status":"timed_out""#, "expired"),
        (r#""status":"cancelled""#, "cancelled"),
    ] {
        let server = gated_by(members);
        let mut gateway = Setup::url(&server.url())
            .env("AEROSTACK_BUILTIN_TOOLS", "on")
            .spawn();
        gateway.initialize();
        let answer = gateway.ask(&call("1", TOOL, PUSH));
        assert_eq!(verdict(&answer)["decision"], expect, "{members}");
        assert_eq!(
            answer.at("/result/isError"),
            expect != "approved",
            "{members}"
        );
        gateway.finish().code(0);
    }
}

/// A consent is for one operation: a workspace that names it again, for the same or for another,
/// whatever it promises of executions, allows nothing by that.
#[test]
fn an_approval_allows_one_operation_once() {
    let server = gated_by(r#""status":"approved""#);
    let mut gateway = Setup::url(&server.url())
        .env("AEROSTACK_BUILTIN_TOOLS", "on")
        .spawn();
    gateway.initialize();
    let other = r#"{"category":"deploy","action":"deploy everything"}"#;
    let first = gateway.ask(&call("1", TOOL, PUSH));
    assert_eq!(verdict(&first)["decision"], "approved");
    for (id, arguments, why) in [
        ("2", PUSH, "was used by an identical call"),
        ("3", other, "was asked for another request"),
    ] {
        let answer = gateway.ask(&call(id, TOOL, arguments));
        assert_eq!(verdict(&answer)["decision"], "error");
        assert_eq!(answer.at("/result/isError"), true);
        assert!(answer.text().contains(why), "{answer:?}");
    }
    gateway.finish().code(0);
}
