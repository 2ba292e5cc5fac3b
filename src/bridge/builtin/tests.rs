//! The built-in tools alone, on a virtual clock: what an agent is told of a verdict, and what a host
//! sees listed.

mod chat;
mod presence;

use super::*;
use crate::bridge::context::Timer as AnyTimer;
use crate::bridge::ids::Era;
use crate::bridge::mcp::Away;
use crate::bridge::testing::{self, call, context, request, words};
use crate::failure::Refusal;
use crate::proto::aerostack::{Decision, Offer, Outcome};
use serde_json::Value;
use std::time::Duration;

/// The machine and its clock.
struct Desk {
    ctx: Context,
    builtins: Builtins,
}

/// A workspace that offers everything.
fn everything() -> Offer {
    Offer {
        known: true,
        guardian: true,
        heartbeat: true,
        chat: true,
        ..Offer::default()
    }
}

impl Desk {
    fn new(settings: &[(&str, &str)], offer: Offer) -> Self {
        let mut ctx = context(settings);
        ctx.peers_mut().learn(offer);
        Self {
            builtins: Builtins::new(7, ctx.wall_ms()),
            ctx,
        }
    }

    /// The host calls a built-in tool.
    fn call(&mut self, ticket: u64, tool: &str, arguments: &str) -> Vec<String> {
        let meta = r#""_meta":{"progressToken":1}"#;
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments},{meta}}}"#);
        self.host_calls(ticket, &call(ticket, &params), None)
    }

    fn host_calls(&mut self, ticket: u64, call: &Request, away: Option<&str>) -> Vec<String> {
        let ctx = &mut self.ctx;
        let taken = self
            .builtins
            .handle_request(ctx, Ticket(ticket), call, away);
        assert!(taken, "a built-in tool");
        self.said()
    }

    /// The workspace answers with this `result` or `error`.
    fn reply(&mut self, requester: Requester, answer: &str) -> Vec<String> {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#);
        self.builtins
            .handle_reply(&mut self.ctx, requester, answer.as_bytes());
        self.said()
    }

    fn fail(&mut self, requester: Requester, failure: &Failure) -> Vec<String> {
        self.builtins
            .handle_failure(&mut self.ctx, requester, failure);
        self.said()
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        let time = Duration::from_secs(seconds);
        testing::pass(&mut self.ctx, time, |ctx, timer| {
            let AnyTimer::Extension(extension::Timer::Builtin(timer)) = timer else {
                panic!("{timer:?} is none of this machine");
            };
            self.builtins.handle_timer(ctx, timer);
        });
        self.said()
    }

    /// The events in words; the bridge's id is always the same.
    fn said(&mut self) -> Vec<String> {
        let own = format!(r#""bridge_id":"{}""#, self.ctx.peers().bridge_id());
        let mut said = Vec::new();
        while let Some(event) = self.builtins.poll_event() {
            let words = match event {
                Event::Guard(Ticket(ticket), request) => {
                    format!("guard {ticket} {}", request.params().unwrap_or_default())
                }
                Event::Ask(requester, method, params) => {
                    format!("{requester:?} asks {method} {params}")
                }
                Event::Answer(Ticket(ticket), answer) => {
                    format!("answer {ticket} {}", words(&answer))
                }
                Event::Notify(text) => format!("notify {}", String::from_utf8_lossy(&text)),
                Event::Waiting(Ticket(ticket), words) => format!("{ticket} is {words}"),
                Event::Turn(job) => format!("turn {job:?}"),
                Event::OpenChat(url) => format!("open {}", url.url()),
                Event::CloseChat => "close the chat".to_owned(),
                Event::PollChat => "poll the chat".to_owned(),
            };
            said.push(words.replace(&own, "\"bridge_id\":\"us\""));
        }
        said
    }
}

const GUARDIAN: &str = "aerostack__local_guardian";
const CHAT: &str = "aerostack__agent_chat";
const RISKY: &str = r#"{"category":"git_push","action":"git push"}"#;
const ASKED: &str = r#"guard 1 {"category":"git_push","action":"git push","bridge_id":"us"}"#;
const NO: &str = "do NOT proceed, and do not try another way to the same effect.";

fn refused(status: u16) -> Failure {
    Failure::Status(Refusal {
        status,
        ..Refusal::default()
    })
}

#[test]
fn only_a_clear_approved_lets_an_operation_happen() {
    let edited = Some("{}".to_owned());
    let result = |raw: &str| Decision::Executed(Outcome::Result(raw.to_owned()));
    let error = Outcome::Error(r#"{"code":1,"message":"approved"}"#.to_owned());
    let table: [(Decision, &str); 11] = [
        (Decision::Approved { params: None }, "approved"),
        (result(r#"{"decision":"approved"}"#), "approved"),
        (Decision::Approved { params: edited }, "changed"),
        (result(r#"{"decision":"rejected"}"#), "rejected"),
        (result(r#"{"decision":"Approved"}"#), "undecided"),
        (result("{}"), "undecided"),
        (Decision::Executed(error), "undecided"),
        (Decision::Executed(Outcome::Nothing), "undecided"),
        (Decision::Rejected, "rejected"),
        (Decision::Expired, "expired"),
        (Decision::Cancelled, "cancelled"),
    ];
    for (decision, expected) in table {
        let mut desk = Desk::new(&[], everything());
        assert_eq!(desk.call(1, GUARDIAN, RISKY), [ASKED]);
        let state = ApprovalState {
            approval_id: "a".to_owned(),
            decision,
            note: None,
            decided_by: Some("ann".to_owned()),
        };
        desk.builtins
            .handle_decided(&desk.ctx, Ticket(1), "a", &state);
        let answer = match expected {
            "approved" => {
                "answer 1 APPROVED by ann: you may proceed with exactly this operation.".to_owned()
            }
            "changed" => format!(
                "answer 1 error: NOT APPROVED (changed by ann): {NO} Note: the reviewer changed the request: ask again for what you now want to do"
            ),
            other => format!("answer 1 error: NOT APPROVED ({other} by ann): {NO}"),
        };
        assert_eq!(desk.said(), [answer], "{state:?}");
        // One verdict for each call.
        desk.builtins
            .handle_decided(&desk.ctx, Ticket(1), "a", &state);
        assert_eq!(desk.said(), [""; 0]);
    }
}

#[test]
fn an_answer_without_an_approval() {
    let table = [
        (
            r#""result":{"decision":"approved","note":"go"}"#,
            "APPROVED: you may proceed with exactly this operation. Note: go".to_owned(),
        ),
        (
            r#""result":{"decision":"denied"}"#,
            format!("error: NOT APPROVED (rejected): {NO}"),
        ),
        (
            r#""result":{"decision":"yes"}"#,
            format!("error: NOT APPROVED (undecided): {NO}"),
        ),
        (
            r#""result":{"status":"approved"}"#,
            format!("error: NOT APPROVED (undecided): {NO}"),
        ),
        (
            r#""result":"approved""#,
            format!("error: NOT APPROVED (undecided): {NO}"),
        ),
        (
            r#""result":["approved"]"#,
            format!("error: NOT APPROVED (undecided): {NO}"),
        ),
        (
            r#""error":{"code":-32050,"message":"wait"}"#,
            format!("error: NOT APPROVED (error): {NO} Note: wait"),
        ),
        (
            r#""error":{"code":-1,"message":"for mwt_T0P-S3CRET"}"#,
            format!("error: NOT APPROVED (error): {NO} Note: for ***"),
        ),
        (
            r#""error":{"code":-32601,"message":"approved"}"#,
            format!(
                "error: NOT APPROVED (error): {NO} Note: this workspace does not offer approvals of local operations"
            ),
        ),
        (
            "]",
            format!(
                "error: NOT APPROVED (error): {NO} Note: the workspace's answer can not be read"
            ),
        ),
    ];
    for (answer, expected) in table {
        let mut desk = Desk::new(&[], everything());
        desk.call(1, GUARDIAN, RISKY);
        let said = desk.reply(Requester::Guardian(Ticket(1)), answer);
        let [said] = &said[..] else {
            panic!("{said:?}")
        };
        assert_eq!(*said, format!("answer 1 {expected}"), "{answer}");
    }
}

#[test]
fn whatever_fails_is_no() {
    let table = [
        refused(500),
        refused(401),
        Failure::TimedOut(30),
        Failure::Ending,
        Failure::NoAnswer { status: 202 },
    ];
    for failure in table {
        let mut desk = Desk::new(&[], everything());
        desk.call(1, GUARDIAN, RISKY);
        let said = desk.fail(Requester::Guardian(Ticket(1)), &failure);
        assert!(
            said[0].starts_with(&format!(
                "answer 1 error: NOT APPROVED (error): {NO} Note: "
            )),
            "{said:?}"
        );
    }
    // Withdrawn, ended, away, not offered, wrongly asked.
    let mut desk = Desk::new(&[], everything());
    desk.call(1, GUARDIAN, RISKY);
    desk.call(2, GUARDIAN, RISKY);
    desk.builtins.withdraw(&mut desk.ctx, Ticket(1));
    desk.builtins.end(&mut desk.ctx);
    assert_eq!(
        desk.said(),
        [format!(
            "answer 2 error: NOT APPROVED (error): {NO} Note: the gateway was told to end before anybody decided"
        )]
    );
    let risky = call(
        3,
        &format!(r#"{{"name":"{GUARDIAN}","arguments":{RISKY}}}"#),
    );
    assert_eq!(
        desk.host_calls(3, &risky, Some("no route")),
        [format!(
            "answer 3 error: NOT APPROVED (error): {NO} Note: the workspace is not connected yet (no route)"
        )]
    );
    let invalid = desk.call(4, GUARDIAN, r#"{"category":"other","action":"x"}"#);
    assert!(invalid[0].starts_with("answer 4 error: NOT APPROVED: invalid arguments: `category` must be one of file_delete, "), "{invalid:?}");
    let not_offered = Offer {
        known: true,
        ..Offer::default()
    };
    let mut desk = Desk::new(&[], not_offered);
    assert_eq!(
        desk.call(1, GUARDIAN, RISKY),
        [format!(
            "answer 1 error: NOT APPROVED (error): {NO} Note: this workspace does not offer approvals of local operations"
        )]
    );
    // -32601 turns it off for the next call, too.
    let mut desk = Desk::new(&[], everything());
    desk.call(1, GUARDIAN, RISKY);
    desk.reply(
        Requester::Guardian(Ticket(1)),
        r#""error":{"code":-32601,"message":"m"}"#,
    );
    assert_eq!(desk.call(2, GUARDIAN, RISKY).len(), 1);
    assert!(!desk.ctx.peers().offer().guardian);
}

fn list(desk: &mut Desk, request: &Request, answer: &str, error: Option<i64>) -> String {
    let bytes = answer.as_bytes().to_vec();
    let adapted = desk.builtins.adapt(&mut desk.ctx, request, bytes, error);
    String::from_utf8(adapted).expect("text")
}

fn names(answer: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(answer).expect("JSON");
    let tools = value["result"]["tools"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let name = |tool: &Value| tool["name"].as_str().map(str::to_owned);
    tools.iter().filter_map(name).collect()
}

const PAGE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

#[test]
fn the_built_in_tools_join_the_first_page() {
    let first = request(PAGE);
    let next = request(&PAGE.replace("{}", r#"{"cursor":"c"}"#));
    let null = request(&PAGE.replace("{}", r#"{"cursor":null}"#));
    let answer = |tools: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"nextCursor":"c","tools":[{tools}]}}}}"#)
    };
    let mut desk = Desk::new(&[], everything());
    let ours = [GUARDIAN, CHAT];
    let escaped = r#"{"name":"\u0061erostack__agent_chat"}"#;
    let table = [
        ("", &first, ours.to_vec()),
        (r#"{"name":"a"}"#, &first, [&["a"], &ours[..]].concat()),
        (r#"{"name":"a"}"#, &null, [&["a"], &ours[..]].concat()),
        (r#"{"name":"a"}"#, &next, vec!["a"]),
        (
            r#"{"name":"aerostack__local_guardian"},{"name":"b"}"#,
            &first,
            [&["b"], &ours[..]].concat(),
        ),
        (escaped, &first, ours.to_vec()),
        (
            r#"{"name":"x","description":"aerostack__agent_chat"}"#,
            &first,
            [&["x"], &ours[..]].concat(),
        ),
    ];
    for (tools, request, expected) in table {
        let said = list(&mut desk, request, &answer(tools), None);
        let mut found = names(&said);
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{tools}");
        assert!(said.contains(r#""nextCursor":"c""#), "{said}");
    }
    // What is no list stays as it is, but for a workspace that knows none.
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#;
    assert_eq!(list(&mut desk, &first, error, Some(-1)), error);
    let odd = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{}}}"#;
    assert_eq!(list(&mut desk, &first, odd, None), odd);
    assert_eq!(names(&list(&mut desk, &first, error, Some(-32601))), ours);
    // A plain server is bridged without any change.
    let mut plain = Desk::new(&[("AEROSTACK_TOKEN", "other-token")], Offer::default());
    assert_eq!(list(&mut plain, &first, &answer(""), None), answer(""));
    let mut off = Desk::new(&[("AEROSTACK_BUILTIN_TOOLS", "off")], everything());
    assert_eq!(list(&mut off, &first, &answer(""), None), answer(""));
}

#[test]
fn a_workspace_that_is_away_has_the_built_in_tools_alone() {
    let first = request(PAGE);
    let next = request(&PAGE.replace("{}", r#"{"cursor":"c"}"#));
    let other = request(&PAGE.replace("tools/list", "prompts/list"));
    let mut desk = Desk::new(&[], everything());
    let mut alone = |request: &Request, failure: &Failure| {
        let answer = desk.builtins.list_alone(&desk.ctx, request, failure);
        answer.map(|answer| names(&String::from_utf8_lossy(&answer)))
    };
    let lost = Failure::SessionLost("x".to_owned());
    for (request, failure, expected) in [
        (&first, refused(503), true),
        (&first, lost, true),
        (&first, refused(401), false),
        (&first, Failure::TimedOut(1), false),
        (&next, refused(503), false),
        (&other, refused(503), false),
    ] {
        let expected = expected.then(|| vec![GUARDIAN.to_owned(), CHAT.to_owned()]);
        assert_eq!(alone(request, &failure), expected, "{failure:?}");
    }
    // With the next answer the host hears, once, that the list has changed.
    let pong = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let ping = request(&PAGE.replace("tools/list", "ping"));
    list(&mut desk, &ping, pong, Some(-1));
    assert_eq!(desk.said(), [""; 0]);
    assert_eq!(list(&mut desk, &ping, pong, None), pong);
    assert_eq!(
        desk.said(),
        [r#"notify {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#]
    );
    list(&mut desk, &ping, pong, None);
    assert_eq!(desk.said(), [""; 0]);
}

#[test]
fn what_a_host_is_answered_while_the_workspace_is_away() {
    let desk = Desk::new(&[], everything());
    let away = Away {
        words: "no route".to_owned(),
        version: "2025-06-18".to_owned(),
    };
    for (method, expected) in [
        ("resources/list", r#""result":{"resources":[]}"#),
        (
            "resources/templates/list",
            r#""result":{"resourceTemplates":[]}"#,
        ),
        ("prompts/list", r#""result":{"prompts":[]}"#),
        ("ping", r#""result":{}"#),
        ("logging/setLevel", r#""result":{}"#),
        (
            "tools/call",
            r#""error":{"code":-32603,"message":"tools/call failed: the workspace is not connected yet: no route. It was not executed; its tools appear by themselves","data":{"executed":"no"}}"#,
        ),
    ] {
        let request = request(&PAGE.replace("tools/list", method));
        let answer = answer_while_away(&desk.ctx, &request, &away);
        let expected = format!(r#"{{"jsonrpc":"2.0","id":1,{expected}}}"#);
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{method}");
    }
    let answer = |text: &str| {
        let answer = answer_while_away(&desk.ctx, &request(text), &away);
        serde_json::from_slice::<Value>(&answer).expect("JSON")
    };
    let tools = answer(PAGE);
    assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(2));
    let next = answer(&PAGE.replace("{}", r#"{"cursor":"c"}"#));
    assert_eq!(next["error"]["code"], -32603);
    let hello = answer(&PAGE.replace("tools/list", "initialize"));
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    let instructions = hello["result"]["instructions"].as_str().expect("text");
    assert!(instructions.contains("(no route)") && instructions.contains(GUARDIAN));
    assert_eq!(
        hello["result"]["capabilities"]["tools"]["listChanged"],
        true
    );
}

/// Whose call a built-in name is: the gateway's only where the tools are offered.
#[test]
fn a_plain_server_keeps_its_tools() {
    let plain = [("AEROSTACK_TOKEN", "other-token")];
    let call = call(
        1,
        &format!(r#"{{"name":"{CHAT}","arguments":{{"action":"read"}}}}"#),
    );
    for (settings, offer, expected) in [
        (&plain[..], Offer::default(), false),
        (&plain[..], everything(), true),
        (&[][..], Offer::default(), true),
        (
            &[("AEROSTACK_BUILTIN_TOOLS", "off")][..],
            everything(),
            false,
        ),
    ] {
        let mut desk = Desk::new(settings, offer);
        let taken = desk
            .builtins
            .handle_request(&mut desk.ctx, Ticket(1), &call, None);
        assert_eq!(taken, expected, "{settings:?}");
    }
    assert_eq!(call.era(), Era::Legacy);
}
