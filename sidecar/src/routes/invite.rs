//! POST /invite: an account for somebody else, who gets a mail. For bearers of service_role.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::request::{Bearer, Json, Options, Query, given};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(invite))
}

#[derive(Deserialize, ToSchema)]
struct Invitation {
    email: Option<String>,
    /// user_metadata
    data: Option<Value>,
}

/// Invite by mail.
#[utoipa::path(post, path = "/invite", tag = "admin", security(("bearer" = [])), request_body = Invitation,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, body = shapes::User), (status = 403, body = shapes::Refusal)))]
async fn invite(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    query: Query,
    Json(invitation): Json<Invitation>,
) -> Result<Response> {
    let email = given(invitation.email).ok_or_else(|| Error::validation("an email is needed"))?;
    let data = invitation.data.filter(|data| !data.is_null()).unwrap_or_else(|| json!({}));
    let options = Options::default().with("redirect_to", query.redirect_to()).value();
    let arguments = [Argument::text(email), Argument::Json(data), Argument::Json(options)];
    Ok(answer::json(&state.db.call(&caller, "select auth.invite_user($1, $2, $3)", &arguments).await?))
}
