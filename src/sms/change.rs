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
use crate::{factors, guard, identity, mail, presence, users};

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
    let change = Change { new: &new, asked_at: backend::clock_seconds(), is_aal2: asking.is_aal2 };
    send_code(user_id, &change, locale.as_deref(), &config)?;
    audit::record(&Entry::done("phone_change_requested", user_id).with(json!({"new_phone": new.digits()})))?;
    let user = users::object(user_id)?.ok_or(Error::SessionNotFound)?;
    Ok(JsonB(json!({"status": "code_sent", "user": user})))
}

/// What was asked for, as its token remembers it.
struct Change<'a> {
    new: &'a Phone,
    /// Seconds since 1970.
    asked_at: i64,
    is_aal2: bool,
}

/// So long after a change was asked for another code of it is sent, in seconds.
const REPEATED_WITHIN: i64 = 600;

/// Where somebody else has the number no SMS is sent and a change waits all the same: whoever asked sees no difference.
fn send_code(user_id: Uuid, change: &Change<'_>, locale: Option<&str>, config: &Config) -> Result<()> {
    let new = change.new;
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
            data: json!({"new_phone": new.digits(), "asked_at": change.asked_at, "is_aal2": change.is_aal2}),
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
    let latest = tokens::latest_by_address(Purpose::PhoneChange, phone.digits())?;
    match latest.and_then(|(user_id, data)| Some((user_id, Change::read(phone, &data)?))) {
        Some((user_id, change)) => send_code(user_id, &change, locale.as_deref(), config),
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

impl<'a> Change<'a> {
    /// None: it was asked for too long ago.
    fn read(new: &'a Phone, data: &Value) -> Option<Change<'a>> {
        let asked_at = data["asked_at"].as_i64()?;
        let is_recent = backend::clock_seconds() - asked_at <= REPEATED_WITHIN;
        is_recent.then_some(Change { new, asked_at, is_aal2: data["is_aal2"] == json!(true) })
    }
}

/// Gives the account its number; whose account it is.
pub fn confirm(phone: &Phone, found: &Found, config: &Config) -> Result<Uuid> {
    let user_id = found.user_id.ok_or(Error::OtpExpired)?;
    // Asked for by one factor, and since then there are two.
    if found.data["is_aal2"] != json!(true) && factors::is_needed(user_id)? {
        return Err(Error::OtpExpired);
    }
    tokens::remove(found)?;
    guard::forget_sms(guard::SMS_OF_CHANGE, phone.digits())?;
    addresses::change_phone(user_id, phone)?;
    mail::notify("phone_changed", user_id, None, json!({}), config)?;
    Ok(user_id)
}
