//! `--data DIR`: what a workspace keeps when it is killed at any moment.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::Workspace;
use support::login::Login;

/// A directory of its own, gone with the test.
struct Data(PathBuf);

impl Data {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("aerostack-kept-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&dir).ok();
        Data(dir)
    }

    fn start(&self, args: &[&str]) -> Workspace {
        let mut all = vec!["--data", self.0.to_str().expect("UTF-8")];
        all.extend(args);
        Workspace::start(&all)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn gated(workspace: &Workspace, path: &str) -> String {
    let session = workspace.session("2025-11-25");
    let data = session.gated("files__delete", json!({ "path": path }));
    data["approval_id"].as_str().expect("an id").to_owned()
}

fn approve(workspace: &Workspace, id: &str) {
    workspace.admin(
        "POST",
        &format!("/approvals/{id}/approve"),
        &json!({ "by": "Ada" }),
    );
}

fn executions(workspace: &Workspace, id: &str) -> Value {
    workspace.read("/executions")["approvals"][id].clone()
}

/// Dropping a [`Workspace`] kills it with SIGKILL.
fn kill(workspace: Workspace) {
    drop(workspace);
}

#[test]
fn address_token_and_certificate_stay() {
    let data = Data::new("address");
    let workspace = data.start(&["--add-token", "ada=reviewer"]);
    let (ready, dir) = (workspace.ready.clone(), data.0.clone());
    kill(workspace);
    let workspace = data.start(&[]);
    for name in ["url", "token", "tokens", "port"] {
        assert_eq!(workspace.ready[name], ready[name], "{name}");
    }
    kill(workspace);
    let secure = |data: &Data| {
        let dir = data.0.to_str().expect("UTF-8");
        let workspace = Workspace::start_with(&["--data", dir]);
        let file = workspace.text("ca_file").to_owned();
        std::fs::read_to_string(file).expect("the CA")
    };
    assert_eq!(secure(&data), secure(&data));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: PathBuf| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(dir.clone()), 0o700);
    assert_eq!(mode(dir.join("workspace.sqlite")), 0o600);
}

#[test]
fn a_pending_approval_survives_a_kill_and_is_executed_once() {
    let data = Data::new("pending");
    let workspace = data.start(&[]);
    let id = gated(&workspace, "x");
    kill(workspace);

    let workspace = data.start(&[]);
    let session = workspace.session("2025-11-25");
    let state = session.request("aerostack/approvals/get", json!({ "approval_id": id }));
    assert_eq!(state["result"]["status"], "pending");
    approve(&workspace, &id);
    kill(workspace);

    // The consent is there, with who gave it; it is used once, and its outcome stays.
    let workspace = data.start(&[]);
    let session = workspace.session("2025-11-25");
    let state = session.request("aerostack/approvals/get", json!({ "approval_id": id }));
    assert_eq!(state["result"]["status"], "approved");
    assert_eq!(state["result"]["decided_by"], "Ada");
    let first = session.retry("files__delete", json!({ "path": "x" }), &id);
    assert_eq!(first["result"]["content"][0]["text"], "deleted x");
    kill(workspace);

    let workspace = data.start(&[]);
    let session = workspace.session("2025-11-25");
    let again = session.retry("files__delete", json!({ "path": "x" }), &id);
    assert_eq!(again["result"], first["result"]);
    assert_eq!(executions(&workspace, &id), 1);
    assert_eq!(
        workspace.read("/executions")["tools"],
        json!({}),
        "nothing ran in this process"
    );
}

#[test]
fn what_ran_when_it_was_killed_is_not_run_again() {
    for mode in ["approved", "executed"] {
        let data = Data::new(mode);
        let workspace = data.start(&["--gate", "demo__wait", "--approvals", mode]);
        let session = workspace.session("2025-11-25");
        let wait = json!({ "name": "for ever" });
        let answer = session.gated("demo__wait", wait.clone());
        let id = answer["approval_id"].as_str().expect("an id").to_owned();
        approve(&workspace, &id);
        if mode == "approved" {
            let meta = json!({ "dev.aerostack/approval_id": id });
            let params = json!({ "name": "demo__wait", "arguments": wait, "_meta": meta });
            let body =
                json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params });
            session.send_and_leave(&body.to_string());
        }
        workspace.until_running("demo__wait");
        kill(workspace);

        let workspace = data.start(&["--gate", "demo__wait", "--approvals", mode]);
        let session = workspace.session("2025-11-25");
        let answer = session.retry("demo__wait", wait, &id);
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(words.contains("may have been executed"), "{mode}: {answer}");
        assert_eq!(executions(&workspace, &id), 1, "{mode}");
        assert_eq!(workspace.read("/executions")["tools"], json!({}), "{mode}");
    }
}

#[test]
fn history_chat_audit_logins_and_grants_survive_a_kill() {
    let data = Data::new("history");
    let gate = ["--gate", "github__*"];
    let workspace = data.start(&gate);
    let login = Login::new(&workspace, workspace.token());
    let cookie = login.cookie.clone();
    let session = workspace.session("2025-11-25");
    session.heartbeat("bridge-a", "one", "online");
    let issue = json!({ "repo": "acme/website", "title": "t", "n": 1.0 });
    let asked = session.gated("github__create_issue", issue.clone());
    let id = asked["approval_id"].as_str().expect("an id");
    assert_eq!(
        login
            .post(&format!("/api/approvals/{id}/approve-for-a-while"), "{}")
            .status,
        200
    );
    session.retry("github__create_issue", issue.clone(), id);
    assert_eq!(login.post("/api/chat", r#"{"text":"kept?"}"#).status, 200);
    session.request(
        "aerostack/chat/messages",
        json!({ "bridge_id": "bridge-a", "mark_read": "msg_1" }),
    );
    workspace.admin("POST", "/chat", &json!({ "text": "not read yet" }));
    let before = (
        workspace.read("/approvals"),
        workspace.read("/chat"),
        workspace.read("/grants"),
    );
    let audit = workspace.read("/audit");
    kill(workspace);

    let workspace = data.start(&gate);
    let after = (
        workspace.read("/approvals"),
        workspace.read("/chat"),
        workspace.read("/grants"),
    );
    assert_eq!(after, before);
    let now = workspace.read("/audit");
    assert!(
        now.as_array()
            .expect("a list")
            .ends_with(audit.as_array().expect("a list"))
    );
    let login = Login {
        cookie,
        ..Login::of(&workspace)
    };
    assert_eq!(
        login.get("/api/session").status,
        200,
        "the browser stays logged in"
    );
    // The agent's process comes back with a heartbeat, and with it what it may do.
    let session = workspace.session("2025-11-25");
    session.gated("github__create_issue", issue.clone());
    session.heartbeat("bridge-a", "one", "online");
    assert!(session.call("github__create_issue", issue)["result"].is_object());
    let unread = session.request(
        "aerostack/chat/messages",
        json!({ "bridge_id": "bridge-a" }),
    );
    assert_eq!(unread["result"]["messages"][0]["text"], "not read yet");
    let next = workspace.admin("POST", "/chat", &json!({ "text": "numbers go on" }));
    assert_eq!(next["id"], "msg_3");
}

#[test]
fn two_workspaces_do_not_share_a_directory() {
    let data = Data::new("shared");
    let workspace = data.start(&[]);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_aerostack-workspace"))
        .args(["--http", "--data", data.0.to_str().expect("UTF-8")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use by another workspace"), "{said}");
    gated(&workspace, "x");
}

/// Killed in the middle of many approvals, again and again: none is lost, none runs twice.
#[test]
fn kills_in_mid_approval_lose_nothing_and_double_nothing() {
    let data = Data::new("kills");
    let mut ids = Vec::new();
    for round in 0..5 {
        let workspace = data.start(&[]);
        for n in 0..4 {
            ids.push((
                gated(&workspace, &format!("{round}-{n}")),
                format!("{round}-{n}"),
            ));
        }
        let session = workspace.session("2025-11-25");
        for (at, (id, path)) in ids.iter().enumerate() {
            let status = workspace.read(&format!("/approvals/{id}"))["status"].clone();
            // Each round moves every approval one step on, and stops somewhere in the middle.
            if (at + round) % 3 == 0 && status == "pending" {
                approve(&workspace, id);
            } else if status == "approved" && at % 2 == 0 {
                session.retry("files__delete", json!({ "path": path }), id);
            }
        }
        let before: Vec<Value> = ids
            .iter()
            .map(|(id, _)| workspace.read(&format!("/approvals/{id}")))
            .collect();
        kill(workspace);
        let workspace = data.start(&[]);
        let after: Vec<Value> = ids
            .iter()
            .map(|(id, _)| workspace.read(&format!("/approvals/{id}")))
            .collect();
        assert_eq!(after, before, "round {round}");
    }
    let workspace = data.start(&[]);
    let session = workspace.session("2025-11-25");
    for (id, path) in &ids {
        let state = workspace.read(&format!("/approvals/{id}"));
        if state["status"] == "pending" {
            approve(&workspace, id);
        }
        let answer = session.retry("files__delete", json!({ "path": path }), id);
        assert!(answer["result"].is_object(), "{answer}");
        assert_eq!(executions(&workspace, id), 1);
    }
}
