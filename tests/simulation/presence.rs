//! Signs of life, and a start without the workspace, on the virtual clock.

use super::clerk::{Clerk, Desked, gaps, is, times, world_of};
use super::host::{INITIALIZED, request};
use super::script::{End, Script};
use super::workspace::{Desk, HttpRequest};
use super::world::{Quiet, World, config};
use aerostack_gateway::api::config::Limits;

const BEAT: &str = "aerostack/heartbeat";
const ON: [(&str, &str); 1] = [("AEROSTACK_BUILTIN_TOOLS", "on")];

fn world(offer: &str) -> (World, Desked) {
    let clerk = Clerk {
        offer: format!(",{offer}"),
        ..Clerk::default()
    };
    world_of(&ON, Limits::default(), clerk)
}

fn status(world: &World) -> Vec<String> {
    let beats = world.ledger.arrived.iter().filter(|r| is(BEAT)(r));
    let status = beats.map(|r| r.message.as_ref().expect("a request").params["status"].clone());
    status
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Within 10 % of what is wanted, and not all the same.
fn jittered(gaps: &[u64], wanted_ms: u64) -> bool {
    let near = |gap: &u64| gap.abs_diff(wanted_ms) <= wanted_ms / 10 + 10;
    gaps.iter().all(near) && gaps.iter().any(|gap| gap.abs_diff(wanted_ms) > 20)
}

#[test]
fn hearts_beat_every_minute_and_stop_with_offline() {
    let (mut world, _) = world("\"heartbeat\":{}");
    world.run_ms(600_000);
    let beats = times(&world, is(BEAT));
    assert!(beats[0] < 200, "at once when the host begins to work");
    assert!(
        (9..=12).contains(&beats.len()) && jittered(&gaps(&beats), 60_000),
        "{beats:?}"
    );
    world.close_stdin(0);
    world.run_ms(5_000);
    let status = status(&world);
    assert_eq!(status.iter().filter(|word| *word == "offline").count(), 1);
    assert_eq!(status.last().map(String::as_str), Some("offline"));
    world.finish();
}

#[test]
fn the_workspace_names_the_cadence_from_five_seconds_to_an_hour() {
    for (asked, wanted_ms) in [(10, 10_000), (1, 5_000), (999_999, 3_600_000)] {
        let (mut world, clerk) = world("\"heartbeat\":{\"interval_s\":30}");
        clerk.borrow_mut().beat = format!("\"interval_s\":{asked}");
        // The first answer has gone without.
        world.run_ms(35_000 + 8 * wanted_ms);
        let beats = times(&world, is(BEAT));
        assert!(
            jittered(&gaps(&beats[1..]), wanted_ms),
            "{asked}: {beats:?}"
        );
        world.terminate(0);
        world.run_ms(2_000);
        world.finish();
    }
}

#[test]
fn hearts_beat_slower_while_nobody_hears_them() {
    let (mut world, clerk) = world("\"heartbeat\":{}");
    world.run_ms(100);
    clerk.borrow_mut().sick = Some(503);
    world.run_ms(1_500_000);
    let pauses = gaps(&times(&world, is(BEAT)));
    for (gap, wanted) in pauses
        .iter()
        .zip([60_000, 120_000, 240_000, 300_000, 300_000])
    {
        assert!(gap.abs_diff(wanted) <= wanted / 10 + 10, "{pauses:?}");
    }
    clerk.borrow_mut().sick = None;
    world.run_ms(331_000);
    let begun = times(&world, is(BEAT)).len();
    world.run_ms(300_000);
    assert!((4..=6).contains(&(times(&world, is(BEAT)).len() - begun)));
    world.terminate(0);
    world.run_ms(2_000);
    world.finish();
}

#[test]
fn a_probe_that_never_works_is_never_seen() {
    let clerk = Clerk {
        offer: ",\"heartbeat\":{}".to_owned(),
        ..Clerk::default()
    };
    let clerk: Desked = std::rc::Rc::new(clerk.into());
    let config = config(&ON, Limits::default());
    let mut world = World::new("probe", 7, config, Box::new(clerk), Box::new(Quiet));
    world.say(&request("0", "initialize", 1, false));
    world.run_ms(100);
    world.close_stdin(0);
    world.run_ms(5_000);
    assert!(status(&world).is_empty());
    world.finish();
}

#[test]
fn an_answer_after_three_seconds_becomes_the_session() {
    let mut opened = 0;
    let serve = move |request: &HttpRequest, desk: &mut Desk<'_>| {
        let Some(message) = &request.message else {
            return Script::nothing(End::Silent);
        };
        if message.method == "initialize" {
            opened += 1;
            assert_eq!(opened, 1, "never a second one");
        }
        desk.ledger.execute(message.nonce());
        let nonce = message.nonce().map_or("null".to_owned(), |n| n.to_string());
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}},\"protocolVersion\":\"2025-06-18\",\"capabilities\":{{}}}}}}",
            message.id
        );
        let json = "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n";
        let length = super::script::Framing::Length;
        let script = Script::response(200, json, &body, length, vec![]);
        script.after(if message.method == "initialize" {
            9_000_000
        } else {
            0
        })
    };
    let config = config(&ON, Limits::default());
    let mut world = World::new("late", 7, config, Box::new(serve), Box::new(Quiet));
    world.judge.local = true;
    world.say(&request("0", "initialize", 1, false));
    world.run_ms(2_900);
    assert!(world.judge.heard.is_empty());
    world.run_ms(150);
    assert!(world.judge.heard[0].contains("not reachable yet"));
    world.say(INITIALIZED);
    world.say(&request("1", "tools/call", 2, false));
    world.run_ms(5_000);
    assert!(world.judge.heard[1].contains("not connected yet"));
    world.run_ms(2_000);
    let changed = |line: &&String| line.contains("list_changed");
    assert_eq!(world.judge.heard.iter().filter(changed).count(), 3);
    world.say(&request("2", "tools/call", 3, false));
    world.run_ms(100);
    assert_eq!(world.ledger.executions(3), 1);
    world.close_stdin(0);
    world.run_ms(5_000);
    world.finish();
}
