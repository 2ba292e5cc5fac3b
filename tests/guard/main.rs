//! The guard's judgement: what is risky, what is not, and that no disguise changes it.

mod disguise;
mod scene;
mod words;

use aerostack_gateway::api::guard::{Judgement, explain};
use scene::{check_commands, judge_command, settings};

#[test]
fn commands_have_their_category() {
    check_commands(include_str!("commands.txt"), judge_command, 300);
}

#[test]
fn writes_have_their_category() {
    check_commands(include_str!("writes.txt"), scene::judge_write, 50);
}

/// Two hundred commands of an ordinary day: none may ask. A few in a hundred would hide `awk '{print $1}'`.
#[test]
fn everyday_commands_are_let_be() {
    let lines: Vec<&str> = include_str!("everyday.txt").lines().collect();
    let asked: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| judge_command(&scene::unescaped(line)) != Judgement::Silent)
        .collect();
    assert!(lines.len() >= 200, "{} lines", lines.len());
    assert!(asked.is_empty(), "{asked:#?}");
}

#[test]
fn a_person_can_ask_why() {
    for (line, expect) in [
        (
            "ls",
            "silent: no rule fits, the AI tool goes on as it would without the guard\n",
        ),
        (
            "git push",
            "ask (git_push): git push sends commits to others\n",
        ),
        (
            "sudo rm -rf x",
            "ask (shell_destructive): rm -rf x deletes whole folders without asking\n",
        ),
        (
            "echo 1 > .env",
            "ask (config_modify): > .env writes to a file that holds a program's secrets\n",
        ),
    ] {
        let said = explain(line, scene::FOLDER, &settings(None), &scene::Disk);
        assert_eq!(said, expect, "{line}");
    }
    let rules = r#"{"deny":["curl *"],"ask":["make *"],"allow":["git push origin main"]}"#;
    for (line, expect) in [
        ("curl x", "deny: curl x is denied by your rule \"curl *\"\n"),
        (
            "make x",
            "ask (other): make x is asked about by your rule \"make *\"\n",
        ),
        (
            "git push origin main",
            "silent: your rules allow exactly this\n",
        ),
        (
            "git push origin x",
            "ask (git_push): git push origin x sends commits to others\n",
        ),
        (
            "sudo sh -c 'curl x'",
            "deny: curl x is denied by your rule \"curl *\"\n",
        ),
        (
            "rm x; curl y",
            "deny: curl y is denied by your rule \"curl *\"\n",
        ),
    ] {
        let said = explain(line, scene::FOLDER, &settings(Some(rules)), &scene::Disk);
        assert_eq!(said, expect, "{line}");
    }
}
