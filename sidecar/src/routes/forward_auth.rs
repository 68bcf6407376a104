//! For programs that ask whether a token is good: GET /verify-token answers with its claims, /forward-auth with headers
//! for a reverse proxy (nginx auth_request, Traefik ForwardAuth, Caddy forward_auth).
//!
//! The proxy must take `x-user-id` and `x-user-email` from this answer, never from the client: both are always in it,
//! and what came in under these names is never read.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderValue, StatusCode};
use serde_json::Value;
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
    Ok(answer::json(&claims(&state, caller).await?))
}

/// Whose request it is, in `x-user-id` and `x-user-email`.
#[utoipa::path(get, path = "/forward-auth", tag = "about", security(("bearer" = [])),
    responses((status = 200, description = "with headers x-user-id and x-user-email"),
        (status = 401, body = shapes::Refusal)))]
async fn forward_auth(Shared(state): Shared<State>, Bearer(caller): Bearer) -> Result<Response> {
    let claims = claims(&state, caller).await?;
    // A key of a program is good, but nobody's.
    let id = claims["sub"].as_str().ok_or_else(Error::no_authorization)?;
    let email = claims["email"].as_str().unwrap_or_default();
    let header = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Error::no_authorization());
    Ok((StatusCode::OK, [("x-user-id", header(id)?), ("x-user-email", header(email)?)]).into_response())
}

async fn claims(state: &State, caller: Caller) -> Result<Value> {
    let arguments = [Argument::Text(caller.bearer.clone())];
    let nobody = Caller { bearer: None, ..caller };
    state.db.call(&nobody, "select auth.verify_token($1)", &arguments).await.map_err(Error::or_unauthorized)
}
