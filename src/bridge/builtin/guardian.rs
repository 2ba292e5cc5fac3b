//! The Local Guardian: approval of risky local operations. It fails closed: anything but a clear
//! `approved` tells the agent not to proceed.

use super::Event;
use super::calls::Calls;
use crate::bridge::context::{Context, tool_text};
use crate::bridge::ids::{Era, Ticket};
use crate::bridge::mcp;
use crate::bridge::request::Request;
use crate::log::printable;
use crate::proto::aerostack::{self, ApprovalState, Decision, GuardianDecision, Outcome};
use crate::proto::jsonrpc::{self, Parsed, quote};
use serde::Serialize;
use std::collections::VecDeque;

const METHOD: &str = "aerostack/guardian/request";
const CATEGORIES: [&str; 6] = [
    "file_delete",
    "shell_destructive",
    "git_push",
    "config_modify",
    "deploy",
    "database",
];
/// What a hook adds for the person's eyes, and for the same question asked again.
const HOOK: [&str; 4] = ["host", "tool", "matched", "operation"];
const RISKS: [&str; 4] = ["low", "medium", "high", "critical"];
/// The longest text that is shown to a person; the rest would hide what matters.
const TEXT_MAX: usize = 16 << 10;
const NOT_OFFERED: &str = "this workspace does not offer approvals of local operations";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Guardian {
    calls: Calls,
    events: VecDeque<Event>,
}

/// What the agent is told.
#[derive(Serialize)]
struct Verdict<'a> {
    decision: &'a str,
    approval_id: Option<&'a str>,
    note: Option<&'a str>,
    decided_by: Option<&'a str>,
}

impl Guardian {
    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A call of the tool. `away`: why the workspace is not there.
    pub(crate) fn handle_call(
        &mut self,
        ctx: &mut Context,
        ticket: Ticket,
        request: &Request,
        away: Option<&str>,
    ) {
        let era = request.era();
        self.calls.open(ticket, request);
        let arguments = match guardian_request(request.arguments(), ctx.config().hook) {
            Ok(arguments) => arguments,
            Err(problem) => {
                let words = format!(
                    "NOT APPROVED: invalid arguments: {problem}. Do not proceed; call again with valid arguments."
                );
                return self.events.extend(self.calls.say(ticket, &words, true));
            }
        };
        if let Some(why) = away.filter(|_| era == Era::Legacy) {
            let words = format!("the workspace is not connected yet ({why})");
            return self.handle_failed(ticket, &words);
        }
        if ctx.peers().was_asked() && !ctx.peers().offer().guardian {
            return self.handle_failed(ticket, NOT_OFFERED);
        }
        let bridge_id = quote(ctx.peers().bridge_id());
        let mut params = jsonrpc::set_member(&arguments, "bridge_id", &bridge_id);
        if era == Era::Modern {
            let meta = mcp::own_meta(request.meta());
            params = jsonrpc::set_member(&params, "_meta", &meta);
        }
        let own = Request::own(&ctx.own_id(), METHOD, &params, era);
        let shown = jsonrpc::member(&arguments, "action").and_then(jsonrpc::string);
        let shown = printable(&shown.unwrap_or_default(), 100);
        let own = own.shown_as(&format!("the local operation \u{201c}{shown}\u{201d}"));
        self.events.push_back(Event::Guard(ticket, Box::new(own)));
    }

    /// The host took a call back.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        self.calls.drop(ticket);
    }

    /// The workspace answered without an approval.
    pub(crate) fn handle_answer(&mut self, ctx: &mut Context, ticket: Ticket, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return self.handle_failed(ticket, "the workspace's answer can not be read");
        };
        if let Some((code, words)) = message.error.and_then(jsonrpc::error_parts) {
            if code == jsonrpc::METHOD_NOT_FOUND {
                ctx.peers_mut().correct(|offer| offer.guardian = false);
                return self.handle_failed(ticket, NOT_OFFERED);
            }
            let words = ctx.clean(&words, 300);
            return self.handle_failed(ticket, &words);
        }
        let decision = message
            .result
            .map(|raw| GuardianDecision::parse(raw, ctx.secrets()))
            .unwrap_or_default();
        let verdict = Verdict {
            decision: word(decision.verdict()),
            approval_id: None,
            note: decision.note.as_deref(),
            decided_by: decision.decided_by.as_deref(),
        };
        self.say(ticket, &verdict);
    }

    /// The approval behind the request was decided. Here `approved` is the outcome: nothing is sent
    /// again. An approval with edited params is none.
    pub(crate) fn handle_decided(
        &mut self,
        ctx: &Context,
        ticket: Ticket,
        approval_id: &str,
        state: &ApprovalState,
    ) {
        let recorded;
        let (decision, note) = match &state.decision {
            Decision::Approved { params: None } => ("approved", state.note.as_deref()),
            Decision::Executed(Outcome::Result(result)) => {
                // The workspace may record its own decision as the outcome.
                recorded = GuardianDecision::parse(result, ctx.secrets());
                let note = recorded.note.as_deref().or(state.note.as_deref());
                (word(recorded.verdict()), note)
            }
            Decision::Approved { params: Some(_) } => (
                "changed",
                Some("the reviewer changed the request: ask again for what you now want to do"),
            ),
            Decision::Rejected => ("rejected", state.note.as_deref()),
            Decision::Expired => ("expired", state.note.as_deref()),
            Decision::Cancelled => ("cancelled", state.note.as_deref()),
            Decision::Executed(Outcome::Error(_) | Outcome::Nothing) | Decision::Pending => {
                ("undecided", state.note.as_deref())
            }
        };
        let verdict = Verdict {
            decision,
            approval_id: Some(approval_id),
            note,
            decided_by: state.decided_by.as_deref(),
        };
        self.say(ticket, &verdict);
    }

    /// Nobody could be asked, or nobody answered.
    pub(crate) fn handle_failed(&mut self, ticket: Ticket, why: &str) {
        let verdict = Verdict {
            decision: "error",
            approval_id: None,
            note: Some(why),
            decided_by: None,
        };
        self.say(ticket, &verdict);
    }

    /// The end: a call that is still open is told no.
    pub(crate) fn end(&mut self) {
        for ticket in self.calls.tickets() {
            self.handle_failed(ticket, "the gateway was told to end before anybody decided");
        }
    }

    fn say(&mut self, ticket: Ticket, verdict: &Verdict<'_>) {
        let answer = self.calls.answer(ticket, |era| verdict.result(era));
        self.events.extend(answer);
    }
}

fn word(verdict: aerostack::Verdict) -> &'static str {
    match verdict {
        aerostack::Verdict::Approved => "approved",
        aerostack::Verdict::Rejected => "rejected",
        aerostack::Verdict::Undecided => "undecided",
    }
}

impl Verdict<'_> {
    fn result(&self, era: Era) -> String {
        let approved = self.decision == "approved";
        let by = self
            .decided_by
            .map(|by| format!(" by {}", printable(by, 80)));
        let by = by.unwrap_or_default();
        let note = self.note.filter(|note| !note.is_empty());
        let note_text = note.map(|note| format!(" Note: {}", printable(note, 2_000)));
        let note_text = note_text.unwrap_or_default();
        let words = if approved {
            format!("APPROVED{by}: you may proceed with exactly this operation.{note_text}")
        } else {
            format!(
                "NOT APPROVED ({}{by}): do NOT proceed, and do not try another way to the same effect.{note_text}",
                self.decision
            )
        };
        let structured = serde_json::to_string(&Verdict { note, ..*self }).unwrap_or_default();
        let result = tool_text(&words, !approved, era);
        jsonrpc::set_member(&result, "structuredContent", &structured)
    }
}

/// The request's params from the tool's arguments, or what is wrong with which field.
fn guardian_request(arguments: &str, hook: bool) -> Result<String, String> {
    let members = jsonrpc::members(arguments).ok_or("arguments must be an object")?;
    let field = |name: &str| -> Result<Option<String>, String> {
        let raw = members
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, raw)| *raw);
        match raw {
            None | Some("null") => Ok(None),
            Some(raw) => match jsonrpc::string(raw) {
                Some(text) if text.len() > TEXT_MAX => {
                    Err(format!("`{name}` is longer than {TEXT_MAX} bytes"))
                }
                Some(text) => Ok(Some(text.into_owned())),
                None => Err(format!("`{name}` must be a string")),
            },
        }
    };
    let one_of = |name: &str, value: &str, allowed: &[&str]| match allowed.contains(&value) {
        true => Ok(()),
        false => Err(format!("`{name}` must be one of {}", allowed.join(", "))),
    };
    let category = field("category")?.ok_or("`category` is missing")?;
    if !hook || category != "other" {
        one_of("category", &category, &CATEGORIES)?;
    }
    let action = field("action")?.filter(|action| !action.trim().is_empty());
    let action = action.ok_or("`action` is missing: give the exact command or change")?;
    let mut request = vec![("category", category), ("action", action)];
    // A model has no say in what joins an approval.
    let seen_by_hook: &[&str] = if hook { &HOOK } else { &[] };
    let optional = ["details", "risk", "cwd"];
    for name in optional.iter().chain(seen_by_hook).copied() {
        if let Some(value) = field(name)? {
            if name == "risk" {
                one_of("risk", &value, &RISKS)?;
            }
            request.push((name, value));
        }
    }
    let quoted: Vec<(&str, String)> = request
        .iter()
        .map(|(name, value)| (*name, quote(value)))
        .collect();
    Ok(jsonrpc::object(
        quoted.iter().map(|(name, value)| (*name, value.as_str())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_by_field() {
        let good =
            r#"{"category":"git_push","action":"git push","risk":"high","cwd":null,"extra":[1]}"#;
        assert_eq!(
            guardian_request(good, false).as_deref(),
            Ok(r#"{"category":"git_push","action":"git push","risk":"high"}"#)
        );
        for (arguments, field) in [
            ("[]", "object"),
            (r#"{"action":"x"}"#, "`category`"),
            (r#"{"category":"other","action":"x"}"#, "`category`"),
            (r#"{"category":"deploy"}"#, "`action`"),
            (r#"{"category":"deploy","action":"  "}"#, "`action`"),
            (r#"{"category":"deploy","action":7}"#, "`action`"),
            (
                r#"{"category":"deploy","action":"x","risk":"huge"}"#,
                "`risk`",
            ),
            (
                r#"{"category":"deploy","action":"x","details":{}}"#,
                "`details`",
            ),
        ] {
            assert!(
                guardian_request(arguments, false).is_err_and(|e| e.contains(field)),
                "{arguments}"
            );
        }
    }

    #[test]
    fn a_hook_says_more_and_an_agent_can_not() {
        let asked = r#"{"category":"other","action":"ls","host":"codex","tool":"Bash","matched":"ls","operation":"00"}"#;
        assert_eq!(guardian_request(asked, true).as_deref(), Ok(asked));
        assert!(guardian_request(asked, false).is_err_and(|e| e.contains("`category`")));
        let agent = asked.replace("other", "deploy");
        assert_eq!(
            guardian_request(&agent, false).as_deref(),
            Ok(r#"{"category":"deploy","action":"ls"}"#)
        );
    }

    #[test]
    fn only_approved_is_no_error() {
        for (decision, is_error) in [
            ("approved", false),
            ("rejected", true),
            ("changed", true),
            ("error", true),
        ] {
            let verdict = Verdict {
                decision,
                approval_id: Some("a"),
                note: Some("n"),
                decided_by: None,
            };
            let value: serde_json::Value =
                serde_json::from_str(&verdict.result(Era::Legacy)).expect("json");
            assert_eq!(value["isError"], is_error);
            assert_eq!(value["structuredContent"]["decision"], decision);
            assert_eq!(
                value["structuredContent"]["decided_by"],
                serde_json::Value::Null
            );
            let text = value["content"][0]["text"].as_str().expect("text");
            assert_eq!(text.starts_with("NOT APPROVED"), is_error);
        }
    }
}
