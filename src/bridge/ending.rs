//! The end: answers in flight are still delivered, then everyone is told, then the process leaves.

use super::call::{Asker, Call, Waiting};
use super::ids::CallId;
use super::task::{Lane, Purpose, Task};
use super::timer::TimerId;
use super::{Bridge, Output, Timer};
use crate::failure::Failure;
use crate::log::Level;
use std::time::{Duration, Instant};

/// How far the end has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// Nobody thinks of it.
    No,
    /// stdin has ended or SIGTERM came: answers in flight are waited for until the deadline.
    Draining { deadline: Instant, timer: TimerId },
    /// The session is given back.
    Farewell,
    /// `Exit` was put out.
    Over,
}

impl Ending {
    pub(super) fn is_begun(self) -> bool {
        !matches!(self, Ending::No)
    }

    /// True once nothing new may start.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Ending::Farewell | Ending::Over)
    }
}

impl Bridge {
    /// Waits for answers in flight, at most so long from now.
    pub(super) fn drain(&mut self, limit: Duration) {
        let deadline = self.now.mono + limit;
        match self.ending {
            Ending::No => {
                self.log(Level::Debug, || {
                    "the host has ended: answers in flight are awaited".to_owned()
                });
                self.end_subscriptions();
            }
            Ending::Draining {
                deadline: later,
                timer,
            } if deadline < later => self.disarm(Some(timer)),
            Ending::Draining { .. } | Ending::Farewell | Ending::Over => return,
        }
        let timer = self.timers.insert(deadline, Timer::Drain);
        self.ending = Ending::Draining { deadline, timer };
    }

    /// Subscriptions never end by themselves: no drain waits for them.
    fn end_subscriptions(&mut self) {
        for id in self.calls.ids() {
            if self
                .calls
                .get(id)
                .is_some_and(|call| &*call.method == "subscriptions/listen")
            {
                self.conclude(id, Failure::Ending);
            }
        }
    }

    /// SIGTERM, SIGINT or SIGHUP; a second one ends at once.
    pub(super) fn terminate(&mut self) {
        if std::mem::replace(&mut self.terminated, true) {
            return self.exit();
        }
        self.drain(self.config.limits.drain_terminated);
    }

    /// Nobody reads any more: answers need not be waited for.
    pub(super) fn stdout_gone(&mut self) {
        if !self.ending.is_over() {
            self.farewell();
        }
    }

    /// Called after every input: the drain ends early when nothing is in flight, the farewell when
    /// everything has been said.
    pub(super) fn end_if_done(&mut self) {
        if matches!(self.ending, Ending::Draining { .. }) && self.is_quiet() {
            self.farewell();
        }
        // Where there are no last words, no further input may come: do not wait for one.
        if matches!(self.ending, Ending::Farewell) && self.tasks.is_empty() {
            match self.session.id {
                Some(_) => self.give_session_back(),
                None => self.exit(),
            }
        }
    }

    /// No request of the host is unanswered and no message of it is on its way.
    fn is_quiet(&self) -> bool {
        let notice = |id| {
            matches!(
                self.tasks.get(id),
                Some(Task {
                    purpose: Purpose::Notice(_),
                    ..
                })
            )
        };
        self.calls.hosts() == 0 && !self.tasks.ids().into_iter().any(notice)
    }

    pub(super) fn farewell(&mut self) {
        if let Ending::Draining { timer, .. } = self.ending {
            self.disarm(Some(timer));
        }
        self.end_approvals();
        for id in self.calls.ids() {
            if self
                .calls
                .get(id)
                .is_some_and(|call| !matches!(call.asker, Asker::Nobody))
            {
                self.conclude_at_end(id);
            }
        }
        self.ending = Ending::Farewell;
        for id in self.tasks.ids() {
            let last_words = |call| matches!(self.calls.get(call), Some(call) if matches!(call.asker, Asker::Nobody));
            let kept = self
                .tasks
                .get(id)
                .and_then(Task::call)
                .is_some_and(last_words);
            if !kept {
                self.abort(id);
            }
        }
        self.disarm(self.session.stream.reopen);
        self.session.stream.reopen = None;
        self.say_offline();
        let farewell = self.config.limits.farewell;
        self.after(farewell / 2, Timer::Delete);
        self.after(farewell, Timer::Farewell);
    }

    /// A request has no answer when the end comes: it may have run only if it had left.
    pub(super) fn conclude_at_end(&mut self, id: CallId) {
        let left = match self.calls.get(id).map(|call| &call.waiting) {
            Some(Waiting::Exchange(task)) => {
                self.tasks.get(*task).is_none_or(|task| task.conn.is_some())
            }
            Some(Waiting::Resume(_) | Waiting::Local | Waiting::Approval(..)) => true,
            // What an earlier attempt may have done is noted in the call.
            Some(
                Waiting::Nothing
                | Waiting::Session
                | Waiting::Retry(_)
                | Waiting::RateLimit
                | Waiting::Headers
                | Waiting::Token,
            )
            | None => false,
        };
        let failure = if left {
            Failure::Ending
        } else {
            Failure::Unsent
        };
        self.conclude(id, failure);
    }

    /// The last words have been said, or have had their time.
    pub(super) fn give_session_back(&mut self) {
        for id in self.tasks.ids() {
            self.abort(id);
        }
        if let Some(session) = self.session.leave() {
            self.start(Task::new(Purpose::Delete(session), Lane::Urgent));
        }
    }

    pub(super) fn exit(&mut self) {
        if matches!(self.ending, Ending::Over) {
            return;
        }
        self.ending = Ending::Over;
        // What was read during the farewell, or is cut off by a second SIGTERM.
        for id in self.calls.ids() {
            if self.calls.get(id).is_some_and(Call::is_hosts) {
                self.conclude_at_end(id);
            }
        }
        for conn in self.pool.all() {
            self.close(conn);
        }
        self.out.push_back(Output::Exit(0));
    }
}
