//! The second step: challenges of factors and what meets them, whatever kind of factor it is.
//!
//! Promises: between the two steps nobody is anybody in policies; a code works once, in whichever challenge and whoever rolls
//! back; guesses are counted by account. Threats: steps out of order, one account's challenge met by another's session, a
//! session without the second step that was stolen and goes on after its owner's.

use auth_core::webauthn::LONGEST_RESPONSE;
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::factors::{self, Challenge, Factor, Given, Proof, Shown, recovery};
use crate::identity::Asking;
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::{door, enrollment, guard, keys, presence, users};

extension_sql_file!("mfa.sql", name = "mfa", requires = ["refresh"]);

#[pg_extern(sql = false)]
fn list_factors(options: JsonArgument) -> Answer<JsonB> {
    options::only(options, &[])?;
    let asking = enrollment::asking_for_factor()?;
    let user = users::object(asking.user_id)?.ok_or(Error::SessionNotFound)?;
    let user = if asking.is_unfinished { users::hinted(user) } else { user };
    Ok(JsonB(user.get("factors").cloned().unwrap_or_else(|| json!([]))))
}

#[pg_extern(sql = false)]
fn challenge_factor(factor_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_challenge(factor_id, options, &mut user_id);
    log::outcome("challenge_factor", user_id, &result);
    Ok(result?)
}

fn try_challenge(factor_id: Option<pgrx::Uuid>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["send"])?;
    let asking = enrollment::asking_for_factor()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    let factor = factors::find(asking.user_id, from_pg(given(factor_id, "factor_id")?))?;
    must_be_usable(&asking, &factor)?;
    let asked = factors::challenge_session(asking.user_id, asking.session_id, factor.id, &config)?;
    let mut answer = Map::from_iter([
        ("id".to_string(), json!(asked.id)),
        ("factor_id".to_string(), json!(factor.id)),
        ("type".to_string(), json!(factor.kind)),
        ("expires_at".to_string(), json!(backend::unix_seconds(asked.expires_at))),
    ]);
    // A recovery code stands for any factor: nothing is sent to whoever has one.
    if options::flag(&options, "send")?.unwrap_or(true) {
        answer.extend(factors::ask(asking.user_id, &factor, asked.id, &config)?);
    }
    Ok(JsonB(Value::Object(answer)))
}

/// An unverified factor may be whoever's; in a sign-in that waits for a second factor it is none.
fn must_be_usable(asking: &Asking, factor: &Factor) -> Result<()> {
    let waits_for_one = asking.is_unfinished && factors::is_needed(asking.user_id)?;
    if waits_for_one && !factor.is_verified { Err(Error::MfaFactorNotFound) } else { Ok(()) }
}

#[pg_extern(sql = false)]
fn verify_totp(challenge_token: Option<&str>, code: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = given(code, "code").and_then(|code| {
        silence::check_literal(code)?;
        try_verify(challenge_token, Shown::Code(code), options, &mut user_id)
    });
    log::outcome("verify_totp", user_id, &result);
    Ok(result?)
}

#[pg_extern(sql = false)]
fn verify_webauthn(challenge_token: Option<&str>, credential: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let credential = options::json_up_to(credential, LONGEST_RESPONSE).and_then(|json| given(json, "credential"));
    let result = credential
        .and_then(|credential| try_verify(challenge_token, Shown::Credential(&credential), options, &mut user_id));
    log::outcome("verify_webauthn", user_id, &result);
    Ok(result?)
}

fn try_verify(
    token: Option<&str>,
    shown: Shown<'_>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[enrollment::OPTION, "factor_id", "recovery_codes"])?;
    let config = config::current()?;
    let token = given(token, "challenge_token")?;
    keys::root()?;
    let challenge = enrollment::find_challenge(token, &config)?;
    *user_id = Some(challenge.user_id);
    if let Some(meant) = options.get("factor_id").filter(|meant| !meant.is_null()) {
        let meant = meant.as_str().and_then(|id| Uuid::parse_str(id).ok());
        if meant.is_none() || meant != challenge.factor_id {
            return Err(Error::MfaFactorNotFound);
        }
    }
    match challenge.session_id {
        None => finish_sign_in(&challenge, shown, &config),
        Some(_) => raise_session(&challenge, shown, &options, &config),
    }
}

fn finish_sign_in(challenge: &Challenge, shown: Shown<'_>, config: &Config) -> Result<JsonB> {
    factors::guess(challenge.user_id, config, |attempt| {
        let proof = prove(challenge, None, shown, attempt)?;
        attempt.is_right();
        factors::meet(challenge)?;
        enrollment::accept(challenge.user_id, None, &proof)?;
        door::let_in_with_second(challenge.user_id, &challenge.way, &proof)
    })
}

fn raise_session(
    challenge: &Challenge,
    shown: Shown<'_>,
    options: &Map<String, Value>,
    config: &Config,
) -> Result<JsonB> {
    let asking = enrollment::asking_for_factor()?;
    let factor = factors::find(challenge.user_id, challenge.factor_id.ok_or(Error::MfaFactorNotFound)?)?;
    must_be_usable(&asking, &factor)?;
    if !factor.is_verified {
        enrollment::require(&enrollment::asking()?, options, config)?;
    }
    factors::guess(challenge.user_id, config, |attempt| {
        let proof = prove(challenge, Some(&factor), shown, attempt)?;
        attempt.is_right();
        factors::meet(challenge)?;
        enrollment::accept(challenge.user_id, Some(asking.session_id), &proof)?;
        match factor.is_verified {
            true => door::raise(challenge.user_id, asking.session_id, &proof),
            false => confirm(&asking, &factor, &proof, options, config),
        }
    })
}

/// A client that keeps the whole answer, as that of Supabase does in a browser's storage, takes the recovery codes later.
fn confirm(
    asking: &Asking,
    factor: &Factor,
    proof: &Proof,
    options: &Map<String, Value>,
    config: &Config,
) -> Result<JsonB> {
    let wants_codes = options::flag(options, "recovery_codes")?.unwrap_or(true);
    let mut answer = enrollment::confirm(asking, factor, proof, config)?;
    if !wants_codes
        && let Some(members) = answer.0.as_object_mut()
        && members.remove("recovery_codes").is_some()
    {
        recovery::remove(asking.user_id)?;
    }
    Ok(answer)
}

fn prove(challenge: &Challenge, factor: Option<&Factor>, shown: Shown<'_>, attempt: &guard::Attempt) -> Result<Proof> {
    factors::verify(&Given { user_id: challenge.user_id, factor, challenge: Some(challenge), shown, attempt })
}

#[pg_extern(sql = false)]
fn unenroll_factor(factor_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_unenroll(factor_id, options, &mut user_id);
    log::outcome("unenroll_factor", user_id, &result);
    Ok(result?)
}

fn try_unenroll(factor_id: Option<pgrx::Uuid>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    let factor = factors::find(asking.user_id, from_pg(given(factor_id, "factor_id")?))?;
    presence::require_factor(&asking)?;
    let id = factor.id;
    enrollment::remove(asking.user_id, Some(asking.session_id), &[factor], &config)?;
    Ok(JsonB(json!({"id": id})))
}

#[pg_extern(sql = false)]
fn regenerate_recovery_codes(options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    backend::must_write()?;
    let options = options::only(options, &["replace"])?;
    let asking = enrollment::asking()?;
    if !factors::is_needed(asking.user_id)? {
        return Err(Error::MfaRecoveryCodesSoleFactor.into());
    }
    presence::require_factor(&asking)?;
    match options::flag(&options, "replace")? {
        Some(false) if recovery::total(asking.user_id)? > 0 => return Err(Error::MfaVerifiedFactorExists.into()),
        Some(true) if recovery::total(asking.user_id)? == 0 => return Err(Error::MfaFactorNotFound.into()),
        _ => {}
    }
    let codes = recovery::issue(asking.user_id)?;
    audit::record(&Entry::done("recovery_codes_generated", asking.user_id).in_session(asking.session_id))?;
    Ok(JsonB(json!({"recovery_codes": codes})))
}

#[pg_extern(sql = false)]
fn count_recovery_codes(options: JsonArgument) -> Answer<i64> {
    options::only(options, &[])?;
    Ok(recovery::left(enrollment::asking()?.user_id)?)
}

#[pg_extern(sql = false)]
fn get_recovery_codes(options: JsonArgument) -> Answer<JsonB> {
    options::only(options, &[])?;
    let user_id = enrollment::asking()?.user_id;
    match recovery::total(user_id)? {
        0 => Err(Error::MfaFactorNotFound.into()),
        total => Ok(JsonB(json!({"id": user_id, "total": total, "remaining": recovery::left(user_id)?}))),
    }
}

#[pg_extern(sql = false)]
fn delete_recovery_codes(options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_delete_codes(options, &mut user_id);
    log::outcome("delete_recovery_codes", user_id, &result);
    Ok(result?)
}

fn try_delete_codes(options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    presence::require_factor(&asking)?;
    if recovery::total(asking.user_id)? == 0 {
        return Err(Error::MfaFactorNotFound);
    }
    recovery::remove(asking.user_id)?;
    audit::record(&Entry::done("recovery_codes_removed", asking.user_id).in_session(asking.session_id))?;
    Ok(JsonB(json!({"id": asking.user_id})))
}
