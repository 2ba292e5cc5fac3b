//! The Local Guardian: approval of risky local operations. It fails closed: anything but a clear
//! `approved` tells the agent not to proceed.

use super::Bridge;
use super::approval::Approval;
use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, Era};
use crate::log::printable;
use crate::proto::aerostack::{self, ApprovalState, Decision, GuardianDecision, Outcome};
use crate::proto::jsonrpc::{self, Parsed, quote};

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

/// What the agent is told.
struct Verdict<'a> {
    decision: &'a str,
    approval_id: Option<&'a str>,
    note: Option<&'a str>,
    decided_by: Option<&'a str>,
}

impl Bridge {
    /// A call of the tool.
    pub(super) fn guard(&mut self, id: CallId, arguments: &str) {
        let request = match guardian_request(arguments, self.config.hook) {
            Ok(request) => request,
            Err(problem) => {
                let words = format!(
                    "NOT APPROVED: invalid arguments: {problem}. Do not proceed; call again with valid arguments."
                );
                return self.tool_refuses(id, &words);
            }
        };
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (era, meta) = match jsonrpc::parse(&call.message) {
            Ok(Parsed::One(message)) => (call.era, super::headers::own_meta(&message)),
            _ => return,
        };
        if let Some(problem) = self.guardian_problem(era) {
            return self.guardian_failed(id, &problem);
        }
        self.keep_local(id);
        let mut params = jsonrpc::set_member(&request, "bridge_id", &quote(&self.bridge_id()));
        if era == Era::Modern {
            params = jsonrpc::set_member(&params, "_meta", &meta);
        }
        let method = "aerostack/guardian/request";
        let own_id = self.own_id();
        let message = jsonrpc::request(&own_id, method, &params);
        let mut own = Call::new(Asker::Guardian(id), own_id, method, era, message);
        let shown = jsonrpc::member(&request, "action").and_then(jsonrpc::string);
        own.name = shown.map(|action| printable(&action, 100).into());
        if let Some(own) = self.calls.insert(own)
            && !self.reattach(own)
        {
            self.launch(own);
        }
    }

    /// Why nobody can be asked at all.
    fn guardian_problem(&self, era: Era) -> Option<String> {
        if era == Era::Legacy && self.offline.is_some() {
            let why = self.offline_reason();
            return Some(format!("the workspace is not connected yet ({why})"));
        }
        let silent = self.workspace_asked && !self.workspace.guardian;
        silent.then(|| "this workspace does not offer approvals of local operations".to_owned())
    }

    /// The workspace answered without an approval.
    pub(super) fn guardian_answered(&mut self, host: CallId, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return self.guardian_failed(host, "the workspace's answer can not be read");
        };
        if let Some((code, words)) = message.error.and_then(jsonrpc::error_parts) {
            if code == -32601 {
                self.workspace.guardian = false;
                return self.guardian_failed(
                    host,
                    "this workspace does not offer approvals of local operations",
                );
            }
            let words = self.clean(&words, 300);
            return self.guardian_failed(host, &words);
        }
        let decision: GuardianDecision = message
            .result
            .map(|raw| GuardianDecision::parse(raw, &self.secrets))
            .unwrap_or_default();
        let word = match decision.verdict() {
            aerostack::Verdict::Approved => "approved",
            aerostack::Verdict::Rejected => "rejected",
            aerostack::Verdict::Undecided => "undecided",
        };
        let (note, decided_by) = (decision.note.as_deref(), decision.decided_by.as_deref());
        self.guardian_says(
            host,
            &Verdict {
                decision: word,
                approval_id: None,
                note,
                decided_by,
            },
        );
    }

    /// The approval behind the request was decided. "Here `approved` IS the outcome … an approval
    /// with edited params is not `approved`."
    pub(super) fn guardian_decided(
        &mut self,
        host: CallId,
        approval: &Approval,
        state: &ApprovalState,
    ) {
        let (decision, note) = match &state.decision {
            Decision::Approved { params: None } => ("approved", state.note.clone()),
            Decision::Executed(Outcome::Result(result)) => {
                // The workspace may record its own decision as the outcome.
                let recorded = GuardianDecision::parse(result, &self.secrets);
                let decision = match recorded.verdict() {
                    aerostack::Verdict::Approved => "approved",
                    aerostack::Verdict::Rejected => "rejected",
                    aerostack::Verdict::Undecided => "undecided",
                };
                (decision, recorded.note.or(state.note.clone()))
            }
            Decision::Approved { params: Some(_) } => (
                "changed",
                Some(
                    "the reviewer changed the request: ask again for what you now want to do"
                        .to_owned(),
                ),
            ),
            Decision::Rejected => ("rejected", state.note.clone()),
            Decision::Expired => ("expired", state.note.clone()),
            Decision::Cancelled => ("cancelled", state.note.clone()),
            Decision::Executed(_) | Decision::Pending => ("undecided", state.note.clone()),
        };
        if decision == "approved" {
            self.approvals.spend(&approval.id, approval.identity);
        }
        let (approval_id, note, decided_by) = (
            Some(&*approval.id),
            note.as_deref(),
            state.decided_by.as_deref(),
        );
        self.guardian_says(
            host,
            &Verdict {
                decision,
                approval_id,
                note,
                decided_by,
            },
        );
    }

    /// Nobody could be asked, or nobody answered.
    pub(super) fn guardian_failed(&mut self, host: CallId, why: &str) {
        self.guardian_says(
            host,
            &Verdict {
                decision: "error",
                approval_id: None,
                note: Some(why),
                decided_by: None,
            },
        );
    }

    fn guardian_says(&mut self, host: CallId, verdict: &Verdict<'_>) {
        let Some(call) = self.calls.get(host) else {
            return;
        };
        let answer = jsonrpc::result(&call.id, &verdict.result(call.era));
        self.complete(host, answer);
    }

    /// The host took back a call that the gateway was answering itself.
    pub(super) fn withdraw_local(&mut self, host: CallId, reason: &str) {
        for id in self.calls.ids() {
            let Some(call) = self.calls.get(id) else {
                continue;
            };
            match call.asker {
                Asker::Guardian(asked) if asked == host => {
                    if let Waiting::Approval(watch, _) = call.waiting {
                        self.leave_or_detach(watch, id, reason);
                    }
                    self.drop_own(id);
                }
                Asker::Chat(asked) if asked == host => self.drop_own(id),
                _ => {}
            }
        }
        self.chat_withdrawn(host);
    }

    /// Ends a request of our own that nobody waits for any more.
    fn drop_own(&mut self, id: CallId) {
        if let Some(Call {
            waiting: Waiting::Exchange(task),
            ..
        }) = self.forget_call(id)
        {
            self.abort(task);
        }
    }
}

impl Verdict<'_> {
    fn result(&self, era: Era) -> String {
        let approved = self.decision == "approved";
        let by = self
            .decided_by
            .map(|by| format!(" by {}", printable(by, 80)))
            .unwrap_or_default();
        let note = self.note.filter(|note| !note.is_empty());
        let note_text = note
            .map(|note| format!(" Note: {}", printable(note, 2_000)))
            .unwrap_or_default();
        let words = if approved {
            format!("APPROVED{by}: you may proceed with exactly this operation.{note_text}")
        } else {
            format!(
                "NOT APPROVED ({}{by}): do NOT proceed, and do not try another way to the same effect.{note_text}",
                self.decision
            )
        };
        let text = |text: Option<&str>| text.map_or("null".to_owned(), quote);
        let structured = format!(
            "{{\"decision\":{},\"approval_id\":{},\"note\":{},\"decided_by\":{}}}",
            quote(self.decision),
            text(self.approval_id),
            text(note),
            text(self.decided_by)
        );
        let result = super::approving::tool_text(&words, !approved, era);
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
    for name in ["details", "risk", "cwd"]
        .iter()
        .chain(seen_by_hook)
        .copied()
    {
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
