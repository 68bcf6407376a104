//! The answer that has a session in it, whatever way it came about.

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::Config;
use crate::cookies;
use crate::db::Argument;
use crate::error::{Error, Result, json_bytes};
use crate::request::nothing;

/// How somebody came in, for the counter of sign-ins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    SignUp,
    Anonymous,
    Password,
    Code,
    Sms,
    Link,
    Exchange,
    /// The second step, in a session that the first one has opened.
    SecondFactor,
    Passkey,
    /// No sign-in: the same session goes on.
    Refresh,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Way::SignUp => "sign_up",
            Way::Anonymous => "anonymous",
            Way::Password => "password",
            Way::Code => "code",
            Way::Sms => "sms",
            Way::Link => "link",
            Way::Exchange => "exchange",
            Way::SecondFactor => "second_factor",
            Way::Passkey => "passkey",
            Way::Refresh => "refresh",
        }
    }
}

/// What a sign-in gives before the second step: a restricted session to take it in, as Supabase's clients expect one.
pub const SECOND_STEP: &str = "session";

pub fn sign_in_options() -> Argument {
    Argument::Json(json!({"mfa": SECOND_STEP}))
}

/// A session as clients take it: without SQL's `status`, and in cookie mode without the refresh token.
pub fn session(config: &Config, request: &HeaderMap, answer: Value, way: Way) -> Response {
    let by_cookie = cookies::is_asked(request, &config.cookie);
    session_kept(config, request, answer, way, by_cookie)
}

pub fn session_kept(config: &Config, request: &HeaderMap, mut answer: Value, way: Way, by_cookie: bool) -> Response {
    // It is kept that the address was proved, and that is all: to clients it is a refusal.
    if answer["status"] == "approval_pending" {
        return approval_pending().into_response();
    }
    count(way);
    let mut cookie = None;
    let (user_id, session_id) = ids(&answer);
    if let Some(members) = answer.as_object_mut() {
        for name in ["status", "redirect_to", "type", "factor_id"] {
            members.remove(name);
        }
        if by_cookie && let Some(Value::String(token)) = members.remove("refresh_token") {
            cookie = cookies::set(&token, request, &config.cookie);
        }
    }
    let mut response = json(&answer);
    let headers = response.headers_mut();
    for (name, id) in [("sb-auth-user-id", user_id), ("sb-auth-session-id", session_id)] {
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
            headers.insert(name, id);
        }
    }
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// What a sign-up has come to: a session, or the user alone where the address is to be proved or the account approved first.
pub fn signed_up(config: &Config, request: &HeaderMap, mut answer: Value) -> Response {
    match answer["status"].as_str() {
        Some("session") => session(config, request, answer, Way::SignUp),
        Some("confirmation_sent" | "approval_pending") => json(&answer["user"].take()),
        _ => nothing(),
    }
}

pub fn approval_pending() -> Error {
    Error::new("user_banned", "an administrator has to approve this account first")
}

/// The second step of a sign-in as programs of other services know it: a challenge, and no session before it is met.
pub fn challenge(answer: &Value) -> Option<Response> {
    let is_one = answer["status"] == "mfa_required";
    is_one.then(|| {
        json(&json!({
            "requires_2fa": true,
            "challenge_token": answer["challenge_token"],
            "expires_in": answer["expires_in"],
            "factors": answer["factors"],
        }))
    })
}

/// The account of a finished sign-in, else null: auth.get_user also answers to whoever has taken the first of two steps.
pub const WHO_HAS_SIGNED_IN: &str = "select auth.get_user() where auth.uid() is not null";

pub fn count(way: Way) {
    match way {
        Way::Refresh => metrics::counter!("auth_refreshes_total").increment(1),
        _ => metrics::counter!("auth_sign_ins_total", "method" => way.word()).increment(1),
    }
}

pub fn json(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json_bytes(body)).into_response()
}

/// The caller's own account. A project's key is good, but nobody's: SQL then gives null.
///
/// # Errors
/// `no_authorization`, where it is nobody's.
pub fn user(user: Value) -> Result<Response> {
    if user.is_null() { Err(Error::no_authorization()) } else { Ok(json(&user)) }
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<Uuid>,
    session_id: Option<Uuid>,
    #[serde(default)]
    is_anonymous: bool,
}

/// Unverified: for what only mirrors a token that SQL has made or will judge.
fn unverified_claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn ids(answer: &Value) -> (Option<Uuid>, Option<Uuid>) {
    let claims = answer["access_token"].as_str().and_then(unverified_claims);
    claims.map_or((None, None), |claims| (claims.sub, claims.session_id))
}

/// Which function is meant where a user without an address gives one; that function looks for itself.
pub fn says_anonymous(token: &str) -> bool {
    unverified_claims(token).is_some_and(|claims| claims.is_anonymous)
}
