//! /account: what signed-in people see and change of themselves: their sessions and their password.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use super::visitor::{Form, Visitor, is_of_the_form};
use crate::db::Argument;
use crate::error::{Error, Result};
use crate::server::State;

const OVERVIEW: &str = "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'session', auth.get_session(),
    'factors', auth.list_factors(), 'settings', auth.public_settings())";
const SESSIONS: &str =
    "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'settings', auth.public_settings(), 'sessions', (
        select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(s) || pg_catalog.jsonb_build_object(
            'began', pg_catalog.to_char(s.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
            'seen', pg_catalog.to_char(s.refreshed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')))
        from auth.list_sessions() as s))";
/// Also where nothing but the password may be changed: then there is nobody yet.
const PASSWORD: &str =
    "select pg_catalog.jsonb_build_object('user', auth.get_user(), 'settings', auth.public_settings())";

pub fn routes() -> Router<State> {
    Router::new()
        .route("/account", get(overview))
        .route("/account/sessions", get(sessions))
        .route("/account/sessions/revoke", post(revoke))
        .route("/account/sessions/revoke-others", post(revoke_others))
        .route("/account/password", get(password).post(change_password))
        .route("/account/sign-out", post(sign_out))
}

async fn overview(mut visitor: Visitor) -> Result<Response> {
    let seen = visitor.call_as_user(OVERVIEW, &[]).await?;
    if visitor.is_restricted || seen["user"].is_null() {
        return Err(Error::no_authorization());
    }
    visitor.page("account", None, seen)
}

async fn sessions(mut visitor: Visitor) -> Result<Response> {
    let seen = visitor.call_as_user(SESSIONS, &[]).await?;
    visitor.page("sessions", None, seen)
}

async fn revoke(mut visitor: Visitor, form: Form) -> Result<Response> {
    match visitor.call_as_user("select auth.revoke_session($1)", &[form.id("id")?]).await {
        // It has ended by itself meanwhile, or this one has: the next page knows.
        Ok(_) => {}
        Err(error) if error.code() == "session_not_found" => {}
        Err(error) => return Err(error),
    }
    Ok(visitor.go("/account/sessions?done=session_ended"))
}

async fn revoke_others(mut visitor: Visitor) -> Result<Response> {
    visitor.call_as_user("select pg_catalog.to_jsonb(auth.revoke_sessions())", &[]).await?;
    Ok(visitor.go("/account/sessions?done=sessions_ended"))
}

async fn password(mut visitor: Visitor) -> Result<Response> {
    password_page(&mut visitor, None).await
}

async fn password_page(visitor: &mut Visitor, error: Option<Error>) -> Result<Response> {
    let mut seen = visitor.call_as_user(PASSWORD, &[]).await?;
    if !visitor.may_take("password") || !visitor.is_restricted && seen["user"].is_null() {
        return Err(Error::no_authorization());
    }
    seen["is_restricted"] = json!(visitor.is_restricted);
    let leads_to = visitor.leads_to().await?;
    match error {
        None => visitor.page("password", leads_to.as_deref(), seen),
        Some(error) => {
            let field = match error.code() {
                code if code.starts_with("current_password") || code == "validation_failed" => "current",
                code if code.starts_with("reauthentication") => "nonce",
                _ => "password",
            };
            seen["needs_code"] = json!(field == "nonce");
            visitor.page_again("password", leads_to.as_deref(), seen, &error, field)
        }
    }
}

async fn change_password(mut visitor: Visitor, form: Form) -> Result<Response> {
    let options = form.0.get("nonce").map_or_else(|| json!({}), |nonce| json!({"nonce": nonce.trim()}));
    let arguments =
        [Argument::Text(form.0.get("current")), Argument::text(form.text("password")), Argument::Json(options)];
    match visitor.call_as_user("select auth.update_password($1, $2, $3)", &arguments).await {
        Ok(answer) if answer["access_token"].is_string() => visitor.arrive(&answer).await,
        Ok(_) => Ok(visitor.go("/account?done=password_changed")),
        Err(error) if error.code() == "reauthentication_needed" => {
            let options = [Argument::Json(visitor.locale())];
            visitor.call_as_user("select auth.reauthenticate($1)", &options).await?;
            password_page(&mut visitor, Some(error)).await
        }
        Err(error) if is_of_the_form(&error) => password_page(&mut visitor, Some(error)).await,
        Err(error) => Err(error),
    }
}

async fn sign_out(mut visitor: Visitor, form: Form) -> Result<Response> {
    let scope = if form.text("scope") == "global" { "global" } else { "local" };
    let result = visitor.call_as_user("select auth.sign_out($1)", &[Argument::text(scope)]).await;
    visitor.forget_session();
    match result {
        Err(error) if error.status().is_server_error() => Err(error),
        // A session that was over already is one that is signed out.
        _ => Ok(visitor.go("/sign-in?done=signed_out")),
    }
}
