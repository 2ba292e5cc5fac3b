//! Servers behind the workspace: over HTTP, and over the stdio of a program, which here is the gateway itself in
//! front of another workspace.

#[path = "support/host.rs"]
mod host;
mod support;

use host::{Host, gateway};
use serde_json::{Value, json};
use support::Workspace;

/// Both ways to put `far` behind a workspace.
fn ways(far: &Workspace) -> [[String; 2]; 2] {
    let program = format!(
        "env AEROSTACK_WORKSPACE_URL={} AEROSTACK_TOKEN={} AEROSTACK_LOG_LEVEL=error '{}'",
        far.text("url"),
        far.token(),
        gateway().display()
    );
    [
        ["--upstream".to_owned(), format!("far={}", far.text("url"))],
        ["--upstream-stdio".to_owned(), format!("far={program}")],
    ]
}

fn behind(way: &[String; 2], more: &[&str]) -> Workspace {
    let mut args = vec!["--no-demo", &way[0], &way[1]];
    args.extend(more);
    Workspace::start(&args)
}

/// Without a token in the way: the HTTP client of upstreams sends none.
fn far() -> Workspace {
    Workspace::start(&["--conformance"])
}

#[test]
fn tools_are_listed_called_and_gated_under_their_name() {
    let far = far();
    for way in ways(&far) {
        let workspace = behind(&way, &["--gate", "far__files__*"]);
        let session = workspace.session("2025-11-25");
        let tools = session.request("tools/list", json!({}))["result"]["tools"].clone();
        let names: Vec<_> = tools
            .as_array()
            .expect("tools")
            .iter()
            .map(|t| t["name"].clone())
            .collect();
        assert!(
            names.contains(&json!("far__demo__echo")) && !names.contains(&json!("demo__echo")),
            "{names:?}"
        );
        let echo = session.call("far__demo__raw", json!({ "n": 1.0, "line": "a\nb" }));
        assert_eq!(
            echo["result"]["structuredContent"],
            json!({ "n": 1.0, "line": "a\nb" })
        );
        let data = session.gated("far__files__delete", json!({ "path": "x" }));
        let id = data["approval_id"].as_str().expect("an id");
        let shown = workspace.read(&format!("/approvals/{id}"));
        assert_eq!(shown["risk"], "destructive", "as its own server marks it");
        let missing = session.call("demo__echo", json!({ "text": "x" }));
        assert_eq!(missing["error"]["code"], -32602, "{missing}");
    }
}

#[test]
fn questions_of_a_server_reach_the_client_whose_call_it_is() {
    let far = far();
    for way in ways(&far) {
        let workspace = behind(&way, &[]);
        let mut host = Host::start(&workspace, json!({ "elicitation": {}, "roots": {} }));
        let call = host.call("far__demo__ask", json!({ "question": "Which one?" }));
        let asked = host.next(|m| m["method"] == "elicitation/create");
        assert_eq!(asked["params"]["message"], "Which one?");
        host.reply(
            &asked,
            json!({ "action": "accept", "content": { "answer": "42" } }),
        );
        let answer = host.answer(call);
        assert!(host::first_text(&answer).contains("42"), "{answer}");
        let call = host.call("far__demo__roots", json!({}));
        let asked = host.next(|m| m["method"] == "roots/list");
        host.reply(&asked, json!({ "roots": [{ "uri": "file:///home/me" }] }));
        let answer = host.answer(call);
        assert!(host::first_text(&answer).contains("file:///home/me"));
        // What this client does not offer, it is not asked.
        let answer = host.text("far__demo__sample", json!({ "prompt": "p" }));
        assert!(answer.contains("does not offer sampling"), "{answer}");
    }
}

#[test]
fn progress_and_list_changes_pass() {
    let far = far();
    for way in ways(&far) {
        let workspace = behind(&way, &[]);
        let mut host = Host::start(&workspace, json!({}));
        let list = host.send("tools/list", json!({}));
        host.answer(list);
        let meta = json!({ "progressToken": "mine" });
        let params = json!({ "name": "far__demo__slow", "arguments": { "ms": 30, "steps": 3 }, "_meta": meta });
        let call = host.send("tools/call", params);
        let progress = host.next(|m| m["method"] == "notifications/progress");
        assert_eq!(progress["params"]["progressToken"], "mine");
        host.answer(call);
        // The session of the server behind has its own standing stream by now, or gets it soon.
        far.until("/sessions", |s| {
            let followed = |s: &Value| s["client"]["name"] != "test" && s["get_stream"] == true;
            s.as_array().is_some_and(|s| s.iter().any(followed))
        });
        workspace.until("/sessions", |s| s[0]["get_stream"] == true);
        for list in ["tools", "prompts", "resources"] {
            far.admin("POST", "/notify", &json!({ "list": list }));
            host.next(|m| m["method"] == format!("notifications/{list}/list_changed"));
        }
        far.admin("DELETE", "/sessions", &Value::Null);
    }
}

#[test]
fn a_cancelled_call_is_cancelled_behind_too() {
    let far = far();
    let [_, stdio] = ways(&far);
    let workspace = behind(&stdio, &[]);
    let mut host = Host::start(&workspace, json!({}));
    let call = host.call("far__demo__wait", json!({}));
    far.until_running("demo__wait");
    host.cancel(call);
    let seen = far.read("/requests?method=notifications/cancelled&min=1");
    assert_eq!(seen.as_array().map(Vec::len), Some(1));
    assert_eq!(
        host.text("far__demo__echo", json!({ "text": "alive" })),
        "alive"
    );
}

#[test]
fn a_program_that_dies_is_started_again_and_its_call_may_have_run() {
    let far = far();
    let [_, stdio] = ways(&far);
    let workspace = behind(&stdio, &[]);
    let session = workspace.session("2025-11-25");
    assert!(session.call("far__demo__echo", json!({ "text": "a" }))["result"].is_object());
    let children = format!("/proc/{0}/task", workspace.pid());
    let threads = std::fs::read_dir(children).expect("its threads");
    let pids: Vec<String> = threads
        .filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(pids.len(), 1, "one program, however many ask");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| session.call("far__demo__wait", json!({})));
        far.until_running("demo__wait");
        let killed = std::process::Command::new("kill")
            .args(["-9", &pids[0]])
            .status();
        assert!(killed.expect("kill runs").success());
        let answer = waiting.join().expect("an answer");
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(
            words.contains("upstream far: its program has ended")
                && words.contains("may have been executed"),
            "{answer}"
        );
    });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = session.call("far__demo__echo", json!({ "text": "again" }));
        if answer["result"]["content"][0]["text"] == "again" {
            break;
        }
        assert!(
            std::time::Instant::now() < end,
            "it does not come back: {answer}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_cannot_be_started_is_said_so_and_hides_nothing_else() {
    let workspace = Workspace::start(&[
        "--upstream-stdio",
        "gone=/no/such/program --flag",
        "--upstream-stdio",
        "dumb=true",
    ]);
    let session = workspace.session("2025-11-25");
    let tools = session.request("tools/list", json!({}))["result"]["tools"].clone();
    assert!(
        tools
            .as_array()
            .is_some_and(|t| t.iter().any(|t| t["name"] == "demo__echo"))
    );
    for (tool, words) in [
        (
            "gone__x",
            "upstream gone: /no/such/program cannot be started",
        ),
        ("dumb__x", "upstream dumb: its program has ended"),
    ] {
        let answer = session.call(tool, json!({}));
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(words), "{answer}");
    }
}
