//! Cursor: the hooks `beforeShellExecution`, `beforeMCPExecution` and `preToolUse` of its hooks.json. By its
//! documentation; it has no build that runs without an account.

use super::{Words, folder};
use crate::guard::event::{Event, Fields, Malformed};
use crate::guard::operation::{Operation, path_of, search_of};
use crate::proto::jsonrpc::{self, quote};
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) fn read(raw: &str) -> Result<Event, Malformed> {
    let fields = Fields::read(raw, "the event")?;
    let name = fields.needed("hook_event_name")?;
    let mut event = Event {
        session: fields.optional("conversation_id")?,
        tool: fields.optional("tool_name")?,
        folder: folder(cwd(&fields)?)?,
        mode: String::new(),
        input: String::new(),
        operation: Operation::Unlisted,
        open_shells: false,
    };
    match name.as_str() {
        "beforeShellExecution" => {
            event.tool = "Shell".to_owned();
            event.input = fields.raw("command")?.unwrap_or_default().to_owned();
            event.operation = Operation::of_shell(&fields)?;
        }
        "beforeMCPExecution" => {
            let input = input(&fields)?;
            let ours = fields.optional("command")?;
            let ours = ours
                .split_whitespace()
                .next()
                .is_some_and(|first| first.ends_with("/aerostack-gateway"));
            event.operation = match ours {
                true => Operation::Unlisted,
                false => Operation::Call {
                    tool: fields.needed("tool_name")?,
                    arguments: input.to_string(),
                },
            };
            event.input = input.into_owned();
        }
        "preToolUse" => {
            let input = input(&fields)?;
            let members = Fields::read(&input, "\"tool_input\"")?;
            event.operation = match fields.needed("tool_name")?.as_str() {
                "Write"
                    if members.raw("old_string")?.is_some() || members.raw("edits")?.is_some() =>
                {
                    Operation::of_edit(&members)?
                }
                "Write" => Operation::of_write(&members)?,
                "Edit" | "StrReplace" | "MultiEdit" => Operation::of_edit(&members)?,
                "Delete" => Operation::Delete(path_of(&members)?),
                "Read" => Operation::Read(path_of(&members)?),
                "Grep" => search_of(&members, &["path"])?,
                "Shell" => Operation::of_shell(&members)?,
                _ => Operation::Unlisted,
            };
            event.input = input.clone().into_owned();
        }
        _ => return Err(Malformed(format!("the event {name:?} is not known"))),
    }
    Ok(event)
}

/// The tool's input: an object, or the text of one.
fn input<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, Malformed> {
    let raw = fields.raw("tool_input")?.unwrap_or("{}");
    match raw.starts_with('"') {
        true => jsonrpc::string(raw)
            .ok_or_else(|| Malformed("\"tool_input\" can not be read".to_owned())),
        false => Ok(Cow::Borrowed(raw)),
    }
}

/// `cwd`, else the first of `workspace_roots`.
fn cwd(fields: &Fields<'_>) -> Result<String, Malformed> {
    let cwd = fields.optional("cwd")?;
    if !cwd.is_empty() {
        return Ok(cwd);
    }
    let roots: Vec<&RawValue> = fields
        .raw("workspace_roots")?
        .and_then(|raw| serde_json::from_str(raw).ok())
        .unwrap_or_default();
    match roots.first().and_then(|root| jsonrpc::string(root.get())) {
        Some(root) => Ok(root.into_owned()),
        None => Err(Malformed(
            "neither \"cwd\" nor \"workspace_roots\" is there".to_owned(),
        )),
    }
}

pub(super) fn approved(_: &Event, _: &str) -> Words {
    Words {
        stdout: "{\"permission\":\"allow\"}\n".to_owned(),
        ..Words::default()
    }
}

pub(super) fn denied(why: &str) -> Words {
    let why_json = quote(why);
    let stdout = format!(
        "{{\"permission\":\"deny\",\"user_message\":{why_json},\"agent_message\":{why_json}}}\n"
    );
    Words {
        stdout,
        stderr: format!("{why}\n"),
        code: 2,
    }
}
