//! Requests that are taken back: by the host, by their time, by the end; and those that a person
//! must decide about.

use super::*;

const CANCELLED: &str = "> notifications/cancelled @s1";

#[test]
fn a_legacy_cancel_follows_its_request() {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    assert_eq!(client.cancel(2), (Withdrawn::Gone, String::new()));
    assert_eq!(client.wait(24), "");
    assert_eq!(client.wait(1), CANCELLED);
    assert!(client.sent.ends_with(r#"{"requestId":2}}"#));
    // An answer that comes all the same is nobody's.
    assert_eq!(client.answer("tools/call", &result()), "");
    assert_eq!(client.cancel(2), (Withdrawn::Unknown, String::new()));
    // It was answered meanwhile: there is nothing to cancel.
    client.answer("notifications/cancelled", ACCEPTED);
    client.ask(3, "tools/call");
    client.cancel(3);
    assert_eq!(client.answer("tools/call", &result()), "");
    assert_eq!(client.wait(100), "");
    // A repeat has another id on the wire, and that is the one to cancel.
    client.ask(4, "tools/list");
    client.answer("tools/list", &status(503, "", ""));
    client.wait(300);
    let id = client.wire_id("tools/list").to_owned();
    assert_ne!(id, "4");
    client.cancel(4);
    assert_eq!(client.wait(25), CANCELLED);
    assert!(client.sent.ends_with(&format!(r#"{{"requestId":{id}}}}}"#)));
}

#[test]
fn what_has_not_left_never_does() {
    // It waits for the session, a connection, the rate limit, a repeat.
    let mut client = Client::confirming(&[]);
    client.ask(2, "tools/call");
    client.cancel(2);
    assert_eq!(client.answer(INITIALIZED, ACCEPTED), "> GET @s1; ready");
    let mut client = Client::ready();
    client.wait(60_000);
    client.dials = Dials::Hang;
    client.ask(2, "tools/call");
    assert_eq!(client.cancel(2), (Withdrawn::Gone, String::new()));
    assert_eq!(client.http.waiting_bytes() + client.http.reply_bytes(), 0);
    for refusal in [status(503, "", ""), status(429, "Retry-After: 1\r\n", "")] {
        let mut client = Client::ready();
        client.ask(2, "tools/list");
        client.answer("tools/list", &refusal);
        assert_eq!(client.cancel(2), (Withdrawn::Gone, String::new()));
        assert_eq!(client.wait(5_000), "", "{refusal}");
    }
    // The handshake is not cancelled.
    let mut client = Client::with(&[]);
    client.request(INITIALIZE);
    assert_eq!(client.cancel(1), (Withdrawn::Stays, String::new()));
}

#[test]
fn a_modern_cancel_closes_the_stream() {
    let mut client = Client::with(&[]);
    for method in ["tools/call", "subscriptions/listen"] {
        client.ask_modern(2, method, "{}");
        client.begin(method, EVENTS);
        assert_eq!(client.cancel(2), (Withdrawn::Gone, format!("cut {method}")));
        assert_eq!(client.wait(100), "");
    }
}

#[test]
fn a_request_has_the_time_that_the_person_gave_it() {
    let settings = [("AEROSTACK_REQUEST_TIMEOUT", "7")];
    let mut client = Client::ready_with(&settings);
    client.ask(2, "tools/call");
    client.wait(1);
    client.ask_modern(3, "tools/call", "{}");
    client.ask_modern(4, "subscriptions/listen", "{}");
    assert_eq!(client.wait(6_998), "");
    let told = client.wait(1);
    assert_eq!(told, "failed 2 TimedOut, may have run");
    let told = client.wait(1);
    assert_eq!(told, "cut tools/call; failed 3 TimedOut, may have run");
    assert_eq!(client.wait(24), CANCELLED);
    assert!(client.sent.contains(r#""reason":"time-out""#));
    // The era probe has its own; without a setting the host owns the time.
    let mut client = Client::ready();
    client.ask_modern(2, "server/discover", "{}");
    client.ask(3, "tools/call");
    assert_eq!(client.wait(2_499), "");
    assert_eq!(
        client.wait(1),
        "cut server/discover; failed 2 TimedOut, may have run"
    );
    assert_eq!(client.wait(10_000_000), "");
    // The handshake: what waits for it does not wait for ever.
    let settings = [
        ("AEROSTACK_REQUEST_TIMEOUT", "2"),
        ("AEROSTACK_BUILTIN_TOOLS", "off"),
    ];
    let mut client = Client::with(&settings);
    client.request(INITIALIZE);
    client.wait(1_000);
    client.ask(2, "tools/call");
    let told = client.wait(1_000);
    assert_eq!(
        told,
        "cut initialize; > tools/call; failed 1 TimedOut, may have run"
    );
}

#[test]
fn at_the_end_every_request_hears_whether_it_may_have_run() {
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.ask(3, "tools/list");
    client.answer("tools/list", &status(429, "Retry-After: 9\r\n", ""));
    client.ask(4, "tools/call");
    client.ask_modern(5, "subscriptions/listen", "{}");
    let told = client.end(shutdown::Phase::Farewell);
    let ran = "failed 2 Ending, may have run; failed 3 Unsent, did not run";
    let rest = "failed 4 Unsent, did not run; failed 5 Unsent, did not run";
    assert_eq!(told, format!("cut tools/call; {ran}; {rest}"));
    assert!(!client.mcp.is_busy() && client.mcp.is_quiet());
    assert_eq!(client.mcp.held_bytes(), 0);
    assert!(client.mcp.leave(&mut client.ctx, &mut client.http));
    assert_eq!(client.outcome(), "> DELETE @s1");
    // A connection is not there yet, or its stream broke.
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    client.begin("tools/call", EVENTS);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    client.begin("tools/call", &event("id: a\n", note));
    client.lose("tools/call");
    client.wait(60_000);
    client.dials = Dials::Hang;
    client.ask(3, "tools/call");
    let told = client.end(shutdown::Phase::Farewell);
    assert!(
        told.contains("failed 2 Ending, may have run; failed 3 Unsent, did not run"),
        "{told}"
    );
    // Without a session there is none to give back.
    let mut client = Client::with(&[]);
    assert!(!client.mcp.leave(&mut client.ctx, &mut client.http));
}

#[test]
fn a_report_on_its_way_has_the_farewell_to_arrive() {
    let mut client = Client::ready();
    client.report("aerostack/approvals/cancel");
    client.ask(2, "tools/call");
    assert_eq!(
        client.end(shutdown::Phase::Farewell),
        "cut tools/call; failed 2 Ending, may have run"
    );
    assert!(client.mcp.is_busy());
    assert_eq!(
        client.answer("aerostack/approvals/cancel", &result()),
        "answered own"
    );
    assert!(!client.mcp.is_busy() && client.mcp.held_bytes() == 0);
    // The end itself waits for nobody.
    client.report("aerostack/approvals/cancel");
    assert_eq!(
        client.end(shutdown::Phase::Over),
        "cut aerostack/approvals/cancel; failed own Ending, may have run"
    );
    assert!(!client.mcp.is_busy());
}

#[test]
fn the_farewell_waits_for_no_rate_limit() {
    let mut client = Client::ready();
    client.ask(3, "tools/list");
    client.answer("tools/list", &status(429, "Retry-After: 1\r\n", ""));
    assert_eq!(
        client.end(shutdown::Phase::Farewell),
        "failed 3 Unsent, did not run"
    );
    let told = client.report("aerostack/approvals/cancel");
    assert_eq!(told, "failed own Unsent, did not run");
    assert_eq!(client.wait(1_000), "");
}

#[test]
fn subscriptions_end_with_the_drain_and_when_their_stream_breaks() {
    let mut client = Client::ready();
    client.ask_modern(2, "subscriptions/listen", "{}");
    client.ask_modern(3, "subscriptions/listen", "{}");
    client.ask(4, "tools/call");
    client.begin("subscriptions/listen", EVENTS);
    let told = client.lose("subscriptions/listen");
    assert_eq!(told, "failed 2 SubscriptionEnded, may have run");
    client
        .mcp
        .end_subscriptions(&mut client.ctx, &mut client.http);
    let told = client.outcome();
    assert_eq!(
        told,
        "cut subscriptions/listen; failed 3 Ending, may have run"
    );
    assert_eq!(client.answer("tools/call", &result()), "answered 4");
}

#[test]
fn an_approval_is_for_those_who_can_wait_for_people() {
    let needs = r#"{"jsonrpc":"2.0","id":$ID,"error":{"code":-32050,"message":"m","data":{"approval_id":"apr_1"}}}"#;
    let needs = status(200, "", needs);
    let mut client = Client::ready();
    client.ask(2, "tools/call");
    assert_eq!(client.answer("tools/call", &needs), "gated 2 apr_1");
    client.ask(3, "ping");
    assert_eq!(client.answer("ping", &needs), "answered 3 error -32050");
    // Presence waits for nobody.
    let (ctx, http) = (&mut client.ctx, &mut client.http);
    let params = (Era::Legacy, "{}");
    client.mcp.ask(
        ctx,
        http,
        Requester::Heartbeat,
        "aerostack/heartbeat",
        params,
    );
    assert_eq!(client.outcome(), "> aerostack/heartbeat @s1");
    let told = client.answer("aerostack/heartbeat", &needs);
    assert_eq!(told, "answered own error -32050");
    // Nobody waits any more: the approval is to be withdrawn.
    client.ask(4, "tools/call");
    client.cancel(4);
    assert_eq!(client.answer("tools/call", &needs), "stray apr_1");
}
