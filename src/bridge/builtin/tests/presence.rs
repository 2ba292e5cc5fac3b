//! Signs of life: when they come, and when no more.

use super::*;

fn begun(offer: Offer) -> Desk {
    let mut desk = Desk::new(&[], offer);
    desk.builtins.begin(&mut desk.ctx);
    desk.said();
    desk.builtins.beat(&desk.ctx, Counts::default());
    desk.said();
    desk
}

/// Whether the next heartbeat comes within a tenth of this time, and not before.
#[track_caller]
fn next_after(desk: &mut Desk, seconds: u64) {
    let least = seconds * 9 / 10;
    let most = (seconds * 11).div_ceil(10);
    let due = desk.ctx.next_timeout().expect("a heartbeat");
    let pause_ms = (due - desk.ctx.now()).as_millis() as u64;
    let fits = (least * 1_000..=most * 1_000 + 1_000).contains(&pause_ms);
    assert!(fits, "{pause_ms} ms for {seconds} s");
    assert_eq!(desk.pass(most + 1), ["turn Heartbeat"]);
}

#[test]
fn the_interval_is_the_workspaces_within_bounds() {
    let offered = |heartbeat_s| Offer {
        heartbeat_s,
        ..everything()
    };
    for (offer, answer, expected) in [
        (None, "{}", 60),
        (Some(30), "{}", 30),
        (Some(30), r#"{"interval_s":100}"#, 100),
        (Some(1), "{}", 5),
        (None, r#"{"intervalS":0}"#, 5),
        (None, r#"{"interval_s":999999}"#, 3_600),
        (None, "[7]", 60),
    ] {
        let mut desk = begun(offered(offer));
        desk.reply(Requester::Heartbeat, &format!(r#""result":{answer}"#));
        next_after(&mut desk, expected);
        // What was asked for once holds.
        desk.reply(Requester::Heartbeat, r#""result":{}"#);
        next_after(&mut desk, expected);
    }
}

#[test]
fn failures_double_the_pause_up_to_five_minutes() {
    let mut desk = begun(everything());
    for expected in [120, 240, 300, 300, 300, 300, 300, 300] {
        desk.fail(Requester::Heartbeat, &refused(503));
        next_after(&mut desk, expected);
    }
    desk.reply(Requester::Heartbeat, r#""result":{}"#);
    next_after(&mut desk, 60);
    desk.reply(Requester::Heartbeat, r#""error":{"code":-1,"message":"m"}"#);
    next_after(&mut desk, 120);
    // A long interval is not made shorter by a failure.
    desk.reply(Requester::Heartbeat, r#""result":{"interval_s":3600}"#);
    next_after(&mut desk, 3_600);
    desk.fail(Requester::Heartbeat, &refused(503));
    next_after(&mut desk, 3_600);
}

#[test]
fn one_life_from_online_to_offline() {
    let counts = Counts {
        in_flight: 1,
        pending_approvals: 2,
        calls_total: 3,
    };
    let mut desk = Desk::new(&[], everything());
    desk.ctx.meet(Some(r#"{"name":"n","version":"v"}"#));
    // Nobody has heard of it: nothing to take back.
    desk.builtins.say_offline(&desk.ctx, counts);
    assert_eq!(desk.said(), [""; 0]);
    desk.builtins.begin(&mut desk.ctx);
    let open = "open http://127.0.0.1/ws/x/chat/ws";
    assert_eq!(desk.said(), ["turn Heartbeat", open, "poll the chat"]);
    desk.builtins.begin(&mut desk.ctx);
    assert_eq!(desk.said(), [""; 0]);
    let heartbeat = |status: &str, desk: &mut Desk| {
        let said = desk.said();
        let [said] = &said[..] else {
            panic!("{said:?}")
        };
        let (who, params) = said
            .split_once(" asks aerostack/heartbeat ")
            .expect("a heartbeat");
        let params: Value = serde_json::from_str(params).expect("JSON");
        assert_eq!(params["status"], status);
        assert_eq!(params["bridge"]["instance"], "0000000000000007");
        assert_eq!(params["bridge"]["started_at"], 1_795_305_600);
        assert_eq!(params["client"]["name"], "n");
        let counted =
            ["in_flight", "pending_approvals", "calls_total"].map(|name| params[name].as_u64());
        assert_eq!(counted, [Some(1), Some(2), Some(3)]);
        who.to_owned()
    };
    desk.builtins.beat(&desk.ctx, counts);
    assert_eq!(heartbeat("online", &mut desk), "Heartbeat");
    desk.builtins.say_offline(&desk.ctx, counts);
    assert_eq!(heartbeat("offline", &mut desk), "Report");
    desk.builtins.say_offline(&desk.ctx, counts);
    assert_eq!(desk.said(), [""; 0]);
}

#[test]
fn a_workspace_that_knows_no_heartbeat_hears_none() {
    let mut desk = begun(everything());
    desk.reply(
        Requester::Heartbeat,
        r#""error":{"code":-32601,"message":"m"}"#,
    );
    assert_eq!(desk.ctx.next_timeout(), None);
    desk.builtins.beat(&desk.ctx, Counts::default());
    desk.builtins.say_offline(&desk.ctx, Counts::default());
    desk.builtins.begin(&mut desk.ctx);
    assert_eq!(desk.said(), [""; 0]);
    let plain = Offer {
        heartbeat: false,
        chat: false,
        ..everything()
    };
    let mut desk = Desk::new(&[], plain);
    desk.builtins.begin(&mut desk.ctx);
    assert_eq!(desk.said(), [""; 0]);
}

#[test]
fn a_heartbeat_tells_of_messages_that_were_missed() {
    let mut desk = begun(everything());
    let heard = desk.reply(Requester::Heartbeat, r#""result":{"unread_chat":1}"#);
    assert_eq!(heard, ["turn Poll(Chat)"]);
    let heard = desk.reply(Requester::Heartbeat, r#""result":{"unread_chat":0}"#);
    assert_eq!(heard, [""; 0]);
}
