//! What other programs need to verify tokens by themselves.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Caller;
use crate::error::Result;
use crate::server::State;

/// Long enough to spare us, short enough for a key that was revoked.
const CACHED: &str = "public, max-age=600";

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(jwks)).routes(routes!(discovery))
}

/// The public keys that access tokens are signed with.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "about",
    responses((status = 200, description = "a JSON Web Key Set")))]
async fn jwks(Shared(state): Shared<State>, caller: Caller) -> Result<Response> {
    let nobody = Caller { bearer: None, ..caller };
    let keys = state.db.call(&nobody, "select auth.jwks()", &[]).await?;
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static(CACHED))], answer::json(&keys)).into_response())
}

/// Where things are (OpenID Connect Discovery).
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "about",
    responses((status = 200, description = "the discovery document")))]
async fn discovery(Shared(state): Shared<State>, caller: Caller) -> Result<Response> {
    let nobody = Caller { bearer: None, ..caller };
    let settings = state.db.call(&nobody, "select auth.public_settings()", &[]).await?;
    let url = &state.config.external_url;
    Ok(answer::json(&json!({
        "issuer": settings["jwt_issuer"].as_str().unwrap_or(url),
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/user"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["password", "refresh_token", "pkce"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
        "code_challenge_methods_supported": ["S256"],
    })))
}
