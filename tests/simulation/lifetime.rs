//! From the handshake to the end: cancels, batches, event streams, back-pressure, shutdown.

use super::*;

#[test]
fn a_cancel_follows_its_request_or_nothing_leaves() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let mut world = world_with(&[], limits, |request, desk| match is_call(request) {
        true => Script::nothing(End::Silent),
        false => answer(request, desk),
    });
    open(&mut world);
    call(&mut world, 1);
    call(&mut world, 2);
    world.run_ms(100);
    world.say(&cancel("2"));
    world.run_ms(100);
    assert_eq!(
        count(&world, "notifications/cancelled"),
        0,
        "queued: unsent"
    );
    world.say(&cancel("1"));
    world.run_ms(100);
    assert_eq!(
        count(&world, "notifications/cancelled"),
        1,
        "sent: followed"
    );
    assert_eq!(count(&world, "tools/call"), 1);
    over(world);
}

#[test]
fn a_modern_cancel_closes_the_stream_and_posts_nothing() {
    let mut world = world(|_: &HttpRequest, _: &mut Desk<'_>| Script::nothing(End::Silent));
    world.say(&request("1", "tools/call", 1, true));
    world.run_ms(100);
    let before = world.conns_open();
    world.say(&cancel("1"));
    world.run_ms(100);
    assert_eq!(world.conns_open(), before - 1);
    assert_eq!(count(&world, "notifications/cancelled"), 0);
    over(world);
}

#[test]
fn batches_are_split_and_joined() {
    let mut world = session(answer);
    let members = [
        request("1", "tools/call", 1, false),
        "{}".to_owned(),
        request("2", "ping", 2, false),
    ];
    world.say(&format!("[{}]", members.join(",")));
    world.run_ms(200);
    let line = world.judge.heard.last().cloned().unwrap_or_default();
    let joined: Vec<serde_json::Value> = serde_json::from_str(&line).expect("an array");
    assert_eq!(joined.len(), 3);
    over(world);
}

#[test]
fn what_is_no_answer_becomes_a_clear_error() {
    let mut world = session(|request, desk| {
        let html = "Content-Type: text/html\r\n";
        let good = answer(request, desk);
        match request.nonce() {
            Some(1) => Script::response(202, "", "", LENGTH, vec![]),
            Some(2) => Script::response(200, html, "<title>Sign in</title>", LENGTH, vec![]),
            Some(3) => Script::response(200, JSON, "", LENGTH, vec![]),
            Some(4) => good.cut(90, EOF),
            Some(5) => Script::response(
                200,
                JSON,
                r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
                LENGTH,
                vec![],
            ),
            Some(6) => Script::nothing(EOF),
            Some(7) => Script::nothing(EOF).garbled().ending(End::Silent),
            _ => good,
        }
    });
    (1..=7).for_each(|id| call(&mut world, id));
    world.run_ms(1_000);
    let parts = [
        "HTTP 202",
        "Sign in",
        "HTTP 200",
        "closed",
        "another request",
        "closed",
        "HTTP/1.1",
    ];
    for (id, part) in (1..).zip(parts) {
        check(
            &world,
            &format!("{id}"),
            &[part, "-32603", "\"executed\":\"unknown\""],
        );
    }
    over(world);
}

#[test]
fn the_event_stream_is_opened_again_after_retry_from_where_it_was() {
    let mut world = session(|request, desk| match request.method.as_str() {
        "GET" => {
            let text = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}";
            Script::events("", &[Event::new(text).id("g1").retry(4_000)], true, "\n")
        }
        _ => answer(request, desk),
    });
    assert_eq!(gets(&world).len(), 1);
    world.run_ms(3_800);
    assert_eq!(gets(&world).len(), 1, "`retry` is respected");
    world.run_ms(300);
    assert_eq!(gets(&world).len(), 2);
    assert_eq!(gets(&world)[1].header("last-event-id"), Some("g1"));
    over(world);
}

#[test]
fn a_server_without_event_stream_is_left_in_peace() {
    let mut world = session(answer);
    world.run_ms(300_000);
    assert_eq!(gets(&world).len(), 1);
    assert!(
        !world
            .logged
            .iter()
            .any(|line| line.contains("405") && line.contains("failed"))
    );
    over(world);
}

#[test]
fn pings_and_answers_never_queue_behind_busy_calls() {
    let mut world = session(|request, desk| match is_call(request) {
        true => Script::nothing(End::Silent),
        false => answer(request, desk),
    });
    (1..=400).for_each(|id| call(&mut world, id));
    world.run_ms(1_000);
    assert_eq!(count(&world, "tools/call"), 128);
    for id in 1_001..1_011 {
        world.say(&request(&id.to_string(), "ping", id, false));
        world.say("{\"jsonrpc\":\"2.0\",\"id\":\"srv\",\"result\":{}}");
        world.run_ms(20);
        check(&world, &id.to_string(), &["\"result\""]);
    }
    assert_eq!(
        count(&world, "tools/call"),
        128,
        "the reserve is not for calls"
    );
    assert_eq!(count(&world, ""), 10);
    world.terminate(0);
    world.run_ms(2_000);
    world.finish();
}

#[test]
fn stdin_is_not_read_while_too_many_requests_wait() {
    let mut world = session(|request, desk| match is_call(request) {
        true => answer(request, desk).after(2_000_000),
        false => answer(request, desk),
    });
    (1..=5_000).for_each(|id| call(&mut world, id));
    world.run_ms(1_000);
    assert_eq!(world.judge.unanswered().len(), 4_096);
    assert!(world.stdin_is_paused());
    world.run_ms(120_000);
    assert!(world.judge.unanswered().is_empty() && !world.stdin_is_paused());
    over(world);
}

#[test]
fn a_host_that_does_not_read_pauses_the_network_not_stdin() {
    let limits = Limits {
        stdout_high_bytes: 2_000,
        ..Limits::default()
    };
    let mut world = world_with(&[], limits, |request, desk| match is_call(request) {
        true => {
            let note = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"params\":\"{}\"}}",
                "y".repeat(900)
            );
            let notes: Vec<Event> = (0..20).map(|_| Event::new(&*note).after(1_000)).collect();
            let mut script = Script::events("", &notes, true, "\n");
            script.end = End::KeepAlive;
            script
        }
        false => answer(request, desk),
    });
    open(&mut world);
    world.weather.stdout_stuck = true;
    call(&mut world, 1);
    world.run_ms(1_000);
    assert_eq!(world.pauses, 1);
    let lines = world.judge.heard.len();
    assert!(lines < 10, "{lines} lines wait for the host");
    assert_eq!(world.stdin_pauses, 0);
    world.unstick_stdout();
    world.run_ms(1_000);
    assert_eq!(world.judge.heard.len(), 1 + 20 + 1);
    over(world);
}

#[test]
fn the_end_waits_for_answers_then_gives_the_session_back() {
    let mut world = session(|request, desk| match request.nonce() {
        Some(1) => answer(request, desk).after(1_000_000),
        Some(2) => Script::nothing(End::Silent),
        _ => answer(request, desk),
    });
    call(&mut world, 1);
    call(&mut world, 2);
    world.run_ms(10);
    let begun = world.now_ms();
    world.close_stdin(0);
    world.run_ms(3_900);
    check(&world, "1", &["\"result\""]);
    check(&world, "2", &["told to end", "\"executed\":\"unknown\""]);
    let deletes = world
        .ledger
        .arrived
        .iter()
        .filter(|r| r.method == "DELETE")
        .count();
    assert_eq!(deletes, 1);
    let took = world.exit.expect("it ends") - begun;
    assert!((3_000..3_200).contains(&took), "{took} ms");
    world.finish();
}

#[test]
fn nothing_in_flight_ends_at_once_and_without_a_connection() {
    let mut world = world(answer);
    world.weather.connect_us = (9_000_000, 9_000_000);
    world.close_stdin(0);
    world.run_ms(100);
    assert_eq!(world.exit, Some(0));
    world.finish();
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let mut world = session(|request, desk| match is_call(request) {
        true => Script::nothing(End::Silent),
        false => answer(request, desk),
    });
    call(&mut world, 1);
    world.run_ms(10);
    let begun = world.now_ms();
    world.terminate(0);
    world.terminate(100_000);
    world.run_ms(2_000);
    assert_eq!(world.exit, Some(begun + 100));
    world.finish();
}

#[test]
fn what_is_read_during_the_farewell_is_answered() {
    let mut world = session(|request, desk| match request.method.as_str() {
        "DELETE" => Script::nothing(End::Silent),
        _ => answer(request, desk).after(5_000_000),
    });
    world.terminate(0);
    world.run_ms(20);
    call(&mut world, 1);
    world.run_ms(2_000);
    assert!(world.exit.is_some());
    check(&world, "1", &["\"error\""]);
    world.finish();
}

#[test]
fn only_the_latest_initialize_opens_the_session() {
    let mut world = world(
        |request: &HttpRequest, desk: &mut Desk<'_>| match request.nonce() {
            Some(1) => Script::response(401, "", "", LENGTH, vec![Mark::Refused]).after(50_000),
            _ => answer(request, desk).after(200_000),
        },
    );
    world.say(&request("1", "initialize", 1, false));
    world.run_ms(10);
    world.say(&request("2", "initialize", 2, false));
    world.say(INITIALIZED);
    call(&mut world, 3);
    world.run_ms(150);
    assert_eq!(
        count(&world, "tools/call"),
        0,
        "the first one's failure opens nothing"
    );
    world.run_ms(1_000);
    check(&world, "3", &["\"result\""]);
    over(world);
}

#[test]
fn an_initialize_that_runs_out_of_time_closes_nothing_for_ever() {
    let settings = [("AEROSTACK_REQUEST_TIMEOUT", "2")];
    let mut world = world_with(
        &settings,
        Limits::default(),
        |request, desk| match request.nonce() {
            Some(1) => Script::nothing(End::Silent),
            _ => answer(request, desk),
        },
    );
    world.say(&request("1", "initialize", 1, false));
    world.run_ms(1_000);
    call(&mut world, 2);
    world.run_ms(1_500);
    check(&world, "1", &["within 2 s"]);
    check(&world, "2", &["\"result\""]);
    assert_eq!(count(&world, "notifications/cancelled"), 0);
    over(world);
}

#[test]
fn the_token_file_is_read_once_more_after_a_401() {
    let settings = [("AEROSTACK_TOKEN_FILE", "/token")];
    let mut world = world_with(
        &settings,
        Limits::default(),
        |request, desk| match is_call(request) {
            true => refuse(401, ""),
            false => answer(request, desk),
        },
    );
    open(&mut world);
    call(&mut world, 1);
    world.run_ms(500);
    check(&world, "1", &["Token invalid", "\"executed\":\"no\""]);
    assert_eq!(
        (world.token_reads, count(&world, "tools/call")),
        (1, 1),
        "the same token is not tried again"
    );
    over(world);
}

#[test]
fn after_a_sleep_idle_connections_are_renewed() {
    let mut world = session(answer);
    let before = world.dialled;
    world.sleep(0, 60_000);
    world.run_ms(10);
    world.say(&request("1", "tools/list", 1, false));
    world.run_ms(100);
    check(&world, "1", &["\"result\""]);
    assert!(world.dialled > before);
    over(world);
}
