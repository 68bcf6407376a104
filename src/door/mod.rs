//! The door: the only code that opens a session and mints its tokens. Every way in ends here.
//!
//! Promises: no way in can forget the ban, the hooks or the limits; an answer is one object of one shape. Threats: a way in
//! that knows the password but not that the account is banned; a hook that rewrites who the token is for.

use auth_core::jwt;
use pgrx::JsonB;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config, SignupMode};
use crate::hooks::{self, Event};
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::log;
use crate::sessions::{self, Facts};
use crate::{keys, mail, users};

/// Claims that no hook may change: they say who the token is for and what it may do.
const RESERVED_CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "email",
    "phone",
    "role",
    "aal",
    "amr",
    "session_id",
    "is_anonymous",
    "user_id",
    "token_type",
    "jti",
    "sc",
];

/// By what somebody came in, and what the audit says of it.
pub struct Way {
    pub method: &'static str,
    pub provider: &'static str,
    pub event_type: &'static str,
    /// An object: who was meant.
    pub data: Value,
    /// Whether it was more than one factor already, such as a passkey that has verified its user.
    pub is_multi_factor: bool,
}

impl Way {
    /// By one factor.
    pub fn new(method: &'static str, provider: &'static str, event_type: &'static str, data: Value) -> Way {
        Way { method, provider, event_type, data, is_multi_factor: false }
    }

    /// By something that was mailed.
    pub fn by_mail(method: &'static str, event_type: &'static str) -> Way {
        Way::new(method, "email", event_type, json!({"method": method}))
    }
}

/// Lets in a user who has proved who they are: a new session and its tokens.
pub fn let_in(user_id: Uuid, way: Way) -> Result<JsonB> {
    if let Some(answer) = wait_for_approval(user_id, &way)? {
        return Ok(answer);
    }
    must_be_welcome(user_id)?;
    let config = config::current()?;
    must_be_confirmed(user_id, &config)?;
    users::note_sign_in(user_id, way.provider)?;
    let method = way.method;
    // Asked before this sign-in is one of those that were.
    let is_new_program = config.security_notices && audit::is_new_program(user_id)?;
    let session_id = sessions::open(user_id, method, None, &config)?;
    audit::record(&Entry::done(way.event_type, user_id).in_session(session_id).with(way.data))?;
    if is_new_program {
        let from = json!({"ip": audit::client_address(), "user_agent": audit::user_agent()});
        mail::notify("new_sign_in", user_id, None, from, &config)?;
    }
    let (facts, user) = sessions::facts(session_id)?.ok_or(Error::SessionNotFound)?;
    answer(session_id, &facts, user, method, &config)
}

/// Whoever has signed up, or has just proved the address, is told to wait: raised, the refusal would undo the sign-up or the
/// proof. Everybody else meets `must_be_welcome`.
fn wait_for_approval(user_id: Uuid, way: &Way) -> Result<Option<JsonB>> {
    let is_by_mail = way.provider == "email" && way.method != "password";
    let is_waiting = (way.event_type == "signup" || is_by_mail)
        && users::standing(user_id)?.is_some_and(|user| user.awaits_approval && !user.is_deleted);
    if !is_waiting {
        return Ok(None);
    }
    audit::record(&Entry::done("approval_awaited", user_id).with(way.data.clone()))?;
    let user = users::object(user_id)?.ok_or(Error::UserNotFound)?;
    Ok(Some(JsonB(json!({"status": "approval_pending", "user": user}))))
}

/// Lets in a user who has to set a new password first: the token is nobody's in policies and has no successor.
pub fn let_in_to_change_password(user_id: Uuid, way: Way) -> Result<JsonB> {
    must_be_welcome(user_id)?;
    let config = config::current()?;
    must_be_confirmed(user_id, &config)?;
    let session_id = sessions::open(user_id, way.method, Some(sessions::PASSWORD_CHANGE), &config)?;
    audit::record(&Entry::done("password_change_required", user_id).in_session(session_id).with(way.data))?;
    let (facts, user) = sessions::facts(session_id)?.ok_or(Error::SessionNotFound)?;
    let (access_token, expires_at) = mint(session_id, &facts, &user, way.method, &config)?;
    Ok(JsonB(json!({
        "status": "password_change_required",
        "access_token": access_token,
        "token_type": "bearer",
        "expires_in": config.access_token_ttl,
        "expires_at": expires_at,
        "user": user,
    })))
}

/// Refuses the banned and the deleted. Only after they have proved who they are: before, it would tell a stranger.
pub fn must_be_welcome(user_id: Uuid) -> Result<()> {
    match users::standing(user_id)? {
        None => Err(Error::UserNotFound),
        Some(user) if user.is_deleted => Err(Error::UserNotFound),
        Some(user) if user.is_banned(backend::clock()) => Err(Error::UserBanned),
        Some(_) => Ok(()),
    }
}

/// Where addresses have to be proved, refuses an account that has not. Whoever came by mail has proved it just now.
fn must_be_confirmed(user_id: Uuid, config: &Config) -> Result<()> {
    let is_needed = config.signup_mode != SignupMode::Immediate;
    match users::standing(user_id)? {
        Some(user) if is_needed && user.is_unconfirmed => Err(Error::EmailNotConfirmed),
        _ => Ok(()),
    }
}

/// The methods that a session may name (RFC 8176, and Supabase Auth's words).
const METHODS: &[&str] = &[
    "password",
    "otp",
    "magiclink",
    "recovery",
    "invite",
    "email_change",
    "anonymous",
    "oauth",
    "passkey",
    "sms",
    "totp",
    "mfa/phone",
    "mfa/webauthn",
    "mfa/recovery_code",
];

/// A method that was stored, as it is written in a session.
pub fn method(name: &str) -> &'static str {
    METHODS.iter().find(|known| **known == name).copied().unwrap_or("otp")
}

/// The session answer (`docs/sessions.md`).
pub fn answer(session_id: Uuid, facts: &Facts, user: Value, method: &str, config: &Config) -> Result<JsonB> {
    let (access_token, expires_at) = mint(session_id, facts, &user, method, config)?;
    let mut answer = json!({
        "status": "session",
        "access_token": access_token,
        "token_type": "bearer",
        "expires_in": config.access_token_ttl,
        "expires_at": expires_at,
        "user": user,
    });
    if config.refresh_tokens_enabled {
        answer["refresh_token"] = sessions::encode(session_id, facts.counter)?.into();
    }
    Ok(JsonB(answer))
}

/// An access token and when it ends, in seconds since 1970.
pub fn mint(session_id: Uuid, facts: &Facts, user: &Value, method: &str, config: &Config) -> Result<(String, i64)> {
    let signing = keys::current_signing_key()?;
    let issued_at = backend::clock_seconds();
    let expires_at = issued_at + config.access_token_ttl;
    let member = |name: &str| user.get(name).cloned().unwrap_or(Value::Null);
    // A sign-in that is not finished may only be finished: its token is nobody's in policies.
    let (role, token_type) =
        if facts.is_restricted { (json!("anon"), "restricted") } else { (member("role"), "access") };
    let mut claims = Map::from_iter([
        ("iss".to_string(), json!(config.jwt_issuer)),
        ("sub".to_string(), member("id")),
        ("aud".to_string(), member("aud")),
        ("exp".to_string(), json!(expires_at)),
        ("iat".to_string(), json!(issued_at)),
        ("email".to_string(), member("email")),
        ("phone".to_string(), member("phone")),
        ("app_metadata".to_string(), member("app_metadata")),
        ("role".to_string(), role),
        ("aal".to_string(), json!(facts.aal)),
        ("amr".to_string(), facts.methods.clone()),
        ("session_id".to_string(), json!(session_id)),
        ("is_anonymous".to_string(), member("is_anonymous")),
        ("user_id".to_string(), member("id")),
        ("token_type".to_string(), json!(token_type)),
        ("jti".to_string(), json!(backend::uuid_v4()?)),
        ("sc".to_string(), json!(facts.counter)),
    ]);
    if config.claims_user_metadata {
        claims.insert("user_metadata".into(), member("user_metadata"));
    }
    let claims = through_hook(claims, method)?;
    let token = jwt::sign(&claims, &signing.kid, &signing.key, &backend::random_source())
        .map_err(|error| Error::Internal(error.to_string()))?;
    log::debug(|| format!("token minted: session {session_id}, key {}, expires {expires_at}", signing.kid));
    Ok((token, expires_at))
}

/// The hook may add claims and change those that are not reserved.
fn through_hook(claims: Map<String, Value>, method: &str) -> Result<Map<String, Value>> {
    let returned = hooks::run(
        Event::CustomAccessToken,
        || json!({"user_id": claims["sub"], "claims": claims, "authentication_method": method}),
    )?;
    let Some(returned) = returned else { return Ok(claims) };
    let Some(Value::Object(changed)) = returned.get("claims") else {
        return Err(Error::invalid(
            "hook custom_access_token returned no claims",
            "it returns {\"claims\": …}, as it was given them",
        ));
    };
    match RESERVED_CLAIMS.iter().find(|name| changed.get(**name) != claims.get(**name)) {
        None => Ok(changed.clone()),
        Some(name) => Err(Error::invalid(
            format!("hook custom_access_token may not change claim {name}"),
            "it may add claims and change app_metadata and user_metadata",
        )),
    }
}
