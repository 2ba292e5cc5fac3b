//! The AI tools that can start the gateway: what their configuration looks like, where it is, and
//! how the gateway is put into it (`--print-config`, `--install`).
//!
//! Owns the table of hosts and the edits of their files. Beside `io` it is the only module that may
//! touch files: `find` looks for them, `install` reads and writes them; the rest is pure.
//! It must never reformat what others wrote, and never print a token that was not asked for.

mod entry;
mod find;
mod install;
mod json;
mod json_tree;
mod value;
mod yaml;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use entry::{Placeholders, Server, print};
pub use find::file;
pub use install::install;

use Fixed::{Raw, Text};
use find::Base;
use value::Value;

/// The name under which the gateway is listed.
const NAME: &str = "aerostack";

/// An AI tool.
#[derive(Debug, PartialEq)]
pub struct Host {
    /// As it is given on the command line.
    pub name: &'static str,
    /// As its makers write it.
    pub title: &'static str,
    /// The file's language.
    format: Format,
    /// Where in the file the servers are listed.
    servers: &'static [&'static str],
    /// Members of a new entry that are the same for everybody.
    fixed: &'static [(&'static str, Fixed)],
    /// Where the file may be: the first that exists, else the first whose folder does.
    places: &'static [Place],
    /// A variable that names the file, or with a name behind it the folder of that name.
    variable: Option<(&'static str, &'static str)>,
    /// What makes the host read the file again.
    then: &'static str,
}

/// A file's place, if the host is there.
#[derive(Debug, PartialEq)]
struct Place {
    base: Base,
    /// It exists where the host was started once.
    folder: &'static str,
    file: &'static str,
}

/// A value that is the same for everybody.
#[derive(Debug, PartialEq)]
enum Fixed {
    Text(&'static str),
    Raw(&'static str),
}

/// The language of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    /// JSON; comments and trailing commas are let stand.
    Json,
    /// JSON5: also names without quotes and strings in single quotes.
    Json5,
    /// The block style of YAML.
    Yaml,
}

const fn place(base: Base, folder: &'static str, file: &'static str) -> Place {
    Place { base, folder, file }
}

const STDIO: &[(&str, Fixed)] = &[("type", Text("stdio"))];

/// All hosts, by name.
pub const HOSTS: &[Host] = &[
    Host {
        name: "claude-code",
        title: "Claude Code",
        format: Format::Json,
        servers: &["mcpServers"],
        fixed: STDIO,
        places: &[place(Base::Home, ".claude", ".claude.json")],
        variable: Some(("CLAUDE_CONFIG_DIR", ".claude.json")),
        then: "Start a new session of Claude Code",
    },
    Host {
        name: "claude-desktop",
        title: "Claude Desktop",
        format: Format::Json,
        servers: &["mcpServers"],
        fixed: &[],
        places: &[place(
            Base::Application,
            "Claude",
            "Claude/claude_desktop_config.json",
        )],
        variable: None,
        then: "Quit Claude Desktop and start it again",
    },
    Host {
        name: "cline",
        title: "Cline",
        format: Format::Json,
        servers: &["mcpServers"],
        fixed: &[("disabled", Raw("false"))],
        places: &[
            place(
                Base::Application,
                "Code/User/globalStorage/saoudrizwan.claude-dev",
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
            place(
                Base::Home,
                ".vscode-server/data/User/globalStorage/saoudrizwan.claude-dev",
                ".vscode-server/data/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
            place(
                Base::Application,
                "VSCodium/User/globalStorage/saoudrizwan.claude-dev",
                "VSCodium/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ),
        ],
        variable: None,
        then: "Cline notices by itself; if not, reload the window",
    },
    Host {
        name: "cursor",
        title: "Cursor",
        format: Format::Json,
        servers: &["mcpServers"],
        fixed: &[],
        places: &[place(Base::Home, ".cursor", ".cursor/mcp.json")],
        variable: None,
        then: "Enable it in Cursor's settings under MCP, if it is not",
    },
    Host {
        name: "goose",
        title: "Goose",
        format: Format::Yaml,
        servers: &["extensions"],
        fixed: &[
            ("name", Text("aerostack")),
            ("description", Text("Aerostack Workspace")),
            ("type", Text("stdio")),
            ("enabled", Raw("true")),
            ("timeout", Raw("300")),
        ],
        places: &[place(Base::Config, "goose", "goose/config.yaml")],
        variable: None,
        then: "Start a new session of Goose",
    },
    Host {
        name: "openclaw",
        title: "OpenClaw",
        format: Format::Json5,
        servers: &["mcp", "servers"],
        fixed: &[],
        places: &[place(Base::Home, ".openclaw", ".openclaw/openclaw.json")],
        variable: Some(("OPENCLAW_CONFIG_PATH", "")),
        then: "Restart OpenClaw's gateway",
    },
    Host {
        name: "vscode",
        title: "VS Code",
        format: Format::Json,
        servers: &["servers"],
        fixed: STDIO,
        places: &[
            place(Base::Application, "Code/User", "Code/User/mcp.json"),
            place(
                Base::Home,
                ".vscode-server/data/User",
                ".vscode-server/data/User/mcp.json",
            ),
            place(Base::Application, "VSCodium/User", "VSCodium/User/mcp.json"),
        ],
        variable: None,
        then: "Start it in VS Code: \"MCP: List Servers\" in the command palette",
    },
    Host {
        name: "windsurf",
        title: "Windsurf",
        format: Format::Json,
        servers: &["mcpServers"],
        fixed: &[],
        places: &[place(
            Base::Home,
            ".codeium",
            ".codeium/windsurf/mcp_config.json",
        )],
        variable: None,
        then: "Refresh the MCP servers in Windsurf's settings",
    },
];

/// The host of this name.
pub fn find(name: &str) -> Option<&'static Host> {
    HOSTS.iter().find(|host| host.name == name)
}

/// Why a file is not edited.
#[derive(Debug, PartialEq)]
enum EditError {
    /// The text is not of the file's language: line, column, what was expected.
    Malformed(usize, usize, &'static str),
    /// A name stands twice where one is looked for.
    Twice(String),
    /// What should hold the entry holds something else.
    NotAnObject(String),
    /// A form that can not be edited without changing what it means: line, which.
    Unsafe(usize, &'static str),
}

impl std::fmt::Display for EditError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EditError::Malformed(line, column, what) => {
                write!(f, "line {line}, column {column}: {what}")
            }
            EditError::Twice(name) => {
                write!(f, "{name:?} stands there twice: remove one of them")
            }
            EditError::NotAnObject(name) => {
                write!(f, "{name:?} is not a set of names and values")
            }
            EditError::Unsafe(line, what) => write!(f, "line {line}: {what}"),
        }
    }
}

impl Format {
    /// The text with this value at this path; what is not there yet is added.
    fn set(self, text: &str, path: &[&str], value: &Value) -> Result<String, EditError> {
        match self {
            Format::Json | Format::Json5 => json::set(text, path, value, self == Format::Json5),
            Format::Yaml => yaml::set(text, path, value),
        }
    }

    /// The text without what stands at this path.
    fn remove(self, text: &str, path: &[&str]) -> Result<String, EditError> {
        match self {
            Format::Json | Format::Json5 => json::remove(text, path, self == Format::Json5),
            Format::Yaml => yaml::remove(text, path),
        }
    }

    /// The name and value at this path as they are written.
    fn get<'a>(self, text: &'a str, path: &[&str]) -> Result<Option<&'a str>, EditError> {
        match self {
            Format::Json | Format::Json5 => json::get(text, path, self == Format::Json5),
            Format::Yaml => yaml::get(text, path),
        }
    }
}
