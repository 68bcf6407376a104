//! /admin/users/{id}/factors: second factors of others, for bearers of service_role. Who that is, SQL says.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Argument;
use crate::error::Result;
use crate::request::{Bearer, Json, Options, UserAndFactor, UserId};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_factors)).routes(routes!(update_factor, delete_factor))
}

#[derive(Deserialize, ToSchema)]
struct Changes {
    friendly_name: Option<String>,
}

/// The factors of a user.
#[utoipa::path(get, path = "/admin/users/{user_id}/factors", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path)),
    responses((status = 200, body = Vec<shapes::Factor>), (status = 404, body = shapes::Refusal)))]
async fn list_factors(Shared(state): Shared<State>, Bearer(caller): Bearer, UserId(id): UserId) -> Result<Response> {
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_list_factors($1)", &[Argument::Uuid(id)]).await?))
}

/// Give a factor another name.
#[utoipa::path(put, path = "/admin/users/{user_id}/factors/{factor_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path), ("factor_id" = uuid::Uuid, Path)), request_body = Changes,
    responses((status = 200, body = shapes::Factor), (status = 404, body = shapes::Refusal)))]
async fn update_factor(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    UserAndFactor(user_id, factor_id): UserAndFactor,
    Json(changes): Json<Changes>,
) -> Result<Response> {
    let changes = Options::default().with("friendly_name", changes.friendly_name).value();
    let arguments = [Argument::Uuid(user_id), Argument::Uuid(factor_id), Argument::Json(changes)];
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_update_factor($1, $2, $3)", &arguments).await?))
}

/// Remove a factor, such as one that its user has lost.
#[utoipa::path(delete, path = "/admin/users/{user_id}/factors/{factor_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path), ("factor_id" = uuid::Uuid, Path)),
    responses((status = 200, body = shapes::Named), (status = 404, body = shapes::Refusal)))]
async fn delete_factor(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    UserAndFactor(user_id, factor_id): UserAndFactor,
) -> Result<Response> {
    let arguments = [Argument::Uuid(user_id), Argument::Uuid(factor_id)];
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_delete_factor($1, $2)", &arguments).await?))
}
