//! GET /metrics, at the root only, so that a proxy that passes on /auth/v1 does not publish it.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use crate::counters;
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new().route("/metrics", get(expose))
}

async fn expose(Shared(state): Shared<State>) -> Response {
    let Some(metrics) = &state.metrics else { return StatusCode::NOT_FOUND.into_response() };
    counters::pool(&state.db);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}
