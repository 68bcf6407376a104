//! Signing up with a passkey: one ceremony, whose account has no password.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::challenge::{self, For, Kind, Spent};
use super::register::{creation, describe};
use super::{check_name, credential, expected, made, must_be_enabled, refused, stored};
use crate::config::{self, Config};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sign_up::{self, Asked, Credential};
use crate::{guard, keys};

#[pg_extern(sql = false)]
fn start_passkey_sign_up(email: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    let result = start(email, data, options);
    log::outcome("start_passkey_sign_up", None, &result);
    Ok(result?)
}

fn start(email: Option<&str>, data: JsonArgument, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &sign_up::options())?;
    let config = config::current()?;
    must_be_enabled(&config)?;
    let asked = Asked::read(email, options::json(data)?, &options, &config)?;
    guard::count_ceremony(&config)?;
    let user_id = backend::uuid_v4()?;
    let user = describe(user_id, &json!({"email": asked.email.address(), "user_metadata": asked.data}));
    let given = json!({"email": asked.email.address(), "data": asked.data, "options": options});
    challenge::start(Kind::SignUp, For { user_id: Some(user_id), session_id: None }, Some(given), |challenge| {
        creation(challenge, user, Vec::new(), &config)
    })
    .map(JsonB)
}

#[pg_extern(sql = false)]
fn finish_passkey_sign_up(
    challenge_id: Option<pgrx::Uuid>,
    credential: JsonArgument,
    name: Option<&str>,
    options: JsonArgument,
) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = finish(challenge_id, credential, name, options, &mut user_id);
    log::outcome("finish_passkey_sign_up", user_id, &result);
    Ok(result?)
}

fn finish(
    challenge_id: Option<pgrx::Uuid>,
    given_credential: JsonArgument,
    name: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    must_be_enabled(&config)?;
    let challenge_id = from_pg(given(challenge_id, "challenge_id")?);
    let credential = credential(given_credential)?;
    let name = check_name(name)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::PASSKEY_REGISTRATION, "", json!({}), &config)?;
    let answer = challenge::spend(challenge_id, Kind::SignUp, &attempt, |_| true)
        .and_then(|spent| verify(&credential, name, &spent, &config))
        .inspect(|_| attempt.is_right())
        .and_then(|(asked, passkey)| sign_up::sign_up(&asked, &passkey, &config, user_id));
    attempt.end(answer, *user_id)
}

/// What was asked for, and the passkey that it is to be done with.
fn verify(credential: &Value, name: Option<&str>, spent: &Spent, config: &Config) -> Result<(Asked, Credential)> {
    let made = made(credential, &expected(&spent.bytes, config), config).map_err(refused)?;
    spent.remove()?;
    let user_id = spent.whom.user_id.ok_or(Error::WebauthnChallengeExpired)?;
    // Whether somebody has registered it is asked before anybody knows whether the address is taken, and so tells nothing of that.
    let id = stored::add(user_id, &made, name)?.ok_or(Error::WebauthnCredentialExists)?;
    let multi_factor = made.user_is_verified.then_some(id);
    let passkey = Credential::Passkey { row: stored::take_back(id)?, user_id, multi_factor };
    Ok((again(spent.asked.as_ref(), config)?, passkey))
}

/// What the start was given, checked again: rules may have changed since.
fn again(asked: Option<&Value>, config: &Config) -> Result<Asked> {
    let member = |name: &str| asked.and_then(|asked| asked.get(name));
    let none = Map::new();
    let options = member("options").and_then(Value::as_object).unwrap_or(&none);
    Asked::read(member("email").and_then(Value::as_str), member("data").cloned(), options, config)
}
