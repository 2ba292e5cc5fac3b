//! What the fuzz targets of `tests/fuzz` reach beside the rest of this list: readers of foreign bytes that
//! nobody else calls from outside. Each takes bytes and says what it read in a form that can be compared.

use crate::config::SettingsFile;
use crate::proto::aerostack::{
    ApprovalNeeded, ApprovalState, ChatMessage, GuardianDecision, HeartbeatAnswer, Offer,
};
use crate::proto::cookie::{HEADER_MAX_BYTES, Jar};
use crate::proto::http::request::is_header_value;
use crate::proto::http::response::{Content, ResponseHead};
use crate::proto::http::{rate_limit, refusal};
use crate::proto::lost_session::is_lost_session;
use crate::proto::timestamp;
use crate::proto::ws::{Frame, WebSocket, WsError, check_upgrade};

pub use crate::config::Source;
pub use crate::hosts::fuzz as hosts;
pub use crate::io::fuzz as io;
pub use crate::proto::endpoint::Endpoint;
pub use crate::proto::secrets::Secrets;

/// The forms of a date: of HTTP, of RFC 3339 (milliseconds), of cookies.
pub fn dates(text: &str) -> [Option<u64>; 3] {
    [
        timestamp::parse_http_date(text.as_bytes()),
        timestamp::parse_rfc3339(text),
        timestamp::parse_cookie_date(text.as_bytes()),
    ]
}

/// Everything that is judged about a refused request: how long to wait, what the token lacks, who
/// answered, whether the session is lost.
pub fn refusal(head: &ResponseHead, body: &[u8], path: &str, now_s: u64) -> String {
    let challenge = head.www_authenticate.as_deref();
    format!(
        "{:?} {:?} {:?} {} {} {}",
        rate_limit::wait_s(head, now_s),
        challenge.map(refusal::Challenge::parse),
        refusal::bot_protection(head, body),
        refusal::is_old_transport(head.status, path, body),
        is_lost_session(head.status, &head.content, body, false),
        is_lost_session(head.status, &head.content, body, true),
    )
}

/// Whether this text speaks of a lost session, as JSON, as an event stream, or as it is.
pub fn lost_session(status: u16, body: &[u8]) -> [bool; 3] {
    [Content::Json, Content::EventStream, Content::None]
        .map(|content| is_lost_session(status, &content, body, false))
}

/// A cookie jar after these Set-Cookie lines: the header for a path, whether it may be sent, and how
/// many values it would mask.
pub fn cookies(lines: &[&[u8]], path: &str, secure: bool, now_ms: u64) -> (Option<String>, usize) {
    let mut jar = Jar::default();
    for line in lines {
        jar.store(line, path, secure, now_ms);
    }
    let header = jar.header(path, secure, now_ms);
    if let Some(header) = &header {
        assert!(is_header_value(header.as_bytes()) && header.len() <= HEADER_MAX_BYTES);
    }
    let count = jar.secrets().count();
    jar.clear();
    assert_eq!(jar.header(path, secure, now_ms), None);
    (header, count)
}

/// A WebSocket that hears these pieces: its messages, how it closed or failed, the most that waited.
pub struct Heard {
    /// Messages, and the close.
    pub frames: Vec<String>,
    /// Why it failed.
    pub error: Option<WsError>,
    /// The most bytes that waited behind a piece.
    pub held_max: usize,
    /// The longest output.
    pub output_max: usize,
}

/// See [`Heard`].
pub fn websocket(max_message_bytes: usize, pieces: &[&[u8]]) -> Heard {
    let mut socket = WebSocket::new(max_message_bytes);
    let mut heard = Heard {
        frames: Vec::new(),
        error: None,
        held_max: 0,
        output_max: 0,
    };
    for piece in pieces {
        socket.feed(piece);
        loop {
            match socket.next() {
                Ok(Some(Frame::Pong)) => socket.ping(),
                Ok(Some(frame)) => heard.frames.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(error) => {
                    heard.error = Some(error);
                    break;
                }
            }
        }
        heard.held_max = heard.held_max.max(socket.held_bytes());
        if let Some(output) = socket.take_output() {
            heard.output_max = heard.output_max.max(output.len());
            socket.sent();
        }
    }
    heard
}

/// Whether a head is the answer to the request for an upgrade that carried this key.
pub fn is_upgraded(head: &ResponseHead, key: &str) -> bool {
    check_upgrade(head, key).is_ok()
}

/// Every shape of the workspace's extension, read from this JSON.
pub fn shapes(raw: &str, secrets: &Secrets) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        ApprovalNeeded::of_error(raw, secrets),
        ApprovalState::parse(raw, secrets),
        Offer::of_result(raw, secrets),
        ChatMessage::pushed(raw, secrets),
        ChatMessage::list(raw, secrets),
        GuardianDecision::parse(raw, secrets).verdict(),
        HeartbeatAnswer::parse(raw),
    )
}

/// A settings file's names with their values; the error repeats none.
pub fn settings_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let file = SettingsFile::parse(text)?;
    let pair = |name: &str| {
        (
            name.to_owned(),
            file.get(name).unwrap_or_default().to_owned(),
        )
    };
    Ok(file.names().map(pair).collect())
}

/// A settings file's text with this URL and token.
pub fn settings_with(old: &str, url: &str, token: &str) -> String {
    SettingsFile::with_pair(old, url, token)
}
