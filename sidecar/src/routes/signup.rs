//! POST /signup: an account with address and password, or without either an anonymous one.

use axum::extract::State as Shared;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{self, Way};
use crate::captcha::{self, MetaSecurity};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::mail_domain;
use crate::request::{Challenge, Json, Locale, Options, Query, given, no_phone};
use crate::server::{Peer, State};
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(sign_up))
}

#[derive(Deserialize, ToSchema)]
struct SignUp {
    email: Option<String>,
    phone: Option<String>,
    password: Option<String>,
    /// user_metadata
    data: Option<Value>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// Make an account. Answers a session, or the user alone where the address is to be confirmed first; of a taken address
/// the latter says nothing.
#[utoipa::path(post, path = "/signup", tag = "sign-in", request_body = SignUp,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, body = shapes::SignedUp), (status = 422, body = shapes::Refusal)))]
async fn sign_up(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    Locale(locale): Locale,
    headers: HeaderMap,
    query: Query,
    Json(body): Json<SignUp>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, body.gotrue_meta_security.as_ref()).await?;
    let data = body.data.filter(|data| !data.is_null()).unwrap_or_else(|| json!({}));
    if given(body.phone).is_some() {
        return Err(no_phone());
    }
    let Some(email) = given(body.email) else {
        let arguments = [Argument::Json(data), Argument::Json(json!({}))];
        let session = state.db.call(&caller, "select auth.sign_in_anonymously($1, $2)", &arguments).await?;
        return Ok(answer::session(&state.config, &headers, session, Way::Anonymous));
    };
    let Some(password) = given(body.password) else {
        return Err(Error::validation("signup requires a valid password"));
    };
    mail_domain::check(&state, &email).await?;
    let challenge =
        Challenge { code_challenge: body.code_challenge, code_challenge_method: body.code_challenge_method };
    let options =
        Options::default().with("redirect_to", query.redirect_to()).with("locale", locale).challenge(challenge);
    let arguments =
        [Argument::text(email), Argument::text(password), Argument::Json(data), Argument::Json(options.value())];
    let answer = state.db.call(&caller, "select auth.sign_up($1, $2, $3, $4)", &arguments).await?;
    Ok(answer::signed_up(&state.config, &headers, answer))
}
