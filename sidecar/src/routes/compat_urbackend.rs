//! urBackend's paths below /api/userAuth, for programs written for it. Bodies are in its spelling; `token` is its old
//! name for `accessToken`, and both are there.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{self, Way};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{Json, SignedIn, given, text_header};
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/api/userAuth/signup", post(sign_up))
        .route("/api/userAuth/login", post(login))
        .route("/api/userAuth/refresh-token", post(refresh))
        .route("/api/userAuth/logout", post(logout))
        .route("/api/userAuth/me", get(me))
}

/// Whatever else is in it is about the user.
#[derive(Deserialize)]
struct Account {
    email: String,
    password: String,
    #[serde(flatten)]
    data: Map<String, Value>,
}

#[derive(Deserialize)]
struct Login {
    email: String,
    password: String,
}

#[derive(Default, Deserialize)]
struct Refresh {
    #[serde(rename = "refreshToken")]
    refresh_token: Option<String>,
}

async fn sign_up(Shared(state): Shared<State>, caller: Caller, Json(account): Json<Account>) -> Result<Response> {
    let mut options = json!({});
    // It is a user name too, where one may be given before the address is proved.
    if let Some(username) = account.data.get("username").filter(|username| username.is_string()) {
        let settings = state.db.call(&caller, "select auth.public_settings()", &[]).await?;
        if settings["signup_mode"] == "immediate" {
            options["username"] = username.clone();
        }
    }
    let arguments = [
        Argument::text(account.email),
        Argument::text(account.password),
        Argument::Json(Value::Object(account.data)),
        Argument::Json(options),
    ];
    let answer = state.db.call(&caller, "select auth.sign_up($1, $2, $3, $4)", &arguments).await?;
    Ok((StatusCode::CREATED, session(answer, "User registered successfully", Way::SignUp)).into_response())
}

async fn login(Shared(state): Shared<State>, caller: Caller, Json(login): Json<Login>) -> Result<Response> {
    let arguments = [Argument::text(login.email), Argument::text(login.password), Argument::Json(json!({}))];
    let answer = state.db.call(&caller, "select auth.sign_in($1, $2, $3)", &arguments).await?;
    Ok(answer::challenge(&answer).unwrap_or_else(|| session(answer, "Login successful", Way::Password)))
}

async fn refresh(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<Refresh>,
) -> Result<Response> {
    let sent = given(body.refresh_token).or_else(|| text_header(&headers, "x-refresh-token").map(str::to_owned));
    let token = sent.ok_or_else(|| Error::validation("refreshToken is not given"))?;
    let arguments = [Argument::text(token), Argument::Json(json!({}))];
    let answer = state.db.call(&caller, "select auth.refresh($1, $2)", &arguments).await?;
    Ok(session(answer, "Token refreshed", Way::Refresh))
}

async fn logout(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    state.db.call(&caller, "select auth.sign_out($1)", &[Argument::text("local")]).await?;
    Ok(answer::json(&json!({"success": true, "message": "Logged out"})))
}

async fn me(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    answer::user(state.db.call(&caller, answer::WHO_HAS_SIGNED_IN, &[]).await?)
}

/// Without a session, where the address is to be confirmed first, the tokens are null.
fn session(mut answer: Value, message: &str, way: Way) -> Response {
    if answer["status"] == "session" {
        answer::count(way);
    }
    answer::json(&json!({
        "message": message,
        "token": answer["access_token"],
        "accessToken": answer["access_token"].take(),
        "refreshToken": answer["refresh_token"].take(),
        "expiresIn": answer["expires_in"].take(),
        "user": answer["user"].take(),
    }))
}
