//! nSelf's paths, for programs written for it: POST /auth/login, POST /auth/2fa/verify and GET /auth/protected.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{self, Way};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{Json, SignedIn};
use crate::server::State;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/auth/login", post(login))
        .route("/auth/2fa/verify", post(verify))
        .route("/auth/protected", get(protected))
}

#[derive(Deserialize)]
struct Login {
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct SecondStep {
    challenge_token: String,
    code: String,
}

async fn login(Shared(state): Shared<State>, caller: Caller, Json(login): Json<Login>) -> Result<Response> {
    let arguments = [Argument::text(login.email), Argument::text(login.password), Argument::Json(json!({}))];
    let answer = match state.db.call(&caller, "select auth.sign_in($1, $2, $3)", &arguments).await {
        Err(error) if error.code() == "invalid_credentials" => return Err(Error::or_unauthorized(error)),
        answer => answer?,
    };
    Ok(answer::challenge(&answer).unwrap_or_else(|| session(answer, Way::Password)))
}

async fn verify(Shared(state): Shared<State>, caller: Caller, Json(step): Json<SecondStep>) -> Result<Response> {
    // Nobody's token: a challenge of a session is met in that session, and this one has none.
    let nobody = Caller { bearer: None, ..caller };
    let arguments = [Argument::text(step.challenge_token), Argument::text(step.code)];
    Ok(session(state.db.call(&nobody, "select auth.verify_totp($1, $2)", &arguments).await?, Way::SecondFactor))
}

fn session(mut session: Value, way: Way) -> Response {
    answer::count(way);
    answer::json(&json!({
        "accessToken": session["access_token"].take(),
        "refreshToken": session["refresh_token"].take(),
        "user": session["user"].take(),
    }))
}

async fn protected(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    let user: Value = state.db.call(&caller, answer::WHO_HAS_SIGNED_IN, &[]).await.map_err(Error::or_unauthorized)?;
    if user.is_null() { Err(Error::no_authorization()) } else { Ok(answer::json(&json!({"user": user}))) }
}
