//! /passkeys: registering, signing in and up with, and looking after passkeys; and the files by which phones know an app as the
//! site's. What is verified, SQL verifies.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{self, Way};
use crate::captcha::{self, MetaSecurity};
use crate::config::{Apps, Config};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::mail_domain;
use crate::request::{Bearer, Challenge, Json, Locale, Options, Query, SignedIn, UserId, given};
use crate::server::{Peer, State};
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(start_registration))
        .routes(routes!(finish_registration))
        .routes(routes!(start_sign_in))
        .routes(routes!(finish_sign_in))
        .routes(routes!(start_sign_up))
        .routes(routes!(finish_sign_up))
        .routes(routes!(list))
        .routes(routes!(rename, delete))
        .routes(routes!(list_of_user))
        .routes(routes!(delete_of_user))
}

/// What phones look for at the root of the site.
pub fn of_apps(config: &Config) -> Router<State> {
    let mut router = Router::new();
    if !config.apps.android.is_empty() {
        let links = asset_links(&config.apps);
        router = router.route("/.well-known/assetlinks.json", get(async move || answer::json(&links)));
    }
    if !config.apps.apple.is_empty() {
        let association = json!({"webcredentials": {"apps": config.apps.apple}});
        router = router.route("/.well-known/apple-app-site-association", get(async move || answer::json(&association)));
    }
    router
}

/// Digital Asset Links: which apps may use what the site's users sign in with.
fn asset_links(apps: &Apps) -> Value {
    let statements = apps.android.iter().map(|app| {
        json!({
            "relation": ["delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds"],
            "target": {
                "namespace": "android_app",
                "package_name": app.package,
                "sha256_cert_fingerprints": app.fingerprints,
            },
        })
    });
    statements.collect()
}

/// A ceremony that has begun.
#[derive(Serialize, ToSchema)]
struct Ceremony {
    challenge_id: Uuid,
    /// For navigator.credentials.create or .get, as WebAuthn Level 3 writes it in JSON
    options: Value,
    /// Seconds since 1970
    expires_at: i64,
}

#[derive(Serialize, ToSchema)]
struct Passkey {
    id: Uuid,
    friendly_name: Option<String>,
    created_at: String,
    last_used_at: Option<String>,
}

/// What the authenticator answered.
#[derive(Deserialize, ToSchema)]
struct Finished {
    challenge_id: Uuid,
    /// What the credential's toJSON() gives
    credential: Value,
    /// Of a new passkey: a name for the user to know it by
    friendly_name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct Start {
    /// Whose passkeys; none: any of this site
    email: Option<String>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
}

#[derive(Deserialize, ToSchema)]
struct StartSignUp {
    email: Option<String>,
    /// user_metadata
    data: Option<Value>,
    #[serde(default)]
    gotrue_meta_security: Option<MetaSecurity>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct Name {
    friendly_name: Option<String>,
}

/// A passkey's id in the path: a UUID or nobody's.
struct PasskeyId(Uuid);

impl FromRequestParts<State> for PasskeyId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<PasskeyId> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok().and_then(|id| id.0.parse().ok());
        id.map(PasskeyId).ok_or_else(not_found)
    }
}

/// An administrator's way to one: whose it is, and which.
struct PasskeyOf(Uuid, Uuid);

impl FromRequestParts<State> for PasskeyOf {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<PasskeyOf> {
        let ids = Path::<(String, String)>::from_request_parts(parts, state).await.ok();
        let ids = ids.and_then(|Path((user, id))| Some(PasskeyOf(user.parse().ok()?, id.parse().ok()?)));
        ids.ok_or_else(not_found)
    }
}

fn not_found() -> Error {
    Error::new("webauthn_credential_not_found", "no such passkey")
}

/// As clients take it: what is not there is left out.
fn without_nulls(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_nulls(item.take())),
        Value::Object(members) => members.retain(|_, member| !member.is_null()),
        _ => {}
    }
    value
}

/// Begin to register a passkey of the signed-in user.
#[utoipa::path(post, path = "/passkeys/registration/options", tag = "passkeys", security(("bearer" = [])),
    responses((status = 200, body = Ceremony), (status = 404, body = shapes::Refusal)))]
async fn start_registration(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    Ok(answer::json(&state.db.call(&caller, "select auth.start_passkey_registration()", &[]).await?))
}

/// Register the passkey that the browser made.
#[utoipa::path(post, path = "/passkeys/registration/verify", tag = "passkeys", security(("bearer" = [])),
    request_body = Finished,
    responses((status = 200, body = Passkey), (status = 404, body = shapes::Refusal)))]
async fn finish_registration(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    Json(finished): Json<Finished>,
) -> Result<Response> {
    let arguments = [
        Argument::Uuid(finished.challenge_id),
        Argument::Json(finished.credential),
        Argument::Text(finished.friendly_name),
    ];
    let made = state.db.call(&caller, "select auth.finish_passkey_registration($1, $2, $3)", &arguments).await?;
    Ok(answer::json(&without_nulls(made)))
}

/// Begin to sign in with a passkey.
#[utoipa::path(post, path = "/passkeys/authentication/options", tag = "passkeys", request_body = Start,
    responses((status = 200, body = Ceremony), (status = 404, body = shapes::Refusal)))]
async fn start_sign_in(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    Json(start): Json<Start>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, start.gotrue_meta_security.as_ref()).await?;
    let arguments = [Argument::Text(given(start.email))];
    Ok(answer::json(&state.db.call(&caller, "select auth.start_passkey_sign_in($1)", &arguments).await?))
}

/// Open a session by what the browser gave.
#[utoipa::path(post, path = "/passkeys/authentication/verify", tag = "passkeys", request_body = Finished,
    responses((status = 200, body = shapes::Session), (status = 403, body = shapes::Refusal),
        (status = 404, body = shapes::Refusal)))]
async fn finish_sign_in(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
    Json(finished): Json<Finished>,
) -> Result<Response> {
    let arguments =
        [Argument::Uuid(finished.challenge_id), Argument::Json(finished.credential), answer::sign_in_options()];
    let session = state.db.call(&caller, "select auth.finish_passkey_sign_in($1, $2, $3)", &arguments).await?;
    Ok(answer::session(&state.config, &headers, session, Way::Passkey))
}

/// Begin to make an account with a passkey.
#[utoipa::path(post, path = "/passkeys/sign-up/options", tag = "passkeys", request_body = StartSignUp,
    params(("redirect_to" = Option<String>, Query, description = "where the mailed link leads")),
    responses((status = 200, body = Ceremony), (status = 404, body = shapes::Refusal),
        (status = 422, body = shapes::Refusal)))]
async fn start_sign_up(
    Shared(state): Shared<State>,
    caller: Caller,
    peer: Peer,
    Locale(locale): Locale,
    query: Query,
    Json(start): Json<StartSignUp>,
) -> Result<Response> {
    captcha::check(&state, &caller, peer.0, start.gotrue_meta_security.as_ref()).await?;
    let email = given(start.email);
    if let Some(email) = &email {
        mail_domain::check(&state, email).await?;
    }
    let challenge =
        Challenge { code_challenge: start.code_challenge, code_challenge_method: start.code_challenge_method };
    let options =
        Options::default().with("redirect_to", query.redirect_to()).with("locale", locale).challenge(challenge);
    let data = start.data.filter(|data| !data.is_null()).unwrap_or_else(|| json!({}));
    let arguments = [Argument::Text(email), Argument::Json(data), Argument::Json(options.value())];
    Ok(answer::json(&state.db.call(&caller, "select auth.start_passkey_sign_up($1, $2, $3)", &arguments).await?))
}

/// Make the account with the passkey that the browser made; answers like /signup.
#[utoipa::path(post, path = "/passkeys/sign-up/verify", tag = "passkeys", request_body = Finished,
    responses((status = 200, body = shapes::SignedUp), (status = 404, body = shapes::Refusal),
        (status = 422, body = shapes::Refusal)))]
async fn finish_sign_up(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
    Json(finished): Json<Finished>,
) -> Result<Response> {
    let arguments = [
        Argument::Uuid(finished.challenge_id),
        Argument::Json(finished.credential),
        Argument::Text(finished.friendly_name),
    ];
    let answer = state.db.call(&caller, "select auth.finish_passkey_sign_up($1, $2, $3)", &arguments).await?;
    Ok(answer::signed_up(&state.config, &headers, answer))
}

/// The signed-in user's passkeys.
#[utoipa::path(get, path = "/passkeys", tag = "passkeys", security(("bearer" = [])),
    responses((status = 200, body = Vec<Passkey>), (status = 401, body = shapes::Refusal)))]
async fn list(Shared(state): Shared<State>, SignedIn(caller): SignedIn) -> Result<Response> {
    const LIST: &str =
        "select coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(p)), '[]') from auth.list_passkeys() as p";
    Ok(answer::json(&without_nulls(state.db.call(&caller, LIST, &[]).await?)))
}

/// Name a passkey.
#[utoipa::path(patch, path = "/passkeys/{passkey_id}", tag = "passkeys", security(("bearer" = [])),
    params(("passkey_id" = Uuid, Path)), request_body = Name,
    responses((status = 200, body = Passkey), (status = 404, body = shapes::Refusal)))]
async fn rename(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    PasskeyId(id): PasskeyId,
    Json(name): Json<Name>,
) -> Result<Response> {
    let arguments = [Argument::Uuid(id), Argument::Text(name.friendly_name)];
    let renamed = state.db.call(&caller, "select auth.rename_passkey($1, $2)", &arguments).await?;
    Ok(answer::json(&without_nulls(renamed)))
}

/// Delete a passkey of the signed-in user.
#[utoipa::path(delete, path = "/passkeys/{passkey_id}", tag = "passkeys", security(("bearer" = [])),
    params(("passkey_id" = Uuid, Path)),
    responses((status = 204, description = "done"), (status = 404, body = shapes::Refusal)))]
async fn delete(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    PasskeyId(id): PasskeyId,
) -> Result<Response> {
    state.db.call(&caller, "select auth.delete_passkey($1)", &[Argument::Uuid(id)]).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A user's passkeys.
#[utoipa::path(get, path = "/admin/users/{user_id}/passkeys", tag = "admin", security(("bearer" = [])),
    params(("user_id" = Uuid, Path)),
    responses((status = 200, body = Vec<Passkey>), (status = 404, body = shapes::Refusal)))]
async fn list_of_user(Shared(state): Shared<State>, Bearer(caller): Bearer, UserId(id): UserId) -> Result<Response> {
    let passkeys = state.db.call(&caller, "select auth.admin_list_passkeys($1)", &[Argument::Uuid(id)]).await?;
    Ok(answer::json(&without_nulls(passkeys)))
}

/// Delete a passkey of a user, such as one whose device is lost.
#[utoipa::path(delete, path = "/admin/users/{user_id}/passkeys/{passkey_id}", tag = "admin", security(("bearer" = [])),
    params(("user_id" = Uuid, Path), ("passkey_id" = Uuid, Path)),
    responses((status = 204, description = "done"), (status = 404, body = shapes::Refusal)))]
async fn delete_of_user(
    Shared(state): Shared<State>,
    Bearer(caller): Bearer,
    PasskeyOf(user_id, id): PasskeyOf,
) -> Result<Response> {
    let arguments = [Argument::Uuid(user_id), Argument::Uuid(id)];
    state.db.call(&caller, "select auth.admin_delete_passkey($1, $2)", &arguments).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
