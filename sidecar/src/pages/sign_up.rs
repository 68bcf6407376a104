//! /sign-up: an account, and the code that confirms its address.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::answer::{self, Way};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::mail_domain;
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/sign-up", get(show).post(sign_up))
        .route("/sign-up/code", get(show_code).post(confirm))
        .route("/sign-up/code/again", post(send_again))
}

async fn show(mut visitor: Visitor) -> Result<Response> {
    let redirect_to = visitor.query.redirect_to();
    page(&mut visitor, redirect_to, None, None).await
}

async fn page(
    visitor: &mut Visitor,
    redirect_to: Option<String>,
    email: Option<String>,
    error: Option<Error>,
) -> Result<Response> {
    let outside = visitor.outside(redirect_to.as_deref()).await?;
    let leads_to = outside["leads_to"].as_str();
    visitor.with_script =
        outside["settings"]["enable_passkeys"] == true && outside["settings"]["enable_signup"] == true;
    let mut context = json!({"settings": outside["settings"], "redirect_to": leads_to});
    match error {
        None => visitor.page("sign_up", leads_to, context),
        Some(error) => {
            context["email"] = json!(email);
            let field = if error.code().contains("password") { "password" } else { "email" };
            visitor.page_again("sign_up", leads_to, context, &error, field)
        }
    }
}

async fn sign_up(mut visitor: Visitor, form: Form) -> Result<Response> {
    let redirect_to = form.0.redirect_to();
    let arguments = [
        Argument::text(form.text("email")),
        Argument::text(form.text("password")),
        Argument::Json(json!({})),
        Argument::Json(visitor.locale()),
    ];
    let answer = match mail_domain::check(&visitor.state, &form.text("email")).await {
        Ok(()) => visitor.call("select auth.sign_up($1, $2, $3, $4)", &arguments).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(answer) => {
            let flow = Flow { email: form.0.get("email"), redirect_to, step: None };
            signed_up(&mut visitor, flow, &answer).await
        }
        Err(error) if is_of_the_form(&error) => page(&mut visitor, redirect_to, form.0.get("email"), Some(error)).await,
        Err(error) => Err(error),
    }
}

/// On from a sign-up, whatever it was done with.
pub async fn signed_up(visitor: &mut Visitor, flow: Flow, answer: &Value) -> Result<Response> {
    match answer["status"].as_str() {
        // The same of an address that has an account: its owner is told by mail.
        Some("confirmation_sent" | "code_sent") => {
            visitor.remember(flow);
            Ok(visitor.go("/sign-up/code"))
        }
        _ => {
            if answer["access_token"].is_string() {
                answer::count(Way::SignUp);
            }
            visitor.flow = flow;
            visitor.arrive(answer).await
        }
    }
}

async fn show_code(visitor: Visitor) -> Result<Response> {
    code_page(&visitor, None).await
}

async fn code_page(visitor: &Visitor, error: Option<(Error, Option<String>)>) -> Result<Response> {
    let outside = visitor.outside(visitor.flow.redirect_to.as_deref()).await?;
    let mut context = json!({"settings": outside["settings"], "is_sign_up": true});
    let leads_to = outside["leads_to"].as_str();
    match error {
        None => visitor.page("code", leads_to, context),
        Some((error, email)) => {
            context["email"] = json!(email);
            visitor.page_again("code", leads_to, context, &error, "code")
        }
    }
}

async fn confirm(mut visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [
        Argument::text(form.text("email")),
        Argument::text(form.text("code").trim()),
        Argument::Json(json!({"type": "signup", "mfa": "session"})),
    ];
    match visitor.call("select auth.verify_otp($1, $2, $3)", &arguments).await {
        Ok(answer) => {
            answer::count(Way::Code);
            visitor.arrive(&answer).await
        }
        Err(error) if is_of_the_form(&error) => code_page(&visitor, Some((error, form.0.get("email")))).await,
        Err(error) => Err(error),
    }
}

async fn send_again(visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [Argument::text("signup"), Argument::text(form.text("email")), Argument::Json(visitor.locale())];
    match visitor.call("select auth.resend($1, $2, $3)", &arguments).await {
        Ok(_) => Ok(visitor.go("/sign-up/code?done=mail_sent")),
        Err(error) if is_of_the_form(&error) => code_page(&visitor, Some((error, form.0.get("email")))).await,
        Err(error) => Err(error),
    }
}
