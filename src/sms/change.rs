//! A signed-in user's own number: it is another one once the code that the new one was sent is given.
//!
//! An account whose address nobody has proved gets no number: whoever proves it later would share the account.

use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::codes;
use super::send::{self, Recipient};
use crate::addresses;
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::outbox;
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::tokens::{self, Found, Purpose, Request};
use crate::{guard, identity, mail, presence, users};

/// As the clients of the HTTP API name it.
pub const TYPE: &str = "phone_change";

#[pg_extern(sql = false)]
fn update_phone(new_phone: Option<&str>, current_password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_update(new_phone, current_password, options, &mut user_id);
    log::outcome("update_phone", user_id, &result);
    Ok(result?)
}

fn try_update(
    new_phone: Option<&str>,
    current_password: Option<&str>,
    options: JsonArgument,
    signed_in: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["channel", "locale"])?;
    send::check_channel(&options)?;
    let locale = mail::locale(&options)?;
    let asking = identity::require_asking(&[])?;
    let user_id = asking.user_id;
    *signed_in = Some(user_id);
    presence::require_factor(&asking)?;
    let config = config::current()?;
    let new = send::reachable(given(new_phone, "new_phone")?, &config)?;
    let account = users::credentials(user_id)?.ok_or(Error::SessionNotFound)?;
    if account.encrypted_password.is_some() {
        presence::prove_password_if_needed(user_id, &account, current_password, &config)?;
    }
    if account.email.is_some() && !account.is_email_confirmed {
        return Err(Error::EmailNotConfirmed);
    }
    send_code(user_id, &new, locale.as_deref(), &config)?;
    audit::record(&Entry::done("phone_change_requested", user_id).with(json!({"new_phone": new.digits()})))?;
    let user = users::object(user_id)?.ok_or(Error::SessionNotFound)?;
    Ok(JsonB(json!({"status": "code_sent", "user": user})))
}

/// Where somebody else has the number no SMS is sent and a change waits all the same: whoever asked sees no difference.
fn send_code(user_id: Uuid, new: &Phone, locale: Option<&str>, config: &Config) -> Result<()> {
    outbox::wake()?;
    guard::count_sms(guard::SMS_OF_CHANGE, new.digits(), config)?;
    let fixed = send::fixed_code(new, config);
    let issued = tokens::issue(
        user_id,
        &Request {
            purpose: Purpose::PhoneChange,
            address_key: new.digits(),
            has_link: false,
            code: fixed.as_deref(),
            code_length: config.sms.code_length,
            code_ttl: config.sms.code_ttl,
            link_ttl: config.sms.code_ttl,
            redirect_to: None,
            code_challenge: None,
            data: json!({"new_phone": new.digits()}),
        },
    )?;
    let is_free = users::find_by_phone(new)?.is_none_or(|owner| owner == user_id);
    let recipient = Recipient { user_id: Some(user_id), phone: new, locale, verify_type: TYPE };
    let issued = codes::Issued { code: issued.code, expires_at: issued.expires_at };
    send::write(&recipient, &issued, is_free && fixed.is_none(), config)
}

/// One more code for whoever asked last for this number; nobody learns whether anybody did.
pub fn send_again(phone: &Phone, options: &Map<String, Value>, config: &Config) -> Result<()> {
    let locale = mail::locale(options)?;
    match tokens::latest_by_address(Purpose::PhoneChange, phone.digits())? {
        Some(user_id) => send_code(user_id, phone, locale.as_deref(), config),
        None => {
            outbox::wake()?;
            guard::count_sms(guard::SMS_OF_CHANGE, phone.digits(), config)
        }
    }
}

/// The change that this code confirms. Whoever is signed in confirms no change of another account: its owner would be let in
/// with the number of somebody who was told to type the code.
pub fn find(phone: &Phone, code: &str) -> Result<Found> {
    let asking = identity::current()?.and_then(|identity| identity.user_id());
    tokens::find_by_code(None, phone.digits(), &[Purpose::PhoneChange], code)?
        .filter(|found| asking.is_none_or(|user_id| found.user_id == Some(user_id)))
        .ok_or(Error::OtpExpired)
}

/// Gives the account its number; whose account it is.
pub fn confirm(phone: &Phone, found: &Found, config: &Config) -> Result<Uuid> {
    let user_id = found.user_id.ok_or(Error::OtpExpired)?;
    tokens::remove(found)?;
    guard::forget_sms(guard::SMS_OF_CHANGE, phone.digits())?;
    addresses::change_phone(user_id, phone)?;
    mail::notify("phone_changed", user_id, None, json!({}), config)?;
    Ok(user_id)
}
