//! What a person's consent is good for, on the virtual clock; and what no server's word brings about.

use super::applicant::{cancel_because, gated};
use super::clerk::{Clerk, Desked, decide, gaps, is, times, world_of};
use super::script::{Event, Framing, Mark, Script};
use super::world::{Quiet, World, config};
use aerostack_gateway::api::config::Limits;

const APPROVED: &str = "\"status\":\"approved\"";
const CANCEL: &str = "aerostack/approvals/cancel";

fn world(settings: &[(&'static str, &str)], clerk: Clerk) -> (World, Desked) {
    world_of(settings, Limits::default(), clerk)
}

fn answer(world: &World, id: u64) -> String {
    let key = format!("\"id\":{id},");
    let mut lines = world.judge.heard.iter().filter(|line| line.contains(&key));
    lines.next().cloned().unwrap_or_default()
}

/// Under which approvals requests left, in order.
fn used(world: &World) -> Vec<String> {
    let all = world.ledger.arrived.iter();
    all.filter_map(|request| request.approval().map(str::to_owned))
        .collect()
}

fn over(mut world: World) {
    world.close_stdin(0);
    world.run_ms(5_000);
    assert!(world.exit.is_some(), "the process ends");
    world.finish();
}

/// A request of this method whose params have these members, raw with commas, beside `_meta`.
fn about(id: u64, method: &str, members: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{{members}\"_meta\":{{\"progressToken\":{id},\"sim/nonce\":{id},\"sim/key\":10}}}}}}"
    )
}

/// Approved while its host had given up: that consent is not for the next request, if one byte of
/// one member differs. It asks for an approval of its own.
#[test]
fn a_consent_is_spent_on_no_other_request() {
    for (method, one, other) in [
        (
            "tasks/cancel",
            "\"taskId\":\"harmless\",",
            "\"taskId\":\"PRODUCTION\",",
        ),
        ("acme/delete", "\"id\":1,", "\"id\":2,"),
        (
            "completion/complete",
            "\"ref\":{\"name\":\"x\"},\"argument\":{\"value\":\"1\"},",
            "\"ref\":{\"name\":\"y\"},\"argument\":{\"value\":\"1\"},",
        ),
        (
            "tools/call",
            "\"name\":\"t\",\"arguments\":{\"a\":1},",
            "\"name\":\"t\",\"arguments\":{\"a\":1},\"task\":{\"ttl\":9},",
        ),
        (
            "tools/call",
            "\"name\":\"t\",\"arguments\":{\"a\":1},",
            "\"name\":\"t\",\"arguments\":{\"a\":1},\"arguments\":{\"a\":1},",
        ),
        (
            "tools/call",
            "\"name\":\"t\",\"arguments\":{\"a\":1},",
            "\"name\":\"t\",\"arguments\":{\"a\":1.0},",
        ),
    ] {
        let (mut world, clerk) = world(&[], Clerk::default());
        world.say(&about(1, method, one));
        world.run_ms(100);
        world.say(&cancel_because("1", "Request timed out"));
        world.run_ms(100);
        decide(&mut world, &clerk, APPROVED);
        world.run_ms(100);
        clerk.borrow_mut().state.clear();
        world.say(&about(2, method, other));
        world.run_ms(100);
        assert_eq!(used(&world), [""; 0], "{method} {other}");
        assert_eq!(answer(&world, 2), "", "it waits for its own");
        // The same bytes again use it.
        world.say(&about(3, method, one));
        world.run_ms(100);
        assert_eq!(used(&world), ["apr_1"], "{method}");
        assert!(answer(&world, 3).contains("\"result\""));
        decide(&mut world, &clerk, APPROVED);
        world.run_ms(100);
        assert_eq!(used(&world), ["apr_1", "apr_2"], "{method}");
        assert!(answer(&world, 2).contains("\"result\""));
        over(world);
    }
}

/// A workspace that names one approval for two different requests gets one of them run, whatever it
/// promises, and whether the approval is open, decided or used.
#[test]
fn an_approval_named_for_another_request_is_of_no_use_to_it() {
    for at_most_once in [false, true] {
        let clerk = Clerk {
            only: Some("apr_same"),
            at_most_once,
            ..Clerk::default()
        };
        let (mut world, clerk) = world(&[], clerk);
        let foreign = |world: &World, id| {
            let answer = answer(world, id);
            assert!(
                answer.contains("asked for another request"),
                "{id}: {answer}"
            );
            assert!(answer.contains("not executed"), "{id}: {answer}");
        };
        world.say(&gated(1, "tools/call", 1, false, false));
        world.run_ms(100);
        world.say(&gated(2, "tools/call", 2, false, false));
        world.say(&about(3, "acme/delete", ""));
        world.run_ms(100);
        foreign(&world, 2);
        foreign(&world, 3);
        assert_eq!(answer(&world, 1), "", "it waits on");
        decide(&mut world, &clerk, APPROVED);
        world.run_ms(100);
        assert!(answer(&world, 1).contains("\"result\""));
        world.say(&gated(4, "tools/call", 4, false, false));
        world.run_ms(100);
        foreign(&world, 4);
        assert_eq!(used(&world), ["apr_same"]);
        assert!(
            times(&world, is(CANCEL)).is_empty(),
            "it is another's to end"
        );
        over(world);
    }
}

/// AEROSTACK_REQUEST_TIMEOUT is for machines: it ends no person's wait, and counts from the moment
/// on at which the request leaves again, whichever way the decision came.
#[test]
fn the_time_limit_of_requests_rests_while_a_person_decides() {
    let edited = "\"status\":\"approved\",\"params\":{\"name\":\"tool\",\"arguments\":{\"k\":2}}";
    for (decision, given_up) in [(APPROVED, false), (edited, false), (APPROVED, true)] {
        let (mut world, clerk) = world(&[("AEROSTACK_REQUEST_TIMEOUT", "2")], Clerk::default());
        world.say(&gated(1, "tools/call", 1, false, false));
        world.run_ms(600_000);
        assert_eq!(answer(&world, 1), "", "a person takes their time");
        clerk.borrow_mut().slow_us = 3_600_000_000;
        let id = if given_up { 2 } else { 1 };
        if given_up {
            world.say(&cancel_because("1", "Timeout"));
            world.run_ms(100);
        }
        decide(&mut world, &clerk, decision);
        world.run_ms(50);
        if given_up {
            world.say(&gated(2, "tools/call", 1, false, false));
        }
        world.run_ms(1_900);
        assert_eq!(used(&world), ["apr_1"]);
        assert_eq!(answer(&world, id), "", "it has two seconds");
        world.run_ms(200);
        let words = answer(&world, id);
        assert!(words.contains("within 2 s"), "{decision}: {words}");
        assert!(words.contains("may have been executed"), "{words}");
        over(world);
    }
}

/// A server whose streams end at once and ask for any pause.
fn streams(retry_ms: u64, per_event: bool) -> World {
    let name = std::thread::current();
    let serve = move |request: &super::workspace::HttpRequest,
                      desk: &mut super::workspace::Desk<'_>| {
        let Some(message) = &request.message else {
            let number = desk.ledger.arrived.len();
            let event = Event::new("").id(format!("e{number}")).retry(retry_ms);
            let news = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}";
            let mut events = vec![event];
            if per_event {
                events.push(Event::new(news).mark(Mark::Message(news.to_owned())));
            }
            return Script::events("", &events, true, "\n");
        };
        if message.id == "null" || message.method.is_empty() {
            return Script::response(202, "", "", Framing::Length, vec![]);
        }
        desk.ledger.execute(message.nonce());
        let nonce = message.nonce().unwrap_or_default();
        let mut more = String::new();
        let mut marks = vec![];
        if message.method == "initialize" {
            let version = "2025-11-25".to_owned();
            more = format!(",\"protocolVersion\":\"{version}\"");
            let session = None;
            marks.push(Mark::InitializeResult { session, version });
        }
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}}{more}}}}}",
            message.id
        );
        let json = "Content-Type: application/json\r\n";
        Script::response(200, json, &body, Framing::Length, marks)
    };
    let mut world = World::new(
        name.name().unwrap_or("scenario"),
        7,
        config(&[], Limits::default()),
        Box::new(serve),
        Box::new(Quiet),
    );
    world.say(&super::host::request("0", "initialize", 1_000_000, false));
    world.run_ms(50);
    world.say(super::host::INITIALIZED);
    world.run_ms(50);
    world
}

/// "The client MUST respect the retry field", but a server's zero is not ours, and its largest number
/// is not the past.
#[test]
fn no_retry_makes_the_event_stream_come_back_like_a_storm() {
    for (retry_ms, news, gap_ms) in [
        (0, false, 500),
        (0, true, 500),
        (1, true, 500),
        (700, true, 700),
        (10_000, true, 10_000),
    ] {
        let mut world = streams(retry_ms, news);
        world.run_ms(60_000);
        let opened = times(&world, |request| request.message.is_none());
        assert!(opened.len() >= 5, "{retry_ms}: {opened:?}");
        let gaps = gaps(&opened);
        let fits = |gap: &u64| (gap_ms..gap_ms + 20).contains(gap);
        assert!(gaps.iter().all(fits), "{retry_ms}: {gaps:?}");
        over(world);
    }
    for retry_ms in [u64::MAX, u64::MAX / 1_000, 1 << 63, 1 << 36] {
        let mut world = streams(retry_ms, true);
        world.run_ms(3_600_000);
        let opened = times(&world, |request| request.message.is_none());
        assert_eq!(opened.len(), 1, "{retry_ms}");
        over(world);
    }
}
