//! Calls of a built-in tool that have no answer yet, and how they get it.

use super::Event;
use crate::bridge::context::tool_text;
use crate::bridge::ids::{Era, Ticket};
use crate::bridge::request::Request;
use crate::proto::jsonrpc;
use crate::table::Table;

/// See the module. How many there are is the host's limit.
#[derive(Debug, Default)]
pub(super) struct Calls(Table<Ticket, Asked>);

/// What an answer needs of its call.
#[derive(Debug)]
struct Asked {
    raw_id: Box<str>,
    era: Era,
}

impl Calls {
    /// A call that will be answered later.
    pub(super) fn open(&mut self, ticket: Ticket, request: &Request) {
        let (raw_id, era) = (request.id().into(), request.era());
        self.0.insert(ticket, Asked { raw_id, era });
    }

    /// Nobody waits for an answer any more.
    pub(super) fn drop(&mut self, ticket: Ticket) {
        self.0.remove(&ticket);
    }

    /// The calls that are open.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        self.0.keys().copied().collect()
    }

    /// Answers a call with a tool's result; `None` if it has its answer, or is gone.
    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        result: impl FnOnce(Era) -> String,
    ) -> Option<Event> {
        let Asked { raw_id, era } = self.0.remove(&ticket)?;
        let answer = jsonrpc::result(&raw_id, &result(era));
        Some(Event::Answer(ticket, answer))
    }

    /// The same with a text.
    pub(super) fn say(&mut self, ticket: Ticket, words: &str, is_error: bool) -> Option<Event> {
        self.answer(ticket, |era| tool_text(words, is_error, era))
    }
}
