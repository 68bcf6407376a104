//! Passwords: sign-up and sign-in by address and password.
//!
//! Promises: an unknown address, an account without a password and a wrong password are refused in the same words at the
//! cost of exactly one hash; nothing is locked while hashing; a hash of old parameters is replaced at sign-in. Threats:
//! enumeration by time, text or error; a stored hash that is costly or malformed on purpose; a truncated password.

mod hashing;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};
use uuid::Uuid;

use auth_core::email::Email;
use auth_core::password::{self, Refused};

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::silence;
use crate::{door, guard, keys, users};

extension_sql_file!("password.sql", name = "password", requires = ["identity"]);

const METHOD: &str = "password";
/// The identity of a password account.
const PROVIDER: &str = "email";

#[pg_extern(sql = false)]
fn sign_up(email: Option<&str>, password: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    if !config.enable_signup {
        return Err(Error::SignupDisabled.into());
    }
    let email = users::parse_email(given(email, "email")?)?;
    let password = password::normalise(given(password, "password")?);
    check_policy(&config.password_policy, &password)?;
    let data = users::check_metadata(options::json(data)?)?;
    // Before the hash: with a wrong keyring it fails at once.
    keys::root()?;
    guard::must_not_be_over_limit(&config)?;
    guard::count_sign_up(&config)?;
    let hash = hashing::hash(&password, config.hash_cost)?;
    let user_id = users::create(&email, Some(&hash), data).map_err(|error| sign_up_refused(&email, error, &config))?;
    Ok(door::let_in(user_id, way("signup", json!({"email": email.address()})))?)
}

fn way(event_type: &'static str, data: Value) -> door::Way {
    door::Way { method: METHOD, provider: PROVIDER, event_type, data }
}

/// That an address is taken is worth knowing to a stranger who tries many.
fn sign_up_refused(email: &Email, error: Error, config: &Config) -> Error {
    let data = json!({"email": email.address()});
    let code = Some(error.code());
    audit::refusal(&Entry { event_type: "signup_failure", code, user_id: None, session_id: None, data });
    match error {
        Error::EmailExists => guard::note_failure(config).err().unwrap_or(error),
        error => error,
    }
}

#[pg_extern(sql = false)]
fn sign_in(email: Option<&str>, password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let (email, password) = (given(email, "email")?, given(password, "password")?);
    keys::root()?;
    let parsed = users::parse_email(email).ok();
    // Text that is no address is nobody's. It is counted like one and not written down: it may be a password.
    let subject = parsed.as_ref().map_or(email, |email| email.key());
    let address = parsed.as_ref().map(|email| email.address());
    let who = json!({"email": address, "subject": address.and(Some(subject))});
    let attempt = guard::attempt(&guard::PASSWORD, subject, who.clone(), &config)?;
    let mut known = None;
    match prove(parsed.as_ref(), password, &config, &mut known)
        .and_then(|user_id| Ok((user_id, door::let_in(user_id, way("login_success", who))?)))
    {
        Ok((user_id, answer)) => {
            attempt.succeeded(user_id);
            Ok(answer)
        }
        Err(error) => Err(attempt.refused(error, known, &config).into()),
    }
}

/// Whose password it is. `known` is the account that is meant, if there is one, also where the password is wrong.
fn prove(email: Option<&Email>, password: &str, config: &Config, known: &mut Option<Uuid>) -> Result<Uuid> {
    if password.len() > password::HARD_CAP_BYTES {
        // No account has such a password, so this tells nothing and costs no hash.
        return Err(Error::InvalidCredentials);
    }
    let password = password::normalise(password);
    let account = email.map(users::find_by_email).transpose()?.flatten();
    *known = account.as_ref().map(|account| account.id);
    let stored = account.as_ref().and_then(|account| account.encrypted_password.as_deref());
    if !hashing::verify(&password, stored, config.hash_cost)? {
        return Err(Error::InvalidCredentials);
    }
    let user_id = known.ok_or(Error::InvalidCredentials)?;
    if let Some(stored) = stored.filter(|stored| auth_core::hash::needs_rehash(stored, config.hash_cost)) {
        replace_hash(user_id, stored, &hashing::hash(&password, config.hash_cost)?)?;
    }
    Ok(user_id)
}

/// Only if nobody has changed the password meanwhile.
fn replace_hash(user_id: Uuid, old: &str, new: &str) -> Result<()> {
    static REPLACE: Query = Query::write(
        "update auth.users set encrypted_password = $3 where id = $1 and encrypted_password = $2",
        &[Type::UUIDOID, Type::TEXTOID, Type::TEXTOID],
    );
    REPLACE.execute(&[to_pg(user_id).into(), old.into(), new.into()]).map(drop)
}

fn check_policy(policy: &password::Policy, password: &str) -> Result<()> {
    password::check(policy, password).map_err(|refused| match refused {
        Refused::TooLong => Error::PasswordTooLong(format!(
            "at most {} characters and {} bytes",
            policy.max_length,
            password::HARD_CAP_BYTES
        )),
        Refused::Weak(reasons) => {
            let words: Vec<&str> = reasons.iter().map(|reason| reason.word()).collect();
            Error::WeakPassword(format!("{}: at least {} characters", words.join(", "), policy.min_length))
        }
    })
}

#[pg_extern(sql = false)]
fn gate_status() -> Answer<JsonB> {
    Ok(JsonB(serde_json::json!({"hashes": hashing::count()?})))
}
