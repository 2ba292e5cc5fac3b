//! What can go wrong between the gateway and the workspace, and the words for it.
//!
//! One place for every message, so that a running gateway and `--check` say the same thing: what
//! happened, whether it may have run, what to do next. Text from the network is made printable here.

use crate::log::printable;
use crate::proto::http::HttpError;
use crate::proto::transport::{Close, CloseCause, Phase, TlsFailure};
use crate::proto::ws::WsError;
use std::io::ErrorKind;

/// Whether the workspace may have executed a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// An answer, but to another request.
    WrongId,
    /// A message or head longer than the limit, in bytes.
    TooLarge(usize),
    /// No answer within the time set, in seconds.
    TimedOut(u64),
    /// The gateway ends (stdin closed or SIGTERM).
    Ending,
    /// The session was lost and a new one could not be opened; the words are of that failure.
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
            Failure::Connect(_) | Failure::SessionLost(_) | Failure::TooManyStreams(_) => {
                Executed::No
            }
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
            | Failure::WrongId
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
            _ => false,
        }
    }

    /// What happened and what to do, without saying to which request.
    pub fn words(&self, origin: &str) -> String {
        match self {
            Failure::Connect(close) => connect_words(close, origin),
            Failure::Lost(close) => lost_words(close, origin),
            Failure::Protocol(HttpError::NotHttp) => format!(
                "{origin} does not speak HTTP/1.1. Check the port, or whether the URL should start with https://"
            ),
            Failure::Protocol(error) => {
                format!("{origin} did not answer in HTTP/1.1 that can be read: {error}")
            }
            Failure::Status(refusal) => refusal.describe(origin),
            Failure::NotMcp { status, came } => format!(
                "{origin} answered HTTP {status}, but not with MCP: {came}. Check AEROSTACK_WORKSPACE_URL; \
                 a captive portal or proxy may have answered instead"
            ),
            Failure::NoAnswer { status } => {
                format!("{origin} ended its reply (HTTP {status}) without an answer")
            }
            Failure::WrongId => {
                format!(
                    "{origin} answered with the id of another request; that answer was discarded"
                )
            }
            Failure::TooLarge(limit) => {
                format!(
                    "the reply of {origin} is larger than {limit} bytes, the limit for one message"
                )
            }
            Failure::TimedOut(seconds) => {
                format!("no answer from {origin} within {seconds} s")
            }
            Failure::Ending => "the gateway was told to end before the answer came".to_owned(),
            Failure::SessionLost(words) => {
                format!("the session was lost and could not be opened again: {words}")
            }
            Failure::TooManyStreams(limit) => {
                format!("{limit} streams are open already, the limit of this gateway")
            }
            Failure::Handshake(error) => {
                format!("the WebSocket's handshake with {origin} is wrong: {error}")
            }
            Failure::SubscriptionEnded => {
                format!("the subscription's stream from {origin} broke; subscribe again")
            }
        }
    }

    /// The whole message for the host: which request, what happened, whether it may have run (in
    /// this attempt or, by `before`, in an earlier one).
    pub fn message(&self, request: &str, origin: &str, before: Executed) -> String {
        let words = self.words(origin);
        let ran = match self.executed().max(before) {
            Executed::No => "It was not executed.",
            Executed::Unknown => "It may have been executed: check before you repeat it.",
        };
        format!("{request} failed: {words}. {ran}")
    }

    /// The `data` member of the error, raw JSON.
    pub fn data(&self, before: Executed) -> String {
        let executed = match self.executed().max(before) {
            Executed::No => "no",
            Executed::Unknown => "unknown",
        };
        let status = match self {
            Failure::Status(Refusal { status, .. })
            | Failure::NotMcp { status, .. }
            | Failure::NoAnswer { status } => format!("\"http_status\":{status},"),
            _ => String::new(),
        };
        let retry = match self {
            Failure::Status(Refusal {
                retry_after_s: Some(seconds),
                ..
            }) => {
                format!("\"retry_after_s\":{seconds},")
            }
            _ => String::new(),
        };
        format!("{{{status}{retry}\"executed\":\"{executed}\"}}")
    }
}

impl Refusal {
    /// What the status means and what to do.
    pub fn describe(&self, origin: &str) -> String {
        let status = self.status;
        let said = if self.words.is_empty() {
            String::new()
        } else {
            format!(" (it says: {})", self.words)
        };
        match status {
            401 => format!(
                "Token invalid: {origin} refused AEROSTACK_TOKEN (HTTP 401){said}. Create a new token in \
                 the dashboard and update the setting"
            ),
            // A front end's page speaks of no token.
            403 if !self.html => format!(
                "this token is not allowed to do this (HTTP 403){said}. Check the token's role in the dashboard"
            ),
            404 => format!(
                "there is no workspace at this URL (HTTP 404){said}. Check AEROSTACK_WORKSPACE_URL; the \
                 path is usually /ws/<your-workspace>"
            ),
            405 => format!(
                "{origin} does not take MCP requests here (HTTP 405){said}. Check AEROSTACK_WORKSPACE_URL; \
                 servers that only speak the old HTTP+SSE transport are not supported"
            ),
            407 => format!("a proxy wants credentials (HTTP 407){said}. Put them into HTTPS_PROXY"),
            413 => format!("the request is too large for {origin} (HTTP 413){said}"),
            429 => match self.retry_after_s {
                Some(seconds) => format!(
                    "the rate limit of this token is used up (HTTP 429){said}. Try again in {seconds} s"
                ),
                None => format!(
                    "the rate limit of this token is used up (HTTP 429){said}. Try again later"
                ),
            },
            300..=399 => match &self.location {
                Some(location) => format!(
                    "{origin} redirects to {location} (HTTP {status}), which is not followed. If you trust \
                     it, set AEROSTACK_WORKSPACE_URL to it"
                ),
                None => format!("{origin} redirects without saying where (HTTP {status})"),
            },
            500..=599 => format!(
                "Workspace unreachable: {origin} failed with HTTP {status}{said}. Try again in a moment"
            ),
            _ if self.html => format!(
                "{origin} answered HTTP {status} with an HTML page{said}. Check AEROSTACK_WORKSPACE_URL"
            ),
            _ => format!("{origin} refused it with HTTP {status}{said}"),
        }
    }
}

fn connect_words(close: &Close, origin: &str) -> String {
    let phase = close.phase.name();
    if close.phase == Phase::Proxy {
        return proxy_words(&close.cause, origin);
    }
    match &close.cause {
        CloseCause::NotFound(words) => format!(
            "Workspace unreachable: the name of {origin} was not found ({}). Check the spelling of \
             AEROSTACK_WORKSPACE_URL and this machine's DNS",
            printable(words, 120)
        ),
        CloseCause::Io(ErrorKind::ConnectionRefused) => format!(
            "Workspace unreachable: {origin} refused the connection. Check that it is running and \
             that the port is right"
        ),
        CloseCause::TimedOut => format!(
            "Workspace unreachable: {origin} timed out during {phase}. Check the network, a firewall, or \
             whether a proxy (HTTPS_PROXY) is needed"
        ),
        CloseCause::Tls(failure) => tls_words(failure, origin),
        CloseCause::ProxyStatus(_) | CloseCause::ProxyProtocol => proxy_words(&close.cause, origin),
        CloseCause::NotLoopback => format!(
            "{origin} is a loopback name, but its address is not: the token was not sent. Check /etc/hosts, \
             or use https://"
        ),
        CloseCause::Eof => {
            format!("Workspace unreachable: {origin} closed the connection during {phase}")
        }
        CloseCause::Io(kind) => {
            format!(
                "Workspace unreachable: the connection to {origin} failed during {phase} ({kind})"
            )
        }
    }
}

/// The proxy's troubles: the workspace was not reached at all.
fn proxy_words(cause: &CloseCause, origin: &str) -> String {
    const CHECK: &str = "Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed";
    match cause {
        CloseCause::ProxyStatus(407) => {
            "the proxy wants credentials, or refuses those it was given \
             (HTTP 407). Put them into HTTPS_PROXY: http://user:password@host:port"
                .to_owned()
        }
        CloseCause::ProxyStatus(status) => {
            format!("the proxy refused to connect to {origin} (HTTP {status}). {CHECK}")
        }
        CloseCause::ProxyProtocol => {
            format!("what should be the proxy does not answer like an HTTP proxy. {CHECK}")
        }
        CloseCause::Io(ErrorKind::ConnectionRefused) => {
            format!("Workspace unreachable: the proxy refused the connection. {CHECK}")
        }
        CloseCause::NotFound(words) => format!(
            "Workspace unreachable: the proxy's name was not found ({}). {CHECK}",
            printable(words, 120)
        ),
        CloseCause::TimedOut => {
            format!("Workspace unreachable: the proxy did not answer in time. {CHECK}")
        }
        CloseCause::Eof => {
            format!("Workspace unreachable: the proxy closed the connection. {CHECK}")
        }
        CloseCause::Io(kind) => {
            format!("Workspace unreachable: the connection to the proxy failed ({kind}). {CHECK}")
        }
        CloseCause::NotLoopback => format!(
            "{origin} is not encrypted (http://), and a proxy stands between: the token was not sent. Use \
             https://, or pass --allow-http if you accept that"
        ),
        CloseCause::Tls(failure) => tls_words(failure, origin),
    }
}

/// TLS trouble, sorted by what the person has to fix.
fn tls_words(failure: &TlsFailure, origin: &str) -> String {
    match failure {
        TlsFailure::UnknownIssuer => format!(
            "the certificate of {origin} is signed by an unknown issuer. Behind a corporate proxy, or with a \
             private CA, set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS to the CA's PEM file"
        ),
        TlsFailure::WrongName(names) if names.is_empty() => {
            format!(
                "the certificate of {origin} is for another name. Check AEROSTACK_WORKSPACE_URL"
            )
        }
        TlsFailure::WrongName(names) => format!(
            "the certificate of {origin} is for another name ({}). Check AEROSTACK_WORKSPACE_URL",
            printable(names, 200)
        ),
        TlsFailure::Expired => format!(
            "the certificate of {origin} has expired. Check this machine's clock, else tell the server's owner"
        ),
        TlsFailure::NotYetValid => {
            format!("the certificate of {origin} is not valid yet. Check this machine's clock")
        }
        TlsFailure::CaAsServer => format!(
            "the certificate of {origin} is that of a certificate authority, which no server may show as its \
             own. Have one issued for the server (with basicConstraints CA:FALSE)"
        ),
        TlsFailure::NotTls => format!(
            "{origin} does not speak TLS. Check the port, or whether the URL should start with http://"
        ),
        TlsFailure::Version => {
            format!("{origin} offers no TLS version from 1.2 on: it must be updated")
        }
        TlsFailure::Roots(words) => {
            format!("the CA file can not be used: {}", printable(words, 300))
        }
        TlsFailure::Other(words) => format!("TLS with {origin} failed: {}", printable(words, 200)),
    }
}

fn lost_words(close: &Close, origin: &str) -> String {
    match (&close.cause, close.phase) {
        (CloseCause::Eof, _) => {
            format!("{origin} closed the connection before its answer was complete")
        }
        (CloseCause::Tls(TlsFailure::Other(words)), Phase::Open) => {
            format!(
                "the TLS connection to {origin} broke before the answer was complete ({})",
                printable(words, 120)
            )
        }
        (CloseCause::Io(kind), _) => {
            format!("the connection to {origin} broke before the answer was complete ({kind})")
        }
        (cause, _) => {
            format!("the connection to {origin} ended before the answer was complete ({cause:?})")
        }
    }
}

/// The peer's own words in an error body: a JSON error's message, an HTML page's title, or the first
/// words of a text. Empty if there is nothing to quote.
pub fn quote_body(body: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(&body[..body.len().min(4_096)]);
    let trimmed = text.trim_start();
    if trimmed.starts_with('<') {
        return (html_title(trimmed), true);
    }
    let words = json_message(body).unwrap_or_else(|| trimmed.to_owned());
    if matches!(words.trim(), "{}" | "[]" | "null") {
        return (String::new(), false);
    }
    (printable(words.trim(), 300), false)
}

fn html_title(page: &str) -> String {
    // ASCII lower-casing keeps byte positions.
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|tag| {
        let start = tag + lower[tag..].find('>')? + 1;
        let end = start + lower[start..].find('<')?;
        Some(page[start..end].trim())
    });
    title.map(|title| printable(title, 120)).unwrap_or_default()
}

/// `{"error":{"message"}}`, `{"error":"…"}`, `{"message":"…"}`, `{"detail":"…"}`.
fn json_message(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error");
    [
        error.and_then(|error| error.get("message")),
        error,
        value.get("error_description"),
        value.get("message"),
        value.get("detail"),
    ]
    .into_iter()
    .flatten()
    .find_map(|found| found.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(cause: CloseCause, phase: Phase, sent: bool) -> Close {
        Close { cause, phase, sent }
    }

    #[test]
    fn messages_say_what_happened_whether_it_ran_and_what_to_do() {
        let check = |failure: Failure, parts: &[&str]| {
            let message =
                failure.message("github__create_issue", "https://w.example", Executed::No);
            for part in parts {
                assert!(message.contains(part), "{message}\nlacks {part}");
            }
        };
        let refused = close(
            CloseCause::Io(ErrorKind::ConnectionRefused),
            Phase::Connect,
            false,
        );
        check(
            Failure::Connect(refused),
            &[
                "github__create_issue",
                "Workspace unreachable",
                "refused",
                "not executed",
            ],
        );
        let reset = close(
            CloseCause::Io(ErrorKind::ConnectionReset),
            Phase::Open,
            true,
        );
        check(
            Failure::Lost(reset),
            &["broke before the answer", "may have been executed"],
        );
        let refusal = |status| Refusal {
            status,
            ..Refusal::default()
        };
        check(
            Failure::Status(refusal(401)),
            &["Token invalid", "not executed", "dashboard"],
        );
        check(
            Failure::Status(refusal(403)),
            &["not allowed to do this", "not executed"],
        );
        check(
            Failure::Status(refusal(503)),
            &["HTTP 503", "may have been executed"],
        );
        let issuer = close(
            CloseCause::Tls(TlsFailure::UnknownIssuer),
            Phase::Tls,
            false,
        );
        check(
            Failure::Connect(issuer),
            &["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"],
        );
    }

    #[test]
    fn a_proxys_troubles_are_not_the_workspaces() {
        let check = |cause: CloseCause, part: &str| {
            let words =
                Failure::Connect(close(cause, Phase::Proxy, false)).words("https://w.example");
            assert!(words.contains("proxy") && words.contains(part), "{words}");
            assert!(words.contains("HTTPS_PROXY"), "{words}");
        };
        check(CloseCause::Io(ErrorKind::ConnectionRefused), "refused");
        check(
            CloseCause::Io(ErrorKind::ConnectionReset),
            "connection reset",
        );
        check(
            CloseCause::NotFound("no such name".to_owned()),
            "no such name",
        );
        check(CloseCause::TimedOut, "in time");
        check(CloseCause::Eof, "closed the connection");
        check(CloseCause::ProxyStatus(407), "credentials");
        check(CloseCause::ProxyStatus(403), "HTTP 403");
        check(CloseCause::ProxyProtocol, "like an HTTP proxy");
    }

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
            Failure::WrongId.data(Executed::No),
            r#"{"executed":"unknown"}"#
        );
    }

    #[test]
    fn the_peers_words_are_found_and_made_printable() {
        let check = |body: &str, expect: &str, html: bool| {
            assert_eq!(
                quote_body(body.as_bytes()),
                (expect.to_owned(), html),
                "{body}"
            );
        };
        check(
            r#"{"error":{"code":"unauthorized","message":"no\u001b[2J"}}"#,
            "no [2J",
            false,
        );
        check(r#"{"error":"gone"}"#, "gone", false);
        check(
            "<!DOCTYPE html><TITLE> Sign in </TITLE><p>x",
            "Sign in",
            true,
        );
        check("<html><body>", "", true);
        check(" {}\r\n", "", false);
        check("upstream\n down", "upstream  down", false);
        check("", "", false);
    }
}
