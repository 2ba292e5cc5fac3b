//! HTTP exchanges: from the queue to a connection, and what happens to that connection.

use super::call::{Call, Era, Waiting};
use super::pool::{self, State};
use super::task::{Lane, Purpose, Sink, Task, TaskId, Tasks};
use super::{Bridge, Output, Timer};
use crate::config::Config;
use crate::failure::{Executed, Failure};
use crate::log::Level;
use crate::proto::endpoint::{Endpoint, Scheme};
use crate::proto::http::exchange::{Event, Exchange};
use crate::proto::http::request::{Method, RequestHead, is_header_value};
use crate::proto::http::response::ResponseHead;
use crate::proto::transport::{Close, CloseCause, ConnId};
use crate::proto::ws;

const ACCEPT_BOTH: &str = "application/json, text/event-stream";

/// The header lines that every request carries.
pub(super) fn common_headers(config: &Config) -> Vec<u8> {
    let mut lines = concat!(
        "User-Agent: aerostack-gateway/",
        env!("CARGO_PKG_VERSION"),
        "\r\n"
    )
    .to_owned();
    if let Some(token) = &config.token {
        lines.push_str("Authorization: Bearer ");
        lines.push_str(token.expose());
        lines.push_str("\r\n");
    }
    lines.into_bytes()
}

impl Bridge {
    /// Queues an exchange for the next connection.
    pub(super) fn start(&mut self, task: Task) -> TaskId {
        let lane = task.lane;
        let must_not_repeat = !self.is_replayable(&task);
        let control = !matches!(task.purpose, Purpose::Request(_)) || !self.is_hosts(&task);
        let id = self.tasks.insert(task);
        if control && lane != Lane::Stream {
            let timer = self.after(self.config.limits.control_timeout, Timer::Task(id));
            self.tasks.get_mut(id).expect("just inserted").timer = Some(timer);
        }
        self.enqueue(id, lane, must_not_repeat);
        id
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

    /// True where sending twice can do no harm (I7). What a person approved "is replayed after a lost
    /// connection only if the workspace advertised `at_most_once`", whatever it is.
    pub(super) fn may_repeat(&self, call: &Call) -> bool {
        match call.approved {
            Some(_) => self.workspace.at_most_once,
            None => call.is_safe(),
        }
    }

    fn is_replayable(&self, task: &Task) -> bool {
        match &task.purpose {
            Purpose::Request(call) => self
                .calls
                .get(*call)
                .is_some_and(|call| self.may_repeat(call)),
            Purpose::EventStream
            | Purpose::Resume(_)
            | Purpose::Upgrade(_)
            | Purpose::Status(_) => true,
            Purpose::Notice { .. } | Purpose::Delete(_) => false,
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

    /// The request as it leaves: one buffer, head and body, so that it is one write.
    fn write_request(&self, task: &mut Task) -> Vec<u8> {
        let endpoint = task.target.as_ref().unwrap_or(&self.config.endpoint);
        let method = match task.purpose {
            Purpose::Request(_) | Purpose::Notice { .. } => Method::Post,
            Purpose::EventStream
            | Purpose::Resume(_)
            | Purpose::Upgrade(_)
            | Purpose::Status(_) => Method::Get,
            Purpose::Delete(_) => Method::Delete,
        };
        let mut head = RequestHead::new(method, endpoint.target(), &endpoint.host_header());
        head.raw(&self.common_headers);
        task.session = 0;
        match &task.purpose {
            Purpose::Request(call) => {
                let call = self
                    .calls
                    .get(*call)
                    .expect("an exchange outlives no request unsent");
                head.header("Accept", ACCEPT_BOTH)
                    .header("Content-Type", "application/json");
                match call.era {
                    Era::Modern => self.headers.write(&mut head, &call.message),
                    Era::Legacy if &*call.method == "initialize" => {}
                    Era::Legacy => task.session = self.write_session(&mut head),
                }
                head.finish(Some(&call.message))
            }
            Purpose::Notice { era, message, .. } => {
                head.header("Accept", ACCEPT_BOTH)
                    .header("Content-Type", "application/json");
                match era {
                    Era::Modern => self.headers.write(&mut head, message),
                    Era::Legacy => task.session = self.write_session(&mut head),
                }
                head.finish(Some(message))
            }
            Purpose::EventStream => {
                head.header("Accept", "text/event-stream");
                task.session = self.write_session(&mut head);
                write_last_event_id(&mut head, self.session.stream.last_event_id.as_deref());
                head.finish(None)
            }
            Purpose::Resume(call) => {
                head.header("Accept", "text/event-stream");
                task.session = self.write_session(&mut head);
                let last = self
                    .calls
                    .get(*call)
                    .and_then(|call| call.last_event_id.as_deref());
                write_last_event_id(&mut head, last);
                head.finish(None)
            }
            Purpose::Upgrade(_) => {
                ws::write_upgrade(&mut head, &task.upgrade_key);
                // Messages for one bridge find it by this.
                head.header("X-Aerostack-Bridge-Id", &self.bridge_id());
                head.finish(None)
            }
            Purpose::Status(_) => {
                head.header("Accept", "application/json");
                head.finish(None)
            }
            Purpose::Delete(session) => {
                head.header("Mcp-Session-Id", &session.id);
                if let Some(version) = &session.version {
                    head.header("MCP-Protocol-Version", version);
                }
                head.finish(None)
            }
        }
    }

    /// The session's headers (H11, H13); returns its generation.
    fn write_session(&self, head: &mut RequestHead) -> u32 {
        if let Some(id) = &self.session.id {
            head.header("Mcp-Session-Id", id);
        }
        if let Some(version) = &self.session.version {
            head.header("MCP-Protocol-Version", version);
        }
        self.session.generation
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
        let Some(pool::Conn {
            state: State::Busy { task, .. },
            ..
        }) = self.pool.get_mut(conn)
        else {
            return;
        };
        let task = *task;
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
                // Nobody asked for these bytes: the connection is out of step (P19).
                State::Idle { .. } | State::Dialing | State::DialingFor { .. } => {
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

    /// stdout is full: this connection is not read until it has drained (I6).
    fn hold_back(&mut self, conn: ConnId) {
        if self.stdout_bytes < self.config.limits.stdout_high_bytes {
            return;
        }
        if let Some(entry) = self.pool.get_mut(conn)
            && !std::mem::replace(&mut entry.paused, true)
        {
            self.out.push_back(Output::Pause(conn));
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
            State::Dialing => match self.pool.take_waiting() {
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
    /// response bytes came AND (the method is safe OR nothing was handed to the socket)" (P18).
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
            Purpose::Notice {
                kind,
                era,
                message,
                retries,
            } => {
                self.notice_failed(kind, era, message, retries, failure);
            }
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
        let fresh = !self.is_replayable(&task);
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

fn write_last_event_id(head: &mut RequestHead, id: Option<&str>) {
    if let Some(id) = id.filter(|id| is_header_value(id.as_bytes())) {
        head.header("Last-Event-ID", id);
    }
}
