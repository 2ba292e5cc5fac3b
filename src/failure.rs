//! What can go wrong between the gateway and the workspace.
//!
//! Owns the kinds of failure and what each means for the request: whether it may have run, whether a
//! repeat may help. The words for a person are in `words`, what a refused request is told by head and
//! body in `refused`.

mod refused;
mod words;

pub(crate) use refused::quote_body;

use crate::proto::http::HttpError;
use crate::proto::transport::{Close, CloseCause};
use crate::proto::ws::WsError;
use serde::Serialize;
use std::fmt;

/// Whether the workspace may have executed a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Executed {
    /// It was refused, or never left.
    No,
    /// It left, and no answer says what became of it.
    Unknown,
}

/// Why a request got no answer of the workspace's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect(Close),
    /// The connection ended before the answer did.
    Lost(Close),
    /// The bytes were no HTTP/1.1 that we can read.
    Protocol(HttpError),
    /// An HTTP status that says no.
    Status(Refusal),
    /// A front end wants a browser and lets nothing else through.
    BotProtection {
        /// The HTTP status.
        status: u16,
        /// Whose it is.
        by: &'static str,
    },
    /// The server speaks the HTTP+SSE transport of MCP 2024-11-05 alone.
    OldTransport {
        /// The HTTP status.
        status: u16,
    },
    /// A success status, but what came is no JSON-RPC.
    NotMcp {
        /// The HTTP status.
        status: u16,
        /// Content type or first words of what came.
        came: String,
    },
    /// A success status without any answer in it.
    NoAnswer {
        /// The HTTP status.
        status: u16,
    },
    /// An answer, but to another request; with the server's words, if it was an error.
    WrongId(String),
    /// A message or head longer than the limit, in bytes.
    TooLarge(usize),
    /// A reply of at least so many bytes, for which there is no memory.
    NoMemory(usize),
    /// No answer within the time set, in seconds.
    TimedOut(u64),
    /// The gateway ends (stdin closed, or a signal).
    Ending,
    /// The same, before the request had left.
    Unsent,
    /// There is no session: it was lost, or there never was one, and none could be opened; the words are of
    /// that failure.
    SessionLost(String),
    /// More streams are open than the limit allows.
    TooManyStreams(usize),
    /// The event stream of a subscription broke.
    SubscriptionEnded,
    /// The WebSocket's opening handshake is wrong.
    Handshake(WsError),
}

/// An HTTP status that is no success, and what came with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Seconds after which a repeat makes sense.
    pub retry_after_s: Option<u64>,
    /// Location of a redirect that is not followed.
    pub location: Option<String>,
    /// The peer's own words, cut and printable; empty if there are none.
    pub words: String,
    /// The body was an HTML page.
    pub html: bool,
}

impl Failure {
    /// Whether the request may have run.
    pub fn executed(&self) -> Executed {
        match self {
            Failure::Connect(_)
            | Failure::BotProtection { .. }
            | Failure::OldTransport { .. }
            | Failure::SessionLost(_)
            | Failure::TooManyStreams(_)
            | Failure::Unsent => Executed::No,
            Failure::Lost(close) if !close.sent => Executed::No,
            Failure::Status(refusal) => match refusal.status {
                408 => Executed::Unknown,
                300..=499 => Executed::No,
                _ => Executed::Unknown,
            },
            Failure::Lost(_)
            | Failure::Protocol(_)
            | Failure::NotMcp { .. }
            | Failure::NoAnswer { .. }
            | Failure::WrongId(_)
            | Failure::NoMemory(_)
            | Failure::TooLarge(_)
            | Failure::TimedOut(_)
            | Failure::Ending
            | Failure::SubscriptionEnded
            | Failure::Handshake(_) => Executed::Unknown,
        }
    }

    /// True where the same request may well succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Failure::Connect(close) => !matches!(
                close.cause,
                CloseCause::Tls(_) | CloseCause::NotLoopback | CloseCause::ProxyStatus(_)
            ),
            Failure::Lost(_) => true,
            Failure::Status(refusal) => refusal.status >= 500 && refusal.status != 501,
            Failure::Protocol(_)
            | Failure::BotProtection { .. }
            | Failure::OldTransport { .. }
            | Failure::NotMcp { .. }
            | Failure::NoAnswer { .. }
            | Failure::WrongId(_)
            | Failure::NoMemory(_)
            | Failure::TooLarge(_)
            | Failure::TimedOut(_)
            | Failure::Ending
            | Failure::Unsent
            | Failure::SessionLost(_)
            | Failure::TooManyStreams(_)
            | Failure::SubscriptionEnded
            | Failure::Handshake(_) => false,
        }
    }

    /// The HTTP status that came, where one is the reason.
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Failure::Status(refusal) => Some(refusal.status),
            Failure::BotProtection { status, .. }
            | Failure::OldTransport { status }
            | Failure::NotMcp { status, .. }
            | Failure::NoAnswer { status } => Some(*status),
            Failure::Connect(_)
            | Failure::Lost(_)
            | Failure::Protocol(_)
            | Failure::WrongId(_)
            | Failure::NoMemory(_)
            | Failure::TooLarge(_)
            | Failure::TimedOut(_)
            | Failure::Ending
            | Failure::Unsent
            | Failure::SessionLost(_)
            | Failure::TooManyStreams(_)
            | Failure::SubscriptionEnded
            | Failure::Handshake(_) => None,
        }
    }

    /// How long the server asks to be left alone, seconds, where it said so.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Failure::Status(refusal) => refusal.retry_after_s,
            _ => None,
        }
    }

    /// The `data` member of the error, raw JSON. `before`: what an earlier attempt may have done.
    pub fn data(&self, before: Executed) -> String {
        #[derive(Serialize)]
        struct Data {
            #[serde(skip_serializing_if = "Option::is_none")]
            http_status: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_after_s: Option<u64>,
            executed: Executed,
        }
        let data = Data {
            http_status: self.http_status(),
            retry_after_s: self.retry_after_s(),
            executed: self.executed().max(before),
        };
        serde_json::to_string(&data).expect("numbers and words are JSON")
    }
}

/// For programmers: which failure it is. What a person reads is [`Failure::words`].
impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(close) => write!(out, "no connection ({})", close.phase.name()),
            Failure::Lost(close) => write!(out, "connection lost ({})", close.phase.name()),
            Failure::Protocol(_) => out.write_str("malformed response"),
            Failure::Status(refusal) => write!(out, "http status {}", refusal.status),
            Failure::BotProtection { by, .. } => write!(out, "bot protection of {by}"),
            Failure::OldTransport { .. } => out.write_str("http+sse transport"),
            Failure::NotMcp { .. } => out.write_str("no json-rpc in the response"),
            Failure::NoAnswer { .. } => out.write_str("no answer in the response"),
            Failure::NoMemory(bytes) => write!(out, "no memory for {bytes} bytes"),
            Failure::WrongId(_) => out.write_str("answer with another id"),
            Failure::TooLarge(limit) => write!(out, "more than {limit} bytes"),
            Failure::TimedOut(seconds) => write!(out, "timed out after {seconds} s"),
            Failure::Ending | Failure::Unsent => out.write_str("the gateway ends"),
            Failure::SessionLost(_) => out.write_str("session lost"),
            Failure::TooManyStreams(limit) => write!(out, "more than {limit} streams"),
            Failure::SubscriptionEnded => out.write_str("subscription ended"),
            Failure::Handshake(_) => out.write_str("websocket handshake"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Protocol(error) => Some(error),
            Failure::Handshake(error) => Some(error),
            Failure::Connect(_)
            | Failure::Lost(_)
            | Failure::Status(_)
            | Failure::BotProtection { .. }
            | Failure::OldTransport { .. }
            | Failure::NotMcp { .. }
            | Failure::NoAnswer { .. }
            | Failure::WrongId(_)
            | Failure::NoMemory(_)
            | Failure::TooLarge(_)
            | Failure::TimedOut(_)
            | Failure::Ending
            | Failure::Unsent
            | Failure::SessionLost(_)
            | Failure::TooManyStreams(_)
            | Failure::SubscriptionEnded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_with_the_contracts_members() {
        let failure = Failure::Status(Refusal {
            status: 429,
            retry_after_s: Some(40),
            ..Refusal::default()
        });
        assert_eq!(
            failure.data(Executed::No),
            r#"{"http_status":429,"retry_after_s":40,"executed":"no"}"#
        );
        assert_eq!(
            Failure::WrongId(String::new()).data(Executed::No),
            r#"{"executed":"unknown"}"#
        );
    }

    #[test]
    fn it_is_an_error_with_a_source() {
        use std::error::Error as _;
        let failure = Failure::Protocol(HttpError::Truncated);
        assert_eq!(failure.to_string(), "malformed response");
        let source = failure.source().map(ToString::to_string);
        assert_eq!(
            source.as_deref(),
            Some("the server closed the connection inside a response")
        );
        let refusal = Refusal {
            status: 503,
            ..Refusal::default()
        };
        assert_eq!(Failure::Status(refusal).to_string(), "http status 503");
    }
}
