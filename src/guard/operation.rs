//! What a tool is about to do, and what the guard thinks of it.

use super::event::{Event, Fields, Malformed};
use super::judge::{self, Scene};
use super::places::{Found, Places};
use super::risk::Category;
use super::{Files, Finding, Guarded, Judgement, Question, Settings, calls, shown};
use crate::proto::jsonrpc;
use serde_json::value::RawValue;

/// The longest text that a person can be asked about; the workspace takes no longer one.
const SHOWN_MAX_BYTES: usize = 16 << 10;

/// What a tool does.
#[derive(Debug, PartialEq)]
pub(super) enum Operation {
    /// Runs a command line.
    Command(String),
    /// Puts content into a file.
    Write { path: String, content: Content },
    /// Removes a file.
    Delete(String),
    /// Reads a file: of interest only for the guard's own.
    Read(String),
    /// Looks through files and folders: the same.
    Search(Vec<String>),
    /// Changes files by a patch of Codex' form.
    Patch(String),
    /// Calls a tool of an MCP server, with these arguments.
    Call { tool: String, arguments: String },
    /// A tool that the guard does not know.
    Unlisted,
}

/// What comes into a file.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// All of it.
    Whole(String),
    /// Pieces: old and new.
    Pieces(Vec<(String, String)>),
}

impl Operation {
    /// A shell tool's `command`: a string, or a list of words.
    pub(super) fn of_shell(input: &Fields<'_>) -> Result<Self, Malformed> {
        let raw = input
            .raw("command")?
            .ok_or_else(|| Malformed("\"command\" is missing".to_owned()))?;
        match command_text(raw) {
            Some(text) => Ok(Operation::Command(text)),
            None => Err(Malformed(
                "\"command\" is neither a string nor a list of strings".to_owned(),
            )),
        }
    }

    /// A tool that writes a whole file.
    pub(super) fn of_write(input: &Fields<'_>) -> Result<Self, Malformed> {
        let content = match input.text("content")? {
            Some(text) => text.into_owned(),
            None => input.optional("contents")?,
        };
        Ok(Operation::Write {
            path: path_of(input)?,
            content: Content::Whole(content),
        })
    }

    /// A tool that changes pieces of a file: `old_string` and `new_string`, alone or in `edits`.
    pub(super) fn of_edit(input: &Fields<'_>) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        match input.raw("edits")? {
            Some(raw) => {
                let edits: Vec<&RawValue> = serde_json::from_str(raw)
                    .map_err(|_| Malformed("\"edits\" is no list".to_owned()))?;
                for edit in edits {
                    let edit = Fields::read(edit.get(), "a member of \"edits\"")?;
                    pieces.push((edit.optional("old_string")?, edit.optional("new_string")?));
                }
            }
            None => pieces.push((input.optional("old_string")?, input.optional("new_string")?)),
        }
        Ok(Operation::Write {
            path: path_of(input)?,
            content: Content::Pieces(pieces),
        })
    }
}

/// The file a tool names, by one of the names that hosts use.
pub(super) fn path_of(input: &Fields<'_>) -> Result<String, Malformed> {
    for name in [
        "file_path",
        "notebook_path",
        "path",
        "target_file",
        "absolute_path",
    ] {
        if let Some(path) = input.text(name)? {
            return Ok(path.into_owned());
        }
    }
    Err(Malformed("\"file_path\" is missing".to_owned()))
}

/// Where a tool looks: members that are a path or a list of them; without any, everywhere below the folder.
pub(super) fn search_of(input: &Fields<'_>, names: &[&str]) -> Result<Operation, Malformed> {
    let mut paths: Vec<String> = Vec::new();
    for name in names {
        match input.raw(name)? {
            Some(raw) if raw.starts_with('[') => {
                let list: Vec<String> = serde_json::from_str(raw)
                    .map_err(|_| Malformed(format!("{name:?} is no list of strings")))?;
                paths.extend(list);
            }
            _ => paths.extend(input.text(name)?.map(|path| path.into_owned())),
        }
    }
    paths.retain(|path| !path.is_empty());
    if paths.is_empty() {
        paths.push(".".to_owned());
    }
    Ok(Operation::Search(paths))
}

/// A command that is a string, or a list of words.
pub(super) fn command_text(raw: &str) -> Option<String> {
    if let Some(text) = jsonrpc::string(raw) {
        return Some(text.into_owned());
    }
    let words: Vec<String> = serde_json::from_str(raw).ok()?;
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    Some(quoted.join(" "))
}

/// A word as a shell would read it back.
pub(super) fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Judges an event.
pub(super) fn judge(event: &Event, settings: &Settings, files: &dyn Files) -> Judgement {
    let scene = Scene {
        files,
        own: &settings.own,
        home: settings.home.as_deref(),
        folder: &event.folder,
        rules: &settings.rules,
        open_shells: event.open_shells,
    };
    let mut findings = match &event.operation {
        Operation::Command(text) => judge::command(text, &scene),
        Operation::Write { path, .. } => changed(path, Category::ConfigModify, "changes", &scene),
        Operation::Delete(path) => {
            let mut found = changed(path, Category::ConfigModify, "deletes", &scene);
            found.push(Finding::new(Category::FileDelete, path, "is deleted"));
            found
        }
        Operation::Read(path) => reads(path, false, &scene),
        Operation::Search(paths) => {
            let found = paths.iter().flat_map(|path| reads(path, true, &scene));
            found.collect()
        }
        Operation::Patch(text) => patch(text, &scene),
        Operation::Call { tool, arguments } => match calls::judge(tool, arguments, &scene) {
            Ok(found) => found,
            Err(problem) => vec![Finding {
                denied: true,
                ..Finding::new(Category::Other, tool, &problem)
            }],
        },
        Operation::Unlisted => Vec::new(),
    };
    findings.sort_by_key(|finding| !finding.denied);
    let allowed =
        matches!(&event.operation, Operation::Command(text) if settings.rules.allows(text));
    if allowed {
        findings.retain(|finding| finding.is_of_rule);
    }
    let everything = settings.guarded == Guarded::All
        && !allowed
        && !matches!(event.operation, Operation::Read(_) | Operation::Search(_));
    let all = everything.then(|| {
        Finding::new(
            Category::Other,
            &event.tool,
            "is asked about because every operation is",
        )
    });
    match findings.into_iter().next().or(all) {
        None => Judgement::Silent,
        Some(finding) if finding.denied => Judgement::Deny(finding),
        Some(finding) => question(event, finding, files),
    }
}

fn changed(path: &str, category: Category, verb: &str, scene: &Scene<'_>) -> Vec<Finding> {
    let path = match (path.strip_prefix("~/"), scene.home) {
        (Some(rest), Some(home)) => format!("{home}/{rest}"),
        _ => path.strip_prefix("file://").unwrap_or(path).to_owned(),
    };
    let mut findings = Vec::new();
    findings.extend(
        scene
            .rules
            .path(&path, scene.folder)
            .map(|rule| Finding::of_rule(rule, &path)),
    );
    let mut places = Places::new(scene.files, scene.own, scene.home, scene.folder);
    if let Found::Protected(reason) = places.changed(&path) {
        findings.push(Finding::new(
            category,
            &path,
            &format!("{verb} a file that {reason}"),
        ));
    }
    findings
}

fn reads(path: &str, recursive: bool, scene: &Scene<'_>) -> Vec<Finding> {
    let mut places = Places::new(scene.files, scene.own, scene.home, scene.folder);
    let reason = "reads the guard's settings, which hold the token";
    let ours = places.tells_secrets(path, recursive);
    ours.then(|| Finding::new(Category::ConfigModify, path, reason))
        .into_iter()
        .collect()
}

/// The files of a patch: `*** Add File: a`, `*** Update File: b`, `*** Move to: c`, `*** Delete File: d`.
pub(super) fn patch(text: &str, scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in text.lines().map(str::trim) {
        let named = |what: &str| {
            line.strip_prefix("*** ")
                .and_then(|line| line.strip_prefix(what))
                .map(str::trim)
        };
        if let Some(path) = named("Delete File:") {
            findings.extend(changed(path, Category::ConfigModify, "deletes", scene));
            findings.push(Finding::new(
                Category::FileDelete,
                path,
                "is deleted by a patch",
            ));
        }
        for what in ["Add File:", "Update File:", "Move to:"] {
            if let Some(path) = named(what) {
                findings.extend(changed(path, Category::ConfigModify, "changes", scene));
            }
        }
    }
    findings
}

/// What the person is asked, or the no where it is too long to be shown.
fn question(event: &Event, finding: Finding, files: &dyn Files) -> Judgement {
    let (action, details) = match &event.operation {
        Operation::Command(text) => (shown::command(text), String::new()),
        Operation::Write { path, content } => {
            let details = match content {
                Content::Pieces(pieces) => pieces
                    .iter()
                    .map(|(old, new)| shown::difference(old, new, false))
                    .collect(),
                Content::Whole(new) => match files.text(&super::paths::join(&event.folder, path)) {
                    Some(old) => shown::difference(&old, new, true),
                    None => shown::content(new),
                },
            };
            (format!("{} {}", event.tool, shown::line(path)), details)
        }
        Operation::Search(_) => (
            format!("{} {}", event.tool, shown::line(&finding.matched)),
            shown::content(&event.input),
        ),
        Operation::Delete(path) | Operation::Read(path) => (
            format!("{} {}", event.tool, shown::line(path)),
            String::new(),
        ),
        Operation::Patch(text) => (
            format!("{} {}", event.tool, shown::line(&finding.matched)),
            shown::content(text),
        ),
        Operation::Call { tool, arguments } => (shown::line(tool), shown::content(arguments)),
        Operation::Unlisted => (shown::line(&event.tool), shown::content(&event.input)),
    };
    if action.len() > SHOWN_MAX_BYTES || details.len() > SHOWN_MAX_BYTES {
        let reason = format!(
            "{}, and is too long to be shown to a person whole (more than {} KiB): do it in smaller steps",
            finding.reason,
            SHOWN_MAX_BYTES >> 10
        );
        return Judgement::Deny(Finding { reason, ..finding });
    }
    Judgement::Ask(Question {
        finding,
        action,
        details,
    })
}
