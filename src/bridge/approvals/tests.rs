//! Approvals alone, on a virtual clock: each transition of the diagram, and what a consent is worth.

mod rounds;

use super::*;
use crate::bridge::context::Timer as AnyTimer;
use crate::bridge::request::{OVERHEAD_BYTES, Request};
use crate::bridge::testing::{self, call, context, request, words};
use crate::proto::aerostack::Offer;
use Step::{AgainNeeds, Cancel, End, Needs, NeedsWith, Pass, Repeat, Restore, State as Is, Stray};

/// A step of a story: what happens to the machine.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// The request of this ticket is told to wait for the approval with this id.
    Needs(u64, &'a str),
    /// The same, with these further members of the error's data.
    NeedsWith(u64, &'a str, &'a str),
    /// The same for a request that was sent again, in the order of sending.
    AgainNeeds(usize, &'a str),
    /// The approval with this key has this state.
    State(u64, &'a str),
    /// The host takes the request of this ticket back.
    Cancel(u64, &'a str),
    /// The host repeats its request, under this ticket.
    Repeat(u64),
    /// Seconds.
    Pass(u64),
    /// It is proved that nothing was executed under this approval.
    Restore(&'a str),
    /// A cancel and this approval crossed.
    Stray(&'a str),
    /// The process ends.
    End,
}

/// What the host asks for, under this ticket.
type Ask = fn(u64) -> Call;

/// The machine, its clock, and the requests of the story.
struct Desk {
    ctx: Context,
    approvals: Approvals,
    /// What the host asks for: from its ticket on.
    ask: Ask,
    sent: Vec<Option<Call>>,
}

/// Everybody asks for the same.
fn same(ticket: u64) -> Call {
    let params = r#"{"name":"t","arguments":{"x":1},"_meta":{"progressToken":1}}"#;
    Call::new(Requester::Host(Ticket(ticket)), call(ticket, params))
}

/// Each asks for something else.
fn other(ticket: u64) -> Call {
    let params = format!(r#"{{"name":"t","arguments":{{"x":{ticket}}}}}"#);
    Call::new(Requester::Host(Ticket(ticket)), call(ticket, &params))
}

/// A request that calls no tool.
fn prompt(ticket: u64) -> Call {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{ticket},"method":"x/y","params":{{"a":1}}}}"#);
    Call::new(Requester::Host(Ticket(ticket)), request(&text))
}

/// The guardian asks.
fn guardian(ticket: u64) -> Call {
    let own = Request::own("\"g\"", "aerostack/guardian/request", "{}", Era::Legacy);
    let own = own.shown_as("the local operation \u{201c}rm\u{201d}");
    Call::new(Requester::Guardian(Ticket(ticket)), own)
}

impl Desk {
    fn new(settings: &[(&str, &str)], ask: Ask) -> Self {
        Self {
            ctx: context(settings),
            approvals: Approvals::default(),
            ask,
            sent: Vec::new(),
        }
    }

    fn at_most_once(mut self) -> Self {
        let at_most_once = true;
        self.ctx.peers_mut().learn(Offer {
            at_most_once,
            ..Offer::default()
        });
        self
    }

    fn needs(&mut self, call: Call, id: &str, more: &str) {
        let raw = format!(r#"{{"code":-32050,"data":{{"approval_id":"{id}"{more}}}}}"#);
        let needed = ApprovalNeeded::of_error(&raw, self.ctx.secrets()).expect("needed");
        let reply = Reply {
            bytes: raw.into_bytes(),
            error: Some(-32050),
        };
        self.approvals
            .handle_needed(&mut self.ctx, call, &needed, reply, 1_000);
    }

    fn step(&mut self, step: Step<'_>) -> Vec<String> {
        let (ctx, approvals) = (&mut self.ctx, &mut self.approvals);
        match step {
            Needs(ticket, id) => self.needs((self.ask)(ticket), id, ""),
            NeedsWith(ticket, id, more) => self.needs((self.ask)(ticket), id, more),
            AgainNeeds(sent, id) => {
                let call = self.sent[sent].take().expect("sent once");
                self.needs(call, id, "");
            }
            Is(key, state) => {
                let facts = approvals.approvals.get(&ApprovalKey(key));
                let id = facts.map_or("gone", |approval| &approval.facts.id);
                let raw = format!(r#"{{"approval_id":"{id}",{state}}}"#);
                approvals.handle_state(ctx, ApprovalKey(key), raw.as_bytes());
            }
            Cancel(ticket, reason) => {
                approvals.withdraw(ctx, Ticket(ticket), reason);
            }
            Repeat(ticket) => {
                if approvals.reattach(ctx, (self.ask)(ticket)).is_some() {
                    return vec![format!("{ticket} goes to the workspace")];
                }
            }
            Pass(seconds) => testing::pass(ctx, Duration::from_secs(seconds), |ctx, timer| {
                let AnyTimer::Extension(extension::Timer::Approvals(timer)) = timer else {
                    panic!("{timer:?} is none of this machine");
                };
                approvals.handle_timer(ctx, timer);
            }),
            Restore(id) => approvals.restore(id),
            Stray(id) => approvals.handle_stray(id),
            End => approvals.end(ctx),
        }
        self.said()
    }

    /// The events in words.
    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(event) = self.approvals.poll_event() {
            said.push(match event {
                Event::Watch(ApprovalKey(key), url, None) => format!("watch {key} {}", url.url()),
                Event::Watch(ApprovalKey(key), url, Some(status)) => {
                    format!("watch {key} {} {}", url.url(), status.url())
                }
                Event::Unwatch(ApprovalKey(key)) => format!("unwatch {key}"),
                Event::PollNow(ApprovalKey(key)) => format!("poll {key}"),
                Event::Resend(call) => {
                    let ticket = call.requester().ticket().expect("a host's").0;
                    let params = call.request().params().unwrap_or_default().to_owned();
                    assert_ne!(call.request().wire_id(), call.request().id());
                    self.sent.push(Some(call));
                    format!("send {ticket} {params}")
                }
                Event::ResendLater(call, pause) => {
                    let ticket = call.requester().ticket().expect("a host's").0;
                    self.sent.push(Some(call));
                    format!("send {ticket} in {pause:?}")
                }
                Event::Answer(Ticket(ticket), answer) => {
                    format!("answer {ticket} {}", words(&answer))
                }
                Event::PassOn(call, _) => {
                    format!("pass on {:?}", call.requester().ticket().map(|it| it.0))
                }
                Event::Decided(Ticket(ticket), id, state) => {
                    format!("decided {ticket} {id} {:?}", state.decision)
                }
                Event::Undecided(Ticket(ticket), words) => format!("undecided {ticket} {words}"),
                Event::Withdraw(withdrawal) => format!("withdraw {}", withdrawal.params),
                Event::Waiting(Ticket(ticket), _) => format!("waits {ticket}"),
            });
        }
        said
    }

    /// The story goes like this; nothing is kept of what has ended.
    #[track_caller]
    fn tell(mut self, story: &[(Step<'_>, &[&str])]) -> Self {
        for (at, (step, expected)) in story.iter().enumerate() {
            assert_eq!(self.step(*step), *expected, "step {at}: {step:?}");
        }
        if self.approvals.approvals.is_empty() {
            let Approvals {
                by_id,
                detached,
                by_ticket,
                bytes,
                ..
            } = &self.approvals;
            let kept = (by_id.len(), detached.len(), by_ticket.len(), *bytes);
            assert_eq!(kept, (0, 0, 0, 0), "what is kept at the end");
            assert_eq!(self.ctx.next_timeout(), None, "timers at the end");
        }
        self
    }
}

const APPROVED: &str = r#""status":"approved""#;
const REJECTED: &str = r#""status":"denied","note":"no","decided_by":"ann""#;
const WATCH: &str = "watch 1 http://127.0.0.1/ws/x/approvals/a/ws";
/// What leaves under the approval `a`, in the stories where everybody asks for the same.
const SENT: &str = r#"{"name":"t","arguments":{"x":1},"_meta":{"progressToken":1,"dev.aerostack/approval_id":"a"}}"#;

fn sent(ticket: u64) -> String {
    format!("send {ticket} {SENT}")
}

#[test]
fn an_open_approval_is_decided() {
    let approved = sent(1);
    let table: [(&str, &str); 9] = [
        (APPROVED, &approved),
        (
            REJECTED,
            "answer 1 error: t was NOT executed: the approval was rejected by ann. Reviewer's note: no",
        ),
        (
            r#""status":"timed_out""#,
            "answer 1 error: t was NOT executed: the approval expired: nobody decided in time.",
        ),
        (
            r#""status":"cancelled""#,
            "answer 1 error: t was NOT executed: the approval was cancelled.",
        ),
        (
            r#""status":"executed","result":{"n":1.0}"#,
            r#"answer 1 {"jsonrpc":"2.0","id":1,"result":{"n":1.0}}"#,
        ),
        (
            r#""status":"approved","result":{"n":1E400}"#,
            r#"answer 1 {"jsonrpc":"2.0","id":1,"result":{"n":1E400}}"#,
        ),
        (
            r#""status":"executed","error":{"code":-1,"message":"m"}"#,
            r#"answer 1 {"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#,
        ),
        (
            r#""status":"executed""#,
            "answer 1 error: t was approved and executed, but its result did not come with the decision",
        ),
        (
            r#""status":"approved","params":{"name":"t","arguments":{"x":2},"_meta":{"dev.aerostack/approval_id":"forged"}}"#,
            r#"send 1 {"name":"t","arguments":{"x":2},"_meta":{"progressToken":1,"dev.aerostack/approval_id":"a"}}"#,
        ),
    ];
    for (state, expected) in table {
        Desk::new(&[], same).tell(&[
            (Needs(1, "a"), &[WATCH, "waits 1"]),
            (Is(1, state), &["unwatch 1", expected]),
            // The socket and the poll may both tell it.
            (Is(1, state), &[]),
            (Pass(4_000), &[]),
        ]);
    }
}

#[test]
fn what_is_no_decision_for_it_changes_nothing() {
    for raw in [
        r#"{"approval_id":"a","status":"pending"}"#,
        r#"{"approval_id":"a","status":"Approved"}"#,
        r#"{"approval_id":"b","status":"approved"}"#,
        r#"{"status":"approved"}"#,
        r#"["a","approved"]"#,
        "\u{0}",
        "",
    ] {
        let mut desk = Desk::new(&[], same).tell(&[(Needs(1, "a"), &[WATCH, "waits 1"])]);
        let key = ApprovalKey(1);
        desk.approvals
            .handle_state(&mut desk.ctx, key, raw.as_bytes());
        assert_eq!(desk.said(), [""; 0], "{raw}");
        desk.approvals.handle_state(&mut desk.ctx, key, b"\xff");
        desk.approvals.handle_reply(
            &mut desk.ctx,
            key,
            br#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"approved"}}"#,
        );
        desk.tell(&[(Pass(0), &[]), (Is(1, APPROVED), &["unwatch 1", &sent(1)])]);
    }
}

#[test]
fn a_request_that_calls_no_tool_is_declined_by_an_error() {
    Desk::new(&[], prompt).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (
            Is(1, REJECTED),
            &[
                "unwatch 1",
                r#"answer 1 {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x/y was NOT executed: the approval was rejected by ann. Reviewer's note: no","data":{"approval":"rejected"}}}"#,
            ],
        ),
    ]);
}

#[test]
fn an_edit_changes_neither_the_target_nor_the_kind() {
    const NO_OBJECT: &str = r#"answer 1 {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x/y: the approved parameters are no object, so nothing was sent","data":{"approval":"approved"}}}"#;
    const OTHER: &str =
        "answer 1 error: t: the approver's edit names another tool, so nothing was sent";
    let table: [(Ask, &str, &str); 6] = [
        (same, r#"{"name":"u","arguments":{"x":1}}"#, OTHER),
        (same, r#"{"arguments":{"x":1}}"#, OTHER),
        (same, r#"{"name":"t","uri":"file:///x"}"#, OTHER),
        (same, "[1]", OTHER),
        (prompt, "[1]", NO_OBJECT),
        (prompt, "7", NO_OBJECT),
    ];
    for (ask, edit, expected) in table {
        let state = format!(r#""status":"approved","params":{edit}"#);
        Desk::new(&[], ask).tell(&[
            (Needs(1, "a"), &[WATCH, "waits 1"]),
            (Is(1, &state), &["unwatch 1", expected]),
            // Nothing left under it, so it is not used up.
            (
                Needs(2, "a"),
                &["watch 2 http://127.0.0.1/ws/x/approvals/a/ws", "waits 2"],
            ),
            (
                Cancel(2, ""),
                &[
                    "unwatch 2",
                    r#"withdraw {"approval_id":"a","reason":"the host cancelled the request"}"#,
                ],
            ),
        ]);
    }
}

#[test]
fn its_time_ends_with_one_last_question() {
    const OVER: &str = r#"withdraw {"approval_id":"a","reason":"its time is over"}"#;
    const TOLD: &str = "answer 1 error: t: no decision came in time; the request was withdrawn. It may still be executed if it was approved at the last moment: check before you repeat it";
    let needs = NeedsWith(1, "a", r#","expires_at":1010"#);
    let begins: (Step<'_>, &[&str]) = (needs, &[WATCH, "waits 1"]);
    let last: (Step<'_>, &[&str]) = (Pass(10), &["poll 1"]);
    Desk::new(&[], same).tell(&[
        begins,
        (Pass(9), &[]),
        (Pass(1), &["poll 1"]),
        (Pass(4), &[]),
        (Pass(1), &["unwatch 1", OVER, TOLD]),
    ]);
    Desk::new(&[], same).tell(&[begins, last, (Is(1, APPROVED), &["unwatch 1", &sent(1)])]);
    // Who comes now waits for the same answer.
    Desk::new(&[], same).tell(&[
        begins,
        last,
        (Needs(2, "a"), &["waits 1", "waits 2"]),
        (
            Pass(5),
            &[
                "unwatch 1",
                OVER,
                TOLD,
                &TOLD.replace("answer 1", "answer 2"),
            ],
        ),
    ]);
    // Whose host gives up now has the ten minutes.
    Desk::new(&[], same).tell(&[
        begins,
        last,
        (Cancel(1, "timed out"), &[]),
        (Pass(599), &[]),
        (Pass(1), &["unwatch 1", NOBODY]),
    ]);
    // Without a time of its own it has AEROSTACK_APPROVAL_TIMEOUT; progress every 15 s.
    Desk::new(&[("AEROSTACK_APPROVAL_TIMEOUT", "20")], same).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Pass(14), &[]),
        (Pass(1), &["waits 1"]),
        (Pass(5), &["poll 1"]),
        (Pass(5), &["unwatch 1", OVER, TOLD]),
    ]);
}

#[test]
fn a_time_of_its_own_counts_from_the_beginning_and_has_an_end() {
    // Who comes back has what is left of it, not the whole.
    Desk::new(&[], same).tell(&[
        (
            NeedsWith(1, "a", r#","expires_at":1010"#),
            &[WATCH, "waits 1"],
        ),
        (Cancel(1, "timeout"), &[]),
        (Pass(4), &[]),
        (Repeat(2), &["waits 2"]),
        (Pass(5), &[]),
        (Pass(1), &["poll 1"]),
        (Is(1, APPROVED), &["unwatch 1", &sent(2)]),
    ]);
    // No approval waits for more than thirty days.
    const DAY_S: u64 = 86_400;
    let mut desk = Desk::new(&[], same);
    let far = format!(r#","expires_at":{}"#, 1_000 + 90 * DAY_S);
    desk.step(NeedsWith(1, "a", &far));
    for (seconds, expected) in [(30 * DAY_S - 1, None), (1, Some("poll 1"))] {
        let said = desk.step(Pass(seconds));
        let mut said = said.iter().filter(|said| *said != "waits 1");
        assert_eq!(said.next().map(String::as_str), expected, "{seconds} s");
    }
}

#[test]
fn too_much_does_not_wait() {
    const MORE: &str = "error: t: too many bytes of requests wait for approval already, so this one does not wait, too. It was NOT executed: repeat it once some are decided";
    let mut desk = Desk::new(&[], other);
    desk.ctx = testing::limited(&[], |limits| limits.held_max_bytes = 3_000).0;
    desk.tell(&[
        // One always waits; a second one has no room.
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (
            Needs(2, "b"),
            &[
                r#"withdraw {"approval_id":"b","reason":"too many requests wait already"}"#,
                &format!("answer 2 {MORE}"),
            ],
        ),
        (Is(1, REJECTED), &["unwatch 1", "answer 1 error: t was NOT executed: the approval was rejected by ann. Reviewer's note: no"]),
        (Needs(3, "c"), &["watch 2 http://127.0.0.1/ws/x/approvals/c/ws", "waits 3"]),
        (End, &["unwatch 2", r#"withdraw {"approval_id":"c","reason":"the gateway ended"}"#, "answer 3 error: t: the gateway ended while it waited for approval; the request was withdrawn. It may still be executed if it was approved at the last moment"]),
    ]);
}

#[test]
fn what_waits_is_counted() {
    let cost = same(1).request().cost();
    let story: [(Step<'_>, usize); 6] = [
        (Pass(0), 0),
        (Needs(1, "a"), OVERHEAD_BYTES + cost),
        // Who joins costs its request alone.
        (Needs(2, "a"), OVERHEAD_BYTES + 2 * cost),
        (Needs(3, "b"), 2 * OVERHEAD_BYTES + 3 * cost),
        (Cancel(1, "timeout"), 2 * OVERHEAD_BYTES + 2 * cost),
        (End, 0),
    ];
    let mut desk = Desk::new(&[], same);
    for (step, expected) in story {
        desk.step(step);
        assert_eq!(desk.approvals.held_bytes(), expected, "{step:?}");
    }
}

const NOBODY: &str = r#"withdraw {"approval_id":"a","reason":"nobody asked again"}"#;

#[test]
fn a_host_that_times_out_is_no_change_of_mind() {
    const CANCELLED: &str =
        r#"withdraw {"approval_id":"a","reason":"the host cancelled the request"}"#;
    let begins: (Step<'_>, &[&str]) = (Needs(1, "a"), &[WATCH, "waits 1"]);
    for reason in [
        "Request timed out",
        "TIMEOUT",
        "a Time-Out",
        "time out of 60 s",
    ] {
        let gone: (Step<'_>, &[&str]) = (Cancel(1, reason), &[]);
        Desk::new(&[], same).tell(&[
            begins,
            gone,
            (Pass(599), &[]),
            (Pass(1), &["unwatch 1", NOBODY]),
        ]);
    }
    for reason in ["", "user", "the user took too much time"] {
        Desk::new(&[], same).tell(&[begins, (Cancel(1, reason), &["unwatch 1", CANCELLED])]);
    }
    let gone: (Step<'_>, &[&str]) = (Cancel(1, "timeout"), &[]);
    // The same request waits again, for the whole time, and is decided.
    Desk::new(&[], same).tell(&[
        begins,
        gone,
        (Repeat(2), &["waits 2"]),
        (Is(1, APPROVED), &["unwatch 1", &sent(2)]),
    ]);
    Desk::new(&[("AEROSTACK_APPROVAL_TIMEOUT", "14")], same).tell(&[
        begins,
        gone,
        (Pass(13), &[]),
        (Repeat(2), &["waits 2"]),
        (Pass(13), &[]),
        (Pass(1), &["poll 1"]),
        (Is(1, APPROVED), &["unwatch 1", &sent(2)]),
    ]);
    // Decided meanwhile: nothing happens until it is repeated, then at once.
    Desk::new(&[], same).tell(&[
        begins,
        gone,
        (Is(1, APPROVED), &["unwatch 1"]),
        (Is(1, REJECTED), &[]),
        (Repeat(2), &["unwatch 1", &sent(2)]),
    ]);
    Desk::new(&[], same).tell(&[
        begins,
        gone,
        (Is(1, APPROVED), &["unwatch 1"]),
        (Pass(600), &["unwatch 1", NOBODY]),
        (Repeat(2), &["2 goes to the workspace"]),
    ]);
    // Another request finds nothing.
    Desk::new(&[], other).tell(&[
        begins,
        gone,
        (Repeat(2), &["2 goes to the workspace"]),
        (Repeat(1), &["waits 1"]),
    ]);
}

#[test]
fn an_answer_after_approval_wait() {
    let wait = [("AEROSTACK_APPROVAL_WAIT", "10")];
    const STILL: &str = "t is still waiting for approval (https://d/): repeat the same call to go on waiting. It has not been executed by this call";
    let needs = NeedsWith(1, "a", r#","dashboard_url":"https://d/""#);
    Desk::new(&wait, same).tell(&[
        (needs, &[WATCH, "waits 1"]),
        (Pass(9), &[]),
        (Pass(1), &[&format!("answer 1 error: {STILL}")]),
        (Repeat(2), &["waits 2"]),
        (Pass(10), &[&format!("answer 2 error: {STILL}")]),
        (Is(1, APPROVED), &["unwatch 1"]),
        (Repeat(3), &["unwatch 1", &sent(3)]),
    ]);
    Desk::new(&wait, guardian).tell(&[
        (Needs(1, "a"), &[WATCH, "waits 1"]),
        (Pass(10), &["undecided 1 the local operation \u{201c}rm\u{201d} is still waiting for approval: repeat the same call to go on waiting. It has not been executed by this call"]),
    ]);
}
