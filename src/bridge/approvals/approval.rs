//! One approval: what is known of it, and where it stands.

use crate::bridge::ids::Era;
use crate::bridge::mcp::Call;
use crate::proto::aerostack::ApprovalState;
use crate::proto::identity::Identity;
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Approval {
    pub(super) facts: Facts,
    pub(super) state: State,
}

/// What does not change.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: Box<str>,
    /// The request in words.
    pub(super) label: String,
    /// The request it was asked for.
    pub(super) identity: Identity,
    pub(super) era: Era,
    /// `_meta` for our own requests about it (modern era), raw JSON.
    pub(super) meta: Option<String>,
    pub(super) since: Instant,
    /// When the workspace said that it ends.
    pub(super) expires: Option<Instant>,
    /// Where a person decides.
    pub(super) dashboard_url: Option<String>,
}

/// Where an approval stands.
#[derive(Debug)]
pub(super) enum State {
    /// Undecided; these wait for it.
    Open(Vec<Call>),
    /// Its time is over; one last question is under way.
    LastQuestion(Vec<Call>),
    /// Undecided, and nobody waits.
    Detached,
    /// Decided while nobody waited.
    Decided(ApprovalState),
}

impl Approval {
    /// Those who wait.
    pub(super) fn calls(&self) -> &[Call] {
        match &self.state {
            State::Open(calls) | State::LastQuestion(calls) => calls,
            State::Detached | State::Decided(_) => &[],
        }
    }

    pub(super) fn calls_mut(&mut self) -> Option<&mut Vec<Call>> {
        match &mut self.state {
            State::Open(calls) | State::LastQuestion(calls) => Some(calls),
            State::Detached | State::Decided(_) => None,
        }
    }
}
