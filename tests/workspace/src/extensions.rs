//! The workspace extensions: `aerostack/approvals/*`, `aerostack/guardian/request`, `aerostack/heartbeat`,
//! `aerostack/chat/*`, and how they are advertised.

use serde_json::{Value, json};

use crate::approvals::{Joined, Subject};
use crate::call::Call;
use crate::chat::{Ask, Draft};
use crate::presence::Heartbeat;
use crate::raw::{RawObject, raw};
use crate::risk::Risk;
use crate::rpc::{self, Outcome, RpcError};
use crate::settings::GuardianMode;
use crate::state::Workspace;
use crate::sync::Locked;

/// What the guardian knows; `other` is for a hook that asks about what fits none.
pub const CATEGORIES: [&str; 7] = [
    "file_delete",
    "shell_destructive",
    "git_push",
    "config_modify",
    "deploy",
    "database",
    "other",
];

/// The object that advertises the extensions.
pub fn offered(workspace: &Workspace) -> Option<Value> {
    let settings = workspace.settings.locked();
    settings.extensions.then(|| {
        json!({
            "approvals": { "at_most_once": settings.at_most_once },
            "guardian": {},
            "heartbeat": { "interval_s": settings.heartbeat_interval_s },
            "chat": { "ws_url": format!("/ws/{}/chat/ws", workspace.identity.slug) },
        })
    })
}

/// `_meta` of initialize and server/discover, for the token of that name.
pub fn meta(workspace: &Workspace, token: &str) -> Value {
    if !workspace.settings.locked().extensions {
        return json!({});
    }
    let tokens = workspace.tokens.list();
    let role = tokens.iter().find(|t| t.name == token).map(|t| t.role);
    json!({
        "dev.aerostack/workspace": {
            "slug": workspace.identity.slug,
            "name": workspace.identity.name,
            "dashboard_url": workspace.dashboard_url(),
        },
        "dev.aerostack/token": { "name": token, "role": role },
    })
}

/// Answers a request of an extension.
pub fn answer(call: &Call) -> Outcome {
    let offered = call.workspace.settings.locked().extensions;
    match call.method.as_str() {
        "aerostack/approvals/get" if offered => approval_get(call),
        "aerostack/approvals/cancel" if offered => approval_cancel(call),
        "aerostack/guardian/request" if offered => guardian(call),
        "aerostack/heartbeat" if offered => heartbeat(call),
        "aerostack/chat/messages" if offered => chat_messages(call),
        "aerostack/chat/send" if offered => chat_send(call),
        method => Err(RpcError::new(
            rpc::METHOD_NOT_FOUND,
            format!("method not found: {method}"),
        )),
    }
}

/// The approval that is named, where this token asked for it: an agent hears nothing of the others'.
fn approval_id(call: &Call) -> Result<String, RpcError> {
    let id = call
        .params
        .string("approval_id")
        .or_else(|| call.params.string("approvalId"));
    let id = id.ok_or_else(|| RpcError::params("approval_id is missing"))?;
    let own = call
        .workspace
        .approvals
        .with(&id, |a| a.subject.token == call.token);
    match own {
        Some(true) => Ok(id),
        Some(false) | None => Err(RpcError::params("no such approval")),
    }
}

fn approval_get(call: &Call) -> Outcome {
    let id = approval_id(call)?;
    call.workspace
        .approvals
        .object(&id)
        .ok_or_else(|| RpcError::params("no such approval"))
}

fn approval_cancel(call: &Call) -> Outcome {
    let id = approval_id(call)?;
    call.workspace
        .approvals
        .cancel(&id, call.params.string("reason"));
    let object = call
        .workspace
        .approvals
        .object(&id)
        .ok_or_else(|| RpcError::params("no such approval"))?;
    call.workspace.log(&who(call), "cancel", id);
    Ok(object)
}

fn guardian(call: &Call) -> Outcome {
    let category = call.params.string("category").unwrap_or_default();
    if !CATEGORIES.contains(&category.as_str()) {
        return Err(RpcError::params(format!(
            "category must be one of {}",
            CATEGORIES.join(", ")
        )));
    }
    let Some(action) = call
        .params
        .string("action")
        .filter(|a| !a.trim().is_empty())
    else {
        return Err(RpcError::params("action is missing"));
    };
    let decided = |decision: &str| {
        call.workspace.log(
            &who(call),
            "guardian",
            format!("{category}: {action}: {decision} by rule"),
        );
        Ok(raw(
            &json!({ "decision": decision, "note": "decided by the workspace's rule" }),
        ))
    };
    let mode = call.workspace.settings.locked().guardian;
    match mode {
        GuardianMode::Approve => decided("approved"),
        GuardianMode::Reject => decided("rejected"),
        GuardianMode::Ask => ask_guardian(call, category),
    }
}

/// A person is asked, unless an approval of the same operation is there to be joined.
fn ask_guardian(call: &Call, category: String) -> Outcome {
    let workspace = &call.workspace;
    let mut params = call.params.clone();
    params.remove("_meta");
    let operation = match params.get("operation").filter(|o| o.get() != "null") {
        None => None,
        Some(_) => Some(
            params
                .string("operation")
                .filter(|o| o.len() == 64 && o.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(|| RpcError::params("operation must be 64 hex digits"))?,
        ),
    };
    let mut agent = call.agent();
    let named = params
        .string("bridge_id")
        .or_else(|| params.string("bridgeId"));
    if named.is_some() && named != agent.bridge_id {
        // A process of its own, such as a hook's, that uses the bridge's name.
        agent.bridge_id = named;
        agent.instance = None;
    }
    let subject = Subject {
        method: call.method.clone(),
        tool: None,
        risk: Risk::of_guardian(&category, &params.string("risk").unwrap_or_default()),
        category: Some(category),
        params,
        reason: "Local Guardian: a risky local operation".to_owned(),
        client: call.client.clone(),
        agent,
        token: call.token.clone(),
    };
    if let Some(grant) = workspace.grants.use_for(&subject) {
        let words = format!("{} ({})", grant.what, grant.id);
        workspace.log(&who(call), "ran under a 15-minute approval", words);
        let note = format!("{} approved this for 15 minutes", grant.by);
        return Ok(raw(&json!({ "decision": "approved", "note": note })));
    }
    match operation.and_then(|o| workspace.approvals.join(&o, &subject)) {
        None => Err(workspace.ask_approval(subject)),
        Some(Joined::Open(id)) => {
            workspace.log(&who(call), "asked again", id.clone());
            Err(workspace.approval_error(&id))
        }
        Some(Joined::Decided {
            id,
            approved,
            note,
            by,
        }) => {
            workspace.log(&who(call), "came back for the decision", id.clone());
            let decision = if approved { "approved" } else { "rejected" };
            let mut result = RawObject::default();
            result.set("decision", raw(decision));
            result.set("approval_id", raw(&id));
            for (name, text) in [("note", note), ("decided_by", by)] {
                if let Some(text) = text {
                    result.set(name, raw(&text));
                }
            }
            Ok(result.to_raw())
        }
    }
}

fn heartbeat(call: &Call) -> Outcome {
    let beat: Heartbeat = serde_json::from_str(call.params.to_raw().get())
        .map_err(|e| RpcError::params(format!("not a heartbeat: {e}")))?;
    if !["online", "offline", "check"].contains(&beat.status.as_str()) {
        return Err(RpcError::params("status must be online, offline or check"));
    }
    if let Some(session) = call.session() {
        *session.bridge_id.locked() = Some(beat.bridge.id.clone());
        *session.instance.locked() = Some(beat.bridge.instance.clone());
    }
    if call.workspace.presence.record(&beat) {
        let who = format!("{} on {}", beat.bridge.name, beat.bridge.hostname);
        call.workspace.log(
            &who,
            &format!("bridge {}", beat.status),
            beat.bridge.instance.clone(),
        );
    }
    call.workspace.touched();
    let interval_s = call.workspace.settings.locked().heartbeat_interval_s;
    let unread = call.workspace.chat.unread(&beat.bridge.id);
    Ok(raw(
        &json!({ "interval_s": interval_s, "unread_chat": unread }),
    ))
}

fn chat_messages(call: &Call) -> Outcome {
    let mut ask: Ask = serde_json::from_str(call.params.to_raw().get())
        .map_err(|e| RpcError::params(format!("not a request for messages: {e}")))?;
    ask.bridge_id = ask.bridge_id.or_else(|| bridge_of(call));
    let messages = call.workspace.chat.messages(&ask);
    let unread = call
        .workspace
        .chat
        .unread(ask.bridge_id.as_deref().unwrap_or_default());
    call.workspace.touched();
    Ok(raw(&json!({ "messages": messages, "unread": unread })))
}

fn chat_send(call: &Call) -> Outcome {
    let mut draft: Draft = serde_json::from_str(call.params.to_raw().get())
        .map_err(|e| RpcError::params(format!("not a message: {e}")))?;
    if draft.text.trim().is_empty() {
        return Err(RpcError::params("text is empty"));
    }
    draft.bridge_id = draft.bridge_id.or_else(|| bridge_of(call));
    let message = call.workspace.chat.post("agent", draft);
    call.workspace.log(
        &who(call),
        "chat",
        format!("{}: {}", message.id, message.text),
    );
    Ok(raw(&json!({ "id": message.id })))
}

fn bridge_of(call: &Call) -> Option<String> {
    call.session().and_then(|s| s.bridge_id.locked().clone())
}

fn who(call: &Call) -> String {
    if call.client.name.is_empty() {
        "bridge".to_owned()
    } else {
        call.client.name.clone()
    }
}
