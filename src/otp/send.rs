//! Asking for a mail.

use auth_core::email::Email;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::mail::{self, Mail, Wish};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};
use crate::tokens::{self, Purpose};
use crate::{door, guard, users};

/// A person who has the address, or nobody.
struct Asked {
    email: Email,
    user_id: Option<Uuid>,
    account: Option<users::Account>,
}

/// Who has the address; counted before it is looked at.
fn asked(purpose: Purpose, email: &str, config: &Config) -> Result<Asked> {
    let email = users::parse_email(email)?;
    mail::ask_from(config)?;
    if let Err(refusal) = mail::ask_to(purpose, &email, config) {
        // Whoever signs up without a password means none that waits for the address.
        if purpose == Purpose::SignUp {
            guard::contest(email.key(), config)?;
        }
        return Err(refusal);
    }
    // Whoever is banned gets no mail and no other answer.
    let account = match users::find_by_email(&email)? {
        Some(account) if door::must_be_welcome(account.id).is_ok() => Some(account),
        Some(_) => return Ok(Asked { email, user_id: None, account: None }),
        None => None,
    };
    Ok(Asked { user_id: account.as_ref().map(|account| account.id), email, account })
}

/// Whether the address is free for a new account, as `asked` has found; that of somebody banned is not.
fn is_free(asked: &Asked) -> Result<bool> {
    Ok(asked.account.is_none() && users::find_by_email(&asked.email)?.is_none())
}

fn note(event_type: &str, asked: &Asked) -> Result<()> {
    let data = json!({"email": asked.email.address()});
    audit::record(&Entry { event_type, code: None, user_id: asked.user_id, session_id: None, data })
}

fn sent(status: &str) -> Result<JsonB> {
    Ok(JsonB(json!({"status": status})))
}

#[pg_extern(sql = false)]
fn send_otp(email: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = try_send(email, None, options, false);
    log::outcome("send_otp", None, &result);
    Ok(result?)
}

#[pg_extern(sql = false)]
fn send_magic_link(email: Option<&str>, redirect_to: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = try_send(email, redirect_to, options, true);
    log::outcome("send_magic_link", None, &result);
    Ok(result?)
}

fn try_send(email: Option<&str>, redirect_to: Option<&str>, options: JsonArgument, needs_link: bool) -> Result<JsonB> {
    backend::must_write()?;
    let mut known = vec!["create_user", "data"];
    known.extend(mail::OPTIONS);
    let mut options = options::only(options, &known)?;
    if let Some(target) = redirect_to {
        options.insert("redirect_to".into(), json!(target));
    }
    let config = config::current()?;
    if needs_link && !config.enable_magic_link {
        return Err(Error::MagicLinkDisabled);
    }
    let wish = Wish::read(&options, &config)?;
    let may_create = match options.get("create_user") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(may)) => *may,
        Some(_) => return Err(Error::invalid("option create_user is no boolean", "true or false")),
    };
    let data = users::check_metadata(options.get("data").filter(|data| !data.is_null()).cloned())?;
    let asked = asked(Purpose::MagicLink, given(email, "email")?, &config)?;
    let kind = if config.enable_magic_link { "magiclink" } else { "otp" };
    let mail = Mail { has_link: config.enable_magic_link, ..Mail::new(Purpose::MagicLink, kind, &asked.email, &wish) };
    note("otp_requested", &asked)?;
    match asked.user_id {
        Some(user_id) => mail::send(user_id, &mail, &config)?,
        // Where no account may have the address nothing is said of it: that would tell that none has.
        None if may_create
            && config.enable_signup
            && is_free(&asked)?
            && users::check_address(&asked.email).is_ok() =>
        {
            let mail = Mail { purpose: Purpose::SignUp, data: Value::Object(data), ..mail };
            mail::send_sign_up(None, None, &mail, &config)?;
        }
        None => {}
    }
    sent("code_sent")
}

#[pg_extern(sql = false)]
fn sign_up_with_email(email: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    let result = try_sign_up_with_email(email, data, options);
    log::outcome("sign_up_with_email", None, &result);
    Ok(result?)
}

fn try_sign_up_with_email(email: Option<&str>, data: JsonArgument, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, mail::OPTIONS)?;
    let config = config::current()?;
    if !config.enable_signup {
        return Err(Error::SignupDisabled);
    }
    let wish = Wish::read(&options, &config)?;
    let data = users::check_metadata(options::json(data)?)?;
    users::check_address(&users::parse_email(given(email, "email")?)?)?;
    let asked = asked(Purpose::SignUp, given(email, "email")?, &config)?;
    note("user_confirmation_requested", &asked)?;
    match asked.user_id {
        Some(user_id) => mail::tell_owner("existing_account", user_id, &asked.email, &config)?,
        None if is_free(&asked)? => {
            let mail = Mail::new(Purpose::SignUp, "confirmation", &asked.email, &wish);
            let mail = Mail { data: Value::Object(data), ..mail };
            mail::send_sign_up(None, None, &mail, &config)?;
        }
        None => {}
    }
    sent("code_sent")
}

#[pg_extern(sql = false)]
fn resend(kind: Option<&str>, email: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = try_resend(kind, email, options);
    log::outcome("resend", None, &result);
    Ok(result?)
}

fn try_resend(kind: Option<&str>, email: Option<&str>, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, mail::OPTIONS)?;
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let email = given(email, "email")?;
    match given(kind, "kind")? {
        "signup" => resend_sign_up(email, &wish, &config)?,
        "email_change" => resend_change(email, &wish, &config)?,
        _ => return Err(Error::invalid("unknown kind", "kinds are: signup, email_change")),
    }
    sent("confirmation_sent")
}

fn resend_sign_up(email: &str, wish: &Wish, config: &Config) -> Result<()> {
    let asked = asked(Purpose::Confirmation, email, config)?;
    note("user_confirmation_requested", &asked)?;
    let mail = |purpose, data| Mail { data, ..Mail::new(purpose, "confirmation", &asked.email, wish) };
    // The mail may outlive the mark.
    let is_contested = guard::is_contested(asked.email.key())?;
    if let Some(account) = &asked.account {
        return match account.is_email_confirmed {
            true => Ok(()),
            false => {
                // Whether the confirmation is worth the password was decided by the sign-ups; forgotten, it is not.
                let latest = tokens::latest_data(account.id, Purpose::Confirmation)?.filter(|_| !is_contested);
                let data = latest.unwrap_or_else(|| json!({"is_contested": true}));
                mail::send(account.id, &mail(Purpose::Confirmation, data), config)
            }
        };
    }
    match tokens::find_sign_up(asked.email.key())? {
        Some(waiting) => {
            let before = Some(&waiting).filter(|_| !is_contested);
            let hash = before.and_then(|waiting| waiting.encrypted_password.as_deref());
            let passkey = before.and_then(|waiting| waiting.passkey.as_ref());
            mail::send_sign_up(hash, passkey, &mail(Purpose::SignUp, waiting.data.clone()), config)
        }
        None => Ok(()),
    }
}

fn resend_change(email: &str, wish: &Wish, config: &Config) -> Result<()> {
    let asked = asked(Purpose::EmailChange, email, config)?;
    note("user_confirmation_requested", &asked)?;
    let Some(user_id) = asked.user_id else { return Ok(()) };
    let Some(waiting) = tokens::find_by_purpose(user_id, Purpose::EmailChange)? else { return Ok(()) };
    let new: Option<Email> =
        waiting.data.get("new_email").and_then(Value::as_str).and_then(|new| Email::parse(new).ok());
    let Some(new) = new else { return Ok(()) };
    // The limit of the address that is mailed is nobody's to learn.
    if mail::ask(Purpose::EmailChange, &new, config).is_err() {
        return Ok(());
    }
    // Whether the old address has to agree was decided when the change began.
    let needs_both = waiting.data.get("needs_both") == Some(&json!(true));
    mail::send_change(user_id, &new, needs_both.then_some(&asked.email), wish, config)
}
