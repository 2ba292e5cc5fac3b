//! What a diagnosis wants to know of a bridge: `--check` drives one as its host and asks here for
//! what no MCP answer says.

use super::watch;
use super::{Bridge, Now};
use crate::failure::Failure;
use crate::proto::secrets::Secrets;

/// The state of the WebSocket that was opened for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// On its way.
    Opening,
    /// It works.
    Open,
    /// It does not; `None` if it was closed as soon as it was open.
    Refused(Option<Failure>),
}

impl Bridge {
    /// What no report may show.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The workspace's clock in Unix seconds, as of its last reply.
    pub fn workspace_clock_s(&self) -> Option<u64> {
        self.last_date_s
    }

    /// Params of a heartbeat with status "check": "recorded, never listed as an agent".
    pub fn check_params(&self) -> String {
        self.heartbeat_params("check")
    }

    /// Opens a WebSocket to see whether one can be opened.
    pub fn probe_socket(&mut self, now: Now) {
        self.now = now;
        self.watch_chat();
        self.settle();
    }

    /// How that went.
    pub fn probed_socket(&self) -> Socket {
        let watch = self.chatting.watch.and_then(|id| self.watches.get(id));
        match watch {
            Some(watch) if watch.is_open() => Socket::Open,
            Some(watch::Watch {
                socket: watch::Socket::Closed,
                trouble,
                ..
            }) => Socket::Refused(trouble.clone()),
            Some(_) | None => Socket::Opening,
        }
    }
}
