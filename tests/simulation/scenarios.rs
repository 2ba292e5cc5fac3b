//! One rule each, on the same world: fair weather, a server with a script, a host that says what it
//! is told to.

use super::host::{INITIALIZED, cancel, request};
use super::script::{End, Event, Framing, Mark, Script};
use super::workspace::{Desk, HttpRequest};
use super::world::{Quiet, World, config};
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::CloseCause;
use std::io::ErrorKind;

const JSON: &str = "Content-Type: application/json\r\n";
const LENGTH: Framing = Framing::Length;
const EOF: End = End::Closed(CloseCause::Eof);
const RESET: End = End::Closed(CloseCause::Io(ErrorKind::ConnectionReset));

/// A good answer to a request.
fn answer(request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
    let Some(message) = &request.message else {
        return Script::response(405, "", "", LENGTH, vec![]);
    };
    if message.id == "null" || message.method.is_empty() {
        return Script::response(202, "", "", LENGTH, vec![]);
    }
    desk.ledger.execute(message.nonce());
    let mut headers = JSON.to_owned();
    let (mut marks, mut more) = (Vec::new(), String::new());
    if message.method == "initialize" {
        let initializes = |r: &&HttpRequest| is(r, "initialize");
        let count = desk.ledger.arrived.iter().filter(initializes).count();
        let session = format!("s{}", count + 1);
        headers += &format!("Mcp-Session-Id: {session}\r\n");
        let version = "2025-11-25".to_owned();
        more = format!(",\"protocolVersion\":\"{version}\"");
        marks.push(Mark::InitializeResult {
            session: Some(session),
            version,
        });
    }
    Script::response(200, &headers, &result(request, &more), LENGTH, marks)
}

fn result(request: &HttpRequest, more: &str) -> String {
    let message = request.message.as_ref().expect("a request");
    let nonce = message
        .nonce()
        .map_or("null".to_owned(), |nonce| nonce.to_string());
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}}{more}}}}}",
        message.id
    )
}

fn is(request: &HttpRequest, method: &str) -> bool {
    request
        .message
        .as_ref()
        .is_some_and(|message| message.method == method)
}

fn refuse(status: u16, headers: &str) -> Script {
    Script::response(status, headers, "no", LENGTH, vec![Mark::Refused])
}

fn count(world: &World, method: &str) -> usize {
    world
        .ledger
        .arrived
        .iter()
        .filter(|request| is(request, method))
        .count()
}

fn gets(world: &World) -> Vec<&HttpRequest> {
    world
        .ledger
        .arrived
        .iter()
        .filter(|request| request.method == "GET")
        .collect()
}

/// The line with this request's answer.
fn heard(world: &World, id: &str) -> String {
    let key = format!("\"id\":{id},");
    let mut lines = world.judge.heard.iter().filter(|line| line.contains(&key));
    lines.next().cloned().unwrap_or_default()
}

fn check(world: &World, id: &str, parts: &[&str]) {
    let line = heard(world, id);
    for part in parts {
        assert!(line.contains(part), "{id}: {line:?} lacks {part}");
    }
}

fn world_with(
    settings: &[(&'static str, &str)],
    limits: Limits,
    serve: impl FnMut(&HttpRequest, &mut Desk<'_>) -> Script + 'static,
) -> World {
    let name = std::thread::current()
        .name()
        .unwrap_or("scenario")
        .to_owned();
    World::new(
        &name,
        7,
        config(settings, limits),
        Box::new(serve),
        Box::new(Quiet),
    )
}

fn world(serve: impl FnMut(&HttpRequest, &mut Desk<'_>) -> Script + 'static) -> World {
    world_with(&[], Limits::default(), serve)
}

/// With a session that is open.
fn session(serve: impl FnMut(&HttpRequest, &mut Desk<'_>) -> Script + 'static) -> World {
    let mut world = world(serve);
    open(&mut world);
    world
}

fn open(world: &mut World) {
    world.say(&request("0", "initialize", 1_000_000, false));
    world.run_ms(50);
    world.say(INITIALIZED);
    world.run_ms(50);
}

fn call(world: &mut World, id: u64) {
    world.say(&request(&id.to_string(), "tools/call", id, false));
}

/// Ends well, and the judge agrees with all.
fn over(mut world: World) {
    world.close_stdin(0);
    world.run_ms(4_000);
    assert!(world.exit.is_some(), "the process ends");
    world.finish();
}

fn is_call(request: &HttpRequest) -> bool {
    is(request, "tools/call")
}

#[test]
fn a_stale_connection_is_replayed_for_safe_methods_only() {
    for (method, replayed) in [("tools/list", true), ("tools/call", false)] {
        let mut broken = false;
        let mut world = session(move |request, desk| {
            if is(request, method) && !std::mem::replace(&mut broken, true) {
                return Script::nothing(RESET);
            }
            answer(request, desk)
        });
        world.say(&request("1", method, 1, false));
        world.run_ms(2_000);
        assert_eq!(count(&world, method), if replayed { 2 } else { 1 });
        let parts: &[&str] = match replayed {
            true => &["\"result\""],
            false => &["\"executed\":\"unknown\"", "may have been executed"],
        };
        check(&world, "1", parts);
        over(world);
    }
}

#[test]
fn concurrent_losers_of_a_session_share_one_new_one_and_are_sent_again_once() {
    for refusal in [404, 400] {
        let mut world = session(move |request, desk| {
            if is_call(request) && request.header("mcp-session-id") == Some("s1") {
                desk.ledger.dead_sessions.insert("s1".to_owned());
                let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
                let script = Script::response(refusal, JSON, body, LENGTH, vec![Mark::Refused]);
                return script.after(desk.random.below(30_000));
            }
            answer(request, desk)
        });
        (1..=10).for_each(|id| call(&mut world, id));
        world.run_ms(3_000);
        assert_eq!(count(&world, "initialize"), 2);
        assert_eq!(count(&world, "notifications/initialized"), 2);
        for id in 1..=10 {
            check(&world, &id.to_string(), &["\"result\""]);
            assert_eq!(world.ledger.executions(id), 1);
        }
        over(world);
    }
}

#[test]
fn a_rate_limit_is_waited_out_by_all_and_can_be_cancelled() {
    let mut refused = false;
    let mut world = session(move |request, desk| {
        if is_call(request) && !std::mem::replace(&mut refused, true) {
            return refuse(429, "Retry-After: 5\r\n");
        }
        answer(request, desk)
    });
    call(&mut world, 1);
    world.run_ms(100);
    call(&mut world, 2);
    call(&mut world, 3);
    world.say(&cancel("3"));
    world.run_ms(4_500);
    assert_eq!(count(&world, "tools/call"), 1, "one gate for all");
    world.run_ms(1_000);
    check(&world, "1", &["\"result\""]);
    check(&world, "2", &["\"result\""]);
    assert_eq!(heard(&world, "3"), "");
    assert_eq!(count(&world, "tools/call"), 3);
    assert_eq!(
        count(&world, "notifications/cancelled"),
        0,
        "unsent needs no cancel"
    );
    over(world);
}

#[test]
fn a_long_rate_limit_is_an_error_that_says_how_long() {
    let mut world = session(|request, desk| match is_call(request) {
        true => refuse(429, "Retry-After: 31\r\n"),
        false => answer(request, desk),
    });
    call(&mut world, 1);
    world.run_ms(100);
    check(
        &world,
        "1",
        &[
            "\"retry_after_s\":31",
            "\"http_status\":429",
            "\"executed\":\"no\"",
        ],
    );
    over(world);
}

#[test]
fn server_errors_are_retried_three_times_for_safe_methods_only() {
    for (method, times) in [("prompts/get", 4), ("tools/call", 1)] {
        let mut world = session(move |request, desk| match is(request, method) {
            true => Script::response(503, "Retry-After: 2\r\n", "", LENGTH, vec![]),
            false => answer(request, desk),
        });
        world.say(&request("1", method, 1, false));
        world.run_ms(1_900);
        assert_eq!(count(&world, method), 1, "Retry-After is honoured");
        world.run_ms(20_000);
        assert_eq!(count(&world, method), times);
        check(
            &world,
            "1",
            &["\"http_status\":503", "\"executed\":\"unknown\""],
        );
        over(world);
    }
}

#[test]
fn redirects_within_the_origin_are_followed_three_times_others_named() {
    let mut world = session(|request, desk| {
        if !is_call(request) {
            return answer(request, desk);
        }
        match request.message.as_ref().and_then(|m| m.nonce()) {
            Some(1) if request.target == "/ws/sim" => refuse(307, "Location: /ws/sim/b\r\n"),
            Some(1) => answer(request, desk),
            Some(2) => refuse(308, "Location: /ws/sim/again\r\n"),
            Some(3) => refuse(307, "Location: https://evil.example/x\r\n"),
            Some(4) => refuse(307, "Location: http://w.example/ws/sim\r\n"),
            _ => refuse(302, "Location: /ws/sim/b\r\n"),
        }
    });
    (1..=5).for_each(|id| call(&mut world, id));
    world.run_ms(1_000);
    check(&world, "1", &["\"result\""]);
    check(&world, "2", &["/ws/sim/again", "HTTP 308"]);
    check(
        &world,
        "3",
        &["https://evil.example/x", "\"executed\":\"no\""],
    );
    check(&world, "4", &["http://w.example/ws/sim"]);
    check(&world, "5", &["HTTP 302", "/ws/sim/b"]);
    assert_eq!(count(&world, "tools/call"), 2 + 4 + 1 + 1 + 1);
    over(world);
}

#[test]
fn a_redirect_of_a_cancelled_call_is_not_followed() {
    let mut world = session(|request, desk| match is_call(request) {
        true => refuse(307, "Location: /ws/sim/b\r\n").after(200_000),
        false => answer(request, desk),
    });
    call(&mut world, 1);
    world.run_ms(50);
    world.say(&cancel("1"));
    world.run_ms(1_000);
    assert_eq!(count(&world, "tools/call"), 1);
    over(world);
}

#[test]
fn a_stream_that_ends_without_answer_is_resumed_where_it_has_ids_else_an_error() {
    let mut world = session(|request, desk| {
        if request.header("last-event-id") == Some("e1") {
            let text = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"sim/nonce":1}}}"#;
            return Script::events("", &[Event::new(text).mark(Mark::Answer(1))], true, "\n");
        }
        match request.nonce() {
            Some(1) => Script::events("", &[Event::new("").id("e1").retry(700)], true, "\n"),
            Some(2) => Script::events("", &[Event::new("")], true, "\n"),
            _ => answer(request, desk),
        }
    });
    call(&mut world, 1);
    call(&mut world, 2);
    world.run_ms(600);
    check(
        &world,
        "2",
        &["without an answer", "\"executed\":\"unknown\""],
    );
    assert_eq!(heard(&world, "1"), "", "`retry` is respected");
    world.run_ms(300);
    check(&world, "1", &["\"result\""]);
    assert_eq!(count(&world, "tools/call"), 2, "resumed, not repeated");
    over(world);
}

#[test]
fn a_resumption_that_fails_does_not_deny_the_execution() {
    let mut world = session(|request, desk| {
        desk.ledger.execute(request.nonce());
        match request.nonce() {
            Some(1) => Script::events("", &[Event::new("").id("e1").retry(10)], false, "\n"),
            _ => answer(request, desk),
        }
    });
    call(&mut world, 1);
    world.run_ms(5);
    world.weather.refuse = 100;
    world.run_ms(120_000);
    check(&world, "1", &["\"executed\":\"unknown\""]);
    world.weather.refuse = 0;
    over(world);
}

#[path = "lifetime.rs"]
mod lifetime;
