//! A random host: polite or not, of one era or both.

use super::judge::Judge;
use super::message::{Kind, Message};
use super::random::Random;
use super::world::Host;

pub(crate) const MODERN: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Initialize,
    /// Waiting for the answer.
    Asked,
    Answered,
    Confirmed,
}

#[derive(Debug)]
pub(crate) struct ChaosHost {
    random: Random,
    nonce: u64,
    steps: u64,
    legacy: bool,
    modern: bool,
    /// Speaks on before `initialize` is answered.
    rude: bool,
    oversize: usize,
    step: Step,
    initialize_id: String,
    initializes: u32,
}

impl ChaosHost {
    pub(crate) fn new(random: &mut Random, line_max: usize) -> Self {
        let eras = random.below(10);
        Self {
            nonce: 0,
            steps: random.between(20, 90),
            legacy: eras < 8,
            modern: eras >= 6,
            rude: random.chance(25),
            oversize: line_max + 10,
            step: Step::Initialize,
            initialize_id: String::new(),
            initializes: 0,
            random: Random::new(random.next()),
        }
    }

    fn next_id(&mut self) -> String {
        self.nonce += 1;
        let n = self.nonce;
        match self.random.below(7) {
            0 => format!("\"s-{n}\""),
            1 => format!("{n}.0"),
            2 => format!("\"\\u0069d-{n}\""),
            3 => format!("-{n}"),
            4 => format!("{}", 1_234_567_890_000_000_000 + n * 1_000),
            5 => format!("\"å {n}\""),
            _ => format!("{n}"),
        }
    }

    fn request(&mut self) -> String {
        let id = self.next_id();
        let modern = self.modern && (!self.legacy || self.random.chance(50));
        let method = match self.random.below(if modern { 14 } else { 12 }) {
            0..=4 => "tools/call",
            5 => "tools/list",
            6 => "ping",
            7 => "resources/read",
            8 => "prompts/get",
            9 => "completion/complete",
            10 => "resources/list",
            11 => "tools/call",
            12 => "server/discover",
            _ => "subscriptions/listen",
        };
        request(&id, method, self.nonce, modern)
    }

    fn initialize(&mut self) -> String {
        self.step = Step::Asked;
        self.initializes += 1;
        self.initialize_id = self.next_id();
        request(&self.initialize_id, "initialize", self.nonce, false)
    }

    fn act(&mut self, judge: &Judge) -> String {
        let open = judge.unanswered();
        let alone = judge.unanswered_alone();
        match self.random.below(100) {
            0..8 if !open.is_empty() => {
                let (id, ..) = self.random.pick(&open).clone();
                cancel(&id)
            }
            8..11 if !alone.is_empty() => {
                let id = self.random.pick(&alone).clone();
                self.nonce += 1;
                request(&id, "tools/call", self.nonce, !self.legacy)
            }
            11..15 => {
                let lines = [
                    "{oops",
                    "[]",
                    "{\"jsonrpc\":\"2.0\"}",
                    "7",
                    "\"x\"",
                    "{\"id\":1}",
                ];
                (*self.random.pick(&lines)).to_owned()
            }
            15..17 => format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":\"{}\"}}",
                "x".repeat(self.oversize)
            ),
            17..22 => self.batch(),
            22..27 if self.legacy => {
                r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned()
            }
            27..28 if self.legacy => self.initialize(),
            28..30 => "\r\n\n".to_owned(),
            30..32 => cancel("\"never-asked\""),
            _ => self.request(),
        }
    }

    fn batch(&mut self) -> String {
        let mut members: Vec<String> = (0..self.random.between(1, 4))
            .map(|_| self.request())
            .collect();
        if self.random.chance(20) {
            members.push("{\"no\":\"message\"}".to_owned());
        }
        if self.random.chance(20) {
            members.push(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned());
        }
        format!("[{}]", members.join(" , "))
    }
}

impl Host for ChaosHost {
    fn turn(&mut self, judge: &Judge) -> (Vec<u8>, Option<u64>) {
        if self.steps == 0 {
            return (Vec::new(), None);
        }
        self.steps -= 1;
        let line = match self.step {
            Step::Initialize if self.legacy => self.initialize(),
            Step::Asked if self.legacy && self.rude && self.random.chance(30) => {
                self.step = Step::Confirmed;
                INITIALIZED.to_owned()
            }
            Step::Asked if self.legacy && !self.rude => String::new(),
            Step::Answered => {
                self.step = Step::Confirmed;
                INITIALIZED.to_owned()
            }
            _ => self.act(judge),
        };
        let pause = match self.random.below(20) {
            0..9 => self.random.below(300),
            9..18 => self.random.below(60_000),
            18 => self.random.below(2_000_000),
            _ => self.random.below(9_000_000),
        };
        (format!("{line}\n").into_bytes(), Some(pause))
    }

    fn hear(&mut self, message: &Message) -> Option<(u64, Vec<u8>)> {
        if message.kind == Kind::Response && message.id == self.initialize_id {
            self.step = match (&message.result, self.step) {
                (Some(_), Step::Asked) => Step::Answered,
                (None, _) if self.initializes < 4 => Step::Initialize,
                (_, step) => step,
            };
        }
        if message.kind != Kind::Request {
            return None;
        }
        let answer = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{}}}}\n",
            message.id
        );
        Some((self.random.below(50_000), answer.into_bytes()))
    }
}

pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A request as the simulated hosts write it; its number says whose answer comes back.
pub(crate) fn request(id: &str, method: &str, nonce: u64, modern: bool) -> String {
    let era = match modern {
        true => format!("{MODERN},"),
        false => String::new(),
    };
    let what = match method {
        "tools/call" => r#""name":"tool","arguments":{"n":1E400}"#,
        "prompts/get" => r#""name":"prompt""#,
        "resources/read" => r#""uri":"sim://x""#,
        "initialize" => r#""protocolVersion":"2025-11-25","capabilities":{}"#,
        _ => r#""x":1.0"#,
    };
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"_meta\":{{{era}\"sim/nonce\":{nonce}}},{what}}}}}"
    )
}

pub(crate) fn cancel(id: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
    )
}
