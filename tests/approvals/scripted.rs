//! What the reference workspace never says: every answer and every push is the test's own.

use super::{ECHO, refused, succeeded};
use crate::common::{Gateway, RawServer, Request, Setup, call, json_reply, reply};
use aerostack_gateway::api::proto::accept_for;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// A workspace of one tool: the calls it saw, and what it says.
pub(super) struct Script {
    server: RawServer,
    calls: Arc<Mutex<Vec<String>>>,
}

/// What comes on an approval's socket after the handshake: raw frames.
pub(super) type Frames = Vec<Vec<u8>>;

impl Script {
    /// `answer` gets each call's body and its number from 1, and makes the `result` or `error` member.
    /// `frames` are pushed on each approval's socket; none: 404. `poll` is the approval object.
    pub(super) fn start(
        answer: impl Fn(&str, usize) -> String + Send + Sync + 'static,
        frames: Frames,
        poll: &'static str,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = calls.clone();
        let server = RawServer::start(move |mut stream, _| {
            while let Some(request) = Request::read(&mut stream) {
                if request.header("upgrade").is_some() && !frames.is_empty() {
                    return push(stream, &request, &frames);
                }
                let bytes = respond(&request, &seen, &answer, poll);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Self { server, calls }
    }

    /// A call that is told to wait for `apr_1`, and answered once it names it.
    pub(super) fn one(frames: Frames, poll: &'static str) -> Self {
        let answer = |body: &str, _| match body.contains("dev.aerostack/approval_id") {
            true => RESULT.to_owned(),
            false => needs("apr_1"),
        };
        Self::start(answer, frames, poll)
    }

    pub(super) fn gateway(&self) -> Gateway {
        let mut gateway = Setup::url(&self.server.url()).spawn();
        gateway.initialize();
        gateway
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

pub(super) const RESULT: &str = r#""result":{"content":[{"type":"text","text":"hello"}]}"#;
/// A poll that never decides.
pub(super) const PENDING: &str = r#"{"approval_id":"apr_1","status":"pending"}"#;

pub(super) fn needs(id: &str) -> String {
    format!(
        r#""error":{{"code":-32050,"message":"needs approval","data":{{"approval_id":"{id}"}}}}"#
    )
}

fn respond(
    request: &Request,
    seen: &Mutex<Vec<String>>,
    answer: impl Fn(&str, usize) -> String,
    poll: &str,
) -> Vec<u8> {
    if request.is("tools/call") {
        let mut calls = seen.lock().expect("not poisoned");
        calls.push(request.body.clone());
        let (id, member) = (request.id(), answer(&request.body, calls.len()));
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{member}}}"#);
        return reply("200 OK", "Content-Type: application/json\r\n", &body);
    }
    if request.head.starts_with("GET") {
        return reply("404 Not Found", "", "");
    }
    json_reply(request, poll)
}

/// The handshake, the frames (an empty one is the end), and then whatever the gateway says until it goes.
fn push(mut stream: TcpStream, request: &Request, frames: &Frames) {
    let accept = accept_for(request.header("sec-websocket-key").expect("a key"));
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let mut sent = stream.write_all(head.as_bytes()).is_ok();
    for frame in frames {
        if frame.is_empty() {
            return;
        }
        sent = sent && stream.write_all(frame).is_ok();
        if sent && frame[0] == PING {
            // A masked pong with the same two bytes.
            let mut pong = [0; 8];
            sent = stream.read_exact(&mut pong).is_ok() && pong[0] == 0x8a;
        }
    }
    while sent && matches!(stream.read(&mut [0; 512]), Ok(n) if n > 0) {}
}

const PING: u8 = 0x89;

fn frame(first: u8, data: &str) -> Vec<u8> {
    let mut bytes = vec![first];
    match u8::try_from(data.len()) {
        Ok(length) if length < 126 => bytes.push(length),
        _ => {
            bytes.push(126);
            bytes.extend((data.len() as u16).to_be_bytes());
        }
    }
    bytes.extend(data.as_bytes());
    bytes
}

pub(super) fn text(data: &str) -> Vec<u8> {
    frame(0x81, data)
}

const APPROVED: &str = r#"{"type":"approval","approval_id":"apr_1","status":"approved"}"#;
const REJECTED: &str =
    r#"{"type":"approval","approval_id":"apr_1","status":"rejected","note":"mine"}"#;

/// A decision counts for the approval that it names, and for no other.
#[test]
fn decisions_for_others_are_ignored() {
    let others = ["apr_2", "APR_1", "apr_1 ", "", "apr_10"];
    let pushes = others.map(|id| text(&APPROVED.replace("apr_1", id)));
    let script = Script::one([&pushes[..], &[text(REJECTED)]].concat(), PENDING);
    let mut gateway = script.gateway();
    assert!(refused(&gateway.ask(&call("1", "any", ECHO))).contains("mine"));
    assert_eq!(script.calls().len(), 1);
    let ended = gateway.finish().code(0);
    assert!(
        ended.stderr.contains("for another approval was ignored"),
        "{}",
        ended.stderr
    );
    // The same by the poll alone.
    let script = Script::one(Vec::new(), r#"{"approval_id":"apr_2","status":"approved"}"#);
    let mut gateway = script.gateway();
    gateway.send(&call("1", "any", ECHO));
    let ended = gateway.finish().code(0);
    assert!(refused(&ended.lines[0]).contains("the gateway ended"));
    assert_eq!(script.calls().len(), 1);
}

/// Only the word approved is an approval; unknown words and broken messages leave it undecided.
#[test]
fn unknown_words_are_pending() {
    let mut pushes: Frames = ["Approved", "granted", "yes", "", "approved "]
        .iter()
        .map(|word| text(&APPROVED.replace("approved", word)))
        .collect();
    for broken in [
        "null",
        "[]",
        "true",
        "{",
        r#"["apr_1","approved"]"#,
        r#"{"approval_id":"apr_1"}"#,
        r#"{"approval_id":"apr_1","status":true}"#,
        r#"{"approval_id":"apr_1","status":["approved"]}"#,
        r#"{"result":{"approval_id":"apr_1","status":"approved"}}"#,
    ] {
        pushes.push(text(broken));
    }
    pushes.push(text(REJECTED));
    let script = Script::one(pushes, PENDING);
    let mut gateway = script.gateway();
    assert!(refused(&gateway.ask(&call("1", "any", ECHO))).contains("mine"));
    assert_eq!(script.calls().len(), 1, "nothing was sent again");
    gateway.finish().code(0);
}

/// Pings are answered, and a decision may come in pieces.
#[test]
fn pings_are_answered_and_fragments_joined() {
    let (first, rest) = APPROVED.split_at(20);
    let frames = vec![
        text(PENDING),
        frame(PING, "hi"),
        frame(0x01, first),
        frame(PING, "ho"),
        frame(0x80, rest),
    ];
    let script = Script::one(frames, PENDING);
    let mut gateway = script.gateway();
    assert_eq!(succeeded(&gateway.ask(&call("1", "any", ECHO))), "hello");
    assert_eq!(script.calls().len(), 2);
    gateway.finish().code(0);
}

/// A socket that opens, tells nothing and ends leaves it to the poll.
#[test]
fn a_socket_that_tells_nothing_and_ends_is_polled_for() {
    let frames = vec![frame(PING, "hi"), Vec::new()];
    let script = Script::one(frames, r#"{"approval_id":"apr_1","status":"approved"}"#);
    let mut gateway = script.gateway();
    assert_eq!(succeeded(&gateway.ask(&call("1", "any", ECHO))), "hello");
    assert_eq!(script.calls().len(), 2);
    gateway.finish().code(0);
}

/// An edit may change everything but the tool; nothing is sent otherwise.
#[test]
fn an_edit_to_another_tool_is_refused() {
    for params in [
        r#"{"name":"other","arguments":{}}"#,
        r#"{"arguments":{}}"#,
        r#"{"name":["any"],"arguments":{}}"#,
        "[1]",
        "7",
        r#""any""#,
    ] {
        let push = APPROVED.replace('}', &format!(r#","params":{params}}}"#));
        let script = Script::one(vec![text(&push)], PENDING);
        let mut gateway = script.gateway();
        let words = refused(&gateway.ask(&call("1", "any", ECHO)));
        assert!(words.contains("nothing was sent"), "{params}: {words}");
        assert_eq!(script.calls().len(), 1, "{params}");
        gateway.finish().code(0);
    }
}

/// Neither host nor approver can name another approval on the retry.
#[test]
fn the_retry_names_its_own_approval_only() {
    let params = r#"{"name":"any","arguments":{"n":1E400},"_meta":{"dev.aerostack/approval_id":"apr_9","evil":1}}"#;
    let push = APPROVED.replace('}', &format!(r#","params":{params}}}"#));
    let answer = |_: &str, n| {
        if n == 1 {
            needs("apr_1")
        } else {
            RESULT.to_owned()
        }
    };
    let script = Script::start(answer, vec![text(&push)], PENDING);
    let mut gateway = script.gateway();
    gateway.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"any","arguments":{},"_meta":{"dev.aerostack/approval_id":"apr_8","kept":1.0}}}"#);
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    let calls = script.calls();
    let retry = calls.last().expect("two calls");
    assert!(
        retry.contains(r#""kept":1.0"#) && retry.contains("1E400"),
        "{retry}"
    );
    assert!(
        retry.contains(r#""dev.aerostack/approval_id":"apr_1""#),
        "{retry}"
    );
    assert!(!retry.contains("apr_8") && !retry.contains("apr_9") && !retry.contains("evil"));
    gateway.finish().code(0);
}

/// "-32050 again on the retry with a new id: a second approval, at most 3 in a row."
#[test]
fn at_most_three_approvals_in_a_row() {
    let answer = |_: &str, n: usize| needs(&format!("apr_{n}"));
    // Each of them is approved; a socket shows all, and each takes its own.
    let frames = (1..=5).map(|n| text(&APPROVED.replace("apr_1", &format!("apr_{n}"))));
    let script = Script::start(answer, frames.collect(), PENDING);
    let mut gateway = script.gateway();
    let error = gateway.ask(&call("1", "any", ECHO));
    assert_eq!(error.at("/error/code"), -32_050);
    assert_eq!(error.at("/error/data/approval_id"), "apr_4");
    let calls = script.calls();
    assert_eq!(
        calls.len(),
        4,
        "the first, and a retry for each of three approvals"
    );
    for (n, body) in calls.iter().enumerate().skip(1) {
        assert!(
            body.contains(&format!(r#""dev.aerostack/approval_id":"apr_{n}""#)),
            "{body}"
        );
    }
    gateway.finish().code(0);
}

/// With the approval it already has: wait and send again, under an id of its own each time.
#[test]
fn the_same_approval_again_is_sent_again() {
    let answer = |_: &str, n| {
        if n < 3 {
            needs("apr_1")
        } else {
            RESULT.to_owned()
        }
    };
    let script = Script::start(answer, vec![text(APPROVED)], PENDING);
    let mut gateway = script.gateway();
    assert_eq!(succeeded(&gateway.ask(&call("1", "any", ECHO))), "hello");
    let ids: std::collections::BTreeSet<_> = script
        .calls()
        .into_iter()
        .map(|body| crate::common::Line(body.replacen("\"method\"", "\"_\"", 1)).id())
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    gateway.finish().code(0);
}

/// Executed, with an outcome or without, in either spelling.
#[test]
fn what_was_executed_is_not_sent_again() {
    for (members, expect) in [
        (
            r#""status":"executed","result":{"content":[{"type":"text","text":"done"}],"n":1E400}"#,
            "done",
        ),
        (
            r#""status":"executed","error":{"code":-7,"message":"done"}"#,
            "done",
        ),
        (r#""status":"executed""#, "its result did not come"),
        (
            r#""status":"approved","result":{"content":[{"type":"text","text":"done"}]}"#,
            "done",
        ),
    ] {
        let push = format!(r#"{{"approvalId":"apr_1",{members}}}"#);
        let script = Script::one(vec![text(&push)], PENDING);
        let mut gateway = script.gateway();
        let answer = gateway.ask(&call("1", "any", ECHO));
        assert!(answer.0.contains(expect), "{answer:?}");
        assert_eq!(script.calls().len(), 1, "{members}");
        gateway.finish().code(0);
    }
}

/// A socket holds a mebibyte; what is larger comes by the poll.
#[test]
fn an_outcome_beyond_the_sockets_limit_is_polled() {
    let big = format!(
        r#"{{"approval_id":"apr_1","status":"executed","result":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
        "x".repeat(1 << 20)
    );
    let mut huge = vec![0x81, 127];
    huge.extend((big.len() as u64).to_be_bytes());
    huge.extend(big.as_bytes());
    let poll = r#"{"approval_id":"apr_1","status":"executed","result":{"content":[{"type":"text","text":"polled"}]}}"#;
    let script = Script::one(vec![huge], poll);
    let mut gateway = script.gateway();
    assert_eq!(succeeded(&gateway.ask(&call("1", "any", ECHO))), "polled");
    gateway.finish().code(0);
}

/// Two calls are told to wait for the same approval: without the promise of one execution it is used
/// for one of them.
#[test]
fn an_approval_is_used_for_one_call() {
    let script = Script::one(Vec::new(), r#"{"approval_id":"apr_1","status":"approved"}"#);
    let mut gateway = script.gateway();
    gateway.send(&call("1", "any", ECHO));
    gateway.send(&call("2", "any", ECHO));
    let answers = ["1", "2"].map(|id| gateway.answer(id).text());
    let retries = script.calls();
    let retries = retries.iter().filter(|body| body.contains("approval_id"));
    let used = answers.iter().filter(|text| *text == "hello").count();
    assert_eq!(retries.count(), used, "{answers:?}");
    gateway.finish().code(0);
}
