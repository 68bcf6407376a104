//! A guest becomes a permanent account: the same id, so everything that it owns stays its own.

use auth_core::email::Email;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config, SignupMode};
use crate::credential::Person;
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sessions::{self, Which};
use crate::tokens::Purpose;
use crate::{addresses, credential, guard, identity, keys, users};

#[pg_extern(sql = false)]
fn convert_anonymous(email: Option<&str>, password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_convert(email, password, options, &mut user_id);
    log::outcome("convert_anonymous", user_id, &result);
    Ok(result?)
}

struct Guest {
    user_id: Uuid,
    session_id: Uuid,
}

fn try_convert(
    email: Option<&str>,
    password: Option<&str>,
    options: JsonArgument,
    signed_in: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, mail::OPTIONS)?;
    let identity = identity::require_user()?;
    let guest = Guest {
        user_id: identity.user_id().ok_or(Error::NoAuthorization)?,
        session_id: identity.session_id.ok_or(Error::NoAuthorization)?,
    };
    *signed_in = Some(guest.user_id);
    let config = config::current()?;
    if !config.enable_signup {
        return Err(Error::SignupDisabled);
    }
    if !users::is_guest(guest.user_id)? {
        return Err(no_guest());
    }
    let email = users::parse_email(given(email, "email")?)?;
    users::check_address(&email)?;
    let password = credential::acceptable(
        given(password, "password")?,
        &Person::of(guest.user_id)?.with_email(Some(&email)),
        &config,
    )?;
    let wish = Wish::read(&options, &config)?;
    keys::root()?;
    match config.signup_mode {
        SignupMode::Immediate => at_once(&guest, &email, &password, &config)?,
        SignupMode::Confirm | SignupMode::OtpFirst => {
            ask_for_confirmation(&guest, &email, &password, &wish, &config)?;
            let user = user(&guest)?;
            return Ok(JsonB(json!({"status": "confirmation_sent", "user": user})));
        }
    }
    user(&guest).map(JsonB)
}

fn user(guest: &Guest) -> Result<Value> {
    users::object(guest.user_id)?.ok_or(Error::SessionNotFound)
}

fn no_guest() -> Error {
    Error::invalid("this account is no guest", "auth.update_email and auth.update_password change an account")
}

fn at_once(guest: &Guest, email: &Email, password: &str, config: &Config) -> Result<()> {
    let who = json!({"email": email.address()});
    // That an address is taken is worth knowing to a stranger who tries many, and anybody can be a guest.
    let attempt = guard::attempt(&guard::ADDRESS, email.key(), who.clone(), config)?;
    let converted = credential::hash(password, config.hash_cost)
        .inspect(|_| attempt.release_shared())
        .and_then(|hash| convert(guest, email, &hash))
        .and_then(|ended| {
            let done = Entry::done("anonymous_converted", guest.user_id).in_session(guest.session_id);
            audit::record(&done.with(json!({"email": email.address(), "sessions": ended})))
        });
    attempt.end(converted, Some(guest.user_id))
}

fn convert(guest: &Guest, email: &Email, hash: &str) -> Result<u64> {
    // Of two at once the second one meets a permanent account.
    if !users::hold_guest(guest.user_id)? {
        return Err(no_guest());
    }
    addresses::give(guest.user_id, email, false)?.ok_or(Error::SessionNotFound)?;
    credential::set(guest.user_id, hash)?;
    sessions::end(guest.user_id, Which::AllBut(guest.session_id))
}

/// The password waits with the guest, who has no address to sign in by; whoever has the address is told if it is another.
fn ask_for_confirmation(guest: &Guest, email: &Email, password: &str, wish: &Wish, config: &Config) -> Result<()> {
    mail::ask(Purpose::EmailChange, email, config)?;
    let hash = credential::hash(password, config.hash_cost)?;
    if !users::hold_guest(guest.user_id)? {
        return Err(no_guest());
    }
    credential::set(guest.user_id, &hash)?;
    let data = json!({"new_email": email.address()});
    let done = Entry::done("email_change_requested", guest.user_id).in_session(guest.session_id);
    audit::record(&done.with(data.clone()))?;
    let mail = Mail { data, ..Mail::new(Purpose::EmailChange, "confirmation", email, wish) };
    match users::find_by_email(email)? {
        None => mail::send(guest.user_id, &mail, config),
        // A change waits all the same: the account says so, and who has the address does not show.
        Some(other) => {
            mail::hand_out(guest.user_id, &mail, config)?;
            mail::tell_owner("existing_account", other.id, email, config)
        }
    }
}
