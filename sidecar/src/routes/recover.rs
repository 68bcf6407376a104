//! POST /recover: mails a code and a link for who has forgotten the password. Always `{}`.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::captcha::{self, MetaSecurity};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{Challenge, Json, Locale, Options, Query, given, nothing};
use crate::server::{Peer, State};
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(recover))
}

#[derive(Deserialize, ToSchema)]
struct Forgotten {
    email: Option<String>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// Mail a code and a link to set a new password with.
#[utoipa::path(post, path = "/recover", tag = "sign-in", request_body = Forgotten,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, description = "`{}`"), (status = 429, body = shapes::Refusal)))]
async fn recover(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    Locale(locale): Locale,
    query: Query,
    Json(body): Json<Forgotten>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, body.gotrue_meta_security.as_ref()).await?;
    let email = given(body.email).ok_or_else(|| Error::validation("password recovery requires an email"))?;
    let challenge =
        Challenge { code_challenge: body.code_challenge, code_challenge_method: body.code_challenge_method };
    let options = Options::default().with("locale", locale).challenge(challenge);
    let arguments = [Argument::text(email), Argument::Text(query.redirect_to()), Argument::Json(options.value())];
    state.db.call(&caller, "select auth.request_password_reset($1, $2, $3)", &arguments).await?;
    Ok(nothing())
}
