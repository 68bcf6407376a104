//! POST /otp and /magiclink: mails a code and a link, or sends a code by SMS. The answer is the same for every address
//! and number.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::captcha::{self, MetaSecurity};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::mail_domain;
use crate::request::{Challenge, Json, Locale, Options, Query, given, no_phone, nothing};
use crate::server::{Peer, State};
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(send_otp)).routes(routes!(send_magic_link))
}

#[derive(Deserialize, ToSchema)]
struct Asked {
    email: Option<String>,
    /// In place of `email`: a code by SMS
    phone: Option<String>,
    /// sms, which is the only one
    channel: Option<String>,
    /// Whether an unknown address gets an account: true if not said
    create_user: Option<bool>,
    /// user_metadata of a new account
    data: Option<Value>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// Mail a code and a link to sign in with, or send a code by SMS.
#[utoipa::path(post, path = "/otp", tag = "sign-in", request_body = Asked,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, description = "`{}`"), (status = 429, body = shapes::Refusal)))]
async fn send_otp(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    locale: Locale,
    query: Query,
    Json(asked): Json<Asked>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, asked.gotrue_meta_security.as_ref()).await?;
    if given(asked.email.clone()).is_none()
        && let Some(phone) = given(asked.phone.clone())
    {
        return text(&state, &caller, phone, asked, locale).await;
    }
    let (email, options) = mail(asked, &query, locale)?;
    mail_domain::check(&state, &email).await?;
    let arguments = [Argument::text(email), Argument::Json(options.value())];
    state.db.call(&caller, "select auth.send_otp($1, $2)", &arguments).await?;
    Ok(nothing())
}

/// What a client reads of an SMS; an id at the provider's there is none yet, it is sent later.
async fn text(state: &State, caller: &Caller, phone: String, asked: Asked, Locale(locale): Locale) -> Result<Response> {
    let options = Options::default()
        .with("create_user", asked.create_user)
        .with("data", asked.data.filter(|data| !data.is_null() && *data != json!({})))
        .with("channel", given(asked.channel))
        .with("locale", locale);
    let arguments = [Argument::text(phone), Argument::Json(options.value())];
    state.db.call(caller, "select auth.send_sms_otp($1, $2)", &arguments).await?;
    Ok(nothing())
}

/// Mail a link to sign in with. Older clients call it.
#[utoipa::path(post, path = "/magiclink", tag = "sign-in", request_body = Asked,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, description = "`{}`"), (status = 429, body = shapes::Refusal)))]
async fn send_magic_link(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    locale: Locale,
    query: Query,
    Json(asked): Json<Asked>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, asked.gotrue_meta_security.as_ref()).await?;
    let (email, options) = mail(asked, &Query::default(), locale)?;
    mail_domain::check(&state, &email).await?;
    let arguments = [Argument::text(email), Argument::Text(query.redirect_to()), Argument::Json(options.value())];
    state.db.call(&caller, "select auth.send_magic_link($1, $2, $3)", &arguments).await?;
    Ok(nothing())
}

fn mail(asked: Asked, query: &Query, Locale(locale): Locale) -> Result<(String, Options)> {
    let Some(email) = given(asked.email) else {
        return Err(match given(asked.phone) {
            Some(_) => no_phone(),
            None => Error::validation("one of email or phone must be set"),
        });
    };
    let challenge =
        Challenge { code_challenge: asked.code_challenge, code_challenge_method: asked.code_challenge_method };
    let options = Options::default()
        .with("redirect_to", query.redirect_to())
        .with("create_user", asked.create_user)
        .with("data", asked.data.filter(|data| !data.is_null() && *data != json!({})))
        .with("locale", locale)
        .challenge(challenge);
    Ok((email, options))
}
