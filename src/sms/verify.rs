//! Spending a code.

use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::codes::{self, Found};
use crate::addresses;
use crate::config::{self, Config};
use crate::door::{self, BeforeMfa, Way};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::users::{self, NewUser};
use crate::{guard, keys, mail};

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
    if mail::text(&options, "type")?.is_some_and(|kind| kind != "sms") {
        return Err(Error::invalid("unknown type", "the only type is sms"));
    }
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
    let answer = look_up(phone.as_ref(), code, user_id)
        .and_then(|(phone, found)| attempt.spend(found.id, found.expires_at).map(|()| (phone, found)))
        .inspect(|_| attempt.is_right())
        .and_then(|(phone, found)| open(phone, &found, before_mfa, user_id, &config));
    attempt.end(answer, *user_id)
}

fn look_up<'a>(phone: Option<&'a Phone>, code: &str, user_id: &mut Option<Uuid>) -> Result<(&'a Phone, Found)> {
    let phone = phone.ok_or(Error::OtpExpired)?;
    *user_id = users::find_by_phone(phone)?;
    let found = codes::find(phone, code)?.ok_or(Error::OtpExpired)?;
    Ok((phone, found))
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
