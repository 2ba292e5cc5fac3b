//! The legacy session with the workspace (up to 2025-11-25): where the handshake stands, and what is
//! known in each state. It sends nothing itself.
//!
//! ```text
//!            host: initialize          answered            host: initialized        accepted
//!   None ───────────────────▶ Opening ─────────▶ Opened ───────────────────▶ Confirming ─▶ Ready
//!    ▲                        │  ▲  └──────────────────── (by: the gateway) ──▲               │
//!    └── an error, to the host┘  │ again, for the host                                        │ lost
//!                                └────────────────────── Lost ◀── an error ──────────────────┘
//! ```
//!
//! While a handshake is under way (Opening, Confirming), messages of the legacy era wait for it. The
//! gateway opens a session again by itself where the workspace forgot it, and where the host was
//! answered although the workspace could not be reached (an [`Outage`]).

use super::Away;
use super::call::CallId;
use super::stream::Stream;
use crate::bridge::http::ExchangeId;
use crate::bridge::request::Request;
use crate::table::Table;
use std::rc::Rc;

/// See the module.
#[derive(Debug, Default)]
pub(super) enum Session {
    /// No handshake, or one that failed: messages go without a session, and the workspace says what
    /// it thinks of that.
    #[default]
    None,
    /// `initialize` is under way.
    Opening { hello: Hello, call: CallId, by: By },
    /// It is answered; the host's `initialized` is awaited.
    Opened { hello: Hello, link: Link },
    /// `initialized` is under way.
    Confirming {
        hello: Hello,
        link: Link,
        by: By,
        confirmation: Confirmation,
    },
    /// Open for everything.
    Ready {
        hello: Hello,
        link: Link,
        stream: Stream,
    },
    /// Lost, or not there yet: the next request, or the next attempt in an outage, opens it.
    Lost {
        hello: Hello,
        outage: Option<Outage>,
    },
}

/// Who opens the session.
#[derive(Debug)]
pub(super) enum By {
    /// The host, by its own handshake.
    Host,
    /// The gateway, with the host's words. In an outage the host was told that there are no tools
    /// yet.
    Gateway { outage: Option<Outage> },
}

/// What the host said, to say it again.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) initialize: Request,
    pub(super) initialized: Option<Rc<str>>,
    /// Params of its last `logging/setLevel`.
    pub(super) log_level: Option<Box<str>>,
    /// URIs that it subscribed to, raw JSON.
    pub(super) subscriptions: Table<Box<str>, ()>,
}

/// What the session's requests carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Counts sessions, so that a late refusal of an old one does not end a new one. 0: none.
    pub(super) generation: u32,
    /// `Mcp-Session-Id`, from the InitializeResult response only.
    pub(super) id: Option<Box<str>>,
    /// The negotiated protocol version.
    pub(super) version: Option<Box<str>>,
}

impl Link {
    /// The generation of a session that has an id. 0: there is none that could be lost, or left.
    pub(super) fn counted(&self) -> u32 {
        match self.id {
            Some(_) => self.generation,
            None => 0,
        }
    }
}

/// Where `initialized` is.
#[derive(Debug)]
pub(super) enum Confirmation {
    /// On its way.
    Exchange(ExchangeId),
    /// It waits for the end of the rate limit's pause.
    RateLimit,
}

/// The host was answered although the workspace could not be reached.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// Why, in words.
    pub(super) reason: String,
    /// Attempts since.
    pub(super) attempts: u8,
    /// The version that the host was told.
    pub(super) told_version: String,
}

impl Outage {
    /// What the host is told.
    pub(super) fn away(&self) -> Away {
        Away {
            words: self.reason.clone(),
            version: self.told_version.clone(),
        }
    }
}

impl Hello {
    pub(super) fn new(initialize: Request) -> Self {
        Self {
            initialize,
            initialized: None,
            log_level: None,
            subscriptions: Table::new(),
        }
    }
}

impl Session {
    /// True while messages of the legacy era wait for the handshake.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Session::Opening { .. } | Session::Confirming { .. } => true,
            Session::None
            | Session::Opened { .. }
            | Session::Ready { .. }
            | Session::Lost { .. } => false,
        }
    }

    /// True once the host has begun a handshake that did not fail.
    pub(super) fn is_begun(&self) -> bool {
        !matches!(self, Session::None)
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Session::Lost { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Session::Ready { .. })
    }

    pub(super) fn is_confirming(&self) -> bool {
        matches!(self, Session::Confirming { .. })
    }

    /// True while this request is the one whose answer opens the session.
    pub(super) fn is_opened_by(&self, id: CallId) -> bool {
        matches!(self, Session::Opening { call, .. } if *call == id)
    }

    /// What requests carry now.
    pub(super) fn link(&self) -> Option<&Link> {
        match self {
            Session::Opened { link, .. }
            | Session::Confirming { link, .. }
            | Session::Ready { link, .. } => Some(link),
            Session::None | Session::Opening { .. } | Session::Lost { .. } => None,
        }
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        match self {
            Session::Opened { link, .. }
            | Session::Confirming { link, .. }
            | Session::Ready { link, .. } => Some(link),
            Session::None | Session::Opening { .. } | Session::Lost { .. } => None,
        }
    }

    pub(super) fn hello_mut(&mut self) -> Option<&mut Hello> {
        match self {
            Session::Opening { hello, .. }
            | Session::Opened { hello, .. }
            | Session::Confirming { hello, .. }
            | Session::Ready { hello, .. }
            | Session::Lost { hello, .. } => Some(hello),
            Session::None => None,
        }
    }

    /// Why the workspace is away, while the host has been answered without it.
    pub(super) fn outage(&self) -> Option<&Outage> {
        match self {
            Session::Opening {
                by: By::Gateway { outage },
                ..
            }
            | Session::Confirming {
                by: By::Gateway { outage },
                ..
            }
            | Session::Lost { outage, .. } => outage.as_ref(),
            Session::None
            | Session::Opening { by: By::Host, .. }
            | Session::Confirming { by: By::Host, .. }
            | Session::Opened { .. }
            | Session::Ready { .. } => None,
        }
    }

    /// The session's event stream.
    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Session::Ready { stream, .. } => Some(stream),
            Session::None
            | Session::Opening { .. }
            | Session::Opened { .. }
            | Session::Confirming { .. }
            | Session::Lost { .. } => None,
        }
    }

    /// Takes the session apart to leave it: what the host said, what to give back, the stream and the
    /// confirmation that belong to it.
    pub(super) fn leave(&mut self) -> Left {
        let mut left = Left::default();
        match std::mem::take(self) {
            Session::None => {}
            Session::Opening { hello, .. } | Session::Lost { hello, .. } => {
                left.hello = Some(hello);
            }
            Session::Opened { hello, link } => {
                (left.hello, left.link) = (Some(hello), Some(link));
            }
            Session::Confirming {
                hello,
                link,
                confirmation,
                ..
            } => {
                (left.hello, left.link) = (Some(hello), Some(link));
                if let Confirmation::Exchange(exchange) = confirmation {
                    left.exchange = Some(exchange);
                }
            }
            Session::Ready {
                hello,
                link,
                stream,
            } => {
                (left.hello, left.link) = (Some(hello), Some(link));
                left.exchange = stream.exchange();
            }
        }
        left
    }
}

/// What is left of a session.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) hello: Option<Hello>,
    pub(super) link: Option<Link>,
    /// Its event stream, or its confirmation.
    pub(super) exchange: Option<ExchangeId>,
}
