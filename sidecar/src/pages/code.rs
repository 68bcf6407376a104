//! /sign-in/code: a mailed code instead of a password. Asking for one says the same of every address.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::answer::{self, Way};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/sign-in/mail", get(show).post(send))
        .route("/sign-in/code", get(show_code))
        .route("/sign-in/code/verify", post(verify))
}

async fn show(visitor: Visitor) -> Result<Response> {
    visitor.page("forgotten", None, json!({"is_code": true, "redirect_to": visitor.query.redirect_to()}))
}

async fn send(mut visitor: Visitor, form: Form) -> Result<Response> {
    let flow = Flow { email: form.0.get("email"), redirect_to: form.0.redirect_to(), step: None };
    let options = json!({"create_user": false, "locale": visitor.lang});
    let arguments = [Argument::text(form.text("email")), Argument::Json(options)];
    match visitor.call("select auth.send_otp($1, $2)", &arguments).await {
        Ok(_) => {
            visitor.remember(flow);
            Ok(visitor.go("/sign-in/code"))
        }
        Err(error) if is_of_the_form(&error) => {
            let context = json!({"is_code": true, "redirect_to": flow.redirect_to, "email": flow.email});
            visitor.page_again("forgotten", None, context, &error, "email")
        }
        Err(error) => Err(error),
    }
}

async fn show_code(visitor: Visitor) -> Result<Response> {
    page(&visitor, None).await
}

async fn page(visitor: &Visitor, error: Option<(Error, Option<String>)>) -> Result<Response> {
    let outside = visitor.outside(visitor.flow.redirect_to.as_deref()).await?;
    let mut context = json!({"settings": outside["settings"], "is_sign_up": false});
    let leads_to = outside["leads_to"].as_str();
    match error {
        None => visitor.page("code", leads_to, context),
        Some((error, email)) => {
            context["email"] = json!(email);
            visitor.page_again("code", leads_to, context, &error, "code")
        }
    }
}

async fn verify(mut visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [
        Argument::text(form.text("email")),
        Argument::text(form.text("code").trim()),
        Argument::Json(json!({"type": "email", "mfa": "session"})),
    ];
    match visitor.call("select auth.verify_otp($1, $2, $3)", &arguments).await {
        Ok(answer) => {
            answer::count(Way::Code);
            visitor.arrive(&answer).await
        }
        Err(error) if is_of_the_form(&error) => page(&visitor, Some((error, form.0.get("email")))).await,
        Err(error) => Err(error),
    }
}
