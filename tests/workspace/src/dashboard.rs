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
use crate::tokens::{self, Token};
use crate::{decide, grants, guard, reply};

type Shared = State<Arc<Workspace>>;

/// Changes within this time are sent together.
const GATHER: Duration = Duration::from_millis(40);
/// The state is sent at least this often: the page takes a longer silence for an end.
const EVERY: Duration = Duration::from_secs(5);
/// Decided approvals shown.
const DECIDED_MAX: usize = 100;
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// Characters shown of the arguments of what is decided; what waits is shown whole.
const PAST_MAX: usize = 20_000;
/// Characters shown of an outcome.
const OUTCOME_MAX: usize = 2000;
/// What the page may load: itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The dashboard's routes.
pub fn routes(workspace: &Arc<Workspace>) -> Router<Arc<Workspace>> {
    let check = middleware::from_fn_with_state(workspace.clone(), check);
    Router::new()
        .route(
            "/",
            get(async || file(HTML, include_str!("page/index.html"))),
        )
        .route(
            "/app.js",
            get(async || file(SCRIPT, include_str!("page/app.js"))),
        )
        .route(
            "/cards.js",
            get(async || file(SCRIPT, include_str!("page/cards.js"))),
        )
        .route(
            "/steady.js",
            get(async || file(SCRIPT, include_str!("page/steady.js"))),
        )
        .route(
            "/words.js",
            get(async || file(SCRIPT, include_str!("page/words.js"))),
        )
        .route(
            "/style.css",
            get(async || file(STYLE, include_str!("page/style.css"))),
        )
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route(
            "/api/session",
            get(async || reply::json(200, &json!({ "logged_in": true }))),
        )
        .route("/api/events", get(events))
        .route("/api/approvals/{id}/{verb}", post(decide))
        .route("/api/grants/{id}/revoke", post(revoke))
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
    let public = !path.starts_with("/api/") || path == "/api/login";
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
        if public {
            return None;
        }
        let Some(token) = guard::logged_in(&w, headers) else {
            return Some(reply::refusal(401, "UNAUTHORIZED", "log in first"));
        };
        let changes = request.method() == "POST" && path != "/api/logout";
        (changes && !token.role.decides()).then(|| {
            let message = format!(
                "your token's role ({}) may look and not decide",
                token.role.name()
            );
            reply::refusal(403, "FORBIDDEN", &message)
        })
    });
    let response = match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    reply::header(response, "cache-control", "no-store")
}

async fn login(State(w): Shared, body: String) -> Response {
    let secret = RawObject::parse(&body)
        .and_then(|b| b.string("token"))
        .unwrap_or_default();
    let Some(token) = w.tokens.of(secret.trim()) else {
        w.log("dashboard", "login refused", "wrong token");
        return reply::refusal(401, "UNAUTHORIZED", "this is not the workspace's token");
    };
    if !token.role.sees() {
        w.log("dashboard", "login refused", token.name);
        let message = "this token connects agents; it does not open the dashboard";
        return reply::refusal(403, "FORBIDDEN", message);
    }
    let cookie = w.tokens.log_in(&token);
    w.log("dashboard", "login", token.name);
    let secure = if w.origin().starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}",
        guard::cookie_name(&w)
    );
    reply::header(reply::json(200, &json!({})), "set-cookie", &cookie)
}

async fn logout(State(w): Shared, headers: HeaderMap) -> Response {
    let name = guard::cookie_name(&w);
    w.tokens.log_out(&name, &headers);
    w.touched();
    let cookie = format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    reply::header(reply::json(200, &json!({})), "set-cookie", &cookie)
}

/// Who sits at the dashboard, for the log and for the agent.
fn person(w: &Workspace, headers: &HeaderMap) -> String {
    match guard::logged_in(w, headers) {
        Some(token) if token.name != tokens::MAIN => token.name,
        _ => "dashboard".to_owned(),
    }
}

/// `approve`, `reject`, or `approve-for-a-while`.
async fn decide(
    State(w): Shared,
    Path((id, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let approve = match verb.as_str() {
        "approve" | "approve-for-a-while" => true,
        "reject" => false,
        _ => return reply::refusal(404, "NOT_FOUND", "approve or reject"),
    };
    let by = person(&w, &headers);
    let decided = decide::read(&w, &id, approve, &body, &by).and_then(|d| {
        let decision = Decision { by, ..d };
        match verb.as_str() {
            "approve-for-a-while" => w.decide_for_a_while(&id, decision),
            _ => w.decide(&id, decision),
        }
    });
    match decided {
        Ok(()) => reply::json(200, &json!({})),
        Err(e) => reply::refusal(409, "CONFLICT", &e),
    }
}

async fn revoke(State(w): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match w.revoke(&id, &person(&w, &headers)) {
        Ok(()) => reply::json(200, &json!({})),
        Err(e) => reply::refusal(409, "CONFLICT", &e),
    }
}

async fn say(State(w): Shared, headers: HeaderMap, body: String) -> Response {
    match serde_json::from_str::<Draft>(&body) {
        Ok(draft) if !draft.text.trim().is_empty() => {
            let message = w.chat.post(
                "user",
                Draft {
                    bridge_id: None,
                    ..draft
                },
            );
            w.log(
                &person(&w, &headers),
                "chat",
                format!("{}: {}", message.id, message.text),
            );
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
                tokio::time::timeout(EVERY, changes.changed()).await.ok();
                tokio::time::sleep(GATHER).await;
            }
            let token = guard::logged_in(&w, &headers)?;
            changes.borrow_and_update();
            let event = format!("event: state\ndata: {}\n\n", snapshot(&w, &token));
            Some((
                Ok::<_, Infallible>(Bytes::from(event)),
                (w, headers, changes, false),
            ))
        });
    reply::body(200, "text/event-stream", Body::from_stream(stream))
}

fn snapshot(w: &Workspace, token: &Token) -> String {
    let mut decided = 0;
    let mut ids = w
        .approvals
        .each(|a| (a.is_settled(), a.decided_at, a.id.clone()));
    ids.sort_by_key(|(settled, at, _)| (*settled, std::cmp::Reverse(*at)));
    ids.retain(|(settled, _, _)| {
        decided += usize::from(*settled);
        decided <= DECIDED_MAX
    });
    let show = |(_, _, id): &(bool, Option<i64>, String)| w.approvals.with(id, |a| shown(w, a));
    let approvals: Vec<RawObject> = ids.iter().filter_map(show).collect();
    let mut state = RawObject::default();
    let identity = json!({ "name": w.identity.name, "slug": w.identity.slug });
    let me = json!({ "name": token.name, "role": token.role, "decides": token.role.decides() });
    state.set("workspace", raw(&identity));
    state.set("now_ms", raw(&w.clock.now_ms()));
    state.set("me", raw(&me));
    state.set("approvals", raw(&approvals));
    state.set("grants", raw(&w.grants.list()));
    state.set("bridges", raw(&w.presence.list(w.stale_ms())));
    state.set("chat", raw(&w.chat.newest(200)));
    state.set("audit", raw(&w.audit.newest(100)));
    state.to_raw().get().to_owned()
}

/// An approval as the page shows it: arguments as text, so that the browser changes no number.
fn shown(w: &Workspace, approval: &Approval) -> RawObject {
    let mut object = full(approval);
    let outcome = match &approval.outcome {
        Some(Ok(result)) => Some(first_text(result.get())),
        Some(Err(e)) => RawObject::parse(e.raw.get()).and_then(|e| e.string("message")),
        None => None,
    };
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
    let params = approval.edited.as_ref().unwrap_or(&approval.subject.params);
    if approval.subject.category.is_some() {
        object.set("guardian", approval.subject.params.to_raw());
    } else {
        let mut arguments = params
            .get("arguments")
            .map_or_else(|| "{}".to_owned(), |a| pretty(a.get()));
        if approval.is_settled()
            && let Some((end, _)) = arguments.char_indices().nth(PAST_MAX)
        {
            // The history is for looking back; the whole of it is on disk and in the admin API.
            arguments.truncate(end);
            arguments.push_str("\n… and more");
        }
        object.set("arguments_text", raw(&arguments));
    }
    let (now_ms, online) = (w.clock.now_ms(), w.online(&approval.subject.agent));
    object.set("edited", raw(&approval.edited.is_some()));
    object.set("fate", raw(&approval.fate(now_ms, online)));
    object.set("agent_gone", raw(&approval.is_abandoned(now_ms, online)));
    object.set("grantable", raw(&grants::may_be_given(&approval.subject)));
    object.set("outcome_text", raw(&outcome));
    object
}

/// The first text of a tool's result, as much of it as a person looks at in a list.
fn first_text(result: &str) -> String {
    let item = RawObject::parse(result)
        .and_then(|r| r.read::<Vec<RawObject>>("content"))
        .and_then(|content| content.into_iter().find_map(|item| item.string("text")));
    let text = item.unwrap_or_else(|| result.to_owned());
    text.chars().take(OUTCOME_MAX).collect()
}
