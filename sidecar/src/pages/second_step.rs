//! /sign-in/second-step: a code of an authenticator app or of a phone, a security key, or a recovery code. The session that waits for it is
//! restricted: it sees its factors and nothing else.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::visitor::{Form, Visitor, is_of_the_form};
use crate::answer;
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::request::Json;
use crate::server::State;

const LOOK: &str = "select pg_catalog.jsonb_build_object('factors', auth.list_factors(),
    'leads_to', case when auth.redirect_allowed($1) then $1 end)";
/// Nothing is sent: a code that was sent for has its challenge.
const VERIFY: &str = "select auth.verify_totp(auth.challenge_factor($1, '{\"send\": false}') ->> 'id', $2)";
/// Of a challenge that was sent for.
const VERIFY_SENT: &str = "select auth.verify_totp($1, $2)";
const VERIFY_KEY: &str = "select auth.verify_webauthn($1, $2)";

pub fn routes() -> Router<State> {
    Router::new()
        .route("/sign-in/second-step", get(show).post(verify))
        .route("/sign-in/second-step/send", post(send))
        .route("/sign-in/second-step/start", post(start))
}

async fn show(mut visitor: Visitor) -> Result<Response> {
    let challenge = visitor.query.get("challenge");
    page(&mut visitor, challenge, None).await
}

async fn page(visitor: &mut Visitor, challenge: Option<String>, error: Option<Error>) -> Result<Response> {
    let redirect_to = visitor.flow.redirect_to.clone().unwrap_or_default();
    let seen = visitor.call_as_user(LOOK, &[Argument::text(redirect_to)]).await?;
    let verified: Vec<&Value> = seen["factors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|factor| factor["status"].as_str().is_none_or(|status| status == "verified"))
        .collect();
    let chosen = visitor.query.get("factor");
    let factor = chosen
        .and_then(|id| verified.iter().copied().find(|factor| factor["id"] == id.as_str()))
        .or_else(|| verified.iter().copied().find(|factor| factor["factor_type"] == "totp"))
        .or_else(|| verified.first().copied());
    let by_recovery_code = visitor.query.get("by").as_deref() == Some("recovery-code");
    let is_key = factor.is_some_and(|factor| factor["factor_type"] == "webauthn");
    visitor.with_script = is_key && !by_recovery_code;
    // Before a code is sent there is no field for one.
    let is_to_be_sent = challenge.is_none() && factor.is_some_and(|factor| factor["factor_type"] == "phone");
    let field = match by_recovery_code {
        false if is_key => "key",
        false if is_to_be_sent => "",
        _ => "code",
    };
    let context = json!({
        "factors": verified,
        "factor": factor,
        "challenge": challenge,
        "by_recovery_code": by_recovery_code,
    });
    let leads_to = seen["leads_to"].as_str();
    match error {
        None => visitor.page("second_step", leads_to, context),
        Some(error) => visitor.page_again("second_step", leads_to, context, &error, field),
    }
}

async fn verify(mut visitor: Visitor, form: Form) -> Result<Response> {
    let code = Argument::text(spaceless(&form.text("code")));
    let challenge = form.0.get("challenge");
    let answer = match (&challenge, form.credential()?) {
        (Some(challenge), Some(credential)) => {
            visitor.call_as_user(VERIFY_KEY, &[Argument::text(challenge.as_str()), credential]).await
        }
        (Some(challenge), None) => visitor.call_as_user(VERIFY_SENT, &[Argument::text(challenge.as_str()), code]).await,
        (None, _) => visitor.call_as_user(VERIFY, &[form.id("factor")?, code]).await,
    };
    match answer {
        Ok(answer) => visitor.arrive(&answer).await,
        // The challenge waits for the right code still, unless it is over: then the next one is asked for.
        Err(error) if is_of_the_form(&error) => {
            let challenge = challenge.filter(|_| error.code() != "mfa_challenge_expired");
            page(&mut visitor, challenge, Some(error)).await
        }
        Err(error) => Err(error),
    }
}

/// Codes are shown in groups, and typed as they are shown.
fn spaceless(code: &str) -> String {
    code.split_whitespace().collect()
}

/// A code by SMS.
async fn send(mut visitor: Visitor, form: Form) -> Result<Response> {
    let factor = form.text("factor");
    match visitor.call_as_user("select auth.challenge_factor($1)", &[form.id("factor")?]).await {
        Ok(challenge) => {
            let id = challenge["id"].as_str().unwrap_or_default();
            Ok(visitor.go(&format!("/sign-in/second-step?factor={factor}&challenge={id}&done=code_sent")))
        }
        Err(error) if is_of_the_form(&error) => page(&mut visitor, None, Some(error)).await,
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Asked {
    factor: Uuid,
}

/// What the security key is to sign, for the script.
async fn start(mut visitor: Visitor, Json(asked): Json<Asked>) -> Result<Response> {
    match visitor.call_as_user("select auth.challenge_factor($1)", &[Argument::Uuid(asked.factor)]).await {
        Ok(challenge) => Ok(answer::json(&challenge)),
        Err(error) => visitor.tell(error, None),
    }
}
