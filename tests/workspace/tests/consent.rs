//! Consents: of an operation that is asked for again, for 15 minutes, by whom, and for how long.

mod support;

use serde_json::{Value, json};
use support::login::Login;
use support::{Session, Workspace};

fn operation(digit: &str) -> String {
    digit.repeat(64)
}

/// What a hook asks: rm in a directory, for the operation of that digit.
fn hook(digit: &str) -> Value {
    json!({ "category": "file_delete", "action": "rm -rf build", "cwd": "/home/dev/shop", "host": "claude-code",
        "tool": "Bash", "matched": "rm -r with -f", "operation": operation(digit), "bridge_id": "bridge-a" })
}

fn ask(session: &Session<'_>, params: Value) -> Value {
    session.request("aerostack/guardian/request", params)
}

fn id_of(answer: &Value) -> String {
    let id = answer["error"]["data"]["approval_id"].as_str();
    id.unwrap_or_else(|| panic!("no approval: {answer}"))
        .to_owned()
}

/// Nobody is heard of for so long that nobody waits any more.
fn asker_goes(workspace: &Workspace) {
    workspace.turn(45_000);
}

#[test]
fn an_operation_joins_its_approval_once_nobody_waits_for_it() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let first = id_of(&ask(&session, hook("a")));
    // Two live askers are two approvals.
    let second = id_of(&ask(&session, hook("a")));
    assert_ne!(first, second);
    asker_goes(&workspace);
    // The newest is joined; the other operation is another approval.
    assert_eq!(id_of(&ask(&session, hook("a"))), second);
    let other = id_of(&ask(&session, hook("b")));
    assert!(other != first && other != second);
    // Whoever joined is alive again.
    let third = id_of(&ask(&session, hook("a")));
    assert!(third != second, "the asker that joined is alive");
}

#[test]
fn an_operations_consent_is_used_once() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    for (verb, expect) in [("approve", "approved"), ("reject", "rejected")] {
        let id = id_of(&ask(&session, hook("a")));
        asker_goes(&workspace);
        workspace.admin(
            "POST",
            &format!("/approvals/{id}/{verb}"),
            &json!({ "note": "so be it" }),
        );
        let verdict = ask(&session, hook("a"))["result"].clone();
        assert_eq!(
            verdict,
            json!({ "decision": expect, "approval_id": id, "note": "so be it", "decided_by": "admin" })
        );
        let again = id_of(&ask(&session, hook("a")));
        assert_ne!(again, id, "{verb}: it was used");
        session.request(
            "aerostack/approvals/cancel",
            json!({ "approval_id": again }),
        );
    }
}

#[test]
fn a_decision_that_was_heard_is_not_joined() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let id = id_of(&ask(&session, hook("a")));
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    let heard = session.request("aerostack/approvals/get", json!({ "approval_id": id }));
    assert_eq!(heard["result"]["status"], "approved");
    asker_goes(&workspace);
    assert_ne!(id_of(&ask(&session, hook("a"))), id);
}

#[test]
fn an_edited_consent_is_a_no_for_what_is_asked() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let id = id_of(&ask(&session, hook("a")));
    asker_goes(&workspace);
    let edit = json!({ "params": { "action": "ls" } });
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &edit);
    assert_eq!(ask(&session, hook("a"))["result"]["decision"], "rejected");
}

#[test]
fn an_approval_is_forgotten_ten_minutes_after_the_last_asker_went() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let status = |id: &str| workspace.read(&format!("/approvals/{id}"))["status"].clone();
    let open = id_of(&ask(&session, hook("a")));
    let approved = id_of(&ask(&session, hook("b")));
    workspace.admin(
        "POST",
        &format!("/approvals/{approved}/approve"),
        &json!({}),
    );
    let call = session.gated("github__delete_repo", json!({ "repo": "acme/x" }));
    let call = call["approval_id"].as_str().expect("an id").to_owned();
    workspace.turn(599_000);
    assert_eq!(
        (status(&open), status(&approved), status(&call)),
        (json!("pending"), json!("approved"), json!("pending"))
    );
    // A poll is a sign of life.
    session.request("aerostack/approvals/get", json!({ "approval_id": call }));
    workspace.turn(2_000);
    assert_eq!(
        (status(&open), status(&approved), status(&call)),
        (json!("expired"), json!("expired"), json!("pending"))
    );
    for digit in ["a", "b"] {
        let again = id_of(&ask(&session, hook(digit)));
        assert!(again != open && again != approved);
    }
}

#[test]
fn a_guardian_request_is_checked() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let mut other = hook("a");
    other["category"] = json!("other");
    id_of(&ask(&session, other));
    for (name, value) in [
        ("operation", json!("abc")),
        ("operation", json!(7)),
        ("category", json!("none")),
        ("action", json!(" ")),
    ] {
        let mut bad = hook("a");
        bad[name] = value;
        let answer = ask(&session, bad);
        assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
    }
}

/// A session of a bridge whose process is known.
fn bridge<'a>(workspace: &'a Workspace, instance: &str) -> Session<'a> {
    let session = workspace.session("2025-11-25");
    session.heartbeat("bridge-a", instance, "online");
    session
}

fn text(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]
}

#[test]
fn fifteen_minutes_are_for_one_tool_one_agent_and_one_token() {
    let gates = ["--gate", "github__*", "--add-token", "second=agent"];
    let workspace = Workspace::start(&gates);
    let login = Login::new(&workspace, workspace.token());
    let one = bridge(&workspace, "one");
    let issue = json!({ "repo": "acme/website", "title": "t" });
    let data = one.gated("github__create_issue", issue.clone());
    let id = data["approval_id"].as_str().expect("an id");
    let path = format!("/api/approvals/{id}/approve-for-a-while");
    assert_eq!(login.post(&path, "{}").status, 200);
    // The present call is approved as ever; the next ones need nobody.
    assert!(text(&one.retry("github__create_issue", issue.clone(), id))["number"].is_u64());
    for repo in ["acme/website", "acme/other"] {
        let answer = one.call(
            "github__create_issue",
            json!({ "repo": repo, "title": "more" }),
        );
        assert!(text(&answer)["number"].is_u64(), "{answer}");
    }
    // Another tool, another process, another token: each asks.
    one.gated("github__list_issues", json!({ "repo": "acme/website" }));
    bridge(&workspace, "two").gated("github__create_issue", issue.clone());
    let token = workspace.ready["tokens"]["second"]
        .as_str()
        .expect("a token");
    let other = workspace.session_of(token);
    other.heartbeat("bridge-a", "one", "online");
    other.gated("github__create_issue", issue.clone());
    // It ends by the clock.
    let grants = workspace.read("/grants");
    assert_eq!(
        (&grants[0]["what"], &grants[0]["uses"]),
        (&json!("github__create_issue"), &json!(2))
    );
    for _ in 0..28 {
        workspace.turn(31_000);
        one.heartbeat("bridge-a", "one", "online");
    }
    assert_eq!(workspace.read("/grants").as_array().map(Vec::len), Some(1));
    workspace.turn(33_000);
    one.gated("github__create_issue", issue);
    let audit = workspace.read("/audit").to_string();
    for event in [
        "15-minute approval given",
        "ran under a 15-minute approval",
        "15-minute approval ended",
    ] {
        assert!(audit.contains(event), "{event}: {audit}");
    }
}

#[test]
fn fifteen_minutes_end_when_they_are_revoked_or_the_agent_goes() {
    let workspace = Workspace::start(&["--gate", "github__*"]);
    let login = Login::new(&workspace, workspace.token());
    let one = bridge(&workspace, "one");
    let issue = json!({ "repo": "acme/website", "title": "t" });
    let give = || {
        let data = one.gated("github__create_issue", issue.clone());
        let id = data["approval_id"].as_str().expect("an id");
        let path = format!("/api/approvals/{id}/approve-for-a-while");
        assert_eq!(login.post(&path, "{}").status, 200);
        workspace.read("/grants")[0]["id"]
            .as_str()
            .expect("a grant")
            .to_owned()
    };
    let grant = give();
    assert_eq!(
        login
            .post(&format!("/api/grants/{grant}/revoke"), "")
            .status,
        200
    );
    assert_eq!(
        login
            .post(&format!("/api/grants/{grant}/revoke"), "")
            .status,
        409
    );
    give();
    one.heartbeat("bridge-a", "one", "offline");
    workspace.turn(1);
    assert_eq!(workspace.read("/grants"), json!([]));
    one.gated("github__create_issue", issue.clone());
    assert!(
        workspace
            .read("/audit")
            .to_string()
            .contains("15-minute approval revoked")
    );
}

#[test]
fn what_destroys_is_approved_once_only() {
    let workspace = Workspace::start(&[]);
    let login = Login::new(&workspace, workspace.token());
    let session = bridge(&workspace, "one");
    let mut all = vec![session.gated("files__delete", json!({ "path": "x" }))];
    for category in [
        "file_delete",
        "shell_destructive",
        "deploy",
        "database",
        "config_modify",
        "other",
    ] {
        let params = json!({ "category": category, "action": "something" });
        all.push(ask(&session, params)["error"]["data"].clone());
    }
    for data in all {
        let id = data["approval_id"].as_str().expect("an id");
        let reply = login.post(&format!("/api/approvals/{id}/approve-for-a-while"), "{}");
        assert_eq!(reply.status, 409, "{}", reply.body);
        assert!(
            reply.body.contains("only be approved once"),
            "{}",
            reply.body
        );
        let status = workspace.read(&format!("/approvals/{id}"))["status"].clone();
        assert_eq!(status, "pending", "nothing was decided");
    }
}
