//! What surrounds an engine: weather, a host, a configuration.

use super::*;
use aerostack_gateway::api::config::{Identity, Source};

/// How the network and stdout behave.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) connect_us: (u64, u64),
    /// Percent of dials that fail.
    pub(crate) refuse: u64,
    pub(crate) latency_us: (u64, u64),
    /// Cuts of a response into pieces, at most.
    pub(crate) cuts: u64,
    /// Percent of requests whose connection breaks before they arrive.
    pub(crate) breaks: u64,
    /// After how long the server closes an idle connection.
    pub(crate) idle_us: Option<(u64, u64)>,
    /// Bytes a millisecond that the host reads; `None`: at once.
    pub(crate) stdout_rate: Option<u64>,
    /// The host does not read at all.
    pub(crate) stdout_stuck: bool,
    /// No WebSocket's peer takes what it is sent.
    pub(crate) sockets_stuck: bool,
}

impl Weather {
    pub(crate) fn fair() -> Self {
        Self {
            connect_us: (1_000, 1_000),
            refuse: 0,
            latency_us: (500, 500),
            cuts: 0,
            breaks: 0,
            idle_us: None,
            stdout_rate: None,
            stdout_stuck: false,
            sockets_stuck: false,
        }
    }
}

/// The person's tool that speaks over stdio.
pub(crate) trait Host {
    /// Something to write, and when to ask again.
    fn turn(&mut self, judge: &Judge) -> (Vec<u8>, Option<u64>);
    /// A line has come; returns what it answers and after how long.
    fn hear(&mut self, message: &Message) -> Option<(u64, Vec<u8>)>;
}

/// Says nothing of itself: scenarios speak for it.
pub(crate) struct Quiet;

impl Host for Quiet {
    fn turn(&mut self, _judge: &Judge) -> (Vec<u8>, Option<u64>) {
        (Vec::new(), None)
    }

    fn hear(&mut self, _message: &Message) -> Option<(u64, Vec<u8>)> {
        None
    }
}

struct Settings(Vec<(&'static str, String)>);

impl Source for Settings {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.0.iter().rev().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/token" => Ok(TOKEN.to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

/// A configuration for the simulated workspace.
pub(crate) fn config(settings: &[(&'static str, &str)], limits: Limits) -> Config {
    let mut all = vec![
        (
            "AEROSTACK_WORKSPACE_URL",
            format!("https://w.example{PATH}"),
        ),
        ("AEROSTACK_LOG_LEVEL", "debug".to_owned()),
        ("AEROSTACK_BUILTIN_TOOLS", "off".to_owned()),
    ];
    if !settings
        .iter()
        .any(|(name, _)| *name == "AEROSTACK_TOKEN_FILE")
    {
        all.push(("AEROSTACK_TOKEN", TOKEN.to_owned()));
    }
    all.extend(
        settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let mut config = Config::read(&Settings(all), limits).expect("the settings are right");
    config.identity = Identity::default();
    config
}

/// What tests do.
impl World {
    /// The host writes a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.say_later(0, format!("{line}\n").into_bytes());
    }

    pub(crate) fn say_later(&mut self, us: u64, bytes: Vec<u8>) {
        self.plan(us, Event::Stdin(bytes));
    }

    pub(crate) fn close_stdin(&mut self, us: u64) {
        self.plan(us, Event::StdinClosed);
    }

    pub(crate) fn terminate(&mut self, us: u64) {
        self.plan(us, Event::Terminate);
    }

    pub(crate) fn lose_stdout(&mut self, us: u64) {
        self.plan(us, Event::StdoutGone);
    }

    pub(crate) fn sleep(&mut self, us: u64, ms: u64) {
        self.plan(us, Event::Sleep(ms));
    }

    /// The host reads again.
    pub(crate) fn unstick_stdout(&mut self) {
        self.weather.stdout_stuck = false;
        self.weather.stdout_rate = None;
        self.plan(0, Event::StdoutDrained(self.stdout_queued));
    }

    /// Lets virtual time pass.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        let until = self.now_us + ms * 1_000;
        while self.exit.is_none() && self.next_us().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now_us = self.now_us.max(until);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    pub(crate) fn transcript_hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn conns_open(&self) -> usize {
        self.conns.len()
    }

    /// The judge's last word.
    pub(crate) fn finish(&mut self) {
        let verdict = self.judge.end(&self.ledger);
        self.must(verdict);
    }
}
