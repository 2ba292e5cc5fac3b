//! The flows of an approval: a call is told to wait, a decision comes, the call goes on or is told no.

use super::approval::{Approval, Phase};
use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, Era, WatchId};
use super::watch::Subject;
use super::{Bridge, Timer};
use crate::log::{Level, printable};
use crate::proto::aerostack::{ApprovalNeeded, approval_params};
use crate::proto::endpoint::{Endpoint, EndpointError};
use crate::proto::identity::Identity;
use crate::proto::jsonrpc::{self, Message, Parsed};
use std::time::Duration;

/// How often in a row a request may be told to wait for yet another approval.
const ROUNDS_MAX: u8 = 3;
/// How often a retry is repeated that is answered with the approval it already has.
const REPEATS_MAX: u8 = 3;

impl Bridge {
    /// A request was answered with -32050. False if the error is the host's to see.
    pub(super) fn approval_needed(&mut self, id: CallId, answer: &[u8]) -> bool {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return false;
        };
        let secrets = &self.secrets;
        let needed = message
            .error
            .and_then(|raw| ApprovalNeeded::of_error(raw, secrets));
        let Some(needed) = needed else {
            self.log(Level::Warn, || {
                "an approval without a usable id was passed on as an error".to_owned()
            });
            return false;
        };
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        // "On initialize, server/discover and ping -32050 is passed on as an error."
        let plain = matches!(
            call.method.as_ref(),
            "initialize" | "server/discover" | "ping"
        );
        if plain || !call.may_wait_for_approval() {
            return false;
        }
        if call.approved.as_deref() == Some(&*needed.approval_id) {
            return self.approval_again(id);
        }
        let Some(identity) = identity_of(&call.message) else {
            return false;
        };
        // What a person allows is one request; the workspace's word does not make it another's.
        let owner = self.approvals.owner(&needed.approval_id);
        if owner.is_some_and(|owner| owner != identity) {
            self.refuse_foreign(id);
            return true;
        }
        // Another call has used it: what it allowed would run twice. What a local operation was
        // allowed by, nobody can repeat the outcome of.
        let repeatable = call.is_hosts() && self.workspace.at_most_once;
        if self.approvals.is_spent(&needed.approval_id) && !repeatable {
            self.decline_used(id);
            return true;
        }
        if call.approval_rounds >= ROUNDS_MAX {
            return false;
        }
        call.approval_rounds += 1;
        match self.approvals.by_id(&needed.approval_id) {
            Some(watch) => {
                self.renew(watch);
                self.attach(watch, id);
            }
            None => self.begin_approval(id, &needed, identity),
        }
        true
    }

    /// The workspace named another request's approval.
    fn refuse_foreign(&mut self, id: CallId) {
        let label = self.calls.get(id).map(Call::label).unwrap_or_default();
        let words = format!(
            "{label}: the workspace asked to wait for an approval that was asked for another request, so this one was not sent again. It was not executed"
        );
        self.log(Level::Warn, || words.clone());
        self.give_up_waiting(id, &words, "mismatch");
    }

    /// "With the same id: wait 1, 2, 4 s and send again, then an error."
    fn approval_again(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        if call.approval_repeats >= REPEATS_MAX {
            if let Some(approved) = call.approved.clone() {
                self.approvals.restore(&approved);
            }
            return false;
        }
        let pause = Duration::from_secs(1 << call.approval_repeats);
        call.approval_repeats += 1;
        if !self.rename(id) {
            return false;
        }
        let timer = self.after(pause, Timer::Retry(id));
        if let Some(call) = self.calls.get_mut(id) {
            call.waiting = Waiting::Retry(timer);
        }
        true
    }

    fn begin_approval(&mut self, id: CallId, needed: &ApprovalNeeded, identity: Identity) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (label, era) = (call.label(), call.era);
        let meta = match jsonrpc::parse(&call.message) {
            Ok(Parsed::One(message)) => own_meta(&message, era),
            _ => None,
        };
        let url = self.approval_url(needed);
        let status_url = needed
            .status_url
            .as_deref()
            .and_then(|url| self.trusted_url(url, "status_url"));
        let watch = self.watch(Subject::Approval, url, status_url);
        let wait = self.approval_time(needed);
        let deadline = Some(self.after(wait, Timer::Approval(watch)));
        let clean = |text: &Option<String>| text.as_deref().map(|text| printable(text, 300));
        let approval = Approval {
            id: needed.approval_id.as_str().into(),
            label,
            identity,
            era,
            meta,
            calls: Vec::new(),
            phase: Phase::Watching,
            since: self.now.mono,
            expires: needed.expires_at.map(|_| self.now.mono + wait),
            dashboard_url: clean(&needed.dashboard_url)
                .or_else(|| self.workspace.dashboard_url.clone()),
            deadline,
            progress_timer: None,
        };
        let place = approval
            .dashboard_url
            .clone()
            .unwrap_or_else(|| "the dashboard".to_owned());
        let reason = clean(&needed.reason)
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        let words = format!(
            "waiting for approval of {} ({}){reason}: {place}",
            approval.label, approval.id
        );
        self.log(Level::Info, || words);
        self.approvals.insert(watch, approval);
        self.attach(watch, id);
    }

    /// "`ws_url` missing: `W/approvals/<id>/ws`"; an untrusted one is replaced by that, too.
    fn approval_url(&mut self, needed: &ApprovalNeeded) -> Endpoint {
        let named = needed
            .ws_url
            .as_deref()
            .and_then(|url| self.trusted_url(url, "ws_url"));
        named.unwrap_or_else(|| {
            let path = format!("approvals/{}/ws", needed.approval_id);
            self.config
                .endpoint
                .resolve(&path)
                .unwrap_or_else(|_| self.config.endpoint.clone())
        })
    }

    /// A URL that the workspace named, if it lies with the workspace or an origin that the person
    /// trusts: nothing else is ever opened, or sees the token (I10).
    pub(super) fn trusted_url(&mut self, url: &str, what: &str) -> Option<Endpoint> {
        let own = &self.config.endpoint;
        let known = |endpoint: &Endpoint| {
            endpoint.same_origin(own)
                || self
                    .config
                    .trusted_origins
                    .iter()
                    .any(|origin| origin.same_origin(endpoint))
        };
        match own.resolve(url) {
            Ok(endpoint) if known(&endpoint) => Some(endpoint),
            resolved => {
                let why = match resolved {
                    Ok(endpoint) => format!("{} is another origin", endpoint.origin()),
                    Err(EndpointError::Downgrade) => "it is not encrypted".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.log(Level::Warn, || {
                    format!("the workspace's {what} is not used: {why}")
                });
                None
            }
        }
    }

    /// "The wait ends at `expires_at`, judged against the reply's Date header, or after
    /// AEROSTACK_APPROVAL_TIMEOUT where none is given."
    fn approval_time(&self, needed: &ApprovalNeeded) -> Duration {
        let now_s = self.last_date_s.unwrap_or(self.now.wall_ms / 1_000);
        match needed.expires_at {
            Some(at) => Duration::from_secs(at.saturating_sub(now_s).min(30 * 86_400)),
            None => self.config.approval_timeout,
        }
    }

    /// A request waits for this approval from now on.
    pub(super) fn attach(&mut self, watch: WatchId, id: CallId) {
        let wait = self.config.approval_wait;
        let timer = wait.map(|wait| self.after(wait, Timer::ApprovalWait(id)));
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.waiting = Waiting::Approval(watch, timer);
        // People take their time: AEROSTACK_REQUEST_TIMEOUT is for machines.
        let deadline = call.deadline.take();
        self.disarm(deadline);
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        approval.calls.push(id);
        if let Phase::Decided(_) = approval.phase {
            let Phase::Decided(state) = std::mem::replace(&mut approval.phase, Phase::Watching)
            else {
                return;
            };
            return self.decided(watch, &state);
        }
        self.report_progress(watch);
    }

    /// The host repeats a call whose approval is still open: it re-attaches. False if there is none.
    pub(super) fn reattach(&mut self, id: CallId) -> bool {
        if !self.approvals.any_detached() {
            return false;
        }
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let identity = identity_of(&call.message);
        let Some(watch) = identity.and_then(|identity| self.approvals.detached(identity)) else {
            return false;
        };
        let label = call.label();
        self.log(Level::Info, || {
            format!("{label} was repeated: it waits for its approval again")
        });
        self.renew(watch);
        self.attach(watch, id);
        true
    }

    /// The time of a detached approval was the ten minutes; from here its own time counts.
    fn renew(&mut self, watch: WatchId) {
        let whole = self.now.mono + self.config.approval_timeout;
        if let Some(approval) = self.approvals.get_mut(watch)
            && approval.calls.is_empty()
        {
            let ends = approval.expires.unwrap_or(whole);
            let timer = self.timers.insert(ends, Timer::Approval(watch));
            let old = approval.deadline.replace(timer);
            self.disarm(old);
        }
    }

    /// The host gave up, a person did not: the approval stays open for a while.
    pub(super) fn detach(&mut self, watch: WatchId, id: CallId) {
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        approval.calls.retain(|call| *call != id);
        if !approval.calls.is_empty() {
            return;
        }
        let (progress, deadline) = (approval.progress_timer.take(), approval.deadline.take());
        let words = format!(
            "the host gave up on {} ({}): the approval stays open",
            approval.label, approval.id
        );
        self.disarm(progress);
        self.disarm(deadline);
        self.log(Level::Info, || words);
        let timer = self.after(self.config.limits.detached, Timer::Approval(watch));
        if let Some(approval) = self.approvals.get_mut(watch) {
            approval.deadline = Some(timer);
        }
    }

    /// AEROSTACK_APPROVAL_WAIT is over.
    pub(super) fn approval_wait_over(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let Waiting::Approval(watch, _) = call.waiting else {
            return;
        };
        let place = self
            .approvals
            .get(watch)
            .and_then(|approval| approval.dashboard_url.clone());
        let words = format!(
            "{} is still waiting for approval{}: repeat the same call to go on waiting. It has not been executed by this call",
            call.label(),
            place.map(|url| format!(" ({url})")).unwrap_or_default()
        );
        self.detach(watch, id);
        self.decline(id, &words, "pending");
    }

    /// The host took its request back. "A cancellation whose reason speaks of a time-out is not a
    /// person's change of mind."
    pub(super) fn leave_or_detach(&mut self, watch: WatchId, id: CallId, reason: &str) {
        let lower = reason.to_ascii_lowercase();
        if ["timeout", "time-out", "time out", "timed out"]
            .iter()
            .any(|word| lower.contains(word))
        {
            self.detach(watch, id);
        } else {
            self.leave_approval(watch, id, "the host cancelled the request");
        }
    }

    /// "`aerostack/approvals/cancel`": the host took its request back.
    pub(super) fn leave_approval(&mut self, watch: WatchId, id: CallId, reason: &str) {
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        approval.calls.retain(|call| *call != id);
        if approval.calls.is_empty() {
            self.cancel_approval(watch, reason);
        }
    }

    /// A cancel and an approval crossed: nobody waits for the decision.
    pub(super) fn withdraw_approval(&mut self, approval_id: &str) {
        // An equal call may wait for the same one, or have used it.
        if self.approvals.by_id(approval_id).is_some() || self.approvals.is_spent(approval_id) {
            return;
        }
        let params = approval_params(approval_id, Some("the host cancelled the request"), None);
        self.ask_workspace(Asker::Nobody, "aerostack/approvals/cancel", &params);
    }

    pub(super) fn cancel_approval(&mut self, watch: WatchId, reason: &str) {
        let Some(approval) = self.forget_approval(watch) else {
            return;
        };
        let params = approval_params(&approval.id, Some(reason), approval.meta.as_deref());
        self.ask(
            Asker::Nobody,
            "aerostack/approvals/cancel",
            approval.era,
            &params,
        );
    }

    pub(super) fn forget_approval(&mut self, watch: WatchId) -> Option<Approval> {
        let approval = self.approvals.remove(watch)?;
        self.disarm(approval.deadline);
        self.disarm(approval.progress_timer);
        self.unwatch(watch);
        Some(approval)
    }

    /// "If the request carried `_meta.progressToken`, the gateway sends `notifications/progress`
    /// every 15 s", the first at once.
    pub(super) fn report_progress(&mut self, watch: WatchId) {
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        let old = approval.progress_timer.take();
        let place = approval
            .dashboard_url
            .as_deref()
            .unwrap_or("open your workspace");
        let words = jsonrpc::quote(&format!("waiting for approval in the dashboard: {place}"));
        let calls = approval.calls.clone();
        self.disarm(old);
        let mut anybody = false;
        for id in calls {
            let asked = match self.calls.get(id).map(|call| &call.asker) {
                Some(Asker::Guardian(host)) => *host,
                _ => id,
            };
            let Some(call) = self.calls.get_mut(asked) else {
                continue;
            };
            let Some(token) = call.progress.token().map(str::to_owned) else {
                continue;
            };
            let progress = call.progress.next();
            anybody = true;
            let params = format!(
                "{{\"progressToken\":{token},\"progress\":{progress},\"message\":{words}}}"
            );
            self.write_line(jsonrpc::notification(
                "notifications/progress",
                Some(&params),
            ));
        }
        if anybody {
            let timer = self.after(self.config.limits.progress_every, Timer::Progress(watch));
            if let Some(approval) = self.approvals.get_mut(watch) {
                approval.progress_timer = Some(timer);
            }
        }
    }

    /// The approval's time is over: one last question, then its wait ends.
    pub(super) fn approval_time_over(&mut self, watch: WatchId) {
        let Some(approval) = self.approvals.get_mut(watch) else {
            return;
        };
        approval.deadline = None;
        if approval.calls.is_empty() {
            return self.cancel_approval(watch, "nobody asked again");
        }
        if matches!(approval.phase, Phase::Watching) {
            approval.phase = Phase::Expiring;
            let timer = self.after(self.config.limits.expiry_grace, Timer::Approval(watch));
            if let Some(approval) = self.approvals.get_mut(watch) {
                approval.deadline = Some(timer);
            }
            return self.poll_now(watch);
        }
        let calls = approval.calls.clone();
        self.cancel_approval(watch, "its time is over");
        for id in calls {
            let label = self.calls.get(id).map(Call::label).unwrap_or_default();
            let words = format!(
                "{label}: no decision came in time; the request was withdrawn. It may still be executed if it was approved at the last moment: check before you repeat it"
            );
            self.give_up_waiting(id, &words, "pending");
        }
    }

    /// The end: what is pending is withdrawn, and who waits hears that.
    pub(super) fn end_approvals(&mut self) {
        for watch in self.approvals.ids() {
            let calls = self
                .approvals
                .get(watch)
                .map(|a| a.calls.clone())
                .unwrap_or_default();
            self.cancel_approval(watch, "the gateway ended");
            for id in calls {
                let label = self.calls.get(id).map(Call::label).unwrap_or_default();
                let words = format!(
                    "{label}: the gateway ended while it waited for approval; the request was withdrawn. It may still be executed if it was approved at the last moment"
                );
                self.give_up_waiting(id, &words, "pending");
            }
        }
    }
}

/// A CallToolResult with one text.
pub(super) fn tool_text(words: &str, is_error: bool, era: Era) -> String {
    let kind = match era {
        Era::Modern => "\"resultType\":\"complete\",",
        Era::Legacy => "",
    };
    format!(
        "{{{kind}\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":{is_error}}}",
        jsonrpc::quote(words)
    )
}

fn identity_of(message: &[u8]) -> Option<Identity> {
    match jsonrpc::parse(message) {
        Ok(Parsed::One(message)) => Some(Identity::of(&message)),
        _ => None,
    }
}

/// `_meta` for our own requests: a modern request needs the host's metadata.
fn own_meta(message: &Message<'_>, era: Era) -> Option<String> {
    (era == Era::Modern).then(|| super::headers::own_meta(message))
}
