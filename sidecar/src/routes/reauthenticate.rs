//! GET /reauthenticate: mails the code that a change of the password may need.

use axum::extract::State as Shared;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::db::Argument;
use crate::error::Result;
use crate::request::{Locale, Options, SignedIn, nothing};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(reauthenticate))
}

/// Mail a code to the signed-in user.
#[utoipa::path(get, path = "/reauthenticate", tag = "user", security(("bearer" = [])),
    responses((status = 200, description = "`{}`"), (status = 401, body = shapes::Refusal)))]
async fn reauthenticate(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    Locale(locale): Locale,
) -> Result<Response> {
    let options = Options::default().with("locale", locale).value();
    state.db.call(&caller, "select auth.reauthenticate($1)", &[Argument::Json(options)]).await?;
    Ok(nothing())
}
