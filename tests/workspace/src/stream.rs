//! Event streams (SSE): a log of events that readers follow, so that a cut stream can be resumed.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::sync::Locked;

/// Events kept for a reader that comes back.
const EVENTS_MAX: usize = 4096;
/// A comment is sent on an idle stream this often, so that proxies and clients see life.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// One event stream: the standing one of a session, or that of one request.
#[derive(Debug)]
pub struct EventLog {
    name: String,
    with_ids: bool,
    inner: Mutex<Inner>,
    changed: Notify,
    reader: AtomicU64,
    readers: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<String>,
    dropped: usize,
    delivered: usize,
    done: bool,
}

impl EventLog {
    /// A stream whose events carry ids (`<name>-<n>`) when `with_ids`.
    pub fn new(name: impl Into<String>, with_ids: bool) -> Arc<Self> {
        Arc::new(EventLog {
            name: name.into(),
            with_ids,
            inner: Mutex::default(),
            changed: Notify::new(),
            reader: AtomicU64::new(0),
            readers: AtomicU64::new(0),
        })
    }

    /// Adds a JSON-RPC message as an event.
    pub fn push(&self, message: &str) {
        self.add(|id| {
            let mut event = id.map_or_else(String::new, |id| format!("id: {id}\n"));
            event.push_str("event: message\n");
            for line in message.split(['\n', '\r']) {
                event.push_str("data: ");
                event.push_str(line);
                event.push('\n');
            }
            event.push('\n');
            event
        });
    }

    /// "The server SHOULD immediately send an SSE event consisting of an event ID and an empty data field
    /// in order to prime the client to reconnect." (2025-11-25, transports)
    pub fn prime(&self, retry_ms: u64) {
        self.add(|id| {
            format!(
                "id: {}\nretry: {retry_ms}\ndata: \n\n",
                id.unwrap_or_default()
            )
        });
    }

    /// Adds raw bytes of the event stream format (faults, comments).
    pub fn push_raw(&self, text: &str) {
        self.add(|_| text.to_owned());
    }

    fn add(&self, event: impl FnOnce(Option<String>) -> String) {
        let mut inner = self.inner.locked();
        let number = inner.dropped + inner.events.len();
        let id = self.with_ids.then(|| format!("{}-{number}", self.name));
        inner.events.push(event(id));
        if inner.events.len() > EVENTS_MAX {
            inner.events.remove(0);
            inner.dropped += 1;
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// True while somebody reads.
    pub fn is_followed(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }

    /// True before the first event.
    pub fn is_fresh(&self) -> bool {
        let inner = self.inner.locked();
        inner.dropped + inner.events.len() == 0
    }

    /// Nothing more will come: readers end after the last event.
    pub fn finish(&self) {
        self.inner.locked().done = true;
        self.changed.notify_waiters();
    }

    /// Ends the present reader; the log stays and can be resumed.
    pub fn cut(&self) {
        self.reader.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// An SSE response that follows the log: after event `after`, or from the first undelivered event.
    /// The guard is dropped when the response is over, or its reader gone.
    pub fn follow(self: &Arc<Self>, after: Option<usize>, guard: Option<DropGuard>) -> Response {
        let mine = self.reader.fetch_add(1, Ordering::SeqCst) + 1;
        self.changed.notify_waiters();
        let start = after.map_or_else(|| self.inner.locked().delivered, |n| n + 1);
        let log = self.clone();
        let state = (Reader::new(log), start, guard);
        let events = futures_util::stream::unfold(state, move |(log, at, guard)| async move {
            let (event, next) = log.0.next(mine, at).await?;
            Some((Ok::<_, Infallible>(Bytes::from(event)), (log, next, guard)))
        });
        let mut response = Response::new(Body::from_stream(events));
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            "text/event-stream".parse().expect("a constant"),
        );
        headers.insert(
            CACHE_CONTROL,
            "no-cache, no-transform".parse().expect("a constant"),
        );
        response
    }

    async fn next(&self, mine: u64, at: usize) -> Option<(String, usize)> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut inner = self.inner.locked();
                if self.reader.load(Ordering::SeqCst) != mine {
                    return None;
                }
                let index = at.max(inner.dropped) - inner.dropped;
                if let Some(event) = inner.events.get(index).cloned() {
                    let next = inner.dropped + index + 1;
                    inner.delivered = inner.delivered.max(next);
                    return Some((event, next));
                }
                if inner.done {
                    return None;
                }
            }
            if tokio::time::timeout(COMMENT_EVERY, changed).await.is_err() {
                return Some((": keep-alive\n\n".to_owned(), at));
            }
        }
    }
}

/// Counts a reader while it lives.
struct Reader(Arc<EventLog>);

impl Reader {
    fn new(log: Arc<EventLog>) -> Self {
        log.readers.fetch_add(1, Ordering::SeqCst);
        Reader(log)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Splits `Last-Event-ID` into the stream's name and the event's number.
pub fn parse_event_id(id: &str) -> Option<(&str, usize)> {
    let (name, number) = id.rsplit_once('-')?;
    Some((name, number.parse().ok()?))
}
