//! The hook of `--guard` in a host's settings: one entry of a list, put in and taken out without touching what
//! stands beside it.
//!
//! An entry that is as it should be is never written again: Codex trusts a hook by its content.

use super::install::{Edited, change, push_backup};
use super::value::{Value, list, quoted};
use super::{EditError, Host, json};
use crate::config::Source;
use crate::proto::jsonrpc;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// How a host's hook is written.
pub(super) struct Form {
    pub(super) host: &'static str,
    /// Below the folder of the host's settings.
    file: &'static str,
    pub(super) folder: &'static str,
    pub(super) variable: Option<&'static str>,
    /// The lists, each with a matcher; an empty one has none.
    pub(super) lists: &'static [(&'static str, &'static str)],
    /// The host's longest time for a hook, as it is written, and in seconds.
    pub(super) timeout: &'static str,
    seconds: u64,
    pub(super) style: Style,
    /// What is left to the person.
    then: &'static str,
    /// What the host lets through all the same.
    pub(super) open: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    /// `command` and `args`; a hook that fails blocks.
    Arguments,
    /// One line for a shell.
    Shell,
    /// Cursor's own.
    Flat,
}

pub(super) const FORMS: &[Form] = &[
    Form {
        host: "claude-code",
        file: "settings.json",
        folder: ".claude",
        variable: Some("CLAUDE_CONFIG_DIR"),
        lists: &[(
            "PreToolUse",
            "Bash|Write|Edit|MultiEdit|NotebookEdit|Read|Grep|Monitor|PowerShell|mcp__.*",
        )],
        timeout: "3600",
        seconds: 3_600,
        style: Style::Arguments,
        then: "Start a new session of Claude Code",
        open: "a hook that is killed or missing blocks",
    },
    Form {
        host: "codex",
        file: "hooks.json",
        folder: ".codex",
        variable: Some("CODEX_HOME"),
        lists: &[("PreToolUse", "Bash|apply_patch|mcp__.*")],
        timeout: "3600",
        seconds: 3_600,
        style: Style::Shell,
        then: "Start Codex and trust the hook with /hooks: until then it is skipped without a word",
        open: "a hook that was changed or killed lets the command run",
    },
    Form {
        host: "gemini",
        file: "settings.json",
        folder: ".gemini",
        variable: None,
        lists: &[(
            "BeforeTool",
            "run_shell_command|write_file|replace|read_file|read_many_files|search_file_content|grep_search|mcp_.*",
        )],
        timeout: "3600000",
        seconds: 3_600,
        style: Style::Shell,
        then: "Start a new session of Gemini CLI",
        open: "a killed hook lets the command run",
    },
    Form {
        host: "qwen",
        file: "settings.json",
        folder: ".qwen",
        variable: Some("QWEN_HOME"),
        lists: &[(
            "PreToolUse",
            "run_shell_command|write_file|edit|read_file|read_many_files|search_file_content|grep_search|mcp__.*",
        )],
        // Below 1000 it counts seconds, from there milliseconds.
        timeout: "3600000",
        seconds: 3_600,
        style: Style::Shell,
        then: "Start a new session of Qwen Code",
        open: "a killed or missing hook lets the command run",
    },
    Form {
        host: "cursor",
        file: "hooks.json",
        folder: ".cursor",
        variable: None,
        lists: &[
            ("beforeShellExecution", ""),
            ("beforeMCPExecution", ""),
            ("preToolUse", "Write|Edit|Delete|Read|Grep"),
        ],
        timeout: "3600",
        seconds: 3_600,
        style: Style::Flat,
        then: "Restart Cursor",
        open: "a hook that fails blocks, by its documentation",
    },
];

/// How the hook starts this program: its absolute path, and what stands behind `--guard HOST`.
#[derive(Debug, PartialEq)]
pub struct HookCommand {
    /// The program.
    pub program: String,
    /// `--env-file …` and others.
    pub arguments: Vec<String>,
}

/// Writes the host's hook and says what was changed.
pub fn install_hook(
    host: &Host,
    command: &HookCommand,
    source: &dyn Source,
) -> Result<String, String> {
    let form = form(host)?;
    let path = path(form, source)?;
    let edit = |text: &str| with_hook(text, form, command);
    let Some(Edited { new, backup, .. }) = change(host, &path, edit)? else {
        return Ok(format!(
            "{} has the hook already, as it should be.\n",
            path.display()
        ));
    };
    let mut report = format!("{} (hooks)\n", path.display());
    for (list, _) in form.lists {
        for own in ours(&new, list, form.host).unwrap_or_default() {
            report.push_str(&format!("+ {list}: {own}\n"));
        }
    }
    push_backup(&mut report, backup);
    report.push_str(&format!("{}.\n", form.then));
    Ok(report)
}

/// Takes the host's hook out again; `None` where there is none.
pub fn uninstall_hook(host: &Host, source: &dyn Source) -> Result<Option<String>, String> {
    let Ok(form) = form(host) else {
        return Ok(None);
    };
    let path = path(form, source)?;
    let edit = |text: &str| without_hook(text, form);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let Some(Edited { backup, .. }) = change(host, &path, edit)? else {
        return Ok(None);
    };
    let mut report = format!("{} (hooks)\n- the hook of --guard\n", path.display());
    push_backup(&mut report, backup);
    Ok(Some(report))
}

pub(super) fn with_hook(
    text: &str,
    form: &Form,
    command: &HookCommand,
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    if form.style == Style::Flat {
        text = json::set(&text, &["version"], &Value::Raw("1"), false)?;
    }
    for (list, matcher) in form.lists {
        text = put(&text, list, form.host, Some(&entry(form, matcher, command)))?;
    }
    Ok(text)
}

pub(super) fn without_hook(text: &str, form: &Form) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for (list, _) in form.lists {
        if !ours(&text, list, form.host)?.is_empty() {
            text = put(&text, list, form.host, None)?;
        }
    }
    Ok(text)
}

/// Seconds after which the hook has to have answered: the host's limit less max(5 s, 5 %).
pub(crate) fn hook_deadline(host: &Host) -> Option<u64> {
    let seconds = form(host).ok()?.seconds;
    Some(seconds - (seconds / 20).max(5))
}

pub(super) fn form(host: &Host) -> Result<&'static Form, String> {
    FORMS
        .iter()
        .find(|form| form.host == host.name)
        .ok_or_else(|| {
            let names: Vec<&str> = FORMS.iter().map(|form| form.host).collect();
            format!(
                "--guard is not known for {}: it is for {}",
                host.title,
                names.join(", ")
            )
        })
}

pub(super) fn path(form: &Form, source: &dyn Source) -> Result<PathBuf, String> {
    let own = form
        .variable
        .and_then(|variable| source.variable(variable))
        .filter(|path| !path.is_empty());
    if let Some(folder) = own {
        return Ok(PathBuf::from(folder).join(form.file));
    }
    let home = source.variable("HOME").filter(|home| home.starts_with('/'));
    let home =
        home.ok_or("HOME is not set to an absolute path: where should the hook be written?")?;
    Ok(PathBuf::from(home).join(form.folder).join(form.file))
}

/// The hook on one line: what is trusted by its content should not depend on a layout.
fn entry(form: &Form, matcher: &str, command: &HookCommand) -> String {
    let mut arguments = vec!["--guard".to_owned(), form.host.to_owned()];
    arguments.extend(command.arguments.iter().cloned());
    let line = || {
        let words = std::iter::once(&command.program).chain(&arguments);
        words
            .map(|word| shell_word(word))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let matched = match matcher {
        "" => String::new(),
        matcher => format!("\"matcher\": {}, ", quoted(matcher)),
    };
    let timeout = form.timeout;
    match form.style {
        Style::Arguments => format!(
            "{{{matched}\"hooks\": [{{\"type\": \"command\", \"command\": {}, \"args\": {}, \"timeout\": {timeout}, \"onFailure\": \"block\"}}]}}",
            quoted(&command.program),
            list(&arguments)
        ),
        Style::Shell => format!(
            "{{{matched}\"hooks\": [{{\"type\": \"command\", \"command\": {}, \"timeout\": {timeout}}}]}}",
            quoted(&line())
        ),
        Style::Flat => format!(
            "{{{matched}\"command\": {}, \"timeout\": {timeout}, \"failClosed\": true}}",
            quoted(&line())
        ),
    }
}

fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The entries of `hooks.NAME` as they are written.
pub(super) fn entries<'a>(text: &'a str, name: &str) -> Result<Option<Vec<&'a str>>, EditError> {
    let Some(found) = json::get(text, &["hooks", name], false)? else {
        return Ok(None);
    };
    let array = found.find('[').map_or("", |at| &found[at..]);
    // What holds comments could lose one of them.
    let list: Vec<&RawValue> = serde_json::from_str(array).map_err(|_| {
        EditError::Unsafe(
            text[..jsonrpc::range_in(text, found).start].lines().count() + 1,
            "the list of hooks is not plain JSON",
        )
    })?;
    Ok(Some(list.into_iter().map(RawValue::get).collect()))
}

/// Those that start this program as a hook, wherever it lay then.
pub(super) fn ours<'a>(text: &'a str, name: &str, host: &str) -> Result<Vec<&'a str>, EditError> {
    let own = |entry: &&str| {
        let squeezed = entry.replace([' ', '\n', '\t', '\r'], "");
        let words = [format!("--guard\",\"{host}\""), format!("--guard{host}")];
        words.iter().any(|words| squeezed.contains(words))
    };
    let entries = entries(text, name)?.unwrap_or_default();
    Ok(entries.into_iter().filter(own).collect())
}

/// The text with this entry as the only one of ours, or without ours.
fn put(text: &str, name: &str, host: &str, entry: Option<&str>) -> Result<String, EditError> {
    let Some(list) = entries(text, name)? else {
        let empty = json::set(text, &["hooks", name], &Value::Raw("[]"), false)?;
        return match entries(&empty, name)? {
            Some(_) => put(&empty, name, host, entry),
            None => Err(EditError::NotAnObject("hooks".to_owned())),
        };
    };
    let own = ours(text, name, host)?;
    if let (Some(entry), [only]) = (entry, own.as_slice())
        && *only == entry
    {
        return Ok(text.to_owned());
    }
    let span = |raw: &str| jsonrpc::range_in(text, raw);
    match (entry, own.first()) {
        (Some(entry), Some(first)) => {
            let at = span(first);
            Ok([&text[..at.start], entry, &text[at.end..]].concat())
        }
        (Some(entry), None) => {
            let (at, comma) = match list.last() {
                Some(last) => (span(last).end, ", "),
                None => {
                    let found = json::get(text, &["hooks", name], false)?.unwrap_or_default();
                    (
                        span(found).start + found.find('[').unwrap_or_default() + 1,
                        "",
                    )
                }
            };
            Ok([&text[..at], comma, entry, &text[at..]].concat())
        }
        (None, Some(first)) => {
            let at = list
                .iter()
                .position(|entry| entry == first)
                .unwrap_or_default();
            let cut = match (at.checked_sub(1), list.get(at + 1)) {
                (Some(before), _) => span(list[before]).end..span(first).end,
                (None, Some(next)) => span(first).start..span(next).start,
                (None, None) => span(first),
            };
            let rest = [&text[..cut.start], &text[cut.end..]].concat();
            put(&rest, name, host, None)
        }
        (None, None) => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::find;

    fn command() -> HookCommand {
        HookCommand {
            program: "/opt/a b/aerostack-gateway".to_owned(),
            arguments: vec!["--env-file".to_owned(), "/home/u/env".to_owned()],
        }
    }

    #[test]
    fn entries_are_in_the_hosts_words() {
        let shown = |name: &str| {
            let form = FORMS.iter().find(|form| form.host == name).expect("known");
            entry(form, form.lists[0].1, &command())
        };
        assert_eq!(
            shown("claude-code"),
            r#"{"matcher": "Bash|Write|Edit|MultiEdit|NotebookEdit|Read|Grep|Monitor|PowerShell|mcp__.*", "hooks": [{"type": "command", "command": "/opt/a b/aerostack-gateway", "args": ["--guard", "claude-code", "--env-file", "/home/u/env"], "timeout": 3600, "onFailure": "block"}]}"#
        );
        assert_eq!(
            shown("codex"),
            r#"{"matcher": "Bash|apply_patch|mcp__.*", "hooks": [{"type": "command", "command": "'/opt/a b/aerostack-gateway' --guard codex --env-file /home/u/env", "timeout": 3600}]}"#
        );
        assert_eq!(
            shown("cursor"),
            r#"{"command": "'/opt/a b/aerostack-gateway' --guard cursor --env-file /home/u/env", "timeout": 3600, "failClosed": true}"#
        );
    }

    #[test]
    fn others_hooks_stay_byte_for_byte() {
        let own = r#"{"command": "gateway --guard h"}"#;
        let new = r#"{"command": "gateway --guard h --x"}"#;
        for (before, after) in [
            ("", "{\n  \"hooks\": {\n    \"L\": [OWN]\n  }\n}\n"),
            ("{}", "{\"hooks\":{\"L\":[OWN]}}"),
            (
                "{ \"hooks\" : { \"L\" : [ ] } }",
                "{ \"hooks\" : { \"L\" : [OWN ] } }",
            ),
            (
                "{\"a\":1,\"hooks\":{\"L\":[ {\"x\":[1]} ,2 ],\"M\":[]}}",
                "{\"a\":1,\"hooks\":{\"L\":[ {\"x\":[1]} ,2, OWN ],\"M\":[]}}",
            ),
        ] {
            let with = put(before, "L", "h", Some(own)).expect("plain JSON");
            let as_expected = after.replace("OWN", own);
            let squeezed = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(squeezed(&with), squeezed(&as_expected), "{before}");
            assert_eq!(put(&with, "L", "h", Some(own)).as_ref(), Ok(&with));
            let changed = put(&with, "L", "h", Some(new)).expect("plain JSON");
            assert_eq!(changed, with.replace(own, new));
            let without = put(&changed, "L", "h", None).expect("plain JSON");
            assert!(
                !without.contains("--guard")
                    && ours(&without, "L", "h").expect("plain JSON").is_empty()
            );
            if before.contains('2') {
                assert_eq!(without, before);
            }
        }
        assert!(put("{\"hooks\":{\"L\":[1, /* why */ 2]}}", "L", "h", Some(own)).is_err());
        assert!(put("{\"hooks\":[]}", "L", "h", Some(own)).is_err());
    }

    #[test]
    fn time_for_an_answer() {
        assert_eq!(hook_deadline(find("codex").expect("known")), Some(3_420));
        assert_eq!(hook_deadline(find("vscode").expect("known")), None);
    }
}
