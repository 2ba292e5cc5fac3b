//! The flows of a watch: its socket opens, speaks, falls silent, comes back; its poll takes its turn.

use super::background::Job;
use super::call::{Asker, Call};
use super::ids::{Era, TaskId, WatchId};
use super::task::{Lane, Purpose, Task};
use super::watch::{Socket, Subject};
use super::{Bridge, Output, Timer};
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::aerostack::approval_params;
use crate::proto::endpoint::Endpoint;
use crate::proto::http::response::ResponseHead;
use crate::proto::jsonrpc::{self, Parsed};
use crate::proto::transport::ConnId;
use crate::proto::ws::{self, Frame, WebSocket};

impl Bridge {
    /// Begins to watch: the socket at once, the first poll after its interval.
    pub(super) fn watch(
        &mut self,
        subject: Subject,
        url: Endpoint,
        status_url: Option<Endpoint>,
    ) -> WatchId {
        let id = self.watches.insert(subject, url, status_url);
        self.rearm_poll(id);
        self.open_socket(id);
        id
    }

    /// Ends a watch and gives its socket to one that waits for it.
    pub(super) fn unwatch(&mut self, id: WatchId) {
        let Some(watch) = self.watches.remove(id) else {
            return;
        };
        self.disarm(watch.reconnect);
        self.disarm(watch.poll);
        self.close_socket(watch.socket);
        if watch.subject == Subject::Approval
            && let Some(next) = self.watches.next_without_socket()
        {
            self.open_socket(next);
        }
    }

    fn close_socket(&mut self, socket: Socket) {
        match socket {
            Socket::Closed => {}
            Socket::Opening(task) => self.abort(task),
            Socket::Open {
                conn,
                mut socket,
                beat,
                ..
            } => {
                self.disarm(Some(beat));
                socket.close();
                if let Some(bytes) = socket.take_output() {
                    self.out.push_back(Output::Transmit(conn, bytes));
                }
                // The shell flushes what was queued; the peer's own close is not waited for.
                self.close(conn);
            }
        }
    }

    /// Opens the socket if one may be had.
    pub(super) fn open_socket(&mut self, id: WatchId) {
        let sockets = self.watches.approval_sockets();
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        watch.reconnect = None;
        let full = watch.subject == Subject::Approval
            && sockets >= self.config.limits.approval_sockets_max;
        if watch.has_socket() || full || self.ending.is_begun() && watch.subject == Subject::Chat {
            return;
        }
        let mut task = Task::new(Purpose::Upgrade(id), Lane::Stream);
        task.target = Some(watch.url.clone());
        let key_seed = (u128::from(self.random.next()) << 64) | u128::from(self.random.next());
        task.upgrade_key = ws::key(key_seed.to_be_bytes());
        let task = self.start(task);
        let timer = self.after(self.config.limits.upgrade_timeout, Timer::Task(task));
        if let Some(entry) = self.tasks.get_mut(task) {
            entry.timer = Some(timer);
        }
        if let Some(watch) = self.watches.get_mut(id) {
            watch.socket = Socket::Opening(task);
        }
    }

    /// "101 Switching Protocols": the connection belongs to the watch from here on.
    pub(super) fn upgraded(&mut self, conn: ConnId, task: TaskId, head: &ResponseHead) {
        let Some(task) = self.tasks.remove(task) else {
            return self.close(conn);
        };
        self.disarm(task.timer);
        let Purpose::Upgrade(id) = task.purpose else {
            return self.close(conn);
        };
        if let Err(error) = ws::check_upgrade(head, &task.upgrade_key) {
            self.log(Level::Warn, || {
                format!("the WebSocket's handshake is wrong: {error}")
            });
            self.close(conn);
            return self.socket_refused(id, &Failure::Handshake(error));
        }
        let limits = &self.config.limits;
        let beat_every = limits.socket_ping;
        let Some(watch) = self.watches.get_mut(id) else {
            return self.close(conn);
        };
        let max_bytes = match watch.subject {
            Subject::Approval => limits.approval_message_max_bytes,
            Subject::Chat => limits.chat_message_max_bytes,
        };
        let beat = self
            .timers
            .insert(self.now.mono + beat_every, Timer::Beat(id));
        let socket = Box::new(WebSocket::new(max_bytes));
        watch.socket = Socket::Open {
            conn,
            socket,
            heard: self.now.mono,
            beat,
        };
        let chat = watch.subject == Subject::Chat;
        self.pool.upgrade(conn, id);
        self.log(Level::Debug, || "a WebSocket is open".to_owned());
        // An approval's state is pushed at once; what was said before this moment is not.
        if chat {
            self.poll_now(id);
        }
    }

    /// Bytes of an open socket.
    pub(super) fn socket_bytes(&mut self, id: WatchId, bytes: &[u8]) {
        let mut bytes = Some(bytes);
        loop {
            let Some(watch) = self.watches.get_mut(id) else {
                return;
            };
            let Socket::Open {
                conn,
                socket,
                heard,
                ..
            } = &mut watch.socket
            else {
                return;
            };
            let conn = *conn;
            *heard = self.now.mono;
            if let Some(bytes) = bytes.take() {
                socket.feed(bytes);
            }
            let next = socket.next();
            if let Some(answer) = socket.take_output() {
                self.out.push_back(Output::Transmit(conn, answer));
            }
            match next {
                Ok(Some(Frame::Text(text))) => {
                    watch.failures = 0;
                    self.pushed(id, &text);
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => return,
                Ok(Some(Frame::Closed(_))) => return self.drop_socket(id),
                Err(error) => {
                    self.log(Level::Warn, || format!("a WebSocket failed: {error}"));
                    return self.drop_socket(id);
                }
            }
        }
    }

    /// What was put out last has left: a pong may wait behind it.
    pub(super) fn socket_sent(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(id)
            && let Socket::Open { conn, socket, .. } = &mut watch.socket
        {
            socket.sent();
            if let Some(bytes) = socket.take_output() {
                self.out.push_back(Output::Transmit(*conn, bytes));
            }
        }
    }

    fn pushed(&mut self, id: WatchId, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            return;
        };
        match self.watches.get(id).map(|watch| watch.subject) {
            Some(Subject::Approval) => self.approval_heard(id, text),
            Some(Subject::Chat) => self.chat_pushed(text),
            None => {}
        }
    }

    /// Closes a socket that is of no use and goes on without.
    fn drop_socket(&mut self, id: WatchId) {
        if let Some(Socket::Open { conn, .. }) = self.watches.get(id).map(|watch| &watch.socket) {
            let conn = *conn;
            self.close(conn);
        }
        self.socket_lost(id);
    }

    /// The upgrade failed: why is kept for a person who asks.
    pub(super) fn socket_refused(&mut self, id: WatchId, failure: &Failure) {
        if let Some(watch) = self.watches.get_mut(id) {
            watch.trouble = Some(failure.clone());
        }
        self.socket_lost(id);
    }

    /// The socket could not be opened or dropped: "poll at once, then every 30 s, and reconnect".
    pub(super) fn socket_lost(&mut self, id: WatchId) {
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        if let Socket::Open { beat, .. } = std::mem::replace(&mut watch.socket, Socket::Closed) {
            self.timers.cancel(beat);
        }
        watch.failures = watch.failures.saturating_add(1);
        let pause = watch.backoff();
        let pause = self.random.around(pause, 4);
        let timer = self.after(pause, Timer::Reconnect(id));
        if let Some(watch) = self.watches.get_mut(id) {
            watch.reconnect = Some(timer);
        }
        self.poll_now(id);
        // Its place may be taken meanwhile.
        if let Some(next) = self.watches.next_without_socket() {
            self.open_socket(next);
        }
    }

    /// "Ping every 20 s, dead after 50 s."
    pub(super) fn beat(&mut self, id: WatchId) {
        let limits = &self.config.limits;
        let (every, dead) = (limits.socket_ping, limits.socket_dead);
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        let Socket::Open {
            conn,
            socket,
            heard,
            beat,
        } = &mut watch.socket
        else {
            return;
        };
        if self.now.mono.saturating_duration_since(*heard) >= dead {
            self.log(Level::Debug, || "a WebSocket fell silent".to_owned());
            return self.drop_socket(id);
        }
        socket.ping();
        if let Some(bytes) = socket.take_output() {
            self.out.push_back(Output::Transmit(*conn, bytes));
        }
        let at =
            self.now.mono + every.min((*heard + dead).saturating_duration_since(self.now.mono));
        *beat = self.timers.insert(at, Timer::Beat(id));
    }

    /// The machine slept: sockets are dead though nobody told us; ask at once.
    pub(super) fn wake_watches(&mut self) {
        for id in self.watches.ids() {
            let Some(watch) = self.watches.get_mut(id) else {
                continue;
            };
            watch.failures = 0;
            let (reconnect, socket) = (
                watch.reconnect.take(),
                std::mem::replace(&mut watch.socket, Socket::Closed),
            );
            self.disarm(reconnect);
            self.close_socket(socket);
            self.poll_now(id);
            self.open_socket(id);
        }
    }

    // The poll beside it.

    fn rearm_poll(&mut self, id: WatchId) {
        let timer = self.after(self.config.limits.safety_poll, Timer::Poll(id));
        match self.watches.get_mut(id) {
            Some(watch) => {
                let old = watch.poll.replace(timer);
                self.disarm(old);
            }
            None => self.disarm(Some(timer)),
        }
    }

    /// Queues a poll ahead of its time.
    pub(super) fn poll_now(&mut self, id: WatchId) {
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        let timer = watch.poll.take();
        let urgent = watch.subject == Subject::Approval && !watch.is_open();
        self.disarm(timer);
        self.background.push(Job::Poll(id), urgent);
    }

    /// Background work whose turn it is.
    pub(super) fn run_background(&mut self) {
        while let Some(job) = self.background.pop(self.now.mono) {
            match job {
                Job::Poll(id) => self.poll(id),
                Job::Heartbeat => self.heartbeat(),
            }
        }
        if self.background_timer.is_none()
            && let Some(at) = self.background.next_turn()
        {
            self.background_timer = Some(self.timers.insert(at, Timer::Background));
        }
    }

    fn poll(&mut self, id: WatchId) {
        let Some(watch) = self.watches.get(id) else {
            return;
        };
        match (watch.subject, watch.status_url.clone()) {
            (Subject::Chat, _) => self.poll_chat(),
            (Subject::Approval, Some(url)) => {
                let mut task = Task::new(Purpose::Status(id), Lane::Urgent);
                task.target = Some(url);
                self.start(task);
            }
            (Subject::Approval, None) => {
                let Some(approval) = self.approvals.get(id) else {
                    return;
                };
                let (era, meta) = (approval.era, approval.meta.clone());
                let params = approval_params(&approval.id, None, meta.as_deref());
                self.ask(Asker::Poll(id), "aerostack/approvals/get", era, &params);
            }
        }
    }

    /// A request of the gateway's own.
    pub(super) fn ask(&mut self, asker: Asker, method: &str, era: Era, params: &str) {
        let id = self.own_id();
        let message = jsonrpc::request(&id, method, params);
        if let Some(id) = self
            .calls
            .insert(Call::new(asker, id, method, era, message))
        {
            self.launch(id);
        }
    }

    /// The workspace answered `aerostack/approvals/get`.
    pub(super) fn poll_answered(&mut self, id: WatchId, answer: &[u8]) {
        let object = match jsonrpc::parse(answer) {
            Ok(Parsed::One(message)) => message.result,
            _ => None,
        };
        self.polled(id, object.map(str::as_bytes));
    }

    /// A poll came back: with an approval object, as the status URL answers, or without.
    pub(super) fn polled(&mut self, id: WatchId, object: Option<&[u8]>) {
        if self
            .watches
            .get(id)
            .is_some_and(|watch| watch.poll.is_none())
        {
            self.rearm_poll(id);
        }
        if let Some(Ok(object)) = object.map(std::str::from_utf8) {
            self.approval_heard(id, object);
        }
    }

    /// Own requests that nobody's answer depends on failed: the next turn tries again.
    pub(super) fn own_request_failed(&mut self, asker: &Asker, failure: &Failure) {
        match asker {
            Asker::Poll(watch) => self.polled(*watch, None),
            Asker::ChatPoll => self.chat_poll_over(),
            Asker::Heartbeat => self.heartbeat_failed(),
            _ => {
                let words = failure.words(&self.config.endpoint.origin());
                self.log(Level::Debug, || {
                    format!("a request of the gateway failed: {words}")
                });
            }
        }
    }
}
