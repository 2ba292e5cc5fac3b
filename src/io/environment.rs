//! Where settings come from: the process's environment, `--env` arguments, and small files.

use crate::check::Style;
use crate::config::Source;
use rustix::fs::{Mode, OFlags};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{IsTerminal, Read};

/// A file that a setting names (token, machine id) is never longer.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// The real environment; `--env` wins.
pub struct Environment {
    arguments: Vec<(String, String)>,
}

impl Environment {
    /// The environment with these `--env` settings.
    pub fn new(arguments: Vec<(String, String)>) -> Self {
        Self { arguments }
    }
}

impl Source for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.arguments.iter().rev().find(|(given, _)| given == name);
        match given {
            Some((_, value)) => Some(value.clone()),
            None => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        read_text(path)
    }
}

/// How `--check` writes its report: emoji and colours only on a terminal, emoji only where it speaks
/// UTF-8, colours only without NO_COLOR.
pub fn report_style(json: bool, source: &dyn Source) -> Style {
    let terminal = std::io::stdout().is_terminal() && !json;
    let set = |name: &str| source.variable(name).filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    let utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    let colour = terminal && set("NO_COLOR").is_none() && set("TERM").as_deref() != Some("dumb");
    Style {
        json,
        emoji: terminal && utf8,
        colour,
    }
}

/// A small text file. Only a regular one: a pipe or device would keep the loop waiting, so the open
/// does not wait either, and what was opened is looked at, not what the name stood for before.
pub(super) fn read_text(path: &str) -> Result<String, String> {
    let words = |error: std::io::Error| error.to_string();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| words(error.into()))?;
    let file = std::fs::File::from(fd);
    if !file.metadata().map_err(words)?.is_file() {
        return Err("it is not a regular file (a pipe or device is never read)".to_owned());
    }
    let mut text = String::new();
    file.take(FILE_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(words)?;
    Ok(text)
}

/// This program's own absolute path, for hosts that are to start it.
pub fn program_path() -> Result<String, String> {
    let path = std::env::current_exe()
        .map_err(|error| format!("this program's own path is not known: {error}"))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| "this program's path is not UTF-8: move it".to_owned())
}

/// A random number from the system, for the engine's jitter and ids.
pub fn random_seed() -> u64 {
    // std keys its hash maps from the system's generator: no crate, no file.
    RandomState::new().build_hasher().finish()
}
