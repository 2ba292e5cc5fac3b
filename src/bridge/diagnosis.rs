//! What a diagnosis wants to know: it drives a bridge as its host, and asks here for what no MCP answer
//! says.

use super::{Bridge, Now, Socket};
use crate::proto::secrets::Secrets;

impl Bridge {
    /// What no report may show.
    pub fn secrets(&self) -> &Secrets {
        self.ctx.secrets()
    }

    /// The workspace's clock in Unix seconds, as of its last reply.
    pub fn workspace_clock_s(&self) -> Option<u64> {
        self.http.server_clock_s()
    }

    /// True while a request waits for an approval.
    pub fn awaits_a_person(&self) -> bool {
        self.extension.pending_approvals() > 0
    }

    /// Params of a heartbeat with status "check": recorded, never listed as an agent.
    pub fn check_params(&self) -> String {
        self.extension.heartbeat(&self.ctx, "check", self.counts())
    }

    /// Opens a WebSocket to see whether one can be opened.
    pub fn probe_socket(&mut self, now: Now) {
        self.ctx.advance(now);
        self.extension.probe_socket(&mut self.ctx);
        self.route();
        self.settle();
    }

    /// How that went.
    pub fn probed_socket(&self) -> Socket {
        self.extension.probed_socket()
    }
}
