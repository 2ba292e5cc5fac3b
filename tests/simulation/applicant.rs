//! A random host whose calls need approval: it waits, gives up, changes its mind, asks again.

use super::host::{INITIALIZED, MODERN};
use super::judge::Judge;
use super::message::{Kind, Message};
use super::random::Random;
use super::world::Host;

#[derive(Debug)]
pub(crate) struct Applicant {
    random: Random,
    modern: bool,
    nonce: u64,
    calls: u64,
    /// Different contents of calls.
    keys: u64,
    pause_us: u64,
    step: u8,
}

impl Applicant {
    pub(crate) fn new(random: &mut Random, modern: bool, calls: u64, pause_us: u64) -> Self {
        Self {
            modern,
            nonce: 0,
            calls,
            keys: random.between(1, 12),
            pause_us,
            step: 0,
            random: Random::new(random.next()),
        }
    }

    fn call(&mut self) -> String {
        self.nonce += 1;
        let key = self.random.below(self.keys);
        let method = match self.random.below(12) {
            0 => "resources/read",
            1 => "prompts/get",
            2 => "completion/complete",
            _ => "tools/call",
        };
        gated(self.nonce, method, key, self.modern, self.random.chance(40))
    }
}

/// A call with this content.
pub(crate) fn gated(nonce: u64, method: &str, key: u64, modern: bool, progress: bool) -> String {
    let era = match modern {
        true => format!("{MODERN},"),
        false => String::new(),
    };
    let token = match progress {
        true => format!("\"progressToken\":{nonce},"),
        false => String::new(),
    };
    let what = match method {
        "tools/call" => format!("\"name\":\"tool\",\"arguments\":{{\"k\":{key},\"n\":1E400}}"),
        "resources/read" => format!("\"uri\":\"sim://{key}\""),
        "prompts/get" => format!("\"name\":\"tool\",\"arguments\":{{\"k\":{key}}}"),
        _ => format!("\"arguments\":{{\"k\":{key}}}"),
    };
    // What is about the same has the same number only within a method.
    let key = key * 10 + method.len() as u64 % 10;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{nonce},\"method\":\"{method}\",\"params\":{{\"_meta\":{{{era}{token}\"sim/nonce\":{nonce},\"sim/key\":{key}}},{what}}}}}"
    )
}

/// A cancel in the host's own words.
pub(crate) fn cancel_because(id: &str, reason: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"{reason}\"}}}}"
    )
}

impl Host for Applicant {
    fn turn(&mut self, judge: &Judge) -> (Vec<u8>, Option<u64>) {
        if self.calls == 0 {
            return (Vec::new(), None);
        }
        let mut pause = self.random.below(self.pause_us);
        let line = match self.step {
            0 => {
                self.nonce += 1;
                self.step = if self.modern { 2 } else { 1 };
                let method = match self.modern {
                    true => "server/discover",
                    false => "initialize",
                };
                pause = 5_000;
                super::host::request(&self.nonce.to_string(), method, self.nonce, self.modern)
            }
            // Waiting for the answer to `initialize`.
            1 => return (Vec::new(), Some(5_000)),
            3 => {
                self.step = 2;
                INITIALIZED.to_owned()
            }
            _ => {
                self.calls -= 1;
                let open = judge.unanswered();
                match self.random.below(10) {
                    0..2 if !open.is_empty() => {
                        let (id, ..) = self.random.pick(&open).clone();
                        let reasons = ["request timed out", "MCP error -32001: Timeout", "no", ""];
                        cancel_because(&id, self.random.pick::<&str>(&reasons))
                    }
                    _ => self.call(),
                }
            }
        };
        (format!("{line}\n").into_bytes(), Some(pause))
    }

    fn hear(&mut self, message: &Message) -> Option<(u64, Vec<u8>)> {
        if self.step == 1 && message.kind == Kind::Response {
            // Failed: once more.
            self.step = if message.result.is_some() { 3 } else { 0 };
        }
        None
    }
}
