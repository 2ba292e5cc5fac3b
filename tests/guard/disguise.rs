//! Properties: no wrapper makes a risky command harmless, no input panics, nothing unreadable is allowed.

use crate::scene::{self, judge_command, unescaped};
use aerostack_gateway::api::guard::{Judgement, hosts};

/// Wrappers; `@` is the command, `%` the command in single quotes.
const WRAPPERS: &[&str] = &[
    "@",
    "sudo @",
    "sudo -u root @",
    "env X=1 @",
    "env -i @",
    "nice -n 5 @",
    "timeout 5 @",
    "timeout -k 1 5 @",
    "time @",
    "nohup @ &",
    "command @",
    "exec @",
    "setsid @",
    "stdbuf -oL @",
    "xargs @",
    "ls | xargs -n 1 @",
    "sh -c %",
    "bash -lc %",
    "zsh -c %",
    "eval %",
    "su -c %",
    "( @ )",
    "{ @; }",
    "$(@)",
    "`@`",
    "echo \"$(@)\"",
    "true && @",
    "false || @",
    "ls; @",
    "ls | @",
    "ls & @",
    "ls\n@",
    "if true; then @; fi",
    "while true; do @; done",
    "for i in 1 2; do @; done",
    "case x in x) @;; esac",
    "f() { @; }; f",
    "function f { @; }",
    "! @",
    "cat <(@)",
    "X=$(@)",
    "echo ${x:-$(@)}",
    "bash <<E\n@\nE",
    "bash <<'E'\n@\nE",
    "cat <<E\n$(@)\nE",
    "bash <<< %",
    "echo % | sh",
    "watch %",
    "ssh host %",
    "docker exec box @",
    "kubectl exec pod -- @",
    "npx @",
    "uv run @",
    "echo a # x\n@",
    "[ -f x ] && @",
    "[[ -f x ]] && @",
    "cd / && @",
    "(cd /tmp; @)",
    "trap % EXIT",
    "\\\n@",
    "  \t@",
    "sudo sh -c %",
    "env -S %",
    "coproc @",
    "busybox @",
    "doas @",
    "ionice -c 3 @",
    "flock x @",
];

const RISKY: &[&str] = &[
    "rm file",
    "rm -rf folder",
    "/bin/rm -r folder",
    "git push origin main",
    "git -C x push",
    "git reset --hard",
    "npm publish",
    "terraform apply",
    "kubectl delete pod x",
    "psql -c \"drop table x\"",
    "dd if=a of=/dev/sda",
    "shred x",
    "find . -delete",
    "docker push x",
    "cp a .env",
    "tee -a .env",
    "crontab -r",
    "chmod -R 777 x",
    "redis-cli flushall",
    "vercel deploy",
];

const TWICE: &[&str] = &["rm -rf folder", "git push origin main"];

fn wrap(wrapper: &str, command: &str) -> String {
    let quoted = format!("'{}'", command.replace('\'', "'\\''"));
    wrapper.replace('%', &quoted).replace('@', command)
}

#[test]
fn no_wrapper_makes_a_risky_command_harmless() {
    let mut missed = Vec::new();
    for command in RISKY {
        for outer in WRAPPERS {
            let once = wrap(outer, command);
            if judge_command(&once) == Judgement::Silent {
                missed.push(once.clone());
            }
            // Twice for a few: the pairs are what matters, not the commands.
            let twice = if TWICE.contains(command) {
                WRAPPERS
            } else {
                &[]
            };
            for outermost in twice {
                // A here-document's end stands alone on its line, and its text may not end early.
                if once.contains("<<E") || once.contains("<<'E'") {
                    continue;
                }
                let twice = wrap(outermost, &once);
                if judge_command(&twice) == Judgement::Silent {
                    missed.push(twice);
                }
            }
        }
    }
    assert!(
        missed.is_empty(),
        "{}:\n{}",
        missed.len(),
        missed[..missed.len().min(40)].join("\n")
    );
}

#[test]
fn harmless_commands_stay_harmless_in_wrappers() {
    let mut asked = Vec::new();
    for command in ["ls -la", "cargo test", "git status"] {
        for wrapper in WRAPPERS {
            // These run what can not be seen, or are themselves reason to ask.
            let runs_output = ["$(@)", "`@`", "xargs", "eval"]
                .iter()
                .any(|start| wrapper.starts_with(start));
            let line = wrap(wrapper, command);
            if !runs_output && judge_command(&line) != Judgement::Silent {
                asked.push(line);
            }
        }
    }
    assert!(asked.is_empty(), "{asked:#?}");
}

/// Numbers from a seed; the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

#[test]
fn no_text_panics() {
    let pieces = [
        "rm",
        " ",
        "\"",
        "'",
        "$(",
        ")",
        "`",
        "\\",
        "\n",
        "<<E",
        "E",
        "${",
        "}",
        "$'",
        "\\x",
        "{",
        ";",
        "|",
        "&",
        ">",
        "<(",
        "((",
        "))",
        "[[",
        "]]",
        "#",
        "é",
        "\u{202e}",
        "~",
        "*",
        "for",
        "in",
        "do",
        "case",
        "esac",
        "function",
        "sudo",
        "-",
        "--",
        "=",
        "$",
        "\t",
        "<<<",
        "<<-",
        "\\u",
        "\\1",
        "bash -c",
        "find -exec",
        "\0",
        "\r",
    ];
    let mut random = Random(1);
    for _ in 0..3_000 {
        let text: String = (0..random.below(12) + 1)
            .map(|_| pieces[random.below(pieces.len())])
            .collect();
        judge_command(&text);
    }
    for line in include_str!("commands.txt").lines() {
        let text = unescaped(line);
        for cut in (0..text.len())
            .step_by(7)
            .filter(|at| text.is_char_boundary(*at))
        {
            judge_command(&text[..cut]);
        }
    }
}

#[test]
fn hostile_texts_end_and_ask() {
    for (unit, close, count) in [
        ("$(", ")", 20_000),
        ("\"$(", ")\"", 10_000),
        ("(", ")", 20_000),
        ("sudo ", "", 10_000),
        ("bash -c '", "'", 1_000),
        ("`", "", 19_999),
        ("{ ", "; }", 10_000),
        ("sh -c \"", "\"", 500),
    ] {
        let text = format!("{}rm x{}", unit.repeat(count), close.repeat(count));
        assert_ne!(judge_command(&text), Judgement::Silent, "{unit}");
    }
    for text in [
        "a;".repeat(60_000),
        "a ".repeat(100_000),
        "<<E ".repeat(10_000),
        "${".repeat(20_000),
        "$x".repeat(20_000),
        "X=$X$X ".repeat(20_000),
        format!("X=a; {}", "X=$X$X; ".repeat(60)),
    ] {
        judge_command(&text);
    }
}

/// "Malformed input" is a no, in every host's words.
#[test]
fn what_can_not_be_read_is_denied() {
    let whole = r#"{"session_id":"s","cwd":"/x","hook_event_name":"EVENT","tool_name":"TOOL","tool_input":{"command":"ls"},"command":"ls"}"#;
    for host in hosts::HOSTS {
        let (event, tool) = match host.name {
            "gemini" => ("BeforeTool", "run_shell_command"),
            "qwen" => ("PreToolUse", "run_shell_command"),
            "cursor" => ("beforeShellExecution", "Shell"),
            _ => ("PreToolUse", "Bash"),
        };
        let good = whole.replace("EVENT", event).replace("TOOL", tool);
        assert!(host.read(&good).is_ok(), "{}", host.name);
        for cut in 0..good.len() {
            assert!(
                host.read(&good[..cut]).is_err(),
                "{}: {}",
                host.name,
                &good[..cut]
            );
        }
        for bad in [
            good.replace(event, "SomethingElse"),
            good.replace("\"/x\"", "\"x\""),
            good.replace("\"ls\"", "7"),
            good.replace("\"ls\"", "\"\\ud800\""),
            good.replace("\"command\"", "\"comand\""),
            good.replace(
                "\"command\":\"ls\"",
                "\"command\":\"ls\",\"command\":\"rm x\"",
            ),
            good.replace("\"cwd\"", "\"cwd\":\"/y\",\"cwd\""),
            format!("[{good}]"),
            format!("{good} x"),
            "[".repeat(20_000),
            "{\"a\":".repeat(20_000),
            String::new(),
            "null".to_owned(),
        ] {
            assert!(
                host.read(&bad).is_err(),
                "{}: {}",
                host.name,
                &bad[..bad.len().min(200)]
            );
        }
    }
    assert_eq!(scene::word(&judge_command("ls")), "silent");
}
