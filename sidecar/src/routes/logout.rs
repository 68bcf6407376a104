//! POST /logout: ends this session, all of the user's, or all others.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cookies;
use crate::db::Argument;
use crate::error::Result;
use crate::request::{Query, SignedIn};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(sign_out))
}

/// Sign out. The cookie goes even where the session was over already.
#[utoipa::path(post, path = "/logout", tag = "user", security(("bearer" = [])),
    params(("scope" = Option<String>, Query, description = "global (default), local or others")),
    responses((status = 204), (status = 403, body = shapes::Refusal)))]
async fn sign_out(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
    query: Query,
) -> Result<Response> {
    let scope = query.get("scope").unwrap_or_else(|| "global".into());
    let keeps_session = scope == "others";
    let result = state.db.call(&caller, "select auth.sign_out($1)", &[Argument::text(scope)]).await;
    let mut response = match result {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    };
    if !keeps_session
        && cookies::is_present(&headers, &state.config.cookie)
        && let Some(cookie) = cookies::clear(&headers, &state.config.cookie)
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
