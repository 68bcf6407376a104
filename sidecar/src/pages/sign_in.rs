//! /sign-in: address and password.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::answer::{self, Way};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new().route("/sign-in", get(show).post(sign_in))
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
    visitor.with_script = outside["settings"]["enable_passkeys"] == true;
    let mut context = json!({"settings": outside["settings"], "redirect_to": leads_to});
    match error {
        None => visitor.page("sign_in", leads_to, context),
        Some(error) => {
            context["email"] = json!(email);
            let field = if error.code() == "email_address_invalid" { "email" } else { "password" };
            visitor.page_again("sign_in", leads_to, context, &error, field)
        }
    }
}

async fn sign_in(mut visitor: Visitor, form: Form) -> Result<Response> {
    let redirect_to = form.0.redirect_to();
    let arguments = [
        Argument::text(form.text("email")),
        Argument::text(form.text("password")),
        Argument::Json(json!({"mfa": "session"})),
    ];
    let answer: Result<Value> = visitor.call("select auth.sign_in($1, $2, $3)", &arguments).await;
    let flow = Flow { email: form.0.get("email"), redirect_to: redirect_to.clone(), step: None };
    match answer {
        Ok(answer) => {
            answer::count(Way::Password);
            visitor.flow = flow;
            visitor.arrive(&answer).await
        }
        // The password was right.
        Err(error) if error.code() == "email_not_confirmed" => {
            visitor.remember(flow);
            Ok(visitor.go("/sign-up/code?done=not_confirmed"))
        }
        Err(error) if is_of_the_form(&error) => page(&mut visitor, redirect_to, form.0.get("email"), Some(error)).await,
        Err(error) => Err(error),
    }
}
