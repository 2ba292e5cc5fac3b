//! Several tokens, each with a role.

mod support;

use serde_json::json;
use support::Workspace;
use support::login::Login;

const TOKENS: [&str; 6] = [
    "--add-token",
    "ci=agent",
    "--add-token",
    "ada=reviewer",
    "--add-token",
    "tv=viewer",
];

fn token<'a>(workspace: &'a Workspace, name: &str) -> &'a str {
    workspace.ready["tokens"][name].as_str().expect("a token")
}

#[test]
fn each_role_may_do_its_own_part() {
    let workspace = Workspace::start(&TOKENS);
    // Role, connects an agent, sees the dashboard, decides there.
    for (name, connects, sees, decides) in [
        ("local", 200, 200, 409),
        ("ci", 200, 403, 401),
        ("ada", 403, 200, 409),
        ("tv", 403, 200, 403),
    ] {
        let bearer = format!("Bearer {}", token(&workspace, name));
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion":
            "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
        let reply = workspace.post(&[("authorization", &bearer)], &hello.to_string());
        assert_eq!(reply.status, connects, "{name} connects: {}", reply.body);
        if connects == 200 {
            let role = &reply.message()["result"]["_meta"]["dev.aerostack/token"];
            let expect = if name == "local" { "owner" } else { "agent" };
            assert_eq!(role, &json!({ "name": name, "role": expect }));
        }
        let login = Login::attempt(&workspace, token(&workspace, name));
        assert_eq!(login.status, sees, "{name} sees");
        for path in [
            "/api/approvals/apr_none/approve",
            "/api/grants/grt_none/revoke",
        ] {
            assert_eq!(login.post(path, "{}").status, decides, "{name} {path}");
        }
    }
}

#[test]
fn an_agents_token_knows_only_its_own_approvals_and_sessions() {
    let workspace = Workspace::start(&TOKENS);
    let mine = workspace.session("2025-11-25");
    let data = mine.gated("files__delete", json!({ "path": "x" }));
    let id = data["approval_id"].as_str().expect("an id");
    workspace.admin("POST", &format!("/approvals/{id}/approve"), &json!({}));
    let other = workspace.session_of(token(&workspace, "ci"));
    let poll = other.request("aerostack/approvals/get", json!({ "approval_id": id }));
    assert_eq!(poll["error"]["message"], "no such approval");
    let spent = other.retry("files__delete", json!({ "path": "x" }), id);
    assert_eq!(spent["error"]["message"], "unknown approval_id");
    let bearer = format!("Bearer {}", token(&workspace, "ci"));
    let path = format!("/ws/demo/approvals/{id}");
    let state = |token: &str| {
        workspace
            .http("GET", &path, &[("authorization", token)], "")
            .status
    };
    assert_eq!(state(&bearer), 404);
    assert_eq!(state(&format!("Bearer {}", workspace.token())), 200);
    let hijack = mine.headers();
    let headers = [("authorization", bearer.as_str()), hijack[0], hijack[1]];
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    assert_eq!(workspace.post(&headers, &ping).status, 404);
    let done = mine.retry("files__delete", json!({ "path": "x" }), id);
    assert!(done["result"]["isError"].is_null(), "{done}");
}

#[test]
fn a_reviewers_name_stands_beside_the_decision() {
    let workspace = Workspace::start(&TOKENS);
    let session = workspace.session("2025-11-25");
    let data = session.gated("files__delete", json!({ "path": "x" }));
    let id = data["approval_id"].as_str().expect("an id");
    let login = Login::new(&workspace, token(&workspace, "ada"));
    assert_eq!(
        login
            .post(&format!("/api/approvals/{id}/reject"), r#"{"note":"no"}"#)
            .status,
        200
    );
    let state = session.request("aerostack/approvals/get", json!({ "approval_id": id }));
    assert_eq!(state["result"]["decided_by"], "ada");
}

#[test]
fn the_configuration_for_ai_tools_cannot_decide() {
    let workspace = Workspace::start(&[]);
    assert_ne!(token(&workspace, "agents"), workspace.token());
    let login = Login::attempt(&workspace, token(&workspace, "agents"));
    assert_eq!((login.status, login.cookie.as_str()), (403, ""));
    let agents = token(&workspace, "agents").to_owned();
    let said = workspace.said();
    let config = &said[said.find("\n{").expect("a configuration")..];
    let config: serde_json::Value = serde_json::from_str(config).expect("JSON");
    let env = &config["mcpServers"]["aerostack"]["env"];
    assert_eq!(env["AEROSTACK_TOKEN"], agents);
}

#[test]
fn a_token_that_makes_no_sense_is_refused_at_the_start() {
    for (flag, words) in [
        ("x", "expected NAME=ROLE"),
        ("x=boss", "there is no role boss"),
        ("local=viewer", "cannot name a token"),
        ("a b=viewer", "cannot name a token"),
    ] {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_aerostack-workspace"))
            .args(["--http", "--add-token", flag])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            !out.status.success() && said.contains(words),
            "{flag}: {said}"
        );
    }
}
