//! The dashboard: a page, its live events, and the decisions that a person makes there.

use std::sync::Arc;

use axum::Router;

use crate::state::Workspace;

/// The dashboard's routes.
pub fn routes() -> Router<Arc<Workspace>> {
    Router::new()
}
