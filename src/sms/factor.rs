//! The phone as a second factor: enrolled and confirmed by a code, and asked for one where a challenge waits.

use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::codes;
use super::send::{self, Recipient};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::factors::{self, Challenge, Factor, Given, New, Proof, Shown, Verifier};
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::{log, silence};
use crate::{door, enrollment, guard, keys, mail, users};

const METHOD: &str = "mfa/phone";

pub static VERIFIER: Verifier = Verifier { takes: |shown| matches!(shown, Shown::Code(code) if is_code(code)), verify };

fn is_code(text: &str) -> bool {
    (4..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[pg_extern(sql = false)]
fn enroll_sms(phone: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_enroll(phone, options, &mut user_id);
    log::outcome("enroll_sms", user_id, &result);
    Ok(result?)
}

fn try_enroll(phone: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &[enrollment::OPTION, "friendly_name", "locale", "send"])?;
    let asking = enrollment::asking()?;
    *user_id = Some(asking.user_id);
    let config = config::current()?;
    if !config.mfa.is_enabled || !config.mfa.sms_is_enabled {
        return Err(Error::MfaPhoneEnrollNotEnabled);
    }
    let phone = users::parse_phone(given(phone, "phone")?)?;
    send::must_be_reachable(&phone, &config)?;
    let locale = mail::locale(&options)?;
    let is_sent = options.get("send") != Some(&json!(false));
    enrollment::require(&asking, &options, &config)?;
    if factors::verified(asking.user_id)?.iter().any(|factor| factor.phone.as_deref() == Some(phone.digits())) {
        return Err(Error::MfaVerifiedFactorExists);
    }
    let id = backend::uuid_v4()?;
    let name = mail::text(&options, "friendly_name")?.map_or_else(|| phone.e164(), str::to_string);
    let new = New { id, kind: factors::PHONE, name: &name, phone: Some(phone.digits()), secret: None };
    factors::enroll(asking.user_id, &new, &config)?;
    let data = json!({"factor_id": id, "factor_type": factors::PHONE});
    audit::record(&Entry::done("factor_enrolled", asking.user_id).in_session(asking.session_id).with(data))?;
    if is_sent {
        let to =
            To { user_id: asking.user_id, factor_id: id, kind: guard::SMS_OF_ENROLLMENT, phone: &phone, about: id };
        send_code(&to, locale.as_deref(), &config)?;
    }
    let status = if is_sent { "code_sent" } else { "enrolled" };
    Ok(JsonB(json!({"status": status, "factor_id": id, "phone": phone.e164(), "friendly_name": name})))
}

#[pg_extern(sql = false)]
fn confirm_sms(factor_id: Option<pgrx::Uuid>, code: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = enrollment::confirm_by_code(factors::PHONE, factor_id, code, options, &mut user_id);
    log::outcome("confirm_sms", user_id, &result);
    Ok(result?)
}

#[pg_extern(sql = false)]
fn send_mfa_sms(challenge_token: Option<&str>, factor_id: Option<pgrx::Uuid>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_send(challenge_token, factor_id, options, &mut user_id);
    log::outcome("send_mfa_sms", user_id, &result);
    Ok(result?)
}

fn try_send(
    token: Option<&str>,
    factor_id: Option<pgrx::Uuid>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let locale = mail::locale(&options::only(options, &["locale"])?)?;
    let config = config::current()?;
    let token = given(token, "challenge_token")?;
    silence::check_literal(token)?;
    keys::root()?;
    let challenge = enrollment::find_challenge(token, &config)?;
    *user_id = Some(challenge.user_id);
    door::must_be_welcome(challenge.user_id)?;
    let wanted = factor_id.map(from_pg).or(challenge.factor_id);
    let factor = factors::all(challenge.user_id)?
        .into_iter()
        .filter(|factor| factor.kind == factors::PHONE)
        .filter(|factor| factor.is_verified || challenge.factor_id == Some(factor.id))
        .find(|factor| wanted.is_none_or(|id| id == factor.id))
        .ok_or(Error::MfaFactorNotFound)?;
    if was_first_step(&factor, &challenge)? {
        return Err(Error::MfaFactorNotFound);
    }
    // A challenge of one factor is not met by another.
    if challenge.factor_id.is_some_and(|chosen| chosen != factor.id) {
        return Err(Error::MfaFactorNotFound);
    }
    let phone = number(&factor)?;
    send_code(&To::of(&factor, challenge.user_id, &phone, challenge.id), locale.as_deref(), &config)?;
    Ok(JsonB(json!({"status": "code_sent", "factor_id": factor.id, "phone": users::hint(phone.digits())})))
}

/// What `auth.challenge_factor` does for a phone.
pub fn ask(user_id: Uuid, factor: &Factor, challenge_id: Uuid, config: &Config) -> Result<Map<String, Value>> {
    send_code(&To::of(factor, user_id, &number(factor)?, challenge_id), None, config)?;
    Ok(Map::new())
}

/// Whether the first step of this sign-in was a code to the same number: one phone is one factor.
fn was_first_step(factor: &Factor, challenge: &Challenge) -> Result<bool> {
    if enrollment::first_method(challenge)?.as_deref() != Some("sms") {
        return Ok(false);
    }
    let user = users::object(challenge.user_id)?.ok_or(Error::SessionNotFound)?;
    Ok(factor.phone.as_deref() == user["phone"].as_str())
}

fn number(factor: &Factor) -> Result<Phone> {
    users::parse_phone(factor.phone.as_deref().ok_or(Error::MfaFactorNotFound)?)
}

/// What a code is sent for.
struct To<'a> {
    user_id: Uuid,
    factor_id: Uuid,
    /// As the guard counts it.
    kind: &'static str,
    phone: &'a Phone,
    /// A challenge, or a factor that is to be confirmed.
    about: Uuid,
}

impl<'a> To<'a> {
    fn of(factor: &Factor, user_id: Uuid, phone: &'a Phone, about: Uuid) -> To<'a> {
        To { user_id, factor_id: factor.id, kind: kind(factor), phone, about }
    }
}

fn kind(factor: &Factor) -> &'static str {
    if factor.is_verified { guard::SMS_OF_FACTOR } else { guard::SMS_OF_ENROLLMENT }
}

/// It is counted apart from the codes that sign in, which anybody may ask for, and those of a verified factor apart from those of
/// enrolments, which any account may begin: nobody else can use up what the owner of a second factor may be sent.
fn send_code(to: &To<'_>, locale: Option<&str>, config: &Config) -> Result<()> {
    let (phone, factor_id) = (to.phone, to.factor_id);
    send::must_be_reachable(phone, config)?;
    guard::count_sms(to.kind, phone.digits(), config)?;
    let fixed = send::fixed_code(phone, config);
    let issued = codes::issue(phone, Some(to.about), fixed.as_deref(), json!({"factor_id": factor_id}), config)?;
    audit::record(&Entry::done("mfa_code_sent", to.user_id).with(json!({"factor_id": factor_id})))?;
    send::write(
        &Recipient { user_id: Some(to.user_id), phone, locale, verify_type: send::TYPE },
        &issued,
        fixed.is_none(),
        config,
    )
}

/// Whose phone the code was sent to for this challenge, or for this factor's confirmation; the code is used up.
fn verify(given: &Given<'_>) -> Result<Option<Proof>> {
    static USE: Query = Query::write(
        "update auth.mfa_factors set last_challenged_at = clock_timestamp(), updated_at = clock_timestamp() where id = $1",
        &[Type::UUIDOID],
    );
    let about = match (given.challenge, given.factor) {
        (Some(challenge), _) => challenge.id,
        (None, Some(factor)) if !factor.is_verified => factor.id,
        _ => return Ok(None),
    };
    let Shown::Code(code) = given.shown else { return Ok(None) };
    let Some(found) = codes::find_about(about, code)? else { return Ok(None) };
    let factor_id = found.data.get("factor_id").and_then(Value::as_str);
    let all = factors::all(given.user_id)?;
    let factor = all.iter().find(|factor| {
        factor_id.and_then(|id| id.parse().ok()) == Some(factor.id)
            && factor.phone.as_deref() == Some(&found.phone)
            && given.factor.map_or(factor.is_verified, |chosen| chosen.id == factor.id)
    });
    let Some(factor) = factor else { return Ok(None) };
    if let Some(challenge) = given.challenge
        && factor.is_verified
        && was_first_step(factor, challenge)?
    {
        return Ok(None);
    }
    factors::spend(given.attempt, found.id, found.expires_at.saturating_sub(backend::clock()))?;
    codes::remove(&found).map_err(|error| match error {
        Error::OtpExpired => Error::MfaVerificationFailed,
        other => other,
    })?;
    guard::forget_sms(kind(factor), &found.phone)?;
    match USE.execute(&[to_pg(factor.id).into()])? {
        0 => Err(Error::MfaVerificationFailed),
        _ => Ok(Some(Proof { factor_id: Some(factor.id), method: METHOD })),
    }
}
