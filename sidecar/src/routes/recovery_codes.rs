//! /factors/recovery-codes: codes for whoever has lost the second factor, each good once. As clients of Supabase take them:
//! small letters without dashes.

use axum::extract::State as Shared;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{self, Way};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{Json, SignedIn, given};
use crate::server::State;
use crate::shapes;

const TYPE: &str = "recovery_code";
const NAME: &str = "Recovery codes";

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(status, generate, remove)).routes(routes!(regenerate)).routes(routes!(verify))
}

#[derive(Deserialize, ToSchema)]
struct Code {
    code: Option<String>,
}

/// How many there are, and how many are left.
#[utoipa::path(get, path = "/factors/recovery-codes", tag = "factors", security(("bearer" = [])),
    responses((status = 200, description = "`{id, type, total, remaining}`"), (status = 404, body = shapes::Refusal)))]
async fn status(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    let mut codes = state.db.call(&caller, "select auth.get_recovery_codes()", &[]).await?;
    codes["type"] = TYPE.into();
    Ok(answer::json(&codes))
}

/// Make them, where there are none. Shown once.
#[utoipa::path(post, path = "/factors/recovery-codes", tag = "factors", security(("bearer" = [])),
    responses((status = 200, body = shapes::RecoveryCodes), (status = 422, body = shapes::Refusal)))]
async fn generate(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    issue(&state, &caller, false).await
}

/// Make new ones; those before are void.
#[utoipa::path(post, path = "/factors/recovery-codes/regenerate", tag = "factors", security(("bearer" = [])),
    responses((status = 200, body = shapes::RecoveryCodes), (status = 404, body = shapes::Refusal),
        (status = 422, body = shapes::Refusal)))]
async fn regenerate(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    issue(&state, &caller, true).await
}

async fn issue(state: &State, caller: &Caller, replace: bool) -> Result<Response> {
    let statement = "select auth.regenerate_recovery_codes($1) || pg_catalog.jsonb_build_object('id', auth.uid())";
    let arguments = [Argument::Json(json!({"replace": replace}))];
    let mut issued = state.db.call(caller, statement, &arguments).await?;
    let codes = issued["recovery_codes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let codes: Vec<String> = codes.map(|code| code.replace('-', "")).collect();
    Ok(answer::json(&json!({
        "id": issued["id"].take(),
        "type": TYPE,
        "friendly_name": NAME,
        "total": codes.len(),
        "codes": codes,
    })))
}

/// Take the second step with one.
#[utoipa::path(post, path = "/factors/recovery-codes/verify", tag = "factors", security(("bearer" = [])),
    request_body = Code,
    responses((status = 200, body = shapes::Session), (status = 404, body = shapes::Refusal)))]
async fn verify(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
    Json(code): Json<Code>,
) -> Result<Response> {
    let code = given(code.code).ok_or_else(|| Error::validation("code needs to be non-empty"))?;
    // It stands for any factor, so it meets the challenge of any; of none where none is verified.
    let statement = "select auth.verify_totp(auth.challenge_factor(coalesce((
            select (factor ->> 'id')::pg_catalog.uuid
            from pg_catalog.jsonb_array_elements(auth.list_factors()) as factor
            where factor ->> 'status' = 'verified'
            order by pg_catalog.array_position(array['totp', 'webauthn', 'phone'], factor ->> 'factor_type')
            limit 1
        ), '00000000-0000-0000-0000-000000000000')) ->> 'id', $1)";
    let session = state.db.call(&caller, statement, &[Argument::text(code)]).await?;
    Ok(answer::session(&state.config, &headers, session, Way::SecondFactor))
}

/// Remove them.
#[utoipa::path(delete, path = "/factors/recovery-codes", tag = "factors", security(("bearer" = [])),
    responses((status = 200, body = shapes::Named), (status = 404, body = shapes::Refusal)))]
async fn remove(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    Ok(answer::json(&state.db.call(&caller, "select auth.delete_recovery_codes()", &[]).await?))
}
