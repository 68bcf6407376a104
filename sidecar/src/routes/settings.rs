//! GET /settings: what sign-in forms want to know before anybody signs in.

use axum::extract::State as Shared;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer;
use crate::db::Caller;
use crate::error::Result;
use crate::server::State;

/// Providers that Supabase's clients know; they look each of them up.
const PROVIDERS: &[&str] = &[
    "apple",
    "azure",
    "bitbucket",
    "discord",
    "facebook",
    "figma",
    "fly",
    "github",
    "gitlab",
    "google",
    "kakao",
    "keycloak",
    "linkedin",
    "linkedin_oidc",
    "notion",
    "slack",
    "slack_oidc",
    "snapchat",
    "spotify",
    "twitch",
    "twitter",
    "workos",
    "x",
    "zoom",
];

pub fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(settings))
}

/// Which ways in there are.
#[utoipa::path(get, path = "/settings", tag = "about", responses((status = 200, description = "the settings")))]
async fn settings(Shared(state): Shared<State>, caller: Caller) -> Result<Response> {
    let settings = state.db.call(&caller, "select auth.public_settings()", &[]).await?;
    let on = |name: &str| settings[name].as_bool().unwrap_or(false);
    let mut external: Map<String, Value> = PROVIDERS.iter().map(|name| ((*name).to_owned(), false.into())).collect();
    external.insert("email".into(), true.into());
    external.insert("phone".into(), on("enable_sms").into());
    external.insert("anonymous_users".into(), on("enable_anonymous").into());
    Ok(answer::json(&json!({
        "external": external,
        "disable_signup": !on("enable_signup"),
        "mailer_autoconfirm": settings["signup_mode"] == "immediate",
        "phone_autoconfirm": false,
        "sms_provider": state.config.sms.provider.map_or("", |provider| provider.name()),
        "saml_enabled": false,
        "saml_private_key_next_configured": false,
        "passkeys_enabled": on("enable_passkeys"),
        "mfa_webauthn_enabled": on("mfa_enabled") && on("mfa_webauthn_enabled"),
    })))
}
