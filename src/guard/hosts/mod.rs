//! The hosts whose hooks the guard speaks: one file each, with its shapes in and out.

mod claude_code;
mod codex;
mod cursor;
mod gemini;
mod qwen;

use super::event::{Event, Fields, Malformed};
use super::operation::Operation;
use crate::proto::jsonrpc::quote;

/// A host's language.
#[derive(Debug)]
pub struct Host {
    /// As it is given on the command line.
    pub name: &'static str,
    /// As its makers write it.
    pub title: &'static str,
    read: fn(&str) -> Result<Event, Malformed>,
    approved: fn(&Event, &str) -> Words,
    denied: fn(&str) -> Words,
    /// Its word for its own prompt, in the modes in which it is known to show one.
    asked: Option<fn(&Event, &str) -> Option<Words>>,
    /// Text can be typed into a shell that is open, and no hook is asked then.
    open_shells: bool,
}

impl PartialEq for Host {
    fn eq(&self, other: &Host) -> bool {
        self.name == other.name
    }
}

/// All hosts, by name.
pub const HOSTS: &[Host] = &[
    Host {
        name: "claude-code",
        title: "Claude Code",
        read: claude_code::read,
        approved: claude_code::approved,
        denied: stopped,
        asked: Some(claude_code::asked),
        open_shells: false,
    },
    Host {
        name: "codex",
        title: "Codex",
        read: codex::read,
        approved: silent,
        denied: stopped,
        asked: None,
        open_shells: true,
    },
    Host {
        name: "cursor",
        title: "Cursor",
        read: cursor::read,
        approved: cursor::approved,
        denied: cursor::denied,
        asked: None,
        open_shells: false,
    },
    Host {
        name: "gemini",
        title: "Gemini CLI",
        read: gemini::read,
        approved: silent,
        denied: stopped,
        asked: None,
        open_shells: false,
    },
    Host {
        name: "qwen",
        title: "Qwen Code",
        read: qwen::read,
        approved: qwen::approved,
        denied: stopped,
        asked: Some(qwen::asked),
        open_shells: false,
    },
];

/// The host of this name.
pub fn find(name: &str) -> Option<&'static Host> {
    HOSTS.iter().find(|host| host.name == name)
}

/// What a hook says, and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// For the host.
    pub stdout: String,
    /// For the model and the person.
    pub stderr: String,
    /// 0, or 2 for a no.
    pub code: u8,
}

impl Host {
    /// Reads an event. What can not be read is to be denied.
    pub fn read(&self, raw: &str) -> Result<Event, Malformed> {
        let mut event = (self.read)(raw)?;
        event.open_shells = self.open_shells;
        Ok(event)
    }

    /// A person approved.
    pub fn approved(&self, event: &Event, why: &str) -> Words {
        (self.approved)(event, why)
    }

    /// No, and why.
    pub fn denied(&self, why: &str) -> Words {
        (self.denied)(why)
    }

    /// Hands the question to the host's own prompt, where there will be one.
    pub fn asked(&self, event: &Event, why: &str) -> Option<Words> {
        self.asked.and_then(|asked| asked(event, why))
    }
}

/// Nothing: the host goes on as it would without us.
fn silent(_: &Event, _: &str) -> Words {
    Words::default()
}

/// A no that every host here honours: exit code 2 and words on stderr.
fn stopped(why: &str) -> Words {
    Words {
        stdout: String::new(),
        stderr: format!("{why}\n"),
        code: 2,
    }
}

/// Claude Code's answer, which Qwen Code reads, too.
fn decision(word: &str, why: &str) -> Words {
    let stdout = format!(
        "{{\"hookSpecificOutput\":{{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"{word}\",\"permissionDecisionReason\":{}}}}}\n",
        quote(why)
    );
    Words {
        stdout,
        stderr: String::new(),
        code: 0,
    }
}

/// What hosts of Claude Code's form have in common: the envelope. `event` is the only event that is known.
fn envelope<'a>(raw: &'a str, event: &str) -> Result<(Event, Fields<'a>), Malformed> {
    let fields = Fields::read(raw, "the event")?;
    let name = fields.needed("hook_event_name")?;
    if name != event {
        return Err(Malformed(format!(
            "the event {name:?} is not known: only {event} is"
        )));
    }
    let input = fields
        .raw("tool_input")?
        .ok_or_else(|| Malformed("\"tool_input\" is missing".to_owned()))?;
    let input_fields = Fields::read(input, "\"tool_input\"")?;
    let event = Event {
        session: fields.optional("session_id")?,
        tool: fields.needed("tool_name")?,
        folder: folder(fields.needed("cwd")?)?,
        mode: fields.optional("permission_mode")?,
        input: input.to_owned(),
        operation: Operation::Unlisted,
        open_shells: false,
    };
    Ok((event, input_fields))
}

/// The folder of an event, which must be absolute: names are resolved from it.
fn folder(path: String) -> Result<String, Malformed> {
    match path.starts_with('/') {
        true => Ok(path),
        false => Err(Malformed("\"cwd\" is no absolute path".to_owned())),
    }
}

/// A tool of an MCP server, `mcp__SERVER__TOOL`; the gateway's own server is asked by the workspace itself.
fn mcp(tool: &str, input: &str) -> Operation {
    match tool.starts_with("mcp__aerostack__") {
        true => Operation::Unlisted,
        false => Operation::Call {
            tool: tool.to_owned(),
            arguments: input.to_owned(),
        },
    }
}
