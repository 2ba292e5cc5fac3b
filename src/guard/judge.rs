//! Judges a command line: every simple command in it, behind every wrapper, with every file it names.
//!
//! Owns the walk; what is risky stands in `risk`, where words lead in `places`. It never recurses and never
//! gives up quietly: where a limit is reached, a person is asked.

mod command;
mod database;
mod pipes;
mod programs;

pub(super) use command::is_script_option;

use super::places::{Found, Places};
use super::risk::{self, Category};
use super::rules::Rules;
use super::shell::{self, Part, Simple, Word};
use super::{Files, Finding, Own, glob, rows};
use pipes::Outputs;
use std::collections::VecDeque;

/// Scripts within scripts that are followed.
const DEPTH_MAX: usize = 32;
/// Text that is split for one command line, nested scripts counted again.
const TEXT_MAX_BYTES: usize = 64 << 20;
/// Simple commands of one line.
const COMMANDS_MAX: usize = 50_000;
/// A word with its variables filled in; a longer one counts as unknown.
const WORD_MAX_BYTES: usize = 4 << 10;
/// Variables that are remembered.
const VARIABLES_MAX: usize = 256;
/// Wrappers around one command.
const STARTS_MAX: usize = 64;

/// What surrounds a command.
pub(super) struct Scene<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) own: &'a Own,
    pub(super) home: Option<&'a str>,
    /// Where it runs.
    pub(super) folder: &'a str,
    pub(super) rules: &'a Rules,
    /// The host can type into a shell that is open, and asks no hook then.
    pub(super) open_shells: bool,
}

/// All that is risky in a command line, in its order; denied things first.
pub(super) fn command(text: &str, scene: &Scene<'_>) -> Vec<Finding> {
    let mut judge = Judge::new(text, scene);
    judge.queue.push_back((text.to_owned(), 0));
    if text.to_ascii_lowercase().contains("disableallhooks") {
        judge.find(
            Category::ConfigModify,
            "disableAllHooks",
            "switches hooks off",
        );
    }
    judge.run();
    judge.findings.sort_by_key(|finding| !finding.denied);
    judge.findings
}

/// What code in a language that is not split may do, by the words in it.
pub(super) fn code(text: &str, scene: &Scene<'_>) -> Vec<Finding> {
    let mut judge = Judge::new(text, scene);
    judge.search(text, "is a program in a line");
    judge.findings
}

/// What statements for a database do.
pub(super) fn statements(text: &str, matched: &str) -> Option<Finding> {
    database::writing_word(text, false).map(|word| {
        Finding::new(
            Category::Database,
            matched,
            &format!("gives a database statements with {word}"),
        )
    })
}

/// A word after the shell's expansions, as far as they can be known.
#[derive(Clone, Debug)]
struct Arg {
    text: String,
    /// Some of it is only known when it runs.
    opaque: bool,
    /// It holds the output of a command.
    substituted: bool,
    glob: bool,
    /// It is one of several values of a variable: only one of them is there when it runs.
    choice: bool,
}

/// What a command is given on its input.
#[derive(Clone, Debug, Default)]
struct Stdin {
    piped: bool,
    /// `< file`.
    file: bool,
    /// Here-documents, and what a plain `echo` pipes in.
    text: Option<String>,
    /// Some of the text is only known when it runs.
    opaque: bool,
}

struct Judge<'a> {
    table: Vec<risk::Row>,
    scene: &'a Scene<'a>,
    places: Places<'a>,
    variables: Vec<(String, Vec<Arg>)>,
    queue: VecDeque<(String, usize)>,
    findings: Vec<Finding>,
    whole: &'a str,
    left: usize,
    commands: usize,
    searched: bool,
}

impl<'a> Judge<'a> {
    fn new(text: &'a str, scene: &'a Scene<'a>) -> Self {
        Self {
            table: risk::rows().collect(),
            scene,
            places: Places::new(scene.files, scene.own, scene.home, scene.folder),
            variables: Vec::new(),
            queue: VecDeque::new(),
            findings: Vec::new(),
            whole: text,
            left: TEXT_MAX_BYTES,
            commands: 0,
            searched: false,
        }
    }

    fn run(&mut self) {
        while let Some((text, depth)) = self.queue.pop_front() {
            if depth > DEPTH_MAX || text.len() > self.left {
                self.find(
                    Category::Other,
                    &clip(&text),
                    "is nested too deeply to be looked through",
                );
                continue;
            }
            self.left -= text.len();
            let script = shell::split(&text);
            self.commands += script.commands.len();
            if self.commands > COMMANDS_MAX {
                return self.find(
                    Category::Other,
                    &clip(&text),
                    "has too many commands to be looked through",
                );
            }
            let mut outputs = Outputs::default();
            for simple in &script.commands {
                let upstream = outputs.read_by(simple);
                outputs.push(self.simple(simple, upstream, depth));
            }
            if script.broken {
                self.search(&text, "can not be split");
            }
            self.queue
                .extend(script.nested.into_iter().map(|text| (text, depth + 1)));
        }
        if self.places.is_exhausted() {
            self.find(
                Category::Other,
                &clip(self.whole),
                "names too many files to be looked through",
            );
        }
    }

    fn find(&mut self, category: Category, matched: &str, reason: &str) {
        self.findings.push(Finding::new(category, matched, reason));
    }

    /// Looks at a simple command; returns what it writes if that can be seen.
    fn simple(
        &mut self,
        simple: &Simple,
        upstream: Option<String>,
        depth: usize,
    ) -> Option<String> {
        for (name, value) in &simple.assigns {
            let value = self.expand(value);
            self.assigned(name, &value);
            // What it was before it may still be: the new value may stand behind a condition.
            if self.variables.len() == VARIABLES_MAX {
                self.variables.retain(|(known, _)| known != name);
                continue;
            }
            self.remember(name, value);
        }
        for redirect in &simple.redirects {
            self.redirect(&redirect.target, redirect.writes, redirect.truncates);
        }
        let mut stdin = Stdin {
            piped: simple.piped,
            file: simple.redirects.iter().any(|redirect| !redirect.writes),
            text: upstream,
            opaque: simple.here.iter().any(Word::is_opaque),
        };
        if !simple.here.is_empty() {
            stdin.text = Some(simple.here.iter().map(Word::shown).collect());
            stdin.piped = false;
        }
        let args: Vec<Arg> = simple
            .words
            .iter()
            .flat_map(|word| self.expand(word))
            .collect();
        if simple.data {
            self.loop_variable(&args);
            return None;
        }
        if args.is_empty() {
            return stdin.text;
        }
        self.arguments(&args, &stdin, depth);
        let literal = args.iter().all(|arg| !arg.opaque);
        let name = program(&args[0].text);
        match name.as_str() {
            "echo" | "printf" if literal => Some(
                args[1..]
                    .iter()
                    .map(|arg| arg.text.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
                    .replace("\\n", "\n")
                    .replace("\\t", "\t"),
            ),
            "cat" if args.len() == 1 && !stdin.opaque => stdin.text,
            _ => None,
        }
    }

    /// `for name in words`: the name may be any of the words.
    fn loop_variable(&mut self, args: &[Arg]) {
        if let [name, word, values @ ..] = args
            && word.text == "in"
        {
            let values = values.to_vec();
            self.remember(&name.text, values);
        }
    }

    fn remember(&mut self, name: &str, values: Vec<Arg>) {
        if self.variables.len() < VARIABLES_MAX {
            self.variables.push((name.to_owned(), values));
        }
    }

    /// Variables that change what other commands do.
    fn assigned(&mut self, name: &str, value: &[Arg]) {
        const RUNS: risk::Words = risk::Words(
            "LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES BASH_ENV ENV PROMPT_COMMAND \
             GIT_SSH_COMMAND GIT_EXTERNAL_DIFF GIT_EDITOR GIT_SEQUENCE_EDITOR PAGER GIT_PAGER \
             EDITOR VISUAL LESSOPEN GIT_ASKPASS SSH_ASKPASS",
        );
        if RUNS.contains(name) {
            self.queue
                .extend(value.iter().map(|value| (value.text.clone(), 1)));
        }
    }

    /// The words that a word becomes.
    fn expand(&self, word: &Word) -> Vec<Arg> {
        let mut args = vec![Arg {
            text: String::new(),
            opaque: false,
            substituted: false,
            glob: word.glob,
            choice: false,
        }];
        for (at, part) in word.parts.iter().enumerate() {
            let values = self.values(part, at == 0 && word.tilde);
            // All values of a loop, as words of their own: a few, or else unknown.
            let longest = args.iter().map(|arg| arg.text.len()).max().unwrap_or(0);
            let added = values.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
            let filled_in = matches!(part, Part::Variable(_));
            let too_much =
                args.len() * values.len() > 64 || filled_in && longest + added > WORD_MAX_BYTES;
            let values = match too_much {
                true => vec![("${…}".to_owned(), true)],
                false => values,
            };
            let substituted = *part == Part::Substitution;
            if let [(text, opaque)] = values.as_slice() {
                for arg in &mut args {
                    arg.text.push_str(text);
                    arg.opaque |= opaque;
                    arg.substituted |= substituted;
                }
                continue;
            }
            args = args
                .iter()
                .flat_map(|arg| {
                    values.iter().map(|(text, opaque)| Arg {
                        text: format!("{}{text}", arg.text),
                        opaque: arg.opaque || *opaque,
                        substituted: arg.substituted || substituted,
                        glob: arg.glob,
                        choice: true,
                    })
                })
                .collect();
        }
        let splits = !word.quoted
            && word
                .parts
                .iter()
                .any(|part| matches!(part, Part::Variable(_)));
        if splits && args.iter().any(|arg| arg.text.contains([' ', '\t', '\n'])) {
            let split = |arg: &Arg| {
                let words = arg.text.split_whitespace().map(str::to_owned);
                words
                    .map(|text| Arg {
                        text,
                        ..arg.clone()
                    })
                    .collect::<Vec<_>>()
            };
            args = args.iter().flat_map(split).collect();
        }
        args
    }

    /// What a part of a word may stand for, and whether that is only known when it runs.
    fn values(&self, part: &Part, tilde: bool) -> Vec<(String, bool)> {
        match part {
            Part::Text(text) => {
                match (text.strip_prefix('~').filter(|_| tilde), self.places.home()) {
                    (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                        vec![(format!("{home}{rest}"), false)]
                    }
                    _ => vec![(text.clone(), false)],
                }
            }
            Part::Variable(name) => self.variable(name),
            Part::Unknown => vec![("${…}".to_owned(), true)],
            Part::Substitution => vec![("$(…)".to_owned(), true)],
        }
    }

    fn variable(&self, name: &str) -> Vec<(String, bool)> {
        let known: Vec<(String, bool)> = self
            .variables
            .iter()
            .filter(|(known, _)| known == name)
            .flat_map(|(_, values)| {
                values
                    .iter()
                    .map(|value| (value.text.clone(), value.opaque || value.glob))
            })
            .collect();
        if !known.is_empty() {
            return known;
        }
        match (name, self.places.home()) {
            ("HOME", Some(home)) => vec![(home.to_owned(), false)],
            // What the script itself has started last; no program of the table's has such a name.
            ("!", _) => vec![("%%".to_owned(), false)],
            ("PWD", _) if !self.places.lost => vec![(self.places.folder().to_owned(), false)],
            _ => vec![(format!("${name}"), true)],
        }
    }

    fn redirect(&mut self, word: &Word, writes: bool, truncates: bool) {
        for arg in self.expand(word) {
            let shown = format!("{} {}", if writes { ">" } else { "<" }, arg.text);
            if !writes {
                if self.places.tells_secrets(&arg.text, false) {
                    self.find(
                        Category::ConfigModify,
                        &shown,
                        "reads the guard's settings, which hold the token",
                    );
                }
                continue;
            }
            if let Some(rule) = self.scene.rules.path(&arg.text, self.scene.folder) {
                self.findings.push(Finding::of_rule(rule, &shown));
            }
            let unknown = arg.opaque || self.places.lost && !arg.text.starts_with('/');
            match self.places.changed(&arg.text) {
                Found::Protected(reason) => {
                    self.find(
                        Category::ConfigModify,
                        &shown,
                        &format!("writes to a file that {reason}"),
                    );
                }
                _ if unknown => {
                    self.find(
                        Category::ConfigModify,
                        &shown,
                        "writes to a file whose name is only known when it runs",
                    );
                }
                Found::Outside if truncates => {
                    self.find(
                        Category::FileDelete,
                        &shown,
                        "overwrites a file outside the project",
                    );
                }
                Found::Outside | Found::Nothing => {}
            }
        }
    }

    /// Looks for words of the table in a text that can not be split.
    fn search(&mut self, text: &str, why: &str) {
        let lower = text.to_ascii_lowercase();
        let words = words_of(&lower);
        if let Some(row) = self
            .table
            .iter()
            .find(|row| rows::stands_in(row.pattern, &words))
        {
            let reason = format!("{why}, and holds words of what {}", row.reason);
            return self.find(row.category, &clip(text), &reason);
        }
        if risk::CODE.iter().any(|word| lower.contains(word)) {
            return self.find(
                Category::FileDelete,
                &clip(text),
                "is code that may delete files or data",
            );
        }
        if self.scene.own.is_named_in(&lower, self.scene.home) {
            let why = format!("{why}, and names a file of this guard");
            return self.find(Category::ConfigModify, &clip(text), &why);
        }
        let places = words.iter().find_map(|word| super::paths::protected(word));
        if let Some(reason) = places {
            self.find(
                Category::ConfigModify,
                &clip(text),
                &format!("{why}, and names a file that {reason}"),
            );
        }
    }
}

/// What may be words in a text that can not be split.
fn words_of(text: &str) -> Vec<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./~:=@%+-*".contains(c);
    text.split(|c| !plain(c))
        .filter(|word| !word.is_empty())
        .collect()
}

/// A program's name: without its folder, in lower case, without what says which version.
pub(super) fn program(text: &str) -> String {
    let name = text.rsplit('/').next().unwrap_or(text);
    // `npx @railway/cli@3 up`.
    let scope = text.strip_prefix('@').and_then(|text| text.split_once('/'));
    let name = match scope {
        Some((scope, rest)) if rest == "cli" || rest.starts_with("cli@") => scope,
        _ => name,
    };
    let name = name.strip_prefix('=').unwrap_or(name).to_ascii_lowercase();
    let name = match name.find('@') {
        Some(at) if at > 0 => &name[..at],
        _ => &name,
    };
    let name = name.strip_suffix(".exe").unwrap_or(name);
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let known = |list: &risk::Words| list.contains(short);
    match known(&risk::INTERPRETERS) || known(&risk::SHELLS) {
        true => short.to_owned(),
        false => name.to_owned(),
    }
}

/// The beginning of a long text.
fn clip(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The arguments as they are shown.
fn joined(args: &[Arg]) -> String {
    let words: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
    clip(&words.join(" "))
}
