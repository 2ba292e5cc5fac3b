//! Gemini CLI: the hook `BeforeTool` of its settings. A yes is silence: its own prompt comes before the hook. Its
//! word "ask" is never used, it waits for ever where nobody is.

use super::{envelope, mcp};
use crate::guard::event::{Event, Fields, Malformed};
use crate::guard::operation::{Operation, path_of, search_of};

pub(super) fn read(raw: &str) -> Result<Event, Malformed> {
    let (mut event, input) = envelope(raw, "BeforeTool")?;
    event.operation = match event.tool.as_str() {
        "run_shell_command" => {
            in_folder(&mut event, &input)?;
            Operation::of_shell(&input)?
        }
        "write_file" => Operation::of_write(&input)?,
        "replace" | "edit" => Operation::of_edit(&input)?,
        "read_file" => Operation::Read(path_of(&input)?),
        "read_many_files" => search_of(&input, &["paths", "include"])?,
        "search_file_content" | "grep_search" => search_of(&input, &["path", "dir_path"])?,
        // `mcp_SERVER_TOOL`.
        tool if tool.starts_with("mcp_aerostack_") => Operation::Unlisted,
        tool if tool.starts_with("mcp_") => mcp(tool, &event.input),
        _ => Operation::Unlisted,
    };
    Ok(event)
}

/// The tool may name a folder of its own, from the event's.
pub(super) fn in_folder(event: &mut Event, input: &Fields<'_>) -> Result<(), Malformed> {
    for name in ["dir_path", "directory"] {
        let folder = input.optional(name)?;
        if !folder.is_empty() {
            event.folder = crate::guard::paths::join(&event.folder, &folder);
        }
    }
    Ok(())
}
