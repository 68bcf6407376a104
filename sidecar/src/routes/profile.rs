//! GET /public/{username}: what anybody may read of an account. SQL decides which fields those are.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(public_profile))
}

/// The same by its versioned name, and by urBackend's.
pub fn beside(urbackend: bool) -> Router<State> {
    let router = Router::new().route("/v1/public/{username}", axum::routing::get(public_profile));
    match urbackend {
        true => router.route("/api/userAuth/public/{username}", axum::routing::get(public_profile)),
        false => router,
    }
}

/// The public profile of the account with this user name.
#[utoipa::path(get, path = "/public/{username}", tag = "about", params(("username" = String, Path)),
    responses((status = 200, description = "its public fields"), (status = 404, body = shapes::Refusal)))]
async fn public_profile(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(username): Path<String>,
) -> Result<Response> {
    // A bearer makes no difference: what everybody may read needs none, and a bad one is no reason not to show it.
    let caller = Caller { bearer: None, ..caller };
    match state.db.call(&caller, "select auth.public_profile($1)", &[Argument::text(username)]).await? {
        Value::Null => Err(Error::new("user_not_found", "nobody has this user name")),
        profile => Ok(answer::json(&profile)),
    }
}
