//! Event streams: the session's, a request's, and answers that come elsewhere.

use super::*;

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;

/// Ready, and the session's event stream is open.
fn streaming() -> Client {
    let mut client = Client::confirming(&[]);
    client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(client.begin("GET", EVENTS), "");
    client
}

#[test]
fn a_session_without_an_event_stream_is_a_session() {
    for code in [400, 404, 405, 501] {
        let mut client = Client::confirming(&[]);
        client.answer(INITIALIZED, ACCEPTED);
        assert_eq!(client.answer("GET", &status(code, "", "")), "");
        let again = ["", "> GET @s1"][usize::from(code == 501)];
        assert_eq!(client.wait(3_000), again, "{code}");
    }
}

#[test]
fn an_event_stream_that_ends_is_opened_again_where_it_ended() {
    let mut client = streaming();
    let message = event("id: 7\nretry: 700\n", NOTE);
    assert_eq!(
        client.begin("GET", &message),
        "message notifications/progress"
    );
    assert_eq!(client.answer("GET", END), "");
    assert_eq!(client.wait(699), "");
    assert_eq!(client.wait(1), "> GET @s1 after 7");
    // A kept connection may have been stale: once.
    assert_eq!(client.lose("GET"), "> GET @s1 after 7");
    assert_eq!(client.lose("GET"), "");
    assert_eq!(client.wait(700), "> GET @s1 after 7");
    // What was open once comes back whatever its server says.
    assert_eq!(client.answer("GET", &status(405, "", "")), "");
    assert_eq!(client.wait(700), "> GET @s1 after 7");
    // Only this refusal speaks of the session.
    assert_eq!(client.answer("GET", &status(404, "", "")), "> initialize");
    // One that is never opened is given up.
    let mut client = Client::confirming(&[]);
    client.answer(INITIALIZED, ACCEPTED);
    let mut attempts = 0;
    while !client.open.is_empty() {
        attempts += 1;
        client.answer("GET", &status(503, "", ""));
        client.wait(60_000);
    }
    assert_eq!(attempts, 4);
}

#[test]
fn a_pause_ends_when_the_server_can_be_reached_again() {
    for (retry, again) in [("", "> GET @s1"), ("retry: 25000\n", "")] {
        let mut client = streaming();
        client.begin("GET", &event(retry, NOTE));
        client.dials = Dials::Fail;
        client.lose("GET");
        client.wait(80_000);
        // Its next attempt is up to half a minute away, when a call is answered.
        client.dials = Dials::Succeed;
        client.ask(2, "tools/call");
        assert_eq!(
            client.answer("tools/call", &result()),
            "answered 2",
            "{retry:?}"
        );
        assert_eq!(client.wait(374), "");
        // A server that has asked for a pause has it.
        assert_eq!(client.wait(251), again, "{retry:?}");
        assert_eq!(client.wait(25_000).is_empty(), retry.is_empty());
    }
}

#[test]
fn an_answer_may_come_elsewhere_while_the_event_stream_lives() {
    let empty = [ACCEPTED.to_owned(), format!("{EVENTS}{END}")];
    for empty in &empty {
        let mut client = streaming();
        client.ask(2, "tools/call");
        client.ask(3, "tools/call");
        assert_eq!(client.answer("tools/call", empty), "");
        assert_eq!(client.answer("tools/call", empty), "");
        let answer = event("", &RESULT.replace("$ID", "2"));
        assert_eq!(client.begin("GET", &answer), "answered 2");
        assert_eq!(client.begin("GET", &answer), "", "once");
        assert_eq!(client.answer("GET", END), "failed 3 NoAnswer, may have run");
    }
    // Without such a stream, and in the modern era, there is nowhere else.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    let told = client.answer("tools/call", ACCEPTED);
    assert_eq!(told, "failed 2 NoAnswer, may have run");
    let mut client = streaming();
    client.ask_modern(2, "tools/call", "{}");
    let told = client.answer("tools/call", ACCEPTED);
    assert_eq!(told, "failed 2 NoAnswer, may have run");
    // Nor for ever.
    let mut client = streaming();
    client.ask(2, "tools/call");
    client.answer("tools/call", ACCEPTED);
    assert_eq!(client.wait(3_599_999), "");
    let told = client.wait(1);
    assert_eq!(
        told,
        "> notifications/cancelled @s1; failed 2 TimedOut, may have run"
    );
}

#[test]
fn a_requests_stream_is_resumed_in_the_legacy_era_alone() {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.begin("tools/call", EVENTS);
    let message = client.begin("tools/call", &event("id: a\nretry: 600\n", NOTE));
    assert_eq!(message, "message notifications/progress");
    assert_eq!(client.lose("tools/call"), "");
    assert_eq!(client.wait(600), "> GET @s1 after a");
    client.begin("GET", EVENTS);
    assert_eq!(
        client.begin("GET", &event("", &RESULT.replace("$ID", "2"))),
        "answered 2"
    );
    // It stands still: five times, then it is told.
    client.ask(3, "tools/call");
    client.begin("tools/call", EVENTS);
    client.begin("tools/call", &event("id: a\n", NOTE));
    client.lose("tools/call");
    client.answer("GET", END);
    for _ in 0..4 {
        assert_eq!(client.wait(1_000), "> GET @s1 after a");
        assert_eq!(client.answer("GET", &format!("{EVENTS}{END}")), "");
    }
    assert_eq!(client.wait(1_000), "> GET @s1 after a");
    let told = client.answer("GET", &format!("{EVENTS}{END}"));
    assert_eq!(told, "failed 3 NoAnswer, may have run");
    // Nothing to resume by, or no resumption in its era.
    for modern in [false, true] {
        let id = ["", "id: a\n"][usize::from(modern)];
        match modern {
            true => client.ask_modern(4, "tools/call", "{}"),
            false => client.ask(4, "tools/call"),
        };
        client.begin("tools/call", EVENTS);
        client.begin("tools/call", &event(id, NOTE));
        assert_eq!(client.lose("tools/call"), "failed 4 Lost, may have run");
    }
}

/// The stream of request 2 broke behind event a, and is resumed in 600 ms.
fn broken() -> Client {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.begin("tools/call", EVENTS);
    client.begin("tools/call", &event("id: a\nretry: 600\n", NOTE));
    client.lose("tools/call");
    client
}

#[test]
fn the_rest_of_a_stream_is_never_asked_for_by_the_request_itself() {
    let mut client = broken();
    // It waits for a connection while the host begins another session.
    client.dials = Dials::Hang;
    assert_eq!(client.wait(600), "");
    client.dials = Dials::Succeed;
    let told = client.request(&INITIALIZE.replace("\"id\":1", "\"id\":3"));
    assert_eq!(told, "> GET @s1 after a; > DELETE @s1");
    let told = client.answer("GET", &status(404, "", ""));
    assert_eq!(told, "> initialize; failed 2 NoAnswer, may have run");
}

#[test]
fn a_stream_is_not_resumed_while_another_session_is_opened() {
    let mut client = broken();
    let told = client.request(&INITIALIZE.replace("\"id\":1", "\"id\":3"));
    assert_eq!(told, "> DELETE @s1; > initialize");
    assert_eq!(client.wait(600), "failed 2 NoAnswer, may have run");
}

#[test]
fn a_stream_is_not_resumed_in_a_session_it_did_not_begin_in() {
    const GIVEN_UP: &str = "failed 2 NoAnswer, may have run";
    let lost = |client: &mut Client| {
        client.ask(3, "tools/call");
        let told = client.answer("tools/call", &status(404, "", ""));
        assert_eq!(told, "> initialize");
    };
    // Another session is ready, to be confirmed, or could not be opened.
    let mut client = broken();
    lost(&mut client);
    client.answer("initialize", &opened("s2"));
    client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(client.wait(600), GIVEN_UP);
    let mut client = broken();
    client.request(&INITIALIZE.replace("\"id\":1", "\"id\":3"));
    client.answer("initialize", &opened("s2"));
    assert_eq!(client.wait(600), GIVEN_UP);
    let mut client = broken();
    lost(&mut client);
    client.answer("initialize", &status(401, "", ""));
    assert_eq!(client.wait(600), GIVEN_UP);
}

#[test]
fn a_resumption_that_is_refused_for_a_while_is_asked_for_again() {
    const AGAIN: &str = "> GET @s1 after a";
    for code in [429, 500, 502, 503] {
        let mut client = broken();
        assert_eq!(client.wait(600), AGAIN);
        let refusal = status(code, "Retry-After: 2\r\n", "");
        assert_eq!(client.answer("GET", &refusal), "", "{code}");
        assert_eq!(client.wait(1_999), "", "{code}");
        assert_eq!(client.wait(1), AGAIN, "{code}");
        client.begin("GET", EVENTS);
        let answer = event("id: b\n", &RESULT.replace("$ID", "2"));
        assert_eq!(client.begin("GET", &answer), "answered 2", "{code}");
    }
    // Not for ever, not after a pause that is too long, and not against another word.
    let mut client = broken();
    client.wait(600);
    let mut asked = 0;
    let told = loop {
        asked += 1;
        let told = client.answer("GET", &status(503, "", ""));
        if !told.is_empty() {
            break told;
        }
        assert_eq!(client.wait(600), AGAIN);
    };
    assert_eq!((asked, &*told), (5, "failed 2 Status, may have run"));
    for (code, headers, expected) in [
        (503, "Retry-After: 31\r\n", "failed 2 Status, may have run"),
        (405, "", "failed 2 NoAnswer, may have run"),
    ] {
        let mut client = broken();
        client.wait(600);
        assert_eq!(client.answer("GET", &status(code, headers, "")), expected);
    }
}

#[test]
fn what_is_no_answer_is_never_taken_for_one() {
    let batch = format!("[{NOTE},{RESULT}]");
    let wrong = RESULT.replace("$ID", "99");
    let asks = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
    for (body, expected) in [
        (RESULT, "answered 2"),
        (&batch, "message notifications/progress; answered 2"),
        (&wrong, "failed 2 WrongId, may have run"),
        (asks, "message ping; failed 2 NoAnswer, may have run"),
        ("<html>", "failed 2 NotMcp, may have run"),
        ("", "failed 2 NoAnswer, may have run"),
    ] {
        let mut client = Client::ready();
        client.ask(2, "tools/call");
        let told = client.answer("tools/call", &status(200, "", body));
        assert_eq!(told, expected, "{body}");
    }
    // A request on a modern stream is not for a host.
    let mut client = Client::ready();
    client.ask_modern(2, "tools/call", "{}");
    client.begin("tools/call", EVENTS);
    assert_eq!(client.begin("tools/call", &event("", asks)), "");
    // The answer of a request need not be the last word of its stream.
    let answer = event("", &RESULT.replace("$ID", "2"));
    assert_eq!(client.begin("tools/call", &answer), "answered 2");
    assert_eq!(
        client.begin("tools/call", &event("", NOTE)),
        "message notifications/progress"
    );
    assert_eq!(client.wait(5_000), "cut tools/call", "but soon is");
}

/// A server begins its ids anew in each session: what an old one asked is taken back, so that its answer is
/// not taken for that of a new question.
#[test]
fn questions_end_with_their_session() {
    let mut client = Client::ready();
    assert_eq!(client.ask(2, "tools/call"), "> tools/call @s1");
    let asks = |id: u32| {
        let asks =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{}}}}"#);
        event("", &asks)
    };
    let begun = client.begin("tools/call", &format!("{EVENTS}{}{}", asks(0), asks(1)));
    assert_eq!(
        begun,
        "message elicitation/create; message elicitation/create"
    );
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#;
    client
        .mcp
        .notify(&mut client.ctx, &mut client.http, text.into(), Era::Legacy);
    assert_eq!(client.outcome(), ">  @s1");
    client.lose("tools/call");
    assert_eq!(client.ask(3, "tools/list"), "> tools/list @s1");
    let gone = status(404, "", "Session not found");
    let told = client.answer("tools/list", &gone);
    assert_eq!(told, "> initialize; message notifications/cancelled");
}
