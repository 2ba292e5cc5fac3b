//! The whole engine where no machine alone shows it.

use super::*;

/// A built-in tool that was called before anybody knew that the workspace is away is answered under its call's
/// own id, and by the tool: what it asked the workspace is nothing to the host.
#[test]
fn a_tool_called_before_an_outage_is_known_is_answered() {
    let mut now = Now {
        mono: Instant::now(),
        wall_ms: 1_795_305_600_000,
    };
    let mut bridge = Bridge::new(testing::config(&[]), 1, now);
    let lines = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18"}}
{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"aerostack__agent_chat","arguments":{"action":"read"}}}
{"jsonrpc":"2.0","id":"g","method":"tools/call","params":{"name":"aerostack__local_guardian","arguments":{"category":"deploy","action":"x"}}}
"#;
    bridge.handle_input(Input::Stdin(lines.as_bytes()), now);
    let end = now.mono + Duration::from_secs(5);
    let mut heard = Vec::new();
    loop {
        while let Some(output) = bridge.poll_output() {
            if let Output::Stdout(line) = output {
                heard.push(line);
            }
        }
        match bridge.poll_timeout().filter(|at| *at <= end) {
            Some(at) => now.mono = at,
            None => break,
        }
        bridge.handle_input(Input::Timeout, now);
    }
    let said = |id: &str| {
        let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",");
        let mut own = heard
            .iter()
            .filter(|line| line.starts_with(start.as_bytes()));
        let line = own.next().unwrap_or_else(|| panic!("{id}: no answer"));
        testing::words(line)
    };
    assert!(said("i").contains("aerostack-gateway"));
    assert!(said("c").starts_with("error: "), "{}", said("c"));
    assert!(said("g").contains("do NOT proceed"), "{}", said("g"));
    assert_eq!(heard.len(), 3);
}

/// A bridge and a workspace that answers what each test says.
struct Desk {
    bridge: Bridge,
    now: Now,
    /// What went to stdout, in order.
    heard: Vec<String>,
    /// What was sent: on which connection, and its text.
    sent: Vec<(ConnId, String)>,
    others: Vec<String>,
}

impl Desk {
    fn new(settings: &[(&str, &str)]) -> Self {
        let now = Now {
            mono: Instant::now(),
            wall_ms: 1_795_305_600_000,
        };
        let bridge = Bridge::new(testing::config(settings), 1, now);
        let mut desk = Self {
            bridge,
            now,
            heard: Vec::new(),
            sent: Vec::new(),
            others: Vec::new(),
        };
        desk.settle();
        desk
    }

    fn input(&mut self, input: Input<'_>) {
        self.bridge.handle_input(input, self.now);
        self.settle();
    }

    fn say(&mut self, line: &str) {
        self.input(Input::Stdin(format!("{line}\n").as_bytes()));
    }

    fn settle(&mut self) {
        while let Some(output) = self.bridge.poll_output() {
            match output {
                Output::Stdout(line) => {
                    let line = String::from_utf8(line).expect("text");
                    self.heard.push(line.trim_end().to_owned());
                }
                Output::Connect(conn, _) => {
                    let established = crate::proto::transport::Established::default();
                    self.bridge
                        .handle_input(Input::Connected(conn, established), self.now);
                }
                Output::Transmit(conn, bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.sent.push((conn, text));
                    self.bridge.handle_input(Input::Sent(conn), self.now);
                }
                Output::Log(..) => {}
                other => self.others.push(format!("{other:?}")),
            }
        }
    }

    /// The oldest request whose text holds this is answered.
    fn answer(&mut self, holds: &str, response: &str) {
        let at = self.sent.iter().position(|(_, text)| text.contains(holds));
        let (conn, text) = self
            .sent
            .remove(at.unwrap_or_else(|| panic!("no {holds}: {:?}", self.sent)));
        let id = text
            .split("\"id\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let response = response.replace("$ID", id.unwrap_or_default());
        self.input(Input::Received(conn, response.as_bytes()));
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        while let Some(at) = self.bridge.poll_timeout().filter(|at| *at <= end) {
            let at = at.max(self.now.mono);
            self.now.wall_ms += (at - self.now.mono).as_millis() as u64;
            self.now.mono = at;
            self.input(Input::Timeout);
        }
        self.now.wall_ms += (end - self.now.mono).as_millis() as u64;
        self.now.mono = end;
    }

    fn json(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// What comes in one piece reaches the host in the order in which the workspace said it: events, and the
/// members of a batch.
#[test]
fn an_answer_is_not_overtaken_by_what_follows_it() {
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let later = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    for response in [
        format!("{EVENTS}data: {answer}\n\ndata: {later}\n\n"),
        Desk::json(&format!("[{answer},{later}]")),
    ] {
        let mut desk = Desk::new(&[]);
        desk.say(CALL);
        desk.answer("tools/call", &response);
        assert_eq!(desk.heard, [answer, later]);
    }
}

/// A modern host whose workspace could not be reached at first is seen in the dashboard like any other.
#[test]
fn what_a_workspace_offers_is_asked_again_after_a_failure() {
    let mut desk = Desk::new(&[]);
    let ping = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"ping","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        )
    };
    desk.say(&ping(1));
    for _ in 0..10 {
        while !desk.sent.is_empty() {
            desk.answer("", "HTTP/1.1 503 S\r\nContent-Length: 0\r\n\r\n");
        }
        desk.pass(1);
    }
    assert_eq!(desk.heard.len(), 1);
    desk.say(&ping(2));
    let discovers = |(_, text): &(ConnId, String)| text.contains("server/discover");
    assert!(desk.sent.iter().any(discovers));
}

/// The host gives up on an approved call that still waits for the rate limit, and repeats it: the consent
/// is as good as before.
#[test]
fn a_consent_is_not_used_up_by_a_call_that_never_left() {
    let mut desk = Desk::new(&[]);
    let gated = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"m","data":{"approval_id":"a"}}}"#;
    let state = r#"{"jsonrpc":"2.0","id":$ID,"result":{"approval_id":"a","status":"approved"}}"#;
    let events = |data: &str| format!("{EVENTS}data: {data}\n\n");
    desk.say(CALL);
    desk.answer("tools/call", &events(gated));
    desk.pass(31);
    desk.answer("aerostack/approvals/get", &events(state));
    let limited = "HTTP/1.1 429 L\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
    desk.answer("dev.aerostack/approval_id", limited);
    desk.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"timeout"}}"#);
    desk.pass(25);
    assert_eq!(desk.heard, [""; 0]);
    desk.say(CALL);
    desk.answer("tools/call", &events(gated));
    desk.pass(31);
    desk.answer("aerostack/approvals/get", &events(state));
    assert_eq!(desk.heard, [""; 0]);
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#;
    desk.answer("dev.aerostack/approval_id", &events(answer));
    assert_eq!(desk.heard, [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
}

/// Subscriptions that come in one piece are counted like those that come one by one.
#[test]
fn subscriptions_in_one_piece_are_limited() {
    let mut desk = Desk::new(&[]);
    let line = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        ) + "\n"
    };
    let lines: String = (0..300).map(line).collect();
    desk.input(Input::Stdin(lines.as_bytes()));
    let listens = |(_, text): &&(ConnId, String)| text.contains("subscriptions/listen");
    assert_eq!(desk.sent.iter().filter(listens).count(), 256);
    assert_eq!(desk.heard.len(), 44);
}

/// What waits for a person is in the budget, and is refused before it fills it: the host is still heard.
#[test]
fn calls_that_wait_for_a_person_never_fill_the_budget() {
    let mut desk = Desk::new(&[]);
    let big = "x".repeat(12 << 20);
    for id in 1..=9 {
        desk.say(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t{id}","arguments":"{big}"}}}}"#
        ));
        let gated = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32050,"message":"m","data":{{"approval_id":"a{id}"}}}}}}"#
        );
        let name = format!("\"t{id}\"");
        desk.answer(&name, &format!("{EVENTS}data: {gated}\n\n"));
        let refused = desk
            .heard
            .iter()
            .filter(|line| line.contains("too many bytes"));
        assert_eq!(refused.count(), id - 1);
    }
    assert_eq!(desk.others, [""; 0]);
}

/// The end of stdin waits for a message that the rate limit holds back, as for one that is on its way.
#[test]
fn a_message_that_waits_for_the_rate_limit_is_delivered_before_the_end() {
    let mut desk = Desk::new(&[]);
    desk.say(r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}"#);
    let limited = "HTTP/1.1 429 L\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    desk.answer("accept", limited);
    desk.input(Input::StdinClosed);
    assert_eq!(desk.others, [""; 0]);
    desk.pass(1);
    desk.answer("accept", "HTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(desk.others.last().map(String::as_str), Some("Exit(0)"));
}

/// A question of the guardian that is taken back on its way leaves no approval behind that nobody waits for.
#[test]
fn an_approval_that_crosses_the_guardians_cancel_is_withdrawn() {
    let mut desk = Desk::new(&[]);
    desk.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"aerostack__local_guardian","arguments":{"category":"deploy","action":"x"}}}"#);
    desk.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    let gated = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32050,"message":"m","data":{"approval_id":"a"}}}"#;
    desk.answer(
        "aerostack/guardian/request",
        &format!("{EVENTS}data: {gated}\n\n"),
    );
    let cancels = |(_, text): &(ConnId, String)| text.contains("aerostack/approvals/cancel");
    assert!(desk.sent.iter().any(cancels));
    assert_eq!(desk.heard, [""; 0]);
}
