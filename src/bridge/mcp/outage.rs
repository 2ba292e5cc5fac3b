//! An outage: the host was answered although the workspace could not be reached, and it is tried again
//! and again until it is there.

use super::call::{Call, CallId, Stage};
use super::session::{By, Hello, Outage, Session};
use super::{Away, Event, Mcp, Parked, Timer};
use crate::bridge::context::Context;
use crate::bridge::http::{Deadline, Http};
use crate::bridge::ids::Requester;
use crate::failure::Failure;
use crate::log::Level;
use std::mem;
use std::time::Duration;

/// Legacy versions that a host can be told while the workspace is away; the last is the newest.
const VERSIONS: [&str; 5] = [
    "2024-10-07",
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2025-11-25",
];

impl Mcp {
    /// The host's `initialize` has had no answer for so long: it is answered without the workspace.
    pub(super) fn patience_over(&mut self, ctx: &mut Context, http: &mut Http, id: CallId) {
        let opens = self.session.is_opened_by(id);
        let Some(call) = self
            .calls
            .get(id)
            .filter(|call| opens && call.requester().is_host())
        else {
            return;
        };
        let words = match &call.attempts.last_failure {
            Some(failure) => failure.words(&ctx.origin()),
            None => format!(
                "{} has not answered within {} s",
                ctx.origin(),
                ctx.limits().initialize_patience.as_secs()
            ),
        };
        self.begin_outage(ctx, http, id, words);
    }

    /// The host's `initialize` is answered by the gateway. If its exchange is still under way, the
    /// answer that comes later becomes the session, never a second one.
    pub(super) fn begin_outage(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        words: String,
    ) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        ctx.log(Level::Warn, || {
            format!("started without the workspace: {words}")
        });
        let asked = call.request().protocol_version();
        let known = asked.filter(|asked| VERSIONS.contains(&asked.as_str()));
        let version = known.unwrap_or_else(|| VERSIONS[VERSIONS.len() - 1].to_owned());
        let mut outage = Outage {
            reason: words,
            attempts: 0,
            told_version: version,
        };
        let away = outage.away();
        let host = Call::new(call.requester(), call.request().clone());
        ctx.stop(Timer::Patience(id));
        ctx.stop(Timer::Deadline(id));
        let stage = self.calls.stage(id);
        let is_over = matches!(stage, Some(Stage::Parked));
        if let Some(Stage::Exchange(exchange)) = stage {
            // The host's request had all the time of the world; now it is ours.
            let time = ctx.limits().control_timeout;
            http.limit(ctx, *exchange, Deadline::Within(time));
        }
        if let Session::Opening { hello, call, .. } = mem::take(&mut self.session) {
            self.session = match is_over {
                true => {
                    reconnect_later(ctx, &mut outage);
                    let outage = Some(outage);
                    Session::Lost { hello, outage }
                }
                false => {
                    let by = By::Gateway {
                        outage: Some(outage),
                    };
                    Session::Opening { hello, call, by }
                }
            };
        }
        if is_over {
            self.calls.remove(id);
        } else {
            self.calls.disown(id);
        }
        self.stand_in(host, &away);
        for parked in self.take_parked() {
            if let Parked::Call(id) = parked
                && let Some((call, _)) = self.take_call(ctx, id)
            {
                self.stand_in(call, &away);
            }
        }
    }

    /// A request that meets an outage: somebody answers the host for the workspace. What was asked for
    /// a built-in tool has failed, and the tool tells its host in its own words.
    pub(super) fn stand_in(&mut self, call: Call, away: &Away) {
        let event = match call.requester() {
            Requester::Host(ticket) => Event::Away(ticket, call.request().clone(), away.clone()),
            _ => Event::Failed(call, Failure::SessionLost(away.words.clone())),
        };
        self.events.push_back(event);
    }

    /// The workspace is tried again.
    pub(super) fn reconnect(&mut self, ctx: &mut Context, http: &mut Http) {
        let away = matches!(
            self.session,
            Session::Lost {
                outage: Some(_),
                ..
            }
        );
        if away && !ctx.phase().is_ending() {
            self.reopen(ctx, http);
        }
    }

    /// Those who wait hear it; the next request, or the next attempt of an outage, tries again.
    pub(super) fn reopen_failed(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        hello: Hello,
        mut outage: Option<Outage>,
        words: String,
    ) {
        if let Some(outage) = &mut outage {
            if outage.reason != words {
                ctx.log(Level::Warn, || {
                    format!("still without the workspace: {words}")
                });
            }
            outage.reason.clone_from(&words);
            reconnect_later(ctx, outage);
        }
        self.session = Session::Lost { hello, outage };
        for parked in self.take_parked() {
            if let Parked::Call(id) = parked
                && matches!(self.calls.stage(id), Some(Stage::Parked))
            {
                let failure = Failure::SessionLost(words.clone());
                self.conclude(ctx, http, id, failure);
            }
        }
    }
}

fn reconnect_later(ctx: &mut Context, outage: &mut Outage) {
    let pause = Duration::from_secs(1 << outage.attempts.min(5)).min(ctx.limits().outage_pause_max);
    outage.attempts = outage.attempts.saturating_add(1);
    let pause = ctx.random().around(pause, 5);
    ctx.set(Timer::Reconnect, pause);
}
