//! Claude Code: the hook `PreToolUse` of its settings.

use super::{Words, decision, envelope, mcp};
use crate::guard::event::{Event, Malformed};
use crate::guard::operation::{Operation, path_of, search_of};

pub(super) fn read(raw: &str) -> Result<Event, Malformed> {
    let (mut event, input) = envelope(raw, "PreToolUse")?;
    event.operation = match event.tool.as_str() {
        "Write" => Operation::of_write(&input)?,
        "Edit" | "MultiEdit" => Operation::of_edit(&input)?,
        "NotebookEdit" => Operation::Write {
            path: path_of(&input)?,
            content: crate::guard::operation::Content::Whole(input.optional("new_source")?),
        },
        "Read" => Operation::Read(path_of(&input)?),
        "Grep" => search_of(&input, &["path"])?,
        tool if tool.starts_with("mcp__") => mcp(tool, &event.input),
        // Bash, and whatever else runs a command line.
        "Bash" => Operation::of_shell(&input)?,
        _ if input
            .raw("command")?
            .is_some_and(|raw| raw.starts_with('"')) =>
        {
            Operation::of_shell(&input)?
        }
        _ => Operation::Unlisted,
    };
    Ok(event)
}

/// Silence would ask the person a second time, but for the mode that asks nobody. In plan mode nothing is to
/// run that Claude Code itself would not let run.
pub(super) fn approved(event: &Event, why: &str) -> Words {
    match event.mode.as_str() {
        "bypassPermissions" | "plan" => Words::default(),
        _ => decision("allow", why),
    }
}

pub(super) fn asked(event: &Event, why: &str) -> Option<Words> {
    matches!(event.mode.as_str(), "default" | "acceptEdits" | "plan").then(|| decision("ask", why))
}
