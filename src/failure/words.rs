//! The words for a failure: what happened, whether it may have run, what to do next.
//!
//! One place for every message, so that a running gateway and `--check` say the same thing. Text from
//! the network is made printable here.

use super::{Executed, Failure, Refusal};
use crate::log::printable;
use crate::proto::http::HttpError;
use crate::proto::transport::{Close, CloseCause, Phase, TlsFailure};
use std::io::ErrorKind;

impl Failure {
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
            Failure::BotProtection { status, by } => format!(
                "the bot protection of {by} stands before {origin} and wants a browser (HTTP {status}). Have \
                 this URL left out of the challenge, or allow this machine's address there"
            ),
            Failure::OldTransport { status } => format!(
                "{origin} takes no MCP requests at this URL (HTTP {status}). Check AEROSTACK_WORKSPACE_URL: \
                 servers that only speak the old HTTP+SSE transport are not supported; many have a second \
                 URL, often /mcp"
            ),
            Failure::NotMcp { status, came } => format!(
                "{origin} answered HTTP {status}, but not with MCP: {came}. Check AEROSTACK_WORKSPACE_URL; \
                 a captive portal or proxy may have answered instead"
            ),
            Failure::NoAnswer { status } => {
                format!("{origin} ended its reply (HTTP {status}) without an answer")
            }
            Failure::WrongId(words) => {
                let said = match words.is_empty() {
                    true => String::new(),
                    false => format!(" (it says: {words})"),
                };
                format!(
                    "{origin} answered with the id of another request; that answer was discarded{said}"
                )
            }
            Failure::NoMemory(bytes) => format!(
                "there is not enough memory for the reply of {origin} ({bytes} bytes so far). Ask for \
                 less at once, or give the gateway more memory"
            ),
            Failure::TooLarge(limit) => {
                format!(
                    "the reply of {origin} is larger than {limit} bytes, the limit for one message"
                )
            }
            Failure::TimedOut(seconds) => {
                format!("no answer from {origin} within {seconds} s")
            }
            Failure::Ending => "the gateway was told to end before the answer came".to_owned(),
            Failure::Unsent => "the gateway was told to end before this left it".to_owned(),
            Failure::SessionLost(words) => {
                format!("there is no session with the workspace: {words}")
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
            304 => format!(
                "{origin} answered HTTP 304 (Not Modified), which is no answer to a request. A cache in \
                 between may have answered: check AEROSTACK_WORKSPACE_URL"
            ),
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
        CloseCause::TooManyFiles => too_many_files(origin),
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
                "Workspace unreachable: the connection to {origin} failed during {phase} ({})",
                io_words(*kind)
            )
        }
    }
}

fn too_many_files(origin: &str) -> String {
    format!(
        "too many open files: no connection to {origin} could be opened. Raise the limit (ulimit -n), or \
         make fewer calls at once"
    )
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
            let words = io_words(*kind);
            format!("Workspace unreachable: the connection to the proxy failed ({words}). {CHECK}")
        }
        CloseCause::NotLoopback => format!(
            "{origin} is not encrypted (http://), and a proxy stands between: the token was not sent. Use \
             https://, or pass --allow-http if you accept that"
        ),
        CloseCause::TooManyFiles => too_many_files(origin),
        CloseCause::Tls(failure) => tls_words(failure, origin),
    }
}

/// TLS trouble, sorted by what the person has to fix.
fn tls_words(failure: &TlsFailure, origin: &str) -> String {
    const OWNER: &str = "Tell the server's owner";
    const URL: &str = "Check AEROSTACK_WORKSPACE_URL";
    match failure {
        TlsFailure::UnknownIssuer => format!(
            "the certificate of {origin} is signed by an unknown issuer. Behind a corporate proxy, or with a \
             private CA, set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS to the CA's PEM file; if it is self-signed \
             and you trust it, to the certificate's own"
        ),
        TlsFailure::BadSignature => format!(
            "the certificate of {origin} is not signed with the key of the authority that it names, or the \
             server does not have its key. Behind a corporate proxy, or with a private CA, set SSL_CERT_FILE \
             or NODE_EXTRA_CA_CERTS to the CA's present PEM file"
        ),
        TlsFailure::WrongName(names) => {
            let names = names_in_brackets(names);
            format!("the certificate of {origin} is for another name{names}. {URL}")
        }
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
        TlsFailure::NotForServers => format!(
            "the certificate of {origin} is not meant for servers: its key usage leaves out digital signatures \
             or server authentication. Have one issued for the server"
        ),
        TlsFailure::UnreadableCertificate => format!(
            "the certificate of {origin} can not be read, or is of a kind that is not supported. {OWNER}: \
             X.509 version 3 with a key of RSA (2048 bits and more), ECDSA (P-256, P-384) or Ed25519"
        ),
        TlsFailure::NotTls => format!(
            "{origin} does not speak TLS. Check the port, or whether the URL should start with http://"
        ),
        TlsFailure::Version => {
            format!("{origin} offers no TLS version from 1.2 on: it must be updated")
        }
        TlsFailure::NothingInCommon => format!(
            "{origin} and this gateway have no cipher suite in common. {OWNER}: TLS 1.3, or TLS 1.2 with ECDHE \
             and AES-GCM, is needed"
        ),
        TlsFailure::ClientCertificate => format!(
            "{origin} wants a client certificate, and this gateway has none. Use a URL where the token alone \
             is enough"
        ),
        TlsFailure::HostName => format!("the TLS server at {origin} has no host of this name. {URL}"),
        TlsFailure::Alert(number) => format!(
            "{origin} ended the TLS handshake (alert {number}). Try again; if that does not help, tell the \
             server's owner"
        ),
        TlsFailure::Damaged => format!(
            "what {origin} sends over TLS is damaged, or breaks the protocol. Check the network: a proxy or \
             firewall may interfere"
        ),
        TlsFailure::Machine => {
            "TLS needs a clock and random numbers, which this machine does not give. Check its set-up"
                .to_owned()
        }
        TlsFailure::Roots(words) => format!(
            "the CA file can not be used: {}. Correct the setting",
            printable(words, 300)
        ),
    }
}

fn names_in_brackets(names: &str) -> String {
    match printable(names, 200) {
        names if names.is_empty() => names,
        names => format!(" ({names})"),
    }
}

fn lost_words(close: &Close, origin: &str) -> String {
    const EARLY: &str = "before the answer was complete";
    match &close.cause {
        CloseCause::Eof => {
            format!("{origin} closed the connection before its answer was complete")
        }
        CloseCause::Tls(TlsFailure::Damaged) => {
            format!("the TLS connection to {origin} broke {EARLY} (damaged data)")
        }
        CloseCause::Tls(TlsFailure::Alert(number)) => {
            format!("the TLS connection to {origin} broke {EARLY} (alert {number})")
        }
        CloseCause::Tls(failure) => tls_words(failure, origin),
        CloseCause::Io(kind) => {
            format!(
                "the connection to {origin} broke {EARLY} ({})",
                io_words(*kind)
            )
        }
        CloseCause::TimedOut
        | CloseCause::TooManyFiles
        | CloseCause::NotFound(_)
        | CloseCause::ProxyStatus(_)
        | CloseCause::ProxyProtocol
        | CloseCause::NotLoopback => connect_words(close, origin),
    }
}

/// The kinds of the standard library in words; it calls what it does not know "uncategorized".
fn io_words(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::UnexpectedEof => "it was cut off".to_owned(),
        ErrorKind::WriteZero => "nothing more could be sent".to_owned(),
        ErrorKind::Other => "a network error".to_owned(),
        // A kind without a name of its own.
        kind => match kind.to_string() {
            words if words.starts_with("uncategorized") => "a network error".to_owned(),
            words => words,
        },
    }
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

    /// Each names the fix, and none shows how a program spells it.
    #[test]
    fn tls_failures_are_for_people() {
        let check = |failure: TlsFailure, parts: &[&str]| {
            let close = close(CloseCause::Tls(failure), Phase::Tls, false);
            let words = Failure::Connect(close).words("https://w.example");
            for part in parts {
                assert!(words.contains(part), "{words}\nlacks {part}");
            }
            let debug = ["::", "{", "Other", "Error", "Some("];
            assert!(!debug.iter().any(|mark| words.contains(mark)), "{words}");
        };
        let file = "SSL_CERT_FILE";
        check(
            TlsFailure::UnknownIssuer,
            &["unknown issuer", file, "self-signed"],
        );
        check(TlsFailure::BadSignature, &["not signed with the key", file]);
        check(
            TlsFailure::WrongName(String::new()),
            &["another name. Check"],
        );
        check(
            TlsFailure::WrongName("a, b".to_owned()),
            &["another name (a, b). Check"],
        );
        check(TlsFailure::Expired, &["expired", "clock", "owner"]);
        check(TlsFailure::NotYetValid, &["not valid yet", "clock"]);
        check(
            TlsFailure::CaAsServer,
            &["certificate authority", "Have one issued"],
        );
        check(
            TlsFailure::NotForServers,
            &["not meant for servers", "Have one issued"],
        );
        check(
            TlsFailure::UnreadableCertificate,
            &["can not be read", "Tell the server's owner"],
        );
        check(TlsFailure::NotTls, &["does not speak TLS", "http://"]);
        check(TlsFailure::Version, &["must be updated"]);
        check(
            TlsFailure::NothingInCommon,
            &["no cipher suite in common", "TLS 1.3"],
        );
        check(
            TlsFailure::ClientCertificate,
            &["wants a client certificate", "Use a URL"],
        );
        check(
            TlsFailure::HostName,
            &["no host of this name", "AEROSTACK_WORKSPACE_URL"],
        );
        check(TlsFailure::Alert(80), &["alert 80", "Try again"]);
        check(TlsFailure::Damaged, &["damaged", "proxy"]);
        check(TlsFailure::Machine, &["clock and random numbers", "set-up"]);
        check(
            TlsFailure::Roots("X (/a): gone".to_owned()),
            &["X (/a): gone", "Correct"],
        );
    }

    #[test]
    fn every_error_of_a_socket_is_in_words() {
        let check = |cause: CloseCause, part: &str| {
            for (failure, sent) in [
                (Failure::Connect as fn(Close) -> Failure, false),
                (Failure::Lost, true),
            ] {
                let words =
                    failure(close(cause.clone(), Phase::Connect, sent)).words("https://w.example");
                assert!(words.contains(part), "{words}\nlacks {part}");
                assert!(
                    !words.contains("uncategorized") && !words.contains("Io("),
                    "{words}"
                );
            }
        };
        check(CloseCause::TooManyFiles, "too many open files");
        check(
            CloseCause::Io(ErrorKind::ConnectionReset),
            "connection reset",
        );
        check(CloseCause::Io(ErrorKind::UnexpectedEof), "cut off");
        check(CloseCause::Io(ErrorKind::Other), "a network error");
        let uncategorized = std::io::Error::from_raw_os_error(112).kind();
        check(CloseCause::Io(uncategorized), "(");
        check(CloseCause::TimedOut, "timed out during TCP connect");
        check(
            CloseCause::NotFound("no such name".to_owned()),
            "no such name",
        );
        check(CloseCause::Tls(TlsFailure::Damaged), "damaged");
    }
}
