//! Approvals, one rule each, on the virtual clock: what tests in real time can not wait for.

use super::applicant::{cancel_because, gated};
use super::clerk::{Clerk, Desked, decide, gaps, is, times, world_of};
use super::workspace::HttpRequest;
use super::world::World;
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::CloseCause;
use std::io::ErrorKind;

const APPROVED: &str = "\"status\":\"approved\"";
const POLL: &str = "aerostack/approvals/get";
const CANCEL: &str = "aerostack/approvals/cancel";

fn waiting(settings: &[(&'static str, &str)], clerk: Clerk) -> (World, Desked) {
    let (mut world, clerk) = world_of(settings, Limits::default(), clerk);
    call(&mut world, 1);
    world.run_ms(100);
    (world, clerk)
}

fn call(world: &mut World, id: u64) {
    world.say(&gated(id, "tools/call", 1, false, true));
}

fn answer(world: &World, id: u64) -> String {
    let key = format!("\"id\":{id},");
    let mut lines = world.judge.heard.iter().filter(|line| line.contains(&key));
    lines.next().cloned().unwrap_or_default()
}

fn retries(world: &World) -> Vec<u64> {
    times(world, |request| request.approval().is_some())
}

fn over(mut world: World) {
    world.close_stdin(0);
    world.run_ms(5_000);
    assert!(world.exit.is_some(), "the process ends");
    world.finish();
}

#[test]
fn a_push_decides_within_a_round_trip() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.run_ms(12_000);
    let at = world.now_ms();
    decide(&mut world, &clerk, APPROVED);
    world.run_ms(20);
    assert!(answer(&world, 1).contains("\"result\""));
    assert!(retries(&world)[0] - at <= 2, "no polling delay");
    assert!(times(&world, is(POLL)).is_empty());
    over(world);
}

#[test]
fn the_poll_comes_every_thirty_seconds_beside_a_socket_that_says_nothing() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.run_ms(100_000);
    let polls = times(&world, is(POLL));
    assert_eq!(polls.len(), 3, "{polls:?}");
    assert!(
        gaps(&polls)
            .iter()
            .all(|gap| (30_000..30_010).contains(gap)),
        "{polls:?}"
    );
    // It alone decides.
    clerk.borrow_mut().state = APPROVED.to_owned();
    world.run_ms(30_000);
    assert!(answer(&world, 1).contains("\"result\""));
    over(world);
}

#[test]
fn a_socket_is_pinged_every_twenty_seconds_and_dead_after_fifty() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.run_ms(90_000);
    let pings = clerk.borrow().pings_ms.clone();
    assert_eq!(gaps(&pings), [20_000; 3], "{pings:?}");
    clerk.borrow_mut().silent = true;
    // The last sign of life was the pong at 80 s, and a poll comes at 90 s.
    world.run_ms(35_000);
    assert_eq!(times(&world, HttpRequest::is_upgrade).len(), 1);
    let polls = times(&world, is(POLL)).len();
    world.run_ms(9_000);
    assert_eq!(
        times(&world, HttpRequest::is_upgrade).len(),
        2,
        "it is opened anew"
    );
    assert_eq!(
        times(&world, is(POLL)).len(),
        polls + 1,
        "and asked at once"
    );
    over(world);
}

#[test]
fn a_refused_socket_is_tried_again_after_1_2_4_up_to_30_seconds() {
    for status in [403, 404, 200, 500] {
        let clerk = Clerk {
            refuse: Some(status),
            ..Clerk::default()
        };
        let (mut world, clerk) = waiting(&[], clerk);
        world.run_ms(160_000);
        let tries = times(&world, HttpRequest::is_upgrade);
        let wanted = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        let gaps = gaps(&tries);
        assert!(gaps.len() >= wanted.len(), "{status}: {gaps:?}");
        for (gap, wanted) in gaps.iter().zip(wanted) {
            let jitter = wanted * 3 / 4..=wanted * 5 / 4 + 10;
            assert!(jitter.contains(gap), "{status}: {gaps:?}");
        }
        assert!(
            gaps.iter()
                .zip(wanted)
                .any(|(gap, wanted)| gap.abs_diff(wanted) > 20)
        );
        clerk.borrow_mut().state = "\"status\":\"rejected\",\"note\":\"no\"".to_owned();
        world.run_ms(31_000);
        assert!(
            answer(&world, 1).contains("NOT executed"),
            "the poll serves"
        );
        over(world);
    }
}

#[test]
fn a_host_that_wants_progress_has_it_every_fifteen_seconds() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.run_ms(61_000);
    let progress = |world: &World| {
        let lines = world.judge.heard.iter();
        lines
            .filter(|line| line.contains("notifications/progress"))
            .count()
    };
    assert_eq!(progress(&world), 5, "at once, then each 15 s");
    decide(&mut world, &clerk, "\"status\":\"cancelled\"");
    world.run_ms(60_000);
    assert_eq!(progress(&world), 5);
    over(world);
}

#[test]
fn expires_at_is_judged_by_the_servers_clock() {
    // Its clock is five days ahead; 1795305600 is the world's beginning.
    let skew_s = 5 * 86_400;
    let clerk = Clerk {
        skew_s,
        needs: format!(",\"expires_at\":{}", 1_795_305_600 + skew_s + 40),
        ..Clerk::default()
    };
    let (mut world, _) = waiting(&[], clerk);
    world.run_ms(39_000);
    assert_eq!(answer(&world, 1), "");
    let polls = times(&world, is(POLL)).len();
    world.run_ms(2_000);
    assert_eq!(
        times(&world, is(POLL)).len(),
        polls + 1,
        "one last question"
    );
    world.run_ms(5_000);
    assert!(answer(&world, 1).contains("no decision came in time"));
    assert_eq!(times(&world, is(CANCEL)).len(), 1);
    over(world);
}

#[test]
fn an_approval_without_a_time_of_its_own_waits_an_hour() {
    let (mut world, _) = waiting(&[], Clerk::default());
    world.run_ms(3_599_000);
    assert_eq!(answer(&world, 1), "");
    world.run_ms(7_000);
    assert!(answer(&world, 1).contains("no decision came in time"));
    over(world);
}

#[test]
fn a_host_that_gives_up_can_come_back_within_ten_minutes() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.say(&cancel_because("1", "Request timed out"));
    world.run_ms(300_000);
    decide(&mut world, &clerk, APPROVED);
    world.run_ms(200_000);
    assert!(
        retries(&world).is_empty(),
        "nothing runs while nobody waits"
    );
    call(&mut world, 2);
    world.run_ms(100);
    assert!(answer(&world, 2).contains("\"result\""));
    assert_eq!(retries(&world).len(), 1);
    assert!(times(&world, is(CANCEL)).is_empty());
    over(world);
}

#[test]
fn a_detached_approval_is_withdrawn_after_ten_minutes() {
    let (mut world, _) = waiting(&[], Clerk::default());
    world.say(&cancel_because("1", "Timeout"));
    world.run_ms(599_000);
    assert!(times(&world, is(CANCEL)).is_empty());
    world.run_ms(2_000);
    assert_eq!(times(&world, is(CANCEL)).len(), 1);
    call(&mut world, 2);
    world.run_ms(1_000);
    assert_eq!(
        times(&world, is("tools/call")).len(),
        2,
        "it is a call like any other"
    );
    over(world);
}

#[test]
fn who_comes_back_waits_no_longer_than_the_approval_lives() {
    let clerk = Clerk {
        needs: format!(",\"expires_at\":{}", 1_795_305_600 + 120),
        ..Clerk::default()
    };
    let (mut world, _) = waiting(&[], clerk);
    world.run_ms(60_000);
    world.say(&cancel_because("1", "Timeout"));
    world.run_ms(10_000);
    call(&mut world, 2);
    world.run_ms(48_000);
    assert_eq!(answer(&world, 2), "");
    world.run_ms(8_000);
    assert!(answer(&world, 2).contains("no decision came in time"));
    over(world);
}

#[test]
fn who_is_told_of_a_detached_approval_waits_for_its_own_time() {
    let clerk = Clerk {
        only: Some("apr_same"),
        ..Clerk::default()
    };
    let (mut world, clerk) = waiting(&[("AEROSTACK_APPROVAL_TIMEOUT", "60")], clerk);
    clerk.borrow_mut().slow_us = 200_000;
    call(&mut world, 2);
    world.run_ms(100);
    world.say(&cancel_because("1", "Timeout"));
    world.run_ms(59_000);
    assert_eq!(answer(&world, 2), "");
    world.run_ms(8_000);
    assert!(answer(&world, 2).contains("no decision came in time"));
    over(world);
}

#[test]
fn the_hosts_wait_can_be_bounded() {
    let (mut world, clerk) = waiting(&[("AEROSTACK_APPROVAL_WAIT", "20")], Clerk::default());
    world.run_ms(19_800);
    assert_eq!(answer(&world, 1), "");
    world.run_ms(300);
    assert!(answer(&world, 1).contains("still waiting for approval"));
    call(&mut world, 2);
    world.run_ms(5_000);
    assert_eq!(
        times(&world, is("tools/call")).len(),
        1,
        "it waits for the same"
    );
    decide(&mut world, &clerk, APPROVED);
    world.run_ms(100);
    assert!(answer(&world, 2).contains("\"result\""));
    over(world);
}

#[test]
fn a_retry_that_needs_the_same_again_pauses_1_2_4_seconds() {
    let clerk = Clerk {
        nags: 3,
        state: APPROVED.to_owned(),
        ..Clerk::default()
    };
    let (mut world, _) = waiting(&[], clerk);
    world.run_ms(8_000);
    let gaps = gaps(&retries(&world));
    assert_eq!(gaps.len(), 3);
    for (gap, wanted) in gaps.iter().zip([1_000, 2_000, 4_000]) {
        assert!((wanted..wanted + 10).contains(gap), "{gaps:?}");
    }
    assert!(answer(&world, 1).contains("\"result\""));
    over(world);
    let clerk = Clerk {
        nags: 99,
        state: APPROVED.to_owned(),
        ..Clerk::default()
    };
    let (mut world, _) = waiting(&[], clerk);
    world.run_ms(30_000);
    assert_eq!(retries(&world).len(), 4);
    assert!(answer(&world, 1).contains("-32050"));
    over(world);
}

#[test]
fn an_approval_is_used_once_though_equal_calls_are_told_its_name() {
    let clerk = Clerk {
        only: Some("apr_same"),
        state: APPROVED.to_owned(),
        ..Clerk::default()
    };
    let (mut world, clerk) = waiting(&[], clerk);
    assert!(answer(&world, 1).contains("\"result\""));
    call(&mut world, 2);
    world.run_ms(1_000);
    assert!(answer(&world, 2).contains("was used by an identical call"));
    assert_eq!(retries(&world).len(), 1);
    drop(clerk);
    over(world);
}

#[test]
fn a_cancel_withdraws_no_approval_that_an_equal_call_waits_for() {
    let clerk = Clerk {
        only: Some("apr_same"),
        ..Clerk::default()
    };
    let (mut world, clerk) = waiting(&[], clerk);
    clerk.borrow_mut().slow_us = 200_000;
    call(&mut world, 2);
    world.run_ms(100);
    // The approval and the cancel cross.
    world.say(&cancel_because("2", "no"));
    world.run_ms(5_000);
    assert!(times(&world, is(CANCEL)).is_empty());
    decide(&mut world, &clerk, APPROVED);
    world.run_ms(1_000);
    assert!(answer(&world, 1).contains("\"result\""));
    over(world);
}

#[test]
fn two_hundred_wait_at_once_and_each_is_decided() {
    let limits = Limits::default();
    let sockets = limits.approval_sockets_max;
    let (mut world, clerk) = world_of(&[], limits, Clerk::default());
    (1..=200).for_each(|id| call(&mut world, id));
    world.run_ms(40_000);
    assert_eq!(clerk.borrow().sockets.len(), sockets);
    world.say(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
    decide(&mut world, &clerk, APPROVED);
    // Sockets that are free serve the next.
    world.run_ms(30_000);
    for id in 1..=200 {
        assert!(answer(&world, id).contains("\"result\""), "{id}");
        assert_eq!(world.ledger.executions(id), 1);
    }
    over(world);
}

#[test]
fn polls_that_fail_keep_to_their_turns() {
    let clerk = Clerk {
        refuse: Some(503),
        sick: Some(503),
        ..Clerk::default()
    };
    let (mut world, clerk) = world_of(&[], Limits::default(), clerk);
    (1..=20).for_each(|id| call(&mut world, id));
    world.run_ms(300_000);
    let polls = times(&world, is(POLL));
    for (at, time) in polls.iter().enumerate() {
        let minute = polls[at..].iter().filter(|other| **other < time + 60_000);
        assert!(minute.count() < 30);
    }
    assert!(polls.len() > 100);
    (clerk.borrow_mut().sick, clerk.borrow_mut().state) = (None, APPROVED.to_owned());
    world.run_ms(100_000);
    assert!((1..=20).all(|id| answer(&world, id).contains("\"result\"")));
    over(world);
}

#[test]
fn after_sleep_sockets_are_new_and_the_state_is_asked_at_once() {
    let (mut world, clerk) = waiting(&[], Clerk::default());
    world.run_ms(5_000);
    let conn = clerk.borrow().sockets.keys().next().copied().expect("open");
    world.sleep(0, 3_600_000);
    // The first thing that is heard after it: the socket was reset.
    world.serve(conn, |_, desk| {
        let reset = CloseCause::Io(ErrorKind::ConnectionReset);
        desk.acts.push(super::workspace::Act::Drop(conn, reset));
    });
    clerk.borrow_mut().state = APPROVED.to_owned();
    world.run_ms(50);
    assert!(answer(&world, 1).contains("\"result\""));
    over(world);
}

#[test]
fn the_end_withdraws_what_is_pending() {
    for terminated in [false, true] {
        let (mut world, _) = waiting(&[], Clerk::default());
        let begun = world.now_ms();
        match terminated {
            true => world.terminate(0),
            false => world.close_stdin(0),
        }
        world.run_ms(5_000);
        let limits = Limits::default();
        let drain = if terminated {
            limits.drain_terminated
        } else {
            limits.drain
        };
        let took = world.exit.expect("it ends") - begun;
        assert!(took <= (drain + limits.farewell).as_millis() as u64 + 5);
        assert_eq!(times(&world, is(CANCEL)).len(), 1);
        assert!(answer(&world, 1).contains("the gateway ended while it waited"));
        world.finish();
    }
}
