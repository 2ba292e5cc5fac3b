//! WebSockets: decisions and chat messages are pushed; and the plain GET of an approval's state.

use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::response::Response;
use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::chat::{self, ChatMessage};
use crate::endpoint::{header_list, spoil};
use crate::faults::Target;
use crate::guard;
use crate::raw::{RawObject, raw};
use crate::reply;
use crate::settings::Upgrades;
use crate::state::Workspace;
use crate::sync::Locked;
use crate::traffic::Seen;
use crate::wire::ConnControl;

/// What an admin may do to all open WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketOrder {
    /// Close with a close frame (1001).
    Close,
    /// Reset the connections.
    Kill,
    /// Send text that is no message of ours, and go on.
    Rubbish,
    /// Say nothing any more, not even pong.
    Silent,
    /// Send a message of two megabytes that is no decision, and go on.
    Oversize,
}

/// `/ws/<slug>/approvals/<id>`: the approval's present state.
pub async fn approval_status(
    State(workspace): State<Arc<Workspace>>,
    Extension(control): Extension<Arc<ConnControl>>,
    Path((slug, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    record(&workspace, &control, &request, "GET");
    let token = match guard::admit(&workspace, &slug, request.headers()).await {
        Ok(token) => token.name,
        Err(refusal) => return refusal,
    };
    let faults = workspace.faults.take(Target {
        http: "GET",
        method: None,
        tool: None,
    });
    let answer = async {
        let own = workspace.approvals.with(&id, |a| a.subject.token == token);
        let object = own.filter(|own| *own);
        match object.and_then(|_| workspace.approvals.object(&id)) {
            Some(object) => reply::json(200, &object),
            None => reply::refusal(404, "APPROVAL_NOT_FOUND", "there is no such approval"),
        }
    };
    spoil(&control, &faults, answer).await
}

/// `/ws/<slug>/approvals/<id>/ws`: the present state at once, then each change.
pub async fn approval_socket(
    State(workspace): State<Arc<Workspace>>,
    Extension(control): Extension<Arc<ConnControl>>,
    Path((slug, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let given = guard::check_token(&workspace, request.headers())
        .ok()
        .map(|t| t.name);
    let foreign = |asked: &String| given.as_ref().is_some_and(|given| given != asked);
    let asked = workspace.approvals.with(&id, |a| a.subject.token.clone());
    let changes = workspace.approvals.watch(&id);
    let Some(changes) = changes.filter(|_| !asked.as_ref().is_some_and(foreign)) else {
        record(&workspace, &control, &request, "WS");
        if let Err(refusal) = guard::admit(&workspace, &slug, request.headers()).await {
            return refusal;
        }
        return reply::refusal(404, "APPROVAL_NOT_FOUND", "there is no such approval");
    };
    upgrade(
        workspace,
        control,
        &slug,
        request,
        move |workspace, socket, orders| async move {
            push_approval(workspace, socket, orders, id, changes).await;
        },
    )
    .await
}

/// The query of the chat socket.
#[derive(Debug, Deserialize)]
pub struct ChatQuery {
    bridge_id: Option<String>,
}

/// `/ws/<slug>/chat/ws`: user messages as they are posted, those with `to` only to that bridge.
pub async fn chat_socket(
    State(workspace): State<Arc<Workspace>>,
    Extension(control): Extension<Arc<ConnControl>>,
    Path(slug): Path<String>,
    Query(query): Query<ChatQuery>,
    request: Request,
) -> Response {
    let bridge = query
        .bridge_id
        .or_else(|| bridge_of(&workspace, request.headers()));
    let messages = workspace.chat.subscribe();
    upgrade(
        workspace.clone(),
        control,
        &slug,
        request,
        move |workspace, socket, orders| async move {
            push_chat(
                workspace,
                socket,
                orders,
                bridge.unwrap_or_default(),
                messages,
            )
            .await;
        },
    )
    .await
}

/// The bridge behind a chat socket: named by a header, or known from the session's heartbeats.
fn bridge_of(workspace: &Workspace, headers: &HeaderMap) -> Option<String> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
    header("x-aerostack-bridge-id").or_else(|| {
        let session = workspace
            .sessions
            .locked()
            .get(&header("mcp-session-id")?)
            .cloned()?;
        session.bridge_id.locked().clone()
    })
}

fn record(workspace: &Workspace, control: &ConnControl, request: &Request, http: &str) {
    workspace.traffic.record(Seen {
        connection: control.number,
        http: http.to_owned(),
        path: request
            .uri()
            .path_and_query()
            .map_or(String::new(), ToString::to_string),
        headers: header_list(request.headers()),
        ..Seen::default()
    });
    workspace.touched();
}

async fn upgrade<F, W>(
    workspace: Arc<Workspace>,
    control: Arc<ConnControl>,
    slug: &str,
    request: Request,
    work: F,
) -> Response
where
    F: FnOnce(Arc<Workspace>, WebSocket, Orders) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    record(&workspace, &control, &request, "WS");
    if let Err(refusal) = guard::admit(&workspace, slug, request.headers()).await {
        return refusal;
    }
    let upgrades = workspace.settings.locked().upgrades;
    match upgrades {
        Upgrades::Forbidden => return reply::refusal(403, "FORBIDDEN", "WebSockets are refused"),
        Upgrades::NotFound => return reply::refusal(404, "NOT_FOUND", "there are no WebSockets"),
        Upgrades::Plain => return reply::body(200, "text/plain", "this is no WebSocket"),
        Upgrades::Hang => return std::future::pending().await,
        Upgrades::Accept | Upgrades::Silent | Upgrades::Rubbish => {}
    }
    let faults = workspace.faults.take(Target {
        http: "WS",
        method: None,
        tool: None,
    });
    let (mut parts, _) = request.into_parts();
    let own = workspace.clone();
    let answer = async {
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade,
            Err(refusal) => return axum::response::IntoResponse::into_response(refusal),
        };
        let orders = own.websocket_orders.subscribe();
        let control = control.clone();
        upgrade.on_upgrade(move |mut socket| async move {
            own.sockets_open(1);
            match upgrades {
                Upgrades::Silent => std::future::pending::<()>().await,
                Upgrades::Rubbish => {
                    socket.send(Message::text("this is not {json")).await.ok();
                    socket
                        .send(Message::binary(vec![0, 159, 146, 150]))
                        .await
                        .ok();
                    work(own.clone(), socket, Orders { orders, control }).await;
                }
                _ => work(own.clone(), socket, Orders { orders, control }).await,
            }
            own.sockets_open(-1);
        })
    };
    spoil(&control, &faults, answer).await
}

/// The admin's orders for one socket.
struct Orders {
    orders: watch::Receiver<Option<SocketOrder>>,
    control: Arc<ConnControl>,
}

impl Orders {
    async fn next(&mut self) -> Option<SocketOrder> {
        if self.orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.orders.borrow_and_update()
    }

    /// Follows an order; false if the socket is over.
    async fn follow(&self, socket: &mut WebSocket, order: Option<SocketOrder>) -> bool {
        match order {
            None => return true,
            Some(SocketOrder::Close) => {
                close(socket, 1001, "going away").await;
                return false;
            }
            Some(SocketOrder::Kill) => {
                self.control.reset();
                return false;
            }
            Some(SocketOrder::Rubbish) => {
                socket
                    .send(Message::text("[1,2,\"neither approval nor chat\"]"))
                    .await
                    .ok();
                socket
                    .send(Message::text(r#"{"type":"news","status":"approved"}"#))
                    .await
                    .ok();
            }
            Some(SocketOrder::Silent) => std::future::pending::<()>().await,
            Some(SocketOrder::Oversize) => {
                let text = format!(
                    "{{\"type\":\"filler\",\"text\":\"{}\"}}",
                    "x".repeat(2 << 20)
                );
                socket.send(Message::text(text)).await.ok();
            }
        }
        true
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason.to_owned().into(),
    };
    socket.send(Message::Close(Some(frame))).await.ok();
    // "The server waits for the client's close": but not for ever.
    let end = async { while let Some(Ok(_)) = socket.recv().await {} };
    tokio::time::timeout(std::time::Duration::from_secs(2), end)
        .await
        .ok();
}

async fn push_approval(
    workspace: Arc<Workspace>,
    socket: WebSocket,
    orders: Orders,
    id: String,
    changes: watch::Receiver<u64>,
) {
    workspace.approvals.socket(&id, true);
    follow_approval(&workspace, socket, orders, &id, changes).await;
    workspace.approvals.socket(&id, false);
    workspace.touched();
}

async fn follow_approval(
    workspace: &Workspace,
    mut socket: WebSocket,
    mut orders: Orders,
    id: &str,
    mut changes: watch::Receiver<u64>,
) {
    loop {
        changes.borrow_and_update();
        let Some((object, settled)) = workspace
            .approvals
            .with(id, |a| (a.object(), a.is_settled()))
        else {
            return close(&mut socket, 1000, "the approval is gone").await;
        };
        if socket.send(Message::text(object.get())).await.is_err() {
            return;
        }
        if settled {
            workspace.approvals.delivered(id);
            return close(&mut socket, 1000, "decided").await;
        }
        loop {
            tokio::select! {
                _ = changes.changed() => break,
                order = orders.next() => if !orders.follow(&mut socket, order).await { return },
                message = socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        }
    }
}

async fn push_chat(
    workspace: Arc<Workspace>,
    mut socket: WebSocket,
    mut orders: Orders,
    mut bridge: String,
    mut messages: tokio::sync::broadcast::Receiver<ChatMessage>,
) {
    drop(workspace);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(message) if chat::visible(&message, &bridge) => {
                    let mut object = RawObject::default();
                    object.set("type", raw("chat"));
                    object.set("message", raw(&message));
                    if socket.send(Message::text(object.to_raw().get())).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
            order = orders.next() => if !orders.follow(&mut socket, order).await { return },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => bridge = said_bridge(&text).unwrap_or(bridge),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

/// `{"type":"hello","bridge_id":"…"}` names the bridge behind a socket.
fn said_bridge(text: &str) -> Option<String> {
    let object: &RawValue = serde_json::from_str(text).ok()?;
    RawObject::parse(object.get())?.string("bridge_id")
}
