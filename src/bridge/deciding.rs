//! A decision has come: what it means for each request that waited for it.

use super::Bridge;
use super::approval::{Approval, Phase};
use super::approving::tool_text;
use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, WatchId};
use crate::log::{Level, printable};
use crate::proto::aerostack::{APPROVAL_META, ApprovalState, Decision, Outcome};
use crate::proto::jsonrpc::{self, Message, Params, Parsed};
use serde_json::value::RawValue;

impl Bridge {
    /// An approval object came, pushed or polled.
    pub(super) fn approval_heard(&mut self, watch: WatchId, raw: &str) {
        let Some(state) = ApprovalState::parse(raw, &self.secrets) else {
            return;
        };
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        if *state.approval_id != *approval.id {
            return self.log(Level::Warn, || {
                "a decision for another approval was ignored".to_owned()
            });
        }
        match (&state.decision, approval.calls.is_empty()) {
            (Decision::Pending, _) => {}
            (_, true) => {
                let words = format!(
                    "{} ({}) was decided while nobody waited",
                    approval.label, approval.id
                );
                approval.phase = Phase::Decided(state);
                self.unwatch(watch);
                self.log(Level::Info, || words);
            }
            (_, false) => self.decided(watch, &state),
        }
    }

    pub(super) fn decided(&mut self, watch: WatchId, state: &ApprovalState) {
        let Some(approval) = self.forget_approval(watch) else {
            return;
        };
        let waited = self
            .now
            .mono
            .saturating_duration_since(approval.since)
            .as_secs();
        let word = match &state.decision {
            Decision::Pending => return,
            Decision::Approved { .. } => "approved",
            Decision::Executed(_) => "approved and executed",
            Decision::Rejected => "rejected",
            Decision::Expired => "expired",
            Decision::Cancelled => "cancelled",
        };
        let (label, id) = (&approval.label, &approval.id);
        let words = format!("{label} ({id}) {word} after {waited} s");
        self.log(Level::Info, || words);
        let mut first = true;
        for call in &approval.calls {
            self.carry_out(
                *call,
                &approval,
                state,
                std::mem::replace(&mut first, false),
            );
        }
    }

    /// What a decision means for one request that waited for it.
    fn carry_out(&mut self, id: CallId, approval: &Approval, state: &ApprovalState, first: bool) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let Waiting::Approval(_, timer) = std::mem::replace(&mut call.waiting, Waiting::Nothing)
        {
            self.disarm(timer);
        }
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if let Asker::Guardian(host) = call.asker {
            self.forget_call(id);
            return self.guardian_decided(host, approval, state);
        }
        match &state.decision {
            Decision::Pending => {}
            Decision::Approved { params } if first || self.workspace.at_most_once => {
                self.retry_approved(id, approval, params.as_deref());
            }
            Decision::Approved { .. } => self.decline_used(id),
            Decision::Executed(Outcome::Result(result)) => {
                let answer = jsonrpc::result(&call.id, result);
                self.complete(id, answer);
            }
            Decision::Executed(Outcome::Error(error)) => {
                let answer = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}",
                    call.id
                );
                self.complete(id, answer.into_bytes());
            }
            Decision::Executed(Outcome::Nothing) => {
                let words = format!(
                    "{} was approved and executed, but its result did not come with the decision",
                    call.label()
                );
                self.decline(id, &words, "executed");
            }
            Decision::Rejected | Decision::Expired | Decision::Cancelled => {
                let (words, status) = refusal(&call.label(), state);
                self.decline(id, &words, status);
            }
        }
    }

    /// An approval allows one execution.
    pub(super) fn decline_used(&mut self, id: CallId) {
        let label = self.calls.get(id).map(Call::label).unwrap_or_default();
        let words =
            format!("{label}: this approval was used by an identical call; this one was not sent");
        self.give_up_waiting(id, &words, "approved");
    }

    /// "The original request is sent again as a new request, with
    /// `params._meta["dev.aerostack/approval_id"]` set."
    fn retry_approved(&mut self, id: CallId, approval: &Approval, edited: Option<&str>) {
        let new_id = self.own_id();
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Ok(Parsed::One(message)) = jsonrpc::parse(&call.message) else {
            return;
        };
        if edited.is_some_and(|edited| !same_target(&message, edited)) {
            let words = format!(
                "{}: the approver's edit names another tool, so nothing was sent",
                call.label()
            );
            return self.decline(id, &words, "approved");
        }
        let value = jsonrpc::quote(&approval.id);
        let made = jsonrpc::approved_request(&message, &new_id, (APPROVAL_META, &value), edited);
        let Some(made) = made else {
            let words = format!(
                "{}: the approved parameters are no object, so nothing was sent",
                call.label()
            );
            return self.decline(id, &words, "approved");
        };
        call.message = made;
        call.wire_id = Some(new_id);
        call.approved = Some(approval.id.clone());
        (call.approval_repeats, call.retries) = (0, 0);
        (call.resent, call.reheaded) = (false, false);
        self.approvals.spend(&approval.id, approval.identity);
        // The person has decided; from here on the time that machines may take counts again.
        self.arm_deadline(id);
        self.launch(id);
    }

    /// A request that waits for an approval, or would have to, ends without a decision.
    pub(super) fn give_up_waiting(&mut self, id: CallId, words: &str, status: &str) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        match call.asker {
            Asker::Guardian(host) => {
                self.forget_call(id);
                self.guardian_failed(host, words);
            }
            _ => self.decline(id, words, status),
        }
    }

    /// "For tools/call a result with `isError: true`; for other methods a JSON-RPC error."
    pub(super) fn decline(&mut self, id: CallId, words: &str, status: &str) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let answer = if &*call.method == "tools/call" {
            jsonrpc::result(&call.id, &tool_text(words, true, call.era))
        } else {
            jsonrpc::error(
                &call.id,
                -32603,
                words,
                Some(&format!("{{\"approval\":\"{status}\"}}")),
            )
        };
        self.complete(id, answer);
    }
}

/// Rejected, expired, cancelled: the words for the agent. Only these say "NOT executed".
fn refusal(label: &str, state: &ApprovalState) -> (String, &'static str) {
    let by = state
        .decided_by
        .as_deref()
        .map(|by| format!(" by {}", printable(by, 80)))
        .unwrap_or_default();
    let (what, status) = match state.decision {
        Decision::Rejected => (format!("was rejected{by}"), "rejected"),
        Decision::Expired => ("expired: nobody decided in time".to_owned(), "expired"),
        _ => (format!("was cancelled{by}"), "cancelled"),
    };
    let note = state.note.as_deref().filter(|note| !note.is_empty());
    let note = note
        .map(|note| format!(" Reviewer's note: {}", printable(note, 2_000)))
        .unwrap_or_default();
    (
        format!("{label} was NOT executed: the approval {what}.{note}"),
        status,
    )
}

/// "Another `name` than the original's is refused."
fn same_target(original: &Message<'_>, edited: &str) -> bool {
    let (old, new) = (Params::peek(original.params), Params::peek(Some(edited)));
    let text = |raw: Option<&RawValue>| {
        raw.and_then(|raw| jsonrpc::string(raw.get()).map(|text| text.into_owned()))
    };
    text(old.name) == text(new.name) && text(old.uri) == text(new.uri)
}
