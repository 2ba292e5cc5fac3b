//! What is sent again: after failures, refusals, pauses, and while the workspace is away.

use super::*;

#[test]
fn what_only_reads_is_repeated_under_a_new_id_and_nothing_else_is() {
    for (method, failure, expected) in [
        ("tools/list", "503", ""),
        ("tools/list", "lost", ""),
        ("tools/list", "400", "failed 2 Status, did not run"),
        ("tools/list", "501", "failed 2 Status, may have run"),
        ("tools/call", "503", "failed 2 Status, may have run"),
        ("tools/call", "lost", "failed 2 Lost, may have run"),
    ] {
        let mut client = Client::ready();
        client.http.drop_idle(&mut client.ctx);
        client.ask(2, method);
        let mut ids = vec![client.wire_id(method).to_owned()];
        let mut told = String::new();
        let fail = |client: &mut Client| match failure {
            "lost" => client.lose(method),
            code => client.answer(method, &status(code.parse().expect("a number"), "", "")),
        };
        assert_eq!(fail(&mut client), expected, "{method} {failure}");
        if expected.is_empty() {
            // 200, 400 and 800 ms, give or take a quarter.
            for pause in [200, 400, 800] {
                client.http.drop_idle(&mut client.ctx);
                assert_eq!(client.wait(pause / 4 * 3 - 1), "", "{pause}");
                let again = format!("> {method} @s1");
                assert_eq!(client.wait(pause / 2 + 2), again, "{failure} {pause}");
                ids.push(client.wire_id(method).to_owned());
                told = fail(&mut client);
            }
            let kind = ["Status", "Lost"][usize::from(failure == "lost")];
            assert_eq!(told, format!("failed 2 {kind}, may have run"));
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 4, "each has an id of its own: {ids:?}");
        }
    }
}

#[test]
fn what_a_stale_connection_swallowed_may_have_run_whatever_comes_then() {
    let mut client = Client::ready();
    client.http.drop_idle(&mut client.ctx);
    client.ask(2, "tools/list");
    client.answer("tools/list", &result());
    client.ask(3, "tools/list");
    assert_eq!(client.lose("tools/list"), "> tools/list @s1");
    let told = client.answer("tools/list", &status(403, "", ""));
    assert_eq!(told, "failed 3 Status, may have run");
}

#[test]
fn a_connection_that_can_not_be_made_is_tried_again_with_the_same_id() {
    let mut client = Client::ready();
    client.wait(60_000);
    client.dials = Dials::Fail;
    assert_eq!(client.ask(2, "tools/list"), "");
    client.dials = Dials::Succeed;
    assert_eq!(client.wait(300), "> tools/list @s1");
    assert_eq!(client.wire_id("tools/list"), "2");
    client.wait(60_000);
    client.dials = Dials::Fail;
    assert_eq!(client.ask(3, "tools/call"), "failed 3 Connect, did not run");
}

#[test]
fn the_rate_limit_is_one_pause_for_all() {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.ask(3, "tools/call");
    let limited = |seconds: u32| status(429, &format!("Retry-After: {seconds}\r\n"), "");
    assert_eq!(client.answer("tools/call", &limited(2)), "");
    assert_eq!(client.ask(4, "tools/list"), "");
    assert_eq!(
        client.answer("tools/call", &limited(1)),
        "",
        "the longer one stays"
    );
    assert_eq!(client.wait(1_999), "");
    let all = "> tools/call @s1; > tools/call @s1; > tools/list @s1";
    assert_eq!(client.wait(1), all);
    // Eight pauses in all for one request; longer ones, and a limiter without a moment, are told.
    for _ in 0..7 {
        assert_eq!(client.answer("tools/list", &limited(1)), "");
        assert_eq!(client.wait(1_000), "> tools/list @s1");
    }
    let mut told = client.answer("tools/list", &limited(1));
    if told.is_empty() {
        client.wait(1_000);
        told = client.answer("tools/list", &limited(1));
    }
    assert_eq!(told, "failed 4 Status, did not run");
    let told = client.answer("tools/call", &limited(31));
    assert_eq!(told, "failed 2 Status, did not run");
    let told = client.answer("tools/call", &status(429, "", ""));
    assert_eq!(told, "failed 3 Status, did not run");
}

#[test]
fn a_renewed_token_serves_all_who_carried_the_old_one() {
    let settings = [("AEROSTACK_TOKEN_FILE", "/token")];
    let refused = status(401, "", "");
    let mut client = Client::ready_with(&settings);
    for id in 2..=4 {
        client.ask(id, "tools/call");
    }
    assert_eq!(client.answer("tools/call", &refused), "read the token");
    assert_eq!(client.answer("tools/call", &refused), "", "read once");
    let read = |client: &mut Client, text: &str| {
        let (ctx, http) = (&mut client.ctx, &mut client.http);
        client.mcp.handle_token(ctx, http, Ok(text.to_owned()));
        client.outcome()
    };
    assert_eq!(
        read(&mut client, "mwt_new\n"),
        "> tools/call @s1; > tools/call @s1"
    );
    assert!(client.sent.contains("Bearer mwt_new\r\n"));
    // A late refusal of the old one: nothing has to be read.
    assert_eq!(client.answer("tools/call", &refused), "> tools/call @s1");
    for id in [2, 3, 4] {
        // Once each: this one is of the new token.
        let told = client.answer("tools/call", &refused);
        assert_eq!(told, format!("failed {id} Status, did not run"));
    }
    // The file still holds the old one, or nothing that is one.
    for text in ["mwt_new", "", "two words"] {
        client.ask(5, "tools/call");
        assert_eq!(client.answer("tools/call", &refused), "read the token");
        assert_eq!(
            read(&mut client, text),
            "failed 5 Status, did not run",
            "{text}"
        );
    }
    // A token from the settings can not have been renewed.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    assert_eq!(
        client.answer("tools/call", &refused),
        "failed 2 Status, did not run"
    );
}

#[test]
fn headers_that_do_not_match_are_learnt_once() {
    let mismatch = status(400, "", &error(-32020));
    let page = |name: &str, cursor: &str| {
        let schema =
            r#"{"type":"object","properties":{"x":{"type":"string","x-mcp-header":"Region"}}}"#;
        let list = format!(r#"{{"tools":[{{"name":"{name}","inputSchema":{schema}}}]{cursor}}}"#);
        status(200, "", &RESULT.replace("{}", &list))
    };
    let mut client = Client::with(&[]);
    assert_eq!(
        client.ask_modern(2, "tools/call", r#"{"x":"eu"}"#),
        "> tools/call"
    );
    assert!(!client.sent.contains("Mcp-Param-Region"));
    assert_eq!(client.answer("tools/call", &mismatch), "> tools/list");
    let next = page("other", r#","nextCursor":"c""#);
    assert_eq!(client.answer("tools/list", &next), "> tools/list");
    assert!(client.sent.contains(r#""cursor":"c""#));
    assert_eq!(client.answer("tools/list", &page("t", "")), "> tools/call");
    assert!(client.sent.contains("Mcp-Param-Region: eu\r\n"));
    assert_ne!(client.wire_id("tools/call"), "2");
    let told = client.answer("tools/call", &mismatch);
    assert_eq!(told, "answered 2 error -32020 (400)", "once");
    // The list can not be had: the workspace's answer is the answer.
    client.ask_modern(3, "tools/call", "{}");
    assert_eq!(client.answer("tools/call", &mismatch), "> tools/list");
    let told = client.answer("tools/list", &status(403, "", ""));
    assert_eq!(told, "answered 3 error -32020");
    // In the legacy era it is an error like any other.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    let told = client.answer("tools/call", &mismatch);
    assert_eq!(told, "answered 2 error -32020 (400)");
}

// Outages.

#[test]
fn an_initialize_without_an_answer_becomes_the_session_later() {
    let mut client = Client::with(&[]);
    client.request(INITIALIZE);
    assert_eq!(client.ask(2, "tools/list"), "");
    assert_eq!(client.wait(2_999), "");
    assert_eq!(client.wait(1), "away 1 2025-06-18; away 2 2025-06-18");
    assert!(
        client
            .mcp
            .away()
            .is_some_and(|words| words.contains("within 3 s"))
    );
    // The host goes on; nothing is sent twice.
    assert_eq!(client.initialized(), "");
    assert_eq!(client.ask(3, "tools/list"), "away 3 2025-06-18");
    assert_eq!(client.notify("notifications/roots"), "");
    let told = client.answer("initialize", &opened("s1"));
    assert_eq!(
        told,
        "> notifications/initialized @s1; connected; answered own"
    );
    assert_eq!(client.ask(4, "tools/call"), "away 4 2025-06-18");
    let told = client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(told, "> GET @s1; ready after an outage");
    assert_eq!(client.ask(5, "tools/call"), "> tools/call @s1");
    assert_eq!(client.mcp.away(), None);
}

#[test]
fn a_workspace_that_is_away_is_tried_again_and_again() {
    let mut client = Client::with(&[]);
    client.dials = Dials::Fail;
    assert_eq!(client.request(INITIALIZE), "");
    assert_eq!(client.wait(3_000), "away 1 2025-06-18");
    // A pause of up to half a minute between attempts, however many fail.
    client.wait(600_000);
    assert!(client.mcp.away().is_some());
    client.dials = Dials::Succeed;
    assert_eq!(client.wait(38_000), "> initialize");
    let told = client.answer("initialize", &opened("s1"));
    assert_eq!(
        told,
        "> notifications/initialized @s1; connected; answered own"
    );
    let told = client.answer(INITIALIZED, ACCEPTED);
    assert_eq!(told, "> GET @s1; ready after an outage");
    assert_eq!(client.wait(600_000), "", "the attempts end");
}

#[test]
fn a_wrong_setting_is_no_outage() {
    let off = [("AEROSTACK_BUILTIN_TOOLS", "off")];
    for (code, settings, expected) in [
        (503, &[][..], "away 1 2025-06-18"),
        (401, &[][..], "failed 1 Status, did not run"),
        (404, &[][..], "failed 1 Status, did not run"),
        (503, &off[..], "failed 1 Status, may have run"),
    ] {
        let mut client = Client::with(settings);
        client.request(INITIALIZE);
        let mut told = client.answer("initialize", &status(code, "", ""));
        for pause in [250, 500, 1_000] {
            if told.is_empty() {
                assert_eq!(client.wait(pause), "> initialize");
                told = client.answer("initialize", &status(code, "", ""));
            }
        }
        assert_eq!(told, expected, "{code} {settings:?}");
    }
}

/// A message that wants no answer is lost to nobody's knowledge: a 401 is met as for requests.
#[test]
fn a_notice_goes_again_with_the_token_that_was_read_anew() {
    let mut client = Client::ready_with(&[("AEROSTACK_TOKEN_FILE", "/t")]);
    let held = client.mcp.held_bytes();
    for _ in 0..2 {
        assert_eq!(client.notify("x/y"), "> x/y @s1");
    }
    let refused = status(401, "", "");
    assert_eq!(client.answer("x/y", &refused), "read the token");
    // The second one carried the same token, and waits for the same reading.
    assert_eq!(client.answer("x/y", &refused), "");
    let (ctx, http) = (&mut client.ctx, &mut client.http);
    client.mcp.handle_token(ctx, http, Ok("mwt_new".to_owned()));
    assert_eq!(client.outcome(), "> x/y @s1; > x/y @s1");
    assert!(client.sent.contains("Bearer mwt_new"));
    assert_eq!(client.answer("x/y", ACCEPTED), "");
    // Refused again, and the file has nothing new: the end.
    assert_eq!(client.answer("x/y", &refused), "read the token");
    let (ctx, http) = (&mut client.ctx, &mut client.http);
    client.mcp.handle_token(ctx, http, Ok("mwt_new".to_owned()));
    assert_eq!(client.outcome(), "");
    assert_eq!(client.mcp.held_bytes(), held);
}
