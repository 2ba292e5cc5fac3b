//! Words that several machines share: who asked for something, and in which generation of MCP.
//! Plain values; nothing here acts.

/// A request of the host. Given out by `host`, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// An approval that this process waits for. Given out by `approvals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApprovalKey(pub(crate) u64);

/// What a channel pushes: one subject has one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The decision on one approval.
    Approval(ApprovalKey),
    /// Messages from the dashboard.
    Chat,
}

/// Who wants the answer to a request that goes to the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requester {
    /// The host.
    Host(Ticket),
    /// The guardian tool, for this call of the host.
    Guardian(Ticket),
    /// The chat tool, for this call of the host.
    Chat(Ticket),
    /// The safety poll beside a channel.
    Poll(Subject),
    /// Presence.
    Heartbeat,
    /// The bridge itself: what does the workspace offer to a host that never asks?
    Discover,
    /// A report to the workspace (read, withdrawn, offline): nobody needs the answer, but the end
    /// of the process lets it arrive.
    Report,
    /// Somebody who does not need the answer.
    Nobody,
}

impl Requester {
    /// The call of the host that the answer is for, if there is one.
    pub(crate) fn ticket(self) -> Option<Ticket> {
        match self {
            Requester::Host(ticket) | Requester::Guardian(ticket) | Requester::Chat(ticket) => {
                Some(ticket)
            }
            Requester::Poll(_)
            | Requester::Heartbeat
            | Requester::Discover
            | Requester::Report
            | Requester::Nobody => None,
        }
    }

    /// True for the host's own requests.
    pub(crate) fn is_host(self) -> bool {
        matches!(self, Requester::Host(_))
    }

    /// What comes again by itself waits for its next turn instead of being repeated: the gateway's
    /// own requests stay below 30 a minute also when all of them fail.
    pub(crate) fn takes_turns(self) -> bool {
        matches!(self, Requester::Poll(_) | Requester::Heartbeat)
    }
}

/// Which generation of MCP a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// Up to 2025-11-25: handshake and session.
    Legacy,
    /// From 2026-07-28: every request carries its metadata.
    Modern,
}
