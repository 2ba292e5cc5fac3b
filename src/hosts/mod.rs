//! The AI tools that can start the gateway: what their configuration looks like, where it is, and
//! how the gateway is put into it (`--print-config`, `--install`).
//!
//! Owns the table of hosts and the edits of their files. Beside `io` it is the only module that may
//! touch files: `find` looks for them, `install` reads and writes them; the rest is pure.
//! It must never reformat what others wrote, and never print a token that was not asked for.

mod entry;
mod find;
#[cfg(fuzzing)]
pub mod fuzz;
mod hooks;
mod install;
mod json;
mod json_tree;
mod standing;
mod table;
mod toml;
mod toml_tree;
mod value;
mod yaml;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod toml_tests;

pub use entry::{Placeholders, Server, print};
pub use find::file;
pub(crate) use hooks::hook_deadline;
pub use hooks::{HookCommand, install_hook, uninstall_hook};
pub use install::{install, uninstall};
pub use standing::{guarded, hook_states};
pub(crate) use table::HOSTS;

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
    /// How an entry says what to start.
    shape: Shape,
    /// Members of a new entry that are the same for everybody.
    fixed: &'static [(&'static str, Fixed)],
    /// The host's own time limits, so that a call can wait for a person; added where an entry has none.
    limits: &'static [(&'static str, Fixed)],
    /// Variables that the host reads in the entry; added where an entry has none.
    env: &'static [(&'static str, &'static str)],
    /// Where the file may be: the first that exists, else the first whose folder does.
    places: &'static [Place],
    /// Variables that name the file, or with a name behind it the folder that holds it; the first that
    /// is set counts.
    variables: &'static [(&'static str, &'static str)],
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
    List(&'static [&'static str]),
}

/// By which names an entry says what to start.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// `command`, `args`, `env`.
    Usual,
    /// `cmd`, `args`, `envs`.
    Goose,
    /// `command` with the arguments in it, `environment`.
    OpenCode,
}

impl Shape {
    /// The member that holds the settings.
    fn env(self) -> &'static str {
        match self {
            Shape::Usual => "env",
            Shape::Goose => "envs",
            Shape::OpenCode => "environment",
        }
    }
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
    /// TOML.
    Toml,
}

impl Host {
    /// Where in the file the gateway's entry stands.
    fn entry(&self) -> Vec<&'static str> {
        [self.servers, &[NAME]].concat()
    }
}

/// The host of this name.
pub(crate) fn find(name: &str) -> Option<&'static Host> {
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

impl EditError {
    /// What was expected at this byte of the text.
    fn malformed(text: &str, at: usize, what: &'static str) -> Self {
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self::Malformed(line, column, what)
    }
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
            Format::Toml => toml::set(text, path, value),
        }
    }

    /// The text without what stands at this path.
    fn remove(self, text: &str, path: &[&str]) -> Result<String, EditError> {
        match self {
            Format::Json | Format::Json5 => json::remove(text, path, self == Format::Json5),
            Format::Yaml => yaml::remove(text, path),
            Format::Toml => toml::remove(text, path),
        }
    }

    /// The name and value at this path as they are written.
    fn get<'a>(self, text: &'a str, path: &[&str]) -> Result<Option<&'a str>, EditError> {
        match self {
            Format::Json | Format::Json5 => json::get(text, path, self == Format::Json5),
            Format::Yaml => yaml::get(text, path),
            Format::Toml => toml::get(text, path),
        }
    }
}
