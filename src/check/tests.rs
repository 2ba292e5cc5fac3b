//! The diagnosis on a virtual clock: it ends in time whatever hangs.

mod storms;

use super::{Check, Style};
use crate::bridge::{Engine, Input, Now, Output, testing};
use crate::proto::transport::{Close, CloseCause, ConnId, Established, Phase};
use std::time::{Duration, Instant};

/// What becomes of a connection.
#[derive(Clone)]
enum Dial {
    Hangs,
    Opens,
    Fails(Close),
}

/// What comes for a request.
#[derive(Clone, Copy)]
enum Reply {
    /// These bytes, after this time.
    After(Duration, &'static str),
    /// These bytes, and then the end of the connection.
    Last(&'static str),
}

const NOW: Duration = Duration::ZERO;

/// What is said to which method. To all others: nothing.
type Replies<'a> = &'a [(&'a str, Reply)];

/// Runs a diagnosis against this workspace. Returns the report, the exit code, and how long it took.
fn run(dial: &Dial, replies: Replies<'_>, style: Style) -> (String, u8, Duration) {
    let start = Instant::now();
    let at = |after: Duration| Now {
        mono: start + after,
        wall_ms: 1_000_000 + after.as_millis() as u64,
    };
    let config = testing::config(&[
        ("AEROSTACK_WORKSPACE_URL", "https://w.example/ws/x"),
        ("AEROSTACK_TOKEN", "mwt_x"),
    ]);
    let mut check = Check::new(config, None, style, 1, at(NOW));
    let (mut now, mut report) = (NOW, String::new());
    let mut due: Vec<(Duration, ConnId, Reply)> = Vec::new();
    for _ in 0..1_000 {
        let mut dialled = Vec::new();
        while let Some(output) = check.poll_output() {
            match output {
                Output::Stdout(text) => report.push_str(&String::from_utf8_lossy(&text)),
                Output::Exit(code) => return (report, code, now),
                Output::Connect(conn, _) => dialled.push(conn),
                Output::Transmit(conn, bytes) => {
                    let request = String::from_utf8_lossy(&bytes);
                    let reply = replies.iter().find(|(method, _)| request.contains(method));
                    match reply.map(|(_, reply)| *reply) {
                        Some(reply @ Reply::After(delay, _)) => {
                            due.push((now + delay, conn, reply))
                        }
                        Some(reply @ Reply::Last(_)) => due.push((now, conn, reply)),
                        None => {}
                    }
                }
                _ => {}
            }
        }
        let fed = !dialled.is_empty() && !matches!(dial, Dial::Hangs);
        for conn in dialled {
            match dial {
                Dial::Hangs => {}
                Dial::Opens => {
                    check.handle_input(Input::Connected(conn, Established::default()), at(now));
                }
                Dial::Fails(close) => {
                    check.handle_input(Input::Closed(conn, close.clone()), at(now));
                }
            }
        }
        if fed {
            continue;
        }
        let timeout = check.poll_timeout().expect("it always has a deadline");
        let timeout = timeout.saturating_duration_since(start);
        let first = (0..due.len()).min_by_key(|index| due[*index].0);
        match first.filter(|index| due[*index].0 <= timeout) {
            Some(index) => {
                let (when, conn, reply) = due.remove(index);
                now = now.max(when);
                let (Reply::After(_, bytes) | Reply::Last(bytes)) = reply;
                check.handle_input(Input::Received(conn, bytes.as_bytes()), at(now));
                if matches!(reply, Reply::Last(_)) {
                    let (cause, phase, sent) = (CloseCause::Eof, Phase::Open, true);
                    let close = Close { cause, phase, sent };
                    check.handle_input(Input::Closed(conn, close), at(now));
                }
            }
            None => {
                now = now.max(timeout);
                check.handle_input(Input::Timeout, at(now));
            }
        }
    }
    panic!("it never ends: {report}");
}

const INITIALIZED: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 97\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","result":{"protocolVersion":"2025-11-25","capabilities":{}}}       "#
);
const OFFERS: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 150\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","result":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"aerostack":{"guardian":{},"heartbeat":{}}}}}} "#
);
const TOOL: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","result":{"tools":[{}]}}      "#
);
const GATED: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 112\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","error":{"code":-32050,"message":"needs approval","#,
    r#""data":{"approval_id":"apr_1"}}}"#
);
const PAGE: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":"check","result":{"tools":[{}],"nextCursor":"more"}}      "#
);
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// The lines between the title and the verdict, which is no.
fn fails(dial: &Dial, replies: Replies<'_>, lines: &[&str]) {
    let (report, code, took) = run(dial, replies, Style::default());
    let expect = format!(
        "Aerostack Connection Check\n{}\nNot all checks passed: see above for what to fix.\n",
        lines.join("\n")
    );
    let report = report.replace("Dashboard: https://app.aerostack.dev\n", "");
    assert_eq!(report, expect);
    assert!(code == 1 && took < Duration::from_secs(10), "{took:?}");
}

fn now(bytes: &'static str) -> Reply {
    Reply::After(NOW, bytes)
}

const HELLO: &str = "\"initialize\"";
const READY: &str = "notifications/initialized";
const LIST: &str = "tools/list";
const REACHABLE: &str = "[ok] Workspace URL reachable (https://w.example/ws/x)";
const TOKEN: &str = "[-] Token: this server does not say whose it is";
const CONNECTED: &str = "[ok] Workspace connected";

#[test]
fn it_ends_within_ten_seconds_whatever_hangs() {
    fails(
        &Dial::Hangs,
        &[],
        &[
            "[failed] Workspace unreachable: timed out after 9 s waiting for the connection (https://w.example)",
        ],
    );
    fails(
        &Dial::Opens,
        &[],
        &[
            "[failed] Workspace unreachable: timed out after 9 s waiting for its answer to initialize (https://w.example)",
        ],
    );
    fails(
        &Dial::Opens,
        &[(HELLO, now("HTTP/1.1 200 OK\r\n"))],
        &[
            REACHABLE,
            "[failed] Workspace not connected: timed out after 9 s waiting for the rest of its answer to initialize (https://w.example)",
        ],
    );
    fails(
        &Dial::Opens,
        &[(HELLO, now(INITIALIZED)), (READY, now(ACCEPTED))],
        &[
            REACHABLE,
            TOKEN,
            CONNECTED,
            "[failed] Tools not available: timed out after 2 s waiting for tools/list",
        ],
    );
    fails(
        &Dial::Opens,
        &[
            (HELLO, now(INITIALIZED)),
            (READY, now(ACCEPTED)),
            (LIST, now(GATED)),
        ],
        &[
            REACHABLE,
            TOKEN,
            CONNECTED,
            "[failed] Tools not available: timed out after 2 s waiting for a person's approval of tools/list: AI tools see no tools before it is given",
        ],
    );
    // Each page comes in time, and there is always another.
    let slow = Reply::After(Duration::from_millis(2_400), PAGE);
    fails(
        &Dial::Opens,
        &[
            (HELLO, now(INITIALIZED)),
            (READY, now(ACCEPTED)),
            (LIST, slow),
        ],
        &[
            REACHABLE,
            TOKEN,
            CONNECTED,
            "[failed] Tools not available: timed out after 9 s waiting for tools/list",
        ],
    );
    fails(
        &Dial::Opens,
        &[
            (HELLO, now(OFFERS)),
            (READY, now(ACCEPTED)),
            (LIST, now(TOOL)),
        ],
        &[
            REACHABLE,
            TOKEN,
            CONNECTED,
            "[ok] Tools available (1 tool)",
            "[warning] Built-in tools: aerostack__local_guardian works; aerostack__agent_chat does not: this workspace does not know aerostack/chat",
            "[failed] Dashboard registration failed: timed out after 2 s waiting for the heartbeat's answer",
        ],
    );
}

/// What was refused first is what is told, though the second question gets no answer at all.
#[test]
fn the_first_refusal_is_told() {
    fails(
        &Dial::Opens,
        &[(HELLO, now(NOT_FOUND))],
        &[
            REACHABLE,
            "[failed] Workspace not connected: there is no workspace at this URL (HTTP 404). Check AEROSTACK_WORKSPACE_URL; the path is usually /ws/<your-workspace>",
        ],
    );
}

/// A phase that no server on loopback can be made to hang in, and a break in mid-answer.
#[test]
fn connections_that_fail() {
    let (cause, phase, sent) = (CloseCause::TimedOut, Phase::Resolve, false);
    fails(
        &Dial::Fails(Close { cause, phase, sent }),
        &[],
        &[
            "[failed] Workspace unreachable: https://w.example timed out during DNS lookup. Check the network, a firewall, or whether a proxy (HTTPS_PROXY) is needed",
        ],
    );
    fails(
        &Dial::Opens,
        &[(
            HELLO,
            Reply::Last("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        )],
        &[
            REACHABLE,
            "[failed] Workspace not connected: https://w.example closed the connection before its answer was complete",
        ],
    );
}

/// On a terminal: emoji where it speaks UTF-8, and colours.
#[test]
fn a_terminal_gets_emoji_and_colours() {
    let check = |emoji, colour, expect: &str| {
        let style = Style {
            json: false,
            emoji,
            colour,
        };
        let replies = [
            (HELLO, now(OFFERS)),
            (READY, now(ACCEPTED)),
            ("\"id\"", now(TOOL)),
        ];
        let (report, code, _) = run(&Dial::Opens, &replies, style);
        let lines: Vec<&str> = report.lines().skip(2).step_by(2).take(2).collect();
        assert_eq!((lines.join("|").as_str(), code), (expect, 0));
    };
    let (token, tools) = (TOKEN.trim_start_matches("[-] "), "Tools available (1 tool)");
    check(true, false, &format!("➖ {token}|✅ {tools}"));
    check(
        true,
        true,
        &format!("➖ \u{1b}[2m{token}\u{1b}[0m|✅ {tools}"),
    );
    check(
        false,
        true,
        &format!("\u{1b}[2m[-]\u{1b}[0m {token}|\u{1b}[32m[ok]\u{1b}[0m {tools}"),
    );
}
