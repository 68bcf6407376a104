//! A signed-in user's own address: changing it, and proving by it that they are there.
//!
//! Promises: nothing changes before the new address is confirmed; a stolen session alone changes no address where the old one
//! is proved; asking does not tell who has the other address. Threats: a change begun on somebody else's account, an address
//! that is put in the place of another between two mails.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config;
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::tokens::Purpose;
use crate::{identity, presence, users};

extension_sql_file!("email_change.sql", name = "email_change", requires = ["account"]);

#[pg_extern(sql = false)]
fn update_email(new_email: Option<&str>, current_password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_update(new_email, current_password, options, &mut user_id);
    log::outcome("update_email", user_id, &result);
    Ok(result?)
}

fn try_update(
    new_email: Option<&str>,
    current_password: Option<&str>,
    options: JsonArgument,
    signed_in: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, mail::OPTIONS)?;
    let asking = identity::require_asking(&[])?;
    let user_id = asking.user_id;
    *signed_in = Some(user_id);
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let new = users::parse_email(given(new_email, "new_email")?)?;
    let account = users::credentials(user_id)?.ok_or(Error::SessionNotFound)?;
    // Forms send what they show; that is no wish.
    if account.is_email_confirmed && account.email.as_ref().is_some_and(|own| own.key() == new.key()) {
        return answer("unchanged", user_id);
    }
    presence::require_factor(&asking)?;
    users::check_address(&new)?;
    if account.encrypted_password.is_some() {
        presence::prove_password_if_needed(user_id, &account, current_password, &config)?;
    }
    mail::ask(Purpose::EmailChange, &new, &config)?;
    let data = json!({"new_email": new.address()});
    audit::record(&Entry::done("email_change_requested", user_id).with(data))?;
    let old = account.email.as_ref().filter(|_| account.is_email_confirmed && config.secure_email_change);
    if let Some(old) = old {
        mail::ask(Purpose::EmailChangeCurrent, old, &config)?;
    }
    mail::send_change(user_id, &new, old, &wish, &config)?;
    answer("confirmation_sent", user_id)
}

fn answer(status: &str, user_id: Uuid) -> Result<JsonB> {
    let user = users::object(user_id)?.ok_or(Error::SessionNotFound)?;
    Ok(JsonB(json!({"status": status, "user": user})))
}

#[pg_extern(sql = false)]
fn reauthenticate(options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_reauthenticate(options, &mut user_id);
    log::outcome("reauthenticate", user_id, &result);
    Ok(result?)
}

fn try_reauthenticate(options: JsonArgument, signed_in: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["locale"])?;
    let user_id = identity::require_user()?.user_id().ok_or(Error::NoAuthorization)?;
    *signed_in = Some(user_id);
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let account = users::credentials(user_id)?.ok_or(Error::SessionNotFound)?;
    let email = account
        .email
        .as_ref()
        .ok_or_else(|| Error::invalid("the account has no address", "there is nowhere to mail a code to"))?;
    mail::ask(Purpose::Reauthentication, email, &config)?;
    audit::record(&Entry::done("user_reauthenticate_requested", user_id))?;
    let mail = Mail { has_link: false, ..Mail::new(Purpose::Reauthentication, "reauthentication", email, &wish) };
    mail::send(user_id, &mail, &config)?;
    Ok(JsonB(json!({"status": "code_sent"})))
}
