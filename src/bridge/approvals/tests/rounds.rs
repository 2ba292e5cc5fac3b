//! What a consent is worth, and more than one approval: in a row, side by side, by the thousand; and
//! the end of them all.

use super::*;

const CANCEL_B: &str =
    r#"withdraw {"approval_id":"b","reason":"the same request was asked about again"}"#;

fn watch(key: u64, id: &str) -> String {
    format!("watch {key} http://127.0.0.1/ws/x/approvals/{id}/ws")
}

#[test]
fn a_consent_is_for_its_bytes_and_for_one_execution() {
    const FOREIGN: &str = "answer 2 error: t: the workspace asked to wait for an approval that was asked for another request, so this one was not sent again. It was not executed";
    const USED: &str =
        "answer 2 error: t: this approval was used by an identical call; this one was not sent";
    const AGAIN: &str = "watch 2 http://127.0.0.1/ws/x/approvals/a/ws";
    let begins: (Step<'_>, &[&str]) = (Needs(1, "a"), &[WATCH, "waits 1"]);
    let (first, second) = (sent(1), sent(2));
    let yes: [&str; 2] = ["unwatch 1", &first];
    let approved: (Step<'_>, &[&str]) = (Is(1, APPROVED), &yes);
    // One id for two requests, whatever is promised.
    for desk in [Desk::new(&[], other), Desk::new(&[], other).at_most_once()] {
        desk.tell(&[
            begins,
            (Needs(2, "a"), &[FOREIGN]),
            (Is(1, REJECTED), &["unwatch 1", "answer 1 error: t was NOT executed: the approval was rejected by ann. Reviewer's note: no"]),
            (Needs(2, "a"), &[FOREIGN]),
        ]);
    }
    // The same bytes, once it was used.
    Desk::new(&[], same).tell(&[begins, approved, (Needs(2, "a"), &[USED])]);
    Desk::new(&[], same).at_most_once().tell(&[
        begins,
        approved,
        (Needs(2, "a"), &[AGAIN, "waits 2"]),
    ]);
    Desk::new(&[], same).tell(&[
        begins,
        approved,
        (Restore("a"), &[]),
        (Needs(2, "a"), &[AGAIN, "waits 2"]),
        (Is(2, APPROVED), &["unwatch 2", &second]),
    ]);
    // Two that wait for it together.
    let both: (Step<'_>, &[&str]) = (Needs(2, "a"), &["waits 1", "waits 2"]);
    Desk::new(&[], same).tell(&[
        begins,
        both,
        (Is(1, APPROVED), &["unwatch 1", &first, USED]),
    ]);
    Desk::new(&[], same).at_most_once().tell(&[
        begins,
        both,
        (Is(1, APPROVED), &["unwatch 1", &first, &second]),
    ]);
    // One of two goes: the other waits on.
    Desk::new(&[], same).tell(&[
        begins,
        both,
        (Cancel(1, ""), &[]),
        (Is(1, APPROVED), &["unwatch 1", &second]),
    ]);
}

#[test]
fn a_cancel_that_crossed_withdraws_what_nobody_else_wants() {
    const STRAY: &str = r#"withdraw {"approval_id":"b","reason":"the host cancelled the request"}"#;
    Desk::new(&[], same).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Stray("b"), &[STRAY]),
        (Stray("a"), &[]),
        (Is(1, APPROVED), &["unwatch 1", &sent(1)]),
        (Stray("a"), &[]),
    ]);
}

#[test]
fn three_approvals_in_a_row_and_no_more() {
    let mut desk = Desk::new(&[], same);
    let ids = ["a", "b", "c"];
    for (at, id) in ids.into_iter().enumerate() {
        let key = at as u64 + 1;
        let step = match at {
            0 => Needs(1, id),
            _ => AgainNeeds(at - 1, id),
        };
        assert_eq!(desk.step(step), [watch(key, id), "waits 1".to_owned()]);
        let sent = desk.step(Is(key, APPROVED));
        let named = format!(r#""dev.aerostack/approval_id":"{id}""#);
        assert!(sent[1].contains(&named), "{sent:?}");
        assert_eq!(sent[1].matches("approval_id").count(), 1, "{sent:?}");
    }
    desk.tell(&[(AgainNeeds(2, "d"), &["pass on Some(1)"])]);
}

#[test]
fn the_same_approval_again_is_waited_out_three_times() {
    let first = sent(1);
    Desk::new(&[], same).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Is(1, APPROVED), &["unwatch 1", &first]),
        (AgainNeeds(0, "a"), &["send 1 in 1s"]),
        (AgainNeeds(1, "a"), &["send 1 in 2s"]),
        (AgainNeeds(2, "a"), &["send 1 in 4s"]),
        (AgainNeeds(3, "a"), &["pass on Some(1)"]),
        // The workspace did not take it: the next call may use it.
        (Needs(2, "a"), &[&watch(2, "a"), "waits 2"]),
    ]);
}

#[test]
fn for_the_guardian_the_decision_is_the_outcome() {
    let begins: [&str; 2] = [WATCH, "waits 1"];
    let stories: [(&str, &str); 4] = [
        (APPROVED, "decided 1 a Approved { params: None }"),
        (REJECTED, "decided 1 a Rejected"),
        (
            r#""status":"executed","result":{}"#,
            "decided 1 a Executed(Result(\"{}\"))",
        ),
        (
            r#""status":"approved","params":{}"#,
            "decided 1 a Approved { params: Some(\"{}\") }",
        ),
    ];
    for (state, expected) in stories {
        Desk::new(&[], guardian).tell(&[
            (Needs(1, "a"), &begins),
            (Is(1, state), &["unwatch 1", expected]),
        ]);
    }
    // What allowed one operation allows no other, whatever the workspace promises.
    const USED: &str = "undecided 2 the local operation \u{201c}rm\u{201d}: this approval was used by an identical call; this one was not sent";
    Desk::new(&[], guardian).at_most_once().tell(&[
        (Needs(1, "a"), &begins),
        (
            Is(1, APPROVED),
            &["unwatch 1", "decided 1 a Approved { params: None }"],
        ),
        (Needs(2, "a"), &[USED]),
    ]);
    // A no leaves nothing to be used.
    Desk::new(&[], guardian).tell(&[
        (Needs(1, "a"), &begins),
        (Is(1, REJECTED), &["unwatch 1", "decided 1 a Rejected"]),
        (Needs(2, "a"), &[&watch(2, "a"), "waits 2"]),
    ]);
}

#[test]
fn the_end_withdraws_what_is_open_and_tells_who_waits() {
    const A: &str = r#"withdraw {"approval_id":"a","reason":"the gateway ended"}"#;
    const B: &str = r#"withdraw {"approval_id":"b","reason":"the gateway ended"}"#;
    const TOLD: &str = "the gateway ended while it waited for approval; the request was withdrawn. It may still be executed if it was approved at the last moment";
    let first = format!("answer 1 error: t: {TOLD}");
    let second = format!("answer 2 error: t: {TOLD}");
    Desk::new(&[], other).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Needs(2, "b"), &[&watch(2, "b"), "waits 2"]),
        (End, &["unwatch 1", A, &first, "unwatch 2", B, &second]),
        (End, &[]),
    ]);
    Desk::new(&[], same).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Cancel(1, "timeout"), &[]),
        (End, &["unwatch 1", A]),
        (Repeat(2), &["2 goes to the workspace"]),
    ]);
    let told = format!("undecided 1 the local operation \u{201c}rm\u{201d}: {TOLD}");
    Desk::new(&[], guardian).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (End, &["unwatch 1", A, &told]),
    ]);
}

/// Two equal requests with an approval each: only one can be found again, and the other is not lost
/// sight of.
#[test]
fn equal_requests_with_an_approval_each() {
    let begins: [(Step<'_>, &[&str]); 3] = [
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Needs(2, "b"), &[&watch(2, "b"), "waits 2"]),
        (Cancel(1, "timeout"), &[]),
    ];
    let desk = Desk::new(&[], same).tell(&begins);
    assert_eq!(desk.approvals.pending(), 1);
    // A third comes to the one that is waited for: the one without a host stays to be found.
    let desk = desk.tell(&[(Needs(3, "b"), &["waits 2", "waits 3"])]);
    assert_eq!(desk.approvals.pending(), 1);
    desk.tell(&[
        (Repeat(4), &["waits 4"]),
        (Is(1, APPROVED), &["unwatch 1", &sent(4)]),
    ]);
    // A new one for it, likewise.
    let desk = Desk::new(&[], same).tell(&begins);
    let desk = desk.tell(&[(Needs(3, "c"), &[&watch(3, "c"), "waits 3"])]);
    assert_eq!(desk.approvals.pending(), 2);
    // Both are left alone: the later one stays.
    let withdrawn = CANCEL_B.replace("\"b\"", "\"a\"");
    let desk = desk.tell(&[(Cancel(3, "timeout"), &["unwatch 1", &withdrawn])]);
    desk.tell(&[
        (
            Cancel(2, "timeout"),
            &["unwatch 3", &CANCEL_B.replace("\"b\"", "\"c\"")],
        ),
        (Pass(600), &["unwatch 2", &NOBODY.replace("\"a\"", "\"b\"")]),
    ]);
}

#[test]
fn urls_of_strangers_are_not_opened() {
    let own = "watch 1 http://127.0.0.1/ws/x/approvals/a/ws";
    let table = [
        (r#","ws_url":"/w/1""#, "watch 1 http://127.0.0.1/w/1"),
        (
            r#","ws_url":"ws://127.0.0.1/w""#,
            "watch 1 http://127.0.0.1/w",
        ),
        (r#","ws_url":"wss://evil.example/w""#, own),
        (r#","ws_url":"//evil.example/w""#, own),
        (r#","ws_url":"http://u:p@127.0.0.1/w""#, own),
        (r#","ws_url":"\\evil""#, own),
        (r#","status_url":"https://evil.example/""#, own),
        (
            r#","status_url":"s/1""#,
            "watch 1 http://127.0.0.1/ws/x/approvals/a/ws http://127.0.0.1/ws/x/s/1",
        ),
    ];
    for (more, expected) in table {
        let mut desk = Desk::new(&[], same);
        let said = desk.step(NeedsWith(1, "a", more));
        assert_eq!(said, [expected, "waits 1"], "{more}");
    }
}

/// As many as may stay open without a host, and two more: each costs the same few events, whatever
/// is open beside it, and the oldest goes for a new one.
#[test]
fn thousands_that_are_left_alone_cost_the_same_each() {
    let mut desk = Desk::new(&[], other);
    let most = desk.ctx.limits().detached_max as u64;
    for ticket in 1..=most {
        let id = format!("i{ticket}");
        assert_eq!(desk.step(Needs(ticket, &id)).len(), 2);
        assert_eq!(desk.step(Cancel(ticket, "timeout")), [""; 0]);
    }
    assert_eq!(desk.approvals.detached.len() as u64, most);
    for (more, oldest) in [(most + 1, 1), (most + 2, 2)] {
        assert_eq!(desk.step(Needs(more, &format!("i{more}"))).len(), 2);
        let gone = format!(
            r#"withdraw {{"approval_id":"i{oldest}","reason":"too many approvals are open that nobody waits for"}}"#
        );
        let said = desk.step(Cancel(more, "timeout"));
        assert_eq!(said, [format!("unwatch {oldest}"), gone]);
    }
    assert_eq!(desk.approvals.pending(), 0);
    assert_eq!(desk.step(Repeat(1)), ["1 goes to the workspace"]);
    assert_eq!(desk.step(Is(3, APPROVED)), ["unwatch 3"]);
    assert_eq!(desk.step(Repeat(3)).len(), 2);
    // The rest ends with its ten minutes: two events each.
    let said = desk.step(Pass(600));
    assert_eq!(said.len() as u64, 2 * (most - 1));
    desk.tell(&[(End, &[])]);
}
