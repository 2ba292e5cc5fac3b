//! The session: every way into each state, and what may leave meanwhile.

use super::*;

#[test]
fn a_handshake_holds_back_what_needs_it() {
    let mut client = Client::with(&[]);
    assert_eq!(client.request(INITIALIZE), "> initialize");
    assert_eq!(client.ask(2, "tools/call"), "");
    assert_eq!(client.ask(3, "tools/list"), "");
    assert_eq!(client.notify("notifications/roots"), "");
    let answered = client.answer("initialize", &opened("s1"));
    // Opened: what waited leaves; the host is free to confirm when it likes.
    let left = "> notifications/roots @s1; > tools/call @s1; > tools/list @s1";
    assert_eq!(answered, format!("{left}; connected; answered 1"));
    assert_eq!(client.initialized(), "> notifications/initialized @s1");
    // Confirming: only lists leave.
    assert_eq!(client.ask(4, "tools/call"), "");
    assert_eq!(client.ask(5, "prompts/list"), "> prompts/list @s1");
    assert_eq!(client.answer("prompts/list", &result()), "answered 5");
    let accepted = client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(accepted, "> GET @s1; > tools/call @s1; ready");
    // Ready.
    assert_eq!(client.ask(6, "tools/call"), "> tools/call @s1");
    assert_eq!(
        client.notify("notifications/roots"),
        "> notifications/roots @s1"
    );
}

#[test]
fn a_host_that_does_not_wait_is_confirmed_with_the_answer() {
    let mut client = Client::with(&[]);
    client.request(INITIALIZE);
    assert_eq!(client.initialized(), "");
    assert_eq!(client.ask(2, "tools/list"), "");
    let answered = client.answer("initialize", &opened("s1"));
    let expected = "> notifications/initialized @s1; > tools/list @s1; connected; answered 1";
    assert_eq!(answered, expected);
}

#[test]
fn a_refused_handshake_is_the_hosts_and_what_waited_goes_without_a_session() {
    let refused = status(200, "", &error(-32602));
    for (response, expected) in [
        (refused, "> tools/call; answered 1 error -32602"),
        (
            status(401, "", ""),
            "> tools/call; failed 1 Status, did not run",
        ),
        (
            status(404, "", ""),
            "> tools/call; failed 1 Status, did not run",
        ),
    ] {
        let mut client = Client::with(&[]);
        client.request(INITIALIZE);
        client.ask(2, "tools/call");
        assert_eq!(client.answer("initialize", &response), expected);
        assert!(!client.mcp.has_session());
        // None: the next begins anew.
        assert_eq!(client.request(INITIALIZE), "> initialize");
        assert!(client.mcp.has_session());
    }
}

#[test]
fn a_second_initialize_gives_the_first_session_back() {
    let mut client = Client::ready();
    assert_eq!(client.request(INITIALIZE), "> DELETE @s1; > initialize");
    client.answer("DELETE", &status(204, "", ""));
    // One that is overtaken by another opens a session that nobody uses.
    let again = INITIALIZE.replace("\"id\":1", "\"id\":9");
    assert_eq!(client.request(&again), "> initialize");
    assert_eq!(
        client.answer("initialize", &opened("s2")),
        "> DELETE @s2; answered 1"
    );
    assert_eq!(
        client.answer("initialize", &opened("s3")),
        "connected; answered 9"
    );
    assert_eq!(client.initialized(), "> notifications/initialized @s3");
}

/// Another session is opened with the host's own words, and the request sent again in it.
#[test]
fn a_lost_session_is_opened_again_whatever_words_say_so() {
    let says = |code: i64, words: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"message":"{words}"}}}}"#)
    };
    for (code, body, lost) in [
        (404, String::new(), true),
        (404, says(-32001, "Session not found"), true),
        (
            400,
            says(-32000, "Bad Request: No valid session ID provided"),
            true,
        ),
        (
            400,
            says(-32000, "Bad Request: Server not initialized"),
            true,
        ),
        (401, r#"{"error":"Session expired"}"#.to_owned(), true),
        (410, r#"{"error":"session terminated"}"#.to_owned(), true),
        (410, r#"{"error":"the page is gone"}"#.to_owned(), false),
        (404, says(-32601, "Method not found"), false),
        (400, says(-32602, "Session not found"), false),
        (400, says(-32000, "the argument session is required"), false),
        (500, says(-32000, "Session not found"), false),
    ] {
        let mut client = Client::ready();
        client.ask(2, "tools/call");
        let told = client.answer("tools/call", &status(code, "", &body));
        if !lost {
            assert!(told.contains(" 2 "), "{code} {body}: {told}");
            assert!(!told.contains('>'), "{code} {body}: {told}");
            continue;
        }
        assert_eq!(told, "> initialize", "{code} {body}");
        assert!(client.sent.contains("2025-06-18") && !client.sent.contains("Mcp-Session"));
        // What else comes waits for it; the host says `initialized` to nobody else.
        assert_eq!(client.ask(3, "tools/call"), "");
        let confirmed = client.answer("initialize", &opened("s2"));
        assert_eq!(
            confirmed,
            "> notifications/initialized @s2; connected; answered own"
        );
        let ready = client.answer(INITIALIZED, ACCEPTED);
        assert_eq!(
            ready,
            "> GET @s2; > tools/call @s2; > tools/call @s2; ready"
        );
        assert_eq!(client.answer("tools/call", &result()), "answered 2");
        assert_eq!(client.answer("tools/call", &result()), "answered 3");
    }
}

#[test]
fn what_the_host_set_is_told_to_the_new_session() {
    let mut client = Client::ready();
    client.ask(2, "logging/setLevel");
    client.answer("logging/setLevel", &result());
    for (id, uri, verb) in [(3, "a:1", ""), (4, "a:2", ""), (5, "a:1", "un")] {
        client.request(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"resources/{verb}subscribe","params":{{"uri":"{uri}"}}}}"#
        ));
        client.answer(&format!("resources/{verb}subscribe"), &result());
    }
    client.ask(6, "tools/call");
    assert_eq!(
        client.answer("tools/call", &status(404, "", "")),
        "> initialize"
    );
    client.answer("initialize", &opened("s2"));
    let ready = client.answer(INITIALIZED, ACCEPTED);
    let restored = "> logging/setLevel @s2; > resources/subscribe @s2";
    assert_eq!(
        ready,
        format!("> GET @s2; {restored}; > tools/call @s2; ready")
    );
}

#[test]
fn a_server_that_forgets_at_once_is_asked_for_one_session_in_ten_seconds() {
    let mut client = Client::ready();
    let lost = status(404, "", "");
    let reopen = |client: &mut Client, session: &str| {
        client.answer("initialize", &opened(session));
        client.answer(INITIALIZED, ACCEPTED);
        client.answer("GET", &status(405, "", ""));
    };
    // Two notice the loss: one new session for both.
    client.ask(2, "tools/call");
    client.ask(3, "tools/call");
    assert_eq!(client.answer("tools/call", &lost), "> initialize");
    assert_eq!(client.answer("tools/call", &lost), "");
    reopen(&mut client, "s2");
    // The same request once more: told, whenever that is.
    client.wait(10_000);
    assert_eq!(
        client.answer("tools/call", &lost),
        "failed 2 Status, did not run"
    );
    assert_eq!(client.answer("tools/call", &result()), "answered 3");
    client.ask(4, "tools/call");
    assert_eq!(client.answer("tools/call", &lost), "> initialize");
    reopen(&mut client, "s3");
    client.answer("tools/call", &result());
    client.wait(9_999);
    client.ask(5, "tools/call");
    assert_eq!(
        client.answer("tools/call", &lost),
        "failed 5 Status, did not run"
    );
    client.wait(1);
    client.ask(6, "tools/call");
    assert_eq!(client.answer("tools/call", &lost), "> initialize");
}

#[test]
fn a_session_that_can_not_be_opened_again_is_told_to_who_waits() {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.answer("tools/call", &status(404, "", ""));
    let told = client.answer("initialize", &status(401, "", ""));
    assert_eq!(
        told,
        "failed 2 SessionLost, did not run; failed own Status, did not run"
    );
    // Lost: a notification has nobody to go to, the next request tries again.
    assert_eq!(client.notify("notifications/roots"), "");
    assert_eq!(client.ask(3, "tools/call"), "> initialize");
    client.answer("initialize", &opened("s2"));
    assert_eq!(
        client.answer(INITIALIZED, ACCEPTED),
        "> GET @s2; > tools/call @s2; ready"
    );
}

#[test]
fn an_answer_without_its_blank_line_names_its_session_too() {
    let mut client = Client::with(&[]);
    client.request(INITIALIZE);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: s1\r\n\r\n";
    client.begin("initialize", head);
    let result = opened("s1");
    let (_, body) = result.split_once("\r\n\r\n").expect("a body");
    client.begin("initialize", &format!("data: {body}"));
    assert_eq!(client.lose("initialize"), "connected; answered 1");
    assert_eq!(client.initialized(), "> notifications/initialized @s1");
}

#[test]
fn our_own_initialize_is_void_once_the_host_begins_another_session() {
    let begins = INITIALIZE.replace("\"id\":1", "\"id\":3");
    let lost = status(404, "Connection: close\r\n", "");
    // It waits for a connection: it never leaves.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.dials = Dials::Hang;
    assert_eq!(client.answer("tools/call", &lost), "");
    client.dials = Dials::Succeed;
    assert_eq!(client.request(&begins), "");
    assert_eq!(client.wait(5), "> initialize", "on the spare connection");
    assert_eq!(client.wire_id("initialize"), "3");
    let answered = client.answer("initialize", &opened("s2"));
    assert_eq!(answered, "> tools/call @s2; connected; answered 3");
    // It has left, and its connection is lost: it is not repeated.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    assert_eq!(client.answer("tools/call", &lost), "> initialize");
    assert_eq!(client.request(&begins), "> initialize");
    assert_eq!(client.lose("initialize"), "failed own Lost, may have run");
    assert_eq!(client.wait(1_000), "");
    let answered = client.answer("initialize", &opened("s2"));
    assert_eq!(answered, "> tools/call @s2; connected; answered 3");
}

#[test]
fn a_list_that_left_too_early_is_repeated_once() {
    for (refusal, again) in [
        (status(400, "", ""), true),
        (status(404, "", ""), true),
        (status(200, "", &error(-32602)), true),
        (status(200, "", &error(-32601)), false),
        (status(403, "", ""), false),
    ] {
        let mut client = Client::confirming(&[]);
        assert_eq!(client.ask(2, "tools/list"), "> tools/list @s1");
        let told = client.answer("tools/list", &refusal);
        assert_eq!(told.is_empty(), again, "{refusal}: {told}");
        let ready = client.answer(INITIALIZED, ACCEPTED);
        if again {
            assert_eq!(ready, "> GET @s1; > tools/list @s1; ready");
            let told = client.answer("tools/list", &status(200, "", &error(-32602)));
            assert_eq!(told, "answered 2 error -32602");
        } else {
            assert_eq!(ready, "> GET @s1; ready");
        }
    }
    // Whoever answered it may have run it, whatever becomes of the second.
    for (first, ran) in [
        (status(400, "", ""), "did not run"),
        (status(200, "", &error(-32602)), "may have run"),
    ] {
        let mut client = Client::confirming(&[]);
        client.ask(2, "tools/list");
        client.answer("tools/list", &first);
        client.answer(INITIALIZED, ACCEPTED);
        let told = client.answer("tools/list", &status(403, "", ""));
        assert_eq!(told, format!("failed 2 Status, {ran}"));
    }
}

#[test]
fn a_list_that_is_sent_again_in_the_open_session_was_not_early() {
    let mut client = Client::confirming(&[]);
    client.ask(2, "tools/list");
    client.answer("tools/list", &result());
    assert_eq!(client.ask(3, "tools/list"), "> tools/list @s1");
    client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(client.lose("tools/list"), "> tools/list @s1");
    let told = client.answer("tools/list", &status(200, "", &error(-32602)));
    assert_eq!(told, "answered 3 error -32602");
}

#[test]
fn a_list_that_waited_for_its_connection_until_the_acceptance_was_not_early() {
    let mut client = Client::confirming(&[]);
    client.dials = Dials::Hang;
    client.ask(2, "tools/list");
    client.dials = Dials::Succeed;
    let ready = client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(ready, "> GET @s1; ready");
    let none = client.answer("GET", &status(405, "", ""));
    assert_eq!(none, "> tools/list @s1");
    let told = client.answer("tools/list", &status(200, "", &error(-32602)));
    assert_eq!(told, "answered 2 error -32602");
}

#[test]
fn initialized_is_accepted_by_a_head_or_by_silence() {
    let mut client = Client::confirming(&[]);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(client.begin(INITIALIZED, head), "> GET @s1; ready");
    // A server that never answers it: after its time it is said again, then taken for accepted.
    let mut client = Client::confirming(&[]);
    assert_eq!(client.wait(4_999), "");
    assert_eq!(
        client.wait(1),
        "cut notifications/initialized; > GET @s1; ready"
    );
}

#[test]
fn an_own_initialize_that_was_overtaken_is_not_sent_again() {
    let begins = INITIALIZE.replace("\"id\":1", "\"id\":3");
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    let lost = status(404, "Connection: close\r\n", "");
    assert_eq!(client.answer("tools/call", &lost), "> initialize");
    assert_eq!(client.request(&begins), "> initialize");
    let limited = status(429, "Retry-After: 2\r\n", "");
    assert_eq!(client.answer("initialize", &limited), "");
    let told = client.answer("initialize", &opened("s2"));
    assert_eq!(told, "connected; answered 3");
    let told = client.wait(3_000);
    assert_eq!(told, "> tools/call @s2; failed own Unsent, did not run");
}

#[test]
fn initialized_that_is_refused_is_said_again() {
    let mut client = Client::confirming(&[]);
    for _ in 0..3 {
        let again = client.answer(INITIALIZED, &status(503, "", ""));
        assert_eq!(again, "> notifications/initialized @s1");
    }
    let told = client.answer(INITIALIZED, &status(503, "", ""));
    assert_eq!(told, "> GET @s1; ready", "no session stays closed for ever");
    // The rate limit is waited out.
    let mut client = Client::confirming(&[]);
    let limited = status(429, "Retry-After: 2\r\n", "");
    assert_eq!(client.answer(INITIALIZED, &limited), "");
    assert_eq!(client.wait(1_999), "");
    assert_eq!(client.wait(1), "> notifications/initialized @s1");
    // What is no failure of the moment is not repeated.
    assert_eq!(
        client.answer(INITIALIZED, &status(400, "", "")),
        "> GET @s1; ready"
    );
}
