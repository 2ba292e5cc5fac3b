//! Where settings come from: `--env` arguments, the process's environment, a settings file, and the
//! small files that settings name.

use super::settings_file;
use crate::check::Style;
use crate::config::{HEADER_PREFIX, SettingError, SettingsFile, SettingsFileUse, Source};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// A file that a setting names (token, machine id) is never longer.
const FILE_MAX_BYTES: u64 = 64 << 10;
/// The two settings without which there is no run, and the other form of the second.
const PAIR: [&str; 3] = [
    "AEROSTACK_WORKSPACE_URL",
    "AEROSTACK_TOKEN",
    "AEROSTACK_TOKEN_FILE",
];

/// Where the token may go besides: whoever gives the token says so.
const TRUSTED_ORIGINS: &str = "AEROSTACK_TRUSTED_ORIGINS";

/// All settings: `--env` wins over the environment, the environment over the file.
pub struct Environment {
    arguments: Vec<(String, String)>,
    file: Option<Named>,
    /// URL and token are the file's, because nothing else gives either.
    pair_in_file: bool,
    warnings: Vec<String>,
}

/// The settings file in use.
struct Named {
    path: PathBuf,
    content: SettingsFile,
}

impl Environment {
    /// The environment with these `--env` settings, and with the settings file: the one that is named
    /// (`--env-file`), or the default one where neither URL nor token are given otherwise.
    pub fn new(
        arguments: Vec<(String, String)>,
        env_file: Option<&str>,
    ) -> Result<Self, SettingError> {
        let mut environment = Self::without_file(arguments);
        let given = PAIR.iter().any(|name| {
            environment
                .outside(name)
                .is_some_and(|value| !value.is_empty())
        });
        let (path, name) = match env_file {
            Some(path) => (PathBuf::from(path), "--env-file"),
            None if given => return Ok(environment),
            None => match settings_file::default_settings_file() {
                Some(path) => (path, "the settings file"),
                None => return Ok(environment),
            },
        };
        let fail = |problem: String| SettingError {
            name,
            problem: format!("{} {problem}", path.display()),
        };
        let found = match settings_file::read(&path).map_err(fail)? {
            Some(found) => found,
            None if env_file.is_some() => return Err(fail("does not exist".to_owned())),
            None => return Ok(environment),
        };
        environment.pair_in_file = !given;
        environment.warnings = found.warnings;
        if !given && environment.outside(TRUSTED_ORIGINS).is_some() {
            environment.warnings.push(format!(
                "{TRUSTED_ORIGINS} of the environment is not used: URL and token come from {}",
                path.display()
            ));
        }
        environment.file = Some(Named {
            path: std::path::absolute(&path).unwrap_or(path),
            content: found.file,
        });
        Ok(environment)
    }

    /// The environment with these `--env` settings and no settings file.
    pub fn without_file(arguments: Vec<(String, String)>) -> Self {
        Self {
            arguments,
            file: None,
            pair_in_file: false,
            warnings: Vec::new(),
        }
    }

    /// The environment with URL and token of this settings file, whatever else gives them.
    pub fn with_pair_of(
        arguments: Vec<(String, String)>,
        path: &Path,
    ) -> Result<Self, SettingError> {
        let shown = path.to_string_lossy();
        let mut environment = Self::new(arguments, Some(&shown))?;
        environment.pair_in_file = true;
        Ok(environment)
    }

    /// What is odd about the settings file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where URL and token are the settings file's: the arguments and variables by which a program that
    /// is started anew finds it. AI tools hand on HOME, but seldom XDG_CONFIG_HOME.
    pub fn settings_file_use(&self) -> Option<SettingsFileUse> {
        let file = self.file.as_ref().filter(|_| self.pair_in_file)?;
        let found_by = |xdg| settings_file::default_in(xdg).is_some_and(|own| own == file.path);
        let mut again = SettingsFileUse::default();
        match std::env::var("XDG_CONFIG_HOME") {
            _ if found_by(false) => {}
            Ok(xdg) if found_by(true) => {
                again.variables.push(("XDG_CONFIG_HOME".to_owned(), xdg));
            }
            Ok(_) | Err(_) => {
                let path = file.path.to_string_lossy().into_owned();
                again.arguments = vec!["--env-file".to_owned(), path];
            }
        }
        Some(again)
    }

    /// Says why the half of the pair that the file has does not count.
    pub fn explain(&self, mut error: SettingError) -> SettingError {
        let unused = self.file.as_ref().filter(|_| !self.pair_in_file);
        if let Some(file) = unused.filter(|file| {
            PAIR.contains(&error.name)
                && self.outside(error.name).is_none()
                && file.content.get(error.name).is_some()
        }) {
            error.problem.push_str(&format!(
                " ({} has one, but URL and token must come from the same place)",
                file.path.display()
            ));
        }
        error
    }

    fn outside(&self, name: &str) -> Option<String> {
        variable(&self.arguments, name)
    }

    fn in_file(&self, name: &str) -> Option<String> {
        let value = self.file.as_ref()?.content.get(name)?;
        Some(value.to_owned())
    }
}

/// A variable of the `--env` settings, else of the environment.
pub fn variable(arguments: &[(String, String)], name: &str) -> Option<String> {
    let given = arguments.iter().rev().find(|(given, _)| given == name);
    match given {
        Some((_, value)) => Some(value.clone()),
        None => std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
    }
}

impl Source for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        // A header of the person's own may go to the file's URL, but the file's to no other URL.
        let of_pair = SettingsFile::is_of_pair(name);
        match (self.pair_in_file, of_pair) {
            (true, true) if !name.starts_with(HEADER_PREFIX) => self.in_file(name),
            (false, true) => self.outside(name),
            (true | false, _) => self.outside(name).or_else(|| self.in_file(name)),
        }
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let arguments = self.arguments.iter().map(|(name, _)| name.clone());
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let file = self.file.iter().flat_map(|file| file.content.names());
        let all = arguments.chain(variables).chain(file.map(str::to_owned));
        let mut all: Vec<String> = all.filter(|name| name.starts_with(prefix)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn file(&self, path: &str) -> Result<String, String> {
        read_text(path)
    }
}

/// How `--check` writes its report: emoji and colours only on a terminal, emoji only where it speaks
/// UTF-8, colours only without NO_COLOR.
pub fn report_style(json: bool) -> Style {
    let terminal = std::io::stdout().is_terminal() && !json;
    let set = |name: &str| variable(&[], name).filter(|value| !value.is_empty());
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
    super::file::read_text(path, FILE_MAX_BYTES)
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
