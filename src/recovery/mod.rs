//! Recovery: a new password for whoever proves to own the address.
//!
//! Promises: asking tells nobody whether there is an account; one reset is good at a time, once, for an hour; after it every
//! session of before is dead, and so is everything that waited for a confirmation. Threats: enumeration, two resets at once,
//! a reset that is used to keep a stolen session.

use std::rc::Rc;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::addresses::{self, Proof};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::credential::Person;
use crate::door::{self, BeforeMfa, Way};
use crate::guard::{self, Meant};
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sessions::{self, Which};
use crate::tokens::{self, Found, Purpose};
use crate::{credential, keys, users};

extension_sql_file!("recovery.sql", name = "recovery", requires = ["exchange"]);

#[pg_extern(sql = false)]
fn request_password_reset(email: Option<&str>, redirect_to: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = try_request(email, redirect_to, options);
    log::outcome("request_password_reset", None, &result);
    Ok(result?)
}

fn try_request(email: Option<&str>, redirect_to: Option<&str>, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let mut options = options::only(options, mail::OPTIONS)?;
    if let Some(target) = redirect_to {
        options.insert("redirect_to".into(), json!(target));
    }
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let email = users::parse_email(given(email, "email")?)?;
    mail::ask(Purpose::Recovery, &email, &config)?;
    let account = users::find_by_email(&email)?.filter(|account| door::must_be_welcome(account.id).is_ok());
    let user_id = account.as_ref().map(|account| account.id);
    let data = json!({"email": email.address()});
    audit::record(&Entry { event_type: "user_recovery_requested", code: None, user_id, session_id: None, data })?;
    if let Some(account) = account {
        let (purpose, kind) = match (&account.encrypted_password, config.enable_magic_link) {
            (Some(_), _) => (Purpose::Recovery, "recovery"),
            (None, true) => (Purpose::MagicLink, "magiclink"),
            (None, false) => (Purpose::MagicLink, "otp"),
        };
        let has_link = kind != "otp";
        let mail = Mail { has_link, ..Mail::new(purpose, kind, &email, &wish) };
        mail::send(account.id, &mail, &config)?;
    }
    Ok(JsonB(json!({"status": "code_sent"})))
}

#[pg_extern(sql = false)]
fn reset_password(token: Option<&str>, new_password: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_reset(token, new_password, options, &mut user_id);
    log::outcome("reset_password", user_id, &result);
    Ok(result?)
}

fn try_reset(
    token: Option<&str>,
    new_password: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    let (config, password, before_mfa) = begin(new_password, options)?;
    let token = given(token, "token")?;
    silence::check_literal(token)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::LINK, "", json!({}), &config)?;
    let answer = tokens::find_by_link(token)
        .and_then(|found| found.filter(|found| found.purpose == Purpose::Recovery).ok_or(Error::OtpExpired))
        .inspect(|found| *user_id = found.user_id)
        .and_then(|found| set(&found, &password, &attempt, before_mfa, &config));
    attempt.end(answer, *user_id)
}

#[pg_extern(sql = false)]
fn reset_password_with_code(
    email: Option<&str>,
    code: Option<&str>,
    new_password: Option<&str>,
    options: JsonArgument,
) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_reset_with_code(email, code, new_password, options, &mut user_id);
    log::outcome("reset_password_with_code", user_id, &result);
    Ok(result?)
}

fn try_reset_with_code(
    email: Option<&str>,
    code: Option<&str>,
    new_password: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    let (config, password, before_mfa) = begin(new_password, options)?;
    let (email, code) = (given(email, "email")?, given(code, "code")?);
    silence::check_literal(code)?;
    keys::root()?;
    let who = Meant::by(email);
    let attempt = guard::attempt(&guard::CODE, who.subject(), who.data(), &config)?;
    let answer = who
        .email
        .as_ref()
        .ok_or(Error::OtpExpired)
        .and_then(|email| {
            let account = users::find_by_email(email)?.map(|account| account.id);
            *user_id = account;
            tokens::find_by_code(account, email.key(), &[Purpose::Recovery], code)?.ok_or(Error::OtpExpired)
        })
        .and_then(|found| set(&found, &password, &attempt, before_mfa, &config));
    attempt.end(answer, *user_id)
}

/// What is refused before the token is looked at, and so spends none.
fn begin(new_password: Option<&str>, options: JsonArgument) -> Result<(Rc<Config>, Zeroizing<String>, BeforeMfa)> {
    backend::must_write()?;
    let before_mfa = BeforeMfa::read(&options::only(options, &[door::OPTION])?)?;
    let config = config::current()?;
    let password = credential::acceptable(given(new_password, "new_password")?, &Person::unknown(), &config)?;
    Ok((config, password, before_mfa))
}

fn set(
    found: &Found,
    password: &str,
    attempt: &guard::Attempt,
    before_mfa: BeforeMfa,
    config: &Config,
) -> Result<JsonB> {
    let user_id = found.user_id.ok_or(Error::OtpExpired)?;
    // Whoever has the token may know whose it is; a password that is refused for that spends none either.
    credential::impersonal(password, &Person::of(user_id)?, config)?;
    attempt.spend(found.id, found.expires_at)?;
    attempt.is_right();
    // Nothing is locked while this waits and works; the token is spent for everybody else already.
    let hash = credential::hash(password, config.hash_cost)?;
    door::must_be_welcome(user_id)?;
    tokens::remove(found)?;
    mail::was_used(Purpose::Recovery, &found.address_key)?;
    addresses::confirm(user_id, &found.address_key, Proof::OfOwnership)?;
    credential::set(user_id, &hash)?;
    tokens::remove_all(user_id)?;
    let ended = sessions::end(user_id, Which::All)?;
    audit::record(&Entry::done("password_reset", user_id).with(json!({"sessions": ended})))?;
    mail::notify("password_changed", user_id, None, json!({}), config)?;
    if !config.reset_returns_session {
        return Ok(JsonB(json!({"status": "password_changed"})));
    }
    door::let_in(user_id, Way::by_mail("recovery", "login_success").before_mfa(before_mfa))
}
