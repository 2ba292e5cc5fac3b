//! The diagnosis on a virtual clock: it ends in time whatever hangs.

use super::{Check, Style};
use crate::bridge::{Engine, Input, Now, Output};
use crate::config::{Config, Limits, Source};
use crate::proto::transport::{ConnId, Established};
use std::time::{Duration, Instant};

struct Settings;

impl Source for Settings {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "AEROSTACK_WORKSPACE_URL" => Some("https://w.example/ws/x".to_owned()),
            "AEROSTACK_TOKEN" => Some("mwt_x".to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }
}

/// Runs a diagnosis against a workspace that says nothing but `replies`, one a request. Returns the
/// report, the exit code, and how long it took.
fn run(connects: bool, mut replies: Vec<&str>) -> (String, u8, Duration) {
    let start = Instant::now();
    let at = |after: Duration| Now {
        mono: start + after,
        wall_ms: 1_000_000 + after.as_millis() as u64,
    };
    let config = Config::read(&Settings, Limits::default()).expect("valid");
    let mut check = Check::new(config, None, Style::default(), 1, at(Duration::ZERO));
    let (mut now, mut report) = (Duration::ZERO, String::new());
    for _ in 0..1_000 {
        let mut events: Vec<(ConnId, Option<String>)> = Vec::new();
        while let Some(output) = check.poll_output() {
            match output {
                Output::Stdout(text) => report.push_str(&String::from_utf8_lossy(&text)),
                Output::Exit(code) => return (report, code, now),
                Output::Connect(conn, _) if connects => events.push((conn, None)),
                Output::Transmit(conn, _) if !replies.is_empty() => {
                    events.push((conn, Some(replies.remove(0).to_owned())));
                }
                _ => {}
            }
        }
        if events.is_empty() {
            let due = check
                .poll_timeout()
                .expect("a diagnosis always has a deadline");
            now = now.max(due.saturating_duration_since(start));
            check.handle_input(Input::Timeout, at(now));
        }
        for (conn, reply) in events {
            match reply {
                None => check.handle_input(Input::Connected(conn, Established::default()), at(now)),
                Some(text) => check.handle_input(Input::Received(conn, text.as_bytes()), at(now)),
            }
        }
    }
    panic!("it never ends: {report}");
}

const INITIALIZED: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 97\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","result":{"protocolVersion":"2025-11-25","capabilities":{}}}       "#
);
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

#[test]
fn it_ends_within_ten_seconds_whatever_hangs() {
    let ten = Duration::from_secs(10);
    let (report, code, took) = run(false, Vec::new());
    assert!(report.contains("waiting for the connection"), "{report}");
    assert!(code == 1 && took < ten, "{took:?}");
    let (report, code, took) = run(true, Vec::new());
    assert!(report.contains("its answer to initialize"), "{report}");
    assert!(code == 1 && took < ten, "{took:?}");
    let (report, code, took) = run(true, vec![INITIALIZED, ACCEPTED]);
    assert!(report.contains("waiting for tools/list"), "{report}");
    assert!(code == 1 && took < ten, "{took:?}");
}
