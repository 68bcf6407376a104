//! A signed-in user's own password, and the one that has to be set before a sign-in is finished.

use auth_core::password;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::METHOD;
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::credential::Person;
use crate::identity::{self, Asking};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sessions::{self, Which};
use crate::users::{self, Credentials};
use crate::{credential, door, mail, presence, tokens};

/// A session older than this does not prove any more that its user is there.
const FRESH_MICROSECONDS: i64 = 86_400_000_000;

/// So long a session that began by the mail of a reset sets a password without the current one, which its user has forgotten: time to
/// choose another, and no more, because from then on such a session would be worth more to a thief than any other.
const RECOVERY_MICROSECONDS: i64 = 15 * 60 * 1_000_000;

#[pg_extern(sql = false)]
fn update_password(current_password: Option<&str>, new_password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_update(current_password, new_password, options, &mut user_id);
    log::outcome("update_password", user_id, &result);
    Ok(result?)
}

fn try_update(
    current_password: Option<&str>,
    new_password: Option<&str>,
    options: JsonArgument,
    signed_in: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["nonce"])?;
    let asking = identity::require_asking(&[sessions::PASSWORD_CHANGE])?;
    *signed_in = Some(asking.user_id);
    let config = config::current()?;
    let new = credential::acceptable(given(new_password, "new_password")?, &Person::of(asking.user_id)?, &config)?;
    presence::require_factor(&asking)?;
    let account = users::credentials(asking.user_id)?.ok_or(Error::SessionNotFound)?;
    // Before the proof: a right guess whose transaction fails would count as a wrong one.
    if current_password.is_some_and(|current| *password::normalise(current) == *new) {
        return Err(Error::SamePassword);
    }
    prove(&asking, &account, current_password, mail::text(&options, "nonce")?, &config)?;
    let stored = account.encrypted_password.as_deref();
    if current_password.is_none() && stored.is_some() && credential::verify(&new, stored, config.hash_cost)? {
        return Err(Error::SamePassword);
    }
    let hash = credential::hash(&new, config.hash_cost)?;
    if !credential::replace(asking.user_id, stored, &hash)? {
        return Err(Error::Conflict);
    }
    let ended = sessions::end(asking.user_id, Which::AllBut(asking.session_id))?;
    tokens::remove_all(asking.user_id)?;
    let done = Entry::done("user_updated_password", asking.user_id).in_session(asking.session_id);
    audit::record(&done.with(json!({"sessions": ended})))?;
    mail::notify("password_changed", asking.user_id, None, json!({}), &config)?;
    answer(&asking, &config)
}

/// That the person is there, as far as the settings ask for it.
fn prove(
    asking: &Asking,
    account: &Credentials,
    current_password: Option<&str>,
    nonce: Option<&str>,
    config: &Config,
) -> Result<()> {
    let age = age(asking.session_id)?;
    if config.reauthentication_required && age > FRESH_MICROSECONDS {
        let nonce = nonce.ok_or(Error::ReauthenticationNeeded)?;
        presence::prove_code(asking.user_id, account, nonce, config)?;
    }
    // Whoever has to change it has given it a moment ago.
    let is_known = asking.is_unfinished
        || (age <= RECOVERY_MICROSECONDS && sessions::first_method(asking.session_id)?.as_deref() == Some("recovery"));
    if is_known && current_password.is_none() {
        return Ok(());
    }
    presence::prove_password_if_needed(asking.user_id, account, current_password, config)
}

/// In microseconds.
fn age(session_id: Uuid) -> Result<i64> {
    let session = sessions::find(session_id)?.ok_or(Error::SessionNotFound)?;
    Ok(backend::clock().saturating_sub(session.created_at))
}

fn answer(asking: &Asking, config: &Config) -> Result<JsonB> {
    if !asking.is_unfinished {
        return users::object(asking.user_id)?.map(JsonB).ok_or(Error::SessionNotFound);
    }
    sessions::lift_restriction(asking.session_id)?;
    users::note_sign_in(asking.user_id, super::PROVIDER)?;
    let done = Entry::done("login_success", asking.user_id).in_session(asking.session_id);
    audit::record(&done.with(json!({"method": METHOD})))?;
    let (facts, user) = sessions::facts(asking.session_id)?.ok_or(Error::SessionNotFound)?;
    door::answer(asking.session_id, &facts, user, METHOD, config)
}
