//! GET /health: 200 as long as the database answers, so that a balancer takes this instance out otherwise.

use axum::extract;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::error::Result;
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new().route("/health", get(health))
}

async fn health(extract::State(state): extract::State<State>) -> Result<Response> {
    state.db.ping().await?;
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "name": "auth-sidecar",
        "description": "HTTP for the auth extension of PostgreSQL",
    });
    Ok(Json(body).into_response())
}
