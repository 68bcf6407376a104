//! /account/factors: authenticator apps, security keys and recovery codes. What is shown once is in the answer to the form that asked for it:
//! there is no address under which it could be had again.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::answer;
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::request::{Json, given};
use crate::server::State;

const FACTORS: &str = "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'factors', auth.list_factors(),
    'settings', auth.public_settings(),
    'recovery_codes', case when (auth.get_user() ->> 'is_anonymous')::boolean then 0 else auth.count_recovery_codes() end)";
/// Also where a factor has to be enrolled before anything else.
const NEW: &str = "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'settings', auth.public_settings())";

const START_KEY: &str = "select auth.challenge_factor((auth.enroll_webauthn($1, $2) ->> 'factor_id')::pg_catalog.uuid)";

pub fn routes() -> Router<State> {
    Router::new()
        .route("/account/factors", get(show))
        .route("/account/factors/new", get(show_new).post(enrol))
        .route("/account/factors/confirm", post(confirm))
        .route("/account/factors/key", get(show_key).post(confirm_key))
        .route("/account/factors/key/start", post(start_key))
        .route("/account/factors/remove", get(ask_to_remove).post(remove))
        .route("/account/factors/recovery-codes", post(new_recovery_codes))
        .route("/account/factors/done", post(done))
}

async fn show(mut visitor: Visitor) -> Result<Response> {
    page(&mut visitor, None, None).await
}

async fn page(visitor: &mut Visitor, to_remove: Option<String>, error: Option<Error>) -> Result<Response> {
    let mut seen = visitor.call_as_user(FACTORS, &[]).await?;
    if visitor.is_restricted {
        return Err(Error::no_authorization());
    }
    let factors = seen["factors"].as_array().cloned().unwrap_or_default();
    let (verified, unverified): (Vec<Value>, Vec<Value>) =
        factors.into_iter().partition(|factor| factor["status"] == "verified");
    if let Some(id) = to_remove {
        seen["to_remove"] = json!(verified.iter().chain(&unverified).find(|factor| factor["id"] == id.as_str()));
    }
    seen["factors"] = json!(verified);
    seen["unverified"] = json!(unverified);
    match error {
        None => visitor.page("factors", None, seen),
        Some(error) => visitor.page_again("factors", None, seen, &error, ""),
    }
}

async fn show_new(mut visitor: Visitor) -> Result<Response> {
    new_page(&mut visitor, None, None).await
}

async fn new_page(visitor: &mut Visitor, name: Option<String>, error: Option<Error>) -> Result<Response> {
    form_page(visitor, "enrol", name, error.map(|error| (field_of(&error, "name"), error))).await
}

/// The page where a new factor is begun; an error with the field that it is about.
async fn form_page(
    visitor: &mut Visitor,
    page: &str,
    name: Option<String>,
    error: Option<(&str, Error)>,
) -> Result<Response> {
    let mut seen = visitor.call_as_user(NEW, &[]).await?;
    if seen["user"].is_null() || !visitor.may_take("enrollment") {
        return Err(Error::no_authorization());
    }
    seen["is_restricted"] = json!(visitor.is_restricted);
    seen["name"] = json!(name);
    let leads_to = visitor.leads_to().await?;
    let Some((field, error)) = error else { return visitor.page(page, leads_to.as_deref(), seen) };
    seen["needs_password"] = json!(field == "current");
    visitor.page_again(page, leads_to.as_deref(), seen, &error, field)
}

/// The field that an error is about, where it is not the password that an old session has to say again.
fn field_of(error: &Error, other: &'static str) -> &'static str {
    match error.code() {
        "validation_failed" if error.message().contains("current_password") => "current",
        "current_password_invalid" | "current_password_required" => "current",
        _ => other,
    }
}

fn with_password(current: Option<String>) -> Argument {
    Argument::Json(current.map_or_else(|| json!({}), |password| json!({"current_password": password})))
}

async fn enrol(mut visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [Argument::Text(form.0.get("name")), with_password(form.0.get("current"))];
    match visitor.call_as_user("select auth.enroll_totp($1, $2)", &arguments).await {
        Ok(enrolled) => {
            let secret = enrolled["secret"].as_str().unwrap_or_default();
            let context = json!({"enrolled": {
                "factor_id": enrolled["factor_id"],
                "qr_code": enrolled["qr_code"],
                "key": grouped(secret),
                "uri": enrolled["otpauth_uri"],
            }, "needs_password": form.0.get("current").is_some(), "is_restricted": visitor.is_restricted});
            visitor.page("enrol", visitor.leads_to().await?.as_deref(), context)
        }
        Err(error) if is_of_the_form(&error) => new_page(&mut visitor, form.0.get("name"), Some(error)).await,
        Err(error) => Err(error),
    }
}

/// In groups of four, as people copy it.
fn grouped(secret: &str) -> String {
    let mut text = String::with_capacity(secret.len() * 5 / 4);
    for (at, character) in secret.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(character);
    }
    text
}

async fn confirm(mut visitor: Visitor, form: Form) -> Result<Response> {
    let code: String = form.text("code").split_whitespace().collect();
    let arguments = [form.id("factor")?, Argument::text(code), with_password(form.0.get("current"))];
    match visitor.call_as_user("select auth.confirm_totp($1, $2, $3)", &arguments).await {
        Ok(answer) => confirmed(&mut visitor, &answer).await,
        // The key is not shown a second time: whoever has scanned it has it.
        Err(error) if is_of_the_form(&error) => {
            let field = field_of(&error, "code");
            let context = json!({
                "enrolled": {"factor_id": form.text("factor")},
                "needs_password": field == "current" || form.0.get("current").is_some(),
                "is_restricted": visitor.is_restricted,
            });
            visitor.page_again("enrol", visitor.leads_to().await?.as_deref(), context, &error, field)
        }
        Err(error) => Err(error),
    }
}

/// With the first factor there are recovery codes, which are shown now.
async fn confirmed(visitor: &mut Visitor, answer: &Value) -> Result<Response> {
    if answer["recovery_codes"].is_array() {
        visitor.keep(answer);
        let step = (answer["status"] == "password_change_required").then(|| "password".to_owned());
        visitor.remember(Flow { step, ..visitor.flow.clone() });
        let leads_to = visitor.leads_to().await?;
        return visitor.page("recovery_codes", leads_to.as_deref(), json!({"codes": answer["recovery_codes"]}));
    }
    if visitor.flow.step.is_some() {
        return visitor.arrive(answer).await;
    }
    visitor.keep(answer);
    Ok(visitor.go("/account/factors?done=factor_added"))
}

async fn show_key(mut visitor: Visitor) -> Result<Response> {
    visitor.with_script = true;
    form_page(&mut visitor, "key", None, None).await
}

#[derive(Deserialize)]
struct NewKey {
    name: Option<String>,
    current: Option<String>,
}

/// What the new security key is to make, for the script.
async fn start_key(mut visitor: Visitor, Json(new): Json<NewKey>) -> Result<Response> {
    let arguments = [Argument::Text(new.name), with_password(given(new.current))];
    match visitor.call_as_user(START_KEY, &arguments).await {
        Ok(challenge) => Ok(answer::json(&challenge)),
        Err(error) => {
            let field = field_of(&error, "name");
            visitor.tell(error, Some(field))
        }
    }
}

async fn confirm_key(mut visitor: Visitor, form: Form) -> Result<Response> {
    let credential = form.credential()?.unwrap_or_else(|| Argument::Json(json!({})));
    let arguments = [Argument::text(form.text("challenge")), credential, with_password(given(form.0.get("current")))];
    match visitor.call_as_user("select auth.verify_webauthn($1, $2, $3)", &arguments).await {
        Ok(answer) => confirmed(&mut visitor, &answer).await,
        Err(error) if is_of_the_form(&error) => {
            visitor.with_script = true;
            form_page(&mut visitor, "key", form.0.get("name"), Some(("key", error))).await
        }
        Err(error) => Err(error),
    }
}

/// The codes are kept somewhere: on to where the person was going.
async fn done(mut visitor: Visitor) -> Result<Response> {
    if visitor.flow.redirect_to.is_none() {
        return Ok(visitor.go("/account/factors?done=factor_added"));
    }
    let session = json!({"status": "session"});
    visitor.arrive(&session).await
}

async fn ask_to_remove(mut visitor: Visitor) -> Result<Response> {
    let id = visitor.query.get("id");
    page(&mut visitor, id, None).await
}

async fn remove(mut visitor: Visitor, form: Form) -> Result<Response> {
    match visitor.call_as_user("select auth.unenroll_factor($1)", &[form.id("id")?]).await {
        Ok(_) => Ok(visitor.go("/account/factors?done=factor_removed")),
        Err(error) if is_of_the_form(&error) => page(&mut visitor, None, Some(error)).await,
        Err(error) => Err(error),
    }
}

async fn new_recovery_codes(mut visitor: Visitor) -> Result<Response> {
    match visitor.call_as_user("select auth.regenerate_recovery_codes()", &[]).await {
        Ok(answer) => {
            visitor.page("recovery_codes", None, json!({"codes": answer["recovery_codes"], "is_new_set": true}))
        }
        Err(error) if is_of_the_form(&error) => page(&mut visitor, None, Some(error)).await,
        Err(error) => Err(error),
    }
}
