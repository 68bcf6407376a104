//! GET /admin/audit: what happened. For bearers of service_role.

use axum::extract::State as Shared;
use axum::response::Response;
use http::HeaderValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Argument;
use crate::error::Result;
use crate::request::{Bearer, Options, Query};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_audit))
}

/// A page of the audit log, newest first.
#[utoipa::path(get, path = "/admin/audit", tag = "admin", security(("bearer" = [])),
    params(("page" = Option<i64>, Query, description = "from 1"), ("per_page" = Option<i64>, Query, description = "50"),
        ("query" = Option<String>, Query, description = "`column:value`")),
    responses((status = 200, description = "entries"), (status = 403, body = shapes::Refusal)))]
async fn list_audit(Shared(state): Shared<State>, Bearer(caller): Bearer, query: Query) -> Result<Response> {
    let options = Options::default()
        .with("page", query.number("page")?)
        .with("per_page", query.number("per_page")?)
        .with("query", query.get("query"));
    let arguments = [Argument::Json(options.value())];
    let mut answer = state.db.call(&caller, "select auth.admin_list_audit($1)", &arguments).await?;
    let total = answer["total"].as_i64().unwrap_or_default();
    let mut response = answer::json(&answer["entries"].take());
    response.headers_mut().insert("x-total-count", HeaderValue::from(total));
    Ok(response)
}
