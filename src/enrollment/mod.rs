//! Enrolment: who may change the factors of an account, and what follows when one is there or gone.
//!
//! Promises: with a verified factor only a session that has used one adds or removes any; removing one lowers what it has
//! raised at the next statement; the first one ends every session without. Threats: a stolen session that enrols the thief's
//! own factor, or removes the owner's; a factor that a thief enrolled before the owner did, unverified.

use pgrx::JsonB;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::factors::{self, Challenge, Factor, Given, Proof, Shown, recovery};
use crate::hooks::{self, Event};
use crate::identity::{self, Asking};
use crate::platform::backend::{self, from_pg};
use crate::platform::error::{Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::silence;
use crate::{door, guard, keys, mail, presence, sessions, tokens, users};

/// Option of what adds a first factor: a session alone may be a stolen one.
pub const OPTION: &str = "current_password";

/// Who asks for a change of factors: a user, or one whose sign-in waits for a factor to be enrolled.
pub fn asking() -> Result<Asking> {
    let asking = identity::require_asking(&[sessions::MFA_ENROLLMENT])?;
    match users::is_guest(asking.user_id)? {
        true => Err(Error::invalid("a guest has no factors", "auth.convert_anonymous makes an account first")),
        false => Ok(asking),
    }
}

/// Who can show more than one factor has shown it in this session: otherwise a stolen one could change them.
pub fn require_level(asking: &Asking) -> Result<()> {
    match factors::is_guarded(asking.user_id)? && !asking.is_aal2 {
        true => Err(Error::InsufficientAal),
        false => Ok(()),
    }
}

/// Whose factors they are: a user's, or those of somebody who has to use or enrol one.
pub fn asking_for_factor() -> Result<Asking> {
    identity::require_asking(&[sessions::MFA, sessions::MFA_ENROLLMENT])
}

/// A challenge that is good for whoever asks: that of a session in that session only. A token that is nobody's is counted by
/// network, as a wrong link is.
pub fn find_challenge(token: &str, config: &Config) -> Result<Challenge> {
    let asks_in = |session_id| asking_for_factor().is_ok_and(|asking| asking.session_id == session_id);
    match factors::find_challenge(token)?.filter(|challenge| challenge.session_id.is_none_or(asks_in)) {
        Some(challenge) => Ok(challenge),
        None => guard::attempt(&guard::LINK, "", json!({}), config)?.end(Err(Error::MfaChallengeExpired), None),
    }
}

/// By what the first step was taken that a challenge waits behind.
pub fn first_method(challenge: &Challenge) -> Result<Option<String>> {
    match challenge.session_id {
        None => Ok(challenge.way["first"]["method"].as_str().map(str::to_string)),
        Some(session_id) => sessions::first_method(session_id),
    }
}

/// That this session may add a factor or remove one: of level aal2 where one is enrolled; where none is, by somebody who has just
/// signed in, or says the password again.
pub fn require(asking: &Asking, options: &Map<String, Value>, config: &Config) -> Result<()> {
    require_level(asking)?;
    if asking.is_unfinished || asking.is_aal2 {
        return Ok(());
    }
    let account = users::credentials(asking.user_id)?.ok_or(Error::SessionNotFound)?;
    match mail::text(options, OPTION)? {
        Some(password) => presence::prove_password(asking.user_id, &account, password, config),
        None if !config.current_password_required || is_fresh(asking.session_id)? => Ok(()),
        None => Err(Error::invalid(
            "current_password is missing",
            "this session is older than ten minutes: give option current_password, or sign in again",
        )),
    }
}

/// So long after signing in nobody is asked for the password again.
const FRESH_MICROSECONDS: i64 = 600_000_000;

fn is_fresh(session_id: Uuid) -> Result<bool> {
    let session = sessions::find(session_id)?.ok_or(Error::SessionNotFound)?;
    Ok(backend::clock().saturating_sub(session.created_at) <= FRESH_MICROSECONDS)
}

/// What `auth.confirm_totp` and `auth.confirm_sms` do: a code of a factor of this kind confirms it.
pub fn confirm_by_code(
    kind: &str,
    factor_id: Option<pgrx::Uuid>,
    code: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[OPTION])?;
    let asking = asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    let factor = factors::find(asking.user_id, from_pg(given(factor_id, "factor_id")?))?;
    let code = given(code, "code")?;
    silence::check_literal(code)?;
    keys::root()?;
    if factor.is_verified || factor.kind != kind {
        return Err(Error::MfaFactorNotFound);
    }
    require(&asking, &options, &config)?;
    factors::guess(asking.user_id, &config, |attempt| {
        let given = Given {
            user_id: asking.user_id,
            factor: Some(&factor),
            challenge: None,
            shown: Shown::Code(code),
            attempt,
        };
        let proof = factors::verify(&given)?;
        attempt.is_right();
        accept(asking.user_id, Some(asking.session_id), &proof)?;
        confirm(&asking, &factor, &proof, &config)
    })
}

/// A factor was used rightly, whatever for. The app's own rules are told of right codes: of wrong ones they would hear what their own
/// ROLLBACK undoes.
pub fn accept(user_id: Uuid, session_id: Option<Uuid>, proof: &Proof) -> Result<()> {
    let answer = hooks::run(
        Event::MfaVerificationAttempt,
        || json!({"user_id": user_id, "factor_id": proof.factor_id, "method": proof.method, "valid": true}),
    )?;
    if answer.as_ref().and_then(|answer| answer.get("decision")).and_then(Value::as_str) == Some("reject") {
        return Err(Error::MfaVerificationRejected);
    }
    let data = json!({"method": proof.method, "factor_id": proof.factor_id});
    audit::record(&Entry { session_id, ..Entry::done("mfa_success", user_id).with(data) })
}

/// A first code has confirmed a factor. The answer is that of a sign-in; with the first factor there are recovery codes in it.
pub fn confirm(asking: &Asking, factor: &Factor, proof: &Proof, config: &Config) -> Result<JsonB> {
    let user_id = asking.user_id;
    // A sign-in under way ends with the others, or asks for this factor.
    users::hold(user_id)?;
    let is_first = !factors::is_needed(user_id)?;
    factors::confirm(factor.id)?;
    // Whoever enrolled those may have been somebody else.
    factors::remove_unverified(user_id)?;
    tokens::remove_changes(user_id)?;
    let codes = match is_first {
        true => Some(recovery::issue(user_id)?),
        false => None,
    };
    let done = Entry::done("factor_verified", user_id).in_session(asking.session_id);
    audit::record(&done.with(json!({"factor_id": factor.id, "factor_type": factor.kind})))?;
    mail::notify("factor_added", user_id, None, described(factor), config)?;
    let mut answer = door::raise(user_id, asking.session_id, proof)?;
    sessions::end_weaker(user_id, asking.session_id)?;
    answer.0["factor_id"] = json!(factor.id);
    if let Some(codes) = codes {
        answer.0["recovery_codes"] = codes;
    }
    Ok(answer)
}

/// Factors are gone, and what they have raised is lowered.
pub fn remove(user_id: Uuid, session_id: Option<Uuid>, gone: &[Factor], config: &Config) -> Result<()> {
    for factor in gone {
        factors::remove(factor.id)?;
        if !factor.is_verified {
            continue;
        }
        let is_last = !factors::is_needed(user_id)?;
        if is_last {
            recovery::remove(user_id)?;
        }
        let lowered = sessions::lower(user_id, factor.id, is_last)?;
        let data = json!({"factor_id": factor.id, "factor_type": factor.kind, "sessions": lowered});
        audit::record(&Entry { session_id, ..Entry::done("factor_removed", user_id).with(data) })?;
        mail::notify("factor_removed", user_id, None, described(factor), config)?;
    }
    Ok(())
}

fn described(factor: &Factor) -> Value {
    json!({"factor_type": factor.kind, "friendly_name": factor.name})
}
