//! HTTP exchanges: from the queue to a connection, and what happens to that connection.

use super::call::{Call, Waiting};
use super::ids::TaskId;
use super::pool::State;
use super::task::{Lane, Purpose, Sink, Task, Tasks};
use super::{Bridge, Output, Timer};
use crate::failure::{Executed, Failure};
use crate::log::Level;
use crate::proto::endpoint::{Endpoint, Scheme};
use crate::proto::http::exchange::{Event, Exchange};
use crate::proto::http::request::Method;
use crate::proto::http::response::ResponseHead;
use crate::proto::transport::{Close, CloseCause, ConnId};

impl Bridge {
    /// Queues an exchange for the next connection.
    pub(super) fn start(&mut self, task: Task) -> TaskId {
        let lane = task.lane;
        let fresh = self.needs_fresh(&task);
        let control = !matches!(task.purpose, Purpose::Request(_)) || !self.is_hosts(&task);
        let id = self.tasks.insert(task);
        if control && lane != Lane::Stream {
            self.limit(id);
        }
        self.enqueue(id, lane, fresh);
        id
    }

    /// From now on an exchange has the time of the gateway's own requests.
    pub(super) fn limit(&mut self, id: TaskId) {
        let timer = self.after(self.config.limits.control_timeout, Timer::Task(id));
        let old = self
            .tasks
            .get_mut(id)
            .and_then(|task| task.timer.replace(timer));
        self.disarm(old);
    }

    /// Waits for a connection to the workspace, or has one made to another origin.
    fn enqueue(&mut self, id: TaskId, lane: Lane, fresh: bool) {
        let own = &self.config.endpoint;
        let target = self.tasks.get(id).and_then(|task| task.target.as_ref());
        match target.filter(|target| !target.same_origin(own)).cloned() {
            None => self.pool.want(id, lane, fresh),
            Some(target) => {
                let conn = self.pool.dial_for(id, lane);
                self.out.push_back(Output::Connect(conn, target));
                if let Some(task) = self.tasks.get_mut(id) {
                    task.conn = Some(conn);
                }
            }
        }
    }

    /// The reader of an exchange's response.
    fn exchange_for(tasks: &Tasks, max_head: usize, id: TaskId) -> Exchange {
        let upgrade = matches!(
            tasks.get(id).map(|task| &task.purpose),
            Some(Purpose::Upgrade(_))
        );
        let exchange = Exchange::new(Method::Post, max_head);
        if upgrade {
            exchange.for_upgrade()
        } else {
            exchange
        }
    }

    fn is_hosts(&self, task: &Task) -> bool {
        task.call()
            .and_then(|call| self.calls.get(call))
            .is_some_and(Call::is_hosts)
    }

    /// "tools/call and approved retries use no connection idle for over 3 s".
    fn needs_fresh(&self, task: &Task) -> bool {
        let call = task.call().and_then(|call| self.calls.get(call));
        !self.is_replayable(task) || call.is_some_and(|call| call.approved.is_some())
    }

    /// True where sending twice can do no harm (I7).
    fn is_replayable(&self, task: &Task) -> bool {
        match &task.purpose {
            Purpose::Request(call) => self.may_repeat(*call),
            Purpose::EventStream
            | Purpose::Resume(_)
            | Purpose::Upgrade(_)
            | Purpose::Status(_) => true,
            Purpose::Notice(_) | Purpose::Delete(_) => false,
        }
    }

    pub(super) fn connect(&mut self, conn: ConnId) {
        self.out
            .push_back(Output::Connect(conn, self.config.endpoint.clone()));
    }

    /// Pairs waiting exchanges with idle connections and dials what is missing.
    pub(super) fn pump(&mut self) {
        loop {
            let limits = &self.config.limits;
            let (tasks, max_head) = (&self.tasks, limits.head_max_bytes);
            let exchange = |id| Self::exchange_for(tasks, max_head, id);
            let Some((task, conn, reused)) = self.pool.pair(self.now.mono, limits, exchange) else {
                break;
            };
            self.transmit(task, conn, reused);
        }
        while let Some(conn) = self.pool.dial(&self.config.limits) {
            if let Some(idle) = self.pool.make_room(&self.config.limits) {
                self.out.push_back(Output::Close(idle));
            }
            self.connect(conn);
        }
    }

    fn transmit(&mut self, id: TaskId, conn: ConnId, reused: bool) {
        let Some(mut task) = self.tasks.remove(id) else {
            // Every abort takes its task out of the queue.
            debug_assert!(false, "a task without an entry waited for a connection");
            return;
        };
        task.conn = Some(conn);
        task.reused = reused;
        let bytes = self.write_request(&mut task);
        self.tasks.restore(id, task);
        self.out.push_back(Output::Transmit(conn, bytes));
    }

    pub(super) fn connected(&mut self, conn: ConnId) {
        let (tasks, max_head) = (&self.tasks, self.config.limits.head_max_bytes);
        let exchange = |id| Self::exchange_for(tasks, max_head, id);
        match self.pool.begin(conn, exchange) {
            Some(task) => self.transmit(task, conn, false),
            None => self.pool.connected(conn, self.now.mono),
        }
    }

    pub(super) fn sent(&mut self, conn: ConnId) {
        let task = match self.pool.get_mut(conn).map(|conn| &conn.state) {
            Some(State::Busy { task, .. }) => *task,
            Some(State::Upgraded { watch }) => {
                let watch = *watch;
                return self.socket_sent(watch);
            }
            Some(State::Idle { .. } | State::Dialing { .. } | State::DialingFor { .. }) | None => {
                return;
            }
        };
        if let Some(entry) = self.tasks.get_mut(task) {
            entry.sent = true;
            self.request_left(task);
        }
    }

    pub(super) fn received(&mut self, conn: ConnId, mut bytes: &[u8]) {
        while let Some(entry) = self.pool.get_mut(conn) {
            let (task, exchange) = match &mut entry.state {
                State::Busy { task, exchange, .. } => (*task, exchange),
                State::Upgraded { watch } => {
                    let watch = *watch;
                    return self.socket_bytes(watch, bytes);
                }
                // Nobody asked for these bytes: the connection is out of step.
                State::Idle { .. } | State::Dialing { .. } | State::DialingFor { .. } => {
                    if !bytes.is_empty() {
                        self.close(conn);
                    }
                    return;
                }
            };
            match exchange.feed(&mut bytes) {
                Ok(Some(Event::Head(head))) => self.head(task, head),
                Ok(Some(Event::Data(data))) => self.data(task, data),
                Ok(Some(Event::End { reusable })) => {
                    self.release(conn, task, reusable && bytes.is_empty());
                    self.end(task);
                }
                Ok(Some(Event::Upgraded(head))) => self.upgraded(conn, task, &head),
                Ok(None) => break,
                Err(error) => {
                    self.close(conn);
                    self.fail(task, Failure::Protocol(error));
                }
            }
        }
        self.hold_back(conn);
    }

    /// A connection is not read for a while (I6): until stdout has drained where that is full, and
    /// until the oldest response is complete where too much of many lies in memory.
    fn hold_back(&mut self, conn: ConnId) {
        let limits = &self.config.limits;
        let full = self.stdout_bytes >= limits.stdout_high_bytes;
        let crowded = self.tasks.pending() > limits.pending_high_bytes && !self.is_oldest(conn);
        if !full && !crowded {
            return;
        }
        if let Some(entry) = self.pool.get_mut(conn)
            && !std::mem::replace(&mut entry.paused, true)
        {
            self.out.push_back(Output::Pause(conn));
        }
        if crowded && self.crowd_timer.is_none() {
            // The oldest may hang: nobody waits for it for ever.
            let timer = self.after(self.config.limits.pending_patience, Timer::Crowd);
            self.crowd_timer = Some(timer);
        }
    }

    fn is_oldest(&self, conn: ConnId) -> bool {
        let oldest = self
            .tasks
            .oldest_pending()
            .and_then(|id| self.tasks.get(id));
        oldest.is_none_or(|task| task.conn == Some(conn))
    }

    /// Memory is free again, or the oldest response hangs.
    pub(super) fn let_crowd_go(&mut self) {
        let timer = self.crowd_timer.take();
        self.disarm(timer);
        if self.stdout_bytes < self.config.limits.stdout_high_bytes {
            self.resume_all();
        }
    }

    pub(super) fn resume_all(&mut self) {
        for conn in self.pool.paused() {
            self.out.push_back(Output::Resume(conn));
        }
    }

    fn release(&mut self, conn: ConnId, task: TaskId, reusable: bool) {
        let foreign = self.tasks.get(task).and_then(|task| task.target.as_ref());
        let foreign = foreign.is_some_and(|target| !target.same_origin(&self.config.endpoint));
        if !reusable || foreign || self.ending.is_over() {
            return self.close(conn);
        }
        let keep = self
            .tasks
            .get(task)
            .and_then(|task| task.head.as_ref())
            .and_then(|head| head.keep_alive_s);
        self.pool.release(conn, self.now.mono, keep);
    }

    /// Closes a connection that nobody needs any more.
    pub(super) fn close(&mut self, conn: ConnId) {
        if self.pool.remove(conn).is_some() {
            self.out.push_back(Output::Close(conn));
        }
    }

    pub(super) fn closed(&mut self, conn: ConnId, close: Close) {
        let Some(entry) = self.pool.remove(conn) else {
            return;
        };
        match entry.state {
            State::Idle { .. } => {}
            State::Upgraded { watch } => self.socket_lost(watch),
            State::DialingFor { task, .. } => self.fail(task, Failure::Connect(close)),
            State::Dialing { newest } => match self.pool.take_waiting(newest) {
                Some(task) => self.fail(task, Failure::Connect(close)),
                None => self.log(Level::Debug, || {
                    format!("a connection could not be made: {close:?}")
                }),
            },
            State::Busy {
                task, mut exchange, ..
            } => {
                if close.cause == CloseCause::Eof && exchange.finish().is_ok() {
                    return self.end(task);
                }
                if !exchange.started() && self.replay(task, &close) {
                    return;
                }
                self.fail(task, Failure::Lost(close));
            }
        }
    }

    /// A kept connection turned out stale. "Replay once only if the connection was reused AND zero
    /// response bytes came AND (the method is safe OR nothing was handed to the socket)".
    fn replay(&mut self, id: TaskId, close: &Close) -> bool {
        let Some(task) = self.tasks.get(id) else {
            return false;
        };
        let safe = self.is_replayable(task);
        // Cancelled meanwhile: nobody wants it sent.
        if task
            .call()
            .is_some_and(|call| self.calls.get(call).is_none())
        {
            return false;
        }
        if !task.reused || task.replayed || (close.sent && !safe) || self.ending.is_over() {
            return false;
        }
        let (lane, call) = (task.lane, task.call());
        if let Some(call) = call
            .and_then(|call| self.calls.get_mut(call))
            .filter(|_| close.sent)
        {
            call.ran = Executed::Unknown;
        }
        let task = self.tasks.get_mut(id).expect("just looked up");
        (task.replayed, task.conn, task.sent) = (true, None, false);
        self.log(Level::Debug, || {
            "a kept connection was stale: the request is sent again".to_owned()
        });
        // Its idle siblings are no better.
        self.drop_idle();
        self.enqueue(id, lane, true);
        if self.session.is_closed() {
            self.park_unsent();
        }
        true
    }

    /// Ends an exchange whatever its state; its connection is closed, nobody is told.
    pub(super) fn abort(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        self.disarm(task.timer);
        match task.conn {
            Some(conn) => self.close(conn),
            None => {
                self.pool.forget(id);
            }
        }
    }

    /// An exchange that nobody waits for any more gets a little time to end well.
    pub(super) fn linger(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let old = task.timer.take();
        self.disarm(old);
        let timer = self.after(self.config.limits.linger, Timer::Task(id));
        self.tasks.get_mut(id).expect("just looked up").timer = Some(timer);
    }

    pub(super) fn task_timed_out(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.timer = None;
        let seconds = self.config.limits.control_timeout.as_secs();
        let conn = task.conn;
        match conn {
            Some(conn) => self.close(conn),
            None => {
                self.pool.forget(id);
            }
        }
        self.fail(id, Failure::TimedOut(seconds));
    }

    /// The exchange has failed; its connection is gone already.
    pub(super) fn fail(&mut self, id: TaskId, failure: Failure) {
        let Some(task) = self.tasks.remove(id) else {
            return;
        };
        self.disarm(task.timer);
        let origin = self.config.endpoint.origin();
        self.log(Level::Debug, || {
            format!("exchange failed: {}", failure.words(&origin))
        });
        let streamed = matches!(task.sink, Sink::Events(_));
        match task.purpose {
            Purpose::Request(call) if streamed => self.stream_broke(call, failure, task.delivered),
            Purpose::Request(call) => self.request_failed(call, failure),
            Purpose::Resume(call) => self.resume_failed(call, failure),
            Purpose::Notice(notice) => self.notice_failed(notice, failure),
            Purpose::EventStream => self.stream_ended(task.delivered),
            Purpose::Upgrade(watch) => self.socket_refused(watch, &failure),
            Purpose::Status(watch) => self.polled(watch, None),
            Purpose::Delete(_) => {}
        }
    }

    /// Where a redirect leads, if it is followed: "307/308 to the same origin are followed (at most 3,
    /// method and body kept)".
    pub(super) fn redirect_target(&self, task: &Task, head: &ResponseHead) -> Option<Endpoint> {
        if !matches!(head.status, 307 | 308) || task.redirects >= self.config.limits.redirects_max {
            return None;
        }
        let base = task.target.as_ref().unwrap_or(&self.config.endpoint);
        let target = base.resolve_location(head.location.as_deref()?).ok()?;
        self.may_follow(&target).then_some(target)
    }

    pub(super) fn follow(&mut self, mut task: Task, target: Endpoint) {
        // Cancelled or answered meanwhile: nobody wants it sent.
        if task
            .call()
            .is_some_and(|call| self.calls.get(call).is_none())
        {
            return;
        }
        task.redirects += 1;
        task.target = Some(target);
        (task.conn, task.sent, task.reused) = (None, false, false);
        (task.head, task.sink) = (None, Sink::Nothing);
        let (lane, call) = (task.lane, task.call());
        let fresh = self.needs_fresh(&task);
        let id = self.tasks.insert(task);
        if let Some(call) = call.and_then(|call| self.calls.get_mut(call)) {
            call.waiting = Waiting::Exchange(id);
        }
        self.enqueue(id, lane, fresh);
        if self.session.is_closed() {
            self.park_unsent();
        }
    }

    /// The token never goes to another origin (I10), nor back to http.
    fn may_follow(&self, target: &Endpoint) -> bool {
        let own = &self.config.endpoint;
        target.same_origin(own)
            && (own.scheme() == Scheme::Http || target.scheme() == Scheme::Https)
    }
}
