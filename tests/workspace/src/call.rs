//! One request on its way: what it is, who sent it, and where its notifications go.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Agent, Subject};
use crate::raw::{RawObject, raw};
use crate::rpc::{self, Outcome, RpcError};
use crate::session::{Program, Session};
use crate::state::Workspace;
use crate::stream::EventLog;
use crate::sync::Locked;

/// Which era a request belongs to.
#[derive(Clone, Debug)]
pub enum Era {
    /// With a handshake and a session.
    Legacy(Arc<Session>),
    /// Without; the client is named in each request.
    Modern {
        /// The client's capabilities.
        capabilities: RawObject,
    },
    /// Executed by the workspace after an approval: nobody is on the line.
    Detached,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// The workspace.
    pub workspace: Arc<Workspace>,
    /// The era, with what belongs to it.
    pub era: Era,
    /// The method.
    pub method: String,
    /// The parameters.
    pub params: RawObject,
    /// Who sent it.
    pub client: Program,
    /// The name of the token that it came with.
    pub token: String,
    /// The request's own stream, if its answer travels on one.
    pub stream: Option<Arc<EventLog>>,
    /// Cancelled by the client.
    pub cancel: CancellationToken,
}

impl Call {
    /// An approved request that the workspace executes by itself.
    pub fn detached(workspace: &Arc<Workspace>, subject: Subject) -> Call {
        Call {
            workspace: workspace.clone(),
            era: Era::Detached,
            method: subject.method,
            params: subject.params,
            client: subject.client,
            token: subject.token,
            stream: None,
            cancel: CancellationToken::new(),
        }
    }

    /// `params._meta`.
    pub fn meta(&self) -> RawObject {
        self.params.object("_meta").unwrap_or_default()
    }

    /// The tool of a tools/call.
    pub fn tool(&self) -> Option<String> {
        if self.method == "tools/call" {
            self.params.string("name")
        } else {
            None
        }
    }

    /// The session of a legacy request.
    pub fn session(&self) -> Option<&Arc<Session>> {
        if let Era::Legacy(session) = &self.era {
            Some(session)
        } else {
            None
        }
    }

    /// The agent, as far as it is known.
    pub fn agent(&self) -> Agent {
        match self.session() {
            Some(session) => Agent {
                bridge_id: session.bridge_id.locked().clone(),
                instance: session.instance.locked().clone(),
                session: Some(session.id.clone()),
            },
            None => Agent::default(),
        }
    }

    /// True for a request of the stateless era.
    pub fn is_modern(&self) -> bool {
        matches!(self.era, Era::Modern { .. })
    }

    /// Sends a notification on the request's stream; without a stream it is dropped.
    pub fn notify(&self, method: &str, params: &RawValue) {
        if let Some(stream) = &self.stream {
            stream.push(&rpc::notification(method, Some(params)));
        }
    }

    /// Sends progress, if the request asked for it.
    pub fn progress(&self, progress: u64, total: u64, message: &str) {
        let Some(token) = self.meta().get("progressToken").map(ToOwned::to_owned) else {
            return;
        };
        let mut params = RawObject::default();
        params.set("progressToken", token);
        params.set("progress", raw(&progress));
        params.set("total", raw(&total));
        params.set("message", raw(message));
        self.notify("notifications/progress", &params.to_raw());
    }

    /// True if the client said that it can do `name`.
    pub fn client_can(&self, name: &str) -> bool {
        match &self.era {
            Era::Legacy(session) => session
                .capabilities
                .as_ref()
                .and_then(|c| RawObject::parse(c.get()))
                .is_some_and(|c| c.get(name).is_some()),
            Era::Modern { capabilities, .. } => capabilities.get(name).is_some(),
            Era::Detached => false,
        }
    }

    /// Asks the client (legacy era only: later ones have no requests from the server).
    pub async fn ask(&self, method: &str, params: &RawValue) -> Outcome {
        let (Era::Legacy(session), Some(stream)) = (&self.era, &self.stream) else {
            return Err(RpcError::new(rpc::INTERNAL_ERROR, "there is nobody to ask"));
        };
        tokio::select! {
            answer = session.ask(stream, method, params) => answer,
            () = self.cancel.cancelled() => Err(RpcError::new(rpc::INTERNAL_ERROR, "cancelled")),
        }
    }
}
