//! The hosts' shapes, in and out, to the byte.

use crate::scene::{self, Disk, FOLDER, guarded, settings};
use aerostack_gateway::api::guard::hosts::{self, Words};
use aerostack_gateway::api::guard::{Guarded, Judgement, judge};
use serde_json::json;

fn said(stdout: &str, stderr: &str, code: u8) -> Words {
    Words {
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        code,
    }
}

fn raw(host: &str, mode: &str) -> String {
    let (event, tool) = match host {
        "gemini" => ("BeforeTool", "run_shell_command"),
        "qwen" => ("PreToolUse", "run_shell_command"),
        "cursor" => ("beforeShellExecution", ""),
        _ => ("PreToolUse", "Bash"),
    };
    json!({"session_id": "s", "conversation_id": "s", "cwd": FOLDER, "hook_event_name": event, "permission_mode": mode, "tool_name": tool,
        "tool_input": {"command": "git push"}, "command": "git push"})
    .to_string()
}

#[test]
fn verdicts_are_in_the_hosts_words() {
    let allow = |word: &str| {
        format!(
            "{{\"hookSpecificOutput\":{{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"{word}\",\"permissionDecisionReason\":\"why \\\"x\\\"\"}}}}\n"
        )
    };
    let cursor_no = "{\"permission\":\"deny\",\"user_message\":\"why \\\"x\\\"\",\"agent_message\":\"why \\\"x\\\"\"}\n";
    // Host, mode, approved, denied, asked.
    for (name, mode, approved, denied, asked) in [
        (
            "claude-code",
            "default",
            allow("allow"),
            "",
            Some(allow("ask")),
        ),
        (
            "claude-code",
            "acceptEdits",
            allow("allow"),
            "",
            Some(allow("ask")),
        ),
        ("claude-code", "bypassPermissions", String::new(), "", None),
        ("claude-code", "plan", String::new(), "", Some(allow("ask"))),
        ("claude-code", "dontAsk", allow("allow"), "", None),
        ("codex", "default", String::new(), "", None),
        ("gemini", "", String::new(), "", None),
        ("qwen", "default", allow("allow"), "", Some(allow("ask"))),
        ("qwen", "yolo", String::new(), "", None),
        (
            "cursor",
            "",
            "{\"permission\":\"allow\"}\n".to_owned(),
            cursor_no,
            None,
        ),
    ] {
        let host = hosts::find(name).expect("in the table");
        let event = host.read(&raw(name, mode)).expect("a good event");
        assert!(
            matches!(judge(&event, &settings(None), &Disk), Judgement::Ask(_)),
            "{name}"
        );
        assert_eq!(
            host.approved(&event, "why \"x\""),
            said(&approved, "", 0),
            "{name} {mode}"
        );
        assert_eq!(
            host.denied("why \"x\""),
            said(denied, "why \"x\"\n", 2),
            "{name} {mode}"
        );
        let asked = asked.map(|stdout| said(&stdout, "", 0));
        assert_eq!(host.asked(&event, "why \"x\""), asked, "{name} {mode}");
    }
}

#[test]
fn tools_are_known() {
    let table = include_str!("tools.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for line in table {
        let columns: Vec<&str> = line.splitn(4, ' ').collect();
        let [name, tool, expect, input] = columns[..] else {
            panic!("four columns: {line}");
        };
        let host = hosts::find(name).expect("in the table");
        let event_name = if name == "gemini" {
            "BeforeTool"
        } else {
            "PreToolUse"
        };
        let input: serde_json::Value = serde_json::from_str(input).expect("JSON");
        let raw = json!({"session_id": "s", "cwd": FOLDER, "hook_event_name": event_name, "tool_name": tool, "tool_input": input});
        let event = host.read(&raw.to_string()).expect("a good event");
        assert_eq!(
            scene::word(&judge(&event, &settings(None), &Disk)),
            expect,
            "{line}"
        );
    }
}

/// By Cursor's documentation.
#[test]
fn cursor_has_events_of_its_own() {
    let host = hosts::find("cursor").expect("in the table");
    for (event, members, expect) in [
        (
            "beforeShellExecution",
            json!({"command": "rm x", "cwd": FOLDER}),
            "file_delete",
        ),
        (
            "beforeShellExecution",
            json!({"command": "ls", "cwd": "", "workspace_roots": [FOLDER]}),
            "silent",
        ),
        (
            "beforeMCPExecution",
            json!({"tool_name": "delete_file", "tool_input": "{\"path\":\"x\"}", "cwd": FOLDER, "command": "npx files"}),
            "file_delete",
        ),
        (
            "beforeMCPExecution",
            json!({"tool_name": "delete_file", "tool_input": {"path": "x"}, "cwd": FOLDER}),
            "file_delete",
        ),
        (
            "beforeMCPExecution",
            json!({"tool_name": "delete_file", "tool_input": "{}", "cwd": FOLDER, "command": "/opt/bin/aerostack-gateway"}),
            "silent",
        ),
        (
            "preToolUse",
            json!({"tool_name": "Write", "tool_input": {"file_path": ".env", "content": "x"}, "cwd": FOLDER}),
            "config_modify",
        ),
        (
            "preToolUse",
            json!({"tool_name": "Delete", "tool_input": {"path": "a"}, "workspace_roots": [FOLDER]}),
            "file_delete",
        ),
        (
            "preToolUse",
            json!({"tool_name": "Grep", "tool_input": {"pattern": "a"}, "cwd": FOLDER}),
            "silent",
        ),
    ] {
        let mut raw =
            json!({"conversation_id": "c", "generation_id": "g", "hook_event_name": event});
        raw.as_object_mut()
            .expect("an object")
            .extend(members.as_object().expect("an object").clone());
        let read = host.read(&raw.to_string()).expect("a good event");
        assert_eq!(
            scene::word(&judge(&read, &settings(None), &Disk)),
            expect,
            "{raw}"
        );
    }
}

#[test]
fn what_is_approved_is_what_was_shown() {
    let shown = |tool: &str, input: serde_json::Value| match judge(
        &scene::event(tool, &input),
        &settings(None),
        &Disk,
    ) {
        Judgement::Ask(question) => (question.action, question.details),
        other => panic!("{other:?}"),
    };
    let of = |action: &str, details: &str| (action.to_owned(), details.to_owned());
    assert_eq!(
        shown("Bash", json!({"command": "rm\t'a\u{1b}[2K'\ngit push"})),
        of("rm␉'a␛[2K'␊\ngit push", "")
    );
    assert_eq!(
        shown(
            "Write",
            json!({"file_path": ".env", "content": "A=1\nB=3\n"})
        ),
        of("Write .env", "@@ line 2 @@\n-B=2\n+B=3\n")
    );
    assert_eq!(
        shown("Write", json!({"file_path": ".npmrc", "content": "a\n"})),
        of("Write .npmrc", "a\n")
    );
    let edit = json!({"file_path": ".env", "old_string": "A=1", "new_string": "A=2"});
    assert_eq!(
        shown("Edit", edit),
        of("Edit .env", "@@ edit @@\n-A=1\n+A=2\n")
    );
    assert_eq!(
        shown("mcp__x__delete_file", json!({"path": "a"})),
        of("mcp__x__delete_file", "{\"path\":\"a\"}")
    );
}

#[test]
fn what_is_too_long_to_be_shown_is_denied() {
    let long = "x".repeat(17 << 10);
    for (tool, input) in [
        ("Bash", json!({"command": format!("rm {long}")})),
        ("Write", json!({"file_path": ".npmrc", "content": long})),
    ] {
        match judge(&scene::event(tool, &input), &settings(None), &Disk) {
            Judgement::Deny(finding) => assert!(finding.reason.ends_with("is too long to be shown to a person whole (more than 16 KiB): do it in smaller steps"), "{finding:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn all_means_every_command_and_write() {
    let settings = guarded(Some("{\"allow\":[\"ls -la\"]}"), Guarded::All);
    for (tool, input, expect) in [
        ("Bash", json!({"command": "ls"}), "other"),
        ("Bash", json!({"command": "ls -la"}), "silent"),
        ("Bash", json!({"command": "rm x"}), "file_delete"),
        ("Write", json!({"file_path": "a", "content": ""}), "other"),
        ("Read", json!({"file_path": "a"}), "silent"),
        ("WebFetch", json!({"url": "x"}), "other"),
    ] {
        assert_eq!(
            scene::word(&judge(&scene::event(tool, &input), &settings, &Disk)),
            expect,
            "{tool} {input}"
        );
    }
}
