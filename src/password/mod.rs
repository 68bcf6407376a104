//! Passwords: sign-up and sign-in by address and password.
//!
//! Promises: an unknown address, an account without a password and a wrong password are refused in the same words at the
//! cost of exactly one hash; nothing is locked while hashing; a hash of old parameters is replaced at sign-in. Threats:
//! enumeration by time, text or error; a stored hash that is costly or malformed on purpose; a truncated password.

mod hashing;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use uuid::Uuid;

use auth_core::password::{self, Refused};

use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::silence;
use crate::{config, door, keys, users};

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
    let hash = hashing::hash(&password, config.hash_cost)?;
    let user_id = users::create(&email, Some(&hash), data)?;
    Ok(door::let_in(user_id, METHOD, PROVIDER)?)
}

#[pg_extern(sql = false)]
fn sign_in(email: Option<&str>, password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let (email, password) = (given(email, "email")?, given(password, "password")?);
    keys::root()?;
    if password.len() > password::HARD_CAP_BYTES {
        // No account has such a password, so this tells nothing and costs nothing.
        return Err(Error::InvalidCredentials.into());
    }
    let password = password::normalise(password);
    // Text that is no address is nobody's: it costs the same hash.
    let account = match users::parse_email(email) {
        Ok(email) => users::find_by_email(&email)?,
        Err(_) => None,
    };
    let stored = account.as_ref().and_then(|account| account.encrypted_password.as_deref());
    if !hashing::verify(&password, stored, config.hash_cost)? {
        return Err(Error::InvalidCredentials.into());
    }
    let user_id = account.as_ref().map(|account| account.id).ok_or(Error::InvalidCredentials)?;
    if let Some(stored) = stored.filter(|stored| auth_core::hash::needs_rehash(stored, config.hash_cost)) {
        replace_hash(user_id, stored, &hashing::hash(&password, config.hash_cost)?)?;
    }
    Ok(door::let_in(user_id, METHOD, PROVIDER)?)
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
