//! A real local server behind gates: npm `@modelcontextprotocol/server-filesystem` over stdio, driven through the
//! gateway.
//!
//! `scripts/local-server` installs it and runs this with AEROSTACK_FILESYSTEM_SERVER; without the variable nothing is
//! tested here.

#[path = "support/host.rs"]
mod host;
mod support;

use std::path::PathBuf;

use host::{Host, first_text};
use serde_json::{Value, json};
use support::Workspace;
use support::login::Login;

/// A directory with one file, gone with the test.
struct Place {
    dir: PathBuf,
    server: String,
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let server = std::env::var("AEROSTACK_FILESYSTEM_SERVER").ok()?;
        let dir =
            std::env::temp_dir().join(format!("aerostack-files-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&dir).ok();
        std::fs::create_dir_all(dir.join("files")).expect("a directory");
        std::fs::write(dir.join("files/hello.txt"), "hello\n").expect("a file");
        Some(Place { dir, server })
    }

    fn path(&self, name: &str) -> String {
        self.dir.join("files").join(name).display().to_string()
    }

    fn start(&self) -> Workspace {
        let upstream = format!("files=node '{}' '{}'", self.server, self.path(""));
        let data = self.dir.join("data").display().to_string();
        let gates = ["files__write_file", "files__edit_file", "files__move_file"];
        let mut args = vec!["--no-demo", "--data", &data, "--upstream-stdio", &upstream];
        args.extend(gates.iter().flat_map(|gate| ["--gate", gate]));
        Workspace::start(&args)
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// Waits for the one approval that is open.
fn pending(workspace: &Workspace) -> Value {
    let open = workspace.read("/approvals?status=pending&min=1");
    assert_eq!(open.as_array().map(Vec::len), Some(1), "{open}");
    open[0].clone()
}

/// Decides in the dashboard, as a person does.
fn decide(workspace: &Workspace, verb: &str, note: &str) -> Value {
    let approval = pending(workspace);
    let login = Login::new(workspace, workspace.token());
    let id = approval["approval_id"].as_str().expect("an id");
    let reply = login.post(
        &format!("/api/approvals/{id}/{verb}"),
        &json!({ "note": note }).to_string(),
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
    approval
}

#[test]
fn writes_wait_for_a_person_and_reads_do_not() {
    let Some(place) = Place::new("writes") else {
        return;
    };
    let workspace = place.start();
    let mut host = Host::start(&workspace, json!({ "roots": { "listChanged": true } }));
    let list = host.send("tools/list", json!({}));
    let tools = host.answer(list)["result"]["tools"].clone();
    let names: Vec<_> = tools
        .as_array()
        .expect("tools")
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    for name in [
        "files__read_text_file",
        "files__write_file",
        "files__edit_file",
        "aerostack__local_guardian",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let read = host.text(
        "files__read_text_file",
        json!({ "path": place.path("hello.txt") }),
    );
    assert_eq!(read, "hello\n");
    // The directories are those of the command line, whatever roots the host has.
    let allowed = host.text("files__list_allowed_directories", json!({}));
    assert!(
        allowed.lines().count() == 2 && allowed.contains(place.path("").trim_end_matches('/')),
        "{allowed}"
    );

    let content = "first\n\"second\" \\ \u{1f980}\n";
    let write = host.call(
        "files__write_file",
        json!({ "path": place.path("new.txt"), "content": content }),
    );
    let approval = pending(&workspace);
    assert_eq!(
        place.read("new.txt"),
        None,
        "nothing is written before the decision"
    );
    assert_eq!(approval["risk"], "destructive");
    assert_eq!(approval["request_params"]["arguments"]["content"], content);
    decide(&workspace, "approve", "");
    let answer = host.answer(write);
    assert!(answer["result"]["isError"] != true, "{answer}");
    assert_eq!(place.read("new.txt").as_deref(), Some(content));

    let edits = json!([{ "oldText": "hello", "newText": "goodbye" }]);
    let edit = host.call(
        "files__edit_file",
        json!({ "path": place.path("hello.txt"), "edits": edits }),
    );
    decide(&workspace, "reject", "Leave it as it is.");
    let answer = host.answer(edit);
    assert_eq!(answer["result"]["isError"], true);
    assert!(
        first_text(&answer).contains("Leave it as it is."),
        "{answer}"
    );
    assert_eq!(place.read("hello.txt").as_deref(), Some("hello\n"));
}

#[test]
fn a_call_that_fails_is_an_approval_that_failed() {
    let Some(place) = Place::new("fails") else {
        return;
    };
    let workspace = place.start();
    let mut host = Host::start(&workspace, json!({}));
    let outside = place.dir.join("outside.txt").display().to_string();
    let call = host.call(
        "files__write_file",
        json!({ "path": outside, "content": "x" }),
    );
    decide(&workspace, "approve", "");
    let answer = host.answer(call);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(
        first_text(&answer).contains("outside allowed directories"),
        "{answer}"
    );
    assert!(!std::path::Path::new(&outside).exists());
}

#[test]
fn a_workspace_that_is_killed_in_mid_approval_loses_nothing() {
    let Some(place) = Place::new("killed") else {
        return;
    };
    let workspace = place.start();
    let mut host = Host::start(&workspace, json!({}));
    let call = host.call(
        "files__write_file",
        json!({ "path": place.path("kept.txt"), "content": "once" }),
    );
    let id = pending(&workspace)["approval_id"].clone();
    // The gateway has been told of it: the approval's WebSocket is open, and the chat's.
    workspace.read("/websockets?min=2");
    drop(workspace); // SIGKILL

    let workspace = place.start();
    assert_eq!(pending(&workspace)["approval_id"], id);
    decide(&workspace, "approve", "");
    let answer = host.answer(call);
    assert!(answer["result"].is_object(), "{answer}");
    assert!(answer["result"]["isError"] != true, "{answer}");
    assert_eq!(place.read("kept.txt").as_deref(), Some("once"));
    let executions = workspace.read("/executions");
    assert_eq!(executions["tools"], json!({ "files__write_file": 1 }));
}
