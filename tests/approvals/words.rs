//! What a workspace says around an approval: its words for no, the places it names, the numbers that
//! the host hears beside the server's own, and what is no request at all.

use super::refused;
use super::scripted::{PENDING, RESULT, Script, needs, text};
use crate::common::{RawServer, Request, Setup, TOKEN, call, json_reply, reply};
use std::sync::{Arc, Mutex};

/// `any` with a progress token.
fn with_progress(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"any","arguments":{{}},"_meta":{{"progressToken":"p"}}}}}}"#
    )
}

/// Pushed and polled: the words end the wait as a no, with the reviewer's note.
#[test]
fn every_word_for_no_is_a_no() {
    const SAYS: [(&str, &str); 9] = [
        ("rejected", "was rejected by ada"),
        ("denied", "was rejected by ada"),
        ("declined", "was rejected by ada"),
        ("refused", "was rejected by ada"),
        ("expired", "expired: nobody decided in time"),
        ("timeout", "expired: nobody decided in time"),
        ("timed_out", "expired: nobody decided in time"),
        ("cancelled", "was cancelled by ada"),
        ("canceled", "was cancelled by ada"),
    ];
    for (word, says) in SAYS {
        let object = format!(
            r#"{{"approval_id":"apr_1","status":"{word}","note":"not today","decided_by":"ada"}}"#
        );
        let expect =
            format!("any was NOT executed: the approval {says}. Reviewer's note: not today");
        for (frames, poll) in [(vec![text(&object)], PENDING.to_owned()), (vec![], object)] {
            let script = Script::one(frames, poll.leak());
            let mut gateway = script.gateway();
            assert_eq!(refused(&gateway.ask(&call("1", "any", "{}"))), expect);
            assert_eq!(script.calls().len(), 1, "{word}");
            gateway.finish().code(0);
        }
    }
}

/// A place to decide is shown if it is a web page; so is the one of the handshake.
#[test]
fn only_web_pages_are_shown_as_places_to_decide() {
    let decided = r#"{"approval_id":"apr_1","status":"rejected"}"#;
    for (url, shown) in [
        ("https://a.example/apr_1", "https://a.example/apr_1"),
        ("HTTP://a.example/", "HTTP://a.example/"),
        ("javascript:alert(document.cookie)", "open your workspace"),
        ("JavaScript://x/%0aalert(1)", "open your workspace"),
        ("data:text/html,x", "open your workspace"),
        ("file:///etc/passwd", "open your workspace"),
    ] {
        for in_handshake in [false, true] {
            let more = format!(r#","dashboard_url":"{url}""#);
            let (offer, data) = match in_handshake {
                true => (more, String::new()),
                false => (String::new(), more),
            };
            let server = RawServer::http(move |request| {
                let id = request.id();
                let json = |body: &str| reply("200 OK", "Content-Type: application/json\r\n", body);
                if request.is("initialize") {
                    return json(&format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}},"serverInfo":{{"name":"raw","version":"1"}},"_meta":{{"dev.aerostack/workspace":{{"slug":"s"{offer}}}}}}}}}"#
                    ));
                }
                if request.is("tools/call") {
                    return json(&format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32050,"message":"m","data":{{"approval_id":"apr_1"{data}}}}}}}"#
                    ));
                }
                json_reply(request, decided)
            });
            let mut gateway = Setup::url(&server.url()).spawn();
            gateway.initialize();
            gateway.send(&with_progress("1"));
            let words = gateway
                .message("notifications/progress")
                .at("/params/message");
            assert_eq!(
                words,
                format!("waiting for approval in the dashboard: {shown}")
            );
            gateway.answer("1");
            let stderr = gateway.finish().code(0).stderr;
            assert_eq!(stderr.contains(url), shown == url, "{stderr}");
        }
    }
}

/// Notes, reasons and places may repeat the token.
#[test]
fn an_approvals_words_hold_no_secret() {
    let object = format!(
        r#"{{"approval_id":"apr_1","status":"denied","note":"{}{TOKEN}","decided_by":"{TOKEN}"}}"#,
        "x ".repeat(990)
    );
    let error = format!(
        r#""error":{{"code":-32050,"message":"m","data":{{"approval_id":"apr_1","reason":"for {TOKEN}","dashboard_url":"https://a.example/?t={TOKEN}"}}}}"#
    );
    let script = Script::start(move |_, _| error.clone(), vec![text(&object)], PENDING);
    let mut gateway = script.gateway();
    gateway.send(&with_progress("1"));
    let words = gateway
        .message("notifications/progress")
        .at("/params/message");
    assert_eq!(
        words,
        "waiting for approval in the dashboard: https://a.example/?t=***"
    );
    let told = refused(&gateway.answer("1"));
    assert!(
        told.contains("was rejected by ***.") && told.ends_with("x ***"),
        "{told}"
    );
    let stderr = gateway.finish().code(0).stderr;
    assert!(
        stderr.contains("(for ***): https://a.example/?t=***"),
        "{stderr}"
    );
    assert!(!stderr.contains(&TOKEN[..12]), "{stderr}");
}

/// Progress of one token grows over two approvals and beside what the server tells itself, which
/// begins anew with each attempt.
#[test]
fn progress_only_grows() {
    let approvals = Arc::new(Mutex::new(0));
    let server = RawServer::http(move |request: &Request| {
        if !request.is("tools/call") {
            let approved = r#"{"approval_id":"ID","status":"approved"}"#;
            let id = match request.body.contains("apr_2") {
                true => "apr_2",
                false => "apr_1",
            };
            return json_reply(request, &approved.replace("ID", id));
        }
        let mut round = approvals.lock().expect("not poisoned");
        *round += 1;
        let (id, member) = (
            request.id(),
            match *round {
                1 => needs("apr_1"),
                2 => needs("apr_2"),
                _ => RESULT.to_owned(),
            },
        );
        let told: String = ["1", "2.50", "5"]
            .map(|number| format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":\"p\", \"progress\":{number} ,\"total\":5}}}}\n\n"))
            .concat();
        let body = format!("{told}data: {{\"jsonrpc\":\"2.0\",\"id\":{id},{member}}}\n\n");
        reply("200 OK", "Content-Type: text/event-stream\r\n", &body)
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    gateway.send(&with_progress("1"));
    assert_eq!(gateway.answer("1").text(), "hello");
    let ended = gateway.finish().code(0);
    let told = ended
        .lines
        .iter()
        .filter(|line| line.0.contains("notifications/progress"));
    let told: Vec<String> = told
        .map(|line| line.at("/params/progress").to_string())
        .collect();
    // The server's own numbers of the first attempt pass as they came; what follows is lifted.
    assert_eq!(
        told,
        [
            "1", "2.50", "5", "5.001", "5.002", "5.003", "5.004", "5.005", "5.006", "5.007",
            "5.008"
        ]
        .map(|number| number
            .parse::<serde_json::Number>()
            .expect("a number")
            .to_string())
    );
    let first = ended.lines.iter().find(|line| line.0.contains("2.5"));
    let first = &first.expect("it was told").0;
    assert!(
        first.contains("\"progressToken\":\"p\", \"progress\":2.50 ,\"total\":5"),
        "{first}"
    );
}

/// An array with a request's members in their order is no request, alone or in a batch; nor are
/// params of that kind arguments.
#[test]
fn arrays_are_no_requests() {
    let script = Script::one(vec![], PENDING);
    let mut gateway = script.gateway();
    gateway.send(r#"[["2.0",1,"tools/call"]]"#);
    let answer = gateway.next();
    assert_eq!(
        answer.0,
        r#"[{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request in a batch"}}]"#
    );
    gateway.send(r#"["2.0",1,"tools/call"]"#);
    let answer = gateway.next();
    assert_eq!(answer.at("/0/error/code"), -32600, "{answer:?}");
    assert_eq!(script.calls(), [""; 0]);
    gateway.finish().code(0);
}
