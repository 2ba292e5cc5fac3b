//! The MCP endpoint `/ws/<slug>`: HTTP in, the era's rules, HTTP out, and the faults around it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use hyper::HeaderMap;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::faults::{FaultKind, Target};
use crate::reply::{self, Shape};
use crate::rpc::{self, Message, Outcome, RpcError};
use crate::settings::Replies;
use crate::state::Workspace;
use crate::stream::EventLog;
use crate::traffic::Seen;
use crate::wire::ConnControl;
use crate::{dispatch, guard, legacy, modern};

/// The largest request body.
const BODY_MAX: usize = 64 << 20;

/// One HTTP request to the endpoint, read in full.
#[derive(Debug)]
pub struct Exchange {
    /// The workspace.
    pub workspace: Arc<Workspace>,
    /// The headers.
    pub headers: HeaderMap,
    /// The name of the token that it came with.
    pub token: String,
    /// How the answer is to be changed.
    pub shape: Shape,
}

impl Exchange {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Serves one request.
pub async fn serve(
    State(workspace): State<Arc<Workspace>>,
    Extension(control): Extension<Arc<ConnControl>>,
    Path(slug): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return reply::refusal(413, "TOO_LARGE", "the body is too large or broke off");
    };
    let body = body.to_bytes();
    let message = Message::parse(&String::from_utf8_lossy(&body));
    record(&workspace, &control, &parts, &body, message.as_ref().ok());
    let token = match guard::admit(&workspace, &slug, &parts.headers).await {
        Ok(token) => token.name,
        Err(refusal) => return refusal,
    };
    let (method, tool) = match &message {
        Ok(Message::Request { method, params, .. }) => {
            (Some(method.clone()), params.string("name"))
        }
        Ok(Message::Notification { method, .. }) => (Some(method.clone()), None),
        _ => (None, None),
    };
    let target = Target {
        http: parts.method.as_str(),
        method: method.as_deref(),
        tool: tool.as_deref(),
    };
    let faults = workspace.faults.take(target);
    let exchange = Exchange {
        workspace,
        headers: parts.headers,
        token,
        shape: Shape::of(&faults),
    };
    let work = async move {
        match parts.method.as_str() {
            "POST" => post(&exchange, body, message).await,
            "GET" => legacy::get(&exchange),
            "DELETE" => legacy::delete(&exchange),
            _ => not_allowed(),
        }
    };
    spoil(&control, &faults, work).await
}

/// 405 with the methods that are there.
pub fn not_allowed() -> Response {
    reply::header(
        reply::refusal(405, "METHOD_NOT_ALLOWED", "use POST"),
        "allow",
        "POST, GET, DELETE",
    )
}

fn record(
    workspace: &Workspace,
    control: &ConnControl,
    parts: &hyper::http::request::Parts,
    body: &Bytes,
    message: Option<&Message>,
) {
    let (method, id) = match message {
        Some(Message::Request { method, id, .. }) => {
            (Some(method.clone()), Some(id.get().to_owned()))
        }
        Some(Message::Notification { method, .. }) => (Some(method.clone()), None),
        Some(Message::Response { id, .. }) => (None, Some(id.get().to_owned())),
        None => (None, None),
    };
    workspace.traffic.record(Seen {
        connection: control.number,
        http: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or(String::new(), ToString::to_string),
        headers: header_list(&parts.headers),
        method,
        id,
        body: String::from_utf8_lossy(body).into_owned(),
        ..Seen::default()
    });
    workspace.touched();
}

/// Headers as text, in their order.
pub fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |v: &hyper::header::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(n, v)| (n.to_string(), text(v)))
        .collect()
}

/// Applies the faults that concern the connection or replace the answer.
pub async fn spoil(
    control: &Arc<ConnControl>,
    faults: &[FaultKind],
    work: impl Future<Output = Response> + Send,
) -> Response {
    for fault in faults {
        match fault {
            FaultKind::Delay { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            FaultKind::Status {
                status,
                body,
                headers,
                execute,
            } => {
                if *execute {
                    drop(work.await);
                }
                return reply::faulty(*status, body.as_deref(), headers);
            }
            FaultKind::Body { text, content_type } => {
                let content_type = content_type.as_deref().unwrap_or("application/json");
                return reply::body(200, content_type, text.clone());
            }
            FaultKind::Never { execute } => {
                if *execute {
                    drain(work.await).await;
                }
                return std::future::pending().await;
            }
            FaultKind::Reset { execute } => {
                if *execute {
                    drain(work.await).await;
                }
                control.reset();
                return std::future::pending().await;
            }
            other => prepare(control, other),
        }
    }
    finish(control, faults, work.await)
}

/// Faults of the connection that show when the answer is written.
fn prepare(control: &ConnControl, fault: &FaultKind) {
    match fault {
        FaultKind::Slow { bytes, every_ms } => {
            control.drip(*bytes, Duration::from_millis(*every_ms))
        }
        FaultKind::HalfChunk { bytes } | FaultKind::Truncate { bytes } => control.cut_after(*bytes),
        FaultKind::CloseOnNext => control.close_on_next(),
        FaultKind::Informational { status, times } => {
            let head = format!(
                "HTTP/1.1 {status} Informational\r\nlink: </style.css>; rel=preload\r\n\r\n"
            );
            control.write_first(head.repeat(*times as usize).as_bytes());
        }
        _ => {}
    }
}

/// Faults of the answer's head and framing.
fn finish(control: &Arc<ConnControl>, faults: &[FaultKind], mut response: Response) -> Response {
    for fault in faults {
        match fault {
            FaultKind::ContentType { value } => {
                if let Ok(value) = value.parse() {
                    response
                        .headers_mut()
                        .insert(hyper::header::CONTENT_TYPE, value);
                }
            }
            // A body of unknown length goes out in chunks.
            FaultKind::HalfChunk { .. } => {
                response = response.map(|body| Body::from_stream(body.into_data_stream()));
            }
            FaultKind::CloseIdle => {
                let closer = CloseOnDrop(control.clone());
                response = response.map(|body| {
                    Body::from_stream(body.into_data_stream().map(move |frame| {
                        let _ = &closer;
                        frame
                    }))
                });
            }
            _ => {}
        }
    }
    response
}

async fn drain(response: Response) {
    response.into_body().collect().await.ok();
}

/// Closes the connection once the answer has been written.
struct CloseOnDrop(Arc<ConnControl>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn post(
    exchange: &Exchange,
    body: Bytes,
    message: Result<Message, rpc::BadMessage>,
) -> Response {
    // "The client MUST include an Accept header, listing both application/json and text/event-stream".
    let accepts = |kind: &str| {
        let family = kind.split('/').next().unwrap_or_default();
        exchange
            .header("accept")
            .unwrap_or_default()
            .split(',')
            .any(|part| {
                let part = part.split(';').next().unwrap_or_default().trim();
                part.eq_ignore_ascii_case(kind) || part == "*/*" || part == format!("{family}/*")
            })
    };
    if !accepts("application/json") || !accepts("text/event-stream") {
        let message = "Accept must list application/json and text/event-stream";
        return reply::error(406, None, RpcError::new(rpc::INVALID_REQUEST, message));
    }
    let content_type = exchange.header("content-type").unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    if !content_type.eq_ignore_ascii_case("application/json") {
        let message = "Content-Type must be application/json";
        return reply::error(415, None, RpcError::new(rpc::INVALID_REQUEST, message));
    }
    if std::str::from_utf8(&body).is_err() {
        return reply::error(
            400,
            None,
            RpcError::new(rpc::PARSE_ERROR, "the body is not UTF-8"),
        );
    }
    let message = match message {
        Ok(message) => message,
        Err(bad)
            if body.trim_ascii_start().starts_with(b"[") && bad.error.code != rpc::PARSE_ERROR =>
        {
            return legacy::batch(exchange, &body).await;
        }
        Err(bad) => return reply::error(400, bad.id.as_deref(), bad.error),
    };
    if modern::claims(exchange, &message) {
        modern::post(exchange, message).await
    } else {
        legacy::post(exchange, message).await
    }
}

/// Runs a request and answers it, as JSON or as a stream.
pub async fn run(call: Call, id: Box<RawValue>, shape: &Shape) -> Response {
    let settings = call.workspace.settings();
    let wants_stream = shape.stream.unwrap_or(match settings.replies {
        Replies::Json => false,
        Replies::Sse => true,
        Replies::Auto => dispatch::streams(&call),
    });
    if wants_stream {
        stream(call, id, shape.clone())
    } else {
        json(call, id, shape.clone()).await
    }
}

async fn answer(call: &Call, shape: &Shape) -> Outcome {
    match &shape.error {
        Some(error) => Err(error.clone()),
        None => dispatch::answer(call).await,
    }
}

fn stream(mut call: Call, id: Box<RawValue>, shape: Shape) -> Response {
    let log = match call.session() {
        Some(session) => session.open_stream(),
        None => EventLog::new("m", false),
    };
    if call.session().is_some_and(|s| s.primes()) {
        log.prime(call.workspace.settings().retry_ms);
    }
    call.stream = Some(log.clone());
    // Later eras: "closing the response stream is the cancellation". Before, it is not.
    let guard = call.is_modern().then(|| call.cancel.clone().drop_guard());
    let response = log.follow(None, guard);
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = call.cancel.cancelled() => None,
            outcome = answer(&call, &shape) => Some(outcome),
        };
        if let Some(session) = call.session() {
            session.end(&id);
        }
        if let Some(outcome) = outcome.filter(|_| !shape.cut) {
            let outcome = if call.is_modern() {
                modern::finish(&call, outcome)
            } else {
                outcome
            };
            let text = shape.text(&id, &outcome);
            log.push(&text);
            if shape.duplicate {
                log.push(&text);
            }
        }
        if !shape.open {
            log.finish();
        }
    });
    response
}

async fn json(call: Call, id: Box<RawValue>, shape: Shape) -> Response {
    let modern = call.is_modern();
    let work = async move {
        let outcome = tokio::select! {
            () = call.cancel.cancelled() => None,
            outcome = answer(&call, &shape) => Some(outcome),
        };
        if let Some(session) = call.session() {
            session.end(&id);
        }
        // A cancelled request has no answer; the HTTP request that carried it needs one.
        let Some(outcome) = outcome else {
            return reply::empty(202);
        };
        let outcome = if modern {
            modern::finish(&call, outcome)
        } else {
            outcome
        };
        let status = if modern {
            modern::status(&outcome)
        } else {
            200
        };
        reply::body(status, "application/json", shape.text(&id, &outcome))
    };
    if modern {
        return work.await;
    }
    // "Disconnection … SHOULD NOT be interpreted as the client cancelling its request."
    tokio::spawn(work)
        .await
        .unwrap_or_else(|_| reply::empty(500))
}

/// A token for a request's cancellation, tied to its session.
pub fn cancellation(parent: Option<&CancellationToken>) -> CancellationToken {
    parent.map_or_else(CancellationToken::new, CancellationToken::child_token)
}
