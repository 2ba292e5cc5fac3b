//! The host's side alone: lines cut anywhere, batches, ids, progress, and when stdin is not read.

use super::*;
use crate::bridge::testing::{context, limited};

/// The machine and what it lives in.
struct Desk {
    ctx: Context,
    host: Host,
}

impl Desk {
    fn new() -> Self {
        Self::of(context(&[]))
    }

    fn of(ctx: Context) -> Self {
        Self {
            host: Host::new(ctx.limits().line_max_bytes),
            ctx,
        }
    }

    /// Bytes of the host: what it wants, in words.
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            self.host.handle_bytes(&mut self.ctx, &mut bytes);
            while let Some(event) = self.host.poll_event() {
                said.push(words(event));
            }
        }
        said
    }

    fn line(&mut self, line: &str) -> Vec<String> {
        self.feed(format!("{line}\n").as_bytes())
    }

    /// What went to stdout.
    fn told(&mut self) -> Vec<String> {
        let output = std::iter::from_fn(|| self.ctx.pop_output());
        let text = output.map(|output| match output {
            Output::Stdout(line) => {
                let line = String::from_utf8(line).expect("text");
                line.strip_suffix('\n').expect("a line").to_owned()
            }
            output => format!("{output:?}"),
        });
        text.collect()
    }

    fn answer(&mut self, ticket: u64, answer: &str) {
        let answer = answer.as_bytes().to_vec();
        self.host.answer(&mut self.ctx, Ticket(ticket), answer);
    }

    fn settle(&mut self) -> Vec<String> {
        self.host.settle(&mut self.ctx);
        self.told()
    }

    /// Nothing is kept of what has ended.
    #[track_caller]
    fn is_empty(&self) {
        let Host {
            by_raw_id,
            by_token,
            ..
        } = &self.host;
        let kept = (
            self.host.open_requests(),
            by_raw_id.len(),
            by_token.len(),
            self.host.held_bytes(),
        );
        assert_eq!(kept, (0, 0, 0, 0));
    }
}

fn words(event: Event) -> String {
    match event {
        Event::Request(Ticket(ticket), request) => {
            format!("{ticket}: {} {}", request.method(), request.id())
        }
        Event::Initialized(_) => "initialized".to_owned(),
        Event::Notification(text, era) => format!("{era:?} {text}"),
        Event::Cancelled(ticket, cancel) => {
            let ticket = ticket.map(|ticket| ticket.0);
            format!("cancel {ticket:?}: {}", cancel.reason())
        }
    }
}

fn ask(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#)
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;

#[test]
fn lines_are_the_same_however_they_are_cut() {
    let text = format!(
        "{PING}\r\n\n{{\"jsonrpc\":\"2.0\",\"id\":\"\u{e4}\",\"method\":\"m\"}}\n{NOTE}\n]\n{}",
        ask("3")
    );
    let expected = [
        "1: ping 1".to_owned(),
        "2: m \"\u{e4}\"".to_owned(),
        format!("Legacy {NOTE}"),
        "3: m 3".to_owned(),
    ];
    for cut in 0..=text.len() {
        let mut desk = Desk::new();
        let mut said = desk.feed(&text.as_bytes()[..cut]);
        said.extend(desk.feed(&text.as_bytes()[cut..]));
        // The last line has no newline.
        desk.host.handle_end(&mut desk.ctx);
        said.extend(std::iter::from_fn(|| desk.host.poll_event()).map(words));
        assert_eq!(said, expected, "cut at {cut}");
        let told = desk.told();
        assert_eq!(told.len(), 1, "cut at {cut}: {told:?}");
        assert!(
            told[0].contains(r#""id":null,"error":{"code":-32700"#),
            "{told:?}"
        );
    }
    let mut desk = Desk::new();
    let said = text.bytes().flat_map(|byte| desk.feed(&[byte])).count();
    assert_eq!(said, 3);
}

#[test]
fn what_is_no_message_is_answered_and_goes_nowhere() {
    for (line, code) in [
        ("]", -32700),
        ("{\"a\"", -32700),
        ("{}", -32600),
        ("7", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, -32600),
    ] {
        let mut desk = Desk::new();
        assert_eq!(desk.line(line), [""; 0], "{line}");
        let told = desk.told();
        let expected = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{code},"#);
        assert!(
            told.len() == 1 && told[0].starts_with(&expected),
            "{line}: {told:?}"
        );
        desk.is_empty();
    }
}

#[test]
fn a_line_that_is_too_long_is_named_and_skipped() {
    let small = || limited(&[], |limits| limits.line_max_bytes = 64).0;
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":{{"x":"{}"}}}}"#,
        "x".repeat(99)
    );
    let text = format!("{long}\n{PING}\n");
    for cut in 0..=text.len() {
        let mut desk = Desk::of(small());
        let mut said = desk.feed(&text.as_bytes()[..cut]);
        said.extend(desk.feed(&text.as_bytes()[cut..]));
        assert_eq!(said, ["1: ping 1"], "cut at {cut}");
        assert_eq!(
            desk.told(),
            [
                r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"this message is longer than 64 bytes, the limit for one line; it was not forwarded","data":{"executed":"no"}}}"#
            ],
            "cut at {cut}"
        );
    }
}

#[test]
fn answers_of_a_batch_join_when_the_last_has_come() {
    let mut desk = Desk::new();
    let (one, two) = (ask("1"), ask("2"));
    let said = desk.line(&format!("[{one},{NOTE},7,{two}]"));
    assert_eq!(
        said,
        [
            "1: m 1".to_owned(),
            format!("Legacy {NOTE}"),
            "2: m 2".to_owned()
        ]
    );
    desk.answer(2, "B");
    assert_eq!(desk.told(), [""; 0]);
    assert!(desk.host.held_bytes() > 0);
    desk.answer(1, "A");
    let invalid = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request in a batch"}}"#;
    assert_eq!(desk.told(), [format!("[{invalid},B,A]")]);
    desk.is_empty();
    // One that was taken back has no answer; all of them: nothing at all.
    desk.line(&format!("[{one},{two}]"));
    desk.host.forget(&mut desk.ctx, Ticket(3));
    desk.answer(4, "B");
    assert_eq!(desk.told(), ["[B]"]);
    desk.line(&format!("[{one}]"));
    desk.host.forget(&mut desk.ctx, Ticket(5));
    assert_eq!(desk.told(), [""; 0]);
    desk.is_empty();
    // An id twice in one batch.
    desk.line(&format!("[{one},{one}]"));
    desk.answer(6, "A");
    let told = desk.told();
    assert!(
        told.len() == 1
            && told[0].contains("uses the id of a request that is still being worked on"),
        "{told:?}"
    );
    desk.is_empty();
}

#[test]
fn batches_have_a_limit_and_leave_nothing_behind() {
    let batch = |member: &str, count: usize| format!("[{}]", vec![member; count].join(","));
    for count in [4_096, 4_097] {
        let mut desk = Desk::new();
        let notes = desk.line(&batch(NOTE, count));
        let refused = count > 4_096;
        assert_eq!(notes.len(), if refused { 0 } else { count });
        let told = desk.told();
        assert_eq!(told.len(), usize::from(refused), "{told:?}");
        assert_eq!(
            told.iter()
                .all(|told| told.contains("this batch has more than 4096 messages")),
            refused || told.is_empty()
        );
        // Notifications alone get no answer, so nothing waits for one.
        desk.is_empty();
        assert_eq!(desk.host.batches.bytes(), 0);
        let id = desk.host.batches.begin(1);
        assert_eq!(format!("{id:?}"), "BatchId(1)", "no batch was opened");
    }
    let mut desk = Desk::new();
    assert_eq!(desk.line(&batch("1", 4_096)), [""; 0]);
    assert_eq!(desk.told().len(), 1);
    desk.is_empty();
}

#[test]
fn an_id_is_free_again_once_it_is_answered() {
    let mut desk = Desk::new();
    for id in ["1", "\"1\"", "-7", "1.5"] {
        assert_eq!(desk.line(&ask(id)).len(), 1, "{id}");
        assert_eq!(desk.line(&ask(id)), [""; 0], "{id}");
        assert_eq!(
            desk.told(),
            [format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":"m uses the id of a request that is still being worked on; it was not forwarded","data":{{"executed":"no"}}}}}}"#
            )]
        );
    }
    assert_eq!(desk.host.open_requests(), 4);
    assert_eq!(desk.host.raw_id(Ticket(2)), Some("\"1\""));
    desk.answer(1, "A");
    // Its one answer.
    desk.answer(1, "again");
    assert_eq!(desk.told(), ["A"]);
    assert_eq!(desk.line(&ask("1")), ["5: m 1"]);
}

#[test]
fn what_is_taken_back_is_named_by_its_ticket() {
    let cancel = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"timeout"}}}}"#
        )
    };
    let mut desk = Desk::new();
    desk.line(&ask("1"));
    assert_eq!(desk.line(&cancel("1")), ["cancel Some(1): timeout"]);
    assert_eq!(desk.line(&cancel("\"1\"")), ["cancel None: timeout"]);
    desk.host.forget(&mut desk.ctx, Ticket(1));
    assert_eq!(desk.line(&cancel("1")), ["cancel None: timeout"]);
    desk.answer(1, "late");
    assert_eq!(desk.told(), [""; 0]);
    desk.is_empty();
    // It names nothing: the workspace may know better.
    let odd = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    assert_eq!(desk.line(odd), [format!("Legacy {odd}")]);
    assert_eq!(
        desk.line(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        ["initialized"]
    );
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
    assert_eq!(desk.line(answer), [format!("Legacy {answer}")]);
}

#[test]
fn progress_grows_beside_the_servers_own() {
    let with_token =
        r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":"p"}}}"#;
    let progress = |token: &str, number: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{number},"total":9.0}}}}"#
        )
    };
    let own = |number: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"p","progress":{number},"message":"w"}}}}"#
        )
    };
    let mut desk = Desk::new();
    desk.line(with_token);
    desk.line(&ask("2"));
    let steps = [
        (None, own("0.001")),
        (Some(progress("\"p\"", "5")), progress("\"p\"", "5")),
        (None, own("5.001")),
        // It begins anew behind an approval; another's progress is not touched.
        (Some(progress("\"p\"", "1")), progress("\"p\"", "5.002")),
        (Some(progress("\"q\"", "1")), progress("\"q\"", "1")),
        (Some(progress("\"p\"", "6.50")), progress("\"p\"", "6.50")),
    ];
    for (from_server, expected) in steps {
        match &from_server {
            Some(text) => desk.host.forward(&mut desk.ctx, text.as_bytes().to_vec()),
            None => desk.host.report_progress(&mut desk.ctx, Ticket(1), "w"),
        }
        assert_eq!(desk.told(), [expected], "{from_server:?}");
    }
    // Who gave no token hears none; nor does a request that has ended.
    desk.host.report_progress(&mut desk.ctx, Ticket(2), "w");
    desk.answer(1, "A");
    desk.answer(2, "B");
    desk.host.report_progress(&mut desk.ctx, Ticket(1), "w");
    assert_eq!(desk.told(), ["A", "B"]);
    desk.is_empty();
}

#[test]
fn stdin_waits_while_too_many_requests_are_open() {
    let small = || limited(&[], |limits| limits.requests_max = 4).0;
    let mut desk = Desk::of(small());
    for id in 1..=3 {
        desk.line(&ask(&id.to_string()));
        assert_eq!(desk.settle(), [""; 0]);
    }
    desk.line(&ask("4"));
    assert_eq!(desk.settle(), ["PauseStdin"]);
    assert_eq!(desk.settle(), [""; 0]);
    desk.host.forget(&mut desk.ctx, Ticket(4));
    assert_eq!(desk.settle(), ["ResumeStdin"]);
    assert_eq!(desk.settle(), [""; 0]);
}

#[test]
fn stdin_waits_while_the_budget_is_used_up() {
    let small = || limited(&[], |limits| limits.held_max_bytes = 100).0;
    let mut desk = Desk::of(small());
    for (held, expected) in [
        (99, None),
        (100, Some("PauseStdin")),
        (76, None),
        (75, Some("ResumeStdin")),
        (0, None),
    ] {
        desk.ctx.note_held(held, held, 0);
        assert_eq!(
            desk.settle(),
            expected.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{held}"
        );
    }
    // A line that is longer than the budget is still read to its end.
    desk.feed(&[b' '; 500]);
    let own = desk.host.held_bytes();
    desk.ctx.note_held(own, own, 0);
    assert!(desk.host.held_bytes() >= 500);
    assert_eq!(desk.settle(), [""; 0]);
}

#[test]
fn what_waits_for_stdout_is_counted() {
    let mut desk = Desk::new();
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(b"{\n}");
    desk.host.tell(&mut desk.ctx, message);
    // With the spare capacity and what a line costs besides.
    assert_eq!(
        (desk.told(), desk.host.stdout_bytes()),
        (vec!["{ }".to_owned()], 64 + 48)
    );
    desk.host.handle_drained();
    assert_eq!(desk.host.stdout_bytes(), 0);
    desk.host.tell_lists_changed(&mut desk.ctx);
    assert_eq!(desk.told().len(), 3);
}
