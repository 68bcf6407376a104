//! POST /admin/generate_link: a link for a mail that the caller sends. For bearers of service_role.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
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
    OpenApiRouter::new().routes(routes!(generate_link))
}

#[derive(Deserialize, ToSchema)]
struct Wanted {
    /// signup, invite, magiclink, recovery, email_change_current or email_change_new
    r#type: Option<String>,
    email: Option<String>,
    /// signup
    password: Option<String>,
    /// email_change_…
    new_email: Option<String>,
    /// user_metadata of a new account
    data: Option<Value>,
    redirect_to: Option<String>,
}

/// A link and a code, without a mail. Answers the user with action_link, email_otp, hashed_token, verification_type and
/// redirect_to beside.
#[utoipa::path(post, path = "/admin/generate_link", tag = "admin", security(("bearer" = [])), request_body = Wanted,
    params(("redirect_to" = Option<String>, Query, description = "where the link leads")),
    responses((status = 200, body = shapes::User), (status = 403, body = shapes::Refusal)))]
async fn generate_link(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    query: Query,
    Json(wanted): Json<Wanted>,
) -> Result<Response> {
    let (Some(kind), Some(email)) = (given(wanted.r#type), given(wanted.email)) else {
        return Err(Error::validation("type and email are both needed"));
    };
    let options = Options::default()
        .with("password", given(wanted.password))
        .with("new_email", given(wanted.new_email))
        .with("data", wanted.data.filter(|data| !data.is_null()))
        .with("redirect_to", given(wanted.redirect_to).or_else(|| query.redirect_to()));
    let arguments = [Argument::text(kind), Argument::text(email), Argument::Json(options.value())];
    let mut made = state.db.call(&caller, "select auth.admin_generate_link($1, $2, $3)", &arguments).await?;
    let link = action_link(&state.config.external_url, &made);
    let mut body = made["user"].take();
    if let (Some(body), Some(made)) = (body.as_object_mut(), made.as_object()) {
        for (name, value) in made.iter().filter(|(name, _)| !["user", "status"].contains(&name.as_str())) {
            body.insert(name.clone(), value.clone());
        }
        body.insert("action_link".into(), link.into());
    }
    Ok(answer::json(&body))
}

/// SQL does not know where this service is reached.
fn action_link(external_url: &str, made: &Value) -> String {
    let text = |name: &str| made[name].as_str().unwrap_or_default();
    // Which of the two addresses a link of a change is for, its token knows.
    let kind = text("verification_type").trim_end_matches("_current").trim_end_matches("_new");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", text("hashed_token"))
        .append_pair("type", kind)
        .append_pair("redirect_to", text("redirect_to"))
        .finish();
    format!("{external_url}/verify?{query}")
}
