//! /forgotten-password: a mailed code, and a new password with it. Asking says the same of every address.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::visitor::{Flow, Form, Visitor, is_of_the_form};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/forgotten-password", get(show).post(send))
        .route("/forgotten-password/new", get(show_reset).post(reset))
}

async fn show(visitor: Visitor) -> Result<Response> {
    visitor.page("forgotten", None, json!({"is_code": false}))
}

async fn send(mut visitor: Visitor, form: Form) -> Result<Response> {
    let flow = Flow { email: form.0.get("email"), ..Flow::default() };
    let arguments = [Argument::text(form.text("email")), Argument::Text(None), Argument::Json(visitor.locale())];
    match visitor.call("select auth.request_password_reset($1, $2, $3)", &arguments).await {
        Ok(_) => {
            visitor.remember(flow);
            Ok(visitor.go("/forgotten-password/new"))
        }
        Err(error) if is_of_the_form(&error) => {
            visitor.page_again("forgotten", None, json!({"is_code": false, "email": flow.email}), &error, "email")
        }
        Err(error) => Err(error),
    }
}

async fn show_reset(visitor: Visitor) -> Result<Response> {
    page(&visitor, None).await
}

async fn page(visitor: &Visitor, error: Option<(Error, Option<String>)>) -> Result<Response> {
    let outside = visitor.outside(None).await?;
    let mut context = json!({"settings": outside["settings"]});
    match error {
        None => visitor.page("reset", None, context),
        Some((error, email)) => {
            context["email"] = json!(email);
            let field = if error.code().contains("password") { "password" } else { "code" };
            visitor.page_again("reset", None, context, &error, field)
        }
    }
}

async fn reset(mut visitor: Visitor, form: Form) -> Result<Response> {
    let arguments = [
        Argument::text(form.text("email")),
        Argument::text(form.text("code").trim()),
        Argument::text(form.text("password")),
    ];
    match visitor.call("select auth.reset_password_with_code($1, $2, $3)", &arguments).await {
        Ok(answer) if answer["access_token"].is_string() => visitor.arrive(&answer).await,
        // A second factor, where there is one, is asked for at the sign-in.
        Ok(_) => {
            visitor.forget_session();
            Ok(visitor.go("/sign-in?done=password_changed"))
        }
        Err(error) if is_of_the_form(&error) => page(&visitor, Some((error, form.0.get("email")))).await,
        Err(error) => Err(error),
    }
}
