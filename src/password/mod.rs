//! Passwords: sign-up and sign-in by address and password.
//!
//! Promises: an unknown address, an account without a password and a wrong password are refused in the same words at the
//! cost of exactly one hash; nothing is locked while hashing; a hash of old parameters is replaced at sign-in. Threats:
//! enumeration by time, text or error; a stored hash that is costly or malformed on purpose; a truncated password.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use uuid::Uuid;

use auth_core::email::Email;
use auth_core::password;

use crate::config::{self, Config};
use crate::door::{self, BeforeMfa, Way};
use crate::guard::{self, Meant};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::{credential, keys, users};

mod change;
mod sign_up;

extension_sql_file!("password.sql", name = "password", requires = ["mail"]);

const METHOD: &str = "password";
/// The identity of a password account.
const PROVIDER: &str = "email";

#[pg_extern(sql = false)]
fn sign_in(email: Option<&str>, password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut meant = None;
    let result = try_sign_in(email, password, options, &mut meant);
    log::outcome("sign_in", meant, &result);
    Ok(result?)
}

/// `meant` is the account with this address, whether or not the password is its own.
fn try_sign_in(
    email: Option<&str>,
    password: Option<&str>,
    options: JsonArgument,
    meant: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let before_mfa = BeforeMfa::read(&options::only(options, &[door::OPTION])?)?;
    let config = config::current()?;
    let (email, password) = (given(email, "email")?, given(password, "password")?);
    silence::check_literal(password)?;
    keys::root()?;
    let who = Meant::by(email);
    let attempt = guard::attempt(&guard::PASSWORD, who.subject(), who.data(), &config)?;
    let answer =
        prove(who.email.as_ref(), password, &config, meant).inspect(|_| attempt.is_right()).and_then(|proved| {
            let (user_id, hash) = proved;
            let way = Way::new(METHOD, PROVIDER, "login_success", who.data()).before_mfa(before_mfa);
            door::let_in(user_id, Way { encrypted_password: Some(hash), ..way })
        });
    attempt.end(answer, *meant)
}

/// Whose password it is, and the hash that says so.
fn prove(email: Option<&Email>, password: &str, config: &Config, meant: &mut Option<Uuid>) -> Result<(Uuid, String)> {
    let password = password::normalise(password);
    if password.len() > password::HARD_CAP_BYTES {
        // No account has such a password, so this tells nothing and costs no hash.
        return Err(Error::InvalidCredentials);
    }
    let account = email.map(users::find_by_email).transpose()?.flatten();
    *meant = account.as_ref().map(|account| account.id);
    let stored = account.and_then(|account| account.encrypted_password);
    if !credential::verify(&password, stored.as_deref(), config.hash_cost)? {
        return Err(Error::InvalidCredentials);
    }
    let (Some(user_id), Some(stored)) = (*meant, stored) else { return Err(Error::InvalidCredentials) };
    if !auth_core::hash::needs_rehash(&stored, config.hash_cost) {
        return Ok((user_id, stored));
    }
    let hash = credential::hash(&password, config.hash_cost)?;
    if credential::rehash(user_id, &stored, &hash)? {
        return Ok((user_id, hash));
    }
    // Somebody was faster: with a hash of the same password, or with another password.
    let now = users::credentials(user_id)?.and_then(|account| account.encrypted_password);
    match credential::verify(&password, now.as_deref(), config.hash_cost)? {
        true => now.map(|now| (user_id, now)).ok_or(Error::InvalidCredentials),
        false => Err(Error::InvalidCredentials),
    }
}
