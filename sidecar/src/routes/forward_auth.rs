//! For programs that ask whether a token is good: GET /verify-token answers with its claims, /forward-auth with headers
//! for a reverse proxy (nginx auth_request, Traefik ForwardAuth, Caddy forward_auth).
//!
//! The proxy must take `x-user-id` and `x-user-email` from this answer, never from the client: both are always in it,
//! and what came in under these names is never read. Only a finished sign-in is somebody, and only an address that was
//! proved is told.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderValue, StatusCode};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::Bearer;
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    // Some proxies ask with the method of the request that they hold back.
    let other =
        on(MethodFilter::POST.or(MethodFilter::PUT).or(MethodFilter::PATCH).or(MethodFilter::DELETE), forward_auth);
    OpenApiRouter::new().routes(routes!(verify_token)).routes(routes!(forward_auth)).route("/forward-auth", other)
}

/// The claims of a token that is good now.
#[utoipa::path(get, path = "/verify-token", tag = "about", security(("bearer" = [])),
    responses((status = 200, description = "the claims"), (status = 401, body = shapes::Refusal)))]
async fn verify_token(Shared(state): Shared<State>, Bearer(caller): Bearer) -> Result<Response> {
    let arguments = [Argument::Text(caller.bearer.clone())];
    let nobody = Caller { bearer: None, ..caller };
    let claims = state.db.call(&nobody, "select auth.verify_token($1)", &arguments).await;
    let claims = claims.map_err(Error::or_unauthorized)?;
    if claims["token_type"] == "restricted" {
        return Err(Error::new("bad_jwt", "the token is of a sign-in that is not finished").or_unauthorized());
    }
    Ok(answer::json(&claims))
}

/// Whose request it is, in `x-user-id` and `x-user-email`; the latter is empty for an address that is not confirmed.
#[utoipa::path(get, path = "/forward-auth", tag = "about", security(("bearer" = [])),
    responses((status = 200, description = "with headers x-user-id and x-user-email"),
        (status = 401, body = shapes::Refusal)))]
async fn forward_auth(Shared(state): Shared<State>, Bearer(caller): Bearer) -> Result<Response> {
    let user = state.db.call(&caller, answer::WHO_HAS_SIGNED_IN, &[]).await.map_err(Error::or_unauthorized)?;
    // A key of a program is good, but nobody's; so is the token of a sign-in that is not finished.
    let id = user["id"].as_str().ok_or_else(Error::no_authorization)?;
    // Whoever signs up may write any address: only one that was proved says who they are.
    let email = user["email"].as_str().filter(|_| user["email_confirmed_at"].is_string()).unwrap_or_default();
    let header = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Error::no_authorization());
    Ok((StatusCode::OK, [("x-user-id", header(id)?), ("x-user-email", header(email)?)]).into_response())
}
