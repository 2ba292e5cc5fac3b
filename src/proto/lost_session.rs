//! How servers say that they do not know a session.
//!
//! A server that was restarted, or that let a session expire, should answer 404. Many answer in
//! other statuses and words. Owns the closed list of those words; it must never decide what is done
//! about it. An argument that a tool does not like is refused in similar words ("'session' is
//! required"): a false alarm would cost a session that is alive, so a text counts only where it says
//! nothing else.

use serde_json::Value;

use super::http::response::Content;
use super::sse::EventStream;

/// As much of a refusal as is looked at.
const LOOK_BYTES: usize = 64 << 10;
/// As many words of a clause as are looked at: more than any entry of the lists has.
const WORDS_MAX: usize = 24;

/// Errors of JSON-RPC's own: the message was understood, so that the session cannot be at fault.
/// Method not found, invalid params, internal error.
const NEVER: [i64; 3] = [-32601, -32602, -32603];

/// Whether a complete answer, to a request that carried a session id, says that the session is gone
/// or that nobody has initialised the server. Such a request was refused before it ran. `tools_call`:
/// the request was a tools/call, where 410 and 503 may be the tool's own words.
pub(crate) fn is_lost_session(
    status: u16,
    content: &Content,
    body: &[u8],
    tools_call: bool,
) -> bool {
    if !matches!(status, 400 | 401 | 404 | 410 | 422 | 503) {
        return false;
    }
    let refusal = Refusal::read(content, &body[..body.len().min(LOOK_BYTES)]);
    if refusal.code.is_some_and(|code| NEVER.contains(&code)) {
        return false;
    }
    // "When a client receives HTTP 404 in response to a request containing an MCP-Session-Id, it
    // MUST start a new session" (MCP 2025-11-25, Transports, "Session Management").
    if status == 404 {
        return true;
    }
    let strict = tools_call && matches!(status, 410 | 503) && !refusal.json_rpc;
    refusal
        .texts
        .iter()
        .any(|text| speaks_of_lost_session(text, status, strict))
}

/// What a refusal's body says, whatever it is written in.
#[derive(Default)]
struct Refusal {
    /// It is a JSON-RPC error.
    json_rpc: bool,
    /// The error's code.
    code: Option<i64>,
    texts: Vec<String>,
}

impl Refusal {
    fn read(content: &Content, body: &[u8]) -> Self {
        if *content == Content::EventStream {
            let mut stream = EventStream::new(LOOK_BYTES);
            let mut input = body;
            let event = match stream.feed(&mut input) {
                Ok(Some(event)) => Some(event),
                Ok(None) => stream.finish(),
                Err(_) => None,
            };
            return event.map_or_else(Self::default, |event| Self::of_text(&event.data));
        }
        Self::of_text(body)
    }

    fn of_text(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        let mut refusal = Self::default();
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Array(members)) => {
                if let Some(first) = members.first() {
                    refusal.take(first);
                }
            }
            Ok(value) => refusal.take(&value),
            // A page's words are for people who look at it.
            Err(_) if text.starts_with('<') => {}
            Err(_) => refusal.texts.push(text.to_owned()),
        }
        refusal
    }

    /// A JSON-RPC error, or one of the shapes that web frameworks use: `{"error":"…"}`,
    /// `{"message":"…"}`, `{"detail":"…"}`, a string.
    fn take(&mut self, value: &Value) {
        let error = &value["error"];
        self.json_rpc = value["jsonrpc"] == "2.0" && error.is_object();
        self.code = error["code"].as_i64();
        let places = [
            value,
            error,
            &error["code"],
            &error["message"],
            &value["message"],
            &value["detail"],
            &value["error_description"],
        ];
        let said = places.into_iter().filter_map(Value::as_str);
        self.texts.extend(said.map(str::to_owned));
    }
}

/// What may stand before the words: statuses, blame, greetings. Clauses, without their fillers.
const STOCK: &[&str] = &[
    "",
    "bad request",
    "client error",
    "error",
    "error posting to endpoint",
    "failed",
    "forbidden",
    "gone",
    "http",
    "http error",
    "invalid request",
    "json rpc error",
    "not found",
    "protocol error",
    "request failed",
    "request rejected",
    "rpc error",
    "server error",
    "service unavailable",
    "session error",
    "sorry",
    "streamable http error",
    "transport error",
    "unauthorized",
    "unexpected message",
    "unprocessable",
    "unprocessable content",
    "unprocessable entity",
];

/// What servers say before "session" when there is none: "invalid or missing session ID".
const BEFORE: &[&str] = &[
    "cannot find",
    "closed",
    "could not find",
    "couldn't find",
    "expired",
    "failed to find",
    "inactive",
    "invalid",
    "missing",
    "no",
    "no active",
    "no such",
    "no transport found for",
    "no valid",
    "nonexistent",
    "not found",
    "stale",
    "terminated",
    "unable to find",
    "unknown",
    "unrecognized",
];

/// What they say behind it: "session not found or expired".
const AFTER: &[&str] = &[
    "already closed",
    "already terminated",
    "cannot be found",
    "closed",
    "could not be found",
    "does not exist",
    "doesn't exist",
    "ended",
    "expired",
    "gone",
    "inactive",
    "invalid",
    "invalidated",
    "lost",
    "missing",
    "no longer active",
    "no longer available",
    "no longer exists",
    "no longer valid",
    "not active",
    "not exist",
    "not found",
    "not initialized",
    "not recognized",
    "not valid",
    "not yet initialized",
    "terminated",
    "timed out",
    "timeout",
    "unknown",
];

/// The same where something stands before it: "no session found".
const AFTER_NO: &[&str] = &[
    "exists",
    "for get request",
    "found",
    "not initialize request",
];

/// What servers say that nobody has initialised.
const UNINITIALIZED: &[&str] = &[
    "call initialize first",
    "client not initialized",
    "connection not initialized",
    "expect initialize request",
    "expected initialize",
    "expected initialize request",
    "expecting initialize request",
    "first message must be initialize",
    "first message must be initialize request",
    "first request must be initialize",
    "initialization required",
    "initialize first",
    "initialize required",
    "must initialize first",
    "not initialized",
    "server not initialized",
    "server not yet initialized",
    "transport not initialized",
];

/// Said of the header by its own name: an argument has none of that name.
const OF_HEADER: &[&str] = &["mcp-session-id must be", "mcp-session-id required"];

/// Words that change nothing.
const FILLERS: &[&str] = &[
    "a", "an", "are", "been", "given", "has", "header", "id", "is", "mcp", "provided", "supplied",
    "that", "the", "this", "was", "were", "with", "you", "your",
];

/// With these a clause may go on: "session expired due to inactivity".
const GOES_ON: &[&str] = &[
    "after",
    "and",
    "because",
    "call",
    "create",
    "due",
    "on",
    "please",
    "re-initialize",
    "reconnect",
    "reinitialize",
    "since",
    "start",
    "when",
    "while",
];

/// With these in it, a 401 is about the person's login, and no new session would help.
const LOGIN: &[&str] = &["credentials", "log", "login", "password", "sign", "token"];

/// Whether the first clause that says anything is one of the list. `strict`: the very first one.
fn speaks_of_lost_session(text: &str, status: u16, strict: bool) -> bool {
    let mut lower = text.to_ascii_lowercase().replace('/', " or ");
    // One word alone is a code: "session_not_found".
    if words(&lower).nth(1).is_none() {
        lower = lower.replace('_', " ");
    }
    if status == 401 && words(&lower).any(|word| LOGIN.contains(&word)) {
        return false;
    }
    let ends = |c: char| {
        matches!(
            c,
            '.' | ':' | ';' | ',' | '!' | '?' | '(' | ')' | '\n' | '—'
        )
    };
    for clause in lower.split(ends) {
        if is_phrase(clause) {
            return true;
        }
        if strict || !is_stock(clause) {
            return false;
        }
    }
    false
}

fn is_stock(clause: &str) -> bool {
    let told = told(clause);
    STOCK.contains(&told.join(" ").as_str())
}

fn is_phrase(clause: &str) -> bool {
    let told = told(clause);
    let goes_on = told.iter().position(|word| GOES_ON.contains(word));
    let told = &told[..goes_on.unwrap_or(told.len())];
    let whole = told.join(" ");
    if UNINITIALIZED.contains(&whole.as_str()) || OF_HEADER.contains(&whole.as_str()) {
        return true;
    }
    let Some(at) = told.iter().position(|word| SESSION.contains(word)) else {
        return false;
    };
    let (before, after) = (told[..at].join(" "), told[at + 1..].join(" "));
    // "no valid session ID or not an initialize request"
    let after = after.strip_prefix("or ").unwrap_or(&after);
    let listed = |said: &str, list: &[&str]| list.contains(&said);
    let right = before.is_empty() || before.split(" or ").all(|said| listed(said, BEFORE));
    let no = |said: &str| !before.is_empty() && listed(said, AFTER_NO);
    let right = right
        && (after.is_empty()
            || after
                .split(" or ")
                .all(|said| listed(said, AFTER) || no(said)));
    right && !(before.is_empty() && after.is_empty())
}

/// A session, or its id by one word. `session_id` is not among them: so an argument is named.
const SESSION: &[&str] = &[
    "mcp-session",
    "mcp-session-id",
    "session",
    "session-id",
    "sessionid",
];

/// The words of a clause that say something: no fillers, and no ids, which have digits in them.
fn told(clause: &str) -> Vec<&str> {
    words(clause)
        .filter(|word| !FILLERS.contains(word) && !word.bytes().any(|byte| byte.is_ascii_digit()))
        .take(WORDS_MAX)
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '\'');
    text.split(move |c: char| !part(c))
        .map(|word| word.trim_matches(['-', '\'']))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    fn text(status: u16, text: &str) -> bool {
        is_lost_session(
            status,
            &Content::Other("text/plain".into()),
            text.as_bytes(),
            false,
        )
    }

    fn rpc(status: u16, id: &str, code: i64, message: &str, tools_call: bool) -> bool {
        let error = serde_json::json!({"code": code, "message": message}).to_string();
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}");
        is_lost_session(status, &Content::Json, body.as_bytes(), tools_call)
    }

    const LOST: &[&str] = &[
        "No valid session ID provided",
        "Bad Request: No valid session ID provided",
        "Bad Request: No valid session ID or not an initialize request",
        "No valid session id; expected initialize",
        "Invalid session ID",
        "Bad Request: Invalid session ID",
        "invalid sessionId: 42",
        "Invalid or missing session ID",
        "Invalid or missing session ID for GET request",
        "Missing or invalid Mcp-Session-Id header.",
        "missing or invalid Mcp-Session-Id; call `initialize` first",
        "Invalid/expired session",
        "Invalid or expired MCP session",
        "Session not found",
        "session not found",
        "Session not found; re-initialize",
        "Session not found. Please reconnect",
        "Session not found: 1868a90c-e29b-4a9f-8f3c-0d2e6a7b9c11",
        "Session 1868a90c-e29b-4a9f-8f3c-0d2e6a7b9c11 not found",
        "Session with ID 1868a90c was not found on this server",
        "MCP session not found or has expired",
        "Unauthorized: Session not found",
        "HTTP 404: Session not found",
        "Error POSTing to endpoint (HTTP 400): Bad Request: No valid session ID provided",
        "Not Found: Session has been terminated",
        "Session has expired",
        "Your session has expired, please re-initialize",
        "Session expired due to inactivity",
        "The session is no longer valid",
        "Session terminated",
        "Session is closed",
        "Session does not exist or has expired",
        "Unknown session",
        "Unknown MCP session ID.",
        "Bad Request: Unknown Mcp-Session-Id header",
        "No session found",
        "No active session",
        "no such session",
        "No transport found for sessionId",
        "Could not find session",
        "session_not_found",
        "SESSION_EXPIRED",
        "Bad Request: Mcp-Session-Id header is required",
        "Server not initialized",
        "Bad Request: Server not initialized",
        "Server is not yet initialized",
        "Unexpected message, expect initialize request",
        "Not initialized: call initialize first",
        "Session not initialized",
    ];

    const ALIVE: &[&str] = &[
        "",
        "Bad Request",
        "session",
        "Invalid arguments: 'session' is required",
        "Invalid arguments: session not found",
        "Invalid params: unknown session",
        "Missing required parameter: sessionId",
        "Missing session_id",
        "session_id is required",
        "session is required",
        "Invalid session type",
        "Invalid session name 'x'",
        "Session not found for user bob",
        "Browser session not found",
        "Session limit reached",
        "Too many sessions",
        "Session store unavailable",
        "The tool could not open a session",
        "Invalid request: the argument initialize is unknown",
        "Database not initialized",
        "Unsupported protocol version",
        "Bad Request: Unsupported protocol version (supported: 2025-06-18)",
        "Invalid token",
        "Insufficient scope",
        "Tool 'session not found' failed",
        "<html><title>Session not found</title></html>",
    ];

    const STATUSES: [u16; 5] = [400, 401, 410, 422, 503];

    #[test]
    fn knows_the_words() {
        for status in STATUSES {
            for words in LOST {
                assert!(text(status, words), "{status} {words}");
                assert!(text(status, &format!("{words}\r\n")), "{status} {words}");
            }
            for words in ALIVE {
                assert!(!text(status, words), "{status} {words}");
            }
        }
    }

    #[test]
    fn whatever_they_are_written_in() {
        let sse = |content, body: &str| is_lost_session(400, content, body.as_bytes(), false);
        for (expect, all) in [(true, LOST), (false, ALIVE)] {
            for words in all {
                for id in ["null", "\"server-error\"", "7", "\"a\""] {
                    assert_eq!(rpc(400, id, -32000, words, false), expect, "{words}");
                    assert_eq!(rpc(400, id, -32600, words, true), expect, "{words}");
                    assert_eq!(rpc(400, id, -32001, words, true), expect, "{words}");
                }
                for name in ["error", "message", "detail", "error_description"] {
                    let body = serde_json::json!({ name: words }).to_string();
                    assert_eq!(text(400, &body), expect, "{body}");
                }
                let body = serde_json::json!({ "error": {"message": words} }).to_string();
                assert_eq!(text(400, &body), expect, "{body}");
                let body = serde_json::json!([{ "jsonrpc": "2.0", "error": {"message": words} }]);
                assert_eq!(text(400, &body.to_string()), expect, "{body}");
                assert_eq!(
                    text(400, &serde_json::json!(words).to_string()),
                    expect,
                    "{words}"
                );
                let error = serde_json::json!({"code": -32000, "message": words});
                let body = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": error});
                for end in ["\n\n", "\n", "", "\n\ndata: {}\n\n"] {
                    let stream = format!(": x\nevent: message\ndata: {body}{end}");
                    assert_eq!(sse(&Content::EventStream, &stream), expect, "{stream}");
                }
            }
        }
        assert!(text(
            400,
            r#"{"error":{"code":"SESSION_NOT_FOUND","message":"try again"}}"#
        ));
        assert!(!sse(&Content::EventStream, ""));
        assert!(!sse(&Content::EventStream, "Session not found"));
    }

    #[test]
    fn only_in_those_statuses() {
        for status in (100..=599).filter(|status| !STATUSES.contains(status) && *status != 404) {
            assert!(!text(status, "Session not found"), "{status}");
        }
    }

    #[test]
    fn not_found_needs_no_words() {
        for words in LOST.iter().chain(ALIVE) {
            assert!(text(404, words), "{words}");
            assert!(rpc(404, "1", -32001, words, true), "{words}");
        }
    }

    #[test]
    fn never_with_the_codes_of_json_rpc() {
        for status in STATUSES.into_iter().chain([404]) {
            for code in NEVER {
                for tools_call in [false, true] {
                    assert!(!rpc(status, "1", code, "Session not found", tools_call));
                    assert!(!rpc(status, "null", code, "Session not found", tools_call));
                }
            }
        }
        let bare = br#"{"error":{"code":-32601,"message":"Method not found"}}"#;
        assert!(!is_lost_session(404, &Content::Json, bare, false));
    }

    #[test]
    fn a_tools_own_410_or_503_is_none() {
        let call =
            |status, body: &str| is_lost_session(status, &Content::None, body.as_bytes(), true);
        for status in [410, 503] {
            assert!(rpc(status, "null", -32000, "Gone: Session not found", true));
            assert!(call(status, "Session not found"));
            assert!(call(status, "Session not found: 42"));
            assert!(call(status, r#"{"error":"Session not found"}"#));
            assert!(!call(status, "Gone: Session not found"));
            assert!(!call(
                status,
                r#"{"error":{"message":"Service unavailable: unknown session"}}"#
            ));
            assert!(text(status, "Gone: Session not found"));
        }
        assert!(call(400, "Bad Request: Session not found"));
    }

    #[test]
    fn a_login_is_no_session() {
        for words in [
            "Invalid or expired session token",
            "Session expired. Please log in again",
            "Session expired, sign in again",
            "Invalid session; check your credentials",
        ] {
            assert!(!text(401, words), "{words}");
        }
        assert!(text(401, "Session expired"));
        assert!(text(400, "Session expired. Please log in again"));
    }

    #[test]
    fn any_bytes() {
        let mut random = SplitMix(12);
        for _ in 0..5_000 {
            let len = random.below(40);
            let body = random.bytes(len, b"session not found {}[]\":,data\n");
            for content in [Content::Json, Content::EventStream, Content::None] {
                let _ = is_lost_session(400, &content, &body, random.below(2) == 0);
            }
        }
        let long = "Session not found, ".repeat(1 << 17);
        assert!(text(400, &long));
        assert!(!text(400, &"x ".repeat(1 << 20)));
        let nested = "[".repeat(1 << 20);
        assert!(!text(400, &nested));
    }
}
