//! A hook's event, whatever the host: who asks, where, and what is to happen.

use super::operation::Operation;
use crate::proto::jsonrpc;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What a host is about to do.
#[derive(Debug)]
pub struct Event {
    /// The host's session.
    pub session: String,
    /// The host's name of its tool.
    pub tool: String,
    /// The folder that the tool runs in.
    pub folder: String,
    /// How much the host asks by itself ("default", "bypassPermissions"); empty where it does not say.
    pub mode: String,
    /// The tool's whole input as it came.
    pub input: String,
    pub(super) operation: Operation,
    /// The host can type into a shell that is open, and asks no hook then.
    pub(super) open_shells: bool,
}

/// An event that can not be read: it is denied, and this says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Event {
    /// An event of a shell command, for `--guard-explain`.
    pub(super) fn of_command(text: &str, folder: &str) -> Event {
        Event {
            session: String::new(),
            tool: String::new(),
            folder: folder.to_owned(),
            mode: String::new(),
            input: String::new(),
            operation: Operation::Command(text.to_owned()),
            open_shells: false,
        }
    }
}

/// The members of a JSON object. A name that is asked for must stand there once: two parsers would not agree
/// which of two counts.
pub(super) struct Fields<'a>(Vec<(String, &'a str)>);

impl<'a> Fields<'a> {
    pub(super) fn read(raw: &'a str, what: &str) -> Result<Self, Malformed> {
        // The whole text is one value: what stands behind it could be read by somebody else.
        let whole: Option<&RawValue> = serde_json::from_str(raw).ok();
        match whole.and_then(|whole| jsonrpc::members(whole.get())) {
            Some(members) => Ok(Self(members)),
            None => Err(Malformed(format!("{what} is no JSON object"))),
        }
    }

    /// A member as it is written.
    pub(super) fn raw(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        let mut found = self
            .0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, raw)| *raw);
        match (found.next(), found.next()) {
            (first, None) => Ok(first.filter(|raw| *raw != "null")),
            _ => Err(Malformed(format!("{name:?} stands there twice"))),
        }
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.raw(name)? {
            None => Ok(None),
            Some(raw) => match jsonrpc::string(raw) {
                Some(text) => Ok(Some(text)),
                None => Err(Malformed(format!("{name:?} is no string"))),
            },
        }
    }

    /// A member that must be there.
    pub(super) fn needed(&self, name: &str) -> Result<String, Malformed> {
        match self.text(name)? {
            Some(text) => Ok(text.into_owned()),
            None => Err(Malformed(format!("{name:?} is missing"))),
        }
    }

    /// A member that may be left out.
    pub(super) fn optional(&self, name: &str) -> Result<String, Malformed> {
        Ok(self.text(name)?.map(Cow::into_owned).unwrap_or_default())
    }
}
