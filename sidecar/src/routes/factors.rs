//! /factors: second factors of the signed-in user, and the second step of a sign-in in the session that the first one has opened.

use axum::extract::State as Shared;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{self, Way};
use crate::db::{Argument, Caller};
use crate::error::{Error, Result};
use crate::request::{FactorId, Json, Locale, Options, SignedIn, given};
use crate::server::State;
use crate::shapes;

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(enroll))
        .routes(routes!(unenroll))
        .routes(routes!(challenge))
        .routes(routes!(verify))
}

#[derive(Deserialize, ToSchema)]
struct Enrollment {
    /// totp, phone or webauthn
    factor_type: Option<String>,
    /// One that is free is chosen where it is not given
    friendly_name: Option<String>,
    /// The name that authenticator apps show
    issuer: Option<String>,
    /// Of a factor phone, with country code
    phone: Option<String>,
    /// For a first factor in an older session, where the settings ask for it
    current_password: Option<String>,
}

#[derive(Deserialize, ToSchema)]
struct Code {
    challenge_id: Option<String>,
    code: Option<String>,
    /// Of a security key, in place of a code
    webauthn: Option<Ceremony>,
    /// For a first factor in an older session, where the settings ask for it
    current_password: Option<String>,
    /// Whether the answer for a first factor brings recovery codes; else POST /factors/recovery-codes makes them
    recovery_codes: Option<bool>,
}

/// What else clients say of it is not looked at: the settings know the site.
#[derive(Deserialize, ToSchema)]
struct Ceremony {
    /// What navigator.credentials.create or .get gave, as WebAuthn Level 3 writes it in JSON
    credential_response: Value,
}

/// Enrol a factor. It is asked for nowhere before a first code has confirmed it.
#[utoipa::path(post, path = "/factors", tag = "factors", security(("bearer" = [])), request_body = Enrollment,
    responses((status = 200, body = shapes::Enrolled), (status = 403, body = shapes::Refusal)))]
async fn enroll(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    Locale(locale): Locale,
    Json(enrollment): Json<Enrollment>,
) -> Result<Response> {
    match enrollment.factor_type.as_deref() {
        Some("totp") => enroll_totp(&state, &caller, enrollment).await,
        Some("phone") => enroll_phone(&state, &caller, enrollment, locale).await,
        Some("webauthn") => enroll_webauthn(&state, &caller, enrollment).await,
        _ => Err(Error::validation("factor_type needs to be totp, phone, or webauthn")),
    }
}

/// The name that was given, or one that is free. An unverified factor gives way to a new one of its name, so only those of verified
/// ones are taken.
const NAMED: &str = "(select coalesce($1, (
        select case number when 1 then $3 else $3 || ' ' || number end as name
        from pg_catalog.generate_series(1, 1000) as number
        where not exists (
            select from pg_catalog.jsonb_array_elements(auth.list_factors()) as factor
            where factor ->> 'status' = 'verified'
            and factor ->> 'friendly_name' = case number when 1 then $3 else $3 || ' ' || number end)
        order by number
        limit 1
    )) as name) as n";

async fn enroll_totp(state: &State, caller: &Caller, enrollment: Enrollment) -> Result<Response> {
    let statement = format!(
        "select auth.enroll_totp(n.name, $2) || pg_catalog.jsonb_build_object('friendly_name', n.name) from {NAMED}"
    );
    let options = Options::default()
        .with("issuer", given(enrollment.issuer))
        .with("current_password", given(enrollment.current_password));
    let arguments = [
        Argument::Text(given(enrollment.friendly_name)),
        Argument::Json(options.value()),
        Argument::text("Authenticator app"),
    ];
    let mut enrolled = state.db.call(caller, &statement, &arguments).await?;
    let picture = picture(enrolled["qr_code"].as_str().unwrap_or_default())?;
    Ok(answer::json(&json!({
        "id": enrolled["factor_id"].take(),
        "type": "totp",
        "friendly_name": enrolled["friendly_name"].take(),
        "totp": {"qr_code": picture, "secret": enrolled["secret"].take(), "uri": enrolled["otpauth_uri"].take()},
    })))
}

/// Without a code: the client asks for a challenge of it next, and that sends one.
async fn enroll_phone(
    state: &State,
    caller: &Caller,
    enrollment: Enrollment,
    locale: Option<String>,
) -> Result<Response> {
    let phone =
        given(enrollment.phone).ok_or_else(|| Error::validation("phone number required to enroll phone factor"))?;
    let options = Options::default()
        .with("friendly_name", given(enrollment.friendly_name))
        .with("current_password", given(enrollment.current_password))
        .with("locale", locale)
        .with("send", Some(false));
    let arguments = [Argument::text(phone), Argument::Json(options.value())];
    let mut enrolled = state.db.call(caller, "select auth.enroll_sms($1, $2)", &arguments).await?;
    Ok(answer::json(&json!({
        "id": enrolled["factor_id"].take(),
        "type": "phone",
        "friendly_name": enrolled["friendly_name"].take(),
        "phone": enrolled["phone"].take(),
    })))
}

/// Without a ceremony: the client asks for a challenge of it next, and that begins one.
async fn enroll_webauthn(state: &State, caller: &Caller, enrollment: Enrollment) -> Result<Response> {
    let options = Options::default().with("current_password", given(enrollment.current_password));
    let arguments = [
        Argument::Text(given(enrollment.friendly_name)),
        Argument::Json(options.value()),
        Argument::text("Security key"),
    ];
    let statement = format!("select auth.enroll_webauthn(n.name, $2) from {NAMED}");
    let mut enrolled = state.db.call(caller, &statement, &arguments).await?;
    Ok(answer::json(&json!({
        "id": enrolled["factor_id"].take(),
        "type": "webauthn",
        "friendly_name": enrolled["friendly_name"].take(),
    })))
}

/// The SVG itself: Supabase's client puts `data:image/svg+xml;utf-8,` before it, where `#` would begin a fragment.
fn picture(data_url: &str) -> Result<String> {
    let (_, encoded) = data_url.split_once(',').unwrap_or_default();
    let bytes = STANDARD.decode(encoded).map_err(Error::internal)?;
    let svg = String::from_utf8(bytes).map_err(Error::internal)?;
    Ok(svg.replace("#000000", "black").replace("#ffffff", "white").replace("#000", "black").replace("#fff", "white"))
}

/// Ask for a factor: a phone is sent a code, and what a security key is to sign is in the answer.
#[utoipa::path(post, path = "/factors/{factor_id}/challenge", tag = "factors", security(("bearer" = [])),
    params(("factor_id" = Uuid, Path)),
    responses((status = 200, body = shapes::Challenged), (status = 404, body = shapes::Refusal)))]
async fn challenge(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    FactorId(id): FactorId,
) -> Result<Response> {
    let mut asked = state.db.call(&caller, "select auth.challenge_factor($1)", &[Argument::Uuid(id)]).await?;
    if let Some(members) = asked.as_object_mut() {
        members.remove("factor_id");
    }
    Ok(answer::json(&asked))
}

/// Meet a challenge: the session is of level aal2 then. A first code also confirms the factor.
#[utoipa::path(post, path = "/factors/{factor_id}/verify", tag = "factors", security(("bearer" = [])),
    params(("factor_id" = Uuid, Path)), request_body = Code,
    responses((status = 200, body = shapes::Session), (status = 404, body = shapes::Refusal)))]
async fn verify(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    headers: HeaderMap,
    FactorId(id): FactorId,
    Json(code): Json<Code>,
) -> Result<Response> {
    // The token of a challenge without a session is none of this route's: it is no UUID.
    let challenge_id = given(code.challenge_id).and_then(|id| id.parse::<Uuid>().ok());
    let challenge_id = challenge_id.ok_or_else(|| Error::validation("challenge_id is not a UUID"))?;
    let options = Options::default()
        .with("factor_id", Some(id.to_string()))
        .with("current_password", given(code.current_password))
        .with("recovery_codes", Some(code.recovery_codes.unwrap_or(false)));
    let (statement, shown) = match code.webauthn {
        Some(ceremony) => ("select auth.verify_webauthn($1, $2, $3)", Argument::Json(ceremony.credential_response)),
        None => {
            let code = given(code.code).ok_or_else(|| Error::validation("code needs to be non-empty"))?;
            ("select auth.verify_totp($1, $2, $3)", Argument::text(code))
        }
    };
    let arguments = [Argument::text(challenge_id.to_string()), shown, Argument::Json(options.value())];
    let session: Value = state.db.call(&caller, statement, &arguments).await?;
    Ok(answer::session(&state.config, &headers, session, Way::SecondFactor))
}

/// Remove a factor.
#[utoipa::path(delete, path = "/factors/{factor_id}", tag = "factors", security(("bearer" = [])),
    params(("factor_id" = Uuid, Path)),
    responses((status = 200, body = shapes::Named), (status = 404, body = shapes::Refusal)))]
async fn unenroll(
    Shared(state): Shared<State>,
    SignedIn(caller): SignedIn,
    FactorId(id): FactorId,
) -> Result<Response> {
    Ok(answer::json(&state.db.call(&caller, "select auth.unenroll_factor($1)", &[Argument::Uuid(id)]).await?))
}
