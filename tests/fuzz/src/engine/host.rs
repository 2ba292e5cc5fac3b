//! What the host says and does.

use super::{Feed, Input, World};

const IDS: [&str; 8] = [
    "1",
    "2",
    "\"a\"",
    "1.0",
    "12345678901234567890",
    "\"\\u0061\"",
    "-3",
    "\"é\"",
];
const METHODS: [&str; 12] = [
    "tools/list",
    "tools/call",
    "ping",
    "resources/read",
    "resources/subscribe",
    "resources/list",
    "prompts/get",
    "logging/setLevel",
    "completion/complete",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
];
const MODERN: &str = "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
                      \"io.modelcontextprotocol/clientInfo\":{\"name\":\"fuzz\",\"version\":\"1\"},";
const REASONS: [&str; 3] = ["no longer needed", "Request timed out", "\\n\\u001b"];

impl World {
    pub(super) fn host_speaks(&mut self, letter: u8, feed: &mut Feed<'_>) {
        let line = match letter {
            b'i' => {
                let id = id(feed.byte());
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"2025-11-25\",\
                     \"capabilities\":{{\"roots\":{{}},\"elicitation\":{{}}}},\"clientInfo\":{{\"name\":\"fuzz\",\"version\":\"1\"}}}}}}"
                )
            }
            b'j' => "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}".to_owned(),
            b'm' | b'l' => self.request(letter == b'm', feed.byte(), feed.byte()),
            b'z' => self.call(feed.byte(), feed.byte()),
            b'n' => self.notice(feed.byte()),
            b'q' => {
                let (id, reason) = (id(feed.byte()), REASONS[usize::from(feed.byte()) % 3]);
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"{reason}\"}}}}"
                )
            }
            _ => {
                let count = usize::from(feed.byte() % 4);
                let members: Vec<String> = (0..count)
                    .map(|_| match feed.byte() {
                        byte @ 0..64 => self.request(byte % 2 == 0, byte / 2, feed.byte()),
                        byte @ 64..200 => self.call(byte, feed.byte()),
                        byte => self.notice(byte),
                    })
                    .collect();
                format!("[{}]", members.join(","))
            }
        };
        self.say((line + "\n").into_bytes());
    }

    fn next_number(&mut self) -> u64 {
        self.said += 1;
        self.said
    }

    /// Everything that tells requests apart stands in `_meta`: consents see equal calls.
    fn request(&mut self, modern: bool, method: u8, which: u8) -> String {
        let (number, id) = (self.next_number(), id(which));
        let method = METHODS[usize::from(method) % METHODS.len()];
        let era = if modern { MODERN } else { "" };
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"name\":\"srv__t\",\"uri\":\"file:///a\",\
             \"_meta\":{{{era}\"progressToken\":{number},\"n\":{number}}}}}}}"
        )
    }

    fn call(&mut self, what: u8, which: u8) -> String {
        let (number, id) = (self.next_number(), id(which));
        let era = if what & 8 == 0 { "" } else { MODERN };
        let (name, arguments) = match what % 8 {
            0..4 => ("srv__write", "{\"a\":1.0,\"b\":\"\\u00e9\"}"),
            4 => (
                "aerostack__local_guardian",
                "{\"category\":\"git_push\",\"action\":\"git push\"}",
            ),
            5 => ("aerostack__agent_chat", "{\"action\":\"read\"}"),
            6 => (
                "aerostack__agent_chat",
                "{\"action\":\"wait\",\"timeout_s\":3}",
            ),
            _ => (
                "aerostack__agent_chat",
                "{\"action\":\"send\",\"text\":\"hello\"}",
            ),
        };
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{name}\",\"arguments\":{arguments},\
             \"_meta\":{{{era}\"progressToken\":{number},\"n\":{number}}}}}}}"
        )
    }

    fn notice(&mut self, what: u8) -> String {
        match what % 4 {
            0 => "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/roots/list_changed\"}".to_owned(),
            1 => "{\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"result\":{\"roots\":[]}}".to_owned(),
            2 => "{\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"error\":{\"code\":-1,\"message\":\"no\"}}"
                .to_owned(),
            _ => format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{{\"n\":{}}}}}",
                self.said
            ),
        }
    }

    /// Bytes for stdin; the engine reads them when it likes.
    pub(super) fn say(&mut self, bytes: Vec<u8>) {
        if !self.stdin_over && !bytes.is_empty() {
            self.stdin.push_back(bytes);
        }
    }

    pub(super) fn read_stdin(&mut self) {
        while !self.stdin_paused && !self.exited {
            if let Some(bytes) = self.stdin.pop_front() {
                self.judge.stdin(&bytes);
                self.give(Input::Stdin(&bytes), bytes.len());
            } else if self.stdin_over && !std::mem::replace(&mut self.stdin_closed, true) {
                self.judge.stdin_closed();
                self.give(Input::StdinClosed, 0);
            } else {
                return;
            }
        }
    }

    /// The host stops reading stdout, or begins again.
    pub(super) fn host_reads(&mut self, how: u8) {
        self.stdout_stuck = how.is_multiple_of(2);
        if !self.stdout_stuck {
            self.take_stdout();
        }
    }

    pub(super) fn take_stdout(&mut self) {
        while self.stdout_queued > 0 && !self.exited && !self.stdout_gone {
            self.stdout_queued = 0;
            self.give_drained();
        }
    }

    fn give_drained(&mut self) {
        let stuck = std::mem::replace(&mut self.stdout_stuck, true);
        self.give(Input::StdoutDrained, 0);
        self.stdout_stuck = stuck;
    }
}

fn id(which: u8) -> &'static str {
    IDS[usize::from(which) % IDS.len()]
}
