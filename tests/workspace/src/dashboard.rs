//! The dashboard: a page, its live events, and the decisions that a person makes there.
//!
//! Everything but the page's own files needs the cookie of a login; everything that changes something is a POST
//! that carries our own Origin.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::ORIGIN;
use serde_json::json;

use crate::admin::full;
use crate::approvals::{Approval, Decision};
use crate::chat::Draft;
use crate::raw::{RawObject, pretty, raw};
use crate::state::Workspace;
use crate::sync::{Locked, random_id, same_secret};
use crate::{decide, guard, reply};

type Shared = State<Arc<Workspace>>;

/// Logins kept; the oldest is forgotten.
const LOGINS_MAX: usize = 64;
/// Changes within this time are sent together.
const GATHER: Duration = Duration::from_millis(40);
/// Decided approvals shown.
const DECIDED_MAX: usize = 30;
/// What the page may load: itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The dashboard's routes.
pub fn routes(workspace: &Arc<Workspace>) -> Router<Arc<Workspace>> {
    let check = middleware::from_fn_with_state(workspace.clone(), check);
    Router::new()
        .route(
            "/",
            get(async || file("text/html; charset=utf-8", include_str!("page/index.html"))),
        )
        .route(
            "/app.js",
            get(async || {
                file(
                    "text/javascript; charset=utf-8",
                    include_str!("page/app.js"),
                )
            }),
        )
        .route(
            "/style.css",
            get(async || file("text/css; charset=utf-8", include_str!("page/style.css"))),
        )
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route(
            "/api/session",
            get(async || reply::json(200, &json!({ "logged_in": true }))),
        )
        .route("/api/events", get(events))
        .route("/api/approvals/{id}/{verb}", post(decide))
        .route("/api/chat", post(say))
        .layer(check)
}

fn file(content_type: &str, text: &'static str) -> Response {
    let response = reply::body(200, content_type, text);
    let response = reply::header(response, "content-security-policy", POLICY);
    let response = reply::header(response, "referrer-policy", "no-referrer");
    reply::header(response, "x-content-type-options", "nosniff")
}

/// Host and Origin for all, our own Origin for what changes something, the cookie for what is not public.
async fn check(State(w): Shared, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let path = request.uri().path();
    let public = matches!(path, "/" | "/app.js" | "/style.css" | "/api/login");
    let refusal = guard::check_origin(&w, headers).err().or_else(|| {
        let foreign = headers
            .get("sec-fetch-site")
            .is_some_and(|s| s != "same-origin" && s != "none");
        if path.starts_with("/api/")
            && (foreign || (request.method() == "POST" && !headers.contains_key(ORIGIN)))
        {
            return Some(reply::refusal(
                403,
                "FORBIDDEN_ORIGIN",
                "only the dashboard itself may do this",
            ));
        }
        if !public && !guard::logged_in(&w, headers) {
            return Some(reply::refusal(401, "UNAUTHORIZED", "log in first"));
        }
        None
    });
    let response = match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    reply::header(response, "cache-control", "no-store")
}

async fn login(State(w): Shared, body: String) -> Response {
    let token = RawObject::parse(&body)
        .and_then(|b| b.string("token"))
        .unwrap_or_default();
    if !same_secret(token.trim(), &w.identity.token) {
        w.log("dashboard", "login refused", "wrong token");
        return reply::refusal(401, "UNAUTHORIZED", "this is not the workspace's token");
    }
    let login = random_id("", 24);
    let mut logins = w.logins.locked();
    logins.push(login.clone());
    if logins.len() > LOGINS_MAX {
        logins.remove(0);
    }
    drop(logins);
    w.log("dashboard", "login", "");
    let secure = if w.origin().starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{}={login}; Path=/; HttpOnly; SameSite=Strict{secure}",
        guard::cookie_name(&w)
    );
    reply::header(reply::json(200, &json!({})), "set-cookie", &cookie)
}

async fn logout(State(w): Shared, headers: HeaderMap) -> Response {
    w.logins
        .locked()
        .retain(|l| !guard::has_login(&w, &headers, l));
    let cookie = format!(
        "{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict",
        guard::cookie_name(&w)
    );
    reply::header(reply::json(200, &json!({})), "set-cookie", &cookie)
}

async fn decide(
    State(w): Shared,
    Path((id, verb)): Path<(String, String)>,
    body: String,
) -> Response {
    if verb != "approve" && verb != "reject" {
        return reply::refusal(404, "NOT_FOUND", "approve or reject");
    }
    let decision = decide::read(&w, &id, verb == "approve", &body, "dashboard");
    match decision.and_then(|d| {
        w.decide(
            &id,
            Decision {
                by: "dashboard".to_owned(),
                ..d
            },
        )
    }) {
        Ok(()) => reply::json(200, &json!({})),
        Err(e) => reply::refusal(409, "CONFLICT", &e),
    }
}

async fn say(State(w): Shared, body: String) -> Response {
    match serde_json::from_str::<Draft>(&body) {
        Ok(draft) if !draft.text.trim().is_empty() => {
            let message = w.chat.post(
                "user",
                Draft {
                    bridge_id: None,
                    ..draft
                },
            );
            w.log("dashboard", "chat", message.id.clone());
            reply::json(200, &message)
        }
        _ => reply::refusal(400, "BAD_REQUEST", "a message needs a text"),
    }
}

/// The whole state as an event, now and after each change.
async fn events(State(w): Shared, headers: HeaderMap) -> Response {
    let changes = w.changes.subscribe();
    let start = (w, headers, changes, true);
    let stream =
        futures_util::stream::unfold(start, |(w, headers, mut changes, first)| async move {
            if !first {
                // Once a minute without a change, so that "n min ago" and overdue heartbeats are right.
                tokio::time::timeout(Duration::from_secs(20), changes.changed())
                    .await
                    .ok();
                tokio::time::sleep(GATHER).await;
            }
            if !guard::logged_in(&w, &headers) {
                return None;
            }
            changes.borrow_and_update();
            let event = format!("event: state\ndata: {}\n\n", snapshot(&w));
            Some((
                Ok::<_, Infallible>(Bytes::from(event)),
                (w, headers, changes, false),
            ))
        });
    reply::body(200, "text/event-stream", Body::from_stream(stream))
}

fn snapshot(w: &Workspace) -> String {
    let mut decided = 0;
    let mut approvals = w
        .approvals
        .each(|a| (a.is_settled(), a.decided_at, shown(a)));
    approvals.sort_by_key(|(settled, at, _)| (*settled, std::cmp::Reverse(*at)));
    approvals.retain(|(settled, _, _)| {
        decided += usize::from(*settled);
        decided <= DECIDED_MAX
    });
    let approvals: Vec<RawObject> = approvals.into_iter().map(|(_, _, object)| object).collect();
    let mut state = RawObject::default();
    let identity = json!({ "name": w.identity.name, "slug": w.identity.slug });
    state.set("workspace", raw(&identity));
    state.set("approvals", raw(&approvals));
    state.set("bridges", raw(&w.presence.list(w.stale_ms())));
    state.set("chat", raw(&w.chat.newest(200)));
    state.set("audit", raw(&w.audit.newest(100)));
    state.to_raw().get().to_owned()
}

/// An approval as the page shows it: arguments as text, so that the browser changes no number.
fn shown(approval: &Approval) -> RawObject {
    let mut object = full(approval);
    for name in [
        "request_params",
        "params",
        "result",
        "error",
        "recorded_result",
        "recorded_error",
    ] {
        object.remove(name);
    }
    let params = &approval.subject.params;
    if approval.subject.category.is_some() {
        object.set("guardian", params.to_raw());
    } else {
        let arguments = params
            .get("arguments")
            .map_or_else(|| "{}".to_owned(), |a| pretty(a.get()));
        object.set("arguments_text", raw(&arguments));
    }
    object.set("edited", raw(&approval.edited.is_some()));
    object
}
