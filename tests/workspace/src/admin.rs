//! The admin API: decisions, faults, outages and read-outs for tests. It has a socket and a token of its own,
//! so that it answers while the workspace is made to fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, patch, post};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::approvals::Approval;
use crate::chat::Draft;
use crate::decide;
use crate::faults::Fault;
use crate::modern;
use crate::push::SocketOrder;
use crate::raw::{RawObject, raw};
use crate::reply;
use crate::settings::Outage;
use crate::state::Workspace;
use crate::sync::{Locked, same_secret};

type Shared = State<Arc<Workspace>>;

/// The routes, all behind the token.
pub fn routes(workspace: Arc<Workspace>, token: String) -> Router {
    let check = middleware::from_fn(move |request: Request, next: Next| {
        let token = token.clone();
        async move { check_token(&token, request, next).await }
    });
    Router::new()
        .route("/admin/settings", patch(set).get(settings))
        .route(
            "/admin/faults",
            post(add_fault).get(faults).delete(clear_faults),
        )
        .route("/admin/outage", post(outage))
        .route("/admin/sessions", get(sessions).delete(end_sessions))
        .route(
            "/admin/connections",
            get(connections).delete(cut_connections),
        )
        .route("/admin/streams/cut", post(cut_streams))
        .route("/admin/listeners/end", post(end_listeners))
        .route("/admin/websockets", post(order_sockets).get(sockets))
        .route("/admin/approvals", get(approvals))
        .route("/admin/approvals/{id}", get(approval))
        .route("/admin/approvals/{id}/{action}", post(act))
        .route("/admin/decisions/release", post(release))
        .route("/admin/chat", get(chat).post(say))
        .route("/admin/bridges", get(bridges))
        .route("/admin/requests", get(requests))
        .route("/admin/executions", get(executions))
        .route("/admin/notify", post(notify))
        .route("/admin/release", post(release_waiting))
        .route("/admin/audit", get(audit))
        .route("/admin/grants", get(grants))
        .route("/admin/clock", post(turn_clock))
        .fallback(async || reply::refusal(404, "NOT_FOUND", "no such admin route"))
        .layer(check)
        .with_state(workspace)
}

async fn check_token(token: &str, request: Request, next: Next) -> Response {
    if request.headers().contains_key("origin") {
        return reply::refusal(403, "FORBIDDEN_ORIGIN", "the admin API is not for browsers");
    }
    let given = request
        .headers()
        .get("authorization")
        .and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    if given.is_some_and(|g| same_secret(g, token)) {
        return next.run(request).await;
    }
    reply::refusal(401, "UNAUTHORIZED", "the admin token is needed")
}

fn bad(message: impl AsRef<str>) -> Response {
    reply::refusal(400, "BAD_REQUEST", message.as_ref())
}

fn done(value: &Value) -> Response {
    reply::json(200, value)
}

/// Waits for a list to have `min` entries: `?min=N&timeout_ms=M` (10 s unless given). Without `min` at once.
#[derive(Debug, Default, Deserialize)]
struct Wait {
    min: Option<usize>,
    timeout_ms: Option<u64>,
}

async fn listing<T: Serialize>(
    workspace: &Workspace,
    wait: &Wait,
    read: impl Fn() -> Vec<T>,
) -> Response {
    let mut changes = workspace.changes.subscribe();
    let limit = tokio::time::sleep(Duration::from_millis(wait.timeout_ms.unwrap_or(10_000)));
    tokio::pin!(limit);
    loop {
        changes.borrow_and_update();
        let list = read();
        if list.len() >= wait.min.unwrap_or(0) {
            return reply::json(200, &list);
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = &mut limit => return reply::json(408, &list),
        }
    }
}

async fn settings(State(w): Shared) -> Response {
    reply::json(200, &w.settings())
}

async fn set(State(w): Shared, body: String) -> Response {
    let Ok(change) = serde_json::from_str::<Map<String, Value>>(&body) else {
        return bad("the body is not an object");
    };
    let changed = w.settings.locked().patch(change);
    match changed {
        Ok(settings) => {
            *w.settings.locked() = settings.clone();
            w.touched();
            reply::json(200, &settings)
        }
        Err(e) => bad(e),
    }
}

async fn add_fault(State(w): Shared, body: String) -> Response {
    let one = serde_json::from_str::<Fault>(&body).map(|f| vec![f]);
    match one.or_else(|e| serde_json::from_str::<Vec<Fault>>(&body).map_err(|_| e)) {
        Ok(faults) => {
            faults.into_iter().for_each(|f| w.faults.add(f));
            reply::json(200, &w.faults.list())
        }
        Err(e) => bad(e.to_string()),
    }
}

async fn faults(State(w): Shared) -> Response {
    reply::json(200, &w.faults.list())
}

async fn clear_faults(State(w): Shared) -> Response {
    w.faults.clear();
    done(&json!([]))
}

/// `{"mode":"none|refuse|unavailable|limited|hang"}`; `refuse` also resets what is open.
async fn outage(State(w): Shared, body: String) -> Response {
    #[derive(Deserialize)]
    struct Order {
        mode: Outage,
        #[serde(default)]
        forget_sessions: bool,
    }
    let order: Order = match serde_json::from_str(&body) {
        Ok(order) => order,
        Err(e) => return bad(e.to_string()),
    };
    w.settings.locked().outage = order.mode;
    if order.forget_sessions {
        w.end_sessions();
    }
    if order.mode == Outage::Refuse {
        w.connections().iter().for_each(|c| c.reset());
    }
    w.log(
        "admin",
        "outage",
        format!("{:?}", order.mode).to_lowercase(),
    );
    done(&json!({ "mode": order.mode }))
}

async fn sessions(State(w): Shared, Query(wait): Query<Wait>) -> Response {
    listing(&w, &wait, || {
        let sessions = w.sessions.locked();
        let entry = |s: &Arc<crate::session::Session>| {
            json!({
                "id": s.id, "version": s.version, "client": s.client, "running": s.running(),
                "initialized": s.initialized.load(Ordering::SeqCst),
                "bridge_id": *s.bridge_id.locked(), "get_stream": s.standing.is_followed(),
            })
        };
        sessions.values().map(entry).collect()
    })
    .await
}

async fn end_sessions(State(w): Shared) -> Response {
    done(&json!({ "ended": w.end_sessions() }))
}

async fn connections(State(w): Shared) -> Response {
    let open: Vec<u64> = w.connections().iter().map(|c| c.number).collect();
    done(&json!({ "opened": w.traffic.connections(), "open": open }))
}

/// Resets every connection, or with `?how=close` closes the idle ones.
async fn cut_connections(State(w): Shared, Query(how): Query<Map<String, Value>>) -> Response {
    let open = w.connections();
    let close = how.get("how").is_some_and(|h| h == "close");
    open.iter()
        .for_each(|c| if close { c.close() } else { c.reset() });
    done(&json!({ "cut": open.len() }))
}

/// Ends the standing event streams; their sessions stay.
async fn cut_streams(State(w): Shared) -> Response {
    let sessions = w.sessions.locked();
    sessions.values().for_each(|s| s.standing.cut());
    done(&json!({ "cut": sessions.len() }))
}

/// Ends all subscriptions/listen streams: `{"gracefully":true}` with a result.
async fn end_listeners(State(w): Shared, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let ended = modern::end_listeners(&w, body["gracefully"].as_bool().unwrap_or(true));
    done(&json!({ "ended": ended }))
}

async fn order_sockets(State(w): Shared, body: String) -> Response {
    #[derive(Deserialize)]
    struct Order {
        action: SocketOrder,
    }
    match serde_json::from_str::<Order>(&body) {
        Ok(order) => {
            w.websocket_orders.send_replace(Some(order.action));
            done(&json!({ "open": w.websockets.load(Ordering::SeqCst) }))
        }
        Err(e) => bad(e.to_string()),
    }
}

/// Waits with `min` for that many open WebSockets; answers a list of that length.
async fn sockets(State(w): Shared, Query(wait): Query<Wait>) -> Response {
    let open = || (0..w.websockets.load(Ordering::SeqCst).max(0)).collect::<Vec<_>>();
    listing(&w, &wait, open).await
}

/// An approval with all that tests want to know.
pub fn full(approval: &Approval) -> RawObject {
    let mut object = RawObject::parse(approval.object().get()).unwrap_or_default();
    object.set("executions", raw(&approval.executions));
    object.set("request_params", approval.subject.params.to_raw());
    object.set("reason", raw(&approval.subject.reason));
    object.set("client", raw(&approval.subject.client));
    object.set("bridge_id", raw(&approval.subject.agent.bridge_id));
    object.set("token", raw(&approval.subject.token));
    object.set("risk", raw(&approval.subject.risk));
    object.set("busy", raw(&approval.is_busy()));
    match &approval.outcome {
        Some(Ok(result)) => object.set("recorded_result", result.clone()),
        Some(Err(e)) => object.set("recorded_error", e.raw.clone()),
        None => {}
    }
    object
}

#[derive(Debug, Deserialize)]
struct ApprovalQuery {
    status: Option<String>,
    min: Option<usize>,
    timeout_ms: Option<u64>,
}

async fn approvals(State(w): Shared, Query(query): Query<ApprovalQuery>) -> Response {
    let wait = Wait {
        min: query.min,
        timeout_ms: query.timeout_ms,
    };
    let fits = |o: &RawObject| query.status.is_none() || o.string("status") == query.status;
    listing(&w, &wait, || {
        w.approvals.each(full).into_iter().filter(fits).collect()
    })
    .await
}

async fn approval(State(w): Shared, Path(id): Path<String>) -> Response {
    match w.approvals.with(&id, full) {
        Some(object) => reply::json(200, &object),
        None => reply::refusal(404, "NOT_FOUND", "no such approval"),
    }
}

/// `approve`, `reject`, `expire`, `cancel`, or `expires_at` with `{"expires_at": unix_s | null}`.
async fn act(
    State(w): Shared,
    Path((id, action)): Path<(String, String)>,
    body: String,
) -> Response {
    let result = match action.as_str() {
        "approve" | "reject" => decide::read(&w, &id, action == "approve", &body, "admin")
            .and_then(|decision| w.decide(&id, decision)),
        "expire" if w.approvals.expire(&id, true) => Ok(()),
        "cancel" => {
            w.approvals.cancel(&id, None);
            Ok(())
        }
        "expires_at" => {
            let body: Value = serde_json::from_str(&body).unwrap_or_default();
            let at = body["expires_at"].as_i64();
            let known = w.approvals.set_expires_at(&id, at);
            w.approvals.expire(&id, false);
            if known {
                Ok(())
            } else {
                Err("no such approval".to_owned())
            }
        }
        _ => Err(format!("{action} is not possible")),
    };
    w.touched();
    match (result, w.approvals.with(&id, full)) {
        (Ok(()), Some(object)) => reply::json(200, &object),
        (Err(e), Some(_)) => reply::refusal(409, "CONFLICT", &e),
        (_, None) => reply::refusal(404, "NOT_FOUND", "no such approval"),
    }
}

async fn release(State(w): Shared) -> Response {
    done(&json!({ "released": w.release_decisions() }))
}

async fn chat(State(w): Shared, Query(wait): Query<Wait>) -> Response {
    listing(&w, &wait, || w.chat.newest(1000)).await
}

/// Posts as the user: `{"text","topic"?,"to"?}`.
async fn say(State(w): Shared, body: String) -> Response {
    match serde_json::from_str::<Draft>(&body) {
        Ok(draft) => {
            let message = w.chat.post(
                "user",
                Draft {
                    bridge_id: None,
                    ..draft
                },
            );
            w.log("admin", "chat", format!("{}: {}", message.id, message.text));
            reply::json(200, &message)
        }
        Err(e) => bad(e.to_string()),
    }
}

#[derive(Debug, Deserialize)]
struct BridgeQuery {
    status: Option<String>,
    min: Option<usize>,
    timeout_ms: Option<u64>,
}

/// Bridges; `?status=online|offline|check` filters.
async fn bridges(State(w): Shared, Query(query): Query<BridgeQuery>) -> Response {
    let wait = Wait {
        min: query.min,
        timeout_ms: query.timeout_ms,
    };
    listing(&w, &wait, || {
        if query.status.as_deref() == Some("check") {
            return w.presence.checks().iter().map(|c| json!(c)).collect();
        }
        let wanted = query.status.as_deref().map(|s| s == "online");
        let list = w.presence.list(w.stale_ms());
        list.iter()
            .filter(|b| wanted.is_none_or(|o| o == b.online))
            .map(|b| json!(b))
            .collect()
    })
    .await
}

#[derive(Debug, Deserialize)]
struct RequestQuery {
    since: Option<u64>,
    method: Option<String>,
    http: Option<String>,
    path: Option<String>,
    min: Option<usize>,
    timeout_ms: Option<u64>,
}

/// Requests seen; `?since=N&method=…&http=…&path=part` filters.
async fn requests(State(w): Shared, Query(query): Query<RequestQuery>) -> Response {
    let wait = Wait {
        min: query.min,
        timeout_ms: query.timeout_ms,
    };
    listing(&w, &wait, || {
        w.traffic.seen(query.since.unwrap_or(0), |r| {
            (query.method.is_none() || r.method == query.method)
                && query.http.as_ref().is_none_or(|h| h == &r.http)
                && query.path.as_ref().is_none_or(|p| r.path.contains(p))
        })
    })
    .await
}

async fn executions(State(w): Shared) -> Response {
    let by_id = w
        .approvals
        .each(|a| (a.id.clone(), Value::from(a.executions)));
    let approvals: Map<String, Value> = by_id.into_iter().collect();
    done(&json!({ "approvals": approvals, "tools": w.traffic.executions() }))
}

/// Sends a notification to every session and listener: `{"list":"tools"}` or `{"uri":"files://…"}`.
async fn notify(State(w): Shared, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    if let Some(uri) = body["uri"].as_str() {
        w.announce_resource(uri);
    } else {
        let list = body["list"].as_str().unwrap_or("tools");
        w.announce(
            &format!("notifications/{list}/list_changed"),
            &format!("{list}ListChanged"),
        );
    }
    done(&json!({}))
}

/// Lets every call of `demo__wait` return.
async fn release_waiting(State(w): Shared) -> Response {
    w.demo.releases.send_modify(|n| *n += 1);
    done(&json!({}))
}

async fn audit(State(w): Shared) -> Response {
    reply::json(200, &w.audit.newest(1000))
}

async fn grants(State(w): Shared, Query(wait): Query<Wait>) -> Response {
    listing(&w, &wait, || w.grants.list()).await
}

/// Turns the workspace's clock forward: `{"ms": N}`. What is due by then has ended when this is answered.
async fn turn_clock(State(w): Shared, body: String) -> Response {
    #[derive(Deserialize)]
    struct Turn {
        ms: u32,
    }
    match serde_json::from_str::<Turn>(&body) {
        Ok(turn) => {
            w.clock.turn(turn.ms);
            w.sweep();
            w.touched();
            done(&json!({ "now_ms": w.clock.now_ms() }))
        }
        Err(e) => bad(e.to_string()),
    }
}
