//! Codex: the hook `PreToolUse` of its hooks.json. It lets a command run after any answer that it does not know, so
//! a yes is silence and a no is exit code 2.

use super::{envelope, mcp};
use crate::guard::event::{Event, Malformed};
use crate::guard::operation::Operation;

pub(super) fn read(raw: &str) -> Result<Event, Malformed> {
    let (mut event, input) = envelope(raw, "PreToolUse")?;
    event.operation = match event.tool.as_str() {
        "apply_patch" => Operation::Patch(match input.text("command")? {
            Some(patch) => patch.into_owned(),
            None => input.needed("input")?,
        }),
        "Bash" => Operation::of_shell(&input)?,
        tool if tool.starts_with("mcp__") => mcp(tool, &event.input),
        _ if input.raw("command")?.is_some() => Operation::of_shell(&input)?,
        _ => Operation::Unlisted,
    };
    Ok(event)
}
