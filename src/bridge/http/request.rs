//! A request on its way out: what it says, how it gets its connection, whether it may reach the
//! server twice, and how long it may take.

use super::Owner;
use crate::proto::endpoint::Endpoint;
use crate::proto::http::request::{HeaderLines, Method};
use std::rc::Rc;
use std::time::Duration;

/// How an exchange gets its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Waits when the ceiling is reached.
    Call,
    /// Never behind calls.
    Control,
    /// Long-lived: event streams, subscriptions, WebSockets. Not counted.
    Stream,
}

/// Whether a request may reach the server twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does no harm: on a stale connection it is sent again.
    Harmless,
    /// It does no harm either, but it should not be needed: only on a connection that the server
    /// certainly still reads.
    Unwanted,
    /// Never: only on a connection that the server certainly still reads, and again only if nothing
    /// of it was handed to the socket.
    Never,
}

/// How long an exchange may take, redirects and replays included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// From now until its end (or its upgrade).
    Within(Duration),
    /// It has none, for this reason.
    None(Why),
}

/// Why an exchange has no deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A request of the host: the host owns its time, and cancels it.
    HostDecides,
    /// A stream that lasts as long as the session or the subscription.
    LongLived,
}

/// A request on its way out.
#[derive(Debug)]
pub(crate) struct Request {
    /// Who hears of it.
    pub(crate) owner: Owner,
    /// GET, POST or DELETE.
    pub(crate) method: Method,
    /// Where it goes, if not to the client's own URL.
    pub(crate) target: Option<Endpoint>,
    /// Header lines, each with its CRLF, beside those that every request carries.
    pub(crate) headers: Vec<u8>,
    /// The body of a POST.
    pub(crate) body: Option<Rc<str>>,
    /// How it gets its connection.
    pub(crate) priority: Priority,
    /// Whether it may reach the server twice.
    pub(crate) repeat: Repeat,
    /// It asks for another protocol.
    pub(crate) upgrade: bool,
    /// The head of a success is told at once: the body may never end.
    pub(crate) tell_head: bool,
}

impl Request {
    /// Without a body, to the client's own URL, for a whole response.
    pub(crate) fn new(
        owner: Owner,
        method: Method,
        headers: HeaderLines,
        (priority, repeat): (Priority, Repeat),
    ) -> Self {
        Self {
            owner,
            method,
            target: None,
            headers: headers.into_bytes(),
            body: None,
            priority,
            repeat,
            upgrade: false,
            tell_head: false,
        }
    }
}
