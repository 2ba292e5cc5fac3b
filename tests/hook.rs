//! `--guard` on the real program: what it says, when it asks, and that nothing but a clear yes is one.

mod common;

use aerostack_workspace::approvals::Status;
use aerostack_workspace::settings::Outage;
use common::{
    DEADLINE, Dir, INITIALIZE, INITIALIZED, Nobody, RawServer, Setup, TOKEN, Workspace, json_reply,
    program, request,
};
use ring::digest::{SHA256, digest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};

const RISKY: &str = "git push --force";

/// A hook that runs; its event is written and its stdin closed.
struct Hook(Child);

/// What it said.
#[derive(Debug, PartialEq)]
struct Said {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

fn event(command: &str, mode: &str) -> Value {
    json!({"session_id": "s1", "cwd": "/", "permission_mode": mode, "hook_event_name": "PreToolUse",
        "tool_name": "Bash", "tool_input": {"command": command}})
}

/// An empty environment, as if nothing of the machine's own settings were there.
fn start(arguments: &[&str], env: &[(&str, &str)], event: &[u8]) -> Hook {
    let mut child = Command::new(program())
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have refused before it read.
    let _ = stdin.write_all(event);
    Hook(child)
}

impl Hook {
    fn said(self) -> Said {
        let output = self.0.wait_with_output().expect("it ends");
        Said {
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
            code: output.status.code(),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it is there");
    }
}

/// Settings as an installer writes them, and a hook that has them.
struct Place {
    dir: Dir,
    file: String,
}

impl Place {
    fn new(url: &str, more: &str) -> Self {
        let dir = Dir::new();
        let path = dir.path().join("guard.env");
        let text = format!("AEROSTACK_WORKSPACE_URL={url}\nAEROSTACK_TOKEN={TOKEN}\n{more}");
        std::fs::write(&path, text).expect("it is ours");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("it is ours");
        let file = path.to_str().expect("the path is ours").to_owned();
        Self { dir, file }
    }

    fn of(workspace: &Workspace) -> Self {
        Self::new(&workspace.url, "")
    }

    fn start(&self, more: &[&str], env: &[(&str, &str)], event: &Value) -> Hook {
        let mut arguments = vec!["--guard", "claude-code", "--env-file", &self.file];
        arguments.extend(more);
        start(&arguments, env, event.to_string().as_bytes())
    }

    fn ask(&self, more: &[&str]) -> Said {
        self.start(more, &[], &event(RISKY, "default")).said()
    }
}

fn workspace() -> Workspace {
    Workspace::whole(Workspace::http())
}

fn no(why: &str) -> Said {
    let rule = "git push --force sends commits to others";
    Said {
        stdout: String::new(),
        stderr: format!(
            "aerostack guard: NOT APPROVED ({why}): {rule}. Do not try another way to the same effect\n"
        ),
        code: Some(2),
    }
}

fn nothing() -> Said {
    Said {
        stdout: String::new(),
        stderr: String::new(),
        code: Some(0),
    }
}

fn yes(why: &str) -> Said {
    let stdout = format!(
        "{{\"hookSpecificOutput\":{{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"allow\",\"permissionDecisionReason\":\"aerostack guard: {why}\"}}}}\n"
    );
    Said {
        stdout,
        stderr: String::new(),
        code: Some(0),
    }
}

#[test]
fn a_person_decides() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    let hook = place.start(&[], &[], &event(RISKY, "default"));
    let id = workspace.one_pending();
    workspace.approve(&id);
    assert_eq!(hook.said(), yes("approved by Ada"));
    // Claude Code would not ask again in this mode: silence.
    let hook = place.start(&[], &[], &event(RISKY, "bypassPermissions"));
    workspace.approve(&workspace.one_pending());
    assert_eq!(hook.said(), nothing());
    let hook = place.start(&[], &[], &event(RISKY, "bypassPermissions"));
    workspace.reject(&workspace.one_pending(), "not on Friday");
    assert_eq!(hook.said(), no("rejected by Ada: not on Friday"));
    let hook = place.start(&[], &[], &event(RISKY, "default"));
    workspace.decide(
        &workspace.one_pending(),
        true,
        r#"{"params":{"category":"git_push","action":"ls"}}"#,
    );
    let said = hook.said();
    assert!(
        said.code == Some(2) && said.stderr.contains("NOT APPROVED (changed by Ada: "),
        "{said:?}"
    );
}

/// One session, one question, one socket; nobody appears in the dashboard as an agent.
#[test]
fn a_question_is_all_that_is_sent() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    let hook = place.start(&[], &[], &event(RISKY, "default"));
    let id = workspace.one_pending();
    workspace.wait_sockets(1);
    workspace.approve(&id);
    assert_eq!(hook.said(), yes("approved by Ada"));
    let methods: Vec<Option<String>> = workspace
        .seen(|_| true)
        .into_iter()
        .map(|seen| seen.method)
        .collect();
    let named: Vec<&str> = methods.iter().flatten().map(String::as_str).collect();
    assert_eq!(
        named,
        [
            "initialize",
            "notifications/initialized",
            "aerostack/guardian/request"
        ]
    );
    assert_eq!(methods.len(), named.len() + 1, "the socket: {methods:?}");
    assert!(workspace.bridges().is_empty());
    let asked = &workspace.requests("aerostack/guardian/request")[0];
    let params = serde_json::to_value(asked).expect("it was read")["body"]["params"].clone();
    if params.is_object() {
        assert_eq!(params["host"], "claude-code");
    }
}

/// Where no row fits, there is no connection, whatever the settings say.
#[test]
fn nothing_is_asked_without_need() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    for command in ["ls", "git status", "cargo test"] {
        assert_eq!(
            place.start(&[], &[], &event(command, "default")).said(),
            nothing()
        );
    }
    let mut unlisted = event("x", "default");
    unlisted["tool_name"] = json!("WebSearch");
    unlisted["tool_input"] = json!({"query": "rm -rf"});
    assert_eq!(place.start(&[], &[], &unlisted).said(), nothing());
    assert!(workspace.seen(|_| true).is_empty());
    // Not even the settings file is opened.
    let said = start(
        &["--guard", "codex", "--env-file", "/nowhere"],
        &[],
        event("ls", "").to_string().as_bytes(),
    )
    .said();
    assert_eq!(said, nothing());
}

/// "Its process ends with its verdict, and the approval stays open": the same operation joins it, another one
/// does not.
#[test]
fn what_was_not_answered_in_time_can_be_repeated() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    let late = place.ask(&["--deadline", "0.6"]);
    assert_eq!(
        late,
        no("still waiting for approval in the dashboard: repeat the same operation")
    );
    let id = workspace.one_pending();
    // Another command is another approval.
    let other = place
        .start(
            &["--deadline", "0.6"],
            &[],
            &event("git push --tags", "default"),
        )
        .said();
    assert_eq!(other.code, Some(2));
    assert_eq!(workspace.pending(2).len(), 2);
    workspace.approve(&id);
    assert_eq!(place.ask(&[]), yes("approved by Ada"));
    // It is used up.
    assert_eq!(place.ask(&["--deadline", "0.6"]).code, Some(2));
}

#[test]
fn a_signal_or_a_reader_that_left_is_a_no() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let hook = place.start(&[], &[], &event(RISKY, "default"));
        let id = workspace.one_pending();
        hook.signal(signal);
        assert_eq!(hook.said(), no("the guard was told to end"));
        workspace.wait_status(&id, Status::Pending);
        // Withdrawn, so that the next round asks anew: a rejection would be the answer to the same operation.
        workspace.state.approvals.cancel(&id, None);
    }
    let mut hook = place.start(&[], &[], &event(RISKY, "default"));
    let id = workspace.one_pending();
    drop(hook.0.stdout.take());
    assert_eq!(hook.said().code, Some(2));
    workspace.wait_status(&id, Status::Pending);
}

#[test]
fn a_workspace_that_can_not_answer_is_a_no() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    workspace.set(json!({ "guardian": "reject" }));
    assert_eq!(place.ask(&[]).code, Some(2));
    workspace.set(json!({ "guardian": "ask", "extensions": false }));
    let said = place.ask(&[]);
    assert_eq!(
        said,
        no("this workspace does not offer approvals of local operations")
    );
    workspace.set(json!({ "extensions": true }));
    let wrong = Place::new(&workspace.url, "");
    let text = std::fs::read_to_string(&wrong.file)
        .expect("ours")
        .replace(TOKEN, "mwt_wrong_token");
    std::fs::write(&wrong.file, text).expect("ours");
    let said = wrong.ask(&[]);
    assert!(
        said.code == Some(2) && said.stdout.is_empty() && !said.stderr.contains("mwt_"),
        "{said:?}"
    );
    workspace.outage(Outage::Refuse);
    let said = place.ask(&["--deadline", "20"]);
    assert!(said.code == Some(2) && said.stdout.is_empty(), "{said:?}");
    let plain = RawServer::http(|request| {
        json_reply(
            request,
            r#"{"capabilities":{},"decision":"approved","structuredContent":{"decision":"approved"}}"#,
        )
    });
    let said = Place::new(&plain.url(), "").ask(&["--deadline", "3"]);
    assert!(said.code == Some(2) && said.stdout.is_empty(), "{said:?}");
}

/// `--guard-offline ask`: only where nothing reached the workspace, and only in modes in which Claude Code asks.
#[test]
fn offline_can_be_left_to_the_host() {
    let nobody = Nobody::new();
    let closed = Place::new(&format!("http://{}/ws/x", nobody.address()), "");
    let offline = ["--guard-offline", "ask", "--deadline", "20"];
    let said = closed.start(&offline, &[], &event(RISKY, "default")).said();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.contains("\"permissionDecision\":\"ask\""),
        "{said:?}"
    );
    let said = closed
        .start(&offline, &[], &event(RISKY, "bypassPermissions"))
        .said();
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    let said = closed.ask(&["--deadline", "20"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    // A word from the workspace is no outage.
    let workspace = workspace();
    let place = Place::of(&workspace);
    let hook = place.start(&offline, &[], &event(RISKY, "default"));
    workspace.reject(&workspace.one_pending(), "");
    assert_eq!(hook.said(), no("rejected by Ada"));
    workspace.set(json!({ "extensions": false }));
    assert_eq!(
        place
            .start(&offline, &[], &event(RISKY, "default"))
            .said()
            .code,
        Some(2)
    );
}

/// A repository's environment names another workspace, a proxy, a CA, and switches things off: nothing changes.
#[test]
fn the_environment_has_no_say() {
    let (workspace, other) = (workspace(), workspace());
    let place = Place::of(&workspace);
    let env = [
        ("AEROSTACK_WORKSPACE_URL", other.url.as_str()),
        ("AEROSTACK_TOKEN", "none"),
        ("AEROSTACK_BUILTIN_TOOLS", "off"),
        ("AEROSTACK_GUARD", "off"),
        ("AEROSTACK_APPROVAL_WAIT", "0.1"),
        ("AEROSTACK_APPROVAL_TIMEOUT", "0.1"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("AEROSTACK_LOG_FILE", "/nowhere/log"),
    ];
    let hook = place.start(&[], &env, &event(RISKY, "default"));
    workspace.approve(&workspace.one_pending());
    assert_eq!(hook.said(), yes("approved by Ada"));
    assert!(other.seen(|_| true).is_empty());
    // Without settings of its own there is nobody to ask.
    let said = start(
        &["--guard", "claude-code"],
        &env,
        event(RISKY, "default").to_string().as_bytes(),
    )
    .said();
    assert!(
        said.code == Some(2) && said.stderr.contains("AEROSTACK_WORKSPACE_URL is required"),
        "{said:?}"
    );
}

#[test]
fn what_can_not_be_read_is_a_no() {
    let good = event("ls", "default").to_string();
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(17 << 20));
    for raw in [
        "",
        "{",
        "[]",
        "null",
        "\u{feff}{}",
        &good[1..],
        &large,
        &good.replace("PreToolUse", "Stop"),
    ] {
        for host in ["claude-code", "codex", "gemini", "qwen", "cursor"] {
            let said = start(&["--guard", host], &[], raw.as_bytes()).said();
            assert_eq!(said.code, Some(2), "{host}: {}", &raw[..raw.len().min(80)]);
            assert!(
                said.stderr
                    .starts_with("aerostack guard: NOT APPROVED: the event "),
                "{said:?}"
            );
        }
    }
    let said = start(&["--guard", "claude-code"], &[], b"\xff").said();
    assert_eq!(
        said.stderr,
        "aerostack guard: NOT APPROVED: the event is not UTF-8\n"
    );
    // Wrong arguments, too: a hook that was set up wrongly must not let things through.
    for arguments in [
        &["--guard", "emacs"][..],
        &["--guard"],
        &["--guard", "codex", "--frob"],
        &["--guard", "codex", "--deadline", "x"],
        &["--guard", "codex", "--env-file", "relative"],
        &["--guard", "codex", "--guard-rules", "/nowhere"],
    ] {
        let said = start(arguments, &[], good.as_bytes()).said();
        assert_eq!(
            (said.code, said.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(!said.stderr.trim().is_empty(), "{arguments:?}");
    }
}

/// An event that never ends is one that can not be read.
#[test]
fn an_event_that_does_not_end_is_a_no() {
    let mut child = Command::new(program())
        .args(["--guard", "claude-code"])
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        output.stderr,
        b"aerostack guard: NOT APPROVED: the event did not end in time\n"
    );
    assert!(DEADLINE.as_secs() > 10);
}

#[test]
fn rules_and_records() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    let (rules, log) = (
        place.dir.path().join("rules.json"),
        place.dir.path().join("log"),
    );
    std::fs::write(
        &rules,
        r#"{"deny":["curl *"],"allow":["git push --force"]}"#,
    )
    .expect("ours");
    let (rules, log) = (rules.to_str().expect("ours"), log.to_str().expect("ours"));
    let options = ["--guard-rules", rules, "--log-file", log];
    assert_eq!(
        place.start(&options, &[], &event(RISKY, "default")).said(),
        nothing()
    );
    let said = place
        .start(&options, &[], &event("curl x", "default"))
        .said();
    assert_eq!(
        said.stderr,
        "aerostack guard: NOT APPROVED: curl x is denied by your rule \"curl *\". Do not try another way to the same effect\n"
    );
    let said = place
        .start(
            &["--dry-run", "--log-file", log],
            &[],
            &event(RISKY, "default"),
        )
        .said();
    assert_eq!(said, nothing());
    let hook = place.start(&["--log-file", log], &[], &event(RISKY, "default"));
    workspace.approve(&workspace.one_pending());
    assert_eq!(hook.said(), yes("approved by Ada"));
    let lines = std::fs::read_to_string(log).expect("it was written");
    let lines: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split_once(" info: "))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        lines,
        [
            "guard claude-code Bash: denied (rule): curl x is denied by your rule \"curl *\"",
            "guard claude-code Bash: dry-run: asked (-): git_push: git push --force sends commits to others",
            "guard claude-code Bash: approved (approved by Ada): git_push: git push --force sends commits to others",
        ]
    );
    // The settings file may name the record, too; the environment may not.
    let other = place.dir.path().join("other.log");
    let other = other.to_str().expect("ours");
    let named = Place::new(&workspace.url, &format!("AEROSTACK_LOG_FILE={other}\n"));
    let env = [("AEROSTACK_LOG_FILE", log)];
    let hook = named.start(&[], &env, &event(RISKY, "default"));
    workspace.reject(&workspace.one_pending(), "");
    assert_eq!(hook.said(), no("rejected by Ada"));
    let line = std::fs::read_to_string(other).expect("it was written");
    assert!(
        line.contains("denied (rejected by Ada): git_push"),
        "{line}"
    );
    let before = std::fs::read_to_string(log).expect("it is there");
    assert_eq!(before.lines().count(), 3, "{before}");
}

#[test]
fn a_busy_workspace_is_asked_again() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    workspace.fault(json!({
        "kind": "status", "status": 429, "headers": [["retry-after", "1"]], "count": 2,
        "method": "aerostack/guardian/request"
    }));
    let hook = place.start(&[], &[], &event(RISKY, "default"));
    workspace.approve(&workspace.one_pending());
    assert_eq!(hook.said(), yes("approved by Ada"));
    assert_eq!(workspace.requests("aerostack/guardian/request").len(), 3);
}

#[test]
fn a_command_can_be_explained() {
    for (command, expect) in [
        (
            "ls",
            "silent: no rule fits, the AI tool goes on as it would without the guard\n",
        ),
        (
            "sudo git push",
            "ask (git_push): git push sends commits to others\n",
        ),
    ] {
        let said = start(&["--guard-explain", command], &[], b"").said();
        assert_eq!(
            said,
            Said {
                stdout: expect.to_owned(),
                ..nothing()
            }
        );
    }
}

/// `--install HOST --guard`, as `HOME` is.
fn install(home: &Dir, host: &str, file: &str) -> Said {
    let home = home.path().to_str().expect("the path is ours");
    start(
        &["--install", host, "--guard", "--env-file", file],
        &[("HOME", home)],
        b"",
    )
    .said()
}

#[test]
fn a_hook_is_installed_once_and_taken_out_again() {
    let workspace = workspace();
    let place = Place::of(&workspace);
    let before =
        "{ \"a\": [1,2],\n  \"hooks\": {\"PreToolUse\":[{\"matcher\":\"X\",\"hooks\":[]}]} }\n";
    let home = Dir::new();
    let settings = home.path().join(".claude/settings.json");
    std::fs::create_dir_all(settings.parent().expect("a folder")).expect("ours");
    std::fs::write(&settings, before).expect("ours");
    let said = install(&home, "claude-code", &place.file);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(
        said.stdout.contains("+ PreToolUse: {\"matcher\": \"Bash|"),
        "{said:?}"
    );
    assert!(
        said.stdout.contains("settings.json.aerostack-backup.1\n"),
        "{said:?}"
    );
    let after = std::fs::read_to_string(&settings).expect("ours");
    let entry: Value = serde_json::from_str(&after).expect("JSON");
    let hook = &entry["hooks"]["PreToolUse"][1]["hooks"][0];
    assert_eq!(hook["onFailure"], "block");
    assert_eq!(hook["timeout"], 3600);
    assert_eq!(
        hook["args"],
        json!([
            "--guard",
            "claude-code",
            "--env-file",
            place.file,
            "--deadline",
            "3420"
        ])
    );
    let checked = |text: &str| {
        std::fs::write(&settings, text).expect("ours");
        let home = home.path().to_str().expect("ours");
        let said = start(
            &["--check", "--env-file", &place.file],
            &[("HOME", home)],
            b"",
        )
        .said();
        let line = said
            .stdout
            .lines()
            .find(|line| line.starts_with("Guard hook"));
        line.map(str::to_owned).unwrap_or_default()
    };
    for (text, expect) in [
        (after.clone(), "Guard hook of claude-code: installed ("),
        (
            after.replace("\"onFailure\"", "\"x\""),
            "Guard hook of claude-code: CHANGED since",
        ),
        (
            after.replace("\"a\": [1,2]", "\"disableAllHooks\": true"),
            "Guard hook of claude-code: SWITCHED OFF",
        ),
        (
            after.replace("\"block\"", "\"allow\""),
            "Guard hook of claude-code: CHANGED since",
        ),
        (
            after.replace("3600", "36"),
            "Guard hook of claude-code: CHANGED since",
        ),
        (
            after.replace("\"Bash|", "\""),
            "Guard hook of claude-code: CHANGED since",
        ),
        (before.to_owned(), ""),
        (after.clone(), "Guard hook of claude-code: installed ("),
    ] {
        assert!(
            checked(&text).starts_with(expect) && checked(&text).is_empty() == expect.is_empty(),
            "{expect}"
        );
    }
    // What is as it should be is not written again.
    let said = install(&home, "claude-code", &place.file);
    assert!(
        said.stdout
            .ends_with("has the hook already, as it should be.\n"),
        "{said:?}"
    );
    assert_eq!(std::fs::read_to_string(&settings).expect("ours"), after);
    let home_path = home.path().to_str().expect("ours");
    let said = start(&["--uninstall", "claude-code"], &[("HOME", home_path)], b"").said();
    assert!(said.stdout.contains("- the hook of --guard"), "{said:?}");
    assert_eq!(std::fs::read_to_string(&settings).expect("ours"), before);
}

/// A repository, or the person, may switch hooks off in more than one file.
#[test]
fn a_hook_that_is_switched_off_is_told() {
    let workspace = workspace();
    let (place, home, folder) = (Place::of(&workspace), Dir::new(), Dir::new());
    let home_path = home.path().to_str().expect("ours");
    let write = |base: &Dir, file: &str, text: &str| {
        let path = base.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("ours");
        std::fs::write(path, text).expect("ours");
    };
    write(
        &home,
        ".gemini/settings.json",
        "{\"hooksConfig\": {\"enabled\": false}}",
    );
    install(&home, "claude-code", &place.file);
    install(&home, "gemini", &place.file);
    let states = || {
        let output = Command::new(program())
            .args(["--check", "--env-file", &place.file])
            .env_clear()
            .env("HOME", home_path)
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("Guard hook of "));
        let words = lines.map(|line| line.split(" (").next().unwrap_or_default().to_owned());
        words.collect::<Vec<_>>()
    };
    let off = "SWITCHED OFF by disableAllHooks, hooksConfig or features.hooks";
    let gemini = format!("gemini: {off}");
    assert_eq!(
        states(),
        ["claude-code: installed".to_owned(), gemini.clone()]
    );
    install(&home, "codex", &place.file);
    let config = ".codex/config.toml";
    for text in ["[features]\nhooks = false\n", "features.hooks=false # now"] {
        write(&folder, config, text);
        assert_eq!(states()[1], format!("codex: {off}"));
    }
    write(&folder, config, "[features]\nplugin_hooks = false\n");
    assert_eq!(states()[1], "codex: NOT TRUSTED yet: /hooks in Codex");
    std::fs::remove_file(home.path().join(".codex/hooks.json")).expect("ours");
    for file in [".claude/settings.json", ".claude/settings.local.json"] {
        write(&folder, file, "{ \"disableAllHooks\" : true }");
        assert_eq!(states(), [format!("claude-code: {off}"), gemini.clone()]);
        write(&folder, file, "{ \"disableAllHooks\" : false }");
    }
    assert_eq!(states(), ["claude-code: installed".to_owned(), gemini]);
}

/// A hook whose workspace asks nobody would deny everything.
#[test]
fn a_hook_without_a_guardian_is_not_installed() {
    let workspace = workspace();
    workspace.set(json!({ "extensions": false }));
    let (place, home) = (Place::of(&workspace), Dir::new());
    let said = install(&home, "codex", &place.file);
    assert_eq!(
        said.stderr,
        "aerostack-gateway: the hook was not installed, because it would deny everything: it can not be reached, or does not offer approvals of local operations\n"
    );
    assert_eq!(said.code, Some(1));
    assert!(!home.path().join(".codex").exists());
    let none = start(&["--install", "codex", "--guard"], &[], b"").said();
    assert!(
        none.code == Some(2) && none.stderr.contains("run --setup first"),
        "{none:?}"
    );
    // It would be a hook that stops things, where somebody wanted to try.
    let dry = start(&["--install", "codex", "--guard", "--dry-run"], &[], b"").said();
    assert_eq!(
        (dry.code, dry.stderr.as_str()),
        (
            Some(2),
            "aerostack-gateway: --dry-run is not for --install\n"
        )
    );
}

/// What Codex keeps of a hook that is trusted: the members of an object in the order of their names.
fn codex_hash(hooks: &str) -> String {
    let text: Value = serde_json::from_str(hooks).expect("JSON");
    let group = &text["hooks"]["PreToolUse"][0];
    let hook = &group["hooks"][0];
    let identity = json!({"event_name": "pre_tool_use", "matcher": group["matcher"], "hooks": [
        {"async": false, "command": hook["command"], "timeout": hook["timeout"], "type": "command"}]});
    let digest = digest(&SHA256, identity.to_string().as_bytes());
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// One question, not two: where the hook asks by itself, the tool says so, to that host alone.
#[test]
fn the_tool_knows_of_the_hook() {
    let workspace = workspace();
    let (place, home) = (Place::of(&workspace), Dir::new());
    let home_path = home.path().to_str().expect("ours");
    let told = |client: &str| {
        let mut gateway = Setup::whole(&workspace).env("HOME", home_path).spawn();
        let answer = gateway.ask(&INITIALIZE.replace("real-tests", client));
        let instructions = answer.at("/result/instructions").to_string();
        gateway.send(INITIALIZED);
        let tools = gateway.ask(&request("2", "tools/list")).at("/result/tools");
        let tools = tools.as_array().expect("a list");
        let guardian = |tool: &&Value| tool["name"] == "aerostack__local_guardian";
        let tool = tools.iter().find(guardian).expect("it is listed");
        gateway.finish().code(0);
        let by_itself = |text: &str| text.contains("A hook asks a person by itself");
        let texts = [tool["description"].to_string(), instructions];
        texts.map(|text| by_itself(&text))
    };
    assert_eq!(told("claude-code"), [false; 2]);
    install(&home, "claude-code", &place.file);
    install(&home, "codex", &place.file);
    assert_eq!(told("claude-code"), [true; 2]);
    assert_eq!(told("cursor-vscode"), [false; 2], "its hook is not there");
    let codex = "codex-mcp-client";
    assert_eq!(told(codex), [false; 2], "it is not trusted yet");
    let hooks = home.path().join(".codex/hooks.json");
    let trust = |group: &str, hash: &str, more: &str| {
        let key = format!("{}:pre_tool_use:{group}:0", hooks.display());
        let text = format!("[hooks.state.\"{key}\"]\ntrusted_hash = \"sha256:{hash}\"\n{more}");
        std::fs::write(hooks.with_file_name("config.toml"), text).expect("ours");
        let arguments = ["--check", "--env-file", &place.file];
        let said = start(&arguments, &[("HOME", home_path)], b"").said();
        let mut lines = said.stdout.lines();
        let line = lines.find(|line| line.starts_with("Guard hook of codex: "));
        let line = line.expect("it is there").split(" (").next();
        line.unwrap_or_default()
            .replace("Guard hook of codex: ", "")
    };
    let hash = codex_hash(&std::fs::read_to_string(&hooks).expect("ours"));
    assert_eq!(
        trust("7", &hash, ""),
        "NOT TRUSTED yet: /hooks in Codex",
        "another hook is"
    );
    let changed = "CHANGED since it was trusted, or switched off: /hooks in Codex";
    assert_eq!(trust("0", "0", ""), changed);
    assert_eq!(told(codex), [false; 2]);
    for off in ["enabled = false\n", "[features]\nhooks = false\n"] {
        assert_eq!(trust("0", &hash, off), changed);
    }
    assert_eq!(trust("0", &hash, "\n[other]\n"), "installed");
    assert_eq!(told(codex), [true; 2]);
    start(&["--uninstall", "claude-code"], &[("HOME", home_path)], b"").said();
    assert_eq!(told("claude-code"), [false; 2]);
}
