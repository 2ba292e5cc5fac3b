//! Which path is served by what.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get};

use crate::state::Workspace;
use crate::{admin, dashboard, endpoint, push, reply};

/// The workspace's own routes.
pub fn workspace(workspace: &Arc<Workspace>) -> Router {
    Router::new()
        .route("/ws/{slug}", any(endpoint::serve))
        .route("/api/gateway/ws/{slug}", any(endpoint::serve))
        .route("/ws/{slug}/approvals/{id}", get(push::approval_status))
        .route("/ws/{slug}/approvals/{id}/ws", get(push::approval_socket))
        .route("/ws/{slug}/chat/ws", get(push::chat_socket))
        .merge(dashboard::routes(workspace))
        .fallback(async || reply::refusal(404, "NOT_FOUND", "there is nothing here"))
        .layer(DefaultBodyLimit::disable())
        .with_state(workspace.clone())
}

/// The admin API's routes.
pub fn admin(workspace: &Arc<Workspace>, token: String) -> Router {
    admin::routes(workspace.clone(), token)
}
