//! Registering a passkey while signed in.

use auth_core::base64url;
use auth_core::webauthn::ALGORITHMS;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::challenge::{self, For, Kind};
use super::{MOST, TTL_SECONDS, attestation, check_name, credential, expected, made, must_be_enabled, refused, stored};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::identity::{self, Asking};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::{enrollment, guard, keys, mail, users};

#[pg_extern(sql = false)]
fn start_passkey_registration(options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = start(options, &mut user_id);
    log::outcome("start_passkey_registration", user_id, &result);
    Ok(result?)
}

/// Who registers, in which session: nobody but an account's own user, who may.
fn caller(config: &Config, signed_in: &mut Option<Uuid>) -> Result<Asking> {
    let asking = identity::require_asking(&[])?;
    *signed_in = Some(asking.user_id);
    must_be_enabled(config)?;
    if users::is_guest(asking.user_id)? {
        return Err(Error::invalid("a guest has no passkeys", "auth.convert_anonymous makes a guest permanent"));
    }
    enrollment::require_level(&asking)?;
    Ok(asking)
}

fn start(options: JsonArgument, signed_in: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[enrollment::OPTION])?;
    let config = config::current()?;
    let asking = caller(&config, signed_in)?;
    enrollment::require(&asking, &options, &config)?;
    let (user_id, session_id) = (asking.user_id, asking.session_id);
    guard::count_ceremony(&config)?;
    if stored::count(user_id)? >= MOST {
        return Err(Error::TooManyPasskeys);
    }
    let user = users::object(user_id)?.ok_or(Error::SessionNotFound)?;
    let existing = stored::descriptors(user_id)?;
    let whom = For { user_id: Some(user_id), session_id: Some(session_id) };
    challenge::start(Kind::Registration, whom, None, |challenge| {
        creation(challenge, describe(user_id, &user), existing, &config)
    })
    .map(JsonB)
}

/// What a browser is told of a passkey that is to be made (PublicKeyCredentialCreationOptionsJSON).
pub fn creation(challenge: String, user: Value, existing: Vec<Value>, config: &Config) -> Value {
    let rp = &config.webauthn;
    json!({
        "rp": {"id": rp.rp_id, "name": rp.rp_name},
        "user": user,
        "challenge": challenge,
        "pubKeyCredParams": ALGORITHMS.map(|number| json!({"type": "public-key", "alg": number})),
        "timeout": TTL_SECONDS * 1000,
        "excludeCredentials": existing,
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": true,
            "userVerification": rp.user_verification,
        },
        "attestation": attestation(config),
    })
}

/// The account as authenticators show it: the id is what a sign-in without an address comes back with.
pub fn describe(user_id: Uuid, user: &Value) -> Value {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
    let name = [&user["email"], &user["phone"], &user["username"]].into_iter().find_map(text);
    let name = name.unwrap_or_else(|| user_id.to_string());
    let metadata = &user["user_metadata"];
    let shown = [&metadata["full_name"], &metadata["name"]].into_iter().find_map(text);
    json!({"id": base64url::encode(user_id.as_bytes()), "displayName": shown.as_ref().unwrap_or(&name), "name": name})
}

#[pg_extern(sql = false)]
fn finish_passkey_registration(
    challenge_id: Option<pgrx::Uuid>,
    credential: JsonArgument,
    name: Option<&str>,
    options: JsonArgument,
) -> Answer<JsonB> {
    let mut user_id = None;
    let result = finish(challenge_id, credential, name, options, &mut user_id);
    log::outcome("finish_passkey_registration", user_id, &result);
    Ok(result?)
}

fn finish(
    challenge_id: Option<pgrx::Uuid>,
    given_credential: JsonArgument,
    name: Option<&str>,
    options: JsonArgument,
    signed_in: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    let asking = caller(&config, signed_in)?;
    let (user_id, session_id) = (asking.user_id, asking.session_id);
    let challenge_id = from_pg(given(challenge_id, "challenge_id")?);
    let credential = credential(given_credential)?;
    let name = check_name(name)?;
    keys::root()?;
    let whom = For { user_id: Some(user_id), session_id: Some(session_id) };
    let attempt = guard::attempt(&guard::PASSKEY_REGISTRATION, "", json!({}), &config)?;
    let answer =
        challenge::spend(challenge_id, Kind::Registration, &attempt, |other| *other == whom).and_then(|spent| {
            let made = made(&credential, &expected(&spent.bytes, &config), &config).map_err(refused)?;
            attempt.is_right();
            spent.remove()?;
            // One after the other: two at once would each see room for one more.
            users::hold(user_id)?;
            if stored::count(user_id)? >= MOST {
                return Err(Error::TooManyPasskeys);
            }
            let id = stored::add(user_id, &made, name)?.ok_or(Error::WebauthnCredentialExists)?;
            let data =
                json!({"passkey_id": id, "uv": made.user_is_verified, "backup_eligible": made.is_backup_eligible});
            audit::record(&Entry::done("passkey_registered", user_id).in_session(session_id).with(data))?;
            mail::notify("passkey_added", user_id, None, json!({"name": name}), &config)?;
            Ok(JsonB(stored::objects(user_id, Some(id))?[0].take()))
        });
    attempt.end(answer, Some(user_id))
}
