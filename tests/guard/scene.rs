//! The scene of the tables: a home, a repository in it, two links, a guard.

use aerostack_gateway::api::guard::{
    Event, Files, Guarded, Judgement, Own, Settings, hosts, judge,
};
use serde_json::json;

pub(super) const FOLDER: &str = "/home/u/app";

/// A disk of a few files and links.
pub(super) struct Disk;

const LINKS: &[(&str, &str)] = &[
    ("/home/u/app/link", "/home/u/.ssh/config"),
    ("/home/u/app/sub/out", "/home/u/app/.env"),
];
const THERE: &[&str] = &[
    "/",
    "/home",
    "/home/u",
    "/home/u/app",
    "/home/u/app/.git",
    "/home/u/app/sub",
    "/home/u/.ssh",
    "/home/u/.ssh/config",
    "/home/u/notes.txt",
    "/tmp",
    "/tmp/old.log",
    "/dev/null",
    "/opt",
    "/opt/bin",
    "/opt/bin/aerostack-gateway",
    "/home/u/.config",
    "/home/u/.config/aerostack",
    "/home/u/.config/aerostack/guard.env",
];

impl Files for Disk {
    fn real(&self, path: &str) -> Option<String> {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = format!("/{}", parts.join("/"));
        let path = self.link(&path).unwrap_or(path);
        self.exists(&path).then_some(path)
    }

    fn link(&self, path: &str) -> Option<String> {
        let link = LINKS.iter().find(|(link, _)| *link == path);
        link.map(|(_, target)| (*target).to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        THERE.contains(&path)
    }

    fn text(&self, path: &str) -> Option<String> {
        (path == "/home/u/app/.env").then(|| "A=1\nB=2\n".to_owned())
    }

    fn is_ours(&self, pid: u32) -> bool {
        pid == 4242
    }
}

pub(super) fn settings(rules: Option<&str>) -> Settings {
    guarded(rules, Guarded::Risky)
}

pub(super) fn guarded(rules: Option<&str>, guarded: Guarded) -> Settings {
    let own = Own {
        program: Some("/opt/bin/aerostack-gateway".to_owned()),
        settings: Some("/home/u/.config/aerostack/guard.env".to_owned()),
        others: vec!["/home/u/.config/aerostack/rules.json".to_owned()],
    };
    Settings::new(rules, guarded, own, Some("/home/u".to_owned())).expect("good rules")
}

/// An event of Claude Code.
pub(super) fn event(tool: &str, input: &serde_json::Value) -> Event {
    let raw = json!({"session_id": "s", "cwd": FOLDER, "permission_mode": "default",
        "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input});
    let host = hosts::find("claude-code").expect("in the table");
    host.read(&raw.to_string()).expect("a good event")
}

pub(super) fn judge_command(text: &str) -> Judgement {
    judge(
        &event("Bash", &json!({"command": text})),
        &settings(None),
        &Disk,
    )
}

pub(super) fn judge_write(path: &str) -> Judgement {
    let input = json!({"file_path": path, "content": "x"});
    judge(&event("Write", &input), &settings(None), &Disk)
}

/// `\n` and `\t` of a table.
pub(super) fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

/// The category of a judgement, in the words of a table.
pub(super) fn word(judgement: &Judgement) -> &'static str {
    match judgement {
        Judgement::Silent => "silent",
        Judgement::Ask(question) => question.finding.category.name(),
        Judgement::Deny(_) => "deny",
    }
}

/// A table: what is expected, a blank, what is judged.
pub(super) fn check_commands(table: &str, judge: impl Fn(&str) -> Judgement, at_least: usize) {
    let lines = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut count, mut wrong) = (0, Vec::new());
    for line in lines {
        let (expect, text) = line.split_once(' ').expect("two columns");
        let judgement = judge(&unescaped(text));
        count += 1;
        if word(&judgement) != expect {
            wrong.push(format!("{line}\n    {judgement:?}"));
        }
    }
    assert!(count >= at_least, "{count} lines");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
