//! GET /health: 200 as long as the database answers, so that a balancer takes this instance out otherwise.

use axum::extract::State as Shared;
use axum::response::Response;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::error::Result;
use crate::server::State;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(health))
}

/// Whether this instance can serve.
#[utoipa::path(get, path = "/health", tag = "about",
    responses((status = 200, description = "it can"), (status = 503, description = "the database does not answer")))]
async fn health(Shared(state): Shared<State>) -> Result<Response> {
    state.db.ping().await?;
    Ok(answer::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "name": "auth-sidecar",
        "description": "HTTP for the auth extension of PostgreSQL",
    })))
}
