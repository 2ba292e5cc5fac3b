//! One HTTP exchange with the workspace, from the decision to have it to its end.

use super::ids::{CallId, Era, TaskId, WatchId};
use super::session::Left;
use super::timer::TimerId;
use crate::proto::endpoint::Endpoint;
use crate::proto::http::response::ResponseHead;
use crate::proto::sse::EventStream;
use crate::proto::transport::ConnId;
use std::collections::BTreeMap;

/// How an exchange gets its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The host's requests: they queue when the ceiling is reached.
    Call,
    /// Answers, notifications, cancels, pings, our own requests: never behind calls.
    Urgent,
    /// Long-lived: event streams, subscriptions, WebSockets. Not counted.
    Stream,
}

/// What a POST that wants no answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoticeKind {
    /// `notifications/initialized`: the session is ready once it is accepted.
    Initialized,
    /// Any other notification, or the host's answer to a request of the workspace.
    Other,
}

/// A POST that wants no answer.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) kind: NoticeKind,
    pub(super) era: Era,
    pub(super) message: Vec<u8>,
    /// Repeats so far.
    pub(super) retries: u8,
}

/// What an exchange is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// POST of a request.
    Request(CallId),
    /// POST of a notification or of the host's answer; accepted with 202.
    Notice(Notice),
    /// GET: the session's event stream.
    EventStream,
    /// GET: the rest of a request's stream.
    Resume(CallId),
    /// GET: the WebSocket of a watch.
    Upgrade(WatchId),
    /// GET: the state of an approval at the URL that the workspace named.
    Status(WatchId),
    /// DELETE of that session.
    Delete(Left),
}

/// Where the body of the response goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// No head yet.
    Nothing,
    /// Kept whole, up to a limit; what lies beyond is dropped where the flag allows that.
    Buffer {
        bytes: Vec<u8>,
        max_bytes: usize,
        cut: bool,
    },
    /// Server-sent events.
    Events(Box<EventStream>),
}

/// An exchange.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) purpose: Purpose,
    pub(super) lane: Lane,
    pub(super) conn: Option<ConnId>,
    /// The connection had served another exchange before.
    pub(super) reused: bool,
    /// All bytes of the request were handed to the socket.
    pub(super) sent: bool,
    /// Replayed on a fresh connection after a stale one: once.
    pub(super) replayed: bool,
    /// The session (by generation) whose headers it carried; 0 for none.
    pub(super) session: u32,
    /// The token that it carried, by generation.
    pub(super) token: u32,
    /// Where a redirect led.
    pub(super) target: Option<Endpoint>,
    pub(super) redirects: u8,
    pub(super) head: Option<Box<ResponseHead>>,
    pub(super) sink: Sink,
    /// Messages were delivered from the response.
    pub(super) delivered: bool,
    pub(super) timer: Option<TimerId>,
    /// Bytes of its response that are not whole messages yet; `Tasks` keeps count.
    pub(super) pending: usize,
    /// An answer with another id came.
    pub(super) wrong_id: bool,
    /// `Sec-WebSocket-Key` of an upgrade.
    pub(super) upgrade_key: String,
    /// A legacy cancel that follows once the request has left.
    pub(super) cancel: Option<Vec<u8>>,
}

impl Task {
    pub(super) fn new(purpose: Purpose, lane: Lane) -> Self {
        Self {
            purpose,
            lane,
            conn: None,
            reused: false,
            sent: false,
            replayed: false,
            session: 0,
            token: 0,
            target: None,
            redirects: 0,
            head: None,
            sink: Sink::Nothing,
            delivered: false,
            timer: None,
            pending: 0,
            wrong_id: false,
            upgrade_key: String::new(),
            cancel: None,
        }
    }

    /// The request that this exchange answers.
    pub(super) fn call(&self) -> Option<CallId> {
        match self.purpose {
            Purpose::Request(call) | Purpose::Resume(call) => Some(call),
            Purpose::Notice(_)
            | Purpose::EventStream
            | Purpose::Upgrade(_)
            | Purpose::Status(_)
            | Purpose::Delete(_) => None,
        }
    }
}

/// All exchanges, and how much of their responses is held in memory.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    next: u64,
    tasks: BTreeMap<TaskId, Task>,
    /// Bytes of responses that are not whole messages yet.
    pending: usize,
    /// Some of them have gone since the last look.
    freed: bool,
}

impl Tasks {
    pub(super) fn insert(&mut self, task: Task) -> TaskId {
        self.next += 1;
        self.restore(TaskId(self.next), task);
        TaskId(self.next)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        self.pending -= task.pending;
        self.freed |= task.pending > 0;
        Some(task)
    }

    /// Puts back what was taken out for a moment.
    pub(super) fn restore(&mut self, id: TaskId, task: Task) {
        self.pending += task.pending;
        self.tasks.insert(id, task);
    }

    /// More of a response lies in memory.
    pub(super) fn holds(&mut self, id: TaskId, bytes: usize) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.pending += bytes;
            self.pending += bytes;
        }
    }

    /// What was held of a response has become a message.
    pub(super) fn hands_on(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            self.pending -= std::mem::take(&mut task.pending);
            self.freed = true;
        }
    }

    /// Bytes of responses that are not whole messages yet.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// True once after some of them have gone.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// The oldest response that is incomplete: it goes on when memory is short.
    pub(super) fn oldest_pending(&self) -> Option<TaskId> {
        self.tasks
            .iter()
            .find(|(_, task)| task.pending > 0)
            .map(|(id, _)| *id)
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }

    /// All exchanges, oldest first.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        self.tasks.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
