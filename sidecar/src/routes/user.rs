//! GET and PUT /user: what signed-in users see and change of themselves. Whatever one PUT asks for happens in one
//! transaction: all of it or nothing.

use axum::extract::State as Shared;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::{Argument, Caller};
use crate::error::Result;
use crate::mail_domain;
use crate::request::{Challenge, Json, Locale, Options, Query, SignedIn, given};
use crate::server::State;
use crate::shapes;

const UPDATE_PASSWORD: &str = "select auth.update_password($1, $2, $3)";

/// Clients send the whole form: for the own number, where it is proved, nothing is to be done.
const UPDATE_PHONE: &str = "select auth.update_phone($1, $2, $3) from auth.get_user() as own
    where own ->> 'phone_confirmed_at' is null or own ->> 'phone' is distinct from ltrim($1, '+')";

type Calls = Vec<(&'static str, Vec<Argument>)>;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(get_user, update_user))
}

#[derive(Deserialize, ToSchema)]
struct Changes {
    email: Option<String>,
    /// With country code; its code goes to POST /verify with type phone_change
    phone: Option<String>,
    /// Of that code: sms
    channel: Option<String>,
    password: Option<String>,
    current_password: Option<String>,
    /// Mailed by GET /reauthenticate
    nonce: Option<String>,
    /// user_metadata, merged into what is there
    data: Option<Value>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// The signed-in user.
#[utoipa::path(get, path = "/user", tag = "user", security(("bearer" = [])),
    responses((status = 200, body = shapes::User), (status = 401, body = shapes::Refusal)))]
async fn get_user(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    answer::user(state.db.call(&caller, "select auth.get_user()", &[]).await?)
}

/// Change the signed-in user. A new address is confirmed by mail first, a new number by SMS; a new password ends the other sessions.
#[utoipa::path(put, path = "/user", tag = "user", security(("bearer" = [])), request_body = Changes,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, body = shapes::User), (status = 422, body = shapes::Refusal)))]
async fn update_user(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    Locale(locale): Locale,
    query: Query,
    Json(changes): Json<Changes>,
) -> Result<Response> {
    if let Some(email) = given(changes.email.clone()) {
        mail_domain::check(&state, &email).await?;
    }
    let options = Options::default().with("redirect_to", query.redirect_to()).with("locale", locale.clone());
    let mut calls = calls(&caller, changes, options, locale);
    // A sign-in that waits for a new password is finished by it, but its bearer stays nobody's: the answer is that of the change.
    if !matches!(calls[..], [(UPDATE_PASSWORD, _)]) {
        calls.push(("select auth.get_user()", Vec::new()));
    }
    let mut answer = state.db.call_all(&caller, &calls).await?;
    answer::user(if answer["access_token"].is_string() { answer["user"].take() } else { answer })
}

fn calls(caller: &Caller, changes: Changes, options: Options, locale: Option<String>) -> Calls {
    let mut calls = Calls::new();
    if let Some(data) = changes.data.filter(|data| !data.is_null()) {
        calls.push(("select auth.update_user($1)", vec![Argument::Json(data)]));
    }
    let challenge =
        Challenge { code_challenge: changes.code_challenge, code_challenge_method: changes.code_challenge_method };
    let options = options.challenge(challenge).value();
    let is_anonymous = caller.bearer.as_deref().is_some_and(answer::says_anonymous);
    // By the time that the address or the number changes, a new password is the current one.
    let then_current = changes.password.clone().or_else(|| changes.current_password.clone());
    match (given(changes.email), changes.password) {
        (Some(email), Some(password)) if is_anonymous => calls.push((
            "select auth.convert_anonymous($1, $2, $3)",
            vec![Argument::text(email), Argument::text(password), Argument::Json(options)],
        )),
        (email, password) => {
            if let Some(password) = password {
                let options = Options::default().with("nonce", given(changes.nonce)).value();
                calls.push((
                    UPDATE_PASSWORD,
                    vec![Argument::Text(changes.current_password), Argument::text(password), Argument::Json(options)],
                ));
            }
            if let Some(email) = email {
                calls.push((
                    "select auth.update_email($1, $2, $3)",
                    vec![Argument::text(email), Argument::Text(then_current.clone()), Argument::Json(options)],
                ));
            }
        }
    }
    if let Some(phone) = given(changes.phone) {
        let options = Options::default().with("locale", locale).with("channel", given(changes.channel)).value();
        calls.push((UPDATE_PHONE, vec![Argument::text(phone), Argument::Text(then_current), Argument::Json(options)]));
    }
    calls
}
