//! The chat: read, wait, send, and the hint in a result.

use super::*;

const LIST: &str = r#"asks aerostack/chat/messages {"limit":50,"bridge_id":"us"}"#;

fn said_by(from: &str, id: &str, text: &str) -> String {
    format!(r#"{{"id":"{id}","from":"{from}","text":"{text}","at":0}}"#)
}

fn messages(list: &[String]) -> String {
    format!(r#""result":{{"messages":[{}]}}"#, list.join(","))
}

fn push(desk: &mut Desk, message: &str) -> Vec<String> {
    let text = format!(r#"{{"type":"chat","message":{message}}}"#);
    desk.builtins.handle_pushed(&mut desk.ctx, text.as_bytes());
    desk.said()
}

fn transcript(ticket: u64, lines: &str) -> String {
    format!(
        "answer {ticket} 1 unread message from the dashboard.\n\nTopic: general\n{lines}\nAnswer with action send and the same topic."
    )
}

fn read_up_to(id: &str) -> String {
    format!(
        r#"Report asks aerostack/chat/messages {{"after":"{id}","mark_read":"{id}","limit":1,"bridge_id":"us"}}"#
    )
}

#[test]
fn what_is_read_is_marked_read() {
    let mut desk = Desk::new(&[], everything());
    let asked = desk.call(1, CHAT, r#"{"action":"read"}"#);
    assert_eq!(asked, [format!("Chat(Ticket(1)) {LIST}")]);
    let list = messages(&[said_by("agent", "1", "hello"), said_by("user", "2", "stop")]);
    let lines =
        "agent 1970-01-01T00:00:00.000Z: hello\n(unread) user 1970-01-01T00:00:00.000Z: stop\n";
    assert_eq!(
        desk.reply(Requester::Chat(Ticket(1)), &list),
        [transcript(1, lines), read_up_to("2")]
    );
    // The next list begins behind it, and is empty.
    let asked = desk.call(2, CHAT, r#"{"action":"read"}"#);
    assert_eq!(
        asked,
        [
            r#"Chat(Ticket(2)) asks aerostack/chat/messages {"after":"2","limit":50,"bridge_id":"us"}"#
        ]
    );
    let none = desk.reply(Requester::Chat(Ticket(2)), &messages(&[]));
    assert_eq!(none, ["answer 2 No unread messages from the dashboard."]);
}

#[test]
fn who_waits_longest_hears_first() {
    let mut desk = Desk::new(&[], everything());
    desk.call(1, CHAT, r#"{"action":"wait","timeout_s":300}"#);
    desk.call(2, CHAT, r#"{"action":"wait","timeout_s":300}"#);
    // What an agent said, or what is for another bridge, is no news.
    assert_eq!(push(&mut desk, &said_by("agent", "1", "mine")), [""; 0]);
    let other = said_by("user", "9", "x").replace(r#""at""#, r#""to":"other","at""#);
    assert_eq!(push(&mut desk, &other), [""; 0]);
    let line = "agent 1970-01-01T00:00:00.000Z: mine\n(unread) user 1970-01-01T00:00:00.000Z: go\n";
    assert_eq!(
        push(&mut desk, &said_by("user", "2", "go")),
        [transcript(1, line), read_up_to("2")]
    );
    // The same again, by the poll.
    let again = desk.reply(
        Requester::Poll(Subject::Chat),
        &messages(&[said_by("user", "2", "go")]),
    );
    assert_eq!(again, [""; 0]);
    let next = desk.reply(
        Requester::Poll(Subject::Chat),
        &messages(&[said_by("user", "3", "on")]),
    );
    assert_eq!(next.len(), 2);
    assert!(next[0].starts_with("answer 2 1 unread message"), "{next:?}");
    // Nothing is left that could fire.
    assert_eq!(desk.ctx.next_timeout(), None);
}

#[test]
fn a_wait_ends_by_itself() {
    let none = "answer 1 No message from the dashboard came in this time.";
    for (timeout, seconds) in [
        ("", 50),
        (",\"timeout_s\":7", 7),
        (",\"timeout_s\":0", 1),
        (",\"timeout_s\":-3", 1),
        (",\"timeout_s\":9999", 300),
    ] {
        let mut desk = Desk::new(&[], everything());
        desk.call(1, CHAT, &format!(r#"{{"action":"wait"{timeout}}}"#));
        let before = desk.pass(seconds - 1);
        let told = before
            .iter()
            .filter(|said| *said == "1 is waiting for a message from the dashboard");
        assert_eq!(
            (told.count(), before.len()),
            ((seconds as usize - 1) / 15, (seconds as usize - 1) / 15),
            "{timeout}"
        );
        let end = desk.pass(1);
        assert_eq!(end.last().map(String::as_str), Some(none), "{timeout}");
        assert_eq!(desk.ctx.next_timeout(), None);
    }
    // A host that hears of no progress gives up after a minute.
    let mut desk = Desk::new(&[], everything());
    let quiet = call(
        1,
        &format!(r#"{{"name":"{CHAT}","arguments":{{"action":"wait","timeout_s":300}}}}"#),
    );
    desk.host_calls(1, &quiet, None);
    assert_eq!(desk.pass(50), [none]);
    // Withdrawn: nothing more.
    desk.call(2, CHAT, r#"{"action":"wait"}"#);
    desk.builtins.withdraw(&mut desk.ctx, Ticket(2));
    assert_eq!(desk.pass(100), [""; 0]);
    desk.call(3, CHAT, r#"{"action":"wait"}"#);
    desk.builtins.end(&mut desk.ctx);
    assert_eq!(
        desk.said(),
        ["answer 3 error: The chat does not work at the moment: the gateway was told to end"]
    );
    // What is unread already is read, not waited for.
    push(&mut desk, &said_by("user", "1", "hi"));
    let asked = desk.call(4, CHAT, r#"{"action":"wait"}"#);
    assert_eq!(asked, [format!("Chat(Ticket(4)) {LIST}")]);
}

#[test]
fn what_is_sent_has_its_limits() {
    let mut desk = Desk::new(&[], everything());
    let longest = "x".repeat(64 << 10);
    let sent = desk.call(
        1,
        CHAT,
        &format!(r#"{{"action":"send","text":"{longest}","topic":"t"}}"#),
    );
    assert_eq!(
        sent,
        [format!(
            r#"Chat(Ticket(1)) asks aerostack/chat/send {{"text":"{longest}","topic":"t","bridge_id":"us"}}"#
        )]
    );
    assert_eq!(
        desk.reply(Requester::Chat(Ticket(1)), r#""result":{"id":"1"}"#),
        ["answer 1 Sent to the dashboard."]
    );
    let failed = desk.call(
        2,
        CHAT,
        &format!(r#"{{"action":"send","text":"{longest}x"}}"#),
    );
    assert_eq!(
        failed,
        ["answer 2 error: invalid arguments: `text` is longer than 65536 bytes"]
    );
    for (arguments, expected) in [
        (r#"{"action":"send"}"#, "`text` is missing"),
        (r#"{"action":"send","text":" \n"}"#, "`text` is missing"),
        (
            r#"{"action":"dance"}"#,
            "`action` must be one of read, wait, send",
        ),
        ("{}", "`action` must be one of read, wait, send"),
    ] {
        let said = desk.call(3, CHAT, arguments);
        assert_eq!(
            said,
            [format!("answer 3 error: invalid arguments: {expected}")],
            "{arguments}"
        );
    }
    let said = desk.call(3, CHAT, r#"["send"]"#);
    assert!(
        said[0].starts_with("answer 3 error: invalid arguments: "),
        "{said:?}"
    );
}

#[test]
fn a_chat_that_does_not_work_says_so() {
    let broken = "answer 1 error: The chat does not work at the moment: ";
    let mut desk = Desk::new(&[], everything());
    desk.builtins.begin(&mut desk.ctx);
    desk.said();
    desk.call(1, CHAT, r#"{"action":"read"}"#);
    let error = r#""error":{"code":-1,"message":"for mwt_T0P-S3CRET"}"#;
    assert_eq!(
        desk.reply(Requester::Chat(Ticket(1)), error),
        [format!("{broken}for ***")]
    );
    desk.call(1, CHAT, r#"{"action":"read"}"#);
    let said = desk.fail(Requester::Chat(Ticket(1)), &Failure::Ending);
    assert!(said[0].starts_with(broken), "{said:?}");
    desk.call(1, CHAT, r#"{"action":"read"}"#);
    let unknown = r#""error":{"code":-32601,"message":"m"}"#;
    let said = desk.reply(Requester::Chat(Ticket(1)), unknown);
    assert!(said.contains(&"close the chat".to_owned()), "{said:?}");
    assert!(
        said.contains(&format!("{broken}it does not offer a chat")),
        "{said:?}"
    );
    assert_eq!(
        desk.call(2, CHAT, r#"{"action":"read"}"#),
        ["answer 2 error: this workspace does not offer a chat"]
    );
    let read = call(
        3,
        &format!(r#"{{"name":"{CHAT}","arguments":{{"action":"read"}}}}"#),
    );
    assert_eq!(
        desk.host_calls(3, &read, Some("no route")),
        ["answer 3 error: the workspace is not connected yet (no route): try again later"]
    );
}

#[test]
fn a_hint_joins_one_result_for_each_message() {
    let tool = call(1, r#"{"name":"t"}"#);
    let hint = r#"{"type":"text","text":"1 unread message from the dashboard: call aerostack__agent_chat"}"#;
    let answer = |content: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{content}],"n":1.0}}}}"#)
    };
    let item = r#"{"type":"text","text":"x"}"#;
    for (before, after) in [("", hint.to_owned()), (item, format!("{item},{hint}"))] {
        let mut desk = Desk::new(&[], everything());
        assert_eq!(
            list(&mut desk, &tool, &answer(before), None),
            answer(before)
        );
        push(&mut desk, &said_by("user", "1", "hi"));
        // Not to what failed, nor to what is no result of a tool.
        let failed = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
        assert_eq!(list(&mut desk, &tool, failed, None), failed);
        let odd = r#"{"jsonrpc":"2.0","id":1,"result":{"content":7}}"#;
        assert_eq!(list(&mut desk, &tool, odd, None), odd);
        assert_eq!(
            list(&mut desk, &tool, &answer(before), None),
            answer(&after)
        );
        assert_eq!(
            list(&mut desk, &tool, &answer(before), None),
            answer(before)
        );
    }
    let mut off = Desk::new(&[("AEROSTACK_CHAT_HINTS", "off")], everything());
    push(&mut off, &said_by("user", "1", "hi"));
    assert_eq!(list(&mut off, &tool, &answer(""), None), answer(""));
}

#[test]
fn claude_code_is_told_by_its_channel() {
    let mut desk = Desk::new(&[], everything());
    desk.ctx
        .meet(Some(r#"{"name":"claude-code","version":"2"}"#));
    assert_eq!(push(&mut desk, &said_by("user", "0", "hi")), [""; 0]);
    desk.ctx.peers_mut().note_session(true);
    assert_eq!(
        push(&mut desk, &said_by("user", "1", "hi")),
        [
            r#"notify {"jsonrpc":"2.0","method":"notifications/claude/channel","params":{"content":"hi","meta":{"topic":"general","message_id":"1"}}}"#
        ]
    );
}
