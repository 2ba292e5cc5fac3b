//! Qwen Code: the hook `PreToolUse` of its settings, with answers of Claude Code's form.

use super::gemini::in_folder;
use super::{Words, decision, envelope, mcp};
use crate::guard::event::{Event, Malformed};
use crate::guard::operation::{Operation, path_of, search_of};

pub(super) fn read(raw: &str) -> Result<Event, Malformed> {
    let (mut event, input) = envelope(raw, "PreToolUse")?;
    event.operation = match event.tool.as_str() {
        "run_shell_command" => {
            in_folder(&mut event, &input)?;
            Operation::of_shell(&input)?
        }
        "write_file" => Operation::of_write(&input)?,
        "edit" | "replace" => Operation::of_edit(&input)?,
        "read_file" => Operation::Read(path_of(&input)?),
        "read_many_files" => search_of(&input, &["paths", "include"])?,
        "search_file_content" | "grep_search" => search_of(&input, &["path", "dir_path"])?,
        tool if tool.starts_with("mcp__") => mcp(tool, &event.input),
        _ => Operation::Unlisted,
    };
    Ok(event)
}

/// Its mode that asks nobody needs no word.
pub(super) fn approved(event: &Event, why: &str) -> Words {
    match event.mode.as_str() {
        "yolo" | "plan" => Words::default(),
        _ => decision("allow", why),
    }
}

pub(super) fn asked(event: &Event, why: &str) -> Option<Words> {
    matches!(event.mode.as_str(), "default" | "plan").then(|| decision("ask", why))
}
