//! What a person trusts the program with: secrets that servers repeat are shown to nobody, a token
//! that is renewed reaches every call, and the end says truly what ran.

mod common;

use common::{DEADLINE, Dir, RawServer, Request, Setup, TOKEN, call, json_reply, reply};
use rustix::process::Signal;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

const JSON: &str = "Content-Type: application/json\r\n";
/// A header of the person's own.
const HEADER: (&str, &str) = (
    "AEROSTACK_HEADER_X_KEY",
    "X-Key: Basic dXNlcjpodW50ZXIyMjI=",
);

/// A server that answers calls so, with a session whose id is a secret, too.
fn server(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> RawServer {
    RawServer::http(move |request| match request.is("tools/call") {
        true => answer(request),
        false if request.is("initialize") => {
            let plain = String::from_utf8(json_reply(request, "{}")).expect("text");
            let session = "\r\nMcp-Session-Id: session-5f1d2c9a\r\n";
            plain.replacen("\r\n", session, 1).into_bytes()
        }
        false => json_reply(request, "{}"),
    })
}

/// The token as a server may spell it.
fn spellings() -> [String; 4] {
    let percent = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let unicode = TOKEN.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    [TOKEN.to_owned(), percent, unicode, TOKEN.to_uppercase()]
}

/// What the gateway says in words of its own: no piece of a secret is in it, the rest is.
fn hides(text: &str, kept: &str) {
    let folded = text.to_lowercase();
    for piece in [
        "5f1d2c9a",
        "tests_only",
        "%35%46",
        "u0035",
        "dxnlcj",
        "hunter222",
    ] {
        assert!(!folded.contains(piece), "{piece} is shown: {text}");
    }
    assert!(text.contains(kept), "{kept} is lost: {text}");
}

/// Each way in which a server's answer becomes words of ours, with each spelling.
#[test]
fn a_token_that_a_server_repeats_is_shown_to_nobody() {
    type Answer = fn(&str) -> Vec<u8>;
    let ways: [(&str, Answer); 9] = [
        ("redirects to https://a.example/?t=***", |t| {
            let location = format!("Location: https://a.example/?t={t}&n=1\r\n");
            reply("302 Found", &location, "")
        }),
        ("the token *** is not valid", |t| {
            let body = format!(r#"{{"error":{{"message":"the token {t} is not valid"}}}}"#);
            reply("401 Unauthorized", JSON, &body)
        }),
        ("not for ***", |t| {
            reply(
                "403 Forbidden",
                JSON,
                &format!(r#"{{"error":"not for {t}"}}"#),
            )
        }),
        ("Bearer ***", |t| {
            reply(
                "500 Oops",
                "",
                &format!("boom; Authorization: Bearer {t}; at line 7"),
            )
        }),
        ("Oops: ***", |t| {
            reply(
                "404 Not Found",
                "",
                &format!("<html><title>Oops: {t}</title>"),
            )
        }),
        ("hello, ***", |t| {
            reply(
                "200 OK",
                "Content-Type: text/plain\r\n",
                &format!("hello, {t}"),
            )
        }),
        ("text/x-***", |t| {
            reply("200 OK", &format!("Content-Type: text/x-{t}\r\n"), "...")
        }),
        // Where it is cut: half a token is a token, too.
        ("x ***", |t| {
            reply("500 Oops", "", &format!("{}{t}", "x ".repeat(145)))
        }),
        ("HTTP 429", |t| {
            reply("429 Too Many", "Retry-After: 99\r\n", t)
        }),
    ];
    for (kept, answer) in ways {
        for spelling in spellings() {
            let body = spelling.clone();
            let server = server(move |_| answer(&body));
            let mut gateway = Setup::url(&server.url()).spawn();
            gateway.initialize();
            let error = gateway.ask(&call("1", "any", "{}")).error();
            hides(&error, kept);
            let ended = gateway.finish().code(0);
            hides(&ended.stderr, "aerostack-gateway");
        }
    }
}

/// The same for what else is secret: headers of the person's own with what their value holds, and
/// the session's id. A JSON-RPC error with an error status passes as it came but for that.
#[test]
fn every_secret_counts_and_a_servers_error_passes_but_for_them() {
    let text = "Basic dXNlcjpodW50ZXIyMjI=, dXNlcjpodW50ZXIyMjI=, hunter222, session-5f1d2c9a";
    let plain = server(move |_| reply("500 Oops", "", &format!("sent: {text}.")));
    let mut gateway = Setup::url(&plain.url()).env(HEADER.0, HEADER.1).spawn();
    gateway.initialize();
    let error = gateway.ask(&call("1", "any", "{}")).error();
    hides(&error, "(it says: sent: ***, ***, ***, ***.)");
    hides(
        &gateway.finish().code(0).stderr,
        "sent: ***, ***, ***, ***.",
    );
    let server = server(move |request| {
        let id = request.id();
        let body = format!(
            r#"{{ "jsonrpc":"2.0","error":{{"code":-7,  "data":[1.50,"\u0041",{{"t":"{text}","u":"{TOKEN}"}}],"message":"no"}},"id":{id}}}"#
        );
        reply("400 Bad Request", JSON, &body)
    });
    let mut gateway = Setup::url(&server.url()).env(HEADER.0, HEADER.1).spawn();
    gateway.initialize();
    let line = gateway.ask(&call("1", "any", "{}")).0;
    assert_eq!(
        line,
        r#"{ "jsonrpc":"2.0","error":{"code":-7,  "data":[1.50,"\u0041",{"t":"***, ***, ***, ***","u":"***"}],"message":"no"},"id":1}"#
    );
    gateway.finish().code(0);
}

/// With a success the server's error is the server's: every byte of it.
#[test]
fn an_error_with_a_success_status_passes_byte_for_byte() {
    let server = server(|request| {
        let id = request.id();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":5,  "message":"session-5f1d2c9a \u0074","data":[1.50]}}}}"#
        );
        reply("200 OK", JSON, &body)
    });
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.initialize();
    let line = gateway.ask(&call("1", "any", "{}")).0;
    assert_eq!(
        line,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":5,  "message":"session-5f1d2c9a \u0074","data":[1.50]}}"#
    );
    gateway.finish().code(0);
}

/// The diagnosis prints what it is told, as text and as JSON, whatever the status.
#[test]
fn the_diagnosis_shows_no_token() {
    type Answer = fn(&Request) -> Vec<u8>;
    let ways: [(&str, Answer); 5] = [
        ("a.example", |_| {
            let location = format!("Location: https://a.example/?t={TOKEN}\r\n");
            reply("302 Found", &location, "")
        }),
        ("not known here", |_| {
            let body = format!(r#"{{"error":{{"message":"{TOKEN} is not known here"}}}}"#);
            reply("401 Unauthorized", JSON, &body)
        }),
        ("not today", |request| {
            let id = request.id();
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-3,"message":"not today, {TOKEN}"}}}}"#
            );
            reply("200 OK", JSON, &body)
        }),
        // Where it is cut: half a token is a token, too.
        ("x ***", |request| {
            let (id, long) = (request.id(), "x ".repeat(145));
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-3,"message":"{long}{TOKEN}"}}}}"#
            );
            reply("200 OK", JSON, &body)
        }),
        ("Workspace connected", |request| {
            let body = json_reply(request, r#"{"tools":[]}"#);
            let text = String::from_utf8(body).expect("text");
            let name = format!("\"name\":\"{TOKEN}\"");
            let old = r#""name":"raw""#;
            let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
            let body = body.replace(old, &name);
            match text.starts_with("HTTP/1.1 200") {
                true => reply("200 OK", JSON, &body),
                false => text.into_bytes(),
            }
        }),
    ];
    for (kept, answer) in ways {
        for json in [false, true] {
            let server = RawServer::http(answer);
            let mut arguments = vec!["--check"];
            arguments.extend(json.then_some("--json"));
            let mut command = std::process::Command::new(common::program());
            let output = command
                .args(&arguments)
                .env_clear()
                .env("AEROSTACK_WORKSPACE_URL", server.url())
                .env("AEROSTACK_TOKEN", TOKEN)
                .env("AEROSTACK_LOG_LEVEL", "debug")
                .output()
                .expect("it runs");
            hides(&String::from_utf8_lossy(&output.stdout), kept);
            hides(&String::from_utf8_lossy(&output.stderr), "");
        }
    }
}

/// A gate in the server's hands: what waits for it goes on once it is opened.
struct Gate(Sender<()>, Mutex<Receiver<()>>);

impl Gate {
    fn new() -> Arc<Self> {
        let (sender, receiver) = channel();
        Arc::new(Self(sender, Mutex::new(receiver)))
    }

    fn open(&self) {
        self.0.send(()).expect("the other end is ours");
    }

    fn pass(&self) {
        let receiver = self.1.lock().expect("not poisoned");
        receiver.recv_timeout(DEADLINE).expect("the gate opens");
    }
}

/// Two calls are under way when the token is replaced, and the second is refused only after the
/// first was sent again: it carried the token from before, so it goes again, too. Once.
#[test]
fn a_renewed_token_serves_every_call_that_was_refused_for_the_old_one() {
    // A server's thread does not end with the test: it must own nothing that has to be removed.
    let dir = Dir::new();
    let file = dir.file("token", "mwt_old_token\n");
    let (second_came, first_again) = (Gate::new(), Gate::new());
    let counts = Arc::new(Mutex::new([0, 0]));
    let (place, seen) = (file.clone(), counts.clone());
    let server = RawServer::http(move |request| {
        if !request.is("tools/call") {
            return json_reply(request, "{}");
        }
        let first = request.body.contains("\"n\":1");
        seen.lock().expect("not poisoned")[usize::from(!first)] += 1;
        let renewed = request.header("authorization") == Some(&format!("Bearer {TOKEN}"));
        match (renewed, first) {
            (true, true) => {
                first_again.open();
                json_reply(request, "{}")
            }
            (true, false) => json_reply(request, "{}"),
            (false, true) => {
                second_came.pass();
                std::fs::write(&place, format!("{TOKEN}\n")).expect("our file");
                reply("401 Unauthorized", "", "")
            }
            (false, false) => {
                second_came.open();
                first_again.pass();
                reply("401 Unauthorized", "", "")
            }
        }
    });
    let mut gateway = Setup::url(&server.url())
        .without("AEROSTACK_TOKEN")
        .env("AEROSTACK_TOKEN_FILE", &file)
        .spawn();
    gateway.initialize();
    gateway.send(&call("1", "any", "{\"n\":1}"));
    gateway.send(&call("2", "any", "{\"n\":2}"));
    for id in ["1", "2"] {
        let answer = gateway.answer(id);
        assert!(answer.0.contains("\"result\""), "{answer:?}");
    }
    assert_eq!(*counts.lock().expect("not poisoned"), [2, 2]);
    let ended = gateway.finish().code(0);
    assert!(!ended.stderr.contains("mwt_old_token"), "{}", ended.stderr);
}

/// A pipe behind the name of the token file is not waited for, also when it is read again.
#[test]
fn a_token_file_that_became_a_pipe_does_not_hold_up_the_loop() {
    let dir = Dir::new();
    let file = dir.file("token", "mwt_old_token\n");
    let server = RawServer::http(move |request| match request.is("tools/call") {
        true => reply("401 Unauthorized", "", "gone"),
        false => json_reply(request, "{}"),
    });
    let mut gateway = Setup::url(&server.url())
        .without("AEROSTACK_TOKEN")
        .env("AEROSTACK_TOKEN_FILE", &file)
        .spawn();
    gateway.initialize();
    std::fs::remove_file(&file).expect("it is there");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).expect("a pipe");
    let error = gateway.ask(&call("1", "any", "{}")).error();
    assert!(error.contains("it says: gone"), "{error}");
    assert!(
        gateway
            .ask(&common::request("2", "ping"))
            .0
            .contains("\"result\"")
    );
    gateway.finish().code(0);
}

/// More calls than connections, and none is answered: those that the server never saw were not
/// executed, and only those.
#[test]
fn what_never_left_was_not_executed() {
    const CALLS: usize = 200;
    for signal in [
        None,
        Some(Signal::TERM),
        Some(Signal::HUP),
        Some(Signal::INT),
    ] {
        let (came, calls) = channel();
        let came = Mutex::new(came);
        let server = RawServer::start(move |mut stream, _| {
            use std::io::{Read, Write};
            while let Some(request) = Request::read(&mut stream) {
                if request.is("tools/call") {
                    let name = request.body.split("\"n\":").nth(1).expect("a number");
                    let number: String = name.chars().take_while(char::is_ascii_digit).collect();
                    came.lock().expect("not poisoned").send(number).ok();
                    // Silence until the gateway goes.
                    return drop(stream.read(&mut [0; 64]));
                }
                if stream.write_all(&json_reply(&request, "{}")).is_err() {
                    return;
                }
            }
        });
        let mut gateway = Setup::url(&server.url()).spawn();
        gateway.initialize();
        for n in 0..CALLS {
            gateway.send(&call(&n.to_string(), "any", &format!("{{\"n\":{n}}}")));
        }
        // All connections for calls are taken.
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < 128 {
            seen.push(calls.recv_timeout(DEADLINE).expect("a call"));
        }
        let ended = match signal {
            Some(signal) => {
                gateway.signal(signal);
                gateway.wait()
            }
            None => gateway.finish(),
        };
        let ended = ended.code(0);
        assert!(calls.try_recv().is_err(), "nothing leaves at the very end");
        assert_eq!(ended.lines.len(), CALLS, "each is answered");
        for line in &ended.lines {
            let left = seen.contains(&line.id().expect("an id"));
            let words = match left {
                true => "may have been executed",
                false => "It was not executed",
            };
            assert!(line.error().contains(words), "{line:?}");
            let executed = if left { "unknown" } else { "no" };
            assert_eq!(line.at("/error/data/executed"), executed);
        }
    }
}

/// The terminal closes: the farewell is the same as at SIGTERM, and a second SIGHUP, which kernel
/// and shell both send, does not cut it short.
#[test]
fn a_hangup_ends_like_a_termination() {
    let workspace = common::Workspace::gated();
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.initialize();
    gateway.send(&call("1", "demo__echo", r#"{"text":"hello"}"#));
    workspace.one_pending();
    gateway.signal(Signal::HUP);
    gateway.signal(Signal::HUP);
    let ended = gateway.wait().code(0);
    let answer = ended
        .lines
        .iter()
        .find(|line| line.id().as_deref() == Some("1"));
    let answer = answer.expect("the call is answered");
    assert!(answer.text().contains("the gateway ended"), "{answer:?}");
    assert_eq!(workspace.requests("aerostack/approvals/cancel").len(), 1);
    assert_eq!(workspace.sessions(), 0, "the session is given back");
}

/// A session that can not be opened again is no reason to hide the built-in tools.
#[test]
fn built_in_tools_are_listed_also_when_a_session_can_not_be_opened_again() {
    for status in [
        "500 Oops",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        let opened = Mutex::new(false);
        let server = RawServer::http(move |request| {
            let mut opened = opened.lock().expect("not poisoned");
            if request.is("initialize") && !std::mem::replace(&mut *opened, true) {
                let plain = String::from_utf8(json_reply(request, "{}")).expect("text");
                let session = "\r\nMcp-Session-Id: session-1\r\n";
                return plain.replacen("\r\n", session, 1).into_bytes();
            }
            match request.is("initialize") {
                true => reply(status, "", ""),
                false if request.is("tools/list") => reply("404 Not Found", "", ""),
                false => json_reply(request, "{}"),
            }
        });
        let mut gateway = Setup::url(&server.url())
            .env("AEROSTACK_BUILTIN_TOOLS", "on")
            .spawn();
        gateway.initialize();
        let list = gateway.ask(&common::request("1", "tools/list"));
        assert!(
            list.0.contains("aerostack__local_guardian"),
            "{status}: {list:?}"
        );
        let error = gateway.ask(&call("2", "any", "{}"));
        assert!(error.0.contains("\"error\""), "{status}: {error:?}");
        gateway.finish().code(0);
    }
}
