//! `--check`: a diagnosis over the same engine and the same reactor.
//!
//! [`Check`] is an engine for the reactor that holds a [`Bridge`] and plays its host: it writes MCP
//! requests where stdin would be, reads the answers where stdout would be, and passes everything else
//! through. So what is diagnosed is exactly what would run. Each step has its deadline; the whole run
//! ends within ten seconds whatever hangs.

mod report;
mod steps;
mod verdict;

pub use report::Style;

use crate::bridge::{Bridge, Engine, Input, Now, Output};
use crate::config::{BuiltinTools, Config, SettingError};
use crate::proto::jsonrpc;
use crate::proto::transport::Established;
use report::{Report, Status};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use verdict::{Problem, Shown};

/// The whole run, whatever hangs.
const TOTAL: Duration = Duration::from_millis(9_500);
/// The first answer: name, TCP, proxy and TLS have their own deadlines within.
const FIRST: Duration = Duration::from_millis(9_000);
/// Any later step.
const STEP: Duration = Duration::from_millis(2_500);
/// The phases of a connection.
pub(crate) const PHASES: [Duration; 3] = [
    Duration::from_millis(3_000),
    Duration::from_millis(2_000),
    Duration::from_millis(2_000),
];
/// A machine whose clock is off by more has trouble with certificates and approvals.
const SKEW_MAX_S: u64 = 300;
/// The id of each request of ours; there is never more than one in the works.
const ID: &str = "\"check\"";
/// Pages of tools that are counted.
const PAGES_MAX: u32 = 100;

const MODERN_META: &str = concat!(
    "{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientInfo\":",
    "{\"name\":\"aerostack-gateway --check\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"},\"io.modelcontextprotocol/clientCapabilities\":{}}"
);

/// The steps, in order, each with what it has found so far.
#[derive(Clone, Debug)]
enum Step {
    Initialize,
    /// The handshake was refused, so: perhaps the server only speaks the modern era.
    Discover(Problem),
    /// Tools and pages of them so far.
    Tools {
        count: u64,
        pages: u32,
    },
    Heartbeat,
    Socket,
    Leave,
}

/// The diagnosis.
#[derive(Debug)]
pub struct Check {
    bridge: Bridge,
    out: VecDeque<Output>,
    report: Report,
    origin: String,
    url: String,
    has_token: bool,
    shown: Shown,
    step: Step,
    modern: bool,
    ends: Instant,
    deadline: Instant,
    step_began: Instant,
    established: Option<Established>,
    first_byte: Option<Instant>,
    transmitted: Option<Instant>,
    code: u8,
}

/// Makes a configuration one for a look: quick, without repeats and without presence.
fn prepare(config: &mut Config) {
    config.looks_only = true;
    config.builtin_tools = BuiltinTools::Off;
    config.request_timeout = None;
    config.limits.retries_max = 0;
    config.limits.rate_limit_wait_max = Duration::ZERO;
    config.limits.drain = Duration::ZERO;
    config.limits.farewell = Duration::from_millis(300);
}

/// The report of settings that can not be used.
pub fn refusal(error: &SettingError, style: Style) -> String {
    let mut report = Report::new(style, "", None);
    report.step(Status::Failed, "settings", &error.to_string(), 0);
    report.finish(false);
    report.take_text().unwrap_or_default()
}

impl Check {
    /// Begins a diagnosis of what this configuration would run. `proxy` says what is used, if any.
    pub fn new(
        mut config: Config,
        proxy: Option<String>,
        style: Style,
        seed: u64,
        now: Now,
    ) -> Self {
        let (origin, url) = (config.endpoint.origin(), config.endpoint.url());
        let shown = match config.builtin_tools {
            BuiltinTools::Off => Shown::Never,
            BuiltinTools::On | BuiltinTools::Auto if config.builtins_always() => Shown::Always,
            BuiltinTools::On | BuiltinTools::Auto => Shown::IfOffered,
        };
        let has_token = config.token.is_some();
        let warnings = std::mem::take(&mut config.warnings);
        prepare(&mut config);
        let mut check = Self {
            bridge: Bridge::new(config, seed, now),
            out: VecDeque::new(),
            report: Report::new(style, &url, proxy.as_deref()),
            origin,
            url,
            has_token,
            shown,
            step: Step::Initialize,
            modern: false,
            ends: now.mono + TOTAL,
            deadline: now.mono + FIRST,
            step_began: now.mono,
            established: None,
            first_byte: None,
            transmitted: None,
            code: 0,
        };
        for warning in warnings {
            check.report.note(Status::Warning, "settings", &warning);
        }
        if let Some(proxy) = proxy {
            let text = format!("Via proxy {proxy}");
            check.report.note(Status::Note, "proxy", &text);
        }
        let params = format!(
            "{{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"aerostack-gateway --check\",\"version\":\"{}\"}}}}",
            env!("CARGO_PKG_VERSION")
        );
        check.ask("initialize", &params, now);
        check.drain(now);
        check
    }

    fn ask(&mut self, method: &str, params: &str, now: Now) {
        let mut line = jsonrpc::request(ID, method, params);
        jsonrpc::end_line(&mut line);
        self.bridge.handle_input(Input::Stdin(&line), now);
    }

    fn begin(&mut self, step: Step, now: Now) {
        self.step = step;
        self.step_began = now.mono;
        self.deadline = (now.mono + STEP).min(self.ends);
    }

    /// Takes what the bridge puts out: answers are read, the rest goes to the shell.
    fn drain(&mut self, now: Now) {
        // Why the answer that follows is none of the workspace's own, or came with an error status.
        let mut failed = None;
        while let Some(output) = self.bridge.poll_output() {
            match output {
                Output::Failed(id, failure) => failed = (*id == *ID).then_some(*failure),
                Output::Stdout(line) => self.answered(&line, failed.take(), now),
                // The report says it better.
                Output::Log(..) => {}
                Output::Exit(_) => self.exit(),
                Output::Transmit(..) => {
                    self.transmitted = self.transmitted.or(Some(now.mono));
                    self.out.push_back(output);
                }
                Output::Connect(..)
                | Output::Pause(_)
                | Output::Resume(_)
                | Output::Close(_)
                | Output::PauseStdin
                | Output::ResumeStdin
                | Output::ReadToken(_) => self.out.push_back(output),
            }
        }
        self.print();
    }

    fn print(&mut self) {
        if let Some(text) = self.report.take_text() {
            // Once more for what came by other ways than an answer's words.
            let text = self.bridge.secrets().hide(&text).into_owned();
            self.out.push_back(Output::Stdout(text.into_bytes()));
        }
    }

    /// Nothing is printed after it.
    fn exit(&mut self) {
        self.print();
        self.out.push_back(Output::Exit(self.code));
    }
}

impl Engine for Check {
    fn handle_input(&mut self, input: Input<'_>, now: Now) {
        match &input {
            Input::Connected(_, established) => {
                self.established = self.established.or(Some(*established))
            }
            Input::Received(..) => self.first_byte = self.first_byte.or(Some(now.mono)),
            _ => {}
        }
        self.bridge.handle_input(input, now);
        self.drain(now);
        if matches!(self.step, Step::Socket) {
            self.look_at_socket(now);
            self.drain(now);
        }
        if self.deadline <= now.mono {
            self.overdue(now);
            self.drain(now);
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

#[cfg(test)]
mod tests;
