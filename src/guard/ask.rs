//! Asks a person: an engine for the reactor that holds a [`Bridge`] and plays its host, as `--check` does.
//!
//! One session, one request, one socket; no presence, no chat, no event stream. It ends with the first of: an
//! answer, its deadline, a signal, a reader that has gone. The approval itself is never withdrawn: the process
//! just ends, so that the same operation, asked again, finds it.

use crate::bridge::{Bridge, Engine, Input, Now, Output};
use crate::config::{BuiltinTools, Config};
use crate::log::printable;
use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc::{self, Kind, Parsed, quote};
use crate::proto::secrets::Secrets;
use crate::proto::transport::{Close, CloseCause, Phase};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the first answer may take before the workspace counts as one that can not be reached.
const PATIENCE: Duration = Duration::from_secs(15);
/// A workspace that is busy is asked again until the deadline.
const ROUNDS_MAX: u8 = u8::MAX;
/// What is repeated of a person's note.
const NOTE_MAX_BYTES: usize = 2_000;

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A person said yes.
    Approved(String),
    /// Anything else, and why.
    No(String),
    /// Nothing of ours reached the workspace, and why.
    Unreachable(String),
}

/// One question.
#[derive(Debug)]
pub(super) struct Ask {
    bridge: Bridge,
    out: VecDeque<Output>,
    /// What is asked; `None`: only whether there is a guardian to ask.
    arguments: Option<String>,
    deadline: Instant,
    answer: Option<Answer>,
    /// A connection stood: from then on nothing proves that the workspace has not seen the question.
    reached: bool,
    /// Why none stood, if that was for reasons of the network alone.
    unreachable: bool,
}

/// Makes a configuration one for a question.
pub(super) fn prepare(config: &mut Config, deadline: Duration) {
    config.looks_only = true;
    config.hook = true;
    config.builtin_tools = BuiltinTools::On;
    config.chat_hints = false;
    config.approval_wait = None;
    config.approval_timeout = deadline;
    config.request_timeout = None;
    config.limits.rate_limit_wait_max = deadline;
    config.limits.rate_limit_rounds = ROUNDS_MAX;
    config.limits.initialize_patience = PATIENCE.min(deadline);
}

impl Ask {
    /// Begins to ask. `config` went through [`prepare`]; `arguments` are those of the guardian.
    pub(super) fn new(
        config: Config,
        arguments: Option<String>,
        deadline: Instant,
        seed: u64,
        now: Now,
    ) -> Self {
        let mut ask = Self {
            bridge: Bridge::new(config, seed, now),
            out: VecDeque::new(),
            arguments,
            deadline,
            answer: None,
            reached: false,
            unreachable: false,
        };
        let params = format!(
            "{{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"aerostack-gateway --guard\",\"version\":{}}}}}",
            quote(env!("CARGO_PKG_VERSION"))
        );
        ask.say(
            jsonrpc::request("\"initialize\"", "initialize", &params),
            now,
        );
        ask.drain(now);
        ask
    }

    /// The answer, once the engine has ended.
    pub(super) fn answer(self) -> Answer {
        let ended = || Answer::No("the guard ended before anybody had answered".to_owned());
        match self.answer {
            Some(Answer::No(why)) if self.unreachable && !self.reached => Answer::Unreachable(why),
            Some(answer) => answer,
            None => ended(),
        }
    }

    fn say(&mut self, mut line: Vec<u8>, now: Now) {
        jsonrpc::end_line(&mut line);
        self.bridge.handle_input(Input::Stdin(&line), now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.bridge.poll_output() {
            match output {
                Output::Stdout(line) => self.heard(&line, now),
                Output::Log(..) | Output::Failed(..) => {}
                Output::Exit(_) => self.end(Answer::No(
                    "the connection to the workspace ended".to_owned(),
                )),
                Output::Connect(..)
                | Output::Transmit(..)
                | Output::Pause(_)
                | Output::Resume(_)
                | Output::Close(_)
                | Output::PauseStdin
                | Output::ResumeStdin
                | Output::ReadToken(_) => self.out.push_back(output),
            }
        }
    }

    fn heard(&mut self, line: &[u8], now: Now) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(line) else {
            return;
        };
        if message.kind != Kind::Response {
            return;
        }
        if let Some((_, words)) = message.error.and_then(jsonrpc::error_parts) {
            // An error of the workspace comes with its own words; a model reads them, and the local record keeps them.
            let words = self.bridge.secrets().hide(&words);
            return self.end(Answer::No(printable(&words, NOTE_MAX_BYTES)));
        }
        match message.id {
            Some("\"initialize\"") => self.opened(message.result.unwrap_or_default(), now),
            Some("\"ask\"") => self.end(decision(message.result.unwrap_or_default())),
            _ => {}
        }
    }

    /// The session stands: the question follows, or the answer to whether it could.
    fn opened(&mut self, result: &str, now: Now) {
        self.say(
            jsonrpc::notification("notifications/initialized", None),
            now,
        );
        let Some(arguments) = self.arguments.take() else {
            let offered = Offer::of_result(result, &Secrets::default()).guardian;
            return self.end(match offered {
                true => Answer::Approved(String::new()),
                false => Answer::No(
                    "it can not be reached, or does not offer approvals of local operations"
                        .to_owned(),
                ),
            });
        };
        let params =
            format!("{{\"name\":\"aerostack__local_guardian\",\"arguments\":{arguments}}}");
        self.say(jsonrpc::request("\"ask\"", "tools/call", &params), now);
    }

    /// The first answer counts; the process ends with it.
    fn end(&mut self, answer: Answer) {
        if self.answer.is_none() {
            self.answer = Some(answer);
            self.out.push_back(Output::Exit(0));
        }
    }
}

impl Engine for Ask {
    fn handle_input(&mut self, input: Input<'_>, now: Now) {
        match &input {
            Input::Connected(..) => self.reached = true,
            Input::Closed(_, close) => self.unreachable = is_of_the_network(close),
            Input::Terminate => {
                return self.end(Answer::No("the guard was told to end".to_owned()));
            }
            Input::StdoutGone => {
                return self.end(Answer::No(
                    "nobody waits for the answer any more".to_owned(),
                ));
            }
            Input::StdoutDrained => return,
            Input::Stdin(_)
            | Input::StdinClosed
            | Input::Received(..)
            | Input::Sent(_)
            | Input::TokenRead(_)
            | Input::Timeout => {}
        }
        if self.answer.is_some() {
            return;
        }
        self.bridge.handle_input(input, now);
        self.drain(now);
        if self.deadline <= now.mono {
            self.end(Answer::No(
                "still waiting for approval in the dashboard: repeat the same operation".to_owned(),
            ));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let bridge = self.bridge.poll_timeout();
        Some(bridge.map_or(self.deadline, |due| due.min(self.deadline)))
    }
}

/// No name, no connection, or no end of the handshake in time. A certificate that is wrong is somebody's answer.
fn is_of_the_network(close: &Close) -> bool {
    let before = matches!(close.phase, Phase::Resolve | Phase::Connect | Phase::Tls);
    let silent = match close.cause {
        CloseCause::TimedOut | CloseCause::NotFound(_) => true,
        CloseCause::Io(_) => close.phase == Phase::Connect,
        CloseCause::Eof
        | CloseCause::TooManyFiles
        | CloseCause::Tls(_)
        | CloseCause::ProxyStatus(_)
        | CloseCause::ProxyProtocol
        | CloseCause::NotLoopback => false,
    };
    before && silent && !close.sent
}

/// The guardian's result in words.
fn decision(result: &str) -> Answer {
    let structured = jsonrpc::member(result, "structuredContent").unwrap_or("{}");
    let text = |name: &str| {
        let raw = jsonrpc::member(structured, name)?;
        jsonrpc::string(raw).map(|text| printable(&text, NOTE_MAX_BYTES))
    };
    let by = text("decided_by")
        .filter(|by| !by.is_empty())
        .map_or(String::new(), |by| format!(" by {by}"));
    let note = text("note")
        .filter(|note| !note.is_empty())
        .map_or(String::new(), |note| format!(": {note}"));
    match text("decision").as_deref() {
        Some("approved") => Answer::Approved(format!("approved{by}{note}")),
        Some("error") => Answer::No(note.trim_start_matches(": ").to_owned()),
        Some(word) => Answer::No(format!("{word}{by}{note}")),
        None => Answer::No("the workspace gave no decision".to_owned()),
    }
}

#[cfg(test)]
mod tests;
