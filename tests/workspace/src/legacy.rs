//! The handshake era: initialize, sessions, the standing stream, DELETE.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::response::Response;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::call::{Call, Era};
use crate::endpoint::{self, Exchange};
use crate::extensions;
use crate::raw::{RawObject, raw};
use crate::reply;
use crate::rpc::{self, Message, RpcError};
use crate::session::{LEGACY_VERSIONS, MODERN_VERSION, Program, Session};
use crate::state::Workspace;
use crate::stream::parse_event_id;
use crate::sync::Locked;

/// Serves a POST.
pub async fn post(exchange: &Exchange, message: Message) -> Response {
    if !exchange.workspace.settings.locked().legacy {
        let error = unsupported(
            &exchange.workspace,
            exchange.header("mcp-protocol-version").unwrap_or(""),
        );
        return reply::error(400, id_of(&message), error);
    }
    if let Message::Request { id, method, params } = &message
        && method == "initialize"
    {
        return initialize(exchange, id, params);
    }
    let session = match session(exchange, id_of(&message)) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    match message {
        Message::Notification { method, params } => {
            notified(exchange, &session, &method, &params);
            reply::empty(202)
        }
        Message::Response { id, outcome } => {
            session.answered(&id, outcome);
            reply::empty(202)
        }
        Message::Request { id, method, params } => {
            let call = call(exchange, &session, method, params);
            if !session.begin(&id, &call.cancel) {
                // "The request ID MUST NOT have been previously used by the requestor within the same session."
                let error =
                    RpcError::new(rpc::INVALID_REQUEST, "this id is in use by another request");
                return reply::error(400, Some(&id), error);
            }
            endpoint::run(call, id, &exchange.shape).await
        }
    }
}

/// The error of a version that is not served.
pub fn unsupported(workspace: &Workspace, requested: &str) -> RpcError {
    let settings = workspace.settings.locked();
    // The versions that a request can name; those of the handshake only where there are no others.
    let supported = if settings.modern {
        vec![MODERN_VERSION]
    } else {
        LEGACY_VERSIONS.to_vec()
    };
    let data = raw(&json!({ "supported": supported, "requested": requested }));
    RpcError::with_data(
        rpc::UNSUPPORTED_VERSION,
        "unsupported protocol version",
        &data,
    )
}

fn id_of(message: &Message) -> Option<&RawValue> {
    match message {
        Message::Request { id, .. } => Some(id),
        _ => None,
    }
}

fn call(exchange: &Exchange, session: &Arc<Session>, method: String, params: RawObject) -> Call {
    Call {
        workspace: exchange.workspace.clone(),
        era: Era::Legacy(session.clone()),
        method,
        params,
        client: session.client.clone(),
        token: exchange.token.clone(),
        stream: None,
        cancel: endpoint::cancellation(Some(&session.ended)),
    }
}

/// The session that the request names, with the version that it negotiated.
fn session(exchange: &Exchange, id: Option<&RawValue>) -> Result<Arc<Session>, Response> {
    let refuse = |status, message: &str| {
        Err(reply::error(
            status,
            id,
            RpcError::new(rpc::INVALID_REQUEST, message),
        ))
    };
    let Some(name) = exchange.headers.get("mcp-session-id") else {
        if !exchange.workspace.settings.locked().sessions {
            let token = exchange.token.clone();
            return Ok(Session::new(
                LEGACY_VERSIONS[0],
                Program::default(),
                None,
                token,
            ));
        }
        // "Servers that require a session ID SHOULD respond to requests without an MCP-Session-Id header
        // (other than initialization) with HTTP 400 Bad Request."
        return refuse(400, "Mcp-Session-Id is missing");
    };
    let sessions = exchange.workspace.sessions.locked();
    let own = |s: &&Arc<Session>| s.token == exchange.token;
    let Some(session) = name.to_str().ok().and_then(|n| sessions.get(n)).filter(own) else {
        return refuse(404, "the session has ended or never was");
    };
    // "If the server receives a request with an invalid or unsupported MCP-Protocol-Version, it MUST respond
    // with 400 Bad Request." From 2025-06-18 on the header MUST be there.
    match exchange
        .headers
        .get("mcp-protocol-version")
        .map(|v| v.to_str().unwrap_or(""))
    {
        Some(version) if version == session.version => {}
        Some(_) => {
            return refuse(
                400,
                "MCP-Protocol-Version is not the one that this session negotiated",
            );
        }
        None if session.version.as_str() >= "2025-06-18" => {
            return refuse(400, "MCP-Protocol-Version is missing");
        }
        None => {}
    }
    Ok(session.clone())
}

fn initialize(exchange: &Exchange, id: &RawValue, params: &RawObject) -> Response {
    let workspace = &exchange.workspace;
    let (Some(asked), Some(client)) = (
        params.string("protocolVersion"),
        params.object("clientInfo"),
    ) else {
        let error =
            RpcError::params("initialize needs protocolVersion, capabilities and clientInfo");
        return reply::error(400, Some(id), error);
    };
    if params.object("capabilities").is_none() {
        return reply::error(
            400,
            Some(id),
            RpcError::params("initialize needs capabilities"),
        );
    }
    let settings = workspace.settings();
    let known = LEGACY_VERSIONS
        .iter()
        .find(|v| **v == asked)
        .copied()
        .unwrap_or(LEGACY_VERSIONS[0]);
    let version = settings.protocol_version.as_deref().unwrap_or(known);
    let text = |name: &str| client.string(name).unwrap_or_default();
    let client = Program {
        name: text("name"),
        version: text("version"),
    };
    let capabilities = params.get("capabilities").map(ToOwned::to_owned);
    let session = Session::new(
        version,
        client.clone(),
        capabilities,
        exchange.token.clone(),
    );
    let mut result = json!({
        "protocolVersion": version,
        "capabilities": capabilities_offered(workspace, None),
        "serverInfo": server_info(),
    });
    if let Some(instructions) = settings.instructions {
        result["instructions"] = instructions.into();
    }
    let meta = extensions::meta(workspace, &exchange.token);
    if meta.as_object().is_some_and(|m| !m.is_empty()) {
        result["_meta"] = meta;
    }
    let outcome = Ok(raw(&result));
    let text = exchange.shape.text(id, &outcome);
    let response = if exchange.shape.stream == Some(true)
        || settings.replies == crate::settings::Replies::Sse
    {
        let log = crate::stream::EventLog::new("i", false);
        log.push(&text);
        log.finish();
        log.follow(None, None)
    } else {
        reply::body(200, "application/json", text)
    };
    workspace.log(
        &format!("{} {}", client.name, client.version),
        "session opened",
        version,
    );
    if !settings.sessions {
        return response;
    }
    let response = reply::header(response, "mcp-session-id", &session.id);
    workspace
        .sessions
        .locked()
        .insert(session.id.clone(), session);
    response
}

/// Our own name, which is that of the cloud's endpoint.
pub fn server_info() -> Value {
    json!({
        "name": "aerostack-mcp-gateway",
        "title": "Aerostack Workspace (local reference)",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// What we can do. In the stateless era the workspace and the token of that name are described there, too.
pub fn capabilities_offered(workspace: &Workspace, modern: Option<&str>) -> Value {
    let mut capabilities = json!({
        "resources": { "subscribe": true, "listChanged": true },
        "prompts": { "listChanged": true },
        "completions": {},
        "logging": {},
    });
    if !workspace.settings.locked().no_tools {
        capabilities["tools"] = json!({ "listChanged": true });
    }
    if let Some(mut offered) = extensions::offered(workspace) {
        if let Some(token) = modern {
            if let (Some(own), Some(meta)) = (
                offered.as_object_mut(),
                extensions::meta(workspace, token).as_object(),
            ) {
                own.insert(
                    "workspace".to_owned(),
                    meta["dev.aerostack/workspace"].clone(),
                );
                own.insert("token".to_owned(), meta["dev.aerostack/token"].clone());
            }
            capabilities["extensions"] = json!({ "dev.aerostack/workspace": offered });
        } else {
            capabilities["experimental"] = json!({ "aerostack": offered });
        }
    }
    capabilities
}

fn notified(exchange: &Exchange, session: &Session, method: &str, params: &RawObject) {
    match method {
        "notifications/initialized" => session.initialized.store(true, Ordering::SeqCst),
        "notifications/cancelled" => {
            if let Some(id) = params.get("requestId") {
                session.cancel(id);
            }
        }
        _ => {}
    }
    exchange.workspace.touched();
}

/// Serves a GET: the standing stream, or the resumption of any stream by `Last-Event-ID`.
pub fn get(exchange: &Exchange) -> Response {
    if exchange.header("mcp-protocol-version") == Some(MODERN_VERSION) {
        return reply::header(reply::empty(405), "allow", "POST");
    }
    let settings = exchange.workspace.settings();
    let accepts = exchange.header("accept").unwrap_or_default();
    if !accepts.contains("text/event-stream") && !accepts.contains("*/*") {
        return reply::refusal(406, "NOT_ACCEPTABLE", "Accept must list text/event-stream");
    }
    if !settings.get_stream || !settings.legacy {
        return endpoint::not_allowed();
    }
    let session = match session(exchange, None) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    match exchange.header("last-event-id").map(parse_event_id) {
        None => {
            if session.primes() && session.standing.is_fresh() {
                session.standing.prime(settings.retry_ms);
            }
            session.standing.follow(None, None)
        }
        Some(Some((name, number))) => match session.stream(name) {
            Some(stream) => stream.follow(Some(number), None),
            None => reply::refusal(404, "EVENT_NOT_FOUND", "that stream is not kept any more"),
        },
        Some(None) => reply::refusal(400, "BAD_EVENT_ID", "Last-Event-ID is not one of ours"),
    }
}

/// Serves a DELETE: the session ends.
pub fn delete(exchange: &Exchange) -> Response {
    let settings = exchange.workspace.settings();
    if !settings.delete_session || exchange.header("mcp-protocol-version") == Some(MODERN_VERSION) {
        return reply::header(reply::empty(405), "allow", "POST");
    }
    match session(exchange, None) {
        Ok(session) => {
            exchange.workspace.sessions.locked().remove(&session.id);
            session.close();
            exchange
                .workspace
                .log(&session.client.name, "session ended", "DELETE");
            reply::empty(204)
        }
        Err(refusal) => refusal,
    }
}

/// Serves a batch: "implementations … MUST support receiving JSON-RPC batches" holds for 2025-03-26 alone.
pub async fn batch(exchange: &Exchange, body: &[u8]) -> Response {
    let refuse =
        |message: &str| reply::error(400, None, RpcError::new(rpc::INVALID_REQUEST, message));
    let session = match session(exchange, None) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    if !["2025-03-26", "2024-11-05"].contains(&session.version.as_str()) {
        return refuse("invalid request: batches ended with protocol 2025-06-18");
    }
    let parts: Vec<Box<RawValue>> = match serde_json::from_slice(body) {
        Ok(parts) => parts,
        Err(_) => return refuse("invalid request: not a batch"),
    };
    if parts.is_empty() {
        return refuse("invalid request: an empty batch");
    }
    let mut answers = Vec::new();
    for part in parts {
        match Message::parse(part.get()) {
            Ok(Message::Request { id, method, params }) => {
                let call = call(exchange, &session, method, params);
                let outcome = crate::dispatch::answer(&call).await;
                answers.push(rpc::response(Some(&id), &outcome));
            }
            Ok(Message::Notification { method, params }) => {
                notified(exchange, &session, &method, &params)
            }
            Ok(Message::Response { id, outcome }) => {
                session.answered(&id, outcome);
            }
            Err(bad) => answers.push(rpc::response(bad.id.as_deref(), &Err(bad.error))),
        }
    }
    if answers.is_empty() {
        return reply::empty(202);
    }
    reply::body(200, "application/json", format!("[{}]", answers.join(",")))
}
