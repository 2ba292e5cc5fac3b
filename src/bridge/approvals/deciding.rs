//! A decision has come: what it means for each request that waited for it.

use super::{Approvals, Event, Facts};
use crate::bridge::context::{Context, tool_text};
use crate::bridge::ids::{ApprovalKey, Requester};
use crate::bridge::mcp::Call;
use crate::bridge::request::Request;
use crate::log::{Level, printable};
use crate::proto::aerostack::{APPROVAL_META, ApprovalNeeded, ApprovalState, Decision, Outcome};
use crate::proto::jsonrpc::{self, Params};

impl Approvals {
    pub(super) fn decided(&mut self, ctx: &mut Context, key: ApprovalKey, state: &ApprovalState) {
        let Some((facts, calls)) = self.forget(ctx, key) else {
            return;
        };
        let waited = ctx.now().saturating_duration_since(facts.since).as_secs();
        let word = match &state.decision {
            Decision::Pending => "is undecided",
            Decision::Approved { .. } => "approved",
            Decision::Executed(_) => "approved and executed",
            Decision::Rejected => "rejected",
            Decision::Expired => "expired",
            Decision::Cancelled => "cancelled",
        };
        let (label, id) = (&facts.label, &facts.id);
        ctx.log(Level::Info, || {
            format!("{label} ({id}) {word} after {waited} s")
        });
        let mut is_first = true;
        for call in calls {
            self.carry_out(ctx, call, &facts, state, is_first);
            is_first = false;
        }
    }

    /// What a decision means for one request that waited for it.
    fn carry_out(
        &mut self,
        ctx: &mut Context,
        call: Call,
        facts: &Facts,
        state: &ApprovalState,
        is_first: bool,
    ) {
        if let Requester::Guardian(ticket) = call.requester() {
            // Here the approval is the outcome: nothing is sent again, and nothing else is allowed.
            if matches!(
                state.decision,
                Decision::Approved { .. } | Decision::Executed(_)
            ) {
                self.known.spend(&facts.id, facts.identity);
            }
            let (id, state) = (facts.id.clone(), state.clone());
            return self.events.push_back(Event::Decided(ticket, id, state));
        }
        match &state.decision {
            Decision::Pending => {}
            Decision::Approved { params } => {
                self.resend(ctx, call, facts, params.as_deref(), is_first);
            }
            Decision::Executed(Outcome::Result(result)) => {
                let answer = jsonrpc::result(call.request().id(), result);
                self.answer(&call, answer);
            }
            Decision::Executed(Outcome::Error(error)) => {
                let answer = jsonrpc::error_response(call.request().id(), error);
                self.answer(&call, answer);
            }
            Decision::Executed(Outcome::Nothing) => {
                let words = format!(
                    "{} was approved and executed, but its result did not come with the decision",
                    call.request().label()
                );
                self.decline(call, &words, "executed");
            }
            Decision::Rejected | Decision::Expired | Decision::Cancelled => {
                let (words, status) = refusal(&call.request().label(), state);
                self.decline(call, &words, status);
            }
        }
    }

    /// "The original request is sent again as a new request, with
    /// `params._meta["dev.aerostack/approval_id"]` set." An approval allows one execution, unless the
    /// workspace answers a repeat with the recorded outcome.
    fn resend(
        &mut self,
        ctx: &mut Context,
        mut call: Call,
        facts: &Facts,
        edited: Option<&str>,
        is_first: bool,
    ) {
        if !is_first && !ctx.at_most_once() {
            return self.refuse_used(call);
        }
        let request = call.request();
        if edited.is_some_and(|edited| !is_same_target(request, edited)) {
            let words = format!(
                "{}: the approver's edit names another tool, so nothing was sent",
                request.label()
            );
            return self.decline(call, &words, "approved");
        }
        let (new_id, value) = (ctx.own_id(), jsonrpc::quote(&facts.id));
        let Some(approved) = request.approved(&new_id, (APPROVAL_META, &value), edited) else {
            let words = format!(
                "{}: the approved parameters are no object, so nothing was sent",
                request.label()
            );
            return self.decline(call, &words, "approved");
        };
        call.approve(approved, &facts.id);
        self.known.spend(&facts.id, facts.identity);
        self.events.push_back(Event::Resend(call));
    }

    /// An approval allows one execution.
    pub(super) fn refuse_used(&mut self, call: Call) {
        let words = format!(
            "{}: this approval was used by an identical call; this one was not sent",
            call.request().label()
        );
        self.give_up(call, &words, "approved");
    }

    /// The workspace named another request's approval.
    pub(super) fn refuse_foreign(&mut self, ctx: &mut Context, call: Call) {
        let words = format!(
            "{}: the workspace asked to wait for an approval that was asked for another request, so this one was not sent again. It was not executed",
            call.request().label()
        );
        ctx.log(Level::Warn, || words.clone());
        self.give_up(call, &words, "mismatch");
    }

    /// Too much waits for a person already.
    pub(super) fn refuse_more(&mut self, call: Call, needed: &ApprovalNeeded) {
        let words = format!(
            "{}: too many bytes of requests wait for approval already, so this one does not wait, too. It was NOT executed: repeat it once some are decided",
            call.request().label()
        );
        self.refuse_stray(&needed.approval_id, "too many requests wait already");
        self.give_up(call, &words, "refused");
    }

    /// "For tools/call a result with `isError: true`; for other methods a JSON-RPC error."
    pub(super) fn decline(&mut self, call: Call, words: &str, status: &str) {
        let request = call.request();
        let answer = match request.method() {
            "tools/call" => jsonrpc::result(request.id(), &tool_text(words, true, request.era())),
            _ => {
                let data = jsonrpc::object([("approval", jsonrpc::quote(status).as_str())]);
                jsonrpc::error(request.id(), jsonrpc::INTERNAL_ERROR, words, Some(&data))
            }
        };
        self.answer(&call, answer);
    }

    fn answer(&mut self, call: &Call, answer: Vec<u8>) {
        if let Some(ticket) = call.requester().ticket() {
            self.events.push_back(Event::Answer(ticket, answer));
        }
    }
}

/// Rejected, expired, cancelled: the words for the agent. Only these say "NOT executed".
fn refusal(label: &str, state: &ApprovalState) -> (String, &'static str) {
    let by = state.decided_by.as_deref();
    let by = by
        .map(|by| format!(" by {}", printable(by, 80)))
        .unwrap_or_default();
    let (what, status) = match state.decision {
        Decision::Rejected => (format!("was rejected{by}"), "rejected"),
        Decision::Expired => ("expired: nobody decided in time".to_owned(), "expired"),
        Decision::Cancelled
        | Decision::Pending
        | Decision::Approved { .. }
        | Decision::Executed(_) => (format!("was cancelled{by}"), "cancelled"),
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
fn is_same_target(original: &Request, edited: &str) -> bool {
    let new = Params::peek(Some(edited));
    let text = |raw: Option<&str>| raw.and_then(jsonrpc::string).map(|text| text.into_owned());
    text(original.raw_name()) == text(new.name) && text(original.uri()) == text(new.uri)
}
