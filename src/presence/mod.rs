//! Presence: that the person of a session is there now, for what a session alone may not do.
//!
//! Promises: guesses of the current password and of a mailed code count with those at sign-in, so a stolen session is no second
//! chance.

use auth_core::password;
use serde_json::json;
use uuid::Uuid;

use crate::config::Config;
use crate::identity::Asking;
use crate::platform::error::{Error, Result};
use crate::platform::silence;
use crate::tokens::{self, Purpose};
use crate::users::Credentials;
use crate::{credential, factors, guard, keys};

/// That the session has used a second factor, where the account has one: a session from before the second step, or a stolen one,
/// changes nothing that the account hangs on.
pub fn require_factor(asking: &Asking) -> Result<()> {
    match factors::is_needed(asking.user_id)? && !asking.is_aal2 {
        true => Err(Error::InsufficientAal),
        false => Ok(()),
    }
}

/// Whether it is the current password of the account.
pub fn prove_password(user_id: Uuid, account: &Credentials, given: &str, config: &Config) -> Result<()> {
    silence::check_literal(given)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::PASSWORD, &subject(user_id, account), who(user_id, account), config)?;
    let given = password::normalise(given);
    let is_short = given.len() <= password::HARD_CAP_BYTES;
    let stored = account.encrypted_password.as_deref().filter(|_| is_short);
    let result = credential::verify(&given, stored, config.hash_cost).and_then(|is_right| match is_right {
        true => Ok(()),
        false => Err(Error::CurrentPasswordInvalid),
    });
    if result.is_ok() {
        attempt.is_right();
    }
    attempt.end(result, Some(user_id))
}

/// The current password where the account has one and the settings ask for it; a wrong one is refused in any case.
pub fn prove_password_if_needed(
    user_id: Uuid,
    account: &Credentials,
    given: Option<&str>,
    config: &Config,
) -> Result<()> {
    match given {
        Some(given) => prove_password(user_id, account, given, config),
        None if account.encrypted_password.is_some() && config.current_password_required => {
            Err(Error::invalid("current_password is null", "give the current password"))
        }
        None => Ok(()),
    }
}

/// Whether it is the code that `auth.reauthenticate` has mailed; it is spent.
pub fn prove_code(user_id: Uuid, account: &Credentials, code: &str, config: &Config) -> Result<()> {
    silence::check_literal(code)?;
    let key = account.email.as_ref().map(|email| email.key()).ok_or(Error::ReauthenticationNotValid)?;
    let attempt = guard::attempt(&guard::CODE, key, who(user_id, account), config)?;
    let result = tokens::find_by_code(Some(user_id), key, &[Purpose::Reauthentication], code)
        .and_then(|found| found.ok_or(Error::OtpExpired))
        .and_then(|found| attempt.spend(found.id, found.expires_at).map(|()| found))
        .inspect(|_| attempt.is_right())
        .and_then(|found| tokens::remove(&found))
        .map_err(|error| match error {
            Error::OtpExpired => Error::ReauthenticationNotValid,
            other => other,
        });
    attempt.end(result, Some(user_id))
}

/// What guesses are counted against: the same as at sign-in, for whom there is an address.
fn subject(user_id: Uuid, account: &Credentials) -> String {
    account.email.as_ref().map_or_else(|| user_id.to_string(), |email| email.key().to_string())
}

fn who(user_id: Uuid, account: &Credentials) -> serde_json::Value {
    json!({"email": account.email.as_ref().map(|email| email.address()), "subject": subject(user_id, account)})
}
