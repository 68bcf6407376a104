//! /admin/users: accounts, for bearers of service_role. Who that is, SQL says.

use axum::extract::State as Shared;
use axum::response::Response;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Argument;
use crate::error::Result;
use crate::request::{Bearer, Json, Options, Query, UserId};
use crate::server::State;
use crate::shapes;

const USERS_A_PAGE: i64 = 50;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_users, create_user)).routes(routes!(get_user, update_user, delete_user))
}

#[derive(Default, Deserialize, ToSchema)]
struct Deletion {
    /// Keep the row, which nobody can sign in to, and free its address
    #[serde(default)]
    should_soft_delete: Option<bool>,
}

/// A page of all users. `X-Total-Count` and `Link` lead on.
#[utoipa::path(get, path = "/admin/users", tag = "admin", security(("bearer" = [])),
    params(("page" = Option<i64>, Query, description = "from 1"), ("per_page" = Option<i64>, Query, description = "50"),
        ("filter" = Option<String>, Query, description = "part of an address"),
        ("sort" = Option<String>, Query, description = "a column, and asc or desc"),
        ("cursor" = Option<String>, Query, description = "next_cursor of the page before")),
    responses((status = 200, description = "`{users, aud}`"), (status = 403, body = shapes::Refusal)))]
async fn list_users(Shared(state): Shared<State>, Bearer(caller): Bearer, query: Query) -> Result<Response> {
    let (page, per_page) = (query.number("page")?, query.number("per_page")?);
    let options = Options::default()
        .with("page", page)
        .with("per_page", per_page)
        .with("filter", query.get("filter"))
        .with("sort", query.get("sort"))
        .with("cursor", query.get("cursor"));
    let arguments = [Argument::Json(options.value())];
    let mut answer = state.db.call(&caller, "select auth.admin_list_users($1)", &arguments).await?;
    let total = answer["total"].as_i64().unwrap_or_default();
    let mut body = json!({"users": answer["users"].take(), "aud": "authenticated"});
    if let (Some(cursor), Some(body)) = (answer["next_cursor"].as_str(), body.as_object_mut()) {
        body.insert("next_cursor".into(), cursor.into());
    }
    let mut response = answer::json(&body);
    let headers = response.headers_mut();
    headers.insert("x-total-count", HeaderValue::from(total));
    let url = format!("{}/admin/users", state.config.external_url);
    let link = links(&url, page.unwrap_or(1).max(1), per_page.unwrap_or(USERS_A_PAGE).max(1), total);
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert("link", link);
    }
    Ok(response)
}

/// As RFC 8288 has it, with `page` first: clients look there.
fn links(url: &str, page: i64, per_page: i64, total: i64) -> String {
    let last = (total.max(1) - 1) / per_page + 1;
    let link = |page: i64, relation: &str| format!("<{url}?page={page}&per_page={per_page}>; rel=\"{relation}\"");
    match page < last {
        true => format!("{}, {}", link(page + 1, "next"), link(last, "last")),
        false => link(last, "last"),
    }
}

/// Make an account.
#[utoipa::path(post, path = "/admin/users", tag = "admin", security(("bearer" = [])),
    responses((status = 200, body = shapes::User), (status = 422, body = shapes::Refusal)))]
async fn create_user(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    Json(attributes): Json<Value>,
) -> Result<Response> {
    let arguments = [Argument::Json(attributes)];
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_create_user($1)", &arguments).await?))
}

/// One user.
#[utoipa::path(get, path = "/admin/users/{user_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path)),
    responses((status = 200, body = shapes::User), (status = 404, body = shapes::Refusal)))]
async fn get_user(Shared(state): Shared<State>, Bearer(caller): Bearer, UserId(id): UserId) -> Result<Response> {
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_get_user($1)", &[Argument::Uuid(id)]).await?))
}

/// Change a user.
#[utoipa::path(put, path = "/admin/users/{user_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path)),
    responses((status = 200, body = shapes::User), (status = 404, body = shapes::Refusal)))]
async fn update_user(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    UserId(id): UserId,
    Json(attributes): Json<Value>,
) -> Result<Response> {
    let arguments = [Argument::Uuid(id), Argument::Json(attributes)];
    Ok(answer::json(&state.db.call(&caller, "select auth.admin_update_user($1, $2)", &arguments).await?))
}

/// Delete a user and all that is theirs.
#[utoipa::path(delete, path = "/admin/users/{user_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = uuid::Uuid, Path)), request_body = Option<Deletion>,
    responses((status = 200, description = "`{}`"), (status = 404, body = shapes::Refusal)))]
async fn delete_user(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    UserId(id): UserId,
    Json(deletion): Json<Deletion>,
) -> Result<Response> {
    let arguments = [Argument::Uuid(id), Argument::Bool(deletion.should_soft_delete.unwrap_or(false))];
    state.db.call(&caller, "select auth.admin_delete_user($1, $2)", &arguments).await?;
    Ok(answer::json(&json!({})))
}
