//! What people do at the dashboard of the reference workspace, and what they see there.

use super::{Setup, Workspace};
use aerostack_workspace::approvals::{Approval, Status};
use aerostack_workspace::chat::Draft;
use aerostack_workspace::decide;
use aerostack_workspace::presence::Bridge;
use aerostack_workspace::push::SocketOrder;
use aerostack_workspace::settings::Outage;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

impl Setup {
    /// A gateway with everything on, as people have it.
    pub(crate) fn whole(workspace: &Workspace) -> Self {
        Setup::workspace(workspace).without("AEROSTACK_BUILTIN_TOOLS")
    }
}

impl Workspace {
    /// A workspace as people have it: with approvals, guardian, chat and heartbeats.
    pub(crate) fn whole(workspace: Self) -> Self {
        workspace.set(json!({ "extensions": true }));
        workspace
    }

    /// As above, where `demo__echo` needs approval.
    pub(crate) fn gated() -> Self {
        let workspace = Workspace::whole(Workspace::http());
        workspace.set(json!({ "gates": ["demo__echo"] }));
        workspace
    }

    /// Waits for so many undecided approvals and returns their ids, oldest first.
    pub(crate) fn pending(&self, min: usize) -> Vec<String> {
        let open = |approval: &Approval| {
            let open = approval.status == Status::Pending && !approval.is_busy();
            open.then(|| approval.id.clone())
        };
        self.wait("an approval", |state| {
            let mut ids: Vec<_> = state.approvals.each(open).into_iter().flatten().collect();
            ids.reverse();
            (ids.len() >= min).then_some(ids)
        })
    }

    /// Waits for the one undecided approval.
    pub(crate) fn one_pending(&self) -> String {
        let mut ids = self.pending(1);
        assert_eq!(ids.len(), 1, "one approval is open");
        ids.remove(0)
    }

    /// Decides, with a body as the admin API takes it.
    pub(crate) fn decide(&self, id: &str, approve: bool, body: &str) {
        let decision = decide::read(&self.state, id, approve, body, "Ada");
        let decision = decision.expect("a decision");
        let decided = self.inside(|| self.state.decide(id, decision));
        decided.expect("it was open");
    }

    pub(crate) fn approve(&self, id: &str) {
        self.decide(id, true, "{}");
    }

    pub(crate) fn reject(&self, id: &str, note: &str) {
        self.decide(id, false, &json!({ "note": note }).to_string());
    }

    /// How often this approval was executed.
    pub(crate) fn executed(&self, id: &str) -> u32 {
        let count = self
            .state
            .approvals
            .with(id, |approval| approval.executions);
        count.expect("the approval is known")
    }

    /// Waits until an approval has come to this.
    pub(crate) fn wait_status(&self, id: &str, status: Status) {
        self.wait(&format!("{status:?}"), |state| {
            let now = state.approvals.with(id, |approval| approval.status);
            (now == Some(status)).then_some(())
        });
    }

    /// Waits for so many open WebSockets.
    pub(crate) fn wait_sockets(&self, count: i64) {
        self.wait(&format!("{count} WebSockets"), |state| {
            (state.websockets.load(Ordering::SeqCst) == count).then_some(())
        });
    }

    /// Does this to every open WebSocket.
    pub(crate) fn order_sockets(&self, order: SocketOrder) {
        self.state.websocket_orders.send_replace(Some(order));
    }

    /// Resets every connection.
    pub(crate) fn reset_connections(&self) {
        let connections = self.state.connections();
        connections.iter().for_each(|connection| connection.reset());
    }

    /// Goes away, or comes back.
    pub(crate) fn outage(&self, outage: Outage) {
        self.state.settings.lock().expect("not poisoned").outage = outage;
        if outage == Outage::Refuse {
            self.reset_connections();
        }
    }

    /// A message from the dashboard, in the words of the admin API; returns its id.
    pub(crate) fn say(&self, message: Value) -> String {
        let draft: Draft = serde_json::from_value(message).expect("a message");
        let id = self.state.chat.post("user", draft).id;
        self.state.touched();
        id
    }

    /// The bridges as the dashboard lists them.
    pub(crate) fn bridges(&self) -> Vec<Bridge> {
        self.state.presence.list(self.state.stale_ms())
    }

    /// Waits until the dashboard shows bridges like this.
    pub(crate) fn wait_bridges(&self, what: &str, fits: impl Fn(&[Bridge]) -> bool) -> Vec<Bridge> {
        self.wait(what, |state| {
            let bridges = state.presence.list(state.stale_ms());
            fits(&bridges).then_some(bridges)
        })
    }
}
