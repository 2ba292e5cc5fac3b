//! The stateless era (2026-07-28): headers that mirror the body, server/discover, subscriptions/listen.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use serde_json::value::RawValue;

use crate::call::{Call, Era};
use crate::dispatch;
use crate::endpoint::{self, Exchange};
use crate::legacy;
use crate::raw::{RawObject, raw};
use crate::reply;
use crate::rpc::{self, Message, Outcome, RpcError};
use crate::session::{MODERN_VERSION, Program};
use crate::state::{Listener, Workspace};
use crate::stream::EventLog;
use crate::sync::Locked;
use crate::{conformance, extensions};

/// The prefix of the specification's own `_meta` members.
const META: &str = "io.modelcontextprotocol/";

/// True if a message belongs to this era.
pub fn claims(exchange: &Exchange, message: &Message) -> bool {
    let (method, params) = match message {
        Message::Request { method, params, .. } | Message::Notification { method, params } => {
            (method, params)
        }
        Message::Response { .. } => {
            return exchange.header("mcp-protocol-version") == Some(MODERN_VERSION);
        }
    };
    let meta = params.object("_meta").unwrap_or_default();
    let claimed = meta.get(&format!("{META}protocolVersion")).is_some();
    if method == "initialize" {
        return claimed;
    }
    claimed
        || matches!(method.as_str(), "server/discover" | "subscriptions/listen")
        || exchange.header("mcp-protocol-version") == Some(MODERN_VERSION)
        || (exchange.headers.contains_key("mcp-method")
            && !exchange.headers.contains_key("mcp-session-id"))
}

/// Serves a POST.
pub async fn post(exchange: &Exchange, message: Message) -> Response {
    let (id, method, params) = match message {
        Message::Request { id, method, params } => (id, method, params),
        Message::Notification { .. } => return reply::empty(202),
        Message::Response { .. } => {
            let error = RpcError::new(
                rpc::INVALID_REQUEST,
                "responses are not sent to a server in 2026-07-28",
            );
            return reply::error(400, None, error);
        }
    };
    let era = match check(exchange, &method, &params) {
        Ok(era) => era,
        Err(error) => return reply::error(status(&Err(error.clone())).max(400), Some(&id), error),
    };
    let info = params
        .object("_meta")
        .unwrap_or_default()
        .object(&format!("{META}clientInfo"))
        .unwrap_or_default();
    let text = |name: &str| info.string(name).unwrap_or_default();
    let call = Call {
        workspace: exchange.workspace.clone(),
        era,
        method,
        params,
        client: Program {
            name: text("name"),
            version: text("version"),
        },
        token: exchange.token.clone(),
        stream: None,
        cancel: endpoint::cancellation(None),
    };
    match call.method.as_str() {
        "subscriptions/listen" => listen(&call, id),
        "server/discover" => {
            let outcome = finish(&call, Ok(discover(&call)));
            reply::body(200, "application/json", exchange.shape.text(&id, &outcome))
        }
        _ => {
            if let Err(error) = check_params(exchange, &call) {
                return reply::error(400, Some(&id), error);
            }
            endpoint::run(call, id, &exchange.shape).await
        }
    }
}

/// Headers against body, and the `_meta` that every request has.
fn check(exchange: &Exchange, method: &str, params: &RawObject) -> Result<Era, RpcError> {
    let mismatch = |text: String| RpcError::new(rpc::HEADER_MISMATCH, text);
    let meta = params.object("_meta").unwrap_or_default();
    let version = meta.string(&format!("{META}protocolVersion"));
    let Some(header) = exchange.header("mcp-protocol-version") else {
        return Err(mismatch(
            "header mismatch: MCP-Protocol-Version is missing".to_owned(),
        ));
    };
    let Some(version) = version else {
        return Err(RpcError::params(format!(
            "_meta needs {META}protocolVersion, a string"
        )));
    };
    if header != version {
        return Err(mismatch(format!(
            "header mismatch: MCP-Protocol-Version is {header}, _meta says {version}"
        )));
    }
    if version != MODERN_VERSION || !exchange.workspace.settings.locked().modern {
        return Err(legacy::unsupported(&exchange.workspace, &version));
    }
    match exchange.header("mcp-method").map(str::trim) {
        None => {
            return Err(mismatch(
                "header mismatch: Mcp-Method is missing".to_owned(),
            ));
        }
        Some(header) if header != method => {
            return Err(mismatch(format!(
                "header mismatch: Mcp-Method is {header}, the body's method is {method}"
            )));
        }
        Some(_) => {}
    }
    let named = match method {
        "tools/call" | "prompts/get" => params.string("name"),
        "resources/read" => params.string("uri"),
        _ => None,
    };
    if let Some(named) = named {
        match exchange.headers.get("mcp-name") {
            None => return Err(mismatch("header mismatch: Mcp-Name is missing".to_owned())),
            Some(header) if decode(header).as_deref() != Some(&named) => {
                return Err(mismatch(
                    "header mismatch: Mcp-Name is not the body's".to_owned(),
                ));
            }
            Some(_) => {}
        }
    }
    let Some(capabilities) = meta.object(&format!("{META}clientCapabilities")) else {
        return Err(RpcError::params(format!(
            "_meta needs {META}clientCapabilities, an object"
        )));
    };
    Ok(Era::Modern { capabilities })
}

/// A header value: plain visible ASCII, or the sentinel around Base64.
fn decode(value: &hyper::header::HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    match text
        .strip_prefix("=?base64?")
        .and_then(|t| t.strip_suffix("?="))
    {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// Mcp-Param-* against the arguments, for tools whose schema has `x-mcp-header`.
fn check_params(exchange: &Exchange, call: &Call) -> Result<(), RpcError> {
    let Some(tool) = call.tool() else {
        return Ok(());
    };
    let mut tools = dispatch::catalog().tools.iter().chain(
        call.workspace
            .identity
            .conformance
            .then(|| conformance::catalog().tools.iter())
            .into_iter()
            .flatten(),
    );
    let Some(schema) = tools.find(|t| t.string("name").as_deref() == Some(&tool)) else {
        return Ok(());
    };
    let schema = schema.object("inputSchema").unwrap_or_default();
    let arguments = call.params.object("arguments").unwrap_or_default();
    check_object(exchange, &schema, &arguments)
}

fn check_object(
    exchange: &Exchange,
    schema: &RawObject,
    arguments: &RawObject,
) -> Result<(), RpcError> {
    for (name, property) in schema.object("properties").unwrap_or_default().iter() {
        let Some(property) = RawObject::parse(property.get()) else {
            continue;
        };
        if property.object("properties").is_some() {
            check_object(
                exchange,
                &property,
                &arguments.object(name).unwrap_or_default(),
            )?;
        }
        let Some(header) = property.string("x-mcp-header") else {
            continue;
        };
        let given = exchange
            .headers
            .get(format!("mcp-param-{}", header.to_ascii_lowercase()));
        let wanted = arguments.get(name).filter(|v| v.get() != "null").map(|v| {
            serde_json::from_str::<String>(v.get()).unwrap_or_else(|_| v.get().to_owned())
        });
        let fits = match (&wanted, given) {
            (None, None) => true,
            (Some(wanted), Some(given)) => decode(given).is_some_and(|g| &g == wanted),
            _ => false,
        };
        if !fits {
            let message =
                format!("header mismatch: Mcp-Param-{header} does not mirror the argument {name}");
            return Err(RpcError::new(rpc::HEADER_MISMATCH, message));
        }
    }
    Ok(())
}

/// The HTTP status of an outcome.
pub fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Err(e) if e.code == rpc::METHOD_NOT_FOUND => 404,
        Err(e) if (rpc::UNSUPPORTED_VERSION..=rpc::HEADER_MISMATCH).contains(&e.code) => 400,
        _ => 200,
    }
}

/// Adds what every result of this era has.
pub fn finish(call: &Call, outcome: Outcome) -> Outcome {
    let result = outcome?;
    let mut members = vec![("resultType", raw("complete"))];
    let cacheable = matches!(
        call.method.as_str(),
        "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "server/discover"
    );
    if cacheable {
        members.push(("ttlMs", raw(&0)));
        members.push(("cacheScope", raw("private")));
    }
    Ok(reply::complete(&result, &members))
}

fn discover(call: &Call) -> Box<RawValue> {
    let workspace = &call.workspace;
    let mut meta = extensions::meta(workspace, &call.token);
    meta[format!("{META}serverInfo")] = legacy::server_info();
    let mut result = json!({
        "supportedVersions": [MODERN_VERSION],
        "capabilities": legacy::capabilities_offered(workspace, Some(&call.token)),
        "_meta": meta,
    });
    if let Some(instructions) = workspace.settings().instructions {
        result["instructions"] = instructions.into();
    }
    raw(&result)
}

/// A stream of notifications that stays open until the client closes it.
fn listen(call: &Call, id: Box<RawValue>) -> Response {
    let Some(asked) = call.params.object("notifications") else {
        return reply::error(
            200,
            Some(&id),
            RpcError::params("subscriptions/listen needs notifications"),
        );
    };
    let mut filter = RawObject::default();
    for name in [
        "toolsListChanged",
        "promptsListChanged",
        "resourcesListChanged",
    ] {
        if asked.read::<bool>(name) == Some(true) {
            filter.set(name, raw(&true));
        }
    }
    if let Some(uris) = asked.read::<Vec<String>>("resourceSubscriptions") {
        filter.set("resourceSubscriptions", raw(&uris));
    }
    let stream = EventLog::new("l", false);
    let listener = Arc::new(Listener {
        id,
        filter: filter.clone(),
        stream: stream.clone(),
    });
    let mut meta = RawObject::default();
    meta.set(&format!("{META}subscriptionId"), listener.id.clone());
    let mut params = RawObject::default();
    params.set("notifications", filter.to_raw());
    params.set("_meta", meta.to_raw());
    stream.push(&rpc::notification(
        "notifications/subscriptions/acknowledged",
        Some(&params.to_raw()),
    ));
    call.workspace.listeners.locked().push(listener.clone());
    call.workspace.touched();
    let workspace = call.workspace.clone();
    let gone = call.cancel.clone();
    tokio::spawn(async move {
        gone.cancelled().await;
        workspace
            .listeners
            .locked()
            .retain(|l| !Arc::ptr_eq(l, &listener));
        workspace.touched();
    });
    stream.follow(None, Some(call.cancel.clone().drop_guard()))
}

/// Ends all listen streams: gracefully with a result, or abruptly.
pub fn end_listeners(workspace: &Workspace, gracefully: bool) -> usize {
    let listeners: Vec<_> = workspace.listeners.locked().drain(..).collect();
    for listener in &listeners {
        if gracefully {
            let meta = json!({ "_meta": {}, "resultType": "complete" });
            let mut result = RawObject::parse(&meta.to_string()).unwrap_or_default();
            let mut own = RawObject::default();
            own.set(&format!("{META}subscriptionId"), listener.id.clone());
            result.set("_meta", own.to_raw());
            listener
                .stream
                .push(&rpc::response(Some(&listener.id), &Ok(result.to_raw())));
        }
        listener.stream.finish();
    }
    listeners.len()
}
