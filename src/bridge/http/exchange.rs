//! One exchange: its request, where it stands, and the response as far as it has come.

use super::{Deadline, Position, Request, Why};
use crate::bridge::request::OVERHEAD_BYTES;
use crate::config::Limits;
use crate::failure::Failure;
use crate::proto::grow;
use crate::proto::http::response::{Content, ResponseHead};
use crate::proto::sse::{EventStream, EventTooLarge, ServerEvent};
use crate::proto::transport::ConnId;

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) stage: Stage,
    pub(super) deadline: Deadline,
    /// Redirects followed.
    pub(super) redirects: u8,
    /// Sent again after a stale connection: once.
    pub(super) replayed: bool,
    /// Nobody wants it any more: neither repeated nor redirected.
    pub(super) given_up: bool,
    /// Which token it carried.
    pub(super) token: u32,
}

/// Where an exchange stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// For a connection.
    Waiting,
    /// A connection to another origin is being made for it.
    Dialing { conn: ConnId },
    /// On a connection.
    Sent {
        conn: ConnId,
        /// The connection had served another exchange before.
        used: bool,
        /// All bytes were handed to the socket.
        sent: bool,
        answer: Answer,
    },
    /// The connection speaks another protocol.
    Upgraded { conn: ConnId },
}

/// The response as far as it has come.
#[derive(Debug)]
pub(super) enum Answer {
    /// No head yet.
    Nothing,
    /// Kept whole, up to a limit; what lies beyond is dropped where it is only a refusal's.
    Body {
        head: Box<ResponseHead>,
        bytes: Vec<u8>,
        max_bytes: usize,
        is_refusal: bool,
    },
    /// Server-sent events.
    Events {
        head: Box<ResponseHead>,
        stream: Box<EventStream>,
        max_bytes: usize,
    },
}

impl Exchange {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            stage: Stage::Waiting,
            deadline: Deadline::None(Why::HostDecides),
            redirects: 0,
            replayed: false,
            given_up: false,
            token: 0,
        }
    }

    /// The connection that is made for it, or carries it.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match &self.stage {
            Stage::Waiting => None,
            Stage::Dialing { conn } | Stage::Sent { conn, .. } | Stage::Upgraded { conn } => {
                Some(*conn)
            }
        }
    }

    /// What it costs while it waits, bytes. The body is shared with its owner, who counts it.
    pub(super) fn cost(&self) -> usize {
        self.request.headers.len() + OVERHEAD_BYTES
    }

    pub(super) fn head(&self) -> Option<&ResponseHead> {
        match &self.stage {
            Stage::Sent { answer, .. } => answer.head(),
            Stage::Waiting | Stage::Dialing { .. } | Stage::Upgraded { .. } => None,
        }
    }
}

impl Answer {
    /// Behind a head.
    pub(super) fn begin(head: Box<ResponseHead>, limits: &Limits) -> Result<Self, Failure> {
        let success = (200..300).contains(&head.status);
        if success && head.content == Content::EventStream {
            let max_bytes = limits.message_max_bytes;
            let stream = Box::new(EventStream::new(max_bytes));
            return Ok(Answer::Events {
                head,
                stream,
                max_bytes,
            });
        }
        let max_bytes = match success {
            true => limits.message_max_bytes,
            false => limits.error_body_max_bytes,
        };
        let expected = usize::try_from(head.content_length.unwrap_or(0)).unwrap_or(usize::MAX);
        if success && expected > max_bytes {
            return Err(Failure::TooLarge(max_bytes));
        }
        let mut bytes = Vec::new();
        // Exact, so that a large response is held once; one byte more for the newline that makes it
        // a line.
        let room = expected.min(max_bytes) + 1;
        if bytes.try_reserve_exact(room).is_err() {
            return Err(Failure::NoMemory(room));
        }
        let is_refusal = !success;
        Ok(Answer::Body {
            head,
            bytes,
            max_bytes,
            is_refusal,
        })
    }

    /// More of the body. Events are handed on as they end.
    pub(super) fn push(
        &mut self,
        mut data: &[u8],
        mut event: impl FnMut(ServerEvent),
    ) -> Result<(), Failure> {
        match self {
            Answer::Nothing => Ok(()),
            Answer::Body {
                bytes,
                max_bytes,
                is_refusal,
                ..
            } => {
                let room = *max_bytes - bytes.len();
                if data.len() > room && !*is_refusal {
                    return Err(Failure::TooLarge(*max_bytes));
                }
                let part = &data[..data.len().min(room)];
                grow::try_extend(bytes, part, *max_bytes)
                    .map_err(|_| Failure::NoMemory(bytes.len() + part.len()))
            }
            Answer::Events {
                stream, max_bytes, ..
            } => loop {
                match stream.feed(&mut data) {
                    Ok(Some(found)) => event(found),
                    Ok(None) => return Ok(()),
                    Err(EventTooLarge) => return Err(Failure::TooLarge(*max_bytes)),
                }
            },
        }
    }

    /// Bytes that are no whole message yet.
    pub(super) fn pending_bytes(&self) -> usize {
        match self {
            Answer::Nothing => 0,
            Answer::Body { bytes, .. } => bytes.len(),
            Answer::Events { stream, .. } => stream.buffered(),
        }
    }

    pub(super) fn head(&self) -> Option<&ResponseHead> {
        match self {
            Answer::Nothing => None,
            Answer::Body { head, .. } | Answer::Events { head, .. } => Some(head),
        }
    }

    /// How far an event stream has come; `None` if the response is none.
    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Answer::Nothing | Answer::Body { .. } => None,
            Answer::Events { stream, .. } => Some(Position {
                last_event_id: stream.last_event_id().map(Into::into),
                retry_ms: stream.retry_ms(),
            }),
        }
    }
}
