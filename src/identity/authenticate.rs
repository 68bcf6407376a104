//! Acting as a token's user: the token and the role, for the transaction or for the connection.
//!
//! Invoker functions: SET ROLE is refused inside a definer function, and the login's own memberships decide what it may be.

use std::ffi::CString;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::Value;

use super::{carrier, current, verify};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::{settings, silence};

#[pg_extern(sql = false)]
fn authenticate(token: Option<&str>) -> Answer<JsonB> {
    silence::call_is_secret();
    Ok(act_as(token)?)
}

#[pg_extern(sql = false)]
fn authenticate_session(token: Option<&str>) -> Answer<JsonB> {
    silence::call_is_secret();
    if !settings::SESSION_IDENTITY.get() {
        return Err(Error::SessionIdentityOff.into());
    }
    Ok(carrier::for_session(|| act(token, pg_sys::GucAction::GUC_ACTION_SET))?)
}

/// For PostgREST's db-pre-request: acts as the bearer of the request; without one everything stays as the request set it.
#[pg_extern(sql = false)]
fn authenticate_request() -> Answer<()> {
    silence::call_is_secret();
    match current::request_bearer()? {
        Some(token) => Ok(act_as(Some(&token)).map(drop)?),
        None => Ok(()),
    }
}

/// Acts as the token's user until the transaction ends; without a token as anon.
pub fn act_as(token: Option<&str>) -> Result<JsonB> {
    // SAFETY: reads the transaction's state.
    if !unsafe { pg_sys::IsTransactionBlock() } {
        return Err(Error::NoTransaction);
    }
    act(token, pg_sys::GucAction::GUC_ACTION_LOCAL)
}

fn act(token: Option<&str>, action: pg_sys::GucAction::Type) -> Result<JsonB> {
    let identity = token.map(verify::accept).transpose()?;
    let claims = identity.as_ref().map(|identity| Value::Object(identity.claims.clone()));
    let user = identity.as_ref().and_then(|identity| identity.user_id());
    let email = user.and(identity.as_ref()).and_then(|identity| identity.text("email"));
    let role = identity.as_ref().map_or("anon", |identity| match identity.role.as_str() {
        "anonymous" => "anon",
        role => role,
    });
    let text = |text: &str| CString::new(text).map_err(|_| Error::BadJwt("is not well formed"));
    let set = |name, value: &str| text(value).map(|value| backend::set(name, &value, action));
    set(c"auth.token", token.unwrap_or(carrier::NOBODY))?;
    // For apps that read these; a client can set them too, so policies use auth.uid().
    set(c"request.jwt.claims", &claims.as_ref().map(Value::to_string).unwrap_or_default())?;
    set(c"app.user_id", &user.map(|id| id.to_string()).unwrap_or_default())?;
    set(c"app.user_email", email.unwrap_or_default())?;
    set(c"role", role)?;
    Ok(JsonB(claims.unwrap_or(serde_json::json!({"role": "anon"}))))
}
