//! `--setup`: from nothing to a working gateway, by a few questions.
//!
//! Owns the order of the questions. It must never show the token, and never replace a file that the
//! person did not agree to.

use crate::config::{Config, Limits, SettingError, SettingsFile, Source};
use crate::hosts::{self, HOSTS, Server};
use crate::io::{self, Environment, Terminal};
use std::path::{Path, PathBuf};

const URL: &str = "AEROSTACK_WORKSPACE_URL";
const TOKEN: &str = "AEROSTACK_TOKEN";
/// Whoever mistypes more often wants to look something up.
const TRIES: usize = 3;

/// What stands in the way of a setup.
pub enum SetupError {
    /// There is no person, or no place for the file.
    Unusable(String),
    /// It was begun and given up.
    GivenUp(String),
}

/// The person's answers; all other settings are those of the environment.
struct Answers<'a> {
    url: String,
    token: String,
    environment: &'a Environment,
}

impl Source for Answers<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            URL => Some(self.url.clone()),
            TOKEN => Some(self.token.clone()),
            _ => self.environment.variable(name),
        }
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        self.environment.names(prefix)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.environment.file(path)
    }
}

/// Asks, checks by `check` (true: all passed), writes the settings file and sets up AI tools.
/// `options` are the settings of the command line.
pub fn run(
    options: &[(String, String)],
    env_file: Option<&str>,
    check: impl FnOnce(Config) -> bool,
) -> Result<(), SetupError> {
    let unusable = |problem: &str| SetupError::Unusable(problem.to_owned());
    let mut terminal = Terminal::open()
        .map_err(|error| unusable(&format!("the terminal can not be used: {error}")))?
        .ok_or_else(|| unusable("--setup asks questions: run it in a terminal"))?;
    let path = match env_file {
        Some(path) => Some(PathBuf::from(path)),
        None => io::default_settings_file(),
    };
    let path = path.ok_or_else(|| {
        unusable(
            "neither HOME nor XDG_CONFIG_HOME is an absolute path: name a file with --env-file",
        )
    })?;
    let environment = Environment::without_file(options.to_vec());
    let (answers, config) = ask(&mut terminal, &environment)?;
    if !check(config) && !terminal.agrees("Write the settings all the same?") {
        return Err(given_up("nothing was written"));
    }
    write(&terminal, &path, &answers)?;
    if [URL, TOKEN]
        .iter()
        .any(|name| environment.variable(name).is_some())
    {
        terminal.show(
            "Note: AEROSTACK_WORKSPACE_URL or AEROSTACK_TOKEN is set in this environment, and wins over \
             the file.\n",
        );
    }
    install(&terminal, options, &path)
}

fn given_up(what: &str) -> SetupError {
    SetupError::GivenUp(what.to_owned())
}

/// URL and token that can be used.
fn ask<'a>(
    terminal: &mut Terminal,
    environment: &'a Environment,
) -> Result<(Answers<'a>, Config), SetupError> {
    let mut answers = Answers {
        url: String::new(),
        token: "none".to_owned(),
        environment,
    };
    let question = "Workspace URL (https://mcp.aerostack.dev/ws/...): ";
    let valid = |answers: &Answers<'_>| Config::read(answers, Limits::default());
    answer(|| {
        answers.url = terminal.ask(question)?;
        Some(told(terminal, valid(&answers)))
    })?;
    let question = "Token (from the dashboard; it is not shown as you type): ";
    let config = answer(|| {
        answers.token = terminal.ask_secret(question).ok()??;
        Some(told(terminal, valid(&answers)))
    })?;
    Ok((answers, config))
}

/// What is wrong with an answer is shown.
fn told(terminal: &Terminal, answer: Result<Config, SettingError>) -> Option<Config> {
    answer
        .inspect_err(|error| terminal.show(&format!("{error}\n")))
        .ok()
}

/// Asks until the answer can be used; `None`: the input has ended.
fn answer(mut ask: impl FnMut() -> Option<Option<Config>>) -> Result<Config, SetupError> {
    for _ in 0..TRIES {
        match ask() {
            Some(Some(config)) => return Ok(config),
            Some(None) => {}
            None => break,
        }
    }
    Err(given_up("no usable answer: nothing was written"))
}

fn write(terminal: &Terminal, path: &Path, answers: &Answers<'_>) -> Result<(), SetupError> {
    let shown = path.display();
    let old = io::settings_file_content(path)
        .map_err(|why| SetupError::GivenUp(format!("{shown} {why}; nothing was written")))?;
    if old.is_some() && !terminal.agrees(&format!("{shown} exists: replace URL and token in it?")) {
        return Err(given_up("the settings file stays as it is"));
    }
    let old = old.unwrap_or_default();
    let text = SettingsFile::with_pair(&old, &answers.url, &answers.token);
    io::write_settings_file(path, &text).map_err(SetupError::GivenUp)?;
    terminal.show(&format!("Written: {shown} (for you alone)\n"));
    Ok(())
}

/// Offers each AI tool that was started here.
fn install(
    terminal: &Terminal,
    options: &[(String, String)],
    path: &Path,
) -> Result<(), SetupError> {
    let fail = |problem: String| SetupError::GivenUp(problem);
    let environment = Environment::with_pair_of(options.to_vec(), path)
        .map_err(|error| fail(error.to_string()))?;
    let config =
        Config::read(&environment, Limits::default()).map_err(|error| fail(error.to_string()))?;
    let program = io::program_path().map_err(fail)?;
    let mut found = false;
    for host in HOSTS {
        let Ok(file) = hosts::file(host, &environment) else {
            continue;
        };
        found = true;
        if !terminal.agrees(&format!("Set up {} ({})?", host.title, file.display())) {
            continue;
        }
        let again = environment.settings_file_use();
        let server = Server::new(program.clone(), &config, options, again, true);
        let report = hosts::install(host, &server, &environment);
        terminal.show(&report.unwrap_or_else(|problem| format!("{problem}\n")));
    }
    if !found {
        terminal
            .show("No AI tool was found; --print-config HOST prints what to paste (see --help).\n");
    }
    Ok(())
}
