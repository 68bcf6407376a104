//! POST /token: a session for a password, for a refresh token, or for the code that a link's redirect brought.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{self, Way};
use crate::captcha::{self, MetaSecurity};
use crate::cookies;
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{Json, Query, given, no_phone, text_header};
use crate::server::{Peer, State};
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(token))
}

#[derive(Deserialize, ToSchema)]
struct Grant {
    /// password
    email: Option<String>,
    phone: Option<String>,
    /// password
    password: Option<String>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    /// refresh_token; else the header x-refresh-token, else the cookie
    refresh_token: Option<String>,
    /// pkce
    auth_code: Option<String>,
    /// pkce, where the request for the mail had a challenge
    code_verifier: Option<String>,
}

/// Open a session, or go on with one.
#[utoipa::path(post, path = "/token", tag = "sign-in", request_body = Grant,
    params(("grant_type" = String, Query, description = "password, refresh_token or pkce")),
    responses((status = 200, body = shapes::Session), (status = 400, body = shapes::Refusal)))]
async fn token(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    headers: HeaderMap,
    query: Query,
    Json(grant): Json<Grant>,
) -> Result<Response> {
    match query.get("grant_type").as_deref() {
        Some("password") => {
            captcha::check(&state, &caller, peer.0, grant.gotrue_meta_security.as_ref()).await?;
            by_password(&state, &caller, &headers, grant).await
        }
        Some("refresh_token") => by_refresh_token(&state, &caller, &headers, grant).await,
        Some("pkce") => by_code(&state, &caller, &headers, grant).await,
        _ => Err(Error::validation("unsupported_grant_type")),
    }
}

async fn by_password(state: &State, caller: &Caller, headers: &HeaderMap, grant: Grant) -> Result<Response> {
    let Some(email) = given(grant.email) else {
        return Err(match given(grant.phone) {
            Some(_) => no_phone(),
            None => Error::validation("missing email or phone"),
        });
    };
    // No password is a wrong password: SQL counts it.
    let arguments =
        [Argument::text(email), Argument::text(grant.password.unwrap_or_default()), answer::sign_in_options()];
    let session = state.db.call(caller, "select auth.sign_in($1, $2, $3)", &arguments).await?;
    Ok(answer::session(&state.config, headers, session, Way::Password))
}

async fn by_refresh_token(state: &State, caller: &Caller, headers: &HeaderMap, grant: Grant) -> Result<Response> {
    let sent = given(grant.refresh_token).or_else(|| text_header(headers, "x-refresh-token").map(str::to_owned));
    let kept = if sent.is_none() { cookies::refresh_token(headers, &state.config.cookie) } else { None };
    let by_cookie = kept.is_some() || cookies::is_asked(headers, &state.config.cookie);
    let is_kept = kept.is_some();
    let Some(refresh_token) = sent.or(kept) else {
        return Err(Error::validation("refresh_token is not given"));
    };
    let arguments = [Argument::text(refresh_token), Argument::Json(json!({}))];
    match state.db.call(caller, "select auth.refresh($1, $2)", &arguments).await {
        Ok(session) => Ok(answer::session_kept(&state.config, headers, session, Way::Refresh, by_cookie)),
        // The browser need not keep what will never be good again.
        Err(error) if is_kept && !error.status().is_server_error() && error.status().as_u16() != 429 => {
            let mut response = error.into_response();
            if let Some(cookie) = cookies::clear(headers, &state.config.cookie) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Err(error) => Err(error),
    }
}

async fn by_code(state: &State, caller: &Caller, headers: &HeaderMap, grant: Grant) -> Result<Response> {
    let Some(code) = given(grant.auth_code) else {
        return Err(Error::validation("auth_code is not given"));
    };
    // Without one where the code has no challenge, as that of an invitation: SQL knows.
    let arguments = [Argument::text(code), Argument::Text(given(grant.code_verifier)), answer::sign_in_options()];
    let session = state.db.call(caller, "select auth.exchange_code($1, $2, $3)", &arguments).await?;
    Ok(answer::session(&state.config, headers, session, Way::Exchange))
}
