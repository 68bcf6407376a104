//! POST /resend: the mail that confirms an address, or the SMS, once more. Always `{}`.

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
    OpenApiRouter::new().routes(routes!(resend))
}

#[derive(Deserialize, ToSchema)]
struct Again {
    /// signup, email_change, sms or phone_change
    r#type: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// Mail a confirmation once more.
#[utoipa::path(post, path = "/resend", tag = "sign-in", request_body = Again,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, description = "`{}`"), (status = 429, body = shapes::Refusal)))]
async fn resend(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    Locale(locale): Locale,
    query: Query,
    Json(body): Json<Again>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, body.gotrue_meta_security.as_ref()).await?;
    let kind = match body.r#type.as_deref() {
        Some(kind @ ("signup" | "email_change")) => kind.to_owned(),
        Some(kind @ ("sms" | "phone_change")) => return text(&state, &caller, kind, body.phone, locale).await,
        _ => return Err(Error::validation("type is one of: signup, email_change, sms, phone_change")),
    };
    let email = given(body.email).filter(|_| given(body.phone).is_none());
    let email = email.ok_or_else(|| Error::validation("type provided requires an email address"))?;
    let challenge =
        Challenge { code_challenge: body.code_challenge, code_challenge_method: body.code_challenge_method };
    let options =
        Options::default().with("redirect_to", query.redirect_to()).with("locale", locale).challenge(challenge);
    let arguments = [Argument::text(kind), Argument::text(email), Argument::Json(options.value())];
    state.db.call(&caller, "select auth.resend($1, $2, $3)", &arguments).await?;
    Ok(nothing())
}

async fn text(
    state: &State,
    caller: &Caller,
    kind: &str,
    phone: Option<String>,
    locale: Option<String>,
) -> Result<Response> {
    let phone = given(phone).ok_or_else(|| Error::validation("type provided requires a phone number"))?;
    let options = Options::default().with("again", Some(true)).with("type", Some(kind)).with("locale", locale);
    let arguments = [Argument::text(phone), Argument::Json(options.value())];
    state.db.call(caller, "select auth.send_sms_otp($1, $2)", &arguments).await?;
    Ok(nothing())
}
