//! Spending a code.

use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::codes::{self, Found};
use super::{change, send};
use crate::addresses;
use crate::config::{self, Config};
use crate::door::{self, BeforeMfa, Way};
use crate::guard::{self, Attempt};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::users::{self, NewUser};
use crate::{keys, mail};

#[pg_extern(sql = false)]
fn verify_sms_otp(phone: Option<&str>, code: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_verify(phone, code, options, &mut user_id);
    log::outcome("verify_sms_otp", user_id, &result);
    Ok(result?)
}

fn try_verify(
    phone: Option<&str>,
    code: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["type", door::OPTION])?;
    let is_change = match mail::text(&options, "type")? {
        None | Some(send::TYPE) => false,
        Some(change::TYPE) => true,
        Some(_) => return Err(Error::invalid("unknown type", "types are: sms, phone_change")),
    };
    let before_mfa = BeforeMfa::read(&options)?;
    let config = config::current()?;
    if !config.sms.is_enabled {
        return Err(Error::PhoneProviderDisabled);
    }
    let (text, code) = (given(phone, "phone")?, given(code, "code")?);
    silence::check_literal(code)?;
    keys::root()?;
    // Text that is no number is nobody's: counted like one, and not written down, because it may be a password.
    let phone = Phone::parse(text).ok();
    let digits = phone.as_ref().map(Phone::digits);
    let data = json!({"phone": digits, "subject": digits});
    let attempt = guard::attempt(&guard::SMS, digits.unwrap_or(text), data, &config)?;
    let answer = phone.as_ref().ok_or(Error::OtpExpired).and_then(|phone| match is_change {
        true => spend_change(phone, code, &attempt, before_mfa, user_id, &config),
        false => spend(phone, code, &attempt, before_mfa, user_id, &config),
    });
    attempt.end(answer, *user_id)
}

fn spend(
    phone: &Phone,
    code: &str,
    attempt: &Attempt,
    before_mfa: BeforeMfa,
    user_id: &mut Option<Uuid>,
    config: &Config,
) -> Result<JsonB> {
    *user_id = users::find_by_phone(phone)?;
    let found = codes::find(phone, code)?.ok_or(Error::OtpExpired)?;
    attempt.spend(found.id, found.expires_at)?;
    attempt.is_right();
    open(phone, &found, before_mfa, user_id, config)
}

fn spend_change(
    phone: &Phone,
    code: &str,
    attempt: &Attempt,
    before_mfa: BeforeMfa,
    user_id: &mut Option<Uuid>,
    config: &Config,
) -> Result<JsonB> {
    let found = change::find(phone, code)?;
    *user_id = found.user_id;
    attempt.spend(found.id, found.expires_at)?;
    attempt.is_right();
    let id = change::confirm(phone, &found, config)?;
    door::let_in(id, way("login_success").before_mfa(before_mfa))
}

/// Lets in whoever has the number now, with a new account where there is none and one was asked for.
fn open(
    phone: &Phone,
    found: &Found,
    before_mfa: BeforeMfa,
    user_id: &mut Option<Uuid>,
    config: &Config,
) -> Result<JsonB> {
    codes::remove(found)?;
    guard::forget_sms(guard::SMS_OF_SIGN_IN, phone.digits())?;
    if let Some(id) = *user_id {
        door::must_be_welcome(id)?;
        addresses::confirm_phone(id, phone)?;
        return door::let_in(id, way("login_success").before_mfa(before_mfa));
    }
    if found.data["create_user"] != json!(true) || !config.enable_signup {
        return Err(Error::OtpExpired);
    }
    let Value::Object(user_metadata) = found.data["data"].clone() else { return Err(Error::OtpExpired) };
    let id = users::create(NewUser {
        phone: Some(phone.digits().to_string()),
        is_phone_confirmed: true,
        user_metadata,
        ..NewUser::default()
    })?;
    *user_id = Some(id);
    door::let_in(id, way("signup"))
}

fn way(event_type: &'static str) -> Way<'static> {
    Way::new("sms", "phone", event_type, json!({"method": "sms"}))
}
