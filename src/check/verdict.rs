//! What a failure means to a person who asked for a diagnosis: which step it fails, and in which words.
//!
//! Pure: it sees the typed failure of the diagnosis' own request, never a message made of one.

use crate::bridge::Socket;
use crate::failure::{Failure, Refusal};
use crate::log::printable;
use crate::proto::aerostack::{APPROVAL_NEEDED, Offer};
use crate::proto::http::HttpError;

/// Why a request of the diagnosis has no result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// Its exchange failed, or was refused by its HTTP status.
    Failed(Failure),
    /// The server's own JSON-RPC error.
    Said {
        /// Its code.
        code: i64,
        /// Its message.
        words: String,
    },
}

/// Which of the first three steps failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// No HTTP answer came.
    Reachable,
    /// Something answered, and the token is why it refuses.
    Token,
    /// Something answered, but no workspace works there.
    Workspace,
}

impl Blame {
    /// The step's name in the report.
    pub(super) fn step(self) -> &'static str {
        match self {
            Blame::Reachable => "reachable",
            Blame::Token => "token",
            Blame::Workspace => "workspace",
        }
    }
}

/// What is known where a failure is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The workspace's origin.
    pub(super) origin: &'a str,
    /// Bytes of an answer have come.
    pub(super) heard: bool,
    /// A token is sent.
    pub(super) has_token: bool,
}

/// The handshake failed.
pub(super) fn handshake(problem: &Problem, view: View<'_>) -> (Blame, String) {
    let failure = match problem {
        Problem::Failed(failure) => failure,
        Problem::Said { code, .. } if *code == APPROVAL_NEEDED => {
            let words = "it wants a person's approval for initialize, which none can give. Take \
                         initialize out of its approval rules";
            return (Blame::Workspace, not_connected(words));
        }
        Problem::Said { .. } => {
            let words = format!("{}. Is this URL an MCP endpoint?", words(problem, view));
            return (Blame::Workspace, not_connected(&words));
        }
    };
    let words = words(problem, view);
    match failure {
        Failure::Status(refusal) => match refusal.status {
            401 => (Blame::Token, words),
            403 if view.has_token && !refusal.html => {
                (Blame::Token, format!("Token refused: {words}"))
            }
            407 => (Blame::Reachable, unreachable(&words)),
            _ => (Blame::Workspace, not_connected(&words)),
        },
        Failure::Connect(_) | Failure::Protocol(HttpError::NotHttp) => {
            (Blame::Reachable, unreachable(&words))
        }
        Failure::Lost(_) | Failure::TimedOut(_) if !view.heard => {
            (Blame::Reachable, unreachable(&words))
        }
        Failure::Lost(_)
        | Failure::TimedOut(_)
        | Failure::Protocol(_)
        | Failure::BotProtection { .. }
        | Failure::OldTransport { .. }
        | Failure::NotMcp { .. }
        | Failure::NoAnswer { .. }
        | Failure::WrongId(_)
        | Failure::NoMemory(_)
        | Failure::TooLarge(_)
        | Failure::Ending
        | Failure::Unsent
        | Failure::SessionLost(_)
        | Failure::TooManyStreams(_)
        | Failure::SubscriptionEnded
        | Failure::Handshake(_) => (Blame::Workspace, not_connected(&words)),
    }
}

/// The problem in words, without saying which step it fails.
pub(super) fn words(problem: &Problem, view: View<'_>) -> String {
    match problem {
        Problem::Said { code, words } => match quoted(words).as_str() {
            "" => format!("the server answered with error {code}"),
            words => format!("the server answered: {words}"),
        },
        Problem::Failed(Failure::Status(refusal)) if !view.has_token => {
            without_token(refusal, view.origin)
        }
        Problem::Failed(failure) => detail(failure, view.origin),
    }
}

/// The words of a failure without the claim that the workspace can not be reached: that is the
/// diagnosis' to say.
fn detail(failure: &Failure, origin: &str) -> String {
    let words = failure.words(origin);
    words.strip_prefix(UNREACHABLE).unwrap_or(&words).to_owned()
}

/// Whether the legacy handshake may have been refused because the server only speaks the modern era.
pub(super) fn may_be_modern(problem: &Problem) -> bool {
    match problem {
        Problem::Said { code, .. } => *code != APPROVAL_NEEDED,
        Problem::Failed(Failure::Status(refusal)) => match refusal.status {
            401 | 403 | 407 | 408 | 429 => false,
            status => (400..500).contains(&status),
        },
        Problem::Failed(_) => false,
    }
}

/// What a server that was sent no token can not refuse.
fn without_token(refusal: &Refusal, origin: &str) -> String {
    let said = match refusal.words.as_str() {
        "" => String::new(),
        words => format!(" (it says: {words})"),
    };
    match refusal.status {
        401 => format!(
            "{origin} wants a token (HTTP 401){said}, and AEROSTACK_TOKEN=none sends none. Set \
             AEROSTACK_TOKEN"
        ),
        403 if !refusal.html => format!(
            "{origin} does not allow this without a token (HTTP 403){said}. Set AEROSTACK_TOKEN"
        ),
        _ => detail(&Failure::Status(refusal.clone()), origin),
    }
}

/// The words that begin what [`Failure::words`] says of a workspace that can not be reached.
const UNREACHABLE: &str = "Workspace unreachable: ";

fn unreachable(words: &str) -> String {
    format!("{UNREACHABLE}{words}")
}

fn not_connected(words: &str) -> String {
    format!("Workspace not connected: {words}")
}

/// A server's own words as part of a sentence of ours.
fn quoted(words: &str) -> String {
    let words = printable(words, 300);
    words
        .trim()
        .trim_end_matches(['.', '!', '?', ':'])
        .to_owned()
}

/// Why the WebSocket is not open; `None` while it may still open, or is.
pub(super) fn socket(socket: &Socket, origin: &str) -> Option<String> {
    let failure = match socket {
        Socket::Opening | Socket::Open => return None,
        Socket::Refused(failure) => failure.as_ref(),
    };
    let why = match failure {
        Some(Failure::Status(Refusal { status, .. }) | Failure::NoAnswer { status }) => {
            format!("{origin} answered the upgrade with HTTP {status}")
        }
        Some(failure) => detail(failure, origin),
        None => format!("{origin} closed it at once"),
    };
    Some(without_socket(&why))
}

/// What follows from a WebSocket that does not open.
pub(super) fn without_socket(why: &str) -> String {
    format!(
        "WebSocket refused: {why}. Decisions and messages are only noticed by the 30 s poll: let \
         your proxy or firewall pass WebSockets"
    )
}

/// Whether an AI tool is shown the built-in tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Whatever the workspace says.
    Always,
    /// If the workspace offers the extensions.
    IfOffered,
    /// AEROSTACK_BUILTIN_TOOLS=off.
    Never,
}

/// Which built-in tools work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtins {
    /// All of them.
    Work,
    /// Those that are listed do not all work.
    Lack,
    /// None is listed.
    Hidden,
}

/// Which built-in tools work with this workspace, in a sentence.
pub(super) fn builtins(shown: Shown, offer: &Offer) -> (Builtins, &'static str) {
    match shown {
        Shown::Never => (
            Builtins::Hidden,
            "Built-in tools: switched off (AEROSTACK_BUILTIN_TOOLS=off)",
        ),
        Shown::IfOffered if !offer.known => (
            Builtins::Hidden,
            "Built-in tools: not listed, this is a plain MCP server",
        ),
        Shown::Always | Shown::IfOffered => match (offer.guardian, offer.chat) {
            (true, true) => (
                Builtins::Work,
                "Built-in tools (aerostack__local_guardian and aerostack__agent_chat work)",
            ),
            (true, false) => (
                Builtins::Lack,
                "Built-in tools: aerostack__local_guardian works; aerostack__agent_chat does not: \
                 this workspace does not know aerostack/chat",
            ),
            (false, true) => (
                Builtins::Lack,
                "Built-in tools: aerostack__agent_chat works; aerostack__local_guardian does not: \
                 this workspace does not know aerostack/guardian, so it answers \"do not proceed\"",
            ),
            (false, false) => (
                Builtins::Lack,
                "Built-in tools: neither aerostack__local_guardian nor aerostack__agent_chat works: \
                 this workspace knows neither aerostack/guardian nor aerostack/chat. \
                 AEROSTACK_BUILTIN_TOOLS=off hides them",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::transport::{Close, CloseCause, Phase};

    const ORIGIN: &str = "https://w.example";

    fn judge(failure: Failure, heard: bool) -> (Blame, String) {
        let view = View {
            origin: ORIGIN,
            heard,
            has_token: true,
        };
        handshake(&Problem::Failed(failure), view)
    }

    /// Whatever has answered was reached, and no failure is called by two names at once.
    #[test]
    fn who_is_to_blame() {
        let status = |status| {
            Failure::Status(Refusal {
                status,
                ..Refusal::default()
            })
        };
        let lost = |cause| {
            let (phase, sent) = (Phase::Open, true);
            Failure::Lost(Close { cause, phase, sent })
        };
        for (failure, heard, blame) in [
            (status(401), true, Blame::Token),
            (status(403), true, Blame::Token),
            (status(407), true, Blame::Reachable),
            (status(304), true, Blame::Workspace),
            (status(410), true, Blame::Workspace),
            (status(599), true, Blame::Workspace),
            (lost(CloseCause::Eof), false, Blame::Reachable),
            (lost(CloseCause::Eof), true, Blame::Workspace),
            (Failure::TimedOut(2), false, Blame::Reachable),
            (Failure::TimedOut(2), true, Blame::Workspace),
            (
                Failure::Protocol(HttpError::NotHttp),
                true,
                Blame::Reachable,
            ),
            (Failure::NoAnswer { status: 200 }, true, Blame::Workspace),
            (Failure::WrongId(String::new()), true, Blame::Workspace),
            (Failure::TooLarge(9), true, Blame::Workspace),
            (
                Failure::OldTransport { status: 404 },
                true,
                Blame::Workspace,
            ),
        ] {
            let words = failure.words(ORIGIN);
            let (blamed, text) = judge(failure, heard);
            assert_eq!(blamed, blame, "{text}");
            let begins = match blame {
                Blame::Reachable => "Workspace unreachable: ",
                Blame::Token => "Token ",
                Blame::Workspace => "Workspace not connected: ",
            };
            assert!(text.starts_with(begins), "{text}");
            assert_eq!(
                text.matches("Workspace ").count(),
                usize::from(blame != Blame::Token)
            );
            assert!(text.ends_with(words.strip_prefix(UNREACHABLE).unwrap_or(&words)));
        }
    }

    #[test]
    fn the_servers_words_fit_into_a_sentence() {
        assert_eq!(quoted(" No such thing!. "), "No such thing");
        assert_eq!(quoted("..."), "");
        assert_eq!(quoted("a\nb"), "a b");
    }
}
