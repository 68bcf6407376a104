//! Spending what was mailed.

use auth_core::email::Email;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::addresses::{self, Proof};
use crate::config::{self, Config};
use crate::credential::Person;
use crate::door::{self, BeforeMfa, Way};
use crate::guard::{self, Meant};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::tokens::{self, Found, Purpose};
use crate::users::{self, NewUser};
use crate::{credential, flow, keys, mail};

/// The purposes that a type of the API stands for.
fn purposes(kind: &str) -> Result<&'static [Purpose]> {
    Ok(match kind {
        "email" => &[Purpose::MagicLink, Purpose::Confirmation, Purpose::SignUp],
        "magiclink" => &[Purpose::MagicLink, Purpose::SignUp],
        "signup" => &[Purpose::Confirmation, Purpose::SignUp],
        "invite" => &[Purpose::Invite],
        "recovery" => &[Purpose::Recovery],
        "email_change" => &[Purpose::EmailChange, Purpose::EmailChangeCurrent],
        _ => {
            let types = "types are: email, signup, magiclink, invite, recovery, email_change";
            return Err(Error::invalid("unknown type", types));
        }
    })
}

/// Those of links: a session's proof has none.
const LINKS: &[Purpose] = &[
    Purpose::Confirmation,
    Purpose::Invite,
    Purpose::MagicLink,
    Purpose::Recovery,
    Purpose::EmailChange,
    Purpose::EmailChangeCurrent,
    Purpose::SignUp,
];

#[pg_extern(sql = false)]
fn verify_otp(email: Option<&str>, code: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_verify_otp(email, code, options, &mut user_id);
    log::outcome("verify_otp", user_id, &result);
    Ok(result?)
}

fn try_verify_otp(
    email: Option<&str>,
    code: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["type", door::OPTION])?;
    let purposes = purposes(mail::text(&options, "type")?.unwrap_or("email"))?;
    let before_mfa = BeforeMfa::read(&options)?;
    spend_code(email, code, purposes, user_id, |found, _| finish(prove(found, "otp", None)?, before_mfa))
}

#[pg_extern(sql = false)]
fn verify_sign_up(
    email: Option<&str>,
    code: Option<&str>,
    password: Option<&str>,
    options: JsonArgument,
) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_verify_sign_up(email, code, password, options, &mut user_id);
    log::outcome("verify_sign_up", user_id, &result);
    Ok(result?)
}

fn try_verify_sign_up(
    email: Option<&str>,
    code: Option<&str>,
    given_password: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let before_mfa = BeforeMfa::read(&options::only(options, &[door::OPTION])?)?;
    let config = config::current()?;
    let password = given_password
        .map(|password| {
            credential::acceptable(password, &Person::unknown().with_address(email.unwrap_or_default()), &config)
        })
        .transpose()?;
    spend_code(email, code, &[Purpose::SignUp], user_id, |found, config| {
        // Hashed only for whoever has the code, and before anything is locked.
        let hash = password.as_ref().map(|password| {
            if let Value::Object(metadata) = &found.data {
                credential::impersonal(password, &Person::unknown().with_metadata(metadata), config)?;
            }
            credential::hash(password, config.hash_cost)
        });
        let hash = hash.transpose()?;
        finish(prove(found, "otp", hash)?, before_mfa)
    })
}

/// One guess at the code of an address, and what it opens.
fn spend_code(
    email: Option<&str>,
    code: Option<&str>,
    purposes: &[Purpose],
    user_id: &mut Option<Uuid>,
    open: impl FnOnce(&Found, &Config) -> Result<JsonB>,
) -> Result<JsonB> {
    let config = config::current()?;
    let (email, code) = (given(email, "email")?, given(code, "code")?);
    silence::check_literal(code)?;
    keys::root()?;
    let who = Meant::by(email);
    let attempt = guard::attempt(&guard::CODE, who.subject(), who.data(), &config)?;
    let answer = look_up(who.email.as_ref(), code, purposes, user_id)
        .and_then(|found| attempt.spend(found.id, found.expires_at).map(|()| found))
        .inspect(|_| attempt.is_right())
        .and_then(|found| open(&found, &config));
    attempt.end(answer, *user_id)
}

fn look_up(email: Option<&Email>, code: &str, purposes: &[Purpose], user_id: &mut Option<Uuid>) -> Result<Found> {
    let Some(email) = email else { return Err(Error::OtpExpired) };
    let account = users::find_by_email(email)?.map(|account| account.id);
    let found = tokens::find_by_code(account, email.key(), purposes, code)?.ok_or(Error::OtpExpired)?;
    *user_id = found.user_id;
    Ok(found)
}

#[pg_extern(sql = false)]
fn verify_link(token: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_verify_link(token, options, &mut user_id);
    log::outcome("verify_link", user_id, &result);
    Ok(result?)
}

fn try_verify_link(token: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["type", "flow", door::OPTION])?;
    let (wanted, is_page, before_mfa) = (wanted(&options)?, is_page(&options)?, BeforeMfa::read(&options)?);
    let config = config::current()?;
    let token = given(token, "token")?;
    silence::check_literal(token)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::LINK, "", json!({}), &config)?;
    let answer = find(token, wanted)
        .inspect(|found| *user_id = found.user_id)
        .and_then(|found| attempt.spend(found.id, found.expires_at).map(|()| found))
        .inspect(|_| attempt.is_right())
        .and_then(|found| {
            let method = if found.purpose == Purpose::MagicLink { "magiclink" } else { "otp" };
            let proved = prove(&found, method, None)?;
            let may_come_in = match &proved {
                Proved::Somebody { user_id, .. } => {
                    !users::standing(*user_id)?.is_some_and(|user| user.awaits_approval)
                }
                Proved::Half => true,
            };
            let is_redirect = is_page && may_come_in && (found.code_challenge.is_some() || !config.implicit_flow);
            let mut answer = match (&proved, is_redirect) {
                (Proved::Somebody { user_id, method, .. }, true) => {
                    door::must_be_welcome(*user_id)?;
                    let code = flow::issue_code(*user_id, method, found.code_challenge.as_deref())?;
                    JsonB(json!({"status": "redirect", "code": code}))
                }
                _ => finish(proved, before_mfa)?,
            };
            answer.0["type"] = json!(found.purpose.verify_type());
            answer.0["redirect_to"] = json!(found.redirect_to.as_deref().unwrap_or(&config.site_url));
            Ok(answer)
        });
    attempt.end(answer, *user_id)
}

fn wanted(options: &Map<String, Value>) -> Result<&'static [Purpose]> {
    mail::text(options, "type")?.map_or(Ok(LINKS), purposes)
}

fn is_page(options: &Map<String, Value>) -> Result<bool> {
    match mail::text(options, "flow")? {
        None => Ok(false),
        Some("redirect") => Ok(true),
        Some(_) => Err(Error::invalid("unknown flow", "the only flow is redirect")),
    }
}

fn find(token: &str, wanted: &[Purpose]) -> Result<Found> {
    let found = tokens::find_by_link(token)?.filter(|found| wanted.contains(&found.purpose));
    let found = found.ok_or(Error::OtpExpired)?;
    match guard::is_spent(found.id)? {
        true => Err(Error::OtpExpired),
        false => Ok(found),
    }
}

#[pg_extern(sql = false)]
fn look_up_link(token: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    Ok(try_look_up(token, options)?)
}

fn try_look_up(token: Option<&str>, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["type"])?;
    let wanted = wanted(&options)?;
    let config = config::current()?;
    let token = given(token, "token")?;
    silence::check_literal(token)?;
    keys::root()?;
    let attempt = guard::attempt(&guard::LINK, "", json!({}), &config)?;
    let answer = find(token, wanted).map(|found| {
        let redirect_to = found.redirect_to.as_deref().unwrap_or(&config.site_url);
        JsonB(json!({"type": found.purpose.verify_type(), "redirect_to": redirect_to}))
    });
    attempt.end(answer, None)
}

/// What a token has proved.
enum Proved {
    /// Who somebody is, and by what.
    Somebody { user_id: Uuid, method: &'static str, event_type: &'static str },
    /// One of the two halves of a change of address.
    Half,
}

/// Does what a spent token is for, short of letting in.
fn prove(found: &Found, method: &'static str, encrypted_password: Option<String>) -> Result<Proved> {
    tokens::remove(found)?;
    let is_contested = guard::is_contested(&found.address_key)?;
    mail::was_used(found.purpose, &found.address_key)?;
    let somebody = |user_id, method, event_type| Ok(Proved::Somebody { user_id, method, event_type });
    let user_id = found.user_id;
    let confirmed = |proof| {
        let user_id = user_id.ok_or(Error::OtpExpired)?;
        addresses::confirm(user_id, &found.address_key, proof).map(|()| user_id)
    };
    match found.purpose {
        Purpose::SignUp => {
            let created = make_account(found, encrypted_password, is_contested)?;
            somebody(created, method, "signup")
        }
        Purpose::Confirmation => {
            let is_contested = is_contested || found.data.get("is_contested") == Some(&json!(true));
            let proof = if is_contested { Proof::OfOwnership } else { Proof::OfSignUp };
            somebody(confirmed(proof)?, method, "login_success")
        }
        Purpose::Invite => somebody(confirmed(Proof::OfOwnership)?, "invite", "login_success"),
        Purpose::MagicLink => somebody(confirmed(Proof::OfOwnership)?, method, "login_success"),
        Purpose::Recovery => somebody(confirmed(Proof::OfOwnership)?, "recovery", "login_success"),
        Purpose::EmailChange | Purpose::EmailChangeCurrent => {
            let user_id = user_id.ok_or(Error::OtpExpired)?;
            let before = users::credentials(user_id)?;
            if !addresses::confirm_change(user_id, found)? {
                return Ok(Proved::Half);
            }
            if let Some(old) = before.filter(|before| before.is_email_confirmed).and_then(|before| before.email) {
                let data = json!({"new_email": found.data.get("new_email")});
                mail::notify("email_changed", user_id, Some(old.address()), data, &*config::current()?)?;
            }
            somebody(user_id, "email_change", "login_success")
        }
        Purpose::EmailChangeHalf | Purpose::PhoneChange | Purpose::Reauthentication => Err(Error::OtpExpired),
    }
}

/// Makes the account of a sign-up; of one that is contested without what was given for it before.
fn make_account(found: &Found, encrypted_password: Option<String>, is_contested: bool) -> Result<Uuid> {
    let email = users::parse_email(found.email.as_deref().ok_or(Error::OtpExpired)?)?;
    let Value::Object(user_metadata) = found.data.clone() else { return Err(Error::OtpExpired) };
    let before = Some(found).filter(|_| !is_contested);
    let hash = encrypted_password.as_deref().or(before.and_then(|found| found.encrypted_password.as_deref()));
    let passkey = before.and_then(|found| found.passkey.as_ref());
    users::create(NewUser {
        id: passkey.and_then(|passkey| passkey["user_id"].as_str()?.parse().ok()),
        email: Some(&email),
        encrypted_password: hash,
        passkey,
        is_email_confirmed: true,
        user_metadata,
        ..NewUser::default()
    })
}

fn finish(proved: Proved, before_mfa: BeforeMfa) -> Result<JsonB> {
    match proved {
        Proved::Half => Ok(JsonB(json!({"status": "confirmation_sent"}))),
        Proved::Somebody { user_id, method, event_type } => {
            door::let_in(user_id, Way::by_mail(method, event_type).before_mfa(before_mfa))
        }
    }
}
