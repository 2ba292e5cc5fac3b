//! Simple commands and their words, as they were written.

use std::borrow::Cow;

/// A simple command: assignments, words and redirections.
#[derive(Debug, Default)]
pub(in crate::guard) struct Simple {
    /// `NAME=value` in front of the command.
    pub(in crate::guard) assigns: Vec<(String, Word)>,
    /// The command and its arguments.
    pub(in crate::guard) words: Vec<Word>,
    /// Files that are read or written.
    pub(in crate::guard) redirects: Vec<Redirect>,
    /// Here-documents and here-strings.
    pub(in crate::guard) here: Vec<Word>,
    /// Its input is the output of what stands before it.
    pub(in crate::guard) piped: bool,
    /// It reads what all commands from this one on put out: they are a group.
    pub(in crate::guard) source: Option<usize>,
    /// The words of `for … in`, `case … in`: data, no command.
    pub(in crate::guard) data: bool,
}

/// `> file`.
#[derive(Debug)]
pub(in crate::guard) struct Redirect {
    /// False for `<`.
    pub(in crate::guard) writes: bool,
    /// False for `>>`.
    pub(in crate::guard) truncates: bool,
    /// The file.
    pub(in crate::guard) target: Word,
}

/// A word, quotes removed.
#[derive(Clone, Debug, Default)]
pub(in crate::guard) struct Word {
    /// What it is made of.
    pub(in crate::guard) parts: Vec<Part>,
    /// Some of it was quoted.
    pub(in crate::guard) quoted: bool,
    /// It begins with a `~` that the shell expands.
    pub(in crate::guard) tilde: bool,
    /// It holds `*`, `?`, `[` or `{…,…}` that the shell expands.
    pub(in crate::guard) glob: bool,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::guard) enum Part {
    /// As it stands.
    Text(String),
    /// `$NAME` or `${NAME}`.
    Variable(String),
    /// Anything else that only a shell can know.
    Unknown,
    /// The output of a command.
    Substitution,
}

impl Word {
    /// The word if the shell changes nothing in it.
    pub(in crate::guard) fn literal(&self) -> Option<Cow<'_, str>> {
        match self.parts.as_slice() {
            _ if self.glob => None,
            [] => Some(Cow::Borrowed("")),
            [Part::Text(text)] => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// The word as it can be shown: expansions by their names.
    pub(in crate::guard) fn shown(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Cow::Borrowed(text.as_str()),
                Part::Variable(name) => Cow::Owned(format!("${name}")),
                Part::Unknown => Cow::Borrowed("${…}"),
                Part::Substitution => Cow::Borrowed("$(…)"),
            })
            .collect()
    }

    /// True where a part is only known when it runs.
    pub(in crate::guard) fn is_opaque(&self) -> bool {
        !matches!(self.parts.as_slice(), [] | [Part::Text(_)])
    }

    pub(super) fn plain(&self) -> &str {
        match self.parts.as_slice() {
            [Part::Text(text)] if !self.quoted => text,
            _ => "",
        }
    }

    pub(super) fn push(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}
