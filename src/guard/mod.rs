//! The enforced guardian: `--guard HOST` is a hook that an AI tool starts before each of its own tools runs.
//!
//! It reads one event on stdin, judges it by a table, and says nothing where no row fits: a hook runs before
//! every call, so that path opens no file that it was not told of and no connection. Where a row fits, a person is
//! asked in the workspace; anything but their approval is a no. It never fails open by its own doing.
//!
//! ```text
//!   stdin ─▶ hosts (event) ─▶ operation ─▶ judge ◀─ risk, paths, rules
//!                                           │ a row fits
//!                                           ▼
//!   stdout, exit code ◀─ hosts (words) ◀─ verdict ◀─ ask (over the bridge)
//! ```

mod ask;
mod calls;
mod disk;
mod event;
mod glob;
mod hook;
pub mod hosts;
mod judge;
mod operation;
mod paths;
mod places;
mod risk;
mod rows;
mod rules;
mod shell;
mod shown;

pub use disk::Disk;
pub use event::Event;
pub use hook::Hook;
pub(crate) use hook::Offline;
pub(crate) use risk::Category;

use rules::{Pattern, Rules};

/// The largest event that is read. An AI tool's largest is a file it writes.
pub(crate) const INPUT_MAX_BYTES: usize = 16 << 20;

/// What the guard asks of the disk and the system.
pub trait Files {
    /// The path without links, if it exists.
    fn real(&self, path: &str) -> Option<String>;
    /// Where a symbolic link leads, whether that exists or not.
    fn link(&self, path: &str) -> Option<String>;
    /// True where something is there.
    fn exists(&self, path: &str) -> bool;
    /// A text file, if it is one and not too large to be shown.
    fn text(&self, path: &str) -> Option<String>;
    /// True for the process of an AI tool that waits for us, and for our own.
    fn is_ours(&self, pid: u32) -> bool;
}

/// What belongs to the guard and is not to be changed: absolute paths without links.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// This program.
    pub program: Option<String>,
    /// The settings file, which holds the token.
    pub settings: Option<String>,
    /// The person's rules, the log, the hosts' files with our hooks.
    pub others: Vec<String>,
}

impl Own {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.program
            .iter()
            .chain(&self.settings)
            .chain(&self.others)
    }

    fn is_one_of_us(&self, path: &str) -> bool {
        self.all().any(|own| own == path)
    }

    /// True where a text in lower case holds a path of ours, from the root or from the home folder.
    fn is_named_in(&self, lower: &str, home: Option<&str>) -> bool {
        self.all().any(|own| {
            let own = own.to_ascii_lowercase();
            let home = home.map(str::to_ascii_lowercase);
            let below = home.and_then(|home| own.strip_prefix(&home));
            lower.contains(below.filter(|path| path.len() > 8).unwrap_or(&own))
        })
    }

    /// True where one of ours lies in this folder.
    fn is_within(&self, folder: &str) -> bool {
        self.all().any(|own| paths::within(own, folder))
    }

    /// True where the pattern of `pkill` may name this process.
    fn is_named(&self, pattern: &str) -> bool {
        let line = format!(
            "{} aerostack-gateway --guard",
            self.program.as_deref().unwrap_or_default()
        );
        line.contains(pattern)
    }
}

/// How much is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guarded {
    /// What the table says.
    #[default]
    Risky,
    /// Every command and every write, too.
    All,
}

/// What is known before an event comes.
#[derive(Debug, Default)]
pub struct Settings {
    rules: Rules,
    guarded: Guarded,
    own: Own,
    home: Option<String>,
}

impl Settings {
    /// The settings; `rules` is the text of the person's file. The error says what is wrong with that.
    pub fn new(
        rules: Option<&str>,
        guarded: Guarded,
        own: Own,
        home: Option<String>,
    ) -> Result<Self, String> {
        let rules = rules.map_or_else(|| Ok(Rules::default()), Rules::read)?;
        Ok(Self {
            rules,
            guarded,
            own,
            home,
        })
    }
}

/// What a rule saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of what kind it is.
    pub category: Category,
    /// The words that it is about.
    pub matched: String,
    /// Why that is risky.
    pub reason: String,
    /// The person's own rules deny it without asking.
    pub denied: bool,
    /// A rule of the person's own, not one of the table.
    is_of_rule: bool,
}

impl Finding {
    fn new(category: Category, matched: &str, reason: &str) -> Self {
        Self {
            category,
            matched: matched.to_owned(),
            reason: reason.to_owned(),
            denied: false,
            is_of_rule: false,
        }
    }

    fn of_rule(rule: &Pattern, matched: &str) -> Self {
        let verb = if rule.denies { "denied" } else { "asked about" };
        Self {
            category: Category::Other,
            matched: matched.to_owned(),
            reason: format!("is {verb} by your rule {:?}", rule.text),
            denied: rule.denies,
            is_of_rule: true,
        }
    }
}

/// What the guard thinks of an event before anybody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: the AI tool goes on as it would without us.
    Silent,
    /// A person is to be asked.
    Ask(Question),
    /// No, and why, without asking anybody.
    Deny(Finding),
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the rule saw.
    pub finding: Finding,
    /// The exact command, or the file and what is done to it.
    pub action: String,
    /// The content, or a diff of it.
    pub details: String,
}

/// Judges an event.
pub fn judge(event: &Event, settings: &Settings, files: &dyn Files) -> Judgement {
    operation::judge(event, settings, files)
}

/// What would be said of a command line, and why: for a person who wonders.
pub fn explain(text: &str, folder: &str, settings: &Settings, files: &dyn Files) -> String {
    let event = Event::of_command(text, folder);
    match judge(&event, settings, files) {
        Judgement::Silent if settings.rules.allows(text) => {
            "silent: your rules allow exactly this\n".to_owned()
        }
        Judgement::Silent => {
            "silent: no rule fits, the AI tool goes on as it would without the guard\n".to_owned()
        }
        Judgement::Ask(Question { finding, .. }) => {
            format!(
                "ask ({}): {} {}\n",
                finding.category.name(),
                shown::line(&finding.matched),
                finding.reason
            )
        }
        Judgement::Deny(finding) => format!(
            "deny: {} {}\n",
            shown::line(&finding.matched),
            finding.reason
        ),
    }
}
