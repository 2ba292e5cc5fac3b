//! `--guard HOST`, from the event on stdin to the words for the host.

use super::ask::{self, Answer, Ask};
use super::disk::Disk;
use super::hosts::{Host, Words};
use super::{Event, Guarded, INPUT_MAX_BYTES, Judgement, Own, Question, Settings, judge, shown};
use crate::config::{Config, Limits, SettingsFile, Source};
use crate::io::{self, ShellSettings};
use crate::proto::identity::sha256;
use crate::proto::jsonrpc::{object, quote};
use std::time::Duration;

/// An AI tool writes its event at once.
const EVENT_PATIENCE: Duration = Duration::from_secs(10);
/// A person waits while a hook is installed.
const PROBE_PATIENCE: Duration = Duration::from_secs(15);
/// A file of rules is never longer.
const RULES_MAX_BYTES: u64 = 1 << 20;

/// What is done where the workspace can not be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offline {
    /// No.
    #[default]
    Deny,
    /// The host's own prompt, where there is one.
    Ask,
}

/// The hook's options. There is nothing else that it listens to.
#[derive(Debug, PartialEq)]
pub struct Hook {
    /// The host.
    pub host: &'static Host,
    /// `--env`, in order.
    pub env: Vec<(String, String)>,
    /// `--env-file`: an absolute path.
    pub env_file: Option<String>,
    /// `--deadline`.
    pub deadline: Duration,
    /// `--guard-level`.
    pub guarded: Guarded,
    /// `--guard-rules`: an absolute path.
    pub rules: Option<String>,
    /// `--guard-offline`.
    pub offline: Offline,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--log-file`.
    pub log_file: Option<String>,
}

impl Hook {
    /// The judgement's settings. The error says what is wrong with the rules.
    pub fn settings(&self) -> Result<Settings, String> {
        let rules = match &self.rules {
            None => None,
            Some(path) => Some(io::short_text(path, RULES_MAX_BYTES).ok_or_else(|| {
                format!("the rules {path} can not be read as text of at most 1 MiB")
            })?),
        };
        let real = |path: &String| io::real_path(path).unwrap_or_else(|| path.clone());
        let own = Own {
            program: io::program_path().ok(),
            settings: self.env_file.as_ref().map(real),
            others: self.rules.iter().chain(&self.log_file).map(real).collect(),
        };
        let home = io::variable(&[], "HOME").filter(|home| home.starts_with('/'));
        Settings::new(rules.as_deref(), self.guarded, own, home).map_err(|why| {
            format!(
                "the rules {} can not be used: {why}",
                self.rules.as_deref().unwrap_or_default()
            )
        })
    }

    /// What is to stand behind `--guard HOST` so that a hook has these options.
    pub fn written(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut push = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        for (name, value) in [
            ("--env-file", &self.env_file),
            ("--guard-rules", &self.rules),
            ("--log-file", &self.log_file),
        ] {
            if let Some(value) = value {
                push(name, value);
            }
        }
        push("--deadline", &self.deadline.as_secs().max(1).to_string());
        if self.guarded == Guarded::All {
            push("--guard-level", "all");
        }
        if self.offline == Offline::Ask {
            push("--guard-offline", "ask");
        }
        words
    }

    /// Reads the event and answers it.
    pub fn run(&self) -> Words {
        let began = io::now().mono;
        match self.judged() {
            Err(why) => {
                self.log("-", "-", "denied", &why);
                self.host.denied(&format!("{NAME}: NOT APPROVED: {why}"))
            }
            Ok((_, Judgement::Silent)) => Words::default(),
            Ok((event, Judgement::Deny(finding))) => {
                let why = format!("{} {}", shown::line(&finding.matched), finding.reason);
                self.log(
                    &event.tool,
                    &why,
                    if self.dry_run {
                        "dry-run: denied"
                    } else {
                        "denied"
                    },
                    "rule",
                );
                match self.dry_run {
                    true => Words::default(),
                    false => self
                        .host
                        .denied(&format!("{NAME}: NOT APPROVED: {why}. {AGAIN}")),
                }
            }
            Ok((event, Judgement::Ask(question))) => {
                self.ask(&event, &question, began + self.deadline)
            }
        }
    }

    fn judged(&self) -> Result<(Event, Judgement), String> {
        let bytes = io::read_event(INPUT_MAX_BYTES, EVENT_PATIENCE)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| "the event is not UTF-8")?;
        let settings = self.settings()?;
        let event = self
            .host
            .read(text)
            .map_err(|why| format!("the event can not be read: {why}"))?;
        let judgement = judge(&event, &settings, &Disk);
        Ok((event, judgement))
    }

    fn ask(&self, event: &Event, question: &Question, deadline: std::time::Instant) -> Words {
        let finding = &question.finding;
        let what = format!("{} {}", shown::line(&finding.matched), finding.reason);
        let rule = format!("{}: {what}", finding.category.name());
        if self.dry_run {
            self.log(&event.tool, &rule, "dry-run: asked", "-");
            return Words::default();
        }
        let answer = self.answer(event, question, deadline);
        match &answer {
            Answer::Approved(how) => {
                self.log(&event.tool, &rule, "approved", how);
                self.host.approved(event, &format!("{NAME}: {how}"))
            }
            Answer::Unreachable(why) if self.offline == Offline::Ask => {
                let words = self.host.asked(
                    event,
                    &format!("{NAME}: the workspace can not be reached; {what}"),
                );
                let verdict = if words.is_some() {
                    "handed to the host"
                } else {
                    "denied"
                };
                self.log(&event.tool, &rule, verdict, why);
                words.unwrap_or_else(|| self.no(&what, why))
            }
            Answer::No(why) | Answer::Unreachable(why) => {
                self.log(&event.tool, &rule, "denied", why);
                self.no(&what, why)
            }
        }
    }

    fn no(&self, what: &str, why: &str) -> Words {
        self.host
            .denied(&format!("{NAME}: NOT APPROVED ({why}): {what}. {AGAIN}"))
    }

    fn answer(&self, event: &Event, question: &Question, deadline: std::time::Instant) -> Answer {
        self.converse(Some(self.arguments(event, question)), deadline)
    }

    /// Whether the workspace would ask anybody, seen as the hook will see it: without the environment. The error
    /// says why not.
    pub fn probe(&self) -> Result<(), String> {
        let deadline = io::now().mono + PROBE_PATIENCE;
        match self.converse(None, deadline) {
            Answer::Approved(_) => Ok(()),
            Answer::No(why) | Answer::Unreachable(why) => Err(why),
        }
    }

    fn converse(&self, arguments: Option<String>, deadline: std::time::Instant) -> Answer {
        let mut config = match self.config() {
            Ok(config) => config,
            Err(why) => return Answer::No(why),
        };
        let now = io::now();
        ask::prepare(&mut config, deadline.saturating_duration_since(now.mono));
        let mut settings = ShellSettings::for_bridge(&config);
        settings.without_stdin = true;
        settings.log_file = None;
        let mut ask = Ask::new(config, arguments, deadline, io::random_seed(), now);
        io::run(&mut ask, settings);
        ask.answer()
    }

    /// The settings: of the command line and of the file named there, never of the environment.
    fn config(&self) -> Result<Config, String> {
        let file = match &self.env_file {
            None => None,
            Some(path) => {
                let text = io::settings_file_content(std::path::Path::new(path))
                    .map_err(|why| format!("the settings file {path} {why}"))?
                    .ok_or_else(|| format!("the settings file {path} does not exist"))?;
                let file = SettingsFile::parse(&text)
                    .map_err(|why| format!("the settings file {path} {why}"))?;
                Some(file)
            }
        };
        let source = Named {
            arguments: &self.env,
            file,
        };
        Config::read(&source, Limits::default()).map_err(|error| error.to_string())
    }

    fn arguments(&self, event: &Event, question: &Question) -> String {
        let finding = &question.finding;
        let matched = format!("{} {}", shown::line(&finding.matched), finding.reason);
        let operation = operation(self.host.name, event);
        let members = [
            ("category", finding.category.name()),
            ("action", question.action.as_str()),
            ("details", question.details.as_str()),
            ("cwd", event.folder.as_str()),
            ("host", self.host.name),
            ("tool", event.tool.as_str()),
            ("matched", matched.as_str()),
            ("operation", operation.as_str()),
        ];
        let quoted: Vec<(&str, String)> = members
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (*name, quote(value)))
            .collect();
        object(quoted.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// A line of the local record.
    fn log(&self, tool: &str, rule: &str, verdict: &str, by: &str) {
        let line = format!(
            "guard {} {}: {verdict} ({by}): {rule}",
            self.host.name,
            shown::line(tool)
        );
        let of_settings = || self.config().ok()?.log_file;
        // A relative one would lie in whatever repository the host works in.
        let file = self.log_file.clone().or_else(of_settings);
        match file.filter(|path| path.starts_with('/')) {
            Some(path) => io::log_line(&path, &line),
            // A dry run that told nobody would be of no use.
            None if self.dry_run => drop(io::write_answer("", &format!("{NAME}: {line}\n"))),
            None => {}
        }
    }
}

const NAME: &str = "aerostack guard";
const AGAIN: &str = "Do not try another way to the same effect";

/// The settings of a hook.
struct Named<'a> {
    arguments: &'a [(String, String)],
    file: Option<SettingsFile>,
}

impl Source for Named<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.arguments.iter().rev().find(|(given, _)| given == name);
        let value = given.map(|(_, value)| value.as_str());
        value
            .or_else(|| self.file.as_ref()?.get(name))
            .map(str::to_owned)
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let arguments = self.arguments.iter().map(|(name, _)| name.as_str());
        let file = self.file.iter().flat_map(SettingsFile::names);
        let mut all: Vec<String> = arguments
            .chain(file)
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        all.sort();
        all.dedup();
        all
    }

    fn file(&self, path: &str) -> Result<String, String> {
        io::short_text(path, RULES_MAX_BYTES).ok_or_else(|| "it can not be read".to_owned())
    }
}

/// What names the operation: a consent for one content is never spent on another. Each part is preceded by its
/// length, so that no two operations have the same bytes.
fn operation(host: &str, event: &Event) -> String {
    let parts = [
        host,
        &event.session,
        &event.tool,
        &event.folder,
        &event.input,
    ];
    let mut all = Vec::new();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend(part.as_bytes());
    }
    sha256(&all)
}
