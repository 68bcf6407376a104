//! Invitations, and links that an administrator hands on himself.
//!
//! Promises: an invited account has no password and no session before its owner follows the link; whoever made a link is in the
//! audit. Threats: a link to an account of somebody else's, made with less than the service key.

use auth_core::email::Email;
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::credential::Person;
use crate::mail::{self, Mail, Wish};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::query::{Query, Type};
use crate::platform::{log, silence};
use crate::sessions::{self, Which};
use crate::tokens::{self, Purpose};
use crate::users::{self, Metadata, NewUser};
use crate::{credential, identity};

extension_sql_file!("invitation.sql", name = "invitation", requires = ["admin"]);

const LONGEST_INVITATION_SECONDS: i64 = 31 * 86_400;

#[pg_extern(sql = false)]
fn invite_user(email: Option<&str>, data: JsonArgument, options: JsonArgument) -> Answer<JsonB> {
    let mut user_id = None;
    let result = try_invite(email, data, options, &mut user_id);
    log::outcome("invite_user", user_id, &result);
    Ok(result?)
}

fn try_invite(
    email: Option<&str>,
    data: JsonArgument,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    identity::require_service()?;
    backend::must_write()?;
    let mut known = vec!["app_metadata", "expires_in"];
    known.extend(mail::OPTIONS);
    let options = options::only(options, &known)?;
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let link_ttl = expires_in(&options)?;
    let app_metadata = object(&options, "app_metadata")?;
    let email = users::parse_email(given(email, "email")?)?;
    let data = users::check_metadata(options::json(data)?)?;
    let invited = make_invited(&email, data, app_metadata)?;
    *user_id = Some(invited);
    let mail = Mail { link_ttl, ..Mail::new(Purpose::Invite, "invite", &email, &wish) };
    mail::send(invited, &mail, &config)?;
    audit::record(&Entry::done("user_invited", invited).with(by(&email)))?;
    Ok(JsonB(users::object(invited)?.ok_or(Error::UserNotFound)?))
}

/// Who did it, and to whom: the service key is nobody's account.
fn by(email: &Email) -> Value {
    json!({"email": email.address(), "by": backend::session_user()})
}

fn expires_in(options: &Map<String, Value>) -> Result<Option<i64>> {
    match options.get("expires_in") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|seconds| (60..=LONGEST_INVITATION_SECONDS).contains(seconds)) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Error::invalid("expires_in is out of range", "seconds, from 60 to 2,678,400 (31 days)")),
        },
    }
}

fn object(options: &Map<String, Value>, name: &str) -> Result<Map<String, Value>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Error::invalid(format!("option {name} is not a JSON object"), "an object such as {}")),
    }
}

/// The account of an invitation: a new one, or one that nobody has come to own yet.
fn make_invited(email: &Email, data: Map<String, Value>, app_metadata: Map<String, Value>) -> Result<Uuid> {
    match users::find_by_email(email)? {
        Some(account) if account.is_email_confirmed => Err(Error::EmailExists),
        Some(account) => {
            take_over(account.id)?;
            users::merge_metadata(account.id, Metadata::App, app_metadata)?;
            users::merge_metadata(account.id, Metadata::User, data).map(|()| account.id)
        }
        None => users::create(NewUser {
            email: Some(email),
            app_metadata,
            user_metadata: data,
            is_invited: true,
            is_approved: true,
            ..NewUser::default()
        }),
    }
}

/// Makes an account that nobody has proved an invited one. What was set before goes at once, and not when its owner follows the link: until
/// then whoever has made it in advance would have what the invitation gives.
fn take_over(user_id: Uuid) -> Result<()> {
    static INVITE: Query = Query::write(
        "with password as (
            delete from auth.password_state where user_id = $1
        ), passkeys as (
            delete from auth.passkeys where user_id = $1
        )
        update auth.users set invited_at = clock_timestamp(), awaits_approval = false, encrypted_password = null where id = $1",
        &[Type::UUIDOID],
    );
    // Before the statement that takes away, as at the first proof of an address.
    users::hold(user_id)?;
    INVITE.execute(&[to_pg(user_id).into()])?;
    sessions::end(user_id, Which::All)?;
    tokens::remove_all(user_id)
}

#[pg_extern(sql = false)]
fn admin_generate_link(kind: Option<&str>, email: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_generate(kind, email, options, &mut user_id);
    log::outcome("admin_generate_link", user_id, &result);
    Ok(result?)
}

fn try_generate(
    kind: Option<&str>,
    email: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    identity::require_service()?;
    backend::must_write()?;
    let options = options::only(options, &["password", "data", "new_email", "redirect_to"])?;
    let config = config::current()?;
    let wish = Wish::read(&options, &config)?;
    let email = users::parse_email(given(email, "email")?)?;
    let new_email = mail::text(&options, "new_email")?.map(users::parse_email).transpose()?;
    let is_new = users::find_by_email(&email)?.is_none();
    let (purpose, account) = account_of(given(kind, "kind")?, &email, &options, &config)?;
    *user_id = Some(account);
    let is_change = matches!(purpose, Purpose::EmailChange | Purpose::EmailChangeCurrent);
    let (to, data) = match (is_change, &new_email) {
        // Of an account that was there nobody can say whose its password is.
        (false, _) => (&email, json!({"is_contested": !is_new})),
        (true, None) => return Err(Error::invalid("option new_email is missing", "the address to change to")),
        // The old address alone proves nothing of the new one.
        (true, Some(new)) => {
            let to = if purpose == Purpose::EmailChange { new } else { &email };
            let needs_both = config.secure_email_change || purpose == Purpose::EmailChangeCurrent;
            (to, json!({"new_email": new.address(), "needs_both": needs_both}))
        }
    };
    let mail = Mail { data, ..Mail::new(purpose, "", to, &wish) };
    let handed = mail::hand_out(account, &mail, &config)?;
    audit::record(&Entry::done("link_generated", account).with(json!({
        "email": email.address(), "by": backend::session_user(), "kind": kind,
    })))?;
    Ok(JsonB(json!({
        "hashed_token": handed.link,
        "email_otp": handed.code,
        "verification_type": kind,
        "redirect_to": wish.redirect_to.as_deref().unwrap_or(&config.site_url),
        "user": users::object(account)?.ok_or(Error::UserNotFound)?,
    })))
}

fn account_of(kind: &str, email: &Email, options: &Map<String, Value>, config: &Config) -> Result<(Purpose, Uuid)> {
    let existing = users::find_by_email(email)?;
    let data = || users::check_metadata(options.get("data").filter(|data| !data.is_null()).cloned());
    let new = |user_metadata| NewUser { email: Some(email), user_metadata, is_approved: true, ..NewUser::default() };
    match (kind, existing) {
        ("signup", Some(account)) if account.is_email_confirmed => Err(Error::EmailExists),
        ("signup", Some(account)) => Ok((Purpose::Confirmation, account.id)),
        ("signup", None) => {
            let password = mail::text(options, "password")?;
            let person = Person::unknown().with_email(Some(email)).with_metadata(&data()?);
            let password = credential::acceptable(given(password, "option password")?, &person, config)?;
            let hash = credential::hash(&password, config.hash_cost)?;
            let created = users::create(NewUser { encrypted_password: Some(&hash), ..new(data()?) })?;
            Ok((Purpose::Confirmation, created))
        }
        ("invite", _) => Ok((Purpose::Invite, make_invited(email, data()?, Map::new())?)),
        ("magiclink", None) => Ok((Purpose::MagicLink, users::create(new(data()?))?)),
        ("magiclink", Some(account)) => Ok((Purpose::MagicLink, account.id)),
        ("recovery", Some(account)) => Ok((Purpose::Recovery, account.id)),
        ("email_change_current", Some(account)) => Ok((Purpose::EmailChangeCurrent, account.id)),
        ("email_change_new", Some(account)) => Ok((Purpose::EmailChange, account.id)),
        ("recovery" | "email_change_current" | "email_change_new", None) => Err(Error::UserNotFound),
        _ => Err(Error::invalid(
            "unknown kind",
            "kinds are: signup, invite, magiclink, recovery, email_change_current, email_change_new",
        )),
    }
}
