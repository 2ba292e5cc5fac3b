//! The host's side of stdio: lines in, lines out.
//!
//! Owns the cut into lines and batches, which ids are in use, and that each request gets one answer.
//! It never knows what a request is about.

mod batch;
mod progress;

use super::Output;
use super::context::Context;
use super::ids::{Era, Ticket};
use super::request::{Cancel, Request, era};
use crate::proto::jsonrpc::{self, Invalid, Kind, Message, Meta, Params, Parsed};
use crate::proto::line::{Line, LineReader};
use crate::table::Table;
use batch::{BatchId, Batches};
use progress::{Progress, Told};
use std::collections::VecDeque;
use std::rc::Rc;

const PROGRESS: &str = "notifications/progress";

/// What a line that waits for stdout costs beside its bytes: its place in the queue, its allocation.
const LINE_COST_BYTES: usize = 48;

/// What the host wants.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request: it gets exactly one answer under this ticket, unless it is cancelled.
    Request(Ticket, Box<Request>),
    /// `notifications/initialized` of the legacy era.
    Initialized(Rc<str>),
    /// Another notification, or the host's answer to a request of the workspace.
    Notification(Rc<str>, Era),
    /// The host takes a request back: `None` if that is answered already, or was never known.
    Cancelled(Option<Ticket>, Cancel),
}

/// A request of the host that has no answer yet.
#[derive(Debug)]
struct Open {
    raw_id: Box<str>,
    batch: Option<BatchId>,
    /// What the host has been told of its progress.
    progress: Progress,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Host {
    lines: LineReader,
    next: u64,
    open: Table<Ticket, Box<Open>>,
    by_raw_id: Table<Box<str>, Ticket>,
    /// Requests whose host wants to hear of progress, by raw token.
    by_token: Table<Box<str>, Ticket>,
    batches: Batches,
    events: VecDeque<Event>,
    /// Bytes given to stdout since it was last drained, as memory holds them.
    stdout_bytes: usize,
}

impl Host {
    pub(crate) fn new(line_max_bytes: usize) -> Self {
        Self {
            lines: LineReader::new(line_max_bytes),
            next: 0,
            open: Table::new(),
            by_raw_id: Table::new(),
            by_token: Table::new(),
            batches: Batches::default(),
            events: VecDeque::new(),
            stdout_bytes: 0,
        }
    }

    /// Bytes from the host, taken from the front up to the end of the next line: drain the events,
    /// then call again until nothing is left.
    pub(crate) fn handle_bytes(&mut self, ctx: &mut Context, bytes: &mut &[u8]) {
        let mut lines = std::mem::replace(&mut self.lines, LineReader::new(0));
        if let Some(line) = lines.feed(bytes) {
            self.line(ctx, line);
        }
        self.lines = lines;
    }

    /// End of input: a last line without newline counts.
    pub(crate) fn handle_end(&mut self, ctx: &mut Context) {
        let mut lines = std::mem::replace(&mut self.lines, LineReader::new(0));
        if let Some(line) = lines.finish() {
            self.line(ctx, line);
        }
        self.lines = lines;
    }

    /// Everything for stdout has been written.
    pub(crate) fn handle_drained(&mut self) {
        self.stdout_bytes = 0;
    }

    /// The next thing that the host wants.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The answer to a request; it bears the request's id.
    pub(crate) fn answer(&mut self, ctx: &mut Context, ticket: Ticket, answer: Vec<u8>) {
        if let Some(open) = self.close(ticket) {
            self.reply(ctx, open.batch, Some(answer));
        }
    }

    /// A request was taken back: it gets no answer.
    pub(crate) fn forget(&mut self, ctx: &mut Context, ticket: Ticket) {
        if let Some(Open {
            batch: Some(batch), ..
        }) = self.close(ticket)
        {
            self.reply(ctx, Some(batch), None);
        }
    }

    /// A message of the workspace or of the gateway for the host.
    pub(crate) fn tell(&mut self, ctx: &mut Context, mut message: Vec<u8>) {
        jsonrpc::end_line(&mut message);
        self.stdout_bytes += message.capacity() + LINE_COST_BYTES;
        ctx.emit(Output::Stdout(message));
    }

    /// A message of the workspace for the host. Progress grows, whatever the gateway said in between.
    pub(crate) fn forward(&mut self, ctx: &mut Context, message: Vec<u8>) {
        let message = self.growing(message);
        self.tell(ctx, message);
    }

    fn growing(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        // Only where the gateway reports progress, too, and few notifications are of this kind.
        if self.by_token.is_empty() {
            return bytes;
        }
        let Ok(Parsed::One(message)) = jsonrpc::parse(&bytes) else {
            return bytes;
        };
        let told = (message.method == PROGRESS).then(|| Told::read(message.params));
        let Some(told) = told.flatten() else {
            return bytes;
        };
        let ticket = self.by_token.get(told.token);
        let number = ticket
            .and_then(|ticket| self.open.get_mut(ticket))
            .and_then(|open| open.progress.follow(told.progress));
        match number {
            Some(number) => {
                let place = jsonrpc::range_in(message.text, told.progress);
                jsonrpc::splice(message.text, &[(place, &number)])
            }
            None => bytes,
        }
    }

    /// The host of a request that wants to hear of progress is told that it goes on.
    pub(crate) fn report_progress(&mut self, ctx: &mut Context, ticket: Ticket, words: &str) {
        let Some(open) = self.open.get_mut(&ticket) else {
            return;
        };
        let number = open.progress.next();
        let Some(token) = open.progress.token() else {
            return;
        };
        let words = jsonrpc::quote(words);
        let params = jsonrpc::object([
            ("progressToken", token),
            ("progress", number.as_str()),
            ("message", words.as_str()),
        ]);
        self.tell(ctx, jsonrpc::notification(PROGRESS, Some(&params)));
    }

    /// The workspace is there after all: what was listed before has changed.
    pub(crate) fn tell_lists_changed(&mut self, ctx: &mut Context) {
        for list in ["tools", "resources", "prompts"] {
            let method = format!("notifications/{list}/list_changed");
            self.tell(ctx, jsonrpc::notification(&method, None));
        }
    }

    /// The raw id of a request that has no answer yet.
    pub(crate) fn raw_id(&self, ticket: Ticket) -> Option<&str> {
        self.open.get(&ticket).map(|open| &*open.raw_id)
    }

    /// Requests that have no answer yet.
    pub(crate) fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Bytes that wait: the line that is being read, and joined answers of batches.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lines.buffered() + self.batches.bytes()
    }

    /// Bytes that wait for stdout.
    pub(crate) fn stdout_bytes(&self) -> usize {
        self.stdout_bytes
    }

    /// stdin is read until the budget is used up or too many requests have no answer; answers make
    /// room again. A line that is longer than the budget is still read to its end.
    pub(crate) fn settle(&mut self, ctx: &mut Context) {
        let limits = ctx.limits();
        let (count, most) = (self.open.len(), limits.requests_max);
        let own = self.lines.buffered();
        let others = ctx.bytes_from_host().saturating_sub(own);
        let full = limits.held_max_bytes;
        let is_paused = ctx.is_stdin_paused();
        if !is_paused && (count >= most || others >= full) {
            ctx.note_stdin_paused(true);
            ctx.emit(Output::PauseStdin);
        } else if is_paused && count <= most * 3 / 4 && ctx.has_room(others) {
            ctx.note_stdin_paused(false);
            ctx.emit(Output::ResumeStdin);
        }
    }

    fn close(&mut self, ticket: Ticket) -> Option<Open> {
        let open = self.open.remove(&ticket)?;
        self.by_raw_id.remove(&open.raw_id);
        if let Some(token) = open.progress.token()
            && self.by_token.get(token) == Some(&ticket)
        {
            self.by_token.remove(token);
        }
        Some(*open)
    }

    fn reply(&mut self, ctx: &mut Context, batch: Option<BatchId>, answer: Option<Vec<u8>>) {
        let message = match batch {
            None => answer,
            Some(batch) => self.batches.done(batch, answer.as_deref()),
        };
        if let Some(message) = message {
            self.tell(ctx, message);
        }
    }

    fn line(&mut self, ctx: &mut Context, line: Line<'_>) {
        let text = match line {
            Line::Complete(text) => text,
            Line::TooLong(prefix) => return self.too_long(ctx, prefix),
        };
        match jsonrpc::parse(text) {
            Ok(Parsed::One(message)) => self.message(ctx, &message, None),
            Ok(Parsed::Batch(members)) => self.batch(ctx, &members),
            Err(invalid) => self.invalid(ctx, invalid),
        }
    }

    fn invalid(&mut self, ctx: &mut Context, invalid: Invalid) {
        let (code, words) = match invalid {
            Invalid::Json => (
                -32700,
                "parse error: this line is not JSON; it was not forwarded".to_owned(),
            ),
            Invalid::Message => (
                -32600,
                "invalid request: this is neither a JSON-RPC request, notification nor response; \
                 it was not forwarded"
                    .to_owned(),
            ),
            Invalid::BatchTooLong => (
                -32600,
                format!(
                    "this batch has more than {} messages, the limit for one line; nothing of it \
                     was forwarded",
                    jsonrpc::BATCH_MAX
                ),
            ),
        };
        self.tell(ctx, jsonrpc::error("null", code, &words, None));
    }

    fn too_long(&mut self, ctx: &mut Context, prefix: &[u8]) {
        let limit = ctx.limits().line_max_bytes;
        let words = format!(
            "this message is longer than {limit} bytes, the limit for one line; it was not forwarded"
        );
        let id = jsonrpc::id_in_prefix(prefix).unwrap_or("null");
        let data = Some("{\"executed\":\"no\"}");
        self.tell(ctx, jsonrpc::error(id, -32600, &words, data));
    }

    /// A batch is split: from 2025-06-18 on every message is a POST of its own. "Each Response object
    /// SHOULD exist for each Request object", but none for notifications (JSON-RPC 2.0, section 6).
    fn batch(&mut self, ctx: &mut Context, members: &[&str]) {
        if members.is_empty() {
            return self.invalid(ctx, Invalid::Message);
        }
        let parsed: Vec<_> = members
            .iter()
            .map(|text| jsonrpc::parse_one(text))
            .collect();
        let wants_answer =
            |m: &&Result<Message<'_>, _>| !matches!(m, Ok(m) if m.kind != Kind::Request);
        let answers = parsed.iter().filter(wants_answer).count();
        let batch = (answers > 0).then(|| self.batches.begin(answers));
        for member in parsed {
            match member {
                Ok(message) => self.message(ctx, &message, batch),
                Err(_) => {
                    let error = jsonrpc::error("null", -32600, "invalid request in a batch", None);
                    self.reply(ctx, batch, Some(error));
                }
            }
        }
    }

    fn message(&mut self, ctx: &mut Context, message: &Message<'_>, batch: Option<BatchId>) {
        let params = Params::peek(message.params);
        let meta = Meta::peek(params.meta);
        let event = match message.kind {
            Kind::Request => {
                let request = Box::new(Request::new(message, &params, &meta));
                return self.request(ctx, request, batch);
            }
            Kind::Notification => match (message.method.as_ref(), era(message, &meta)) {
                ("notifications/cancelled", era) => match Cancel::new(message, &params) {
                    Some(cancel) => {
                        let ticket = self.by_raw_id.get(cancel.request_id()).copied();
                        Event::Cancelled(ticket, cancel)
                    }
                    None => Event::Notification(message.text.into(), era),
                },
                ("notifications/initialized", Era::Legacy) => {
                    Event::Initialized(message.text.into())
                }
                (_, era) => Event::Notification(message.text.into(), era),
            },
            Kind::Response => Event::Notification(message.text.into(), Era::Legacy),
        };
        self.events.push_back(event);
    }

    fn request(&mut self, ctx: &mut Context, request: Box<Request>, batch: Option<BatchId>) {
        let raw_id: Box<str> = request.id().into();
        if self.by_raw_id.contains_key(&raw_id) {
            let words = format!(
                "{} uses the id of a request that is still being worked on; it was not forwarded",
                request.label()
            );
            let data = Some("{\"executed\":\"no\"}");
            let error = jsonrpc::error(&raw_id, -32600, &words, data);
            return self.reply(ctx, batch, Some(error));
        }
        self.next += 1;
        let ticket = Ticket(self.next);
        self.by_raw_id.insert(raw_id.clone(), ticket);
        let progress = Progress::of(request.progress_token());
        if let Some(token) = progress.token() {
            self.by_token.insert(token.into(), ticket);
        }
        let open = Open {
            raw_id,
            batch,
            progress,
        };
        self.open.insert(ticket, Box::new(open));
        self.events.push_back(Event::Request(ticket, request));
    }
}

#[cfg(test)]
mod tests;
