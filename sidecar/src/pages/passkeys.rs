//! Passkeys: signing in and up with one, and /account/passkeys. The device answers through a script, which posts what it says as JSON;
//! the session goes into the cookies here too, and the script is told nothing but where to go.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::sign_up::signed_up;
use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::answer::{self, Way};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::mail_domain;
use crate::request::{Json, given};
use crate::server::State;

const PASSKEYS: &str =
    "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'settings', auth.public_settings(),
    'passkeys', (select coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(p) || pg_catalog.jsonb_build_object(
        'made', pg_catalog.to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD'),
        'used', pg_catalog.to_char(p.last_used_at at time zone 'UTC', 'YYYY-MM-DD'))), '[]')
        from auth.list_passkeys() as p))";

pub fn routes() -> Router<State> {
    Router::new()
        .route("/sign-in/passkey/start", post(start_sign_in))
        .route("/sign-in/passkey/finish", post(finish_sign_in))
        .route("/sign-up/passkey/start", post(start_sign_up))
        .route("/sign-up/passkey/finish", post(finish_sign_up))
        .route("/account/passkeys", get(show))
        .route("/account/passkeys/start", post(start_registration))
        .route("/account/passkeys/finish", post(finish_registration))
        .route("/account/passkeys/rename", post(rename))
        .route("/account/passkeys/remove", get(ask_to_remove).post(remove))
}

#[derive(Deserialize)]
struct SignUp {
    email: String,
}

/// What the authenticator answered.
#[derive(Deserialize)]
struct Finished {
    challenge_id: Uuid,
    credential: Value,
    name: Option<String>,
    email: Option<String>,
    redirect_to: Option<String>,
}

async fn start_sign_in(visitor: Visitor) -> Result<Response> {
    match visitor.call("select auth.start_passkey_sign_in()", &[]).await {
        Ok(started) => Ok(answer::json(&started)),
        Err(error) => visitor.tell(error, None),
    }
}

async fn finish_sign_in(mut visitor: Visitor, Json(finished): Json<Finished>) -> Result<Response> {
    let arguments = [
        Argument::Uuid(finished.challenge_id),
        Argument::Json(finished.credential),
        Argument::Json(json!({"mfa": "session"})),
    ];
    match visitor.call("select auth.finish_passkey_sign_in($1, $2, $3)", &arguments).await {
        Ok(answer) => {
            answer::count(Way::Passkey);
            visitor.flow = Flow { redirect_to: given(finished.redirect_to), ..Flow::default() };
            Ok(onward(&visitor.arrive(&answer).await?))
        }
        Err(error) => visitor.tell(error, None),
    }
}

/// Where a form would have been sent, for the script.
fn onward(response: &Response) -> Response {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    answer::json(&json!({"location": location}))
}

async fn start_sign_up(visitor: Visitor, Json(asked): Json<SignUp>) -> Result<Response> {
    if let Err(refusal) = mail_domain::check(&visitor.state, &asked.email).await {
        return visitor.tell(refusal, None);
    }
    let arguments = [Argument::text(asked.email), Argument::Json(json!({})), Argument::Json(visitor.locale())];
    match visitor.call("select auth.start_passkey_sign_up($1, $2, $3)", &arguments).await {
        Ok(started) => Ok(answer::json(&started)),
        Err(error) => visitor.tell(error, None),
    }
}

async fn finish_sign_up(mut visitor: Visitor, Json(finished): Json<Finished>) -> Result<Response> {
    let arguments = [Argument::Uuid(finished.challenge_id), Argument::Json(finished.credential)];
    match visitor.call("select auth.finish_passkey_sign_up($1, $2)", &arguments).await {
        Ok(answer) => {
            let flow =
                Flow { email: given(finished.email), redirect_to: given(finished.redirect_to), ..Flow::default() };
            match signed_up(&mut visitor, flow, &answer).await {
                Ok(response) => Ok(onward(&response)),
                Err(error) => visitor.tell(error, None),
            }
        }
        Err(error) => visitor.tell(error, None),
    }
}

async fn show(mut visitor: Visitor) -> Result<Response> {
    page(&mut visitor, None, None).await
}

async fn page(visitor: &mut Visitor, to_remove: Option<String>, error: Option<Error>) -> Result<Response> {
    let mut seen = visitor.call_as_user(PASSKEYS, &[]).await?;
    let is_enabled = seen["settings"]["enable_passkeys"] == true;
    if let Some(id) = to_remove {
        let passkeys = seen["passkeys"].as_array().into_iter().flatten();
        seen["to_remove"] = json!(passkeys.clone().find(|passkey| passkey["id"] == id.as_str()));
    }
    visitor.with_script = is_enabled && seen["to_remove"].is_null();
    match error {
        None => visitor.page("passkeys", None, seen),
        Some(error) => visitor.page_again("passkeys", None, seen, &error, ""),
    }
}

async fn start_registration(mut visitor: Visitor) -> Result<Response> {
    match visitor.call_as_user("select auth.start_passkey_registration()", &[]).await {
        Ok(started) => Ok(answer::json(&started)),
        Err(error) => visitor.tell(error, None),
    }
}

async fn finish_registration(mut visitor: Visitor, Json(finished): Json<Finished>) -> Result<Response> {
    let arguments = [
        Argument::Uuid(finished.challenge_id),
        Argument::Json(finished.credential),
        Argument::Text(given(finished.name)),
    ];
    match visitor.call_as_user("select auth.finish_passkey_registration($1, $2, $3)", &arguments).await {
        Ok(_) => {
            let location = visitor.address("/account/passkeys?done=passkey_added");
            Ok(answer::json(&json!({"location": location})))
        }
        Err(error) => visitor.tell(error, None),
    }
}

async fn rename(mut visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [form.id("id")?, Argument::Text(form.0.get("name"))];
    changed(
        visitor.call_as_user("select auth.rename_passkey($1, $2)", &arguments).await,
        &mut visitor,
        "passkey_renamed",
    )
    .await
}

async fn ask_to_remove(mut visitor: Visitor) -> Result<Response> {
    let id = visitor.query.get("id");
    page(&mut visitor, id, None).await
}

async fn remove(mut visitor: Visitor, form: Form) -> Result<Response> {
    let removed = visitor.call_as_user("select auth.delete_passkey($1)", &[form.id("id")?]).await;
    changed(removed, &mut visitor, "passkey_removed").await
}

async fn changed(result: Result<Value>, visitor: &mut Visitor, done: &str) -> Result<Response> {
    match result {
        Ok(_) => Ok(visitor.go(&format!("/account/passkeys?done={done}"))),
        Err(error) if is_of_the_form(&error) && error.status() != StatusCode::NOT_FOUND => {
            page(visitor, None, Some(error)).await
        }
        Err(error) => Err(error),
    }
}
